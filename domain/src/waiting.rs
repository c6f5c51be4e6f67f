//! Why something waits, since when, and when it last showed activity.
//!
//! [`waiting`] is the only place that decides this. The operator calls it for the status of Tasks, Plans and of documents that pods fetch or
//! draft, and commands for what they show.

use std::borrow::Cow;

use crate::attempt::AttemptState;
use crate::condition::{Progress, Readiness};
use crate::text::one_line;
use crate::time::Millis;

/// Reason of an attempt that waits for a node of the cluster.
pub const UNSCHEDULABLE: &str = "Unschedulable";
/// Reasons of a plan that does not wait, or waits for its attempts only.
const AT_WORK: [&str; 2] = ["Running", "Integrating"];

/// A wait of a task or a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// CamelCase reason, explained in `docs/guide/troubleshooting.md`.
    pub reason: Cow<'static, str>,
    /// What it waits for, and the remedy.
    pub message: String,
    pub since: Millis,
    /// The task of a plan whose attempt waits.
    pub task: Option<String>,
}

/// What is known about something that may wait.
#[derive(Debug)]
pub enum Facts<'a> {
    /// An attempt with a pod, and the creation time of the pod.
    Attempt { state: &'a AttemptState, created: Millis },
    /// A task without an attempt in progress.
    Task(Idle<'a>),
    /// An unfinished plan: its readiness, and the first of its attempts that wait.
    Plan { readiness: &'a Readiness, attempt: Option<&'a Waiting>, now: Millis },
}

/// A task without an attempt in progress.
#[derive(Debug, Default)]
pub struct Idle<'a> {
    /// Time since when it has no attempt: the end of the last one, or the creation of the task.
    pub since: Millis,
    /// Reason and message of the last attempt, after which another one follows.
    pub last: Option<(&'a str, &'a str)>,
    /// Seconds until the next attempt.
    pub retry_seconds: Option<u64>,
    /// IDs of the tasks that it depends on and that have not succeeded.
    pub dependencies: &'a [&'a str],
    /// The wait of its plan.
    pub plan: Option<&'a Waiting>,
}

/// Returns why something waits; none if it does not. `before` is the wait that was last reported: while its reason stays, its message and
/// time stay too, because messages of the cluster change too often to be written each time.
pub fn waiting(facts: &Facts<'_>, before: Option<&Waiting>) -> Option<Waiting> {
    let now = match facts {
        Facts::Attempt { state, created } => of_attempt(state, *created),
        Facts::Task(idle) => of_task(idle),
        Facts::Plan { readiness, attempt, now } => of_plan(readiness, *attempt, *now),
    }?;
    let Some(before) = before.filter(|before| before.reason == now.reason && before.task == now.task) else {
        return Some(now);
    };
    // The readiness of a plan is written with each change, so its message is the new one.
    let keeps_message = now.task.is_some() || matches!(facts, Facts::Attempt { .. });
    let message = if keeps_message { before.message.clone() } else { now.message };
    Some(Waiting { message, since: before.since, ..now })
}

/// Returns the time of the last activity that is known.
pub fn last_activity(times: impl IntoIterator<Item = Option<Millis>>) -> Option<Millis> {
    times.into_iter().flatten().max()
}

fn of_attempt(state: &AttemptState, created: Millis) -> Option<Waiting> {
    let (reason, message, since) = match state {
        AttemptState::Unscheduled { message } => (UNSCHEDULABLE, format!("waits for a node: {message}"), created),
        AttemptState::Stuck { reason, message, since } => (reason.as_str(), format!("cannot start: {message}"), *since),
        AttemptState::Pending | AttemptState::Running | AttemptState::Succeeded(_) | AttemptState::Failed { .. } => {
            return None;
        }
    };
    Some(Waiting { reason: reason.into(), message: one_line(&message), since, task: None })
}

fn of_task(idle: &Idle<'_>) -> Option<Waiting> {
    let wait = |reason: &str, message: String| Waiting {
        reason: Cow::Owned(reason.to_owned()),
        message,
        since: idle.since,
        task: None,
    };
    if let Some((reason, message)) = idle.last {
        // A budget decides when the next attempt starts, not the time.
        let again = idle.retry_seconds.filter(|_| reason != "BudgetExceeded");
        let again = again.map_or_else(String::new, |seconds| format!("next attempt in {seconds}s, "));
        return Some(wait(reason, format!("{again}{reason}: {message}")));
    }
    if !idle.dependencies.is_empty() {
        return Some(wait("WaitingForTasks", format!("waits for {}", first(idle.dependencies))));
    }
    // A plan that waits for one of its attempts starts others.
    let plan = idle.plan.filter(|plan| plan.task.is_none())?;
    Some(Waiting { message: format!("waits with its plan: {}", plan.reason), ..plan.clone() })
}

fn of_plan(readiness: &Readiness, attempt: Option<&Waiting>, now: Millis) -> Option<Waiting> {
    let reason = readiness.reason.as_ref();
    if readiness.progress == Progress::Ready {
        return None;
    }
    match attempt {
        Some(attempt) if AT_WORK.contains(&reason) || attempt.reason == reason => Some(attempt.clone()),
        _ if AT_WORK.contains(&reason) => None,
        _ => Some(Waiting {
            reason: readiness.reason.clone(),
            message: readiness.message.clone(),
            since: now,
            task: None,
        }),
    }
}

