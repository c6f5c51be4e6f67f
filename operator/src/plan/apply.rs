//! Carries a decision out: task objects, pods, and the tasks' status.

use std::time::Instant;

use enact_crds::plan::IntegrationStatus;
use enact_crds::{Task, convert};
use enact_domain::assignment::{Reason, Report};
use enact_domain::names;
use enact_domain::plan::{Action, After, TaskPhase};
use enact_domain::time::Millis;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::events::EventType;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::context::Context;
use super::observe::Observed;
use super::record::{created, pod_name};
use super::validate::target_branch;
use super::{Open, Pass, Runtime, assign};
use crate::error::Error;
use crate::index::{TaskEntry, UNSCHEDULABLE};
use crate::patch::FIELD_MANAGER;
use crate::pods::{self, AttemptPod};
use crate::task::{build, status};

/// Seconds after which a task is shown as running; one that ends before saves a write.
const SHOW_RUNNING_SECONDS: u32 = 2;
/// Seconds after which it is shown even while others start and end: among many at once each takes longer, and most end before.
const SHOW_RUNNING_AT_LATEST_SECONDS: u32 = 10;

/// What came of carrying a decision out.
#[derive(Debug, Default)]
pub struct Applied {
    /// The integration's new status, when it changed; it is written with the plan's.
    pub integration: Option<IntegrationStatus>,
    /// One of the things that failed, the same at each try. The others were carried out all the same.
    pub failure: Option<Error>,
    /// When to look again.
    pub wake: Option<Millis>,
}

/// Ends before starts, starts before creations.
pub fn rank(action: &Action) -> u8 {
    match action {
        Action::End { .. } | Action::Close { .. } | Action::Reopen(_) => 0,
        Action::Start { .. } => 1,
        Action::MarkRunning { .. } => 2,
        Action::Create(_) => 3,
    }
}

/// What one action came to.
enum Done {
    Nothing,
    Started(usize, u32),
    Refused(usize, u32, Report),
    Ended(usize),
    Integration(IntegrationStatus),
    Later(Millis),
}

/// Carries out every action of the pass, several at once; one that fails does not keep the others.
pub async fn apply(pass: &Pass<'_>, runtime: &mut Runtime) -> Applied {
    let limit = usize::from(pass.ctx.config.requests_in_flight);
    let work: Vec<_> = pass.decision.actions.iter().map(|action| carry_out(pass, action)).collect();
    let results: Vec<Result<Done, Error>> = stream::iter(work).buffer_unordered(limit).collect().await;
    let mut applied = Applied::default();
    for result in results {
        match result {
            Ok(Done::Nothing) => {}
            Ok(Done::Started(node, number)) => {
                runtime.open.insert(node, Open { number, seen: true, result: None });
            }
            Ok(Done::Refused(node, number, report)) => {
                runtime.open.insert(node, Open { number, seen: true, result: Some(report) });
                applied.wake = Some(pass.observed.now);
            }
            Ok(Done::Ended(node)) => {
                runtime.open.remove(&node);
            }
            Ok(Done::Integration(status)) => {
                runtime
                    .open
                    .retain(|node, _| !pass.is_integration(*node) || status.phase == enact_crds::task::Phase::Running);
                applied.integration = Some(status);
            }
            Ok(Done::Later(at)) => applied.wake = Some(applied.wake.map_or(at, |w| w.min(at))),
            Err(error) => {
                let first = applied.failure.take().filter(|other| other.to_string() <= error.to_string());
                applied.failure = first.or(Some(error));
            }
        }
    }
    if let Err(error) = clean_up(pass.ctx, pass.observed).await {
        applied.failure = applied.failure.or(Some(error));
    }
    applied
}

async fn carry_out(pass: &Pass<'_>, action: &Action) -> Result<Done, Error> {
    match action {
        Action::Create(node) => create(pass, *node).await,
        Action::Start { node, attempt } => start(pass, *node, *attempt).await,
        Action::End { node, attempt, delete_pod, .. } => {
            if *delete_pod {
                delete(pass, *node, *attempt).await?;
            }
            end(pass, action).await
        }
        Action::Close { node, phase, reason } => {
            let now = pass.observed.now;
            change(pass, *node, |_| status::closed(*phase, *reason, now), |s| closed(s, *phase, *reason)).await
        }
        Action::Reopen(node) => {
            let now = pass.observed.now;
            let rerun = pass.observed.plan.annotations().get(names::ANNOTATION_RERUN).cloned();
            let redo = pass.redo(*node);
            change(
                pass,
                *node,
                |t| status::reopened(t.rerun.as_deref(), redo, now),
                |old| IntegrationStatus {
                    attempts: pass.nodes[*node].attempts,
                    observed_rerun: rerun,
                    observed_redo: redo.map(str::to_owned).or(old.observed_redo),
                    ..IntegrationStatus::default()
                },
            )
            .await
        }
        Action::MarkRunning { node, since, waits } => {
            let now = pass.observed.now;
            let shown_at = since.plus_seconds(SHOW_RUNNING_SECONDS);
            if now < shown_at {
                return Ok(Done::Later(shown_at));
            }
            // They come last in rank, but for creations.
            let busy = pass.decision.actions.first().is_some_and(|first| !matches!(first, Action::MarkRunning { .. }));
            if busy && now < since.plus_seconds(SHOW_RUNNING_AT_LATEST_SECONDS) {
                return Ok(Done::Later(now.plus_seconds(1)));
            }
            let attempt = pass.nodes[*node].attempts;
            let waits = waits.as_deref();
            let task = |_: &TaskEntry| status::running(attempt, *since, waits, now);
            let done = change(pass, *node, task, |s| running(s, attempt, waits)).await?;
            // The attempt is still under way: what is known of it stays.
            Ok(if matches!(done, Done::Ended(_)) { Done::Nothing } else { done })
        }
    }
}

