//! The objects of an installation in the API server of the tests.

use enact_testing::FakeApi;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

pub const VALIDATING: &str = "validatingwebhookconfigurations/enact";
pub const MUTATING: &str = "mutatingwebhookconfigurations/enact";

/// Returns a cluster with both configurations, as Helm makes them, and with the tenant `acme` of namespace `team-a`.
pub fn installed() -> FakeApi {
    let api = FakeApi::default();
    for (key, kind, names) in [
        (VALIDATING, "ValidatingWebhookConfiguration", &["objects.enact.dev", "tenants.enact.dev"][..]),
        (MUTATING, "MutatingWebhookConfiguration", &["stamp.enact.dev"]),
    ] {
        let webhooks = names.iter().map(|name| {
            json!({
                "name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": { "service": { "name": "enact-webhook", "namespace": "enact", "path": "/x" } },
            })
        });
        let config = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": { "name": "enact" },
            "webhooks": webhooks.collect::<Vec<_>>(),
        });
        api.put(key, config);
    }
    let tenant = json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "acme" },
        "spec": { "namespaces": ["team-a"] },
    });
    api.put("tenants/acme", tenant);
    api
}

/// Returns the bundle of every webhook; empty where a webhook has none.
pub fn bundles(api: &FakeApi) -> Vec<String> {
    let webhooks = [VALIDATING, MUTATING].map(|key| api.get(key)["webhooks"].as_array().unwrap().clone());
    let bundle = |w: Value| serde_json::from_value::<ByteString>(w["clientConfig"]["caBundle"].clone());
    let text = |w| bundle(w).map_or_else(|_| String::new(), |b| String::from_utf8(b.0).unwrap());
    webhooks.into_iter().flatten().map(text).collect()
}
