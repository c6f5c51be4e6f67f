//! Plan: a graph that can be run, Git names that cannot be taken for anything else, and no change under way.

use std::collections::{HashMap, HashSet};

use enact_crds::PlanSpec;
use enact_crds::plan::Workspace;
use enact_crds::task::TaskTemplate;
use enact_domain::assignment::{check_ref, check_url};
use enact_domain::digest::Digest;
use enact_domain::graph::{Graph, GraphError};
use enact_domain::names::{ANNOTATION_KEEP, ANNOTATION_REDO, task_name};
use enact_domain::speckit::TaskId;
use enact_domain::speckit::tasks::{self, TaskState, TasksFile};
use kube::core::admission::Operation;

use super::{Admission, Validate, document, reference};
use crate::denial::{Cause, Denial, Outcome, cut};
use crate::request::{Kind, Request, annotation, part};
use crate::world::{Referent, World};

const AGENT: &str = "spec.agentRef";
const SPECIFICATION: &str = "spec.specificationRef";
/// Most bytes of a wrong annotation that are quoted; a digest has 71.
const MAX_QUOTED: usize = 80;

impl<W: World> Validate<PlanSpec> for Admission<W> {
    async fn validate(&self, request: &Request, spec: PlanSpec) -> Outcome {
        refuse_change_under_way(request)?;
        let mut causes = references(&spec);
        causes.extend(spec.workspace.as_ref().map(workspace).unwrap_or_default());
        causes.extend(listed_tasks(request.name(), &spec.tasks));
        let mut warnings = Vec::new();
        if let Some(source) = &spec.source {
            let checked = document::check("spec.source", Some(source), tasks::parse);
            causes.extend(checked.causes);
            causes.extend(checked.model.as_ref().and_then(written_tasks));
            warnings = checked.warnings;
        }
        Denial::unless_empty(causes)?;
        warnings.extend(self.warn_unless_exists(request, AGENT, Referent::Agent, &spec.agent_ref).await);
        if let Some(specification) = &spec.specification_ref {
            warnings
                .extend(self.warn_unless_exists(request, SPECIFICATION, Referent::Specification, specification).await);
        }
        Ok(warnings)
    }
}

/// Refuses a decision about a newer revision of the specification that the operator would not act upon: one that names no revision, or
/// another than the Plan waits for, or two that contradict each other. One that is stored already stops nobody.
pub(super) fn decision(request: &Request) -> Result<(), Denial> {
    if request.kind() != Some(Kind::Plan) {
        return Ok(());
    }
    let (new, old) = (request.object(), request.old());
    let awaited = part(old, "status").and_then(|s| s["stale"]["specificationDigest"].as_str());
    for (name, command, other) in
        [(ANNOTATION_REDO, "redo", ANNOTATION_KEEP), (ANNOTATION_KEEP, "keep", ANNOTATION_REDO)]
    {
        let Some(value) = annotation(new, name).filter(|value| annotation(old, name) != Some(value)) else { continue };
        let wrong = if !Digest::from(value.to_owned()).is_valid() {
            "is no digest of a revision".to_owned()
        } else if let Some(awaited) = awaited.filter(|awaited| *awaited != value) {
            format!("is not the revision that the Plan waits for, which is {awaited}")
        } else if annotation(new, other) == Some(value) {
            format!("is the value of {other} too, which decides otherwise; take one of them away")
        } else {
            continue;
        };
        let message = format!(
            "{:?} {wrong}; look at status.stale and write its specificationDigest, or use `enact {command} plan/{}`",
            cut(value.to_owned(), MAX_QUOTED),
            request.name()
        );
        return Err(Denial::invalid(format!("metadata.annotations[{name}]"), message));
    }
    Ok(())
}

/// Refuses a change of what is to be done once the first task has started: approval and record are about what was started.
fn refuse_change_under_way(request: &Request) -> Result<(), Denial> {
    let started = part(request.old(), "status").is_some_and(|s| s.get("startedAt").is_some_and(|t| !t.is_null()));
    if !started || request.operation() != &Operation::Update || !request.changes_content() {
        return Ok(());
    }
    let message = "what a Plan does cannot change once it has started; suspend, cancel, execution (parallelism, priority, …) and approval \
                   still can. Create another Plan for other work";
    Err(Denial::invalid("spec", message))
}

