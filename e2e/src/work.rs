//! Tasks that wait for the test, and their attempts in the record.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use enact_crds::Plan;
use enact_domain::names;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use crate::command::exec;
use crate::{PATIENCE, Stage};

/// A script that waits until [`Stage::release`].
pub const HOLD: &str = "until test -e /tmp/go; do sleep 0.1; done";

/// A script that does not end by itself in the first attempt, and ends at once in every other attempt.
pub const HANG_ONCE: &str = "test \"$ENACT_ATTEMPT\" != 1 || sleep 3600";

/// Returns the manifests of an agent that runs scripts, with small resource requests, and of its Plan. `spec` are lines below the Plan's
/// `spec`.
pub fn scripted_plan(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: enact.dev/v1alpha1\nkind: Agent\nmetadata: {{name: scripts}}\nspec:\n  adapter: Command\n  \
         resources: {{cpu: 10m, memory: 64Mi, ephemeralStorage: 64Mi}}\n---\n\
         apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {{name: {name}}}\nspec:\n  agentRef: {{name: scripts}}\n{spec}"
    )
}

/// An attempt in the record.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// The task's id, or `integration` for the plan's integration.
    pub task: String,
    /// The number, from 1.
    pub number: u32,
    /// The failure class; empty if the attempt did not fail.
    pub failure: String,
    /// The reason of the end; empty until the attempt ends.
    pub reason: String,
    /// The start, in seconds since 1970.
    pub started: f64,
    /// The end, in seconds since 1970.
    pub finished: Option<f64>,
    /// The number of the pod's results in the record.
    pub results: u32,
}

impl Stage {
    /// Waits until the pod of an attempt runs, and returns its name.
    ///
    /// # Errors
    /// If it does not run in time.
    pub async fn running(&self, plan: &str, id: &str, attempt: u32) -> Result<String> {
        let pod = names::pod_name(&names::task_name(plan, id), attempt);
        let runs = |p: &Pod| {
            let status = p.status.as_ref();
            let ready = status.and_then(|s| s.container_statuses.as_ref()).is_some_and(|c| c.iter().all(|c| c.ready));
            status.and_then(|s| s.phase.as_deref()) == Some("Running") && ready
        };
        self.watch(&self.api::<Pod>(), &pod, "a running pod", PATIENCE, runs).await?;
        Ok(pod)
    }

    /// Waits until this number of a plan's tasks has succeeded.
    ///
    /// # Errors
    /// If they have not in time.
    pub async fn tasks_done(&self, plan: &str, tasks: u32, patience: Duration) -> Result<Plan> {
        let enough = |p: &Plan| p.status.as_ref().is_some_and(|s| s.tasks.succeeded >= tasks);
        self.watch(&self.api(), plan, &format!("{tasks} tasks done"), patience, enough).await
    }

    /// Ends the wait of the script [`HOLD`] in a pod.
    ///
    /// # Errors
    /// If the command in the pod fails.
    pub fn release(&self, pod: &str) -> Result<()> {
        exec(&["--namespace", &self.name, pod, "--container", "agent", "--", "touch", "/tmp/go"]).map(drop)
    }

    /// Returns the attempts of a plan in the record, in the order of their start.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub fn attempts(&self, plan: &Plan) -> Result<Vec<Attempt>> {
        let uid = plan.uid().context("a Plan without UID")?;
        // By name: a Task that was deleted before it ended has no row among the tasks.
        let query = format!(
            "select coalesce((select min(t.task_id) from enact.tasks t where t.plan_uid = a.plan_uid and t.name = a.name), 'integration'), \
             a.number, coalesce(a.failure, ''), \
             coalesce(a.report->>'reason', ''), extract(epoch from a.started_at), extract(epoch from a.finished_at), \
             (select count(*) from enact.results r where r.subject_uid = a.subject_uid and r.number = a.number and not r.stale) \
             from enact.attempts a \
             where a.plan_uid = '{uid}' order by a.started_at, a.name"
        );
        self.record(&query)?.iter().map(|row| attempt(row).with_context(|| format!("the record's row {row}"))).collect()
    }

    /// Checks that each of these tasks had exactly one attempt, which succeeded and delivered its result, and that the plan has no other
    /// attempts.
    ///
    /// # Errors
    /// If there is a difference, with the attempts.
    pub fn done_once(&self, plan: &Plan, ids: &[&str]) -> Result<()> {
        let attempts = self.attempts(plan)?;
        let mut done: Vec<&str> = attempts.iter().map(|a| a.task.as_str()).collect();
        done.sort_unstable();
        let well = |a: &Attempt| a.number == 1 && a.failure.is_empty() && a.reason == "Succeeded" && a.results == 1;
        ensure!(done == ids && attempts.iter().all(well), "not each of {ids:?} once: {attempts:#?}");
        Ok(())
    }
}

/// Returns the reasons of the ends of a task's attempts.
pub fn ends<'a>(attempts: &'a [Attempt], task: &str) -> Vec<&'a str> {
    attempts.iter().filter(|a| a.task == task).map(|a| a.reason.as_str()).collect()
}

/// Checks that every attempt that succeeded has one result, and no attempt has two.
///
/// # Errors
/// If there is a difference, with the attempts.
pub fn each_result_once(attempts: &[Attempt]) -> Result<()> {
    let well = |a: &Attempt| if a.reason == "Succeeded" { a.results == 1 } else { a.results <= 1 };
    ensure!(attempts.iter().all(well), "results are lost or doubled: {attempts:#?}");
    Ok(())
}

/// Returns the largest number of these attempts that ran at the same time, by the record. Their pods can end later. Each attempt counts
/// as ended `tolerance` seconds early: the decisions about different plans are not ordered exactly.
pub fn most_at_once(attempts: &[Attempt], tolerance: f64) -> usize {
    let starts = attempts.iter().map(|a| (a.started, true));
    let ends = attempts.iter().filter_map(|a| a.finished).map(|at| (at - tolerance, false));
    let mut events: Vec<(f64, bool)> = starts.chain(ends).collect();
    // A decision ends attempts before it starts others.
    events.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    let (mut running, mut most) = (0_usize, 0);
    for (_, starts) in events {
        running = if starts { running + 1 } else { running.saturating_sub(1) };
        most = most.max(running);
    }
    most
}

fn attempt(row: &str) -> Result<Attempt> {
    let mut fields = row.split('|');
    let mut next = || fields.next().context("too few fields");
    Ok(Attempt {
        task: next()?.to_owned(),
        number: next()?.parse()?,
        failure: next()?.to_owned(),
        reason: next()?.to_owned(),
        started: next()?.parse()?,
        finished: Some(next()?).filter(|f| !f.is_empty()).map(str::parse).transpose()?,
        results: next()?.parse()?,
    })
}
