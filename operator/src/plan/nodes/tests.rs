use enact_domain::assignment::{Reason, Report};
use enact_domain::record::RecordedAttempt;
use serde_json::json;

use crate::testing::Bench;

/// Returns a bench with a plan of one task, whose first attempt runs.
async fn started() -> Bench {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    bench.api.put(
        "plans/p",
        json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Plan",
            "metadata": {"name": "p", "namespace": "ns", "generation": 1},
            "spec": {"agentRef": {"name": "scripts"}, "tasks": [{"id": "T001", "title": "a", "script": "true"}]}
        }),
    );
    for _ in 0..2 {
        bench.plan("p").await.unwrap();
    }
    assert!(bench.api.has("pods/p-t001-1"));
    bench
}

/// Returns reason and message of the end that the record has for the attempt.
async fn end_of_lost_pod(delivered: Option<Report>) -> Vec<String> {
    let mut bench = started().await;
    if delivered.is_some() {
        let subject_uid = bench.api.get("tasks/p-t001")["metadata"]["uid"].as_str().unwrap().to_owned();
        bench.record_store.attempts.lock().unwrap().push(RecordedAttempt {
            subject_uid,
            number: 1,
            agent: Some("scripts".into()),
            finished: None,
            report: delivered,
        });
    }
    bench.pod("p-t001-1", json!({"phase": "Unknown"})).await;
    bench.plan("p").await.unwrap();
    bench.record_store.summaries().into_iter().filter(|summary| summary.contains("end 1")).collect()
}

#[tokio::test]
async fn a_delivered_result_counts_on_a_lost_node() {
    let done = end_of_lost_pod(Some(Report::new(Reason::Succeeded, ""))).await;
    assert_eq!(done, ["p-t001: end 1 Succeeded"]);
    let failed = end_of_lost_pod(Some(Report::new(Reason::AgentFailed, "exit code 3"))).await;
    assert_eq!(failed, ["p-t001: end 1 AgentFailed"]);
    assert_eq!(end_of_lost_pod(None).await, ["p-t001: end 1 Lost"]);
}
