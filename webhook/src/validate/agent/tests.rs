use serde_json::{Value, json};

use crate::testing::{FakeLookup, admit, assert_admitted, assert_refused, create, object, update, with};

fn agent(spec: &Value) -> Value {
    object("Agent", "coder", spec)
}

/// Returns lookups with a provider of the tenant, and others in the namespace of the installation.
fn lookup() -> FakeLookup {
    let mut lookup = FakeLookup::two_tenants();
    let mut add = |key: &str, fields: Value| {
        let mut spec = json!({ "api": "Anthropic", "baseUrl": "https://api.example.org" });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        lookup.providers.insert(key.into(), serde_json::from_value(spec).unwrap());
    };
    add("team-a/own", json!({ "models": ["claude-*"] }));
    add("enact/shared", json!({ "shareWith": { "tenants": ["acme"] } }));
    add("enact/private", json!({ "shareWith": { "tenants": ["other"] } }));
    add("enact/openai", json!({ "api": "OpenAi", "shareWith": { "allTenants": true } }));
    lookup
}

fn with_models(adapter: &str, models: &[(&str, &str)]) -> Value {
    let models: Vec<Value> =
        models.iter().map(|(provider, model)| json!({ "provider": provider, "model": model })).collect();
    agent(&json!({ "adapter": adapter, "models": models }))
}

fn with_pool(repository: &Value) -> Value {
    agent(&json!({ "adapter": "Command", "warmPool": { "size": 1, "repository": repository } }))
}

#[tokio::test]
async fn models_fit_the_adapter_and_the_provider() {
    let lookup = lookup();
    for good in [
        with_models("ClaudeCode", &[("own", "claude-5"), ("shared", "anything")]),
        with_models("Codex", &[("openai", "gpt-5")]),
        with_models("Command", &[("openai", "gpt-5")]),
        agent(&json!({ "adapter": "Copilot" })),
    ] {
        assert_eq!(assert_admitted(admit(&lookup, &create(&good)).await), Vec::<String>::new());
    }
    for (bad, parts) in [
        (
            with_models("Codex", &[("own", "claude-5")]),
            &["spec.models[0]", "API Anthropic", "Codex requires OpenAi"][..],
        ),
        (
            with_models("Command", &[("own", "claude-5"), ("openai", "x")]),
            &["spec.models[1]", "spec.models[0] has Anthropic"],
        ),
        (with_models("ClaudeCode", &[("own", "gpt-5")]), &["spec.models[0]", "does not allow the model gpt-5"]),
        (with_models("ClaudeCode", &[("../../secrets/x", "m")]), &["spec.models[0].provider", "another namespace"]),
        (with_models("Cursor", &[("own", "claude-5")]), &["spec.models", "cannot use the model gateway"]),
        (agent(&json!({ "adapter": "Codex", "maxTurns": 5 })), &["spec.maxTurns", "cannot limit turns"]),
        (with_pool(&json!({ "url": "file:///etc" })), &["spec.warmPool.repository.url", "must start with https://"]),
        (
            with_pool(&json!({ "url": "https://git.example.org/a", "credentialsSecretRef": { "name": "other/git" } })),
            &["spec.warmPool.repository.credentialsSecretRef.name"],
        ),
    ] {
        assert_refused(admit(&lookup, &create(&bad)).await, "invalid", parts);
    }
    let broken = FakeLookup { broken: true, ..lookup };
    assert_refused(
        admit(&broken, &create(&with_models("ClaudeCode", &[("own", "claude-5")]))).await,
        "error",
        &["try again"],
    );
}

#[tokio::test]
async fn a_missing_provider_is_only_a_warning() {
    for (provider, part) in [("none", "no ModelProvider none"), ("private", "does not share its ModelProvider private")]
    {
        let agent = with_models("ClaudeCode", &[(provider, "claude-5")]);
        let warnings = assert_admitted(admit(&lookup(), &create(&agent)).await);
        assert!(warnings.len() == 1 && warnings[0].contains(part), "{warnings:?}");
    }
}

