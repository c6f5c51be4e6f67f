//! OpenAI's Responses.

use enact_domain::usage::Tokens;
use serde::Deserialize;

use crate::denial::{Denial, DenialKind};
use crate::wire::document::Document;
use crate::wire::reported::Usage;
use crate::wire::request::Requested;

/// Reads a request of `/v1/responses`.
pub(super) fn read(document: &Document<'_>) -> Result<Requested, Denial> {
    if document.field::<bool>("background")?.unwrap_or_default() {
        let why =
            "background responses are not supported: their usage is not in the answer; remove the field background";
        return Err(Denial::new(DenialKind::InvalidRequest, why));
    }
    Ok(Requested {
        model: document.model()?,
        stream: document.field("stream")?.unwrap_or_default(),
        max_output: document.field("max_output_tokens")?,
        choices: 1,
        wants_usage: true,
        ..Requested::default()
    })
}

/// An answer, or an event whose response is the answer.
#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(default)]
    response: Option<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    usage: Option<Counts>,
}

/// `input_tokens` includes what was read from the cache.
#[derive(Deserialize)]
struct Counts {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_tokens_details: Option<InputDetails>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
}

pub(super) fn read_usage(event: &[u8], usage: &mut Usage) {
    let Ok(Event { usage: own, response }) = serde_json::from_slice(event) else { return };
    let Some(counts) = own.or_else(|| response.and_then(|response| response.usage)) else { return };
    let input = counts.input_tokens.unwrap_or_default();
    let cached = counts.input_tokens_details.and_then(|details| details.cached_tokens).unwrap_or_default().min(input);
    let reasoning = counts.output_tokens_details.and_then(|details| details.reasoning_tokens);
    let tokens = Tokens {
        input: input - cached,
        cached_input: cached,
        cache_write: 0,
        cache_write_hour: 0,
        output: counts.output_tokens.unwrap_or_default(),
        reasoning: reasoning.unwrap_or_default(),
    };
    usage.set(tokens, true);
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: &str = r#"{"input_tokens":100,"input_tokens_details":{"cached_tokens":30},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":2}}"#;

    #[test]
    fn reads_the_last_event_and_a_plain_answer() {
        let expected =
            Tokens { input: 70, cached_input: 30, cache_write: 0, cache_write_hour: 0, output: 7, reasoning: 2 };
        for event in [
            format!(r#"{{"type":"response.completed","response":{{"id":"r","output":[],"usage":{COUNTS}}}}}"#),
            format!(r#"{{"id":"r","object":"response","usage":{COUNTS}}}"#),
        ] {
            let mut usage = Usage::default();
            read_usage(br#"{"type":"response.created","response":{"usage":null}}"#, &mut usage);
            assert_eq!(usage, Usage::default());
            read_usage(event.as_bytes(), &mut usage);
            assert_eq!(usage, Usage { tokens: Some(expected), is_final: true });
        }
    }

    #[test]
    fn refuses_what_cannot_be_metered() {
        let background = Document::parse(br#"{"model":"a","background":true}"#).unwrap();
        assert!(read(&background).unwrap_err().message.contains("background"));
        let normal = Document::parse(br#"{"model":"a","background":false,"max_output_tokens":5}"#).unwrap();
        assert_eq!(read(&normal).unwrap().max_output, Some(5));
    }
}
