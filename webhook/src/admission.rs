//! The HTTP side of admission: reads an AdmissionReview, applies the rules, and answers with an AdmissionReview.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, TryStreamExt as _};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, Operation};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;
use tracing::Instrument as _;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Buf, Filter, Rejection};

use crate::denial::Denial;
use crate::lookup::{Lookup, LookupError};
use crate::metrics::Metrics;
use crate::mutate;
use crate::request::Request;
use crate::validate::Validator;

/// Largest review: the largest object that the API server accepts (3 MiB) and the largest that it stores (1.5 MiB), and space for the
/// escapes of the review's JSON.
pub const MAX_REVIEW_BYTES: u64 = 8 << 20;
/// Most bytes of all reviews in progress; more reviews wait. A parsed review takes several times its size in memory.
const MAX_BYTES_AT_ONCE: u32 = 16 << 20;
/// Bytes that a small review counts for, which limits the lookups in progress.
const LEAST_BYTES: u32 = 64 << 10;
/// Longest time for an answer, and the default when the caller sends no timeout.
const DEADLINE: Duration = Duration::from_secs(8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Webhook {
    Mutate,
    Validate,
}

impl Webhook {
    fn as_str(self) -> &'static str {
        match self {
            Self::Mutate => "mutate",
            Self::Validate => "validate",
        }
    }
}

struct Service<L> {
    validator: Validator<L>,
    metrics: Metrics,
    /// Memory for reviews; a permit is a byte.
    memory: Semaphore,
}

/// The properties of a request before its body is read.
#[derive(Clone, Copy, Debug)]
struct Call {
    webhook: Webhook,
    start: Instant,
    deadline: Instant,
    length: u64,
}

/// The answer to a body that holds no admission request.
struct Unread {
    status: StatusCode,
    outcome: &'static str,
    problem: String,
}

/// Returns the routes `POST /mutate` and `POST /validate`.
pub fn routes<L: Lookup + 'static>(
    validator: Validator<L>,
    metrics: Metrics,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone {
    let service = Arc::new(Service { validator, metrics, memory: Semaphore::new(MAX_BYTES_AT_ONCE as usize) });
    let mutate = warp::path!("mutate").map(|| Webhook::Mutate);
    let validate = warp::path!("validate").map(|| Webhook::Validate);
    mutate
        .or(validate)
        .unify()
        .and(warp::post())
        .and(warp::body::content_length_limit(MAX_REVIEW_BYTES))
        // `read` reserves memory by this length before it reads the body.
        .and(warp::header("content-length"))
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::body::stream())
        .then(move |webhook, length: u64, query: String, body| {
            let service = Arc::clone(&service);
            let start = Instant::now();
            let call = Call { webhook, start, deadline: start + time_limit(&query), length };
            async move { service.answer(call, body).await }
        })
        .recover(explain)
        .unify()
}

/// Returns the time for the answer. The API server sends in `?timeout=10s` how long it waits; a fifth of that is left for the network, so
/// that the client gets our message and not the API server's.
fn time_limit(query: &str) -> Duration {
    let given = query.split('&').find_map(|p| p.strip_prefix("timeout="));
    let given = given.and_then(|t| Duration::try_from(t.parse::<SignedDuration>().ok()?).ok());
    given.map_or(DEADLINE, |given| (given / 5 * 4).min(DEADLINE))
}

/// Answers a request that is not for admission: another path or method, or a body that is too large or has no length.
#[allow(clippy::unused_async, reason = "the signature that warp requires")]
async fn explain(rejection: Rejection) -> Result<Response, Rejection> {
    let (code, text) = if rejection.is_not_found() {
        (StatusCode::NOT_FOUND, "use POST /mutate or POST /validate")
    } else if rejection.find::<warp::reject::MethodNotAllowed>().is_some() {
        (StatusCode::METHOD_NOT_ALLOWED, "use POST")
    } else if rejection.find::<warp::reject::PayloadTooLarge>().is_some() {
        (StatusCode::PAYLOAD_TOO_LARGE, "the review is too large")
    } else if rejection.find::<warp::reject::LengthRequired>().is_some() {
        (StatusCode::LENGTH_REQUIRED, "send the length of the body")
    } else {
        return Err(rejection);
    };
    Ok(warp::reply::with_status(text, code).into_response())
}

impl<L: Lookup> Service<L> {
    async fn answer<B: Buf>(&self, call: Call, body: impl Stream<Item = Result<B, warp::Error>>) -> Response {
        let read = timeout_at(call.deadline.into(), self.read(call.length, body)).await;
        // The permit reserves memory for the parsed review, so it lives until the response is built.
        let (request, _permit) = match read.unwrap_or_else(|_| Err(Unread::late())) {
            Ok(read) => read,
            Err(Unread { status, outcome, problem }) => {
                self.observe(call, None, outcome);
                tracing::warn!(webhook = call.webhook.as_str(), problem, "cannot read the review");
                return warp::reply::with_status(problem, status).into_response();
            }
        };
        let span = tracing::info_span!("review", webhook = call.webhook.as_str(), uid = request.inner().uid);
        let (response, outcome) = self.review(call, &request).instrument(span).await;
        self.observe(call, Some(&request), outcome);
        warp::reply::json(&response.into_review()).into_response()
    }

