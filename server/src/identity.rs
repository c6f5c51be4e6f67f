//! Who delivers: from a token to the attempt that its pod works on.

use enact_domain::names::{
    DEFAULT_TENANT, GROUP, INTEGRATION, LABEL_ATTEMPT, LABEL_PLAN_UID, LABEL_ROLE, LABEL_TENANT, RESULT_AUDIENCE,
};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use warp::http::{HeaderMap, Request, header};

use crate::problem::{Kind, Problem};

/// Largest token that is looked at, in bytes; Kubernetes' own have about a thousand.
const MAX_TOKEN_BYTES: usize = 8 << 10;
/// What the API server says of a token that is bound to a pod.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// A bearer token. It is shown to nobody but the API server.
pub struct Token(String);

impl Token {
    /// The token of a request.
    ///
    /// # Errors
    /// When there is not exactly one, or it cannot be a token.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let refused = |why: &str| Err(Problem::new(Kind::TokenRefused, why));
        let mut all = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (all.next(), all.next()) else {
            return refused("send one header `Authorization: Bearer <token>` with the pod's token");
        };
        let token = value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        let fits = |c: u8| c.is_ascii_alphanumeric() || b"-._~+/=".contains(&c);
        match token {
            Some(token) if !token.is_empty() && token.len() <= MAX_TOKEN_BYTES && token.bytes().all(fits) => {
                Ok(Self(token.to_owned()))
            }
            _ => refused("the header Authorization does not hold a bearer token"),
        }
    }
}

/// The attempt that a pod works on, as the cluster tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Tenant that owns the namespace.
    pub tenant: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID.
    pub pod_uid: String,
    /// UID of the Plan.
    pub plan_uid: String,
    /// UID of the Task, or of the Plan for an integration.
    pub subject_uid: String,
    /// Number of the attempt, from 1.
    pub attempt: u32,
}

/// The API server, asked about pods.
pub struct Cluster {
    client: Client,
    default_namespaces: Vec<String>,
}

impl Cluster {
    /// Asks with `client`; `default_namespaces` belong to the tenant `default` unless they are labelled otherwise.
    pub fn new(client: Client, default_namespaces: &[String]) -> Self {
        let names = default_namespaces.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        Self { client, default_namespaces: names.map(str::to_owned).collect() }
    }

    /// The attempt that the token's pod works on.
    ///
    /// # Errors
    /// When the token is not accepted, its pod works on none, or the API server does not answer.
    pub async fn identify(&self, token: &Token) -> Result<Worker, Problem> {
        let bound = bound_pod(self.review(token).await?)?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &bound.namespace);
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let (pod, namespace) =
            futures::try_join!(pods.get_metadata_opt(&bound.name), namespaces.get_metadata_opt(&bound.namespace))
                .map_err(|error| away("look up a pod and its namespace", &error))?;
        let Some(pod) = pod else { return Err(gone(&bound)) };
        let namespace = namespace.map(|namespace| namespace.metadata).unwrap_or_default();
        worker(bound, &pod.metadata, &namespace, &self.default_namespaces)
    }

    /// Checks that the API server answers, and that it answers questions about tokens.
    ///
    /// # Errors
    /// What is wrong, for a person.
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
        let answer = api.create(&PostParams::default(), &review).await.map_err(|error| error.to_string())?;
        if answer.status.is_some_and(|status| status.allowed) {
            return Ok(());
        }
        Err("this service account may not create tokenreviews; bind it to the server's ClusterRole".into())
    }

    async fn review(&self, token: &Token) -> Result<TokenReviewStatus, Problem> {
        let doing = "check a token";
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.0.clone()), audiences: Some(vec![RESULT_AUDIENCE.into()]) },
            ..TokenReview::default()
        };
        let body = serde_json::to_vec(&review).map_err(|error| away(doing, &error))?;
        let request = Request::post("/apis/authentication.k8s.io/v1/tokenreviews")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| away(doing, &error))?;
        // Read as text: an answer that kube cannot read would be logged by it, and the token is in it.
        let text = self.client.request_text(request).await.map_err(|error| away(doing, &error))?;
        let review: TokenReview =
            serde_json::from_str(&text).map_err(|_| away(doing, &"its answer is no TokenReview"))?;
        Ok(review.status.unwrap_or_default())
    }
}

