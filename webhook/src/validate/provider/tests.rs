use serde_json::{Value, json};

use crate::testing::{ANN, FakeLookup, admit, assert_admitted, assert_refused, create, object, of, update, with};

fn provider(spec: &Value) -> Value {
    let mut all = json!({ "api": "OpenAi", "baseUrl": "https://api.example.org" });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    object("ModelProvider", "openai", &all)
}

/// Returns the object in the namespace of the installation, which has no tenant.
fn installed(object: Value) -> Value {
    with(with(object, "/metadata/namespace", json!("enact")), "/metadata/labels", Value::Null)
}

#[tokio::test]
async fn providers_are_in_a_tenant_or_in_the_installation() {
    let lookup = FakeLookup::two_tenants();
    let shared = provider(&json!({ "key": "openai", "shareWith": { "allTenants": true } }));
    assert_admitted(admit(&lookup, &create(&provider(&json!({ "key": "openai" })))).await);
    assert_admitted(admit(&lookup, &create(&installed(shared.clone()))).await);
    assert_refused(admit(&lookup, &create(&shared)).await, "invalid", &["spec.shareWith", "installation"]);
    let elsewhere = with(provider(&json!({})), "/metadata/namespace", json!("nobody"));
    assert_refused(admit(&lookup, &create(&elsewhere)).await, "forbidden", &["belongs to no tenant"]);
    let labelled = with(installed(provider(&json!({}))), "/metadata/labels", json!({ "enact.dev/tenant": "acme" }));
    assert_refused(admit(&lookup, &create(&labelled)).await, "forbidden", &["belongs to no tenant"]);
    let document = installed(object("Constitution", "own", &json!({ "source": { "inline": "# A" } })));
    assert_refused(admit(&lookup, &create(&document)).await, "forbidden", &["belongs to no tenant"]);
}

#[tokio::test]
async fn urls_and_prices_are_checked() {
    let lookup = FakeLookup::two_tenants();
    let price = json!([{ "model": "gpt-5", "input": "1.5.0", "output": "2" }]);
    for (spec, parts) in [
        (json!({ "baseUrl": "https://me:secret@api.example.org" }), &["spec.baseUrl", "credential"][..]),
        (json!({ "prices": price }), &["spec.prices[0].input", "decimal number"]),
        (json!({ "models": ["*-5"] }), &["spec.models[0]", "prefix"]),
        (json!({ "secret": "x" }), &["unknown field `secret`"]),
    ] {
        assert_refused(admit(&lookup, &create(&provider(&spec))).await, "invalid", parts);
    }
    let plain = provider(&json!({ "baseUrl": "http://vllm.models.svc:8000", "key": "vllm" }));
    let warnings = assert_admitted(admit(&lookup, &create(&plain)).await);
    assert!(warnings[0].contains("without encryption"), "{warnings:?}");
}

/// The gateway would send the key to a server of somebody who must not have it.
#[tokio::test]
async fn who_may_not_read_a_key_sends_it_nowhere() {
    let owners = FakeLookup::two_tenants();
    let editors = FakeLookup { keyless: vec![ANN.into()], ..owners.clone() };
    let keyed = |url: &str| provider(&json!({ "key": "openai", "baseUrl": url }));
    let (good, evil) = (keyed("https://api.example.org"), keyed("https://evil.example.org"));
    let other_key = provider(&json!({ "key": "another" }));
    let unkeyed = provider(&json!({}));
    let moved = provider(&json!({ "baseUrl": "https://evil.example.org" }));
    for review in [create(&evil), update(&good, &evil), update(&good, &other_key), update(&moved, &evil)] {
        let parts = &["spec.key", ANN, "may not get the Secret enact-model-keys in namespace team-a"];
        assert_refused(admit(&editors, &review).await, "forbidden", parts);
        assert_admitted(admit(&owners, &review).await);
    }
    let limited = provider(&json!({ "key": "openai", "limits": { "requestsPerMinute": 60 } }));
    for review in [create(&unkeyed), update(&unkeyed, &moved), update(&good, &limited), update(&good, &unkeyed)] {
        assert_admitted(admit(&editors, &review).await);
    }
}

#[tokio::test]
async fn the_operator_alone_writes_the_status() {
    let lookup = FakeLookup::two_tenants();
    let old = provider(&json!({}));
    let new = with(old.clone(), "/status", json!({ "conditions": [] }));
    assert_refused(admit(&lookup, &of(update(&old, &new), "status")).await, "forbidden", &["only the operator"]);
}
