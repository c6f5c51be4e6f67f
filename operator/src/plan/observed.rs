//! The inputs of the reconcile of a plan: the object, its children, and the documents that it refers to.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use enact_crds::agent_content::{self, AgentDigests};
use enact_crds::compile::{self, Compiled};
use enact_crds::document::{Finding, SourceStatus};
use enact_crds::models::ModelProblem;
use enact_crds::plan::{
    Cleanup, GeneratedPlan, Judgement, Phase, PlanStatus, PlanUsage, Proposal, ReplacedStatus, Workspace,
};
use enact_crds::replan::{self, KeptWork};
use enact_crds::subject::plan_authors;
use enact_crds::task::TaskTemplate;
use enact_crds::validation::FieldError;
use enact_crds::{Agent, Plan, Specification, convert};
use enact_domain::approval::authors::Authors;
use enact_domain::approval::{Decision, Policy};
use enact_domain::condition::Readiness;
use enact_domain::digest::Digest;
use enact_domain::names;
use enact_domain::planning::ReplacedPlan;
use enact_domain::record::{Kind, Subject};
use enact_domain::revisions::replan::Difference;
use enact_domain::stamps::Stamps;
use enact_domain::time::Millis;
use enact_domain::usage::{Limit, Sample};
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;

use crate::context::Membership;
use crate::documents::effective_constitution::EffectiveConstitution;
use crate::documents::texts::SpecificationText;
use crate::index::Children;

/// Seconds between two checks whether the pods of a finished plan are deleted.
const CLEANUP_RESYNC_SECONDS: u32 = 30;

/// Content of a plan: what people approve, the record stores and the operator runs.
#[derive(Debug)]
pub struct Content {
    /// The tasks and their graph.
    pub compiled: Compiled,
    /// Digests of its Agents.
    pub agents: AgentDigests,
    /// Canonical JSON.
    pub canonical: String,
    /// Digest of `canonical`.
    pub digest: Digest,
    /// The ticked tasks of the tasks.md, for its coverage; none once the plan has started.
    pub done: Vec<TaskTemplate>,
    /// The lines of the tasks.md that look like tasks and were left out (`unreadTasks: Warn`), and the findings about the decisions of the
    /// chosen proposal; none once the plan has started.
    pub warnings: Vec<Finding>,
    /// How its tasks differ from those of the plan that it replaces; none once the plan has started.
    pub replaced: Option<ReplacedStatus>,
}

impl Content {
    /// Reads content from the record; none if the bytes have another digest, or are not a plan's content.
    pub fn recorded(plan: &str, digest: &Digest, canonical: Vec<u8>) -> Option<Self> {
        let canonical =
            String::from_utf8(canonical).ok().filter(|text| Digest::of_bytes(text.as_bytes()) == *digest)?;
        let (compiled, agents) = compile::recorded(plan, &canonical)?;
        let digest = digest.clone();
        Some(Self { compiled, agents, canonical, digest, done: Vec::new(), warnings: Vec::new(), replaced: None })
    }

    /// Returns the digests of its Agents as they are now. One that does not exist now cannot be used, so its digest stays.
    pub fn agents_now(&self, present: &AgentDigests) -> AgentDigests {
        self.agents.clone().into_iter().chain(present.clone()).collect()
    }

    /// Returns the same content with other digests of its Agents.
    ///
    /// # Errors
    /// When the canonical JSON cannot be read.
    pub fn with_agents(&self, agents: AgentDigests) -> serde_json::Result<Self> {
        // Not from the spec: a started plan keeps what was approved.
        let mut json: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&self.canonical)?;
        json.insert(compile::AGENT_DIGESTS.to_owned(), serde_json::to_value(&agents)?);
        let canonical = serde_json::Value::Object(json).to_string();
        let digest = Digest::of_bytes(canonical.as_bytes());
        Ok(Self {
            compiled: self.compiled.clone(),
            agents,
            canonical,
            digest,
            done: self.done.clone(),
            warnings: self.warnings.clone(),
            replaced: self.replaced.clone(),
        })
    }

    /// Returns whether a plan still has this content. A tasks.md outside its spec does not count: it was read at the start.
    pub fn matches(&self, plan: &Plan) -> bool {
        let spec = &plan.spec;
        let read = |text: &str| compile::from_markdown(text.as_bytes(), spec.unread_tasks).0;
        let inline = spec.source.as_ref().map(|s| s.inline.as_deref().map(read));
        let tasks = match &inline {
            // Planners wrote the tasks.md.
            None if spec.generate.is_some() => &self.compiled.tasks,
            None => &spec.tasks,
            Some(Some(tasks)) => tasks,
            Some(None) => &self.compiled.tasks,
        };
        let stamps = Stamps::of(plan.annotations(), names::ANNOTATION_ACCEPTED);
        compile::canonical(spec, tasks, &self.compiled.kept, &self.agents, &stamps)
            .is_ok_and(|canonical| canonical == self.canonical)
    }
}

