//! Answers requests.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::conversation::Format;
use crate::ledger::{Ledger, Received};
use crate::playback::{Body, whole};
use crate::respond::{Exchange, Responded, provider_error};
use crate::route::{Operation, Route, query, route};
use crate::scenario::{ProviderError, Scenario, is_name};
use crate::select::{Counters, select, shorten};
use crate::usage::estimate;
use crate::wire;

/// Largest body of a request.
const MAX_BODY_BYTES: usize = 64 << 20;
/// Longest path and model in the ledger.
const MAX_TEXT_BYTES: usize = 256;

/// A text that the server looks for in requests: a secret that must not reach a provider.
#[derive(Clone, Debug)]
pub struct Canary {
    /// Appears in the ledger instead of the value.
    pub name: String,
    pub value: String,
}

/// What a server answers, and to whom.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The first one answers requests whose path names no scenario. Without any, every request gets the same text.
    pub scenarios: Vec<Scenario>,
    /// The key that requests must carry.
    pub api_key: Option<String>,
    pub canaries: Vec<Canary>,
}

/// Answers requests.
#[derive(Debug)]
pub struct App {
    config: Config,
    ledger: Arc<Ledger>,
    counters: Counters,
    /// Makes identifiers unique, also after a restart.
    start: i64,
    next: AtomicU64,
}

impl App {
    /// Creates the application.
    pub fn new(mut config: Config) -> Self {
        if config.scenarios.is_empty() {
            config.scenarios.push(Scenario::built_in());
        }
        Self {
            config,
            ledger: Arc::default(),
            counters: Counters::default(),
            start: Timestamp::now().as_millisecond(),
            next: AtomicU64::new(0),
        }
    }

