//! Makes the response of an answer: the reply of the model, or a fault.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use crate::conversation::{Conversation, Format};
use crate::ledger::{Ledger, Outcome, PendingEntry, Served};
use crate::playback::{Body, Ending, Piece, Playback, whole};
use crate::reply::{Event, Part, Problem, Reply, Stop};
use crate::scenario::{Answer, Fault, Pace, ProviderError};
use crate::select::{Selected, Values, fill};
use crate::tools::{neutral, translate};
use crate::usage::Usage;
use crate::wire;

/// The text that an answer of a given size repeats.
const FILLER_BYTES: usize = 64 << 10;
/// Content type of a stream.
const EVENTS: &str = "text/event-stream; charset=utf-8";

/// A response, or none when the connection is to be closed without one.
pub type Responded = Option<Response<Body>>;

/// A request to a model, with what its response needs.
#[derive(Debug)]
pub struct Exchange {
    pub scenario: String,
    pub run: String,
    pub conversation: Conversation,
    /// The speed, when the answer sets none.
    pub pace: Pace,
    /// Unique in the process.
    pub id: String,
    /// Whether a stream of Gemini consists of events instead of an array.
    pub events: bool,
    pub ledger: Arc<Ledger>,
    /// Says to the connection that it is to be reset.
    pub reset: Arc<AtomicBool>,
}

impl Exchange {
    /// Returns the response, when it is time for its head.
    pub async fn respond(self, selected: Selected) -> Responded {
        let Selected { rule, answer, values } = selected;
        let pace = answer.pace.unwrap_or(self.pace);
        sleep(Duration::from_millis(pace.first_byte_ms)).await;
        match &answer.fault {
            Some(Fault::Error(error)) => return Some(self.refuse(rule, error)),
            Some(Fault::StreamError { .. }) if !self.conversation.stream => {
                return Some(self.refuse(rule, &ProviderError::of_status(overloaded(self.conversation.format))));
            }
            _ => {}
        }
        let filler = matches!(answer.fault, Some(Fault::Huge { .. })).then(|| "x".repeat(FILLER_BYTES));
        let mut reply = self.reply(&answer, &values, pace, filler.as_deref());
        if let (None, Some(schema)) = (&rule, &self.conversation.schema) {
            reply.parts = vec![Part::Text(neutral(schema).to_string())];
        }
        reply.usage = answer.usage.usage(self.conversation.format, self.conversation.bytes, reply.bytes());
        let mut pieces = self.pieces(&reply);
        let mut ending = Ending::Complete;
        if let Some(fault) = &answer.fault {
            ending = self.apply_fault(fault, filler.as_deref(), &mut pieces);
        }
        let entry = PendingEntry::new(Arc::clone(&self.ledger), self.served(rule, &reply));
        // These end without saying how many tokens they have; dropping the entry makes them incomplete.
        let states_usage = !matches!(answer.fault, Some(Fault::Garbage { .. } | Fault::StreamError { .. }));
        let interval = Duration::from_millis(pace.event_ms);
        let playback = Playback { pieces, interval, ending, entry: states_usage.then_some(entry) };
        if playback.pieces.is_empty() {
            playback.end_without_head().await;
            return None;
        }
        let mut response = Response::new(playback.body());
        self.add_headers(&mut response, matches!(answer.fault, Some(Fault::Garbage { .. })));
        Some(response)
    }

