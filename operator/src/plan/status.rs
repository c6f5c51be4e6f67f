//! What the plan's status says.

use enact_crds::plan::{Phase, PlanStatus, TaskCounts};
use enact_crds::{Plan, convert};
use enact_domain::analysis::Category;
use enact_domain::condition::Progress;
use enact_domain::plan::{Action, Counts, PlanState, TaskPhase};
use enact_domain::time::Millis;
use enact_store::{Class, StoreError};
use kube::runtime::controller::Action as Next;
use kube::runtime::events::EventType;
use kube::{Api, ResourceExt as _};

use super::apply::Applied;
use super::context::Context;
use super::documents::{self, Choice};
use super::observe::Observed;
use super::validate::Blocked;
use super::{Pass, RESYNC, RESYNC_SECONDS, Runtime, is_finished, started};
use crate::documents::findings;
use crate::error::Error;
use crate::metadata_cache::version;
use crate::patch;
use crate::references::Target;
use crate::task::status::message as task_message;

/// Shortest time between two writes of which only the counts differ, in seconds.
const COALESCE_SECONDS: u32 = 1;

/// Says why the plan does not go on.
pub async fn blocked(
    ctx: &Context,
    observed: &Observed,
    runtime: &mut Runtime,
    blocked: Blocked,
) -> Result<Next, Error> {
    let plan = &observed.plan;
    let old = plan.status.clone().unwrap_or_default();
    let mut new = old.clone();
    new.observed_generation = plan.metadata.generation;
    new.digest = blocked.digest.as_ref().map(|d| d.as_str().to_owned()).or(new.digest);
    new.source.clone_from(&observed.source);
    said(&mut new, observed, runtime);
    if !blocked.findings.is_empty() {
        new.top_findings.clone_from(&blocked.findings);
    }
    if let (None, Some(content)) = (started(plan), runtime.made.as_ref().map(|m| &m.content)) {
        let total = u32::try_from(content.compiled.tasks.len()).unwrap_or(u32::MAX);
        new.tasks = TaskCounts { total, pending: total, ..TaskCounts::default() };
        new.critical_path = u32::try_from(content.compiled.graph.critical_path().len()).unwrap_or(u32::MAX);
    }
    let wanted = blocked.progress.conditions(&blocked.reason, &blocked.message);
    new.conditions = patch::conditions(plan.as_ref(), &old.conditions, wanted, observed.now);
    let turn = put(ctx, observed, runtime, &new).await?;
    if turn && blocked.progress == Progress::Stalled {
        ctx.event(plan.as_ref(), EventType::Warning, &blocked.reason, blocked.message).await;
    }
    Ok(super::next(false, [Some(observed.now.plus_seconds(RESYNC_SECONDS)), observed.source_wake], observed.now))
}

/// What there is to say of the content of a plan that is not started yet; after that it stays as it was.
fn said(new: &mut PlanStatus, observed: &Observed, runtime: &Runtime) {
    if started(&observed.plan).is_none() {
        let judged = runtime.judged.as_deref().cloned().unwrap_or_default();
        (new.coverage, new.top_findings) = (judged.coverage, judged.findings);
    }
}

/// Says once that nothing is decided while the record cannot be written.
///
/// # Errors
/// The failure of the record, to be tried again; that of the API server.
pub async fn without_record(
    ctx: &Context,
    observed: &Observed,
    runtime: &mut Runtime,
    error: StoreError,
) -> Result<Next, Error> {
    let plan = &observed.plan;
    let (progress, reason, message) = match error.class() {
        // The text is the same at every try, so that it is written once.
        Class::Transient | Class::Conflict => {
            let message = "the record in Postgres cannot be reached at the moment: pods that run go on, and nothing new is decided; \
                           this goes on by itself";
            (Progress::Reconciling, "RecordUnavailable", message.to_owned())
        }
        Class::Permanent => (Progress::Stalled, "RecordRefused", error.to_string()),
    };
    let mut new = plan.status.clone().unwrap_or_default();
    new.observed_generation = plan.metadata.generation;
    new.conditions =
        patch::conditions(plan.as_ref(), &new.conditions, progress.conditions(reason, &message), observed.now);
    if put(ctx, observed, runtime, &new).await? {
        ctx.event(plan.as_ref(), EventType::Warning, reason, message).await;
    }
    if error.class() == Class::Permanent { Ok(Next::requeue(RESYNC)) } else { Err(error.into()) }
}

