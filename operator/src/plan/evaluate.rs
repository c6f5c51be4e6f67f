//! Evaluates the content of a plan against its specification and its effective constitution.

use std::sync::Arc;

use enact_crds::document::Finding;
use enact_crds::plan::Coverage;
use enact_crds::task::TaskTemplate;
use enact_crds::{PlanSpec, compile, convert};
use enact_domain::approval::{Policy, WithFindings};
use enact_domain::condition::Readiness;
use enact_domain::digest::Digest;
use enact_domain::names;
use enact_domain::rules::{
    Budget, Decision, Document, DocumentMetadata, FindingPolicy, Gate, PlanInput, Scope, TaskInput, Workspace,
};
use enact_domain::stamps::Stamps;

use super::observed::{Content, Documents, Observed};
use crate::documents::effective_constitution::EffectiveConstitution;
use crate::documents::evaluation;
use crate::documents::findings::{accepts_nothing, cut, finding, len, sort, top};
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
    /// The open findings, the most severe first.
    pub findings: Vec<Finding>,
    /// Number of accepted findings about coverage.
    pub accepted: u32,
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
            "{} {:?} {:?} {:?} {:?} {:?} {:?}",
            content.digest,
            content.warnings,
            observed.plan.metadata.generation,
            observed.policy,
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
        let Covered { coverage, findings, accepted } = coverage(text, &observed.plan.spec, content);
        evaluation.coverage = Some(coverage);
        (evaluation.findings, evaluation.accepted) = (findings, accepted);
    }
    if let Some(constitution) = constitution {
        let rules = apply_rules(observed, content, constitution, text);
        evaluation.findings.extend(rules.findings);
        evaluation.violation = rules.blocked;
    }
    evaluation.findings.extend(content.warnings.iter().cloned());
    sort(&mut evaluation.findings);
    evaluation.findings = top(&evaluation.findings);
    Arc::new(evaluation)
}

/// The requirements of a specification that the tasks of a plan serve.
pub struct Covered {
    pub coverage: Coverage,
    /// A finding for each requirement that they do not serve, and other open findings about coverage.
    pub findings: Vec<Finding>,
    /// Number of accepted findings about coverage.
    pub accepted: u32,
}

/// Returns which requirements of a specification the tasks serve. Ticked tasks count. Comments of the specification and of the tasks, the Specification and the
/// Plan can accept findings.
pub fn coverage(text: &SpecificationText, plan: &PlanSpec, content: &Content) -> Covered {
    let found = compile::coverage(&text.parsed.model, content.compiled.tasks.iter().chain(&content.done));
    let uncovered: Vec<&str> =
        found.requirements.iter().filter(|r| r.tasks.is_empty()).map(|r| r.id.as_str()).collect();
    let coverage = Coverage {
        requirements: len(found.requirements.len()),
        covered: len(found.requirements.len() - uncovered.len()),
        uncovered: uncovered.iter().take(MAX_UNCOVERED).map(|id| cut(id)).collect(),
    };
    // Who accepted them is a part of the plan's content, and changes nothing here.
    let (own, of_text) = (convert::acceptances(&plan.accepted, &Stamps::default()), &text.acceptances.object);
    let mut used = vec![false; own.len()];
    let (mut findings, mut accepted) = (Vec::new(), found.accepted.len());
    for found in found.findings {
        let key = found.key();
        let mut is_accepted = of_text.iter().any(|acceptance| acceptance.covers(&key));
        for (_, used) in own.iter().zip(&mut used).filter(|(acceptance, _)| acceptance.covers(&key)) {
            (*used, is_accepted) = (true, true);
        }
        if is_accepted {
            accepted += 1;
        } else {
            findings.push(finding(&found));
        }
    }
    let unused = own.iter().zip(used).enumerate().filter(|(_, (_, used))| !used);
    findings.extend(unused.map(|(n, (acceptance, _))| accepts_nothing(n, acceptance)));
    Covered { coverage, findings, accepted: len(accepted) }
}

fn apply_rules(
    observed: &Observed,
    content: &Content,
    constitution: &EffectiveConstitution,
    text: Option<&SpecificationText>,
) -> evaluation::Evaluation {
    let plan = rule_input(&observed.name(), &observed.plan.spec, &observed.policy, &content.compiled.tasks);
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
fn rule_input(name: &str, spec: &PlanSpec, policy: &Policy, tasks: &[TaskTemplate]) -> PlanInput {
    let gates = |gates: &[enact_crds::common::Gate]| {
        gates.iter().map(|g| Gate { name: g.name.clone(), script: g.script.clone() }).collect::<Vec<_>>()
    };
    let execution = &spec.execution;
    let task = |t: &TaskTemplate| TaskInput {
        id: t.id.clone(),
        title: t.title.clone(),
        text: compile::task_text(t),
        phase: t.phase.clone().unwrap_or_default(),
        story: t.story.clone().unwrap_or_default(),
        depends_on: t.depends_on.clone(),
        gates: gates(&t.gates),
        external_effect: t.external_effect,
        retry_limit: convert::retry(t.retry.as_ref(), &execution.retry).limit,
        timeout_seconds: t.timeout_seconds.unwrap_or(execution.timeout_seconds),
    };
    let required_approvals = policy.least_approvals();
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
        approval_required: required_approvals > 0,
        required_approvals,
        four_eyes: policy.four_eyes,
        approver_groups: policy.groups_for(None).into_iter().map(str::to_owned).collect(),
        approver_machines: policy.all_machines().into_iter().map(str::to_owned).collect(),
        approval_expires_after_seconds: policy.shortest_validity().unwrap_or_default(),
        approvals_with_findings: policy.all_with_findings().map(finding_policy).collect(),
    }
}

fn finding_policy(rule: &WithFindings) -> FindingPolicy {
    FindingPolicy { at_least: rule.at_least.to_string(), required: rule.required, groups: rule.groups.clone() }
}

#[cfg(test)]
mod tests;
