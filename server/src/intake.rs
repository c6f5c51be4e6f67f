//! Deliveries of results by the pods of attempts.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Buf;
use enact_domain::assignment::{AttemptResult, MAX_RESULT_BYTES, RUNNER_KEY_HEADER};
use enact_domain::digest::Digest;
use enact_domain::warm_pool::ASSIGNMENT_WAIT_SECONDS;
use enact_store::{Delivery, DeliveryOutcome, ErrorClass, Registration, Store, StoreError};
use futures::Stream;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use warp::http::{HeaderMap, StatusCode, header};
use warp::reply::{Reply, Response};

use crate::body::{Body, too_large};
use crate::cluster::{Cluster, in_time};
use crate::identity::AttemptPod;
use crate::limiter::RequestLimiter;
use crate::metrics::Metrics;
use crate::problem::{Problem, ProblemKind};
use crate::token::Token;

/// Largest key of a runner, and largest digest of one, in bytes.
const MAX_KEY_BYTES: usize = 128;

/// Time limits for the steps of a request. The runner gives up after 15 s.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Time for the API server to identify the sender.
    pub identify: Duration,
    /// Time for the body to arrive.
    pub body: Duration,
    /// Time for which a request of a waiting pod for its assignment waits.
    pub assignment: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            identify: Duration::from_secs(5),
            body: Duration::from_secs(10),
            assignment: Duration::from_secs(ASSIGNMENT_WAIT_SECONDS.into()),
        }
    }
}

/// The attempt that a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptPath {
    pub(crate) subject_uid: String,
    pub(crate) attempt: u32,
}

impl AttemptPath {
    /// Parses a UID and a number that are written as Kubernetes writes them.
    pub fn parse(subject: &str, attempt: &str) -> Option<Self> {
        let fits = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        let number: u32 = attempt.parse().ok()?;
        let plain = !subject.is_empty() && subject.len() <= 64 && subject.bytes().all(fits);
        (plain && number > 0 && number.to_string() == attempt)
            .then(|| Self { subject_uid: subject.to_owned(), attempt: number })
    }
}

pub struct Intake {
    pub cluster: Arc<Cluster>,
    pub store: Store,
    pub limiter: RequestLimiter,
    /// Slots for requests with checkpoints, which are larger than results.
    pub checkpoints: RequestLimiter,
    /// Slots for requests of waiting pods, which last long and need little memory.
    pub waiting: RequestLimiter,
    pub times: Times,
    pub metrics: Metrics,
}

impl Intake {
    /// Stores the result of an attempt. Neither the body nor the token gets into the log.
    pub async fn deliver<S, B, E>(&self, path: Option<AttemptPath>, headers: HeaderMap, body: S) -> Response
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: Buf,
    {
        let span = tracing::info_span!("delivery", subject = Empty, attempt = Empty, tenant = Empty, pod = Empty);
        if let Some(path) = &path {
            span.record("subject", &path.subject_uid).record("attempt", path.attempt);
        }
        let deliver = async {
            let (begun, mut body) = (Instant::now(), Body::new(body));
            let outcome = self.receive(path.as_ref(), &headers, &mut body).await;
            // Most clients read the answer only after they have sent the body.
            if outcome.is_err() {
                body.discard().await;
            }
            let word = outcome.as_ref().map_or_else(|problem| problem.kind.as_str(), |accepted| accepted.as_str());
            self.metrics.deliveries.with_label_values(&[word]).inc();
            tracing::info!(outcome = word, milliseconds = begun.elapsed().as_millis(), "delivery");
            outcome.map_or_else(Reply::into_response, Reply::into_response)
        };
        deliver.instrument(span).await
    }

    async fn receive<S, B, E>(
        &self,
        path: Option<&AttemptPath>,
        headers: &HeaderMap,
        body: &mut Body<S>,
    ) -> Result<Accepted, Problem>
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: Buf,
    {
        let path = path.ok_or_else(|| no_attempt("result"))?;
        // Cheap checks come first. The body is read only after the sender is identified and has a slot.
        check_headers(headers, "application/json", MAX_RESULT_BYTES)?;
        let token = Token::of(headers)?;
        let pod = self.within(self.cluster.attempt_pod(&token)).await?;
        Span::current().record("tenant", &pod.tenant).record("pod", format!("{}/{}", pod.namespace, pod.pod));
        check_subject(&pod, "path", &path.subject_uid, path.attempt)?;
        let _slot = self.limiter.authenticated(&pod.tenant).await?;
        let bytes = body.read(MAX_RESULT_BYTES, self.times.body).await?;
        let mut result: AttemptResult = serde_json::from_slice(&bytes).map_err(|error| malformed(&error))?;
        // The text is not needed any more and must not use memory during the write.
        drop(bytes);
        // The body names subject and attempt again, and the store writes those of the body.
        check_subject(&pod, "body", &result.subject_uid, result.attempt)?;
        result.report.enforce_limits().map_err(|error| Problem::new(ProblemKind::Malformed, error.to_string()))?;
        let key = runner_key(headers)?;
        self.store(pod, key, result).await
    }

