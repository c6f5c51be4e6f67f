//! A backoff for each object that grows with its failures: an object that always fails causes no hot loop, and delays no other object.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng as _;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_mins(5);

/// Consecutive failures by object UID.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: Mutex<HashMap<String, u32>>,
}

impl Backoff {
    /// Counts a failure of `uid`, and returns the time to wait: 200 ms, doubled each time up to 5 minutes, less a random part of up to a
    /// quarter.
    pub fn failed(&self, uid: &str) -> Duration {
        let mut failures = self.failures.lock();
        let n = failures.entry(uid.to_owned()).or_default();
        // The exponent is limited, because a larger shift overflows.
        let wait = FIRST.saturating_mul(1 << (*n).min(16)).min(LONGEST);
        *n = n.saturating_add(1);
        // Spreads the retries of objects that failed at the same moment.
        wait.mul_f64(1.0 - rand::rng().random_range(0.0..0.25))
    }

    /// Resets the failures of `uid`.
    pub fn succeeded(&self, uid: &str) {
        self.failures.lock().remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_a_limit_and_resets() {
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
