//! Google's Gemini.

use enact_domain::usage::Tokens;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::denial::{Denial, DenialKind};
use crate::wire::document::Document;
use crate::wire::elements::each;
use crate::wire::reported::Usage;
use crate::wire::request::Requested;

/// Reads a request of `generateContent` or `streamGenerateContent`. The path names the model and whether it is a stream.
pub(super) fn read(document: &Document<'_>) -> Result<Requested, Denial> {
    // Google's servers read a field by both of its names.
    let config: [Option<GenerationConfig>; 2] =
        [document.field("generationConfig")?, document.field("generation_config")?];
    let config = match config {
        [Some(_), Some(_)] => {
            let why = "the request has generationConfig and generation_config; remove one of them";
            return Err(Denial::new(DenialKind::InvalidRequest, why));
        }
        [one, other] => one.or(other).unwrap_or_default(),
    };
    Ok(Requested {
        model: None,
        stream: false,
        max_output: config.max_output_tokens,
        choices: config.candidate_count.unwrap_or(1),
        wants_usage: true,
        ..Requested::default()
    })
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig {
    #[serde(alias = "max_output_tokens")]
    max_output_tokens: Option<u64>,
    #[serde(alias = "candidate_count")]
    candidate_count: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    usage_metadata: Option<Counts>,
    #[serde(default)]
    candidates: Vec<Candidate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    #[serde(default)]
    finish_reason: Option<IgnoredAny>,
}

/// `promptTokenCount` includes what was read from the cache; `candidatesTokenCount` excludes thoughts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names, reason = "the names of the format")]
struct Counts {
    prompt_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
}

/// What the last of the answers of a stream reports.
#[derive(Default)]
struct Last {
    counts: Option<Counts>,
    is_end: bool,
}

impl Last {
    fn add(&mut self, Answer { usage_metadata, candidates }: Answer) {
        self.is_end = candidates.is_empty() || candidates.iter().any(|candidate| candidate.finish_reason.is_some());
        // Every answer of a stream reports the counts so far.
        self.counts = usage_metadata.or(self.counts.take());
    }
}

pub(super) fn read_usage(event: &[u8], usage: &mut Usage) {
    let mut last = Last::default();
    // A stream without `alt=sse` is one array of answers.
    let read = if event.trim_ascii_start().starts_with(b"[") {
        each(event, |answer: Answer| last.add(answer))
    } else {
        serde_json::from_slice(event).map(|answer: Answer| last.add(answer))
    };
    let (Ok(()), Last { counts: Some(counts), is_end: is_final }) = (read, last) else { return };
    let prompt = counts.prompt_token_count.unwrap_or_default();
    let cached = counts.cached_content_token_count.unwrap_or_default().min(prompt);
    let thoughts = counts.thoughts_token_count.unwrap_or_default();
    let tokens = Tokens {
        input: (prompt - cached).saturating_add(counts.tool_use_prompt_token_count.unwrap_or_default()),
        cached_input: cached,
        cache_write: 0,
        cache_write_hour: 0,
        output: counts.candidates_token_count.unwrap_or_default().saturating_add(thoughts),
        reasoning: thoughts,
    };
    usage.set(tokens, is_final);
}

pub(super) fn error(denial: &Denial) -> String {
    let status = match denial.kind {
        DenialKind::InvalidRequest | DenialKind::TooLarge => "INVALID_ARGUMENT",
        DenialKind::TokenRefused => "UNAUTHENTICATED",
        DenialKind::ModelNotAllowed
        | DenialKind::ModelsChanged
        | DenialKind::BudgetExceeded
        | DenialKind::CredentialRejected => "PERMISSION_DENIED",
        DenialKind::NotFound => "NOT_FOUND",
        DenialKind::RateLimited | DenialKind::ProviderQuota => "RESOURCE_EXHAUSTED",
        DenialKind::Busy | DenialKind::ProviderUnavailable | DenialKind::Unavailable => "UNAVAILABLE",
        DenialKind::Timeout => "DEADLINE_EXCEEDED",
    };
    let detail = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": denial.kind.as_str(), "domain": "enact.dev",
    });
    let code = denial.kind.status().as_u16();
    json!({ "error": { "code": code, "message": denial.text(), "status": status, "details": [detail] } }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::peak_memory;

    const COUNTS: &str = r#"{"promptTokenCount":100,"cachedContentTokenCount":40,"candidatesTokenCount":10,"thoughtsTokenCount":5,"toolUsePromptTokenCount":3,"totalTokenCount":118}"#;

    #[test]
    fn thoughts_are_output() {
        let expected =
            Tokens { input: 63, cached_input: 40, cache_write: 0, cache_write_hour: 0, output: 15, reasoning: 5 };
        for event in [
            format!(r#"{{"candidates":[],"usageMetadata":{COUNTS}}}"#),
            format!(r#"[{{"usageMetadata":{{"promptTokenCount":100}}}},{{"usageMetadata":{COUNTS}}}]"#),
        ] {
            let mut usage = Usage::default();
            read_usage(event.as_bytes(), &mut usage);
            assert_eq!(usage, Usage { tokens: Some(expected), is_final: true });
        }
    }

    /// A provider could otherwise use up the memory of the gateway.
    #[test]
    fn many_answers_take_no_memory() {
        let event = format!(r#"[{}{{"candidates":[],"usageMetadata":{COUNTS}}}]"#, "{},".repeat(1_400_000));
        let (before, mut usage) = (peak_memory(), Usage::default());
        read_usage(event.as_bytes(), &mut usage);
        assert_eq!(usage.tokens.unwrap().output, 15);
        let taken = peak_memory() - before;
        assert!(taken < 64 << 10, "{taken} KiB for {} bytes", event.len());
    }

    #[test]
    fn the_last_event_has_a_finish_reason() {
        let mut usage = Usage::default();
        for (reason, is_final) in [("", false), (r#","finishReason":"STOP""#, true)] {
            let event = format!(r#"{{"candidates":[{{"content":{{"parts":[]}}{reason}}}],"usageMetadata":{COUNTS}}}"#);
            read_usage(event.as_bytes(), &mut usage);
            assert_eq!(usage.is_final, is_final);
        }
    }

    #[test]
    fn reads_the_limits_of_a_request() {
        let body = br#"{"contents":[],"generationConfig":{"maxOutputTokens":50,"candidateCount":2}}"#;
        assert_eq!(read(&Document::parse(body).unwrap()).unwrap().estimate(0).output, 100);
        let snake = br#"{"generation_config":{"max_output_tokens":70000,"candidate_count":8}}"#;
        assert_eq!(read(&Document::parse(snake).unwrap()).unwrap().estimate(0).output, 560_000);
        for twice in [
            r#"{"generationConfig":{"maxOutputTokens":1},"generation_config":{"maxOutputTokens":9}}"#,
            r#"{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":9}}"#,
        ] {
            assert!(read(&Document::parse(twice.as_bytes()).unwrap()).is_err(), "{twice}");
        }
    }
}
