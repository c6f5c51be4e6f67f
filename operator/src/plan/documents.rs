//! The documents that a plan is held against: the law that binds it, and the specification that it fulfils, as it was and as it is.

use std::sync::Arc;

use enact_crds::document::Finding;
use enact_crds::plan::{Coverage, PlanStatus};
use enact_crds::task::TaskTemplate;
use enact_crds::{PlanSpec, convert};
use enact_domain::analysis::{self, TaskText};
use enact_domain::condition::Readiness;
use enact_domain::digest::Digest;
use enact_domain::names;
use enact_domain::rules::{Budget, Decision, Document, Gate, Meta, PlanInput, Scope, TaskInput, Workspace};
use kube::ResourceExt as _;

use super::context::Context;
use super::observe::Observed;
use super::validate::Content;
use super::{is_finished, started};
use crate::documents::constitution_chain::chain_of_specification;
use crate::documents::effective_constitution::{self, EffectiveConstitution};
use crate::documents::evaluation::{self, Evaluation};
use crate::documents::findings::{cut, finding, len, sort, top};
use crate::documents::texts::SpecificationText;
use crate::error::Error;

/// Most requirements without a task that are named.
const MAX_UNCOVERED: usize = 20;

/// What was read for a pass. Nothing, while a plan runs for a specification that has not changed.
#[derive(Debug, Default)]
pub struct Documents {
    /// The specification as it was last approved.
    pub specification: Option<Arc<SpecificationText>>,
    /// What binds the plan, before its start.
    pub constitution: Option<Result<EffectiveConstitution, Readiness>>,
    /// The revision that the plan was started for, when another one is approved by now.
    pub before: Before,
}

/// The revision that a plan was started for.
#[derive(Debug, Default)]
pub enum Before {
    /// It is the one that is approved, or the plan is not started.
    #[default]
    Same,
    /// It is another one.
    Known(Arc<SpecificationText>),
    /// It is another one, which the record does not have.
    Forgotten,
}

/// Digest of the specification as it was last approved.
fn approved(observed: &Observed) -> Option<&str> {
    observed.specification.as_ref()?.status.as_ref()?.approved_digest.as_deref()
}

impl Observed {
    /// The digest that the specification was approved with after the plan was started for another one.
    pub fn newer(&self) -> Option<&str> {
        started(&self.plan)?;
        let pinned = self.plan.status.as_ref()?.specification_digest.as_deref()?;
        approved(self).filter(|approved| *approved != pinned && !self.plan.spec.cancel)
    }

    /// What a person wants to be done about it. Who says both has not decided.
    pub fn choice(&self) -> Choice {
        let newer = self.newer();
        let says = |annotation| newer.is_some() && self.plan.annotations().get(annotation).map(String::as_str) == newer;
        match (says(names::ANNOTATION_REDO), says(names::ANNOTATION_KEEP)) {
            (true, false) => Choice::Redo,
            (false, true) => Choice::Keep,
            (true, true) | (false, false) => Choice::None,
        }
    }
}

/// What a person has decided about a newer revision of the specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Nothing yet.
    #[default]
    None,
    /// What it makes stale is done again.
    Redo,
    /// All stays as it is.
    Keep,
}

/// Reads what a pass needs.
///
/// # Errors
/// When the record cannot be read.
pub async fn load(ctx: &Context, observed: &Observed) -> Result<Documents, Error> {
    let Some(member) = &observed.member else { return Ok(Documents::default()) };
    let is_new = started(&observed.plan).is_none() && !observed.plan.spec.cancel;
    let newer = observed.newer().map(|digest| Digest::from(digest.to_owned()));
    let wanted = if is_new { approved(observed).map(|digest| Digest::from(digest.to_owned())) } else { newer.clone() };
    let mut documents = Documents::default();
    if let Some(digest) = &wanted {
        documents.specification = ctx.document_cache.specification_of(&member.tenant, digest).await?;
    }
    if is_new {
        let chain = chain_of_specification(ctx, &observed.namespace, observed.specification.as_deref());
        documents.constitution = Some(effective_constitution::load(ctx, &ctx.document_cache, &chain).await?);
    }
    let pinned = observed.plan.status.as_ref().and_then(|s| s.specification_digest.clone());
    if let (Some(_), Some(pinned)) = (newer, pinned) {
        let known = ctx.document_cache.specification_of(&member.tenant, &pinned.into()).await?;
        documents.before = known.map_or(Before::Forgotten, Before::Known);
    }
    Ok(documents)
}

/// What is to be said of a plan's content, besides whether it can be run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// What it was made from.
    key: Option<Digest>,
    /// Which requirements its tasks serve.
    pub coverage: Option<Coverage>,
    /// What there is to say, the worst first.
    pub findings: Vec<Finding>,
    /// A rule that it must keep and does not.
    pub blocked: Option<Readiness>,
}

