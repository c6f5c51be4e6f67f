//! Rules for every kind: tenancy, stamps, and who may write which fields.

use enact_domain::approval::Policy;
use enact_domain::approval::authors::Authors;
use enact_domain::digest::Digest;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::mutate::stamp;
use crate::testing::{
    ANN, FakeLookup, OPERATOR, admit, assert_admitted, assert_refused, by, claim, create, delete, object, of, request,
    update, with,
};

const AUTHOR: &str = "/metadata/annotations/enact.dev~1author";
const TENANT: &str = "/metadata/labels/enact.dev~1tenant";
const DOCUMENT: &str = "# Feature Specification: Shop\n\n## Requirements\n\n- **FR-001**: The shop MUST sell.\n";

fn specification() -> Value {
    object("Specification", "shop", &json!({ "source": { "inline": DOCUMENT } }))
}

fn agent() -> Value {
    object("Agent", "coder", &json!({ "adapter": "Command" }))
}

fn task() -> Value {
    let spec = json!({ "planRef": { "name": "shop" }, "id": "T001", "title": "a" });
    with(object("Task", "shop-t001", &spec), "/metadata/labels/enact.dev~1plan", json!("shop"))
}

fn namespace(name: &str, labels: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
}

fn digest(text: &str) -> String {
    Digest::of_bytes(text.as_bytes()).to_string()
}

/// Returns an approval by `ann` of group `leads`, as the mutating webhook returns it.
fn approval(kind: &str, name: &str, content: &str) -> Value {
    let spec = json!({
        "subject": { "kind": kind, "name": name }, "digest": digest(content), "decision": "Approve",
        "by": { "user": ANN, "groups": ["leads", "system:authenticated"] },
    });
    with(object("Approval", "ok", &spec), "/metadata/annotations", Value::Null)
}

#[tokio::test]
async fn objects_live_in_a_tenants_namespace() {
    let lookup = FakeLookup::two_tenants();
    for kind in [specification(), agent()] {
        assert_admitted(admit(&lookup, &create(&kind)).await);
        for outside in ["kube-system", "enact", "default", "nobody"] {
            let kind = with(kind.clone(), "/metadata/namespace", json!(outside));
            assert_refused(
                admit(&lookup, &create(&kind)).await,
                "forbidden",
                &["metadata.namespace", outside, "spec.namespaces of a Tenant"],
            );
        }
    }
    let mut ending = FakeLookup { claims: vec![claim("acme", &["team-a"])], ..FakeLookup::default() };
    ending.claims[0].ending = true;
    assert_refused(admit(&ending, &create(&agent())).await, "forbidden", &["belongs to no tenant"]);
    let broken = FakeLookup { broken: true, ..lookup };
    assert_refused(admit(&broken, &create(&agent())).await, "error", &["try again"]);
}

#[tokio::test]
async fn stamps_are_true() {
    let lookup = FakeLookup::two_tenants();
    for (object, field, value, parts) in [
        (agent(), TENANT, json!("other"), &["names tenant other", "belongs to tenant acme"][..]),
        (agent(), TENANT, Value::Null, &["MutatingWebhookConfiguration"]),
        (specification(), AUTHOR, json!("bob"), &["by ann@example.org, not by bob"]),
        (specification(), AUTHOR, Value::Null, &["MutatingWebhookConfiguration"]),
    ] {
        let forged = with(object.clone(), field, value);
        assert_refused(admit(&lookup, &create(&forged)).await, "forbidden", parts);
        assert_refused(admit(&lookup, &update(&object, &forged)).await, "forbidden", parts);
    }
}

#[tokio::test]
async fn handling_fields_do_not_change_the_author() {
    let lookup = FakeLookup::two_tenants();
    let old = with(specification(), AUTHOR, json!("bob"));
    assert_admitted(admit(&lookup, &update(&old, &with(old.clone(), "/spec/suspend", json!(true)))).await);
    let stolen = with(with(old.clone(), "/spec/suspend", json!(true)), AUTHOR, json!(ANN));
    assert_refused(admit(&lookup, &update(&old, &stolen)).await, "forbidden", &["by bob, not by ann"]);
    let silent = with(old.clone(), "/spec/source/inline", json!(format!("{DOCUMENT}more\n")));
    assert_refused(admit(&lookup, &update(&old, &silent)).await, "forbidden", &["by ann@example.org, not by bob"]);
}

