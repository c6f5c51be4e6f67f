//! Taking the result of an attempt from the pod that made it.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Buf;
use enact_domain::assignment::{AttemptResult, MAX_RESULT_BYTES};
use enact_store::{Class, Delivered, Delivery, Store, StoreError};
use futures::Stream;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use warp::http::{HeaderMap, StatusCode, header};
use warp::reply::{Reply, Response};

use crate::body::{Body, too_large};
use crate::cluster::{Cluster, in_time};
use crate::identity::Worker;
use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};
use crate::token::Token;
use crate::turnstile::Turnstile;

/// How long a delivery may take, step by step. The runner gives up on a try after 15 s.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For the API server to say who delivers.
    pub identify: Duration,
    /// For the body to arrive.
    pub body: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { identify: Duration::from_secs(5), body: Duration::from_secs(10) }
    }
}

/// The attempt that a request's path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    subject_uid: String,
    attempt: u32,
}

impl Target {
    /// The attempt, when both parts of the path are written as they are in Kubernetes.
    pub fn parse(subject: &str, attempt: &str) -> Option<Self> {
        let fits = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        let number: u32 = attempt.parse().ok()?;
        let plain = !subject.is_empty() && subject.len() <= 64 && subject.bytes().all(fits);
        (plain && number > 0 && number.to_string() == attempt)
            .then(|| Self { subject_uid: subject.to_owned(), attempt: number })
    }
}

/// What takes results.
pub struct Intake {
    /// Says who delivers.
    pub cluster: Arc<Cluster>,
    /// Where results go.
    pub store: Store,
    /// How many are taken at once.
    pub turnstile: Turnstile,
    /// How long each may take.
    pub times: Times,
    /// Counts them.
    pub metrics: Metrics,
}

impl Intake {
    /// Takes one result. Nothing of the body or the token gets into the log.
    pub async fn deliver<S, B, E>(&self, target: Option<Target>, headers: HeaderMap, body: S) -> Response
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: Buf,
    {
        let span = tracing::info_span!("delivery", subject = Empty, attempt = Empty, tenant = Empty, pod = Empty);
        if let Some(target) = &target {
            span.record("subject", &target.subject_uid).record("attempt", target.attempt);
        }
        let deliver = async {
            let (begun, mut body) = (Instant::now(), Body::new(body));
            let outcome = self.take(target.as_ref(), &headers, &mut body).await;
            if outcome.is_err() {
                body.discard().await;
            }
            let word = outcome.as_ref().map_or_else(|problem| problem.kind.as_str(), |taken| taken.as_str());
            self.metrics.deliveries.with_label_values(&[word]).inc();
            tracing::info!(outcome = word, milliseconds = begun.elapsed().as_millis(), "delivery");
            outcome.map_or_else(Reply::into_response, Reply::into_response)
        };
        deliver.instrument(span).await
    }

    async fn take<S, B, E>(
        &self,
        target: Option<&Target>,
        headers: &HeaderMap,
        body: &mut Body<S>,
    ) -> Result<Taken, Problem>
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: Buf,
    {
        let target = target.ok_or_else(|| {
            Problem::new(Kind::NotFound, "the path is /v1/attempts/<UID of the Task or Plan>/<attempt, from 1>/result")
        })?;
        check_headers(headers, "application/json", MAX_RESULT_BYTES)?;
        let token = Token::of(headers)?;
        let worker = self.within(self.cluster.identify(&token)).await?;
        Span::current().record("tenant", &worker.tenant).record("pod", format!("{}/{}", worker.namespace, worker.pod));
        matches(&worker, "path", &target.subject_uid, target.attempt)?;
        let _place = self.turnstile.enter(&worker.tenant).await?;
        let bytes = body.read(MAX_RESULT_BYTES, self.times.body).await?;
        let mut result: AttemptResult = serde_json::from_slice(&bytes).map_err(|error| malformed(&error))?;
        drop(bytes);
        matches(&worker, "body", &result.subject_uid, result.attempt)?;
        result.report.bound().map_err(|error| Problem::new(Kind::Malformed, error.to_string()))?;
        self.keep(worker, result).await
    }

    /// What the API server says of a sender, if it says it in time.
    pub(crate) async fn within<T>(&self, asked: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
        let _permit = self.turnstile.stranger().await?;
        in_time(self.times.identify, "pod", asked).await
    }

