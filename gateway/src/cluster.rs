//! Requests to the API server.

use enact_crds::identity::{AgentPod, accepted_user, agent_pod, bound_pod};
use enact_domain::names::GATEWAY_AUDIENCE;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::credential::Token;
use crate::denial::{Denial, DenialKind};

/// The remedy for a refused token.
const ACCEPTED: &str = "send the gateway token that is mounted into the pod of an attempt, while the attempt runs";

/// The API server, which identifies pods.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    default_namespaces: Vec<String>,
}

impl Cluster {
    /// Makes a cluster that sends its requests with `client`. `default_namespaces` belong to the tenant `default`, unless a label names
    /// another tenant.
    pub fn new(client: Client, default_namespaces: &[String]) -> Self {
        let names = default_namespaces.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        Self { client, default_namespaces: names.map(str::to_owned).collect() }
    }

    /// Returns whether namespaces without a tenant's label can belong to the tenant `default`.
    pub fn has_default_tenant(&self) -> bool {
        !self.default_namespaces.is_empty()
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
        Err("this service account may not create tokenreviews; bind it to the gateway's ClusterRole".into())
    }

    /// Identifies the pod of a token, and the agent that runs in it.
    ///
    /// # Errors
    /// When the token is not accepted, its pod runs no agent or has ended, or the API server does not answer.
    pub async fn agent_pod(&self, token: &Token) -> Result<AgentPod, Denial> {
        let doing = "check a token";
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.expose().to_owned()),
                audiences: Some(vec![GATEWAY_AUDIENCE.into()]),
            },
            ..TokenReview::default()
        };
        let body = serde_json::to_vec(&review).map_err(|error| unavailable(doing, &error))?;
        let request = http::Request::post("/apis/authentication.k8s.io/v1/tokenreviews")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| unavailable(doing, &error))?;
        // The answer is read as text: kube logs an answer that it cannot parse, and the token is in it.
        let text = self.client.request_text(request).await.map_err(|error| unavailable(doing, &error))?;
        let review: TokenReview =
            serde_json::from_str(&text).map_err(|_| unavailable(doing, &"its answer is not a TokenReview"))?;
        let Some(user) = accepted_user(review.status.unwrap_or_default(), GATEWAY_AUDIENCE) else {
            let why =
                format!("the API server does not accept the token for the audience {GATEWAY_AUDIENCE}; {ACCEPTED}");
            return Err(refused(why));
        };
        let bound = bound_pod(&user).map_err(refused)?;
        // Read from the API server, not from a cache: a pod that has ended may use no model any more.
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &bound.namespace);
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let (pod, namespace) =
            futures::try_join!(pods.get_opt(&bound.name), namespaces.get_metadata_opt(&bound.namespace))
                .map_err(|error| unavailable("look up a pod and its namespace", &error))?;
        let pod = pod.filter(runs).ok_or_else(|| refused(format!("the pod of the token has ended; {ACCEPTED}")))?;
        let namespace = namespace.map(|namespace| namespace.metadata).unwrap_or_default();
        agent_pod(bound, &pod.metadata, &namespace, &self.default_namespaces).map_err(refused)
    }
}

/// Returns whether a pod has neither ended nor is being deleted.
fn runs(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}

fn refused(why: String) -> Denial {
    Denial::new(DenialKind::TokenRefused, why)
}

/// Returns the denial for a failed request to the API server. The log contains the reason, which the sender does not get.
fn unavailable(doing: &str, error: &dyn std::fmt::Display) -> Denial {
    tracing::warn!(doing, %error, "a question to the API server failed");
    Denial::new(DenialKind::Unavailable, "the API server cannot identify the sender at the moment").retry_after(2)
}
