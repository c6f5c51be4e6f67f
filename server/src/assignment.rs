//! Assignments: the runner of a waiting pod asks for the attempt that its pod was assigned to, and waits for it.
//!
//! The operator assigns a pod by one change of the Pod object, which also has the assignment. The server decides nothing: it shows a pod
//! what its own object says.

use std::pin::pin;
use std::time::{Duration, Instant};

use enact_crds::identity::{AttemptPod, PoolPod, label};
use enact_domain::assignment::Assignment;
use enact_domain::names::{LABEL_ROLE, ROLE_WAITING};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use tokio::time::{sleep, timeout};
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::reply::{Reply, Response};

use crate::cluster::{Cluster, unavailable};
use crate::identity::SeenPod;
use crate::intake::{Intake, check_subject};
use crate::problem::{Problem, ProblemKind};
use crate::token::Token;

/// Pause after a watch that showed nothing.
const PAUSE: Duration = Duration::from_millis(100);
/// What a request to the API server does.
const WATCHING: &str = "watch a pod";

impl Intake {
    /// Returns the assignment of the sender's pod. While the pod has none, the request waits, and is then answered with 204.
    pub async fn assignment(&self, headers: HeaderMap) -> Response {
        self.find_assignment(&headers).await.unwrap_or_else(Reply::into_response)
    }

    async fn find_assignment(&self, headers: &HeaderMap) -> Result<Response, Problem> {
        let token = Token::of(headers)?;
        let until = Instant::now() + self.times.assignment;
        loop {
            let (pod, seen) = self.within(self.cluster.pool_pod(&token)).await?;
            let tenant = match pod {
                PoolPod::Assigned { attempt, assignment } => return answer(&attempt, assignment),
                PoolPod::Waiting { tenant } => tenant,
            };
            // Waiting requests have slots of their own, so that they never delay the delivery of a result.
            let _slot = self.waiting.authenticated(&tenant).await?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(StatusCode::NO_CONTENT.into_response());
            }
            if !self.cluster.leaves_pool(&seen, left).await? {
                // The API server may end a watch early.
                sleep(PAUSE.min(left)).await;
            }
        }
    }
}

/// Checks that an assignment is that of the attempt to which labels and owner assign the pod, and returns it.
fn answer(attempt: &AttemptPod, assignment: String) -> Result<Response, Problem> {
    let parsed: Assignment = serde_json::from_str(&assignment).map_err(|error| {
        tracing::error!(%error, pod = attempt.pod, namespace = attempt.namespace, "the assignment of a pod cannot be read");
        Problem::new(ProblemKind::Internal, "the assignment of the pod cannot be read; see the server's log")
    })?;
    check_subject(attempt, "assignment", &parsed.subject_uid, parsed.attempt)?;
    let mut response = Response::new(assignment.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

impl Cluster {
    /// Waits until a pod is assigned or deleted, or has changed too often since it was seen. Returns false if nothing of this happens for
    /// `limit`.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(crate) async fn leaves_pool(&self, seen: &SeenPod, limit: Duration) -> Result<bool, Problem> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &seen.namespace);
        let seconds = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX).max(1);
        let own = WatchParams::default().fields(&format!("metadata.name={}", seen.name)).timeout(seconds);
        let watch = async {
            let events =
                pods.watch_metadata(&own, &seen.version).await.map_err(|error| unavailable(WATCHING, &error))?;
            let mut events = pin!(events);
            while let Some(event) = events.next().await {
                match event.map_err(|error| unavailable(WATCHING, &error))? {
                    // The kubelet reports its status.
                    WatchEvent::Added(pod) | WatchEvent::Modified(pod)
                        if label(&pod.metadata, LABEL_ROLE) == Some(ROLE_WAITING) => {}
                    WatchEvent::Bookmark(_) => {}
                    // The next read of the pod shows what it is.
                    _ => return Ok(true),
                }
            }
            Ok(false)
        };
        timeout(limit, watch).await.unwrap_or(Ok(false))
    }
}
