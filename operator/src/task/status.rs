//! The status of a Task: one merge patch for each event.

use enact_crds::common::Condition;
use enact_crds::convert;
use enact_crds::task::Phase;
use enact_domain::assignment::{MAX_MESSAGE_BYTES, Reason, Report};
use enact_domain::attempt::FailureClass;
use enact_domain::condition::{Condition as DomainCondition, Progress, Readiness, Truth};
use enact_domain::names;
use enact_domain::plan::{NextStep, ReportedState, TaskPhase};
use enact_domain::text::truncate;
use enact_domain::time::Millis;
use enact_domain::waiting::Waiting;
use serde_json::{Value, json};

/// Condition: the work was carried out.
pub const EXECUTED: &str = "Executed";
/// Condition: the task's gates passed, or it has none.
pub const VERIFIED: &str = "Verified";
/// Condition: the result is stored: the commit was pushed, or the report recorded.
pub const DELIVERED: &str = "Delivered";

/// The end of an attempt.
pub struct End<'a> {
    pub attempt: u32,
    /// Name of the agent, if it was selected from the pool of the plan.
    pub agent: Option<&'a str>,
    /// Class of the failure; none on success.
    pub failure: Option<FailureClass>,
    pub report: &'a Report,
    pub next: NextStep,
    /// Branch that the work was pushed to.
    pub branch: Option<String>,
    /// Creation time of the attempt's pod.
    pub started: Option<Millis>,
}

/// Returns the patch for the end of an attempt. `failures` are the task failures and the infrastructure failures so far.
pub fn ended(failures: (u32, u32), end: &End, now: Millis) -> Value {
    let (failures, infrastructure_failures) = end.add_failure(failures);
    let succeeded = end.failure.is_none();
    let (phase, retry_at) = end.following();
    let remaining = match end.next {
        NextStep::Park { remaining, .. } => remaining,
        NextStep::Finish(_) | NextStep::Retry(_) => None,
    };
    let patch = json!({
        "phase": Phase::from(phase),
        "attempts": end.attempt,
        "failures": nonzero(failures),
        "infrastructureFailures": nonzero(infrastructure_failures),
        "retryAt": retry_at.map(convert::time_not_before),
        "remainingBudget": remaining.as_ref().and_then(convert::remaining),
        "startedAt": end.started.map(convert::time),
        "finishedAt": phase.is_finished().then(|| convert::time(now)),
        "commit": end.report.commit.as_deref().filter(|_| succeeded),
        "branch": end.branch.as_deref().filter(|_| succeeded),
        "outputs": Some(&end.report.outputs).filter(|o| succeeded && !o.is_empty()),
        "conditions": end_conditions(phase, end, now),
    });
    with_agent(patch, end.agent)
}

/// Adds the agent that was selected for an attempt.
fn with_agent(mut patch: Value, agent: Option<&str>) -> Value {
    if let Some(agent) = agent {
        patch["agent"] = agent.into();
    }
    patch
}

impl End<'_> {
    /// Returns the task failures and the infrastructure failures after this end.
    pub fn add_failure(&self, (failures, infrastructure_failures): (u32, u32)) -> (u32, u32) {
        match self.failure {
            // A lack of budget or quota is not a failure of the work.
            _ if matches!(self.next, NextStep::Park { .. }) => (failures, infrastructure_failures),
            None => (failures, infrastructure_failures),
            Some(FailureClass::Task | FailureClass::Invalid) => (failures + 1, infrastructure_failures),
            Some(FailureClass::Infrastructure | FailureClass::Unknown) => (failures, infrastructure_failures + 1),
        }
    }

    /// Returns the phase after this end, and the earliest time of the next attempt.
    pub fn following(&self) -> (TaskPhase, Option<Millis>) {
        match self.next {
            NextStep::Finish(phase) => (phase, None),
            NextStep::Retry(at) | NextStep::Park { until: at, .. } => (TaskPhase::Pending, Some(at)),
        }
    }
}

