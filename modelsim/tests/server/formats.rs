//! Each wire format: what arrives for an answer with thoughts, text and a call, streamed and not, and which tokens it states.

use crate::support::{Response, get, post, start};
use enact_modelsim::{Server, Usage};
use serde_json::{Value, json};

const SCENARIO: &str = r"
name: s
models: [large, small]
pace: {eventBytes: 5}
rules:
  - name: write
    when: {prompt: 'Task (?<task>T\d+)'}
    steps:
      - thoughts: Hmm.
        text: I write it.
        calls: [{writeFile: {path: '{{task}}.txt', content: 'done'}}]
        usage: {input: 100, cachedInput: 50, cacheWrite: 7, output: 30, reasoning: 4}
      - text: It is done.
        usage: {input: 10, cachedInput: 150, output: 5}
";
const PROMPT: &str = "Task T007: write a file";
/// What the first answer states in formats without a figure for writes to the cache.
const FIRST: Usage = Usage { input: 107, cached_input: 50, cache_write: 0, output: 30, reasoning: 4 };

fn schema() -> Value {
    json!({"type": "object", "properties": {"file_path": {"type": "string"}, "content": {"type": "string"}},
        "required": ["file_path", "content"]})
}

fn arguments() -> Value {
    json!({"file_path": "T007.txt", "content": "done"})
}

/// Joins the texts at a pointer of all events that have one.
fn joined(events: &[Value], pointer: &str) -> String {
    events.iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect()
}

fn billed(server: &Server, run: &str) -> Usage {
    server.served(run).runs[0].totals.usage
}

fn assert_stream(response: &Response) {
    assert_eq!(response.status, 200);
    assert!(response.complete);
    assert!(response.headers["content-type"].starts_with("text/event-stream"));
}

#[tokio::test]
async fn anthropic_streams_blocks_in_order() {
    let server = start(&[SCENARIO]).await;
    let body = json!({"model": "large", "stream": true, "messages": [{"role": "user", "content": PROMPT}],
        "tools": [{"name": "Write", "input_schema": schema()}]});
    let response = post(&server, "/s/a/v1/messages?beta=true", &body).await;
    assert_stream(&response);
    let mut names = response.names();
    names.dedup();
    let block = ["content_block_start", "content_block_delta", "content_block_stop"];
    let first = ["message_start", "content_block_start", "ping", "content_block_delta", "content_block_stop"];
    let expected: Vec<&str> =
        first.into_iter().chain(block).chain(block).chain(["message_delta", "message_stop"]).collect();
    assert_eq!(names, expected);
    let events = response.events();
    assert_eq!(joined(&events, "/delta/thinking"), "Hmm.");
    assert_eq!(joined(&events, "/delta/text"), "I write it.");
    let input: Value = serde_json::from_str(&joined(&events, "/delta/partial_json")).unwrap();
    assert_eq!(input, arguments());
    let start = &events[0]["message"]["usage"];
    assert_eq!((&start["input_tokens"], &start["cache_read_input_tokens"]), (&json!(100), &json!(50)));
    let end = &events[events.len() - 2];
    assert_eq!((&end["delta"]["stop_reason"], &end["usage"]["output_tokens"]), (&json!("tool_use"), &json!(30)));
    let usage = Usage { input: 100, cached_input: 50, cache_write: 7, output: 30, reasoning: 0 };
    assert_eq!(billed(&server, "a"), usage);
}

#[tokio::test]
async fn anthropic_answers_in_one_piece() {
    let server = start(&[SCENARIO]).await;
    let history = json!([
        {"role": "user", "content": [{"type": "text", "text": "<reminder>"}, {"type": "text", "text": PROMPT}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Write", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok"},
            {"type": "text", "text": "a reminder"}]},
    ]);
    let body = json!({"model": "large", "messages": history, "tools": [{"name": "Write", "input_schema": schema()}]});
    let message = post(&server, "/s/a/v1/messages", &body).await.json();
    assert_eq!(message["content"], json!([{"type": "text", "text": "It is done."}]));
    assert_eq!((&message["stop_reason"], &message["usage"]["input_tokens"]), (&json!("end_turn"), &json!(10)));
    let count = post(&server, "/s/a/v1/messages/count_tokens", &body).await.json();
    assert_eq!(count["input_tokens"], json!(body.to_string().len().div_ceil(4)));
}

