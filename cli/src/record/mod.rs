//! The record, which enact-server serves. Requests go through the proxy of the API server, with a token of the namespace's ServiceAccount
//! for readers.

mod answers;

use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow, bail};
use enact_crds::approval::Subject;
use enact_domain::digest::Digest;
use enact_domain::names::{ANNOTATION_SERVER, READ_PORT, READER_SERVICE_ACCOUNT, RESULT_AUDIENCE};
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

pub use answers::{
    Attempt, AttemptLog, Budget, Budgets, Finding, Findings, Gate, Hit, LoggedRequest, LoggedRequests, Page, Related,
    Revision, Selected, UsageReport, UsageRow,
};

use crate::cluster::{Cluster, api_error};
use crate::server::ServerAddress;
use crate::subject::{handle, title};

/// Lifetime of a token in seconds: the shortest that Kubernetes allows.
const TOKEN_SECONDS: i64 = 600;
/// Header of the token. The API server consumes the header Authorization itself.
const TOKEN_HEADER: &str = "X-Enact-Token";
/// Namespace and Service of the server if no annotation names them: those of the installation guide.
const DEFAULT_SERVER: (&str, &str) = ("enact-system", "enact-server");
/// Largest answer in bytes. A document has at most 4 MiB.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Time limit for an answer.
const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Similar {
    related: Vec<Related>,
}

#[derive(Deserialize)]
struct Selections {
    selections: Vec<Selected>,
}

#[derive(Deserialize)]
struct Attempts {
    attempts: Vec<Attempt>,
}

/// Access to the record of a namespace.
pub struct Record {
    client: Client,
    namespace: String,
    /// Path of the proxy to the server, without a slash at the end.
    proxy: String,
    token: String,
}

impl Record {
    /// Gets a token and the address of the server from the API server.
    pub async fn open(cluster: &Cluster) -> Result<Self> {
        Self::connect(cluster).await.context("the record cannot be read")
    }