/// The API server did not answer, or refused to; people read in the log why, and pods do not.
fn away(doing: &str, error: &dyn std::fmt::Display) -> Problem {
    tracing::warn!(doing, %error, "the API server did not answer as it should");
    Problem::new(Kind::Unavailable, "the API server cannot be asked about the pod now; try again")
}

/// The pod that a token was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct BoundPod {
    namespace: String,
    name: String,
    uid: String,
}

fn bound_pod(review: TokenReviewStatus) -> Result<BoundPod, Problem> {
    // An authenticator that knows nothing of audiences says yes to any, and lists none.
    let for_us = review.audiences.unwrap_or_default().iter().any(|audience| audience == RESULT_AUDIENCE);
    if review.authenticated != Some(true) || !for_us {
        tracing::info!("a token was refused");
        let why = format!(
            "the API server does not accept the token for the audience {RESULT_AUDIENCE}; it accepts the one that is mounted into a \
             pod of Enact, while the pod exists"
        );
        return Err(Problem::new(Kind::TokenRefused, why));
    }
    let user = review.user.unwrap_or_default();
    let username = user.username.as_deref().unwrap_or_default();
    let account = username.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
    match (account, only(&user, POD_NAME), only(&user, POD_UID)) {
        (Some((namespace, _)), Some(name), Some(uid)) => {
            Ok(BoundPod { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() })
        }
        _ => Err(not_yours("the token is not bound to a pod; send the one that is mounted into the pod")),
    }
}

/// The value under `key`, when there is exactly one.
fn only<'a>(user: &'a UserInfo, key: &str) -> Option<&'a str> {
    match user.extra.as_ref()?.get(key)?.as_slice() {
        [value] if !value.is_empty() => Some(value),
        _ => None,
    }
}

/// What `pod` works on, if it is the one that the token was made for and a pod of Enact in a tenant's namespace.
fn worker(
    bound: BoundPod,
    pod: &ObjectMeta,
    namespace: &ObjectMeta,
    default_namespaces: &[String],
) -> Result<Worker, Problem> {
    if pod.uid.as_deref() != Some(&bound.uid) {
        return Err(gone(&bound));
    }
    let tenant = label(namespace, LABEL_TENANT)
        .or_else(|| default_namespaces.contains(&bound.namespace).then_some(DEFAULT_TENANT))
        .ok_or_else(|| not_yours(format!("namespace {} belongs to no tenant", bound.namespace)))?;
    // The namespace's label is guarded by the webhook, a pod's own is not; they differ when a namespace changed hands.
    if label(pod, LABEL_TENANT) != Some(tenant) {
        return Err(not_yours(format!("the pod's label {LABEL_TENANT} is not {tenant}, the tenant of its namespace")));
    }
    let missing = |what: &str| not_yours(format!("the pod is none of Enact: it has no {what}"));
    let plan_uid = label(pod, LABEL_PLAN_UID).ok_or_else(|| missing(LABEL_PLAN_UID))?;
    let attempt = label(pod, LABEL_ATTEMPT)
        .and_then(|text| text.parse().ok())
        .filter(|number: &u32| *number > 0)
        .ok_or_else(|| missing(LABEL_ATTEMPT))?;
    let integrates = label(pod, LABEL_ROLE) == Some(INTEGRATION);
    let kind = if integrates { "Plan" } else { "Task" };
    let owners = pod.owner_references.iter().flatten();
    let owner = owners
        .filter(|owner| owner.controller == Some(true) && owner.kind == kind)
        .find(|owner| owner.api_version.split_once('/').is_some_and(|(group, _)| group == GROUP))
        .ok_or_else(|| missing(&format!("{kind} as its controller")))?;
    if integrates && owner.uid != plan_uid {
        return Err(not_yours(format!("the pod's label {LABEL_PLAN_UID} is not the UID of the Plan that owns it")));
    }
    Ok(Worker {
        tenant: tenant.to_owned(),
        namespace: bound.namespace,
        pod: bound.name,
        pod_uid: bound.uid,
        plan_uid: plan_uid.to_owned(),
        subject_uid: owner.uid.clone(),
        attempt,
    })
}

fn label<'a>(object: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    object.labels.as_ref()?.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

fn gone(bound: &BoundPod) -> Problem {
    let BoundPod { namespace, name, uid } = bound;
    not_yours(format!("the pod {namespace}/{name} with UID {uid}, for which the token was made, is gone"))
}

fn not_yours(why: impl Into<String>) -> Problem {
    Problem::new(Kind::NotYours, why)
}

#[cfg(test)]
mod tests;
