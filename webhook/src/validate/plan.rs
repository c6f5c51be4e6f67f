//! Plan: checks tasks and Git names, and refuses a change of the content after the start.

use std::collections::HashMap;

use enact_crds::common::LocalRef;
use enact_crds::compile::{self, CompileError};
use enact_crds::plan::{Generate, Workspace};
use enact_crds::task::TaskTemplate;
use enact_crds::{PlanSpec, validation};
use enact_domain::approval::Policy;
use enact_domain::digest::Digest;
use enact_domain::graph::GraphError;
use enact_domain::names::{ANNOTATION_KEEP, ANNOTATION_REDO};
use enact_domain::record::Kind;
use enact_domain::speckit::tasks::TasksFile;
use kube::core::admission::Operation;
use serde_json::Value;

use super::validator::{Validate, Validator};
use super::{document, reference};
use crate::denial::{Cause, Denial, Outcome, cut, warning};
use crate::lookup::Lookup;
use crate::request::{Request, annotation, part};

const AGENT: &str = "spec.agentRef";
const SPECIFICATION: &str = "spec.specificationRef";
const REPLACED: &str = "spec.replaces.name";
/// Most bytes of a wrong annotation that are quoted; a digest has 71.
const MAX_QUOTED: usize = 80;

impl<L: Lookup> Validate<PlanSpec> for Validator<L> {
    async fn validate(&self, request: &Request, spec: PlanSpec) -> Outcome {
        refuse_change_under_way(request)?;
        let mut causes = references(&spec);
        causes.extend(spec.workspace.as_ref().map(workspace).unwrap_or_default());
        let mut warnings = Vec::new();
        if let Some(source) = &spec.source {
            let (parsing, unread_tasks) = (&self.parsing, spec.unread_tasks);
            let parse = move |bytes: &[u8]| compile::parse(bytes, unread_tasks);
            let checked = document::check(parsing, request.namespace(), "spec.source", Some(source), parse).await;
            warnings = checked.warnings;
            // The graph of a document with errors would only report consequences of these errors.
            if checked.causes.is_empty()
                && let Some(file) = &checked.model
            {
                let (wrong, warning) = written_tasks(request.name(), file);
                causes.extend(wrong);
                warnings.extend(warning);
            }
            causes.extend(checked.causes);
            causes.extend(validation::source_author(&Policy::from(&spec.approval), Some(source)).map(Cause::from));
        } else if let Some(generate) = &spec.generate {
            causes.extend(chosen(request, generate));
        } else {
            causes.extend(listed_tasks(request.name(), &spec.tasks));
        }
        Denial::unless_empty(causes)?;
        warnings.extend(validation::windows_scripts(&spec).map(warning));
        if let Some(agent) = &spec.agent_ref {
            warnings.extend(self.warn_unless_exists(request, AGENT, Kind::Agent, agent).await);
        }
        for (i, member) in spec.agents.iter().enumerate() {
            let agent = LocalRef { name: member.name.clone() };
            warnings.extend(self.warn_unless_exists(request, &pool(i), Kind::Agent, &agent).await);
        }
        for (field, name) in contest_agents(&spec).chain(planners(&spec)) {
            let agent = LocalRef { name: name.to_owned() };
            warnings.extend(self.warn_unless_exists(request, &field, Kind::Agent, &agent).await);
        }
        if let Some(specification) = &spec.specification_ref {
            warnings.extend(self.warn_unless_exists(request, SPECIFICATION, Kind::Specification, specification).await);
        }
        if let Some(replaced) = &spec.replaces {
            let plan = LocalRef { name: replaced.name.clone() };
            warnings.extend(self.warn_unless_exists(request, REPLACED, Kind::Plan, &plan).await);
        }
        Ok(warnings)
    }
}

