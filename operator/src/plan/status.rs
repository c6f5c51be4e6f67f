//! What the plan's status says.

use enact_crds::common::Finding;
use enact_crds::plan::{Phase, PlanStatus, TaskCounts};
use enact_crds::{Plan, convert};
use enact_domain::condition::Progress;
use enact_domain::plan::{Action, Counts, PlanState, TaskPhase};
use enact_domain::time::Millis;
use kube::runtime::controller::Action as Next;
use kube::runtime::events::EventType;
use kube::{Api, ResourceExt as _};

use super::apply::Applied;
use super::observe::Observed;
use super::validate::Blocked;
use super::{Pass, Runtime, is_finished, started};
use crate::context::Context;
use crate::error::Error;
use crate::patch;

/// Shortest time between two writes of which only the counts differ, in seconds.
const COALESCE_SECONDS: u32 = 1;

/// Says why the plan does not go on.
pub async fn blocked(ctx: &Context, observed: &Observed, runtime: &Runtime, blocked: Blocked) -> Result<Next, Error> {
    let plan = &observed.plan;
    let old = plan.status.clone().unwrap_or_default();
    let mut new = old.clone();
    new.observed_generation = plan.metadata.generation;
    new.digest = blocked.digest.as_ref().map(|d| d.as_str().to_owned()).or(new.digest);
    new.top_findings.clone_from(&blocked.findings);
    if let (None, Some((_, content))) = (started(plan), &runtime.compiled) {
        let total = u32::try_from(content.compiled.tasks.len()).unwrap_or(u32::MAX);
        new.tasks = TaskCounts { total, pending: total, ..TaskCounts::default() };
        new.critical_path = u32::try_from(content.compiled.graph.critical_path().len()).unwrap_or(u32::MAX);
    }
    let wanted = blocked.progress.conditions(blocked.reason, &blocked.message);
    new.conditions = patch::conditions(plan.as_ref(), &old.conditions, wanted, observed.now);
    let api: Api<Plan> = Api::namespaced(ctx.client.clone(), &observed.namespace);
    let written = patch::status(ctx, &api, &plan.name_any(), plan.status.as_ref(), &new).await?;
    let news = old.conditions.first().is_none_or(|c| c.reason != blocked.reason);
    if written.is_some() && news && blocked.progress == Progress::Stalled {
        ctx.event(plan.as_ref(), EventType::Warning, blocked.reason, blocked.message).await;
    }
    // Everything that can end the wait wakes the plan, but for a ConfigMap, which is looked at from time to time.
    let polls = blocked.reason == "SourceMissing";
    Ok(if polls { Next::requeue(std::time::Duration::from_secs(15)) } else { Next::await_change() })
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
        PlanState::Cancelled => make(Phase::Cancelled, Progress::Stalled, "Cancelled", progress),
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

fn phase_so_far(pass: &Pass) -> Phase {
    if started(&pass.observed.plan).is_some() { Phase::Running } else { Phase::Pending }
}

/// Why the plan failed: the first node that did, in the order of the graph.
fn failure(pass: &Pass) -> (String, String) {
    let said = |node: usize| {
        pass.decision.actions.iter().find_map(|action| match action {
            Action::End { node: n, report, .. } if *n == node => {
                Some((report.reason.as_str().to_owned(), report.message.clone()))
            }
            _ => None,
        })
    };
    let failed = |&i: &u32| {
        let node = i as usize;
        matches!(pass.nodes[node].phase, TaskPhase::Failed | TaskPhase::Unknown) || said(node).is_some()
    };
    let Some(node) = pass.valid.graph.order().iter().copied().find(failed).map(|i| i as usize) else {
        return ("Failed".into(), "a task failed".into());
    };
    let Some(task) = pass.valid.content.compiled.tasks.get(node) else {
        let old = pass.observed.plan.status.as_ref().and_then(|s| s.integration.clone()).unwrap_or_default();
        let (reason, message) = said(node).unwrap_or((old.reason.unwrap_or_default(), old.message.unwrap_or_default()));
        return (
            reason,
            format!(
                "the integration failed: {message}; mend it, then run `kubectl enact retry plan/{}`",
                pass.observed.plan.name_any()
            ),
        );
    };
    let message = said(node).map(|(reason, message)| format!(": {reason}: {message}")).unwrap_or_default();
    (
        "TaskFailed".into(),
        format!("task {} failed{message}; see its status, mend it, then run `kubectl enact retry`", task.id),
    )
}

/// The transition of the plan's phase in this pass, if there is one: key, phase, reason, message.
pub fn transition(pass: &Pass) -> Option<(String, Phase, String, String)> {
    let now = standing(pass);
    let old = pass.observed.plan.status.as_ref().map(|s| s.phase).unwrap_or_default();
    let first = started(&pass.observed.plan).is_none();
    (old != now.phase || first).then(|| {
        let rerun = pass.decision.counts.retries + pass.nodes.iter().map(|n| n.attempts).sum::<u32>();
        let key =
            if now.phase == Phase::Running && first { "Running".into() } else { format!("{:?}/{rerun}", now.phase) };
        (key, now.phase, now.reason, now.message)
    })
}

/// Writes what changed; when to come back for what was held back.
pub async fn write(pass: &Pass<'_>, applied: &Applied, runtime: &mut Runtime) -> Result<Option<Millis>, Error> {
    let plan = &pass.observed.plan;
    let now = pass.observed.now;
    let old = plan.status.clone().unwrap_or_default();
    let new = status(pass, applied, &old);
    let urgent = old.phase != new.phase
        || applied.integration.is_some()
        || old.observed_generation != new.observed_generation
        || old.conditions.iter().map(|c| &c.reason).ne(new.conditions.iter().map(|c| &c.reason));
    if let (false, Some(written)) = (urgent, runtime.written) {
        let due = written.plus_seconds(COALESCE_SECONDS);
        if now < due {
            return Ok((old != new).then_some(due));
        }
    }
    let api: Api<Plan> = Api::namespaced(pass.ctx.client.clone(), &pass.observed.namespace);
    if patch::status(pass.ctx, &api, &plan.name_any(), plan.status.as_ref(), &new).await?.is_some() {
        runtime.written = Some(now);
        if old.phase != new.phase {
            tell(pass, &new).await;
        }
    }
    Ok(None)
}

fn status(pass: &Pass, applied: &Applied, old: &PlanStatus) -> PlanStatus {
    let plan = &pass.observed.plan;
    let now = pass.observed.now;
    let standing = standing(pass);
    let mut new = old.clone();
    new.observed_generation = plan.metadata.generation;
    new.phase = standing.phase;
    let digest = Some(pass.valid.content.digest.as_str().to_owned());
    new.digest.clone_from(&digest);
    new.approved_digest = digest;
    new.specification_digest.clone_from(&pass.valid.specification_digest);
    new.tasks = task_counts(pass).into();
    new.critical_path = u32::try_from(pass.valid.content.compiled.graph.critical_path().len()).unwrap_or(u32::MAX);
    new.started_at = new.started_at.or_else(|| Some(convert::time(now)));
    new.finished_at = match (is_finished(new.phase), old.finished_at.clone()) {
        (false, _) => None,
        (true, Some(at)) => Some(at),
        (true, None) => Some(convert::time(now)),
    };
    if applied.integration.is_some() {
        new.integration.clone_from(&applied.integration);
    }
    new.top_findings = Vec::<Finding>::new();
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
    let type_ = if new.phase == Phase::Failed { EventType::Warning } else { EventType::Normal };
    let Some(ready) = new.conditions.first() else { return };
    pass.ctx.event(pass.observed.plan.as_ref(), type_, &ready.reason, ready.message.clone()).await;
}
