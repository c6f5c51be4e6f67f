//! The controllers of Constitution and Specification: documents that are read, checked, approved and recorded.

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
pub mod observe;
mod record;
pub mod specification;
mod status;
#[cfg(test)]
mod tests;
mod validate;
mod weighted_lru;

use std::sync::Arc;
use std::time::Duration;

use enact_domain::names::ANNOTATION_CHANGES;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use serde_json::{Value, json};

pub use context::Context;
pub use enact_crds::documents::{answers, evaluation, findings, texts};

use crate::context::RESYNC;
use crate::control_changes;
use crate::error::Error;
use crate::references::Target;
use common_status::{CommonStatus, HasCommonStatus as _};
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
        return Ok(Action::await_change());
    }
    ctx.synced().await;
    if object.suspended() {
        // Also that somebody suspended it.
        record_controls(object, ctx).await?;
        return Ok(Action::await_change());
    }
    let before = object.status().map(D::Status::common).unwrap_or_default();
    // The referrers see this document as this reconcile does. What this reconcile writes arrives as another event.
    if ctx.changes.changed(&object.uid().unwrap_or_default(), before.seen_by_others(object.meta().generation)) {
        ctx.references.changed(&Target::of(object));
    }
    // At each reconcile, because an earlier process may have written the status. Only a change requeues anything.
    object.requeue_dependents(ctx);
    if ctx.is_being_set_up(&object.namespace().unwrap_or_default()) {
        return Ok(Action::requeue(RESYNC));
    }
    match run(object, ctx, &before).await {
        // Approved content stays approved while Postgres is down: only the conditions change.
        Err(Error::Store(error)) => status::without_record_store(object, ctx, before, error).await,
        result => result,
    }
}

/// Runs the steps of a reconcile.
async fn run<D: Document>(object: &D, ctx: &Context, before: &CommonStatus) -> Result<Action, Error> {
    let observed = observe::observe(object, ctx, before).await?;
    record_controls(object, ctx).await?;
    let validated = validate::validate(object, ctx, observed).await?;
    let now = ctx.now();
    let decision = decide::decide(&handle(object), &validated, before, now);
    let requeue_at = [decision.requeue_at, validated.source.requeue_at].into_iter().flatten().min();
    // The record comes before the status: after a crash in between, the next reconcile makes the same decision again.
    let recorded = record::record(object, ctx, before, validated, decision).await?;
    status::update(object, ctx, before.clone(), recorded).await?;
    let delay = requeue_at.map_or(RESYNC, |at| Duration::from_millis(at.since(now)).clamp(MIN_DELAY, RESYNC));
    Ok(Action::requeue(delay))
}

/// Records the last change of each control of a document. A repetition has no effect.
async fn record_controls<D: Document>(object: &D, ctx: &Context) -> Result<(), Error> {
    let Some(member) = ctx.tenant_of(&object.namespace().unwrap_or_default()) else { return Ok(()) };
    let changes = object.annotations().get(ANNOTATION_CHANGES).map(String::as_str);
    let value = |control: &str| match control {
        "suspend" => json!(object.suspended()),
        "approval" => json!(object.policy()),
        "constitutionRef" | "parentRef" => json!(object.constitution()),
        _ => Value::Null,
    };
    control_changes::record(ctx, &member.tenant, &record::subject(object), None, changes, value).await
}

/// Returns a document as arguments of a command: `specification/shop -n team`.
fn handle<D: Document>(object: &D) -> String {
    let kind = D::kind(&()).to_lowercase();
    format!("{kind}/{} -n {}", object.name_any(), object.namespace().unwrap_or_default())
}
