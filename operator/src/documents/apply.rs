//! Apply: the decision goes to the status, to people, and to those that depend on the document.

use enact_domain::condition::Progress;
use enact_store::{ErrorClass, StoreError};
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;

use super::decide::Decision;
use super::observe::Observed;
use super::record::{is_turn, subject};
use super::status::{Shared as _, Standing};
use super::{Document, RESYNC};
use crate::context::Context;
use crate::error::Error;
use crate::patch;
use crate::search;

/// Writes the status, and tells of a turn.
///
/// # Errors
/// When the API server fails.
pub async fn apply<D: Document>(
    object: &D,
    ctx: &Context,
    seen: Observed<D::Facts>,
    before: Standing,
    decision: Decision,
) -> Result<(), Error> {
    let turn = is_turn(&before, &decision);
    let content = seen.content.ok();
    if let (Some(tenant), Some(content)) = (&seen.tenant, content.as_ref().filter(|c| c.error.is_none())) {
        search::offer(ctx, tenant, subject(object), content.digest.as_str(), || D::items(&content.facts));
    }
    let mut standing = before.after(&decision, content.as_ref(), object.meta().generation, ctx.now());
    standing.source = seen.sourcing.source;
    let status = D::drafted(object.status().cloned().unwrap_or_default(), seen.sourcing.draft);
    write(object, ctx, status.with(standing), content.map(|c| c.facts)).await?;
    if turn {
        let type_ = if decision.progress == Progress::Stalled { EventType::Warning } else { EventType::Normal };
        ctx.event(object, type_, decision.reason, decision.message).await;
    }
    Ok(())
}

/// Says once that nothing is decided while the record cannot be used.
///
/// # Errors
/// The failure of the record, to be tried again; that of the API server.
pub async fn without_record<D: Document>(
    object: &D,
    ctx: &Context,
    before: Standing,
    error: StoreError,
) -> Result<Action, Error> {
    let (progress, reason, message) = match error.class() {
        // The text is the same at every try, so that it is written once.
        ErrorClass::Transient | ErrorClass::Conflict => {
            let message =
                "the record in Postgres cannot be written at the moment, so nothing is decided; this goes on by itself";
            (Progress::Reconciling, "RecordUnavailable", message.to_owned())
        }
        ErrorClass::Permanent => (Progress::Stalled, "RecordRefused", error.to_string()),
    };
    let standing = before.with(progress.conditions(reason, &message), object.meta().generation, ctx.now());
    write(object, ctx, object.status().cloned().unwrap_or_default().with(standing), None).await?;
    if error.class() == ErrorClass::Permanent { Ok(Action::requeue(RESYNC)) } else { Err(error.into()) }
}

async fn write<D: Document>(
    object: &D,
    ctx: &Context,
    status: D::Status,
    facts: Option<D::Facts>,
) -> Result<(), Error> {
    let api = Api::<D>::namespaced(ctx.client.clone(), &object.namespace().unwrap_or_default());
    let status = object.tell(ctx, facts, status);
    patch::status(ctx, &api, object, object.status(), &status).await?;
    Ok(())
}
