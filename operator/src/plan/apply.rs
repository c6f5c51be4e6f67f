//! Apply: carries out a recorded decision with requests to the API server.

use std::time::Instant;

use enact_crds::Task;
use enact_crds::plan::IntegrationStatus;
use enact_domain::agents::health::End;
use enact_domain::assignment::{Reason, Report};
use enact_domain::attempt::AttemptState;
use enact_domain::digest::Digest;
use enact_domain::graph::NodeId;
use enact_domain::names;
use enact_domain::plan::{Action, CurrentAttempt, TaskPhase, Verdict};
use enact_domain::record::Subject;
use enact_domain::time::Millis;
use enact_domain::waiting::Waiting;
use enact_store::StartedPod;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::events::EventType;
use kube::{Api, ResourceExt as _};
use serde_json::Value;

use super::assign;
use super::attempt_pods;
use super::context::Context;
use super::decide::Decided;
use super::deliveries;
use super::integration;
use super::nodes::{all_series, series_of};
use super::observed::Observed;
use super::record::Recorded;
use super::refusals;
use super::runtime::{OpenAttempt, SeriesId};
use super::waits;
use super::warm;
use crate::error::Error;
use crate::index::TaskEntry;
use crate::metadata_cache;
use crate::patch::FIELD_MANAGER;
use crate::pods::{self, AttemptPod};
use crate::task::{build, contest, status};

/// Seconds after which it is shown although other attempts start and end: each takes longer then, and most end before.
const SHOW_RUNNING_AT_LATEST_SECONDS: u32 = 10;

/// The effects of a decision. Only [`apply`] makes it, and the status step demands it.
pub struct Applied {
    /// The new status of the integration, if it changed. The status step writes it with the plan's. Only then its attempt has ended.
    pub integration: Option<IntegrationStatus>,
    /// Attempts that started; none for a node whose attempt ended.
    pub attempts: Vec<(SeriesId, Option<OpenAttempt>)>,
    /// The first of the failures by their message, so that it is the same at each retry. All other actions were carried out.
    pub failure: Option<Error>,
    /// Whether one of them is a failure of the record.
    pub record_failed: bool,
    /// Whether every action was postponed: nothing has changed.
    pub is_idle: bool,
    /// Time of the next reconcile.
    pub requeue_at: Option<Millis>,
    _made_by_apply: (),
}

impl Applied {
    fn add_failure(&mut self, error: Error) {
        self.record_failed |= matches!(error, Error::Store(_));
        let first = self.failure.take().filter(|other| other.to_string() <= error.to_string());
        self.failure = first.or(Some(error));
    }

