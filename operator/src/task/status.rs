//! What happens to a task, as its status.

use enact_crds::common::Condition;
use enact_crds::convert;
use enact_crds::task::Phase;
use enact_domain::assignment::{MAX_MESSAGE_BYTES, Reason, Report};
use enact_domain::attempt::FailureClass;
use enact_domain::condition::{Condition as Wanted, Progress, Truth};
use enact_domain::names;
use enact_domain::plan::{After, TaskPhase};
use enact_domain::time::Millis;
use serde_json::{Value, json};

use crate::index::{TaskEntry, UNSCHEDULABLE};

/// The work was carried out.
pub const EXECUTED: &str = "Executed";
/// Its gates passed, or there were none.
pub const VERIFIED: &str = "Verified";
/// Its result is kept: the commit was pushed, or the report stored.
pub const DELIVERED: &str = "Delivered";

/// The end of an attempt.
pub struct End<'a> {
    /// Number of the attempt.
    pub attempt: u32,
    /// Class of the failure; none on success.
    pub failure: Option<FailureClass>,
    /// How it ended.
    pub report: &'a Report,
    /// What follows.
    pub then: After,
    /// Branch that the work was pushed to.
    pub branch: Option<String>,
    /// When the attempt's pod was created.
    pub started: Option<Millis>,
}

/// The merge patch for the end of an attempt.
pub fn ended(task: &TaskEntry, end: &End, now: Millis) -> Value {
    let (failures, infrastructure) = counted(task.failures, task.infrastructure_failures, end.failure);
    let succeeded = end.failure.is_none();
    let (phase, retry_at) = match end.then {
        After::Finish(phase) => (phase, None),
        After::Retry(at) => (TaskPhase::Pending, Some(at)),
    };
    json!({
        "phase": Phase::from(phase),
        "attempts": end.attempt,
        "failures": nonzero(failures),
        "infrastructureFailures": nonzero(infrastructure),
        "retryAt": retry_at.map(convert::time_not_before),
        "startedAt": end.started.map(convert::time),
        "finishedAt": phase.is_finished().then(|| convert::time(now)),
        "commit": end.report.commit.as_deref().filter(|_| succeeded),
        "branch": end.branch.as_deref().filter(|_| succeeded),
        "outputs": Some(&end.report.outputs).filter(|o| succeeded && !o.is_empty()),
        "conditions": conditions(phase, end, now),
    })
}

/// Failures of the work and of the surroundings after one more end.
pub fn counted(failures: u32, infrastructure: u32, failure: Option<FailureClass>) -> (u32, u32) {
    match failure {
        None => (failures, infrastructure),
        Some(FailureClass::Task | FailureClass::Invalid) => (failures + 1, infrastructure),
        Some(FailureClass::Infrastructure | FailureClass::Unknown) => (failures, infrastructure + 1),
    }
}

/// What a person is told of a task in `phase` after this attempt.
pub fn message(phase: TaskPhase, attempt: u32, report: &Report) -> String {
    let said = &report.message;
    match phase {
        TaskPhase::Succeeded => format!("attempt {attempt} succeeded"),
        TaskPhase::Pending | TaskPhase::Running => format!("attempt {attempt} failed and is made again: {said}"),
        TaskPhase::Failed => format!("attempt {attempt} failed for good: {said}"),
        TaskPhase::Cancelled => said.clone(),
        TaskPhase::Unknown => format!("{said}; find out what became of the work, then run `enact retry`"),
    }
}

fn conditions(phase: TaskPhase, end: &End, now: Millis) -> Vec<Condition> {
    let report = end.report;
    let reason = report.reason.as_str();
    let progress = match phase {
        TaskPhase::Succeeded => Progress::Ready,
        TaskPhase::Pending | TaskPhase::Running => Progress::Reconciling,
        TaskPhase::Failed | TaskPhase::Cancelled | TaskPhase::Unknown => Progress::Stalled,
    };
    let message = message(phase, end.attempt, report);
    let mut wanted = progress.conditions(reason, &message);
    if phase == TaskPhase::Succeeded {
        let delivered =
            report.commit.as_deref().map_or_else(|| "the report is kept".into(), |c| format!("commit {c} is pushed"));
        wanted.push(Wanted::new(EXECUTED, Truth::True, "Succeeded", ""));
        wanted.push(Wanted::new(VERIFIED, Truth::True, "GatesPassed", ""));
        wanted.push(Wanted::new(DELIVERED, Truth::True, "Delivered", delivered));
    } else if report.reason == Reason::GateFailed {
        wanted.push(Wanted::new(EXECUTED, Truth::True, "Succeeded", ""));
        wanted.push(Wanted::new(VERIFIED, Truth::False, reason, report.message.clone()));
    }
    convert::conditions(&[], wanted, None, now)
}

