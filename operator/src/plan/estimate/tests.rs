//! Estimates of plans against an API server and a record store in memory.

use std::sync::atomic::Ordering;

use enact_domain::usage::{Balance, Charge, Scope, Tokens};
use enact_store::FinishedTask;
use serde_json::{Value, json};

use crate::testing::Bench;

/// Returns a bench with a plan of three independent tasks that needs an approval, and whose agent uses models.
async fn bench() -> Bench {
    let mut bench = Bench::new().await;
    bench.add_provider(&json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "ModelProvider", "metadata": {"name": "claude", "namespace": "ns"},
        "spec": {"api": "Anthropic", "baseUrl": "https://api.example.org"},
    }));
    let models = json!([{"provider": "claude", "model": "claude-5"}]);
    bench.agent_with("coder", json!({"adapter": "Command", "models": models}));
    bench.agent_with("twin", json!({"adapter": "Command", "models": models}));
    bench.agent("scripts");
    let tasks = ["T001", "T002", "T003"].map(|id| json!({"id": id, "title": "A", "script": "true"}));
    bench.put_plan("p", &json!({"agentRef": {"name": "coder"}, "approval": {"required": 1}, "tasks": tasks}));
    bench
}

/// Adds a finished task of an agent, of 1000 tokens, one cent and a minute.
fn finish(bench: &Bench, agent: &str) {
    let task = FinishedTask { agent: agent.into(), tokens: 1000, cost_micro_usd: Some(10_000), seconds: 60 };
    bench.record_store.finished_tasks.lock().unwrap().push(task);
}

fn estimate(bench: &Bench) -> Value {
    bench.api.get("plans/p")["status"]["estimate"].clone()
}

fn approve(bench: &mut Bench) {
    bench.decide_on_plan("kim", "Approve", &json!({}));
}

#[tokio::test]
async fn a_waiting_plan_has_an_estimate_of_enough_tasks() {
    let mut bench = bench().await;
    for agent in ["ns/twin", "ns/twin", "ns/coder", "ns/deleted", "ns/scripts"] {
        finish(&bench, agent);
    }
    bench.plan("p").await.unwrap();
    assert_eq!(estimate(&bench), json!({"samples": 4, "basis": "Unknown"}), "the script is no sample");
    finish(&bench, "ns/other");
    bench.api.writes();
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.writes(), [""; 0], "the history is read once for many plans");
    bench.pass(601);
    bench.plan("p").await.unwrap();
    let three = |each: u64| json!({"low": each * 3, "expected": each * 3, "high": each * 3});
    let expected = json!({
        "usd": {"low": "0.03", "expected": "0.03", "high": "0.03"}, "tokens": three(1000), "durationSeconds": three(20),
        "samples": 5, "basis": "Tenant",
    });
    assert_eq!(estimate(&bench), expected);
    for _ in 0..3 {
        finish(&bench, "ns/twin");
    }
    bench.pass(601);
    bench.plan("p").await.unwrap();
    assert_eq!((&estimate(&bench)["basis"], &estimate(&bench)["samples"]), (&json!("Model"), &json!(6)));
}

#[tokio::test]
async fn kept_work_costs_nothing() {
    let mut bench = bench().await;
    let task = |id: &str, needs: &[&str]| json!({"id": id, "title": "A", "script": "true", "dependsOn": needs});
    let tasks = [task("T001", &[]), task("T002", &["T001"]), task("T003", &["T002"])];
    bench.put_plan("old", &json!({"agentRef": {"name": "scripts"}, "tasks": tasks}));
    for _ in 0..2 {
        bench.plan("old").await.unwrap();
    }
    bench.succeed("old-t001-1").await;
    for _ in 0..2 {
        bench.plan("old").await.unwrap();
    }
    (0..5).for_each(|_| finish(&bench, "ns/coder"));
    let approval = json!({"required": 1});
    let spec =
        json!({"agentRef": {"name": "coder"}, "approval": approval, "tasks": tasks, "replaces": {"name": "old"}});
    bench.put_plan("new", &spec);
    bench.plan("new").await.unwrap();
    let status = bench.api.get("plans/new")["status"].clone();
    assert_eq!(status["replaced"]["kept"], json!(["T001"]), "{status}");
    assert_eq!(status["estimate"]["tokens"]["expected"], 2000, "{status}");
}