/// Writes what changed, and wakes those that depend on it; whether the plan's reason is another than before.
async fn put(ctx: &Context, observed: &Observed, runtime: &mut Runtime, new: &PlanStatus) -> Result<bool, Error> {
    let plan = &observed.plan;
    let api: Api<Plan> = Api::namespaced(ctx.client.clone(), &observed.namespace);
    let Some(written) = patch::status(ctx, &api, plan.as_ref(), plan.status.as_ref(), new).await? else {
        return Ok(false);
    };
    runtime.latest = Some((version(&written), written.status.unwrap_or_default()));
    let old = plan.status.as_ref();
    if old.is_none_or(|old| old.digest != new.digest) {
        // Whether an approval counts depends on the digest.
        ctx.references.approvals.requeue_referrers(&Target::of(plan.as_ref()));
    }
    if old.is_none_or(|old| is_finished(old.phase) != is_finished(new.phase)) {
        // Tenants count their unfinished plans.
        ctx.references.tenants.requeue_referrers(&Target::namespace(&observed.namespace));
    }
    let reason = |s: &PlanStatus| s.conditions.first().map(|c| c.reason.clone());
    Ok(old.and_then(reason) != reason(new))
}

/// How the plan stands after a pass.
struct Standing {
    phase: Phase,
    progress: Progress,
    reason: String,
    message: String,
}

fn standing(pass: &Pass) -> Standing {
    let tasks = pass.valid.content.compiled.tasks.len();
    let counts = task_counts(pass);
    let progress = format!("{} of {} tasks done, {} running", counts.succeeded, counts.total, counts.running);
    let make = |phase, progress, reason: &str, message: String| Standing {
        phase,
        progress,
        reason: reason.to_owned(),
        message,
    };
    match pass.decision.state {
        PlanState::Succeeded => {
            make(Phase::Succeeded, Progress::Ready, "Succeeded", format!("all {tasks} tasks are done"))
        }
        PlanState::Cancelled => {
            make(Phase::Cancelled, Progress::Stalled, "Cancelled", format!("cancelled: {progress}"))
        }
        PlanState::DeadlineExceeded => make(
            Phase::Failed,
            Progress::Stalled,
            "DeadlineExceeded",
            format!("the plan's time limit was reached: {progress}"),
        ),
        PlanState::Failed | PlanState::Unknown => {
            let (reason, message) = failure(pass);
            make(Phase::Failed, Progress::Stalled, &reason, message)
        }
        PlanState::Running | PlanState::Suspended if let Some(hold) = &pass.valid.hold => {
            let message = format!("{}; what runs may end: {progress}", hold.message);
            make(phase_so_far(pass), hold.progress, &hold.reason, message)
        }
        PlanState::Running if let Some(message) = undecided(pass, &progress) => {
            make(phase_so_far(pass), Progress::Reconciling, "SpecificationChanged", message)
        }
        PlanState::Suspended => make(
            phase_so_far(pass),
            Progress::Reconciling,
            "Suspended",
            format!("suspended: {progress}; resume with `kubectl enact resume`"),
        ),
        PlanState::Running if counts.succeeded == counts.total => make(
            Phase::Integrating,
            Progress::Reconciling,
            "Integrating",
            "the tasks' work is being merged, checked and published".into(),
        ),
        PlanState::Running => make(Phase::Running, Progress::Reconciling, "Running", progress),
    }
}

/// What a person has to decide before what is stale starts.
fn undecided(pass: &Pass, progress: &str) -> Option<String> {
    let outdated = pass.valid.outdated.as_ref().filter(|o| !o.tasks.is_empty())?;
    if pass.valid.choice != Choice::None {
        return None;
    }
    let ids = &pass.valid.content.compiled.tasks;
    let some: Vec<&str> = outdated.tasks.iter().take(5).map(|i| ids[*i].id.as_str()).collect();
    let more = if outdated.tasks.len() > some.len() { ", …" } else { "" };
    let name = pass.observed.plan.name_any();
    Some(format!(
        "a newer revision of the specification is approved, which makes {} tasks stale ({}{more}); they do not start before you \
         decide: `kubectl enact redo plan/{name}` does again what is done of them, `kubectl enact keep plan/{name}` goes on as it is; \
         {progress}",
        outdated.tasks.len(),
        some.join(", ")
    ))
}

