//! Observe: everything outside the object that a decision depends on.

use std::sync::Arc;

use enact_crds::approval::SubjectKind;
use enact_crds::subject::{document_authors, effective_policy};
use enact_crds::{Approval, convert};
use enact_domain::approval::authors::Authors;
use enact_domain::approval::{Decision, Policy};
use enact_domain::condition::Readiness;
use enact_domain::names;
use kube::{Resource, ResourceExt as _};

use super::common_status::CommonStatus;
use super::content::{Location, Origin, SourceState, SourceText};
use super::context::Context;
use super::document::Document;
use crate::error::Error;
use crate::references::Target;
use crate::sourcing::{self, Subject};

/// A document and everything outside the object that a decision depends on. The content is a [`SourceText`] before validation, and a
/// [`Content`](super::content::Content) after it.
#[derive(Clone, Debug)]
pub struct Observed<C> {
    pub location: Location,
    /// The document, or the reason why there is none.
    pub content: Result<C, Readiness>,
    pub source: SourceState,
    /// The approvals that the document needs.
    pub policy: Policy,
    pub author: Option<String>,
    /// All authors of the content.
    pub authors: Authors,
    /// People's decisions on the document, including those on earlier contents.
    pub decisions: Vec<Decision>,
}

/// Observes a document. It registers the references first, so that a change during the observation requeues the object.
///
/// # Errors
/// When the API server or the record store fails.
pub async fn observe<D: Document>(
    object: &D,
    ctx: &Context,
    before: &CommonStatus,
) -> Result<Observed<SourceText>, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let tenant = ctx.tenant_of(&namespace).map(|m| m.tenant);
    let owner = tenant.as_ref().and_then(|tenant| ctx.tenant(tenant));
    let location = Location { namespace, tenant };
    let mut targets = object.targets(ctx, &location);
    targets.push(Target::namespace(&location.namespace));
    let places = [location.namespace.as_str(), &ctx.config.namespace];
    targets.extend(sourcing::targets(places, object.source(), object.drafter().map(|d| d.drafting)));
    // Before the source and the approvals are read: a change in between requeues the object.
    D::referrers(&ctx.references).set(object, targets);

    let subject = Subject::of(object, before.observed_generation);
    let sourced =
        sourcing::content(&ctx.sourcing, &subject, object.source(), before.source.as_ref(), object.drafter()).await?;
    let origin = match (&sourced.status, &sourced.draft) {
        (Some(source), _) => Origin::Git(source.commit.clone().unwrap_or_default()),
        (None, Some(_)) => Origin::Draft,
        (None, None) => Origin::Source,
    };
    Ok(Observed {
        content: sourced.bytes.map(|bytes| SourceText { bytes, origin }),
        policy: effective_policy(D::SUBJECT, object.policy(), owner.as_deref()),
        author: object.annotations().get(names::ANNOTATION_AUTHOR).cloned(),
        // Of the draft as it is now: the status has an older one.
        authors: document_authors(object, sourced.draft.as_ref()),
        source: SourceState { source: sourced.status, draft: sourced.draft, requeue_at: sourced.requeue_at },
        decisions: decisions(ctx, D::SUBJECT, object),
        location,
    })
}

/// Returns people's decisions on a document or plan. An Approval requeues its subject only after the cache shows it.
pub fn decisions<K: Resource>(ctx: &crate::context::Context, kind: SubjectKind, object: &K) -> Vec<Decision> {
    approvals_of(ctx, kind, object).iter().filter_map(|a| convert::decision(a)).collect()
}

/// Returns the Approvals of a document or plan. Those of an earlier object with its name are not among them.
pub fn approvals_of<K: Resource>(ctx: &crate::context::Context, kind: SubjectKind, object: &K) -> Vec<Arc<Approval>> {
    let (meta, name) = (object.meta(), object.name_any());
    let about = |a: &Approval| {
        a.spec.is_about(kind, &name, meta.uid.as_deref())
            && a.metadata.namespace == meta.namespace
            && a.metadata.deletion_timestamp.is_none()
    };
    ctx.caches.approvals.state_filter(about)
}
