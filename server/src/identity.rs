//! The identity of pods: finds the attempt that the pod of a token works on, or the document that it may deliver.

use enact_domain::names::{
    GROUP, INTEGRATION, LABEL_ATTEMPT, LABEL_PLAN_UID, LABEL_ROLE, LABEL_TENANT, ROLE_DRAFT, ROLE_FETCH,
};
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::ObjectMeta;

use crate::cluster::{Cluster, label, tenant, unavailable};
use crate::problem::{Problem, ProblemKind};
use crate::token::Token;

/// Keys of the API server's answer about a token that is bound to a pod.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
/// Kinds of objects with a document.
const DOCUMENTS: [&str; 3] = ["Constitution", "Specification", "Plan"];
/// The remedy for a refused token.
const ACCEPTED: &str = "send the token that is mounted into a pod of Enact, while the pod exists";

/// A pod that works on an attempt, according to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptPod {
    pub tenant: String,
    pub namespace: String,
    pub pod: String,
    pub pod_uid: String,
    pub plan_uid: String,
    /// UID of the Task, or of the Plan for an integration.
    pub subject_uid: String,
    /// Number of the attempt, from 1.
    pub attempt: u32,
}

/// A pod that delivers a document, according to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentPod {
    pub tenant: String,
    pub namespace: String,
    pub pod: String,
    /// UID of the Constitution, Specification or Plan whose document it is.
    pub subject_uid: String,
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

    /// Identifies the document that the token's pod may deliver.
    ///
    /// # Errors
    /// When the token is not accepted, its pod delivers no document, or the API server does not answer.
    pub async fn document_pod(&self, token: &Token) -> Result<DocumentPod, Problem> {
        let Sender { bound, pod, namespace } = self.sender(token).await?;
        document_pod(bound, &pod, &namespace, &self.default_namespaces)
    }

    async fn sender(&self, token: &Token) -> Result<Sender, Problem> {
        let bound = bound_pod(&self.user(token, ACCEPTED).await?)?;
        // Read from the API server, not from a cache: a deleted pod may not deliver any more.
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &bound.namespace);
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let (pod, namespace) =
            futures::try_join!(pods.get_metadata_opt(&bound.name), namespaces.get_metadata_opt(&bound.namespace))
                .map_err(|error| unavailable("look up a pod and its namespace", &error))?;
        let Some(pod) = pod else { return Err(deleted(&bound)) };
        let namespace = namespace.map(|namespace| namespace.metadata).unwrap_or_default();
        Ok(Sender { bound, pod: pod.metadata, namespace })
    }
}

/// The pod that a token was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct BoundPod {
    namespace: String,
    name: String,
    uid: String,
}

fn bound_pod(user: &UserInfo) -> Result<BoundPod, Problem> {
    // Only the user name contains the namespace of the pod. The API server writes it and the two extra keys from the token.
    let username = user.username.as_deref().unwrap_or_default();
    let account = username.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
    match (account, only(user, POD_NAME), only(user, POD_UID)) {
        (Some((namespace, _)), Some(name), Some(uid)) => {
            Ok(BoundPod { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() })
        }
        _ => Err(subject_mismatch("the token is not bound to a pod; send the one that is mounted into the pod")),
    }
}

/// Returns the value of `key`, when there is exactly one.
fn only<'a>(user: &'a UserInfo, key: &str) -> Option<&'a str> {
    match user.extra.as_ref()?.get(key)?.as_slice() {
        [value] if !value.is_empty() => Some(value),
        _ => None,
    }
}