/// Returns the message of a task in `phase` after this attempt.
pub fn message(phase: TaskPhase, attempt: u32, report: &Report) -> String {
    let message = &report.message;
    match phase {
        TaskPhase::Succeeded => format!("attempt {attempt} succeeded"),
        TaskPhase::Pending | TaskPhase::Running if report.reason == Reason::BudgetExceeded => {
            format!(
                "attempt {attempt} was stopped, and another attempt follows when more remains of the budget: {message}"
            )
        }
        TaskPhase::Pending | TaskPhase::Running if report.reason == Reason::ProviderQuota => {
            format!(
                "attempt {attempt} was stopped, and another attempt follows after the reset of the quota: {message}"
            )
        }
        TaskPhase::Pending | TaskPhase::Running => {
            format!("attempt {attempt} failed, and another attempt follows: {message}")
        }
        TaskPhase::Failed => format!("attempt {attempt} failed, and no further attempt follows: {message}"),
        TaskPhase::Cancelled => message.clone(),
        TaskPhase::Unknown => {
            format!(
                "{message}; find out how much of the work was done before you run `kubectl enact retry`, which does the task again"
            )
        }
    }
}

fn end_conditions(phase: TaskPhase, end: &End, now: Millis) -> Vec<Condition> {
    let report = end.report;
    let reason = report.reason.as_str();
    let progress = match phase {
        TaskPhase::Succeeded => Progress::Ready,
        TaskPhase::Pending | TaskPhase::Running => Progress::Reconciling,
        TaskPhase::Failed | TaskPhase::Cancelled | TaskPhase::Unknown => Progress::Stalled,
    };
    let mut wanted = Readiness::new(progress, reason, message(phase, end.attempt, report)).conditions();
    if phase == TaskPhase::Succeeded {
        let delivered = report
            .commit
            .as_deref()
            .map_or_else(|| "the report is recorded".into(), |c| format!("commit {c} is pushed"));
        wanted.push(DomainCondition::new(EXECUTED, Truth::True, "Succeeded", ""));
        wanted.push(DomainCondition::new(VERIFIED, Truth::True, "GatesPassed", ""));
        wanted.push(DomainCondition::new(DELIVERED, Truth::True, "Delivered", delivered));
    } else if report.reason == Reason::GateFailed {
        wanted.push(DomainCondition::new(EXECUTED, Truth::True, "Succeeded", ""));
        wanted.push(DomainCondition::new(VERIFIED, Truth::False, reason, report.message.clone()));
    }
    // Without the old conditions, which the index does not keep: the transition time is that of this patch.
    convert::conditions(&[], wanted, None, now)
}

/// Returns the patch for a task that is finished without an attempt.
pub fn closed(phase: TaskPhase, reason: Reason, now: Millis) -> Value {
    let readiness = Readiness::stalled(reason.as_str(), "stopped before it was started");
    json!({
        "phase": Phase::from(phase),
        "finishedAt": convert::time(now),
        "retryAt": null,
        "remainingBudget": null,
        "conditions": convert::conditions(&[], readiness.conditions(), None, now),
    })
}

/// Returns the state of the attempt in progress that a status with this reason shows.
pub fn reported_state(reason: Option<&str>) -> ReportedState {
    reason.map_or(ReportedState::Running, ReportedState::of)
}

/// Returns the message of an attempt whose pod does not run yet.
pub fn wait_message(attempt: u32, waiting: &Waiting) -> String {
    let mut message = format!("attempt {attempt} {}", waiting.message);
    truncate(&mut message, MAX_MESSAGE_BYTES);
    message
}

/// Returns the patch for a task whose attempt runs, or whose pod does not run yet. The conditions then have the time since when it waits.
pub fn running(attempt: u32, agent: Option<&str>, since: Millis, waiting: Option<&Waiting>, now: Millis) -> Value {
    let readiness = match waiting {
        Some(waiting) => Readiness::reconciling(waiting.reason.clone(), wait_message(attempt, waiting)),
        None => Readiness::reconciling("Running", format!("attempt {attempt} is running")),
    };
    let changed = waiting.map_or(now, |waiting| waiting.since);
    let patch = json!({
        "phase": Phase::Running,
        "attempts": attempt,
        "retryAt": null,
        "remainingBudget": null,
        "startedAt": convert::time(since),
        "conditions": convert::conditions(&[], readiness.conditions(), None, changed),
    });
    with_agent(patch, agent)
}

