//! A warm pool: attempts get pods that wait, each pod once, and soon after they may start.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use enact_crds::plan::Phase;
use enact_crds::{Agent, Plan};
use enact_domain::names::{ANNOTATION_ASSIGNED_AT, LABEL_ROLE, task_name};
use enact_e2e::{PATIENCE, Stage, on_stage};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

/// Longest time from the end of a dependency to the assignment of a pod, in milliseconds. An idle machine needs less than 200; other tests
/// may run on this one.
const LONGEST: f64 = 3000.0;

/// Waits until two pods of the pool wait.
async fn filled(stage: &Stage, used: u64) -> Result<()> {
    let is_filled = |agent: &Agent| {
        let pool = agent.status.as_ref().and_then(|status| status.warm_pool.as_ref());
        pool.is_some_and(|pool| pool.ready == 2 && pool.used >= used)
    };
    stage.watch(&stage.api::<Agent>(), "warm", "two waiting pods", PATIENCE, is_filled).await.map(drop)
}

/// Returns the pod and the end of a task's attempt in the record, in milliseconds.
fn attempt(stage: &Stage, plan: &Plan, id: &str) -> Result<(String, f64)> {
    let uid = plan.uid().context("a Plan without UID")?;
    let query = format!(
        "select a.pod, extract(epoch from a.finished_at) * 1000 from enact.attempts a join enact.tasks t on t.task_uid = a.subject_uid \
         where a.plan_uid = '{uid}' and t.task_id = '{id}'"
    );
    let rows = stage.record(&query)?;
    let [row] = rows.as_slice() else { anyhow::bail!("{id} has {} attempts: {rows:?}", rows.len()) };
    let (pod, end) = row.split_once('|').context("too few fields")?;
    Ok((pod.to_owned(), end.parse()?))
}

#[test]
fn attempts_get_waiting_pods() {
    on_stage("warm", |stage| async move {
        let agent = "apiVersion: enact.dev/v1alpha1\nkind: Agent\nmetadata: {name: warm}\nspec:\n  adapter: Command\n  \
                     resources: {cpu: 10m, memory: 64Mi, ephemeralStorage: 64Mi}\n  warmPool: {size: 2}\n";
        stage.apply(agent).await?;
        filled(&stage, 0).await?;
        let plan = "apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {name: warm}\nspec:\n  agentRef: {name: warm}\n  \
                    execution: {cleanup: Never}\n  tasks:\n    \
                    - {id: T001, title: first, script: 'printf ok > \"$ENACT_OUTPUT_DIR/name\"'}\n    \
                    - {id: T002, title: second, dependsOn: [T001], script: 'grep -q name \"$ENACT_INPUTS_FILE\"'}\n";
        stage.apply(plan).await?;
        let plan = stage.finished("warm", Phase::Succeeded, PATIENCE).await?;
        stage.done_once(&plan, &["T001", "T002"])?;

        let pods = stage.pods("warm").await?;
        let names: BTreeSet<String> = pods.iter().map(Pod::name_any).collect();
        ensure!(names.len() == 2 && names.iter().all(|name| name.starts_with("warm-w")), "{names:?}");
        let (_, ended) = attempt(&stage, &plan, "T001")?;
        let (second, _) = attempt(&stage, &plan, "T002")?;
        let pod = pods.iter().find(|pod| pod.name_any() == second).context("the recorded pod is not of the plan")?;
        ensure!(pod.labels().get(LABEL_ROLE).map(String::as_str) == Some("task"), "{:?}", pod.labels());
        let owners: Vec<&str> = pod.owner_references().iter().map(|owner| owner.name.as_str()).collect();
        ensure!(owners == [task_name("warm", "T002")], "{owners:?}");
        let assigned: f64 = pod.annotations().get(ANNOTATION_ASSIGNED_AT).context("it was not assigned")?.parse()?;
        println!("an attempt was assigned to a waiting pod {:.0} ms after it could start", assigned - ended);
        ensure!(assigned - ended < LONGEST, "the assignment took {} ms", assigned - ended);

        // The used pods are replaced, and logs are found.
        filled(&stage, 2).await?;
        ensure!(stage.enact(&["logs", "warm/T002"])?.contains("waiting for an attempt"), "another pod's log");
        Ok(())
    });
}
