//! The controller of ModelProviders, which checks them. It reads no Secret, so it cannot say whether a provider's key exists or is valid.

pub mod decide;

use std::sync::Arc;

use enact_crds::{ModelProvider, ModelProviderStatus};
use enact_domain::condition::Progress;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;

use crate::context::{Context, RESYNC};
use crate::error::Error;
use crate::patch;
use crate::references::Target;

/// Reconciles a ModelProvider.
///
/// # Errors
/// When the API server fails.
pub async fn reconcile(object: Arc<ModelProvider>, ctx: Arc<Context>) -> Result<Action, Error> {
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    ctx.synced().await;
    let namespace = object.namespace().unwrap_or_default();
    // Agents read the spec from the cache, so they are requeued whatever this reconcile finds.
    ctx.references.agents.requeue_referrers(&Target::of(&*object));
    ctx.references.providers.set(&object, [Target::namespace(&namespace)]);
    if ctx.is_being_set_up(&namespace) {
        return Ok(Action::requeue(RESYNC));
    }
    let in_installation = namespace == ctx.config.namespace;
    let readiness = decide::decide(&object.spec, ctx.tenant_of(&namespace).is_some(), in_installation);
    let api = Api::<ModelProvider>::namespaced(ctx.client.clone(), &namespace);
    let old = object.status.as_ref().map_or(&[][..], |s| &s.conditions);
    let status = ModelProviderStatus {
        observed_generation: object.metadata.generation,
        conditions: patch::conditions(&*object, old, readiness.conditions(), ctx.now()),
    };
    let is_transition = !old.iter().any(|c| c.reason == readiness.reason);
    patch::status(&ctx, &api, object.as_ref(), object.status.as_ref(), &status).await?;
    if is_transition && readiness.progress == Progress::Stalled {
        ctx.event(&*object, EventType::Warning, &readiness.reason, readiness.message).await;
    }
    Ok(Action::requeue(RESYNC))
}

#[cfg(test)]
mod tests;
