//! What the real programs printed, read by the rules of their adapters. `fixtures/agents/<file of the adapter>.<scenario>.jsonl` is the
//! standard output of the program in the version of the definition, with a scripted model server; long texts and lists are left out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::path::{Path, PathBuf};

use enact_domain::agents::builtin;
use enact_domain::agents::classify::{Exit, Outcome, classify};
use enact_domain::agents::definition::{AdapterDefinition, End, EventFormat, StreamFormat};
use enact_domain::agents::events::{AgentEvent, MAX_EVENT_TEXT};
use enact_domain::agents::stream::{EventReader, MAX_EVENTS, Summary};
use enact_domain::assignment::{Reason, Usage};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The adapters with a recording, and the exit code of the program when the provider answered 401.
const RECORDED: [(&str, &str, i32); 6] = [
    ("ClaudeCode", "claude-code", 1),
    ("Codex", "codex", 1),
    ("GeminiCli", "gemini-cli", 145),
    ("QwenCode", "qwen-code", 1),
    ("OpenCode", "opencode", 1),
    ("Copilot", "copilot", 1),
];

fn fixture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/agents").join(file)
}

/// Reads a recording in chunks of `size` bytes.
fn read(adapter: &AdapterDefinition, file: &str, scenario: &str, size: usize) -> (Vec<AgentEvent>, Summary) {
    let output = fs::read(fixture(&format!("{file}.{scenario}.jsonl"))).unwrap();
    let mut reader = EventReader::new(adapter.events.clone(), Usage::default());
    let mut events: Vec<AgentEvent> = output.chunks(size).flat_map(|chunk| reader.push(chunk)).collect();
    if let Ok(report) = fs::read(fixture(&format!("{file}.{scenario}.report.json"))) {
        events.extend(reader.push_report(&report));
    }
    let (last, summary) = reader.finish();
    events.extend(last);
    (events, summary)
}

fn outcome(summary: &Summary, code: i32, changed: bool) -> Outcome<'_> {
    Outcome { exit: Exit::Code(code), summary, stderr: "", changed, outputs: false }
}

#[test]
fn work_is_read_from_every_program() {
    for (name, file, _) in RECORDED {
        let adapter = builtin::find(name).unwrap();
        let (events, summary) = read(adapter, file, "write-file", 4096);
        let readable: String = events.iter().map(AgentEvent::readable).collect();
        insta::assert_snapshot!(file, readable);
        assert_eq!(summary.end, Some(End::Completed), "{name}");
        assert_eq!(summary.last_message, "The file hello.txt is written.", "{name}");
        assert_eq!((summary.unreadable, summary.errors.as_str()), (0, ""), "{name}");
        // The figures of the scenario: 6,720 tokens read, 5,100 of them from the cache, and 155 written.
        let usage = Usage { cost_micro_usd: 0, ..summary.usage.unwrap() };
        let expected = Usage { input_tokens: 1620, cached_input_tokens: 5100, output_tokens: 155, ..Usage::default() };
        assert_eq!(usage, expected, "{name}");
        assert_eq!(classify(adapter, &outcome(&summary, 0, true)), Ok(()), "{name}");
        let nothing = classify(adapter, &outcome(&summary, 0, false)).unwrap_err();
        assert_eq!(nothing.0, Reason::NothingDone, "{name}");
        for size in [1, 7, 1000] {
            assert_eq!(
                read(adapter, file, "write-file", size),
                (events.clone(), summary.clone()),
                "{name}, chunks of {size}"
            );
        }
    }
}

#[test]
fn a_refused_credential_is_read_from_every_program() {
    for (name, file, code) in RECORDED {
        let adapter = builtin::find(name).unwrap();
        let (_, summary) = read(adapter, file, "e401", 4096);
        assert_ne!(summary.end, Some(End::Completed), "{name}");
        let (reason, message) = classify(adapter, &outcome(&summary, code, false)).unwrap_err();
        assert_eq!(reason, Reason::CredentialRejected, "{name}: {message}");
        assert!(message.contains("401"), "{name}: {message}");
    }
}

