//! The parts of a document's reconcile that are specific to Constitutions.

mod impact;

use std::sync::Arc;

use enact_crds::approval::SubjectKind;
use enact_crds::common::{ApprovalPolicy, LocalRef, NamespacedRef};
use enact_crds::constitution::Amendment;
use enact_crds::document::Source;
use enact_crds::documents::amendment;
use enact_crds::{Constitution, ConstitutionStatus, convert};
use enact_domain::condition::{Progress, Readiness};
use enact_domain::record::Kind;
use enact_domain::rules::{self, LoosenedRule, Rule, Scope, inherit};
use enact_domain::speckit::constitution::Principle;
use enact_store::{Item, ItemKind};
use kube::ResourceExt as _;

use super::constitution_chain::{self, Chain};
use super::content::{Content, Location, SourceText};
use super::context::Context;
use super::document::{Document, first_error};
use super::evaluation::{self, Evaluation, invalid_rules};
use super::findings::{Findings, cut, len, quality};
use super::texts::{self, ConstitutionText};
use crate::error::Error;
use crate::references::{References, Referrers, Target};
use crate::search::item;

/// The fields of the status that only a constitution has.
#[derive(Clone, Debug)]
pub struct Facts {
    pub text: Arc<ConstitutionText>,
    /// The version in its text.
    pub version: Option<String>,
    pub principles: u32,
    /// Number of rules, including inherited ones.
    pub rules: u32,
    /// The constitutions that it inherits from, the nearest first.
    pub inherits: Vec<NamespacedRef>,
    /// The difference to the content that was approved before.
    pub amendment: Option<Amendment>,
}

/// The rules of a constitution, including inherited ones, and its own evaluation against them.
#[derive(Debug, Default)]
struct InheritedRules {
    count: u32,
    evaluation: Evaluation,
}

/// Returns the items under which a constitution is indexed for search.
fn search_items(text: &ConstitutionText) -> Vec<Item> {
    let constitution = &text.parsed.model;
    let principle = |p: &Principle| {
        let body = p.body.text(&constitution.source).trim();
        item(ItemKind::Principle, &p.name, p.line, format!("{}\n{body}", p.name))
    };
    constitution.principles.iter().map(principle).collect()
}

fn reference(constitution: &Constitution) -> NamespacedRef {
    NamespacedRef::new(constitution.namespace().unwrap_or_default(), constitution.name_any())
}

/// Returns the constitutions that one inherits from.
fn ancestors(ctx: &Context, constitution: &Constitution) -> Chain {
    let here = reference(constitution);
    let parent = constitution.spec.parent_ref.as_ref().map(|r| NamespacedRef::new(&here.namespace, &r.name));
    constitution_chain::chain(ctx, &here.namespace, Some(&here), parent, "spec.parentRef")
}

/// Adds the own rules to the inherited ones, and evaluates the constitution against those for its scope.
///
/// # Errors
/// The problems of the rules.
fn inherited_rules(
    ctx: &Context,
    chain: &Chain,
    own: &[Rule],
    text: &ConstitutionText,
) -> Result<InheritedRules, Readiness> {
    if let Err(errors) = ctx.cache.programs(own) {
        return Err(invalid_rules(Progress::Stalled, "InvalidRules", &errors));
    }
    // After the own rules: an error in those is reported even while an ancestor is not approved yet.
    let inherited = chain.rules()?;
    let all = inherit(&inherited, own).map_err(|loosened| loosens(&loosened))?;
    let programs = ctx.cache.programs(&all).map_err(|e| invalid_rules(Progress::Stalled, "InvalidRules", &e))?;
    let document = rules::Document::constitution(&text.parsed.model);
    let budget = &mut rules::Budget::default();
    let evaluation = evaluation::evaluate(&programs, Scope::Constitution, &document, "the constitution", budget);
    Ok(InheritedRules { count: len(all.len()), evaluation })
}

