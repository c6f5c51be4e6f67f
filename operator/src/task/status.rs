//! The status of a Task: one merge patch for each event.

use enact_crds::common::Condition;
use enact_crds::convert;
use enact_crds::replan::Kept;
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
/// Condition: the task's gates passed. Unknown for a task without gates.
pub const VERIFIED: &str = "Verified";
/// Condition: the result is stored: the commit was pushed, or the report recorded. False for work that is kept, but has not passed.
pub const DELIVERED: &str = "Delivered";

/// Reason: the work is that of a plan which the plan of the task replaces.
pub const KEPT: &str = "Kept";

/// The end of an attempt.
pub struct End<'a> {
    pub attempt: u32,
    /// Name of the agent, if it was selected from the pool of the plan.
    pub agent: Option<&'a str>,
    /// Class of the failure; none on success.
    pub failure: Option<FailureClass>,
    pub report: &'a Report,
    pub next: NextStep,
    /// Branch of the attempt; none without a workspace.
    pub branch: Option<String>,
    /// Whether the plan stopped the attempt while it ran. Its runner pushes the work after this end.
    pub stopped: bool,
    /// Number of gates of the task.
    pub gates: usize,
    /// Creation time of the attempt's pod.
    pub started: Option<Millis>,
}

/// Returns the patch that changes the status of a Task with this UID and generation, if it still has this version.
pub fn patch(uid: &str, version: u64, generation: Option<i64>, mut status: Value) -> Value {
    status["observedGeneration"] = generation.into();
    // A Task of the same name can have been created meanwhile. A request of a process that led before can arrive late: it must not undo
    // what the next leader has written, which would then do finished work again.
    json!({ "metadata": { "uid": uid, "resourceVersion": version.to_string() }, "status": status })
}

