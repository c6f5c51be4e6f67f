//! The HTTP side of admission: reads an AdmissionReview, applies the rules, and answers with an AdmissionReview.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use enact_service::client::ClientAddress;
use enact_service::pace::Pace;
use enact_service::shares::Shares;
use futures::{Stream, TryStreamExt as _};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, Operation};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;
use tracing::Instrument as _;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Buf, Filter, Rejection};

use crate::certs::NoteSecret;
use crate::deletions::{self, Notes};
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
const MAX_BYTES_AT_ONCE: u32 = 24 << 20;
/// Part of [`MAX_BYTES_AT_ONCE`] for one client address. It leaves memory for the largest review of an API server while somebody else floods
/// this port.
const MAX_BYTES_OF_CLIENT: u32 = 16 << 20;
/// Minimum rate of a body, which holds memory while it arrives.
const PACE: Pace = Pace { grace: Duration::from_secs(2), bytes_per_second: 1 << 20 };
/// Bytes that a small review counts for, which limits the lookups in progress.
const LEAST_BYTES: u32 = 64 << 10;
/// Most larger reviews whose JSON is parsed at once. It is parsed beside the async threads, so that small reviews do not wait for it.
const PARSED_AT_ONCE: usize = 2;
/// Longest time for an answer, and the default when the caller sends no timeout.
const DEADLINE: Duration = Duration::from_secs(8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Webhook {
    Mutate,
    Validate,
    /// Leaves a note about a deletion, and refuses nothing.
    Note,
}

impl Webhook {
    fn as_str(self) -> &'static str {
        match self {
            Self::Mutate => "mutate",
            Self::Validate => "validate",
            Self::Note => "note",
        }
    }
}

struct Service<L> {
    validator: Validator<L>,
    notes: Arc<dyn Notes>,
    metrics: Metrics,
    /// Memory for reviews; a permit is a byte.
    memory: Semaphore,
    /// Memory for the reviews of each client. Only tests send requests without an address.
    clients: Shares<Option<ClientAddress>>,
    parsers: Arc<Semaphore>,
}

/// Memory that is reserved until it is dropped.
struct Memory<'a> {
    _client: OwnedSemaphorePermit,
    _all: SemaphorePermit<'a>,
}

/// The properties of a request before its body is read.
#[derive(Clone, Copy, Debug)]
struct Call {
    webhook: Webhook,
    start: Instant,
    deadline: Instant,
    length: u64,
    client: Option<ClientAddress>,
}

/// The answer to a body that holds no admission request.
struct Unread {
    status: StatusCode,
    outcome: &'static str,
    problem: String,
}

