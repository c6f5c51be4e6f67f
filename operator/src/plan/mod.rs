//! Plans: their tasks, the attempts at them, and the integration of their work.
//!
//! One pass: [`observe`] the plan, its children and what it refers to; [`validate`] it into something that can be run; let
//! [`enact_domain::plan::decide`] decide over its [`nodes`]; [`record`] what was decided; [`apply`] it; write the [`status`].

mod apply;
mod assign;
mod nodes;
mod observe;
mod record;
mod status;
mod validate;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use enact_crds::compile::Compiled;
use enact_crds::plan::Phase;
use enact_crds::{Plan, convert};
use enact_domain::assignment::Report;
use enact_domain::digest::Digest;
use enact_domain::plan as scheduling;
use enact_domain::time::Millis;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt as _};

use crate::context::Context;
use crate::error::Error;

/// Most actions of one pass; the rest is for the next, so that ends of attempts are never kept waiting by many starts.
const MAX_ACTIONS: usize = 256;

/// What is kept of a plan between its passes. All of it can be had again from Kubernetes and the record.
#[derive(Debug, Default)]
pub struct Runtime {
    /// The plan's tasks, by the generation and source that they were made from.
    compiled: Option<(Digest, Arc<validate::Content>)>,
    /// Attempts that are recorded as started, by node.
    open: HashMap<usize, Open>,
    /// Whether `open` holds what the record knows from before this process.
    hydrated: bool,
    /// When the status was last written.
    written: Option<Millis>,
}

/// An attempt that is recorded as started.
#[derive(Clone, Debug, Default)]
struct Open {
    /// Its number.
    number: u32,
    /// Whether its pod was seen.
    seen: bool,
    /// What its pod delivered, or why the API server refused to create it.
    result: Option<Report>,
}

/// The [`Runtime`] of every plan, by UID.
#[derive(Debug, Default)]
pub struct Runtimes {
    plans: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Runtime>>>>,
}

impl Runtimes {
    fn of(&self, uid: &str) -> Arc<tokio::sync::Mutex<Runtime>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).entry(uid.to_owned()).or_default().clone()
    }

    fn forget(&self, uid: &str) {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// One reconcile of a Plan.
///
/// # Errors
/// When the API server or the record fails; what was done until then is not done again.
pub async fn reconcile(plan: Arc<Plan>, ctx: Arc<Context>) -> Result<Action, Error> {
    let uid = plan.uid().unwrap_or_default();
    if plan.metadata.deletion_timestamp.is_some() {
        ctx.plans.forget(&uid);
        return Ok(Action::await_change());
    }
    ctx.synced().await;
    let runtime = ctx.plans.of(&uid);
    let mut runtime = runtime.lock().await;
    let now = ctx.now();
    let observed = observe::observe(&plan, &ctx, now).await?;
    let valid = match validate::validate(&observed, &mut runtime) {
        Ok(valid) => valid,
        Err(blocked) => return status::blocked(&ctx, &observed, &runtime, blocked).await,
    };
    nodes::hydrate(&ctx, &observed, &valid, &mut runtime).await?;
    let nodes = nodes::nodes(&observed, &valid, &mut runtime);
    let room = ctx.ledger.room(&valid.member.tenant, valid.member.parallelism);
    let mut decision = scheduling::decide(&valid.policy, &valid.graph, &nodes, room, now);
    let unfinished = decision.actions.len() > MAX_ACTIONS;
    // Ends first: they free room and release dependents.
    decision.actions.sort_by_key(apply::rank);
    decision.actions.truncate(MAX_ACTIONS);
    if decision.starved > 0 {
        ctx.ledger.wait(&valid.member.tenant, reference(&plan), plan.spec.execution.priority);
    }
    let pass = Pass { ctx: &ctx, observed: &observed, valid: &valid, nodes: &nodes, decision: &decision };
    ctx.recorder.record(record::records(&pass)).await?;
    ctx.metrics.records.inc();
    let applied = apply::apply(&pass, &mut runtime).await;
    let wake = status::write(&pass, &applied, &mut runtime).await?;
    if let Some(error) = applied.failure {
        return Err(error);
    }
    Ok(next(unfinished, [decision.wake, applied.wake, wake, valid.cleanup_at(&observed)], now))
}

/// One pass, from the decision on.
struct Pass<'a> {
    ctx: &'a Context,
    observed: &'a observe::Observed,
    valid: &'a validate::Valid,
    nodes: &'a [scheduling::Node],
    decision: &'a scheduling::Decision,
}

impl Pass<'_> {
    /// Whether a node is the integration and not a task.
    fn is_integration(&self, node: usize) -> bool {
        node >= self.valid.content.compiled.tasks.len()
    }
}

fn next(unfinished: bool, wakes: [Option<Millis>; 4], now: Millis) -> Action {
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
pub(crate) fn is_finished(phase: Phase) -> bool {
    matches!(phase, Phase::Succeeded | Phase::Failed | Phase::Cancelled)
}

/// Whether a task of the plan names this agent, or the plan itself does.
pub fn uses_agent(plan: &Plan, agent: &str) -> bool {
    plan.spec.agent_ref.name == agent
        || plan.spec.tasks.iter().any(|t| t.agent_ref.as_ref().is_some_and(|r| r.name == agent))
}

/// Unfinished plans in the namespace of `object` that refer to it.
pub fn waiting_for<K: Resource>(
    plans: &Store<Plan>,
    object: &K,
    refers: impl Fn(&Plan, &str) -> bool,
) -> Vec<ObjectRef<Plan>> {
    let (namespace, name) = (object.meta().namespace.as_deref(), object.meta().name.as_deref().unwrap_or_default());
    plans
        .state_filter(|plan| {
            plan.metadata.namespace.as_deref() == namespace
                && refers(plan, name)
                && !is_finished(plan.status.as_ref().map(|s| s.phase).unwrap_or_default())
        })
        .iter()
        .map(|plan| reference(plan))
        .collect()
}

/// When the plan was started, if it was.
fn started(plan: &Plan) -> Option<Millis> {
    plan.status.as_ref()?.started_at.as_ref().map(convert::millis)
}

/// The compiled tasks, for the modules of this folder.
type Tasks = Compiled;
