//! Faults: what arrives, and what the ledger says about it.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use crate::support::{Response, get, open, post, send, start, start_with};
use enact_modelsim::{Config, Outcome, Scenario, Server};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

const FAULTS: &str = include_str!("../../scenarios/faults.yaml");

fn body(fault: &str, stream: bool) -> Value {
    let schema = json!({"type": "object", "properties": {"command": {"type": "string"}}});
    json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": format!("fault:{fault}")}],
        "tools": [{"name": "Bash", "input_schema": schema}]})
}

async fn ask(server: &Server, fault: &str, stream: bool) -> Response {
    post(server, &format!("/faults/{fault}/v1/messages"), &body(fault, stream)).await
}

fn outcome(server: &Server, run: &str) -> Outcome {
    server.served(run).answers.last().unwrap().outcome
}

#[tokio::test]
async fn errors_have_the_providers_form() {
    let server = start(&[FAULTS]).await;
    let response = ask(&server, "unauthorized", true).await;
    assert_eq!((response.status, &response.json()["error"]["type"]), (401, &json!("authentication_error")));
    assert_eq!(outcome(&server, "unauthorized"), Outcome::Error);
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "fault:quota"}]});
    let response = post(&server, "/faults/q/v1/chat/completions", &chat).await;
    assert_eq!(response.json()["error"]["code"], "insufficient_quota");
    assert_eq!(response.headers["x-ratelimit-reset-requests"], "3600s");
    let gemini = json!({"contents": [{"role": "user", "parts": [{"text": "fault:quota"}]}]});
    let response = post(&server, "/faults/q/v1beta/models/m:generateContent", &gemini).await;
    assert_eq!(response.json()["error"]["details"][0]["retryDelay"], "3600s");
    assert_eq!(server.served("q").runs[0].totals.errors[&429], 2);
}

#[tokio::test]
async fn a_rate_limit_has_retry_after_only_when_the_scenario_says_so() {
    let server = start(&[FAULTS]).await;
    assert!(!ask(&server, "rate-limited", true).await.headers.contains_key("retry-after"));
    for status in [429, 429, 200] {
        let response = ask(&server, "briefly-rate-limited", true).await;
        assert_eq!(response.status, status);
        assert_eq!(response.headers.contains_key("retry-after"), status == 429);
    }
}

#[tokio::test]
async fn a_truncated_response_is_not_billed() {
    let server = start(&[FAULTS]).await;
    for stream in [true, false] {
        let response = ask(&server, "truncated", stream).await;
        assert_eq!((response.status, response.complete), (200, false));
        assert!(!response.body.is_empty());
    }
    let totals = server.served("truncated").runs[0].totals.clone();
    assert_eq!((totals.completed, totals.incomplete, totals.usage.output), (0, 2, 0));
}

#[tokio::test]
async fn a_reset_connection_is_an_error_of_the_client() {
    let server = start(&[FAULTS]).await;
    let response = ask(&server, "reset", true).await;
    assert_eq!((response.status, response.error), (200, Some(ErrorKind::ConnectionReset)));
    let response = ask(&server, "no-answer", true).await;
    assert_eq!((response.status, response.error), (0, Some(ErrorKind::ConnectionReset)));
    assert_eq!(outcome(&server, "no-answer"), Outcome::Incomplete);
}

#[tokio::test]
async fn an_error_can_come_in_the_stream() {
    let server = start(&[FAULTS]).await;
    let response = ask(&server, "stream-error", true).await;
    assert_eq!(response.names().last(), Some(&"error"));
    assert_eq!(response.events().last().unwrap()["error"]["type"], "overloaded_error");
    assert_eq!(outcome(&server, "stream-error"), Outcome::Incomplete);
    assert_eq!(ask(&server, "stream-error", false).await.status, 529);
}

#[tokio::test]
async fn a_stalled_stream_stays_open() {
    let server = start(&[FAULTS]).await;
    let body = body("stalled", true).to_string();
    let mut stream = open(&server, "POST", "/faults/stalled/v1/messages", &[], &body).await;
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut bytes)).await;
    assert!(ended.is_err(), "the response must not end");
    assert!(String::from_utf8(bytes).unwrap().contains("content_block_start"));
    drop(stream);
    // The ledger notices a client that left.
    let start = Instant::now();
    while server.served("stalled").answers.is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "the answer is not in the ledger");
        tokio::task::yield_now().await;
    }
    assert_eq!(outcome(&server, "stalled"), Outcome::Incomplete);
}

#[tokio::test]
async fn garbage_is_not_json() {
    let server = start(&[FAULTS]).await;
    let response = ask(&server, "garbage", false).await;
    assert_eq!(response.status, 200);
    assert!(serde_json::from_slice::<Value>(&response.body).is_err());
    assert_eq!(outcome(&server, "garbage"), Outcome::Incomplete);
}

