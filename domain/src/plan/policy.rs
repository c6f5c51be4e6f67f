//! The rules of a plan and of its attempts.

use crate::time::Millis;

/// Reaction of a plan to the failure of one of its tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Start no new attempt; running attempts continue.
    #[default]
    Halt,
    /// Continue with every task that does not depend on the failed one.
    Continue,
    /// Start no new attempt, and stop the running ones.
    Stop,
}

/// Rules for the whole plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Maximum number of attempts at once.
    pub parallelism: u32,
    pub on_failure: OnFailure,
    /// Start no new attempt.
    pub suspended: bool,
    /// Stop everything.
    pub cancelled: bool,
    /// Time at which everything is stopped.
    pub deadline: Option<Millis>,
    /// Longest wait for the reset of a provider's quota, in seconds. If the reset is later, another agent of the pool continues.
    pub quota_wait_seconds: u32,
}

/// Limits and delays of the attempts that follow a failed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Maximum number of further attempts after task failures.
    pub limit: u32,
    /// Maximum number of further attempts after infrastructure failures.
    pub infrastructure_limit: u32,
    /// Seconds before the first further attempt; doubled each time.
    pub backoff_seconds: u32,
    /// Longest wait, in seconds.
    pub max_backoff_seconds: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { limit: 0, infrastructure_limit: 3, backoff_seconds: 5, max_backoff_seconds: 300 }
    }
}

impl Retry {
    /// Returns the seconds to wait after the `n`th failure, counted from 1.
    pub fn wait_seconds(&self, n: u32) -> u32 {
        let factor = 1u32.checked_shl(n.saturating_sub(1).min(31)).unwrap_or(u32::MAX);
        self.backoff_seconds.saturating_mul(factor).min(self.max_backoff_seconds)
    }
}
