//! Record: writes a decision to the record before it is applied, so that a crash after this step loses nothing.

use std::collections::{BTreeSet, HashMap};

use enact_domain::graph::NodeId;
use enact_domain::names::{ANNOTATION_AUTHOR, ANNOTATION_CHANGES};
use enact_domain::plan::{Action, NextStep, TaskPhase, Verdict};
use enact_domain::record::{ACTOR, Event, Record, Subject, TaskRef, failure_kind};
use enact_domain::stamps::Changes;
use enact_store::StartedPod;
use kube::ResourceExt as _;

use super::agents::counted_needs;
use super::context::Context;
use super::decide::Decided;
use super::known_budgets::KnownBudgets;
use super::{limits, warm};
use crate::error::Error;
use crate::search;
use crate::task::{contest, status};

/// Proof that a decision is in the record. Only [`record`] makes it, and `apply` demands it.
pub struct Recorded {
    /// The budgets, whose limits are written.
    pub budgets: KnownBudgets,
    /// The recorded starts of attempts that start again, or in whose start a warm pool may be involved.
    pub starts: HashMap<(NodeId, u32), StartedPod>,
    _made_by_record: (),
}

/// Writes a decision to the record. A repetition of the same records has no effect.
///
/// # Errors
/// When the record cannot be written.
pub async fn record(ctx: &Context, decided: &Decided<'_>) -> Result<Recorded, Error> {
    // Before the pods exist: the gateway enforces the limits from the first request on.
    let budgets = limits::write(ctx, decided).await?;
    ctx.record(records(decided)).await?;
    let starts = warm::recorded_starts(ctx, decided).await?;
    let valid = decided.valid;
    // After the record, so that search finds only recorded content. It never waits: a full queue postpones the document.
    ctx.search.offer(&valid.member.tenant, decided.observed.subject(), valid.content.digest.as_str(), || {
        search::of_plan(&decided.observed.plan.spec.decisions, &valid.content.compiled.tasks)
    });
    Ok(Recorded { budgets, starts, _made_by_record: () })
}

/// Returns the records of a decision, in the order of its actions.
fn records(decided: &Decided) -> Vec<Record> {
    let mut out = Vec::new();
    let content = &decided.valid.content;
    let status = decided.observed.plan.status.as_ref();
    let is_pinned = status.and_then(|status| status.approved_digest.as_deref()) == Some(content.digest.as_str());
    // Recorded with the decision that starts the plan, or that adopts changed Agents: the content of a started plan is later read from the
    // record.
    let is_new = decided.observed.started().is_none();
    if is_new || !is_pinned {
        let revision = Event::Revision {
            digest: content.digest.clone(),
            version: None,
            reason: if is_new { "Source" } else { "AgentChanged" }.to_owned(),
            commit: None,
            content: content.canonical.clone(),
        };
        let record = new_record(decided, decided.observed.subject(), revision);
        // Changed Agents have authors of their own.
        let author = if is_new { decided.observed.author.clone() } else { author_of_agents(decided) };
        out.push(Record { actor: author.unwrap_or_else(|| ACTOR.into()), ..record });
    }
    for action in &decided.decision.actions {
        // The Task of an action can be deleted meanwhile: its attempts then belong to no object.
        let Some(subject) = node_of(action).and_then(|node| decided.subject(node)) else { continue };
        let actor = requester(decided, action).unwrap_or_else(|| ACTOR.into());
        let events = events(decided, &subject, action);
        let record = |event| Record { actor: actor.clone(), ..new_record(decided, subject.clone(), event) };
        out.extend(events.into_iter().map(record));
    }
    if let Some(transition) = plan_transition(decided) {
        out.push(new_record(decided, decided.observed.subject(), transition));
    }
    out
}

