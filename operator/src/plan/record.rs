//! What was decided, for the record.

use enact_domain::names;
use enact_domain::plan::{Action, After, TaskPhase};
use enact_domain::record::{Event, Kind, Record, Subject, TaskRef, failure_kind};
use kube::ResourceExt as _;

use super::{Pass, started, status, validate};
use crate::context::ACTOR;

/// The records of one pass, in the order of its actions.
pub fn records(pass: &Pass) -> Vec<Record> {
    let mut out = Vec::new();
    if started(&pass.observed.plan).is_none() {
        out.push(record(
            pass,
            subject_of(pass),
            Event::Revision {
                digest: pass.valid.content.digest.clone(),
                version: None,
                reason: "Source".to_owned(),
                commit: None,
                content: pass.valid.content.canonical.clone(),
            },
        ));
    }
    for action in &pass.decision.actions {
        events(pass, action, &mut out);
    }
    if let Some((key, phase, reason, message)) = status::transition(pass) {
        let state = format!("{phase:?}");
        out.push(record(pass, subject_of(pass), Event::Transition { key, state, reason, message, task: None }));
    }
    out
}

fn events(pass: &Pass, action: &Action, out: &mut Vec<Record>) {
    let plan_uid = || pass.observed.uid.clone();
    match action {
        Action::Start { node, attempt } => {
            let event = Event::AttemptStarted {
                plan_uid: plan_uid(),
                number: *attempt,
                pod: pod_name(pass, *node, *attempt),
                agent: agent(pass, *node),
            };
            out.extend(subject(pass, *node).map(|s| record(pass, s, event)));
        }
        Action::End { node, attempt, failure, report, then, .. } => {
            let Some(subject) = subject(pass, *node) else { return };
            let event = Event::AttemptFinished {
                plan_uid: plan_uid(),
                number: *attempt,
                failure: failure.map(failure_kind),
                report: report.clone(),
                started: created(pass, *node),
            };
            out.push(record(pass, subject.clone(), event));
            if let (After::Finish(phase), false) = (then, pass.is_integration(*node)) {
                let reason = report.reason.as_str();
                out.push(record(pass, subject, finished(pass, *node, *phase, *attempt, reason, &report.message)));
            }
        }
        Action::Close { node, phase, reason } => {
            if !pass.is_integration(*node) {
                let attempts = pass.nodes[*node].attempts;
                let event = finished(pass, *node, *phase, attempts, reason.as_str(), "stopped before it was started");
                out.extend(subject(pass, *node).map(|s| record(pass, s, event)));
            }
        }
        Action::Reopen(node) => {
            if !pass.is_integration(*node) {
                let attempts = pass.nodes[*node].attempts;
                let mut event =
                    finished(pass, *node, TaskPhase::Pending, attempts, "Rerun", "another attempt was asked for");
                if let (Event::Transition { key, reason, message, .. }, Some(digest)) = (&mut event, pass.redo(*node)) {
                    (*key, *reason) = (format!("{key}/{digest}"), "Redo".to_owned());
                    *message = format!("what the specification {digest} makes stale is done again");
                }
                out.extend(subject(pass, *node).map(|s| record(pass, s, event)));
            }
        }
        Action::Create(_) | Action::MarkRunning { .. } => {}
    }
}

fn finished(pass: &Pass, node: usize, phase: TaskPhase, attempt: u32, reason: &str, message: &str) -> Event {
    let id = pass.valid.content.compiled.tasks[node].id.clone();
    Event::Transition {
        key: format!("{phase:?}/{attempt}"),
        state: format!("{phase:?}"),
        reason: reason.to_owned(),
        message: message.to_owned(),
        task: Some(TaskRef { plan_uid: pass.observed.uid.clone(), id }),
    }
}

fn record(pass: &Pass, subject: Subject, event: Event) -> Record {
    Record { tenant: pass.valid.member.tenant.clone(), subject, at: pass.observed.now, actor: ACTOR.into(), event }
}

/// The plan, as the record knows it.
pub fn subject_of(pass: &Pass) -> Subject {
    Subject {
        kind: Kind::Plan,
        namespace: pass.observed.namespace.clone(),
        name: pass.observed.plan.name_any(),
        uid: pass.observed.uid.clone(),
    }
}

/// The object that a node's attempts belong to: its Task, or the Plan for the integration. None when the Task does not exist.
fn subject(pass: &Pass, node: usize) -> Option<Subject> {
    if pass.is_integration(node) {
        return Some(subject_of(pass));
    }
    let name = &pass.valid.content.compiled.names[node];
    let entry = pass.observed.children.tasks.get(name)?;
    Some(Subject {
        kind: Kind::Task,
        namespace: pass.observed.namespace.clone(),
        name: name.clone(),
        uid: entry.uid.clone(),
    })
}

/// Name of the pod of a node's attempt.
pub fn pod_name(pass: &Pass, node: usize, attempt: u32) -> String {
    match pass.valid.content.compiled.names.get(node) {
        Some(task) => names::pod_name(task, attempt),
        None => names::integration_pod_name(&pass.observed.plan.name_any(), attempt),
    }
}

fn agent(pass: &Pass, node: usize) -> String {
    let task = pass.valid.content.compiled.tasks.get(node);
    task.map_or(names::INTEGRATION, |task| validate::agent_of(pass.observed, task)).to_owned()
}

/// When the pod of the node's current attempt was created.
pub fn created(pass: &Pass, node: usize) -> Option<enact_domain::time::Millis> {
    match pass.nodes[node].current {
        enact_domain::plan::Current::Pod { created, .. } => Some(created),
        _ => None,
    }
}
