//! Validate: turns the observed state into a plan that can run, or into the reason why it cannot.

use std::sync::Arc;

use enact_crds::agent::Adapter;
use enact_crds::agent_content::MAX_AGENTS;
use enact_crds::compile::Compiled;
use enact_crds::document::Finding;
use enact_crds::plan::{PauseAfter, ReplacedStatus, Workspace};
use enact_crds::task::TaskTemplate;
use enact_crds::{AgentSpec, Plan, Specification, compile, convert, validation};
use enact_domain::agents::needs::Needs;
use enact_domain::approval::{self, Verdict, evaluate as evaluate_approvals};
use enact_domain::condition::{Progress, READY, Readiness, STALLED};
use enact_domain::digest::Digest;
use enact_domain::graph::{Graph, NodeId};
use enact_domain::names;
use enact_domain::plan::{Phases, Policy};
use enact_domain::speckit::tasks::UNREAD_TASK;
use enact_domain::speckit::{Diagnostic, Severity};
use enact_domain::stamps::Stamps;
use kube::ResourceExt as _;

use super::agent_changes::{self, AgentChange, ChangedContent};
use super::evaluate::{Evaluation, evaluate};
use super::observed::{Choice, Content, Loaded, Observed, Predecessor, StartedFor};
use super::staleness::Staleness;
use crate::context::Membership;
use crate::documents::findings::of_diagnostics;
use crate::task::pod;

/// Most bytes of a plan's content, the record's limit for any document.
const MAX_CONTENT: usize = 4 << 20;

/// Results of earlier reconciles, each with the inputs that it was made from.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    content: Option<CachedContent>,
    evaluation: Option<Arc<Evaluation>>,
    /// The staleness, with the digests of both revisions and of the content.
    staleness: Option<([String; 3], Arc<Staleness>)>,
    /// The revision that the plan was started for, and a newer one that makes nothing of the plan stale.
    harmless: Option<(String, String)>,
    /// The content with changed Agents that is not approved.
    changed_agents: Option<ChangedContent>,
}

#[derive(Clone, Debug)]
struct CachedContent {
    generation: Option<i64>,
    /// Digest of a tasks.md outside the spec, before the start.
    document: Option<Digest>,
    content: Arc<Content>,
}

impl Cache {
    /// Returns the content that a started plan is pinned to, if its spec has not changed since.
    pub fn pinned(&self, plan: &Plan) -> Option<Arc<Content>> {
        let status = plan.status.as_ref().filter(|s| s.started_at.is_some())?;
        let cached = self.content.as_ref().filter(|c| c.generation == plan.metadata.generation)?;
        (Some(cached.content.digest.as_str()) == status.approved_digest.as_deref()).then(|| cached.content.clone())
    }

    pub fn harmless(&self) -> Option<&(String, String)> {
        self.harmless.as_ref()
    }
}

/// The output of this step.
pub struct Validated {
    pub cache: Cache,
    pub result: Result<Valid, Blocked>,
}

/// A plan that can run.
pub struct Valid {
    pub member: Membership,
    pub content: Arc<Content>,
    /// The content with changed Agents that people must approve before new attempts start.
    pub unapproved: Option<Arc<Content>>,
    /// The graph of the tasks and, if the plan has a workspace, of the integration.
    pub graph: Graph,
    pub policy: Policy,
    /// The last evaluation of the content, which happens before the start only.
    pub evaluation: Option<Arc<Evaluation>>,
    /// Digest of the revision of the specification that the plan is for from now on.
    pub specification_digest: Option<String>,
    /// Staleness because of a newer revision of the specification.
    pub staleness: Option<Arc<Staleness>>,
    /// A person's choice about the newer revision.
    pub choice: Choice,
    /// The pauses of the plan after its phases.
    pub pauses: Option<Pauses>,
    /// The reason why a started plan starts no new attempt. Running attempts continue.
    pub hold: Option<Readiness>,
}

/// The pauses of a plan after its phases.
pub struct Pauses {
    pub phases: Phases,
    /// Number of the phase after which a person resumed the plan last; 0 for none.
    pub resumed: usize,
    held: Vec<bool>,
}

