//! Requests to the API server about tokens, rights and namespaces.

use std::future::Future;
use std::time::Duration;

use enact_crds::identity::{accepted_user, tenant};
use enact_domain::names::{PUSH_SECRET, RESULT_AUDIENCE};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus, UserInfo};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::timeout;
use warp::http::{Request, header};

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
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some("authentication.k8s.io".into()),
                    resource: Some("tokenreviews".into()),
                    verb: Some("create".into()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        // Every account may review its own rights, so a failure of this request means that the API server does not answer.
        let answer = api.create(&PostParams::default(), &review).await.map_err(|error| error.to_string())?;
        if answer.status.is_some_and(|status| status.allowed) {
            return Ok(());
        }
        Err("this service account may not create tokenreviews; bind it to the server's ClusterRole".into())
    }

    /// Returns the user of a token that was made for this server. `remedy` ends the message about any other token.
    ///
    /// # Errors
    /// When the token is not accepted, or the API server does not answer.
    pub(crate) async fn user(&self, token: &Token, remedy: &str) -> Result<UserInfo, Problem> {
        let doing = "check a token";
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.expose().to_owned()),
                audiences: Some(vec![RESULT_AUDIENCE.into()]),
            },
            ..TokenReview::default()
        };
        let body = serde_json::to_vec(&review).map_err(|error| unavailable(doing, &error))?;
        let request = Request::post("/apis/authentication.k8s.io/v1/tokenreviews")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| unavailable(doing, &error))?;
        // The answer is read as text: kube logs an answer that it cannot parse, and the token is in it.
        let text = self.client.request_text(request).await.map_err(|error| unavailable(doing, &error))?;
        let review: TokenReview =
            serde_json::from_str(&text).map_err(|_| unavailable(doing, &"its answer is not a TokenReview"))?;
        accepted(review.status.unwrap_or_default(), remedy)
    }

    /// Returns whether `user` has this right.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(crate) async fn may(&self, user: &UserInfo, right: ResourceAttributes) -> Result<bool, Problem> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                extra: user.extra.clone(),
                groups: user.groups.clone(),
                uid: user.uid.clone(),
                user: user.username.clone(),
                resource_attributes: Some(right),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await;
        let status = answer.map_err(|error| unavailable("check a right", &error))?.status.unwrap_or_default();
        Ok(status.allowed && status.denied != Some(true))
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
        // The answer is read as text for the reason in `user`.
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

/// Returns the user of a token that is valid for the audience of this server.
fn accepted(status: TokenReviewStatus, remedy: &str) -> Result<UserInfo, Problem> {
    accepted_user(status, RESULT_AUDIENCE).ok_or_else(|| {
        tracing::info!("refused a token");
        let why = format!("the API server does not accept the token for the audience {RESULT_AUDIENCE}; {remedy}");
        Problem::new(ProblemKind::TokenRefused, why)
    })
}

/// Returns the problem for a failed request to the API server. The log contains the reason, which the sender does not get.
pub(crate) fn unavailable(doing: &str, error: &dyn std::fmt::Display) -> Problem {
    tracing::warn!(doing, %error, "a question to the API server failed");
    Problem::new(ProblemKind::Unavailable, "the API server cannot identify the sender at the moment; try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_good_token_for_this_audience_is_accepted() {
        let review = |authenticated, audiences: &[&str]| TokenReviewStatus {
            authenticated,
            audiences: Some(audiences.iter().map(|audience| (*audience).to_owned()).collect()),
            user: Some(UserInfo { username: Some("ann".into()), ..UserInfo::default() }),
            error: None,
        };
        let user = accepted(review(Some(true), &[RESULT_AUDIENCE]), "").unwrap();
        assert_eq!(user.username.as_deref(), Some("ann"));
        for refused in [
            review(Some(true), &[]),
            review(Some(true), &["https://kubernetes.default.svc"]),
            review(None, &[RESULT_AUDIENCE]),
            review(Some(false), &[RESULT_AUDIENCE]),
            TokenReviewStatus::default(),
        ] {
            let problem = accepted(refused, "it accepts others").unwrap_err();
            assert_eq!(problem.kind, ProblemKind::TokenRefused);
            assert!(problem.detail.ends_with("audience enact-server; it accepts others"), "{}", problem.detail);
        }
    }
}