/// Lists the first names and the number of the others.
fn first(names: &[&str]) -> String {
    const MOST: usize = 4;
    let shown = names[..names.len().min(MOST)].join(", ");
    if names.len() > MOST { format!("{shown} and {} more", names.len() - MOST) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::Reason;

    fn attempt(state: &AttemptState, before: Option<&Waiting>) -> Option<Waiting> {
        waiting(&Facts::Attempt { state, created: Millis(1) }, before)
    }

    fn stuck(reason: Reason, message: &str) -> AttemptState {
        AttemptState::Stuck { reason, message: message.into(), since: Millis(5) }
    }

    #[test]
    fn an_attempt_waits_while_its_pod_cannot_start() {
        let unscheduled = AttemptState::Unscheduled { message: "0/1 nodes".into() };
        let wait = attempt(&unscheduled, None).unwrap();
        assert_eq!((wait.reason.as_ref(), wait.since), (UNSCHEDULABLE, Millis(1)));
        assert_eq!(wait.message, "waits for a node: 0/1 nodes");
        let wait = attempt(&stuck(Reason::SandboxFailed, "no handler"), None).unwrap();
        assert_eq!((wait.reason.as_ref(), wait.since), ("SandboxFailed", Millis(5)));
        assert_eq!(wait.message, "cannot start: no handler");
        assert_eq!(attempt(&AttemptState::Running, None), None);
        assert_eq!(attempt(&AttemptState::Pending, Some(&wait)), None, "it no longer waits");
    }

    #[test]
    fn a_message_stays_while_the_reason_stays() {
        let before = attempt(&stuck(Reason::ImagePullFailed, "ErrImagePull"), None).unwrap();
        let same = attempt(&stuck(Reason::ImagePullFailed, "ImagePullBackOff"), Some(&before));
        assert_eq!(same.as_ref(), Some(&before));
        let other = attempt(&stuck(Reason::SandboxFailed, "no handler"), Some(&before)).unwrap();
        assert_eq!(other.message, "cannot start: no handler");
    }

    #[test]
    fn a_plan_waits_for_its_attempts_or_for_what_its_readiness_says() {
        let plan = |readiness: &Readiness, attempt: Option<&Waiting>, before: Option<&Waiting>| {
            waiting(&Facts::Plan { readiness, attempt, now: Millis(9) }, before)
        };
        let running = Readiness::reconciling("Running", "1 of 2 tasks done");
        assert_eq!(plan(&running, None, None), None);
        let wait = Waiting { task: Some("T002".into()), ..attempt(&stuck(Reason::SandboxFailed, "x"), None).unwrap() };
        assert_eq!(plan(&running, Some(&wait), None).as_ref(), Some(&wait));

        let approval = Readiness::stalled("WaitingForApproval", "0 of 1");
        let waits = plan(&approval, None, None).unwrap();
        assert_eq!((waits.reason.as_ref(), waits.since), ("WaitingForApproval", Millis(9)));
        let before = Waiting { since: Millis(2), ..waits };
        let later = plan(&Readiness::stalled("WaitingForApproval", "1 of 2"), None, Some(&before)).unwrap();
        assert_eq!((later.message.as_str(), later.since), ("1 of 2", Millis(2)));
        assert_eq!(plan(&Readiness::ready("Succeeded", ""), None, Some(&before)), None);
    }

    #[test]
    fn an_idle_task_waits_for_its_next_attempt_its_dependencies_or_its_plan() {
        let message = |idle: Idle<'_>| waiting(&Facts::Task(idle), None).map(|wait| wait.message);
        let last = Some(("GateFailed", "test failed"));
        let retry = Idle { last, retry_seconds: Some(7), dependencies: &["T001"], ..Idle::default() };
        assert_eq!(message(retry).as_deref(), Some("next attempt in 7s, GateFailed: test failed"));
        let budget = Idle { last: Some(("BudgetExceeded", "used up")), retry_seconds: Some(7), ..Idle::default() };
        assert_eq!(message(budget).as_deref(), Some("BudgetExceeded: used up"));
        let ids = ["T001", "T002", "T003", "T004", "T005"];
        let dependent = Idle { dependencies: &ids, ..Idle::default() };
        assert_eq!(message(dependent).as_deref(), Some("waits for T001, T002, T003, T004 and 1 more"));
        let suspended =
            Waiting { reason: "Suspended".into(), message: "resume it".into(), since: Millis(3), task: None };
        let held = Idle { plan: Some(&suspended), ..Idle::default() };
        assert_eq!(message(held).as_deref(), Some("waits with its plan: Suspended"));
        let other = Waiting { task: Some("T002".into()), ..suspended.clone() };
        assert_eq!(message(Idle { plan: Some(&other), ..Idle::default() }), None, "only T002 waits");
        assert_eq!(message(Idle::default()), None);
    }

    #[test]
    fn the_last_activity_is_the_latest_known_time() {
        assert_eq!(last_activity([Some(Millis(2)), None, Some(Millis(7))]), Some(Millis(7)));
        assert_eq!(last_activity([None]), None);
    }
}
