use serde_json::{Value, json};

use crate::testing::{FakeLookup, admit, assert_admitted, assert_refused, create, object, of, update, with};

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

#[tokio::test]
async fn the_operator_alone_writes_the_status() {
    let lookup = FakeLookup::two_tenants();
    let old = provider(&json!({}));
    let new = with(old.clone(), "/status", json!({ "conditions": [] }));
    assert_refused(admit(&lookup, &of(update(&old, &new), "status")).await, "forbidden", &["only the operator"]);
}