impl Pauses {
    fn of(observed: &Observed, compiled: &Compiled) -> Option<Self> {
        // Phases are all that it can pause after.
        let PauseAfter::Phase = observed.plan.spec.execution.pause_after?;
        let phases = Phases::of(compiled.tasks.iter().map(|task| task.phase.as_deref()));
        let resumed = observed.annotation(names::ANNOTATION_RESUMED_AFTER);
        let resumed = resumed.and_then(|number| number.parse().ok()).unwrap_or_default();
        let held = phases.held(&compiled.graph, resumed);
        Some(Self { phases, resumed, held })
    }

    /// Returns whether a node waits until a person resumes the plan.
    pub fn holds(&self, node: NodeId) -> bool {
        node.task().is_some_and(|task| self.held[task])
    }
}

/// The reason why a plan cannot run.
pub struct Blocked {
    pub readiness: Readiness,
    /// Findings about its tasks.md.
    pub findings: Vec<Finding>,
    /// Its content, if it could be compiled.
    pub content: Option<Arc<Content>>,
    /// The last evaluation of the content.
    pub evaluation: Option<Arc<Evaluation>>,
}

/// Checks everything that a plan needs before and while it runs.
pub fn validate(observed: &Observed, loaded: &Loaded, cache: &Cache) -> Validated {
    let mut cache = cache.clone();
    let result = match compile_content(observed, loaded, cache.content.as_ref()) {
        Ok(compiled) => {
            let content = compiled.content.clone();
            // The recorded content does not match the spec: cached under this generation, it would hide the change in the next reconcile.
            if !loaded.changed {
                cache.content = Some(compiled);
            }
            check(observed, loaded, &content, &mut cache).map_err(|readiness| Blocked {
                readiness,
                findings: Vec::new(),
                content: Some(content),
                evaluation: None,
            })
        }
        Err(Refused { readiness, findings }) => Err(Blocked { readiness, findings, content: None, evaluation: None }),
    };
    let evaluation = cache.evaluation.clone();
    let result = result.map_err(|blocked| Blocked { evaluation, ..blocked });
    Validated { cache, result }
}

/// Checks a plan whose content is known.
fn check(observed: &Observed, loaded: &Loaded, content: &Arc<Content>, cache: &mut Cache) -> Result<Valid, Readiness> {
    let (plan, status) = (&observed.plan, observed.plan.status.as_ref());
    let member = observed.member.clone().ok_or_else(|| not_in_tenant(observed))?;
    let mut hold = None;
    // A finished plan, and one that is to be stopped, need neither agents nor a workspace.
    if !plan.spec.cancel && !observed.phase().is_finished() {
        let checks = if loaded.changed { Err(content_changed()) } else { Ok(()) }
            .and_then(|()| check_workspace(plan.spec.workspace.as_ref()))
            .and_then(|()| check_agents(observed, &content.compiled));
        match checks {
            // Running attempts end as usual, and their ends are recorded.
            Err(readiness) if observed.started().is_some() => hold = Some(readiness),
            checks => checks?,
        }
    }
    let changed = if observed.started().is_some() && !plan.spec.cancel && !loaded.changed {
        compare_agents(observed, loaded, content, cache)?
    } else {
        AgentChange::None
    };
    let staleness = compare_revisions(observed, loaded, content, cache);
    let choice = if loaded.documents.specification.is_some() { observed.choice() } else { Choice::None };
    let specification_digest = if observed.started().is_some() {
        // `approved_digest` was written at the start. Another content was never approved, and must not run.
        if status.and_then(|s| s.approved_digest.as_deref()) != Some(content.digest.as_str()) {
            return Err(content_changed());
        }
        match choice {
            Choice::None => status.and_then(|s| s.specification_digest.clone()),
            Choice::Redo | Choice::Keep => observed.newer_specification().map(str::to_owned),
        }
    } else if plan.spec.cancel {
        None
    } else {
        check_start(observed, loaded, content, cache)?
    };
    let (content, unapproved) = match changed {
        AgentChange::None => (content.clone(), None),
        AgentChange::Approved(approved) => (approved, None),
        AgentChange::Held(changed, readiness) => {
            // Suspends the plan: not even an attempt whose start is recorded gets a pod, which would run the changed Agent.
            hold = hold.or(Some(readiness));
            (content.clone(), Some(changed))
        }
    };
    let execution = &plan.spec.execution;
    // A redo restarts a finished plan: the status step then sets a new start time, from which the deadline counts.
    let restarts = choice == Choice::Redo && observed.phase().is_finished();
    let started = observed.started().map(|at| if restarts { observed.now } else { at });
    let policy = Policy {
        parallelism: execution.parallelism,
        on_failure: execution.on_failure.into(),
        suspended: plan.spec.suspend || hold.is_some(),
        cancelled: plan.spec.cancel,
        deadline: execution.deadline_seconds.zip(started).map(|(seconds, at)| at.plus_seconds(seconds)),
        quota_wait_seconds: execution.quota_wait_seconds,
    };
    let graph = content.compiled.graph.clone();
    Ok(Valid {
        member,
        unapproved,
        graph: if plan.spec.workspace.is_some() { graph.with_integration() } else { graph },
        policy,
        evaluation: cache.evaluation.clone(),
        specification_digest,
        staleness,
        choice,
        pauses: Pauses::of(observed, &content.compiled),
        content,
        hold,
    })
}

