//! Which decisions of people count for a plan, against an API server and a record store in memory.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::testing::Bench;

/// Returns a bench with an agent.
async fn bench() -> Bench {
    let mut bench = Bench::new().await;
    bench.agent_with("coder", json!({"adapter": "Command", "script": "make"}));
    bench
}

/// Creates the plan `p`, or creates it again.
fn create(bench: &Bench, change: &Value) {
    let mut spec = json!({"agentRef": {"name": "coder"}, "tasks": [{"id": "T001", "title": "A"}]});
    spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    bench.put_plan("p", &spec);
}

/// Adds a decision on the present plan.
fn decide(bench: &mut Bench, decision: &str) {
    bench.decide_on_plan("kim", decision, &json!({"comment": "too soon"}));
}

fn reason(bench: &Bench) -> Value {
    bench.api.get("plans/p")["status"]["conditions"][0]["reason"].clone()
}

#[tokio::test]
async fn a_plan_that_was_created_again_needs_another_decision() {
    let mut bench = bench().await;
    let policy = json!({"approval": {"required": 1}, "suspend": true});
    create(&bench, &policy);
    bench.plan("p").await.unwrap();
    let first = bench.api.get("plans/p");
    decide(&mut bench, "Approve");
    bench.plan("p").await.unwrap();
    assert_eq!(reason(&bench), "Suspended", "it is approved");

    bench.api.remove("plans/p");
    create(&bench, &policy);
    bench.plan("p").await.unwrap();
    let second = bench.api.get("plans/p");
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    assert_eq!(first["status"]["digest"], second["status"]["digest"], "the content is the same");
    assert_eq!(reason(&bench), "WaitingForApproval");
}

#[tokio::test]
async fn a_rejection_holds_a_plan_without_required_approvals() {
    let mut bench = bench().await;
    create(&bench, &json!({"suspend": true}));
    bench.plan("p").await.unwrap();
    assert_eq!(reason(&bench), "Suspended");
    decide(&mut bench, "Reject");
    bench.plan("p").await.unwrap();
    assert_eq!(reason(&bench), "Rejected");
    bench.api.change("plans/p", &json!({"metadata": {"generation": 2}, "spec": {"suspend": false}}));
    bench.plan("p").await.unwrap();
    assert_eq!(reason(&bench), "Rejected");
    assert!(bench.api.all("tasks").is_empty());
}

#[tokio::test]
async fn a_stricter_policy_keeps_a_rejection() {
    let mut bench = bench().await;
    create(&bench, &json!({"approval": {"required": 1}, "suspend": true}));
    bench.plan("p").await.unwrap();
    bench.decide_on_plan("ann", "Approve", &json!({"by": {"user": "ann", "groups": ["leads"]}}));
    decide(&mut bench, "Reject");
    bench.plan("p").await.unwrap();
    assert_eq!(reason(&bench), "Rejected");
    let stricter = json!({"required": 1, "groups": ["leads"], "fourEyes": true});
    let change = json!({"generation": 2, "annotations": {"enact.dev/author": "kim"}});
    bench.api.change("plans/p", &json!({"metadata": change, "spec": {"approval": stricter}}));
    bench.plan("p").await.unwrap();
    assert_eq!(reason(&bench), "Rejected", "kim is the author, and is in no group");
}

#[tokio::test]
async fn a_change_of_the_policy_is_recorded_once() {
    let mut bench = bench().await;
    create(&bench, &json!({"suspend": true}));
    let change = json!({"approval": {"by": "ann", "at": "2025-12-31T23:59:59Z"}}).to_string();
    bench.api.change("plans/p", &json!({"metadata": {"annotations": {"enact.dev/changes": change}}}));
    bench.record_store.down.store(true, Ordering::Relaxed);
    bench.plan("p").await.unwrap_err();
    bench.record_store.down.store(false, Ordering::Relaxed);
    for _ in 0..2 {
        bench.plan("p").await.unwrap();
    }
    let summaries = bench.record_store.summaries();
    assert_eq!(summaries.iter().filter(|summary| *summary == "p: policy by ann").count(), 1, "{summaries:?}");
}