/// Judges a plan by its law and its specification; again only when one of them has changed since `last`.
pub fn judge(
    observed: &Observed,
    content: &Content,
    law: Option<&EffectiveConstitution>,
    last: Option<Arc<Judged>>,
) -> Arc<Judged> {
    let text = observed.documents.specification.as_ref();
    let key = Digest::of_bytes(
        format!(
            "{} {:?} {:?} {:?} {:?}",
            content.digest,
            observed.plan.metadata.generation,
            text.map(|t| &t.digest),
            law.map(|l| &l.key),
            observed.plan.metadata.name
        )
        .as_bytes(),
    );
    if let Some(last) = last.filter(|l| l.key.as_ref() == Some(&key)) {
        return last;
    }
    let mut judged = Judged { key: Some(key), ..Judged::default() };
    if let Some(text) = text {
        let (coverage, uncovered) = coverage(text, &content.compiled.tasks);
        judged.coverage = Some(coverage);
        judged.findings = uncovered;
    }
    if let Some(law) = law {
        let Evaluation { findings, blocked } = keeps(observed, content, law, text.map(AsRef::as_ref));
        judged.findings.extend(findings);
        judged.blocked = blocked;
    }
    sort(&mut judged.findings);
    judged.findings = top(&judged.findings);
    Arc::new(judged)
}

/// Which requirements of a specification tasks serve, and what there is to say about it.
pub fn coverage(text: &SpecificationText, tasks: &[TaskTemplate]) -> (Coverage, Vec<Finding>) {
    let texts: Vec<String> = tasks.iter().map(words).collect();
    let tasks: Vec<TaskText> = tasks
        .iter()
        .zip(&texts)
        .map(|(task, text)| TaskText { id: &task.id, title: &task.title, text, story: task.story.as_deref() })
        .collect();
    let found = analysis::coverage(&text.parsed.model, &tasks);
    let bare: Vec<&str> = found.requirements.iter().filter(|r| r.tasks.is_empty()).map(|r| r.id.as_str()).collect();
    let coverage = Coverage {
        requirements: len(found.requirements.len()),
        covered: len(found.requirements.len() - bare.len()),
        uncovered: bare.iter().take(MAX_UNCOVERED).map(|id| cut(id)).collect(),
    };
    (coverage, found.findings.iter().map(finding).collect())
}

/// All that is written about a task besides its title.
pub fn words(task: &TaskTemplate) -> String {
    let mut text = task.prompt.clone().or_else(|| task.script.clone()).unwrap_or_default();
    for id in &task.requirements {
        text.push('\n');
        text.push_str(id);
    }
    text
}

fn keeps(
    observed: &Observed,
    content: &Content,
    law: &EffectiveConstitution,
    text: Option<&SpecificationText>,
) -> Evaluation {
    let plan = input(&observed.plan.name_any(), &observed.plan.spec, &content.compiled.tasks);
    let mut document = Document::plan(&plan);
    document = match (text, &observed.plan.spec.specification_ref) {
        (Some(text), Some(named)) => {
            document.with_specification(&text.parsed.model, &Meta { name: named.name.clone() })
        }
        _ => document.without_specification(),
    };
    if let Some(nearest) = law.texts.first() {
        document = document.with_constitution(&nearest.parsed.model);
    }
    let mut budget = Budget::default();
    let mut evaluation = evaluation::evaluate(&law.programs, Scope::Plan, &document, "the plan", &mut budget);
    if law.programs.iter().any(|p| p.rule().scope == Scope::Task) {
        for (task, document) in plan.tasks.iter().zip(document.tasks(&plan)) {
            let name = format!("task {}", task.id);
            evaluation.add(evaluation::evaluate(&law.programs, Scope::Task, &document, &name, &mut budget));
        }
    }
    evaluation
}

/// A plan as rules see it.
fn input(name: &str, spec: &PlanSpec, tasks: &[TaskTemplate]) -> PlanInput {
    let gates = |gates: &[enact_crds::common::Gate]| {
        gates.iter().map(|g| Gate { name: g.name.clone(), script: g.script.clone() }).collect::<Vec<_>>()
    };
    let execution = &spec.execution;
    let task = |t: &TaskTemplate| TaskInput {
        id: t.id.clone(),
        title: t.title.clone(),
        text: words(t),
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

/// Whether a finished plan's status tells all that there is about its specification.
pub fn is_told(observed: &Observed, status: &PlanStatus, harmless: Option<&(String, String)>) -> bool {
    debug_assert!(is_finished(status.phase));
    let told = status.stale.as_ref().map(|s| s.specification_digest.as_str());
    let Some(newer) = observed.newer() else { return told.is_none() };
    let pinned = status.specification_digest.as_deref().unwrap_or_default();
    let is_harmless = harmless.is_some_and(|(old, new)| old == pinned && new == newer);
    observed.choice() == Choice::None && (told == Some(newer) || is_harmless)
}

#[cfg(test)]
mod tests;
