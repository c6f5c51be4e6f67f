//! The body of a request, with limits on size and time.

use std::time::Duration;

use bytes::Buf;
use futures::{Stream, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use crate::problem::{Problem, ProblemKind};

/// Limits in bytes and time for reading a refused body before the answer. A sender that still writes when the connection is closed would
/// see a connection error instead of the answer.
const DISCARDED: (usize, Duration) = (4 << 20, Duration::from_secs(2));

pub struct Body<S>(S);

impl<S, B, E> Body<S>
where
    S: Stream<Item = Result<B, E>> + Unpin,
    B: Buf,
{
    pub fn new(stream: S) -> Self {
        Self(stream)
    }

    /// Reads the whole body.
    ///
    /// # Errors
    /// When it has more than `limit` bytes, takes longer than `within`, or the connection ends early.
    pub async fn read(&mut self, limit: usize, within: Duration) -> Result<Vec<u8>, Problem> {
        let end = Instant::now() + within;
        let mut all = Vec::new();
        loop {
            let Ok(next) = timeout_at(end, self.0.next()).await else {
                let why = format!("the body did not arrive within {} s; try again", within.as_secs_f32());
                return Err(Problem::new(ProblemKind::SlowBody, why));
            };
            match next {
                None => return Ok(all),
                Some(Err(_)) => {
                    return Err(Problem::new(
                        ProblemKind::Malformed,
                        "the connection ended before the end of the body; try again",
                    ));
                }
                // The header Content-Length may be missing, so the limit is checked for every chunk.
                Some(Ok(chunk)) if all.len() + chunk.remaining() > limit => return Err(too_large(limit)),
                Some(Ok(mut chunk)) => {
                    while chunk.has_remaining() {
                        let part = chunk.chunk();
                        all.extend_from_slice(part);
                        let length = part.len();
                        chunk.advance(length);
                    }
                }
            }
        }
    }

    /// Reads and drops the rest of the body, up to [`DISCARDED`].
    pub async fn discard(&mut self) {
        let end = Instant::now() + DISCARDED.1;
        let mut length = 0;
        while let Ok(Some(Ok(chunk))) = timeout_at(end, self.0.next()).await {
            length += chunk.remaining();
            if length > DISCARDED.0 {
                return;
            }
        }
    }
}

/// Returns the problem of a body of more than `limit` bytes.
pub fn too_large(limit: usize) -> Problem {
    Problem::new(
        ProblemKind::TooLarge,
        format!("the body must have at most {limit} bytes; shorten the transcript, or divide the document or the push"),
    )
}
