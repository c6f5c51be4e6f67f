//! Attempts that get no answer, because providers or limits of Enact allow no request at the moment.
//!
//! Some agents try again for as long as they run, and their pods would only wait. Each replica counts for itself: an attempt whose requests
//! reach several replicas waits longer.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Refusals without an answer in between that can end an attempt. Fewer say nothing about the requests to other replicas.
const REFUSALS: u32 = 4;
/// Time without a request after which a series ends: longer than any pause that an agent is asked for.
const GAP: Duration = Duration::from_mins(10);
/// Most attempts; those that have not asked for long are removed when there are more.
const CAPACITY: usize = 4096;

/// UID of the task or document, and number of the attempt.
pub type AttemptKey = (String, u32);

/// The attempts whose last request was refused for the moment.
#[derive(Default)]
pub struct Waiting(Mutex<HashMap<AttemptKey, Series>>);

/// Refusals in a row.
#[derive(Clone, Copy)]
struct Series {
    since: Instant,
    last: Instant,
    refusals: u32,
}

impl Waiting {
    /// Notes a refusal. Returns whether the attempt has had no answer for `patience`.
    pub fn refused(&self, attempt: AttemptKey, patience: Duration) -> bool {
        let now = Instant::now();
        let mut attempts = self.0.lock();
        if attempts.len() >= CAPACITY {
            attempts.retain(|_, series| now - series.last < GAP);
        }
        let series = attempts.entry(attempt).or_insert(Series { since: now, last: now, refusals: 0 });
        if now - series.last >= GAP {
            // The agent did other work in between.
            *series = Series { since: now, last: now, refusals: 0 };
        }
        series.last = now;
        series.refusals = series.refusals.saturating_add(1);
        series.refusals >= REFUSALS && now - series.since >= patience
    }

    /// Notes that a provider has answered.
    pub fn answered(&self, attempt: &AttemptKey) {
        self.0.lock().remove(attempt);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PATIENCE: Duration = Duration::from_mins(2);
    const PAUSE: Duration = Duration::from_secs(10);

    fn key(uid: &str) -> AttemptKey {
        (uid.to_owned(), 1)
    }

    #[tokio::test(start_paused = true)]
    async fn only_refusals_for_long_without_an_answer_count() {
        let waiting = Waiting::default();
        for second in (0..120).step_by(10) {
            assert!(!waiting.refused(key("a"), PATIENCE), "{second} s");
            advance(PAUSE).await;
        }
        assert!(waiting.refused(key("a"), PATIENCE));
        assert!(!waiting.refused(key("b"), PATIENCE), "another attempt");
        waiting.answered(&key("a"));
        assert!(!waiting.refused(key("a"), PATIENCE), "after an answer");
    }

    #[tokio::test(start_paused = true)]
    async fn other_work_in_between_begins_a_new_series() {
        let waiting = Waiting::default();
        for _ in 0..10 {
            assert!(!waiting.refused(key("a"), PATIENCE));
            advance(GAP).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_attempts_is_limited() {
        let waiting = Waiting::default();
        for number in 0..CAPACITY {
            waiting.refused(key(&number.to_string()), PATIENCE);
        }
        advance(GAP).await;
        waiting.refused(key("new"), PATIENCE);
        assert_eq!(waiting.0.lock().len(), 1);
    }
}
