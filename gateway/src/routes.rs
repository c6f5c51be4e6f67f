//! All routes: the paths of the four wire formats, the list of models, and the state of the attempt for its runner.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use enact_crds::identity::AgentPod;
use enact_domain::time::Millis;
use enact_domain::usage::Scope;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::credential::Token;
use crate::denial::{Denial, DenialKind};
use crate::gateway::{Call, Gateway, Patience, deny, json as reply, now};
use crate::memory::{Held, Memory};
use crate::providers::Candidate;
use crate::relay::Body;
use crate::target::Action;
use crate::wire::Format;
use crate::wire::document::Document;

/// Largest request, in bytes. Conversations with images have a few MiB.
pub const MAX_BODY_BYTES: u64 = 32 << 20;
/// Longest wait for memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Route {
    /// A model; the path of Gemini names it, and whether the answer is a stream.
    Model { format: Format, action: Action, model: Option<String>, stream: bool },
    /// The models that the agent may use.
    Models { gemini: bool },
    /// The usage of the attempt, and why it cannot continue.
    Attempt,
}

impl Route {
    fn of(method: &Method, path: &str) -> Option<Self> {
        let model = |format, action| Some(Self::Model { format, action, model: None, stream: false });
        match (method.as_str(), path) {
            ("POST", "/v1/messages") => model(Format::Anthropic, Action::Generate),
            ("POST", "/v1/messages/count_tokens") => model(Format::Anthropic, Action::CountTokens),
            ("POST", "/v1/chat/completions") => model(Format::Chat, Action::Generate),
            ("POST", "/v1/responses") => model(Format::Responses, Action::Generate),
            ("GET", "/v1/models") => Some(Self::Models { gemini: false }),
            ("GET", "/v1beta/models") => Some(Self::Models { gemini: true }),
            ("GET", "/enact/v1/attempt") => Some(Self::Attempt),
            ("POST", _) => gemini(path),
            _ => None,
        }
    }

    /// Returns the name in metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::Model { action: Action::CountTokens, .. } => "count-tokens",
            Self::Model { format, .. } => format.as_str(),
            Self::Models { .. } => "models",
            Self::Attempt => "attempt",
        }
    }

    /// Returns the format of errors.
    fn format(&self) -> Format {
        match self {
            Self::Model { format, .. } => *format,
            Self::Models { gemini: true } => Format::Gemini,
            Self::Models { gemini: false } | Self::Attempt => Format::Chat,
        }
    }
}

/// Reads a path such as `/v1beta/models/<model>:generateContent`.
fn gemini(path: &str) -> Option<Route> {
    let (model, method) = path.strip_prefix("/v1beta/models/")?.rsplit_once(':')?;
    let (action, stream) = match method {
        "generateContent" => (Action::Generate, false),
        "streamGenerateContent" => (Action::Generate, true),
        "countTokens" => (Action::CountTokens, false),
        _ => return None,
    };
    let model = percent_decode_str(model).decode_utf8().ok()?.into_owned();
    Some(Route::Model { format: Format::Gemini, action, model: Some(model), stream })
}

/// The service for the connections of agents.
pub struct Routes {
    gateway: Arc<Gateway>,
    /// Memory for the bodies of requests.
    memory: Memory,
}

impl Routes {
    /// Makes the routes; the bodies of all requests together take at most `memory` bytes, and those of one tenant half of it.
    pub fn new(gateway: Arc<Gateway>, memory: u64) -> Self {
        // The largest request fits in any case.
        let [memory, share] = [memory, memory / 2].map(|bytes| bytes.max(MAX_BODY_BYTES));
        Self { gateway, memory: Memory::new(memory, share) }
    }

    /// Answers a request.
    pub async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let route = Route::of(request.method(), request.uri().path());
        let (name, format) = route.as_ref().map_or(("unknown", Format::Chat), |route| (route.name(), route.format()));
        let answer = match route {
            Some(route) => self.answer(route, request).await,
            None => Err(Denial::new(DenialKind::NotFound, "the model gateway does not have this path")),
        };
        let response = answer.unwrap_or_else(|denial| {
            self.gateway.metrics.denials.with_label_values(&[denial.kind.as_str()]).inc();
            tracing::info!(route = name, reason = denial.kind.as_str(), "no answer of a provider");
            deny(format, &denial)
        });
        let status = response.status();
        self.gateway.metrics.requests.with_label_values(&[name, status.as_str()]).inc();
        response
    }

    async fn answer(&self, route: Route, request: Request<Incoming>) -> Result<Response<Body>, Denial> {
        let token = Token::of(request.headers(), request.uri())?;
        let client = request.extensions().get().copied();
        let pod = self.gateway.identifier.identify(token, client).await?;
        match route {
            Route::Attempt => attempt(&self.gateway, &pod).await,
            Route::Models { gemini } => {
                let models = self.gateway.catalogue.models(&pod, now())?;
                Ok(reply(&if gemini { gemini_models(&models) } else { model_list(&models) }))
            }
            Route::Model { format, action, model, stream } => {
                let (parts, incoming) = request.into_parts();
                let mut memory = self.memory_for(&pod.attempt.tenant, &incoming).await?;
                let body = self.body(incoming).await?;
                memory.shrink(u64::try_from(body.len()).unwrap_or(u64::MAX));
                let requested = format.read(&Document::parse(&body)?)?;
                let model = model.or_else(|| requested.model.clone()).unwrap_or_default();
                let stream = stream || requested.stream;
                let (headers, query) = (parts.headers, parts.uri.query().map(str::to_owned));
                let memory = Arc::new(memory);
                let call = Call { pod, format, action, requested, model, stream, headers, query, body, memory };
                self.gateway.forward(&call).await
            }
        }
    }

    /// Waits for memory for the body of a request.
    async fn memory_for(&self, tenant: &str, body: &Incoming) -> Result<Held, Denial> {
        // A body in chunks can have any size, until it has arrived.
        let bytes = body.size_hint().upper().unwrap_or(MAX_BODY_BYTES);
        if bytes > MAX_BODY_BYTES {
            return Err(too_large());
        }
        let busy = || Denial::new(DenialKind::Busy, "too many large requests are in progress").retry_after(5);
        self.memory.share(tenant).take(bytes, PATIENCE).await.ok_or_else(busy)
    }

    async fn body(&self, mut incoming: Incoming) -> Result<Bytes, Denial> {
        let slow = |_| Denial::new(DenialKind::Timeout, "the body of the request did not arrive in time");
        let broken = |_| Denial::new(DenialKind::InvalidRequest, "the body of the request broke off");
        let Patience { body: most, pace, .. } = self.gateway.patience;
        // What grows doubles its size; the memory for a known length is taken already.
        let length = incoming.size_hint().exact().and_then(|length| usize::try_from(length).ok());
        let (begun, mut body) = (Instant::now(), BytesMut::with_capacity(length.unwrap_or_default()));
        loop {
            let within = pace.limit(body.len()).min(most);
            let Some(frame) = timeout_at(begun + within, incoming.frame()).await.map_err(slow)? else {
                return Ok(body.freeze());
            };
            let data = frame.map_err(broken)?.into_data().unwrap_or_default();
            let total = u64::try_from(body.len().saturating_add(data.len())).unwrap_or(u64::MAX);
            if total > MAX_BODY_BYTES {
                return Err(too_large());
            }
            body.extend_from_slice(&data);
        }
    }
}

