//! The Plan controller: creates a plan's tasks, runs their attempts, and integrates their work.
//!
//! A reconcile is a sequence of steps, each with typed inputs and outputs: [`observe`] → [`validate`] → [`agents`] → [`budgets`] →
//! [`decide`] → [`record`] → [`apply`] → [`status`]. Steps return values; only [`reconcile`] writes the plan's [`runtime`].

mod agent_changes;
mod agents;
mod apply;
mod assign;
mod attempt_pods;
mod budgets;
pub mod context;
mod contradictions;
mod controls;
mod decide;
pub mod deletion;
mod deliveries;
pub mod digest_cache;
mod estimate;
mod evaluate;
pub mod history;
mod integration;
mod known_budgets;
pub mod limiter;
mod limits;
mod messages;
mod nodes;
mod observe;
mod observed;
mod planning;
mod predecessor;
mod progress;
mod proposal;
mod record;
mod refusals;
pub mod reservations;
pub mod runtime;
mod self_reported;
mod shortage;
mod staleness;
mod status;
mod task_versions;
mod validate;
pub mod waits;
mod warm;
pub mod watches;

use std::sync::Arc;
use std::time::Duration;

use enact_crds::Plan;
use enact_crds::task::Phase as TaskPhase;
use enact_domain::time::Millis;
use enact_store::{ErrorClass, StoreError};
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;

pub use context::Context;
use observed::Observed;
use runtime::Runtime;

use crate::context::RESYNC;
use crate::error::Error;
use crate::setup_failures;

/// Reconciles a Plan.
///
/// # Errors
/// When the API server or the record fails. A retry does not repeat what was done.
pub async fn reconcile(plan: Arc<Plan>, ctx: Arc<Context>) -> Result<Action, Error> {
    let uid = plan.uid().unwrap_or_default();
    if plan.metadata.deletion_timestamp.is_some() {
        // Kubernetes deletes the tasks and pods by their owner references. The watch of pods frees their slots.
        ctx.runtimes.forget(&uid);
        ctx.reservations.forget(&uid);
        return Ok(Action::await_change());
    }
    // With incomplete caches, an existing pod would seem to be lost, and a namespace to have no tenant.
    ctx.synced().await;
    let runtime = ctx.runtimes.of(&uid, &ctx.caches.plans);
    // A controller never reconciles the same object twice at the same time: nothing else waits for this lock.
    let mut runtime = runtime.lock().await;
    // It was deleted while this reconcile waited: nothing of it may be recorded after its deletion.
    let known = ctx.caches.plans.get(&ObjectRef::from_obj(plan.as_ref()));
    if known.is_none_or(|known| known.uid() != plan.uid()) {
        ctx.runtimes.forget(&uid);
        return Ok(Action::await_change());
    }
    let mut observed = observe::observe(&ctx, runtime.last_write.newest(plan.clone()));
    // Before the early returns: a plan that has just finished must be removed from the impact of its constitutions.
    observe::report_to_constitutions(&ctx, &observed, &plan);
    observe::report_to_replacements(&ctx, &plan);
    if observed.is_settled(runtime.cache.harmless()) {
        // The pod of the last attempt may end only now.
        let found = Box::pin(deliveries::follow_up(&ctx, &observed, &runtime.attempts)).await?;
        runtime.attempts.follow(&found);
        apply::clean_up(&ctx, &observed).await?;
        return Ok(requeue(observed.now, [observed.cleanup_at()]));
    }
    // The tenant controller requeues the plan when it has labelled the namespace.
    if ctx.is_being_set_up(&observed.namespace) {
        return Ok(Action::requeue(RESYNC));
    }
    // The future of the steps is large, and each reconcile in progress has one.
    let result = Box::pin(run_steps(&ctx, &observed, &mut runtime)).await;
    if let Some(member) = &observed.member {
        // This plan may have freed slots, or it was enqueued for a free slot and did not use it: enqueue the next plan that waits.
        ctx.wake_next(&member.tenant);
    }
    match result {
        Err(Error::Store(error)) => {
            // The steps can have written the status before the record failed.
            observed.plan = runtime.last_write.newest(observed.plan);
            report_record_failure(&ctx, &observed, &mut runtime, error).await
        }
        result => result,
    }
}

