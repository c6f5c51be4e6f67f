//! The identity of pods by their tokens: the pure part, which the server and the model gateway share. The message of each error is for the
//! sender of the request.

use enact_domain::digest::Digest;
use enact_domain::names::{
    ANNOTATION_AGENT, ANNOTATION_ASSIGNMENT, ANNOTATION_MODELS, DEFAULT_TENANT, GROUP, INTEGRATION, LABEL_ATTEMPT,
    LABEL_PLAN, LABEL_PLAN_UID, LABEL_ROLE, LABEL_TASK, LABEL_TENANT, ROLE_DRAFT, ROLE_PROBE, ROLE_WAITING,
};
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// Keys of the API server's answer about a token that is bound to a pod.
pub const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
pub const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

const PLAN: &str = "Plan";

/// The pod that a token was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundPod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

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

/// The agent of a pod, and the names under which its usage is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPod {
    /// For the pod of a planner or judge, the draft of a specification and the probe of an Agent, `subject_uid` is the UID of the pod: the
    /// attempts at a document are counted from 1 again when its request changes. The two last belong to no plan, and `plan_uid` is empty.
    pub attempt: AttemptPod,
    /// Name of the Plan; empty for a pod that belongs to no plan.
    pub plan: String,
    /// Name of the Task; empty for a pod that belongs to no task.
    pub task: String,
    /// Namespace and name of the Agent.
    pub agent: (String, String),
    /// The digest of the approved [models](crate::agent_content::models_digest); none if no approval covers the Agent.
    pub models: Option<Digest>,
}

impl AgentPod {
    /// Returns the Agent as `<namespace>/<name>`.
    pub fn agent_id(&self) -> String {
        format!("{}/{}", self.agent.0, self.agent.1)
    }
}

