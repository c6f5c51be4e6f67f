//! Requests to the API server that several programs send.

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus, UserInfo};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client};

/// Longest wait for the API server to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// Returns a client without retries, because the senders of requests do not wait long. `read_timeout` is the longest wait for the next byte of
/// an answer; without it, the client keeps its default, which watches need.
///
/// # Errors
/// When no API server is configured.
pub async fn client(read_timeout: Option<Duration>) -> anyhow::Result<Client> {
    let mut config =
        kube::Config::infer().await.context("cannot find the API server; set KUBECONFIG or run in a pod")?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = read_timeout.or(config.read_timeout);
    Client::try_from(config).context("cannot set up the connection to the API server")
}

/// Checks that the API server answers, and that this service account may create TokenReviews.
///
/// # Errors
/// When one of these is not the case; the message is for a person.
pub async fn may_review_tokens(client: &Client) -> Result<(), String> {
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
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    // Every account may review its own rights, so a failure of this request means that the API server does not answer.
    let answer = api.create(&PostParams::default(), &review).await.map_err(|error| message(&error))?;
    if answer.status.is_some_and(|status| status.allowed) {
        return Ok(());
    }
    Err("this service account may not create tokenreviews; bind it to the ClusterRole that the chart creates for this program".into())
}

/// Returns the user of a token, if the API server accepts it for `audience`.
///
/// # Errors
/// When the API server does not answer; the message is for the log, and does not contain the token.
pub async fn user_of_token(client: &Client, token: &str, audience: &str) -> Result<Option<UserInfo>, String> {
    let review = TokenReview {
        spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![audience.to_owned()]) },
        ..TokenReview::default()
    };
    let body = serde_json::to_vec(&review).map_err(|error| error.to_string())?;
    let request = hyper::Request::post("/apis/authentication.k8s.io/v1/tokenreviews")
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|error| error.to_string())?;
    // The answer is read as text: kube logs an answer that it cannot parse, and the token is in it.
    let text = client.request_text(request).await.map_err(|error| message(&error))?;
    let review: TokenReview = serde_json::from_str(&text).map_err(|_| "its answer is not a TokenReview".to_owned())?;
    Ok(accepted_user(review.status.unwrap_or_default(), audience))
}

/// Returns whether a user has a right.
///
/// # Errors
/// When the API server does not answer.
pub async fn may(client: &Client, user: &UserInfo, right: ResourceAttributes) -> kube::Result<bool> {
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
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let status = api.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
    Ok(status.allowed && status.denied != Some(true))
}

/// Returns whether a pod has neither ended nor is being deleted.
pub fn pod_runs(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// Returns the user of a token that the API server accepts for `audience`.
fn accepted_user(status: TokenReviewStatus, audience: &str) -> Option<UserInfo> {
    // An authenticator without support for audiences accepts every token and lists no audience.
    let listed = status.audiences.unwrap_or_default().iter().any(|accepted| accepted == audience);
    (status.authenticated == Some(true) && listed).then(|| status.user.unwrap_or_default())
}

/// Returns the message of an error for people. Of a refusal, it is the message of the API server: kube's own text has a dump of the whole
/// answer.
pub fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.message.is_empty() => {
            format!("the API server answered {} {}", status.code, status.reason)
        }
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_refusal_is_shown_without_a_dump() {
        let refused = |text: &str| kube::Error::Api(Box::new(Status::failure(text, "Forbidden").with_code(403)));
        assert_eq!(message(&refused("pods is forbidden")), "pods is forbidden");
        assert_eq!(message(&refused("")), "the API server answered 403 Forbidden");
    }

    #[test]
    fn only_a_good_token_for_the_audience_is_accepted() {
        let review = |authenticated, audiences: &[&str]| TokenReviewStatus {
            authenticated,
            audiences: Some(audiences.iter().map(|audience| (*audience).to_owned()).collect()),
            user: Some(UserInfo { username: Some("ann".into()), ..UserInfo::default() }),
            error: None,
        };
        let user = accepted_user(review(Some(true), &["enact-server"]), "enact-server").unwrap();
        assert_eq!(user.username.as_deref(), Some("ann"));
        for refused in [
            review(Some(true), &[]),
            review(Some(true), &["https://kubernetes.default.svc"]),
            review(None, &["enact-server"]),
            review(Some(false), &["enact-server"]),
            TokenReviewStatus::default(),
        ] {
            assert_eq!(accepted_user(refused, "enact-server"), None);
        }
    }
}