#[tokio::test]
async fn nothing_names_the_keys_of_providers() {
    let keys = json!({ "name": "enact-model-keys" });
    let variable = json!([{ "name": "KEY", "secretKeyRef": { "name": "enact-model-keys", "key": "claude" } }]);
    let tasks = json!([{ "id": "T001", "title": "a" }]);
    let url = "https://git.example.org/a.git";
    let plan = |workspace: Value| {
        object("Plan", "shop", &json!({ "agentRef": { "name": "coder" }, "tasks": tasks, "workspace": workspace }))
    };
    let source = json!({ "git": { "url": url, "path": "a.md", "credentialsSecretRef": keys } });
    let other = json!({ "credentialsSecretRef": { "name": "other" } });
    for (bad, field) in [
        (agent(&json!({ "adapter": "Command", "env": variable })), "spec.env[0].secretKeyRef.name"),
        (
            plan(json!({ "url": url, "credentialsSecretRef": keys, "integration": other })),
            "spec.workspace.credentialsSecretRef.name",
        ),
        (
            plan(json!({ "url": url, "integration": { "credentialsSecretRef": keys } })),
            "spec.workspace.integration.credentialsSecretRef.name",
        ),
        (
            object("Plan", "shop", &json!({ "agentRef": { "name": "coder" }, "source": source })),
            "spec.source.git.credentialsSecretRef.name",
        ),
        (object("Specification", "shop", &json!({ "source": source })), "spec.source.git.credentialsSecretRef.name"),
        (object("Constitution", "shop", &json!({ "source": source })), "spec.source.git.credentialsSecretRef.name"),
    ] {
        assert_refused(admit(&lookup(), &create(&bad)).await, "invalid", &[field, "no pod may read"]);
    }
}

#[tokio::test]
async fn a_change_is_checked_like_a_new_agent() {
    let old = with_models("ClaudeCode", &[("own", "claude-5")]);
    let new = with(old.clone(), "/spec/models/0/model", json!("gpt-5"));
    assert_refused(admit(&lookup(), &update(&old, &new)).await, "invalid", &["does not allow"]);
}

#[tokio::test]
async fn only_the_installation_shares_agents() {
    let shared = json!({ "adapter": "Command", "script": "true", "shareWith": { "tenants": ["acme"] } });
    let installed = |spec: &Value| {
        let agent = with(object("Agent", "platform", spec), "/metadata/namespace", json!("enact"));
        with(agent, "/metadata/labels", Value::Null)
    };
    let lookup = FakeLookup::two_tenants();
    assert_admitted(admit(&lookup, &create(&installed(&shared))).await);
    assert_refused(admit(&lookup, &create(&object("Agent", "own", &shared))).await, "invalid", &["spec.shareWith"]);
    let secret = json!([{ "name": "KEY", "secretKeyRef": { "name": "a", "key": "b" } }]);
    let with_secret = with(installed(&shared), "/spec/env", secret);
    assert_refused(
        admit(&lookup, &create(&with_secret)).await,
        "invalid",
        &["spec.env[0].secretKeyRef", "the Secret a"],
    );
    // A plan that names it gets no warning.
    let known = FakeLookup { existing: vec!["Agent enact/platform".into()], ..lookup };
    let plan = json!({ "agentRef": { "name": "platform" }, "tasks": [{ "id": "T001", "title": "a" }] });
    assert_eq!(assert_admitted(admit(&known, &create(&object("Plan", "p", &plan))).await), Vec::<String>::new());
}

#[tokio::test]
async fn a_tenant_decides_about_images() {
    let mut lookup = lookup();
    let with_image = |image: &str| agent(&json!({ "adapter": "Command", "image": image }));
    assert_admitted(admit(&lookup, &create(&with_image("debian:13"))).await);
    let rules = json!({ "allowed": ["ghcr.io/acme"], "requireDigest": true });
    lookup.agent_images = serde_json::from_value(rules).unwrap();
    let refused = admit(&lookup, &create(&with_image("debian:13"))).await;
    assert_refused(refused, "invalid", &["spec.image", "debian:13", "below ghcr.io/acme"]);
    let tagged = with_image("ghcr.io/acme/codex:1");
    assert_refused(admit(&lookup, &create(&tagged)).await, "invalid", &["spec.image", "has no digest"]);
    let pinned = with_image(&format!("ghcr.io/acme/codex@sha256:{}", "a".repeat(64)));
    assert_admitted(admit(&lookup, &create(&pinned)).await);
    assert_admitted(admit(&lookup, &create(&agent(&json!({ "adapter": "Command" })))).await);
    // The installation's Agents are written by those who write Tenants.
    let shared =
        with(with(with_image("debian:13"), "/metadata/namespace", json!("enact")), "/metadata/labels", Value::Null);
    assert_admitted(admit(&lookup, &create(&shared)).await);
}