#[tokio::test]
async fn metadata_changes_need_no_lookup() {
    let broken = FakeLookup { broken: true, ..FakeLookup::default() };
    // The objects are invalid and their namespace has no tenant. Changes of finalizers and of other labels must still be admitted.
    for object in [specification(), agent(), object("Plan", "p", &json!({ "tasks": "nonsense" }))] {
        let held = with(object.clone(), "/metadata/finalizers", json!(["example.org/x"]));
        assert_admitted(admit(&broken, &update(&held, &object)).await);
        assert_admitted(
            admit(&broken, &update(&object, &with(object.clone(), "/metadata/labels/a", json!("b")))).await,
        );
    }
}

#[tokio::test]
async fn deletes_pass() {
    let broken = FakeLookup { broken: true, ..FakeLookup::default() };
    let odd = object("Plan", &"x".repeat(80), &json!("nonsense"));
    for object in
        [specification(), agent(), task(), odd, approval("Plan", "shop", "v1"), namespace("team-a", &json!({}))]
    {
        assert_admitted(admit(&broken, &delete(&object)).await);
    }
}

#[tokio::test]
async fn the_operator_alone_writes_status_and_tasks() {
    let lookup = FakeLookup::two_tenants();
    for object in [specification(), agent(), task(), approval("Plan", "shop", "v1")] {
        let done = with(object.clone(), "/status", json!({ "digest": "sha256:1" }));
        assert_refused(
            admit(&lookup, &of(update(&object, &done), "status")).await,
            "forbidden",
            &["only the operator", "change the spec instead"],
        );
    }
    let done = with(task(), "/status", json!({ "phase": "Succeeded" }));
    assert_admitted(admit(&lookup, &by(of(update(&task(), &done), "status"), OPERATOR)).await);
    assert_admitted(admit(&lookup, &by(create(&task()), OPERATOR)).await);
    assert_refused(
        admit(&lookup, &create(&task())).await,
        "forbidden",
        &["only the operator creates Tasks", "Plan shop"],
    );
    // A service account of the same name in another namespace is another user.
    let impostor = by(create(&task()), "system:serviceaccount:team-a:enact-operator");
    assert_refused(admit(&lookup, &impostor).await, "forbidden", &["only the operator"]);
}

#[tokio::test]
async fn sent_messages_stay_as_they_are() {
    let lookup = FakeLookup::two_tenants();
    let with_messages =
        |messages: Value| with(task(), "/metadata/annotations/enact.dev~1messages", json!(messages.to_string()));
    let (one, two) = (json!({"id": 1, "text": "one", "by": "ann"}), json!({"id": 2, "text": "two", "by": "bob"}));
    let old = with_messages(json!([one, two]));
    assert_admitted(admit(&lookup, &update(&task(), &with_messages(json!([one])))).await);
    assert_admitted(
        admit(&lookup, &update(&old, &with_messages(json!([two, {"id": 3, "text": "t", "by": "c"}])))).await,
    );
    for (messages, part) in [
        (json!("hello"), "not a list of messages"),
        (json!([one, {"id": 2, "text": "other", "by": "bob"}]), "cannot be changed"),
        (json!([one]), "the newest message must stay"),
        (json!([two, {"id": 3, "text": "three"}]), "has no author"),
        (json!([two, {"id": 3, "text": "x".repeat(3000), "by": "c"}]), "1 to 2048 bytes"),
    ] {
        let refused = admit(&lookup, &update(&old, &with_messages(messages))).await;
        assert_refused(refused, "invalid", &["enact.dev/messages", part]);
    }
    let removed = update(&old, &task());
    assert_refused(admit(&lookup, &removed).await, "invalid", &["the newest message must stay"]);
}

