//! The wire formats of models: what the gateway reads from requests and answers, and how it reports errors.

pub mod anthropic;
pub mod chat;
pub mod document;
pub mod gemini;
pub mod responses;
pub mod sse;
pub mod usage;

use enact_crds::provider::Api;
use enact_domain::usage::Tokens;
use strum::IntoStaticStr;

use crate::denial::Denial;
use crate::wire::document::Document;

/// Output that is reserved for a request that does not limit it, in tokens.
const DEFAULT_OUTPUT: u64 = 16_384;
/// Largest output that is reserved for one request, in tokens. No model produces more.
const MAX_OUTPUT: u64 = 2_000_000;
/// Bytes of a request that count as one token of input. Real texts have about four.
const BYTES_PER_TOKEN: u64 = 3;

/// The wire format of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Format {
    /// Anthropic's Messages.
    Anthropic,
    /// OpenAI's Chat Completions.
    Chat,
    /// OpenAI's Responses.
    Responses,
    /// Google's Gemini.
    Gemini,
}

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
}

impl Requested {
    /// Returns an upper bound of the tokens of the request, whose body has this many bytes.
    pub fn estimate(&self, body_bytes: usize) -> Tokens {
        let input = u64::try_from(body_bytes).unwrap_or(u64::MAX).div_ceil(BYTES_PER_TOKEN);
        let output = self.max_output.unwrap_or(DEFAULT_OUTPUT).saturating_mul(self.choices.max(1)).min(MAX_OUTPUT);
        Tokens { input, output, ..Tokens::default() }
    }
}

impl Format {
    /// Returns the API that serves this format.
    pub fn api(self) -> Api {
        match self {
            Self::Anthropic => Api::Anthropic,
            Self::Chat | Self::Responses => Api::OpenAi,
            Self::Gemini => Api::Gemini,
        }
    }

    /// Returns the name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Reads a request.
    ///
    /// # Errors
    /// When a field that the gateway needs is missing or has another type, or the request asks for something that cannot be metered.
    pub fn read(self, document: &Document<'_>) -> Result<Requested, Denial> {
        match self {
            Self::Anthropic => anthropic::read(document),
            Self::Chat => chat::read(document),
            Self::Responses => responses::read(document),
            Self::Gemini => gemini::read(document),
        }
    }

    /// Returns the body for an upstream: with this model, and so that its answer reports usage.
    pub fn rewrite(self, document: &Document<'_>, model: &str) -> Vec<u8> {
        match self {
            Self::Anthropic | Self::Responses => document.with_model(model),
            Self::Chat => chat::rewrite(document, model),
            Self::Gemini => document.without("model"),
        }
    }

    /// Reads the usage of one event of a stream, or of a complete answer, into `usage`.
    fn read_usage(self, event: &[u8], usage: &mut usage::Usage) {
        match self {
            Self::Anthropic => anthropic::read_usage(event, usage),
            Self::Chat => chat::read_usage(event, usage),
            Self::Responses => responses::read_usage(event, usage),
            Self::Gemini => gemini::read_usage(event, usage),
        }
    }

    /// Returns the body of an error, as the clients of this format expect it.
    pub fn error(self, denial: &Denial) -> String {
        match self {
            Self::Anthropic => anthropic::error(denial),
            Self::Chat | Self::Responses => chat::error(denial),
            Self::Gemini => gemini::error(denial),
        }
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
        assert_eq!(Requested::default().estimate(0).output, DEFAULT_OUTPUT);
    }
}
