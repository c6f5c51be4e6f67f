//! Records of plans against an API server and a record store in memory.

use enact_domain::assignment::Reason;
use enact_domain::record::Event as Happened;
use futures::stream;
use kube::runtime::watcher::Event;
use serde_json::json;

use crate::testing::Bench;
use crate::testing::plans::script_task;

/// Reconciles until nothing more follows.
async fn reconcile(bench: &mut Bench) {
    for _ in 0..3 {
        bench.plan("p").await.unwrap();
        bench.pass(1);
    }
}

/// Sets the deadline of the plan, and requests another attempt at T001.
async fn rerun(bench: &mut Bench, number: &str, deadline: u32) {
    bench.api.change("plans/p", &json!({"spec": {"execution": {"deadlineSeconds": deadline}}}));
    bench.api.change("tasks/p-t001", &json!({"metadata": {"annotations": {"enact.dev/rerun": number}}}));
    bench.contexts.plans.index.put_task(&serde_json::from_value(bench.api.get("tasks/p-t001")).unwrap());
    reconcile(bench).await;
}

#[tokio::test]
async fn each_close_and_rerun_of_a_task_is_recorded() {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    bench.put_plan("p", &json!({"agentRef": {"name": "scripts"}, "tasks": [script_task("T001", &[])]}));
    // The Task exists, and no attempt starts: it has no attempts throughout.
    bench.plan("p").await.unwrap();
    bench.api.change("plans/p", &json!({"spec": {"suspend": true, "execution": {"deadlineSeconds": 60}}}));
    bench.pass(61);
    reconcile(&mut bench).await;
    rerun(&mut bench, "1", 1000).await;
    bench.pass(1000);
    reconcile(&mut bench).await;
    rerun(&mut bench, "2", 5000).await;
    assert_eq!(bench.api.get("tasks/p-t001")["status"]["phase"], "Pending");
    let recorded = bench.record_store.summaries();
    let of_task: Vec<&str> = recorded.iter().filter_map(|line| line.strip_prefix("p-t001: ")).collect();
    let once = ["Cancelled DeadlineExceeded", "Pending Rerun"];
    assert_eq!(of_task, [once, once].concat(), "{recorded:?}");
}

#[tokio::test]
async fn an_attempt_without_a_pod_ends_with_its_plan() {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    bench.put_plan("p", &json!({"agentRef": {"name": "scripts"}, "tasks": [script_task("T001", &[])]}));
    bench.plan("p").await.unwrap();
    bench.api.refuse("POST pods/", 403, "pods is forbidden: exceeded quota: enact-tenant, limited: pods=0");
    bench.plan("p").await.unwrap_err();
    bench.api.change("plans/p", &json!({"spec": {"cancel": true}}));
    reconcile(&mut bench).await;
    let recorded = bench.record_store.summaries();
    let attempt: Vec<&str> = recorded.iter().filter_map(|line| line.strip_prefix("p-t001: ")).collect();
    assert_eq!(attempt, ["start 1", "end 1 Cancelled", "Cancelled Cancelled"], "{recorded:?}");
    assert_eq!(bench.api.get("plans/p")["status"]["phase"], "Cancelled");
}

#[tokio::test]
async fn an_attempt_ends_with_its_task() {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    bench.put_plan("p", &json!({"agentRef": {"name": "scripts"}, "tasks": [script_task("T001", &[])]}));
    for _ in 0..2 {
        bench.plan("p").await.unwrap();
    }
    let (index, task) = (bench.contexts.plans.index.clone(), bench.api.get("tasks/p-t001"));
    let uid = task["metadata"]["uid"].as_str().unwrap().to_owned();
    bench.api.remove("tasks/p-t001");
    index.follow_tasks(stream::iter([Event::Delete(serde_json::from_value(task).unwrap())])).await;
    bench.plan("p").await.unwrap();
    let records = bench.record_store.records.lock().unwrap();
    let ends = records.iter().filter_map(|record| match &record.event {
        Happened::AttemptFinished { number, report, .. } => Some((record.subject.uid.as_str(), *number, report.reason)),
        _ => None,
    });
    assert_eq!(ends.collect::<Vec<_>>(), [(uid.as_str(), 1, Reason::Lost)]);
}
