//! A wait for each object that grows with its failures, so that one bad object never makes a hot loop and never delays another.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::Rng as _;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_mins(5);

/// Failures in a row by object UID.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: Mutex<HashMap<String, u32>>,
}

impl Backoff {
    /// Counts a failure of `uid`; how long to wait: 200 ms doubled each time up to 5 minutes, less up to a quarter at random.
    pub fn failed(&self, uid: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let n = failures.entry(uid.to_owned()).or_default();
        let wait = FIRST.saturating_mul(1 << (*n).min(16)).min(LONGEST);
        *n = n.saturating_add(1);
        wait.mul_f64(1.0 - rand::rng().random_range(0.0..0.25))
    }

    /// Forgets the failures of `uid`: it succeeded, or is gone.
    pub fn succeeded(&self, uid: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_a_limit_and_starts_anew() {
        let backoff = Backoff::default();
        let first = backoff.failed("a");
        assert!(first <= FIRST && first >= FIRST.mul_f64(0.75));
        let waits: Vec<_> = (0..40).map(|_| backoff.failed("a")).collect();
        assert!(waits.iter().all(|w| *w <= LONGEST) && waits[39] >= LONGEST.mul_f64(0.75));
        assert!(backoff.failed("b") <= FIRST, "another object is not delayed");
        backoff.succeeded("a");
        assert!(backoff.failed("a") <= FIRST);
    }
}
