//! Plan: a graph of tasks over a Git workspace, for one specification.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agent_content::AgentDigests;
use crate::common::{
    ApprovalPolicy, Budget, Condition, Gate, LocalRef, OnNoChange, Resources, RetryPolicy, Time, WaitingStatus,
    default_revision,
};
use crate::document::{AcceptedFinding, Finding, Source, SourceStatus};
use crate::task::TaskTemplate;

mod agents;
mod generate;
mod replaces;
mod usage;

pub use agents::PlanAgent;
pub use generate::{
    ChosenProposal, Generate, GeneratedPlan, Judgement, JudgementState, Planner, Preference, Proposal,
    ProposalSelection, ProposalState, ScoreComponent,
};
pub use replaces::{ReplacedStatus, Replaces, TaskList};
pub use usage::{Discarded, EstimateBasis, NumberRange, PlanEstimate, PlanUsage, UsdRange};

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
    doc = "A graph of tasks over a Git workspace, for one specification, as Spec Kit's plan.md and tasks.md.",
    selectable = ".spec.specificationRef.name",
    selectable = ".status.phase",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && self.metadata.name.size() <= 52").message("the name of a Plan is a prefix of the names of its tasks and pods: use at most 52 characters of a-z, 0-9 and -, and start with a letter"),
    validation = Rule::new("!has(self.spec.replaces) || self.spec.replaces.name != self.metadata.name").message("replaces.name is the name of this Plan; name the Plan that it replaces, and give this one another name"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Succeeded", type_ = "integer", json_path = ".status.tasks.succeeded"),
    printcolumn(name = "Running", type_ = "integer", json_path = ".status.tasks.running"),
    printcolumn(name = "Total", type_ = "integer", json_path = ".status.tasks.total"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Commit", type_ = "string", json_path = ".status.integration.commit", priority = 1),
    printcolumn(name = "Estimate", type_ = "string", json_path = ".status.estimate.usd.expected", priority = 1),
    printcolumn(name = "Spent", type_ = "string", json_path = ".status.usage.usd", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.tasks) && self.tasks.size() > 0, has(self.source), has(self.generate)].exists_one(set, set)").message("set exactly one of tasks, source and generate"),
    validation = Rule::new("!has(self.generate) || has(self.specificationRef)").message("generate requires specificationRef: planners plan an approved specification"),
    validation = Rule::new("!has(self.generate) || !has(self.generate.judges) || self.generate.judges.all(judge, self.generate.agents.all(planner, planner.name != judge.name))").message("a planner of generate.agents cannot be one of generate.judges: it would judge itself"),
    validation = Rule::new("has(self.agentRef) != (has(self.agents) && self.agents.size() > 0)").message("set exactly one of agentRef (one agent for all tasks) and agents (a pool, from which each attempt gets the best agent)"),
)]
pub struct PlanSpec {
    /// Specification that the plan implements. The plan starts when the specification is ready, and is pinned to its approved digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specification_ref: Option<LocalRef>,
    /// Agent of tasks that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_ref: Option<LocalRef>,
    /// Pool of agents, instead of `agentRef`: when an attempt at a task that names no agent starts, the best agent for what the task needs is
    /// selected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 16))]
    pub agents: Vec<PoolMember>,
    /// Tasks. Their order matters only between tasks of equal priority without dependencies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    #[schemars(length(max = 5000))]
    pub tasks: Vec<TaskTemplate>,
    /// A Spec Kit tasks.md, instead of `tasks`: phases, `[P]` markers and stories become dependencies; ticked tasks are skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Planners that write the tasks.md, instead of `tasks` and `source`. They start when the specification is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<Generate>,
    /// Plan that this one replaces. The work of its finished tasks is kept for tasks that are the same here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Replaces>,
    /// What happens if the tasks.md has lines that look like tasks and could not be read. Default: `Refuse`.
    #[serde(default)]
    pub unread_tasks: UnreadTasks,
    /// Decisions behind the tasks, with the alternatives, as in Spec Kit's research.md.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub decisions: Vec<PlanDecision>,
    /// Findings about the coverage of the specification that are accepted with a reason. They are a part of the approved content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["code".into(), "at".into()]))]
    #[schemars(length(max = 100))]
    pub accepted: Vec<AcceptedFinding>,
    /// Git repository of the tasks. Without a workspace, tasks run in an empty folder and nothing is integrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Workspace>,
    /// Commands that must succeed on the merged work before it is published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub gates: Vec<Gate>,
    /// Execution policy of the tasks.
    #[serde(default)]
    pub execution: Execution,
    /// Approvals that are required before the first task starts.
    #[serde(default)]
    pub approval: ApprovalPolicy,
    /// Whether to start no new tasks. Running tasks continue.
    #[serde(default)]
    pub suspend: bool,
    /// Whether to stop the plan permanently.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self || !oldSelf").message("a cancelled Plan cannot be resumed; create another one"))]
    pub cancel: bool,
}

