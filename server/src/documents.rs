//! Deliveries of documents by the pods that fetched or drafted them.

use std::time::Instant;

use bytes::Buf;
use enact_domain::digest::Digest;
use enact_domain::document_job::MAX_DOCUMENT_BYTES;
use futures::Stream;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use warp::http::{HeaderMap, StatusCode};
use warp::reply::{Reply, Response};

use crate::body::Body;
use crate::intake::{Intake, check_headers, unstored};
use crate::problem::{Problem, ProblemKind};
use crate::token::Token;

/// The media type of documents.
const MEDIA: &str = "text/markdown";

impl Intake {
    /// Stores a document by its digest, so that a repeated delivery changes nothing. A pod delivers one document. Neither the document nor
    /// the token gets into the log.
    pub async fn deliver_document<S, B, E>(&self, subject: &str, headers: HeaderMap, body: S) -> Response
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: Buf,
    {
        let span = tracing::info_span!("document", subject = Empty, tenant = Empty, pod = Empty);
        let deliver = async {
            let (begun, mut body) = (Instant::now(), Body::new(body));
            let outcome = self.store_document(subject, &headers, &mut body).await;
            // Most clients read the answer only after they have sent the body.
            if outcome.is_err() {
                body.discard().await;
            }
            let word = outcome.as_ref().map_or_else(|problem| problem.kind.as_str(), |_| "stored");
            self.metrics.deliveries.with_label_values(&[word]).inc();
            tracing::info!(outcome = word, milliseconds = begun.elapsed().as_millis(), "document");
            match outcome {
                Ok(digest) => {
                    let answer = warp::reply::json(&serde_json::json!({ "digest": digest }));
                    warp::reply::with_status(answer, StatusCode::CREATED).into_response()
                }
                Err(problem) => problem.into_response(),
            }
        };
        deliver.instrument(span).await
    }

    async fn store_document<S, B, E>(
        &self,
        subject: &str,
        headers: &HeaderMap,
        body: &mut Body<S>,
    ) -> Result<Digest, Problem>
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: Buf,
    {
        check_headers(headers, MEDIA, MAX_DOCUMENT_BYTES)?;
        // Identity and subject come before the slot and the body: a refused request uses no memory for its body.
        let token = Token::of(headers)?;
        let document_pod = self.within(self.cluster.document_pod(&token)).await?;
        let pod = format!("{}/{}", document_pod.namespace, document_pod.pod);
        Span::current()
            .record("subject", &document_pod.subject_uid)
            .record("tenant", &document_pod.tenant)
            .record("pod", &pod);
        if document_pod.subject_uid != subject {
            let own = &document_pod.subject_uid;
            let why = format!("pod {pod} may deliver the document of {own}, and the path names another object");
            return Err(Problem::new(ProblemKind::SubjectMismatch, why));
        }
        // The slot limits the bodies in memory, so it is taken before the body is read and released after the write.
        let _slot = self.limiter.authenticated(&document_pod.tenant).await?;
        let document = body.read(MAX_DOCUMENT_BYTES, self.times.body).await?;
        if let Err(error) = str::from_utf8(&document) {
            let why = format!("the document is not text: byte {} is not UTF-8", error.valid_up_to());
            return Err(Problem::new(ProblemKind::Malformed, why));
        }
        let delivered = self.store.deliver_document(&document_pod.tenant, &document_pod.pod_uid, &document).await;
        delivered.map_err(|error| unstored(&error))?.ok_or_else(|| {
            let why = format!("pod {pod} has delivered another document, and a pod delivers only one");
            Problem::new(ProblemKind::AlreadyDelivered, why)
        })
    }
}
