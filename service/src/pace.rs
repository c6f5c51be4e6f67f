//! The minimum rate at which a body must arrive.

use std::time::Duration;

/// A minimum rate. Memory and slots are reserved for a body while it arrives, so a client must not be able to send it byte by byte.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time before the rate counts.
    pub grace: Duration,
    pub bytes_per_second: u32,
}

impl Pace {
    /// Returns the time from the start of a body until the bytes after the first `received` bytes must begin to arrive.
    pub fn limit(&self, received: usize) -> Duration {
        let milliseconds = (received as u64).saturating_mul(1000) / u64::from(self.bytes_per_second.max(1));
        self.grace + Duration::from_millis(milliseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_gets_time_for_the_bytes_that_it_sent() {
        let pace = Pace { grace: Duration::from_secs(2), bytes_per_second: 1000 };
        assert_eq!(pace.limit(0), Duration::from_secs(2));
        assert_eq!(pace.limit(500), Duration::from_millis(2500));
        assert_eq!(pace.limit(10_000), Duration::from_secs(12));
    }
}