/// What is shown of a newer revision, and the revision that the plan is for: the older one until all is opened that is to be redone.
fn follow(new: &mut PlanStatus, pass: &Pass) {
    let valid = pass.valid;
    let open = match valid.choice {
        Choice::None => true,
        Choice::Redo => pass.redoes(),
        Choice::Keep => false,
    };
    let shown = valid.outdated.as_ref().filter(|_| open);
    new.stale = shown.map(|o| o.shown(pass.observed, &valid.content));
    if open && started(&pass.observed.plan).is_some() {
        return;
    }
    let moved = new.specification_digest.is_some() && new.specification_digest != valid.specification_digest;
    new.specification_digest.clone_from(&valid.specification_digest);
    if let Some(text) = pass.observed.documents.specification.as_ref().filter(|_| moved) {
        let (coverage, uncovered) = documents::coverage(text, &valid.content.compiled.tasks);
        new.coverage = Some(coverage);
        new.top_findings.retain(|f| f.category != Category::Coverage.as_str());
        new.top_findings.extend(uncovered);
        findings::sort(&mut new.top_findings);
        new.top_findings = findings::top(&new.top_findings);
    }
}

fn phase_so_far(pass: &Pass) -> Phase {
    if started(&pass.observed.plan).is_some() { Phase::Running } else { Phase::Pending }
}

/// Why the plan failed: the first node that did, in the order of the graph.
fn failure(pass: &Pass) -> (String, String) {
    let failed = |i: &u32| matches!(pass.decision.phases[*i as usize], TaskPhase::Failed | TaskPhase::Unknown);
    let Some(node) = pass.valid.graph.order().iter().copied().find(failed).map(|i| i as usize) else {
        return ("Failed".into(), "a task failed".into());
    };
    // Its end is of this pass, or else its status tells of it.
    let end = pass.decision.actions.iter().find_map(|action| match action {
        Action::End { node: n, attempt, report, .. } if *n == node => Some((*attempt, report)),
        _ => None,
    });
    let plan = &pass.observed.plan;
    let Some(task) = pass.valid.content.compiled.tasks.get(node) else {
        let old = plan.status.as_ref().and_then(|s| s.integration.clone()).unwrap_or_default();
        let (reason, message) = match end {
            Some((_, report)) => (report.reason.as_str().to_owned(), report.message.clone()),
            None => (old.reason.unwrap_or_default(), old.message.unwrap_or_default()),
        };
        let name = plan.name_any();
        return (
            reason,
            format!("the integration failed: {message}; mend it, then run `kubectl enact retry plan/{name}`"),
        );
    };
    let known = || pass.observed.children.tasks.get(&pass.valid.content.compiled.names[node])?.failure.clone();
    let said = end
        .map(|(attempt, report)| {
            (report.reason.as_str().to_owned(), task_message(pass.decision.phases[node], attempt, report))
        })
        .or_else(known)
        .map(|(reason, message)| format!(": {reason}: {message}"));
    let id = &task.id;
    let message = format!("task {id} failed{}; mend it, then run `kubectl enact retry`", said.unwrap_or_default());
    ("TaskFailed".into(), message)
}

/// The transition of the plan's phase in this pass, if there is one: key, phase, reason, message. The key is made of how often the phase
/// has changed, which the status keeps: the same again after a crash, and another at every turn.
pub fn transition(pass: &Pass) -> Option<(String, Phase, String, String)> {
    let now = standing_after(pass, None);
    let old = pass.observed.plan.status.clone().unwrap_or_default();
    let turn = old.phase != now.phase || started(&pass.observed.plan).is_none();
    turn.then(|| (format!("{:?}/{}", now.phase, old.turns), now.phase, now.reason, now.message))
}

/// Writes what changed; when to come back for what was held back.
pub async fn write(pass: &Pass<'_>, applied: &Applied, runtime: &mut Runtime) -> Result<Option<Millis>, Error> {
    let plan = &pass.observed.plan;
    let now = pass.observed.now;
    let old = plan.status.clone().unwrap_or_default();
    let new = status(pass, applied, &old, runtime);
    let urgent = old.phase != new.phase
        || applied.integration.is_some()
        || old.observed_generation != new.observed_generation
        || old.specification_digest != new.specification_digest
        || old.stale.is_some() != new.stale.is_some()
        || old.conditions.iter().map(|c| &c.reason).ne(new.conditions.iter().map(|c| &c.reason));
    if let (false, Some(written)) = (urgent, runtime.written) {
        let due = written.plus_seconds(COALESCE_SECONDS);
        if now < due {
            return Ok((old != new).then_some(due));
        }
    }
    let turn = put(pass.ctx, pass.observed, runtime, &new).await?;
    if old != new {
        runtime.written = Some(now);
    }
    if turn || old.phase != new.phase {
        tell(pass, &new).await;
    }
    Ok(None)
}