impl PlanSpec {
    /// Returns the names of all agents that the plan or its listed tasks name, with repetitions.
    pub fn agent_names(&self) -> impl Iterator<Item = &str> {
        let named = self.tasks.iter().filter_map(|task| task.agent_ref.as_ref()).chain(&self.agent_ref);
        let contestants =
            self.tasks.iter().filter_map(|task| task.attempts.as_ref()).flat_map(|attempts| &attempts.agents);
        named
            .map(|reference| reference.name.as_str())
            .chain(self.agents.iter().map(|member| member.name.as_str()))
            .chain(contestants.map(String::as_str))
    }
}

/// What happens if a tasks.md has lines that look like tasks and could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum UnreadTasks {
    /// The document is not accepted.
    #[default]
    Refuse,
    /// The document is accepted without these lines, with a warning for each.
    Warn,
}

/// An agent of a plan's pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolMember {
    /// Name of the Agent, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Preference for this agent: the part of its score, of at most 1000 points, that people decide. Default: 50.
    // The schema has no default: in a list, a default would differ from what a client applies again.
    #[serde(default = "default_preference", skip_serializing_if = "is_default_preference")]
    #[schemars(range(min = 0, max = 100))]
    pub preference: u8,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_default_preference(preference: &u8) -> bool {
    *preference == default_preference()
}

fn default_preference() -> u8 {
    50
}

/// A decision of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanDecision {
    /// Subject of the decision.
    #[schemars(length(min = 1, max = 256))]
    pub title: String,
    /// Chosen alternative.
    #[schemars(length(min = 1, max = 4096))]
    pub decision: String,
    /// Reason for the choice.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 4096))]
    pub rationale: String,
    /// Alternatives that were rejected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 1024)))]
    pub alternatives: Vec<String>,
}

/// A Git repository, and the integration of the work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.credentialsSecretRef) || (has(self.integration) && has(self.integration.credentialsSecretRef))").message("credentialsSecretRef, which agents can read, requires integration.credentialsSecretRef: a Secret that only the integration pod mounts"),
    validation = Rule::new("!has(self.credentialsSecretRef) || !has(self.integration) || !has(self.integration.credentialsSecretRef) || self.credentialsSecretRef.name != self.integration.credentialsSecretRef.name").message("integration.credentialsSecretRef must not name the same Secret as credentialsSecretRef, which agents can read"),
)]
pub struct Workspace {
    /// URL of the repository: `https://`, `http://` or `ssh://`, without a credential.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.startsWith('https://') || self.startsWith('http://') || self.startsWith('ssh://')").message("must start with https://, http:// or ssh://"))]
    pub url: String,
    /// Branch, tag or commit that the tasks start from. Default: `main`.
    #[serde(default = "default_revision")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("!self.startsWith('-')").message("the revision must not start with `-`: it would be taken for an option"))]
    pub revision: String,
    /// Secret with the credentials of the tasks for reading the repository and pushing their branches (`enact/…`): `username` and
    /// `password`, or `ssh-privatekey` and `known_hosts`. It requires `integration.credentialsSecretRef`, which must name another Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<LocalRef>,
    /// Destination of the merged work.
    #[serde(default)]
    pub integration: Integration,
}

/// Destination of the merged work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Integration {
    /// Branch that receives the merged work. It must not start with `enact/`. Default: `plan/<name of the plan>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("!self.startsWith('-')").message("the branch must not start with `-`: it would be taken for an option"))]
    #[x_kube(validation = Rule::new("self != 'enact' && !self.startsWith('enact/')").message("the branch must not start with enact/: agents push their branches there"))]
    pub branch: Option<String>,
    /// Secret with the credentials for pushing that branch. Only the integration pod mounts it; no Agent of the plan may refer to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<LocalRef>,
}