/// Returns who changed the Agents of a started plan, or the ModelProviders of their models, if it was one person.
fn author_of_agents(decided: &Decided) -> Option<String> {
    let before = &decided.loaded.content.as_ref()?.agents;
    let (observed, content) = (decided.observed, &decided.valid.content);
    let mut authors: BTreeSet<&String> = BTreeSet::new();
    for (name, _) in content.agents.iter().filter(|(name, digest)| before.get(*name) != Some(*digest)) {
        authors.insert(observed.agents.get(name)?.annotations().get(ANNOTATION_AUTHOR)?);
        // The digest does not say whether the Agent or the URL of a ModelProvider has changed.
        authors.extend(observed.provider_authors.get(name).into_iter().flatten());
    }
    authors.first().filter(|_| authors.len() == 1).map(|author| (*author).clone())
}

/// Returns the person who requested an action, as the webhook wrote it down.
fn requester(decided: &Decided, action: &Action) -> Option<String> {
    let Action::Reopen(node) = action else { return None };
    let (changes, control) = match decided.redone_for(*node) {
        Some(_) => (decided.observed.annotation(ANNOTATION_CHANGES), "redo"),
        None => (decided.task_entry(*node)?.changes.as_ref(), "rerun"),
    };
    let changes = Changes::parse(changes.map(String::as_str));
    changes.get(control).map(|change| change.by.clone())
}

/// Returns the node of an action that is recorded.
fn node_of(action: &Action) -> Option<NodeId> {
    match action {
        Action::Start { node, .. }
        | Action::End { node, .. }
        | Action::Judge { node, .. }
        | Action::Close { node, .. }
        | Action::Reopen(node) => Some(*node),
        Action::Create(_) | Action::MarkRunning { .. } => None,
    }
}

fn events(decided: &Decided, subject: &Subject, action: &Action) -> Vec<Event> {
    let plan_uid = || decided.observed.uid.clone();
    match action {
        Action::Start { node, attempt } => vec![Event::AttemptStarted {
            plan_uid: plan_uid(),
            number: *attempt,
            pod: decided.started_pod(*node, *attempt),
            pod_uid: decided.taken.get(&(*node, *attempt)).map(|taken| taken.uid().to_owned()),
            start_key: decided.start_key(subject, *attempt),
            agent: decided.agent(*node, *attempt).to_owned(),
            contestants: contestants(decided, *node),
            capabilities: capabilities(decided, *node, *attempt),
            selection: decided.assignment(*node, *attempt).and_then(|assignment| assignment.selection.clone()),
        }],
        Action::End { node, attempt, failure, report, next, .. } => {
            let mut events = vec![Event::AttemptFinished {
                plan_uid: plan_uid(),
                number: *attempt,
                failure: failure.map(failure_kind),
                report: report.clone(),
                started: decided.pod_created(*node, *attempt),
            }];
            // The end of a contestant is not that of its task.
            if let NextStep::Finish(phase) = next
                && decided.nodes[*node].contest.is_none()
            {
                let reason = report.reason.as_str();
                events.extend(task_transition(decided, *node, *phase, &attempt.to_string(), reason, &report.message));
            }
            events
        }
        Action::Judge { node, verdict } => judged(decided, *node, verdict),
        Action::Close { node, phase, reason } => {
            let key = closing_key(decided, *node);
            let (reason, message) = match decided.kept(*node).filter(|_| *phase == TaskPhase::Succeeded) {
                Some((_, plan)) => (status::KEPT, status::kept_message(plan)),
                None => (reason.as_str(), "stopped before it was started".to_owned()),
            };
            task_transition(decided, *node, *phase, &key, reason, &message).into_iter().collect()
        }
        Action::Reopen(node) => {
            let attempts = decided.nodes[*node].attempts;
            let (key, reason, message) = if let Some(digest) = decided.redone_for(*node) {
                let message = format!("the specification {digest} makes the work stale; it is repeated");
                (format!("{attempts}/{digest}"), "Redo", message)
            } else {
                // With the request: a task that was closed again before it started has the same number of attempts.
                let request = decided.task_entry(*node).and_then(|task| task.rerun.as_deref()).unwrap_or_default();
                (format!("{attempts}/{request}"), "Rerun", "a person requested another attempt".to_owned())
            };
            task_transition(decided, *node, TaskPhase::Pending, &key, reason, &message).into_iter().collect()
        }
        Action::Create(_) | Action::MarkRunning { .. } => Vec::new(),
    }
}