    fn requeue(&mut self, at: Millis) {
        self.requeue_at = Some(self.requeue_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// The effect of one action.
enum Effect {
    None,
    /// The attempt has the pod with this UID.
    Started(NodeId, u32, String),
    /// The pod of the attempt cannot be created.
    Refused(NodeId, u32, Report),
    /// The attempt could not get its pod now; the UID is that of the recorded one, which it may have got. Without an error, it can get one
    /// soon.
    NotStarted(NodeId, u32, Option<String>, Option<Error>),
    Ended(NodeId, u32),
    /// All attempts at the node have ended.
    Closed(NodeId),
    Integration(IntegrationStatus),
    Postponed(Millis),
}

/// Carries out every action, several at the same time. A failed action does not prevent the others.
pub async fn apply(ctx: &Context, decided: &Decided<'_>, recorded: Recorded) -> Applied {
    let limit = usize::from(ctx.config.requests_in_flight);
    let work: Vec<_> =
        decided.decision.actions.iter().map(|action| carry_out(ctx, decided, &recorded, action)).collect();
    let effects: Vec<Result<Effect, Error>> = stream::iter(work).buffer_unordered(limit).collect().await;
    let mut applied = Applied {
        integration: None,
        attempts: Vec::new(),
        failure: None,
        record_failed: false,
        is_idle: effects.iter().all(|effect| matches!(effect, Ok(Effect::Postponed(_)))),
        requeue_at: None,
        _made_by_apply: (),
    };
    for effect in effects {
        match effect {
            Ok(Effect::None) => {}
            Ok(Effect::Started(node, number, pod)) => {
                // `seen`: if the pod vanishes, the attempt is lost, and its pod is not created again.
                applied.attempts.push(open(decided, node, number, Some(pod), None));
            }
            Ok(Effect::Refused(node, number, report)) => {
                // The next reconcile ends the attempt with this report.
                applied.attempts.push(open(decided, node, number, None, Some(report)));
                applied.requeue_at = Some(decided.observed.now);
            }
            Ok(Effect::NotStarted(node, number, pod, error)) => {
                // The start is recorded: the attempt gets its pod later, or ends.
                applied.attempts.push(without_pod(decided, &recorded, node, number, pod));
                match error {
                    Some(error) => applied.add_failure(error),
                    None => applied.requeue(decided.observed.now.plus_seconds(1)),
                }
            }
            Ok(Effect::Ended(node, number)) => applied.attempts.push((series_of(decided.valid, node, number), None)),
            Ok(Effect::Closed(node)) => {
                applied.attempts.extend(all_series(decided.valid, node).map(|series| (series, None)));
            }
            Ok(Effect::Integration(status)) => applied.integration = Some(status),
            Ok(Effect::Postponed(at)) => applied.requeue(at),
            Err(error) => applied.add_failure(error),
        }
    }
    // `observed` is the state before this decision: a plan that this decision finishes is cleaned up by a later reconcile.
    if let Err(error) = clean_up(ctx, decided.observed).await {
        applied.failure = applied.failure.or(Some(error));
    }
    applied
}

async fn carry_out(
    ctx: &Context,
    decided: &Decided<'_>,
    recorded: &Recorded,
    action: &Action,
) -> Result<Effect, Error> {
    let now = decided.observed.now;
    match action {
        Action::Create(node) => create(ctx, decided, *node).await,
        Action::Start { node, attempt } => match start(ctx, decided, recorded, *node, *attempt).await {
            // The start is recorded, and the answer about its pod may be lost. After a failure of the record, that is read again.
            Err(error) if !matches!(error, Error::Store(_)) => {
                let pod = recorded.starts.get(&(*node, *attempt)).and_then(|start| start.pod_uid.clone());
                Ok(Effect::NotStarted(*node, *attempt, pod, Some(error)))
            }
            result => result,
        },
        Action::End { node, attempt, delete_pod, .. } => {
            // The pod is deleted before the status shows the end: after a crash in between, the next reconcile ends the attempt again.
            // In the other order a pod that still runs would belong to an attempt that is over.
            if *delete_pod && let Some((name, pod)) = decided.pod(*node, *attempt) {
                pods::delete(ctx, &decided.observed.namespace, name, &pod.uid).await?;
            }
            end(ctx, decided, action).await
        }
        Action::Judge { node, verdict } => judge(ctx, decided, *node, verdict).await,
        Action::Close { node, phase, reason } => {
            let attempts = decided.nodes[*node].attempts;
            let integration = |old: IntegrationStatus| IntegrationStatus {
                phase: (*phase).into(),
                reason: Some(reason.as_str().into()),
                message: Some(status::closed_message(attempts)),
                retry_at: None,
                ..old
            };
            let task = |_: &TaskEntry| match decided.kept(*node).filter(|_| *phase == TaskPhase::Succeeded) {
                Some((kept, plan)) => status::kept(kept, plan, now),
                None => status::closed(*phase, *reason, attempts, now),
            };
            change_status(ctx, decided, *node, task, integration).await
        }
        Action::Reopen(node) => {
            let redo = decided.redone_for(*node);
            let integration = |old: IntegrationStatus| IntegrationStatus {
                attempts: decided.nodes[*node].attempts,
                observed_rerun: decided.observed.annotation(names::ANNOTATION_RERUN).cloned(),
                // Marks the revision as served, so that the node is reopened once for it.
                observed_redo: redo.map(str::to_owned).or(old.observed_redo),
                ..IntegrationStatus::default()
            };
            let task = |task: &TaskEntry| contest::reopen(task, status::reopened(task.rerun.as_deref(), redo, now));
            change_status(ctx, decided, *node, task, integration).await
        }
        Action::MarkRunning { node, attempt, since, waiting } => {
            mark_running(ctx, decided, (*node, *attempt), *since, waiting.as_ref()).await
        }
    }
}

/// Returns the change of the open attempts when an attempt has a pod, or can have none for the reason in `result`.
fn open(
    decided: &Decided,
    node: NodeId,
    number: u32,
    pod_uid: Option<String>,
    result: Option<Report>,
) -> (SeriesId, Option<OpenAttempt>) {
    // Without an object, the attempt belongs to a Task that was deleted, and counts for no other.
    let subject_uid = decided.subject(node).map(|subject| subject.uid).unwrap_or_default();
    let open = OpenAttempt { subject_uid, number, pod_uid, seen: true, result, ..OpenAttempt::default() };
    (series_of(decided.valid, node, number), Some(open))
}

/// Returns the change of the open attempts when the start of an attempt is recorded and its pod could not be created.
fn without_pod(
    decided: &Decided,
    recorded: &Recorded,
    node: NodeId,
    number: u32,
    pod_uid: Option<String>,
) -> (SeriesId, Option<OpenAttempt>) {
    let subject = decided.subject(node);
    let start_key = subject.as_ref().map(|subject| start_key(decided, recorded, subject, node, number));
    let subject_uid = subject.map(|subject| subject.uid).unwrap_or_default();
    let open = OpenAttempt { subject_uid, number, pod_uid, start_key, lacks_pod: true, ..OpenAttempt::default() };
    (series_of(decided.valid, node, number), Some(open))
}

/// Returns the key with which an attempt is started. The recorded one counts: if the UID of the pod is not recorded after a crash, the next
/// process recognises the pod by it.
fn start_key(decided: &Decided, recorded: &Recorded, subject: &Subject, node: NodeId, attempt: u32) -> Digest {
    let key = recorded.starts.get(&(node, attempt)).and_then(|start| start.start_key.clone());
    key.unwrap_or_else(|| decided.start_key(subject, attempt))
}

async fn create(ctx: &Context, decided: &Decided<'_>, node: NodeId) -> Result<Effect, Error> {
    let (observed, compiled) = (decided.observed, &decided.valid.content.compiled);
    // The integration has no object of its own: its status is part of the plan's.
    let Some(i) = node.task() else { return Ok(Effect::None) };
    let name = &compiled.names[i];
    let tasks: Api<Task> = Api::namespaced(ctx.client.clone(), &observed.namespace);
    let task = build::task(&observed.plan, &decided.valid.member.tenant, name, &compiled.tasks[i]);
    ctx.metrics.wrote("create", "Task");
    let created = match tasks.create(&PostParams::default(), &task).await {
        Ok(created) => created,
        Err(kube::Error::Api(e)) if e.code == 409 => {
            // An earlier reconcile created it and did not see the answer; or it belongs to another plan.
            let existing = tasks.get(name).await.map_err(Error::kube(format!("read Task {name}")))?;
            if !existing.owner_references().iter().any(|o| o.uid == observed.uid) {
                return Err(Error::Taken { kind: "Task", name: name.clone() });
            }
            existing
        }
        Err(e) => return Err(Error::kube(format!("create Task {name}"))(e)),
    };
    // The watch may deliver the new Task late. Without this entry the next reconcile would create it again.
    ctx.index.put_task(&created);
    ctx.index.requeue(observed.reference());
    Ok(Effect::None)
}

async fn start(
    ctx: &Context,
    decided: &Decided<'_>,
    recorded: &Recorded,
    node: NodeId,
    attempt: u32,
) -> Result<Effect, Error> {
    let name = decided.pod_name(node, attempt);
    match recorded.starts.get(&(node, attempt)).filter(|start| start.pod != name) {
        Some(waiting) => assign_pod(ctx, decided, recorded, (node, attempt), waiting, &name).await,
        None => create_pod(ctx, decided, recorded, node, attempt, &name).await,
    }
}

/// Assigns the waiting pod that the record names; if it can no longer be assigned, creates the attempt's own pod.
async fn assign_pod(
    ctx: &Context,
    decided: &Decided<'_>,
    recorded: &Recorded,
    (node, attempt): (NodeId, u32),
    waiting: &StartedPod,
    own: &str,
) -> Result<Effect, Error> {
    match warm::assign(ctx, decided, node, attempt, waiting).await? {
        warm::Assignment::Done => {
            note_start(ctx, decided, node, attempt);
            Ok(Effect::Started(node, attempt, waiting.pod_uid.clone().unwrap_or_default()))
        }
        warm::Assignment::Lost => create_pod(ctx, decided, recorded, node, attempt, own).await,
        warm::Assignment::Refused(report) => Ok(Effect::Refused(node, attempt, report)),
    }
}

async fn create_pod(
    ctx: &Context,
    decided: &Decided<'_>,
    recorded: &Recorded,
    node: NodeId,
    attempt: u32,
    name: &str,
) -> Result<Effect, Error> {
    let mut pod = match assign::pod(ctx, decided, node, attempt, name.to_owned()) {
        Ok(pod) => pod,
        Err(report) => return Ok(Effect::Refused(node, attempt, report)),
    };
    let Some(subject) = decided.subject(node) else { return Ok(Effect::None) };
    let key = start_key(decided, recorded, &subject, node, attempt);
    pod.annotations_mut().insert(names::ANNOTATION_START_KEY.to_owned(), key.to_string());
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), &decided.observed.namespace);
    let not_started = |error| Effect::NotStarted(node, attempt, None, Some(error));
    ctx.metrics.wrote("create", "Pod");
    match pods.create(&PostParams::default(), &pod).await {
        Ok(created) => {
            let started = accept(ctx, decided, node, attempt, subject, &created).await?;
            note_start(ctx, decided, node, attempt);
            Ok(started)
        }
        // An earlier reconcile created it and crashed or timed out before it saw the response; or somebody else uses the name.
        Err(kube::Error::Api(e)) if e.code == 409 && e.reason == "AlreadyExists" => {
            let existing = pods.get(name).await.map_err(Error::kube(format!("read Pod {name}")))?;
            if !is_ours(ctx, decided, &subject, attempt, (&pod, &existing)).await? {
                return Ok(not_started(Error::Taken { kind: "Pod", name: name.to_owned() }));
            }
            accept(ctx, decided, node, attempt, subject, &existing).await
        }
        Err(kube::Error::Api(e)) if let Some(report) = refusals::report(e.code, &e.message) => {
            Ok(Effect::Refused(node, attempt, report))
        }
        // The quota counts a pod until its end, which follows the delivery of its result soon.
        Err(kube::Error::Api(e)) if refusals::is_quota(&e) && deliveries::has_leaving_pods(decided) => {
            Ok(Effect::NotStarted(node, attempt, None, None))
        }
        Err(e) => Ok(not_started(Error::kube(format!("create Pod {name}"))(e))),
    }
}

/// Returns whether this operator, or one that led before, created the existing pod for the attempt whose pod would be `wanted`. Owner, labels
/// and name prove nothing: whoever may create pods in the namespace can copy them.
async fn is_ours(
    ctx: &Context,
    decided: &Decided<'_>,
    subject: &Subject,
    attempt: u32,
    (wanted, existing): (&Pod, &Pod),
) -> Result<bool, Error> {
    let owner = |pod: &Pod| pod.owner_references().first().map(|o| o.uid.clone());
    let key = |pod: &Pod| pod.annotations().get(names::ANNOTATION_START_KEY).cloned();
    if owner(existing) != owner(wanted) {
        return Ok(false);
    }
    let tenant = &decided.valid.member.tenant;
    let starts = ctx.record_store.started_pods(tenant, std::slice::from_ref(&subject.uid)).await?;
    let Some(start) = starts.into_iter().find(|start| start.number == attempt) else { return Ok(false) };
    // Everybody can read the key of a pod that exists, and give it to another one after its deletion. The recorded UID may be that of a pod of
    // a warm pool, which has another name.
    if let Some(recorded) = start.pod_uid.filter(|_| start.pod == existing.name_any()) {
        return Ok(existing.uid() == Some(recorded));
    }
    let recorded = start.start_key.map(|key| key.to_string());
    Ok(key(existing).is_some_and(|found| Some(&found) == recorded.as_ref() || Some(found) == key(wanted)))
}

/// Puts the pod of an attempt into the index and into the record: from now on, it is the pod that counts.
async fn accept(
    ctx: &Context,
    decided: &Decided<'_>,
    node: NodeId,
    attempt: u32,
    subject: Subject,
    pod: &Pod,
) -> Result<Effect, Error> {
    let (name, uid, tenant) = (pod.name_any(), pod.uid().unwrap_or_default(), &decided.valid.member.tenant);
    // The next reconcile must see the pod even if the watch delivers it late: otherwise the attempt would seem to be lost.
    let entry = AttemptPod::of(pod)?;
    ctx.index.put_pod(&entry);
    // Of a pod that ended before, no event frees the slot.
    if !entry.has_ended() {
        ctx.limiter.keep(tenant, &decided.observed.namespace, &name);
    }
    attempt_pods::record_pod(ctx, decided.observed, tenant, subject, attempt, (&name, &uid)).await?;
    Ok(Effect::Started(node, attempt, uid))
}

/// Notes that an attempt has a pod.
fn note_start(ctx: &Context, decided: &Decided, node: NodeId, attempt: u32) {
    if node.task().is_some() {
        let agent = (decided.observed.namespace.clone(), decided.agent(node, attempt).to_owned());
        ctx.agent_health.start(agent, decided.observed.now);
    }
    if let Some(end) = released_at(decided, node) {
        ctx.metrics.step_latency.observe(end.elapsed().as_secs_f64());
    }
}

/// Returns when the end of the last dependency of a node was seen, if this decision deals with it.
fn released_at(decided: &Decided, node: NodeId) -> Option<Instant> {
    let dependencies = decided.valid.graph.dependencies(node);
    let ends = decided.decision.actions.iter().filter_map(|action| match action {
        Action::End { node, attempt, failure: None, .. } if dependencies.contains(&node.task()?) => {
            let (_, pod) = decided.pod(*node, *attempt)?;
            // Of a pod that still runs, the time at which the server announced its result.
            let announced = || {
                let subject = decided.subject(*node)?;
                decided.observed.children.deliveries.get(&(subject.uid, *attempt)).copied()
            };
            pod.ended.or_else(announced)
        }
        _ => None,
    });
    ends.max()
}

async fn end(ctx: &Context, decided: &Decided<'_>, action: &Action) -> Result<Effect, Error> {
    let Action::End { node, attempt, failure, report, next, delete_pod } = action else { return Ok(Effect::None) };
    let observed = decided.observed;
    let runs = matches!(
        &decided.nodes[*node].series_of(*attempt).current,
        CurrentAttempt::Pod { state: AttemptState::Running, .. }
    );
    let task_in_git = node.task().filter(|_| observed.plan.spec.workspace.is_some());
    let end = status::End {
        attempt: *attempt,
        agent: decided.selected_agent(*node, *attempt),
        failure: *failure,
        report,
        next: *next,
        branch: task_in_git.map(|task| decided.branch(task, *attempt)),
        // A node that does not respond saves nothing.
        stopped: *delete_pod && runs && report.reason != Reason::Lost,
        gates: node.task().map_or(0, |task| decided.valid.content.compiled.tasks[task].gates.len()),
        started: decided.pod_created(*node, *attempt),
    };
    if failure.is_some() {
        let note = format!("attempt {attempt} of {}: {}", decided.describe(*node), report.message);
        ctx.event(observed.plan.as_ref(), EventType::Warning, report.reason.as_str(), note).await;
    }
    let task = |task: &TaskEntry| match contest_state(decided, *node, *attempt) {
        Some(state) => {
            let used = decided.budgets.attempt_balance(*node, *attempt);
            contest::ended(task, &state, &end, used.as_ref(), observed.now)
        }
        None => status::ended((task.failures, task.infrastructure_failures), &end, observed.now),
    };
    let effect = change_status(ctx, decided, *node, task, |old| integration::ended(observed, old, &end)).await?;
    report_health(ctx, decided, *node, *attempt, report);
    // Counted only after the status is written: a failed write is repeated by the next reconcile.
    ctx.metrics.attempts.with_label_values(&[report.reason.as_str()]).inc();
    // The other attempts of a contest continue.
    Ok(if let Effect::Closed(node) = effect { Effect::Ended(node, *attempt) } else { effect })
}

/// Returns the state of a contest after the decision, for the patch of the contestant of an attempt; none for a node without a contest.
fn contest_state<'a>(decided: &'a Decided, node: NodeId, attempt: u32) -> Option<contest::State<'a>> {
    decided.nodes[node].contest.as_ref()?;
    let (_, contestant) = series_of(decided.valid, node, attempt);
    Some(contest::State {
        contestant,
        agent: decided.agent(node, attempt),
        phase: decided.contest_phase(node),
        newest: decided.nodes[node].attempts.max(attempt),
        running: decided.running_contestants(node),
    })
}