#[test]
fn numbers_for_the_whole_session_count_once() {
    let adapter = builtin::find("Codex").unwrap();
    let recording = fs::read(fixture("codex.write-file.jsonl")).unwrap();
    let mut reader = EventReader::new(adapter.events.clone(), Usage::default());
    reader.push(&recording);
    let first = reader.finish().1;
    assert_eq!(first.usage, Some(first.session_usage));
    assert_eq!(first.session_usage.input_tokens, 1620);

    // The resumed session reports 1,000 tokens of input more than before.
    let earlier = Usage { input_tokens: 620, output_tokens: 5000, cached_input_tokens: 5100, ..Usage::default() };
    let mut reader = EventReader::new(adapter.events.clone(), earlier);
    reader.push(&recording);
    let resumed = reader.finish().1;
    let usage = resumed.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.cached_input_tokens, usage.output_tokens), (1000, 0, 0));
    assert_eq!(resumed.session_usage, first.session_usage);
}

#[test]
fn claude_code_reports_its_own_budget() {
    let adapter = builtin::find("ClaudeCode").unwrap();
    let mut reader = EventReader::new(adapter.events.clone(), Usage::default());
    reader
        .push(b"{\"type\":\"result\",\"subtype\":\"error_max_budget_usd\",\"is_error\":true,\"total_cost_usd\":2.6}\n");
    let (_, summary) = reader.finish();
    assert_eq!(summary.usage.unwrap().cost_micro_usd, 2_600_000);
    assert_eq!(classify(adapter, &outcome(&summary, 1, true)).unwrap_err().0, Reason::BudgetExceeded);
}

#[test]
fn a_json_document_at_the_end_is_read() {
    let mut format = builtin::find("ClaudeCode").unwrap().events.clone();
    format.format = StreamFormat::Json;
    let lines = fs::read_to_string(fixture("claude-code.write-file.jsonl")).unwrap();
    let document = format!("[{}]", lines.lines().collect::<Vec<_>>().join(","));
    let mut reader = EventReader::new(format.clone(), Usage::default());
    assert_eq!(reader.push(document.as_bytes()), []);
    let (events, summary) = reader.finish();
    assert!(events.contains(&AgentEvent::Command { command: "cat hello.txt".into() }), "{events:?}");
    assert_eq!(summary.end, Some(End::Completed));
    for garbage in ["", "[", "null", "<html>"] {
        let mut reader = EventReader::new(format.clone(), Usage::default());
        reader.push(garbage.as_bytes());
        assert_eq!(reader.finish().1.end, None, "{garbage}");
    }
}

#[test]
fn long_lines_are_dropped() {
    let adapter = builtin::find("ClaudeCode").unwrap();
    let mut reader = EventReader::new(adapter.events.clone(), Usage::default());
    let long = format!("{{\"type\":\"result\",\"x\":\"{}\"}}\n", "y".repeat(2 << 20));
    let events = reader.push(long.as_bytes());
    assert!(matches!(&events[..], [AgentEvent::Output { text }] if text.contains("left out")), "{events:?}");
    assert_eq!(reader.push(b"{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"s\"}\n").len(), 1);
}

proptest! {
    #[test]
    fn no_output_is_an_error(
        output in proptest::collection::vec(any::<u8>(), 0..400), size in 1usize..50, adapter in 0usize..8, form in 0u8..3,
    ) {
        let format = builtin::all()[adapter].events.clone();
        let form = [StreamFormat::JsonLines, StreamFormat::Json, StreamFormat::Text][usize::from(form)];
        check(&EventFormat { format: form, ..format }, &output, size)?;
    }

    #[test]
    fn no_json_is_an_error(
        json in "(\\{\"(type|part|item|message)\":(\"(result|assistant|error|item.completed)\"|[0-9]{1,30}|\\[\\]|null|\\{\"content\":[^\n]{0,20}\\})\\}\n){0,5}",
        size in 1usize..50, adapter in 0usize..8,
    ) {
        check(&builtin::all()[adapter].events, json.as_bytes(), size)?;
    }
}

