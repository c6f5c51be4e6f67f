//! Shortage: why tasks wait for a budget, in words for people.

use enact_crds::convert;
use enact_domain::graph::{NodeId, PerNode};
use enact_domain::plan::{Node, Shortage};
use enact_domain::usage::{Balance, Charge, Limit, Scope};

use super::budgets::PlanBudgets;
use super::observed::Observed;
use super::reservations::Amount;
use crate::budget_thresholds;

/// The tasks that wait for a budget.
pub struct Waiting<'a> {
    pub observed: &'a Observed,
    pub tenant: &'a str,
    pub budgets: &'a PlanBudgets,
    pub nodes: &'a PerNode<Node>,
    /// The nodes that wait, in the order in which they would start.
    pub unfunded: &'a [(NodeId, Shortage)],
    /// What is reserved of each budget.
    pub reserved: Vec<Amount>,
}

impl Waiting<'_> {
    /// Returns which budget the tasks wait for, and how to continue; none if none waits.
    pub fn message(&self) -> Option<String> {
        let (id, shortage) = self.unfunded.first()?;
        let index = match shortage {
            Shortage::Budget(index) => Some(*index),
            Shortage::Unchanged => self.nearest(*id),
        };
        let (scope, limit) = match index {
            Some(index) => self.budgets.limits.get(index)?.clone(),
            None => (self.last_attempt(*id)?, self.budgets.attempt),
        };
        let spent = self.budgets.balance(&scope).spent;
        let reserved = index.and_then(|index| self.reserved.get(index).copied()).unwrap_or_default();
        let waiting = self.unfunded.len();
        let tasks = if waiting == 1 { "1 task waits".to_owned() } else { format!("{waiting} tasks wait") };
        let each_attempt = match (&scope, convert::budget(&self.budgets.attempt)) {
            (Scope::Attempt { .. }, _) | (_, None) => String::new(),
            (_, Some(budget)) => format!("; each attempt reserves {}", budget_thresholds::describe(&budget)),
        };
        let used = describe_use(&limit, &spent, reserved);
        Some(format!("{tasks} for {}: {used}{each_attempt}; {}", self.name(&scope), self.remedy(&scope)))
    }

    /// Returns the index of the budget of a node of which the greatest part is spent: that one has refused the last request. None if it is
    /// the budget of the attempt.
    fn nearest(&self, id: NodeId) -> Option<usize> {
        let part = |scope: &Scope, limit: Limit| Balance { limit, ..self.budgets.balance(scope) }.spent_permille();
        let own = part(&self.last_attempt(id)?, self.budgets.attempt);
        let parts = self.nodes[id].funding.budgets.iter().filter_map(|&index| {
            let (scope, limit) = self.budgets.limits.get(index)?;
            Some((part(scope, *limit), index))
        });
        parts.max().filter(|(part, _)| *part >= own).map(|(_, index)| index)
    }

    fn last_attempt(&self, id: NodeId) -> Option<Scope> {
        let uid = self.budgets.metered.get(&id)?.clone();
        Some(Scope::Attempt { uid, number: self.nodes[id].attempts })
    }

    fn name(&self, scope: &Scope) -> String {
        match scope {
            Scope::Tenant { month } => format!("the budget of Tenant {} for {month}", self.tenant),
            Scope::Agent { name, month, .. } => format!("the budget of Agent {name} for {month}"),
            Scope::Plan { .. } => "the budget of the plan".into(),
            Scope::Task { .. } => "the budget of the task".into(),
            Scope::Attempt { .. } => "the budget of the attempt".into(),
        }
    }

    fn remedy(&self, scope: &Scope) -> String {
        match scope {
            Scope::Tenant { .. } => {
                format!("raise spec.monthlyBudget of Tenant {}, or wait for the next month", self.tenant)
            }
            Scope::Agent { name, .. } => {
                format!("raise spec.monthlyBudget of Agent {name}, or wait for the next month")
            }
            Scope::Plan { .. } => {
                let own = self.observed.plan.spec.execution.budget.as_ref().map(convert::limit);
                if own == Some(self.budgets.plan) {
                    return "raise spec.execution.budget".into();
                }
                let plan = self.observed.name();
                format!(
                    "an Approval sets this budget: delete it, and approve with a higher one (`kubectl enact approve plan/{plan} --budget USD`)"
                )
            }
            Scope::Task { .. } => "raise spec.execution.taskBudget".into(),
            Scope::Attempt { .. } => "raise spec.execution.attemptBudget".into(),
        }
    }
}

/// Returns the spent and reserved parts of a limit: `9.80 of 10.00 USD spent, 0.10 USD reserved`.
pub fn describe_use(limit: &Limit, spent: &Charge, reserved: Amount) -> String {
    let mut parts = Vec::new();
    if let Some(limit) = limit.cost_micro_usd {
        parts.push(format!("{} of {} USD spent", convert::usd(spent.known_cost()), convert::usd(limit)));
        let reserved = reserved.cost_micro_usd;
        parts.extend((reserved > 0).then(|| format!("{} USD reserved", convert::usd(reserved))));
    }
    if let Some(limit) = limit.tokens {
        parts.push(format!("{} of {limit} tokens spent", spent.tokens.total()));
        let reserved = reserved.tokens;
        parts.extend((reserved > 0).then(|| format!("{reserved} tokens reserved")));
    }
    parts.join(", ")
}
