//! Constitutions: what of a document is theirs alone.

mod amendment;
pub mod impact;

use std::sync::Arc;

use enact_crds::approval::SubjectKind;
use enact_crds::common::{ApprovalPolicy, NamespacedRef};
use enact_crds::constitution::Amendment;
use enact_crds::document::Source;
use enact_crds::{Constitution, ConstitutionStatus, convert};
use enact_domain::condition::Progress;
use enact_domain::record::Kind;
use enact_domain::rules::{self, LoosenedRule, Rule, Scope, inherit};
use enact_store::Item;
use kube::ResourceExt as _;

use super::Document;
use super::appendix;
use super::findings::{Findings, cut, len, quality};
use super::law::{self, Chain, Judgement};
use super::library::ConstitutionText;
use super::observe::{Content, Place};
use super::obstacle::Obstacle;
use super::source::Found;
use crate::context::Context;
use crate::error::Error;
use crate::references::{References, Referrers, Target};
use crate::search;

/// What a constitution says, for its status.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The whole text.
    pub text: Arc<ConstitutionText>,
    /// The version that it gives itself.
    pub version: Option<String>,
    /// How many principles it has.
    pub principles: u32,
    /// How many rules hold for what names it.
    pub rules: u32,
    /// What it inherits from, the nearest first.
    pub inherits: Vec<NamespacedRef>,
    /// How it differs from what was approved before.
    pub amendment: Option<Amendment>,
}

/// What its own rules and those that it inherits come to.
#[derive(Debug, Default)]
struct Effective {
    rules: u32,
    judgement: Judgement,
}

fn place(constitution: &Constitution) -> NamespacedRef {
    law::at(&constitution.namespace().unwrap_or_default(), &constitution.name_any())
}

/// What a constitution inherits from.
fn ancestors(ctx: &Context, constitution: &Constitution) -> Chain {
    let here = place(constitution);
    let parent = constitution.spec.parent_ref.as_ref().map(|r| law::at(&here.namespace, &r.name));
    law::chain(ctx, &here.namespace, Some(&here), parent, "spec.parentRef")
}

/// Puts own rules on inherited ones, and judges the constitution by those that are for it.
///
/// # Errors
/// What is wrong with them.
fn effective(ctx: &Context, chain: &Chain, own: &[Rule], text: &ConstitutionText) -> Result<Effective, Obstacle> {
    if let Err(errors) = ctx.library.programs(own) {
        return Err(law::invalid(Progress::Stalled, "InvalidRules", &errors));
    }
    if let Some(obstacle) = chain.obstacle() {
        return Err(obstacle);
    }
    let inherited = chain.rules()?;
    let all = inherit(&inherited, own).map_err(|loosened| loosens(&loosened))?;
    let programs = ctx.library.programs(&all).map_err(|e| law::invalid(Progress::Stalled, "InvalidRules", &e))?;
    let document = rules::Document::constitution(&text.parsed.model);
    let judgement =
        law::judge(&programs, Scope::Constitution, &document, "the constitution", &mut rules::Budget::default());
    Ok(Effective { rules: len(all.len()), judgement })
}

fn loosens(loosened: &[LoosenedRule]) -> Obstacle {
    let told: Vec<String> = loosened.iter().map(ToString::to_string).collect();
    Obstacle::new(Progress::Stalled, "LoosensParent", told.join("; "))
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

    fn suspended(&self) -> bool {
        self.spec.suspend
    }

    fn status(&self) -> Option<&ConstitutionStatus> {
        self.status.as_ref()
    }

    fn tell(&self, ctx: &Context, facts: Option<Facts>, status: ConstitutionStatus) -> ConstitutionStatus {
        let status = ConstitutionStatus { impact: Some(impact::of(ctx, &place(self))), ..status };
        let Some(Facts { version, principles, rules, inherits, amendment, .. }) = facts else { return status };
        ConstitutionStatus { version, principles, rules, inherits, amendment, ..status }
    }

    async fn targets(&self, ctx: &Context, _: &Place) -> Result<Vec<Target>, Error> {
        Ok(ancestors(ctx, self).targets().collect())
    }

    async fn examine(&self, ctx: &Context, here: &Place, found: Found) -> Result<Content<Facts>, Error> {
        let own: Vec<Rule> = self.spec.rules.iter().map(convert::rule).collect();
        let bytes = appendix::with(&found.bytes, &own);
        let text = ctx.library.constitution(&bytes).await?;
        let chain = ancestors(ctx, self);
        let constitution = &text.parsed.model;
        let mut content = Content {
            digest: text.digest.clone(),
            version: constitution.version.as_ref().map(|v| cut(&v.text)),
            origin: found.origin,
            steps: Vec::new(),
            error: super::first_error(&text.parsed, &text.report),
            obstacle: None,
            findings: Findings::default(),
            quality: Some(quality(&text.report.quality)),
            open_questions: 0,
            facts: Facts {
                text: text.clone(),
                version: constitution.version.as_ref().map(|v| cut(&v.text)),
                principles: len(constitution.principles.len()),
                rules: len(own.len()),
                inherits: chain.articles.iter().map(|a| a.at.clone()).collect(),
                amendment: None,
            },
            bytes,
        };
        let mut more = Vec::new();
        match effective(ctx, &chain, &own, &text) {
            Ok(effective) => {
                content.facts.rules = effective.rules;
                more.extend(effective.judgement.findings);
                content.obstacle = effective.judgement.obstacle;
            }
            Err(obstacle) => content.obstacle = Some(obstacle),
        }
        if let (Some(tenant), None) = (&here.tenant, &content.error) {
            let (amendment, mismatch) = amendment::of(ctx, tenant, self.status.as_ref(), &text).await?;
            content.facts.amendment = amendment;
            content.obstacle = content.obstacle.or(mismatch);
        }
        content.findings = Findings::new(&text.report, more);
        Ok(content)
    }

    fn referrers(references: &References) -> &Referrers<Self> {
        &references.constitutions
    }

    fn items(facts: &Facts) -> Vec<Item> {
        search::of_constitution(&facts.text)
    }

    fn announce(&self, _: &Context) {}
}