proptest! {
    // Each case reads megabytes.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Events whose texts, lists and numbers are as large as an agent likes.
    #[test]
    fn every_output_is_bounded(
        values in prop_oneof![0usize..50, Just(10_500)], text in "[a-z\"\\\\\u{0}\u{e4}]{0,20}", repeat in 0usize..600, number in any::<i64>(),
        adapter in 0usize..8, form in 0u8..3, lines in 1usize..3,
    ) {
        let format = builtin::all()[adapter].events.clone();
        let form = [StreamFormat::JsonLines, StreamFormat::Json, StreamFormat::Text][usize::from(form)];
        let text = text.repeat(repeat);
        for value in large_events(&text, values, number) {
            let line = format!("{value}\n");
            let output = if form == StreamFormat::Json { format!("[{}]", vec![line; lines].join(",")) } else { line.repeat(lines) };
            bounded(&EventFormat { format: form, ..format.clone() }, output.as_bytes())?;
        }
    }
}

/// Returns events of all programs with a large text, a large list and a large number.
fn large_events(text: &str, values: usize, number: i64) -> Vec<Value> {
    let contents =
        |kind: &str| vec![json!({"type": kind, "text": "x", "name": "Bash", "input": {"command": "x"}}); values];
    vec![
        json!({"type": "assistant", "message": {"content": contents("text")}}),
        json!({"type": "assistant", "message": {"content": contents("tool_use")}}),
        json!({"type": "message", "role": "assistant", "delta": true, "content": text}),
        json!({"type": "system", "subtype": "init", "session_id": text}),
        json!({"type": "tool_use", "tool_name": text, "parameters": {"a": text}, "part": {"tool": text, "state": {"input": text}}}),
        json!({"type": "error", "message": text, "error": {"data": {"message": text, "statusCode": number}}}),
        json!({"type": "item.completed", "item": {"type": "file_change", "changes": vec![json!({"path": "x"}); values]}}),
        json!({"type": "result", "is_error": true, "result": text, "errors": vec![text; values.min(50)], "total_cost_usd": number,
            "usage": {"input_tokens": number, "output_tokens": number, "cache_read_input_tokens": number}}),
        json!({"type": "turn.completed", "usage": {"input_tokens": number, "cached_input_tokens": number}}),
        json!({"modelMetrics": vec![json!({"usage": {"inputTokens": number, "outputTokens": number}}); values]}),
    ]
}

/// Checks the limits of what is kept of an output.
fn bounded(format: &EventFormat, output: &[u8]) -> Result<(), TestCaseError> {
    let mut reader = EventReader::new(format.clone(), Usage::default());
    let mut batches = vec![reader.push(output), reader.push_report(output)];
    let (last, summary) = reader.finish();
    batches.push(last);
    for events in &batches {
        prop_assert!(events.len() <= MAX_EVENTS + 1, "{} events", events.len());
        for event in events {
            let size = serde_json::to_value(event)
                .unwrap()
                .as_object()
                .unwrap()
                .values()
                .filter_map(Value::as_str)
                .map(str::len)
                .max();
            prop_assert!(size <= Some(MAX_EVENT_TEXT), "{size:?}");
        }
    }
    prop_assert!(summary.errors.len() <= 16 << 10 && summary.last_message.len() <= MAX_EVENT_TEXT);
    prop_assert!(summary.session.is_none_or(|session| session.len() <= MAX_EVENT_TEXT));
    Ok(())
}

/// Checks that the events do not depend on the chunks.
fn check(format: &EventFormat, output: &[u8], size: usize) -> Result<(), TestCaseError> {
    let read = |size: usize| {
        let mut reader = EventReader::new(format.clone(), Usage::default());
        let mut events: Vec<AgentEvent> = output.chunks(size).flat_map(|chunk| reader.push(chunk)).collect();
        let (last, summary) = reader.finish();
        events.extend(last);
        (events, summary)
    };
    prop_assert_eq!(read(size), read(output.len().max(1)));
    Ok(())
}
