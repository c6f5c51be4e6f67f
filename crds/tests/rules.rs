//! The CEL rules of the schemas, evaluated as the API server does: for each rule, what it lets pass and what it refuses.

use std::collections::BTreeSet;

use enact_crds::{Agent, Approval, Constitution, ModelProvider, Plan, Specification, Task, Tenant, all};
use kube::CustomResourceExt as _;
use kube_cel::{ValidationErrors, Validator};
use serde_json::{Value, json};

/// What the rules say of a new object, or of a change from `old`: the messages.
fn messages(kind: &str, old: Option<&Value>, new: &Value) -> BTreeSet<String> {
    macro_rules! check {
        ($kind:ty) => {{
            let read = |value: &Value| {
                let object: Result<$kind, _> = serde_json::from_value(value.clone());
                json!(object.unwrap_or_else(|error| panic!("{kind}: {error}: {value}")))
            };
            let crd = json!(<$kind>::crd());
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            Validator::new().validate(schema, &read(new), old.map(read).as_ref())
        }};
    }
    let result: Result<(), ValidationErrors> = match kind {
        "Agent" => check!(Agent),
        "Approval" => check!(Approval),
        "Constitution" => check!(Constitution),
        "ModelProvider" => check!(ModelProvider),
        "Plan" => check!(Plan),
        "Specification" => check!(Specification),
        "Task" => check!(Task),
        "Tenant" => check!(Tenant),
        _ => panic!("no kind {kind}"),
    };
    match result {
        Ok(()) => BTreeSet::new(),
        Err(errors) => errors.into_vec().into_iter().map(|error| error.message).collect(),
    }
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "enact.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// A spec that every rule lets pass.
fn good(kind: &str) -> Value {
    match kind {
        "Agent" => json!({"adapter": "Command", "script": "true"}),
        "Approval" => json!({
            "subject": {"kind": "Plan", "name": "shop"}, "digest": "sha256:0", "decision": "Approve"
        }),
        "Constitution" | "Specification" => json!({"source": {"inline": "# A"}}),
        "ModelProvider" => json!({"api": "OpenAi", "baseUrl": "https://api.example.org", "key": "openai"}),
        "Plan" => json!({"agentRef": {"name": "scribe"}, "tasks": [{"id": "T001", "title": "One"}]}),
        "Task" => json!({"planRef": {"name": "shop"}, "id": "T001", "title": "One", "dependsOn": ["T000"]}),
        "Tenant" => json!({"namespaces": ["team-a"]}),
        _ => panic!("no kind {kind}"),
    }
}

/// The good spec with fields replaced, or removed where the value is null.
fn with(kind: &str, fields: &Value) -> Value {
    let mut spec = good(kind);
    for (field, value) in fields.as_object().expect("fields") {
        if value.is_null() {
            spec.as_object_mut().expect("a spec").remove(field);
        } else {
            spec[field] = value.clone();
        }
    }
    spec
}

/// What a rule refuses: its kind, the words of its message, and the fields that differ from the good spec.
#[allow(clippy::too_many_lines, reason = "a table")]
fn refused() -> Vec<(&'static str, &'static str, Value)> {
    let env = |var: Value| json!({"env": [var]});
    let mcp = |server: Value| json!({"adapter": "ClaudeCode", "mcpServers": [server]});
    let replay =
        |models: Value| json!({"adapter": "Replay", "replay": {"configMapRef": {"name": "a"}}, "models": models});
    let egress = |to: Value| json!({"isolation": {"egress": [to]}});
    let images = |allowed: &[&str]| json!({"agentImages": {"allowed": allowed}});
    let (git, workspace) = ("https://git/shop", |fields: Value| json!({"workspace": fields}));
    let key = json!({"name": "llm", "key": "token"});
    let generate = |fields: Value| {
        let mut generate = json!({"agents": [{"name": "a"}, {"name": "b"}]});
        generate.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
        json!({"tasks": null, "specificationRef": {"name": "a"}, "generate": generate})
    };
    vec![
        ("Agent", "the adapter Replay requires the field replay", json!({"adapter": "Replay"})),
        ("Agent", "exactly one of value and secretKeyRef", env(json!({"name": "A"}))),
        ("Agent", "exactly one of value and secretKeyRef", env(json!({"name": "A", "value": "", "secretKeyRef": key}))),
        ("Agent", "start with ENACT_ are reserved", env(json!({"name": "ENACT_X", "value": "1"}))),
        ("Agent", "requires the field custom", json!({"adapter": "Custom"})),
        ("Agent", "requires the field custom", json!({"custom": {"name": "Own"}})),
        ("Agent", "are for coding agents", json!({"maxTurns": 5})),
        ("Agent", "limits are for requests to the model gateway", json!({"limits": {"requestsPerMinute": 5}})),
        ("Agent", "are for coding agents", json!({"instructions": "Be brief."})),
        ("Agent", "are for coding agents", json!({"skills": [{"name": "review", "configMapRef": {"name": "review"}}]})),
        ("Agent", "Replay uses no model", replay(json!([{"provider": "claude", "model": "claude-5"}]))),
        ("Agent", "exactly one of command and url", mcp(json!({"name": "docs"}))),
        ("Agent", "exactly one of command and url", mcp(json!({"name": "docs", "command": ["a"], "url": "https://a"}))),
        ("Agent", "must start with https:// or http://", mcp(json!({"name": "docs", "url": "file:///a"}))),
        (
            "Agent",
            "exactly one of value and secretKeyRef",
            mcp(json!({"name": "docs", "command": ["a"], "env": [{"name": "A"}]})),
        ),
        (
            "Agent",
            "exactly one of value and secretKeyRef",
            mcp(
                json!({"name": "docs", "url": "https://a", "headers": [{"name": "A", "value": "a", "secretKeyRef": key}]}),
            ),
        ),
        (
            "Agent",
            "only a server with a command has env",
            mcp(json!({"name": "docs", "url": "https://a", "env": [{"name": "A", "value": "a"}]})),
        ),
        (
            "Agent",
            "only a server with a url has headers",
            mcp(json!({"name": "docs", "command": ["a"], "headers": [{"name": "A", "value": "a"}]})),
        ),
        ("Agent", "set tokens, usd or both", json!({"monthlyBudget": {}})),
        ("Approval", "set tokens, usd or both", json!({"budget": {}})),
        ("Approval", "only the approval of a Plan", json!({"budget": {"tokens": 5}, "decision": "Reject"})),
        (
            "Approval",
            "only the approval of a Plan",
            json!({"budget": {"tokens": 5}, "subject": {"kind": "Specification", "name": "shop"}}),
        ),
        ("ModelProvider", "must start with https:// or http://", json!({"baseUrl": "ftp://example.org"})),
        ("ModelProvider", "must not contain a credential", json!({"baseUrl": "https://me:key@example.org"})),
        ("ModelProvider", "must not contain a credential", json!({"baseUrl": "https://example.org?key=a"})),
        ("Plan", "exactly one of agentRef", json!({"agentRef": null})),
        ("Plan", "exactly one of agentRef", json!({"agentRef": null, "agents": []})),
        ("Plan", "exactly one of agentRef", json!({"agents": [{"name": "other"}]})),
        ("Plan", "set tokens, usd or both", json!({"execution": {"attemptBudget": {}}})),
        ("Tenant", "set tokens, usd or both", json!({"monthlyBudget": {}})),
        ("Constitution", "exactly one of inline, configMapKeyRef and git", json!({"source": {}})),
        (
            "Specification",
            "exactly one of inline, configMapKeyRef and git",
            json!({"source": {"inline": "", "configMapKeyRef": {"name": "a", "key": "b"}}}),
        ),
        ("Plan", "exactly one of inline, configMapKeyRef and git", json!({"tasks": null, "source": {}})),
        ("Plan", "exactly one of tasks, source and generate", json!({"tasks": null})),
        ("Plan", "exactly one of tasks, source and generate", json!({"tasks": []})),
        ("Plan", "exactly one of tasks, source and generate", json!({"source": {"inline": "# Tasks: A"}})),
        (
            "Plan",
            "exactly one of tasks, source and generate",
            json!({"specificationRef": {"name": "a"}, "generate": {"agents": [{"name": "a"}]}}),
        ),
        ("Plan", "generate requires specificationRef", json!({"tasks": null, "generate": {"agents": [{"name": "a"}]}})),
        (
            "Plan",
            "it would judge itself",
            json!({
                "tasks": null, "specificationRef": {"name": "a"},
                "generate": {"agents": [{"name": "a"}, {"name": "b"}], "judges": [{"name": "b"}]},
            }),
        ),
        ("Plan", "requires the field synthesizer", generate(json!({"selection": "Synthesis"}))),
        ("Plan", "requires the field synthesizer", generate(json!({"synthesizer": {"name": "c"}}))),
        (
            "Plan",
            "it would combine its own proposal",
            generate(json!({"selection": "Synthesis", "synthesizer": {"name": "b"}})),
        ),
        (
            "Plan",
            "it would combine its own proposal",
            generate(json!({"selection": "Synthesis", "synthesizer": {"name": "c"}, "judges": [{"name": "c"}]})),
        ),
        ("Plan", "name the Plan that it replaces", json!({"replaces": {"name": "a"}})),
        ("Plan", "must start with https://, http:// or ssh://", workspace(json!({"url": "ext::sh -c id"}))),
        ("Plan", "must start with https://, http:// or ssh://", workspace(json!({"url": "/srv/git"}))),
        ("Plan", "the revision must not start with `-`", workspace(json!({"url": git, "revision": "--upload-pack=x"}))),
        ("Plan", "the branch must not start with `-`", workspace(json!({"url": git, "integration": {"branch": "-f"}}))),
        ("Plan", "must not start with enact/", workspace(json!({"url": git, "integration": {"branch": "enact/shop"}}))),
        ("Plan", "must not start with enact/", workspace(json!({"url": git, "integration": {"branch": "enact"}}))),
        (
            "Plan",
            "requires integration.credentialsSecretRef",
            workspace(json!({"url": git, "credentialsSecretRef": {"name": "agent"}})),
        ),
        (
            "Plan",
            "requires integration.credentialsSecretRef",
            workspace(
                json!({"url": git, "credentialsSecretRef": {"name": "agent"}, "integration": {"branch": "plan/shop"}}),
            ),
        ),
        (
            "Plan",
            "must not name the same Secret as",
            workspace(json!({
                "url": git, "credentialsSecretRef": {"name": "git"}, "integration": {"credentialsSecretRef": {"name": "git"}}
            })),
        ),
        ("Specification", "set source, or a request", json!({"source": null})),
        ("Tenant", "or repositories with their registry", images(&["debian"])),
        ("Tenant", "or repositories with their registry", images(&["ghcr.io/a", "https://ghcr.io"])),
        ("Tenant", "or repositories with their registry", images(&["ghcr.io/a:1"])),
        ("Tenant", "or repositories with their registry", images(&["ghcr.io/"])),
        ("Tenant", "exactly one of cidr and namespace", egress(json!({"ports": [443]}))),
        ("Tenant", "exactly one of cidr and namespace", egress(json!({"cidr": "10.0.0.0/8", "namespace": "git"}))),
    ]
}

/// A document in Git, with some fields replaced.
fn from_git(fields: &Value) -> Value {
    let mut git = json!({"url": "https://git/shop", "path": "specs/001-cart/spec.md"});
    for (field, value) in fields.as_object().expect("fields") {
        git[field] = value.clone();
    }
    json!({"source": {"git": git}})
}

/// What is refused of a document in Git, of whatever kind.
fn refused_in_git() -> Vec<(&'static str, &'static str, Value)> {
    let cases = [
        ("must start with https://", json!({"url": "file:///etc"})),
        ("the revision must not start with `-`", json!({"revision": "-x"})),
        ("must be a path from the root", json!({"path": "../../etc/passwd"})),
        ("must be a path from the root", json!({"path": "/etc/passwd"})),
        ("must be a path from the root", json!({"path": "a//b"})),
    ];
    let all = cases.iter().flat_map(|(why, fields)| {
        ["Constitution", "Specification", "Plan"].map(|kind| {
            let mut spec = from_git(fields);
            if kind == "Plan" {
                spec["tasks"] = Value::Null;
            }
            (kind, *why, spec)
        })
    });
    all.collect()
}

/// What every rule lets pass.
fn accepted() -> Vec<(&'static str, Value)> {
    let key = json!({"name": "llm", "key": "token"});
    vec![
        ("Agent", json!({"adapter": "Replay", "replay": {"configMapRef": {"name": "work"}}})),
        ("Agent", json!({"env": [{"name": "A", "value": ""}, {"name": "B", "secretKeyRef": key}]})),
        ("Agent", json!({"env": [{"name": "MY_ENACT_X", "value": "1"}]})),
        ("Agent", json!({"adapter": "Codex", "maxTurns": 5, "mcpServers": [{"name": "docs", "command": ["a"]}]})),
        (
            "Agent",
            json!({"adapter": "Codex", "mcpServers": [
                {"name": "docs", "command": ["a"], "env": [{"name": "A", "secretKeyRef": key}]},
                {"name": "b", "url": "https://b", "headers": [{"name": "X-A", "value": "a"}, {"name": "B", "secretKeyRef": key}]},
            ]}),
        ),
        ("Approval", json!({"budget": {"usd": "12.50"}})),
        ("Constitution", json!({"source": {"configMapKeyRef": {"name": "a", "key": "b"}}})),
        ("Specification", json!({"source": null, "request": "A cart"})),
        ("Specification", from_git(&json!({"path": ".specify/..a/b.md"}))),
        ("Plan", json!({"tasks": null, "source": {"inline": "# Tasks: A"}})),
        ("Plan", json!({"tasks": null, "source": {"configMapKeyRef": {"name": "a", "key": "b"}}})),
        (
            "Plan",
            json!({"tasks": null, "specificationRef": {"name": "a"}, "generate": {
                "agents": [{"name": "a"}], "judges": [{"name": "b"}], "selection": "Synthesis", "synthesizer": {"name": "c"}}}),
        ),
        ("Plan", json!({"replaces": {"name": "a", "because": "It is slow."}})),
        ("Plan", json!({"workspace": {"url": "ssh://git/shop", "revision": "v-1", "integration": {"branch": "a/-b"}}})),
        ("Plan", json!({"workspace": {"url": "ssh://git/shop", "integration": {"branch": "enactor/shop"}}})),
        (
            "Plan",
            json!({"workspace": {"url": "ssh://git/shop", "integration": {"credentialsSecretRef": {"name": "git"}}}}),
        ),
        (
            "Plan",
            json!({"workspace": {"url": "ssh://git/shop", "credentialsSecretRef": {"name": "agent"},
                "integration": {"credentialsSecretRef": {"name": "integrator"}}}}),
        ),
        (
            "Tenant",
            json!({"agentImages": {"allowed": ["ghcr.io", "localhost:5000", "registry:5000/a", "a.b-c.org/x/y_z.1"], "requireDigest": true}}),
        ),
        ("Tenant", json!({"isolation": {"egress": [{"cidr": "10.0.0.0/8"}, {"namespace": "git", "ports": [80]}]}})),
    ]
}

/// Changes that a rule refuses: kind, words of the message, fields before and after.
fn refused_changes() -> Vec<(&'static str, &'static str, Value, Value)> {
    vec![
        ("Approval", "an Approval is immutable", json!({}), json!({"decision": "Reject"})),
        ("Approval", "an Approval is immutable", json!({}), json!({"by": {"user": "eve"}})),
        ("Task", "a Task is immutable", json!({}), json!({"title": "Another"})),
        ("Task", "a Task is immutable", json!({}), json!({"dependsOn": []})),
        ("Plan", "a cancelled Plan cannot be resumed", json!({"cancel": true}), json!({"cancel": false})),
        ("Plan", "a cancelled Plan cannot be resumed", json!({"cancel": true}), json!({})),
    ]
}

#[test]
fn good_objects_pass() {
    let bare = all().into_iter().map(|crd| (crd.spec.names.kind, json!({})));
    let more = accepted().into_iter().map(|(kind, fields)| (kind.to_owned(), fields));
    for (kind, fields) in bare.chain(more) {
        let new = object(&kind, "a-1", &with(&kind, &fields));
        assert_eq!(messages(&kind, None, &new), BTreeSet::new(), "{new}");
        assert_eq!(messages(&kind, Some(&new), &new), BTreeSet::new(), "unchanged: {new}");
    }
}

#[test]
fn each_rule_refuses_what_it_is_for_and_nothing_else_does() {
    for (kind, words, fields) in refused().into_iter().chain(refused_in_git()) {
        let found = messages(kind, None, &object(kind, "a", &with(kind, &fields)));
        assert!(found.len() == 1 && found.iter().all(|message| message.contains(words)), "{kind} {fields}: {found:?}");
    }
}

#[test]
fn each_rule_about_changes_refuses_them() {
    for (kind, words, before, after) in refused_changes() {
        let [old, new] = [before, after].map(|fields| object(kind, "a", &with(kind, &fields)));
        let found = messages(kind, Some(&old), &new);
        assert!(found.len() == 1 && found.iter().all(|message| message.contains(words)), "{kind} {new}: {found:?}");
    }
    // Suspending, resuming, cancelling and asking again is what a Plan is changed for.
    let plan = |fields: Value| object("Plan", "a", &with("Plan", &fields));
    let changes = [json!({"suspend": true}), json!({"cancel": true}), json!({"execution": {"parallelism": 2}})];
    for change in changes {
        assert_eq!(messages("Plan", Some(&plan(json!({}))), &plan(change)), BTreeSet::new());
    }
}

#[test]
fn names_are_bounded_where_other_names_are_made_of_them() {
    for (kind, words, longest) in [("Plan", "the name of a Plan", 52), ("Tenant", "the name of a Tenant", 63)] {
        let found = |name: &str| messages(kind, None, &object(kind, name, &good(kind)));
        for name in ["a", "shop-2", &"a".repeat(longest)] {
            assert_eq!(found(name), BTreeSet::new(), "{kind} {name}");
        }
        for name in ["shop.2", "a-", &"a".repeat(longest + 1)] {
            let found = found(name);
            assert!(found.len() == 1 && found.iter().all(|m| m.contains(words)), "{kind} {name}: {found:?}");
        }
    }
    assert!(!messages("Plan", None, &object("Plan", "2-shop", &good("Plan"))).is_empty());
    assert!(messages("Tenant", None, &object("Tenant", "2-shop", &good("Tenant"))).is_empty());
}

#[test]
fn every_rule_has_a_message_and_a_case() {
    let names = [("Plan", "the name of a Plan"), ("Tenant", "the name of a Tenant")];
    let cases: Vec<(&str, &str)> = refused()
        .into_iter()
        .chain(refused_in_git())
        .map(|(kind, words, _)| (kind, words))
        .chain(refused_changes().into_iter().map(|(kind, words, ..)| (kind, words)))
        .chain(names)
        .collect();
    let mut count = 0;
    for crd in all() {
        let kind = crd.spec.names.kind.as_str();
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).expect("plain data");
        let mut found = Vec::new();
        rules(&schema, &mut found);
        for (rule, message) in found {
            count += 1;
            let tried = cases.iter().any(|(of, words)| *of == kind && message.contains(words));
            assert!(tried, "{kind}: no case refuses `{rule}` ({message:?})");
        }
    }
    assert!(count >= 10, "{count} rules");
}

/// All rules below, with their messages.
fn rules<'a>(schema: &'a Value, found: &mut Vec<(&'a str, &'a str)>) {
    match schema {
        Value::Object(fields) => {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                found.push((rule["rule"].as_str().unwrap_or_default(), rule["message"].as_str().unwrap_or_default()));
            }
            fields.values().for_each(|child| rules(child, found));
        }
        Value::Array(items) => items.iter().for_each(|child| rules(child, found)),
        _ => {}
    }
}