    async fn keep(&self, worker: Worker, result: AttemptResult) -> Result<Taken, Problem> {
        let attempt = result.attempt;
        let Worker { tenant, namespace, pod_uid, plan_uid, .. } = worker;
        match self.store.deliver(Delivery { tenant, namespace, pod_uid, plan_uid, result }).await {
            Ok(Delivered::Stored) => Ok(Taken::Stored),
            Ok(Delivered::AlreadyThere) => Ok(Taken::AlreadyThere),
            Ok(Delivered::Stale) => Err(Problem::new(
                Kind::StaleAttempt,
                format!(
                    "attempt {attempt} was given up or a newer one has begun; the result is kept as evidence and changes nothing, and \
                     sending it again is of no use"
                ),
            )),
            Err(error) => Err(unstored(&error)),
        }
    }
}

/// What became of a result that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// It is the attempt's result.
    Stored,
    /// The attempt had one; it stays as it is.
    AlreadyThere,
}

impl Taken {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::AlreadyThere => "already-there",
        }
    }
}

impl Reply for Taken {
    fn into_response(self) -> Response {
        let status = if self == Self::Stored { StatusCode::CREATED } else { StatusCode::OK };
        let body = serde_json::json!({ "outcome": self.as_str() });
        warp::reply::with_status(warp::reply::json(&body), status).into_response()
    }
}

/// Refuses what the headers alone condemn: another media type than `wanted`, or more than `limit` bytes.
pub(crate) fn check_headers(headers: &HeaderMap, wanted: &str, limit: usize) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let media = text(header::CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default();
    let encoded = headers.contains_key(header::CONTENT_ENCODING);
    if !media.trim().eq_ignore_ascii_case(wanted) || encoded {
        let why = format!("send the body with `Content-Type: {wanted}` and without a Content-Encoding");
        return Err(Problem::new(Kind::UnsupportedMediaType, why));
    }
    match text(header::CONTENT_LENGTH).and_then(|value| value.parse::<usize>().ok()) {
        Some(length) if length > limit => Err(too_large(limit)),
        _ => Ok(()),
    }
}

/// Checks that what somebody says is what the pod works on.
fn matches(worker: &Worker, who: &str, subject_uid: &str, attempt: u32) -> Result<(), Problem> {
    if worker.subject_uid == subject_uid && worker.attempt == attempt {
        return Ok(());
    }
    let Worker { namespace, pod, subject_uid, attempt, .. } = worker;
    let why = format!("pod {namespace}/{pod} works on attempt {attempt} of {subject_uid}, and the {who} names another");
    Err(Problem::new(Kind::SubjectMismatch, why))
}

/// Says where the body is wrong. The parser quotes the body in its messages, so only the sender gets to see them, cut.
pub(crate) fn malformed(error: &serde_json::Error) -> Problem {
    let why: String = error.to_string().chars().take(200).collect();
    Problem { at: Some((error.line(), error.column())), ..Problem::new(Kind::Malformed, why) }
}

/// What a pod is told when what it sent could not be kept, and the log.
pub(crate) fn unstored(error: &StoreError) -> Problem {
    let category = error.category();
    match error {
        // Postgres may quote the content.
        StoreError::Refused { .. } | StoreError::Unreadable { .. } => {
            tracing::warn!(category, "the record refused the content of what was delivered");
            Problem::new(Kind::Malformed, "the record cannot hold this; it is refused again unless it is changed")
        }
        error if error.class() == Class::Permanent => {
            tracing::error!(category, %error, "what was delivered cannot be stored");
            Problem::new(Kind::Internal, "the record cannot be written; see the server's log")
        }
        error => {
            tracing::warn!(category, %error, "what was delivered cannot be stored now");
            Problem::new(Kind::Unavailable, "the record cannot be written now; try again")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_written_in_one_way() {
        let uid = "0b0a8f26-6a4c-4f6f-a6a3-5a1e5d0b6d1e";
        assert_eq!(Target::parse(uid, "12"), Some(Target { subject_uid: uid.into(), attempt: 12 }));
        for (subject, attempt) in
            [("", "1"), (uid, "0"), (uid, "01"), (uid, "+1"), (uid, "-1"), (uid, "4294967296"), ("a%0ab", "1")]
        {
            assert_eq!(Target::parse(subject, attempt), None, "{subject} {attempt}");
        }
        assert_eq!(Target::parse(&"a".repeat(65), "1"), None);
    }

    #[test]
    fn a_mistake_in_the_body_has_a_place_and_a_short_message() {
        let hostile = format!("{{\"subjectUid\": \"u\",\n \"attempt\": \"{}\"}}", "x".repeat(5000));
        let problem = malformed(&serde_json::from_str::<AttemptResult>(&hostile).unwrap_err());
        assert_eq!(problem.at.map(|(line, _)| line), Some(2));
        assert!(problem.detail.chars().count() <= 200);
    }
}
