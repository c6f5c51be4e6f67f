//! Anthropic's Messages.

use enact_domain::usage::Tokens;
use serde::Deserialize;
use serde_json::json;

use crate::denial::{Denial, DenialKind};
use crate::wire::document::Document;
use crate::wire::reported::Usage;
use crate::wire::request::Requested;

/// Reads a request of `/v1/messages`.
pub(super) fn read(document: &Document<'_>) -> Result<Requested, Denial> {
    Ok(Requested {
        model: document.model()?,
        stream: document.field("stream")?.unwrap_or_default(),
        max_output: document.field("max_tokens")?,
        choices: 1,
        wants_usage: true,
        caches_for_hour: document.contains("\"1h\""),
        ..Requested::default()
    })
}

/// An answer, or an event: `message_start` has the usage in its message, `message_delta` at the top.
#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(default)]
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    usage: Option<Counts>,
}

/// `input_tokens` excludes what was read from the cache or written to it.
#[derive(Deserialize)]
#[allow(clippy::struct_field_names, reason = "the names of the format")]
struct Counts {
    input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
    output_tokens: Option<u64>,
}

/// The part of `cache_creation_input_tokens` that is kept for an hour. The rest is kept for five minutes.
#[derive(Deserialize)]
struct CacheCreation {
    ephemeral_1h_input_tokens: Option<u64>,
}

pub(super) fn read_usage(event: &[u8], usage: &mut Usage) {
    let Ok(Event { usage: last, message }) = serde_json::from_slice(event) else { return };
    let first = message.and_then(|message| message.usage);
    // Counts are cumulative, and an event omits those that it does not change.
    for (counts, is_final) in [(first, false), (last, true)] {
        let Some(counts) = counts else { continue };
        let before = usage.tokens.unwrap_or_default();
        let tokens = Tokens {
            input: counts.input_tokens.unwrap_or(before.input),
            cached_input: counts.cache_read_input_tokens.unwrap_or(before.cached_input),
            cache_write: counts.cache_creation_input_tokens.unwrap_or(before.cache_write),
            cache_write_hour: counts
                .cache_creation
                .and_then(|creation| creation.ephemeral_1h_input_tokens)
                .unwrap_or(before.cache_write_hour),
            output: counts.output_tokens.unwrap_or(before.output),
            reasoning: 0,
        };
        usage.set(tokens, is_final);
    }
}

pub(super) fn error(denial: &Denial) -> String {
    let kind = match denial.kind {
        DenialKind::InvalidRequest => "invalid_request_error",
        DenialKind::TooLarge => "request_too_large",
        DenialKind::TokenRefused => "authentication_error",
        DenialKind::ModelNotAllowed
        | DenialKind::ModelsChanged
        | DenialKind::BudgetExceeded
        | DenialKind::CredentialRejected => "permission_error",
        DenialKind::NotFound => "not_found_error",
        DenialKind::RateLimited | DenialKind::ProviderQuota => "rate_limit_error",
        DenialKind::Busy | DenialKind::ProviderUnavailable => "overloaded_error",
        DenialKind::Unavailable | DenialKind::Timeout => "api_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": denial.text() } }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_cumulative() {
        let mut usage = Usage::default();
        read_usage(
            br#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":25,"cache_read_input_tokens":1000,"cache_creation_input_tokens":200,"output_tokens":1}}}"#,
            &mut usage,
        );
        assert!(!usage.is_final);
        read_usage(
            br#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}"#,
            &mut usage,
        );
        let expected =
            Tokens { input: 25, cached_input: 1000, cache_write: 200, cache_write_hour: 0, output: 15, reasoning: 0 };
        assert_eq!(usage, Usage { tokens: Some(expected), is_final: true });
    }

    #[test]
    fn reads_an_answer_without_a_stream() {
        let mut usage = Usage::default();
        read_usage(
            br#"{"type":"message","content":[{"type":"text","text":"usage"}],"usage":{"input_tokens":3,"output_tokens":4}}"#,
            &mut usage,
        );
        assert_eq!(usage.tokens, Some(Tokens { input: 3, output: 4, ..Tokens::default() }));
        assert!(usage.is_final);
    }

    #[test]
    fn cache_writes_for_an_hour_are_a_part() {
        let mut usage = Usage::default();
        read_usage(
            br#"{"type":"message_start","message":{"usage":{"input_tokens":5,"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"output_tokens":1}}}"#,
            &mut usage,
        );
        // The last event repeats the sum, but not its parts.
        read_usage(
            br#"{"type":"message_delta","usage":{"cache_creation_input_tokens":300,"cache_creation":null,"output_tokens":9}}"#,
            &mut usage,
        );
        let tokens = usage.tokens.unwrap();
        assert_eq!((tokens.cache_write, tokens.cache_write_hour, tokens.total()), (300, 200, 314));
        let mut false_report = Usage::default();
        read_usage(
            br#"{"usage":{"cache_creation_input_tokens":3,"cache_creation":{"ephemeral_1h_input_tokens":200}}}"#,
            &mut false_report,
        );
        assert_eq!(false_report.tokens.unwrap().cache_write_hour, 3);
    }

    #[test]
    fn a_cache_of_an_hour_is_reserved_at_its_price() {
        let estimate = |ttl: &str| {
            let body = format!(
                r#"{{"model":"m","max_tokens":7,"system":[{{"type":"text","text":"x","cache_control":{{"type":"ephemeral","ttl": "{ttl}"}}}}]}}"#
            );
            read(&Document::parse(body.as_bytes()).unwrap()).unwrap().estimate(300)
        };
        let hour = Tokens { cache_write: 100, cache_write_hour: 100, output: 7, ..Tokens::default() };
        assert_eq!(estimate("1h"), hour);
        assert_eq!(estimate("5m"), Tokens { input: 100, output: 7, ..Tokens::default() });
    }

    #[test]
    fn garbage_reports_nothing() {
        let mut usage = Usage::default();
        for event in [&b"usage"[..], b"{\"usage\":5}", b"{\"usage\":{\"input_tokens\":-1}}", b"[]", b"{\"usage\":null}"]
        {
            read_usage(event, &mut usage);
        }
        assert_eq!(usage, Usage::default());
    }

    #[test]
    fn reads_a_request() {
        let body = br#"{"model":"claude","max_tokens":32000,"stream":true,"messages":[]}"#;
        let requested = read(&Document::parse(body).unwrap()).unwrap();
        assert_eq!(
            (requested.model.as_deref(), requested.stream, requested.max_output),
            (Some("claude"), true, Some(32_000))
        );
        assert!(read(&Document::parse(b"{}").unwrap()).is_err());
        assert!(read(&Document::parse(br#"{"model":["claude"]}"#).unwrap()).is_err());
    }
}
