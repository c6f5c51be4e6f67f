//! Time that others on a busy machine do not make longer.

use std::fs;
use std::time::{Duration, Instant};

/// Measures how long this thread runs on a processor, in steps of a few milliseconds, where Linux says so; elsewhere the time of the clock.
pub struct Stopwatch {
    begun: Instant,
    busy: Option<Duration>,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self { begun: Instant::now(), busy: busy() }
    }

    pub fn elapsed(&self) -> Duration {
        let since = self.busy.zip(busy()).map(|(before, now)| now.saturating_sub(before));
        since.unwrap_or_else(|| self.begun.elapsed())
    }
}

/// How long this thread has run on a processor.
fn busy() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