#[tokio::test]
async fn chat_completions_stream_deltas_then_usage() {
    let server = start(&[SCENARIO]).await;
    let tools = json!([{"type": "function", "function": {"name": "write_file", "parameters": schema()}}]);
    let body = json!({"model": "large", "stream": true, "stream_options": {"include_usage": true}, "tools": tools,
        "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": PROMPT}]});
    let response = post(&server, "/s/a/v1/chat/completions", &body).await;
    assert_stream(&response);
    let events = response.events();
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(joined(&events, "/choices/0/delta/reasoning_content"), "Hmm.");
    assert_eq!(joined(&events, "/choices/0/delta/content"), "I write it.");
    let input = joined(&events, "/choices/0/delta/tool_calls/0/function/arguments");
    assert_eq!(serde_json::from_str::<Value>(&input).unwrap(), arguments());
    let [.., finish, usage, done] = events.as_slice() else { panic!("too few events") };
    assert_eq!(finish["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["prompt_tokens"], 157);
    assert_eq!(usage["usage"]["prompt_tokens_details"]["cached_tokens"], 50);
    assert_eq!(usage["usage"]["completion_tokens_details"]["reasoning_tokens"], 4);
    assert_eq!(done, "[DONE]");
    assert_eq!(billed(&server, "a"), FIRST);
}

#[tokio::test]
async fn a_chat_stream_states_usage_only_when_asked() {
    let server = start(&[SCENARIO]).await;
    let body = json!({"model": "large", "stream": true, "messages": [{"role": "user", "content": "hello"}]});
    let response = post(&server, "/v1/chat/completions", &body).await;
    assert!(!response.text().contains("usage"), "{}", response.text());
}

#[tokio::test]
async fn chat_completions_answer_in_one_piece() {
    let server = start(&[SCENARIO]).await;
    let tools = json!([{"type": "function", "function": {"name": "write_file", "parameters": schema()}}]);
    let body = json!({"model": "large", "tools": tools, "messages": [{"role": "user", "content": PROMPT}]});
    let completion = post(&server, "/s/a/v1/chat/completions", &body).await.json();
    let message = &completion["choices"][0]["message"];
    assert_eq!(message["content"], "I write it.");
    let input = message["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(input).unwrap(), arguments());
    assert_eq!(completion["usage"]["total_tokens"], 187);
}

#[tokio::test]
async fn responses_stream_numbered_events() {
    let server = start(&[SCENARIO]).await;
    let input = json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": PROMPT}]}]);
    let tools = json!([{"type": "function", "name": "write", "parameters": schema()}]);
    let body = json!({"model": "large", "stream": true, "store": false, "input": input, "tools": tools});
    let response = post(&server, "/s/a/v1/responses", &body).await;
    assert_stream(&response);
    let events = response.events();
    for (number, (event, name)) in events.iter().zip(response.names()).enumerate() {
        assert_eq!((&event["sequence_number"], &event["type"]), (&json!(number), &json!(name)));
    }
    let names = response.names();
    assert_eq!(names[..2], ["response.created", "response.in_progress"]);
    assert_eq!(names.last(), Some(&"response.completed"));
    let output = &events.last().unwrap()["response"]["output"];
    assert_eq!(output[1]["content"][0]["text"], "I write it.");
    assert_eq!(output[2]["type"], "function_call");
    assert_eq!(serde_json::from_str::<Value>(output[2]["arguments"].as_str().unwrap()).unwrap(), arguments());
    let usage = &events.last().unwrap()["response"]["usage"];
    assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(157), &json!(30)));
    assert_eq!(usage["input_tokens_details"]["cached_tokens"], 50);
    assert_eq!(billed(&server, "a"), FIRST);
}