#[tokio::test]
async fn people_may_only_ask_for_a_rerun_of_a_task() {
    let lookup = FakeLookup::two_tenants();
    let rerun = |n: &str| with(task(), "/metadata/annotations/enact.dev~1rerun", json!(n));
    assert_admitted(admit(&lookup, &update(&task(), &rerun("1"))).await);
    assert_admitted(admit(&lookup, &update(&rerun("9"), &rerun("10"))).await);
    // The annotation can be removed. After that, only a number that the operator has not handled requests anything.
    let handled = |object| with(object, "/status", json!({ "observedRerun": "3" }));
    assert_admitted(admit(&lookup, &update(&handled(rerun("3")), &handled(task()))).await);
    assert_admitted(admit(&lookup, &update(&handled(task()), &handled(rerun("4")))).await);
    let same = admit(&lookup, &update(&handled(task()), &handled(rerun("3")))).await;
    assert_refused(same, "invalid", &["enact.dev/rerun", "write \"4\""]);
    let huge = admit(&lookup, &update(&task(), &rerun("18446744073709551615"))).await;
    assert_refused(huge, "invalid", &["enact.dev/rerun", "write \"1\""]);
    for (old, new) in
        [(task(), rerun("soon")), (task(), rerun("-1")), (rerun("2"), rerun("2 ")), (rerun("3"), rerun("2"))]
    {
        assert_refused(admit(&lookup, &update(&old, &new)).await, "invalid", &["enact.dev/rerun", "grows"]);
    }
    let owner =
        json!([{ "apiVersion": "enact.dev/v1alpha1", "kind": "Plan", "name": "mine", "uid": "1", "controller": true }]);
    let adopted = with(task(), "/metadata/ownerReferences", owner);
    assert_refused(admit(&lookup, &update(&task(), &adopted)).await, "forbidden", &["metadata.ownerReferences"]);
    let collector = "system:serviceaccount:kube-system:generic-garbage-collector";
    assert_admitted(admit(&lookup, &by(update(&adopted, &task()), collector)).await);
    let held = with(task(), "/metadata/finalizers", json!(["example.org/mine"]));
    assert_refused(
        admit(&lookup, &update(&task(), &held)).await,
        "forbidden",
        &["metadata.finalizers", "leave it out"],
    );
    assert_admitted(admit(&lookup, &update(&held, &task())).await);
    let relabelled = with(task(), "/metadata/labels/enact.dev~1plan", json!("other"));
    assert_refused(admit(&lookup, &update(&task(), &relabelled)).await, "forbidden", &["metadata.labels"]);
    let changed = with(task(), "/spec/title", json!("b"));
    assert_refused(admit(&lookup, &update(&task(), &changed)).await, "invalid", &["is immutable"]);
    assert_admitted(admit(&lookup, &update(&task(), &with(task(), "/metadata/labels/mine", json!("x")))).await);
}

#[tokio::test]
async fn clean_up_is_never_blocked() {
    // No tenant exists any more, and all lookups fail.
    let broken = FakeLookup { broken: true, ..FakeLookup::default() };
    let plan = json!([{ "apiVersion": "enact.dev/v1alpha1", "kind": "Plan", "name": "shop", "uid": "1" }]);
    let owned = with(task(), "/metadata/ownerReferences", plan);
    let held = with(owned.clone(), "/metadata/finalizers", json!(["foregroundDeletion"]));
    for user in ["system:serviceaccount:kube-system:generic-garbage-collector", "system:kube-controller-manager"] {
        for (old, new) in [(&held, &owned), (&owned, &held), (&held, &task())] {
            assert_admitted(admit(&broken, &by(update(old, new), user)).await);
            let patch = stamp(&request(&by(update(old, new), user)), &broken, Timestamp::UNIX_EPOCH).await.unwrap();
            assert!(patch.0.is_empty(), "{patch:?}");
        }
    }
    // Any user may remove finalizers, but not owner references.
    assert_admitted(admit(&broken, &update(&held, &owned)).await);
    assert_refused(
        admit(&FakeLookup::two_tenants(), &update(&owned, &task())).await,
        "forbidden",
        &["metadata.ownerReferences"],
    );
}

#[tokio::test]
async fn a_plan_can_be_cancelled_while_its_tenant_is_deleted() {
    // A Tenant that is being deleted owns nothing.
    let lookup = FakeLookup::default();
    let plan = object("Plan", "p", &json!({ "agentRef": { "name": "a" }, "tasks": [{ "id": "T001", "title": "a" }] }));
    for field in ["cancel", "suspend"] {
        let review = update(&plan, &with(plan.clone(), &format!("/spec/{field}"), json!(true)));
        assert_admitted(admit(&lookup, &review).await);
        let patch = stamp(&request(&review), &lookup, Timestamp::UNIX_EPOCH).await.unwrap();
        assert!(!format!("{patch:?}").contains("labels"), "{patch:?}");
    }
    let changed = with(plan.clone(), "/spec/tasks/0/title", json!("b"));
    assert_refused(admit(&lookup, &update(&plan, &changed)).await, "forbidden", &["belongs to no tenant"]);
}

