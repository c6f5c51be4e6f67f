//! OpenAI's Chat Completions, and the form of errors that Responses shares.

use enact_domain::usage::Tokens;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::denial::{Denial, DenialKind};
use crate::wire::document::Document;
use crate::wire::reported::Usage;
use crate::wire::request::Requested;

/// Reads a request of `/v1/chat/completions`.
pub(super) fn read(document: &Document<'_>) -> Result<Requested, Denial> {
    let options: Option<StreamOptions> = document.field("stream_options")?;
    // `max_completion_tokens` replaced `max_tokens`. Servers accept one of them.
    let limits: [Option<u64>; 2] = [document.field("max_completion_tokens")?, document.field("max_tokens")?];
    Ok(Requested {
        model: document.model()?,
        stream: document.field("stream")?.unwrap_or_default(),
        max_output: limits.into_iter().flatten().max(),
        choices: document.field("n")?.unwrap_or(1),
        wants_usage: options.and_then(|options| options.include_usage).unwrap_or_default(),
        ..Requested::default()
    })
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// Returns the body with this model. A stream reports usage only on request.
pub(super) fn rewrite(document: &Document<'_>, model: &str) -> Vec<u8> {
    let model = Value::from(model).to_string();
    let stream = document.field::<bool>("stream").ok().flatten().unwrap_or_default();
    if !stream {
        return document.with(&[("model", &model)]);
    }
    // Not parsed further: values take many times the memory of their text.
    let options = document.raw("stream_options").unwrap_or("{}").as_bytes();
    let options = Document::parse(options).map(|options| options.with(&[("include_usage", "true")]));
    let options = options.unwrap_or_else(|_| br#"{"include_usage":true}"#.to_vec());
    let options = String::from_utf8_lossy(&options);
    document.with(&[("model", &model), ("stream_options", &options)])
}

/// An answer, or an event of a stream.
#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    finish_reason: Option<IgnoredAny>,
}

/// `prompt_tokens` includes what was read from the cache.
#[derive(Deserialize)]
struct Counts {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

pub(super) fn read_usage(event: &[u8], usage: &mut Usage) {
    let Ok(Event { usage: Some(counts), choices }) = serde_json::from_slice(event) else { return };
    // Some servers report the usage so far in every event.
    let is_final = choices.is_empty() || choices.iter().any(|choice| choice.finish_reason.is_some());
    let prompt = counts.prompt_tokens.unwrap_or_default();
    let cached = counts.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or_default().min(prompt);
    let reasoning = counts.completion_tokens_details.and_then(|details| details.reasoning_tokens);
    let tokens = Tokens {
        input: prompt - cached,
        cached_input: cached,
        cache_write: 0,
        cache_write_hour: 0,
        output: counts.completion_tokens.unwrap_or_default(),
        reasoning: reasoning.unwrap_or_default(),
    };
    usage.set(tokens, is_final);
}

/// The event that reports the usage of a stream: it has no choices.
#[derive(Deserialize)]
struct UsageEvent<'a> {
    choices: [(); 0],
    #[serde(borrow)]
    usage: &'a RawValue,
}

/// Returns whether an event is the one that reports usage, which a client that did not ask for it does not expect.
pub fn is_usage_event(data: &[u8]) -> bool {
    memchr::memmem::find(data, b"usage").is_some()
        && serde_json::from_slice::<UsageEvent<'_>>(data)
            .is_ok_and(|UsageEvent { choices: [], usage }| usage.get() != "null")
}

pub(super) fn error(denial: &Denial) -> String {
    let kind = match denial.kind {
        DenialKind::InvalidRequest | DenialKind::TooLarge | DenialKind::NotFound => "invalid_request_error",
        DenialKind::TokenRefused => "authentication_error",
        DenialKind::ModelNotAllowed | DenialKind::ModelsChanged | DenialKind::CredentialRejected => "permission_error",
        DenialKind::BudgetExceeded => "insufficient_quota",
        DenialKind::RateLimited | DenialKind::ProviderQuota => "rate_limit_error",
        DenialKind::Busy | DenialKind::ProviderUnavailable | DenialKind::Unavailable | DenialKind::Timeout => {
            "server_error"
        }
    };
    let error = json!({ "message": denial.text(), "type": kind, "param": null, "code": denial.kind.as_str() });
    json!({ "error": error }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::peak_memory;

    #[test]
    fn cached_tokens_are_a_part_of_the_prompt() {
        let mut usage = Usage::default();
        read_usage(
            br#"{"choices":[],"usage":{"prompt_tokens":100,"completion_tokens":20,"prompt_tokens_details":{"cached_tokens":60},"completion_tokens_details":{"reasoning_tokens":5}}}"#,
            &mut usage,
        );
        let expected =
            Tokens { input: 40, cached_input: 60, cache_write: 0, cache_write_hour: 0, output: 20, reasoning: 5 };
        assert_eq!(usage, Usage { tokens: Some(expected), is_final: true });
        read_usage(br#"{"usage":{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":9}}}"#, &mut usage);
        assert_eq!(usage.tokens.unwrap().input, 0, "more cached than sent is not possible");
    }

    #[test]
    fn events_of_choices_report_no_usage() {
        let mut usage = Usage::default();
        let delta = br#"{"choices":[{"delta":{"content":"usage"}}],"usage":null}"#;
        read_usage(delta, &mut usage);
        assert_eq!(usage, Usage::default());
        assert!(!is_usage_event(delta));
        assert!(is_usage_event(br#"{"id":"x","choices":[],"usage":{"prompt_tokens":1}}"#));
        assert!(!is_usage_event(br#"{"choices":[],"usage":null}"#));
        assert!(!is_usage_event(b"[DONE]"));
    }

    /// An agent could otherwise use up the memory of the gateway.
    #[test]
    fn options_take_no_memory() {
        let zeros = "0,".repeat(4 << 20);
        let body = format!(r#"{{"model":"a","stream":true,"stream_options":{{"x":[{zeros}0]}}}}"#);
        let (before, document) = (peak_memory(), Document::parse(body.as_bytes()).unwrap());
        assert!(read(&document).unwrap().stream);
        assert!(rewrite(&document, "b").ends_with(br#"0],"include_usage":true}}"#));
        let taken = peak_memory() - before;
        assert!(taken < 64 << 10, "{taken} KiB for {} bytes", body.len());
    }

    #[test]
    fn a_stream_is_asked_for_usage() {
        let body = br#"{"model":"a","stream":true,"stream_options":{"other":1},"messages":[]}"#;
        let document = Document::parse(body).unwrap();
        assert!(!read(&document).unwrap().wants_usage);
        let value: Value = serde_json::from_slice(&rewrite(&document, "b")).unwrap();
        assert_eq!(
            value,
            json!({"model":"b","stream":true,"stream_options":{"other":1,"include_usage":true},"messages":[]})
        );
        let plain = Document::parse(br#"{"model":"a","n":3,"max_tokens":10}"#).unwrap();
        assert_eq!(read(&plain).unwrap().estimate(0).output, 30);
        let value: Value = serde_json::from_slice(&rewrite(&plain, "b")).unwrap();
        assert_eq!(value, json!({"model":"b","n":3,"max_tokens":10}));
    }
}
