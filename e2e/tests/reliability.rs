//! What survives when much goes wrong at once: nothing is lost, nothing is done twice, and nothing stays open. These tests disturb the
//! installation, so they run one at a time.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use enact_crds::plan::Phase;
use enact_crds::{Plan, Task};
use enact_domain::names::{pod_name, task_name};
use enact_e2e::installation::{self, Scaled, kill, pods_of};
use enact_e2e::work::{HOLD, each_result_once, ends, scripted_plan};
use enact_e2e::{Answer, PATIENCE, Stage, on_stage, until};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::DeleteParams;

/// The timeout for plans while the installation is disturbed.
const LONG: Duration = Duration::from_mins(8);
/// The time for which Postgres is down: as long as a runner tries to deliver its result, so that some results come too late.
const OUTAGE: Duration = Duration::from_mins(1);
/// The components that are killed together.
const KILLED: [&str; 3] = ["deployment/enact-operator", "deployment/enact-server", "deployment/enact-webhook"];
/// Tasks that can start at the same time.
const WIDTH: usize = 5;

/// Returns the ids of the tasks of [`wide`].
fn ids(tasks: usize) -> Vec<String> {
    (1..=tasks).map(|n| format!("T{n:03}")).collect()
}

/// Returns a plan of steps with five tasks each. Each task depends on a task of the step before it.
fn wide(name: &str, tasks: usize) -> String {
    let ids = ids(tasks);
    let mut spec = "  execution: {parallelism: 10, cleanup: Never, retry: {backoffSeconds: 1}}\n  tasks:\n".to_owned();
    for (n, id) in ids.iter().enumerate() {
        let before = n.checked_sub(WIDTH).map_or("", |before| ids[before].as_str());
        spec += &format!("    - {{id: {id}, title: step, dependsOn: [{before}], script: sleep 1}}\n");
    }
    scripted_plan(name, &spec)
}

/// Checks that each task has succeeded once, that there is a pod for each attempt and a result for each that succeeded, and that no attempt
/// is open.
async fn nothing_is_lost(stage: &Stage, plan: &str, tasks: &[String]) -> Result<()> {
    let plan = stage.finished(plan, Phase::Succeeded, LONG).await?;
    let attempts = stage.attempts(&plan)?;
    ensure!(attempts.iter().all(|a| a.finished.is_some()), "attempts are open: {attempts:#?}");
    let mut succeeded: Vec<&str> =
        attempts.iter().filter(|a| a.reason == "Succeeded").map(|a| a.task.as_str()).collect();
    succeeded.sort_unstable();
    ensure!(succeeded == tasks, "not each task has succeeded once: {attempts:#?}");
    each_result_once(&attempts)?;
    // On a loaded machine, a runner may not find a server in time. Then the attempt is repeated.
    let others: Vec<_> =
        attempts.iter().filter(|a| !["Succeeded", "DeliveryFailed"].contains(&a.reason.as_str())).collect();
    ensure!(others.is_empty(), "attempts have failed: {others:#?}");
    let pods = stage.pods(&plan.name_any()).await?.len();
    ensure!(pods == attempts.len(), "{pods} pods for {} attempts", attempts.len());
    println!("{} tasks, {} attempts, {pods} pods", tasks.len(), attempts.len());
    Ok(())
}

/// Waits until the record has no open attempt of a plan.
async fn nothing_is_open(stage: &Stage, uid: &str) -> Result<()> {
    let query =
        format!("select name from enact.attempts where plan_uid = '{uid}' and finished_at is null order by name");
    until("the end of all attempts in the record", PATIENCE, || async {
        let open = stage.record(&query)?;
        Ok(if open.is_empty() { Answer::Yes(()) } else { Answer::NotYet(open.join(", ")) })
    })
    .await
}

#[test]
fn fifty_tasks_survive_three_rounds_of_kills() {
    on_stage("rounds", |stage| async move {
        installation::await_healthy()?;
        let tasks = ids(50);
        stage.apply(&wide("rounds", tasks.len())).await?;
        for done in [5, 20, 35] {
            stage.tasks_done("rounds", done, LONG).await?;
            for workload in KILLED {
                for pod in pods_of(workload)? {
                    kill(&pod)?;
                }
            }
        }
        nothing_is_lost(&stage, "rounds", &tasks).await?;
        installation::await_healthy()
    });
}

