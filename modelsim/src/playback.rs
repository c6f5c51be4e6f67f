//! The body of a response: frames at a given speed, and an end that may be a fault.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use tokio::time::sleep;

use crate::ledger::PendingEntry;

/// Time for the connection to send what it has, before it is closed on purpose.
const FLUSH: Duration = Duration::from_millis(50);
/// Longest time that a stalled response stays open.
const STALL: Duration = Duration::from_hours(1);

/// The body of a response.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Bytes that are sent once or several times.
#[derive(Clone, Debug)]
pub struct Piece {
    pub bytes: Bytes,
    pub times: u64,
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, times: 1 }
    }
}

/// How a response ends.
#[derive(Clone, Debug)]
pub enum Ending {
    Complete,
    /// The connection is closed.
    Closed,
    /// The connection is reset. The flag is the connection's.
    Reset(Arc<AtomicBool>),
    /// Nothing more comes.
    Stalled,
}

/// A response that is being sent.
#[derive(Debug)]
pub struct Playback {
    pub pieces: VecDeque<Piece>,
    /// Time between two pieces.
    pub interval: Duration,
    pub ending: Ending,
    /// None for a response that the ledger has already.
    pub entry: Option<PendingEntry>,
}

impl Playback {
    /// Returns the body.
    pub fn body(self) -> Body {
        let frames = stream::unfold((self, true), |(mut playback, first)| async move {
            let frame = playback.next(first).await?;
            Some((frame.map(Frame::data), (playback, false)))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    /// Waits for the end of a response that sends nothing at all.
    pub async fn end_without_head(mut self) {
        // The connection is closed by its caller; the error has no reader.
        self.end().await;
    }

    async fn next(&mut self, first: bool) -> Option<io::Result<Bytes>> {
        let Some(piece) = self.pieces.front_mut() else { return self.end().await };
        let bytes = piece.bytes.clone();
        piece.times = piece.times.saturating_sub(1);
        if piece.times == 0 {
            self.pieces.pop_front();
        }
        if !first && !self.interval.is_zero() {
            sleep(self.interval).await;
        }
        if self.pieces.is_empty() && matches!(self.ending, Ending::Complete) {
            // The connection need not ask for what follows the last piece.
            self.entry.iter_mut().for_each(PendingEntry::complete);
        }
        Some(Ok(bytes))
    }

    async fn end(&mut self) -> Option<io::Result<Bytes>> {
        match &self.ending {
            Ending::Complete => return None,
            Ending::Closed => sleep(FLUSH).await,
            Ending::Reset(flag) => {
                sleep(FLUSH).await;
                flag.store(true, Ordering::Relaxed);
            }
            Ending::Stalled => sleep(STALL).await,
        }
        Some(Err(io::Error::other("the scenario ends the response here")))
    }
}

/// Returns a body of one piece.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