    async fn connect(cluster: &Cluster) -> Result<Self> {
        let client = cluster.client_without_retry()?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &cluster.namespace);
        let address = async {
            match &cluster.server {
                Some(address) => Ok(address.clone()),
                None => discover(&accounts).await,
            }
        };
        // Two independent requests: a person waits only for the slower one.
        let (token, address) = futures::try_join!(token(&accounts, &cluster.namespace), address)?;
        let ServerAddress { namespace, service } = address;
        let proxy = format!("/api/v1/namespaces/{namespace}/services/http:{service}:{READ_PORT}/proxy");
        Ok(Self { client, namespace: cluster.namespace.clone(), proxy, token })
    }

    /// Reads revisions of a document, newest first. `before` is the position from the last page.
    pub async fn history(&self, subject: &Subject, before: Option<i64>, limit: u32) -> Result<Page> {
        let before = before.map_or_else(String::new, |before| format!("&before={before}"));
        let page = self.json(&format!("{}/revisions?limit={limit}{before}", path(subject))).await?;
        page.with_context(|| {
            format!("the server has no history of {}; check that it has the version of this tool", title(subject))
        })
    }

    /// Reads a revision by its number or the start of its digest.
    pub async fn revision(&self, subject: &Subject, revision: &str) -> Result<Revision> {
        let found = self.json(&format!("{}/revisions/{revision}", path(subject))).await?;
        found.ok_or_else(|| missing(subject, revision))
    }

    /// Reads the content of a revision.
    pub async fn content(&self, subject: &Subject, revision: &str) -> Result<String> {
        let bytes = self.find_content(subject, revision).await?.ok_or_else(|| missing(subject, revision))?;
        String::from_utf8(bytes).map_err(|_| anyhow!("revision {revision} of {} is not UTF-8 text", title(subject)))
    }

    /// Reads the content of a revision; none if the record does not have it.
    pub async fn find_content(&self, subject: &Subject, revision: &str) -> Result<Option<Vec<u8>>> {
        let found = self.get(&format!("{}/revisions/{revision}/content", path(subject))).await?;
        found.map(|content| checked(content, &Digest::from(revision.to_owned()))).transpose()
    }

    /// Reads the text of a proposal for a plan.
    pub async fn proposal(&self, plan: &str, digest: &Digest) -> Result<String> {
        if !digest.is_valid() {
            bail!("the status of Plan {plan} names a proposal without a valid digest");
        }
        let found = self.get(&format!("plans/{plan}/proposals/{digest}")).await?;
        let bytes =
            checked(found.with_context(|| format!("the record has no proposal {digest} of Plan {plan}"))?, digest)?;
        String::from_utf8(bytes).map_err(|_| anyhow!("the proposal {digest} of Plan {plan} is not UTF-8 text"))
    }

    /// Reads the findings of a revision, if they are recorded.
    pub async fn findings(&self, subject: &Subject, revision: &str) -> Result<Option<Findings>> {
        self.json(&format!("{}/revisions/{revision}/findings", path(subject))).await
    }

    /// Searches the documents of the namespace, best results first.
    pub async fn search(&self, words: &str, kind: Option<&str>, limit: u32) -> Result<Vec<Hit>> {
        let words = utf8_percent_encode(words, NON_ALPHANUMERIC);
        let kind = kind.map_or_else(String::new, |kind| format!("&kind={kind}"));
        let found: Option<Hits> = self.json(&format!("search?q={words}&limit={limit}{kind}")).await?;
        Ok(found.map(|found| found.hits).unwrap_or_default())
    }

    /// Reads the documents that are similar to one, most similar first.
    pub async fn related(&self, subject: &Subject) -> Result<Vec<Related>> {
        let found: Option<Similar> = self.json(&format!("{}/related", path(subject))).await?;
        Ok(found.map(|found| found.related).unwrap_or_default())
    }

    /// Reads why agents were selected for the attempts at a Task, newest first.
    pub async fn selections(&self, plan: &str, task: &str) -> Result<Vec<Selected>> {
        let found: Option<Selections> = self.json(&format!("plans/{plan}/tasks/{task}/selections")).await?;
        Ok(found.map(|found| found.selections).unwrap_or_default())
    }

    /// Reads the newest attempts at a Task, newest first.
    pub async fn attempts(&self, plan: &str, task: &str) -> Result<Vec<Attempt>> {
        let found: Option<Attempts> = self.json(&format!("plans/{plan}/tasks/{task}/attempts")).await?;
        Ok(found.map(|found| found.attempts).unwrap_or_default())
    }

    /// Reads what the pod of an attempt delivered, at a Task or at the integration of a plan; none if it delivered nothing.
    pub async fn log(&self, plan: &str, task: Option<&str>, attempt: u32) -> Result<Option<AttemptLog>> {
        let work = task.map_or_else(|| "integration".to_owned(), |task| format!("tasks/{task}"));
        self.json(&format!("plans/{plan}/{work}/attempts/{attempt}/log")).await
    }

    /// Reads the usage of the namespace as JSON or CSV. `parameters` are those of the server.
    pub async fn usage(&self, parameters: &[(&str, String)]) -> Result<Vec<u8>> {
        self.required(&format!("usage{}", query(parameters))).await
    }

    /// Reads the budgets that concern the namespace, as JSON.
    pub async fn budgets(&self, plan: Option<&str>) -> Result<Vec<u8>> {
        let parameters: Vec<_> = plan.map(|plan| ("plan", plan.to_owned())).into_iter().collect();
        self.required(&format!("budgets{}", query(&parameters))).await
    }

    /// Reads the texts of model requests, as JSON. `parameters` are those of the server.
    pub async fn requests(&self, parameters: &[(&str, String)]) -> Result<Vec<u8>> {
        self.required(&format!("requests{}", query(parameters))).await
    }

    /// Reads the newest decisions of plans, as JSON. `parameters` are those of the server.
    pub async fn decisions(&self, parameters: &[(&str, String)]) -> Result<Vec<u8>> {
        let found = self.get(&format!("decisions{}", query(parameters))).await?;
        found.with_context(|| {
            let namespace = &self.namespace;
            format!(
                "the server has no decisions of namespace {namespace}; check that a Tenant contains it, and that the server has the version \
                 of this tool"
            )
        })
    }

    async fn required(&self, path: &str) -> Result<Vec<u8>> {
        self.get(path).await?.with_context(|| {
            format!(
                "the server has no usage of namespace {}; check that a Tenant contains the namespace, and that the server has the version of this tool",
                self.namespace
            )
        })
    }

    async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        let Some(bytes) = self.get(path).await? else { return Ok(None) };
        parse(&bytes).map(Some)
    }

    /// Reads a path of the namespace; none if the server answers 404.
    async fn get(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let request = Request::get(format!("{}/v1/namespaces/{}/{path}", self.proxy, self.namespace))
            .header(TOKEN_HEADER, &self.token)
            .body(Body::empty())?;
        let answer = async {
            let response = self.client.send(request).await.map_err(api_error)?;
            let (parts, body) = response.into_parts();
            // The limit keeps a server that sends without end from filling the memory.
            let read = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            let bytes = read.map_err(|error| anyhow!("the answer of the server cannot be read: {error}"))?.to_bytes();
            Ok::<_, Error>(Response::from_parts(parts, bytes.to_vec()))
        };
        let answered = timeout(TIMEOUT, answer).await;
        let response = answered.map_err(|_| anyhow!("the server did not answer within {} s", TIMEOUT.as_secs()))??;
        let (status, from_server) = (response.status(), is_problem(&response));
        if status.is_success() {
            return Ok(Some(response.into_body()));
        }
        // A 404 of the API server means that the Service or the pod is missing, not the revision.
        if status == StatusCode::NOT_FOUND && from_server {
            return Ok(None);
        }
        Err(refusal(status, from_server, response.body()))
    }
}

