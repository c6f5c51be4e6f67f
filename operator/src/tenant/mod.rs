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
pub mod validate;
pub mod watches;

use std::sync::Arc;

use enact_crds::{Tenant, convert};
use enact_domain::usage::Scope;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;

pub use context::Context;

use crate::context::RESYNC;
use crate::error::Error;
use crate::references::Target;
use context::ACTIVE_RESYNC;
use decide::Finalizer;

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
    let valid = validate::validate(&object.spec, &seen, &ctx.config);
    let decision = decide::decide(&seen, &valid);
    // Recorded before it is applied: a crash in between loses no record, and the next reconcile repeats both.
    let result = match record::record(&object, &ctx, &seen, &decision).await {
        Ok(()) => apply::apply(&object, &ctx, &decision).await,
        Err(error) => Err(error),
    };
    if result.is_ok() && decision.finalizer == Finalizer::Remove {
        // The API server deletes the object with its last finalizer: there is no status to write.
        ctx.cluster.set_written(&object.uid().unwrap_or_default(), None);
        return Ok(Action::await_change());
    }
    let is_transition = record::is_transition(&object, &decision);
    // After a failure too, so that a person sees it. The error is returned after that, for the retry.
    status::write(&object, &ctx, &seen, &decision, result.as_ref().err()).await?;
    result?;
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

#[cfg(test)]
mod tests;
