//! Conditions: what is true of an object, merged so that nothing changes when nothing changed.
//!
//! The meaning follows kstatus: `Ready`, `Reconciling`, `Stalled`; a condition that is absent counts as false.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// Everything asked for has been reached, and holds.
pub const READY: &str = "Ready";
/// Work towards the wanted state goes on.
pub const RECONCILING: &str = "Reconciling";
/// Nothing goes on until a person or another object changes something.
pub const STALLED: &str = "Stalled";

/// Truth of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be told.
    Unknown,
}

impl Truth {
    /// Kubernetes' word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition without its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// CamelCase type, the key.
    pub type_: String,
    /// Whether it holds.
    pub status: Truth,
    /// CamelCase reason, explained in `docs/guide/troubleshooting.md`.
    pub reason: String,
    /// For a person: what is so and what to do about it.
    pub message: String,
}

impl Condition {
    /// A condition that holds, or not.
    pub fn new(type_: &str, status: Truth, reason: &str, message: impl Into<String>) -> Self {
        Self { type_: type_.into(), status, reason: reason.into(), message: message.into() }
    }
}

/// The three kstatus conditions of a state, ready to merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Reached.
    Ready,
    /// On its way.
    Reconciling,
    /// Stuck, or finished without success.
    Stalled,
}

impl Progress {
    /// `Ready` for every progress, and exactly one of `Reconciling` or `Stalled` when not ready.
    pub fn conditions(self, reason: &str, message: &str) -> Vec<Condition> {
        let ready = if self == Self::Ready { Truth::True } else { Truth::False };
        let mut out = vec![Condition::new(READY, ready, reason, message)];
        match self {
            Self::Ready => {}
            Self::Reconciling => out.push(Condition::new(RECONCILING, Truth::True, reason, message)),
            Self::Stalled => out.push(Condition::new(STALLED, Truth::True, reason, message)),
        }
        out
    }
}

/// Readiness of an object: which of the kstatus conditions holds, why, and what a person can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    pub progress: Progress,
    /// CamelCase reason, explained in `docs/guide/troubleshooting.md`. Owned where it comes from a status or from an attempt's report.
    pub reason: Cow<'static, str>,
    /// Names the object, the field and the remedy.
    pub message: String,
}

impl Readiness {
    /// Creates a readiness. A condition's message holds at most 32 KiB; a longer message than a quarter of that is cut.
    pub fn new(progress: Progress, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        const MAX_BYTES: usize = 8192;
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MAX_BYTES));
        Self { progress, reason: reason.into(), message }
    }

    /// Creates the readiness of an object that has reached what its spec asks for.
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

    /// Returns the kstatus conditions, ready to merge.
    pub fn conditions(&self) -> Vec<Condition> {
        self.progress.conditions(&self.reason, &self.message)
    }
}

/// A condition with the time of its last change of status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dated {
    /// What holds.
    pub condition: Condition,
    /// When `status` last changed.
    pub since: Millis,
}

/// Conditions after `new` replaced what was there; types in `new` only, sorted as given.
///
/// A condition whose status did not change keeps its time, so that writing the same conditions again is no change.
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
    fn time_moves_only_with_status() {
        let first = merge(&[], Progress::Reconciling.conditions("Waiting", "for approval"), Millis(1));
        let same = merge(&first, Progress::Reconciling.conditions("Running", "3 of 5"), Millis(2));
        assert!(same.iter().all(|d| d.since == Millis(1)));
        let done = merge(&same, Progress::Ready.conditions("Succeeded", "all done"), Millis(3));
        assert_eq!(done.len(), 1, "Reconciling is gone when ready");
        assert_eq!(done[0].since, Millis(3));
    }

    #[test]
    fn readiness_makes_conditions_and_cuts_a_long_message() {
        let short = Readiness::stalled("Broken", "fix it");
        assert_eq!(short.conditions(), Progress::Stalled.conditions("Broken", "fix it"));
        let long = Readiness::reconciling("Waiting".to_owned(), "é".repeat(9000));
        assert_eq!(long.message.len(), 8192);
    }

    #[test]
    fn never_both_reconciling_and_stalled() {
        for progress in [Progress::Ready, Progress::Reconciling, Progress::Stalled] {
            let conditions = progress.conditions("R", "m");
            let has = |t: &str| conditions.iter().any(|c| c.type_ == t && c.status == Truth::True);
            assert_eq!(u8::from(has(READY)) + u8::from(has(RECONCILING)) + u8::from(has(STALLED)), 1);
        }
    }
}