/// Refuses another content than that of the whole digest that was requested. An annotation in the namespace says where the server is, and what
/// answers there must not choose what people see before they decide.
fn checked(content: Vec<u8>, digest: &Digest) -> Result<Vec<u8>> {
    // A number, or the start of a digest, names what the server takes it for.
    if digest.is_valid() && Digest::of_bytes(&content) != *digest {
        bail!(
            "the answer of the server is not the content with the digest {digest}; check the annotation {ANNOTATION_SERVER} of ServiceAccount \
             {READER_SERVICE_ACCOUNT}, or name the server with --server NAMESPACE/SERVICE"
        );
    }
    Ok(content)
}

/// Parses an answer of the server.
pub fn parse<T: DeserializeOwned>(answer: &[u8]) -> Result<T> {
    serde_json::from_slice(answer)
        .context("this tool cannot parse the answer of the server; use the version of the server")
}

/// Returns the parameters as the end of a URL.
fn query(parameters: &[(&str, String)]) -> String {
    let encoded = |(name, value): &(&str, String)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
    let parameters: Vec<String> = parameters.iter().map(encoded).collect();
    if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) }
}

/// Returns whether the answer is a problem (RFC 9457) of enact-server. The API server answers with a Status instead.
fn is_problem(response: &Response<Vec<u8>>) -> bool {
    let media = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media.is_some_and(|media| media.starts_with("application/problem+json"))
}

/// Converts a refusal to a message for a person.
fn refusal(status: StatusCode, from_server: bool, body: &[u8]) -> Error {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |field: &str| answer[field].as_str().map(str::to_owned);
    match (from_server, text("detail"), text("message")) {
        (true, Some(detail), _) => anyhow!("{detail}"),
        (false, _, Some(message)) if status == StatusCode::NOT_FOUND => {
            anyhow!("the server cannot be reached: {message}; name its Service with --server NAMESPACE/SERVICE")
        }
        (false, _, Some(message)) => anyhow!("the server cannot be reached: {message}"),
        _ => anyhow!("the server cannot be reached: the proxy of the API server answered {status}"),
    }
}

fn missing(subject: &Subject, revision: &str) -> Error {
    anyhow!(
        "the record has no revision {revision} of {}; `kubectl enact history {}` lists its revisions",
        title(subject),
        handle(subject)
    )
}

/// Returns the path of a document in its namespace.
fn path(subject: &Subject) -> String {
    format!("{}s/{}", format!("{:?}", subject.kind).to_ascii_lowercase(), subject.name)
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
            "namespace {namespace} has no ServiceAccount {READER_SERVICE_ACCOUNT}; the operator creates it in the namespaces of a Tenant: check that a Tenant \
             contains this namespace"
        ),
        made => made.map_err(api_error)?,
    };
    made.status.map(|status| status.token).filter(|token| !token.is_empty()).context("the API server returned no token")
}

/// Reads the address of the server from the annotation that the operator sets on the ServiceAccount for readers.
async fn discover(accounts: &Api<ServiceAccount>) -> Result<ServerAddress> {
    let account = match accounts.get_metadata_opt(READER_SERVICE_ACCOUNT).await {
        // A person may have the right to request a token without the right to read the ServiceAccount.
        Err(kube::Error::Api(status)) if status.code == 403 => None,
        account => account.map_err(api_error)?,
    };
    let Some(address) = account.and_then(|account| account.annotations().get(ANNOTATION_SERVER).cloned()) else {
        let (namespace, service) = DEFAULT_SERVER;
        return Ok(ServerAddress { namespace: namespace.to_owned(), service: service.to_owned() });
    };
    let parsed = address.parse::<ServerAddress>();
    parsed.map_err(|problem| {
        anyhow!("annotation {ANNOTATION_SERVER} of ServiceAccount {READER_SERVICE_ACCOUNT}: {problem}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_keeps_the_detail() {
        let problem = br#"{"type":"tag:enact.dev,2026:problem/forbidden","status":403,"detail":"RBAC decides that"}"#;
        let status = br#"{"kind":"Status","message":"services \"http:enact-server:read\" not found","code":404}"#;
        let message = |status, from_server, body: &[u8]| refusal(status, from_server, body).to_string();
        assert_eq!(message(StatusCode::FORBIDDEN, true, problem), "RBAC decides that");
        assert!(message(StatusCode::NOT_FOUND, false, status).ends_with("--server NAMESPACE/SERVICE"));
        assert!(
            message(StatusCode::BAD_GATEWAY, false, b"<html>")
                .ends_with("the proxy of the API server answered 502 Bad Gateway")
        );
    }
}
