//! The plan's nodes, as the scheduler wants to see them.

use std::collections::HashMap;
use std::sync::Arc;

use enact_crds::convert;
use enact_crds::plan::IntegrationStatus;
use enact_crds::task::Phase;
use enact_domain::attempt::classify;
use enact_domain::names;
use enact_domain::plan::{Asked, Current, Node, Shown, TaskPhase};
use enact_domain::time::Millis;
use kube::ResourceExt as _;

use super::context::Context;
use super::observe::Observed;
use super::stale::{self, Answer};
use super::validate::Valid;
use super::{Open, Runtime};
use crate::error::Error;
use crate::index::{PodEntry, TaskEntry, shown};

/// Brings back what the record knows of attempts, once after a start of the process, and whenever a pod that was seen is gone: what that
/// pod delivered is there.
///
/// # Errors
/// When the record cannot be read.
pub async fn hydrate(ctx: &Context, observed: &Observed, valid: &Valid, runtime: &mut Runtime) -> Result<(), Error> {
    let pods = newest(observed);
    let vanished = |(node, open): (&usize, &Open)| {
        open.seen && open.result.is_none() && pods.get(label(valid, *node)).is_none_or(|p| p.attempt < open.number)
    };
    if runtime.hydrated && !runtime.open.iter().any(vanished) {
        return Ok(());
    }
    let known = ctx.record_store.attempts(&valid.member.tenant, &observed.uid).await?;
    let nodes: HashMap<&str, usize> = entries(observed, valid).map(|(i, t)| (t.uid.as_str(), i)).collect();
    for attempt in known {
        let integration = attempt.subject_uid == observed.uid;
        let node = if integration {
            Some(valid.content.compiled.tasks.len())
        } else {
            nodes.get(attempt.subject_uid.as_str()).copied()
        };
        let Some(node) = node else { continue };
        let open = runtime.open.entry(node).or_default();
        if attempt.number > open.number {
            // An attempt whose end is recorded had a pod: it is never started a second time.
            *open = Open { number: attempt.number, seen: attempt.finished.is_some(), result: attempt.report };
        } else if attempt.number == open.number && open.result.is_none() {
            open.result = attempt.report;
        }
    }
    runtime.hydrated = true;
    Ok(())
}

/// All nodes: the tasks by their index, then the integration if the plan has a workspace.
pub fn nodes(observed: &Observed, valid: &Valid, runtime: &mut Runtime) -> Vec<Node> {
    let pods = newest(observed);
    let execution = &observed.plan.spec.execution;
    let mut nodes = Vec::with_capacity(valid.graph.len());
    for (i, (task, name)) in valid.content.compiled.tasks.iter().zip(&valid.content.compiled.names).enumerate() {
        let rules = Node {
            retry: convert::retry(task.retry.as_ref(), &execution.retry),
            external_effect: task.external_effect,
            priority: task.priority,
            ..Node::default()
        };
        nodes.push(match observed.children.tasks.get(name) {
            Some(entry) => {
                let answer = answer(valid, i, entry.observed_redo.as_deref());
                let node = place(&rules, &Standing::of(entry), pods.get(name.as_str()).copied(), runtime, i);
                answered(node, answer)
            }
            None => rules,
        });
    }
    if valid.graph.len() > nodes.len() {
        let status = observed.plan.status.as_ref().and_then(|s| s.integration.clone()).unwrap_or_default();
        let rerun = observed.plan.annotations().get(names::ANNOTATION_RERUN);
        let rules = Node { retry: convert::retry(None, &execution.retry), ..Node::default() };
        let i = nodes.len();
        let answer = answer(valid, i, status.observed_redo.as_deref());
        let standing = Standing::of_integration(&status, rerun);
        nodes.push(answered(place(&rules, &standing, pods.get(names::INTEGRATION).copied(), runtime, i), answer));
    }
    nodes
}

/// What a newer revision of the specification means for a node.
fn answer(valid: &Valid, node: usize, observed: Option<&str>) -> Answer {
    let integration = valid.content.compiled.tasks.len();
    stale::answer(valid.outdated.as_deref(), valid.choice, node, integration, observed)
}

