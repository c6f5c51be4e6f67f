//! Tokens: what an answer states, and how much an answer counts whose scenario gives no figures.

use serde::{Deserialize, Serialize};

use crate::conversation::Format;

/// Bytes of text that count as one token, where the scenario gives no figure.
const BYTES_PER_TOKEN: usize = 4;

/// Tokens of one or more answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Input that was neither read from a cache nor written to one.
    pub input: u64,
    pub cached_input: u64,
    /// Input that was written to a cache. Only Anthropic's format states it.
    pub cache_write: u64,
    /// All output, reasoning included.
    pub output: u64,
    /// The part of the output that is reasoning. Anthropic's format does not state it.
    pub reasoning: u64,
}

impl Usage {
    /// Adds the tokens of another answer.
    pub fn add(&mut self, other: Self) {
        self.input += other.input;
        self.cached_input += other.cached_input;
        self.cache_write += other.cache_write;
        self.output += other.output;
        self.reasoning += other.reasoning;
    }

    /// Returns all tokens of the prompt.
    pub fn prompt(&self) -> u64 {
        self.input + self.cached_input + self.cache_write
    }
}

/// The tokens of an answer as a scenario gives them. A figure that is absent is derived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Figures {
    /// By default derived from the length of the request, without the cached tokens.
    pub input: Option<u64>,
    #[serde(default)]
    pub cached_input: u64,
    #[serde(default)]
    pub cache_write: u64,
    /// By default derived from the length of the answer.
    pub output: Option<u64>,
    #[serde(default)]
    pub reasoning: u64,
}

impl Figures {
    /// Returns the tokens of an answer, as its format can state them.
    pub fn usage(&self, format: Format, request_bytes: usize, answer_bytes: usize) -> Usage {
        let cached = self.cached_input + self.cache_write;
        let input = self.input.unwrap_or_else(|| estimate(request_bytes).saturating_sub(cached));
        let output = self.output.unwrap_or_else(|| estimate(answer_bytes).saturating_add(self.reasoning));
        let reasoning = self.reasoning.min(output);
        match format {
            Format::Anthropic => {
                Usage { input, cached_input: self.cached_input, cache_write: self.cache_write, output, reasoning: 0 }
            }
            _ => Usage {
                input: input + self.cache_write,
                cached_input: self.cached_input,
                cache_write: 0,
                output,
                reasoning,
            },
        }
    }
}

/// Returns the number of tokens that a text of this length counts.
pub fn estimate(bytes: usize) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN).max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_figures_are_derived_from_lengths() {
        let usage = Figures::default().usage(Format::Gemini, 401, 8);
        assert_eq!((usage.input, usage.output), (101, 2));
    }

    #[test]
    fn only_what_a_format_states_is_counted() {
        let figures = Figures { input: Some(10), cached_input: 5, cache_write: 3, output: Some(7), reasoning: 2 };
        let anthropic = figures.usage(Format::Anthropic, 0, 0);
        assert_eq!((anthropic.input, anthropic.cache_write, anthropic.reasoning), (10, 3, 0));
        let responses = figures.usage(Format::Responses, 0, 0);
        assert_eq!((responses.input, responses.cache_write, responses.reasoning), (13, 0, 2));
        assert_eq!(anthropic.prompt(), responses.prompt());
    }
}
