//! Limits: the limits that the model gateway enforces for a plan, its tasks and its attempts.

use enact_domain::usage::{Limit, Scope};

use super::context::Context;
use super::decide::Decided;
use super::known_budgets::KnownBudgets;
use crate::error::Error;

/// Writes the limits that changed since they were last written, before the attempts that they limit start. Returns the budgets with the
/// limits as written.
///
/// # Errors
/// When the record cannot be written.
pub async fn write(ctx: &Context, decided: &Decided<'_>) -> Result<KnownBudgets, Error> {
    let known = &decided.budgets.known;
    let wanted = wanted(decided);
    let is_new = |(scope, limit): &&(Scope, Limit)| known.written.get(scope) != Some(limit);
    let changed: Vec<(Scope, Limit)> = wanted.iter().filter(is_new).cloned().collect();
    if !changed.is_empty() {
        ctx.record_store.set_budgets(&decided.valid.member.tenant, &changed).await?;
    }
    Ok(known.clone().with_written(wanted))
}

/// Returns the limits of the plan, and of the tasks and attempts that run or start. A limit that was removed is still written once.
fn wanted(decided: &Decided) -> Vec<(Scope, Limit)> {
    let (budgets, observed) = (decided.budgets, decided.observed);
    let written = |scope: &Scope| budgets.known.written.contains_key(scope);
    let mut wanted = Vec::new();
    let plan = Scope::Plan { uid: observed.uid.clone() };
    // After a restart of the operator, the status shows whether there was a limit before.
    let had_limit = observed.plan.status.as_ref().and_then(|s| s.usage.as_ref()).is_some_and(|u| u.budget.is_some());
    if !budgets.plan.is_unlimited() || written(&plan) || (had_limit && !budgets.metered.is_empty()) {
        wanted.push((plan, budgets.plan));
    }
    for (id, number) in decided.running_attempts() {
        let Some(uid) = budgets.metered.get(&id) else { continue };
        let task = Scope::Task { uid: uid.clone() };
        // An earlier attempt, perhaps started by another process, may have had a limit.
        if !budgets.task.is_unlimited() || number > 1 || written(&task) {
            wanted.push((task, budgets.task));
        }
        let attempt = Scope::Attempt { uid: uid.clone(), number };
        if !budgets.attempt.is_unlimited() || written(&attempt) {
            wanted.push((attempt, budgets.attempt));
        }
    }
    wanted
}