/// Returns the pod that the token of `user` is bound to.
///
/// # Errors
/// When the token is not bound to a pod.
pub fn bound_pod(user: &UserInfo) -> Result<BoundPod, String> {
    // Only the user name contains the namespace of the pod. The API server writes it and the two extra keys from the token.
    let username = user.username.as_deref().unwrap_or_default();
    let account = username.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
    match (account, only(user, POD_NAME), only(user, POD_UID)) {
        (Some((namespace, _)), Some(name), Some(uid)) => {
            Ok(BoundPod { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() })
        }
        _ => Err("the token is not bound to a pod; send the one that is mounted into the pod".into()),
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
///
/// # Errors
/// When one of these is not the case.
pub fn attempt_pod(
    bound: BoundPod,
    pod: &ObjectMeta,
    namespace: &ObjectMeta,
    default_namespaces: &[String],
) -> Result<AttemptPod, String> {
    let tenant = tenant_of_pod(&bound, pod, namespace, default_namespaces)?;
    let plan_uid = label(pod, LABEL_PLAN_UID).ok_or_else(|| missing(LABEL_PLAN_UID))?;
    let attempt = attempt_number(pod)?;
    let is_integration = label(pod, LABEL_ROLE) == Some(INTEGRATION);
    let kind = if is_integration { PLAN } else { "Task" };
    let owner = controller(pod, &[kind]).ok_or_else(|| missing(&format!("{kind} as its controller")))?;
    // The owner reference and the label must agree, because the result is stored under both UIDs.
    if is_integration && owner.uid != plan_uid {
        return Err(format!("the pod's label {LABEL_PLAN_UID} is not the UID of the Plan that owns it"));
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

/// A pod of a warm pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolPod {
    /// It waits for an attempt of this tenant.
    Waiting { tenant: String },
    /// It works on an attempt, with this assignment as JSON.
    Assigned { attempt: AttemptPod, assignment: String },
}

/// Returns what a pod of a warm pool works on, with the checks of [`attempt_pod`].
///
/// # Errors
/// When it is not a pod of a warm pool, or one of the checks fails.
pub fn pool_pod(
    bound: BoundPod,
    pod: &ObjectMeta,
    namespace: &ObjectMeta,
    default_namespaces: &[String],
) -> Result<PoolPod, String> {
    if label(pod, LABEL_ROLE) == Some(ROLE_WAITING) {
        let tenant = tenant_of_owned_pod("Agent", &bound, pod, namespace, default_namespaces)?;
        return Ok(PoolPod::Waiting { tenant });
    }
    let attempt = attempt_pod(bound, pod, namespace, default_namespaces)?;
    let assignment = pod.annotations.as_ref().and_then(|all| all.get(ANNOTATION_ASSIGNMENT));
    let assignment = assignment
        .ok_or_else(|| format!("the pod is of no warm pool: it has no annotation {ANNOTATION_ASSIGNMENT}"))?;
    Ok(PoolPod::Assigned { attempt, assignment: assignment.clone() })
}

/// Returns the tenant of a pod that clones a repository: it works on an attempt, with the checks of [`attempt_pod`], waits for one, or plans.
///
/// # Errors
/// When it does neither, or one of the checks fails.
pub fn tenant_of_cloning_pod(
    bound: BoundPod,
    pod: &ObjectMeta,
    namespace: &ObjectMeta,
    default_namespaces: &[String],
) -> Result<String, String> {
    let kind = match label(pod, LABEL_ROLE) {
        Some(ROLE_WAITING) => "Agent",
        // A planner.
        Some(ROLE_DRAFT) => PLAN,
        _ => return Ok(attempt_pod(bound, pod, namespace, default_namespaces)?.tenant),
    };
    tenant_of_owned_pod(kind, &bound, pod, namespace, default_namespaces)
}

/// Returns the tenant of a pod that an object of this kind controls.
fn tenant_of_owned_pod(
    kind: &str,
    bound: &BoundPod,
    pod: &ObjectMeta,
    namespace: &ObjectMeta,
    default_namespaces: &[String],
) -> Result<String, String> {
    let tenant = tenant_of_pod(bound, pod, namespace, default_namespaces)?.to_owned();
    controller(pod, &[kind]).ok_or_else(|| missing(&format!("{kind} as its controller")))?;
    Ok(tenant)
}

/// Returns what `pod` works on without a task: the proposal of a planner, the verdict of a judge, the draft of a specification or the probe of
/// an Agent, with the checks of [`attempt_pod`]. An object of one of the `kinds` controls the pod. Also returns the name of the Plan, if it is
/// one.
fn pod_without_task(
    kinds: &[&str],
    bound: BoundPod,
    pod: &ObjectMeta,
    namespace: &ObjectMeta,
    default_namespaces: &[String],
) -> Result<(AttemptPod, String), String> {
    let tenant = tenant_of_pod(&bound, pod, namespace, default_namespaces)?.to_owned();
    let owner = controller(pod, kinds).ok_or_else(|| missing(&format!("{} as its controller", kinds.join(" or "))))?;
    let plan = Some(owner).filter(|owner| owner.kind == PLAN);
    let plan_uid = plan.map(|plan| plan.uid.clone()).unwrap_or_default();
    let attempt = AttemptPod {
        tenant,
        namespace: bound.namespace,
        pod: bound.name,
        subject_uid: bound.uid.clone(),
        pod_uid: bound.uid,
        plan_uid,
        attempt: attempt_number(pod)?,
    };
    Ok((attempt, plan.map(|plan| plan.name.clone()).unwrap_or_default()))
}

fn attempt_number(pod: &ObjectMeta) -> Result<u32, String> {
    let number = label(pod, LABEL_ATTEMPT).and_then(|text| text.parse().ok()).filter(|number: &u32| *number > 0);
    number.ok_or_else(|| missing(LABEL_ATTEMPT))
}

/// Returns the agent of `pod`, which works on an attempt or on the draft of a document, or probes the agent, with the checks of
/// [`attempt_pod`].
///
/// # Errors
/// When it does not work on one of these, or its agent uses no models.
pub fn agent_pod(
    bound: BoundPod,
    pod: &ObjectMeta,
    namespace: &ObjectMeta,
    default_namespaces: &[String],
) -> Result<AgentPod, String> {
    let without_task: Option<&[&str]> = match label(pod, LABEL_ROLE) {
        // What a planner or judge uses belongs to its plan, and to no attempt at it.
        Some(ROLE_DRAFT) => Some(&["Specification", PLAN]),
        Some(ROLE_PROBE) => Some(&["Agent"]),
        _ => None,
    };
    let named = |key: &str| label(pod, key).map(str::to_owned).ok_or_else(|| missing(key));
    let (attempt, plan, task) = match without_task {
        Some(kinds) => {
            let (attempt, plan) = pod_without_task(kinds, bound, pod, namespace, default_namespaces)?;
            (attempt, plan, String::new())
        }
        None => (attempt_pod(bound, pod, namespace, default_namespaces)?, named(LABEL_PLAN)?, named(LABEL_TASK)?),
    };
    let agent = pod.annotations.as_ref().and_then(|all| all.get(ANNOTATION_AGENT)).filter(|name| !name.is_empty());
    let agent =
        agent.ok_or_else(|| format!("the pod's agent uses no models: it has no annotation {ANNOTATION_AGENT}"))?;
    let (agent_namespace, name) = agent.split_once('/').unwrap_or((&attempt.namespace, agent));
    let agent = (agent_namespace.to_owned(), name.to_owned());
    let models = pod.annotations.as_ref().and_then(|all| all.get(ANNOTATION_MODELS));
    Ok(AgentPod { attempt, plan, task, agent, models: models.cloned().map(Digest::from) })
}

/// Returns the tenant of a pod, if the token was made for this pod.
///
/// # Errors
/// When the token was made for another pod of the same name, or the pod does not belong to the tenant of its namespace.
pub fn tenant_of_pod<'a>(
    bound: &BoundPod,
    pod: &ObjectMeta,
    namespace: &'a ObjectMeta,
    default_namespaces: &[String],
) -> Result<&'a str, String> {
    // Another pod may have the same name after the deletion of the first one.
    if pod.uid.as_deref() != Some(&bound.uid) {
        return Err(deleted(bound));
    }
    let tenant = tenant(&bound.namespace, namespace, default_namespaces)
        .ok_or_else(|| format!("namespace {} belongs to no tenant", bound.namespace))?;
    // The webhook guards the namespace's label, and nothing guards the pod's. They differ after the namespace moved to another tenant.
    if label(pod, LABEL_TENANT) != Some(tenant) {
        return Err(format!("the pod's label {LABEL_TENANT} is not {tenant}, the tenant of its namespace"));
    }
    Ok(tenant)
}

/// Returns the Enact object that controls a pod, if it has one of these kinds.
pub fn controller<'a>(pod: &'a ObjectMeta, kinds: &[&str]) -> Option<&'a OwnerReference> {
    // The group is compared too: kinds of other groups may have the same name.
    let owners = pod.owner_references.iter().flatten();
    owners
        .filter(|owner| owner.controller == Some(true) && kinds.contains(&owner.kind.as_str()))
        .find(|owner| owner.api_version.split_once('/').is_some_and(|(group, _)| group == GROUP))
}