    /// Composes the answer's parts, without its tokens.
    fn reply(&self, answer: &Answer, values: &Values, pace: Pace, filler: Option<&str>) -> Reply {
        let conversation = &self.conversation;
        let mut parts = Vec::new();
        parts.extend(answer.thoughts.as_ref().map(|thoughts| Part::Thoughts(fill(thoughts, values))));
        let text = answer.text.as_ref().map(|text| fill(text, values));
        parts.extend(text.into_iter().chain(filler.map(str::to_owned)).map(Part::Text));
        parts.extend(answer.refusal.as_ref().map(|refusal| Part::Refusal(fill(refusal, values))));
        let mut called = false;
        for (index, call) in answer.calls.iter().enumerate() {
            if let Some(call) = translate(call, &conversation.tools, values) {
                called = true;
                parts.push(Part::Call { id: format!("{}_{index}", self.id), call });
            } else {
                tracing::warn!(?call, "the request offers no tool for a call of the scenario");
                parts.push(Part::Text(format!("The request offers no tool for call {} of this step.", index + 1)));
            }
        }
        if parts.is_empty() {
            parts.push(Part::Text(String::new()));
        }
        let stop = match answer {
            Answer { refusal: Some(_), .. } => Stop::Refused,
            Answer { cut_off: true, .. } => Stop::Limit,
            _ if called => Stop::Calls,
            _ => Stop::End,
        };
        Reply {
            id: self.id.clone(),
            model: conversation.model.clone(),
            created: Timestamp::now().as_second(),
            parts,
            stop,
            usage: Usage::default(),
            event_bytes: filler.map_or(pace.event_bytes, str::len),
            include_usage: conversation.include_usage,
        }
    }

    /// Encodes the reply as the pieces of a response.
    fn pieces(&self, reply: &Reply) -> VecDeque<Piece> {
        let format = self.conversation.format;
        if !self.conversation.stream {
            return VecDeque::from([Bytes::from(wire::encode(format, reply).to_string()).into()]);
        }
        let events = wire::stream(format, reply);
        let count = events.len();
        let encode = |(index, event): (usize, Event)| {
            if self.events {
                return event.encode().into();
            }
            let (before, after) = (if index == 0 { "[" } else { ",\r\n" }, if index + 1 == count { "]" } else { "" });
            Bytes::from(format!("{before}{}{after}", event.data)).into()
        };
        events.into_iter().enumerate().map(encode).collect()
    }

    /// Changes the pieces as the fault says, and returns how the response ends.
    fn apply_fault(&self, fault: &Fault, filler: Option<&str>, pieces: &mut VecDeque<Piece>) -> Ending {
        match fault {
            // Answered before.
            Fault::Error(_) => Ending::Complete,
            Fault::StreamError { after_events } => {
                let format = self.conversation.format;
                pieces.truncate(*after_events);
                let problem = Problem::new(overloaded(format), "Overloaded");
                let event = wire::stream_error(format, &problem);
                let array = || Bytes::from(format!(",\r\n{}]", event.data));
                pieces.push_back(if self.events { event.encode() } else { array() }.into());
                Ending::Complete
            }
            Fault::Truncate { after_events } => {
                self.cut(*after_events, pieces);
                Ending::Closed
            }
            Fault::Reset { after_events } => {
                self.cut(*after_events, pieces);
                Ending::Reset(Arc::clone(&self.reset))
            }
            Fault::Stall { after_events } => {
                self.cut(*after_events, pieces);
                Ending::Stalled
            }
            Fault::Garbage { body } => {
                *pieces = VecDeque::from([Bytes::from(body.clone()).into()]);
                Ending::Complete
            }
            Fault::Huge { bytes, single_event } => {
                let whole_event = self.conversation.stream && !single_event;
                enlarge(pieces, filler.unwrap_or_default(), *bytes, whole_event);
                Ending::Complete
            }
        }
    }

    /// Keeps so many events, or half of a response that is not a stream.
    fn cut(&self, after_events: usize, pieces: &mut VecDeque<Piece>) {
        if !self.conversation.stream && after_events > 0 {
            for piece in pieces.iter_mut() {
                piece.bytes.truncate(piece.bytes.len() / 2);
            }
        }
        pieces.truncate(after_events);
    }

    fn served(&self, rule: Option<String>, reply: &Reply) -> Served {
        let tools = reply.parts.iter().filter_map(|part| match part {
            Part::Call { call, .. } => Some(call.name.clone()),
            _ => None,
        });
        Served {
            at: Timestamp::now(),
            scenario: self.scenario.clone(),
            run: self.run.clone(),
            rule,
            format: self.conversation.format,
            model: self.conversation.model.clone(),
            stream: self.conversation.stream,
            status: 200,
            outcome: Outcome::Completed,
            usage: reply.usage,
            tools: tools.collect(),
        }
    }