/// Writes the verdict of a contest, and publishes it as an Event of the plan.
async fn judge(ctx: &Context, decided: &Decided<'_>, node: NodeId, verdict: &Verdict) -> Result<Effect, Error> {
    let now = decided.observed.now;
    let (reason, message) = contest::conclusion(decided.task_entry(node), verdict);
    // Only tasks have contests.
    let task = |task: &TaskEntry| contest::judged(task, verdict, now);
    let effect = change_status(ctx, decided, node, task, |old| old).await?;
    let (type_, event) = match verdict.winner {
        Some(_) => (EventType::Normal, "ContestDecided"),
        None => (EventType::Warning, reason.as_str()),
    };
    let text = format!("{}: {message}", decided.describe(node));
    ctx.event(decided.observed.plan.as_ref(), type_, event, text).await;
    Ok(effect)
}

/// Adds the end of an attempt to the health of its agent, and requeues the Agent if that makes a difference.
fn report_health(ctx: &Context, decided: &Decided, node: NodeId, attempt: u32, report: &Report) {
    let observed = decided.observed;
    let Some(agent) = node.task().and_then(|_| observed.agents.get(decided.agent(node, attempt))) else { return };
    // Of a shared Agent, this is the health in this namespace: pods of one tenant must not make it unusable for others.
    let key = (observed.namespace.clone(), agent.name_any());
    let end = End {
        reason: report.reason,
        message: report.message.clone(),
        at: observed.now,
        quota_reset: decided.nodes[node].series_of(attempt).funding.quota_reset,
    };
    let has_changed = ctx.agent_health.add(&key, agent.metadata.generation, &end);
    if has_changed && agent.namespace().as_ref() == Some(&key.0) {
        ctx.references.agents.requeue_key(&key);
    }
}

