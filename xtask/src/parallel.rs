//! Work in parallel.

use std::panic::resume_unwind;
use std::thread;

use anyhow::Result;

/// Runs `first` on a new thread and `second` on this one, and waits for both.
pub(crate) fn both<A: Send, B>(
    first: impl FnOnce() -> Result<A> + Send,
    second: impl FnOnce() -> Result<B>,
) -> Result<(A, B)> {
    thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        let first = first.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok((first?, second?))
    })
}
