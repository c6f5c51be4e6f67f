//! Status: writes the status of a document, publishes an Event after a transition, and offers the content to the search index.

use enact_domain::condition::{Progress, Readiness, waits_for_people};
use enact_domain::time::Millis;
use enact_store::{ErrorClass, StoreError};
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;

use super::common_status::{CommonStatus, HasCommonStatus as _};
use super::content::{Content, SourceState};
use super::context::Context;
use super::decide::Decision;
use super::document::Document;
use super::record::{Recorded, subject};
use crate::context::RESYNC;
use crate::error::Error;
use crate::patch;

/// Writes the status after a decision that is recorded.
///
/// # Errors
/// When the API server fails.
pub async fn update<D: Document>(
    object: &D,
    ctx: &Context,
    before: CommonStatus,
    recorded: Recorded<D::Facts>,
) -> Result<(), Error> {
    let Recorded { observed, decision, is_transition, .. } = recorded;
    let content = observed.content.ok();
    if let (Some(tenant), Some(content)) = (&observed.location.tenant, content.as_ref().filter(|c| c.error.is_none())) {
        // After the record, so that search finds only recorded content. It never waits for the index.
        ctx.search.offer(tenant, subject(object), content.digest.as_str(), || D::search_items(&content.facts));
    }
    let common = after(before, &decision, content.as_ref(), &observed.source, object.meta().generation, ctx.now());
    let status = D::with_draft(object.status().cloned().unwrap_or_default(), observed.source.draft);
    write(object, ctx, status.with_common(common), content.map(|c| c.facts)).await?;
    if is_transition {
        let Readiness { progress, reason, message } = decision.readiness;
        let is_problem = progress == Progress::Stalled && !waits_for_people(&reason);
        let type_ = if is_problem { EventType::Warning } else { EventType::Normal };
        ctx.event(object, type_, &reason, message).await;
    }
    Ok(())
}

/// Returns the common fields after a decision. Findings stay as they are when there is no content to find anything in.
fn after<F>(
    before: CommonStatus,
    decision: &Decision,
    content: Option<&Content<F>>,
    source: &SourceState,
    generation: Option<i64>,
    now: Millis,
) -> CommonStatus {
    let mut after = before.with_conditions(decision.readiness.conditions(), generation, now);
    after.digest.clone_from(&decision.digest);
    after.approved_digest.clone_from(&decision.approved);
    after.source.clone_from(&source.source);
    if let Some(content) = content {
        after.quality.clone_from(&content.quality);
        after.findings = content.findings.counts.clone();
        after.top_findings = content.findings.top();
    }
    after
}

/// Writes to the status that no decision is made while the record store cannot be used.
///
/// # Errors
/// The failure of the record store, so that the reconcile is retried, or a failure of the API server.
pub async fn without_record_store<D: Document>(
    object: &D,
    ctx: &Context,
    before: CommonStatus,
    error: StoreError,
) -> Result<Action, Error> {
    let readiness = match error.class() {
        // The message contains no error text: it is the same at each retry, so that the status is written once.
        ErrorClass::Transient | ErrorClass::Conflict => {
            let message = "the record store in Postgres is unavailable, so no decision is made; the controller retries";
            Readiness::reconciling("RecordUnavailable", message)
        }
        ErrorClass::Permanent => Readiness::stalled("RecordRefused", error.to_string()),
    };
    let common = before.with_conditions(readiness.conditions(), object.meta().generation, ctx.now());
    write(object, ctx, object.status().cloned().unwrap_or_default().with_common(common), None).await?;
    if error.class() == ErrorClass::Permanent { Ok(Action::requeue(RESYNC)) } else { Err(error.into()) }
}

async fn write<D: Document>(
    object: &D,
    ctx: &Context,
    status: D::Status,
    facts: Option<D::Facts>,
) -> Result<(), Error> {
    let api = Api::<D>::namespaced(ctx.client.clone(), &object.namespace().unwrap_or_default());
    let status = object.with_facts(ctx, facts, status);
    patch::status(ctx, &api, object, object.status(), &status).await?;
    Ok(())
}