fn references(spec: &PlanSpec) -> Vec<Cause> {
    let mut causes: Vec<Cause> = reference::check(AGENT, Referent::Agent, &spec.agent_ref).into_iter().collect();
    let specification = spec.specification_ref.as_ref();
    causes.extend(specification.and_then(|r| reference::check(SPECIFICATION, Referent::Specification, r)));
    for (i, task) in spec.tasks.iter().enumerate() {
        let agent = task.agent_ref.as_ref();
        causes.extend(agent.and_then(|r| reference::check(&format!("spec.tasks[{i}].agentRef"), Referent::Agent, r)));
    }
    causes
}

fn workspace(workspace: &Workspace) -> Vec<Cause> {
    let mut causes = Vec::new();
    let url = check_url(&workspace.url).err().map(|e| Cause::new("spec.workspace.url", e.to_string()));
    let revision = check_ref(&workspace.revision).err().map(|e| Cause::new("spec.workspace.revision", e.to_string()));
    let integration = &workspace.integration;
    let branch = integration.branch.as_deref().and_then(|b| check_ref(b).err());
    causes.extend(url.into_iter().chain(revision));
    causes.extend(branch.map(|e| Cause::new("spec.workspace.integration.branch", e.to_string())));
    for (field, secret) in [
        ("spec.workspace.credentialsSecretRef", &workspace.credentials_secret_ref),
        ("spec.workspace.integration.credentialsSecretRef", &integration.credentials_secret_ref),
    ] {
        causes.extend(secret.as_ref().and_then(|s| reference::check_object(field, "Secret", &s.name)));
    }
    causes
}

/// What is wrong with the tasks of `spec.tasks`.
fn listed_tasks(plan: &str, tasks: &[TaskTemplate]) -> Vec<Cause> {
    let edges = tasks.iter().map(|t| (t.id.as_str(), t.depends_on.iter().map(String::as_str)));
    let place: HashMap<&str, usize> = tasks.iter().enumerate().map(|(i, t)| (t.id.as_str(), i)).collect();
    let mut causes: Vec<Cause> =
        Graph::build(edges).err().unwrap_or_default().into_iter().map(|e| graph_cause(&place, &e)).collect();
    causes.extend(namesakes(plan, tasks));
    causes
}

fn graph_cause(place: &HashMap<&str, usize>, error: &GraphError) -> Cause {
    let at = |id: &str| place.get(id).map_or_else(|| "spec.tasks".into(), |i| format!("spec.tasks[{i}]"));
    let field = match error {
        GraphError::Duplicate { second, .. } => format!("spec.tasks[{second}].id"),
        GraphError::Unknown { task, .. } => format!("{}.dependsOn", at(task)),
        GraphError::Cycle { cycle } => format!("{}.dependsOn", at(cycle.first().map_or("", String::as_str))),
    };
    Cause::new(field, error.to_string())
}

/// Ids that differ, but would give two Tasks one name.
fn namesakes(plan: &str, tasks: &[TaskTemplate]) -> Vec<Cause> {
    let mut names: HashMap<String, &str> = HashMap::with_capacity(tasks.len());
    let mut causes = Vec::new();
    for (i, task) in tasks.iter().enumerate() {
        let name = task_name(plan, &task.id);
        match names.get(&name) {
            Some(other) if *other != task.id => {
                let message = format!("{} and {other} both become Task {name}; give one of them another id", task.id);
                causes.push(Cause::new(format!("spec.tasks[{i}].id"), message));
            }
            Some(_) => {}
            None => {
                names.insert(name, &task.id);
            }
        }
    }
    causes
}

/// A cycle that the text of a tasks.md states. Ticked tasks are left out, as the operator leaves them out.
fn written_tasks(file: &TasksFile) -> Option<Cause> {
    let open: HashSet<&TaskId> = file.tasks.iter().filter(|t| t.state == TaskState::Open).map(|t| &t.id).collect();
    let edges = file.dependencies();
    let left = edges.iter().filter(|(id, _)| open.contains(id));
    let graph =
        Graph::build(left.map(|(id, on)| (id.as_str(), on.iter().filter(|d| open.contains(d)).map(TaskId::as_str))));
    let error = graph.err()?.into_iter().next()?;
    let first = match &error {
        GraphError::Cycle { cycle } => cycle.first(),
        _ => None,
    };
    let line = first.and_then(|id| file.tasks.iter().find(|t| t.id.as_str() == id)).map_or(1, |t| t.line);
    Some(Cause::new("spec.source.inline", format!("line {line}: {error}")))
}

#[cfg(test)]
mod tests;
