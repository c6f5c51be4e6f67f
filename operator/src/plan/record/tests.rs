//! Records of plans against an API server and a record store in memory.

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
