//! What people's clients read of the record.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use enact_domain::record::Kind as Subject;
use enact_embed::Embedder;
use enact_store::{Embedding, ErrorClass, Query, Revision, RevisionSelector, Store, StoreError};
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::reply::{Reply, Response};

use crate::access::{Access, Reader, Wanted};
use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};
use crate::target::{Place, Target, What};
use crate::token::Token;
use crate::turnstile::Turnstile;

/// How long the embedder may take to say what a search means.
const MEANING: Duration = Duration::from_secs(3);
/// Most related documents of which those are shown that the reader may see.
const MAX_RELATED: u32 = 50;

/// What answers readers.
pub struct Reading {
    /// Says who may read what.
    pub access: Access,
    /// Where the record is.
    pub store: Store,
    /// Says what a search means.
    pub embedder: Embedder,
    /// How many are answered at once.
    pub turnstile: Turnstile,
    /// Counts them.
    pub metrics: Metrics,
}

impl Reading {
    /// Answers one request.
    pub async fn answer(&self, target: Target, headers: HeaderMap) -> Response {
        let begun = Instant::now();
        let (namespace, route) = (target.namespace.clone(), target.what.route());
        let answered = self.read(target, &headers).await;
        let outcome = answered.as_ref().map_or_else(|(_, problem)| problem.kind.as_str(), |_| "read");
        let reader = answered.as_ref().map_or_else(|(reader, _)| reader.as_ref(), |(reader, _)| Some(reader));
        let (user, tenant) = reader.map_or(("", ""), |reader| (&*reader.user, &*reader.tenant));
        tracing::info!(outcome, route, namespace, user, tenant, milliseconds = begun.elapsed().as_millis(), "reading");
        let mut response = answered.map_or_else(|(_, problem)| problem.into_response(), |(_, response)| response);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    async fn read(&self, target: Target, headers: &HeaderMap) -> Result<(Reader, Response), (Option<Reader>, Problem)> {
        let token = Token::of_reader(headers).map_err(|problem| (None, problem))?;
        let reader = self.admit(&token, &target).await.map_err(|problem| (None, problem))?;
        let found = async {
            let _place = self.turnstile.enter(&reader.tenant).await?;
            self.find(&token, &reader.tenant, &target).await
        };
        match found.await {
            Ok(response) => Ok((reader, response)),
            Err(problem) => Err((Some(reader), problem)),
        }
    }

    async fn admit(&self, token: &Token, target: &Target) -> Result<Reader, Problem> {
        let wanted = Wanted {
            namespace: target.namespace.clone(),
            kinds: target.what.kinds(),
            name: target.what.of().map(|of| of.name.clone()),
        };
        let _permit = self.turnstile.stranger().await?;
        self.access.admit(token, &wanted).await
    }

    async fn find(&self, token: &Token, tenant: &str, target: &Target) -> Result<Response, Problem> {
        let namespace = &target.namespace;
        match &target.what {
            What::Revisions { of, before, limit } => {
                let Place { kind, name } = of;
                let found = Box::pin(self.store.history(tenant, *kind, namespace, name, *before, *limit)).await;
                let revisions = read(found)?;
                // A full page may be the last one; the next one is empty then.
                let next = revisions.last().filter(|_| revisions.len() >= *limit as usize).map(|last| last.position);
                Ok(json(&json!({ "revisions": revisions, "next": next })))
            }
            What::Revision { of, which } => Ok(json(&self.revision(tenant, namespace, of, which).await?)),
            What::Content { of, which } => {
                let revision = self.revision(tenant, namespace, of, which).await?;
                let content = read(Box::pin(self.store.content(tenant, &revision.digest)).await)?;
                let content = content.ok_or_else(|| missing("the record does not hold this content"))?;
                Ok(document(of.kind, content))
            }
            What::Findings { of, which } => {
                let revision = self.revision(tenant, namespace, of, which).await?;
                let found = read(Box::pin(self.store.findings(tenant, &revision.uid, &revision.digest)).await)?;
                let found = found.ok_or_else(|| missing("no analysis of this revision is recorded"))?;
                Ok(json(&json!({
                    "number": revision.number, "digest": revision.digest, "analyser": found.analyser, "at": found.at,
                    "total": found.total, "findings": found.findings,
                })))
            }
            What::Related { of, limit } => {
                let Place { kind, name } = of;
                let newest = Box::pin(self.store.history(tenant, *kind, namespace, name, None, 1)).await;
                let Some(newest) = read(newest)?.into_iter().next() else {
                    return Err(missing(format!("the record knows no {} {name}", kind.as_str())));
                };
                let found = Box::pin(self.store.related(tenant, &newest.uid, self.embedder.model(), MAX_RELATED)).await;
                let mut related = read(found)?;
                // Some may be where the reader may not look.
                let namespaces: BTreeSet<String> = related.iter().map(|other| other.namespace.clone()).collect();
                for namespace in namespaces {
                    if !self.may_see(token, *kind, &namespace).await? {
                        related.retain(|other| other.namespace != namespace);
                    }
                }
                related.truncate(*limit as usize);
                Ok(json(&json!({ "related": related })))
            }
            What::Search { text, kinds, limit } => {
                let query = Query {
                    text: text.clone(),
                    embedding: self.embedding(text).await,
                    namespaces: Some(vec![namespace.clone()]),
                    kinds: kinds.clone(),
                    limit: *limit,
                };
                let hits = read(Box::pin(self.store.search(tenant, &query)).await)?;
                Ok(json(&json!({ "hits": hits })))
            }
        }
    }

    /// What a text means, if that can be told soon; a search is by words otherwise.
    async fn embedding(&self, text: &str) -> Option<Embedding> {
        let model = self.embedder.model()?;
        match timeout(MEANING, self.embedder.embed(vec![text.to_owned()])).await {
            Ok(Ok(mut vectors)) => {
                let values = vectors.pop()?;
                Some(Embedding { model: model.to_owned(), values })
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "a search is by words alone");
                None
            }
            Err(_) => {
                tracing::warn!("a search is by words alone: the embedder did not answer in time");
                None
            }
        }
    }