async fn mark_running(
    ctx: &Context,
    decided: &Decided<'_>,
    (node, attempt): (NodeId, u32),
    since: Millis,
    waiting: Option<&Waiting>,
) -> Result<Effect, Error> {
    let now = decided.observed.now;
    let shown_at = since.plus_seconds(waits::SHOW_SECONDS);
    if now < shown_at {
        return Ok(Effect::Postponed(shown_at));
    }
    // Actions are sorted: when another action comes first, attempts start or end in this reconcile.
    let busy = decided.decision.actions.first().is_some_and(|first| !matches!(first, Action::MarkRunning { .. }));
    // A pod that cannot start is reported at once: a person may have to do something.
    if busy && waiting.is_none() && now < since.plus_seconds(SHOW_RUNNING_AT_LATEST_SECONDS) {
        return Ok(Effect::Postponed(now.plus_seconds(1)));
    }
    let agent = decided.selected_agent(node, attempt);
    let task = |_: &TaskEntry| match contest_state(decided, node, attempt) {
        Some(state) => contest::running(&state, attempt, since, waiting, now),
        None => status::running(attempt, agent, since, waiting, now),
    };
    let effect = change_status(ctx, decided, node, task, |old| integration::running(old, attempt, waiting)).await?;
    // The attempt has not ended: it stays open.
    Ok(if matches!(effect, Effect::Closed(_)) { Effect::None } else { effect })
}