#[tokio::test]
async fn responses_answer_in_one_piece() {
    let server = start(&[SCENARIO]).await;
    let input = json!([
        {"role": "user", "content": PROMPT},
        {"type": "function_call", "call_id": "c", "name": "write", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "ok"},
    ]);
    let tools = json!([{"type": "function", "name": "write", "parameters": schema()}]);
    let response =
        post(&server, "/s/a/v1/responses", &json!({"model": "m", "input": input, "tools": tools})).await.json();
    assert_eq!(response["output"][0]["content"][0]["text"], "It is done.");
    assert_eq!((&response["status"], &response["usage"]["total_tokens"]), (&json!("completed"), &json!(165)));
}

fn gemini(turns: &Value) -> Value {
    let function = json!({"name": "write_file", "parametersJsonSchema": schema()});
    json!({"contents": turns, "tools": [{"functionDeclarations": [function]}]})
}

#[tokio::test]
async fn gemini_streams_chunks_without_an_end_marker() {
    let server = start(&[SCENARIO]).await;
    let body = gemini(&json!([{"role": "user", "parts": [{"text": PROMPT}]}]));
    let response = post(&server, "/s/a/v1beta/models/large:streamGenerateContent?alt=sse", &body).await;
    assert_stream(&response);
    let events = response.events();
    assert!(events.iter().all(Value::is_object), "no [DONE]");
    let call = events.iter().find_map(|event| event.pointer("/candidates/0/content/parts/0/functionCall")).unwrap();
    assert_eq!((&call["name"], &call["args"]), (&json!("write_file"), &arguments()));
    let last = events.last().unwrap();
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    let usage = json!({"promptTokenCount": 157, "cachedContentTokenCount": 50, "candidatesTokenCount": 26,
        "thoughtsTokenCount": 4, "totalTokenCount": 187});
    assert_eq!(last["usageMetadata"], usage);
    assert_eq!(billed(&server, "a"), FIRST);
}

#[tokio::test]
async fn gemini_streams_an_array_by_default() {
    let server = start(&[SCENARIO]).await;
    let body = gemini(&json!([{"role": "user", "parts": [{"text": PROMPT}]}]));
    let response = post(&server, "/s/a/v1beta/models/large:streamGenerateContent", &body).await;
    assert_eq!(response.json().as_array().unwrap().last().unwrap()["candidates"][0]["finishReason"], "STOP");
}

#[tokio::test]
async fn gemini_answers_in_one_piece() {
    let server = start(&[SCENARIO]).await;
    let response = json!({"functionResponse": {"name": "write_file", "response": {"output": "ok"}}});
    let turns = json!([
        {"role": "user", "parts": [{"text": PROMPT}]},
        {"role": "model", "parts": [{"functionCall": {"name": "write_file", "args": {}}}]},
        {"role": "user", "parts": [response]},
    ]);
    let answer = post(&server, "/s/a/v1beta/models/large:generateContent", &gemini(&turns)).await.json();
    assert_eq!(answer["candidates"][0]["content"]["parts"][0]["text"], "It is done.");
    let count = post(&server, "/s/a/v1beta/models/large:countTokens", &gemini(&turns)).await.json();
    assert!(count["totalTokens"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_json_schema_is_followed_when_no_rule_matches() {
    let server = start(&[SCENARIO]).await;
    let schema = json!({"type": "OBJECT", "required": ["complexity_score"],
        "properties": {"complexity_score": {"type": "INTEGER"}}});
    let body = json!({"contents": [{"role": "user", "parts": [{"text": PROMPT}]}],
        "generationConfig": {"responseMimeType": "application/json", "responseSchema": schema}});
    let answer = post(&server, "/v1beta/models/large:generateContent", &body).await.json();
    assert_eq!(answer["candidates"][0]["content"]["parts"][0]["text"], r#"{"complexity_score":1}"#);
}

#[tokio::test]
async fn lists_the_scenarios_models() {
    let server = start(&[SCENARIO]).await;
    let list = get(&server, "/v1/models").await.json();
    assert_eq!((&list["data"][0]["id"], &list["data"][1]["id"]), (&json!("large"), &json!("small")));
    let list = get(&server, "/s/a/v1beta/models").await.json();
    assert_eq!(list["models"][1]["name"], "models/small");
}