/// Returns the routes `POST /mutate`, `POST /validate` and `POST /note`, of which the last needs the secret in its path if there is one.
pub fn routes<L: Lookup + 'static>(
    validator: Validator<L>,
    notes: Arc<dyn Notes>,
    secret: NoteSecret,
    metrics: Metrics,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone {
    let memory = Semaphore::new(MAX_BYTES_AT_ONCE as usize);
    let clients = Shares::new(MAX_BYTES_OF_CLIENT as usize);
    let parsers = Arc::new(Semaphore::new(PARSED_AT_ONCE));
    let service = Arc::new(Service { validator, notes, metrics, memory, clients, parsers });
    let mutate = warp::path!("mutate").map(|| Webhook::Mutate);
    let validate = warp::path!("validate").map(|| Webhook::Validate);
    let note = warp::path!("note").map(|| None::<String>).or(warp::path!("note" / String).map(Some)).unify();
    let note = note.and_then(move |given: Option<String>| {
        let is_accepted = secret.accepts(given.as_deref());
        async move { if is_accepted { Ok(Webhook::Note) } else { Err(warp::reject::not_found()) } }
    });
    mutate
        .or(validate)
        .unify()
        .or(note)
        .unify()
        .and(warp::post())
        .and(warp::body::content_length_limit(MAX_REVIEW_BYTES))
        // `read` reserves memory by this length before it reads the body.
        .and(warp::header("content-length"))
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::ext::optional())
        .and(warp::body::stream())
        .then(move |webhook, length: u64, query: String, client: Option<ClientAddress>, body| {
            let service = Arc::clone(&service);
            let start = Instant::now();
            let call = Call { webhook, start, deadline: start + time_limit(&query), length, client };
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
        (StatusCode::NOT_FOUND, "use POST /mutate, POST /validate or POST /note")
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
        let read = timeout_at(call.deadline.into(), self.read(call, body)).await;
        // The memory is also that of the parsed review, so it stays reserved until the response is built.
        let (request, _memory) = match read.unwrap_or_else(|_| Err(Unread::late())) {
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

    /// Reads a body when there is memory for it. A client that announces a body and does not send it reserves none.
    async fn read<B: Buf>(
        &self,
        call: Call,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<(Request, Memory<'_>), Unread> {
        let length = call.length;
        let mut body = pin!(body);
        let mut next = next_part(body.as_mut(), Instant::now(), 0).await?;
        let memory = self.reserve(call).await?;
        // Allocated only now: requests that wait for memory hold no buffer. The wait does not count as time of the sender.
        let (begun, mut text) = (Instant::now(), Vec::with_capacity(usize::try_from(length).unwrap_or_default()));
        while let Some(mut part) = next {
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
            next = next_part(body.as_mut(), begun, text.len()).await?;
        }
        Ok((self.parse(text).await?, memory))
    }

    async fn parse(&self, text: Vec<u8>) -> Result<Request, Unread> {
        if text.len() <= LEAST_BYTES as usize {
            return parse(&text).map_err(Unread::malformed);
        }
        let turn = Arc::clone(&self.parsers).acquire_owned().await.map_err(|_| Unread::late())?;
        let work = move || {
            // The work cannot be interrupted and keeps its turn, also when the deadline of its request has passed.
            let _turn = turn;
            parse(&text)
        };
        spawn_blocking(work).await.map_err(|_| Unread::late())?.map_err(Unread::malformed)
    }

    /// Waits for the memory of a review.
    async fn reserve(&self, call: Call) -> Result<Memory<'_>, Unread> {
        // The upper bound matters: a request for more permits than the semaphore has would wait forever.
        let weight = u32::try_from(call.length).unwrap_or(u32::MAX).clamp(LEAST_BYTES, MAX_BYTES_OF_CLIENT);
        // The client's share comes first: a review that waits for it must not hold memory that others could use. The semaphores are never
        // closed.
        let own = self.clients.semaphore(&call.client).acquire_many_owned(weight).await.map_err(|_| Unread::late())?;
        let all = self.memory.acquire_many(weight).await.map_err(|_| Unread::late())?;
        Ok(Memory { _client: own, _all: all })
    }

    async fn review(&self, call: Call, request: &Request) -> (AdmissionResponse, &'static str) {
        // Without a deadline of ours, which would refuse the deletion.
        if call.webhook == Webhook::Note {
            let noted = deletions::note(request, self.notes.as_ref(), Timestamp::now()).await;
            return (AdmissionResponse::from(request.inner()), if noted { "allowed" } else { "error" });
        }
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
        if webhook == Webhook::Mutate {
            let patch = mutate::stamp(request, &self.validator.lookup, Timestamp::now()).await?;
            if !patch.0.is_empty() {
                let unwritten =
                    |e| Denial::invalid("metadata", format!("{e}; this is a bug in Enact, please report it"));
                response = response.with_patch(patch).map_err(unwritten)?;
            }
        } else {
            let warnings = self.validator.admit(request).await?;
            response.warnings = (!warnings.is_empty()).then_some(warnings);
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

/// Waits for the next part of a body of which `received` bytes have arrived since `begun`.
async fn next_part<B>(
    mut body: Pin<&mut impl Stream<Item = Result<B, warp::Error>>>,
    begun: Instant,
    received: usize,
) -> Result<Option<B>, Unread> {
    let deadline = begun + PACE.limit(received);
    let next = timeout_at(deadline.into(), body.try_next()).await.map_err(|_| Unread::late())?;
    next.map_err(|error| Unread::malformed(error.to_string()))
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