/// The phase after a pass.
pub fn phase(pass: &Pass) -> Phase {
    standing(pass).phase
}

/// How the plan stands after what was decided was carried out, or not.
fn standing_after(pass: &Pass, failure: Option<&Error>) -> Standing {
    let mut standing = standing(pass);
    if is_finished(standing.phase) && (pass.unfinished || failure.is_some()) {
        // It is finished when everything is carried out that makes it so.
        let counts = task_counts(pass);
        let message = format!("{} of {} tasks done, {} running", counts.succeeded, counts.total, counts.running);
        standing =
            Standing { phase: phase_so_far(pass), progress: Progress::Reconciling, reason: "Running".into(), message };
    }
    if let Some((reason, message)) = failure.and_then(told) {
        standing = Standing { progress: Progress::Reconciling, reason: reason.into(), message, ..standing };
    }
    standing
}

/// What a person should know of a failure: that which does not pass by itself.
fn told(failure: &Error) -> Option<(&'static str, String)> {
    match failure {
        Error::Taken { .. } => Some(("NameTaken", failure.to_string())),
        Error::Kube { source, .. } => match source.as_ref() {
            kube::Error::Api(status) if status.code == 403 && status.message.contains("exceeded quota") => {
                Some(("QuotaExceeded", format!("{failure}; it is tried again until there is room")))
            }
            kube::Error::Api(status) if matches!(status.code, 400 | 403 | 413 | 422) => {
                Some(("NotAdmitted", failure.to_string()))
            }
            _ => None,
        },
        _ => None,
    }
}

fn status(pass: &Pass, applied: &Applied, old: &PlanStatus, runtime: &Runtime) -> PlanStatus {
    let plan = &pass.observed.plan;
    let now = pass.observed.now;
    let standing = standing_after(pass, applied.failure.as_ref());
    let mut new = old.clone();
    new.observed_generation = plan.metadata.generation;
    new.source.clone_from(&pass.observed.source);
    new.phase = standing.phase;
    new.turns = old.turns + u32::from(old.phase != new.phase);
    let digest = Some(pass.valid.content.digest.as_str().to_owned());
    new.digest.clone_from(&digest);
    if started(plan).is_some() || !plan.spec.cancel {
        // What was cancelled before its start was neither approved nor started.
        new.approved_digest = digest;
        let again = is_finished(old.phase) && !is_finished(new.phase) && pass.valid.choice == Choice::Redo;
        new.started_at = new.started_at.filter(|_| !again).or_else(|| Some(convert::time(now)));
    }
    follow(&mut new, pass);
    new.tasks = task_counts(pass).into();
    new.critical_path = u32::try_from(pass.valid.content.compiled.graph.critical_path().len()).unwrap_or(u32::MAX);
    new.finished_at = match (is_finished(new.phase), old.finished_at.clone()) {
        (false, _) => None,
        (true, Some(at)) => Some(at),
        (true, None) => Some(convert::time(now)),
    };
    if applied.integration.is_some() {
        new.integration.clone_from(&applied.integration);
    }
    said(&mut new, pass.observed, runtime);
    let wanted = standing.progress.conditions(&standing.reason, &standing.message);
    new.conditions = patch::conditions(plan.as_ref(), &old.conditions, wanted, now);
    new
}

/// The counts without the integration.
fn task_counts(pass: &Pass) -> Counts {
    let mut counts = pass.decision.counts;
    if let Some(integration) = pass.decision.phases.get(pass.valid.content.compiled.tasks.len()) {
        counts.total -= 1;
        *match integration {
            TaskPhase::Pending => &mut counts.pending,
            TaskPhase::Running => &mut counts.running,
            TaskPhase::Succeeded => &mut counts.succeeded,
            TaskPhase::Failed | TaskPhase::Unknown => &mut counts.failed,
            TaskPhase::Cancelled => &mut counts.cancelled,
        } -= 1;
    }
    counts
}

async fn tell(pass: &Pass<'_>, new: &PlanStatus) {
    let Some(ready) = new.conditions.first() else { return };
    let trouble = ["NameTaken", "QuotaExceeded", "NotAdmitted"].contains(&ready.reason.as_str());
    let type_ = if trouble || new.phase == Phase::Failed { EventType::Warning } else { EventType::Normal };
    pass.ctx.event(pass.observed.plan.as_ref(), type_, &ready.reason, ready.message.clone()).await;
}