/// A plan with the cached data about it.
pub struct Observed {
    pub plan: Arc<Plan>,
    pub namespace: String,
    pub uid: String,
    pub now: Millis,
    /// Tasks and pods of the plan.
    pub children: Children,
    /// The tenant of the namespace.
    pub member: Option<Membership>,
    /// The specification that the plan names, if it exists.
    pub specification: Option<Arc<Specification>>,
    /// The agents that the plan names, as far as they exist, by name.
    pub agents: HashMap<String, Arc<Agent>>,
    /// Digests of the contents of these agents.
    pub agent_digests: AgentDigests,
    /// Digests of the models in these contents, and of the endpoints that serve them.
    pub model_digests: AgentDigests,
    /// The users who changed the ModelProviders of these agents last, by the name of the agent.
    pub provider_authors: HashMap<String, Vec<String>>,
    /// The approvals that the plan needs.
    pub policy: Policy,
    /// People's decisions on the plan; empty once it has started.
    pub decisions: Vec<Decision>,
    pub author: Option<String>,
    /// Approvals of the plan that limit its budget.
    pub caps: Vec<(Decision, Limit)>,
    /// The first problem with the models of each agent that has one.
    pub model_problems: HashMap<String, (usize, ModelProblem)>,
}

/// The data about a plan that the reconcile loads with requests to the API server and to the record.
#[derive(Default)]
pub struct Loaded {
    /// The content that a started plan is pinned to.
    pub content: Option<Arc<Content>>,
    /// Whether the spec differs from that content.
    pub changed: bool,
    /// People's decisions on a started plan whose agents have changed.
    pub decisions: Vec<Decision>,
    /// The tasks.md outside the spec of a plan that has not started, or the reason why there is none.
    pub document: Option<Result<Vec<u8>, Readiness>>,
    /// The new `status.source`.
    pub source: Option<SourceStatus>,
    /// The new `status.proposals`.
    pub proposals: Vec<Proposal>,
    /// The new `status.judgements`.
    pub judgements: Vec<Judgement>,
    /// The new `status.conflicts`.
    pub conflicts: Option<u32>,
    /// The new `status.generated`.
    pub generated: Option<GeneratedPlan>,
    /// What planners and judges of a plan that has not started have used of models.
    pub planning_usage: Option<PlanUsage>,
    /// Time of the next poll of the source, or of the next check of the planners.
    pub source_requeue_at: Option<Millis>,
    pub documents: Documents,
    /// Finished tasks of the tenant, for the estimate of a plan that has not started and uses models. None while the record is unavailable.
    pub history: Option<Vec<Sample>>,
}

impl Loaded {
    /// Returns the findings about the decisions of the chosen proposal.
    pub fn decision_findings(&self) -> impl Iterator<Item = &Finding> {
        let chosen = self.generated.as_ref();
        let chosen = self.proposals.iter().filter(move |proposal| chosen.is_some_and(|c| c.agent == proposal.agent));
        chosen.flat_map(|proposal| &proposal.findings)
    }
}

/// The documents that a plan is evaluated against. They are not loaded while a plan runs for an unchanged specification.
#[derive(Debug, Default)]
pub struct Documents {
    /// The specification as it was last approved.
    pub specification: Option<Arc<SpecificationText>>,
    /// The effective constitution of a plan that has not started.
    pub constitution: Option<Result<EffectiveConstitution, Readiness>>,
    /// The plan that a plan which has not started replaces, or the reason why it cannot be compared.
    pub predecessor: Option<Result<Predecessor, Readiness>>,
    /// The revision of the specification that the plan was started for.
    pub started_for: StartedFor,
    /// The documents for the prompts of coding agents; none for a plan without any.
    pub for_prompts: Option<PromptDocuments>,
}

impl Documents {
    /// Returns the plan that the plan replaces.
    ///
    /// # Errors
    /// The reason why it cannot be compared.
    pub fn predecessor(&self) -> Result<Option<&Predecessor>, Readiness> {
        self.predecessor.as_ref().map(Result::as_ref).transpose().map_err(Clone::clone)
    }
}

/// A plan that another one replaces.
#[derive(Debug)]
pub struct Predecessor {
    pub tasks: Vec<TaskTemplate>,
    /// The work of its finished tasks.
    pub finished: KeptWork,
    /// The finished tasks whose work the present revision of the specification makes stale.
    pub stale: BTreeSet<String>,
    /// Its tasks as a tasks.md, for planners.
    pub document: String,
    /// One line for each task with its state, for planners.
    pub states: String,
    /// The reason why the plan that replaces it cannot start yet.
    pub waits: Option<Readiness>,
}

