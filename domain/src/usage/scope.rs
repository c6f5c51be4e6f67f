use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::Millis;

const MILLIS_OF_DAY: i64 = 86_400_000;
/// Days of 400 years, after which the calendar repeats.
const DAYS_OF_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_EPOCH: i64 = 719_468;
/// 0000-01-01, in days since 1970-01-01.
const FIRST_DAY: i64 = -719_528;
/// 9999-12-31, in days since 1970-01-01.
const LAST_DAY: i64 = 2_932_896;

/// What a budget limits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Scope {
    /// All usage of the tenant in a month of UTC, such as `2026-11`.
    Tenant { month: String },
    /// All usage of an Agent by the tenant in a month of UTC.
    Agent { namespace: String, name: String, month: String },
    /// All attempts of a plan, its planners and its judges.
    Plan { uid: String },
    /// All attempts of a task.
    Task { uid: String },
    /// One attempt at a task.
    Attempt { uid: String, number: u32 },
}

impl Scope {
    /// Returns the scopes that a request of an agent counts for, from the narrowest to the widest. `subject_uid` is the UID of the Task, and
    /// `agent` is `<namespace>/<name>`. A UID that is empty has no scope: the request belongs to no task, or to no plan.
    pub fn of_request(subject_uid: &str, attempt: u32, plan_uid: &str, agent: &str, at: Millis) -> Vec<Self> {
        let month = month(at);
        let mut scopes = Vec::with_capacity(5);
        if !subject_uid.is_empty() {
            scopes.push(Self::Attempt { uid: subject_uid.to_owned(), number: attempt });
            scopes.push(Self::Task { uid: subject_uid.to_owned() });
        }
        if !plan_uid.is_empty() {
            scopes.push(Self::Plan { uid: plan_uid.to_owned() });
        }
        if let Some((namespace, name)) = agent.split_once('/') {
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            scopes.push(Self::Agent { namespace, name, month: month.clone() });
        }
        scopes.push(Self::Tenant { month });
        scopes
    }

    /// Returns the text that identifies the scope in the database. [`Scope::from_str`] reads it.
    pub fn key(&self) -> String {
        self.to_string()
    }

    /// Returns the name of the kind of scope, in lower case.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tenant { .. } => "tenant",
            Self::Agent { .. } => "agent",
            Self::Plan { .. } => "plan",
            Self::Task { .. } => "task",
            Self::Attempt { .. } => "attempt",
        }
    }
}

/// Writes the key. No part contains a `/`: names and UIDs of Kubernetes cannot.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant { month } => write!(f, "tenant/{month}"),
            Self::Agent { namespace, name, month } => write!(f, "agent/{namespace}/{name}/{month}"),
            Self::Plan { uid } => write!(f, "plan/{uid}"),
            Self::Task { uid } => write!(f, "task/{uid}"),
            Self::Attempt { uid, number } => write!(f, "attempt/{uid}/{number}"),
        }
    }
}

/// A text that is not the key of a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the key of a budget's scope")]
pub struct InvalidScope(String);

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(key: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidScope(key.chars().take(80).collect());
        let parts: Vec<&str> = key.split('/').collect();
        Ok(match parts.as_slice() {
            ["tenant", month] => Self::Tenant { month: (*month).to_owned() },
            ["agent", namespace, name, month] => {
                Self::Agent { namespace: (*namespace).to_owned(), name: (*name).to_owned(), month: (*month).to_owned() }
            }
            ["plan", uid] => Self::Plan { uid: (*uid).to_owned() },
            ["task", uid] => Self::Task { uid: (*uid).to_owned() },
            ["attempt", uid, number] => {
                Self::Attempt { uid: (*uid).to_owned(), number: number.parse().map_err(|_| invalid())? }
            }
            _ => return Err(invalid()),
        })
    }
}

/// Returns the month of a time in UTC, such as `2026-11`.
pub fn month(at: Millis) -> String {
    let mut day = day(at);
    day.truncate(7);
    day
}

/// Returns the day of a time in UTC, such as `2026-11-30`. A time outside the years 0000 to 9999 counts as the first or last day of them, so
/// that the texts have the order of the days.
pub fn day(at: Millis) -> String {
    // Days are counted from 0000-03-01, so that a leap day is the last one of its year.
    let days = at.0.div_euclid(MILLIS_OF_DAY).clamp(FIRST_DAY, LAST_DAY) + DAYS_BEFORE_EPOCH;
    let (era, of_era) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // The months from March have 31, 30, 31, 30 and 31 days, and then again.
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12 + 1;
    let year = era * 400 + year + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{of_month:02}")
}

/// Returns a time in UTC to the minute, such as `2026-11-30 17:05 UTC`, for people.
pub fn minute(at: Millis) -> String {
    let minutes = at.0.rem_euclid(MILLIS_OF_DAY) / 60_000;
    format!("{} {:02}:{:02} UTC", day(at), minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_can_be_read() {
        let uid = || "0b0a8f26-6a4c-4f6f-a6a3-5a1e5d0b6d1e".to_owned();
        for scope in [
            Scope::Tenant { month: "2026-11".into() },
            Scope::Agent { namespace: "team".into(), name: "coder.v2".into(), month: "2026-11".into() },
            Scope::Plan { uid: uid() },
            Scope::Task { uid: uid() },
            Scope::Attempt { uid: uid(), number: 3 },
        ] {
            assert_eq!(scope.key().parse(), Ok(scope.clone()), "{scope}");
        }
        for wrong in ["", "tenant", "tenant/a/b", "attempt/a", "attempt/a/x", "agent/a/b", "model/x"] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_request_counts_for_what_it_belongs_to() {
        let keys = |subject: &str, plan: &str| -> Vec<String> {
            Scope::of_request(subject, 2, plan, "team/coder", Millis(0)).iter().map(Scope::key).collect()
        };
        let month = ["agent/team/coder/1970-01", "tenant/1970-01"];
        assert_eq!(keys("t", "p"), [&["attempt/t/2", "task/t", "plan/p"][..], &month].concat());
        assert_eq!(keys("draft-pod", ""), [&["attempt/draft-pod/2", "task/draft-pod"][..], &month].concat());
        assert_eq!(keys("", ""), month);
    }

    #[test]
    fn days_are_of_utc() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400, "2000-02-29"),
            (1_709_164_800, "2024-02-29"),
            (1_709_251_200, "2024-03-01"),
            (1_796_083_199, "2026-11-30"),
            (1_796_083_200, "2026-12-01"),
            (4_107_456_000, "2100-02-28"),
            (4_107_542_400, "2100-03-01"),
            (i64::MAX / 1000, "9999-12-31"),
            (i64::MIN / 1000, "0000-01-01"),
        ] {
            let at = Millis(seconds * 1000);
            assert_eq!(day(at), expected, "{seconds}");
            assert_eq!(month(at), expected[..7]);
        }
        assert_eq!(minute(Millis(1_796_083_199_999)), "2026-11-30 23:59 UTC");
        assert_eq!(minute(Millis(-1)), "1969-12-31 23:59 UTC");
    }
}