#[tokio::test]
async fn nobody_leaves_an_object_to_the_garbage_collector() {
    let lookup = FakeLookup::two_tenants();
    let agent = || object("Agent", "a", &json!({ "adapter": "Command" }));
    let owned = |uid: &str| {
        let owner = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": uid }]);
        with(agent(), "/metadata/ownerReferences", owner)
    };
    assert_admitted(admit(&lookup, &create(&agent())).await);
    for review in [create(&owned("1")), update(&agent(), &owned("1")), update(&owned("1"), &owned("2"))] {
        assert_refused(admit(&lookup, &review).await, "forbidden", &["metadata.ownerReferences", "garbage collector"]);
    }
    // An owner that was there before this rule can stay, and be removed.
    assert_admitted(admit(&lookup, &update(&owned("1"), &owned("1"))).await);
    assert_admitted(admit(&lookup, &update(&owned("1"), &agent())).await);
    let tenant = object("Tenant", "acme", &json!({ "namespaces": ["team-a"] }));
    let references = json!([{ "apiVersion": "v1", "kind": "Namespace", "name": "none", "uid": "1" }]);
    let review = update(&tenant, &with(tenant.clone(), "/metadata/ownerReferences", references));
    assert_refused(admit(&lookup, &review).await, "forbidden", &["metadata.ownerReferences"]);
}

/// Checks that a change of the label by the mutating webhook does not count as the user's change.
#[tokio::test]
async fn a_task_can_change_after_its_namespace_moved() {
    let old = with(task(), TENANT, json!("former"));
    let rerun = with(task(), "/metadata/annotations/enact.dev~1rerun", json!("1"));
    assert_admitted(admit(&FakeLookup::two_tenants(), &update(&old, &rerun)).await);
    let forged = with(task(), TENANT, json!("other"));
    assert_refused(
        admit(&FakeLookup::two_tenants(), &update(&old, &forged)).await,
        "forbidden",
        &["belongs to tenant acme"],
    );
}

/// Checks every kind of review. A review contains the resulting object, so these cover all verbs, patch types and subresources.
#[tokio::test]
async fn a_namespace_cannot_be_hijacked() {
    let lookup = FakeLookup::two_tenants();
    let label = |tenant: &str| json!({ "enact.dev/tenant": tenant });
    let none = json!({});
    for (name, old, new, ok) in [
        ("free", &none, &label("acme"), false),
        ("team-a", &label("acme"), &label("other"), false),
        ("team-a", &label("acme"), &none, false),
        ("team-a", &none, &label("other"), false),
        ("kube-system", &none, &label("acme"), false),
        ("team-a", &none, &label("acme"), true),
        ("team-a", &label("other"), &label("acme"), true),
        ("free", &label("gone"), &none, true),
        ("free", &label("gone"), &label("gone"), true),
    ] {
        let (before, after) = (namespace(name, old), namespace(name, new));
        let forged = with(after.clone(), "/metadata/uid", json!("0000"));
        let owned = with(after.clone(), "/metadata/ownerReferences", json!([{ "kind": "Tenant", "name": "other" }]));
        for new in [&after, &forged, &owned] {
            let mut reviews = vec![update(&before, new)];
            reviews.extend(["status", "finalize"].map(|s| of(update(&before, new), s)));
            for review in reviews {
                assert_admitted(admit(&lookup, &by(review.clone(), OPERATOR)).await);
                let outcome = admit(&lookup, &review).await;
                if ok {
                    assert_admitted(outcome);
                } else {
                    assert_refused(outcome, "forbidden", &["metadata.labels[enact.dev/tenant]"]);
                }
            }
        }
    }
    assert_refused(
        admit(&lookup, &create(&namespace("free", &label("acme")))).await,
        "forbidden",
        &["does not belong"],
    );
    assert_refused(
        admit(&lookup, &create(&namespace("team-a", &label("other")))).await,
        "forbidden",
        &["belongs to tenant acme"],
    );
    assert_admitted(admit(&lookup, &create(&namespace("team-a", &label("acme")))).await);
    let broken = FakeLookup { broken: true, ..lookup };
    assert_refused(admit(&broken, &create(&namespace("free", &label("acme")))).await, "error", &["try again"]);
    // A request that does not change the label is admitted even if lookups fail.
    assert_admitted(admit(&broken, &create(&namespace("free", &none))).await);
}

