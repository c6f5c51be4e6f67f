//! From what was observed to something that can be run, or the reason why it cannot.

use std::borrow::Cow;
use std::sync::Arc;

use enact_crds::PlanSpec;
use enact_crds::agent::EnvVar;
use enact_crds::document::Finding;
use enact_crds::plan::Workspace;
use enact_crds::task::TaskTemplate;
use enact_crds::{compile, convert};
use enact_domain::approval::{self, Verdict, evaluate};
use enact_domain::assignment::{check_ref, check_url};
use enact_domain::condition::{Progress, READY, Readiness};
use enact_domain::digest::Digest;
use enact_domain::graph::Graph;
use enact_domain::names;
use enact_domain::plan::Policy;
use enact_domain::speckit::Diagnostic;
use kube::ResourceExt as _;
use serde::Deserialize;

use super::documents::{Before, Choice, Judged, judge};
use super::observe::Observed;
use super::stale::{self, Outdated};
use super::{Made, Runtime, Tasks, is_finished, started};
use crate::context::Membership;
use crate::documents::findings::of_diagnostics;
use crate::task::pod;

/// Most bytes of a plan's content: as many as the record takes of any document.
const MAX_CONTENT: usize = 4 << 20;

/// What the plan says is to be done: what is approved, recorded and run.
#[derive(Debug)]
pub struct Content {
    /// The tasks and their graph.
    pub compiled: Tasks,
    /// Canonical JSON.
    pub canonical: String,
    /// Digest of `canonical`.
    pub digest: Digest,
}

impl Content {
    /// What the record holds of a plan under this digest; none when it is something else.
    pub fn recorded(plan: &str, digest: &Digest, canonical: Vec<u8>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Recorded {
            tasks: Vec<TaskTemplate>,
        }
        let canonical =
            String::from_utf8(canonical).ok().filter(|text| Digest::of_bytes(text.as_bytes()) == *digest)?;
        let recorded: Recorded = serde_json::from_str(&canonical).ok()?;
        let compiled = compile::compile(plan, recorded.tasks).ok()?;
        Some(Self { compiled, canonical, digest: digest.clone() })
    }

    /// Whether the plan still says this. A document in a ConfigMap counts no more: it was read at the start.
    pub fn is_said_by(&self, spec: &PlanSpec) -> bool {
        let written =
            spec.source.as_ref().map(|s| s.inline.as_deref().map(|text| compile::from_markdown(text.as_bytes()).0));
        let tasks = match &written {
            None => &spec.tasks,
            Some(Some(tasks)) => tasks,
            Some(None) => &self.compiled.tasks,
        };
        compile::canonical(spec, tasks).is_ok_and(|said| said == self.canonical)
    }
}

/// A plan that can be run.
pub struct Valid {
    /// The tenant.
    pub member: Membership,
    /// What is to be done.
    pub content: Arc<Content>,
    /// The graph of all nodes: the tasks, then the integration if there is a workspace.
    pub graph: Graph,
    /// What holds for the whole plan.
    pub policy: Policy,
    /// Digest of the specification that its tasks are for from now on.
    pub specification_digest: Option<String>,
    /// What a newer revision of that makes stale.
    pub outdated: Option<Arc<Outdated>>,
    /// What a person has decided about it.
    pub choice: Choice,
    /// Why nothing new is started, although it was started: what runs may end.
    pub hold: Option<Blocked>,
}

/// Why a plan does not go on, as its conditions say it.
#[derive(Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Whether it is on its way or stuck.
    pub progress: Progress,
    /// CamelCase.
    pub reason: Cow<'static, str>,
    /// For a person.
    pub message: String,
    /// What is wrong with its tasks.md.
    pub findings: Vec<Finding>,
    /// Digest of its content, when it could be read.
    pub digest: Option<Digest>,
}

impl Blocked {
    fn stalled(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            progress: Progress::Stalled,
            reason: reason.into(),
            message: message.into(),
            findings: Vec::new(),
            digest: None,
        }
    }

    fn by(blocked: &Readiness) -> Self {
        Self { progress: blocked.progress, ..Self::stalled(blocked.reason.clone(), blocked.message.clone()) }
    }

    fn waiting(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { progress: Progress::Reconciling, ..Self::stalled(reason, message) }
    }
}