/// Execution policy of the tasks of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Execution {
    /// Maximum number of concurrent attempts of this plan. Default: 10.
    #[serde(default = "default_parallelism")]
    #[schemars(range(min = 1, max = 10_000))]
    pub parallelism: u32,
    /// Behaviour when a task has failed.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// What happens when an attempt has changed no file and written no output, for tasks that do not say so.
    #[serde(default)]
    pub on_no_change: OnNoChange,
    /// When the plan pauses until a person runs `kubectl enact resume`. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_after: Option<PauseAfter>,
    /// Deadline of the plan in seconds after its start. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub deadline_seconds: Option<u32>,
    /// Priority among the plans of a tenant that wait for a slot; higher values go first. Default: 0.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// Retry policy of tasks without one.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// Timeout of one attempt, in seconds. Default: 3600.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 1, max = 604_800))]
    pub timeout_seconds: u32,
    /// Budget of the whole plan. A budget in an Approval of the plan limits it too. It can be raised while the plan runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Budget of all attempts at one task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_budget: Option<Budget>,
    /// Budget of one attempt. It is reserved before the attempt starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_budget: Option<Budget>,
    /// Longest wait for the reset of a model provider's quota, in seconds. If the reset is later, the next attempt goes to another agent of
    /// the pool, if one can do the task. Default: 300.
    #[serde(default = "default_quota_wait")]
    #[schemars(range(min = 0, max = 604_800))]
    pub quota_wait_seconds: u32,
    /// Compute resources of pods whose task and agent name none.
    #[serde(default)]
    pub resources: Resources,
    /// When to delete the pods of finished attempts.
    #[serde(default)]
    pub cleanup: Cleanup,
    /// Seconds for which pods and their logs are kept after the plan has finished. Default: 300.
    #[serde(default = "default_pod_ttl")]
    #[schemars(range(min = 0, max = 604_800))]
    pub pod_ttl_seconds: u32,
}

impl Default for Execution {
    fn default() -> Self {
        Self {
            parallelism: default_parallelism(),
            on_failure: OnFailure::default(),
            on_no_change: OnNoChange::default(),
            pause_after: None,
            deadline_seconds: None,
            priority: 0,
            retry: RetryPolicy::default(),
            timeout_seconds: default_timeout(),
            budget: None,
            task_budget: None,
            attempt_budget: None,
            quota_wait_seconds: default_quota_wait(),
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

fn default_quota_wait() -> u32 {
    300
}

fn default_timeout() -> u32 {
    3600
}

/// Behaviour of a plan when one of its tasks has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum OnFailure {
    /// Start no new tasks. Running tasks continue.
    #[default]
    Halt,
    /// Continue with every task that does not depend on the failed one.
    Continue,
    /// Start no new tasks, and stop the running attempts. Their work is kept.
    Stop,
}

/// When a plan pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum PauseAfter {
    /// When all tasks of a phase, and of the phases before it, have succeeded. Phases are ordered by their first task in the plan.
    Phase,
}

/// When to delete the pods of finished attempts. The record keeps the results and the last part of the logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Cleanup {
    /// When the plan has succeeded. The pods of a failed plan are kept for debugging.
    #[default]
    OnSuccess,
    /// When the plan has finished, with any result.
    Always,
    /// When the plan is deleted.
    Never,
}

