//! Push webhooks of Git hosts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Buf;
use enact_domain::names::{PUSH_SECRET, is_label};
use enact_domain::push::{Push, PushError};
use enact_service::pace::Pace;
use enact_store::Store;
use futures::Stream;
use tracing::Instrument as _;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::{Reply, Response};

use crate::body::Body;
use crate::cluster::{Cluster, in_time};
use crate::intake::{Times, check_headers, malformed, unstored};
use crate::limiter::RequestLimiter;
use crate::metrics::Metrics;
use crate::problem::{Problem, ProblemKind};
use crate::push_auth::PushAuth;

/// Largest body of a webhook, in bytes. Git hosts list every commit of a push.
const MAX_PUSH_BYTES: usize = 2 << 20;
/// Most concurrent requests; half of them for one namespace. A request is authenticated only after its body was read.
const SLOTS: usize = 16;
/// Minimum rate of a body. Anybody can send one, so nobody may keep a slot with a body that hardly arrives.
const PACE: Pace = Pace { grace: Duration::from_secs(2), bytes_per_second: 256 << 10 };

pub struct Pushes {
    pub cluster: Arc<Cluster>,
    pub store: Store,
    pub limiter: RequestLimiter,
    pub times: Times,
    pub metrics: Metrics,
}

impl Pushes {
    /// Makes the receiver; a request waits for a slot up to `timeout`.
    pub fn new(cluster: Arc<Cluster>, store: Store, timeout: Duration, times: Times, metrics: Metrics) -> Self {
        Self { cluster, store, limiter: RequestLimiter::new(SLOTS, timeout), times, metrics }
    }

    /// Receives a push. Neither the body nor the secret gets into the log.
    pub async fn receive<S, B, E>(&self, namespace: &str, headers: HeaderMap, body: S) -> Response
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: Buf,
    {
        // The sender is not authenticated, so the log gets only a valid name from it.
        let known = if is_label(namespace) { namespace } else { "" };
        let receive = async {
            let (begun, mut body) = (Instant::now(), Body::new(body));
            let outcome = self.accept(namespace, &headers, &mut body).await;
            // Most clients read the answer only after they have sent the body.
            if outcome.is_err() {
                body.discard().await;
            }
            let word = outcome.as_ref().map_or_else(|problem| problem.kind.as_str(), |()| "accepted");
            tracing::info!(outcome = word, milliseconds = begun.elapsed().as_millis(), "push");
            match outcome {
                Ok(()) => {
                    let answer = warp::reply::json(&serde_json::json!({ "outcome": "accepted" }));
                    warp::reply::with_status(answer, StatusCode::ACCEPTED).into_response()
                }
                Err(problem) => problem.into_response(),
            }
        };
        receive.instrument(tracing::info_span!("push", namespace = known)).await
    }

    async fn accept<S, B, E>(&self, namespace: &str, headers: &HeaderMap, body: &mut Body<S>) -> Result<(), Problem>
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: Buf,
    {
        if !is_label(namespace) {
            return Err(Problem::new(ProblemKind::NotFound, "the path must be /v1/namespaces/<namespace>/push"));
        }
        check_headers(headers, "application/json", MAX_PUSH_BYTES)?;
        let auth = PushAuth::of(headers)?;
        let secrets = {
            let _permit = self.limiter.unauthenticated().await?;
            in_time(self.times.identify, "secret", self.cluster.push_secrets(namespace)).await?
        };
        let refused = || {
            let why = format!(
                "the signature or token does not match: the webhook of the Git host and the Secret {PUSH_SECRET} of namespace {namespace} \
                 must hold the same secret, of at least 16 bytes"
            );
            Problem::new(ProblemKind::TokenRefused, why)
        };
        // The same refusal as for a wrong secret: the answer does not reveal which namespaces have a Secret.
        if secrets.is_empty() {
            return Err(refused());
        }
        // The slot covers the body and the write, because the sender is unknown until the body is verified. Who knows one namespace with a
        // Secret cannot take the slots of the others.
        let _slot = self.limiter.authenticated(namespace).await?;
        let bytes = body.read_at(PACE, MAX_PUSH_BYTES, self.times.body).await?;
        // The signature covers the exact bytes, so nothing is parsed before this check.
        if !auth.holds(&secrets, &bytes) {
            return Err(refused());
        }
        let push = Push::parse(namespace, &bytes).map_err(|error| match error {
            PushError::Malformed(error) => malformed(&error),
            PushError::NoRepository => Problem::new(ProblemKind::Malformed, error.to_string()),
        })?;
        self.store.notify_push(&push).await.map_err(|error| unstored(&error))
    }
}