    /// Reads a body when there is memory for it, which is reserved until the permit is dropped.
    async fn read<B: Buf>(
        &self,
        length: u64,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<(Request, SemaphorePermit<'_>), Unread> {
        // The upper bound matters: a request for more permits than the semaphore has would wait forever.
        let weight = u32::try_from(length).unwrap_or(MAX_BYTES_AT_ONCE).clamp(LEAST_BYTES, MAX_BYTES_AT_ONCE);
        // The semaphore is never closed.
        let permit = self.memory.acquire_many(weight).await.map_err(|_| Unread::late())?;
        // Allocated only now: requests that wait for the permit hold no buffer.
        let mut text = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        let mut body = pin!(body);
        while let Some(mut part) = body.try_next().await.map_err(|e| Unread::malformed(e.to_string()))? {
            // More bytes than announced would use memory that is not reserved.
            if (text.len() + part.remaining()) as u64 > length {
                return Err(Unread::malformed("the body is longer than its content-length".into()));
            }
            while part.has_remaining() {
                let chunk = part.chunk();
                text.extend_from_slice(chunk);
                let read = chunk.len();
                part.advance(read);
            }
        }
        Ok((parse(&text).map_err(Unread::malformed)?, permit))
    }

    async fn review(&self, call: Call, request: &Request) -> (AdmissionResponse, &'static str) {
        // The deadline includes the time that `answer` spent on the body. Without an answer in time, the request is refused.
        let decided = timeout_at(call.deadline.into(), self.decide(call.webhook, request)).await;
        let decided = decided.unwrap_or(Err(Denial::Lookup(LookupError::Timeout)));
        match decided {
            Ok(response) => {
                tracing::debug!(object = request.subject(), user = request.user(), "admitted");
                (response, "allowed")
            }
            Err(denial) => {
                let (object, user) = (request.subject(), request.user());
                tracing::info!(object, user, operation = ?request.operation(), reason = %denial, "refused");
                let mut response = AdmissionResponse::from(request.inner());
                response.allowed = false;
                response.result = denial.status(request);
                (response, denial.category())
            }
        }
    }

    async fn decide(&self, webhook: Webhook, request: &Request) -> Result<AdmissionResponse, Denial> {
        let mut response = AdmissionResponse::from(request.inner());
        match webhook {
            Webhook::Mutate => {
                let patch = mutate::stamp(request, &self.validator.lookup, Timestamp::now()).await?;
                if !patch.0.is_empty() {
                    let unwritten =
                        |e| Denial::invalid("metadata", format!("{e}; this is a bug in Enact, please report it"));
                    response = response.with_patch(patch).map_err(unwritten)?;
                }
            }
            Webhook::Validate => {
                let warnings = self.validator.admit(request).await?;
                response.warnings = (!warnings.is_empty()).then_some(warnings);
            }
        }
        Ok(response)
    }

    fn observe(&self, call: Call, request: Option<&Request>, outcome: &str) {
        // Kinds without rules share one label, so that a client cannot add time series with kinds of its own.
        let kind = request.map_or("none", |r| if r.has_rules() { r.kind_name() } else { "other" });
        let operation = match request.map(Request::operation) {
            Some(Operation::Create) => "create",
            Some(Operation::Update) => "update",
            Some(Operation::Delete) => "delete",
            Some(Operation::Connect) => "connect",
            None => "none",
        };
        let labels = [call.webhook.as_str(), kind, operation, outcome];
        self.metrics.duration.with_label_values(&labels).observe(call.start.elapsed().as_secs_f64());
    }
}

impl Unread {
    fn malformed(problem: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, outcome: "malformed", problem }
    }

    fn late() -> Self {
        let problem = "the review did not arrive in time, or too many others are in progress; try again".into();
        Self { status: StatusCode::SERVICE_UNAVAILABLE, outcome: "error", problem }
    }
}

/// Parses a review; the error says what is wrong with it.
fn parse(body: &[u8]) -> Result<Request, String> {
    let review: AdmissionReview<DynamicObject> =
        serde_json::from_slice(body).map_err(|e| format!("not an AdmissionReview: {e}"))?;
    if review.types.kind != "AdmissionReview" || review.types.api_version != "admission.k8s.io/v1" {
        return Err(format!(
            "expected admission.k8s.io/v1 AdmissionReview, got {} {}",
            review.types.api_version, review.types.kind
        ));
    }
    let request: AdmissionRequest<DynamicObject> =
        review.try_into().map_err(|_| "the AdmissionReview has no request".to_owned())?;
    Ok(request.into())
}

#[cfg(test)]
mod tests;
