//! Task: one unit of work of a plan, executed by attempts in pods.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Condition, Gate, LocalRef, OnNoChange, Outputs, Resources, RetryPolicy, Time};

/// One unit of work of a plan. Created by the operator from the plan; immutable.
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
    doc = "One unit of work of a plan, executed by attempts in pods. Created by the operator; immutable.",
    selectable = ".spec.planRef.name",
    selectable = ".spec.id",
    selectable = ".status.phase",
    printcolumn(name = "Plan", type_ = "string", json_path = ".spec.planRef.name"),
    printcolumn(name = "ID", type_ = "string", json_path = ".spec.id"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Attempts", type_ = "integer", json_path = ".status.attempts"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Agent", type_ = "string", json_path = ".status.agent", priority = 1),
    printcolumn(name = "Title", type_ = "string", json_path = ".spec.title", priority = 1),
    printcolumn(name = "Commit", type_ = "string", json_path = ".status.commit", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self == oldSelf").message("a Task is immutable; change its Plan, or set the annotation enact.dev/rerun to run it again"))]
pub struct TaskSpec {
    /// Plan that the task belongs to.
    pub plan_ref: LocalRef,
    /// Work of the task.
    #[serde(flatten)]
    pub work: TaskTemplate,
}

/// Work of a task, as in the plan.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskTemplate {
    /// Id of the task, unique in the plan: `T001`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$"))]
    pub id: String,
    /// Title of the task, on one line.
    #[schemars(length(min = 1, max = 1024))]
    pub title: String,
    /// Prompt for the agent, in addition to the title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65_536))]
    pub prompt: Option<String>,
    /// For agents with the adapter Command: the script that `/bin/sh -e` runs at the root of the working tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65_536))]
    pub script: Option<String>,
    /// Phase of the task in Spec Kit's tasks.md; informational.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub phase: Option<String>,
    /// User story of the task: `US1`. When a newer revision of the specification changes the story, the task is stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub story: Option<String>,
    /// Requirements that the task covers, `FR-003`, in addition to those that its text names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 63)))]
    pub requirements: Vec<String>,
    /// Ids of the tasks that must succeed before this task starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2000), inner(length(min = 1, max = 63)))]
    pub depends_on: Vec<String>,
    /// Capabilities that the agent of the task must declare, if it is selected from the pool of the plan. Default: they are derived from
    /// title and prompt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub requires: Vec<String>,
    /// Agent of the task. Default: the agent of the plan, or one of its pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_ref: Option<LocalRef>,
    /// Commands that must succeed in the working tree before the work is accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub gates: Vec<Gate>,
    /// Retry policy. Default: the retry policy of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// What happens when an attempt has changed no file and written no output. Default: the plan's `execution.onNoChange`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_no_change: Option<OnNoChange>,
    /// Timeout of one attempt, in seconds. Default: the timeout of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub timeout_seconds: Option<u32>,
    /// Compute resources of the pods. Default: the resources of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Priority among tasks that are ready to start; higher values go first. Default: 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// Whether the task has an effect outside of the workspace. Such a task is not retried when the result of an attempt is unknown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external_effect: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(n: &i32) -> bool {
    *n == 0
}

/// Phase of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Phase {
    /// The task waits for its dependencies, a slot or a retry.
    #[default]
    Pending,
    /// An attempt is running.
    Running,
    /// The task has succeeded.
    Succeeded,
    /// The task has failed, and no retry is left.
    Failed,
    /// The task was stopped.
    Cancelled,
    /// The result is unknown; a person must check it.
    Unknown,
}

/// What the operator observed of a task.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// Generation of the object that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Phase of the task.
    #[serde(default)]
    pub phase: Phase,
    /// Number of attempts that were started.
    #[serde(default)]
    pub attempts: u32,
    /// Name of the Agent of the last attempt, if it was selected from the pool of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Number of attempts that ended with a task failure since the last rerun.
    #[serde(default, skip_serializing_if = "is_none_counted")]
    pub failures: u32,
    /// Number of attempts that ended with an infrastructure failure since the last rerun.
    #[serde(default, skip_serializing_if = "is_none_counted")]
    pub infrastructure_failures: u32,
    /// Earliest time of the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
    /// If the last attempt ended because of a budget: the least that remained of the budgets then. The next attempt starts when more remains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_budget: Option<RemainingBudget>,
    /// Commit with the work of the task, which has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Branch with the work of the last attempt that changed something. Unless the task has succeeded, this work has not passed: it is kept,
    /// and never merged. If the plan stopped the attempt, its runner pushes within 30 seconds, and nothing if nothing was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Small named values for the tasks that depend on this task.
    #[serde(default, skip_serializing_if = "Outputs::is_empty")]
    pub outputs: Outputs,
    /// Time when the last attempt started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// Time when the task finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Value of the annotation `enact.dev/rerun` that the operator last handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_rerun: Option<String>,
    /// Value of the annotation `enact.dev/redo` of the Plan that the operator last handled for this task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_redo: Option<String>,
    /// Conditions Ready, Reconciling and Stalled, with kstatus semantics; Executed, Verified and Delivered when the task has finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What remained of the budgets of a task: the least of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemainingBudget {
    /// Number of tokens, if a budget limits them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Amount in US dollars, as a decimal number, if a budget limits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_none_counted(n: &u32) -> bool {
    *n == 0
}
