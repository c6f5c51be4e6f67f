//! Reservations: what running attempts have reserved of the budgets that several plans share.

use std::collections::HashMap;

use enact_domain::usage::{Charge, Limit, Scope};
use parking_lot::Mutex;

/// An amount of model usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub tokens: u64,
    pub cost_micro_usd: u64,
}

impl Amount {
    /// Returns what remains of an attempt's budget after `spent`. A unit without a limit reserves nothing.
    pub fn left(budget: &Limit, spent: &Charge) -> Self {
        Self {
            tokens: budget.tokens.unwrap_or(0).saturating_sub(spent.tokens.total()),
            cost_micro_usd: budget.cost_micro_usd.unwrap_or(0).saturating_sub(spent.known_cost()),
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.cost_micro_usd = self.cost_micro_usd.saturating_add(other.cost_micro_usd);
    }
}

/// The reservations of a plan, by scope.
pub type Reserved = HashMap<Scope, Amount>;

/// The reservations of all plans, by tenant and by the plan's UID. After a restart each plan adds its own in its first reconcile; until then
/// only the gateway protects the budgets.
#[derive(Debug, Default)]
pub struct Reservations {
    tenants: Mutex<HashMap<String, HashMap<String, Reserved>>>,
}

impl Reservations {
    /// Replaces the reservations of a plan by those that `decide` returns. It gets a function that sums the reservations of the tenant's
    /// other plans.
    pub fn replace<T>(
        &self,
        tenant: &str,
        plan: &str,
        decide: impl FnOnce(&dyn Fn(&Scope) -> Amount) -> (T, Reserved),
    ) -> T {
        // The lock is held during the decision: two plans must not reserve the same amount.
        let mut tenants = self.tenants.lock();
        let plans = tenants.entry(tenant.to_owned()).or_default();
        let others = |scope: &Scope| {
            let mut sum = Amount::default();
            let others = plans.iter().filter(|(uid, _)| *uid != plan);
            others.filter_map(|(_, reserved)| reserved.get(scope)).for_each(|amount| sum.add(amount));
            sum
        };
        let (result, reserved) = decide(&others);
        if reserved.is_empty() {
            plans.remove(plan);
        } else {
            plans.insert(plan.to_owned(), reserved);
        }
        result
    }

    /// Removes the reservations of a plan.
    pub fn forget(&self, plan: &str) {
        self.tenants.lock().values_mut().for_each(|plans| drop(plans.remove(plan)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(tokens: u64) -> Amount {
        Amount { tokens, cost_micro_usd: 0 }
    }

    #[test]
    fn a_plan_sees_the_reservations_of_others() {
        let reservations = Reservations::default();
        let scope = Scope::Tenant { month: "2026-11".into() };
        let reserve = |tenant: &str, plan: &str, tokens: u64| {
            reservations.replace(tenant, plan, |others| {
                let reserved = (tokens > 0).then(|| (scope.clone(), amount(tokens)));
                (others(&scope).tokens, reserved.into_iter().collect())
            })
        };
        assert_eq!(reserve("acme", "a", 5), 0);
        assert_eq!(reserve("acme", "a", 6), 0, "its own are replaced");
        assert_eq!(reserve("acme", "b", 7), 6);
        assert_eq!(reserve("other", "c", 1), 0);
        assert_eq!(reserve("acme", "c", 0), 13);
        assert_eq!(reserve("acme", "a", 0), 7);
        reservations.forget("b");
        assert_eq!(reserve("acme", "c", 0), 0);
    }

    #[test]
    fn an_attempt_holds_the_rest_of_its_budget() {
        let spent = Charge { cost_micro_usd: Some(3), ..Charge::default() };
        let budget = Limit { tokens: None, cost_micro_usd: Some(5) };
        assert_eq!(Amount::left(&budget, &spent), Amount { tokens: 0, cost_micro_usd: 2 });
    }
}