/// The merge patch of a task that is finished without an attempt.
pub fn closed(phase: TaskPhase, reason: Reason, now: Millis) -> Value {
    let wanted = Progress::Stalled.conditions(reason.as_str(), "stopped before it was started");
    json!({
        "phase": Phase::from(phase),
        "finishedAt": convert::time(now),
        "retryAt": null,
        "conditions": convert::conditions(&[], wanted, None, now),
    })
}

/// What is said of an attempt that waits for a node, for the reason that the scheduler gives.
pub fn waiting(attempt: u32, why: &str) -> String {
    let mut message = format!("attempt {attempt} waits for a node: {why}");
    message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
    message
}

/// The merge patch of a task whose attempt runs, or waits for a node.
pub fn running(attempt: u32, since: Millis, waits: Option<&str>, now: Millis) -> Value {
    let (reason, message) = match waits {
        Some(why) => (UNSCHEDULABLE, waiting(attempt, why)),
        None => ("Running", format!("attempt {attempt} is under way")),
    };
    let wanted = Progress::Reconciling.conditions(reason, &message);
    json!({
        "phase": Phase::Running,
        "attempts": attempt,
        "retryAt": null,
        "startedAt": convert::time(since),
        "conditions": convert::conditions(&[], wanted, None, now),
    })
}

/// The merge patch of a task that is to be tried again because a person asked for it: of this one, or, by `redo`, of all that a newer
/// revision of the specification makes stale.
pub fn reopened(rerun: Option<&str>, redo: Option<&str>, now: Millis) -> Value {
    let (reason, annotation) = match redo {
        Some(_) => ("Redo", names::ANNOTATION_REDO),
        None => ("Rerun", names::ANNOTATION_RERUN),
    };
    let wanted = Progress::Reconciling.conditions(reason, &format!("another attempt was asked for by {annotation}"));
    let mut patch = json!({
        "phase": Phase::Pending,
        "failures": null,
        "infrastructureFailures": null,
        "retryAt": null,
        "finishedAt": null,
        "commit": null,
        "branch": null,
        "outputs": null,
        "observedRerun": rerun,
        "conditions": convert::conditions(&[], wanted, None, now),
    });
    if let Some(redo) = redo {
        patch["observedRedo"] = redo.into();
    }
    patch
}

fn nonzero(n: u32) -> Option<u32> {
    (n > 0).then_some(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_767_225_600_000);

    fn entry() -> TaskEntry {
        serde_json::from_value::<enact_crds::Task>(json!({
            "metadata": {"name": "p-t001", "uid": "u", "annotations": {"enact.dev/rerun": "2"}},
            "spec": {"planRef": {"name": "p"}, "id": "T001", "title": "t"},
            "status": {"phase": "Running", "attempts": 2, "failures": 1}
        }))
        .map(|task| TaskEntry::of(&task))
        .unwrap()
    }

    fn end(report: &Report, failure: Option<FailureClass>, then: After) -> End<'_> {
        End { attempt: 2, failure, report, then, branch: Some("enact/p-5f0c1a2b/t001-2".into()), started: Some(NOW) }
    }

    #[test]
    fn what_happens_to_a_task_is_one_patch() {
        let report = |reason, message: &str| Report::new(reason, message);
        let mut done = report(Reason::Succeeded, "");
        done.commit = Some("c0ffee".into());
        done.outputs.insert("greeting".into(), "Hello".into());
        let gate = report(Reason::GateFailed, "gate test exited with 1");
        let lost = report(Reason::Lost, "the node was lost");
        let stopped = report(Reason::Cancelled, "stopped before the end");
        let task = entry();
        insta::assert_yaml_snapshot!(json!({
            "succeeded": ended(&task, &end(&done, None, After::Finish(TaskPhase::Succeeded)), NOW),
            "tried again": ended(&task, &end(&gate, Some(FailureClass::Task), After::Retry(NOW.plus_seconds(5))), NOW),
            "failed": ended(&task, &end(&gate, Some(FailureClass::Task), After::Finish(TaskPhase::Failed)), NOW),
            "of unknown end": ended(&task, &end(&lost, Some(FailureClass::Unknown), After::Finish(TaskPhase::Unknown)), NOW),
            "stopped": ended(&task, &end(&stopped, Some(FailureClass::Task), After::Finish(TaskPhase::Cancelled)), NOW),
            "closed": closed(TaskPhase::Cancelled, Reason::DeadlineExceeded, NOW),
            "running": running(2, NOW, None, NOW),
            "waiting for a node": running(2, NOW, Some("0/1 nodes are available: 1 Insufficient memory."), NOW),
            "reopened": reopened(task.rerun.as_deref(), None, NOW),
            "redone": reopened(task.rerun.as_deref(), Some("sha256:1"), NOW),
        }));
    }
}
