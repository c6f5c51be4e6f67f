//! The nodes of a plan's graph, as the scheduler sees them: from the status of each node, its pod, and its open attempt.

use std::collections::HashMap;

use enact_crds::convert;
use enact_crds::task::{Attempts, ContestantStatus, Phase};
use enact_domain::assignment::Reason;
use enact_domain::attempt::{AttemptState, PodView, SetupFailure, classify};
use enact_domain::contest::contestant_of;
use enact_domain::graph::{NodeId, PerNode};
use enact_domain::names;
use enact_domain::plan::{
    Contest, CurrentAttempt, Executor, Funding, Node, ReportedState, Request, TaskPhase, is_lost,
};
use enact_domain::time::Millis;
use enact_domain::usage::Limit;

use super::context::Context;
use super::observed::Observed;
use super::runtime::{OpenAttempt, OpenAttempts, SeriesId};
use super::validate::Valid;
use crate::error::Error;
use crate::index::{PodEntry, TaskEntry};
use crate::setup_failures::SetupFailures;
use crate::task::status::reported_state;

/// Returns the open attempts of the plan: those known before, those of pods that appeared since, and, where `known` is not enough, those
/// of the record.
///
/// The record is read once after a start of the process. It is read again when a pod that was seen is gone or lost, because the report that
/// the pod delivered is there.
///
/// # Errors
/// When the record cannot be read.
pub async fn open_attempts(
    ctx: &Context,
    observed: &Observed,
    valid: &Valid,
    known: &OpenAttempts,
) -> Result<OpenAttempts, Error> {
    let pods = newest_pods(observed, valid);
    let mut attempts = known.clone();
    drop_former(observed, valid, &mut attempts);
    let vanished = |((node, contestant), open): (&SeriesId, &OpenAttempt)| {
        let has_pod = |pod: &PodEntry| {
            pod.attempt > open.number
                || pod.attempt == open.number && !is_lost(&classify(&pod.view), pod.view.deleting, observed.now)
        };
        let pod = pods.get(&(label(valid, *node), *contestant)).copied();
        open.seen && open.result.is_none() && pod.is_none_or(|pod| !has_pod(pod))
    };
    if !known.loaded || known.by_series.iter().any(vanished) {
        read_record(ctx, observed, valid, &mut attempts).await?;
    }
    for id in valid.graph.nodes() {
        let Some(status) = NodeStatus::of(observed, valid, id) else { continue };
        for contestant in 1..=contestants(valid, id) {
            let closed = match contest_of(valid, id) {
                Some(_) => NodeStatus::of_contestant(entry(observed, valid, id), contestant).closed(),
                None => status.closed(),
            };
            if let Some(pod) = pods.get(&(label(valid, id), contestant)).filter(|p| p.attempt > closed) {
                add_pod(observed, (id, contestant), pod, &mut attempts);
            }
        }
    }
    Ok(attempts)
}

/// Removes the attempts of Tasks that were deleted and created again: the new object has none of them.
fn drop_former(observed: &Observed, valid: &Valid, attempts: &mut OpenAttempts) {
    let subject = |node: NodeId| match node {
        NodeId::Integration => Some(observed.uid.as_str()),
        NodeId::Task(_) => entry(observed, valid, node).map(|task| task.uid.as_str()),
    };
    let former =
        |((node, _), open): &(&SeriesId, &OpenAttempt)| subject(*node).is_some_and(|uid| uid != open.subject_uid);
    let former: Vec<SeriesId> = attempts.by_series.iter().filter(former).map(|(series, _)| *series).collect();
    for series in former {
        attempts.by_series.remove(&series);
        attempts.agents.remove(&series);
    }
}

/// Adds the attempt of a pod to the open attempts, unless the record has a newer one: an older pod may still exist then.
fn add_pod(observed: &Observed, series: SeriesId, pod: &PodEntry, attempts: &mut OpenAttempts) {
    let open = attempts.by_series.entry(series).or_default();
    if pod.attempt < open.number {
        return;
    }
    let result = open.result.take().filter(|_| pod.attempt == open.number);
    *open = OpenAttempt { subject_uid: pod.owner.clone(), number: pod.attempt, seen: true, result };
    // What the record says comes first: a user of the tenant can change the annotation.
    let is_newer = attempts.agents.get(&series).is_none_or(|(number, _)| pod.attempt > *number);
    if let Some(agent) = pod.agent.as_ref().filter(|_| has_pool(observed) && is_newer) {
        attempts.agents.insert(series, (pod.attempt, agent.clone()));
    }
}

