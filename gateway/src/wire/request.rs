//! What the gateway reads from a request, whatever its format.

use enact_domain::usage::Tokens;

use crate::wire::hosted::Hosted;

/// Output that is reserved for a request that does not limit it, in tokens.
const DEFAULT_OUTPUT: u64 = 16_384;
/// Largest output that is reserved for one request, in tokens. No model produces more.
const MAX_OUTPUT: u64 = 2_000_000;
/// Bytes of a request that count as one token of input. Real texts have about four.
const BYTES_PER_TOKEN: u64 = 3;

/// What the gateway reads from the body of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requested {
    /// Name of the model; none if the path names it.
    pub model: Option<String>,
    /// Whether the answer is a stream of events.
    pub stream: bool,
    /// Most output tokens of one answer, if the request limits them.
    pub max_output: Option<u64>,
    /// Number of answers.
    pub choices: u64,
    /// Whether the client wants usage in the stream; only Chat Completions has a choice.
    pub wants_usage: bool,
    /// Whether the provider may keep the prompt in its cache for an hour, which costs more than other input.
    pub caches_for_hour: bool,
    /// Tools that the provider would run itself.
    pub hosted: Option<Hosted>,
}

impl Requested {
    /// Returns an upper bound of the tokens of the request, whose body has this many bytes.
    pub fn estimate(&self, body_bytes: usize) -> Tokens {
        let input = u64::try_from(body_bytes).unwrap_or(u64::MAX).div_ceil(BYTES_PER_TOKEN);
        // Some servers take zero for no limit.
        let output = self
            .max_output
            .filter(|most| *most > 0)
            .unwrap_or(DEFAULT_OUTPUT)
            .saturating_mul(self.choices.max(1))
            .min(MAX_OUTPUT);
        if self.caches_for_hour {
            return Tokens { cache_write: input, cache_write_hour: input, output, ..Tokens::default() };
        }
        Tokens { input, output, ..Tokens::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_is_bounded() {
        let requested = Requested { max_output: Some(u64::MAX), choices: u64::MAX, ..Requested::default() };
        assert_eq!(requested.estimate(usize::MAX).output, MAX_OUTPUT);
        let small = Requested { max_output: Some(100), ..Requested::default() };
        assert_eq!(small.estimate(10), Tokens { input: 4, output: 100, ..Tokens::default() });
        for max_output in [None, Some(0)] {
            assert_eq!(Requested { max_output, ..Requested::default() }.estimate(0).output, DEFAULT_OUTPUT);
        }
    }
}
