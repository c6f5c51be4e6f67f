//! Measurement of time that does not depend on other processes.

use std::fs;
use std::time::{Duration, Instant};

/// A stopwatch for the CPU time of this thread, with a resolution of a few milliseconds, on Linux. Elsewhere it measures elapsed time.
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

/// Returns the CPU time of this thread, or `None` if the system does not report it.
fn busy() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
