//! ModelProviders, and the Agents that use them, against an API server in memory.

use serde_json::{Value, json};

use crate::testing::Bench;

fn provider(namespace: &str, spec: &Value) -> Value {
    let mut all = json!({"api": "Anthropic", "baseUrl": "https://api.example.org"});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "ModelProvider",
        "metadata": {"name": "claude", "namespace": namespace, "generation": 1}, "spec": all,
    })
}

/// Returns progress, reason and message of the condition Ready.
fn ready(object: &Value) -> String {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let text = |c: &Value| format!("{} {}: {}", c["status"], c["reason"], c["message"]).replace('"', "");
    conditions.iter().find(|c| c["type"] == "Ready").map(text).unwrap_or_default()
}

#[tokio::test]
async fn every_state_has_its_reason() {
    let mut bench = Bench::new().await;
    let mut shown = Vec::new();
    let shared = json!({"shareWith": {"allTenants": true}});
    for (namespace, spec) in [
        ("ns", json!({"key": "claude"})),
        ("enact-system", shared.clone()),
        ("ns", shared),
        ("elsewhere", json!({})),
        ("ns", json!({"baseUrl": "https://me:secret@api.example.org"})),
    ] {
        bench.api.put("modelproviders/claude", provider(namespace, &spec));
        bench.provider("claude").await.unwrap();
        shown.push(ready(&bench.api.get("modelproviders/claude")));
        bench.api.writes();
        bench.provider("claude").await.unwrap();
        assert_eq!(bench.api.writes(), [""; 0], "no change, no write");
    }
    insta::assert_snapshot!(shown.join("\n"));
}

#[tokio::test]
async fn an_agent_waits_for_its_provider() {
    let mut bench = Bench::new().await;
    let spec = json!({"adapter": "ClaudeCode", "models": [{"provider": "claude", "model": "claude-5"}]});
    bench.api.put(
        "agents/coder",
        json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Agent",
            "metadata": {"name": "coder", "namespace": "ns", "generation": 1}, "spec": spec,
        }),
    );
    let mut shown = Vec::new();
    bench.reconcile_agent("coder").await.unwrap();
    shown.push(ready(&bench.api.get("agents/coder")));
    for (namespace, spec) in [
        ("enact-system", json!({"shareWith": {"tenants": ["acme"]}})),
        ("enact-system", json!({"shareWith": {"tenants": ["default"]}})),
        ("ns", json!({"api": "OpenAi"})),
        ("ns", json!({"models": ["haiku"]})),
        ("ns", json!({"models": ["claude-*"]})),
    ] {
        bench.api.put("modelproviders/claude", provider(namespace, &spec));
        bench.provider("claude").await.unwrap();
        assert_eq!(bench.requeued_agents(), ["coder"], "a changed provider requeues its agents");
        bench.reconcile_agent("coder").await.unwrap();
        shown.push(ready(&bench.api.get("agents/coder")));
    }
    insta::assert_snapshot!(shown.join("\n"));
}