async fn create(pass: &Pass<'_>, node: usize) -> Result<Done, Error> {
    let compiled = &pass.valid.content.compiled;
    let name = &compiled.names[node];
    let tasks: Api<Task> = Api::namespaced(pass.ctx.client.clone(), &pass.observed.namespace);
    let task = build::task(&pass.observed.plan, &pass.valid.member.tenant, name, &compiled.tasks[node]);
    pass.ctx.metrics.wrote("create", "Task");
    let created = match tasks.create(&PostParams::default(), &task).await {
        Ok(created) => created,
        Err(kube::Error::Api(e)) if e.code == 409 => {
            let there = tasks.get(name).await.map_err(Error::kube(format!("read Task {name}")))?;
            if !there.owner_references().iter().any(|o| o.uid == pass.observed.uid) {
                return Err(Error::Taken { kind: "Task", name: name.clone() });
            }
            there
        }
        Err(e) => return Err(Error::kube(format!("create Task {name}"))(e)),
    };
    pass.ctx.index.put_task(&created);
    pass.ctx.index.wake(super::reference(&pass.observed.plan));
    Ok(Done::Nothing)
}

async fn start(pass: &Pass<'_>, node: usize, attempt: u32) -> Result<Done, Error> {
    let (ctx, namespace, member) = (pass.ctx, &pass.observed.namespace, &pass.valid.member);
    let name = pod_name(pass, node, attempt);
    let pod = match assign::pod(pass, node, attempt, name.clone()) {
        Ok(pod) => pod,
        Err(report) => {
            ctx.limiter.release(&member.tenant, namespace, &name);
            return Ok(Done::Refused(node, attempt, report));
        }
    };
    ctx.metrics.wrote("create", "Pod");
    let owner = pod.owner_references().first().map(|o| o.uid.clone());
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace);
    match pods.create(&PostParams::default(), &pod).await {
        Ok(created) => {
            put(ctx, &created)?;
            if let Some(news) = released_at(pass, node) {
                ctx.metrics.step_latency.observe(news.elapsed().as_secs_f64());
            }
            Ok(Done::Started(node, attempt))
        }
        Err(kube::Error::Api(e)) if e.code == 409 && e.reason == "AlreadyExists" => {
            let there = pods.get(&name).await.map_err(Error::kube(format!("read Pod {name}")))?;
            if there.owner_references().first().map(|o| o.uid.clone()) != owner {
                ctx.limiter.release(&member.tenant, namespace, &name);
                return Err(Error::Taken { kind: "Pod", name });
            }
            put(ctx, &there)?;
            Ok(Done::Started(node, attempt))
        }
        Err(kube::Error::Api(e)) if matches!(e.code, 400 | 422) => {
            ctx.limiter.release(&member.tenant, namespace, &name);
            let why = format!("the API server refused the pod: {}", e.message);
            Ok(Done::Refused(node, attempt, Report::new(Reason::InvalidAssignment, why)))
        }
        Err(e) => {
            // A quota that is full, an API server that is down: the same attempt is started again later.
            ctx.limiter.release(&member.tenant, namespace, &name);
            Err(Error::kube(format!("create Pod {name}"))(e))
        }
    }
}

/// When the end became known that released this node: the last of those that this very pass deals with.
fn released_at(pass: &Pass, node: usize) -> Option<Instant> {
    let dependencies = pass.valid.graph.dependencies(node);
    let ends = pass.decision.actions.iter().filter_map(|action| match action {
        Action::End { node, attempt, failure: None, .. } if dependencies.iter().any(|d| *d as usize == *node) => {
            pass.observed.children.pods.get(&pod_name(pass, *node, *attempt))?.ended
        }
        _ => None,
    });
    ends.max()
}

fn put(ctx: &Context, pod: &Pod) -> Result<(), Error> {
    ctx.index.put_pod(&AttemptPod::of(pod)?);
    Ok(())
}

async fn delete(pass: &Pass<'_>, node: usize, attempt: u32) -> Result<(), Error> {
    let name = pod_name(pass, node, attempt);
    let Some(entry) = pass.observed.children.pods.get(&name) else { return Ok(()) };
    pods::delete(pass.ctx, &pass.observed.namespace, &name, &entry.uid).await
}