#[test]
fn a_minute_without_postgres_loses_nothing() {
    on_stage("outage", |stage| async move {
        installation::await_healthy()?;
        let tasks = ids(15);
        stage.apply(&wide("outage", tasks.len())).await?;
        stage.tasks_done("outage", 2, LONG).await?;
        let postgres = Scaled::to("statefulset/enact-postgres", 0)?;
        // The length of the outage is what is tested, not the wait for a condition.
        tokio::time::sleep(OUTAGE).await;
        postgres.back()?;
        nothing_is_lost(&stage, "outage", &tasks).await?;
        installation::await_healthy()
    });
}

#[test]
fn deleted_pods_and_tasks_are_replaced() {
    on_stage("by-hand", |stage| async move {
        let tasks = format!(
            "  execution: {{cleanup: Never, retry: {{backoffSeconds: 1}}}}
  tasks:
    - {{id: T001, title: loses its pod, script: 'test $ENACT_ATTEMPT != 1 || {HOLD}'}}
    - {{id: T002, title: loses its Task, script: '{HOLD}'}}
    - {{id: T003, title: loses its Task later, script: 'true'}}
"
        );
        stage.apply(&scripted_plan("hands", &tasks)).await?;
        let lost = stage.running("hands", "T001", 1).await?;
        let held = stage.running("hands", "T002", 1).await?;
        stage.tasks_done("hands", 1, PATIENCE).await?;
        let former = stage.api::<Pod>().get(&held).await?.uid();

        stage.api::<Pod>().delete(&lost, &DeleteParams::default().grace_period(0)).await?;
        for id in ["T002", "T003"] {
            stage.api::<Task>().delete(&task_name("hands", id), &DeleteParams::background()).await?;
        }
        // The new Task begins with its first attempt again.
        let runs = |p: &Pod| {
            let status = p.status.as_ref();
            let ready = status.and_then(|s| s.container_statuses.as_ref()).is_some_and(|c| c.iter().all(|c| c.ready));
            p.uid() != former && ready
        };
        let pod = pod_name(&task_name("hands", "T002"), 1);
        stage.watch(&stage.api::<Pod>(), &pod, "the pod of the new Task", PATIENCE, runs).await?;
        stage.release(&pod)?;
        let plan = stage.finished("hands", Phase::Succeeded, LONG).await?;
        nothing_is_open(&stage, &plan.uid().context("a Plan without UID")?).await?;

        let attempts = stage.attempts(&plan)?;
        each_result_once(&attempts)?;
        ensure!(ends(&attempts, "T001") == ["Lost", "Succeeded"], "{attempts:#?}");
        for id in ["T002", "T003"] {
            let ends = ends(&attempts, id);
            ensure!(ends.len() == 2 && ends[1] == "Succeeded", "{id}: {attempts:#?}");
        }
        Ok(())
    });
}

#[test]
fn a_plan_deleted_while_it_runs_leaves_nothing_open() {
    on_stage("dropped", |stage| async move {
        let held =
            format!("  tasks: [{{id: T001, title: a, script: '{HOLD}'}}, {{id: T002, title: b, script: '{HOLD}'}}]\n");
        stage.apply(&scripted_plan("dropped", &held)).await?;
        for id in ["T001", "T002"] {
            stage.running("dropped", id, 1).await?;
        }
        let uid = stage.api::<Plan>().get("dropped").await?.uid().context("a Plan without UID")?;
        stage.api::<Plan>().delete("dropped", &DeleteParams::background()).await?;
        until("the end of the plan's pods", PATIENCE, || async {
            let pods = stage.pods("dropped").await?.len();
            Ok(if pods == 0 { Answer::Yes(()) } else { Answer::NotYet(format!("{pods} pods are left")) })
        })
        .await?;
        nothing_is_open(&stage, &uid).await?;
        // Another plan of the same name has nothing of the former one.
        stage.apply(&scripted_plan("dropped", "  tasks: [{id: T001, title: a, script: 'true'}]\n")).await?;
        let plan = stage.finished("dropped", Phase::Succeeded, PATIENCE).await?;
        stage.done_once(&plan, &["T001"])
    });
}