/// Compares the Agents of a started plan with its content, and caches the result.
fn compare_agents(
    observed: &Observed,
    loaded: &Loaded,
    content: &Arc<Content>,
    cache: &mut Cache,
) -> Result<AgentChange, Readiness> {
    let changed = agent_changes::compare(observed, loaded, content, cache.changed_agents.as_ref())?;
    cache.changed_agents = match &changed {
        AgentChange::Held(changed, _) => Some((content.digest.clone(), changed.clone())),
        AgentChange::None | AgentChange::Approved(_) => None,
    };
    if let AgentChange::Approved(approved) = &changed {
        // When the status shows its digest, the plan is pinned to it as to the content of its start.
        let generation = observed.plan.metadata.generation;
        cache.content = Some(CachedContent { generation, document: None, content: approved.clone() });
    }
    Ok(changed)
}

/// Checks what a plan needs to start, and returns the digest of its specification.
fn check_start(
    observed: &Observed,
    loaded: &Loaded,
    content: &Content,
    cache: &mut Cache,
) -> Result<Option<String>, Readiness> {
    let digest = check_specification(observed)?;
    let constitution = loaded.documents.constitution.as_ref().map(Result::as_ref).transpose().map_err(Clone::clone)?;
    let evaluation = evaluate(observed, &loaded.documents, constitution, content, cache.evaluation.as_ref());
    // Before the checks below can fail: the status of a blocked plan shows the findings too.
    cache.evaluation = Some(evaluation.clone());
    if let Some(violation) = &evaluation.violation {
        return Err(violation.clone());
    }
    if let Some(agent) = observed.unread_agent().filter(|_| observed.policy.requires_people()) {
        // Otherwise people would approve a digest that changes at once.
        let message = format!("the ConfigMaps of Agent {agent} have not been read yet; wait");
        return Err(Readiness::reconciling("AgentNotReady", message));
    }
    if let Some(error) = validation::source_author(&observed.policy, observed.plan.spec.source.as_ref()) {
        return Err(Readiness::stalled("AuthorUnknown", error.to_string()));
    }
    if let Some(waits) = loaded.documents.predecessor()?.and_then(|predecessor| predecessor.waits.clone()) {
        return Err(waits);
    }
    // After the rules: people are asked to approve only a plan that violates no MUST rule.
    check_approval(observed, loaded, &content.digest, &evaluation)?;
    if observed.plan.spec.suspend {
        let message = format!("suspended before its start; start it with `kubectl enact resume {}`", observed.name());
        return Err(Readiness::stalled("Suspended", message));
    }
    Ok(digest)
}

