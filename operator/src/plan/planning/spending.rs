//! What planners, judges and the synthesizer use of models, which counts for the budget of their plan.

use std::slice;

use enact_crds::convert;
use enact_crds::plan::PlanUsage;
use enact_domain::condition::Readiness;
use enact_domain::reason::Reason;
use enact_domain::usage::{Balance, Scope};

use crate::error::Error;
use crate::plan::budgets::{self, PlanLimit};
use crate::plan::context::Context;
use crate::plan::observed::Observed;
use crate::plan::reservations::Amount;
use crate::plan::shortage;

/// What a plan has spent before it has started.
#[derive(Debug, Default)]
pub(super) struct Spending {
    pub(super) usage: Option<PlanUsage>,
    /// The reason why no planner, judge or synthesizer that uses models may start: the budget is used up.
    pub(super) used_up: Option<Readiness>,
}

/// Reads what the plan has spent, and writes the limit of its budget when the gateway has another one. The limit is that of the spec: nobody
/// has approved the content yet, and the limits that Approvals set are written when the plan starts.
///
/// # Errors
/// When the record fails.
pub(super) async fn read(ctx: &Context, observed: &Observed, tenant: &str) -> Result<Spending, Error> {
    // Planners of a started plan, whose content the record has lost, do not change what people approved.
    if observed.started().is_some() {
        return Ok(Spending::default());
    }
    let own = observed.plan.spec.execution.budget.as_ref();
    let limit = own.map(convert::limit).unwrap_or_default();
    let scope = Scope::Plan { uid: observed.uid.clone() };
    let balances = ctx.record_store.balances(tenant, slice::from_ref(&scope)).await?;
    let known = balances.into_iter().find(|(found, _)| *found == scope);
    let known = known.map(|(_, balance)| balance).unwrap_or_default();
    // Also when a budget was removed.
    if known.limit != limit {
        ctx.record_store.set_budgets(tenant, &[(scope, limit)]).await?;
    }
    let balance = Balance { limit, ..known };
    let set_by = own.map(|_| budgets::OWN_BUDGET.to_owned()).into_iter().collect();
    let usage = budgets::usage(&balance, &PlanLimit { limit, set_by });
    let used_up = balance.is_exhausted().then(|| {
        let used = shortage::describe_use(&limit, &balance.spent, Amount::default());
        let message = format!(
            "planners, judges and synthesizer have used up the budget of the plan: {used}; raise spec.execution.budget, choose a proposal that the \
             status has with `kubectl enact choose {} --agent <planner>`, or write the tasks into spec.source",
            observed.name()
        );
        Readiness::stalled(Reason::BudgetExceeded.as_str(), message)
    });
    Ok(Spending { usage, used_up })
}