    /// Answers an error, and adds it to the ledger.
    fn refuse(&self, rule: Option<String>, error: &ProviderError) -> Response<Body> {
        self.ledger.serve(Served {
            at: Timestamp::now(),
            scenario: self.scenario.clone(),
            run: self.run.clone(),
            rule,
            format: self.conversation.format,
            model: self.conversation.model.clone(),
            stream: self.conversation.stream,
            status: error.status,
            outcome: Outcome::Error,
            usage: Usage::default(),
            tools: vec![],
        });
        provider_error(self.conversation.format, error)
    }

    fn add_headers(&self, response: &mut Response<Body>, garbage: bool) {
        let kind = match (garbage, self.conversation.stream && self.events) {
            (true, _) => "text/html; charset=utf-8",
            (_, true) => EVENTS,
            _ => "application/json",
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let name = request_id(self.conversation.format);
        if let Ok(id) = HeaderValue::from_str(&format!("req_{}", self.id)) {
            headers.insert(HeaderName::from_static(name), id);
        }
    }
}

impl ProviderError {
    /// Creates an error with what is usual for its status.
    pub fn of_status(status: u16) -> Self {
        Self { status, message: None, code: None, retry_after: None, reset_after: None, headers: [].into() }
    }
}

fn request_id(format: Format) -> &'static str {
    if format == Format::Anthropic { "request-id" } else { "x-request-id" }
}

/// Returns the status with which a provider says that it is overloaded.
fn overloaded(format: Format) -> u16 {
    if format == Format::Anthropic { 529 } else { 503 }
}

/// Repeats the filler, or the event that has it, so that the pieces have about so many bytes.
fn enlarge(pieces: &mut VecDeque<Piece>, filler: &str, bytes: u64, whole_event: bool) {
    let times = bytes.div_ceil(FILLER_BYTES as u64).max(1);
    let find = |piece: &Piece| piece.bytes.windows(filler.len()).position(|window| window == filler.as_bytes());
    let Some((index, start)) = pieces.iter().enumerate().find_map(|(index, piece)| Some((index, find(piece)?))) else {
        return;
    };
    if whole_event {
        pieces[index].times = times;
        return;
    }
    if let Some(Piece { bytes, .. }) = pieces.remove(index) {
        let end = start + filler.len();
        pieces.insert(index, bytes.slice(..start).into());
        pieces.insert(index + 1, Piece { bytes: bytes.slice(start..end), times });
        pieces.insert(index + 2, bytes.slice(end..).into());
    }
}

/// Returns an error in the words of the provider.
pub fn provider_error(format: Format, error: &ProviderError) -> Response<Body> {
    let message = error.message.clone().unwrap_or_else(|| usual_message(error.status).to_owned());
    let problem = Problem { status: error.status, message, code: error.code.clone(), reset_after: error.reset_after };
    let mut response = Response::new(whole(wire::error(format, &problem).to_string()));
    *response.status_mut() = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = error.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    let limits = error.reset_after.map(|seconds| rate_limit_headers(format, seconds)).unwrap_or_default();
    let further = error.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
    for (name, value) in limits.into_iter().chain(further) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    response
}

/// Returns the headers by which a provider says when a limit is reset.
fn rate_limit_headers(format: Format, seconds: u64) -> Vec<(String, String)> {
    let header = |name: &str, value: String| (name.to_owned(), value);
    match format {
        Format::Anthropic => {
            let wait = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            let reset = Timestamp::now().checked_add(wait).unwrap_or(Timestamp::MAX);
            vec![
                header("anthropic-ratelimit-requests-remaining", "0".to_owned()),
                header("anthropic-ratelimit-requests-reset", format!("{reset:.0}")),
            ]
        }
        Format::ChatCompletions | Format::Responses => vec![
            header("x-ratelimit-remaining-requests", "0".to_owned()),
            header("x-ratelimit-reset-requests", format!("{seconds}s")),
        ],
        // Gemini tells it in the error's details.
        Format::Gemini => vec![],
    }
}

fn usual_message(status: u16) -> &'static str {
    match status {
        400 => "The request is invalid.",
        401 => "The API key is invalid.",
        403 => "The API key has no permission for this model.",
        404 => "The model does not exist.",
        413 => "The request is too large.",
        429 => "The rate limit is exceeded. Try again later.",
        503 | 529 => "Overloaded",
        _ => "Internal server error",
    }
}
