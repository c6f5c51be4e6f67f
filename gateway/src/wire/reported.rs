//! The usage that an answer has reported.

use enact_domain::usage::Tokens;

/// Largest number of tokens that is believed. It keeps sums far from an overflow.
pub(super) const MAX_TOKENS: u64 = 1_000_000_000;

/// The usage that was reported so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub tokens: Option<Tokens>,
    /// Whether the report covers the whole answer.
    pub is_final: bool,
}

impl Usage {
    /// Sets the tokens that a server reported.
    pub(super) fn set(&mut self, tokens: Tokens, is_final: bool) {
        let bounded = |count: u64| count.min(MAX_TOKENS);
        self.tokens = Some(Tokens {
            input: bounded(tokens.input),
            cached_input: bounded(tokens.cached_input),
            cache_write: bounded(tokens.cache_write),
            cache_write_hour: bounded(tokens.cache_write_hour.min(tokens.cache_write)),
            output: bounded(tokens.output),
            reasoning: bounded(tokens.reasoning),
        });
        self.is_final |= is_final;
    }
}
