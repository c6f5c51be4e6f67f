//! Checkpoints: kept for the runner of an attempt that did not succeed, and returned to the runner of the next one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use enact_crds::identity::AttemptPod;
use enact_domain::agents::checkpoint::{Checkpoint, MAX_ARCHIVE_BYTES, MAX_BUNDLE_BYTES, MAX_CHECKPOINT_BYTES};
use enact_domain::assignment::RUNNER_KEY_HEADER;
use enact_store::CheckpointDelivery;
use futures::Stream;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::reply::{Reply, Response};

use crate::body::Body;
use crate::intake::{AttemptPath, Intake, check_headers, check_subject, malformed, no_attempt, runner_key, unstored};
use crate::limiter::Slot;
use crate::problem::{Problem, ProblemKind};
use crate::token::Token;

/// A checkpoint as JSON. It has a slot as long as it is in memory: a client can read the answer slowly.
struct HeldJson {
    bytes: Vec<u8>,
    _slot: Slot,
}

impl AsRef<[u8]> for HeldJson {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Intake {
    /// Keeps the checkpoint of an attempt.
    pub async fn save_checkpoint<S, B, E>(&self, path: Option<AttemptPath>, headers: HeaderMap, body: S) -> Response
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: Buf,
    {
        let mut body = Body::new(body);
        let outcome = self.receive_checkpoint(path.as_ref(), &headers, &mut body).await;
        if outcome.is_err() {
            body.discard().await;
        }
        outcome.map_or_else(Reply::into_response, |()| StatusCode::NO_CONTENT.into_response())
    }

    async fn receive_checkpoint<S, B, E>(
        &self,
        path: Option<&AttemptPath>,
        headers: &HeaderMap,
        body: &mut Body<S>,
    ) -> Result<(), Problem>
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: Buf,
    {
        check_headers(headers, "application/json", MAX_CHECKPOINT_BYTES)?;
        let Some(runner_key) = runner_key(headers)? else {
            return Err(not_the_runner());
        };
        let pod = self.pod_of(path, headers).await?;
        let _slot = self.checkpoints.authenticated(&pod.tenant).await?;
        let bytes = body.read(MAX_CHECKPOINT_BYTES, self.times.body).await?;
        let mut checkpoint: Checkpoint = serde_json::from_slice(&bytes).map_err(|error| malformed(&error))?;
        drop(bytes);
        let refused = |why: String| Problem::new(ProblemKind::Malformed, format!("the checkpoint is invalid: {why}"));
        checkpoint.check().map_err(refused)?;
        if checkpoint.attempt != pod.attempt {
            return Err(refused(format!("attempt must be {}", pod.attempt)));
        }
        let decode = |field: &str, text: Option<String>, limit: usize| {
            let bytes = text.map(|text| STANDARD.decode(text)).transpose();
            let bytes = bytes.map_err(|error| refused(format!("{field} is not base64: {error}")))?;
            match bytes {
                Some(bytes) if bytes.len() > limit => Err(refused(format!("{field} has more than {limit} bytes"))),
                bytes => Ok(bytes),
            }
        };
        let archive = decode("archive", checkpoint.archive.take(), MAX_ARCHIVE_BYTES)?;
        let bundle = decode("bundle", checkpoint.bundle.take(), MAX_BUNDLE_BYTES)?;
        let AttemptPod { tenant, subject_uid, .. } = pod;
        let delivery = CheckpointDelivery { tenant, subject_uid, runner_key, checkpoint, archive, bundle };
        let accepted = self.store.save_checkpoint(delivery).await.map_err(|error| unstored(&error))?;
        if accepted { Ok(()) } else { Err(not_the_runner()) }
    }

    /// Returns the checkpoint that an earlier attempt at the task of the pod left, to the runner of the pod: an agent has no use for it, and
    /// answers are large.
    pub async fn read_checkpoint(&self, path: Option<AttemptPath>, headers: HeaderMap) -> Response {
        self.find_checkpoint(path.as_ref(), &headers).await.unwrap_or_else(Reply::into_response)
    }

    async fn find_checkpoint(&self, path: Option<&AttemptPath>, headers: &HeaderMap) -> Result<Response, Problem> {
        let Some(runner_key) = runner_key(headers)? else {
            return Err(not_the_runner());
        };
        let pod = self.pod_of(path, headers).await?;
        let slot = self.checkpoints.authenticated(&pod.tenant).await?;
        let AttemptPod { tenant, subject_uid, attempt, pod_uid, .. } = &pod;
        // Whoever may create pods in the namespace can copy owner and labels of an attempt's pod.
        let is_runner = self.store.is_runner_of(tenant, subject_uid, *attempt, pod_uid, &runner_key).await;
        if !is_runner.map_err(|error| unstored(&error))? {
            return Err(not_the_runner());
        }
        let found = self.store.checkpoint(tenant, subject_uid, *attempt).await.map_err(|error| unstored(&error))?;
        let found = found.ok_or_else(|| Problem::new(ProblemKind::NotFound, "no earlier attempt left a checkpoint"))?;
        let mut checkpoint = found.checkpoint;
        checkpoint.archive = found.archive.map(|archive| STANDARD.encode(archive));
        checkpoint.bundle = found.bundle.map(|bundle| STANDARD.encode(bundle));
        let bytes = serde_json::to_vec(&checkpoint).map_err(|error| {
            Problem::new(ProblemKind::Internal, format!("the checkpoint cannot be written as JSON: {error}"))
        })?;
        let mut response = Response::new(Bytes::from_owner(HeldJson { bytes, _slot: slot }).into());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    /// Identifies the pod of a request about its own checkpoint.
    async fn pod_of(&self, path: Option<&AttemptPath>, headers: &HeaderMap) -> Result<AttemptPod, Problem> {
        let path = path.ok_or_else(|| no_attempt("checkpoint"))?;
        let token = Token::of(headers)?;
        let pod = self.within(self.cluster.attempt_pod(&token)).await?;
        check_subject(&pod, "path", &path.subject_uid, path.attempt)?;
        Ok(pod)
    }
}

fn not_the_runner() -> Problem {
    Problem::new(
        ProblemKind::NotTheRunner,
        format!(
            "only the runner of an attempt may read a checkpoint, and only that of the latest attempt may keep one, before the attempt ends: \
             send the header {RUNNER_KEY_HEADER} with its key"
        ),
    )
}