/// Returns the key of a task that is closed without an attempt. It is the same when a crash repeats the decision, and differs from that of
/// the close before, after which a person reopened the task.
fn closing_key(decided: &Decided, node: NodeId) -> String {
    let reopened = decided.task_entry(node).map(|task| (task.observed_rerun.as_deref(), task.observed_redo.as_deref()));
    let (rerun, redo) = reopened.unwrap_or_default();
    let attempts = decided.nodes[node].attempts;
    format!("{attempts}/closed/{}/{}", rerun.unwrap_or_default(), redo.unwrap_or_default())
}

/// Returns the records of a verdict: which attempt won, and the transition of the task.
fn judged(decided: &Decided, node: NodeId, verdict: &Verdict) -> Vec<Event> {
    let (reason, message) = contest::conclusion(decided.task_entry(node), verdict);
    let newest = decided.nodes[node].attempts;
    let decision = Event::ContestDecided {
        plan_uid: decided.observed.uid.clone(),
        newest,
        winner: verdict.winner.as_ref().map(|winner| winner.attempt),
        message: message.clone(),
    };
    let transition = task_transition(decided, node, verdict.phase, &newest.to_string(), &reason, &message);
    [decision].into_iter().chain(transition).collect()
}

/// Returns the number of contestants of a node; 1 without a contest.
fn contestants(decided: &Decided, node: NodeId) -> u32 {
    u32::try_from(decided.nodes[node].series().count()).unwrap_or(1)
}

/// Returns the needs of a task that an attempt counts for in the history of its agent.
fn capabilities(decided: &Decided, node: NodeId, attempt: u32) -> Option<Vec<String>> {
    let executor = &decided.nodes[node].series_of(attempt).executor;
    let candidate = &decided.agents.all.get(executor.last()?)?.candidate;
    let needs = decided.valid.content.compiled.needs.get(node.task()?)?;
    counted_needs(needs, candidate, decided.selected_agent(node, attempt).is_some())
}

/// Returns the transition of a task; none for the integration, whose transitions are those of the plan. `key` makes the transition unique
/// within its phase, and equal when it is repeated after a crash.
fn task_transition(
    decided: &Decided,
    node: NodeId,
    phase: TaskPhase,
    key: &str,
    reason: &str,
    message: &str,
) -> Option<Event> {
    let id = decided.valid.content.compiled.tasks[node.task()?].id.clone();
    Some(Event::Transition {
        key: format!("{phase:?}/{key}"),
        state: format!("{phase:?}"),
        reason: reason.to_owned(),
        message: message.to_owned(),
        task: Some(TaskRef { plan_uid: decided.observed.uid.clone(), id }),
    })
}

/// Returns the transition of the plan's phase, if there is one. Its key contains the number of transitions so far, which the status keeps:
/// the key is the same after a crash, and new at each transition.
fn plan_transition(decided: &Decided) -> Option<Event> {
    let outcome = decided.outcome(None);
    let old = decided.observed.plan.status.as_ref();
    let turns = old.map_or(0, |s| s.turns);
    let state = format!("{:?}", outcome.phase);
    let changed = decided.observed.phase() != outcome.phase || decided.observed.started().is_none();
    changed.then(|| Event::Transition {
        key: format!("{state}/{turns}"),
        state,
        reason: outcome.readiness.reason.into_owned(),
        message: outcome.readiness.message,
        task: None,
    })
}

fn new_record(decided: &Decided, subject: Subject, event: Event) -> Record {
    Record {
        tenant: decided.valid.member.tenant.clone(),
        subject,
        at: decided.observed.now,
        actor: ACTOR.into(),
        event,
    }
}

#[cfg(test)]
mod tests;
