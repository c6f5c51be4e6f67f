//! Taking a document from the pod that fetched it, or whose agent drafted it.

use std::time::Instant;

use bytes::Buf;
use enact_domain::digest::Digest;
use enact_domain::errand::MAX_DOCUMENT_BYTES;
use futures::Stream;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use warp::http::{HeaderMap, StatusCode};
use warp::reply::{Reply, Response};

use crate::body::Body;
use crate::intake::{Intake, check_headers, unstored};
use crate::problem::{Kind, Problem};
use crate::token::Token;

/// The media type of documents.
const MEDIA: &str = "text/markdown";

impl Intake {
    /// Takes one document and keeps it by its digest: bringing it again changes nothing. Nothing of it or the token gets into the log.
    pub async fn bring<S, B, E>(&self, subject: &str, headers: HeaderMap, body: S) -> Response
    where
        S: Stream<Item = Result<B, E>> + Unpin,
        B: Buf,
    {
        let span = tracing::info_span!("document", subject = Empty, tenant = Empty, pod = Empty);
        let bring = async {
            let (begun, mut body) = (Instant::now(), Body::new(body));
            let outcome = self.take_document(subject, &headers, &mut body).await;
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
        bring.instrument(span).await
    }

    async fn take_document<S, B, E>(
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
        let token = Token::of(headers)?;
        let courier = self.within(self.cluster.courier(&token)).await?;
        let pod = format!("{}/{}", courier.namespace, courier.pod);
        Span::current().record("subject", &courier.subject_uid).record("tenant", &courier.tenant).record("pod", &pod);
        if courier.subject_uid != subject {
            let own = &courier.subject_uid;
            let why = format!("pod {pod} brings the document of {own}, and the path names another");
            return Err(Problem::new(Kind::SubjectMismatch, why));
        }
        let _place = self.turnstile.enter(&courier.tenant).await?;
        let document = body.read(MAX_DOCUMENT_BYTES, self.times.body).await?;
        if let Err(error) = str::from_utf8(&document) {
            let why = format!("the document is no text: byte {} is not UTF-8", error.valid_up_to());
            return Err(Problem::new(Kind::Malformed, why));
        }
        self.store.keep_content(&courier.tenant, &document).await.map_err(|error| unstored(&error))
    }
}
