//! Messages against an API server and a record store in memory.

use serde_json::{Value, json};

use crate::testing::Bench;
use crate::testing::plans::script_task;

/// Returns a bench with a plan of one task, whose pod exists.
async fn running() -> Bench {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    bench.put_plan("p", &json!({"agentRef": {"name": "scripts"}, "tasks": [script_task("T001", &[])]}));
    for _ in 0..2 {
        bench.plan("p").await.unwrap();
    }
    bench.api.writes();
    bench
}

/// Gives the task these messages.
fn send(bench: &Bench, messages: &Value) {
    let annotations = json!({"enact.dev/messages": messages.to_string()});
    bench.api.change("tasks/p-t001", &json!({"metadata": {"annotations": annotations}}));
    bench.contexts.plans.index.put_task(&serde_json::from_value(bench.api.get("tasks/p-t001")).unwrap());
}

/// Reconciles the plan, and returns the writes of pods.
async fn pod_writes(bench: &mut Bench) -> Vec<String> {
    bench.plan("p").await.unwrap();
    let mut writes = bench.api.writes();
    writes.retain(|write| write.contains("pods/"));
    writes
}

#[tokio::test]
async fn messages_are_recorded_and_reach_the_running_pod() {
    let mut bench = running().await;
    let first = json!({"id": 1, "text": "Use SQLite.", "by": "ann", "at": "2026-12-01T10:00:00Z"});
    send(&bench, &json!([first]));
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.writes(), ["PATCH pods/p-t001-1"]);
    let annotation = bench.api.get("pods/p-t001-1")["metadata"]["annotations"]["enact.dev/messages"].clone();
    assert_eq!(serde_json::from_str::<Value>(annotation.as_str().unwrap()).unwrap(), json!([first]));
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.writes(), [""; 0], "a message is written once");

    send(&bench, &json!([first, {"id": 2, "text": "And tests.", "by": "bob"}]));
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.writes(), ["PATCH pods/p-t001-1"]);
    let recorded = bench.record_store.summaries();
    let messages: Vec<&String> = recorded.iter().filter(|line| line.contains("message")).collect();
    assert_eq!(messages, ["p-t001: message 1 by ann", "p-t001: message 2 by bob"]);
}

#[tokio::test]
async fn a_pod_with_copied_labels_gets_no_message() {
    let mut bench = running().await;
    let mut forged = bench.api.get("pods/p-t001-1");
    for (field, value) in [("name", "forged"), ("uid", "forged")] {
        forged["metadata"][field] = value.into();
    }
    forged["metadata"]["labels"]["enact.dev/attempt"] = "2".into();
    bench.api.put("pods/forged", forged);
    bench.pod("forged", json!({"phase": "Running"})).await;
    send(&bench, &json!([{"id": 1, "text": "Use SQLite."}]));
    assert_eq!(pod_writes(&mut bench).await, ["PATCH pods/p-t001-1"]);
}

#[tokio::test]
async fn a_refused_message_does_not_stop_the_plan() {
    let mut bench = running().await;
    bench.api.refuse("PATCH pods/p-t001-1", 403, "a policy refuses it");
    send(&bench, &json!([{"id": 1, "text": "Use SQLite."}]));
    assert_eq!(pod_writes(&mut bench).await, ["PATCH pods/p-t001-1"]);
    assert!(bench.api.events().contains(&"MessageNotDelivered".to_owned()));
    assert_eq!(pod_writes(&mut bench).await, [""; 0], "not at each reconcile");

    bench.api.relent();
    bench.pass(30);
    assert_eq!(pod_writes(&mut bench).await, ["PATCH pods/p-t001-1"]);
    assert!(bench.api.get("pods/p-t001-1")["metadata"]["annotations"]["enact.dev/messages"].is_string());
    bench.pass(30);
    assert_eq!(pod_writes(&mut bench).await, [""; 0], "it has arrived");
}