/// Checks everything that a plan needs before and while it runs.
///
/// # Errors
/// Why it does not go on.
pub fn validate(observed: &Observed, runtime: &mut Runtime) -> Result<Valid, Blocked> {
    let plan = &observed.plan;
    let Some(member) = observed.member.clone() else {
        return Err(Blocked::stalled(
            "NotInTenant",
            format!("namespace {} belongs to no Tenant; add it to a Tenant's spec.namespaces", observed.namespace),
        ));
    };
    let content = content(observed, runtime)?;
    let with_digest = |mut blocked: Blocked| {
        blocked.digest = Some(content.digest.clone());
        blocked
    };
    let status = plan.status.as_ref();
    let mut hold = None;
    if !plan.spec.cancel && !is_finished(status.map(|s| s.phase).unwrap_or_default()) {
        // What is over, or is to be stopped, needs nothing any more.
        let lacks = if observed.changed { Err(changed()) } else { Ok(()) }
            .and_then(|()| workspace(plan.spec.workspace.as_ref()))
            .and_then(|()| agents(observed, &content.compiled.tasks));
        match lacks {
            // What runs ends as always, and is recorded.
            Err(blocked) if started(plan).is_some() => hold = Some(blocked),
            lacks => lacks.map_err(with_digest)?,
        }
    }
    let outdated = outdated(observed, &content, runtime);
    let choice = if observed.documents.specification.is_some() { observed.choice() } else { Choice::None };
    let specification_digest = if started(plan).is_some() {
        if status.and_then(|s| s.approved_digest.as_deref()) != Some(content.digest.as_str()) {
            return Err(with_digest(changed()));
        }
        match choice {
            Choice::None => status.and_then(|s| s.specification_digest.clone()),
            Choice::Redo | Choice::Keep => observed.newer().map(str::to_owned),
        }
    } else if plan.spec.cancel {
        None
    } else {
        let digest = specification(observed).map_err(with_digest)?;
        let law = match &observed.documents.constitution {
            Some(Err(blocked)) => return Err(with_digest(Blocked::by(blocked))),
            Some(Ok(law)) => Some(law),
            None => None,
        };
        let judged = judge(observed, &content, law, runtime.judged.take());
        runtime.judged = Some(judged.clone());
        if let Some(blocked) = &judged.blocked {
            return Err(with_digest(Blocked::by(blocked)));
        }
        approved(observed, &content.digest, &judged).map_err(with_digest)?;
        if plan.spec.suspend {
            let message = "suspended before its start; start it with `kubectl enact resume`";
            return Err(with_digest(Blocked::waiting("Suspended", message)));
        }
        digest
    };
    let execution = &plan.spec.execution;
    // The time of a finished plan that is taken up again begins anew.
    let again = choice == Choice::Redo && status.is_some_and(|s| is_finished(s.phase));
    let begun = started(plan).map(|at| if again { observed.now } else { at });
    let policy = Policy {
        parallelism: execution.parallelism,
        on_failure: execution.on_failure.into(),
        suspended: plan.spec.suspend || hold.is_some(),
        cancelled: plan.spec.cancel,
        deadline: execution.deadline_seconds.zip(begun).map(|(seconds, at)| at.plus_seconds(seconds)),
    };
    let graph =
        if plan.spec.workspace.is_some() { content.compiled.graph.with_last() } else { content.compiled.graph.clone() };
    Ok(Valid { member, content, graph, policy, specification_digest, outdated, choice, hold })
}

