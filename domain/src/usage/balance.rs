use serde::{Deserialize, Serialize};

use super::tokens::Charge;

/// The limits of a budget. Without either, usage is counted and not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limit {
    pub tokens: Option<u64>,
    pub cost_micro_usd: Option<u64>,
}

impl Limit {
    /// Returns whether neither tokens nor cost are limited.
    pub fn is_unlimited(&self) -> bool {
        self.tokens.is_none() && self.cost_micro_usd.is_none()
    }

    /// Returns the lower of two limits, for tokens and for cost.
    #[must_use]
    pub fn lower(self, other: Self) -> Self {
        let lower = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self {
            tokens: lower(self.tokens, other.tokens),
            cost_micro_usd: lower(self.cost_micro_usd, other.cost_micro_usd),
        }
    }
}

/// The state of a budget. Requests of unknown price count in tokens only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Balance {
    pub limit: Limit,
    /// Usage of requests that have ended.
    pub spent: Charge,
    /// Estimates of requests that run.
    pub reserved: Charge,
    /// The part of the spent tokens whose price is unknown, so that `spent` has no cost for it.
    pub unpriced_tokens: u64,
}

impl Balance {
    /// Returns whether a request of this estimated charge fits in the budget, beside all that is spent and reserved.
    pub fn allows(&self, charge: &Charge) -> bool {
        let fits = |limit: Option<u64>, used: u64, more: u64| {
            // At a limit that is used up, not even a free request is allowed: its estimate can be too low.
            limit.is_none_or(|limit| used < limit && used.saturating_add(more) <= limit)
        };
        let cost = charge.cost_micro_usd.is_none_or(|cost| fits(self.limit.cost_micro_usd, self.used_cost(), cost));
        cost && fits(self.limit.tokens, self.used_tokens(), charge.tokens.total())
    }

    /// Adds the estimate of a request that starts.
    pub fn reserve(&mut self, estimate: &Charge) {
        self.reserved.add(estimate);
    }

    /// Returns spent and reserved tokens.
    pub fn used_tokens(&self) -> u64 {
        self.spent.tokens.total().saturating_add(self.reserved.tokens.total())
    }

    /// Returns spent and reserved cost in micro-USD.
    pub fn used_cost(&self) -> u64 {
        self.spent.known_cost().saturating_add(self.reserved.known_cost())
    }

    /// Returns the tokens that are neither spent nor reserved; none without a limit.
    pub fn remaining_tokens(&self) -> Option<u64> {
        Some(self.limit.tokens?.saturating_sub(self.used_tokens()))
    }

    /// Returns the micro-USD that are neither spent nor reserved; none without a limit.
    pub fn remaining_cost(&self) -> Option<u64> {
        Some(self.limit.cost_micro_usd?.saturating_sub(self.used_cost()))
    }

    /// Returns the spent part of the budget in thousandths, of the limit that is closest to its end; none without a limit. The result is
    /// more than 1000 if more is spent than the limit allows, as after a limit was lowered.
    pub fn spent_permille(&self) -> Option<u64> {
        let part = |limit: Option<u64>, spent: u64| limit.map(|limit| permille(spent, limit));
        part(self.limit.tokens, self.spent.tokens.total()).max(part(self.limit.cost_micro_usd, self.spent.known_cost()))
    }

    /// Returns whether the budget is used up: the smallest request would be refused, even when nothing is reserved.
    pub fn is_exhausted(&self) -> bool {
        let reached = |limit: Option<u64>, spent: u64| limit.is_some_and(|limit| spent >= limit);
        reached(self.limit.tokens, self.spent.tokens.total())
            || reached(self.limit.cost_micro_usd, self.spent.known_cost())
    }
}

/// Returns `part` of `whole` in thousandths, rounded down. A part of nothing counts as all of it.
fn permille(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 1000;
    }
    u64::try_from(u128::from(part) * 1000 / u128::from(whole)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Tokens;

    fn charge(tokens: u64, cost_micro_usd: Option<u64>) -> Charge {
        Charge { tokens: Tokens { output: tokens, ..Tokens::default() }, cost_micro_usd }
    }

    #[test]
    fn reservations_count() {
        let limit = Limit { tokens: Some(100), cost_micro_usd: Some(1000) };
        let mut balance =
            Balance { limit, spent: charge(40, Some(400)), reserved: charge(30, Some(100)), unpriced_tokens: 0 };
        assert!(balance.allows(&charge(30, Some(500))));
        assert!(!balance.allows(&charge(31, Some(500))), "too many tokens");
        assert!(!balance.allows(&charge(30, Some(501))), "too expensive");
        assert!(balance.allows(&charge(30, None)), "an unknown price counts in tokens only");
        assert_eq!((balance.remaining_tokens(), balance.remaining_cost()), (Some(30), Some(500)));
        balance.reserve(&charge(30, Some(0)));
        assert!(!balance.allows(&charge(0, Some(0))), "it is used up");
        assert!(!balance.is_exhausted(), "a reservation can be released");
    }

    #[test]
    fn the_part_is_of_the_nearest_limit() {
        let limit = |tokens, cost_micro_usd| Limit { tokens, cost_micro_usd };
        let part = |limit| Balance { limit, spent: charge(50, Some(900)), ..Balance::default() }.spent_permille();
        assert_eq!(part(limit(None, None)), None);
        assert_eq!(part(limit(Some(100), None)), Some(500));
        assert_eq!(part(limit(Some(100), Some(1000))), Some(900));
        assert_eq!(part(limit(Some(25), None)), Some(2000));
        assert_eq!(part(limit(Some(0), None)), Some(1000));
    }

    #[test]
    fn the_lower_limit_counts() {
        let one = Limit { tokens: Some(5), cost_micro_usd: None };
        let other = Limit { tokens: Some(7), cost_micro_usd: Some(1) };
        assert_eq!(one.lower(other), Limit { tokens: Some(5), cost_micro_usd: Some(1) });
        assert!(Limit::default().lower(Limit::default()).is_unlimited());
    }
}
