//! The names of the wire formats.

use enact_crds::provider::Api;
use strum::IntoStaticStr;

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
}
