//! Status: builds the status of a plan from what was applied, and writes it when it has changed.

use enact_crds::plan::{Discarded, JudgementState, Phase, PlanAgent, PlanStatus, PlanUsage, ProposalState, TaskCounts};
use enact_crds::{Plan, convert};
use enact_domain::analysis::Category;
use enact_domain::condition::{Condition, Progress, Readiness, waits_for_people};
use enact_domain::digest::Digest;
use enact_domain::names;
use enact_domain::time::Millis;
use enact_domain::waiting::last_activity;
use enact_store::{ErrorClass, StoreError};
use kube::runtime::events::EventType;
use kube::{Api, ResourceExt as _};

use super::apply::Applied;
use super::context::Context;
use super::decide::{Decided, Outcome};
use super::estimate;
use super::evaluate::{Evaluation, coverage};
use super::observed::{Choice, Content, Loaded, Observed};
use super::runtime::LastWrite;
use super::validate::Blocked;
use super::waits;
use crate::budget_thresholds::Threshold;
use crate::documents::findings;
use crate::error::Error;
use crate::metadata_cache::version;
use crate::patch;
use crate::references::Target;

/// Shortest time between two writes that only differ in their counts, in seconds.
const COALESCE_SECONDS: u32 = 1;
/// Shortest time between two changes of the usage, in seconds.
const USAGE_SECONDS: u32 = 10;

/// The result of writing a status.
pub struct Written {
    pub last_write: LastWrite,
    /// Time at which a postponed status is written.
    pub requeue_at: Option<Millis>,
}

/// Writes the status of a plan after a decision.
///
/// # Errors
/// When the API server fails.
pub async fn write(
    ctx: &Context,
    decided: &Decided<'_>,
    applied: &Applied,
    last: &LastWrite,
) -> Result<Written, Error> {
    let observed = decided.observed;
    let old = observed.status();
    let outcome = decided.outcome(applied.failure.as_ref());
    let mut new = applied_status(decided, applied, &outcome, &old);
    set_usage(ctx, &mut new, decided, &old, last).await;
    set_error(&mut new);
    set_conditions(&mut new, observed, &outcome.readiness);
    let active = !decided.decision.actions.is_empty() || old.usage != new.usage || old.phase != new.phase;
    // Only with another change: it alone is not worth a write.
    if active && old != new {
        let known = old.last_activity_at.as_ref().map(convert::millis);
        new.last_activity_at = last_activity([known, Some(observed.now)]).map(convert::time);
    }
    // A change of counts or messages alone may wait. The fields below affect other objects or the next decision: they are written at once.
    let urgent = old.phase != new.phase
        || applied.integration.is_some()
        || old.observed_generation != new.observed_generation
        || old.specification_digest != new.specification_digest
        || (&old.digest, &old.approved_digest) != (&new.digest, &new.approved_digest)
        || old.stale.is_some() != new.stale.is_some()
        || old.usage != new.usage
        || old.conditions.iter().map(|c| &c.reason).ne(new.conditions.iter().map(|c| &c.reason));
    if let (false, Some(at)) = (urgent, last.at) {
        let due = at.plus_seconds(COALESCE_SECONDS);
        if observed.now < due {
            // Nothing is lost: the next reconcile computes the same counts from the tasks.
            return Ok(Written { last_write: last.clone(), requeue_at: (old != new).then_some(due) });
        }
    }
    if new.phase.is_finished() && !old.phase.is_finished() {
        // Its tasks are samples for the next estimates. Before the status, which can cause the next plan, and after the record.
        ctx.history.forget(&decided.valid.member.tenant);
    }
    // No other controller writes this status, and `observed` contains the last write even if the cache is older.
    let patched = patch_status(ctx, observed, &new).await?;
    if patched.reason_changed || old.phase != new.phase {
        publish_event(ctx, observed, &new).await;
    }
    warn_of_budget(ctx, observed, &old, &new).await;
    let at = if old == new { last.at } else { Some(observed.now) };
    let usage_at = if old.usage == new.usage { last.usage_at } else { Some(observed.now) };
    let last_write = LastWrite { at, usage_at, result: patched.result.or(last.result.clone()) };
    Ok(Written { last_write, requeue_at: None })
}