/// Returns the patch for a task that a person reopens: this task alone, by the annotation `rerun`; or every task that the revision `redo`
/// of the specification makes stale.
pub fn reopened(rerun: Option<&str>, redo: Option<&str>, now: Millis) -> Value {
    let (reason, annotation) = match redo {
        Some(_) => ("Redo", names::ANNOTATION_REDO),
        None => ("Rerun", names::ANNOTATION_RERUN),
    };
    let readiness = Readiness::reconciling(reason, format!("the annotation {annotation} requests another attempt"));
    let mut patch = json!({
        "phase": Phase::Pending,
        // The next attempt selects an agent again.
        "agent": null,
        "failures": null,
        "infrastructureFailures": null,
        "retryAt": null,
        "remainingBudget": null,
        "finishedAt": null,
        "commit": null,
        "branch": null,
        "outputs": null,
        "observedRerun": rerun,
        "conditions": convert::conditions(&[], readiness.conditions(), None, now),
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
    use enact_domain::usage::Limit;

    use super::*;

    const NOW: Millis = Millis(1_767_225_600_000);

    fn end(report: &Report, failure: Option<FailureClass>, next: NextStep) -> End<'_> {
        End {
            attempt: 2,
            agent: None,
            failure,
            report,
            next,
            branch: Some("enact/p-5f0c1a2b/t001-2".into()),
            started: Some(NOW),
        }
    }

    #[test]
    fn each_event_is_one_patch() {
        let report = |reason, message: &str| Report::new(reason, message);
        let mut done = report(Reason::Succeeded, "");
        done.commit = Some("c0ffee".into());
        done.outputs.insert("greeting".into(), "Hello".into());
        let gate = report(Reason::GateFailed, "gate test exited with 1");
        let lost = report(Reason::Lost, "the node was lost");
        let stopped = report(Reason::Cancelled, "the attempt was stopped before its end");
        let stopped_by_budget = report(Reason::BudgetExceeded, "the budget of the plan is used up");
        let left = Limit { tokens: None, cost_micro_usd: Some(250_000) };
        let waiting = Waiting {
            reason: "Unschedulable".into(),
            message: "waits for a node: 0/1 nodes are available: 1 Insufficient memory.".into(),
            since: NOW,
            task: None,
        };
        let parked = NextStep::Park { until: NOW.plus_seconds(30), remaining: Some(left) };
        insta::assert_yaml_snapshot!(json!({
            "succeeded": ended((1, 0), &end(&done, None, NextStep::Finish(TaskPhase::Succeeded)), NOW),
            "tried again": ended((1, 0), &end(&gate, Some(FailureClass::Task), NextStep::Retry(NOW.plus_seconds(5))), NOW),
            "failed": ended((1, 0), &end(&gate, Some(FailureClass::Task), NextStep::Finish(TaskPhase::Failed)), NOW),
            "without budget": ended((1, 0), &end(&stopped_by_budget, Some(FailureClass::Task), parked), NOW),
            "of unknown end": ended((1, 0), &end(&lost, Some(FailureClass::Unknown), NextStep::Finish(TaskPhase::Unknown)), NOW),
            "stopped": ended((1, 0), &end(&stopped, Some(FailureClass::Task), NextStep::Finish(TaskPhase::Cancelled)), NOW),
            "closed": closed(TaskPhase::Cancelled, Reason::DeadlineExceeded, NOW),
            "running": running(2, Some("coder"), NOW, None, NOW),
            "waiting for a node": running(2, None, NOW, Some(&waiting), NOW.plus_seconds(3)),
            "reopened": reopened(Some("2"), None, NOW),
            "redone": reopened(Some("2"), Some("sha256:1"), NOW),
        }));
    }
}
