//! The wire formats of models: what the gateway reads from requests and answers, and how it reports errors.

pub mod anthropic;
pub mod chat;
pub mod document;
mod elements;
mod format;
pub mod gemini;
mod hosted;
mod refused;
mod reported;
mod request;
pub mod responses;
pub mod sse;
pub mod text;
pub mod usage;

pub use format::Format;
pub use request::Requested;

use crate::denial::Denial;
use crate::wire::document::Document;
use crate::wire::reported::Usage;

impl Format {
    /// Reads a request.
    ///
    /// # Errors
    /// When a field that the gateway needs is missing or has another type, or the request asks for another model, or for something that
    /// cannot be metered.
    pub fn read(self, document: &Document<'_>) -> Result<Requested, Denial> {
        refused::check(document)?;
        let requested = match self {
            Self::Anthropic => anthropic::read(document),
            Self::Chat => chat::read(document),
            Self::Responses => responses::read(document),
            Self::Gemini => gemini::read(document),
        }?;
        Ok(Requested { hosted: hosted::find(self, document)?, ..requested })
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
    fn read_usage(self, event: &[u8], usage: &mut Usage) {
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

/// Returns the most memory that the process has had until now, in KiB.
#[cfg(test)]
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
