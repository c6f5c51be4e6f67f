//! Work that goes on at the same time.

use std::panic::resume_unwind;
use std::thread;

use anyhow::Result;

/// Does both, `first` on a thread of its own, and waits for both.
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
