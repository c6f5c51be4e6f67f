//! Task: one unit of work of a plan, executed by attempts in pods.

use std::collections::BTreeMap;

use enact_domain::assignment::VerifiedCommit;
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
    #[schemars(length(max = 5000), inner(length(min = 1, max = 63)))]
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
    /// Best of N: competing attempts, of which the best one counts. Default: one attempt, and another one after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Attempts>,
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

/// Competing attempts at a task, on separate branches. The gates, then the measurements, then the cost decide which one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attempts {
    /// Number of contestants: of attempts that compete.
    #[schemars(range(min = 2, max = 9))]
    pub best_of: u32,
    /// Names of the Agents of the contestants, in their order; if there are fewer Agents than contestants, the list is repeated. Default: the
    /// agent of the task or of the plan, or different agents of the pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), inner(length(min = 1, max = 253)))]
    pub agents: Vec<String>,
    /// Measurements that compare the contestants whose gates have passed, the most important one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub measurements: Vec<Measurement>,
}

impl Attempts {
    /// Returns the Agent of a contestant, counted from 0; none if the task names none for its contestants.
    pub fn agent(&self, contestant: usize) -> Option<&str> {
        self.agents.get(contestant.checked_rem(self.agents.len())?).map(String::as_str)
    }
}

/// A measurement of the work of a contestant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Measurement {
    /// Name of the measurement, unique in the task.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Script that `/bin/sh -e` runs at the root of the working tree after the gates. The last line of its output must be a number.
    #[schemars(length(min = 1, max = 16_384))]
    pub script: String,
    /// Which numbers are better. Default: `Lower`.
    #[serde(default, skip_serializing_if = "is_lower")]
    pub better: Better,
}

/// Which numbers of a measurement are better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Better {
    /// The lower one of two numbers: durations, sizes.
    #[default]
    Lower,
    /// The higher one: throughput, coverage.
    Higher,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_lower(better: &Better) -> bool {
    *better == Better::Lower
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
    /// Name of the Agent of the last attempt, if it was selected from the pool of the plan; of competing attempts, that of the winner.
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
    /// State of the competing attempts of a task with `attempts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contest: Option<ContestStatus>,
    /// What contradicts the result of an attempt that has ended with it: the end of its pod, or another delivery. The result stays. Look at the
    /// pod and at the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contradiction: Option<String>,
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

impl TaskStatus {
    /// Returns the branch and the commit of a task that has succeeded.
    pub fn work(&self) -> Option<VerifiedCommit> {
        // A failed task has a branch too, with work that has not passed.
        let verified = Some(self).filter(|status| status.phase == Phase::Succeeded)?;
        Some(VerifiedCommit { branch: verified.branch.clone()?, commit: verified.commit.clone()? })
    }
}

/// State of competing attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContestStatus {
    /// Number of the attempt that won.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winner: Option<u32>,
    /// Why that attempt won, or why none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// State of each contestant, by its number, from 1. The attempts of contestant 2 of 3 are 2, 5, 8 and so on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contestants: BTreeMap<String, ContestantStatus>,
}

/// State of one contestant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContestantStatus {
    /// Phase of the contestant. `Succeeded`: it has passed its gates.
    #[serde(default)]
    pub phase: Phase,
    /// Number of its last attempt; 0 before the first one.
    #[serde(default)]
    pub attempt: u32,
    /// Name of the Agent of that attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Number of its attempts that ended with an infrastructure failure since the last rerun. Each is replaced by another attempt, up to the
    /// limit of the retry policy.
    #[serde(default, skip_serializing_if = "is_none_counted")]
    pub infrastructure_failures: u32,
    /// Earliest time of its next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
    /// If its last attempt ended because of a budget: the least that remained of the budgets then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_budget: Option<RemainingBudget>,
    /// Reason of the last end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Message of the last end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Branch of the work. It is kept, also if the contestant lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Commit with the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Outputs of an attempt that has passed, until the contest is decided.
    #[serde(default, skip_serializing_if = "Outputs::is_empty")]
    pub outputs: Outputs,
    /// The numbers of the measurements, as decimal numbers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measurements: BTreeMap<String, String>,
    /// Tokens that the last attempt used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Cost of the last attempt in US dollars, as a decimal number; absent if the price of a part is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<String>,
    /// Time when the last attempt started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// Time when the last attempt ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
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
