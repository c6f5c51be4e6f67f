use enact_domain::assignment::{Assignment, Reason, Report};
use enact_domain::record::RecordedAttempt;
use futures::stream;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use crate::testing::Bench;

/// Returns a bench with a plan of these tasks and this change of its spec, whose first attempts run.
async fn started(tasks: Value, spec: &Value) -> Bench {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    let metadata = json!({"uid": "5f0c1a2b-7d3e-4b8a-9c6d-0e1f2a3b4c5d"});
    bench.put_plan_with("p", &metadata, &json!({"agentRef": {"name": "scripts"}, "tasks": tasks}));
    bench.api.change("plans/p", &json!({ "spec": spec }));
    for _ in 0..2 {
        bench.plan("p").await.unwrap();
    }
    assert!(bench.api.has("pods/p-t001-1"));
    bench
}

/// Returns the end of the attempt in the record, after its node was lost.
async fn end_of_lost_pod(delivered: Option<Report>, verified: bool) -> Vec<String> {
    let mut bench = started(json!([{"id": "T001", "title": "a", "script": "true"}]), &json!({})).await;
    if delivered.is_some() {
        let subject_uid = bench.api.get("tasks/p-t001")["metadata"]["uid"].as_str().unwrap().to_owned();
        bench.record_store.attempts.lock().unwrap().push(RecordedAttempt {
            subject_uid,
            number: 1,
            agent: Some("scripts".into()),
            report: delivered,
            verified,
            ..RecordedAttempt::default()
        });
    }
    bench.pod("p-t001-1", json!({"phase": "Unknown"})).await;
    bench.plan("p").await.unwrap();
    bench.record_store.summaries().into_iter().filter(|summary| summary.contains("end 1")).collect()
}

#[tokio::test]
async fn a_delivered_result_counts_on_a_lost_node() {
    let done = || Some(Report::new(Reason::Succeeded, ""));
    assert_eq!(end_of_lost_pod(done(), true).await, ["p-t001: end 1 Succeeded"]);
    let failed = end_of_lost_pod(Some(Report::new(Reason::AgentFailed, "exit code 3")), true).await;
    assert_eq!(failed, ["p-t001: end 1 AgentFailed"]);
    assert_eq!(end_of_lost_pod(None, false).await, ["p-t001: end 1 Lost"]);
    assert_eq!(end_of_lost_pod(done(), false).await, ["p-t001: end 1 Lost"], "the agent can have sent it");
}

/// Returns the branches and commits that a pod merges.
fn merged(bench: &Bench, pod: &str) -> Vec<(String, String)> {
    let spec = bench.api.get(&format!("pods/{pod}"))["spec"].clone();
    let text = spec["containers"][0]["env"][0]["value"].as_str().unwrap().replace("$$", "$");
    let git = serde_json::from_str::<Assignment>(&text).unwrap().git.unwrap();
    git.merge.into_iter().map(|verified| (verified.branch, verified.commit)).collect()
}

#[tokio::test]
async fn kept_work_is_not_merged() {
    let tasks = json!([
        {"id": "T001", "title": "a", "script": "true"},
        {"id": "T002", "title": "b", "script": "true", "dependsOn": ["T001"]}
    ]);
    let spec =
        json!({"workspace": {"url": "https://git/shop"}, "execution": {"retry": {"limit": 1, "backoffSeconds": 0}}});
    let mut bench = started(tasks, &spec).await;
    let (kept, passed) = ("1".repeat(40), "2".repeat(40));
    let report = json!({"reason": "GateFailed", "message": "gate tests exited with 1", "commit": kept});
    let ended = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": report.to_string()}});
    bench.pod("p-t001-1", json!({"phase": "Failed", "containerStatuses": [{"name": "agent", "state": ended}]})).await;
    bench.plan("p").await.unwrap();
    let status = bench.api.get("tasks/p-t001")["status"].clone();
    let branch = "enact/p-5f0c1a2b/t001-1";
    assert_eq!((status["branch"].as_str(), status["commit"].as_str()), (Some(branch), None), "{status}");
    assert!(!bench.api.has("pods/p-t002-1"));

    bench.pass(1);
    bench.plan("p").await.unwrap();
    assert!(merged(&bench, "p-t001-2").is_empty());
    bench.succeed_with("p-t001-2", &json!({"reason": "Succeeded", "commit": passed})).await;
    bench.plan("p").await.unwrap();
    let verified = ("enact/p-5f0c1a2b/t001-2".to_owned(), passed);
    assert_eq!(merged(&bench, "p-t002-1"), [verified]);
}

