//! Passes the answer of a provider on to the client, and reads its usage.

use std::time::Duration;

use bytes::Bytes;
use enact_service::http::Counted;
use enact_store::Outcome;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::memory::{Held, Share};
use crate::ticket::Ticket;
use crate::wire::chat::is_usage_event;
use crate::wire::sse::EventFilter;
use crate::wire::usage::UsageReader;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of an answer to a client.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Parts of an answer that wait for the client, so that a slow client slows the provider down.
const WAITING: usize = 4;

/// A part of an answer, or its end, with the memory that it takes until the client has it.
type Part = (Option<Result<Frame<Bytes>, BoxError>>, Option<Held>);

/// Limits on answers.
#[derive(Clone, Copy, Debug)]
pub struct RelayLimits {
    /// Largest answer, in bytes.
    pub bytes: u64,
    /// Longest pause between two parts of an answer.
    pub idle: Duration,
    /// Longest time for the client to take a part.
    pub client: Duration,
    /// Longest answer.
    pub lifetime: Duration,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            bytes: 256 << 20,
            idle: Duration::from_mins(5),
            client: Duration::from_mins(2),
            lifetime: Duration::from_mins(30),
        }
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The provider ended it.
    Complete,
    /// The client closed the connection, or does not read.
    Client,
    /// The provider broke it off, or a limit did.
    Provider(&'static str),
}

/// An answer that is passed on.
pub struct Relay {
    pub incoming: Incoming,
    pub reader: UsageReader,
    /// Whether the event that reports usage is removed, because the client did not ask for it.
    pub hides_usage: bool,
    pub ticket: Ticket,
    /// Memory for the parts that wait for the client.
    pub memory: Share,
    pub limits: RelayLimits,
    /// Counts the answer as one in progress.
    pub counted: Counted,
}

impl Relay {
    /// Returns the body for the client, and the task that fills it.
    pub fn start(self) -> (Body, impl Future<Output = ()> + Send) {
        let (sender, mut receiver) = mpsc::channel::<Part>(WAITING);
        // An error instead of an end when the task ends without one: the client must not take the beginning for the whole.
        let frames = futures::stream::poll_fn(move |cx| {
            receiver.poll_recv(cx).map(|part| match part {
                Some((part, _held)) => part,
                None => Some(Err("the answer was cut".into())),
            })
        });
        (StreamBody::new(frames).boxed_unsync(), self.run(sender))
    }

    async fn run(mut self, sender: mpsc::Sender<Part>) {
        let end = self.pass_on(&sender).await;
        let Self { reader, mut ticket, counted, .. } = self;
        let observed = reader.finish(end == End::Complete, &ticket.estimate.tokens);
        let outcome = match end {
            End::Complete if observed.is_reported => Outcome::Completed,
            End::Complete => Outcome::Estimated,
            End::Client => Outcome::Aborted,
            End::Provider(_) => Outcome::Failed,
        };
        // Before the client sees the end, so that the settlement of a request is on its way when the next request arrives.
        ticket.settle(observed.tokens, outcome);
        let last = match end {
            End::Complete => None,
            End::Client => return,
            End::Provider(why) => {
                tracing::info!(why, "an answer of a provider was cut");
                Some(Err(why.into()))
            }
        };
        let _ = timeout(self.limits.client, sender.send((last, None))).await;
        drop(counted);
    }

    async fn pass_on(&mut self, sender: &mpsc::Sender<Part>) -> End {
        let deadline = Instant::now() + self.limits.lifetime;
        let (mut filter, mut left) = (EventFilter::default(), self.limits.bytes);
        loop {
            let until = deadline.min(Instant::now() + self.limits.idle);
            let frame = tokio::select! {
                () = sender.closed() => return End::Client,
                frame = timeout_at(until, self.incoming.frame()) => frame,
            };
            let data = match frame {
                Err(_) if Instant::now() >= deadline => return End::Provider("it took too long"),
                Err(_) => return End::Provider("the provider sent nothing for too long"),
                Ok(None) => break,
                Ok(Some(Err(_))) => return End::Provider("the connection to the provider broke"),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            if length > left {
                return End::Provider("it is too large");
            }
            left -= length;
            self.reader.feed(&data);
            if let Some(recording) = &mut self.ticket.recording {
                recording.feed(&data);
            }
            let data = if self.hides_usage { filter.feed(&data, is_usage_event) } else { data };
            if let Err(end) = self.send(sender, data).await {
                return end;
            }
        }
        match self.send(sender, filter.finish()).await {
            Ok(()) => End::Complete,
            Err(end) => end,
        }
    }

    async fn send(&self, sender: &mpsc::Sender<Part>, data: Bytes) -> Result<(), End> {
        if data.is_empty() {
            return Ok(());
        }
        let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let Some(held) = self.memory.take(bytes, self.limits.client).await else {
            return Err(End::Provider("other answers of the tenant take all its memory"));
        };
        match timeout(self.limits.client, sender.send((Some(Ok(Frame::data(data))), Some(held)))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Client),
        }
    }
}

/// Returns a body of one part.
pub fn full(data: impl Into<Bytes>) -> Body {
    Full::new(data.into()).map_err(|never| match never {}).boxed_unsync()
}