/// What a newer revision of the specification makes stale, if anything; compared once.
fn outdated(observed: &Observed, content: &Content, runtime: &mut Runtime) -> Option<Arc<Outdated>> {
    let newer = observed.documents.specification.as_ref()?;
    let before = match &observed.documents.before {
        Before::Same => return None,
        Before::Known(text) => Some(text.as_ref()),
        Before::Forgotten => None,
    };
    let pinned = observed.plan.status.as_ref()?.specification_digest.clone()?;
    let key = [pinned.clone(), newer.digest.to_string(), content.digest.to_string()];
    let known = runtime.outdated.as_ref().filter(|(k, _)| *k == key).map(|(_, outdated)| outdated.clone());
    let outdated = known.unwrap_or_else(|| Arc::new(stale::outdated(before, newer, content)));
    runtime.outdated = Some((key, outdated.clone()));
    if !outdated.matters() {
        runtime.harmless = Some((pinned, newer.digest.to_string()));
        return None;
    }
    Some(outdated)
}

fn changed() -> Blocked {
    Blocked::stalled(
        "ContentChanged",
        "the plan's content was changed after its start; put it back, or cancel the plan and create a new one",
    )
}

/// The plan's tasks; made anew only when what they are made from changed.
fn content(observed: &Observed, runtime: &mut Runtime) -> Result<Arc<Content>, Blocked> {
    let spec = &observed.plan.spec;
    let generation = observed.plan.metadata.generation;
    if let Some(pinned) = &observed.pinned {
        if !observed.changed {
            runtime.made = Some(Made { generation, document: None, content: pinned.clone() });
        }
        return Ok(pinned.clone());
    }
    let document = match (&spec.source, &observed.document) {
        (Some(_), Some(Ok(bytes))) => Some(bytes.as_slice()),
        (Some(_), Some(Err(missing))) => {
            return Err(Blocked::by(missing));
        }
        (Some(source), None) => source.inline.as_deref().map(str::as_bytes),
        (None, _) => None,
    };
    let digest = document.filter(|_| observed.document.is_some()).map(Digest::of_bytes);
    if let Some(made) = runtime.made.as_ref().filter(|m| m.generation == generation && m.document == digest) {
        return Ok(made.content.clone());
    }
    let (tasks, diagnostics) = document.map_or_else(|| (spec.tasks.clone(), Vec::new()), compile::from_markdown);
    let compiled =
        compile::compile(&observed.plan.name_any(), tasks).map_err(|errors| refused(&errors, &diagnostics))?;
    let canonical =
        compile::canonical(spec, &compiled.tasks).map_err(|e| Blocked::stalled("InvalidPlan", e.to_string()))?;
    if canonical.len() > MAX_CONTENT {
        let message = format!(
            "tasks, prompts and dependencies have {} bytes together, and at most {MAX_CONTENT} are recorded; divide the plan",
            canonical.len()
        );
        return Err(Blocked::stalled("InvalidPlan", message));
    }
    let content = Arc::new(Content { digest: Digest::of_bytes(canonical.as_bytes()), canonical, compiled });
    runtime.made = Some(Made { generation, document: digest, content: content.clone() });
    Ok(content)
}

fn refused(errors: &[compile::CompileError], diagnostics: &[Diagnostic]) -> Blocked {
    let document = diagnostics.iter().find(|d| d.severity == enact_domain::speckit::Severity::Error);
    let message = document.map_or_else(
        || errors.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join("; "),
        |first| format!("tasks.md: {first}"),
    );
    Blocked { findings: of_diagnostics(diagnostics), ..Blocked::stalled("InvalidPlan", message) }
}

/// The API's own rules once more: a plan may have been stored before there were all of them.
fn workspace(workspace: Option<&Workspace>) -> Result<(), Blocked> {
    let Some(workspace) = workspace else { return Ok(()) };
    let refused = |problem: &str| Err(Blocked::stalled("InvalidWorkspace", format!("spec.workspace{problem}")));
    let target = workspace.integration.branch.as_ref();
    check_url(&workspace.url)
        .and_then(|()| [Some(&workspace.revision), target].into_iter().flatten().try_for_each(|name| check_ref(name)))
        .or_else(|e| refused(&format!(": {e}")))?;
    if let Some(branch) = target.filter(|branch| names::is_work_branch(branch)) {
        return refused(&format!(".integration.branch: `{branch}` lies below enact/, where agents push; name another"));
    }
    match (&workspace.credentials_secret_ref, &workspace.integration.credentials_secret_ref) {
        (Some(_), None) => refused(
            ".integration.credentialsSecretRef is missing beside credentialsSecretRef, which agents can read; name a Secret that \
             the integration pod alone holds",
        ),
        (Some(agents), Some(own)) if agents == own => refused(&format!(
            ".integration.credentialsSecretRef: agents can read the Secret {}, which credentialsSecretRef names too; name another",
            own.name
        )),
        _ => Ok(()),
    }
}