/// Returns what a newer revision of the specification makes stale, if it matters. Each pair of revisions is compared once.
fn compare_revisions(
    observed: &Observed,
    loaded: &Loaded,
    content: &Content,
    cache: &mut Cache,
) -> Option<Arc<Staleness>> {
    let newer = loaded.documents.specification.as_ref()?;
    let before = match &loaded.documents.started_for {
        StartedFor::Approved => return None,
        StartedFor::Older(text) => Some(text.as_ref()),
        StartedFor::Unrecorded => None,
    };
    let pinned = observed.plan.status.as_ref()?.specification_digest.clone()?;
    let key = [pinned.clone(), newer.digest.to_string(), content.digest.to_string()];
    let known = cache.staleness.as_ref().filter(|(k, _)| *k == key).map(|(_, staleness)| staleness.clone());
    let staleness = known.unwrap_or_else(|| Arc::new(Staleness::between(before, newer, content)));
    cache.staleness = Some((key, staleness.clone()));
    if !staleness.matters() {
        // Read by `is_settled`: a finished plan then does not compare the same revisions at each reconcile.
        cache.harmless = Some((pinned, newer.digest.to_string()));
        return None;
    }
    Some(staleness)
}

/// Returns the reason of a plan whose namespace belongs to no tenant.
pub fn not_in_tenant(observed: &Observed) -> Readiness {
    let namespace = &observed.namespace;
    let message = format!("namespace {namespace} belongs to no Tenant; add it to a Tenant's spec.namespaces");
    Readiness::stalled("NotInTenant", message)
}

fn content_changed() -> Readiness {
    let message =
        "the content of the plan was changed after its start; restore it, or cancel the plan and create a new one";
    Readiness::stalled("ContentChanged", message)
}

/// A plan whose content cannot be compiled.
pub struct Refused {
    pub readiness: Readiness,
    findings: Vec<Finding>,
}

impl From<Readiness> for Refused {
    fn from(readiness: Readiness) -> Self {
        Self { readiness, findings: Vec::new() }
    }
}

/// Returns the plan's content; compiles it only when its inputs have changed since `cached`.
fn compile_content(
    observed: &Observed,
    loaded: &Loaded,
    cached: Option<&CachedContent>,
) -> Result<CachedContent, Refused> {
    if observed.member.is_none() {
        return Err(not_in_tenant(observed).into());
    }
    let spec = &observed.plan.spec;
    let generation = observed.plan.metadata.generation;
    // A started plan runs its recorded content: a newer release could compile the same spec to another one.
    if let Some(pinned) = &loaded.content {
        return Ok(CachedContent { generation, document: None, content: pinned.clone() });
    }
    let document = match (&loaded.document, &spec.source) {
        (Some(Ok(bytes)), _) => Some(bytes.as_slice()),
        (Some(Err(missing)), _) => return Err(missing.clone().into()),
        (None, source) => source.as_ref().and_then(|source| source.inline.as_deref()).map(str::as_bytes),
    };
    let digest = document.filter(|_| loaded.document.is_some()).map(Digest::of_bytes);
    let predecessor = loaded.documents.predecessor()?;
    // What is kept follows the tasks of the predecessor: the content is then compiled each time.
    if let Some(cached) = cached.filter(|c| {
        predecessor.is_none()
            && c.generation == generation
            && c.document == digest
            && c.content.agents == observed.agent_digests
    }) {
        return Ok(cached.clone());
    }
    let mut content = content_of(observed, document, predecessor)?;
    content.warnings.extend(loaded.decision_findings().cloned());
    Ok(CachedContent { generation, document: digest, content: Arc::new(content) })
}