    /// Registers the key with which the runner of an attempt will deliver its result. The body is the digest of the key.
    pub async fn admit_runner<S, B, E>(&self, path: Option<AttemptPath>, headers: HeaderMap, body: S) -> Response
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: Buf,
    {
        let mut body = Body::new(body);
        let outcome = self.register_runner(path.as_ref(), &headers, &mut body).await;
        if outcome.is_err() {
            body.discard().await;
        }
        outcome.map_or_else(Reply::into_response, |()| StatusCode::NO_CONTENT.into_response())
    }

    async fn register_runner<S, B, E>(
        &self,
        path: Option<&AttemptPath>,
        headers: &HeaderMap,
        body: &mut Body<S>,
    ) -> Result<(), Problem>
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: Buf,
    {
        let path = path.ok_or_else(|| no_attempt("runner"))?;
        check_headers(headers, "text/plain", MAX_KEY_BYTES)?;
        let token = Token::of(headers)?;
        let pod = self.within(self.cluster.attempt_pod(&token)).await?;
        check_subject(&pod, "path", &path.subject_uid, path.attempt)?;
        let _slot = self.limiter.authenticated(&pod.tenant).await?;
        let bytes = body.read(MAX_KEY_BYTES, self.times.body).await?;
        let digest = String::from_utf8(bytes).map(Digest::from).ok().filter(Digest::is_valid).ok_or_else(|| {
            Problem::new(ProblemKind::Malformed, "the body must be the digest of the key: `sha256:<64 hex digits>`")
        })?;
        let AttemptPod { tenant, subject_uid, attempt, pod_uid, .. } = &pod;
        let registered = self.store.register_runner(tenant, subject_uid, *attempt, pod_uid, &digest).await;
        match registered.map_err(|error| unstored(&error))? {
            Registration::Accepted => Ok(()),
            Registration::Refused => Err(Problem::new(
                ProblemKind::NotTheRunner,
                "the runner of this attempt has registered another key, the operator has given the attempt another pod or none, or the \
                 attempt has ended",
            )),
            Registration::PodUnknown => Err(pod_unknown()),
        }
    }

    /// Waits for the API server to identify a sender.
    pub(crate) async fn within<T>(&self, answer: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
        let _permit = self.limiter.unauthenticated().await?;
        in_time(self.times.identify, "pod", answer).await
    }

    async fn store(
        &self,
        pod: AttemptPod,
        runner_key: Option<Digest>,
        result: AttemptResult,
    ) -> Result<Accepted, Problem> {
        let attempt = result.attempt;
        let AttemptPod { tenant, namespace, pod_uid, plan_uid, .. } = pod;
        match self.store.deliver(Delivery { tenant, namespace, pod_uid, plan_uid, runner_key, result }).await {
            Ok(DeliveryOutcome::Stored) => Ok(Accepted::Stored),
            Ok(DeliveryOutcome::AlreadyThere) => Ok(Accepted::AlreadyThere),
            Ok(DeliveryOutcome::Forged) => Err(Problem::new(
                ProblemKind::NotTheRunner,
                format!(
                    "send the header {RUNNER_KEY_HEADER} with the key that the runner registered for attempt {attempt}"
                ),
            )),
            Ok(DeliveryOutcome::NotItsPod) => Err(Problem::new(
                ProblemKind::SubjectMismatch,
                format!(
                    "the operator has not started attempt {attempt} with this pod; only pods that it created deliver results"
                ),
            )),
            Ok(DeliveryOutcome::PodUnknown) => Err(pod_unknown()),
            Ok(DeliveryOutcome::Stale) => Err(Problem::new(
                ProblemKind::StaleAttempt,
                format!(
                    "attempt {attempt} has ended or a newer one has begun; the result is stored as evidence and changes nothing; do not \
                     send it again"
                ),
            )),
            Err(error) => Err(unstored(&error)),
        }
    }
}

/// The outcome of an accepted delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepted {
    /// The delivery is now the result of the attempt.
    Stored,
    /// The attempt has a result already, which stays.
    AlreadyThere,
}

impl Accepted {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::AlreadyThere => "already-there",
        }
    }
}

impl Reply for Accepted {
    fn into_response(self) -> Response {
        let status = if self == Self::Stored { StatusCode::CREATED } else { StatusCode::OK };
        let body = serde_json::json!({ "outcome": self.as_str() });
        warp::reply::with_status(warp::reply::json(&body), status).into_response()
    }
}

