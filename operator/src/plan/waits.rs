//! Waits: the attempts of a plan whose pods do not run yet, and why the plan waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use enact_crds::common::WaitingStatus;
use enact_crds::{Plan, convert};
use enact_domain::condition::Readiness;
use enact_domain::graph::{NodeId, PerNode};
use enact_domain::names;
use enact_domain::plan::{CurrentAttempt, Node, TaskPhase};
use enact_domain::time::Millis;
use enact_domain::waiting::{self, Facts, Waiting};

use super::observed::Observed;
use super::validate::Valid;

/// Seconds after which an attempt is shown as running or waiting. A shorter attempt saves a write.
pub const SHOW_SECONDS: u32 = 2;

/// The attempts of a plan whose pods do not run yet.
pub struct Waits {
    /// The attempt that was reported before, or else the first in the order of the graph.
    pub first: Waiting,
    /// Number of tasks, and of the integration, of which no attempt runs. Another attempt at the task of `first` may run.
    pub count: u32,
}

/// Returns the attempts whose pods do not run yet, and which go on after a decision with these phases; none if there are none.
pub fn of_attempts(
    observed: &Observed,
    valid: &Valid,
    nodes: &PerNode<Node>,
    phases: &PerNode<TaskPhase>,
) -> Option<Waits> {
    let before = reported(observed);
    let mut first: Option<Waiting> = None;
    let mut count = 0;
    for id in valid.graph.nodes().filter(|id| phases[*id] == TaskPhase::Running) {
        let attempts = || nodes[id].series().filter(|series| series.current != CurrentAttempt::None);
        let waits: Vec<Waiting> = attempts().filter_map(|series| of_attempt(&series.current, observed.now)).collect();
        count += u32::from(!waits.is_empty() && waits.len() == attempts().count());
        for wait in waits {
            let wait = Waiting { task: Some(task(valid, id).to_owned()), ..wait };
            let is_known = before.as_ref().is_some_and(|b| (&b.task, &b.reason) == (&wait.task, &wait.reason));
            if first.is_none() || is_known {
                first = Some(wait);
            }
        }
    }
    let first = first?;
    // With the message that was reported before: those of the scheduler and of nodes change too often to be written each time.
    let unchanged = before.filter(|b| (&b.task, &b.reason) == (&first.task, &first.reason));
    Some(Waits { first: unchanged.unwrap_or(first), count })
}

/// Returns the wait of an attempt that is old enough to be shown.
fn of_attempt(current: &CurrentAttempt, now: Millis) -> Option<Waiting> {
    let CurrentAttempt::Pod { state, created, .. } = current else { return None };
    let wait = waiting::waiting(&Facts::Attempt { state, created: *created }, None);
    wait.filter(|_| now >= created.plus_seconds(SHOW_SECONDS))
}

impl Waits {
    /// Returns the message for people.
    pub fn message(&self) -> String {
        let Waiting { task, message, .. } = &self.first;
        let attempt = match task.as_deref() {
            Some(names::INTEGRATION) | None => "the integration".to_owned(),
            Some(id) => format!("task {id}"),
        };
        match self.count {
            0 | 1 => format!("{attempt} {message}"),
            count => format!("{attempt} {message} (and {} more)", count - 1),
        }
    }
}

fn task(valid: &Valid, id: NodeId) -> &str {
    id.task().map_or(names::INTEGRATION, |i| valid.content.compiled.tasks[i].id.as_str())
}

/// Returns the wait that the status reports.
fn reported(observed: &Observed) -> Option<Waiting> {
    observed.plan.status.as_ref()?.waiting.as_ref().map(convert::waiting)
}

/// Returns the wait of a plan of which nothing runs, and `tasks` tasks only lack a slot of the tenant.
pub fn for_slot(observed: &Observed, valid: &Valid, tasks: u32) -> Waiting {
    let (tenant, slots) = (&valid.member.tenant, valid.member.parallelism);
    let tasks = if tasks == 1 { "1 task waits".to_owned() } else { format!("{tasks} tasks wait") };
    let message = format!(
        "{tasks} for a slot: other plans use all {slots} slots of Tenant {tenant}; to run more at once, raise its spec.parallelism"
    );
    Waiting { reason: "WaitingForSlot".into(), message, since: observed.now, task: None }
}

/// Returns the wait of an unfinished plan with this readiness. `attempt` is the wait of the plan while it is at work.
pub fn of_plan(observed: &Observed, readiness: &Readiness, attempt: Option<&Waiting>) -> Option<WaitingStatus> {
    let facts = Facts::Plan { readiness, attempt, now: observed.now };
    waiting::waiting(&facts, reported(observed).as_ref()).map(convert::waiting_status)
}

/// Counts plans by the reason for which they wait, for metrics.
pub fn by_reason(plans: &[Arc<Plan>]) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for waiting in plans.iter().filter_map(|plan| plan.status.as_ref()?.waiting.as_ref()) {
        *counts.entry(waiting.reason.clone()).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests;
