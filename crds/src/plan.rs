//! Plan: a graph of tasks over a Git workspace, for one specification.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{ApprovalPolicy, Condition, Gate, LocalRef, Resources, RetryPolicy, Time, default_revision};
use crate::document::{Finding, Source, SourceStatus};
use crate::task::TaskTemplate;

/// A graph of tasks over a Git workspace, for one specification.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "enact.dev",
    version = "v1alpha1",
    kind = "Plan",
    namespaced,
    status = "PlanStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "pl",
    category = "enact",
    cel,
    doc = "A graph of tasks over a Git workspace, for one specification, as Spec Kit's plan.md and tasks.md.",
    selectable = ".spec.specificationRef.name",
    selectable = ".status.phase",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && self.metadata.name.size() <= 52").message("the name of a Plan begins its tasks' and pods' names: at most 52 characters of a-z, 0-9 and -, the first a letter"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Succeeded", type_ = "integer", json_path = ".status.tasks.succeeded"),
    printcolumn(name = "Running", type_ = "integer", json_path = ".status.tasks.running"),
    printcolumn(name = "Total", type_ = "integer", json_path = ".status.tasks.total"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Commit", type_ = "string", json_path = ".status.integration.commit", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("(has(self.tasks) && self.tasks.size() > 0) != has(self.source)").message("set exactly one of tasks and source"))]
pub struct PlanSpec {
    /// The specification that it fulfils. The plan starts when that is ready, and is pinned to its approved digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specification_ref: Option<LocalRef>,
    /// The agent of tasks that name none.
    pub agent_ref: LocalRef,
    /// The tasks. Their order counts only where nothing else decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    #[schemars(length(max = 5000))]
    pub tasks: Vec<TaskTemplate>,
    /// A tasks.md as Spec Kit writes it, instead of `tasks`: phases, `[P]` and stories become dependencies; ticked tasks are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What was chosen on the way to the tasks, and what else was weighed, as Spec Kit's research.md has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub decisions: Vec<PlanDecision>,
    /// The repository that the tasks work on; without one, tasks run in an empty folder and nothing is integrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Workspace>,
    /// Commands that must succeed on the merged work before it is published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub gates: Vec<Gate>,
    /// How the tasks are carried out.
    #[serde(default)]
    pub execution: Execution,
    /// What people must approve before the first task starts.
    #[serde(default)]
    pub approval: ApprovalPolicy,
    /// Start nothing new; what runs may end.
    #[serde(default)]
    pub suspend: bool,
    /// Stop everything, for good.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self || !oldSelf").message("a cancelled Plan cannot be taken up again; create another one"))]
    pub cancel: bool,
}

/// A decision of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanDecision {
    /// What it is about.
    #[schemars(length(min = 1, max = 256))]
    pub title: String,
    /// What was chosen.
    #[schemars(length(min = 1, max = 4096))]
    pub decision: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 4096))]
    pub rationale: String,
    /// What else was weighed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 1024)))]
    pub alternatives: Vec<String>,
}

/// A Git repository and what happens to the work in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.credentialsSecretRef) || (has(self.integration) && has(self.integration.credentialsSecretRef))").message("credentialsSecretRef, which agents can read, needs integration.credentialsSecretRef beside it: a Secret that the integration pod alone holds"),
    validation = Rule::new("!has(self.credentialsSecretRef) || !has(self.integration) || !has(self.integration.credentialsSecretRef) || self.credentialsSecretRef.name != self.integration.credentialsSecretRef.name").message("integration.credentialsSecretRef must name another Secret than credentialsSecretRef, which agents can read"),
)]
pub struct Workspace {
    /// URL of the repository: `https://`, `http://` or `ssh://`, without a credential.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.startsWith('https://') || self.startsWith('http://') || self.startsWith('ssh://')").message("must start with https://, http:// or ssh://"))]
    pub url: String,
    /// Branch, tag or commit to start from. Default: `main`.
    #[serde(default = "default_revision")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("!self.startsWith('-')").message("the revision must not start with `-`: it would be taken for an option"))]
    pub revision: String,
    /// Secret with `username` and `password`, or `ssh-privatekey` and `known_hosts`, that tasks read the repository and push their branches
    /// (`enact/…`) with. Where it is set, `integration.credentialsSecretRef` must be, to another Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<LocalRef>,
    /// Where the merged work goes.
    #[serde(default)]
    pub integration: Integration,
}

/// Where the merged work goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Integration {
    /// The branch that receives it, not below `enact/`. Default: `plan/<name of the plan>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("!self.startsWith('-')").message("the branch must not start with `-`: it would be taken for an option"))]
    #[x_kube(validation = Rule::new("self != 'enact' && !self.startsWith('enact/')").message("the branch must not lie below enact/, where agents push"))]
    pub branch: Option<String>,
    /// Secret that the integration pod alone holds, and pushes that branch with. No Agent of the plan may name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<LocalRef>,
}

