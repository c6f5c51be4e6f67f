//! The responses to readers of the record.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use enact_domain::decisions::{DecisionOutcome, recommendations};
use enact_domain::record::Kind;
use enact_domain::time::Millis;
use enact_domain::usage;
use enact_embed::Embedder;
use enact_store::{DecisionFilter, Embedding, ErrorClass, Query, Revision, RevisionSelector, Store, StoreError};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};
use warp::reply::{Reply, Response};

use crate::access::{Access, AccessRequest, Reader};
use crate::limiter::RequestLimiter;
use crate::metrics::Metrics;
use crate::problem::{Problem, ProblemKind};
use crate::read_request::{ObjectName, ReadRequest, Resource};
use crate::token::Token;

/// Time limit for the embedding of a search.
const EMBEDDING: Duration = Duration::from_secs(3);
/// Media type of documents.
const MARKDOWN: &str = "text/markdown; charset=utf-8";
/// Most related documents that are checked for the reader's rights.
const MAX_RELATED: u32 = 50;

pub struct Reading {
    pub access: Access,
    pub store: Store,
    pub embedder: Embedder,
    pub limiter: RequestLimiter,
    pub metrics: Metrics,
}

impl Reading {
    /// Answers one request.
    pub async fn answer(&self, request: ReadRequest, headers: HeaderMap) -> Response {
        let begun = Instant::now();
        let (namespace, route) = (request.namespace.clone(), request.resource.route());
        let answered = self.read(request, &headers).await;
        let outcome = answered.as_ref().map_or_else(|(_, problem)| problem.kind.as_str(), |_| "read");
        let reader = answered.as_ref().map_or_else(|(reader, _)| reader.as_ref(), |(reader, _)| Some(reader));
        let (user, tenant) = reader.map_or(("", ""), |reader| (&*reader.user, &*reader.tenant));
        tracing::info!(outcome, route, namespace, user, tenant, milliseconds = begun.elapsed().as_millis(), "reading");
        let mut response = answered.map_or_else(|(_, problem)| problem.into_response(), |(_, response)| response);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    async fn read(
        &self,
        request: ReadRequest,
        headers: &HeaderMap,
    ) -> Result<(Reader, Response), (Option<Reader>, Problem)> {
        // The error contains the reader only after the authorization, so that the log names no unverified user.
        let token = Token::of_reader(headers).map_err(|problem| (None, problem))?;
        let reader = self.authorize(&token, &request).await.map_err(|problem| (None, problem))?;
        let found = async {
            let _slot = self.limiter.authenticated(&reader.tenant).await?;
            self.find(&token, &reader.tenant, &request).await
        };
        match found.await {
            Ok(response) => Ok((reader, response)),
            Err(problem) => Err((Some(reader), problem)),
        }
    }

    async fn authorize(&self, token: &Token, request: &ReadRequest) -> Result<Reader, Problem> {
        let wanted = AccessRequest {
            namespace: request.namespace.clone(),
            kinds: request.resource.kinds(),
            name: request.resource.object().map(|object| object.name.clone()),
        };
        // Limits the requests to the API server that senders without a valid token can cause.
        let _permit = self.limiter.unauthenticated().await?;
        self.access.authorize(token, &wanted).await
    }

    async fn decisions(
        &self,
        tenant: &str,
        namespace: &str,
        filter: &DecisionFilter,
    ) -> Result<Vec<DecisionOutcome>, Problem> {
        let found = read(self.store.decisions(tenant, namespace, filter).await)?;
        read(self.store.with_outcomes(tenant, found).await)
    }

    /// Returns the choices that worked for a question, from the namespaces of the tenant whose plans the reader may read.
    async fn recommendations(&self, token: &Token, tenant: &str, question: &str) -> Result<Value, Problem> {
        let mut found = read(Box::pin(self.store.decision_outcomes(tenant, None, None)).await)?;
        let namespaces: BTreeSet<String> = found.iter().map(|found| found.decision.namespace.clone()).collect();
        for namespace in namespaces {
            if !self.may_see(token, Kind::Plan, &namespace).await? {
                found.retain(|found| found.decision.namespace != namespace);
            }
        }
        Ok(json!({ "recommendations": recommendations::for_question(question, &found) }))
    }

    async fn find(&self, token: &Token, tenant: &str, request: &ReadRequest) -> Result<Response, Problem> {
        let namespace = &request.namespace;
        match &request.resource {
            Resource::Revisions { of, before, limit } => {
                let ObjectName { kind, name } = of;
                let found = Box::pin(self.store.history(tenant, *kind, namespace, name, *before, *limit)).await;
                let revisions = read(found)?;
                // A full page may be the last one; then the next page is empty.
                let next = revisions.last().filter(|_| revisions.len() >= *limit as usize).map(|last| last.position);
                Ok(json(&json!({ "revisions": revisions, "next": next })))
            }
            Resource::Revision { of, which } => Ok(json(&self.revision(tenant, namespace, of, which).await?)),
            Resource::Content { of, which } => {
                let revision = self.revision(tenant, namespace, of, which).await?;
                let content = read(Box::pin(self.store.content(tenant, &revision.digest)).await)?;
                let content = content.ok_or_else(|| missing("the record does not hold this content"))?;
                let media = if of.kind == Kind::Plan { "application/json" } else { MARKDOWN };
                Ok(document(media, content))
            }
            Resource::Findings { of, which } => {
                let revision = self.revision(tenant, namespace, of, which).await?;
                let found = read(Box::pin(self.store.findings(tenant, &revision.uid, &revision.digest)).await)?;
                let found = found.ok_or_else(|| missing("no analysis of this revision is recorded"))?;
                Ok(json(&json!({
                    "number": revision.number, "digest": revision.digest, "analyser": found.analyser, "at": found.at,
                    "total": found.total, "findings": found.findings,
                })))
            }
            Resource::Selections { of, task } => {
                let found = Box::pin(self.store.selections(tenant, namespace, &of.name, task)).await;
                Ok(json(&json!({ "selections": read(found)? })))
            }
            Resource::Proposal { of, digest } => {
                let found = read(Box::pin(self.store.proposal(tenant, namespace, &of.name, digest)).await)?;
                let content =
                    found.ok_or_else(|| missing("the record has no proposal with this digest of this plan"))?;
                Ok(document(MARKDOWN, content))
            }
            Resource::Decisions(filter) => {
                let found = Box::pin(self.decisions(tenant, namespace, filter)).await?;
                Ok(json(&json!({ "decisions": found })))
            }
            Resource::Recommendations { question } => Ok(json(&self.recommendations(token, tenant, question).await?)),
            Resource::Attempts { of, task } => {
                let found = Box::pin(self.store.attempts_of_task(tenant, namespace, &of.name, task)).await;
                Ok(json(&json!({ "attempts": read(found)? })))
            }
            Resource::Log { of, task, attempt } => {
                let found = self.store.recorded_log(tenant, namespace, &of.name, task.as_deref(), *attempt);
                let log = read(Box::pin(found).await)?;
                let log = log.ok_or_else(|| missing(format!("the record has no result of attempt {attempt}")))?;
                Ok(json(&log))
            }
            Resource::Related { of, limit } => Ok(json(&self.related(token, tenant, (namespace, of), *limit).await?)),
            Resource::Usage(usage) => {
                let query = usage.query(namespace, now());
                let rows = read(Box::pin(self.store.usage(tenant, &query)).await)?;
                Ok(usage.answer(&query, &rows))
            }
            Resource::Requests { filter, limit } => {
                let found = read(Box::pin(self.store.logged_requests(tenant, filter, now(), *limit)).await)?;
                Ok(json(&json!({ "requests": found })))
            }
            Resource::Budgets { plan, month } => {
                let month = month.clone().unwrap_or_else(|| usage::month(now()));
                let found = Box::pin(self.store.budgets(tenant, namespace, plan.as_deref(), &month)).await;
                Ok(json(&json!({ "month": month, "budgets": read(found)? })))
            }
            Resource::Search { text, kinds, limit } => {
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

    /// Returns the documents that are similar to that of an object, and that the reader may read.
    async fn related(
        &self,
        token: &Token,
        tenant: &str,
        (namespace, of): (&str, &ObjectName),
        limit: u32,
    ) -> Result<Value, Problem> {
        let ObjectName { kind, name } = of;
        // `related` needs the UID of the object, which its newest revision has.
        let newest = Box::pin(self.store.history(tenant, *kind, namespace, name, None, 1)).await;
        let Some(newest) = read(newest)?.into_iter().next() else {
            return Err(missing(format!("the record holds no {} {name}", kind.as_str())));
        };
        let found = Box::pin(self.store.related(tenant, &newest.uid, self.embedder.model(), MAX_RELATED)).await;
        let mut related = read(found)?;
        // Drop those in namespaces that the reader may not read.
        let namespaces: BTreeSet<String> = related.iter().map(|other| other.namespace.clone()).collect();
        for namespace in namespaces {
            if !self.may_see(token, *kind, &namespace).await? {
                related.retain(|other| other.namespace != namespace);
            }
        }
        // Truncated only now, because hidden documents must not use up the limit.
        related.truncate(limit as usize);
        Ok(json!({ "related": related }))
    }

    /// Returns the embedding of a text. Returns none without an embedder and after a failure: then the search is by words only.
    async fn embedding(&self, text: &str) -> Option<Embedding> {
        let model = self.embedder.model()?;
        match timeout(EMBEDDING, self.embedder.embed(vec![text.to_owned()])).await {
            Ok(Ok(mut vectors)) => {
                let values = vectors.pop()?;
                Some(Embedding { model: model.to_owned(), values })
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the embedder failed; the search is by words only");
                None
            }
            Err(_) => {
                tracing::warn!("the embedder did not answer in time; the search is by words only");
                None
            }
        }
    }

    async fn may_see(&self, token: &Token, kind: Kind, namespace: &str) -> Result<bool, Problem> {
        let wanted = AccessRequest { namespace: namespace.to_owned(), kinds: vec![kind], name: None };
        match self.access.authorize(token, &wanted).await {
            Ok(_) => Ok(true),
            Err(problem) if matches!(problem.kind, ProblemKind::Forbidden | ProblemKind::NotFound) => Ok(false),
            Err(problem) => Err(problem),
        }
    }

    async fn revision(
        &self,
        tenant: &str,
        namespace: &str,
        of: &ObjectName,
        which: &RevisionSelector,
    ) -> Result<Revision, Problem> {
        let ObjectName { kind, name } = of;
        let found = read(Box::pin(self.store.revision(tenant, *kind, namespace, name, which)).await)?;
        found.ok_or_else(|| {
            missing(format!("the record has no such revision of {} {name} in namespace {namespace}", kind.as_str()))
        })
    }
}

/// Turns a failure of the record into a problem for the reader, and logs it.
fn read<T>(found: Result<T, StoreError>) -> Result<T, Problem> {
    found.map_err(|error| {
        let category = error.category();
        match &error {
            StoreError::Invalid { .. } => Problem::new(ProblemKind::BadParameter, error.to_string()),
            error if error.class() == ErrorClass::Permanent => {
                tracing::error!(category, %error, "the record cannot be read");
                Problem::new(ProblemKind::Internal, "the record cannot be read; see the server's log")
            }
            error => {
                tracing::warn!(category, %error, "the record is temporarily unavailable");
                Problem::new(ProblemKind::Unavailable, "the record is temporarily unavailable; try again")
            }
        }
    })
}

fn missing(why: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::NotFound, why)
}

fn json<T: Serialize>(value: &T) -> Response {
    warp::reply::json(value).into_response()
}

/// Returns the response with a document: Markdown, or for a Plan the canonical JSON of its content.
fn document(media: &'static str, content: Vec<u8>) -> Response {
    let mut response = warp::reply::with_status(content, StatusCode::OK).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

fn now() -> Millis {
    Millis(Timestamp::now().as_millisecond())
}
