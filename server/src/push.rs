//! Taking a forge's word that a repository was pushed to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Buf;
use enact_domain::names::{PUSH_SECRET, is_label};
use enact_domain::push::{Push, PushError};
use enact_store::Store;
use futures::Stream;
use tracing::Instrument as _;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::{Reply, Response};

use crate::body::Body;
use crate::cluster::{Cluster, in_time};
use crate::intake::{Times, check_headers, malformed, unstored};
use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};
use crate::proof::Proof;
use crate::turnstile::Turnstile;

/// Largest body of a webhook that is read, in bytes; forges list every commit of a push.
const MAX_PUSH_BYTES: usize = 2 << 20;
/// Requests that are worked on at once. Whoever sends them is not known before the end.
const PLACES: usize = 16;

/// What takes pushes.
pub struct Pushes {
    /// Knows the namespaces' secrets.
    pub cluster: Arc<Cluster>,
    /// Where pushes are told.
    pub store: Store,
    /// How many are taken at once.
    pub turnstile: Turnstile,
    /// How long each may take.
    pub times: Times,
    /// Counts them.
    pub metrics: Metrics,
}

impl Pushes {
    /// Takes pushes, each of which waits so long for a place.
    pub fn new(cluster: Arc<Cluster>, store: Store, patience: Duration, times: Times, metrics: Metrics) -> Self {
        Self { cluster, store, turnstile: Turnstile::new(PLACES, patience), times, metrics }
    }

    /// Takes what a forge's webhook sends. Nothing of the body or the secret gets into the log.
    pub async fn take<S, B, E>(&self, namespace: &str, headers: HeaderMap, body: S) -> Response
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: Buf,
    {
        let known = if is_label(namespace) { namespace } else { "" };
        let take = async {
            let (begun, mut body) = (Instant::now(), Body::new(body));
            let outcome = self.hear(namespace, &headers, &mut body).await;
            if outcome.is_err() {
                body.discard().await;
            }
            let word = outcome.as_ref().map_or_else(|problem| problem.kind.as_str(), |()| "told");
            tracing::info!(outcome = word, milliseconds = begun.elapsed().as_millis(), "push");
            match outcome {
                Ok(()) => {
                    let answer = warp::reply::json(&serde_json::json!({ "outcome": "told" }));
                    warp::reply::with_status(answer, StatusCode::ACCEPTED).into_response()
                }
                Err(problem) => problem.into_response(),
            }
        };
        take.instrument(tracing::info_span!("push", namespace = known)).await
    }

    async fn hear<S, B, E>(&self, namespace: &str, headers: &HeaderMap, body: &mut Body<S>) -> Result<(), Problem>
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: Buf,
    {
        if !is_label(namespace) {
            return Err(Problem::new(Kind::NotFound, "the path is /v1/namespaces/<namespace>/push"));
        }
        check_headers(headers, "application/json", MAX_PUSH_BYTES)?;
        let proof = Proof::of(headers)?;
        let _place = self.turnstile.stranger().await?;
        let secrets = in_time(self.times.identify, "secret", self.cluster.push_secrets(namespace)).await?;
        let refused = || {
            let why = format!(
                "nothing proves that this comes from the forge of namespace {namespace}: its webhook and the Secret {PUSH_SECRET} of the \
                 namespace must hold the same secret, of at least 16 bytes"
            );
            Problem::new(Kind::TokenRefused, why)
        };
        if secrets.is_empty() {
            return Err(refused());
        }
        let bytes = body.read(MAX_PUSH_BYTES, self.times.body).await?;
        if !proof.holds(&secrets, &bytes) {
            return Err(refused());
        }
        let push = Push::parse(namespace, &bytes).map_err(|error| match error {
            PushError::Malformed(error) => malformed(&error),
            PushError::NoRepository => Problem::new(Kind::Malformed, error.to_string()),
        })?;
        self.store.notify_push(&push).await.map_err(|error| unstored(&error))
    }
}
