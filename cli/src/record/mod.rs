//! The record, as the server shows it: reached by the API server's proxy, with a token of the namespace's account for readers.

mod answers;

use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow, bail};
use enact_crds::approval::{Subject, SubjectKind};
use enact_domain::names::{ANNOTATION_SERVER, READ_PORT, READER_SERVICE_ACCOUNT, RESULT_AUDIENCE, is_label};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::client::Body;
use kube::{Api, Client, ResourceExt as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

pub use answers::{Finding, Findings, Hit, Page, Related, Revision};

use crate::cluster::{Cluster, told};

/// Seconds that a token is good for: the least that Kubernetes gives.
const TOKEN_SECONDS: i64 = 600;
/// The header that the API server's proxy passes on; it takes Authorization for itself.
const TOKEN_HEADER: &str = "X-Enact-Token";
/// Where the server is when nobody says otherwise: as the documentation installs it.
const USUAL: (&str, &str) = ("enact-system", "enact-server");
/// Largest answer that is taken, in bytes; a document has at most 4 MiB.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Similar {
    related: Vec<Related>,
}

/// The record of a namespace.
pub struct Record {
    client: Client,
    namespace: String,
    /// The path of the server's proxy, without a slash at the end.
    proxy: String,
    token: String,
}

impl Record {
    /// Asks the API server for a token, and where the server is.
    ///
    /// # Errors
    /// When there is no token to be had, or the place is none.
    pub async fn open(cluster: &Cluster) -> Result<Self> {
        Self::of(cluster).await.context("the record cannot be read")
    }

    async fn of(cluster: &Cluster) -> Result<Self> {
        let client = cluster.impatient()?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &cluster.namespace);
        let place = async {
            match &cluster.server {
                Some(place) => Ok(place.clone()),
                None => discover(&accounts).await,
            }
        };
        let (token, (namespace, service)) = futures::try_join!(token(&accounts, &cluster.namespace), place)?;
        let proxy = format!("/api/v1/namespaces/{namespace}/services/http:{service}:{READ_PORT}/proxy");
        Ok(Self { client, namespace: cluster.namespace.clone(), proxy, token })
    }

    /// Revisions of a subject, newest first, before the position of one that was seen.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn history(&self, subject: &Subject, before: Option<i64>, limit: u32) -> Result<Page> {
        let before = before.map_or_else(String::new, |before| format!("&before={before}"));
        self.json(&format!("{}/revisions?limit={limit}{before}", place(subject))).await?.map_or_else(
            || bail!("the server knows no history of {} {}; is it of another release?", kind(subject), subject.name),
            Ok,
        )
    }

    /// One revision of a subject, by its number or how its digest begins.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn revision(&self, subject: &Subject, which: &str) -> Result<Revision> {
        let found = self.json(&format!("{}/revisions/{which}", place(subject))).await?;
        found.ok_or_else(|| missing(subject, which))
    }

    /// The document of one revision.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn content(&self, subject: &Subject, which: &str) -> Result<String> {
        let found = self.get(&format!("{}/revisions/{which}/content", place(subject))).await?;
        let bytes = found.ok_or_else(|| missing(subject, which))?;
        String::from_utf8(bytes).map_err(|_| anyhow!("revision {which} of {} is no text", subject.name))
    }

    /// What the analysis of one revision found, if it is recorded.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn findings(&self, subject: &Subject, which: &str) -> Result<Option<Findings>> {
        self.json(&format!("{}/revisions/{which}/findings", place(subject))).await
    }

    /// What fits these words in the documents of the namespace, the best first.
    ///
    /// # Errors
    /// When it cannot be searched.
    pub async fn search(&self, words: &str, kind: Option<&str>, limit: u32) -> Result<Vec<Hit>> {
        let words = utf8_percent_encode(words, NON_ALPHANUMERIC);
        let kind = kind.map_or_else(String::new, |kind| format!("&kind={kind}"));
        let found: Option<Hits> = self.json(&format!("search?q={words}&limit={limit}{kind}")).await?;
        Ok(found.map(|found| found.hits).unwrap_or_default())
    }

    /// Documents that are like a subject's, the most like first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn related(&self, subject: &Subject) -> Result<Vec<Related>> {
        let found: Option<Similar> = self.json(&format!("{}/related", place(subject))).await?;
        Ok(found.map(|found| found.related).unwrap_or_default())
    }

    async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        let Some(bytes) = self.get(path).await? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).context("the server's answer is not what this release knows")
    }

    /// What is at a path of the namespace; none where the server has nothing.
    async fn get(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let request = Request::get(format!("{}/v1/namespaces/{}/{path}", self.proxy, self.namespace))
            .header(TOKEN_HEADER, &self.token)
            .body(Body::empty())?;
        let answer = async {
            let response = self.client.send(request).await.map_err(told)?;
            let (parts, body) = response.into_parts();
            let read = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            let bytes = read.map_err(|error| anyhow!("its answer cannot be read: {error}"))?.to_bytes();
            Ok::<_, Error>(Response::from_parts(parts, bytes.to_vec()))
        };
        let answered = timeout(PATIENCE, answer).await;
        let response = answered.map_err(|_| anyhow!("the server did not answer within {} s", PATIENCE.as_secs()))??;
        let (status, ours) = (response.status(), is_problem(&response));
        if status.is_success() {
            return Ok(Some(response.into_body()));
        }
        if status == StatusCode::NOT_FOUND && ours {
            return Ok(None);
        }
        Err(refusal(status, ours, response.body()))
    }
}