/// Returns the competing attempts that a task demands.
fn contest_of(valid: &Valid, id: NodeId) -> Option<&Attempts> {
    valid.content.compiled.tasks[id.task()?].attempts.as_ref()
}

/// Returns the number of contestants of a node; 1 without a contest.
fn contestants(valid: &Valid, id: NodeId) -> u32 {
    contest_of(valid, id).map_or(1, |attempts| attempts.best_of)
}

/// Returns the series that an attempt belongs to.
pub fn series_of(valid: &Valid, id: NodeId, attempt: u32) -> SeriesId {
    (id, contestant_of(attempt, contestants(valid, id)))
}

/// Returns all series of a node.
pub fn all_series(valid: &Valid, id: NodeId) -> impl Iterator<Item = SeriesId> {
    (1..=contestants(valid, id)).map(move |contestant| (id, contestant))
}

/// Returns the Task object of a node.
fn entry<'a>(observed: &'a Observed, valid: &Valid, id: NodeId) -> Option<&'a TaskEntry> {
    observed.children.tasks.get(&valid.content.compiled.names[id.task()?]).map(AsRef::as_ref)
}

/// Returns whether the agents of tasks are selected from a pool.
fn has_pool(observed: &Observed) -> bool {
    !observed.plan.spec.agents.is_empty()
}

async fn read_record(
    ctx: &Context,
    observed: &Observed,
    valid: &Valid,
    attempts: &mut OpenAttempts,
) -> Result<(), Error> {
    let recorded = ctx.record_store.attempts(&valid.member.tenant, &observed.uid).await?;
    let mut nodes: HashMap<&str, NodeId> = HashMap::from([(observed.uid.as_str(), NodeId::Integration)]);
    for (i, name) in valid.content.compiled.names.iter().enumerate() {
        if let Some(task) = observed.children.tasks.get(name) {
            nodes.insert(&task.uid, NodeId::Task(i));
        }
    }
    for attempt in recorded {
        // The Task was deleted, or created again with another UID: the attempts of the old object do not count.
        let Some(&node) = nodes.get(attempt.subject_uid.as_str()) else { continue };
        let series = series_of(valid, node, attempt.number);
        let is_newest = attempts.agents.get(&series).is_none_or(|(number, _)| attempt.number > *number);
        if let Some(agent) = attempt.agent.filter(|_| has_pool(observed) && is_newest) {
            attempts.agents.insert(series, (attempt.number, agent));
        }
        let open = attempts.by_series.entry(series).or_default();
        if attempt.number > open.number {
            // An attempt whose end is recorded had a pod: it is never started a second time.
            *open = OpenAttempt {
                subject_uid: attempt.subject_uid,
                number: attempt.number,
                seen: attempt.finished.is_some(),
                result: attempt.report,
            };
        // Only the report is new. `seen` stays, because this process knows better than the record whether the pod existed.
        } else if attempt.number == open.number && open.result.is_none() {
            open.result = attempt.report;
        }
    }
    attempts.loaded = true;
    Ok(())
}

/// Returns the state of every node.
pub fn nodes(
    observed: &Observed,
    valid: &Valid,
    attempts: &OpenAttempts,
    setup_failures: &SetupFailures,
) -> PerNode<Node> {
    let pods = newest_pods(observed, valid);
    let series = |rules: &Node, status: &NodeStatus, (id, contestant): SeriesId| {
        let pod = pods.get(&(label(valid, id), contestant)).copied();
        let pod = pod.map(|pod| (pod, setup_failures.of(&pod.uid)));
        node(rules, status, pod, attempts.by_series.get(&(id, contestant)), observed.now)
    };
    valid.graph.per_node(|id| {
        let rules = rules(observed, valid, id);
        let Some(status) = NodeStatus::of(observed, valid, id) else { return rules };
        let Some(mut contest) = rules.contest.clone() else { return series(&rules, &status, (id, 1)) };
        let entry = entry(observed, valid, id);
        let finished = TaskPhase::from(status.phase).is_finished();
        for (number, contestant) in (1..).zip(&mut contest.contestants) {
            let of_contestant = NodeStatus::of_contestant(entry, number);
            contestant.node = series(&contestant.node, &of_contestant, (id, number));
            if finished {
                contestant.node.current = CurrentAttempt::None;
            }
            let shown = entry.and_then(|entry| entry.contestant(number));
            contestant.achievement = shown.and_then(convert::achievement);
            contestant.is_parked = shown.is_some_and(is_parked);
        }
        let attempts = contest.newest_attempt();
        Node {
            attempts,
            current: CurrentAttempt::None,
            contest: Some(contest),
            ..node(&rules, &status, None, None, observed.now)
        }
    })
}