/// Refuses a decision about a newer revision of the specification that the operator would ignore: the value is not a digest, names another
/// revision than the Plan waits for, or contradicts the other annotation. It does not check a stored decision again.
pub(super) fn decision(request: &Request) -> Result<(), Denial> {
    if request.kind() != Some(Kind::Plan) {
        return Ok(());
    }
    let (new, old) = (request.object(), request.old());
    let awaited = part(old, "status").and_then(|s| s["stale"]["specificationDigest"].as_str());
    for (name, command, other) in
        [(ANNOTATION_REDO, "redo", ANNOTATION_KEEP), (ANNOTATION_KEEP, "keep", ANNOTATION_REDO)]
    {
        // Only a new value is checked, so that a value that became invalid later blocks no other change.
        let Some(value) = annotation(new, name).filter(|value| annotation(old, name) != Some(value)) else { continue };
        let wrong = if !Digest::from(value.to_owned()).is_valid() {
            "is not the digest of a revision".to_owned()
        } else if let Some(awaited) = awaited.filter(|awaited| *awaited != value) {
            format!("is not the revision that the Plan waits for, which is {awaited}")
        } else if annotation(new, other) == Some(value) {
            format!("is the value of {other} too, which decides otherwise; remove one of them")
        } else {
            continue;
        };
        let message = format!(
            "{:?} {wrong}; write the specificationDigest of status.stale, or use `kubectl enact {command} plan/{}`",
            cut(value.to_owned(), MAX_QUOTED),
            request.name()
        );
        return Err(Denial::invalid(format!("metadata.annotations[{name}]"), message));
    }
    Ok(())
}

/// Refuses a change of the content once the first task has started, because approval and record are about that content.
fn refuse_change_under_way(request: &Request) -> Result<(), Denial> {
    // The operator writes `status.startedAt` when it starts the approved Plan.
    let started = part(request.old(), "status").is_some_and(|s| s.get("startedAt").is_some_and(|t| !t.is_null()));
    if !started || request.operation() != &Operation::Update || !request.changes_content() {
        return Ok(());
    }
    let message = "what a Plan does cannot change once it has started; suspend, cancel, execution (parallelism, priority, …) and approval \
                   still can. Create another Plan for other work; `kubectl enact replan` creates one that keeps the finished work";
    Err(Denial::invalid("spec", message))
}

/// Returns the path of a member of the pool.
fn pool(index: usize) -> String {
    format!("spec.agents[{index}]")
}

fn references(spec: &PlanSpec) -> Vec<Cause> {
    let agent = spec.agent_ref.as_ref();
    let mut causes: Vec<Cause> = agent.and_then(|r| reference::check(AGENT, Kind::Agent, r)).into_iter().collect();
    for (i, member) in spec.agents.iter().enumerate() {
        causes.extend(reference::check_name(&format!("{}.name", pool(i)), Kind::Agent, &member.name));
    }
    let specification = spec.specification_ref.as_ref();
    causes.extend(specification.and_then(|r| reference::check(SPECIFICATION, Kind::Specification, r)));
    causes.extend(spec.replaces.as_ref().and_then(|r| reference::check_name(REPLACED, Kind::Plan, &r.name)));
    for (i, task) in spec.tasks.iter().enumerate() {
        let agent = task.agent_ref.as_ref();
        causes.extend(agent.and_then(|r| reference::check(&format!("spec.tasks[{i}].agentRef"), Kind::Agent, r)));
    }
    for (field, name) in contest_agents(spec).chain(planners(spec)) {
        causes.extend(reference::check_name(&field, Kind::Agent, name));
    }
    causes
}

/// Returns the Agents that tasks name for their contestants, with the paths of the names.
fn contest_agents(spec: &PlanSpec) -> impl Iterator<Item = (String, &str)> {
    let contests = spec.tasks.iter().enumerate().filter_map(|(i, task)| Some((i, task.attempts.as_ref()?)));
    contests.flat_map(|(i, attempts)| {
        let agents = attempts.agents.iter().enumerate();
        agents.map(move |(k, name)| (format!("spec.tasks[{i}].attempts.agents[{k}]"), name.as_str()))
    })
}

