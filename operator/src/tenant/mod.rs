//! Tenants: their namespaces, and what keeps each within its bounds.
//!
//! A namespace is set up first and labelled last: the label `enact.dev/tenant` is what makes it the tenant's for every other controller,
//! so that nothing ever runs in a namespace that is not closed yet. When a Tenant goes, its namespaces and everything that people made in
//! them stay.

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

use enact_crds::Tenant;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;

pub use context::Context;

use crate::context::RESYNC;
use crate::error::Error;
use crate::references::Target;
use context::ACTIVE_RESYNC;
use decide::Finalizer;

/// One reconcile of a Tenant.
///
/// # Errors
/// When the API server or the record fails.
pub async fn reconcile(object: Arc<Tenant>, ctx: Arc<Context>) -> Result<Action, Error> {
    ctx.synced().await;
    let seen = observe::observe(&object, &ctx).await?;
    if seen.deleting.is_some() && !seen.claimed {
        return Ok(Action::await_change());
    }
    if object.status.as_ref().and_then(|s| s.observed_generation) != object.metadata.generation {
        // Others may want what this one has taken or given up; its plans may have got more room, its documents another constitution.
        ctx.references.tenants.requeue_referrers(&Target::of(&*object));
        seen.places.keys().for_each(|name| ctx.references.changed_for_members(&Target::namespace(name)));
    }
    let valid = validate::validate(&object.spec, &seen, &ctx.config);
    let decision = decide::decide(&seen, &valid);
    let done = match record::record(&object, &ctx, &seen, &decision).await {
        Ok(()) => apply::apply(&object, &ctx, &decision).await,
        Err(error) => Err(error),
    };
    if done.is_ok() && decision.finalizer == Finalizer::Remove {
        ctx.cluster.set_written(&object.uid().unwrap_or_default(), None);
        return Ok(Action::await_change());
    }
    let turn = record::is_turn(&object, &decision);
    status::write(&object, &ctx, &seen, &decision, done.as_ref().err()).await?;
    done?;
    if turn {
        // Plans and documents of a namespace that is not set up wait for this word.
        object.spec.namespaces.iter().for_each(|name| ctx.references.changed_for_members(&Target::namespace(name)));
    }
    let busy = seen.active_plans > 0 || seen.running_attempts > 0 || seen.deleting.is_some();
    let counting = seen.places.values().flat_map(|place| place.objects.values()).any(|object| !object.in_force);
    let leaving = seen.places.values().any(|place| !place.unfinished.is_empty());
    Ok(Action::requeue(if busy || leaving || counting { ACTIVE_RESYNC } else { RESYNC }))
}

#[cfg(test)]
mod tests;
