//! Plans: their tasks, the attempts at them, and the integration of their work.
//!
//! One pass: [`observe`] the plan, its children and what it refers to; [`validate`] it into something that can be run; let
//! [`enact_domain::plan::decide`] decide over its [`nodes`]; [`record`] what was decided; [`apply`] it; write the [`status`].

mod apply;
mod assign;
pub mod context;
mod documents;
pub mod limiter;
mod nodes;
mod observe;
mod record;
mod room;
pub mod runtime;
mod stale;
mod status;
mod validate;
pub mod watches;

use std::sync::Arc;
use std::time::Duration;

use enact_crds::compile::Compiled;
use enact_crds::plan::Phase;
use enact_crds::{Plan, convert};
use enact_domain::plan as scheduling;
use enact_domain::time::Millis;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;

pub use context::Context;
use runtime::{Made, Open, Runtime};

use crate::documents::constitution_chain::chain_of_specification;
use crate::error::Error;
use crate::search;

/// Most actions of one pass; the rest is for the next, so that ends of attempts are never kept waiting by many starts.
const MAX_ACTIONS: usize = 256;

/// How long after the last look an unfinished plan is looked at again though nothing told of a change.
const RESYNC_SECONDS: u32 = 600;
/// The same, as the controller takes it.
const RESYNC: Duration = Duration::from_mins(10);
/// How long after the pods of a finished plan were to go it is seen whether they went.
const CLEANUP_RESYNC_SECONDS: u32 = 30;

/// One reconcile of a Plan.
///
/// # Errors
/// When the API server or the record fails; what was done until then is not done again.
pub async fn reconcile(plan: Arc<Plan>, ctx: Arc<Context>) -> Result<Action, Error> {
    let uid = plan.uid().unwrap_or_default();
    if plan.metadata.deletion_timestamp.is_some() {
        ctx.runtimes.forget(&uid);
        return Ok(Action::await_change());
    }
    ctx.synced().await;
    let runtime = ctx.runtimes.of(&uid, &ctx.caches.plans);
    let mut runtime = runtime.lock().await;
    let plan = runtime.newest(plan);
    let mut observed = observe::observe(&plan, &ctx, ctx.now(), &runtime);
    announce(&ctx, &observed);
    if observed.is_settled(runtime.harmless.as_ref()) {
        return settled(&ctx, &observed).await;
    }
    if ctx.is_being_set_up(&observed.namespace) {
        return Ok(Action::requeue(RESYNC));
    }
    match observe::recall(&ctx, &mut observed).await {
        Err(Error::Store(error)) => return status::without_record(&ctx, &observed, &mut runtime, error).await,
        other => other?,
    }
    let valid = match validate::validate(&observed, &mut runtime) {
        Ok(valid) => valid,
        Err(blocked) => return status::blocked(&ctx, &observed, &mut runtime, blocked).await,
    };
    let result = pass_over(&ctx, &observed, &valid, &mut runtime).await;
    // Places that the pass freed, or found and left unused, are the next plan's.
    ctx.wake_next(&valid.member.tenant);
    match result {
        Err(Error::Store(error)) => status::without_record(&ctx, &observed, &mut runtime, error).await,
        result => result,
    }
}

/// Tells the constitutions that bind an unfinished plan of it.
fn announce(ctx: &Context, observed: &observe::Observed) {
    let plan = &observed.plan;
    let here = (observed.namespace.clone(), plan.name_any());
    let phase = plan.status.as_ref().map(|s| s.phase).unwrap_or_default();
    let bound = if is_finished(phase) {
        std::collections::BTreeSet::new()
    } else {
        let specification = plan.spec.specification_ref.as_ref().map(|r| r.name.as_str());
        let found = specification
            .and_then(|name| crate::context::lookup(&ctx.caches.specifications, &observed.namespace, name));
        chain_of_specification(ctx, &observed.namespace, found.as_deref()).keys().collect()
    };
    for constitution in ctx.dependents.plan_constitutions.update(&here, bound, &format!("{}", is_finished(phase))) {
        ctx.references.constitutions.requeue_key(&constitution);
    }
}