#[tokio::test]
async fn approvals_that_do_not_count_are_refused() {
    let policy = |groups: &[&str], four_eyes| Policy {
        required: 1,
        groups: groups.iter().map(|g| (*g).to_owned()).collect(),
        four_eyes,
        ..Policy::default()
    };
    let lookup = FakeLookup::two_tenants()
        .with_subject("Plan team-a/shop", "v2", policy(&["leads"], true))
        .with_subject("Specification team-a/spec", "v1", policy(&["owners"], false));
    let admitted = approval("Plan", "shop", "v2");
    assert_admitted(admit(&lookup, &create(&admitted)).await);
    assert_refused(
        admit(&lookup, &create(&approval("Plan", "shop", "v1"))).await,
        "invalid",
        &["spec.digest", &digest("v1"), &digest("v2"), "look at the present content"],
    );
    assert_refused(admit(&lookup, &create(&approval("Plan", "gone", "v1"))).await, "invalid", &["no Plan gone"]);
    assert_refused(
        admit(&lookup, &create(&approval("Specification", "spec", "v1"))).await,
        "forbidden",
        &["none of the groups", "(owners)"],
    );
    // A service account is not a person, and can approve only if the policy names it. Then four eyes apply: here it is the author.
    let robot = "system:serviceaccount:flux-system:kustomize-controller";
    let mut own = lookup.clone();
    let subject = own.subjects.get_mut("Plan team-a/shop").unwrap();
    subject.content.as_mut().unwrap().authors = Authors::default().with([robot]);
    subject.policy.groups = vec![];
    let signed = with(admitted.clone(), "/spec/by", json!({ "user": robot, "groups": ["system:authenticated"] }));
    assert_refused(admit(&own, &by(create(&signed), robot)).await, "forbidden", &["not a person", "machines"]);
    own.subjects.get_mut("Plan team-a/shop").unwrap().policy.machines = vec![robot.into()];
    assert_refused(admit(&own, &by(create(&signed), robot)).await, "forbidden", &["four eyes", "somebody else"]);

    let forged = with(admitted.clone(), "/spec/by/user", json!("boss"));
    assert_refused(admit(&lookup, &create(&forged)).await, "forbidden", &["spec.by", "says boss", ANN]);
    let unsigned = with(admitted.clone(), "/spec/by", Value::Null);
    assert_refused(admit(&lookup, &create(&unsigned)).await, "forbidden", &["MutatingWebhookConfiguration"]);
    // The operator has no exception: it can sign only with its own name.
    assert_refused(admit(&lookup, &by(create(&admitted), OPERATOR)).await, "forbidden", &["spec.by"]);
    let broken = FakeLookup { broken: true, ..lookup.clone() };
    assert_refused(admit(&broken, &create(&admitted)).await, "error", &["try again"]);

    let changed = with(admitted.clone(), "/spec/comment", json!("on second thought"));
    assert_refused(admit(&lookup, &update(&admitted, &changed)).await, "invalid", &["is immutable"]);

    // The plan was deleted and created again.
    let mut recreated = lookup.clone();
    recreated.subjects.get_mut("Plan team-a/shop").unwrap().uid = Some("second".into());
    let of_first = with(admitted.clone(), "/spec/subjectUid", json!("first"));
    assert_refused(admit(&recreated, &create(&of_first)).await, "invalid", &["spec.subjectUid", "first", "second"]);
    assert_refused(admit(&recreated, &create(&admitted)).await, "invalid", &["spec.subjectUid", "missing"]);
    let of_second = with(admitted.clone(), "/spec/subjectUid", json!("second"));
    assert_admitted(admit(&recreated, &create(&of_second)).await);

    let mut unread = lookup;
    unread.subjects.get_mut("Plan team-a/shop").unwrap().content = None;
    assert_refused(admit(&unread, &create(&admitted)).await, "invalid", &["no status.digest yet", "wait"]);
}

