//! The nodes of a plan's graph, as the scheduler sees them: from the status of each node, its pod, and its open attempt.

use std::collections::HashMap;
use std::sync::Arc;

use enact_crds::convert;
use enact_crds::task::{Attempts, ContestantStatus, Phase};
use enact_domain::assignment::{Reason, Report};
use enact_domain::attempt::{AttemptState, PodView, SetupFailure, class_of, classify};
use enact_domain::contest::contestant_of;
use enact_domain::graph::{NodeId, PerNode};
use enact_domain::names;
use enact_domain::plan::{
    Contest, CurrentAttempt, Executor, Funding, Node, ReportedState, Request, TaskPhase, is_lost,
};
use enact_domain::record::{ACTOR, Event, Kind, Record, RecordedAttempt, Subject, failure_kind};
use enact_domain::time::Millis;
use enact_domain::usage::Limit;

use super::attempt_pods;
use super::context::Context;
use super::observed::Observed;
use super::runtime::{DeliveredEnd, OpenAttempt, OpenAttempts, SeriesId};
use super::validate::Valid;
use crate::error::Error;
use crate::index::{PodEntry, TaskEntry};
use crate::setup_failures::SetupFailures;
use crate::task::status::reported_state;

/// Returns the open attempts of the plan: those known before and, where `known` is not enough, those of the record.
///
/// The record is read once after a start of the process. It is read again when a pod that was seen is gone or lost, because the report that
/// the pod delivered is there.
///
/// # Errors
/// When the record cannot be read or written.
pub async fn open_attempts(
    ctx: &Context,
    observed: &Observed,
    valid: &Valid,
    known: &OpenAttempts,
) -> Result<OpenAttempts, Error> {
    let pods = attempt_pods::by_uid(observed);
    let mut attempts = known.clone();
    drop_former(ctx, observed, valid, &mut attempts).await?;
    let vanished = |open: &Arc<OpenAttempt>| {
        let pod = open.pod_uid.as_deref().and_then(|uid| pods.get(uid).copied());
        let is_gone = pod.is_none_or(|pod| is_lost(&classify(&pod.view), pod.view.deleting, observed.now));
        open.seen && open.result.is_none() && is_gone
    };
    if !known.loaded || known.by_series.values().any(vanished) {
        read_record(ctx, observed, valid, &mut attempts).await?;
    }
    for (series, open) in &mut attempts.by_series {
        if let Some((name, pod)) = unrecorded_pod(observed, valid, series.0, open) {
            let subject = subject_of(observed, valid, series.0, &open.subject_uid);
            let tenant = &valid.member.tenant;
            attempt_pods::record_pod(ctx, observed, tenant, subject, open.number, (name, &pod.uid)).await?;
            let open = Arc::make_mut(open);
            (open.pod_uid, open.lacks_pod) = (Some(pod.uid.clone()), false);
        }
        if !open.seen && open.pod_uid.as_deref().is_some_and(|uid| pods.contains_key(uid)) {
            let open = Arc::make_mut(open);
            (open.seen, open.lacks_pod) = (true, false);
        }
    }
    Ok(attempts)
}

/// Returns the pod of an attempt whose start is recorded, but not its pod: the operator stopped in between. Everybody can copy the key of a
/// pod that exists, but not its name.
fn unrecorded_pod<'a>(
    observed: &'a Observed,
    valid: &Valid,
    node: NodeId,
    open: &OpenAttempt,
) -> Option<(&'a str, &'a PodEntry)> {
    let key = open.start_key.as_ref().filter(|_| open.pod_uid.is_none() && !open.seen)?;
    let own = attempt_pods::own_name(observed, valid, node, open.number);
    let (name, pod) = observed.children.pods.get_key_value(&own)?;
    let is_its =
        pod.start_key.as_deref() == Some(key.as_str()) && pod.owner == open.subject_uid && pod.attempt == open.number;
    is_its.then(|| (name.as_str(), pod.as_ref()))
}

/// Returns the object that the attempts of a node belong to, whose UID is `uid`.
fn subject_of(observed: &Observed, valid: &Valid, id: NodeId, uid: &str) -> Subject {
    let Some(i) = id.task() else { return observed.subject() };
    let (namespace, name) = (observed.namespace.clone(), valid.content.compiled.names[i].clone());
    Subject { kind: Kind::Task, namespace, name, uid: uid.to_owned() }
}

/// Ends the attempts of Tasks that were deleted: a new object of the same name has none of them.
async fn drop_former(
    ctx: &Context,
    observed: &Observed,
    valid: &Valid,
    attempts: &mut OpenAttempts,
) -> Result<(), Error> {
    let subject = |node: NodeId| match node {
        NodeId::Integration => Some(observed.uid.as_str()),
        NodeId::Task(_) => entry(observed, valid, node).map(|task| task.uid.as_str()),
    };
    let is_former =
        |((node, _), open): &(&SeriesId, &Arc<OpenAttempt>)| subject(*node) != Some(open.subject_uid.as_str());
    let former: Vec<SeriesId> = attempts.by_series.iter().filter(is_former).map(|(series, _)| *series).collect();
    let mut ends = Vec::new();
    for series in former {
        attempts.agents.remove(&series);
        // The UID is empty if the Task was deleted while the attempt was started.
        if let Some(open) = attempts.by_series.remove(&series).filter(|open| !open.subject_uid.is_empty()) {
            ends.push(end_of_former(observed, valid, series.0, &open));
        }
    }
    if !ends.is_empty() {
        ctx.record(ends).await?;
    }
    Ok(())
}

