//! The state of the polls of a repository.

use enact_domain::digest::Digest;
use enact_domain::time::Millis;

/// Milliseconds after which the state of an overdue poll is dropped: more than the longest interval.
const EXPIRY_MILLIS: u64 = 2 * 86_400_000;

/// The polls of a repository since the start of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollState {
    /// Digest of the source that was polled.
    pub key: Digest,
    /// UID of the last pod whose result was read.
    pub pod: Option<String>,
    /// Whether a pod delivered the document of the commit in the status since the start of this process.
    pub seen: bool,
    /// Consecutive failed polls.
    pub failures: u32,
    /// Time of the next poll.
    pub next: Millis,
    /// The annotation that asked for the last poll.
    pub asked: Option<String>,
}

impl PollState {
    /// Returns whether the state can be dropped: its object was deleted or suspended long ago.
    pub fn is_expired(&self, now: Millis) -> bool {
        now.since(self.next) > EXPIRY_MILLIS
    }
}
