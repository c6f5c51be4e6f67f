//! The parts of a document's reconcile that are specific to Specifications.

mod overlap;

use std::collections::BTreeSet;
use std::sync::Arc;

use enact_crds::approval::SubjectKind;
use enact_crds::common::{ApprovalPolicy, LocalRef};
use enact_crds::document::{MAX_QUESTIONS, Question, Source};
use enact_crds::specification::DraftStatus;
use enact_crds::{Specification, SpecificationStatus};
use enact_domain::analysis;
use enact_domain::digest::Digest;
use enact_domain::record::Kind;
use enact_store::{Item, ItemKind};
use kube::ResourceExt as _;

use super::answers;
use super::constitution_chain::chain_of_specification;
use super::content::{Content, Location, SourceText};
use super::context::Context;
use super::document::{Document, first_error};
use super::effective_constitution::{self, EffectiveConstitution};
use super::evaluation::{self, Evaluation};
use super::findings::{Findings, cut, len, quality};
use super::texts::{self, SpecificationText};
use crate::error::Error;
use crate::metadata_cache::key;
use crate::references::{References, Referrers, Target};
use crate::search::item;
use crate::sourcing::Drafter;

/// The fields of the status that only a specification has.
#[derive(Clone, Debug)]
pub struct Facts {
    pub text: Arc<SpecificationText>,
    pub title: Option<String>,
    pub stories: u32,
    pub requirements: u32,
    pub success_criteria: u32,
    /// Number of markers without an answer.
    pub open_questions: u32,
    /// The most urgent questions.
    pub questions: Vec<Question>,
}

impl Facts {
    pub fn of(text: &Arc<SpecificationText>) -> Self {
        let spec = &text.parsed.model;
        let question = |q: &analysis::Question| Question {
            id: q.id.clone(),
            text: cut(&q.text),
            options: q.options.iter().map(|o| cut(o)).collect(),
            line: q.line,
            location: cut(&q.location),
        };
        Self {
            text: text.clone(),
            title: spec.title.as_ref().map(|t| cut(&t.text)),
            stories: len(spec.stories.len()),
            requirements: len(spec.requirements.len()),
            success_criteria: len(spec.success_criteria.len()),
            open_questions: len(spec.open_questions.len()),
            questions: text.questions.iter().take(MAX_QUESTIONS).map(question).collect(),
        }
    }
}

/// Returns the items under which a specification is indexed for search.
fn search_items(text: &SpecificationText) -> Vec<Item> {
    let spec = &text.parsed.model;
    let requirements = spec.requirements.iter().map(|r| item(ItemKind::Requirement, &r.id, r.line, r.text.clone()));
    let criteria = spec.success_criteria.iter().map(|c| item(ItemKind::Criterion, &c.id, c.line, c.text.clone()));
    let stories = spec.stories.iter().map(|s| {
        let scenarios: Vec<&str> = s.scenarios.iter().map(|s| s.text.as_str()).collect();
        item(ItemKind::Story, s.key.as_str(), s.line, format!("{}\n{}", s.title, scenarios.join("\n")))
    });
    requirements.chain(criteria).chain(stories).collect()
}

/// Returns the evaluation of a specification, from the cache if it is there.
async fn evaluation_of(
    ctx: &Context,
    constitution: EffectiveConstitution,
    text: &Arc<SpecificationText>,
    name: String,
) -> Result<Arc<Evaluation>, Error> {
    // Without a constitution there is no rule.
    let Some(digest) = &constitution.key else { return Ok(Arc::default()) };
    let key = Digest::of_bytes(format!("{digest} {} {name}", text.digest).as_bytes());
    let text = text.clone();
    ctx.cache
        .evaluation(key, move || evaluation::specification(&constitution.programs, &constitution.texts, &text, &name))
        .await
}