/// Writes the reason why a plan cannot run.
///
/// # Errors
/// When the API server fails.
pub async fn write_blocked(
    ctx: &Context,
    observed: &Observed,
    loaded: &Loaded,
    blocked: &Blocked,
    last: &LastWrite,
) -> Result<LastWrite, Error> {
    let mut new = observed.status();
    new.observed_generation = observed.plan.metadata.generation;
    set_source(&mut new, loaded);
    if let Some(content) = &blocked.content {
        set_content(&mut new, observed, content);
    }
    if observed.started().is_none() {
        set_evaluation(&mut new, blocked.evaluation.as_deref());
        if let Some(content) = &blocked.content {
            set_estimate(&mut new, observed, loaded, content);
            let total = u32::try_from(content.compiled.tasks.len()).unwrap_or(u32::MAX);
            new.tasks = TaskCounts { total, pending: total, ..TaskCounts::default() };
            new.critical_path = critical_path(content);
        }
    }
    if !blocked.findings.is_empty() {
        new.top_findings.clone_from(&blocked.findings);
    }
    let usage_at = set_planning_usage(&mut new, observed, loaded, last);
    let patched = write_readiness(ctx, observed, new, &blocked.readiness).await?;
    let Readiness { progress, reason, .. } = &blocked.readiness;
    if patched.reason_changed && *progress == Progress::Stalled && !waits_for_people(reason) {
        publish_warning(ctx, observed, &blocked.readiness).await;
    }
    Ok(LastWrite { usage_at, result: patched.result.or(last.result.clone()), ..last.clone() })
}

/// Writes to the status that no decision is made while the record cannot be written.
///
/// # Errors
/// When the API server fails.
pub async fn write_record_failure(
    ctx: &Context,
    observed: &Observed,
    error: &StoreError,
    last: &LastWrite,
) -> Result<LastWrite, Error> {
    let readiness = match error.class() {
        // The message contains nothing of the error, so that it is the same at each retry and is written once.
        ErrorClass::Transient | ErrorClass::Conflict => Readiness::reconciling(
            "RecordUnavailable",
            "the record in Postgres is unavailable: running pods continue, and no new decision is made; the plan continues when \
             Postgres is available again",
        ),
        ErrorClass::Permanent => Readiness::stalled("RecordRefused", error.to_string()),
    };
    let mut new = observed.status();
    new.observed_generation = observed.plan.metadata.generation;
    let patched = write_readiness(ctx, observed, new, &readiness).await?;
    if patched.reason_changed {
        publish_warning(ctx, observed, &readiness).await;
    }
    Ok(LastWrite { result: patched.result.or(last.result.clone()), ..last.clone() })
}

/// Returns the status of a plan after a decision was applied.
fn applied_status(decided: &Decided, applied: &Applied, outcome: &Outcome, old: &PlanStatus) -> PlanStatus {
    let (observed, valid) = (decided.observed, decided.valid);
    let now = observed.now;
    let mut new = old.clone();
    new.observed_generation = observed.plan.metadata.generation;
    set_source(&mut new, decided.loaded);
    new.phase = outcome.phase;
    // Part of the key of the recorded transition: it changes with the phase, in the same write.
    new.turns = old.turns + u32::from(old.phase != new.phase);
    let digest = Some(valid.content.digest.to_string());
    set_content(&mut new, observed, valid.unapproved.as_ref().unwrap_or(&valid.content));
    // A plan that is cancelled before its start is neither approved nor started.
    if observed.started().is_some() || !observed.plan.spec.cancel {
        new.approved_digest = digest;
        // A redo restarts a finished plan: the deadline counts from the new start time, as in `validate`.
        let restarts = old.phase.is_finished() && !new.phase.is_finished() && valid.choice == Choice::Redo;
        new.started_at = new.started_at.filter(|_| !restarts).or_else(|| Some(convert::time(now)));
    }
    set_specification(&mut new, decided);
    new.tasks = decided.task_counts().into();
    new.paused_after = decided.paused_after().filter(|_| !new.phase.is_finished());
    new.critical_path = critical_path(&valid.content);
    new.finished_at = match (new.phase.is_finished(), old.finished_at.clone()) {
        (false, _) => None,
        (true, Some(at)) => Some(at),
        (true, None) => Some(convert::time(now)),
    };
    if applied.integration.is_some() {
        new.integration.clone_from(&applied.integration);
    }
    if observed.started().is_none() {
        set_evaluation(&mut new, valid.evaluation.as_deref());
        set_estimate(&mut new, observed, decided.loaded, &valid.content);
    }
    let wait = decided.waits().map(|waits| waits.first).or_else(|| decided.waits_for_slot());
    new.waiting = waits::of_plan(observed, &outcome.readiness, wait.as_ref()).filter(|_| !new.phase.is_finished());
    new
}

