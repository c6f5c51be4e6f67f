//! The controller of Approvals: records a person's decision, and checks whether it is valid.

pub mod decide;
pub mod index;
pub mod observe;

use std::sync::Arc;

use enact_crds::approval::Choice;
use enact_crds::{Approval, ApprovalStatus, convert};
use enact_domain::record::{Event, Kind, Record, Subject};
use enact_domain::time::Millis;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::controller::Action;

use crate::context::{Context, RESYNC};
use crate::error::Error;
use crate::patch;

/// Reconciles an Approval.
///
/// # Errors
/// When the API server or the record store fails.
pub async fn reconcile(object: Arc<Approval>, ctx: Arc<Context>) -> Result<Action, Error> {
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    ctx.synced().await;
    let seen = observe::observe(&object, &ctx).await?;
    if ctx.is_being_set_up(&object.namespace().unwrap_or_default()) {
        return Ok(Action::requeue(RESYNC));
    }
    // The controller of the subject evaluates the Approval itself: this status only informs people.
    let readiness = decide::decide(&object, &seen, ctx.now());
    // The decision is recorded before the first status: an object with conditions is recorded.
    if object.status.as_ref().is_none_or(|status| status.conditions.is_empty()) {
        ctx.record(seen.tenant.and_then(|tenant| decision(&object, tenant)).into_iter().collect()).await?;
    }
    let api = Api::<Approval>::namespaced(ctx.client.clone(), &object.namespace().unwrap_or_default());
    let old = object.status.as_ref().map_or(&[][..], |s| &s.conditions);
    let status = ApprovalStatus {
        observed_generation: object.metadata.generation,
        conditions: patch::conditions(&*object, old, readiness.conditions(), ctx.now()),
    };
    patch::status(&ctx, &api, object.as_ref(), object.status.as_ref(), &status).await?;
    Ok(Action::requeue(RESYNC))
}

/// Returns the record of the decision; none if the webhook did not store who made it.
fn decision(object: &Approval, tenant: String) -> Option<Record> {
    let by = object.spec.by.as_ref()?;
    Some(Record {
        tenant,
        subject: Subject {
            kind: Kind::Approval,
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
        },
        at: object.metadata.creation_timestamp.as_ref().map_or(Millis(0), convert::millis),
        actor: by.user.clone(),
        event: Event::Approval {
            kind: object.spec.subject.kind.into(),
            name: object.spec.subject.name.clone(),
            digest: object.spec.digest.clone().into(),
            approved: object.spec.decision == Choice::Approve,
            comment: object.spec.comment.clone(),
        },
    })
}