    /// Returns what was served and received.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Answers a request; `reset` is set when the connection is to be reset.
    ///
    /// # Errors
    /// When the connection is to be closed without an answer.
    pub async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        reset: Arc<AtomicBool>,
    ) -> io::Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        if let Some(response) = self.own(&parts) {
            return Ok(response);
        }
        let responded = if let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await {
            self.provider(&parts, &body.to_bytes(), reset).await
        } else {
            self.receive(&parts, &[]);
            Some(plain(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large, or did not arrive.\n"))
        };
        responded.ok_or_else(|| io::Error::other("the scenario ends the connection here"))
    }

    /// Answers the server's own paths.
    fn own(&self, parts: &Parts) -> Option<Response<Body>> {
        if parts.method != Method::GET {
            return None;
        }
        match parts.uri.path() {
            "/healthz" => Some(plain(StatusCode::OK, "ok\n")),
            "/_served" => {
                let run = query(parts.uri.query(), "run");
                let answers = query(parts.uri.query(), "answers").is_some_and(|value| value == "true");
                Some(json_of(&self.ledger.summary(run.as_deref(), answers)))
            }
            "/_requests" => Some(json_of(&self.ledger.requests())),
            _ => None,
        }
    }

    /// Answers as a provider.
    async fn provider(&self, parts: &Parts, body: &Bytes, reset: Arc<AtomicBool>) -> Responded {
        self.receive(parts, body);
        let Some(Route { scenario, run, operation }) = route(parts.method == Method::POST, parts.uri.path()) else {
            return Some(plain(StatusCode::NOT_FOUND, "This is a scripted model server; it has no such path.\n"));
        };
        let format = match operation {
            Operation::Generate { format, .. } | Operation::Count { format } | Operation::Models { format } => format,
        };
        if !self.is_allowed(&parts.headers, parts.uri.query()) {
            return Some(provider_error(format, &ProviderError::of_status(401)));
        }
        let found = match &scenario {
            None => self.config.scenarios.first(),
            Some(name) => self.config.scenarios.iter().find(|known| known.name == *name),
        };
        let Some(scenario) = found.filter(|_| is_name(&run)) else {
            return Some(refused(format, 404, "The server has no such scenario, or the run's name is invalid."));
        };
        match operation {
            Operation::Models { format } => Some(json_of(&models(format, scenario))),
            Operation::Count { format } => Some(json_of(&wire::count(format, estimate(body.len())))),
            Operation::Generate { format, model, stream } => {
                let Ok(value) = serde_json::from_slice::<Value>(body) else {
                    return Some(refused(format, 400, "The body is not JSON."));
                };
                let mut conversation = wire::parse(format, &value, &model, stream);
                conversation.model = shorten(&conversation.model, MAX_TEXT_BYTES).to_owned();
                conversation.bytes = body.len();
                let selected = select(scenario, &run, &conversation, &self.counters);
                tracing::info!(scenario = scenario.name, run, rule = selected.rule, ?format, "request");
                let events =
                    format != Format::Gemini || query(parts.uri.query(), "alt").is_some_and(|alt| alt == "sse");
                let id = format!("{:x}{:x}", self.start, self.next.fetch_add(1, Ordering::Relaxed));
                let (scenario, pace) = (scenario.name.clone(), scenario.pace);
                let ledger = Arc::clone(&self.ledger);
                let exchange = Exchange { scenario, run, conversation, pace, id, events, ledger, reset };
                exchange.respond(selected).await
            }
        }
    }

    fn is_allowed(&self, headers: &HeaderMap, in_query: Option<&str>) -> bool {
        let Some(key) = &self.config.api_key else { return true };
        let has = |name: &str| headers.get(name).is_some_and(|value| value.as_bytes() == key.as_bytes());
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        bearer == Some(key.as_bytes())
            || has("x-api-key")
            || has("x-goog-api-key")
            || query(in_query, "key").is_some_and(|value| value == key.as_str())
    }

    fn receive(&self, parts: &Parts, body: &[u8]) {
        let values = parts.headers.values().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let head: String =
            std::iter::once(parts.uri.to_string().into()).chain(values).flat_map(|text| [text, "\n".into()]).collect();
        let found = |text: &str| {
            let canaries = self.config.canaries.iter().filter(|canary| text.contains(&canary.value));
            canaries.map(|canary| canary.name.clone()).collect()
        };
        self.ledger.receive(Received {
            at: Timestamp::now(),
            method: parts.method.to_string(),
            path: shorten(parts.uri.path(), MAX_TEXT_BYTES).to_owned(),
            headers: parts.headers.keys().map(ToString::to_string).collect(),
            canaries_in_head: found(&head),
            canaries_in_body: found(&String::from_utf8_lossy(body)),
            body_bytes: body.len(),
        });
    }
}

/// Returns the list of models. OpenAI's and Anthropic's clients both read it.
fn models(format: Format, scenario: &Scenario) -> Value {
    if format == Format::Gemini {
        let models = scenario.models.iter().map(|model| {
            let methods = ["generateContent", "countTokens"];
            json!({"name": format!("models/{model}"), "displayName": model, "supportedGenerationMethods": methods})
        });
        return json!({"models": models.collect::<Vec<_>>()});
    }
    let models = scenario.models.iter().map(|model| {
        json!({"id": model, "object": "model", "type": "model", "display_name": model, "created": 0,
            "created_at": "1970-01-01T00:00:00Z", "owned_by": "scripted"})
    });
    let (first, last) = (scenario.models.first(), scenario.models.last());
    json!({"object": "list", "data": models.collect::<Vec<_>>(), "has_more": false, "first_id": first, "last_id": last})
}

fn refused(format: Format, status: u16, message: &str) -> Response<Body> {
    provider_error(format, &ProviderError { message: Some(message.to_owned()), ..ProviderError::of_status(status) })
}

fn json_of(value: &impl Serialize) -> Response<Body> {
    let Ok(text) = serde_json::to_string(value) else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "The answer cannot be encoded.\n");
    };
    let mut response = Response::new(whole(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