    async fn may_see(&self, token: &Token, kind: Subject, namespace: &str) -> Result<bool, Problem> {
        let wanted = Wanted { namespace: namespace.to_owned(), kinds: vec![kind], name: None };
        match self.access.admit(token, &wanted).await {
            Ok(_) => Ok(true),
            Err(problem) if matches!(problem.kind, Kind::Forbidden | Kind::NotFound) => Ok(false),
            Err(problem) => Err(problem),
        }
    }

    async fn revision(
        &self,
        tenant: &str,
        namespace: &str,
        of: &Place,
        which: &RevisionSelector,
    ) -> Result<Revision, Problem> {
        let Place { kind, name } = of;
        let found = read(Box::pin(self.store.revision(tenant, *kind, namespace, name, which)).await)?;
        found.ok_or_else(|| {
            missing(format!("the record has no such revision of {} {name} in namespace {namespace}", kind.as_str()))
        })
    }
}

/// What the record answers, or what a reader is told instead.
fn read<T>(found: Result<T, StoreError>) -> Result<T, Problem> {
    found.map_err(|error| {
        let category = error.category();
        match &error {
            StoreError::Invalid { .. } => Problem::new(Kind::BadParameter, error.to_string()),
            error if error.class() == ErrorClass::Permanent => {
                tracing::error!(category, %error, "the record cannot be read");
                Problem::new(Kind::Internal, "the record cannot be read; see the server's log")
            }
            error => {
                tracing::warn!(category, %error, "the record cannot be read now");
                Problem::new(Kind::Unavailable, "the record cannot be read now; try again")
            }
        }
    })
}

fn missing(why: impl Into<String>) -> Problem {
    Problem::new(Kind::NotFound, why)
}

fn json<T: Serialize>(value: &T) -> Response {
    warp::reply::json(value).into_response()
}

/// A document as it was recorded: Markdown, but for a plan, whose content is the canonical JSON of what it does.
fn document(kind: Subject, content: Vec<u8>) -> Response {
    let media = if kind == Subject::Plan { "application/json" } else { "text/markdown; charset=utf-8" };
    let mut response = warp::reply::with_status(content, StatusCode::OK).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}