fn too_large() -> Denial {
    Denial::new(DenialKind::TooLarge, format!("the request has more than {MAX_BODY_BYTES} bytes"))
}

/// Returns the state of an attempt, for its runner.
async fn attempt(gateway: &Gateway, pod: &AgentPod) -> Result<Response<Body>, Denial> {
    let of = &pod.attempt;
    let scopes = [Scope::Attempt { uid: of.subject_uid.clone(), number: of.attempt }];
    let _slot = gateway.ledger_slot(&of.tenant).await;
    let refusal = gateway.ledger.refusal(&of.tenant, &of.subject_uid, of.attempt);
    let (refusal, balances) =
        futures::try_join!(refusal, gateway.ledger.balances(&of.tenant, &scopes)).map_err(|error| {
            tracing::warn!(%error, "cannot read the state of an attempt");
            Denial::new(DenialKind::Unavailable, "the state of the attempt cannot be read at the moment").retry_after(5)
        })?;
    let refusal = refusal.map(|refusal| {
        json!({ "reason": refusal.reason, "message": refusal.message, "resetAt": refusal.reset_at.map(rfc3339) })
    });
    let spent = balances.first().map(|(_, balance)| balance.spent).unwrap_or_default();
    let usage = json!({
        "inputTokens": spent.tokens.input,
        "cachedInputTokens": spent.tokens.cached_input,
        "cacheWriteTokens": spent.tokens.cache_write,
        "outputTokens": spent.tokens.output,
        "reasoningTokens": spent.tokens.reasoning,
        "costMicroUsd": spent.cost_micro_usd,
    });
    Ok(reply(&json!({ "refusal": refusal, "usage": usage })))
}

fn rfc3339(at: Millis) -> String {
    jiff::Timestamp::from_millisecond(at.0).map(|at| at.to_string()).unwrap_or_default()
}

/// Returns the list of models in the form of OpenAI and of Anthropic, which have different fields.
fn model_list(models: &[Candidate]) -> Value {
    let ids: Vec<&str> = names(models);
    let entry = |id: &&str| {
        json!({
            "id": id, "object": "model", "created": 0, "owned_by": "enact",
            "type": "model", "display_name": id, "created_at": "1970-01-01T00:00:00Z",
        })
    };
    let data: Vec<Value> = ids.iter().map(entry).collect();
    json!({ "object": "list", "data": data, "has_more": false, "first_id": ids.first(), "last_id": ids.last() })
}

fn gemini_models(models: &[Candidate]) -> Value {
    let methods = ["generateContent", "streamGenerateContent", "countTokens"];
    let entry =
        |id: &str| json!({ "name": format!("models/{id}"), "displayName": id, "supportedGenerationMethods": methods });
    json!({ "models": names(models).into_iter().map(entry).collect::<Vec<_>>() })
}

/// Returns the names of models without repetitions, in order.
fn names(models: &[Candidate]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for model in models {
        if !names.contains(&model.model.as_str()) {
            names.push(&model.model);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_gemini_name_the_model() {
        let route = |path: &str| Route::of(&Method::POST, path);
        let expected = Route::Model {
            format: Format::Gemini,
            action: Action::Generate,
            model: Some("gemini-2.5-pro".into()),
            stream: true,
        };
        assert_eq!(route("/v1beta/models/gemini-2.5-pro:streamGenerateContent"), Some(expected));
        let Some(Route::Model { model, stream, .. }) = route("/v1beta/models/a%2Fb:generateContent") else { panic!() };
        assert_eq!((model.as_deref(), stream), (Some("a/b"), false));
        for other in [
            "/v1beta/models/x",
            "/v1beta/models/x:delete",
            "/v1/files",
            "/v1/messages/",
            "/",
            "/v1beta/models/%ff:generateContent",
        ] {
            assert_eq!(route(other), None, "{other}");
        }
        assert_eq!(Route::of(&Method::GET, "/v1/messages"), None);
    }
}
