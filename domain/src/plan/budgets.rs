//! Budgets of attempts: which nodes may start with what remains of their budgets.

use crate::time::Millis;
use crate::usage::Limit;

/// What remains of each budget, after all that was used and all that running attempts have reserved. None of a unit: it is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    remaining: Vec<Limit>,
}

/// The budgets of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Funding {
    /// Indices of its budgets in [`Budgets`]; empty for a node that uses no model.
    pub budgets: Vec<usize>,
    /// Budget of one attempt, which is reserved when it starts.
    pub attempt: Limit,
    /// What remains of the budget of the last attempt.
    pub last_attempt: Limit,
    /// If the last attempt ended because of a budget: the least that remained then.
    pub parked: Option<Limit>,
    /// Time at which the quota of the model provider is reset, if an attempt ended because of the quota.
    pub quota_reset: Option<Millis>,
}

/// Why the budgets do not allow a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// The budget with this index has less left than an attempt reserves, or nothing.
    Budget(usize),
    /// The last attempt ended because of a budget, and no more is left than then.
    Unchanged,
}

impl Budgets {
    /// Returns budgets of which this remains.
    pub fn new(remaining: Vec<Limit>) -> Self {
        Self { remaining }
    }

    /// Returns the least that remains of the budgets of a node, including that of its last attempt.
    pub fn least(&self, funding: &Funding) -> Limit {
        let remaining = funding.budgets.iter().filter_map(|index| self.remaining.get(*index));
        remaining.fold(funding.last_attempt, |least, remaining| least.lower(*remaining))
    }

    /// Checks whether an attempt at the node may start.
    ///
    /// # Errors
    /// The budget that does not allow it.
    pub fn check(&self, funding: &Funding) -> Result<(), Shortage> {
        for &index in &funding.budgets {
            let Some(remaining) = self.remaining.get(index) else { continue };
            // Something must remain even for an attempt that reserves nothing: its first request would be refused.
            let enough = |remaining: Option<u64>, amount: Option<u64>| {
                remaining.is_none_or(|remaining| remaining >= amount.unwrap_or(0).max(1))
            };
            if !enough(remaining.tokens, funding.attempt.tokens)
                || !enough(remaining.cost_micro_usd, funding.attempt.cost_micro_usd)
            {
                return Err(Shortage::Budget(index));
            }
        }
        let Some(parked) = funding.parked.filter(|parked| !parked.is_unlimited()) else { return Ok(()) };
        // The gateway refuses a request when the rest of a budget is smaller than the request's estimate. The same rest would be too small
        // for the next attempt too.
        let least = self.least(funding);
        let grew =
            |before: Option<u64>, now: Option<u64>| before.is_some_and(|before| now.is_none_or(|now| now > before));
        if grew(parked.tokens, least.tokens) || grew(parked.cost_micro_usd, least.cost_micro_usd) {
            Ok(())
        } else {
            Err(Shortage::Unchanged)
        }
    }

    /// Reserves the budget of an attempt at the node.
    pub fn reserve(&mut self, funding: &Funding) {
        for &index in &funding.budgets {
            let Some(remaining) = self.remaining.get_mut(index) else { continue };
            let less =
                |remaining: Option<u64>, amount: Option<u64>| Some(remaining?.saturating_sub(amount.unwrap_or(0)));
            *remaining = Limit {
                tokens: less(remaining.tokens, funding.attempt.tokens),
                cost_micro_usd: less(remaining.cost_micro_usd, funding.attempt.cost_micro_usd),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(tokens: u64, cost_micro_usd: u64) -> Limit {
        Limit { tokens: Some(tokens), cost_micro_usd: Some(cost_micro_usd) }
    }

    fn tokens(tokens: u64) -> Limit {
        Limit { tokens: Some(tokens), cost_micro_usd: None }
    }

    #[test]
    fn an_attempt_reserves_its_budget() {
        let mut budgets = Budgets::new(vec![tokens(25), limit(100, 30), Limit::default()]);
        let funding = Funding { budgets: vec![0, 1, 2], attempt: limit(10, 10), ..Funding::default() };
        for _ in 0..2 {
            assert_eq!(budgets.check(&funding), Ok(()));
            budgets.reserve(&funding);
        }
        assert_eq!(budgets.check(&funding), Err(Shortage::Budget(0)), "5 tokens remain");
        let other = Funding { budgets: vec![1], ..funding };
        budgets.reserve(&other);
        assert_eq!(budgets.check(&other), Err(Shortage::Budget(1)), "no money remains");
        assert_eq!(budgets.check(&Funding { budgets: vec![2, 9], ..other }), Ok(()));
    }

    #[test]
    fn an_empty_budget_starts_nothing() {
        let budgets = Budgets::new(vec![limit(0, 5), limit(5, 0), limit(1, 1)]);
        let check = |index| budgets.check(&Funding { budgets: vec![index], ..Funding::default() });
        assert_eq!([check(0), check(1), check(2)], [Err(Shortage::Budget(0)), Err(Shortage::Budget(1)), Ok(())]);
        assert_eq!(budgets.check(&Funding::default()), Ok(()), "it uses no model");
    }

    #[test]
    fn a_parked_node_waits_for_more() {
        let parked = |remaining: Limit, last_attempt, parked| {
            let funding = Funding { budgets: vec![0], last_attempt, parked: Some(parked), ..Funding::default() };
            Budgets::new(vec![remaining]).check(&funding)
        };
        let none = Limit::default();
        assert_eq!(parked(tokens(9), none, tokens(9)), Err(Shortage::Unchanged));
        assert_eq!(parked(tokens(8), none, tokens(9)), Err(Shortage::Unchanged));
        assert_eq!(parked(tokens(10), none, tokens(9)), Ok(()), "the budget was raised, or a reservation was released");
        assert_eq!(parked(none, none, tokens(9)), Ok(()), "the budget was removed");
        assert_eq!(parked(tokens(90), tokens(9), tokens(9)), Err(Shortage::Unchanged), "the attempt's own budget");
        assert_eq!(parked(tokens(90), tokens(19), tokens(9)), Ok(()), "the attempt's own budget was raised");
        assert_eq!(parked(limit(9, 50), none, limit(9, 40)), Ok(()));
        assert_eq!(parked(tokens(9), none, none), Ok(()), "no budget was known when it ended");
    }
}
