//! Waiting for conditions.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, bail};

/// The timeout for what takes seconds on an idle machine.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// Polls until the answer is yes, for at most `patience`.
///
/// # Errors
/// If the time is over, with `what` and the last reason, or if a poll fails.
pub async fn until<T, F, Fut>(what: &str, patience: Duration, mut ask: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Answer<T>>>,
{
    let end = tokio::time::Instant::now() + patience;
    loop {
        match ask().await? {
            Answer::Yes(value) => return Ok(value),
            Answer::NotYet(why) if tokio::time::Instant::now() > end => {
                bail!("waited {} s for {what}: {why}", patience.as_secs());
            }
            Answer::NotYet(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// The answer of a poll of [`until`].
pub enum Answer<T> {
    /// The condition is met.
    Yes(T),
    /// The condition is not met, and the reason.
    NotYet(String),
}