/// Sets the conditions: readiness, and a budget that is nearly or completely spent, as the usage of the status shows it.
fn set_conditions(new: &mut PlanStatus, observed: &Observed, readiness: &Readiness) {
    let budget = new.usage.as_ref().filter(|_| !new.phase.is_finished()).and_then(budget_condition);
    let wanted = readiness.conditions().into_iter().chain(budget).collect();
    new.conditions = patch::conditions(observed.plan.as_ref(), &new.conditions, wanted, observed.now);
}

/// Returns the condition that the budget of the plan is nearly or completely spent; none if it is not.
fn budget_condition(usage: &PlanUsage) -> Option<Condition> {
    let threshold = threshold(usage)?;
    let remedy = format!("it is set by {}; raise it before the tasks wait for it", usage.budget_set_by.join(" and "));
    Some(threshold.condition("the plan", usage.budget.as_ref()?, &remedy))
}

/// Returns the highest threshold of the budget that the usage has passed.
fn threshold(usage: &PlanUsage) -> Option<Threshold> {
    Threshold::of(usage.tokens, &usage.usd, usage.budget.as_ref()?)
}

/// Sets where the tasks.md comes from.
fn set_source(new: &mut PlanStatus, loaded: &Loaded) {
    new.source.clone_from(&loaded.source);
    new.proposals.clone_from(&loaded.proposals);
    new.judgements.clone_from(&loaded.judgements);
    new.conflicts = loaded.conflicts;
    new.generated.clone_from(&loaded.generated);
}

/// Sets the digest of the content that people decide on, and its Agents.
fn set_content(new: &mut PlanStatus, observed: &Observed, content: &Content) {
    new.digest = Some(content.digest.to_string());
    let agent = |(name, digest): (&String, &Digest)| {
        // Only of an Agent that still has this content.
        let present = observed.agents.get(name).filter(|_| observed.agent_digests.get(name) == Some(digest));
        let namespace = present.and_then(|agent| agent.namespace()).filter(|other| *other != observed.namespace);
        let author = present.and_then(|agent| agent.annotations().get(names::ANNOTATION_AUTHOR).cloned());
        let provider_authors = present.and_then(|_| observed.provider_authors.get(name)).cloned().unwrap_or_default();
        PlanAgent { name: name.clone(), digest: digest.to_string(), namespace, author, provider_authors }
    };
    new.agents = content.agents.iter().map(agent).collect();
    // A started plan keeps what its approvers saw.
    if observed.started().is_none() {
        new.replaced.clone_from(&content.replaced);
    }
}

