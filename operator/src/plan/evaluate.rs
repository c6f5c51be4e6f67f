//! Evaluates the content of a plan against its specification and its effective constitution.

use std::sync::Arc;

use enact_crds::document::Finding;
use enact_crds::plan::Coverage;
use enact_crds::task::TaskTemplate;
use enact_crds::{PlanSpec, convert};
use enact_domain::analysis::{self, TaskText};
use enact_domain::condition::Readiness;
use enact_domain::digest::Digest;
use enact_domain::names;
use enact_domain::rules::{Budget, Decision, Document, DocumentMetadata, Gate, PlanInput, Scope, TaskInput, Workspace};

use super::observed::{Content, Documents, Observed};
use crate::documents::effective_constitution::EffectiveConstitution;
use crate::documents::evaluation;
use crate::documents::findings::{cut, finding, len, sort, top};
use crate::documents::texts::SpecificationText;

/// Most uncovered requirements that a status names.
const MAX_UNCOVERED: usize = 20;

/// Result of an evaluation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Digest of everything that was evaluated.
    key: Option<Digest>,
    /// The requirements that the tasks serve.
    pub coverage: Option<Coverage>,
    /// The findings, the most severe first.
    pub findings: Vec<Finding>,
    /// Readiness of a plan that breaks a rule of severity MUST.
    pub violation: Option<Readiness>,
}

/// Evaluates a plan against its documents. Returns `last` if nothing has changed since.
pub fn evaluate(
    observed: &Observed,
    documents: &Documents,
    constitution: Option<&EffectiveConstitution>,
    content: &Content,
    last: Option<&Arc<Evaluation>>,
) -> Arc<Evaluation> {
    let text = documents.specification.as_deref();
    let key = Digest::of_bytes(
        format!(
            "{} {:?} {:?} {:?} {:?}",
            content.digest,
            observed.plan.metadata.generation,
            text.map(|t| &t.digest),
            constitution.map(|c| &c.key),
            observed.plan.metadata.name
        )
        .as_bytes(),
    );
    if let Some(last) = last.filter(|l| l.key.as_ref() == Some(&key)) {
        return last.clone();
    }
    let mut evaluation = Evaluation { key: Some(key), ..Evaluation::default() };
    if let Some(text) = text {
        let (coverage, uncovered) = coverage(text, content);
        evaluation.coverage = Some(coverage);
        evaluation.findings = uncovered;
    }
    if let Some(constitution) = constitution {
        let rules = apply_rules(observed, content, constitution, text);
        evaluation.findings.extend(rules.findings);
        evaluation.violation = rules.blocked;
    }
    sort(&mut evaluation.findings);
    evaluation.findings = top(&evaluation.findings);
    Arc::new(evaluation)
}

/// Returns which requirements of a specification the tasks serve, and what the analysis finds about that. Ticked tasks count.
pub fn coverage(text: &SpecificationText, content: &Content) -> (Coverage, Vec<Finding>) {
    let tasks = || content.compiled.tasks.iter().chain(&content.done);
    // The title of a phase can name the requirements that all its tasks serve.
    let texts: Vec<String> =
        tasks().map(|task| format!("{}\n{}", task_text(task), task.phase.as_deref().unwrap_or_default())).collect();
    let tasks: Vec<TaskText> = tasks()
        .zip(&texts)
        .map(|(task, text)| TaskText { id: &task.id, title: &task.title, text, story: task.story.as_deref() })
        .collect();
    let found = analysis::coverage(&text.parsed.model, &tasks);
    let uncovered: Vec<&str> =
        found.requirements.iter().filter(|r| r.tasks.is_empty()).map(|r| r.id.as_str()).collect();
    let coverage = Coverage {
        requirements: len(found.requirements.len()),
        covered: len(found.requirements.len() - uncovered.len()),
        uncovered: uncovered.iter().take(MAX_UNCOVERED).map(|id| cut(id)).collect(),
    };
    (coverage, found.findings.iter().map(finding).collect())
}

/// Returns the text of a task without its title.
pub fn task_text(task: &TaskTemplate) -> String {
    let mut text = task.prompt.clone().or_else(|| task.script.clone()).unwrap_or_default();
    for id in &task.requirements {
        text.push('\n');
        text.push_str(id);
    }
    text
}

fn apply_rules(
    observed: &Observed,
    content: &Content,
    constitution: &EffectiveConstitution,
    text: Option<&SpecificationText>,
) -> evaluation::Evaluation {
    let plan = rule_input(&observed.name(), &observed.plan.spec, &content.compiled.tasks);
    let mut document = Document::plan(&plan);
    document = match (text, &observed.plan.spec.specification_ref) {
        (Some(text), Some(named)) => {
            document.with_specification(&text.parsed.model, &DocumentMetadata { name: named.name.clone() })
        }
        _ => document.without_specification(),
    };
    if let Some(nearest) = constitution.texts.first() {
        document = document.with_constitution(&nearest.parsed.model);
    }
    let programs = &constitution.programs;
    // One budget for the plan and all tasks: the evaluation stays bounded, however many tasks there are.
    let mut budget = Budget::default();
    let mut result = evaluation::evaluate(programs, Scope::Plan, &document, "the plan", &mut budget);
    if programs.iter().any(|p| p.rule().scope == Scope::Task) {
        for (task, document) in plan.tasks.iter().zip(document.tasks(&plan)) {
            let name = format!("task {}", task.id);
            result.add(evaluation::evaluate(programs, Scope::Task, &document, &name, &mut budget));
        }
    }
    result
}

/// Returns a plan as rules see it.
fn rule_input(name: &str, spec: &PlanSpec, tasks: &[TaskTemplate]) -> PlanInput {
    let gates = |gates: &[enact_crds::common::Gate]| {
        gates.iter().map(|g| Gate { name: g.name.clone(), script: g.script.clone() }).collect::<Vec<_>>()
    };
    let execution = &spec.execution;
    let task = |t: &TaskTemplate| TaskInput {
        id: t.id.clone(),
        title: t.title.clone(),
        text: task_text(t),
        phase: t.phase.clone().unwrap_or_default(),
        story: t.story.clone().unwrap_or_default(),
        depends_on: t.depends_on.clone(),
        gates: gates(&t.gates),
        external_effect: t.external_effect,
        retry_limit: convert::retry(t.retry.as_ref(), &execution.retry).limit,
        timeout_seconds: t.timeout_seconds.unwrap_or(execution.timeout_seconds),
    };
    PlanInput {
        name: name.to_owned(),
        tasks: tasks.iter().map(task).collect(),
        decisions: spec
            .decisions
            .iter()
            .map(|d| Decision {
                title: d.title.clone(),
                decision: d.decision.clone(),
                rationale: d.rationale.clone(),
                alternatives: d.alternatives.clone(),
            })
            .collect(),
        gates: gates(&spec.gates),
        workspace: spec.workspace.as_ref().map(|w| Workspace {
            url: w.url.clone(),
            revision: w.revision.clone(),
            branch: w.integration.branch.clone().unwrap_or_else(|| names::integration_branch(name)),
        }),
        parallelism: execution.parallelism,
        approval_required: spec.approval.required > 0,
    }
}

#[cfg(test)]
mod tests;