/// Changes the status of a node: of a Task by a patch; of the integration later, in the status of the plan.
async fn change_status(
    ctx: &Context,
    decided: &Decided<'_>,
    node: NodeId,
    task: impl FnOnce(&TaskEntry) -> Value,
    integration: impl FnOnce(IntegrationStatus) -> IntegrationStatus,
) -> Result<Effect, Error> {
    let observed = decided.observed;
    let NodeId::Task(i) = node else {
        let old = observed.status().integration.unwrap_or_default();
        return Ok(Effect::Integration(integration(old)));
    };
    let name = &decided.valid.content.compiled.names[i];
    let Some(entry) = decided.task_entry(node) else { return Ok(Effect::None) };
    let tasks: Api<Task> = Api::namespaced(ctx.client.clone(), &observed.namespace);
    let changes = task(entry);
    let known = decided.task_versions.of(node, entry.version);
    let mut version = known.lock().await;
    let patch = status::patch(&entry.uid, *version, entry.generation, changes);
    ctx.metrics.wrote("patch", "Task");
    match tasks.patch_status(name, &PatchParams::apply(FIELD_MANAGER), &Patch::Merge(patch)).await {
        // Later reconciles must not decide from the older status, whatever the watch has delivered by then.
        Ok(updated) => {
            ctx.index.put_task(&updated);
            *version = metadata_cache::version(&updated);
            Ok(Effect::Closed(node))
        }
        // A person deleted the Task. The watch reports the deletion, and the next reconcile creates it again.
        Err(kube::Error::Api(e)) if e.code == 404 => Ok(Effect::None),
        Err(e) => Err(Error::kube(format!("patch the status of Task {name}"))(e)),
    }
}

/// Deletes the pods of a plan that finished long enough ago, with one request.
///
/// # Errors
/// When the API server fails.
pub async fn clean_up(ctx: &Context, observed: &Observed) -> Result<(), Error> {
    if !observed.cleanup_is_due() {
        return Ok(());
    }
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), &observed.namespace);
    let own = ListParams::default().labels(&format!("{}={}", names::LABEL_PLAN_UID, observed.uid));
    ctx.metrics.wrote("deletecollection", "Pod");
    pods.delete_collection(&DeleteParams::default(), &own)
        .await
        .map(drop)
        .map_err(Error::kube("delete the pods of a finished plan"))
}
