//! Requests to the API server.

use enact_crds::identity::{AgentPod, agent_pod, bound_pod};
use enact_domain::names::{self, GATEWAY_AUDIENCE, LABEL_ATTEMPT};
use enact_service::api_server::{may_review_tokens, pod_runs, user_of_token};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, Client};

use crate::credential::Token;
use crate::denial::{Denial, DenialKind};

/// The remedy for a refused token.
const ACCEPTED: &str = "send the gateway token that is mounted into the pod of an attempt, while the attempt runs";

/// Longest UID, in bytes; those of Kubernetes have 36.
const MAX_UID_BYTES: usize = 64;

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
        may_review_tokens(&self.client).await
    }

    /// Identifies the pod of a token, and the agent that runs in it.
    ///
    /// # Errors
    /// When the token is not accepted, its pod runs no agent or has ended, or the API server does not answer.
    pub async fn agent_pod(&self, token: &Token) -> Result<AgentPod, Denial> {
        let user = user_of_token(&self.client, token.expose(), GATEWAY_AUDIENCE).await;
        let user = user.map_err(|error| unavailable("check a token", &error))?.ok_or_else(|| {
            let why =
                format!("the API server does not accept the token for the audience {GATEWAY_AUDIENCE}; {ACCEPTED}");
            refused(why)
        })?;
        let bound = bound_pod(&user).map_err(refused)?;
        // Read from the API server, not from a cache: a pod that has ended may use no model any more.
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &bound.namespace);
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let (pod, namespace) =
            futures::try_join!(pods.get_opt(&bound.name), namespaces.get_metadata_opt(&bound.namespace))
                .map_err(|error| unavailable("look up a pod and its namespace", &error))?;
        let pod = pod.filter(pod_runs).ok_or_else(|| refused(format!("the pod of the token has ended; {ACCEPTED}")))?;
        let namespace = namespace.map(|namespace| namespace.metadata).unwrap_or_default();
        let pod = agent_pod(bound, &pod.metadata, &namespace, &self.default_namespaces).map_err(refused)?;
        if !can_be_recorded(&pod) {
            return Err(refused(format!(
                "the pod's label {LABEL_ATTEMPT}, or name or UID of its owner, cannot be that of an attempt"
            )));
        }
        Ok(pod)
    }
}

/// Returns whether Postgres takes the requests of a pod. Tenants can create pods with any number and owner, and one request that it does
/// not take is refused with all others of its batch, also when it was sent already.
fn can_be_recorded(AgentPod { attempt, plan, .. }: &AgentPod) -> bool {
    // That of a planner is in the owner reference, whose name the API server does not check.
    let is_name = plan.is_empty() || names::is_subdomain(plan);
    let is_uid = |uid: &str| uid.len() <= MAX_UID_BYTES && uid.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    is_name && i32::try_from(attempt.attempt).is_ok() && is_uid(&attempt.subject_uid) && is_uid(&attempt.plan_uid)
}

fn refused(why: String) -> Denial {
    Denial::new(DenialKind::TokenRefused, why)
}

/// Returns the denial for a failed request to the API server. The log contains the reason, which the sender does not get.
fn unavailable(doing: &str, error: &dyn std::fmt::Display) -> Denial {
    tracing::warn!(doing, %error, "a question to the API server failed");
    Denial::new(DenialKind::Unavailable, "the API server cannot identify the sender at the moment").retry_after(2)
}