#[tokio::test]
async fn a_started_plan_keeps_its_estimate_and_shows_its_error() {
    let mut bench = bench().await;
    (0..5).for_each(|_| finish(&bench, "ns/coder"));
    bench.plan("p").await.unwrap();
    let before = estimate(&bench);
    assert_eq!((&before["basis"], &before["errorPercent"]), (&json!("Agent"), &Value::Null));
    approve(&mut bench);
    (0..50).for_each(|_| finish(&bench, "ns/coder"));
    for _ in 0..2 {
        bench.pass(601);
        bench.plan("p").await.unwrap();
    }
    assert_eq!(estimate(&bench)["samples"], 55, "the last one before the start");
    let started = estimate(&bench);
    let reads = bench.record_store.finished_task_reads.load(Ordering::Relaxed);
    let uid = bench.api.get("plans/p")["metadata"]["uid"].as_str().unwrap().to_owned();
    let spent = Charge { tokens: Tokens { output: 3000, ..Tokens::default() }, cost_micro_usd: Some(45_000) };
    bench.record_store.balances.lock().unwrap().insert(Scope::Plan { uid }, Balance { spent, ..Balance::default() });
    for pod in ["p-t001-1", "p-t002-1", "p-t003-1"] {
        bench.succeed(pod).await;
    }
    bench.plan("p").await.unwrap();
    let status = bench.api.get("plans/p")["status"].clone();
    assert_eq!((&status["phase"], &status["estimate"]["errorPercent"]), (&json!("Succeeded"), &json!(50)));
    assert_eq!((&status["estimate"]["usd"], &status["estimate"]["samples"]), (&started["usd"], &started["samples"]));
    assert_eq!(bench.record_store.finished_task_reads.load(Ordering::Relaxed), reads);
}

#[tokio::test]
async fn the_next_estimate_includes_a_plan_that_has_finished() {
    let mut bench = bench().await;
    bench.api.change("plans/p", &json!({"spec": {"approval": {"required": 0}}}));
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    for pod in ["p-t001-1", "p-t002-1", "p-t003-1"] {
        bench.succeed(pod).await;
    }
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.get("plans/p")["status"]["phase"], "Succeeded");
    (0..5).for_each(|_| finish(&bench, "ns/coder"));
    let mut next = bench.api.get("plans/p");
    next["metadata"] = json!({"name": "q", "namespace": "ns", "generation": 1});
    next.as_object_mut().unwrap().remove("status");
    bench.api.put("plans/q", next);
    bench.plan("q").await.unwrap();
    assert_eq!(bench.api.get("plans/q")["status"]["estimate"]["samples"], 5);
}

#[tokio::test]
async fn an_unavailable_record_keeps_the_last_estimate() {
    let mut bench = bench().await;
    (0..5).for_each(|_| finish(&bench, "ns/coder"));
    bench.plan("p").await.unwrap();
    let known = estimate(&bench);
    bench.pass(601);
    bench.record_store.down.store(true, Ordering::Relaxed);
    bench.plan("p").await.unwrap();
    assert_eq!(
        (estimate(&bench), bench.api.get("plans/p")["status"]["conditions"][0]["reason"].clone()),
        (known, json!("WaitingForApproval"))
    );
}

#[tokio::test]
async fn scripts_have_no_estimate() {
    let mut bench = bench().await;
    bench.api.change("plans/p", &json!({"spec": {"agentRef": {"name": "scripts"}}}));
    bench.plan("p").await.unwrap();
    assert_eq!((estimate(&bench), bench.record_store.finished_task_reads.load(Ordering::Relaxed)), (Value::Null, 0));
}