/// Compiles the content of a plan from a tasks.md or, without one, from the tasks in its spec. It keeps finished work of its predecessor.
///
/// # Errors
/// The reason why it cannot be run, and the findings in the tasks.md.
pub fn content_of(
    observed: &Observed,
    document: Option<&[u8]>,
    predecessor: Option<&Predecessor>,
) -> Result<Content, Refused> {
    let spec = &observed.plan.spec;
    let parsed = document.map(|document| compile::parse(document, spec.unread_tasks));
    let tasks = parsed.as_ref().map_or_else(|| spec.tasks.clone(), compile::open_tasks);
    let diagnostics = parsed.as_ref().map_or(&[][..], |parsed| &parsed.diagnostics);
    let mut compiled =
        compile::compile(&observed.name(), tasks).map_err(|errors| invalid_plan(&errors, diagnostics))?;
    let done = parsed.as_ref().map(|parsed| compile::done_tasks(&parsed.model)).unwrap_or_default();
    let mut replaced = None;
    if let Some(predecessor) = predecessor {
        let (kept, difference) = predecessor.kept(&compiled.tasks, &done);
        compiled.kept = kept;
        replaced = Some(ReplacedStatus::from(&difference));
    }
    let agents = observed.agent_digests.clone();
    if agents.len() > MAX_AGENTS {
        let message = format!(
            "the plan names {} Agents, and at most {MAX_AGENTS} are allowed; name fewer, or split the plan",
            agents.len()
        );
        return Err(Readiness::stalled("InvalidPlan", message).into());
    }
    let stamps = Stamps::of(observed.plan.annotations(), names::ANNOTATION_ACCEPTED);
    let canonical = compile::canonical(spec, &compiled.tasks, &compiled.kept, &agents, &stamps)
        .map_err(|e| Readiness::stalled("InvalidPlan", e.to_string()))?;
    if canonical.len() > MAX_CONTENT {
        let message = format!(
            "the tasks, prompts and dependencies have {} bytes, and the record stores at most {MAX_CONTENT}; split the plan",
            canonical.len()
        );
        return Err(Readiness::stalled("InvalidPlan", message).into());
    }
    let left_out: Vec<Diagnostic> = diagnostics.iter().filter(|d| d.code == UNREAD_TASK).cloned().collect();
    let warnings = of_diagnostics(&left_out);
    let digest_of_content = Digest::of_bytes(canonical.as_bytes());
    Ok(Content { digest: digest_of_content, canonical, compiled, agents, done, warnings, replaced })
}

fn invalid_plan(errors: &[compile::CompileError], diagnostics: &[Diagnostic]) -> Refused {
    let document = diagnostics.iter().find(|d| d.severity == Severity::Error);
    let message = document.map_or_else(
        || errors.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join("; "),
        |first| format!("tasks.md: {first}"),
    );
    Refused { readiness: Readiness::stalled("InvalidPlan", message), findings: of_diagnostics(diagnostics) }
}

/// Checks the workspace by the rule of the webhook again: a plan may have been stored before a rule existed.
fn check_workspace(workspace: Option<&Workspace>) -> Result<(), Readiness> {
    let error = workspace.and_then(|workspace| validation::workspace(workspace).into_iter().next());
    error.map_or(Ok(()), |error| Err(Readiness::stalled("InvalidWorkspace", error.to_string())))
}

fn check_agents(observed: &Observed, compiled: &Compiled) -> Result<(), Readiness> {
    for (task, needs) in compiled.tasks.iter().zip(&compiled.needs) {
        let mut is_named = false;
        for name in observed.named_agents(task) {
            check_named_agent(observed, task, name)?;
            is_named = true;
        }
        if !is_named {
            check_pool(observed, task, needs)?;
        }
    }
    Ok(())
}

fn check_named_agent(observed: &Observed, task: &TaskTemplate, name: &str) -> Result<(), Readiness> {
    let Some(agent) = observed.agents.get(name) else {
        let message = format!("task {}: there is no Agent {name} in this namespace; create it", task.id);
        return Err(Readiness::reconciling("AgentNotFound", message));
    };
    if let Some(error) = validation::agent(&agent.spec).into_iter().chain(observed.image_problem(agent)).next() {
        let message = format!("task {}: Agent {name}: {error}", task.id);
        return Err(Readiness::stalled("AgentNotReady", message));
    }
    if let Some((index, problem)) = observed.model_problems.get(name) {
        let message = format!("task {}: Agent {name}: spec.models[{index}]: {problem}", task.id);
        return Err(Readiness::reconciling("AgentNotReady", message));
    }
    check_script(task, name, &agent.spec)?;
    if let Some(field) = observed.integration_secret_field(agent) {
        let message = format!(
            "task {}: {field} of Agent {name} is the Secret of spec.workspace.integration, which only the integration pod may use; \
             name another Secret in one of them",
            task.id
        );
        return Err(Readiness::stalled("InvalidWorkspace", message));
    }
    Ok(())
}