/// A finished plan that nobody asks anything of: only its pods may have to go.
async fn settled(ctx: &Context, observed: &observe::Observed) -> Result<Action, Error> {
    let Some(at) = observed.cleanup_at() else { return Ok(Action::await_change()) };
    apply::clean_up(ctx, observed).await?;
    Ok(next(false, [Some(at)], observed.now))
}

async fn pass_over(
    ctx: &Context,
    observed: &observe::Observed,
    valid: &validate::Valid,
    runtime: &mut Runtime,
) -> Result<Action, Error> {
    let now = observed.now;
    nodes::hydrate(ctx, observed, valid, runtime).await?;
    let nodes = nodes::nodes(observed, valid, runtime);
    ctx.limiter.expire(&valid.member.tenant, now);
    let room = ctx.limiter.free_slots(&valid.member.tenant, valid.member.parallelism);
    let mut decision = scheduling::decide(&valid.policy, &valid.graph, &nodes, room, now);
    let unfinished = decision.actions.len() > MAX_ACTIONS;
    // Ends first: they free room and release dependents.
    decision.actions.sort_by_key(apply::rank);
    decision.actions.truncate(MAX_ACTIONS);
    let refused = {
        let pass = Pass { ctx, observed, valid, nodes: &nodes, decision: &decision, unfinished };
        room::refused(&pass, room)
    };
    room::withdraw(&mut decision, &refused);
    let pass = Pass { ctx, observed, valid, nodes: &nodes, decision: &decision, unfinished };
    if let Err(error) = ctx.record(record::records(&pass)).await {
        room::give_back(&pass);
        return Err(error);
    }
    ctx.search.offer(&valid.member.tenant, record::subject_of(&pass), valid.content.digest.as_str(), || {
        search::of_plan(&observed.plan.spec.decisions, &valid.content.compiled.tasks)
    });
    let applied = apply::apply(&pass, runtime).await;
    let wake = status::write(&pass, &applied, runtime).await?;
    if let Some(error) = applied.failure {
        return Err(error);
    }
    let resync = (!is_finished(status::phase(&pass))).then(|| now.plus_seconds(RESYNC_SECONDS));
    Ok(next(unfinished, [decision.wake, applied.wake, wake, observed.cleanup_at(), resync], now))
}

/// One pass, from the decision on.
struct Pass<'a> {
    ctx: &'a Context,
    observed: &'a observe::Observed,
    valid: &'a validate::Valid,
    nodes: &'a [scheduling::Node],
    decision: &'a scheduling::Decision,
    /// Whether more was decided than one pass carries out.
    unfinished: bool,
}

impl Pass<'_> {
    /// The revision of the specification that a node is to be redone for.
    fn redo(&self, node: usize) -> Option<&str> {
        let outdated = self.valid.outdated.as_ref().filter(|_| self.nodes[node].asked == scheduling::Asked::Redo)?;
        Some(&outdated.digest)
    }

    /// Whether something is still to be opened for a newer revision of the specification. What is of unknown end waits for a person.
    fn redoes(&self) -> bool {
        let waits =
            |n: &scheduling::Node| n.asked == scheduling::Asked::Redo && n.phase != scheduling::TaskPhase::Unknown;
        self.nodes.iter().any(waits)
    }

    /// Whether a node is the integration and not a task.
    fn is_integration(&self, node: usize) -> bool {
        node >= self.valid.content.compiled.tasks.len()
    }
}

fn next<const N: usize>(unfinished: bool, wakes: [Option<Millis>; N], now: Millis) -> Action {
    if unfinished {
        return Action::requeue(Duration::ZERO);
    }
    match wakes.into_iter().flatten().min() {
        Some(at) => Action::requeue(Duration::from_millis(at.since(now).max(10))),
        None => Action::await_change(),
    }
}

/// The plan's reference in queues.
fn reference(plan: &Plan) -> ObjectRef<Plan> {
    ObjectRef::from_obj(plan)
}

/// Whether the plan has come to an end.
fn is_finished(phase: Phase) -> bool {
    phase.is_finished()
}

/// When the plan was started, if it was.
fn started(plan: &Plan) -> Option<Millis> {
    plan.status.as_ref()?.started_at.as_ref().map(convert::millis)
}

/// The compiled tasks, for the modules of this folder.
type Tasks = Compiled;

#[cfg(test)]
mod tests;
