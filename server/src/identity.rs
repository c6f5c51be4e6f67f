//! Who delivers: from a token to the attempt that its pod works on, or to the document that it is to bring.

use enact_domain::names::{DRAFT, FETCH, GROUP, INTEGRATION, LABEL_ATTEMPT, LABEL_PLAN_UID, LABEL_ROLE, LABEL_TENANT};
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::ObjectMeta;

use crate::cluster::{Cluster, away, label, tenant};
use crate::problem::{Kind, Problem};
use crate::token::Token;

/// What the API server says of a token that is bound to a pod.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
/// The kinds that have a document.
const DOCUMENTS: [&str; 3] = ["Constitution", "Specification", "Plan"];
/// Which tokens are accepted from pods.
const ACCEPTED: &str = "it accepts the one that is mounted into a pod of Enact, while the pod exists";

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

/// The document that a pod is to bring, as the cluster tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Courier {
    /// Tenant that owns the namespace.
    pub tenant: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// UID of the Constitution, Specification or Plan whose document it is.
    pub subject_uid: String,
}

/// The pod of a token, and where it is.
struct Sender {
    bound: BoundPod,
    pod: ObjectMeta,
    namespace: ObjectMeta,
}

impl Cluster {
    /// The attempt that the token's pod works on.
    ///
    /// # Errors
    /// When the token is not accepted, its pod works on none, or the API server does not answer.
    pub async fn identify(&self, token: &Token) -> Result<Worker, Problem> {
        let Sender { bound, pod, namespace } = self.sender(token).await?;
        worker(bound, &pod, &namespace, &self.default_namespaces)
    }

    /// The document that the token's pod is to bring.
    ///
    /// # Errors
    /// The same, when it is to bring none.
    pub async fn courier(&self, token: &Token) -> Result<Courier, Problem> {
        let Sender { bound, pod, namespace } = self.sender(token).await?;
        courier(bound, &pod, &namespace, &self.default_namespaces)
    }

    async fn sender(&self, token: &Token) -> Result<Sender, Problem> {
        let bound = bound_pod(&self.user(token, ACCEPTED).await?)?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &bound.namespace);
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let (pod, namespace) =
            futures::try_join!(pods.get_metadata_opt(&bound.name), namespaces.get_metadata_opt(&bound.namespace))
                .map_err(|error| away("look up a pod and its namespace", &error))?;
        let Some(pod) = pod else { return Err(gone(&bound)) };
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
    let username = user.username.as_deref().unwrap_or_default();
    let account = username.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
    match (account, only(user, POD_NAME), only(user, POD_UID)) {
        (Some((namespace, _)), Some(name), Some(uid)) => {
            Ok(BoundPod { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() })
        }
        _ => Err(subject_mismatch("the token is not bound to a pod; send the one that is mounted into the pod")),
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
    let tenant = tenant_of(&bound, pod, namespace, default_namespaces)?;
    let plan_uid = label(pod, LABEL_PLAN_UID).ok_or_else(|| missing(LABEL_PLAN_UID))?;
    let attempt = label(pod, LABEL_ATTEMPT)
        .and_then(|text| text.parse().ok())
        .filter(|number: &u32| *number > 0)
        .ok_or_else(|| missing(LABEL_ATTEMPT))?;
    let integrates = label(pod, LABEL_ROLE) == Some(INTEGRATION);
    let kind = if integrates { "Plan" } else { "Task" };
    let owner = controller(pod, &[kind]).ok_or_else(|| missing(&format!("{kind} as its controller")))?;
    if integrates && owner.uid != plan_uid {
        return Err(subject_mismatch(format!("the pod's label {LABEL_PLAN_UID} is not the UID of the Plan that owns it")));
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

/// What `pod` is to bring, by the same rules.
fn courier(
    bound: BoundPod,
    pod: &ObjectMeta,
    namespace: &ObjectMeta,
    default_namespaces: &[String],
) -> Result<Courier, Problem> {
    let tenant = tenant_of(&bound, pod, namespace, default_namespaces)?.to_owned();
    if !matches!(label(pod, LABEL_ROLE), Some(FETCH | DRAFT)) {
        return Err(subject_mismatch(format!(
            "the pod brings no document: its label {LABEL_ROLE} is neither {FETCH} nor {DRAFT}"
        )));
    }
    let owner =
        controller(pod, &DOCUMENTS).ok_or_else(|| missing("Constitution, Specification or Plan as its controller"))?;
    Ok(Courier { tenant, namespace: bound.namespace, pod: bound.name, subject_uid: owner.uid.clone() })
}

/// The tenant of a pod, if it is the one that the token was made for.
fn tenant_of<'a>(
    bound: &BoundPod,
    pod: &ObjectMeta,
    namespace: &'a ObjectMeta,
    default_namespaces: &[String],
) -> Result<&'a str, Problem> {
    if pod.uid.as_deref() != Some(&bound.uid) {
        return Err(gone(bound));
    }
    let tenant = tenant(&bound.namespace, namespace, default_namespaces)
        .ok_or_else(|| subject_mismatch(format!("namespace {} belongs to no tenant", bound.namespace)))?;
    // The namespace's label is guarded by the webhook, a pod's own is not; they differ when a namespace changed hands.
    if label(pod, LABEL_TENANT) != Some(tenant) {
        return Err(subject_mismatch(format!("the pod's label {LABEL_TENANT} is not {tenant}, the tenant of its namespace")));
    }
    Ok(tenant)
}

/// The object of ours that controls a pod, if it is of one of these kinds.
fn controller<'a>(pod: &'a ObjectMeta, kinds: &[&str]) -> Option<&'a OwnerReference> {
    let owners = pod.owner_references.iter().flatten();
    owners
        .filter(|owner| owner.controller == Some(true) && kinds.contains(&owner.kind.as_str()))
        .find(|owner| owner.api_version.split_once('/').is_some_and(|(group, _)| group == GROUP))
}

fn missing(what: &str) -> Problem {
    subject_mismatch(format!("the pod is none of Enact: it has no {what}"))
}

fn gone(bound: &BoundPod) -> Problem {
    let BoundPod { namespace, name, uid } = bound;
    subject_mismatch(format!("the pod {namespace}/{name} with UID {uid}, for which the token was made, is gone"))
}

fn subject_mismatch(why: impl Into<String>) -> Problem {
    Problem::new(Kind::SubjectMismatch, why)
}

#[cfg(test)]
mod tests;