/// Returns the digest of the runner's key in the headers.
pub(crate) fn runner_key(headers: &HeaderMap) -> Result<Option<Digest>, Problem> {
    let Some(value) = headers.get(RUNNER_KEY_HEADER) else { return Ok(None) };
    let key = value.as_bytes();
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Problem::new(ProblemKind::Malformed, format!("the header {RUNNER_KEY_HEADER} must hold a key")));
    }
    Ok(Some(Digest::of_bytes(key)))
}

/// Returns the problem of a request that arrives before the operator has recorded the pod that it created.
fn pod_unknown() -> Problem {
    Problem::new(ProblemKind::Unavailable, "the record does not have the pod of the attempt yet; try again")
}

/// Returns the problem of a path that names no attempt.
pub(crate) fn no_attempt(resource: &str) -> Problem {
    let path = format!("/v1/attempts/<UID of the Task or Plan>/<attempt, from 1>/{resource}");
    Problem::new(ProblemKind::NotFound, format!("the path must be {path}"))
}

/// Checks the headers: the media type must be `wanted`, and the body must have at most `limit` bytes.
pub(crate) fn check_headers(headers: &HeaderMap, wanted: &str, limit: usize) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let media = text(header::CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default();
    let encoded = headers.contains_key(header::CONTENT_ENCODING);
    if !media.trim().eq_ignore_ascii_case(wanted) || encoded {
        let why = format!("send the body with `Content-Type: {wanted}` and without a Content-Encoding");
        return Err(Problem::new(ProblemKind::UnsupportedMediaType, why));
    }
    match text(header::CONTENT_LENGTH).and_then(|value| value.parse::<usize>().ok()) {
        Some(length) if length > limit => Err(too_large(limit)),
        _ => Ok(()),
    }
}

/// Checks that the path or the body names the attempt of the pod.
pub(crate) fn check_subject(pod: &AttemptPod, place: &str, subject_uid: &str, attempt: u32) -> Result<(), Problem> {
    if pod.subject_uid == subject_uid && pod.attempt == attempt {
        return Ok(());
    }
    let AttemptPod { namespace, pod, subject_uid, attempt, .. } = pod;
    let why =
        format!("pod {namespace}/{pod} works on attempt {attempt} of {subject_uid}, and the {place} names another");
    Err(Problem::new(ProblemKind::SubjectMismatch, why))
}

/// Returns the problem of an invalid body, with line and column. The messages of the parser quote the body, so only the sender gets them,
/// truncated.
pub(crate) fn malformed(error: &serde_json::Error) -> Problem {
    let why: String = error.to_string().chars().take(200).collect();
    Problem { at: Some((error.line(), error.column())), ..Problem::new(ProblemKind::Malformed, why) }
}

/// Returns the problem for a delivery that could not be stored, and logs it.
pub(crate) fn unstored(error: &StoreError) -> Problem {
    let category = error.category();
    match error {
        // The error is not logged: Postgres may quote the content in it.
        StoreError::Refused { .. } | StoreError::Unreadable { .. } => {
            tracing::warn!(category, "Postgres refused the content of a delivery");
            Problem::new(
                ProblemKind::Malformed,
                "the record cannot hold this content; change it before you send it again",
            )
        }
        error if error.class() == ErrorClass::Permanent => {
            tracing::error!(category, %error, "a delivery cannot be stored");
            Problem::new(ProblemKind::Internal, "the record cannot be written; see the server's log")
        }
        error => {
            tracing::warn!(category, %error, "a delivery cannot be stored at the moment");
            Problem::new(ProblemKind::Unavailable, "the record is temporarily unavailable; try again")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_in_one_way() {
        let uid = "0b0a8f26-6a4c-4f6f-a6a3-5a1e5d0b6d1e";
        assert_eq!(AttemptPath::parse(uid, "12"), Some(AttemptPath { subject_uid: uid.into(), attempt: 12 }));
        for (subject, attempt) in
            [("", "1"), (uid, "0"), (uid, "01"), (uid, "+1"), (uid, "-1"), (uid, "4294967296"), ("a%0ab", "1")]
        {
            assert_eq!(AttemptPath::parse(subject, attempt), None, "{subject} {attempt}");
        }
        assert_eq!(AttemptPath::parse(&"a".repeat(65), "1"), None);
    }

    #[test]
    fn an_invalid_body_is_reported_with_its_place() {
        let hostile = format!("{{\"subjectUid\": \"u\",\n \"attempt\": \"{}\"}}", "x".repeat(5000));
        let problem = malformed(&serde_json::from_str::<AttemptResult>(&hostile).unwrap_err());
        assert_eq!(problem.at.map(|(line, _)| line), Some(2));
        assert!(problem.detail.chars().count() <= 200);
    }
}
