//! Status: writes a Tenant's status.

use enact_crds::common::MonthlyUsage;
use enact_crds::{Tenant, TenantStatus, convert};
use enact_domain::condition::{Condition, Progress, READY, Readiness};
use enact_domain::time::Millis;
use enact_domain::usage::month;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::events::EventType;

use super::context::Context;
use super::decide::Decision;
use super::observe::Observed;
use crate::budget_thresholds::Threshold;
use crate::error::Error;
use crate::patch;

/// Shortest time between two writes that change only counts, in seconds.
const COALESCE_SECONDS: u32 = 5;

/// Returns the reason of a Tenant's `Ready`.
pub fn reason_of(object: &Tenant) -> Option<&str> {
    let conditions = &object.status.as_ref()?.conditions;
    conditions.iter().find(|c| c.type_ == READY).map(|c| c.reason.as_str())
}

/// Returns the status after a decision that was carried out or failed.
fn status(object: &Tenant, seen: &Observed, decision: &Decision, failure: Option<&Error>, now: Millis) -> TenantStatus {
    let old = object.status.clone().unwrap_or_default();
    let (wanted, namespaces) = match failure {
        None => (decision.readiness.conditions(), decision.namespaces),
        Some(Error::Store(_)) => {
            // The message contains no error text: it is the same at each retry, so that the status is written once.
            let message = "the record store in Postgres is unavailable, so no decision is made; what is set up stays, and the controller retries";
            (Readiness::reconciling("RecordUnavailable", message).conditions(), old.namespaces)
        }
        Some(error) => (Readiness::reconciling("SettingUp", error.to_string()).conditions(), old.namespaces),
    };
    let usage = usage(object, &old, seen);
    let wanted = wanted.into_iter().chain(usage.as_ref().and_then(|usage| budget_condition(object, usage))).collect();
    TenantStatus {
        observed_generation: object.metadata.generation,
        conditions: patch::conditions(object, &old.conditions, wanted, now),
        namespaces,
        active_plans: seen.active_plans,
        running_attempts: seen.running_attempts,
        usage,
    }
}

/// Returns the use of models in this month; the last known one while the record store is unavailable.
fn usage(object: &Tenant, old: &TenantStatus, seen: &Observed) -> Option<MonthlyUsage> {
    let budget = object.spec.monthly_budget.as_ref()?;
    let Some(balance) = &seen.usage else { return old.usage.clone() };
    Some(convert::monthly_usage(month(seen.now), budget, balance))
}

/// Returns the condition that the monthly budget is nearly or completely spent; none if it is not.
fn budget_condition(object: &Tenant, usage: &MonthlyUsage) -> Option<Condition> {
    let whose = format!("Tenant {} for {}", object.name_any(), usage.month);
    let remedy = "raise spec.monthlyBudget, or wait for the next month";
    Some(Threshold::of_month(usage)?.condition(&whose, &usage.budget, remedy))
}

/// Publishes an Event when the usage in the status has passed a threshold of the monthly budget.
async fn warn_of_budget(object: &Tenant, ctx: &Context, new: &TenantStatus) {
    let Some(usage) = &new.usage else { return };
    let old = object.status.as_ref().and_then(|status| status.usage.as_ref());
    if let Some(threshold) = Threshold::passed_since(old, usage) {
        let whose = format!("Tenant {} for {}", object.name_any(), usage.month);
        let note = threshold.note(&whose, usage.tokens, &usage.usd, &usage.budget);
        ctx.event(object, EventType::Warning, threshold.reason(), note).await;
    }
}

/// Writes the fields that changed, and publishes an Event after a transition. A change of counts alone is written after a minimum interval.
///
/// # Errors
/// When the API server fails.
pub async fn write(
    object: &Tenant,
    ctx: &Context,
    seen: &Observed,
    decision: &Decision,
    failure: Option<&Error>,
) -> Result<(), Error> {
    let now = ctx.now();
    let new = status(object, seen, decision, failure, now);
    let uid = object.uid().unwrap_or_default();
    // Counts change with each attempt. Everything else is written at once.
    let counts_only = object.status.as_ref().is_some_and(|old| {
        let counted = TenantStatus {
            active_plans: new.active_plans,
            running_attempts: new.running_attempts,
            usage: new.usage.clone(),
            ..old.clone()
        };
        counted == new
    });
    if counts_only && ctx.cluster.written(&uid).is_some_and(|at| now < at.plus_seconds(COALESCE_SECONDS)) {
        return Ok(());
    }
    let api = Api::<Tenant>::all(ctx.client.clone());
    if patch::status(ctx, &api, object, object.status.as_ref(), &new).await?.is_some() {
        ctx.cluster.set_written(&uid, Some(now));
        warn_of_budget(object, ctx, &new).await;
        let Some(ready) = new.conditions.first().filter(|ready| reason_of(object) != Some(&ready.reason)) else {
            return Ok(());
        };
        let good = failure.is_none() && decision.readiness.progress != Progress::Stalled;
        let type_ = if good { EventType::Normal } else { EventType::Warning };
        ctx.event(object, type_, &ready.reason, ready.message.clone()).await;
    }
    Ok(())
}