/// Returns the record of the end of an attempt whose Task was deleted. Kubernetes deletes its pod.
fn end_of_former(observed: &Observed, valid: &Valid, node: NodeId, open: &OpenAttempt) -> Record {
    let report = open.result.clone().unwrap_or_else(|| Report::new(Reason::Lost, "the Task was deleted"));
    let failure = (report.reason != Reason::Succeeded).then(|| failure_kind(class_of(report.reason)));
    Record {
        tenant: valid.member.tenant.clone(),
        subject: subject_of(observed, valid, node, &open.subject_uid),
        at: observed.now,
        actor: ACTOR.into(),
        event: Event::AttemptFinished {
            plan_uid: observed.uid.clone(),
            number: open.number,
            failure,
            report,
            started: None,
        },
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
    let pods = attempt_pods::by_uid(observed);
    for attempt in recorded {
        // The Task was deleted, or created again with another UID: the attempts of the old object do not count.
        let Some(&node) = nodes.get(attempt.subject_uid.as_str()) else { continue };
        if let (true, Some(None), true, Some(report)) =
            (!attempts.loaded, &attempt.finished, attempt.verified, &attempt.report)
            && let Some(pod) = attempt.pod_uid.as_deref().and_then(|uid| pods.get(uid))
        {
            // It can have ended before its pod, whose end may contradict it.
            let subject = subject_of(observed, valid, node, &attempt.subject_uid);
            let end = DeliveredEnd { subject, number: attempt.number, report: report.clone() };
            attempts.delivered.insert(pod.uid.clone(), Arc::new(end));
        }
        let series = series_of(valid, node, attempt.number);
        let is_newest = attempts.agents.get(&series).is_none_or(|(number, _)| attempt.number > *number);
        if let Some(agent) = attempt.agent.as_ref().filter(|_| has_pool(observed) && is_newest) {
            attempts.agents.insert(series, (attempt.number, agent.clone()));
        }
        let open = attempts.by_series.entry(series).or_default();
        if attempt.number > open.number {
            // An attempt whose end is recorded had a pod: it is never started a second time.
            *open = Arc::new(OpenAttempt {
                seen: attempt.finished.is_some(),
                result: result_of(&attempt),
                delivered: is_delivered(&attempt),
                subject_uid: attempt.subject_uid,
                number: attempt.number,
                pod_uid: attempt.pod_uid,
                start_key: attempt.start_key,
                lacks_pod: false,
            });
        // Only the report is new. `seen` stays, because this process knows better than the record whether the pod existed.
        } else if attempt.number == open.number && open.result.is_none() {
            let open = Arc::make_mut(open);
            (open.result, open.delivered) = (result_of(&attempt), is_delivered(&attempt));
        }
    }
    attempts.loaded = true;
    Ok(())
}

/// Returns the report with which a recorded attempt ends, or has ended. A delivered report that is not verified does not count: with the
/// token of the pod, the agent can have sent it. The end of the pod then decides, and without one, the attempt is lost.
fn result_of(attempt: &RecordedAttempt) -> Option<Report> {
    attempt.report.clone().filter(|_| attempt.finished.is_some() || attempt.verified)
}

/// Returns whether a recorded attempt can end, or has ended, with the verified report that its pod delivered. A recorded failure may also
/// have been decided by the operator, which then deletes the pod.
fn is_delivered(attempt: &RecordedAttempt) -> bool {
    attempt.verified && matches!(attempt.finished, None | Some(None))
}

/// Returns the state of every node.
pub fn nodes(
    observed: &Observed,
    valid: &Valid,
    attempts: &OpenAttempts,
    setup_failures: &SetupFailures,
) -> PerNode<Node> {
    let pods = attempt_pods::by_uid(observed);
    let series = |rules: &Node, status: &NodeStatus, series: SeriesId| {
        let open: Option<&OpenAttempt> = attempts.by_series.get(&series).map(AsRef::as_ref);
        let pod = open.and_then(|open| pods.get(open.pod_uid.as_deref()?).copied());
        let pod = pod.map(|pod| (pod, setup_failures.of(&pod.uid)));
        node(rules, status, pod, open, observed.now)
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
        kept: valid.content.compiled.kept.contains_key(&task.id),
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
                result => {
                    let delivered = result.clone().filter(|_| open.delivered).map(Box::new);
                    CurrentAttempt::Pod { state, created, deleting, delivered }
                }
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
        kept: rules.kept && status.untouched,
        retry: rules.retry,
        external_effect: rules.external_effect && !open.is_some_and(|open| open.lacks_pod),
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
    /// Whether it is the status of a Task with which nothing has happened yet.
    untouched: bool,
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
            untouched: false,
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
                untouched: task.phase == Phase::Pending
                    && task.attempts == 0
                    && task.observed_rerun.is_none()
                    && task.observed_redo.is_none(),
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
            untouched: false,
        })
    }

    /// Returns the number of the last attempt that has ended. Only the last attempt of a running node is open.
    fn closed(&self) -> u32 {
        if self.phase == Phase::Running { self.attempts.saturating_sub(1) } else { self.attempts }
    }
}

#[cfg(test)]
mod contest_tests;
#[cfg(test)]
mod tests;
