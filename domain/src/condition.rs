//! Conditions of objects, with the meaning of kstatus: `Ready`, `Reconciling`, `Stalled`. A condition that is absent counts as false.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::text;
use crate::time::Millis;

/// Type of the condition that the object has reached the state that its spec requests.
pub const READY: &str = "Ready";
/// Type of the condition that the object progresses towards the state that its spec requests.
pub const RECONCILING: &str = "Reconciling";
/// Type of the condition that the object waits until a person or another object changes something.
pub const STALLED: &str = "Stalled";

/// Longest message of a condition, in bytes: the API server accepts at most 32 KiB.
const MAX_MESSAGE_BYTES: usize = 8192;

/// Reasons of an object that waits for a decision of a person, or for an object that does. They are a part of normal work, not a problem.
const WAITS_FOR_PEOPLE: [&str; 8] = [
    "WaitingForApproval",
    "WaitingForChoice",
    "WaitingForConstitution",
    "WaitingForSpecification",
    "SpecificationChanged",
    "AgentChanged",
    "Suspended",
    "Paused",
];

/// Returns whether an object with this reason waits for a decision of a person. It is stalled, because it does not continue by itself, but
/// nothing is wrong with it.
pub fn waits_for_people(reason: &str) -> bool {
    WAITS_FOR_PEOPLE.contains(&reason)
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
pub enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    /// Returns the value in the Kubernetes API.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A condition without its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// CamelCase type, the key of the list.
    pub type_: String,
    pub status: Truth,
    /// CamelCase reason, explained in `docs/guide/troubleshooting.md`.
    pub reason: String,
    /// Message that names the object, the field and the remedy.
    pub message: String,
}

impl Condition {
    /// Creates a condition. Control characters in the message are replaced, and a message longer than 8 KiB is truncated.
    pub fn new(type_: &str, status: Truth, reason: &str, message: impl Into<String>) -> Self {
        let message = text::message(message, MAX_MESSAGE_BYTES);
        Self { type_: type_.into(), status, reason: reason.into(), message }
    }
}

/// The kstatus condition that is true of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Ready,
    Reconciling,
    /// Waits for a person or another object, is blocked, or finished without success.
    Stalled,
}

/// Readiness of an object: which of the kstatus conditions is true, why, and what a person can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    pub progress: Progress,
    /// CamelCase reason, explained in `docs/guide/troubleshooting.md`. Owned where it comes from a status or from an attempt's report.
    pub reason: Cow<'static, str>,
    /// Message that names the object, the field and the remedy.
    pub message: String,
}

impl Readiness {
    /// Creates a readiness. Control characters in the message are replaced, and a message longer than 8 KiB is truncated.
    pub fn new(progress: Progress, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { progress, reason: reason.into(), message: text::message(message, MAX_MESSAGE_BYTES) }
    }

    /// Creates the readiness of an object that has reached the state that its spec requests.
    pub fn ready(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Progress::Ready, reason, message)
    }

    /// Creates the readiness of an object that continues without a person.
    pub fn reconciling(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Progress::Reconciling, reason, message)
    }

    /// Creates the readiness of an object that waits until a person or another object changes something.
    pub fn stalled(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Progress::Stalled, reason, message)
    }

    /// Returns the conditions to merge: always `Ready`, and exactly one of `Reconciling` and `Stalled` if the object is not ready.
    pub fn conditions(&self) -> Vec<Condition> {
        let Self { progress, reason, message } = self;
        let ready = if *progress == Progress::Ready { Truth::True } else { Truth::False };
        let condition = |type_, status| Condition::new(type_, status, reason, message);
        let mut conditions = vec![condition(READY, ready)];
        match progress {
            Progress::Ready => {}
            Progress::Reconciling => conditions.push(condition(RECONCILING, Truth::True)),
            Progress::Stalled => conditions.push(condition(STALLED, Truth::True)),
        }
        conditions
    }
}

/// A condition with the time of its last transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dated {
    pub condition: Condition,
    /// Time of the last change of `status`.
    pub since: Millis,
}

/// Replaces conditions by `new` ones. Only the types in `new` remain, in that order.
///
/// A condition whose status has not changed keeps its time, so that writing the same conditions again changes nothing.
pub fn merge(old: &[Dated], new: Vec<Condition>, now: Millis) -> Vec<Dated> {
    new.into_iter()
        .map(|condition| {
            let before = old.iter().find(|d| d.condition.type_ == condition.type_);
            let since = before.filter(|d| d.condition.status == condition.status).map_or(now, |d| d.since);
            Dated { condition, since }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_changes_only_with_the_status() {
        let first = merge(&[], Readiness::reconciling("Waiting", "for approval").conditions(), Millis(1));
        let same = merge(&first, Readiness::reconciling("Running", "3 of 5").conditions(), Millis(2));
        assert!(same.iter().all(|d| d.since == Millis(1)));
        let done = merge(&same, Readiness::ready("Succeeded", "all done").conditions(), Millis(3));
        assert_eq!(done.len(), 1, "Reconciling is gone when ready");
        assert_eq!(done[0].since, Millis(3));
    }

    #[test]
    fn cuts_a_long_message() {
        let long = Readiness::reconciling("Waiting".to_owned(), "é".repeat(9000));
        assert_eq!(long.message.len(), 8192);
    }

    #[test]
    fn health_checks_of_gitops_tools_know_every_wait_for_people() {
        let lua = include_str!("../../docs/gitops/health.lua");
        let table = lua.split_once("local people = {").and_then(|(_, rest)| rest.split_once('}')).expect("the table").0;
        let mut listed: Vec<&str> = table.lines().filter_map(|line| line.trim().strip_suffix(" = true,")).collect();
        let mut expected = WAITS_FOR_PEOPLE.to_vec();
        listed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(listed, expected);
        let guide = include_str!("../../docs/guide/gitops.md");
        for reason in WAITS_FOR_PEOPLE {
            assert!(guide.contains(&format!("`{reason}`")), "{reason} is not in the text");
            assert_eq!(
                guide.matches(&format!("'{reason}'")).count() % 2,
                0,
                "{reason} is in `current` and in `failed`"
            );
            assert!(guide.contains(&format!("'{reason}'")), "{reason} is not in the expressions for Flux");
        }
    }

    #[test]
    fn a_wait_for_people_is_no_problem() {
        assert!(waits_for_people("WaitingForApproval") && waits_for_people("Suspended"));
        assert!(!waits_for_people("Rejected") && !waits_for_people("InvalidPlan"));
    }

    #[test]
    fn messages_have_no_control_characters() {
        let failed = Readiness::stalled("GateFailed", "gate \u{1b}[31mtest\r\nfailed");
        assert_eq!(failed.conditions()[1].message, "gate \u{fffd}[31mtest\nfailed");
        assert_eq!(Condition::new(READY, Truth::True, "Ok", "a\rb").message, "a\nb");
    }

    #[test]
    fn never_both_reconciling_and_stalled() {
        for progress in [Progress::Ready, Progress::Reconciling, Progress::Stalled] {
            let conditions = Readiness::new(progress, "R", "m").conditions();
            let has = |t: &str| conditions.iter().any(|c| c.type_ == t && c.status == Truth::True);
            assert_eq!(u8::from(has(READY)) + u8::from(has(RECONCILING)) + u8::from(has(STALLED)), 1);
        }
    }
}
