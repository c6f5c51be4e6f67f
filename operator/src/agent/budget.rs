//! The monthly budget of an Agent: its use in the status, and the condition and the Events when it is nearly or completely spent.

use enact_crds::common::MonthlyUsage;
use enact_crds::{Agent, AgentStatus, convert};
use enact_domain::condition::Condition;
use enact_domain::usage::{Scope, month};
use kube::ResourceExt as _;
use kube::runtime::events::EventType;

use super::context::Context;
use crate::budget_thresholds::Threshold;
use crate::error::Error;

/// Writes the limit that the model gateway enforces.
///
/// # Errors
/// When the record store fails.
pub async fn write_limit(ctx: &Context, object: &Agent, tenant: &str) -> Result<(), Error> {
    let limit = object.spec.monthly_budget.as_ref().map(convert::limit).unwrap_or_default();
    ctx.monthly_budgets.write(&*ctx.record_store, tenant, limit, ctx.now(), |month| scope(object, month)).await
}

/// Returns the scope of the usage of an Agent in a month.
fn scope(object: &Agent, month: String) -> Scope {
    Scope::Agent { namespace: object.namespace().unwrap_or_default(), name: object.name_any(), month }
}

/// Returns the use of models in this month; none without a budget. It is read when it `is_due` and when the budget has changed, and else it is
/// that of the status, as while the record store is unavailable.
pub async fn usage(ctx: &Context, object: &Agent, tenant: &str, is_due: bool) -> Option<MonthlyUsage> {
    let budget = object.spec.monthly_budget.as_ref()?;
    let old = object.status.as_ref().and_then(|status| status.usage.as_ref());
    if let Some(old) = old.filter(|old| !is_due && old.budget == *budget) {
        return Some(old.clone());
    }
    let month = month(ctx.now());
    match ctx.record_store.balances(tenant, &[scope(object, month.clone())]).await {
        Ok(balances) => {
            let balance = balances.into_iter().next().map(|(_, balance)| balance);
            Some(convert::monthly_usage(month, budget, &balance.unwrap_or_default()))
        }
        Err(error) => {
            // It only informs people.
            tracing::warn!(%error, agent = object.name_any(), "the usage of an Agent cannot be read");
            old.cloned()
        }
    }
}

/// Returns the condition that the monthly budget is nearly or completely spent; none if it is not.
pub fn condition(object: &Agent, status: &AgentStatus) -> Option<Condition> {
    let usage = status.usage.as_ref()?;
    let remedy = "raise spec.monthlyBudget, or wait for the next month";
    Some(Threshold::of_month(usage)?.condition(&whose(object, usage), &usage.budget, remedy))
}

/// Publishes an Event when the usage in the status has passed a threshold of the monthly budget.
pub async fn warn(ctx: &Context, object: &Agent, status: &AgentStatus) {
    let Some(usage) = &status.usage else { return };
    let old = object.status.as_ref().and_then(|status| status.usage.as_ref());
    if let Some(threshold) = Threshold::passed_since(old, usage) {
        let note = threshold.note(&whose(object, usage), usage.tokens, &usage.usd, &usage.budget);
        ctx.event(object, EventType::Warning, threshold.reason(), note).await;
    }
}

fn whose(object: &Agent, usage: &MonthlyUsage) -> String {
    format!("Agent {} for {}", object.name_any(), usage.month)
}

#[cfg(test)]
mod tests {
    use enact_domain::usage::{Balance, Charge};
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::Bench;

    fn spend(bench: &Bench, cost_micro_usd: u64) {
        let scope = Scope::Agent { namespace: "ns".into(), name: "coder".into(), month: "2026-01".into() };
        let spent = Charge { cost_micro_usd: Some(cost_micro_usd), ..Charge::default() };
        bench.record_store.balances.lock().unwrap().insert(scope, Balance { spent, ..Balance::default() });
    }

    async fn status(bench: &mut Bench) -> Value {
        bench.reconcile_agent("coder").await.unwrap();
        bench.api.get("agents/coder")["status"].clone()
    }

    #[tokio::test]
    async fn shows_the_monthly_budget_and_warns_once() {
        let mut bench = Bench::new().await;
        let spec = json!({"adapter": "Command", "monthlyBudget": {"usd": "5.00"}});
        let metadata = json!({"name": "coder", "namespace": "ns", "generation": 1});
        bench.api.put(
            "agents/coder",
            json!({"apiVersion": "enact.dev/v1alpha1", "kind": "Agent", "metadata": metadata, "spec": spec}),
        );
        spend(&bench, 1_500_000);
        let shown = status(&mut bench).await;
        let usage = json!({
            "month": "2026-01", "tokens": 0, "usd": "1.50", "budget": {"usd": "5.00"}, "remaining": {"usd": "3.50"},
        });
        assert_eq!(shown["usage"], usage);
        assert!(!shown["conditions"].to_string().contains("BudgetLow"), "{shown}");

        spend(&bench, 4_500_000);
        bench.pass(601);
        let shown = status(&mut bench).await;
        let low = shown["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "BudgetLow");
        assert_eq!(
            low.map(|condition| condition["message"].clone()),
            Some(json!(
                "at least 80 % of the budget of Agent coder for 2026-01, 5.00 USD, is spent; raise spec.monthlyBudget, or wait for the next \
                 month"
            ))
        );
        status(&mut bench).await;
        let warnings = bench.api.events();
        assert_eq!(warnings.iter().filter(|event| *event == "BudgetLow").count(), 1, "{warnings:?}");

        bench.api.change("agents/coder", &json!({"spec": {"monthlyBudget": {"usd": "50.00"}}}));
        let shown = status(&mut bench).await;
        assert_eq!(shown["usage"]["remaining"], json!({"usd": "45.50"}), "a change of the budget shows at once");
        assert!(!shown["conditions"].to_string().contains("BudgetLow"), "{shown}");
    }
}
