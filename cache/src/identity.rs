//! The identity of a runner: the pod of its token, and the repository that this pod may use.

use std::time::Duration;

use enact_crds::identity::{bound_pod, missing, tenant_of_cloning_pod};
use enact_domain::digest::Digest;
use enact_domain::names::{ANNOTATION_REPOSITORY, CACHE_AUDIENCE};
use enact_service::api_server::{may_review_tokens, pod_runs, user_of_token};
use http::{HeaderMap, StatusCode, header};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, Client};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::problem::Problem;

/// Most look-ups at once, and the longest wait for one.
const LOOKUPS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(6);
/// Largest token that is accepted, in bytes; those of Kubernetes have about a thousand.
const MAX_TOKEN_BYTES: usize = 8 << 10;
/// The remedy for a refused token.
const ACCEPTED: &str = "send the cache token that is mounted into the pod of an attempt, while the pod runs";

/// A runner that may use one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    pub tenant: String,
    pub pod_uid: String,
    /// Name of the repository in the cache, 64 hex digits: a digest of tenant, namespace and its UID, URL and credential.
    pub repository: String,
}

/// Identifies runners.
pub struct Identifier {
    client: Client,
    default_namespaces: Vec<String>,
    lookups: Semaphore,
}

impl Identifier {
    /// Makes an identifier that sends its requests with `client`. `default_namespaces` belong to the tenant `default`, unless a label
    /// names another tenant.
    pub fn new(client: Client, default_namespaces: &[String]) -> Self {
        let names = default_namespaces.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        let default_namespaces = names.map(str::to_owned).collect();
        Self { client, default_namespaces, lookups: Semaphore::new(LOOKUPS) }
    }

    /// Checks that the API server answers, and that this service account may create TokenReviews.
    ///
    /// # Errors
    /// When one of these is not the case; the message is for a person.
    pub async fn ready(&self) -> Result<(), String> {
        may_review_tokens(&self.client).await
    }

    /// Identifies the sender of a request.
    ///
    /// # Errors
    /// When it is not the running pod of an attempt with a repository, or one that waits for an attempt, or the API server does not answer.
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Requester, Problem> {
        let token = bearer(headers).ok_or_else(|| refused(format!("the request has no token; {ACCEPTED}")))?;
        let busy = || Problem::unavailable("the sender cannot be identified at the moment");
        let looked_up = timeout(PATIENCE, async {
            let _slot = self.lookups.acquire().await.map_err(|_| busy())?;
            self.look_up(token).await
        });
        looked_up.await.unwrap_or_else(|_| Err(busy()))
    }

    async fn look_up(&self, token: &str) -> Result<Requester, Problem> {
        let user = user_of_token(&self.client, token, CACHE_AUDIENCE).await;
        let user = user.map_err(|error| unavailable("check a token", &error))?.ok_or_else(|| {
            refused(format!("the API server does not accept the token for the audience {CACHE_AUDIENCE}; {ACCEPTED}"))
        })?;
        let bound = bound_pod(&user).map_err(refused)?;
        // Read from the API server, not from a watch: the cache then needs no memory for the pods of the cluster.
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &bound.namespace);
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let (pod, namespace) =
            futures::try_join!(pods.get_opt(&bound.name), namespaces.get_metadata_opt(&bound.namespace))
                .map_err(|error| unavailable("look up a pod and its namespace", &error))?;
        let pod = pod.filter(pod_runs).ok_or_else(|| refused(format!("the pod of the token has ended; {ACCEPTED}")))?;
        let namespace = namespace.map(|namespace| namespace.metadata).unwrap_or_default();
        let (pod_namespace, pod_uid) = (bound.namespace.clone(), bound.uid.clone());
        let tenant = tenant_of_cloning_pod(bound, &pod.metadata, &namespace, &self.default_namespaces);
        let tenant = tenant.map_err(refused)?;
        let annotation = pod.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION_REPOSITORY));
        let named =
            annotation.filter(|name| !name.is_empty()).ok_or_else(|| refused(missing(ANNOTATION_REPOSITORY)))?;
        // Names of Secrets belong to a namespace. A namespace can move to another tenant, and another one can have its name later.
        let uid = namespace.uid.as_deref().unwrap_or_default();
        let name = Digest::of_bytes(format!("{tenant}\0{pod_namespace}\0{uid}\0{named}").as_bytes());
        Ok(Requester { tenant, pod_uid, repository: name.as_str().trim_start_matches("sha256:").to_owned() })
    }
}

/// Returns the token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let fits = |c: u8| c.is_ascii_alphanumeric() || b"-._~+/=".contains(&c);
    let token = token.trim();
    let valid = !token.is_empty() && token.len() <= MAX_TOKEN_BYTES && token.bytes().all(fits);
    (scheme.eq_ignore_ascii_case("bearer") && valid).then_some(token)
}

fn refused(why: String) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, why)
}

/// Returns the refusal after a failed request to the API server. The log contains the reason, which the sender does not get.
fn unavailable(doing: &str, error: &dyn std::fmt::Display) -> Problem {
    tracing::warn!(doing, %error, "a question to the API server failed");
    Problem::unavailable("the API server cannot identify the sender at the moment")
}
