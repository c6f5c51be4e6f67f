//! The identity of pods: finds the attempt that the pod of a token works on, or the document that it may deliver.

pub use enact_crds::identity::AttemptPod;
use enact_crds::identity::{self, BoundPod, PoolPod, bound_pod, label};
use enact_domain::names::{LABEL_ROLE, ROLE_DRAFT, ROLE_FETCH};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::ObjectMeta;

use crate::cluster::{Cluster, unavailable};
use crate::problem::{Problem, ProblemKind};
use crate::token::Token;

/// Kinds of objects with a document.
const DOCUMENTS: [&str; 3] = ["Constitution", "Specification", "Plan"];
/// The remedy for a refused token.
const ACCEPTED: &str = "send the token that is mounted into a pod of Enact, while the pod exists";

/// A pod that delivers a document, according to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentPod {
    pub tenant: String,
    pub namespace: String,
    pub pod: String,
    pub pod_uid: String,
    /// UID of the Constitution, Specification or Plan whose document it is.
    pub subject_uid: String,
}

/// A version of a Pod object.
#[derive(Clone, Debug)]
pub struct SeenPod {
    pub namespace: String,
    pub name: String,
    pub version: String,
}

/// The pod of a token, and its namespace.
struct Sender {
    bound: BoundPod,
    pod: ObjectMeta,
    namespace: ObjectMeta,
}

impl Cluster {
    /// Identifies the attempt that the token's pod works on.
    ///
    /// # Errors
    /// When the token is not accepted, its pod works on no attempt, or the API server does not answer.
    pub async fn attempt_pod(&self, token: &Token) -> Result<AttemptPod, Problem> {
        let Sender { bound, pod, namespace } = self.sender(token).await?;
        attempt_pod(bound, &pod, &namespace, &self.default_namespaces)
    }

    /// Identifies the pod of a warm pool, and returns the version of it that was read.
    ///
    /// # Errors
    /// When the token is not accepted, its pod is not a pod of a warm pool, or the API server does not answer.
    pub async fn pool_pod(&self, token: &Token) -> Result<(PoolPod, SeenPod), Problem> {
        let Sender { bound, pod, namespace } = self.sender(token).await?;
        let version = pod.resource_version.clone().unwrap_or_default();
        let seen = SeenPod { namespace: bound.namespace.clone(), name: bound.name.clone(), version };
        let found = identity::pool_pod(bound, &pod, &namespace, &self.default_namespaces).map_err(subject_mismatch)?;
        Ok((found, seen))
    }

    /// Identifies the document that the token's pod may deliver.
    ///
    /// # Errors
    /// When the token is not accepted, its pod delivers no document, or the API server does not answer.
    pub async fn document_pod(&self, token: &Token) -> Result<DocumentPod, Problem> {
        let Sender { bound, pod, namespace } = self.sender(token).await?;
        document_pod(bound, &pod, &namespace, &self.default_namespaces)
    }

    async fn sender(&self, token: &Token) -> Result<Sender, Problem> {
        let bound = bound_pod(&self.user(token, ACCEPTED).await?).map_err(subject_mismatch)?;
        // Read from the API server, not from a cache: a deleted pod may not deliver any more.
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &bound.namespace);
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let (pod, namespace) =
            futures::try_join!(pods.get_metadata_opt(&bound.name), namespaces.get_metadata_opt(&bound.namespace))
                .map_err(|error| unavailable("look up a pod and its namespace", &error))?;
        let Some(pod) = pod else { return Err(subject_mismatch(identity::deleted(&bound))) };
        let namespace = namespace.map(|namespace| namespace.metadata).unwrap_or_default();
        Ok(Sender { bound, pod: pod.metadata, namespace })
    }
}

/// Returns the attempt of `pod`, if the token was made for this pod and it is a pod of Enact in a tenant's namespace.
fn attempt_pod(
    bound: BoundPod,
    pod: &ObjectMeta,
    namespace: &ObjectMeta,
    default_namespaces: &[String],
) -> Result<AttemptPod, Problem> {
    identity::attempt_pod(bound, pod, namespace, default_namespaces).map_err(subject_mismatch)
}

/// Returns the document of `pod`, with the same checks as [`attempt_pod`].
fn document_pod(
    bound: BoundPod,
    pod: &ObjectMeta,
    namespace: &ObjectMeta,
    default_namespaces: &[String],
) -> Result<DocumentPod, Problem> {
    let tenant =
        identity::tenant_of_pod(&bound, pod, namespace, default_namespaces).map_err(subject_mismatch)?.to_owned();
    if !matches!(label(pod, LABEL_ROLE), Some(ROLE_FETCH | ROLE_DRAFT)) {
        return Err(subject_mismatch(format!(
            "the pod delivers no document: its label {LABEL_ROLE} is neither {ROLE_FETCH} nor {ROLE_DRAFT}"
        )));
    }
    let owner = identity::controller(pod, &DOCUMENTS)
        .ok_or_else(|| subject_mismatch(identity::missing("Constitution, Specification or Plan as its controller")))?;
    let BoundPod { namespace, name: pod, uid: pod_uid } = bound;
    Ok(DocumentPod { tenant, namespace, pod, pod_uid, subject_uid: owner.uid.clone() })
}

fn subject_mismatch(why: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::SubjectMismatch, why)
}

#[cfg(test)]
mod tests;