/// The record, which a new process reads, has the result of the deleted Task.
#[tokio::test]
async fn a_deleted_task_runs_again() {
    let tasks = json!([
        {"id": "T001", "title": "a", "script": "true"},
        {"id": "T002", "title": "b", "script": "true", "dependsOn": ["T001"]}
    ]);
    let mut bench = started(tasks, &json!({})).await;
    bench.succeed("p-t001-1").await;
    for _ in 0..2 {
        bench.plan("p").await.unwrap();
    }
    assert!(bench.api.has("pods/p-t002-1"));
    let former = bench.api.get("tasks/p-t001");
    bench.record_store.attempts.lock().unwrap().push(RecordedAttempt {
        subject_uid: former["metadata"]["uid"].as_str().unwrap().to_owned(),
        number: 1,
        agent: Some("scripts".into()),
        finished: Some(None),
        report: Some(Report::new(Reason::Succeeded, "")),
        ..RecordedAttempt::default()
    });
    bench.contexts.plans.runtimes.forget("5f0c1a2b-7d3e-4b8a-9c6d-0e1f2a3b4c5d");
    bench.plan("p").await.unwrap();

    let (index, pod) = (&bench.contexts.plans.index, bench.api.get("pods/p-t001-1"));
    bench.api.remove("tasks/p-t001");
    bench.api.remove("pods/p-t001-1");
    index.follow_tasks(stream::iter([Event::Delete(serde_json::from_value(former).unwrap())])).await;
    index.follow_pods(stream::iter([Event::Delete(serde_json::from_value(pod).unwrap())]), |_| {}).await;
    for _ in 0..2 {
        bench.plan("p").await.unwrap();
    }
    assert_ne!(bench.api.get("tasks/p-t001")["status"]["phase"], "Succeeded");
    assert!(bench.api.has("pods/p-t001-1"));
}

#[tokio::test]
async fn a_plan_pauses_after_a_phase_until_a_person_resumes_it() {
    let task = |id: &str, phase: &str| json!({"id": id, "title": id, "script": "true", "phase": phase});
    let tasks = json!([task("T001", "Setup"), task("T002", "Core")]);
    let mut bench = started(tasks, &json!({"execution": {"pauseAfter": "Phase"}})).await;
    assert!(!bench.api.has("pods/p-t002-1"), "its phase has not begun");
    bench.succeed("p-t001-1").await;
    for _ in 0..2 {
        bench.plan("p").await.unwrap();
    }
    let status = bench.api.get("plans/p")["status"].clone();
    assert_eq!(status["pausedAfter"], json!({"number": 1, "phase": "Setup"}));
    let ready = &status["conditions"][0];
    assert_eq!(ready["reason"], "Paused");
    let message = ready["message"].as_str().unwrap();
    assert!(message.starts_with("phase 1 (Setup) is done") && message.contains("kubectl enact resume p"), "{message}");
    assert!(!bench.api.has("pods/p-t002-1"));

    bench.api.change("plans/p", &json!({"metadata": {"annotations": {"enact.dev/resumed-after": "1"}}}));
    bench.plan("p").await.unwrap();
    assert!(bench.api.has("pods/p-t002-1"));
    let status = bench.api.get("plans/p")["status"].clone();
    assert!(status["pausedAfter"].is_null(), "{status}");
}

/// The API server fails when the end of the integration is written.
#[tokio::test]
async fn an_integration_whose_end_is_not_written_is_not_done_again() {
    let tasks = json!([{"id": "T001", "title": "a", "script": "true"}]);
    let mut bench = started(tasks, &json!({"workspace": {"url": "https://git/shop"}})).await;
    let done = json!({"reason": "Succeeded", "commit": "1".repeat(40)});
    bench.succeed_with("p-t001-1", &done).await;
    bench.plan("p").await.unwrap();
    bench.pod("p-integration-1", json!({"phase": "Running"})).await;
    bench.pass(20);
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.get("plans/p")["status"]["integration"]["phase"], "Running");

    bench.succeed_with("p-integration-1", &done).await;
    bench.api.refuse("PATCH plans/p/status", 500, "etcdserver: request timed out");
    bench.plan("p").await.unwrap_err();
    bench.api.relent();
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.get("plans/p")["status"]["phase"], "Succeeded");
    let recorded = bench.record_store.summaries();
    let ends: Vec<&String> = recorded.iter().filter(|summary| summary.starts_with("p: end")).collect();
    assert_eq!(ends, ["p: end 1 Succeeded"]);
}