/// Returns the attempt of `pod`, if the token was made for this pod and it is a pod of Enact in a tenant's namespace.
fn attempt_pod(
    bound: BoundPod,
    pod: &ObjectMeta,
    namespace: &ObjectMeta,
    default_namespaces: &[String],
) -> Result<AttemptPod, Problem> {
    let tenant = tenant_of(&bound, pod, namespace, default_namespaces)?;
    let plan_uid = label(pod, LABEL_PLAN_UID).ok_or_else(|| missing(LABEL_PLAN_UID))?;
    let attempt = label(pod, LABEL_ATTEMPT)
        .and_then(|text| text.parse().ok())
        .filter(|number: &u32| *number > 0)
        .ok_or_else(|| missing(LABEL_ATTEMPT))?;
    let is_integration = label(pod, LABEL_ROLE) == Some(INTEGRATION);
    let kind = if is_integration { "Plan" } else { "Task" };
    let owner = controller(pod, &[kind]).ok_or_else(|| missing(&format!("{kind} as its controller")))?;
    // The owner reference and the label must agree, because the result is stored under both UIDs.
    if is_integration && owner.uid != plan_uid {
        return Err(subject_mismatch(format!(
            "the pod's label {LABEL_PLAN_UID} is not the UID of the Plan that owns it"
        )));
    }
    Ok(AttemptPod {
        tenant: tenant.to_owned(),
        namespace: bound.namespace,
        pod: bound.name,
        pod_uid: bound.uid,
        plan_uid: plan_uid.to_owned(),
        subject_uid: owner.uid.clone(),
        attempt,
    })
}

/// Returns the document of `pod`, with the same checks as [`attempt_pod`].
fn document_pod(
    bound: BoundPod,
    pod: &ObjectMeta,
    namespace: &ObjectMeta,
    default_namespaces: &[String],
) -> Result<DocumentPod, Problem> {
    let tenant = tenant_of(&bound, pod, namespace, default_namespaces)?.to_owned();
    if !matches!(label(pod, LABEL_ROLE), Some(ROLE_FETCH | ROLE_DRAFT)) {
        return Err(subject_mismatch(format!(
            "the pod delivers no document: its label {LABEL_ROLE} is neither {ROLE_FETCH} nor {ROLE_DRAFT}"
        )));
    }
    let owner =
        controller(pod, &DOCUMENTS).ok_or_else(|| missing("Constitution, Specification or Plan as its controller"))?;
    Ok(DocumentPod { tenant, namespace: bound.namespace, pod: bound.name, subject_uid: owner.uid.clone() })
}

/// Returns the tenant of a pod, if the token was made for this pod.
fn tenant_of<'a>(
    bound: &BoundPod,
    pod: &ObjectMeta,
    namespace: &'a ObjectMeta,
    default_namespaces: &[String],
) -> Result<&'a str, Problem> {
    // Another pod may have the same name after the deletion of the first one.
    if pod.uid.as_deref() != Some(&bound.uid) {
        return Err(deleted(bound));
    }
    let tenant = tenant(&bound.namespace, namespace, default_namespaces)
        .ok_or_else(|| subject_mismatch(format!("namespace {} belongs to no tenant", bound.namespace)))?;
    // The webhook guards the namespace's label, and nothing guards the pod's. They differ after the namespace moved to another tenant.
    if label(pod, LABEL_TENANT) != Some(tenant) {
        return Err(subject_mismatch(format!(
            "the pod's label {LABEL_TENANT} is not {tenant}, the tenant of its namespace"
        )));
    }
    Ok(tenant)
}

/// Returns the Enact object that controls a pod, if it has one of these kinds.
fn controller<'a>(pod: &'a ObjectMeta, kinds: &[&str]) -> Option<&'a OwnerReference> {
    // The group is compared too: kinds of other groups may have the same name.
    let owners = pod.owner_references.iter().flatten();
    owners
        .filter(|owner| owner.controller == Some(true) && kinds.contains(&owner.kind.as_str()))
        .find(|owner| owner.api_version.split_once('/').is_some_and(|(group, _)| group == GROUP))
}

fn missing(what: &str) -> Problem {
    subject_mismatch(format!("the pod is not a pod of Enact: it has no {what}"))
}

fn deleted(bound: &BoundPod) -> Problem {
    let BoundPod { namespace, name, uid } = bound;
    subject_mismatch(format!(
        "the pod {namespace}/{name} with UID {uid}, for which the token was made, does not exist any more"
    ))
}

fn subject_mismatch(why: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::SubjectMismatch, why)
}

#[cfg(test)]
mod tests;
