//! The controllers of Constitution and Specification: documents that are read, checked, approved and recorded.

pub mod answers;
pub mod appendix;
mod apply;
pub mod common_status;
pub mod constitution;
pub mod constitution_chain;
pub mod content;
pub mod context;
mod decide;
pub mod deletions;
pub mod dependents;
pub mod document;
pub mod document_cache;
pub mod effective_constitution;
pub mod evaluation;
pub mod findings;
pub mod observe;
mod record;
mod source;
pub mod specification;
mod status;
#[cfg(test)]
mod tests;
pub mod texts;
mod weighted_lru;

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use kube::runtime::controller::Action;

pub use context::Context;

use crate::context::RESYNC;
use crate::error::Error;
use crate::references::Target;
use common_status::HasCommonStatus as _;
use document::Document;

/// Shortest delay of a requeue.
const MIN_DELAY: Duration = Duration::from_millis(10);

/// Reconciles a Constitution or Specification.
///
/// # Errors
/// When the API server or the record store fails.
pub async fn reconcile<D: Document>(object: Arc<D>, ctx: Arc<Context>) -> Result<Action, Error> {
    let (object, ctx) = (object.as_ref(), ctx.as_ref());
    if object.meta().deletion_timestamp.is_some() {
        // Objects that this one blocked may continue.
        ctx.references.changed(&Target::of(object));
    }
    if object.suspended() || object.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    ctx.synced().await;
    let before = object.status().map(D::Status::common).unwrap_or_default();
    // The referrers see this document as this reconcile does. What this reconcile writes arrives as another event.
    if ctx.changes.changed(&object.uid().unwrap_or_default(), before.seen_by_others(object.meta().generation)) {
        ctx.references.changed(&Target::of(object));
    }
    object.requeue_dependents(ctx);
    if ctx.is_being_set_up(&object.namespace().unwrap_or_default()) {
        return Ok(Action::requeue(RESYNC));
    }
    let observed = match observe::observe(object, ctx).await {
        Err(Error::Store(error)) => return apply::without_record_store(object, ctx, before, error).await,
        observed => observed?,
    };
    let now = ctx.now();
    let decision = decide::decide(&observed, &before, now);
    let requeue_at = [decision.requeue_at, observed.source.requeue_at].into_iter().flatten().min();
    let delay = requeue_at.map_or(RESYNC, |at| Duration::from_millis(at.since(now)).clamp(MIN_DELAY, RESYNC));
    // The records come before the status: after a crash in between, the next reconcile makes the same decision again.
    let records = record::records(object, ctx, &observed, &before, &decision);
    if !records.is_empty() {
        match ctx.record(records).await {
            Ok(()) => record::remember(object, ctx, &observed),
            Err(Error::Store(error)) => return apply::without_record_store(object, ctx, before, error).await,
            Err(error) => return Err(error),
        }
    }
    apply::apply(object, ctx, observed, before, decision).await?;
    Ok(Action::requeue(delay))
}
