//! Constitutions and Specifications: documents that are read, checked, approved and remembered.

pub mod apply;
pub mod decide;
pub mod observe;
pub mod record;
pub mod status;
pub mod validate;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use enact_crds::approval::SubjectKind;
use enact_crds::common::{ApprovalPolicy, LocalRef};
use enact_crds::document::Source;
use enact_crds::{Constitution, ConstitutionStatus, Specification, SpecificationStatus};
use enact_domain::record::Kind;
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::error::Error;
use crate::references::{References, Referrers, Target};
use status::Standing;
use validate::{Checked, Facts};

/// How long after the last look an object is looked at again though nothing told of a change: what a broken watch or a webhook that was
/// down let through is found by then.
pub const RESYNC: Duration = Duration::from_mins(10);

/// The shortest wait for a moment that is about to come.
const MIN_WAIT: Duration = Duration::from_millis(10);

/// A kind whose content is a document that people approve.
pub trait Document:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// Its status.
    type Status: Clone + Default + Serialize + Send + Sync;
    /// The kind in the record.
    const KIND: Kind;
    /// The kind as the subject of an Approval.
    const SUBJECT: SubjectKind;

    /// Where the document comes from.
    fn source(&self) -> Option<&Source>;
    /// The constitution that it must keep.
    fn constitution(&self) -> Option<&LocalRef>;
    /// What people must approve.
    fn policy(&self) -> &ApprovalPolicy;
    /// Whether the controller leaves it alone.
    fn suspended(&self) -> bool;
    /// The status that it has.
    fn status(&self) -> Option<&Self::Status>;
    /// The part of the status that all documents share.
    fn standing(status: &Self::Status) -> Standing;
    /// A status of that part and, when the document could be read, of what it says.
    fn with(status: Self::Status, standing: Standing, facts: Option<Facts>) -> Self::Status;
    /// Reads and checks a document.
    fn check(content: &[u8]) -> Checked;
    /// What objects of this kind refer to.
    fn referrers(references: &References) -> &Referrers<Self>;
}

/// One reconcile of a Constitution.
///
/// # Errors
/// When the API server or the record fails.
pub async fn reconcile_constitution(object: Arc<Constitution>, ctx: Arc<Context>) -> Result<Action, Error> {
    reconcile(&*object, &ctx).await
}

/// One reconcile of a Specification.
///
/// # Errors
/// When the API server or the record fails.
pub async fn reconcile_specification(object: Arc<Specification>, ctx: Arc<Context>) -> Result<Action, Error> {
    reconcile(&*object, &ctx).await
}

async fn reconcile<D: Document>(object: &D, ctx: &Context) -> Result<Action, Error> {
    if object.suspended() || object.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    ctx.synced().await;
    // What depends on this document reads it as this reconcile does; what the reconcile changes comes back as another one.
    ctx.references.touched(&Target::of(object));
    let seen = observe::observe(object, ctx).await?;
    if ctx.settling(&object.namespace().unwrap_or_default()) {
        return Ok(Action::requeue(RESYNC));
    }
    let before = object.status().map(D::standing).unwrap_or_default();
    let now = ctx.now();
    let decision = decide::decide(&seen, &before, now);
    let again = decision.wake.map_or(RESYNC, |at| Duration::from_millis(at.since(now)).clamp(MIN_WAIT, RESYNC));
    let records = record::records(object, &seen, &before, &decision, now);
    match ctx.record(records).await {
        Ok(()) => {}
        Err(Error::Store(error)) => return apply::without_record(object, ctx, before, error).await,
        Err(error) => return Err(error),
    }
    apply::apply(object, ctx, seen, before, decision).await?;
    Ok(Action::requeue(again))
}

impl Document for Constitution {
    type Status = ConstitutionStatus;
    const KIND: Kind = Kind::Constitution;
    const SUBJECT: SubjectKind = SubjectKind::Constitution;

    fn source(&self) -> Option<&Source> {
        Some(&self.spec.source)
    }

    fn constitution(&self) -> Option<&LocalRef> {
        None
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

    fn standing(s: &ConstitutionStatus) -> Standing {
        Standing {
            observed_generation: s.observed_generation,
            conditions: s.conditions.clone(),
            digest: s.digest.clone().map(Into::into),
            approved_digest: s.approved_digest.clone().map(Into::into),
            findings: s.findings.clone(),
            top_findings: s.top_findings.clone(),
        }
    }

    fn with(mut status: ConstitutionStatus, standing: Standing, facts: Option<Facts>) -> ConstitutionStatus {
        if let Some(Facts::Constitution { version, principles }) = facts {
            status = ConstitutionStatus { version, principles, ..status };
        }
        ConstitutionStatus {
            observed_generation: standing.observed_generation,
            conditions: standing.conditions,
            digest: standing.digest.map(|d| d.to_string()),
            approved_digest: standing.approved_digest.map(|d| d.to_string()),
            findings: standing.findings,
            top_findings: standing.top_findings,
            ..status
        }
    }

    fn check(content: &[u8]) -> Checked {
        validate::constitution(content)
    }

    fn referrers(references: &References) -> &Referrers<Self> {
        &references.constitutions
    }
}

impl Document for Specification {
    type Status = SpecificationStatus;
    const KIND: Kind = Kind::Specification;
    const SUBJECT: SubjectKind = SubjectKind::Specification;

    fn source(&self) -> Option<&Source> {
        self.spec.source.as_ref()
    }

    fn constitution(&self) -> Option<&LocalRef> {
        self.spec.constitution_ref.as_ref()
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

    fn standing(s: &SpecificationStatus) -> Standing {
        Standing {
            observed_generation: s.observed_generation,
            conditions: s.conditions.clone(),
            digest: s.digest.clone().map(Into::into),
            approved_digest: s.approved_digest.clone().map(Into::into),
            findings: s.findings.clone(),
            top_findings: s.top_findings.clone(),
        }
    }

    fn with(mut status: SpecificationStatus, standing: Standing, facts: Option<Facts>) -> SpecificationStatus {
        if let Some(Facts::Specification { title, stories, requirements, success_criteria, open_questions }) = facts {
            status = SpecificationStatus { title, stories, requirements, success_criteria, open_questions, ..status };
        }
        SpecificationStatus {
            observed_generation: standing.observed_generation,
            conditions: standing.conditions,
            digest: standing.digest.map(|d| d.to_string()),
            approved_digest: standing.approved_digest.map(|d| d.to_string()),
            findings: standing.findings,
            top_findings: standing.top_findings,
            ..status
        }
    }

    fn check(content: &[u8]) -> Checked {
        validate::specification(content)
    }

    fn referrers(references: &References) -> &Referrers<Self> {
        &references.specifications
    }
}
