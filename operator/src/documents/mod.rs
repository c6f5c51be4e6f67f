//! Constitutions and Specifications: documents that are read, checked, approved and remembered.

pub mod answers;
pub mod appendix;
pub mod apply;
pub mod constitution;
pub mod decide;
pub mod findings;
pub mod law;
pub mod library;
pub mod news;
pub mod observe;
pub mod obstacle;
pub mod record;
pub mod source;
pub mod specification;
pub mod status;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use enact_crds::approval::SubjectKind;
use enact_crds::common::ApprovalPolicy;
use enact_crds::document::Source;
use enact_crds::specification::DraftStatus;
use enact_crds::{Constitution, Specification};
use enact_domain::analysis::Report;
use enact_domain::record::Kind;
use enact_domain::speckit::Parsed;
use enact_store::Item;
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::error::Error;
use crate::references::{References, Referrers, Target};
use crate::sourcing::Drafter;
use observe::{Content, Place};
use source::Found;
use status::Shared;

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
    type Status: Shared + Clone + Serialize + Send + Sync;
    /// What a content of this kind says beyond what all do.
    type Facts: Send + Sync;
    /// The kind in the record.
    const KIND: Kind;
    /// The kind as the subject of an Approval.
    const SUBJECT: SubjectKind;

    /// Where the document comes from.
    fn source(&self) -> Option<&Source>;
    /// How an agent drafts the document, when somebody asked for that.
    fn drafter(&self) -> Option<Drafter<'_>> {
        None
    }
    /// The status with what it says of the drafting.
    fn drafted(status: Self::Status, _draft: Option<DraftStatus>) -> Self::Status {
        status
    }
    /// What people must approve.
    fn policy(&self) -> &ApprovalPolicy;
    /// Whether the controller leaves it alone.
    fn suspended(&self) -> bool;
    /// The status that it has.
    fn status(&self) -> Option<&Self::Status>;
    /// A status with what was found out about the object, besides what all documents share.
    fn tell(&self, ctx: &Context, facts: Option<Self::Facts>, status: Self::Status) -> Self::Status;
    /// Other documents that it is looked at again for.
    fn targets(&self, ctx: &Context, place: &Place) -> impl Future<Output = Result<Vec<Target>, Error>> + Send;
    /// Reads a document, and holds it against what surrounds it.
    fn examine(
        &self,
        ctx: &Context,
        place: &Place,
        found: Found,
    ) -> impl Future<Output = Result<Content<Self::Facts>, Error>> + Send;
    /// What objects of this kind refer to.
    fn referrers(references: &References) -> &Referrers<Self>;
    /// What a content is searched by.
    fn items(facts: &Self::Facts) -> Vec<Item>;
    /// Tells those that are concerned, but do not refer to the object, as it stands.
    fn announce(&self, ctx: &Context);
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
    if object.meta().deletion_timestamp.is_some() {
        // What stood against it may go on.
        ctx.references.touched(&Target::of(object));
    }
    if object.suspended() || object.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    ctx.synced().await;
    let before = object.status().map(Shared::standing).unwrap_or_default();
    // What depends on this document reads it as this reconcile does; what the reconcile changes comes back as another one.
    if ctx.news.is_news(&object.uid().unwrap_or_default(), news::seen_by_others(object.meta(), &before)) {
        ctx.references.touched(&Target::of(object));
    }
    object.announce(ctx);
    if ctx.settling(&object.namespace().unwrap_or_default()) {
        return Ok(Action::requeue(RESYNC));
    }
    let seen = match observe::observe(object, ctx).await {
        Err(Error::Store(error)) => return apply::without_record(object, ctx, before, error).await,
        seen => seen?,
    };
    let now = ctx.now();
    let decision = decide::decide(&seen, &before, now);
    let wake = [decision.wake, seen.sourcing.wake].into_iter().flatten().min();
    let again = wake.map_or(RESYNC, |at| Duration::from_millis(at.since(now)).clamp(MIN_WAIT, RESYNC));
    let records = record::records(object, ctx, &seen, &before, &decision);
    if !records.is_empty() {
        match ctx.record(records).await {
            Ok(()) => record::remember(object, ctx, &seen),
            Err(Error::Store(error)) => return apply::without_record(object, ctx, before, error).await,
            Err(error) => return Err(error),
        }
    }
    apply::apply(object, ctx, seen, before, decision).await?;
    Ok(Action::requeue(again))
}

/// The first thing that forbids the use of a document, and how many more there are.
fn first_error<T>(parsed: &Parsed<T>, report: &Report) -> Option<String> {
    let first = parsed.errors().next()?;
    let more = match report.counts.critical {
        0 | 1 => String::new(),
        n => format!(" (and {} more, see status.topFindings)", n - 1),
    };
    Some(format!("{}{more}", findings::cut(&first.to_string())))
}

#[cfg(test)]
mod tests;
