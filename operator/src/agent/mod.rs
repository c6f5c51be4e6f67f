//! The controller of Agents, which checks whether pods can run them, and reports what the record has about them.

mod budget;
mod config_maps;
pub mod context;
pub mod decide;
mod pool;
mod probe;
mod probes;
mod statistics;
pub mod watches;

use std::sync::Arc;

use enact_crds::{Agent, AgentStatus, ModelProvider, agent_content};
use enact_domain::condition::{Progress, Readiness, waits_for_people};
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;

pub use context::Context;
pub use probe::follow as follow_probes;
pub use probes::Probes;

use crate::agent_health::HealthSubject;
use crate::context::RESYNC;
use crate::error::Error;
use crate::patch;
use crate::references::Target;

/// Reconciles an Agent.
///
/// # Errors
/// When the API server or the record store fails.
pub async fn reconcile(object: Arc<Agent>, ctx: Arc<Context>) -> Result<Action, Error> {
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    ctx.synced().await;
    // Plans and drafts read the spec of the Agent, so they are requeued whatever this reconcile finds.
    ctx.references.changed(&Target::of(&*object));
    let namespace = object.namespace().unwrap_or_default();
    let maps = agent_content::config_maps(&object.spec).map(|name| Target::config_map(&namespace, name));
    let targets = maps.chain(providers(&ctx, &object, &namespace)).chain([Target::namespace(&namespace)]);
    ctx.references.agents.set(&object, targets);
    if ctx.is_being_set_up(&namespace) {
        return Ok(Action::requeue(RESYNC));
    }
    // After the references are set: a change of a ConfigMap in between requeues the Agent.
    let maps = config_maps::read(&ctx, &object.spec, &namespace).await?;
    let recorded = match object.spec.replay.as_ref().map(|replay| &replay.config_map_ref.name) {
        Some(name) => decide::Recorded::new(name, maps.keys(name)),
        None => decide::Recorded::None,
    };
    let skill = maps.skill_problem(&object.spec);
    let member = ctx.tenant_of(&namespace);
    let tenant = member.as_ref().map(|member| member.tenant.clone());
    let problem = ctx.model_problem(&object, tenant.as_deref().unwrap_or_default());
    let place = decide::Place {
        in_tenant: tenant.is_some(),
        in_installation: namespace == ctx.config.namespace,
        images: member.as_ref().map(|member| &member.agent_images),
    };
    let readiness = decide::decide(&object.spec, place, &recorded, problem.as_ref(), skill);
    let not_probed = decide::not_probed(&object.spec, place);
    let key = (namespace.clone(), object.name_any());
    let mut probed = probe::Probed::unchanged(&object);
    if let Some(member) = &member {
        let tenant = &member.tenant;
        let loaded = ctx.agent_health.load(&*ctx.record_store, tenant, &namespace, &[HealthSubject::of(&object)]).await;
        match loaded {
            // Without the record, an agent that works would be probed after each restart.
            Ok(()) if readiness.progress == Progress::Ready => probed = probe::reconcile(&ctx, &object, member).await?,
            Ok(()) => {}
            // What is known about the Agent without the record is written. A later reconcile reads the record.
            Err(error) => tracing::warn!(%error, agent = key.1, namespace, "the health of an Agent cannot be read"),
        }
    }
    let unhealthy = ctx.agent_health.problem(&key, object.metadata.generation, ctx.now());
    let tried_again_at = unhealthy.as_ref().map(|(.., at)| *at);
    let readiness = match unhealthy {
        Some((reason, message, _)) if readiness.progress == Progress::Ready => {
            Readiness::stalled(reason.as_str(), message)
        }
        _ if readiness.progress == Progress::Ready => probed.problem(&ctx, &object).unwrap_or(readiness),
        _ => readiness,
    };
    let api = Api::<Agent>::namespaced(ctx.client.clone(), &namespace);
    let old = object.status.as_ref().map_or(&[][..], |s| &s.conditions);
    let mut status = AgentStatus {
        observed_generation: object.metadata.generation,
        adapter: object.spec.adapter_status(),
        probe: probed.status.clone(),
        config_maps: maps.status(),
        ..AgentStatus::default()
    };
    statistics::add(&ctx, &object, tenant.as_deref(), &mut status).await;
    let conditions = readiness.conditions().into_iter().chain(not_probed).chain(budget::condition(&object, &status));
    status.conditions = patch::conditions(&*object, old, conditions.collect(), ctx.now());
    let pool = pool::keep(&ctx, &object, readiness.progress == Progress::Ready, &mut status).await?;
    let is_transition = !old.iter().any(|c| c.reason == readiness.reason);
    patch::status(&ctx, &api, object.as_ref(), object.status.as_ref(), &status).await?;
    budget::warn(&ctx, &object, &status).await;
    probe::clean_up(&ctx, &object, &probed).await?;
    if let Some(pool) = &pool {
        ctx.warm_pods.counted(&key, pool.counted);
    }
    if is_transition && readiness.progress == Progress::Stalled && !waits_for_people(&readiness.reason) {
        ctx.event(&*object, EventType::Warning, &readiness.reason, readiness.message).await;
    }
    if let Some(tenant) = tenant.filter(|_| object.spec.uses_models()) {
        // After the status, which does not depend on Postgres.
        budget::write_limit(&ctx, &object, &tenant).await?;
    }
    let pool_at = pool.and_then(|pool| pool.again_at);
    Ok(Action::requeue(probe::wait(ctx.now(), [tried_again_at, probed.requeue_at, pool_at], RESYNC)))
}

/// Returns the ModelProviders that the names in an Agent can refer to: a provider in its own namespace precedes that of the installation.
fn providers(ctx: &Context, object: &Agent, namespace: &str) -> Vec<Target> {
    let namespaces = [namespace, &ctx.config.namespace];
    let names = object.spec.models.iter().map(|model| &model.provider);
    names.flat_map(|name| namespaces.map(|namespace| Target::new::<ModelProvider>(namespace, name))).collect()
}
