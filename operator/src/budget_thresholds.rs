//! Thresholds of budgets: the Events that warn once when a budget is nearly or completely spent, and the condition that remains.

use enact_crds::common::{Budget, MonthlyUsage};
use enact_crds::convert;
use enact_domain::condition::{Condition, Truth};

/// The part of a budget, in thousandths, at which the first warning is published.
const LOW: u64 = 800;
const EXHAUSTED: u64 = 1000;
/// Type of the condition of an object whose budget has passed a threshold.
const BUDGET_LOW: &str = "BudgetLow";

/// A threshold that usage has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Threshold {
    Low,
    Exhausted,
}

impl Threshold {
    /// Returns the highest threshold that this usage has passed.
    pub fn of(tokens: u64, usd: &str, budget: &Budget) -> Option<Self> {
        let limit = convert::limit(budget);
        let part = |spent: u64, limit: Option<u64>| {
            let limit = u128::from(limit?);
            let part = (u128::from(spent) * u128::from(EXHAUSTED)).checked_div(limit);
            Some(part.map_or(EXHAUSTED, |part| u64::try_from(part).unwrap_or(u64::MAX)))
        };
        let cost = convert::micro_usd(usd).unwrap_or_default();
        let part = part(tokens, limit.tokens).max(part(cost, limit.cost_micro_usd))?;
        if part >= EXHAUSTED { Some(Self::Exhausted) } else { (part >= LOW).then_some(Self::Low) }
    }

    /// Returns the highest threshold that the usage of a month has passed.
    pub fn of_month(usage: &MonthlyUsage) -> Option<Self> {
        Self::of(usage.tokens, &usage.usd, &usage.budget)
    }

    /// Returns the threshold that the usage of a month has passed since `old`.
    pub fn passed_since(old: Option<&MonthlyUsage>, new: &MonthlyUsage) -> Option<Self> {
        let before = old.filter(|old| old.month == new.month).and_then(Self::of_month);
        Self::of_month(new).filter(|now| before < Some(*now))
    }

    /// Returns the reason of the Event and of the condition.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Low => "BudgetLow",
            Self::Exhausted => "BudgetExhausted",
        }
    }

    /// Returns the note of the Event; `whose` is `the plan` or a tenant and month.
    pub fn note(self, whose: &str, tokens: u64, usd: &str, budget: &Budget) -> String {
        let share = self.share();
        let spent = describe(&Budget {
            tokens: budget.tokens.map(|_| tokens),
            usd: budget.usd.as_ref().map(|_| usd.to_owned()),
        });
        format!("{share} of {whose} is spent: {spent} of {}", describe(budget))
    }

    /// Returns the condition of the object. Its message has no amount that was spent, so that it changes with threshold and budget only.
    pub fn condition(self, whose: &str, budget: &Budget, remedy: &str) -> Condition {
        let message = format!("{} of {whose}, {}, is spent; {remedy}", self.share(), describe(budget));
        Condition::new(BUDGET_LOW, Truth::True, self.reason(), message)
    }

    fn share(self) -> &'static str {
        match self {
            Self::Low => "at least 80 % of the budget",
            Self::Exhausted => "the whole budget",
        }
    }
}

/// Returns a budget for people: `12.50 USD and 1000 tokens`.
pub fn describe(budget: &Budget) -> String {
    let usd = budget.usd.as_ref().map(|usd| format!("{usd} USD"));
    let tokens = budget.tokens.map(|tokens| format!("{tokens} tokens"));
    usd.into_iter().chain(tokens).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_limit_decides() {
        let budget = |tokens, usd: Option<&str>| Budget { tokens, usd: usd.map(str::to_owned) };
        let both = budget(Some(1000), Some("10.00"));
        for (tokens, usd, expected) in [
            (0, "0.00", None),
            (799, "7.99", None),
            (800, "1.00", Some(Threshold::Low)),
            (1, "8", Some(Threshold::Low)),
            (999, "9.99", Some(Threshold::Low)),
            (1000, "0.00", Some(Threshold::Exhausted)),
            (1, "12.00", Some(Threshold::Exhausted)),
        ] {
            assert_eq!(Threshold::of(tokens, usd, &both), expected, "{tokens} {usd}");
        }
        assert_eq!(Threshold::of(0, "0", &budget(Some(0), None)), Some(Threshold::Exhausted));
        assert_eq!(Threshold::of(u64::MAX, "0", &budget(Some(1), None)), Some(Threshold::Exhausted));
        assert_eq!(Threshold::of(5, "5", &budget(None, None)), None);
    }

    #[test]
    fn a_month_warns_once_for_each_threshold() {
        let usage = |month: &str, usd: &str| MonthlyUsage {
            month: month.into(),
            usd: usd.into(),
            budget: Budget { tokens: None, usd: Some("10.00".into()) },
            ..MonthlyUsage::default()
        };
        let passed = |old: Option<&MonthlyUsage>, new| Threshold::passed_since(old, &new);
        let (little, low) = (usage("2026-11", "7.99"), usage("2026-11", "8.00"));
        assert_eq!(passed(None, usage("2026-11", "8.00")), Some(Threshold::Low));
        assert_eq!(passed(Some(&little), usage("2026-11", "8.10")), Some(Threshold::Low));
        assert_eq!(passed(Some(&low), usage("2026-11", "9.90")), None);
        assert_eq!(passed(Some(&low), usage("2026-11", "10.00")), Some(Threshold::Exhausted));
        assert_eq!(passed(Some(&low), usage("2026-12", "8.00")), Some(Threshold::Low), "a month begins anew");
    }

    #[test]
    fn a_condition_names_the_remedy_and_no_amount_that_changes() {
        let budget = Budget { tokens: None, usd: Some("10.00".into()) };
        let condition = Threshold::Low.condition("the plan", &budget, "raise spec.execution.budget");
        assert_eq!((condition.type_.as_str(), condition.reason.as_str()), ("BudgetLow", "BudgetLow"));
        assert_eq!(
            condition.message,
            "at least 80 % of the budget of the plan, 10.00 USD, is spent; raise spec.execution.budget"
        );
    }

    #[test]
    fn a_note_names_the_limited_units() {
        let budget = Budget { tokens: None, usd: Some("10.00".into()) };
        assert_eq!(
            Threshold::Low.note("the plan", 5, "8.50", &budget),
            "at least 80 % of the budget of the plan is spent: 8.50 USD of 10.00 USD"
        );
    }
}