/// A node with that in mind. To do it again is more than to try it again.
fn answered(node: Node, answer: Answer) -> Node {
    let asked = if answer.asked == Asked::Redo { Asked::Redo } else { node.asked };
    Node { asked, held: answer.held, ..node }
}

/// What a status says of a node.
struct Standing {
    phase: Phase,
    attempts: u32,
    failures: u32,
    infrastructure_failures: u32,
    retry_at: Option<Millis>,
    shown: Shown,
    asked: Asked,
}

impl Standing {
    fn of(task: &TaskEntry) -> Self {
        Self {
            phase: task.phase,
            attempts: task.attempts,
            failures: task.failures,
            infrastructure_failures: task.infrastructure_failures,
            retry_at: task.retry_at,
            shown: task.shown,
            asked: asks_rerun(task.rerun.as_ref(), task.observed_rerun.as_ref()),
        }
    }

    fn of_integration(status: &IntegrationStatus, rerun: Option<&String>) -> Self {
        Self {
            phase: status.phase,
            attempts: status.attempts,
            failures: status.failures,
            infrastructure_failures: status.infrastructure_failures,
            retry_at: status.retry_at.as_ref().map(convert::millis),
            shown: shown(status.reason.as_deref()),
            asked: asks_rerun(rerun, status.observed_rerun.as_ref()),
        }
    }
}

fn asks_rerun(wanted: Option<&String>, observed: Option<&String>) -> Asked {
    if wanted.is_some() && wanted != observed { Asked::Rerun } else { Asked::Nothing }
}

fn place(rules: &Node, standing: &Standing, pod: Option<&PodEntry>, runtime: &mut Runtime, i: usize) -> Node {
    // A running task's last attempt is open; everybody else's has ended.
    let closed = if standing.phase == Phase::Running { standing.attempts.saturating_sub(1) } else { standing.attempts };
    if let Some(pod) = pod.filter(|p| p.attempt > closed) {
        let open = runtime.open.entry(i).or_default();
        if pod.attempt >= open.number {
            *open = Open { number: pod.attempt, seen: true, result: None };
        }
    }
    let open = runtime.open.get(&i).filter(|o| o.number > closed);
    let attempts = open.map_or(standing.attempts, |o| o.number);
    let current = match (open, pod.filter(|p| p.attempt == attempts)) {
        _ if TaskPhase::from(standing.phase).is_finished() => Current::None,
        (Some(_), Some(pod)) => {
            Current::Pod { state: classify(&pod.view), created: pod.view.created, deleting: pod.view.deleting }
        }
        // A task that was shown as running had a pod, whatever this process saw of it.
        (Some(open), None) => Current::Absent {
            seen: open.seen || (standing.phase == Phase::Running && attempts == standing.attempts),
            delivered: open.result.clone(),
        },
        (None, _) if standing.phase == Phase::Running => Current::Absent { seen: true, delivered: None },
        (None, _) => Current::None,
    };
    Node {
        exists: true,
        phase: standing.phase.into(),
        attempts,
        failures: standing.failures,
        infrastructure_failures: standing.infrastructure_failures,
        retry_at: standing.retry_at,
        current,
        shown: standing.shown,
        asked: standing.asked,
        held: false,
        retry: rules.retry,
        external_effect: rules.external_effect,
        priority: rules.priority,
    }
}

/// The newest pod of each task, by the value of its task label. A pod that something else controls is none of the plan's, whatever its
/// labels say.
fn newest(observed: &Observed) -> HashMap<&str, &PodEntry> {
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

/// The Task objects that exist, with their node.
fn entries<'a>(observed: &'a Observed, valid: &'a Valid) -> impl Iterator<Item = (usize, &'a Arc<TaskEntry>)> {
    valid
        .content
        .compiled
        .names
        .iter()
        .enumerate()
        .filter_map(|(i, name)| Some((i, observed.children.tasks.get(name)?)))
}

/// The value of the task label of a node's pods.
fn label(valid: &Valid, node: usize) -> &str {
    valid.content.compiled.names.get(node).map_or(names::INTEGRATION, String::as_str)
}
