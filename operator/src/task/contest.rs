//! The status of a Task with competing attempts: patches for its contestants, and the verdict.
//!
//! The contestants are a map in the status, so that patches of several contestants at the same time do not undo each other.

use enact_crds::convert;
use enact_crds::task::{ContestantStatus, Phase};
use enact_domain::assignment::Reason;
use enact_domain::condition::{Condition, Progress, Readiness, Truth};
use enact_domain::plan::{NextStep, TaskPhase, Verdict};
use enact_domain::time::Millis;
use enact_domain::usage::Balance;
use enact_domain::waiting::Waiting;
use serde_json::{Map, Value, json};

use super::status::{DELIVERED, EXECUTED, End, VERIFIED, wait_message};
use crate::index::TaskEntry;

/// The state of a contest after a decision, which all patches of this decision show.
pub struct State<'a> {
    /// Number of the contestant that the patch is about.
    pub contestant: u32,
    /// Agent of its attempt.
    pub agent: &'a str,
    /// Phase of the task.
    pub phase: TaskPhase,
    /// The newest attempt of all contestants.
    pub newest: u32,
    /// Number of contestants whose attempts run, and of all.
    pub running: (usize, usize),
}

/// Returns the patch for the end of a contestant's attempt. `used` is the balance of the attempt, if its agent uses models.
pub fn ended(task: &TaskEntry, state: &State, end: &End, used: Option<&Balance>, now: Millis) -> Value {
    let old = task.contestant(state.contestant).cloned().unwrap_or_default();
    let (_, infrastructure_failures) = end.add_failure((0, old.infrastructure_failures));
    let (phase, retry_at) = end.following();
    let succeeded = end.failure.is_none();
    let remaining = match end.next {
        NextStep::Park { remaining, .. } => remaining,
        NextStep::Finish(_) | NextStep::Retry(_) | NextStep::Failover => None,
    };
    let measurements: Map<String, Value> =
        end.report.measurements.iter().map(|(name, number)| (name.clone(), number.to_string().into())).collect();
    let cost =
        used.filter(|balance| balance.unpriced_tokens == 0).map(|balance| convert::usd(balance.spent.known_cost()));
    let contestant = json!({
        "phase": Phase::from(phase),
        "attempt": end.attempt,
        "agent": state.agent,
        "infrastructureFailures": Some(infrastructure_failures).filter(|n| *n > 0),
        "retryAt": retry_at.map(convert::time_not_before),
        "remainingBudget": remaining.as_ref().and_then(convert::remaining),
        "reason": end.report.reason.as_str(),
        "message": Some(&end.report.message).filter(|message| !message.is_empty()),
        // The work of an attempt that failed is kept too.
        "branch": end.branch.as_deref().filter(|_| succeeded || end.keeps_work()),
        "commit": end.report.commit,
        "outputs": Some(&end.report.outputs).filter(|outputs| succeeded && !outputs.is_empty()),
        "measurements": Some(measurements).filter(|measurements| succeeded && !measurements.is_empty()),
        "tokens": used.map(|balance| balance.spent.tokens.total()),
        "usd": cost,
        "startedAt": end.started.map(convert::time),
        "finishedAt": convert::time(now),
    });
    let message = format!("attempt {} ended: {}", end.attempt, end.report.reason.as_str());
    patch(state, &contestant, end.report.reason.as_str(), &message, now)
}

/// Returns the patch for a contestant whose attempt runs, or whose pod does not run yet.
pub fn running(state: &State, attempt: u32, since: Millis, waiting: Option<&Waiting>, now: Millis) -> Value {
    let contestant = json!({
        "phase": Phase::Running,
        "attempt": attempt,
        "agent": state.agent,
        "retryAt": null,
        "remainingBudget": null,
        "reason": waiting.map(|waiting| &waiting.reason),
        "message": waiting.map(|waiting| wait_message(attempt, waiting)),
        "startedAt": convert::time(since),
        "finishedAt": null,
    });
    let event =
        waiting.map_or_else(|| format!("attempt {attempt} is running"), |waiting| wait_message(attempt, waiting));
    let mut patch = patch(state, &contestant, "Running", &event, now);
    patch["startedAt"] = json!(convert::time(since));
    patch
}

/// Returns the patch of one contestant. `reason` is shown while no attempt runs.
fn patch(state: &State, contestant: &Value, reason: &'static str, event: &str, now: Millis) -> Value {
    let (running, all) = state.running;
    let reason = if state.phase == TaskPhase::Running { "Running" } else { reason };
    let readiness =
        Readiness::reconciling(reason, format!("{running} of {all} competing attempts are in progress; {event}"));
    let number = state.contestant.to_string();
    json!({
        "phase": Phase::from(state.phase),
        "attempts": state.newest,
        "conditions": convert::conditions(&[], readiness.conditions(), None, now),
        "contest": { "contestants": { number: contestant } },
    })
}