/// Whether enact-server refused, and not the API server on the way to it.
fn is_problem(response: &Response<Vec<u8>>) -> bool {
    let media = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media.is_some_and(|media| media.starts_with("application/problem+json"))
}

/// What a refusal means to a person.
fn refusal(status: StatusCode, ours: bool, body: &[u8]) -> Error {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |field: &str| answer[field].as_str().map(str::to_owned);
    match (ours, text("detail"), text("message")) {
        (true, Some(detail), _) => anyhow!("{detail}"),
        (false, _, Some(message)) if status == StatusCode::NOT_FOUND => {
            anyhow!("the server cannot be reached: {message}; say where it is with --server NAMESPACE/SERVICE")
        }
        (false, _, Some(message)) => anyhow!("the server cannot be reached: {message}"),
        _ => anyhow!("the server cannot be reached: the way to it answered {status}"),
    }
}

fn missing(subject: &Subject, which: &str) -> Error {
    let Subject { name, .. } = subject;
    let kind = kind(subject);
    let word = kind.to_ascii_lowercase();
    anyhow!(
        "the record has no revision {which} of {kind} {name}; `enact history {word}/{name}` shows those that there are"
    )
}

fn kind(subject: &Subject) -> &'static str {
    match subject.kind {
        SubjectKind::Constitution => "Constitution",
        SubjectKind::Specification => "Specification",
        SubjectKind::Plan => "Plan",
    }
}

/// A subject's path in its namespace.
fn place(subject: &Subject) -> String {
    format!("{}s/{}", kind(subject).to_ascii_lowercase(), subject.name)
}

async fn token(accounts: &Api<ServiceAccount>, namespace: &str) -> Result<String> {
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![RESULT_AUDIENCE.into()],
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let made = match accounts.create_token_request(READER_SERVICE_ACCOUNT, &PostParams::default(), &request).await {
        Err(kube::Error::Api(status)) if status.code == 404 => bail!(
            "namespace {namespace} has no ServiceAccount {READER_SERVICE_ACCOUNT}, which the operator makes in the namespaces of a Tenant; see \
             docs/guide/history.md"
        ),
        made => made.map_err(told)?,
    };
    made.status.map(|status| status.token).filter(|token| !token.is_empty()).context("the API server made no token")
}

/// Where the server is, by the account that the operator keeps: people need not be told.
async fn discover(accounts: &Api<ServiceAccount>) -> Result<(String, String)> {
    let usual = || (USUAL.0.to_owned(), USUAL.1.to_owned());
    let account = match accounts.get_metadata_opt(READER_SERVICE_ACCOUNT).await {
        // Whoever may ask for a token need not be allowed to look at the account.
        Err(kube::Error::Api(status)) if status.code == 403 => None,
        account => account.map_err(told)?,
    };
    let Some(place) = account.and_then(|account| account.annotations().get(ANNOTATION_SERVER).cloned()) else {
        return Ok(usual());
    };
    server(&place)
        .map_err(|why| anyhow!("annotation {ANNOTATION_SERVER} of ServiceAccount {READER_SERVICE_ACCOUNT}: {why}"))
}

/// Takes `NAMESPACE/SERVICE` apart.
///
/// # Errors
/// When it is not that: it becomes part of a path.
pub fn server(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, service)) if is_label(namespace) && is_label(service) => {
            Ok((namespace.to_owned(), service.to_owned()))
        }
        _ => Err("write the server's Service as NAMESPACE/SERVICE".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_place_and_no_path() {
        assert_eq!(server("enact-system/enact-server"), Ok(("enact-system".into(), "enact-server".into())));
        for wrong in ["", "a", "a/", "/a", "a/b/c", "a/../b", "a/b:80", "A/b", "a/b?x"] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn refusals_are_told_in_their_own_words() {
        let problem = br#"{"type":"tag:enact.dev,2026:problem/forbidden","status":403,"detail":"RBAC decides that"}"#;
        let status = br#"{"kind":"Status","message":"services \"http:enact-server:read\" not found","code":404}"#;
        let told = |status, ours, body: &[u8]| refusal(status, ours, body).to_string();
        assert_eq!(told(StatusCode::FORBIDDEN, true, problem), "RBAC decides that");
        assert!(told(StatusCode::NOT_FOUND, false, status).ends_with("--server NAMESPACE/SERVICE"));
        assert!(told(StatusCode::BAD_GATEWAY, false, b"<html>").ends_with("the way to it answered 502 Bad Gateway"));
    }
}
