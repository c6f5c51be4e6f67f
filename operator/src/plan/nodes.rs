//! The nodes of a plan's graph, as the scheduler sees them: from the status of each node, its pod, and its open attempt.

use std::collections::HashMap;

use enact_crds::convert;
use enact_crds::task::Phase;
use enact_domain::attempt::{AttemptState, PodView, SetupFailure, classify};
use enact_domain::graph::{NodeId, PerNode};
use enact_domain::names;
use enact_domain::plan::{CurrentAttempt, Executor, Funding, Node, ReportedState, Request, TaskPhase};
use enact_domain::time::Millis;
use enact_domain::usage::Limit;

use super::context::Context;
use super::observed::Observed;
use super::runtime::{OpenAttempt, OpenAttempts};
use super::setup_failures::SetupFailures;
use super::validate::Valid;
use crate::error::Error;
use crate::index::PodEntry;
use crate::task::status::reported_state;

/// Returns the open attempts of the plan: those known before, those of pods that appeared since, and, where `known` is not enough, those
/// of the record.
///
/// The record is read once after a start of the process. It is read again when a pod that was seen is gone, because the report that the
/// pod delivered is there.
///
/// # Errors
/// When the record cannot be read.
pub async fn open_attempts(
    ctx: &Context,
    observed: &Observed,
    valid: &Valid,
    known: &OpenAttempts,
) -> Result<OpenAttempts, Error> {
    let pods = newest_pods(observed);
    let mut attempts = known.clone();
    let vanished = |(node, open): (&NodeId, &OpenAttempt)| {
        open.seen && open.result.is_none() && pods.get(label(valid, *node)).is_none_or(|p| p.attempt < open.number)
    };
    if !known.loaded || known.by_node.iter().any(vanished) {
        read_record(ctx, observed, valid, &mut attempts).await?;
    }
    for id in valid.graph.nodes() {
        let Some(status) = NodeStatus::of(observed, valid, id) else { continue };
        let closed = status.closed();
        if let Some(pod) = pods.get(label(valid, id)).filter(|p| p.attempt > closed) {
            let open = attempts.by_node.entry(id).or_default();
            // An older pod may still exist while the record already has a newer attempt: the newer one wins.
            if pod.attempt >= open.number {
                // What the record says comes first: a user of the tenant can change the annotation.
                let is_newer = attempts.agents.get(&id).is_none_or(|(number, _)| pod.attempt > *number);
                if let Some(agent) = pod.agent.as_ref().filter(|_| has_pool(observed) && is_newer) {
                    attempts.agents.insert(id, (pod.attempt, agent.clone()));
                }
                *open = OpenAttempt { number: pod.attempt, seen: true, result: None };
            }
        }
    }
    Ok(attempts)
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
        let is_newest = attempts.agents.get(&node).is_none_or(|(number, _)| attempt.number > *number);
        if let Some(agent) = attempt.agent.filter(|_| has_pool(observed) && is_newest) {
            attempts.agents.insert(node, (attempt.number, agent));
        }
        let open = attempts.by_node.entry(node).or_default();
        if attempt.number > open.number {
            // An attempt whose end is recorded had a pod: it is never started a second time.
            *open = OpenAttempt { number: attempt.number, seen: attempt.finished.is_some(), result: attempt.report };
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
    let pods = newest_pods(observed);
    valid.graph.per_node(|id| {
        let rules = rules(observed, valid, id);
        match NodeStatus::of(observed, valid, id) {
            Some(status) => {
                let pod = pods.get(label(valid, id)).copied();
                let open = attempts.by_node.get(&id);
                node(&rules, &status, pod.map(|pod| (pod, setup_failures.of(&pod.uid))), open)
            }
            None => rules,
        }
    })
}

/// Returns a node that does not exist yet: its rules only.
fn rules(observed: &Observed, valid: &Valid, id: NodeId) -> Node {
    let fallback = &observed.plan.spec.execution.retry;
    match id.task().map(|i| &valid.content.compiled.tasks[i]) {
        Some(task) => Node {
            retry: convert::retry(task.retry.as_ref(), fallback),
            external_effect: task.external_effect,
            priority: task.priority,
            ..Node::default()
        },
        None => Node { retry: convert::retry(None, fallback), ..Node::default() },
    }
}

fn node(
    rules: &Node,
    status: &NodeStatus,
    pod: Option<(&PodEntry, Option<&SetupFailure>)>,
    open: Option<&OpenAttempt>,
) -> Node {
    // The status shows the end of this attempt already: a report that arrives later must not end it again.
    let open = open.filter(|o| o.number > status.closed());
    let attempts = open.map_or(status.attempts, |o| o.number);
    let running = status.phase == Phase::Running;
    let current = match (open, pod.filter(|(pod, _)| pod.attempt == attempts)) {
        // A finished node can still have its pod, which stays until the cleanup.
        _ if TaskPhase::from(status.phase).is_finished() => CurrentAttempt::None,
        (Some(_), Some((pod, failure))) => CurrentAttempt::Pod {
            state: state(&pod.view, failure),
            created: pod.view.created,
            deleting: pod.view.deleting,
        },
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
    /// Returns the stored state of a node; none if its Task does not exist.
    fn of(observed: &Observed, valid: &Valid, id: NodeId) -> Option<Self> {
        let staleness = valid.staleness.as_deref();
        let held = staleness.is_some_and(|s| s.holds(valid.choice, id));
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

/// Returns the newest pod of each node, by the pod's task label. A pod with another controller does not belong to the plan, whatever its
/// labels are.
fn newest_pods(observed: &Observed) -> HashMap<&str, &PodEntry> {
    let owner = |pod: &PodEntry| match pod.task.as_str() {
        names::INTEGRATION => Some(observed.uid.as_str()),
        task => observed.children.tasks.get(task).map(|t| t.uid.as_str()),
    };
    let mut newest: HashMap<&str, &PodEntry> = HashMap::with_capacity(observed.children.pods.len());
    for pod in observed.children.pods.values().filter(|p| owner(p) == Some(&p.owner)) {
        let known = newest.entry(pod.task.as_str()).or_insert(pod);
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