/// Compares a text with the content that was approved before, and checks its version. The first content may have any version.
///
/// # Errors
/// When the record store fails.
async fn amendment_of(
    ctx: &Context,
    tenant: &str,
    status: Option<&ConstitutionStatus>,
    text: &ConstitutionText,
) -> Result<(Option<Amendment>, Option<Readiness>), Error> {
    let Some(base) = amendment::base(status, &text.digest) else { return Ok((None, None)) };
    let Some(before) = ctx.cache.constitution_of(tenant, &base).await? else { return Ok((None, None)) };
    Ok(amendment::between(&before, text))
}

fn loosens(loosened: &[LoosenedRule]) -> Readiness {
    let messages: Vec<String> = loosened.iter().map(ToString::to_string).collect();
    Readiness::stalled("LoosensParent", messages.join("; "))
}

impl Document for Constitution {
    type Status = ConstitutionStatus;
    type Facts = Facts;
    const KIND: Kind = Kind::Constitution;
    const SUBJECT: SubjectKind = SubjectKind::Constitution;

    fn source(&self) -> Option<&Source> {
        Some(&self.spec.source)
    }

    fn policy(&self) -> &ApprovalPolicy {
        &self.spec.approval
    }

    fn constitution(&self) -> Option<&LocalRef> {
        self.spec.parent_ref.as_ref()
    }

    fn suspended(&self) -> bool {
        self.spec.suspend
    }

    fn status(&self) -> Option<&ConstitutionStatus> {
        self.status.as_ref()
    }

    fn with_facts(&self, ctx: &Context, facts: Option<Facts>, status: ConstitutionStatus) -> ConstitutionStatus {
        let status = ConstitutionStatus { impact: Some(impact::of(ctx, &reference(self))), ..status };
        let Some(Facts { version, principles, rules, inherits, amendment, .. }) = facts else { return status };
        ConstitutionStatus { version, principles, rules, inherits, amendment, ..status }
    }

    fn targets(&self, ctx: &Context, _: &Location) -> Vec<Target> {
        ancestors(ctx, self).targets().collect()
    }

    async fn examine(&self, ctx: &Context, location: &Location, source: SourceText) -> Result<Content<Facts>, Error> {
        let own: Vec<Rule> = self.spec.rules.iter().map(convert::rule).collect();
        let bytes = texts::constitution_content(self, &source.bytes);
        let text = ctx.cache.constitution(&bytes).await?;
        let chain = ancestors(ctx, self);
        let constitution = &text.parsed.model;
        let mut content = Content {
            digest: text.digest.clone(),
            version: constitution.version.as_ref().map(|v| cut(&v.text)),
            origin: source.origin,
            steps: Vec::new(),
            error: first_error(&text.parsed, &text.report),
            blocked: None,
            findings: Findings::default(),
            quality: Some(quality(&text.report.quality)),
            open_questions: 0,
            facts: Facts {
                text: text.clone(),
                version: constitution.version.as_ref().map(|v| cut(&v.text)),
                principles: len(constitution.principles.len()),
                rules: len(own.len()),
                inherits: chain.links().iter().map(|a| a.at.clone()).collect(),
                amendment: None,
            },
            bytes,
        };
        let mut more = Vec::new();
        match inherited_rules(ctx, &chain, &own, &text) {
            Ok(InheritedRules { count, evaluation }) => {
                content.facts.rules = count;
                more.extend(evaluation.findings);
                content.blocked = evaluation.blocked;
            }
            Err(blocked) => content.blocked = Some(blocked),
        }
        if let (Some(tenant), None) = (&location.tenant, &content.error) {
            let (amendment, mismatch) = amendment_of(ctx, tenant, self.status.as_ref(), &text).await?;
            content.facts.amendment = amendment;
            content.blocked = content.blocked.or(mismatch);
        }
        content.findings = Findings::new(&text.report, more, &text.acceptances);
        Ok(content)
    }

    fn referrers(references: &References) -> &Referrers<Self> {
        &references.constitutions
    }

    fn search_items(facts: &Facts) -> Vec<Item> {
        search_items(&facts.text)
    }

    fn requeue_dependents(&self, _: &Context) {}
}