/// Returns the tenant of the namespace `name`: its label, which the webhook guards, or the default tenant.
pub fn tenant<'a>(name: &str, namespace: &'a ObjectMeta, default_namespaces: &[String]) -> Option<&'a str> {
    let by_default = || default_namespaces.iter().any(|known| known == name).then_some(DEFAULT_TENANT);
    label(namespace, LABEL_TENANT).or_else(by_default)
}

/// Returns the value of a label that exists and is not empty.
pub fn label<'a>(object: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    object.labels.as_ref()?.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

/// Returns the message about a pod that lacks something.
pub fn missing(what: &str) -> String {
    format!("the pod is not a pod of Enact: it has no {what}")
}

/// Returns the message about a pod that was deleted.
pub fn deleted(bound: &BoundPod) -> String {
    let BoundPod { namespace, name, uid } = bound;
    format!("the pod {namespace}/{name} with UID {uid}, for which the token was made, does not exist any more")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(annotation: Option<&str>) -> ObjectMeta {
        let labels = [
            (LABEL_TENANT, "acme"),
            (LABEL_PLAN, "shop"),
            (LABEL_PLAN_UID, "plan-uid"),
            (LABEL_TASK, "shop-t001"),
            (LABEL_ATTEMPT, "2"),
        ];
        let owner = OwnerReference {
            api_version: "enact.dev/v1alpha1".into(),
            kind: "Task".into(),
            name: "shop-t001".into(),
            uid: "task-uid".into(),
            controller: Some(true),
            ..OwnerReference::default()
        };
        ObjectMeta {
            uid: Some("pod-uid".into()),
            labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
            annotations: annotation.map(|agent| [(ANNOTATION_AGENT.to_owned(), agent.to_owned())].into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        }
    }

    fn identify(pod: &ObjectMeta) -> Result<AgentPod, String> {
        let bound = BoundPod { namespace: "team".into(), name: "shop-t001-2".into(), uid: "pod-uid".into() };
        let namespace =
            ObjectMeta { labels: Some([(LABEL_TENANT.to_owned(), "acme".to_owned())].into()), ..ObjectMeta::default() };
        agent_pod(bound, pod, &namespace, &[])
    }

    #[test]
    fn a_draft_belongs_to_no_task_and_a_proposal_to_its_plan() {
        let mut draft = pod(Some("claude"));
        draft.labels = Some(
            [(LABEL_TENANT, "acme"), (LABEL_ROLE, ROLE_DRAFT), (LABEL_ATTEMPT, "1")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        );
        assert!(identify(&draft).unwrap_err().contains("Specification"), "a Task owns it");
        let owner = &mut draft.owner_references.as_mut().unwrap()[0];
        (owner.kind, owner.uid) = ("Specification".into(), "spec-uid".into());
        let found = identify(&draft).unwrap();
        assert_eq!((found.plan.as_str(), found.task.as_str(), found.attempt.plan_uid.as_str()), ("", "", ""));
        assert_eq!((found.attempt.subject_uid.as_str(), found.attempt.attempt), ("pod-uid", 1));
        assert_eq!(found.agent_id(), "team/claude");
        let owner = &mut draft.owner_references.as_mut().unwrap()[0];
        (owner.kind, owner.name, owner.uid) = (PLAN.into(), "cart".into(), "cart-uid".into());
        let planner = identify(&draft).unwrap();
        assert_eq!((planner.plan.as_str(), planner.task.as_str()), ("cart", ""), "a planner's proposal");
        assert_eq!((planner.attempt.plan_uid.as_str(), planner.attempt.subject_uid.as_str()), ("cart-uid", "pod-uid"));
        // It is not an attempt, so that the server takes no result from it.
        let bound = BoundPod { namespace: "team".into(), name: "draft".into(), uid: "pod-uid".into() };
        let namespace =
            ObjectMeta { labels: Some([(LABEL_TENANT.to_owned(), "acme".to_owned())].into()), ..ObjectMeta::default() };
        assert!(attempt_pod(bound, &draft, &namespace, &[]).unwrap_err().contains(LABEL_PLAN_UID));
        let cloning = |draft: &ObjectMeta| {
            let bound = BoundPod { namespace: "team".into(), name: "draft".into(), uid: "pod-uid".into() };
            tenant_of_cloning_pod(bound, draft, &namespace, &[])
        };
        assert_eq!(cloning(&draft).as_deref(), Ok("acme"), "a planner reads the repository of its plan");
        draft.owner_references.as_mut().unwrap()[0].kind = "Specification".into();
        assert!(cloning(&draft).unwrap_err().contains("Plan as its controller"), "only plans have a repository");
        draft.labels.as_mut().unwrap().insert(LABEL_TENANT.to_owned(), "other".to_owned());
        assert!(identify(&draft).unwrap_err().contains(LABEL_TENANT));
    }

    #[test]
    fn a_probe_belongs_to_its_agent() {
        let mut probe = pod(Some("claude"));
        probe.labels = Some(
            [(LABEL_TENANT, "acme"), (LABEL_ROLE, ROLE_PROBE), (LABEL_ATTEMPT, "1")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        );
        assert!(identify(&probe).unwrap_err().contains("Agent as its controller"), "a Task owns it");
        let owner = &mut probe.owner_references.as_mut().unwrap()[0];
        (owner.kind, owner.uid) = ("Agent".into(), "agent-uid".into());
        let found = identify(&probe).unwrap();
        assert_eq!((found.plan.as_str(), found.attempt.plan_uid.as_str()), ("", ""));
        assert_eq!((found.attempt.subject_uid.as_str(), found.agent_id().as_str()), ("pod-uid", "team/claude"));
    }

    #[test]
    fn a_waiting_pod_belongs_to_an_agent_and_has_no_attempt() {
        let read = |pod: &ObjectMeta| {
            let bound = BoundPod { namespace: "team".into(), name: "claude-w00000001".into(), uid: "pod-uid".into() };
            let labels = Some([(LABEL_TENANT.to_owned(), "acme".to_owned())].into());
            pool_pod(bound, pod, &ObjectMeta { labels, ..ObjectMeta::default() }, &[])
        };
        let mut assigned = pod(None);
        assert!(read(&assigned).unwrap_err().contains("of no warm pool"), "the attempt's own pod");
        assigned.annotations = Some([(ANNOTATION_ASSIGNMENT.to_owned(), "{}".to_owned())].into());
        let PoolPod::Assigned { attempt, assignment } = read(&assigned).unwrap() else { panic!("it waits") };
        assert_eq!((attempt.subject_uid.as_str(), attempt.attempt, assignment.as_str()), ("task-uid", 2, "{}"));
        // What else is in its metadata does not count while it waits.
        assigned.labels.as_mut().unwrap().insert(LABEL_ROLE.to_owned(), ROLE_WAITING.to_owned());
        assert!(read(&assigned).unwrap_err().contains("Agent as its controller"));
        assigned.owner_references.as_mut().unwrap()[0].kind = "Agent".into();
        assert_eq!(read(&assigned), Ok(PoolPod::Waiting { tenant: "acme".into() }));
        let bound = BoundPod { namespace: "team".into(), name: "claude-w00000001".into(), uid: "pod-uid".into() };
        let labels = Some([(LABEL_TENANT.to_owned(), "acme".to_owned())].into());
        let namespace = ObjectMeta { labels, ..ObjectMeta::default() };
        assert_eq!(tenant_of_cloning_pod(bound, &assigned, &namespace, &[]).as_deref(), Ok("acme"));
        assigned.labels.as_mut().unwrap().insert(LABEL_TENANT.to_owned(), "other".to_owned());
        assert!(read(&assigned).unwrap_err().contains(LABEL_TENANT));
    }

    #[test]
    fn the_annotation_names_the_agent() {
        let own = identify(&pod(Some("claude"))).unwrap();
        assert_eq!((own.plan.as_str(), own.task.as_str(), own.attempt.attempt), ("shop", "shop-t001", 2));
        assert_eq!(own.agent, ("team".into(), "claude".into()));
        assert_eq!(
            identify(&pod(Some("enact-system/claude"))).unwrap().agent,
            ("enact-system".into(), "claude".into())
        );
        for none in [None, Some("")] {
            assert!(identify(&pod(none)).unwrap_err().contains("uses no models"));
        }
        let mut without = pod(Some("claude"));
        without.labels.as_mut().unwrap().remove(LABEL_TASK);
        assert!(identify(&without).unwrap_err().contains(LABEL_TASK));
    }
}
