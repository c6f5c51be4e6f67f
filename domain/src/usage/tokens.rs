use serde::{Deserialize, Serialize};

/// Tokens of one or more model requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tokens {
    /// Input tokens, without those read from or written to the provider's cache.
    pub input: u64,
    /// Input tokens that the provider read from its cache.
    pub cached_input: u64,
    /// Input tokens that the provider wrote to its cache.
    pub cache_write: u64,
    /// The part of `cache_write` that the provider keeps for an hour, which costs more.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write_hour: u64,
    /// Output tokens, including those of reasoning.
    pub output: u64,
    /// The part of `output` that was reasoning. It is informational: `output` determines the price.
    pub reasoning: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Tokens {
    /// Returns all tokens. Reasoning is already part of the output.
    pub fn total(&self) -> u64 {
        self.prompt().saturating_add(self.output)
    }

    /// Returns the tokens of the prompt: all input, cached or not.
    pub fn prompt(&self) -> u64 {
        self.input.saturating_add(self.cached_input).saturating_add(self.cache_write)
    }

    /// Adds the tokens of `other`.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add);
    }

    /// Subtracts the tokens of `other`, down to zero.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, u64::saturating_sub);
    }

    fn combine(&mut self, other: &Self, operation: impl Fn(u64, u64) -> u64) {
        self.input = operation(self.input, other.input);
        self.cached_input = operation(self.cached_input, other.cached_input);
        self.cache_write = operation(self.cache_write, other.cache_write);
        self.cache_write_hour = operation(self.cache_write_hour, other.cache_write_hour);
        self.output = operation(self.output, other.output);
        self.reasoning = operation(self.reasoning, other.reasoning);
    }
}

/// Tokens with their price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Charge {
    pub tokens: Tokens,
    /// None if the price of the model is unknown. In a sum: the known part; none if no price is known.
    pub cost_micro_usd: Option<u64>,
}

impl Charge {
    /// Adds `other`. The sum has a cost if one of the two has.
    pub fn add(&mut self, other: &Self) {
        self.tokens.add(&other.tokens);
        if let Some(cost) = other.cost_micro_usd {
            self.cost_micro_usd = Some(self.cost_micro_usd.unwrap_or(0).saturating_add(cost));
        }
    }

    /// Subtracts `other`, down to zero.
    pub fn subtract(&mut self, other: &Self) {
        self.tokens.subtract(&other.tokens);
        if let (Some(cost), Some(less)) = (self.cost_micro_usd, other.cost_micro_usd) {
            self.cost_micro_usd = Some(cost.saturating_sub(less));
        }
    }

    /// Returns the known cost, in micro-USD; zero if the price is unknown.
    pub fn known_cost(&self) -> u64 {
        self.cost_micro_usd.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_count_twice() {
        let tokens = Tokens { input: 1, cached_input: 2, cache_write: 4, cache_write_hour: 3, output: 8, reasoning: 7 };
        assert_eq!((tokens.prompt(), tokens.total()), (7, 15));
    }

    #[test]
    fn a_sum_has_the_known_cost() {
        let priced = Charge { tokens: Tokens { input: 3, ..Tokens::default() }, cost_micro_usd: Some(5) };
        let unpriced = Charge { cost_micro_usd: None, ..priced };
        let mut sum = unpriced;
        assert_eq!((sum.cost_micro_usd, sum.known_cost()), (None, 0));
        sum.add(&priced);
        sum.add(&unpriced);
        assert_eq!((sum.tokens.input, sum.cost_micro_usd), (9, Some(5)));
        sum.subtract(&priced);
        sum.subtract(&priced);
        assert_eq!((sum.tokens.input, sum.cost_micro_usd), (3, Some(0)));
    }
}
