//! Task: one piece of work of a plan, done by attempts that are pods.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Condition, Gate, LocalRef, Outputs, Resources, RetryPolicy, Time};

/// One piece of work of a plan. Created by the operator from the plan; immutable.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "enact.dev",
    version = "v1alpha1",
    kind = "Task",
    namespaced,
    status = "TaskStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "tk",
    category = "enact",
    doc = "One piece of work of a plan, done by attempts that are pods. Created by the operator; immutable.",
    selectable = ".spec.planRef.name",
    selectable = ".spec.id",
    selectable = ".status.phase",
    printcolumn(name = "Plan", type_ = "string", json_path = ".spec.planRef.name"),
    printcolumn(name = "ID", type_ = "string", json_path = ".spec.id"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Attempts", type_ = "integer", json_path = ".status.attempts"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Title", type_ = "string", json_path = ".spec.title", priority = 1),
    printcolumn(name = "Commit", type_ = "string", json_path = ".status.commit", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self == oldSelf").message("a Task cannot be changed; change its Plan, or annotate enact.dev/rerun to try again"))]
pub struct TaskSpec {
    /// The plan that it belongs to.
    pub plan_ref: LocalRef,
    /// What is to be done.
    #[serde(flatten)]
    pub work: TaskTemplate,
}

/// What is to be done: a task as a plan writes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskTemplate {
    /// The task's id, unique in the plan: `T001`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$"))]
    pub id: String,
    /// One line for people.
    #[schemars(length(min = 1, max = 1024))]
    pub title: String,
    /// What the agent is told, besides the title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65_536))]
    pub prompt: Option<String>,
    /// For an agent of the adapter Command: the script for `/bin/sh -e`, run at the root of the working tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65_536))]
    pub script: Option<String>,
    /// Phase of Spec Kit's tasks.md that it stands in; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub phase: Option<String>,
    /// User story that it serves, `US1`; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub story: Option<String>,
    /// Requirements that it serves, `FR-003`, besides those that its text names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 63)))]
    pub requirements: Vec<String>,
    /// Ids of the tasks that must have succeeded before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2000), inner(length(min = 1, max = 63)))]
    pub depends_on: Vec<String>,
    /// The agent; default: the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_ref: Option<LocalRef>,
    /// Commands that must succeed in the working tree before its work counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub gates: Vec<Gate>,
    /// Rules for further attempts; default: the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Longest time of one attempt, in seconds; default: the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub timeout_seconds: Option<u32>,
    /// Compute resources of its pods; default: the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Among tasks that are ready, higher goes first. Default: 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// Whether its work reaches beyond the workspace, so that it must not be repeated when its end is unknown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external_effect: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(n: &i32) -> bool {
    *n == 0
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Phase {
    /// Waits.
    #[default]
    Pending,
    /// An attempt is under way.
    Running,
    /// Done.
    Succeeded,
    /// Given up.
    Failed,
    /// Stopped.
    Cancelled,
    /// Nobody knows whether it was done; a person must look.
    Unknown,
}

/// What the operator observed of a task.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// The generation that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it stands.
    #[serde(default)]
    pub phase: Phase,
    /// Attempts that were started.
    #[serde(default)]
    pub attempts: u32,
    /// Attempts that failed by the work's fault since the last rerun.
    #[serde(default, skip_serializing_if = "is_none_counted")]
    pub failures: u32,
    /// Attempts that failed by the surroundings' fault since the last rerun.
    #[serde(default, skip_serializing_if = "is_none_counted")]
    pub infrastructure_failures: u32,
    /// The next attempt starts not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
    /// The commit that holds its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The branch that its work was pushed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Small named values for the tasks that depend on it.
    #[serde(default, skip_serializing_if = "Outputs::is_empty")]
    pub outputs: Outputs,
    /// When its last attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it was finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// The value of the annotation `enact.dev/rerun` that was last acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_rerun: Option<String>,
    /// The value of the Plan's annotation `enact.dev/redo` that was last acted upon here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_redo: Option<String>,
    /// Ready, Reconciling and Stalled, as kstatus reads them; Executed, Verified and Delivered of a finished task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_none_counted(n: &u32) -> bool {
    *n == 0
}