impl Predecessor {
    /// Returns the finished work that a plan with these tasks keeps, and how its tasks differ. `ticked` are the tasks that its tasks.md
    /// leaves out because they are done.
    pub fn kept(&self, tasks: &[TaskTemplate], ticked: &[TaskTemplate]) -> (KeptWork, Difference) {
        let ticked: BTreeSet<&str> = ticked.iter().map(|task| task.id.as_str()).collect();
        replan::kept(&self.tasks, tasks, &self.finished, &self.stale, &ticked)
    }

    /// Returns what the prompt of a planner says about it.
    pub fn for_prompt<'a>(&'a self, remark: Option<&'a str>) -> ReplacedPlan<'a> {
        ReplacedPlan { tasks: &self.document, states: &self.states, remark }
    }
}

/// The documents from which the prompts of coding agents are made.
#[derive(Debug)]
pub struct PromptDocuments {
    /// The specification that the plan was, or will be, started for.
    pub specification: Option<Arc<SpecificationText>>,
    pub constitution: EffectiveConstitution,
}

/// The revision of the specification that a plan was started for.
#[derive(Debug, Default)]
pub enum StartedFor {
    /// The approved revision, or the plan has not started.
    #[default]
    Approved,
    /// An older revision.
    Older(Arc<SpecificationText>),
    /// An older revision, which the record does not contain.
    Unrecorded,
}

/// A person's choice about a newer revision of the specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Nobody has chosen yet.
    #[default]
    None,
    /// Repeat the work that the revision makes stale.
    Redo,
    /// Keep the work as it is.
    Keep,
}

impl Observed {
    pub fn name(&self) -> String {
        self.plan.name_any()
    }

    /// Returns the reference of the plan in queues.
    pub fn reference(&self) -> ObjectRef<Plan> {
        ObjectRef::from_obj(self.plan.as_ref())
    }

    /// Returns the plan as the subject of records.
    pub fn subject(&self) -> Subject {
        Subject { kind: Kind::Plan, namespace: self.namespace.clone(), name: self.name(), uid: self.uid.clone() }
    }

    /// Returns the status of the plan; the default before the first reconcile.
    pub fn status(&self) -> PlanStatus {
        self.plan.status.clone().unwrap_or_default()
    }

    pub fn phase(&self) -> Phase {
        self.plan.status.as_ref().map(|s| s.phase).unwrap_or_default()
    }

    /// Returns when the plan was started, if it was. The status step writes that time when the plan is first run.
    pub fn started(&self) -> Option<Millis> {
        self.plan.status.as_ref()?.started_at.as_ref().map(convert::millis)
    }

    /// Returns the authors of the content, whose tasks.md can be a proposal of a planner.
    pub fn authors(&self, generated: Option<&GeneratedPlan>) -> Authors {
        let of_agents = self.agents.values().filter_map(|agent| agent.annotations().get(names::ANNOTATION_AUTHOR));
        let of_providers = self.provider_authors.values().flatten();
        plan_authors(&self.plan, of_agents.chain(of_providers).map(String::as_str), generated)
    }

    /// Returns the value of an annotation of the plan.
    pub fn annotation(&self, key: &str) -> Option<&String> {
        self.plan.annotations().get(key)
    }

    /// Returns the first agent whose ConfigMaps the operator has not read since its spec was written: the digest of its content will change.
    pub fn unread_agent(&self) -> Option<&str> {
        let is_unread = |agent: &Agent| {
            let read = agent.status.as_ref().and_then(|status| status.observed_generation);
            agent_content::config_maps(&agent.spec).next().is_some() && read != agent.metadata.generation
        };
        self.agents.iter().filter(|(_, agent)| is_unread(agent)).map(|(name, _)| name.as_str()).min()
    }

    /// Returns whether an agent of the plan uses models.
    pub fn uses_models(&self) -> bool {
        self.agents.values().any(|agent| agent.spec.uses_models())
    }

    /// Returns the digest of the models of an agent that the approval of the plan covers; none if the plan requires no approval.
    pub fn approved_models(&self, agent: &str) -> Option<&Digest> {
        self.model_digests.get(agent).filter(|_| self.policy.requires_people())
    }

    /// Returns the name of the agent that a task, or else the plan, names; none if it is selected from the pool of the plan.
    pub fn named_agent<'a>(&'a self, task: &'a TaskTemplate) -> Option<&'a str> {
        task.agent_ref.as_ref().or(self.plan.spec.agent_ref.as_ref()).map(|reference| reference.name.as_str())
    }

    /// Returns the names of all agents that are named for the attempts at a task; none if they are selected from the pool of the plan.
    pub fn named_agents<'a>(&'a self, task: &'a TaskTemplate) -> impl Iterator<Item = &'a str> {
        let contestants = task.attempts.iter().flat_map(|attempts| &attempts.agents).map(String::as_str);
        let is_named_for_contestants = task.attempts.as_ref().is_some_and(|attempts| !attempts.agents.is_empty());
        contestants.chain(self.named_agent(task).filter(move |_| !is_named_for_contestants))
    }