/// Returns the reason and the message of a verdict. `task` is the Task before the verdict.
pub fn conclusion(task: Option<&TaskEntry>, verdict: &Verdict) -> (String, String) {
    let contestants =
        || task.and_then(|task| task.contest.as_ref()).into_iter().flat_map(|contest| contest.contestants.values());
    if let Some(winner) = &verdict.winner {
        let shown = contestants().find(|contestant| contestant.attempt == winner.attempt);
        let by =
            shown.and_then(|shown| shown.agent.as_deref()).map_or(String::new(), |agent| format!(" of Agent {agent}"));
        let message = format!("attempt {}{by} won: {}", winner.attempt, winner.decided_by);
        return (Reason::Succeeded.as_str().to_owned(), message);
    }
    let ends: Vec<String> = contestants()
        .filter(|contestant| contestant.attempt > 0)
        .map(|contestant| {
            format!("attempt {}: {}", contestant.attempt, contestant.reason.as_deref().unwrap_or("Running"))
        })
        .collect();
    let reasons: Vec<&str> = contestants().filter_map(|contestant| contestant.reason.as_deref()).collect();
    let first = reasons.first().copied().unwrap_or("Cancelled");
    (first.to_owned(), format!("no competing attempt has passed: {}", ends.join(", ")))
}

/// Returns the patch for the verdict of a contest.
pub fn judged(task: &TaskEntry, verdict: &Verdict, now: Millis) -> Value {
    let (reason, message) = conclusion(Some(task), verdict);
    let contest = task.contest.clone().unwrap_or_default();
    let winner = verdict.winner.as_ref().map(|winner| winner.attempt);
    let won = contest.contestants.values().find(|contestant| Some(contestant.attempt) == winner);
    let progress = if verdict.phase == TaskPhase::Succeeded { Progress::Ready } else { Progress::Stalled };
    let mut conditions = Readiness::new(progress, reason, message.clone()).conditions();
    if let Some(won) = won {
        let delivered =
            won.commit.as_deref().map_or_else(|| "the report is recorded".into(), |c| format!("commit {c} is pushed"));
        conditions.push(Condition::new(EXECUTED, Truth::True, "Succeeded", ""));
        conditions.push(Condition::new(VERIFIED, Truth::True, "GatesPassed", ""));
        conditions.push(Condition::new(DELIVERED, Truth::True, "Delivered", delivered));
    }
    // Only the winner's outputs are used from now on, and the task has them.
    let contestants: Map<String, Value> = contest
        .contestants
        .keys()
        .map(|number| (number.clone(), json!({ "outputs": null, "retryAt": null })))
        .collect();
    json!({
        "phase": Phase::from(verdict.phase),
        "agent": won.and_then(|won| won.agent.clone()),
        "retryAt": null,
        "startedAt": won.and_then(|won| won.started_at.clone()),
        "finishedAt": convert::time(now),
        "commit": won.and_then(|won| won.commit.clone()),
        "branch": won.and_then(|won| won.branch.clone()),
        "outputs": won.map(|won| &won.outputs).filter(|outputs| !outputs.is_empty()),
        "conditions": convert::conditions(&[], conditions, None, now),
        "contest": { "winner": winner, "message": message, "contestants": contestants },
    })
}

/// Adds to the patch of a task that is reopened that its contest begins again. The numbers of attempts continue.
pub fn reopen(task: &TaskEntry, mut patch: Value) -> Value {
    let Some(contest) = &task.contest else { return patch };
    let reopened = |old: &ContestantStatus| {
        let mut contestant = json!({
            "phase": Phase::Pending, "agent": null, "infrastructureFailures": null, "retryAt": null, "remainingBudget": null,
            "branch": null, "commit": null, "outputs": null, "measurements": null, "tokens": null, "usd": null, "startedAt": null,
            "finishedAt": null,
        });
        // The next attempt of a contestant that failed gets its failure.
        if old.phase != Phase::Failed {
            contestant["reason"] = Value::Null;
            contestant["message"] = Value::Null;
        }
        contestant
    };
    let contestants: Map<String, Value> =
        contest.contestants.iter().map(|(number, old)| (number.clone(), reopened(old))).collect();
    patch["contest"] = json!({ "winner": null, "message": null, "contestants": contestants });
    patch
}

#[cfg(test)]
mod tests;