/// Runs the steps of a reconcile, and stores in the runtime what they return.
async fn run_steps(ctx: &Context, observed: &Observed, runtime: &mut Runtime) -> Result<Action, Error> {
    let now = observed.now;
    let resync = now.plus_seconds(u32::try_from(RESYNC.as_secs()).unwrap_or(u32::MAX));
    if let Some(member) = &observed.member {
        controls::record(ctx, observed, &member.tenant).await?;
    }
    let loaded = observe::load(ctx, observed, runtime.cache.pinned(&observed.plan)).await?;

    let validated = validate::validate(observed, &loaded, &runtime.cache);
    // Stored for a blocked plan too, so that it is not compiled and evaluated again at each reconcile.
    runtime.cache = validated.cache;
    let valid = match validated.result {
        Ok(valid) => valid,
        Err(blocked) => {
            runtime.last_write = status::write_blocked(ctx, observed, &loaded, &blocked, &runtime.last_write).await?;
            return Ok(requeue(now, [Some(resync), loaded.source_requeue_at]));
        }
    };

    let found = deliveries::follow_up(ctx, observed, &runtime.attempts).await?;
    runtime.attempts.follow(&found);
    // From the record and the pods, not from the statuses alone: these do not show an attempt that has just started.
    runtime.attempts = nodes::open_attempts(ctx, observed, &valid, &runtime.attempts).await?;
    let tenant = &valid.member.tenant;
    runtime.messages = messages::pass(ctx, observed, tenant, &runtime.attempts, &runtime.messages).await?;
    deliveries::free_slots(ctx, observed, &runtime.attempts);
    let late_at = setup_failures::late_at(observed.children.pods.values().map(|pod| &pod.view));
    let setup_failures = setup_failures::read(ctx, &observed.namespace, now, late_at).await;
    let mut nodes = nodes::nodes(observed, &valid, &runtime.attempts, &setup_failures);
    let mut agents = agents::read(ctx, observed, &valid).await?;
    agents::add_executors(observed, &valid, &agents, &runtime.attempts, &mut nodes);
    let budgets = budgets::read(ctx, observed, &valid, &mut agents, &mut nodes, &runtime.budgets).await?;
    let mut decided = decide::decide(ctx, observed, &loaded, &valid, agents, nodes, &budgets);
    decided.attempts = runtime.attempts.with_pods();
    decided.taken = warm::take(ctx, &decided);

    let recorded = record::record(ctx, &decided).await?;
    runtime.budgets = recorded.budgets.clone();
    // If a pod cannot be created now, its attempt keeps the recorded agent.
    runtime.attempts.agents.extend(decided.selected_agents());

    // If this future is dropped, or the record fails, the next reconcile reads which attempts were started, and recognises their pods.
    runtime.attempts.loaded = false;
    let mut applied = apply::apply(ctx, &decided, recorded).await;
    runtime.attempts.delivered.extend(deliveries::ended(&decided));
    // Before the status is written: if that fails, the next reconcile still knows which pods exist.
    runtime.attempts.update(std::mem::take(&mut applied.attempts));
    runtime.attempts.loaded = !applied.record_failed;

    let written = status::write(ctx, &decided, &applied, &runtime.last_write).await?;
    runtime.last_write = written.last_write;
    // The attempt stays open while the integration runs. In every other phase it has ended, or was reopened or closed. If the status could
    // not be written, it is ended again.
    if applied.integration.as_ref().is_some_and(|integration| integration.phase != TaskPhase::Running) {
        runtime.attempts.close_integration();
    }

    // Only after the status is written, which shows the failure. The retry decides again from what was applied.
    if let Some(error) = applied.failure {
        return Err(error);
    }
    // If all was postponed, the next reconcile would postpone the same actions.
    if decided.unfinished && !applied.is_idle {
        return Ok(Action::requeue(Duration::ZERO));
    }
    let resync = (!decided.phase().is_finished()).then_some(resync);
    let usage_at = budgets.read_again_at(&decided.decision.phases);
    let times = [
        decided.decision.requeue_at,
        applied.requeue_at,
        written.requeue_at,
        observed.cleanup_at(),
        usage_at,
        setup_failures.read_again_at,
        runtime.messages.retry_at(),
        resync,
    ];
    Ok(requeue(now, times))
}

/// Reports in the status that the record fails. The controller retries a transient failure with backoff.
async fn report_record_failure(
    ctx: &Context,
    observed: &Observed,
    runtime: &mut Runtime,
    error: StoreError,
) -> Result<Action, Error> {
    runtime.last_write = status::write_record_failure(ctx, observed, &error, &runtime.last_write).await?;
    // A retry with backoff does not help against a permanent failure: a person has to fix it.
    if error.class() == ErrorClass::Permanent { Ok(Action::requeue(RESYNC)) } else { Err(error.into()) }
}

/// Requeues the plan for the earliest of the times, or only for the next event.
fn requeue<const N: usize>(now: Millis, times: [Option<Millis>; N]) -> Action {
    match times.into_iter().flatten().min() {
        // The minimum delay prevents a hot loop when a time has already passed.
        Some(at) => Action::requeue(Duration::from_millis(at.since(now).max(10))),
        None => Action::await_change(),
    }
}

#[cfg(test)]
mod tests;
