//! Pods, reduced to the fields that show the state of an attempt.

use enact_domain::attempt::{ContainerView, PodPhase, PodView, Terminated};
use enact_domain::names;
use enact_domain::plan::LOST_SECONDS;
use enact_domain::time::Millis;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, ObjectMeta, Preconditions};
use kube::{Resource, ResourceExt as _};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::Error;

/// The last time that Kubernetes can write: the end of the year 9999.
const MAX_TIME: Millis = Millis(253_402_300_799_999);

/// A Pod with only the fields that the operator reads: ten thousand of them fit in a few megabytes.
#[derive(Resource, Clone, Debug, Default, Serialize, Deserialize)]
#[resource(inherit = Pod)]
pub struct AttemptPod {
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub status: Status,
}

/// The fields of a pod's status that the operator reads.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    phase: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    start_time: Option<Time>,
    conditions: Vec<PodCondition>,
    init_container_statuses: Vec<Container>,
    container_statuses: Vec<Container>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct PodCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Container {
    state: State,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    waiting: Option<Waiting>,
    terminated: Option<TerminatedState>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TerminatedState {
    exit_code: i32,
    reason: Option<String>,
    message: Option<String>,
    finished_at: Option<Time>,
}

impl Status {
    fn condition(&self, type_: &str, status: &str) -> Option<&PodCondition> {
        self.conditions.iter().find(|c| c.type_ == type_ && c.status == status)
    }
}

impl AttemptPod {
    /// Converts a pod that the API server returned.
    ///
    /// # Errors
    /// When its fields have unexpected types.
    pub fn of(pod: &Pod) -> Result<Self, Error> {
        let json = |source| Error::Json { what: "a Pod", source };
        serde_json::from_value(serde_json::to_value(pod).map_err(json)?).map_err(json)
    }

    /// Returns whether all containers have ended.
    pub fn has_ended(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// Returns whether the pod runs and its containers are ready.
    pub fn is_ready(&self) -> bool {
        self.status.condition("Ready", "True").is_some()
    }

    /// Returns the time from which on the pod belongs to its attempt: its creation, or the time at which a pod of a warm pool was assigned.
    fn begun(&self) -> Millis {
        let created = self.metadata.creation_timestamp.as_ref().map_or(Millis(0), enact_crds::convert::millis);
        let assigned =
            self.annotations().get(names::ANNOTATION_ASSIGNED_AT).and_then(|text| text.parse().ok()).map(Millis);
        // Whoever may change pods in the namespace can write any number. The record cannot hold every time.
        assigned.filter(|assigned| *assigned <= MAX_TIME).map_or(created, |assigned| created.max(assigned))
    }

    /// Returns the time at which a pod that is being deleted counts as lost, and frees its slot: its node may not respond, and the object
    /// may stay forever.
    pub fn lost_at(&self) -> Option<Millis> {
        let deleting = self.metadata.deletion_timestamp.as_ref().map(enact_crds::convert::millis)?;
        Some(deleting.plus_seconds(LOST_SECONDS))
    }

    /// Returns the state of the attempt. It is that of the first container that failed or cannot start, or else of the last one.
    pub fn view(&self) -> PodView {
        let status = &self.status;
        let containers = || status.init_container_statuses.iter().chain(&status.container_statuses);
        let failed = containers().find(|c| {
            c.state.terminated.as_ref().is_some_and(|t| t.exit_code != 0)
                || c.state.waiting.as_ref().is_some_and(|w| {
                    !matches!(w.reason.as_deref(), None | Some("PodInitializing" | "ContainerCreating"))
                })
        });
        // The containers run in this order, so that without a failure the last one shows the result.
        let deciding = failed.or_else(|| containers().last());
        PodView {
            phase: match status.phase.as_deref() {
                Some("Running") => PodPhase::Running,
                Some("Succeeded") => PodPhase::Succeeded,
                Some("Failed") => PodPhase::Failed,
                Some("Unknown") => PodPhase::Unknown,
                _ => PodPhase::Pending,
            },
            reason: status.reason.clone(),
            message: status.message.clone(),
            created: self.begun(),
            // For any reason of the scheduler: resources, a scheduling gate, or an internal error.
            unscheduled: status.condition("PodScheduled", "False").map(|c| c.message.clone().unwrap_or_default()),
            started: status.start_time.as_ref().map(enact_crds::convert::millis),
            set_up: status.condition("PodReadyToStartContainers", "True").is_some(),
            setup_failure: None,
            deleting: self.metadata.deletion_timestamp.as_ref().map(enact_crds::convert::millis),
            disrupted: status.condition("DisruptionTarget", "True").map(|c| c.reason.clone().unwrap_or_default()),
            container: deciding.map(Container::view).unwrap_or_default(),
        }
    }
}

impl Container {
    fn view(&self) -> ContainerView {
        ContainerView {
            waiting: self.state.waiting.as_ref().and_then(|w| w.reason.clone()),
            waiting_message: self.state.waiting.as_ref().and_then(|w| w.message.clone()),
            terminated: self.state.terminated.as_ref().map(|t| Terminated {
                exit_code: t.exit_code,
                reason: t.reason.clone(),
                message: t.message.clone(),
                finished: t.finished_at.as_ref().map(enact_crds::convert::millis),
            }),
        }
    }
}

/// Deletes the pod with this UID. A pod that was deleted already is not an error.
///
/// # Errors
/// When the API server fails.
pub async fn delete(ctx: &Context, namespace: &str, name: &str, uid: &str) -> Result<(), Error> {
    delete_if(ctx, namespace, name, Preconditions { uid: Some(uid.to_owned()), resource_version: None }).await
}

/// Deletes the pod with this UID, unless it has another resource version. It is not an error if the pod stays for this reason, or was
/// deleted already.
///
/// # Errors
/// When the API server fails.
pub async fn delete_unchanged(
    ctx: &Context,
    namespace: &str,
    name: &str,
    uid: &str,
    version: u64,
) -> Result<(), Error> {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: Some(version.to_string()) };
    delete_if(ctx, namespace, name, preconditions).await
}

async fn delete_if(ctx: &Context, namespace: &str, name: &str, preconditions: Preconditions) -> Result<(), Error> {
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace);
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    ctx.metrics.wrote("delete", "Pod");
    match pods.delete(name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(e)) if matches!(e.code, 404 | 409) => Ok(()),
        Err(e) => Err(Error::kube(format!("delete Pod {name}"))(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: &serde_json::Value) -> AttemptPod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"containers": []}, "status": status
        }))
        .unwrap()
    }

    #[test]
    fn an_attempt_begins_when_it_gets_its_pod() {
        let begun = |assigned: &str| {
            let mut pod = pod(&serde_json::json!({"phase": "Running"}));
            pod.metadata.annotations = Some([(names::ANNOTATION_ASSIGNED_AT.to_owned(), assigned.to_owned())].into());
            pod.view().created
        };
        let created = Millis(1_767_225_600_000);
        assert_eq!(begun("1767225607250"), Millis(created.0 + 7_250));
        assert_eq!((begun("x"), begun("12")), (created, created));
        assert_eq!(
            begun(&i64::MAX.to_string()),
            created,
            "the end of the attempt could not be recorded with this time"
        );
    }

    #[test]
    fn reads_a_disruption_while_its_condition_is_true() {
        let disrupted = |holds: &str| {
            let condition = serde_json::json!({"type": "DisruptionTarget", "status": holds, "reason": "DeletionByPodGC",
                "message": "PodGC: node no longer exists"});
            pod(&serde_json::json!({"phase": "Failed", "conditions": [condition]})).view().disrupted
        };
        assert_eq!(disrupted("True").as_deref(), Some("DeletionByPodGC"));
        assert_eq!(disrupted("False"), None, "the disruption controller takes back what did not come");
    }

    #[test]
    fn reads_the_scheduler_message_until_scheduled() {
        let scheduled = |status: &str| {
            let condition = serde_json::json!({"type": "PodScheduled", "status": status, "reason": "Unschedulable",
                "message": "0/1 nodes are available: 1 Insufficient memory."});
            pod(&serde_json::json!({"phase": "Pending", "conditions": [condition]})).view().unscheduled
        };
        assert_eq!(scheduled("False").as_deref(), Some("0/1 nodes are available: 1 Insufficient memory."));
        assert_eq!(scheduled("True"), None);
    }

    #[test]
    fn reads_the_first_failed_container() {
        let view = pod(&serde_json::json!({"phase": "Failed",
            "initContainerStatuses": [
                {"name": "merge", "state": {"terminated": {"exitCode": 0}}},
                {"name": "gate", "state": {"terminated": {"exitCode": 1, "message": "{\"reason\":\"GateFailed\"}"}}}],
            "containerStatuses": [{"name": "publish", "state": {"waiting": {"reason": "PodInitializing"}}}]
        }))
        .view();
        assert_eq!(view.phase, PodPhase::Failed);
        assert_eq!(view.container.terminated.unwrap().message.as_deref(), Some("{\"reason\":\"GateFailed\"}"));
    }
}