/// Returns the planners, the judges and the synthesizer, with the paths of their names.
fn planners(spec: &PlanSpec) -> impl Iterator<Item = (String, &str)> {
    let lists = spec.generate.iter().flat_map(|g| [("agents", &g.agents), ("judges", &g.judges)]);
    let listed = lists.flat_map(|(list, agents)| {
        let agents = agents.iter().enumerate();
        agents.map(move |(i, agent)| (format!("spec.generate.{list}[{i}].name"), agent.name.as_str()))
    });
    let synthesizer = spec.generate.iter().filter_map(|generate| generate.synthesizer.as_ref());
    listed.chain(synthesizer.map(|agent| ("spec.generate.synthesizer.name".to_owned(), agent.name.as_str())))
}

/// Refuses the choice of a proposal that does not exist: the operator would ignore it. It does not check a stored choice again.
fn chosen(request: &Request, generate: &Generate) -> Option<Cause> {
    let chosen = generate.chosen.as_ref().filter(|_| request.operation() == &Operation::Update)?;
    let is_chosen = |value: &Value| value["agent"] == *chosen.agent && value["digest"] == *chosen.digest;
    let old = request.old();
    if part(old, "spec").is_some_and(|spec| is_chosen(&spec["generate"]["chosen"])) {
        return None;
    }
    let proposals = part(old, "status").and_then(|status| status["proposals"].as_array());
    if proposals.into_iter().flatten().any(is_chosen) {
        return None;
    }
    let message = format!(
        "there is no proposal of {:?} with this digest; use `kubectl enact choose {} --agent NAME`",
        cut(chosen.agent.clone(), MAX_QUOTED),
        request.name()
    );
    Some(Cause::new("spec.generate.chosen", message))
}

fn workspace(workspace: &Workspace) -> Vec<Cause> {
    let mut causes: Vec<Cause> = validation::workspace(workspace).into_iter().map(Cause::from).collect();
    for (field, secret) in [
        ("spec.workspace.credentialsSecretRef", &workspace.credentials_secret_ref),
        ("spec.workspace.integration.credentialsSecretRef", &workspace.integration.credentials_secret_ref),
    ] {
        causes.extend(secret.as_ref().and_then(|s| reference::check_object(field, "Secret", &s.name)));
    }
    causes
}

/// Returns the errors of the tasks in `spec.tasks`.
fn listed_tasks(plan: &str, tasks: &[TaskTemplate]) -> Vec<Cause> {
    let Err(errors) = compile::check(plan, tasks) else { return Vec::new() };
    let index: HashMap<&str, usize> = tasks.iter().enumerate().map(|(i, t)| (t.id.as_str(), i)).collect();
    let cause = |error: &CompileError| {
        let field = match error {
            CompileError::Graph(GraphError::Duplicate { .. }) | CompileError::SameName { .. } => ".id",
            CompileError::Graph(_) => ".dependsOn",
            CompileError::Attempts { .. } => ".attempts",
            CompileError::TooLong { .. } | CompileError::Empty | CompileError::TooMany(_) => "",
        };
        let index = match error {
            CompileError::Graph(GraphError::Duplicate { second, .. }) => Some(second),
            _ => error.task().and_then(|id| index.get(id)),
        };
        let path = index.map_or_else(|| "spec.tasks".into(), |i| format!("spec.tasks[{i}]{field}"));
        Cause::new(path, error.to_string())
    };
    errors.iter().map(cause).collect()
}

/// Returns the errors of the tasks in a tasks.md, and a warning for the author.
///
/// A plan without open tasks is stored: it is complete in Git, and a GitOps tool that applies it must not fail. The operator reports it.
fn written_tasks(plan: &str, file: &TasksFile) -> (Vec<Cause>, Option<String>) {
    const FIELD: &str = "spec.source.inline";
    let Err(errors) = compile::check(plan, &compile::from_file(file)) else { return (Vec::new(), None) };
    if errors.contains(&CompileError::Empty) {
        return (Vec::new(), Some(warning(format!("{FIELD}: {}", CompileError::Empty))));
    }
    let lines: HashMap<&str, u32> = file.tasks.iter().map(|t| (t.id.as_str(), t.line)).collect();
    let line = |error: &CompileError| error.task().and_then(|id| lines.get(id)).copied().unwrap_or(1);
    (errors.iter().map(|e| Cause::new(FIELD, format!("line {}: {e}", line(e)))).collect(), None)
}

#[cfg(test)]
mod tests;