/// Sets the usage of the plan. It changes with each request to a model, so it is written from time to time, when an attempt has failed, and
/// at the end.
async fn set_usage(ctx: &Context, new: &mut PlanStatus, decided: &Decided<'_>, old: &PlanStatus, last: &LastWrite) {
    let observed = decided.observed;
    let Some(mut usage) = decided.budgets.usage(observed) else { return };
    let same_budget = |old: &PlanUsage| old.budget == usage.budget && old.budget_set_by == usage.budget_set_by;
    let same_budget = old.usage.as_ref().is_some_and(same_budget);
    let is_due = last.usage_at.is_none_or(|at| observed.now >= at.plus_seconds(USAGE_SECONDS));
    let has_failure = decided.ends_with_failure();
    let finishes = new.phase.is_finished() && !old.phase.is_finished();
    if !is_due && !has_failure && same_budget && !new.phase.is_finished() {
        return;
    }
    usage.discarded = old.usage.as_ref().and_then(|old| old.discarded.clone());
    let same_amount = old.usage.as_ref().is_some_and(|old| (old.tokens, &old.usd) == (usage.tokens, &usage.usd));
    if decided.has_discarded() && (has_failure || finishes || !same_amount) {
        // The record has the ends of this decision: the record step was before.
        match ctx.record_store.discarded(&decided.valid.member.tenant, &observed.uid).await {
            Ok(discarded) => usage.discarded = discarded_usage(&discarded),
            // It only informs people, and is read again when more is used.
            Err(error) => tracing::warn!(plan = observed.name(), %error, "cannot read the discarded usage"),
        }
    }
    new.usage = Some(usage);
}

/// Sets what planners, judges and the synthesizer have used. As [`set_usage`], from time to time while they work: each write causes a
/// reconcile, which reads it again. Returns the time of the last change of the usage.
fn set_planning_usage(new: &mut PlanStatus, observed: &Observed, loaded: &Loaded, last: &LastWrite) -> Option<Millis> {
    let Some(usage) = loaded.planning_usage.as_ref().filter(|usage| new.usage.as_ref() != Some(*usage)) else {
        return last.usage_at;
    };
    let same_budget = new.usage.as_ref().is_some_and(|old| old.budget == usage.budget);
    let is_due = last.usage_at.is_none_or(|at| observed.now >= at.plus_seconds(USAGE_SECONDS));
    // When all have ended, nothing may reconcile the plan again before a person reads its usage.
    let works = loaded.proposals.iter().any(|proposal| proposal.state == ProposalState::Planning)
        || loaded.judgements.iter().any(|judgement| judgement.state == JudgementState::Judging);
    if same_budget && !is_due && works {
        return last.usage_at;
    }
    new.usage = Some(usage.clone());
    Some(observed.now)
}

fn discarded_usage(discarded: &enact_store::Discarded) -> Option<Discarded> {
    let (tokens, cost) = (discarded.tokens, discarded.cost_micro_usd);
    (tokens > 0 || cost > 0).then(|| Discarded { tokens, usd: convert::usd(cost) })
}

/// Sets the estimate of a plan that has not started. A started plan keeps the one that its approvers saw.
fn set_estimate(new: &mut PlanStatus, observed: &Observed, loaded: &Loaded, content: &Content) {
    if !observed.uses_models() {
        new.estimate = None;
    } else if let Some(history) = &loaded.history {
        new.estimate = estimate::estimate(observed, content, history);
    }
}

/// Sets how far the estimate of a plan that has succeeded was from its usage. A plan that failed did only a part of its work.
fn set_error(new: &mut PlanStatus) {
    let Some(estimate) = &mut new.estimate else { return };
    let usage = new.usage.as_ref().filter(|_| new.phase == Phase::Succeeded);
    estimate.error_percent = usage.and_then(|usage| convert::error_percent(estimate, usage));
}

/// Publishes an Event when the usage in the status has passed a threshold of the budget.
async fn warn_of_budget(ctx: &Context, observed: &Observed, old: &PlanStatus, new: &PlanStatus) {
    let passed = |status: &PlanStatus| status.usage.as_ref().and_then(threshold);
    let (Some(threshold), Some(usage)) = (passed(new), new.usage.as_ref()) else { return };
    if passed(old) < Some(threshold)
        && let Some(budget) = &usage.budget
    {
        let note = threshold.note("the plan", usage.tokens, &usage.usd, budget);
        ctx.event(observed.plan.as_ref(), EventType::Warning, threshold.reason(), note).await;
    }
}

/// Sets the evaluation of a plan that has not started. A started plan keeps the evaluation of its start.
fn set_evaluation(new: &mut PlanStatus, evaluation: Option<&Evaluation>) {
    let evaluation = evaluation.cloned().unwrap_or_default();
    (new.coverage, new.top_findings) = (evaluation.coverage, evaluation.findings);
    new.accepted_findings = evaluation.accepted;
}

