//! The controller of Tenants: their namespaces, and the objects that isolate and limit them.
//!
//! A namespace is set up first and labelled last. Every other controller reads the label `enact.dev/tenant`, so that nothing runs in a
//! namespace that is not isolated yet. After the deletion of a Tenant, its namespaces and everything that people created in them stay.

pub mod apply;
pub mod cluster;
pub mod context;
pub mod decide;
pub mod default;
pub mod objects;
pub mod observe;
pub mod record;
pub mod status;
pub mod succession;
pub mod validate;
pub mod watches;

use std::sync::Arc;
use std::time::Duration;

use enact_crds::{Tenant, convert};
use enact_domain::usage::Scope;
use enact_store::Erasure;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;

pub use context::Context;

use crate::context::RESYNC;
use crate::error::Error;
use crate::references::Target;
use context::ACTIVE_RESYNC;
use decide::{Decision, Finalizer};
use observe::Observed;

/// Delay until the next part of an erasure, in which others reconcile.
const NEXT_ERASURE: Duration = Duration::from_millis(100);

/// Reconciles a Tenant.
///
/// # Errors
/// When the API server or the record store fails.
pub async fn reconcile(object: Arc<Tenant>, ctx: Arc<Context>) -> Result<Action, Error> {
    ctx.synced().await;
    let seen = observe::observe(&object, &ctx).await?;
    // The finalizer is added before anything else: without it, this Tenant has set up nothing, or has left everything.
    if seen.deleting.is_some() && !seen.has_finalizer {
        return Ok(Action::await_change());
    }
    if object.status.as_ref().and_then(|s| s.observed_generation) != object.metadata.generation {
        // The spec changed. Other Tenants may list the same namespaces, the plans may have more slots, the documents another constitution.
        ctx.references.tenants.requeue_referrers(&Target::of(&*object));
        seen.namespaces.keys().for_each(|name| ctx.references.changed_for_members(&Target::namespace(name)));
    }
    let (seen, claimed) = match succession::claim(&object, &ctx, &seen).await {
        Ok(former) => (seen.after(former), Ok(())),
        Err(error) => (seen, Err(error)),
    };
    let valid = validate::validate(&object.spec, &seen, &ctx.config);
    let decision = decide::decide(&seen, &valid);
    let result = match claimed {
        Ok(()) => carry_out(&object, &ctx, &seen, &decision).await,
        Err(error) => Err(error),
    };
    if result.is_ok() && decision.finalizer == Finalizer::Remove {
        // The API server deletes the object with its last finalizer: there is no status to write.
        let uid = object.uid().unwrap_or_default();
        ctx.cluster.set_written(&uid, None);
        ctx.record_owners.lock().remove(&uid);
        return Ok(Action::await_change());
    }
    let is_transition = record::is_transition(&object, &decision);
    // After a failure too, so that a person sees it. The error is returned after that, for the retry.
    status::write(&object, &ctx, &seen, &decision, result.as_ref().err()).await?;
    let erasure = result?;
    if seen.former.is_some() {
        let is_waiting = erasure.is_none_or(|erasure| erasure == Erasure::Waiting);
        return Ok(Action::requeue(if is_waiting { ACTIVE_RESYNC } else { NEXT_ERASURE }));
    }
    if seen.deleting.is_none() {
        let limit = object.spec.monthly_budget.as_ref().map(convert::limit).unwrap_or_default();
        let store = &*ctx.record_store;
        ctx.monthly_budgets.write(store, &seen.tenant, limit, seen.now, |month| Scope::Tenant { month }).await?;
    }
    if is_transition {
        // Plans and documents in a namespace wait until it is set up.
        object.spec.namespaces.iter().for_each(|name| ctx.references.changed_for_members(&Target::namespace(name)));
    }
    let active = seen.active_plans > 0 || seen.running_attempts > 0 || seen.deleting.is_some();
    let quota_pending =
        seen.namespaces.values().flat_map(|state| state.objects.values()).any(|object| !object.in_force);
    let leaving = seen.namespaces.values().any(|state| !state.unfinished_plans.is_empty());
    Ok(Action::requeue(if active || leaving || quota_pending { ACTIVE_RESYNC } else { RESYNC }))
}

/// Records a decision, and carries it out. Returns the outcome of the erasure that belongs to it.
///
/// # Errors
/// When the API server or the record store fails.
async fn carry_out(
    object: &Tenant,
    ctx: &Context,
    seen: &Observed,
    decision: &Decision,
) -> Result<Option<Erasure>, Error> {
    // Recorded before it is applied: a crash in between loses no record, and the next reconcile repeats both.
    record::record(object, ctx, seen, decision).await?;
    apply::apply(object, ctx, decision).await?;
    if !decision.erases_record {
        return Ok(None);
    }
    succession::erase(object, ctx, &seen.tenant).await.map(Some)
}

#[cfg(test)]
mod tests;