async fn end(pass: &Pass<'_>, action: &Action) -> Result<Done, Error> {
    let Action::End { node, attempt, failure, report, then, .. } = action else { return Ok(Done::Nothing) };
    let in_git = pass.observed.plan.spec.workspace.is_some() && !pass.is_integration(*node);
    let end = status::End {
        attempt: *attempt,
        failure: *failure,
        report,
        then: *then,
        branch: in_git.then(|| assign::branch(pass, *node, *attempt)),
        started: created(pass, *node),
    };
    if failure.is_some() {
        let subject = match pass.valid.content.compiled.tasks.get(*node) {
            Some(task) => format!("task {}", task.id),
            None => "the integration".into(),
        };
        let note = format!("attempt {attempt} of {subject}: {}", report.message);
        pass.ctx.event(pass.observed.plan.as_ref(), EventType::Warning, report.reason.as_str(), note).await;
    }
    let now = pass.observed.now;
    let done = change(pass, *node, |task| status::ended(task, &end, now), |s| integrated(pass, s, &end)).await?;
    pass.ctx.metrics.attempts.with_label_values(&[report.reason.as_str()]).inc();
    Ok(done)
}

/// Changes a node's status: a Task's by a patch, the integration's with the plan's.
async fn change(
    pass: &Pass<'_>,
    node: usize,
    task: impl FnOnce(&TaskEntry) -> Value,
    integration: impl FnOnce(IntegrationStatus) -> IntegrationStatus,
) -> Result<Done, Error> {
    if pass.is_integration(node) {
        let old = pass.observed.plan.status.as_ref().and_then(|s| s.integration.clone()).unwrap_or_default();
        return Ok(Done::Integration(integration(old)));
    }
    let name = &pass.valid.content.compiled.names[node];
    let Some(entry) = pass.observed.children.tasks.get(name) else { return Ok(Done::Nothing) };
    let tasks: Api<Task> = Api::namespaced(pass.ctx.client.clone(), &pass.observed.namespace);
    // The UID makes sure that a namesake that was created meanwhile is not changed.
    let patch = json!({ "metadata": { "uid": entry.uid }, "status": task(entry) });
    pass.ctx.metrics.wrote("patch", "Task");
    match tasks.patch_status(name, &PatchParams::apply(FIELD_MANAGER), &Patch::Merge(patch)).await {
        Ok(changed) => {
            pass.ctx.index.put_task(&changed);
            Ok(Done::Ended(node))
        }
        Err(kube::Error::Api(e)) if e.code == 404 => Ok(Done::Nothing),
        Err(e) => Err(Error::kube(format!("patch the status of Task {name}"))(e)),
    }
}

fn closed(old: IntegrationStatus, phase: TaskPhase, reason: Reason) -> IntegrationStatus {
    IntegrationStatus { phase: phase.into(), reason: Some(reason.as_str().into()), retry_at: None, ..old }
}

/// Reason and message stay those of the last end, but while the attempt waits for a node.
fn running(old: IntegrationStatus, attempt: u32, waits: Option<&str>) -> IntegrationStatus {
    let (reason, message) = match waits {
        Some(why) => (Some(UNSCHEDULABLE.into()), Some(status::waiting(attempt, why))),
        None if old.reason.as_deref() == Some(UNSCHEDULABLE) => (None, None),
        None => (old.reason, old.message),
    };
    IntegrationStatus { phase: TaskPhase::Running.into(), attempts: attempt, retry_at: None, reason, message, ..old }
}

fn integrated(pass: &Pass, old: IntegrationStatus, end: &status::End) -> IntegrationStatus {
    let (failures, infrastructure_failures) = status::counted(old.failures, old.infrastructure_failures, end.failure);
    let (phase, retry_at) = match end.then {
        After::Finish(phase) => (phase, None),
        After::Retry(at) => (TaskPhase::Pending, Some(convert::time_not_before(at))),
    };
    IntegrationStatus {
        phase: phase.into(),
        attempts: end.attempt,
        failures,
        infrastructure_failures,
        retry_at,
        branch: pass.observed.plan.spec.workspace.as_ref().map(|w| target_branch(pass.observed, w)),
        commit: end.report.commit.clone(),
        conflicts: end.report.conflicts.clone(),
        observed_rerun: old.observed_rerun,
        observed_redo: old.observed_redo,
        reason: Some(end.report.reason.as_str().into()),
        message: Some(end.report.message.clone()),
    }
}

/// Deletes the pods of a plan that finished long enough ago.
///
/// # Errors
/// When the API server fails.
pub async fn clean_up(ctx: &Context, observed: &Observed) -> Result<(), Error> {
    if !observed.cleanup_is_due() {
        return Ok(());
    }
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), &observed.namespace);
    let ours = ListParams::default().labels(&format!("{}={}", names::LABEL_PLAN_UID, observed.uid));
    ctx.metrics.wrote("deletecollection", "Pod");
    pods.delete_collection(&DeleteParams::default(), &ours)
        .await
        .map(drop)
        .map_err(Error::kube("delete the pods of a finished plan"))
}
