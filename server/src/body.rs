//! The body of a request, with limits on size and time.

use std::time::Duration;

use bytes::Buf;
use enact_service::pace::Pace;
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

    /// Reads the whole body of an identified sender.
    ///
    /// # Errors
    /// When it has more than `limit` bytes, takes longer than `within`, or the connection ends early.
    pub async fn read(&mut self, limit: usize, within: Duration) -> Result<Vec<u8>, Problem> {
        self.read_while(limit, |_| within).await
    }

    /// Reads the whole body of a sender who may be anybody.
    ///
    /// # Errors
    /// As [`Self::read`], and when the body arrives more slowly than `pace`.
    pub async fn read_at(&mut self, pace: Pace, limit: usize, within: Duration) -> Result<Vec<u8>, Problem> {
        self.read_while(limit, |received| pace.limit(received).min(within)).await
    }

    /// Reads the body. `patience` is the time from the start until more must arrive than these bytes.
    async fn read_while(&mut self, limit: usize, patience: impl Fn(usize) -> Duration) -> Result<Vec<u8>, Problem> {
        let begun = Instant::now();
        let mut all = Vec::new();
        loop {
            let within = patience(all.len());
            let Ok(next) = timeout_at(begun + within, self.0.next()).await else {
                let (seconds, received) = (within.as_secs_f32(), all.len());
                let why = format!("the body did not arrive within {seconds} s, only {received} bytes of it; try again");
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;

    use super::*;

    const CHUNK: &[u8] = &[0; 1024];
    const PACE: Pace = Pace { grace: Duration::from_secs(2), bytes_per_second: 1024 };

    /// Returns a body of `count` chunks of 1 KiB, one after each `pause`.
    fn chunks(count: u32, pause: Duration) -> impl Stream<Item = Result<&'static [u8], Infallible>> + Unpin {
        Box::pin(stream::iter(0..count).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(CHUNK)
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_at_the_minimum_rate_is_read() {
        let mut body = Body::new(chunks(20, Duration::from_millis(900)));
        let read = body.read_at(PACE, 1 << 20, Duration::from_mins(1)).await.unwrap();
        assert_eq!(read.len(), 20 << 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_below_the_minimum_rate_is_refused_long_before_the_time_limit() {
        let begun = Instant::now();
        let mut body = Body::new(chunks(u32::MAX, Duration::from_millis(1500)));
        let problem = body.read_at(PACE, 1 << 20, Duration::from_mins(10)).await.unwrap_err();
        assert_eq!(problem.kind, ProblemKind::SlowBody);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}: {}", begun.elapsed(), problem.detail);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_sends_nothing_gets_only_the_grace() {
        let begun = Instant::now();
        let mut body = Body::new(stream::pending::<Result<&[u8], Infallible>>());
        let problem = body.read_at(PACE, 1 << 20, Duration::from_mins(10)).await.unwrap_err();
        assert_eq!((problem.kind, begun.elapsed().as_secs()), (ProblemKind::SlowBody, 2));
    }
}