/// Returns whether the last attempt of a contestant ended because a budget or a quota was used up.
fn is_parked(contestant: &ContestantStatus) -> bool {
    let lacks_means = [Reason::BudgetExceeded, Reason::ProviderQuota].map(|reason| Some(reason.as_str()));
    contestant.phase == Phase::Pending && lacks_means.contains(&contestant.reason.as_deref())
}

/// Returns a node that does not exist yet: its rules only.
fn rules(observed: &Observed, valid: &Valid, id: NodeId) -> Node {
    let fallback = &observed.plan.spec.execution.retry;
    let Some(task) = id.task().map(|i| &valid.content.compiled.tasks[i]) else {
        return Node { retry: convert::retry(None, fallback), ..Node::default() };
    };
    let rules = Node {
        retry: convert::retry(task.retry.as_ref(), fallback),
        external_effect: task.external_effect,
        priority: task.priority,
        ..Node::default()
    };
    let contest = |attempts: &Attempts| Contest::new(&rules, attempts.best_of, convert::criteria(attempts));
    Node { contest: task.attempts.as_ref().map(contest), ..rules.clone() }
}

fn node(
    rules: &Node,
    status: &NodeStatus,
    pod: Option<(&PodEntry, Option<&SetupFailure>)>,
    open: Option<&OpenAttempt>,
    now: Millis,
) -> Node {
    // The status shows the end of this attempt already: a report that arrives later must not end it again.
    let open = open.filter(|o| o.number > status.closed());
    let attempts = open.map_or(status.attempts, |o| o.number);
    let running = status.phase == Phase::Running;
    let current = match (open, pod.filter(|(pod, _)| pod.attempt == attempts)) {
        // A finished node can still have its pod, which stays until the cleanup.
        _ if TaskPhase::from(status.phase).is_finished() => CurrentAttempt::None,
        (Some(open), Some((pod, failure))) => {
            let (state, created, deleting) = (state(&pod.view, failure), pod.view.created, pod.view.deleting);
            match &open.result {
                Some(report) if is_lost(&state, deleting, now) => {
                    CurrentAttempt::Absent { seen: true, delivered: Some(report.clone()) }
                }
                _ => CurrentAttempt::Pod { state, created, deleting },
            }
        }
        // The status of a node in phase Running was written because its pod existed, whether this process saw it or not.
        (Some(open), None) => CurrentAttempt::Absent {
            seen: open.seen || (running && attempts == status.attempts),
            delivered: open.result.clone(),
        },
        (None, _) if running => CurrentAttempt::Absent { seen: true, delivered: None },
        (None, _) => CurrentAttempt::None,
    };
    Node {
        exists: true,
        phase: status.phase.into(),
        attempts,
        failures: status.failures,
        infrastructure_failures: status.infrastructure_failures,
        retry_at: status.retry_at,
        current,
        reported: status.reported,
        request: status.request,
        held: status.held,
        retry: rules.retry,
        external_effect: rules.external_effect,
        priority: rules.priority,
        // The rest follows from the budgets, which are read later, and from the agents.
        funding: Funding { parked: status.parked, ..Funding::default() },
        executor: Executor::None,
        numbering: rules.numbering,
        contest: None,
    }
}

/// Returns the state of an attempt by its pod and the failure that Events report of it.
fn state(view: &PodView, failure: Option<&SetupFailure>) -> AttemptState {
    match failure {
        Some(failure) if !view.set_up => classify(&PodView { setup_failure: Some(failure.clone()), ..view.clone() }),
        _ => classify(view),
    }
}

/// The state of a node that the status of its object stores: of its Task, or of the Plan for the integration.
struct NodeStatus {
    phase: Phase,
    attempts: u32,
    failures: u32,
    infrastructure_failures: u32,
    retry_at: Option<Millis>,
    parked: Option<Limit>,
    reported: ReportedState,
    request: Request,
    held: bool,
}