/// Phase of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Phase {
    /// The plan waits for its specification, its agent, an approval or a slot.
    #[default]
    Pending,
    /// Tasks are running.
    Running,
    /// All tasks have succeeded, and their work is being merged, checked and published.
    Integrating,
    /// All tasks and the integration have succeeded.
    Succeeded,
    /// A task or the integration has failed, and no more tasks can start.
    Failed,
    /// The plan was stopped on request.
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
    /// Generation of the object that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions Ready, Reconciling and Stalled, with kstatus semantics; BudgetLow is True while at least 80 % of the budget is spent and the
    /// plan has not finished.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Phase of the plan.
    #[serde(default)]
    pub phase: Phase,
    /// Number of phase changes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub turns: u32,
    /// Why the plan waits, while it does not progress or one of its attempts cannot start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingStatus>,
    /// Time when a task, an attempt or the use of models last changed, as far as the operator has seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity_at: Option<Time>,
    /// Digest of the content of the plan; an Approval must name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Digest that was last approved, or that required no approval. The tasks were created from this content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_digest: Option<String>,
    /// Agents that the plan names, as far as they exist. The digest of the plan covers their contents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 64))]
    pub agents: Vec<PlanAgent>,
    /// Digest of the specification for which the plan was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specification_digest: Option<String>,
    /// Number of tasks by phase, without the integration.
    #[serde(default)]
    pub tasks: TaskCounts,
    /// Number of tasks on the longest chain of dependencies.
    #[serde(default)]
    pub critical_path: u32,
    /// The checkpoint at which the plan waits for `kubectl enact resume`, by `execution.pauseAfter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_after: Option<PausedAfter>,
    /// Time when the first task started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// Time when the plan finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Expected use of models and duration, for a plan whose agents use models. It follows the content and the record until the plan
    /// starts, and then stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<PlanEstimate>,
    /// Use of models by the plan, while it has a budget or when it has used any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<PlanUsage>,
    /// State of the integration: merging, checking and publishing the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integration: Option<IntegrationStatus>,
    /// State of the source outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,
    /// Planners and their proposals, for a plan with `generate`; the last one can be that of the synthesizer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["agent".into()]))]
    #[schemars(length(max = 9))]
    pub proposals: Vec<Proposal>,
    /// Number of questions that the proposals of planners decide differently, when all planners have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflicts: Option<u32>,
    /// The proposal that is the tasks.md of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<GeneratedPlan>,
    /// Comparisons of proposals by judges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 18))]
    pub judgements: Vec<Judgement>,
    /// How the tasks differ from those of the plan that this one replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<ReplacedStatus>,
    /// Coverage of the requirements of the specification by the tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// Work that a newer approved revision of the specification makes stale, until a person decides to redo or keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<Stale>,
    /// Findings of tasks.md, and violated rules of the constitution; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top_findings: Vec<Finding>,
    /// Number of findings about coverage that are accepted with a reason. `topFindings` does not have them.
    #[serde(default)]
    pub accepted_findings: u32,
}

impl PlanStatus {
    /// Returns the digests of the Agents that `digest` covers.
    pub fn agent_digests(&self) -> AgentDigests {
        self.agents.iter().map(|agent| (agent.name.clone(), agent.digest.clone().into())).collect()
    }
}

/// The phase after which a plan pauses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PausedAfter {
    /// Number of the phase, from 1.
    pub number: u32,
    /// Name of the phase; empty for tasks without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phase: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Number of tasks by phase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskCounts {
    /// Number of all tasks.
    pub total: u32,
    /// Number of tasks that wait.
    pub pending: u32,
    /// Number of tasks with a running attempt.
    pub running: u32,
    /// Number of tasks that have succeeded.
    pub succeeded: u32,
    /// Number of tasks that have failed or whose result is unknown.
    pub failed: u32,
    /// Number of tasks that were stopped.
    pub cancelled: u32,
    /// Number of failed attempts that were or will be retried.
    pub retries: u32,
}

/// State of the integration. It has no Task object, so that its state is a part of the status of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationStatus {
    /// Phase of the integration.
    #[serde(default)]
    pub phase: crate::task::Phase,
    /// Number of attempts that were started.
    #[serde(default)]
    pub attempts: u32,
    /// Number of attempts that ended with a task failure since the last rerun.
    #[serde(default)]
    pub failures: u32,
    /// Number of attempts that ended with an infrastructure failure since the last rerun.
    #[serde(default)]
    pub infrastructure_failures: u32,
    /// Earliest time of the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
    /// Branch that received the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Commit that was published on the branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Files with merge conflicts between the branches of tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    /// Value of the annotation `enact.dev/rerun` that the operator last handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_rerun: Option<String>,
    /// Value of the annotation `enact.dev/redo` that the operator last handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_redo: Option<String>,
    /// Reason of the last result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Message of the last result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Coverage of the requirements of a specification by the tasks of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Number of requirements of the specification.
    pub requirements: u32,
    /// Number of requirements that at least one task covers.
    pub covered: u32,
    /// Requirements without a task; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncovered: Vec<String>,
}

/// Work that a newer approved revision of the specification makes stale.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stale {
    /// Digest of the newer revision; the annotations `enact.dev/redo` and `enact.dev/keep` name it.
    pub specification_digest: String,
    /// Changed requirements, stories and criteria: `FR-003 Changed`; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Number of stale tasks.
    pub tasks: u32,
    /// Ids of the finished tasks that `enact.dev/redo` would run again; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redo: Vec<String>,
    /// Requirements without a task; at most 50. They require another plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncovered: Vec<String>,
}