/// Checks that an agent of the pool declares what a task requires, and that each can run it. Whether an agent is ready only matters when an
/// attempt starts: the others can have the task meanwhile.
fn check_pool(observed: &Observed, task: &TaskTemplate, needs: &Needs) -> Result<(), Readiness> {
    let members = || observed.plan.spec.agents.iter().map(|member| member.name.as_str());
    let known = || members().filter_map(|name| Some((name, &observed.agents.get(name)?.spec)));
    // The only other check that depends on the task. An Agent that is invalid itself is excluded from the selection.
    for (name, spec) in known().filter(|(_, spec)| spec.adapter == Adapter::Command && task.script.is_none()) {
        check_script(task, name, spec)?;
    }
    let declares =
        |spec: &AgentSpec, need: &String| spec.capabilities.iter().any(|capability| capability.name == *need);
    let has_all = |spec: &AgentSpec| needs.names.iter().all(|need| declares(spec, need));
    // A plan that has started continues with its other tasks; this one then waits for an agent.
    if !needs.stated || observed.started().is_some() || known().any(|(_, spec)| has_all(spec)) {
        return Ok(());
    }
    let missing = members().find(|name| !observed.agents.contains_key(*name));
    let pool = members().collect::<Vec<_>>().join(", ");
    let missing = missing.map(|name| format!("; there is no Agent {name} in this namespace")).unwrap_or_default();
    let message = format!(
        "task {} requires {}, and no Agent of the pool ({pool}) declares all of it in spec.capabilities; add it to an Agent, or correct \
         requires{missing}",
        task.id,
        needs.names.join(", ")
    );
    Err(Readiness::reconciling("CapabilityMissing", message))
}

fn check_script(task: &TaskTemplate, name: &str, agent: &AgentSpec) -> Result<(), Readiness> {
    let adapter = pod::adapter(name, agent, task.script.as_deref(), None, 0);
    adapter.map(drop).map_err(|why| Readiness::stalled("InvalidPlan", format!("task {}: {why}", task.id)))
}

/// Returns the digest of the specification as it was approved; none if the plan names no specification.
///
/// # Errors
/// The reason why it is not ready.
pub fn check_specification(observed: &Observed) -> Result<Option<String>, Readiness> {
    let Some(reference) = &observed.plan.spec.specification_ref else { return Ok(None) };
    let Some(specification) = &observed.specification else {
        let message = format!("there is no Specification {} in this namespace; create it", reference.name);
        return Err(Readiness::reconciling("SpecificationNotFound", message));
    };
    let status = specification.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().find(|c| c.type_ == READY);
    let current = is_current(specification);
    let message = match ready {
        Some(c) if c.status == "True" && current => return Ok(status.approved_digest),
        Some(c) if current => {
            let message = format!("Specification {} is not ready: {}", reference.name, c.message);
            // Like the specification, the plan then waits until a person does something.
            let is_stalled = status.conditions.iter().any(|c| c.type_ == STALLED && c.status == "True");
            let progress = if is_stalled { Progress::Stalled } else { Progress::Reconciling };
            return Err(Readiness::new(progress, "WaitingForSpecification", message));
        }
        _ => format!("Specification {} has not been reconciled yet", reference.name),
    };
    Err(Readiness::reconciling("WaitingForSpecification", message))
}

/// Returns whether the status of a Specification is about its present generation.
pub fn is_current(specification: &Specification) -> bool {
    let observed = specification.status.as_ref().and_then(|status| status.observed_generation);
    observed == specification.metadata.generation
}

fn check_approval(
    observed: &Observed,
    loaded: &Loaded,
    digest: &Digest,
    evaluation: &Evaluation,
) -> Result<(), Readiness> {
    let content = approval::Content {
        digest: digest.clone(),
        authors: observed.authors(loaded.generated.as_ref()),
        worst: convert::worst_of(&evaluation.findings),
    };
    match evaluate_approvals(&observed.policy, &content, &observed.decisions, observed.now) {
        Verdict::Approved { .. } => Ok(()),
        Verdict::Rejected { user, comment } => {
            let message = format!("{user} rejected this content: {comment}; change the plan");
            Err(Readiness::stalled("Rejected", message))
        }
        Verdict::Waiting(demand) => {
            let message = format!("{demand}; approve with `kubectl enact approve plan/{}`", observed.name());
            Err(Readiness::stalled("WaitingForApproval", message))
        }
    }
}