fn agents(observed: &Observed, tasks: &[TaskTemplate]) -> Result<(), Blocked> {
    let workspace = observed.plan.spec.workspace.as_ref();
    let integrator = workspace.and_then(|w| w.integration.credentials_secret_ref.as_ref()).map(|secret| &secret.name);
    for task in tasks {
        let name = agent_of(observed, task);
        let Some(agent) = observed.agents.get(name) else {
            return Err(Blocked::waiting(
                "AgentNotFound",
                format!("task {}: there is no Agent {name} in this namespace; create it", task.id),
            ));
        };
        pod::adapter(name, &agent.spec, task.script.as_deref())
            .map_err(|why| Blocked::stalled("InvalidPlan", format!("task {}: {why}", task.id)))?;
        let reads = |var: &&EnvVar| var.secret_key_ref.as_ref().is_some_and(|key| Some(&key.name) == integrator);
        if let Some(var) = agent.spec.env.iter().find(reads) {
            return Err(Blocked::stalled(
                "InvalidWorkspace",
                format!(
                    "task {}: Agent {name} takes its variable {} from the Secret of spec.workspace.integration, which the integration \
                     pod alone may hold; name another Secret in one of them",
                    task.id, var.name
                ),
            ));
        }
    }
    Ok(())
}

/// Name of the agent of a task.
pub fn agent_of<'a>(observed: &'a Observed, task: &'a TaskTemplate) -> &'a str {
    task.agent_ref.as_ref().map_or(&observed.plan.spec.agent_ref.name, |r| &r.name)
}

/// The digest of the specification as it was approved.
fn specification(observed: &Observed) -> Result<Option<String>, Blocked> {
    let Some(reference) = &observed.plan.spec.specification_ref else { return Ok(None) };
    let Some(specification) = &observed.specification else {
        return Err(Blocked::waiting(
            "SpecificationNotFound",
            format!("there is no Specification {} in this namespace; create it", reference.name),
        ));
    };
    let status = specification.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().find(|c| c.type_ == READY);
    let current = status.observed_generation == specification.metadata.generation;
    match ready {
        Some(c) if c.status == "True" && current => Ok(status.approved_digest),
        Some(c) if current => Err(Blocked::waiting(
            "WaitingForSpecification",
            format!("Specification {} is not ready: {}", reference.name, c.message),
        )),
        _ => Err(Blocked::waiting(
            "WaitingForSpecification",
            format!("Specification {} was not looked at yet", reference.name),
        )),
    }
}

fn approved(observed: &Observed, digest: &Digest, judged: &Judged) -> Result<(), Blocked> {
    let name = observed.plan.name_any();
    let content = approval::Content {
        digest: digest.clone(),
        author: observed.author.clone(),
        worst: convert::worst_of(&judged.findings),
    };
    match evaluate(&(&observed.plan.spec.approval).into(), &content, &observed.decisions, observed.now) {
        Verdict::Approved { .. } => Ok(()),
        Verdict::Rejected { user, comment } => Err(Blocked::stalled(
            "Rejected",
            format!("{user} rejected this content: {comment}; change the plan, or delete the Approval"),
        )),
        Verdict::Waiting(demand) => Err(Blocked::waiting(
            "WaitingForApproval",
            format!("{demand}; approve with `kubectl enact approve plan/{name}`"),
        )),
    }
}

/// The branch that receives the plan's work.
pub fn target_branch(observed: &Observed, workspace: &Workspace) -> String {
    workspace.integration.branch.clone().unwrap_or_else(|| names::integration_branch(&observed.plan.name_any()))
}