impl NodeStatus {
    /// Returns the stored state of a contestant. Requests of people are for its task.
    fn of_contestant(task: Option<&TaskEntry>, contestant: u32) -> Self {
        let shown = task.and_then(|task| task.contestant(contestant)).cloned().unwrap_or_default();
        Self {
            phase: shown.phase,
            attempts: shown.attempt,
            // It is out after the first one.
            failures: 0,
            infrastructure_failures: shown.infrastructure_failures,
            retry_at: shown.retry_at.as_ref().map(convert::millis),
            parked: shown.remaining_budget.as_ref().map(convert::remaining_limit),
            reported: reported_state(shown.reason.as_deref()),
            request: Request::None,
            held: false,
        }
    }

    /// Returns the stored state of a node; none if its Task does not exist.
    fn of(observed: &Observed, valid: &Valid, id: NodeId) -> Option<Self> {
        let staleness = valid.staleness.as_deref();
        let held = staleness.is_some_and(|s| s.holds(valid.choice, id))
            || valid.pauses.as_ref().is_some_and(|pauses| pauses.holds(id));
        let request = |rerun: Option<&String>, observed_rerun: Option<&String>, redone_for: Option<&str>| {
            // A redo includes a rerun.
            if staleness.is_some_and(|s| s.requests_redo(valid.choice, id, redone_for)) {
                Request::Redo
            } else if rerun.is_some() && rerun != observed_rerun {
                Request::Rerun
            } else {
                Request::None
            }
        };
        if let NodeId::Task(i) = id {
            let task = observed.children.tasks.get(&valid.content.compiled.names[i])?;
            return Some(Self {
                phase: task.phase,
                attempts: task.attempts,
                failures: task.failures,
                infrastructure_failures: task.infrastructure_failures,
                retry_at: task.retry_at,
                parked: task.parked,
                reported: task.reported,
                request: request(task.rerun.as_ref(), task.observed_rerun.as_ref(), task.observed_redo.as_deref()),
                held,
            });
        }
        let status = observed.status().integration.unwrap_or_default();
        let rerun = observed.annotation(names::ANNOTATION_RERUN);
        Some(Self {
            phase: status.phase,
            attempts: status.attempts,
            failures: status.failures,
            infrastructure_failures: status.infrastructure_failures,
            retry_at: status.retry_at.as_ref().map(convert::millis),
            // The integration uses no model.
            parked: None,
            reported: reported_state(status.reason.as_deref()),
            request: request(rerun, status.observed_rerun.as_ref(), status.observed_redo.as_deref()),
            held,
        })
    }

    /// Returns the number of the last attempt that has ended. Only the last attempt of a running node is open.
    fn closed(&self) -> u32 {
        if self.phase == Phase::Running { self.attempts.saturating_sub(1) } else { self.attempts }
    }
}

/// Returns the newest pod of each series, by the pod's task label and the contestant. A pod with another controller does not belong to the
/// plan, whatever its labels are.
fn newest_pods<'a>(observed: &'a Observed, valid: &'a Valid) -> HashMap<(&'a str, u32), &'a PodEntry> {
    let compiled = &valid.content.compiled;
    let contests: HashMap<&str, u32> = compiled
        .tasks
        .iter()
        .zip(&compiled.names)
        .filter_map(|(task, name)| Some((name.as_str(), task.attempts.as_ref()?.best_of)))
        .collect();
    let owner = |pod: &PodEntry| match pod.task.as_str() {
        names::INTEGRATION => Some(observed.uid.as_str()),
        task => observed.children.tasks.get(task).map(|t| t.uid.as_str()),
    };
    let mut newest: HashMap<(&str, u32), &PodEntry> = HashMap::with_capacity(observed.children.pods.len());
    for pod in observed.children.pods.values().filter(|p| owner(p) == Some(&p.owner)) {
        let contestants = contests.get(pod.task.as_str()).copied().unwrap_or(1);
        let known = newest.entry((pod.task.as_str(), contestant_of(pod.attempt, contestants))).or_insert(pod);
        if known.attempt < pod.attempt {
            *known = pod;
        }
    }
    newest
}

/// Returns the value of the task label of a node's pods.
fn label(valid: &Valid, id: NodeId) -> &str {
    id.task().map_or(names::INTEGRATION, |i| &valid.content.compiled.names[i])
}

#[cfg(test)]
mod contest_tests;
#[cfg(test)]
mod tests;