#[tokio::test]
async fn documents_and_names_are_checked() {
    let lookup = FakeLookup::two_tenants();
    let long = with(agent(), "/metadata/name", json!("a".repeat(64)));
    assert_refused(admit(&lookup, &create(&long)).await, "invalid", &["metadata.name", "64 characters", "at most 63"]);
    for (kind, name) in [("Agent", "coder.v1"), ("Specification", "a.b"), ("Constitution", "x.")] {
        let object = object(kind, name, &json!({ "adapter": "Command", "source": { "inline": "x" } }));
        assert_refused(admit(&lookup, &create(&object)).await, "invalid", &["metadata.name", "cannot be referred to"]);
    }
    for (kind, text, parts) in [
        ("Specification", "", &["spec.source.inline", "line 1", "empty"][..]),
        ("Constitution", " \n\t\n", &["empty"]),
        ("Specification", "a\0b", &["line 1", "NUL", "UTF-8"]),
    ] {
        let object = object(kind, "o", &json!({ "source": { "inline": text } }));
        assert_refused(admit(&lookup, &create(&object)).await, "invalid", parts);
    }
    let from_map = |name: &str, key: &str| {
        let source = json!({ "source": { "configMapKeyRef": { "name": name, "key": key } } });
        object("Constitution", "o", &source)
    };
    assert_admitted(admit(&lookup, &create(&from_map("docs.v1", "constitution.md"))).await);
    assert_refused(admit(&lookup, &create(&from_map("other/docs", "k"))).await, "invalid", &["same namespace"]);
    assert_refused(admit(&lookup, &create(&from_map("docs", "../k"))).await, "invalid", &["not a key"]);
    // Nobody knows who wrote a ConfigMap.
    let four_eyes = with(from_map("docs", "k"), "/spec/approval", json!({ "required": 1, "fourEyes": true }));
    let change = json!({ "by": ANN, "at": "2026-01-01T00:00:00Z" }).to_string();
    let four_eyes = with(four_eyes, "/metadata/annotations/enact.dev~1policy-change", json!(change));
    let refused = admit(&lookup, &update(&from_map("docs", "old"), &four_eyes)).await;
    assert_refused(refused, "invalid", &["spec.source.configMapKeyRef", "four eyes"]);
    let secret =
        json!({ "adapter": "Command", "env": [{ "name": "KEY", "secretKeyRef": { "name": "a/b", "key": "k" } }] });
    assert_refused(
        admit(&lookup, &create(&object("Agent", "o", &secret))).await,
        "invalid",
        &["spec.env[0].secretKeyRef.name", "same namespace"],
    );
    let unknown = object("Agent", "o", &json!({ "adapter": "Command", "hostNetwork": true }));
    assert_refused(admit(&lookup, &create(&unknown)).await, "invalid", &["hostNetwork", "kubectl explain"]);
}

#[tokio::test]
async fn large_documents_are_left_to_the_operator() {
    let lookup = FakeLookup::two_tenants();
    for kind in ["Specification", "Constitution", "Plan"] {
        let with_text = |text: &str| {
            let spec = json!({ "agentRef": { "name": "coder" }, "source": { "inline": text } });
            let spec = if kind == "Plan" { spec } else { json!({ "source": spec["source"] }) };
            create(&object(kind, "o", &spec))
        };
        // Parsed on another thread, and refused.
        let medium = format!("a\0b{}", "x ".repeat(20 << 10));
        assert_refused(admit(&lookup, &with_text(&medium)).await, "invalid", &["spec.source.inline", "NUL"]);
        let warnings = assert_admitted(admit(&lookup, &with_text(&"[".repeat(1 << 20))).await);
        assert!(warnings.iter().any(|w| w.contains("only the operator checks it")), "{kind}: {warnings:?}");
        let too_large = with_text(&"[".repeat((1 << 20) + 1));
        assert_refused(admit(&lookup, &too_large).await, "invalid", &["spec.source.inline", "1048577 bytes"]);
    }
}

#[tokio::test]
async fn git_names_of_a_source_are_checked() {
    let lookup = FakeLookup::two_tenants();
    let with = |field: &str, value: Value| {
        let mut git = json!({ "url": "https://git.example.org/a.git", "revision": "main", "path": "specs/spec.md" });
        git[field] = value;
        create(&object("Specification", "o", &json!({ "source": { "git": git } })))
    };
    assert_admitted(admit(&lookup, &with("credentialsSecretRef", json!({ "name": "git" }))).await);
    for (field, value, part) in [
        ("url", json!("ext::sh -c id"), "must start with https://"),
        ("url", json!("https://bot:secret@git.example.org/a.git"), "must not contain a credential"),
        ("revision", json!("--upload-pack=x"), "must not start with `-`"),
        ("path", json!("../etc/passwd"), "without empty components"),
        ("credentialsSecretRef", json!({ "name": "other/git" }), "same namespace"),
    ] {
        let parts = [&*format!("spec.source.git.{field}"), part];
        assert_refused(admit(&lookup, &with(field, value)).await, "invalid", &parts);
    }
}

#[tokio::test]
async fn kinds_without_rules_are_refused() {
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": "team-a" } });
    assert_refused(
        admit(&FakeLookup::two_tenants(), &create(&pod)).await,
        "invalid",
        &["no rules", "webhook configuration"],
    );
}
