//! Requests to the API server about tokens, rights and namespaces.

use std::future::Future;
use std::time::Duration;

use enact_crds::identity::tenant;
use enact_domain::names::{PUSH_SECRET, RESULT_AUDIENCE};
use enact_service::api_server::{self, may_review_tokens, user_of_token};
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio::time::timeout;
use warp::http::Request;

use crate::problem::{Problem, ProblemKind};
use crate::push_auth::secrets;
use crate::token::Token;

/// The API server, which identifies and authorizes the senders of requests.
pub struct Cluster {
    pub(crate) client: Client,
    pub(crate) default_namespaces: Vec<String>,
}

impl Cluster {
    /// Makes a cluster that sends its requests with `client`. `default_namespaces` belong to the tenant `default`, unless a label names
    /// another tenant.
    pub fn new(client: Client, default_namespaces: &[String]) -> Self {
        let names = default_namespaces.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        Self { client, default_namespaces: names.map(str::to_owned).collect() }
    }

    /// Checks that the API server answers, and that this service account may create TokenReviews.
    ///
    /// # Errors
    /// When one of these is not the case; the message is for a person.
    pub async fn ready(&self) -> Result<(), String> {
        may_review_tokens(&self.client).await
    }

    /// Returns the user of a token that was made for this server. `remedy` ends the message about any other token.
    ///
    /// # Errors
    /// When the token is not accepted, or the API server does not answer.
    pub(crate) async fn user(&self, token: &Token, remedy: &str) -> Result<UserInfo, Problem> {
        let user = user_of_token(&self.client, token.expose(), RESULT_AUDIENCE).await;
        user.map_err(|error| unavailable("check a token", &error))?.ok_or_else(|| {
            tracing::info!("refused a token");
            let why = format!("the API server does not accept the token for the audience {RESULT_AUDIENCE}; {remedy}");
            Problem::new(ProblemKind::TokenRefused, why)
        })
    }

    /// Returns whether `user` has this right.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(crate) async fn may(&self, user: &UserInfo, right: ResourceAttributes) -> Result<bool, Problem> {
        api_server::may(&self.client, user, right).await.map_err(|error| unavailable("check a right", &error))
    }

    /// Returns the secrets with which Git hosts sign their pushes to this namespace; empty when the namespace has no such Secret.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(crate) async fn push_secrets(&self, namespace: &str) -> Result<Vec<Vec<u8>>, Problem> {
        let doing = "read a Secret";
        // The caller has checked that `namespace` is a DNS label, so it cannot change the path.
        let request = Request::get(format!("/api/v1/namespaces/{namespace}/secrets/{PUSH_SECRET}"));
        let request = request.body(Vec::new()).map_err(|error| unavailable(doing, &error))?;
        // The answer is read as text because kube logs an answer that it cannot parse.
        match self.client.request_text(request).await {
            Ok(text) => {
                serde_json::from_str(&text).map(secrets).map_err(|_| unavailable(doing, &"its answer is not a Secret"))
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
            Err(error) => Err(unavailable(doing, &error)),
        }
    }

    /// Returns the tenant that owns a namespace, if one does.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(crate) async fn tenant_of(&self, namespace: &str) -> Result<Option<String>, Problem> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let found =
            api.get_metadata_opt(namespace).await.map_err(|error| unavailable("look up a namespace", &error))?;
        let found = found.map(|namespace| namespace.metadata);
        Ok(found.and_then(|meta| tenant(namespace, &meta, &self.default_namespaces).map(str::to_owned)))
    }
}

/// Waits for an answer of the API server until a timeout. `about` names the subject of the request in messages.
pub(crate) async fn in_time<T>(
    limit: Duration,
    about: &str,
    answer: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    timeout(limit, answer).await.unwrap_or_else(|_| {
        tracing::warn!(about, "the API server did not answer in time");
        let why = format!("the API server did not answer a question about the {about} in time; try again");
        Err(Problem::new(ProblemKind::Unavailable, why))
    })
}

/// Returns the problem for a failed request to the API server. The log contains the reason, which the sender does not get.
pub(crate) fn unavailable(doing: &str, error: &dyn std::fmt::Display) -> Problem {
    tracing::warn!(doing, %error, "a question to the API server failed");
    Problem::new(ProblemKind::Unavailable, "the API server cannot identify the sender at the moment; try again")
}
