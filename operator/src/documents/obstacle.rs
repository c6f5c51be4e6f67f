//! Obstacle: what stands in the way of a document or a plan besides its own content and people's decisions.

use enact_domain::condition::Progress;

/// Why something does not go on, as a condition says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Whether it passes by itself.
    pub progress: Progress,
    /// CamelCase, explained in `docs/guide/troubleshooting.md`.
    pub reason: &'static str,
    /// For a person.
    pub message: String,
}

impl Obstacle {
    /// An obstacle; conditions hold 32 KiB, of which a message takes a part.
    pub fn new(progress: Progress, reason: &'static str, message: impl Into<String>) -> Self {
        const MAX_BYTES: usize = 8192;
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MAX_BYTES));
        Self { progress, reason, message }
    }
}