/// Sets the revision of the specification that the plan is for, and what a newer one makes stale. During a redo, the plan is for the older
/// revision until all nodes are reopened.
fn set_specification(new: &mut PlanStatus, decided: &Decided) {
    let (observed, valid) = (decided.observed, decided.valid);
    let open = match valid.choice {
        Choice::None => true,
        Choice::Redo => decided.has_open_redo(),
        Choice::Keep => false,
    };
    new.stale = valid.staleness.as_ref().filter(|_| open).map(|s| s.status(observed, &valid.content));
    if open && observed.started().is_some() {
        return;
    }
    let moved = new.specification_digest.is_some() && new.specification_digest != valid.specification_digest;
    new.specification_digest.clone_from(&valid.specification_digest);
    if let Some(text) = decided.loaded.documents.specification.as_ref().filter(|_| moved) {
        let covered = coverage(text, &observed.plan.spec, &valid.content);
        new.coverage = Some(covered.coverage);
        new.accepted_findings = covered.accepted;
        new.top_findings.retain(|f| f.category != Category::Coverage.as_str() && f.code != findings::UNUSED_ACCEPTANCE);
        new.top_findings.extend(covered.findings);
        findings::sort(&mut new.top_findings);
        new.top_findings = findings::top(&new.top_findings);
    }
}

fn critical_path(content: &Content) -> u32 {
    u32::try_from(content.compiled.graph.critical_path().len()).unwrap_or(u32::MAX)
}

struct Patched {
    /// The `resourceVersion` and the status after it; none if nothing had changed.
    result: Option<(u64, PlanStatus)>,
    /// Whether the reason of the condition Ready has changed.
    reason_changed: bool,
}

async fn write_readiness(
    ctx: &Context,
    observed: &Observed,
    mut new: PlanStatus,
    readiness: &Readiness,
) -> Result<Patched, Error> {
    new.waiting = waits::of_plan(observed, readiness, None).filter(|_| !new.phase.is_finished());
    set_conditions(&mut new, observed, readiness);
    patch_status(ctx, observed, &new).await
}

/// Patches the changed fields of the status, and requeues the objects that depend on them.
async fn patch_status(ctx: &Context, observed: &Observed, new: &PlanStatus) -> Result<Patched, Error> {
    let plan = &observed.plan;
    let api: Api<Plan> = Api::namespaced(ctx.client.clone(), &observed.namespace);
    let Some(written) = patch::status_of_version(ctx, &api, plan.as_ref(), plan.status.as_ref(), new).await? else {
        return Ok(Patched { result: None, reason_changed: false });
    };
    let old = plan.status.as_ref();
    if old.is_none_or(|old| old.digest != new.digest) {
        // An approval is valid for one digest.
        ctx.references.approvals.requeue_referrers(&Target::of(plan.as_ref()));
    }
    if old.is_none_or(|old| old.phase.is_finished() != new.phase.is_finished()) {
        // A tenant counts its unfinished plans.
        ctx.references.tenants.requeue_referrers(&Target::namespace(&observed.namespace));
    }
    let reason = |s: &PlanStatus| s.conditions.first().map(|c| c.reason.clone());
    Ok(Patched {
        reason_changed: old.and_then(reason) != reason(new),
        result: Some((version(&written), written.status.unwrap_or_default())),
    })
}

async fn publish_warning(ctx: &Context, observed: &Observed, readiness: &Readiness) {
    let Readiness { reason, message, .. } = readiness;
    ctx.event(observed.plan.as_ref(), EventType::Warning, reason, message.clone()).await;
}

async fn publish_event(ctx: &Context, observed: &Observed, new: &PlanStatus) {
    let Some(ready) = new.conditions.first() else { return };
    let refused = ["NameTaken", "QuotaExceeded", "QuotaTooSmall", "TaskQuotaExceeded", "NotAdmitted", "BudgetExceeded"]
        .contains(&ready.reason.as_str());
    let type_ = if refused || new.phase == Phase::Failed { EventType::Warning } else { EventType::Normal };
    ctx.event(observed.plan.as_ref(), type_, &ready.reason, ready.message.clone()).await;
}