#[tokio::test]
async fn a_huge_answer_has_the_size_of_the_scenario() {
    let yaml = "
name: huge
rules:
  - when: {prompt: many}
    steps: [{fault: {huge: {bytes: 10000000}}}]
  - steps: [{fault: {huge: {bytes: 10000000, singleEvent: true}}}]
";
    let server = start(&[yaml]).await;
    let size = |response: &Response| response.body.len() / 1_000_000;
    let ask = async |prompt: &str, stream: bool| {
        let body = json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": prompt}]});
        post(&server, "/huge/r/v1/messages", &body).await
    };
    let events = ask("many", true).await;
    assert_eq!((size(&events), events.complete), (10, true));
    assert!(events.events().len() > 100);
    let single = ask("one", true).await;
    assert!(single.events().iter().any(|event| event["delta"]["text"].as_str().is_some_and(|t| t.len() > 9_000_000)));
    let whole = ask("one", false).await;
    assert!(whole.json()["content"][0]["text"].as_str().unwrap().len() > 9_000_000);
}

#[tokio::test]
async fn a_slow_answer_takes_its_time() {
    let yaml = "
name: slow
rules: [{steps: [{text: abcdef, pace: {firstByteMs: 100, eventMs: 20, eventBytes: 1}}]}]
";
    let server = start(&[yaml]).await;
    let start = Instant::now();
    let body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "x"}]});
    let response = post(&server, "/slow/r/v1/messages", &body).await;
    let gaps = u32::try_from(response.events().len() - 1).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(100) + gaps * Duration::from_millis(20));
}

#[tokio::test]
async fn refusals_and_limits_end_the_answer() {
    let server = start(&[FAULTS]).await;
    assert_eq!(ask(&server, "refusal", false).await.json()["stop_reason"], "refusal");
    assert_eq!(ask(&server, "cut-off", false).await.json()["stop_reason"], "max_tokens");
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "fault:refusal"}]});
    let completion = post(&server, "/faults/r/v1/chat/completions", &chat).await.json();
    assert_eq!(completion["choices"][0]["message"]["refusal"], "I cannot help with this request.");
    let gemini = json!({"contents": [{"role": "user", "parts": [{"text": "fault:refusal"}]}]});
    let answer = post(&server, "/faults/r/v1beta/models/m:generateContent", &gemini).await.json();
    assert_eq!(answer["candidates"][0]["finishReason"], "SAFETY");
    let responses = json!({"model": "m", "input": "fault:cut-off"});
    let response = post(&server, "/faults/r/v1/responses", &responses).await.json();
    assert_eq!(response["incomplete_details"]["reason"], "max_output_tokens");
}

#[tokio::test]
async fn a_key_is_required_in_any_place_that_providers_accept() {
    let scenarios = vec![Scenario::built_in()];
    let server = start_with(Config { scenarios, api_key: Some("secret".to_owned()), canaries: vec![] }).await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}).to_string();
    let status = async |path: &str, headers: &[(&str, &str)]| send(&server, "POST", path, headers, &body).await.status;
    let gemini = "/v1beta/models/m:generateContent";
    assert_eq!(status("/v1/messages", &[("x-api-key", "secret")]).await, 200);
    assert_eq!(status("/v1/chat/completions", &[("authorization", "Bearer secret")]).await, 200);
    assert_eq!(status(gemini, &[("x-goog-api-key", "secret")]).await, 200);
    assert_eq!(status(&format!("{gemini}?key=secret"), &[]).await, 200);
    for path in ["/v1/messages", "/v1/responses", gemini] {
        assert_eq!(status(path, &[("authorization", "Bearer wrong")]).await, 401);
    }
}

#[tokio::test]
async fn requests_are_listed_without_values() {
    let server = start(&[FAULTS]).await;
    let headers = [("x-api-key", "sk-canary-1"), ("x-other", "visible")];
    send(&server, "POST", "/faults/r/v1/messages", &headers, &body("nothing", false).to_string()).await;
    let text = get(&server, "/_requests").await.text().to_owned();
    assert!(text.contains("x-other") && !text.contains("visible") && !text.contains("sk-canary"), "{text}");
    let received = &server.received()[0];
    assert_eq!(
        (received.canaries_in_head.as_slice(), received.canaries_in_body.len()),
        (["key".to_owned()].as_slice(), 0)
    );
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let server = start(&[FAULTS]).await;
    let status = async |path: &str, body: &str| send(&server, "POST", path, &[], body).await.status;
    assert_eq!(status("/v1/messages", "no JSON").await, 400);
    assert_eq!(status("/unknown/r/v1/messages", "{}").await, 404);
    assert_eq!(status("/faults/r/v1/embeddings", "{}").await, 404);
    assert_eq!(get(&server, "/healthz").await.text(), "ok\n");
}

#[test]
fn invalid_scenarios_are_refused() {
    for (yaml, expected) in [
        ("name: v1", "invalid"),
        ("name: a\nrules: [{steps: []}]", "has no steps"),
        ("name: a\nrules: [{steps: [{text: a}, {text: b}]}]", "not the last one"),
        ("name: a\nrules: [{endless: true, steps: [{text: a}]}]", "endless"),
        ("name: a\nrules: [{when: {prompt: '('}, steps: [{text: a}]}]", "regex"),
        ("name: a\nunknown: 1", "unknown"),
        ("name: a\npace: {eventBytes: 0}", "eventBytes 0"),
        ("name: a\nrules: [{steps: [{text: a, pace: {eventBytes: 0}}]}]", "eventBytes 0"),
    ] {
        let error = Scenario::parse(yaml).unwrap_err().to_string();
        assert!(error.contains(expected), "{yaml}: {error}");
    }
}