impl Document for Specification {
    type Status = SpecificationStatus;
    type Facts = Facts;
    const KIND: Kind = Kind::Specification;
    const SUBJECT: SubjectKind = SubjectKind::Specification;

    fn source(&self) -> Option<&Source> {
        self.spec.source.as_ref()
    }

    fn drafter(&self) -> Option<Drafter<'_>> {
        Some(Drafter {
            request: self.spec.request.as_deref()?,
            drafting: self.spec.drafting.as_ref()?,
            constitution: self.constitution(),
            known: self.status.as_ref().and_then(|status| status.draft.as_ref()),
        })
    }

    fn with_draft(status: SpecificationStatus, draft: Option<DraftStatus>) -> SpecificationStatus {
        SpecificationStatus { draft, ..status }
    }

    fn policy(&self) -> &ApprovalPolicy {
        &self.spec.approval
    }

    fn constitution(&self) -> Option<&LocalRef> {
        self.spec.constitution_ref.as_ref()
    }

    fn suspended(&self) -> bool {
        self.spec.suspend
    }

    fn status(&self) -> Option<&SpecificationStatus> {
        self.status.as_ref()
    }

    fn with_facts(&self, ctx: &Context, facts: Option<Facts>, mut status: SpecificationStatus) -> SpecificationStatus {
        if let Some(related) = ctx.search.related(&self.uid().unwrap_or_default()) {
            status.related = related;
        }
        let Some(facts) = facts else { return status };
        let Facts { title, stories, requirements, success_criteria, open_questions, questions, .. } = facts;
        SpecificationStatus { title, stories, requirements, success_criteria, open_questions, questions, ..status }
    }

    fn targets(&self, ctx: &Context, location: &Location) -> Vec<Target> {
        chain_of_specification(ctx, &location.namespace, Some(self)).targets().collect()
    }

    async fn examine(&self, ctx: &Context, location: &Location, source: SourceText) -> Result<Content<Facts>, Error> {
        let bytes = texts::specification_content(self, &source.bytes);
        let answered = ctx.cache.answered(bytes, answers::of(self)).await?;
        let text = ctx.cache.specification(&answered.bytes).await?;
        let facts = Facts::of(&text);
        let mut content = Content {
            bytes: answered.bytes.clone(),
            digest: text.digest.clone(),
            version: None,
            origin: source.origin,
            steps: answered.steps.clone(),
            error: first_error(&text.parsed, &text.report),
            blocked: None,
            findings: Findings::default(),
            quality: Some(quality(&text.report.quality)),
            open_questions: facts.open_questions,
            facts,
        };
        let mut more = answered.findings.clone();
        if let (Some(tenant), None) = (&location.tenant, &content.error) {
            let chain = chain_of_specification(ctx, &location.namespace, Some(self));
            match effective_constitution::load(ctx, &ctx.cache, &chain).await? {
                Ok(constitution) => {
                    let evaluation = evaluation_of(ctx, constitution, &text, self.name_any()).await?;
                    more.extend(evaluation.findings.iter().cloned());
                    content.blocked.clone_from(&evaluation.blocked);
                }
                Err(blocked) => content.blocked = Some(blocked),
            }
            more.extend(overlap::find(ctx, self, tenant, &text).await?);
        }
        content.findings = Findings::new(&text.report, more, &text.acceptances);
        Ok(content)
    }

    fn referrers(references: &References) -> &Referrers<Self> {
        &references.specifications
    }

    fn search_items(facts: &Facts) -> Vec<Item> {
        search_items(&facts.text)
    }

    fn requeue_dependents(&self, ctx: &Context) {
        let here = key(self);
        let constitutions: BTreeSet<_> = chain_of_specification(ctx, &here.0, Some(self)).keys().collect();
        for constitution in ctx.dependents.specification_constitutions.update(&here, constitutions, "") {
            ctx.references.constitutions.requeue_key(&constitution);
        }
        overlap::requeue_dependents(ctx, self);
    }
}