    /// Returns the field of an agent that names the Secret of the integration, if one does: such an agent could push to the target branch
    /// without the gates.
    pub fn integration_secret_field(&self, agent: &Agent) -> Option<String> {
        let integrator = &self.plan.spec.workspace.as_ref()?.integration.credentials_secret_ref.as_ref()?.name;
        agent.spec.secret_keys().into_iter().find(|(_, key)| key.name == *integrator).map(|(field, _)| field)
    }

    /// Returns the problem with the image of an agent, by the rules of the tenant.
    pub fn image_problem(&self, agent: &Agent) -> Option<FieldError> {
        self.member.as_ref()?.image_problem(agent, &self.namespace)
    }

    /// Returns the branch that receives the plan's work.
    pub fn target_branch(&self, workspace: &Workspace) -> String {
        workspace.integration.branch.clone().unwrap_or_else(|| names::integration_branch(&self.name()))
    }

    /// Returns the digest of the specification as it was last approved.
    pub fn approved_specification(&self) -> Option<&str> {
        self.specification.as_ref()?.status.as_ref()?.approved_digest.as_deref()
    }

    /// Returns the digest of a revision of the specification that was approved after the plan was started for another one.
    pub fn newer_specification(&self) -> Option<&str> {
        self.started()?;
        let pinned = self.plan.status.as_ref()?.specification_digest.as_deref()?;
        self.approved_specification().filter(|approved| *approved != pinned && !self.plan.spec.cancel)
    }

    /// Returns a person's choice about that revision. Both annotations at once are not a choice.
    pub fn choice(&self) -> Choice {
        let newer = self.newer_specification();
        // The annotations contain the digest of a revision: a choice about an older revision does not apply to a newer one.
        let names = |annotation| newer.is_some() && self.annotation(annotation).map(String::as_str) == newer;
        match (names(names::ANNOTATION_REDO), names(names::ANNOTATION_KEEP)) {
            (true, false) => Choice::Redo,
            (false, true) => Choice::Keep,
            (true, true) | (false, false) => Choice::None,
        }
    }

    /// Returns whether the plan is finished and no person requests anything more of it. `harmless` are two revisions of the specification
    /// whose difference makes nothing of the plan stale.
    pub fn is_settled(&self, harmless: Option<&(String, String)>) -> bool {
        let Some(status) = &self.plan.status else { return false };
        let task_rerun = self.children.tasks.values().any(|t| t.rerun.is_some() && t.rerun != t.observed_rerun);
        let rerun = self.annotation(names::ANNOTATION_RERUN);
        let integration = status.integration.as_ref().and_then(|i| i.observed_rerun.as_ref());
        status.phase.is_finished()
            && status.observed_generation == self.plan.metadata.generation
            && !task_rerun
            && self.reports_specification(status, harmless)
            && (rerun.is_none() || rerun == integration || status.integration.is_none())
    }

    /// Returns whether the status of a finished plan shows the staleness because of its specification.
    fn reports_specification(&self, status: &PlanStatus, harmless: Option<&(String, String)>) -> bool {
        let reported = status.stale.as_ref().map(|s| s.specification_digest.as_str());
        let Some(newer) = self.newer_specification() else { return reported.is_none() };
        let pinned = status.specification_digest.as_deref().unwrap_or_default();
        let is_harmless = harmless.is_some_and(|(old, new)| old == pinned && new == newer);
        self.choice() == Choice::None && (reported == Some(newer) || is_harmless)
    }

    /// Returns the time at which the pods of a finished plan are deleted; none if the plan is not finished, or its pods are kept.
    fn cleanup_due(&self) -> Option<Millis> {
        let status = self.plan.status.as_ref()?;
        let execution = &self.plan.spec.execution;
        let wanted = match execution.cleanup {
            Cleanup::OnSuccess => status.phase == Phase::Succeeded,
            Cleanup::Always => status.phase.is_finished(),
            Cleanup::Never => false,
        };
        let finished = status.finished_at.as_ref().map(convert::millis)?;
        (wanted && !self.children.pods.is_empty()).then(|| finished.plus_seconds(execution.pod_ttl_seconds))
    }

    /// Returns whether the pods of a finished plan are to be deleted now.
    pub fn cleanup_is_due(&self) -> bool {
        self.cleanup_due().is_some_and(|at| self.now >= at)
    }

    /// Returns the time of the next check of the pods of a finished plan, because their deletion can take some time.
    pub fn cleanup_at(&self) -> Option<Millis> {
        let due = self.cleanup_due()?;
        Some(if self.now < due { due } else { self.now.plus_seconds(CLEANUP_RESYNC_SECONDS) })
    }
}