/// Returns the patch for the end of an attempt. `failures` are the task failures and the infrastructure failures so far.
pub fn ended(failures: (u32, u32), end: &End, now: Millis) -> Value {
    let (failures, infrastructure_failures) = end.add_failure(failures);
    let succeeded = end.failure.is_none();
    let (phase, retry_at) = end.following();
    let remaining = match end.next {
        NextStep::Park { remaining, .. } => remaining,
        NextStep::Finish(_) | NextStep::Retry(_) | NextStep::Failover => None,
    };
    let mut patch = json!({
        "phase": Phase::from(phase),
        "attempts": end.attempt,
        "failures": nonzero(failures),
        "infrastructureFailures": nonzero(infrastructure_failures),
        "retryAt": retry_at.map(convert::time_not_before),
        "remainingBudget": remaining.as_ref().and_then(convert::remaining),
        "startedAt": end.started.map(convert::time),
        "finishedAt": phase.is_finished().then(|| convert::time(now)),
        "commit": end.report.commit.as_deref().filter(|_| succeeded),
        "outputs": Some(&end.report.outputs).filter(|o| succeeded && !o.is_empty()),
        "conditions": end_conditions(phase, end, now),
    });
    // A failed attempt that left no work does not hide the branch with the work of an earlier one.
    if succeeded || end.keeps_work() {
        patch["branch"] = end.branch.as_deref().into();
    }
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
    /// Returns whether the branch of the attempt holds work that has not passed. If the plan stopped the attempt, it does so soon, unless
    /// nothing was changed.
    pub fn keeps_work(&self) -> bool {
        self.failure.is_some() && (self.report.commit.is_some() || self.stopped)
    }

    /// Returns the task failures and the infrastructure failures after this end.
    pub fn add_failure(&self, (failures, infrastructure_failures): (u32, u32)) -> (u32, u32) {
        match self.failure {
            // A lack of budget or quota is not a failure of the work.
            _ if matches!(self.next, NextStep::Park { .. } | NextStep::Failover) => (failures, infrastructure_failures),
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
            NextStep::Failover => (TaskPhase::Pending, None),
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
    let message = match end.next {
        NextStep::Failover => {
            let (attempt, why) = (end.attempt, &report.message);
            format!("attempt {attempt} was stopped, and another agent of the pool continues its work: {why}")
        }
        _ => message(phase, end.attempt, report),
    };
    let mut wanted = Readiness::new(progress, reason, message).conditions();
    let done =
        || DomainCondition::new(EXECUTED, Truth::True, "Succeeded", format!("attempt {} did its work", end.attempt));
    if phase == TaskPhase::Succeeded {
        let (delivered, message) = match report.commit.as_deref() {
            Some(commit) if report.unchanged => (
                "NothingChanged",
                format!("attempt {} changed no file: commit {commit} is what it started from", end.attempt),
            ),
            Some(commit) => ("Delivered", format!("commit {commit} is pushed")),
            None => ("Delivered", "the report is recorded".into()),
        };
        wanted.push(done());
        wanted.push(match end.gates {
            0 => DomainCondition::new(VERIFIED, Truth::Unknown, "NoGates", "the task has no gates"),
            gates => DomainCondition::new(VERIFIED, Truth::True, "GatesPassed", format!("all gates passed: {gates}")),
        });
        wanted.push(DomainCondition::new(DELIVERED, Truth::True, delivered, message));
    } else {
        if report.reason == Reason::GateFailed {
            wanted.push(done());
            wanted.push(DomainCondition::new(VERIFIED, Truth::False, reason, report.message.clone()));
        }
        if let Some(branch) = end.branch.as_deref().filter(|_| end.keeps_work()) {
            let message = match report.commit.as_deref() {
                Some(commit) => {
                    format!("the attempt failed; its work is kept, unmerged, on branch {branch}, commit {commit}")
                }
                None => {
                    format!("the attempt was stopped; if it had changed anything, its work is kept on branch {branch}")
                }
            };
            wanted.push(DomainCondition::new(DELIVERED, Truth::False, "WorkKept", message));
        }
    }
    // Without the old conditions, which the index does not keep: the transition time is that of this patch.
    convert::conditions(&[], wanted, None, now)
}

/// Returns the message of a task that is finished while it waits for its attempt after this number of attempts.
pub fn closed_message(attempts: u32) -> String {
    match attempts {
        0 => "stopped before it was started".into(),
        attempts => format!("stopped after attempt {attempts}, before another attempt was started"),
    }
}

/// Returns the patch for a task that is finished while it waits for its attempt after this number of attempts.
pub fn closed(phase: TaskPhase, reason: Reason, attempts: u32, now: Millis) -> Value {
    let readiness = Readiness::stalled(reason.as_str(), closed_message(attempts));
    json!({
        "phase": Phase::from(phase),
        "finishedAt": convert::time(now),
        "retryAt": null,
        "remainingBudget": null,
        "conditions": convert::conditions(&[], readiness.conditions(), None, now),
    })
}

/// Returns the message of a task whose work the plan with this name did.
pub fn kept_message(plan: &str) -> String {
    format!("Plan {plan}, which this plan replaces, has done this task; its work is kept")
}

/// Returns the patch for a task whose work is kept from the plan with this name.
pub fn kept(kept: &Kept, plan: &str, now: Millis) -> Value {
    let work = kept.work.as_ref();
    let delivered = match work {
        Some(work) => format!("commit {} is on branch {}", work.commit, work.branch),
        None => "the report is recorded".to_owned(),
    };
    let mut wanted = Readiness::new(Progress::Ready, KEPT, kept_message(plan)).conditions();
    wanted.push(DomainCondition::new(EXECUTED, Truth::True, KEPT, kept_message(plan)));
    wanted.push(DomainCondition::new(DELIVERED, Truth::True, KEPT, delivered));
    json!({
        "phase": Phase::Succeeded,
        "finishedAt": convert::time(now),
        "commit": work.map(|work| &work.commit),
        "branch": work.map(|work| &work.branch),
        "outputs": Some(&kept.outputs).filter(|outputs| !outputs.is_empty()),
        "conditions": convert::conditions(&[], wanted, None, now),
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
            stopped: false,
            gates: 1,
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
            "closed": closed(TaskPhase::Cancelled, Reason::DeadlineExceeded, 0, NOW),
            "running": running(2, Some("coder"), NOW, None, NOW),
            "waiting for a node": running(2, None, NOW, Some(&waiting), NOW.plus_seconds(3)),
            "reopened": reopened(Some("2"), None, NOW),
            "redone": reopened(Some("2"), Some("sha256:1"), NOW),
        }));
    }
    /// Returns a condition as `Status Reason: message`.
    fn condition(patch: &Value, type_: &str) -> Option<String> {
        let condition = patch["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)?;
        let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        Some(format!("{} {}: {}", text("status"), text("reason"), text("message")))
    }

    #[test]
    fn conditions_of_a_success_state_facts() {
        let mut report = Report::new(Reason::Succeeded, "");
        (report.commit, report.unchanged) = (Some("c0ffee".into()), true);
        let unchanged = End { gates: 0, ..end(&report, None, NextStep::Finish(TaskPhase::Succeeded)) };
        let patch = ended((0, 0), &unchanged, NOW);
        let shown = |type_| condition(&patch, type_).unwrap_or_default();
        assert_eq!(shown(VERIFIED), "Unknown NoGates: the task has no gates");
        let nothing = "True NothingChanged: attempt 2 changed no file: commit c0ffee is what it started from";
        assert_eq!(shown(DELIVERED), nothing);
        let conditions = patch["conditions"].as_array().cloned().unwrap_or_default();
        assert!(conditions.iter().all(|c| c["message"].as_str().is_some_and(|m| !m.is_empty())), "{conditions:?}");
    }

    #[test]
    fn a_task_that_was_tried_is_not_closed_as_one_that_never_started() {
        let shown = |attempts| {
            let patch = closed(TaskPhase::Cancelled, Reason::Cancelled, attempts, NOW);
            condition(&patch, "Ready").unwrap_or_default()
        };
        assert_eq!(shown(0), "False Cancelled: stopped before it was started");
        assert_eq!(shown(2), "False Cancelled: stopped after attempt 2, before another attempt was started");
    }

    #[test]
    fn a_failure_names_the_branch_with_its_work() {
        let branch = "enact/p-5f0c1a2b/t001-2";
        let mut report = Report::new(Reason::GateFailed, "gate tests exited with 1");
        report.commit = Some("c0ffee".into());
        let failed = |report: &Report, stopped| {
            let end = end(report, Some(FailureClass::Task), NextStep::Finish(TaskPhase::Failed));
            ended((0, 0), &End { stopped, ..end }, NOW)
        };
        let kept = failed(&report, false);
        assert_eq!((kept["branch"].as_str(), kept["commit"].as_str()), (Some(branch), None), "it is never merged");
        let delivered = condition(&kept, DELIVERED).unwrap_or_default();
        assert_eq!(
            delivered,
            format!(
                "False WorkKept: the attempt failed; its work is kept, unmerged, on branch {branch}, commit c0ffee"
            )
        );

        report.commit = None;
        let stopped = failed(&report, true);
        assert_eq!(stopped["branch"].as_str(), Some(branch));
        assert!(condition(&stopped, DELIVERED).is_some_and(|delivered| delivered.contains("was stopped")));
        let nothing = failed(&report, false);
        assert_eq!(
            (nothing.get("branch"), condition(&nothing, DELIVERED)),
            (None, None),
            "that of an earlier attempt stays"
        );
    }
}