/// How the tasks are carried out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Execution {
    /// Most attempts of this plan at once. Default: 10.
    #[serde(default = "default_parallelism")]
    #[schemars(range(min = 1, max = 10_000))]
    pub parallelism: u32,
    /// What to do with the rest when a task has failed.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Longest time of the whole plan, in seconds, from its start. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub deadline_seconds: Option<u32>,
    /// Among the plans of a tenant that wait for room, higher goes first. Default: 0.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// Rules for further attempts of tasks that bring none of their own.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// Longest time of one attempt, in seconds. Default: 3600.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 1, max = 604_800))]
    pub timeout_seconds: u32,
    /// Compute resources of pods whose task and agent name none.
    #[serde(default)]
    pub resources: Resources,
    /// When the pods of finished attempts are deleted.
    #[serde(default)]
    pub cleanup: Cleanup,
    /// Seconds that pods stay after the plan has finished, for their logs to be read. Default: 300.
    #[serde(default = "default_pod_ttl")]
    #[schemars(range(min = 0, max = 604_800))]
    pub pod_ttl_seconds: u32,
}

impl Default for Execution {
    fn default() -> Self {
        Self {
            parallelism: default_parallelism(),
            on_failure: OnFailure::default(),
            deadline_seconds: None,
            priority: 0,
            retry: RetryPolicy::default(),
            timeout_seconds: default_timeout(),
            resources: Resources::default(),
            cleanup: Cleanup::default(),
            pod_ttl_seconds: default_pod_ttl(),
        }
    }
}

fn default_parallelism() -> u32 {
    10
}

fn default_pod_ttl() -> u32 {
    300
}

fn default_timeout() -> u32 {
    3600
}

/// What to do with the rest of a plan when one of its tasks has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum OnFailure {
    /// Start nothing new; what runs may end.
    #[default]
    Halt,
    /// Go on with every task that does not depend on the failed one.
    Continue,
}

/// When the pods of finished attempts are deleted. Their results and logs' ends are in the record all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Cleanup {
    /// When the plan has succeeded; those of a failed plan stay to be looked at.
    #[default]
    OnSuccess,
    /// When the plan is finished, however.
    Always,
    /// With the plan itself.
    Never,
}

/// Where a plan stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Phase {
    /// Waits for its specification, its agent, approval, or room.
    #[default]
    Pending,
    /// Tasks run.
    Running,
    /// All tasks are done and their work is being merged, checked and published.
    Integrating,
    /// Everything is done.
    Succeeded,
    /// Something failed, and nothing more can start.
    Failed,
    /// Stopped on request.
    Cancelled,
}

impl Phase {
    /// Returns whether the plan has ended.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// What the operator observed of a plan.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// The generation that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled, as kstatus reads them.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Where it stands.
    #[serde(default)]
    pub phase: Phase,
    /// How often its phase has changed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub turns: u32,
    /// Digest of what the plan says is to be done: what an Approval must name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Digest that was last approved (or needed no approval), and that its tasks were made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_digest: Option<String>,
    /// Digest of the specification that it was started for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specification_digest: Option<String>,
    /// How many tasks stand where; the integration is not counted.
    #[serde(default)]
    pub tasks: TaskCounts,
    /// Number of tasks on the longest chain of dependencies.
    #[serde(default)]
    pub critical_path: u32,
    /// When the first task was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it was finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// How the merging, checking and publishing of the work stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integration: Option<IntegrationStatus>,
    /// What was last read from Git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,
    /// Which requirements of the specification its tasks serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// What a newer approved revision of the specification makes stale; a person decides what happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<Stale>,
    /// What is wrong with the tasks.md it is made from, and which rules of the constitution it does not keep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top_findings: Vec<Finding>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// How many tasks stand where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskCounts {
    /// All.
    pub total: u32,
    /// Waiting.
    pub pending: u32,
    /// With an attempt under way.
    pub running: u32,
    /// Done.
    pub succeeded: u32,
    /// Given up, or of unknown end.
    pub failed: u32,
    /// Stopped.
    pub cancelled: u32,
    /// Attempts that failed and were, or will be, made again.
    pub retries: u32,
}

/// How the integration stands: the same fields as a task's, kept here because it has no Task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationStatus {
    /// Where it stands.
    #[serde(default)]
    pub phase: crate::task::Phase,
    /// Attempts that were started.
    #[serde(default)]
    pub attempts: u32,
    /// Attempts that failed by the work's fault since the last rerun.
    #[serde(default)]
    pub failures: u32,
    /// Attempts that failed by the surroundings' fault since the last rerun.
    #[serde(default)]
    pub infrastructure_failures: u32,
    /// The next attempt starts not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
    /// The branch that received the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit that was published on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Files that the tasks' branches do not merge in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    /// The value of the annotation `enact.dev/rerun` that was last acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_rerun: Option<String>,
    /// The value of the annotation `enact.dev/redo` that was last acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_redo: Option<String>,
    /// Reason of the last end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The last end, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Which requirements of the specification a plan's tasks serve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Requirements of the specification.
    pub requirements: u32,
    /// Those that at least one task serves.
    pub covered: u32,
    /// Some of the others; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncovered: Vec<String>,
}

/// What a newer approved revision of the specification makes stale.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stale {
    /// Digest of the newer revision: what a decision to redo or keep names.
    pub specification_digest: String,
    /// Requirements, stories and criteria that changed, `FR-003 Changed`; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// How many tasks are stale.
    pub tasks: u32,
    /// Ids of those that are finished and would be done again, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redo: Vec<String>,
    /// Requirements that no task serves, at most 50; they need another plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncovered: Vec<String>,
}
