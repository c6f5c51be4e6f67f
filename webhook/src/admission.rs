//! The HTTP side of admission: a review comes in, the rules are asked, a review goes out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, Operation};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::Instrument as _;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

use crate::denial::Denial;
use crate::metrics::Metrics;
use crate::mutate;
use crate::request::Request;
use crate::validate::Admission;
use crate::world::{LookupError, World};

/// Largest review: two objects of the API server's limit of 3 MiB each, with room for the escapes of its JSON.
pub const MAX_REVIEW_BYTES: u64 = 16 << 20;
/// Reviews that are worked on at once; more wait for their turn.
const MAX_CONCURRENT: usize = 64;
/// Longest time for an answer: below the timeout of the webhook configurations, so that the person gets our message and not theirs.
const DEADLINE: Duration = Duration::from_secs(8);

/// Which of the two webhooks is asked.
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

struct Service<W> {
    admission: Admission<W>,
    metrics: Metrics,
    turns: Semaphore,
}

/// The routes `POST /mutate` and `POST /validate`.
pub fn routes<W: World + 'static>(
    admission: Admission<W>,
    metrics: Metrics,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone {
    let service = Arc::new(Service { admission, metrics, turns: Semaphore::new(MAX_CONCURRENT) });
    let mutate = warp::path!("mutate").map(|| Webhook::Mutate);
    let validate = warp::path!("validate").map(|| Webhook::Validate);
    mutate
        .or(validate)
        .unify()
        .and(warp::post())
        .and(warp::body::content_length_limit(MAX_REVIEW_BYTES))
        .and(warp::body::bytes())
        .then(move |webhook, body: Bytes| {
            let service = Arc::clone(&service);
            async move { service.answer(webhook, &body).await }
        })
        .recover(explain)
        .unify()
}

/// Answers what is no admission request: another path or method, a body without length or too large.
#[allow(clippy::unused_async, reason = "the signature that warp asks for")]
async fn explain(rejection: Rejection) -> Result<Response, Rejection> {
    let (code, text) = if rejection.is_not_found() {
        (StatusCode::NOT_FOUND, "use POST /mutate or POST /validate")
    } else if rejection.find::<warp::reject::MethodNotAllowed>().is_some() {
        (StatusCode::METHOD_NOT_ALLOWED, "use POST")
    } else if rejection.find::<warp::reject::PayloadTooLarge>().is_some() {
        (StatusCode::PAYLOAD_TOO_LARGE, "the review is too large")
    } else if rejection.find::<warp::reject::LengthRequired>().is_some() {
        (StatusCode::LENGTH_REQUIRED, "give the length of the body")
    } else {
        return Err(rejection);
    };
    Ok(warp::reply::with_status(text, code).into_response())
}

impl<W: World> Service<W> {
    async fn answer(&self, webhook: Webhook, body: &[u8]) -> Response {
        let start = Instant::now();
        let request = match read(body) {
            Ok(request) => request,
            Err(problem) => {
                self.observe(webhook, None, "malformed", start);
                tracing::warn!(webhook = webhook.as_str(), problem, "malformed review");
                return warp::reply::with_status(problem, StatusCode::BAD_REQUEST).into_response();
            }
        };
        let span = tracing::info_span!("review", webhook = webhook.as_str(), uid = request.inner().uid);
        let (response, outcome) = self.review(webhook, &request).instrument(span).await;
        self.observe(webhook, Some(&request), outcome, start);
        warp::reply::json(&response.into_review()).into_response()
    }

    async fn review(&self, webhook: Webhook, request: &Request) -> (AdmissionResponse, &'static str) {
        let decided = timeout(DEADLINE, self.decide(webhook, request)).await;
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
        // The semaphore is never closed, so that waiting for it never fails.
        let _turn = self.turns.acquire().await.ok();
        let mut response = AdmissionResponse::from(request.inner());
        match webhook {
            Webhook::Mutate => {
                let patch = mutate::stamp(request, &self.admission.world).await?;
                if !patch.0.is_empty() {
                    let unwritten =
                        |e| Denial::invalid("metadata", format!("{e}; this is a mistake of Enact, please report it"));
                    response = response.with_patch(patch).map_err(unwritten)?;
                }
            }
            Webhook::Validate => {
                let warnings = self.admission.admit(request).await?;
                response.warnings = (!warnings.is_empty()).then_some(warnings);
            }
        }
        Ok(response)
    }

    fn observe(&self, webhook: Webhook, request: Option<&Request>, outcome: &str, start: Instant) {
        let kind = request.map_or("none", |r| if r.kind().is_some() { r.kind_name() } else { "other" });
        let operation = match request.map(Request::operation) {
            Some(Operation::Create) => "create",
            Some(Operation::Update) => "update",
            Some(Operation::Delete) => "delete",
            Some(Operation::Connect) => "connect",
            None => "none",
        };
        let labels = [webhook.as_str(), kind, operation, outcome];
        self.metrics.duration.with_label_values(&labels).observe(start.elapsed().as_secs_f64());
    }
}

/// Reads a review, or says what is wrong with it.
fn read(body: &[u8]) -> Result<Request, String> {
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
