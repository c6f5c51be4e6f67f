//! Specifications: what of a document is theirs alone.

pub mod overlap;

use std::collections::BTreeSet;
use std::sync::Arc;

use enact_crds::approval::SubjectKind;
use enact_crds::common::{ApprovalPolicy, LocalRef, NamespacedRef};
use enact_crds::document::{MAX_QUESTIONS, Question, Source};
use enact_crds::specification::DraftStatus;
use enact_crds::{Specification, SpecificationStatus};
use enact_domain::analysis;
use enact_domain::record::Kind;
use enact_domain::rules::{self, DocumentMetadata, Scope};
use enact_store::Item;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;

use super::Document;
use super::answers;
use super::findings::{Findings, cut, finding, len, quality};
use super::law::{self, Chain, Judgement, Law};
use super::library::{Library, SpecificationText};
use super::observe::{Content, Place};
use super::source::Found;
use crate::context::Context;
use crate::error::Error;
use crate::references::{References, Referrers, Target};
use crate::search;
use crate::sourcing::Drafter;

/// What a specification says, for its status.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The whole text.
    pub text: Arc<SpecificationText>,
    /// Its title.
    pub title: Option<String>,
    /// User stories.
    pub stories: u32,
    /// Requirements.
    pub requirements: u32,
    /// Success criteria.
    pub success_criteria: u32,
    /// Markers that nobody answered.
    pub open_questions: u32,
    /// What somebody should answer.
    pub questions: Vec<Question>,
}

impl Facts {
    /// What a text says.
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

/// The constitutions that bind a specification of this namespace.
pub fn chain(ctx: &Context, namespace: &str, specification: Option<&Specification>) -> Chain {
    bound_by(ctx, namespace, specification.and_then(|s| s.spec.constitution_ref.as_ref()))
}

/// The constitutions that bind a specification of this namespace that names this one.
pub fn bound_by(ctx: &Context, namespace: &str, named: Option<&LocalRef>) -> Chain {
    law::chain(ctx, namespace, None, named.map(|r| law::at(namespace, &r.name)), "spec.constitutionRef")
}

/// What a specification breaks of its law: the rules that are for it, and principles that it contradicts.
pub fn judge(law: &Law, text: &SpecificationText, name: &str) -> Judgement {
    let spec = &text.parsed.model;
    let mut document = rules::Document::specification(spec, &DocumentMetadata { name: name.to_owned() });
    if let Some(nearest) = law.texts.first() {
        document = document.with_constitution(&nearest.parsed.model);
    }
    let mut judgement =
        law::judge(&law.programs, Scope::Specification, &document, "the specification", &mut rules::Budget::default());
    for constitution in &law.texts {
        let conflicts = analysis::constitution_conflicts(spec, &constitution.parsed.model);
        judgement.findings.extend(conflicts.iter().map(finding));
    }
    judgement
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
            constitution: self.spec.constitution_ref.as_ref(),
            known: self.status.as_ref().and_then(|status| status.draft.as_ref()),
        })
    }

    fn drafted(status: SpecificationStatus, draft: Option<DraftStatus>) -> SpecificationStatus {
        SpecificationStatus { draft, ..status }
    }

    fn policy(&self) -> &ApprovalPolicy {
        &self.spec.approval
    }

    fn suspended(&self) -> bool {
        self.spec.suspend
    }

    fn status(&self) -> Option<&SpecificationStatus> {
        self.status.as_ref()
    }

    fn tell(&self, ctx: &Context, facts: Option<Facts>, mut status: SpecificationStatus) -> SpecificationStatus {
        if let Some(related) = ctx.search.related(&self.uid().unwrap_or_default()) {
            status.related = related;
        }
        let Some(facts) = facts else { return status };
        let Facts { title, stories, requirements, success_criteria, open_questions, questions, .. } = facts;
        SpecificationStatus { title, stories, requirements, success_criteria, open_questions, questions, ..status }
    }

    async fn targets(&self, ctx: &Context, place: &Place) -> Result<Vec<Target>, Error> {
        Ok(chain(ctx, &place.namespace, Some(self)).targets().collect())
    }

    async fn examine(&self, ctx: &Context, place: &Place, found: Found) -> Result<Content<Facts>, Error> {
        let created = self.creation_timestamp().map(|t| t.0.strftime("%Y-%m-%d").to_string()).unwrap_or_default();
        let given = answers::given(&self.spec.clarifications, &created);
        let effective = ctx.library.effective(found.bytes, given).await?;
        let text = ctx.library.specification(&effective.bytes).await?;
        let facts = Facts::of(&text);
        let mut content = Content {
            bytes: effective.bytes.clone(),
            digest: text.digest.clone(),
            version: None,
            origin: found.origin,
            steps: effective.steps.clone(),
            error: super::first_error(&text.parsed, &text.report),
            obstacle: None,
            findings: Findings::default(),
            quality: Some(quality(&text.report.quality)),
            open_questions: facts.open_questions,
            facts,
        };
        let mut more = effective.findings.clone();
        if let (Some(tenant), None) = (&place.tenant, &content.error) {
            match law::of(ctx, &chain(ctx, &place.namespace, Some(self))).await? {
                Ok(law) => {
                    let judgement = Library::judgement(ctx, &law, &text, &self.name_any(), judge).await?;
                    more.extend(judgement.findings.iter().cloned());
                    content.obstacle.clone_from(&judgement.obstacle);
                }
                Err(obstacle) => content.obstacle = Some(obstacle),
            }
            more.extend(overlap::look(ctx, self, tenant, &text).await?);
        }
        content.findings = Findings::new(&text.report, more);
        Ok(content)
    }

    fn referrers(references: &References) -> &Referrers<Self> {
        &references.specifications
    }

    fn items(facts: &Facts) -> Vec<Item> {
        search::of_specification(&facts.text)
    }

    fn announce(&self, ctx: &Context) {
        let here = (self.namespace().unwrap_or_default(), self.name_any());
        let constitutions: BTreeSet<_> = chain(ctx, &here.0, Some(self))
            .asked
            .into_iter()
            .map(|NamespacedRef { namespace, name }| (namespace, name))
            .collect();
        for (namespace, name) in ctx.circles.bound.tell(&here, constitutions, "") {
            ctx.references.constitutions.wake_one(ObjectRef::new(&name).within(&namespace));
        }
        overlap::announce(ctx, self);
    }
}
