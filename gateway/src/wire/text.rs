//! The text of an answer that is a stream: what its events add to it.

use serde_json::Value;

/// Appends what an event adds to the text of the answer, in any of the formats: words, thoughts, and calls of tools.
pub fn append(event: &Value, text: &mut String) {
    responses(event, text);
    anthropic(event, text);
    for choice in items(&event["choices"]) {
        chat(&choice["delta"], text);
    }
    for part in items(&event["candidates"]).flat_map(|candidate| items(&candidate["content"]["parts"])) {
        add(&part["text"], text);
        let call = &part["functionCall"];
        if call.is_object() {
            call_of(&call["name"], text);
            text.push_str(&call["args"].to_string());
        }
    }
}

fn responses(event: &Value, text: &mut String) {
    if event["type"].as_str().and_then(|kind| kind.rsplit_once('.')).is_some_and(|(_, last)| last == "delta") {
        add(&event["delta"], text);
    }
    if event["type"] == "response.output_item.added" {
        call_of(&event["item"]["name"], text);
    }
}

fn anthropic(event: &Value, text: &mut String) {
    if event["content_block"]["type"] == "tool_use" {
        call_of(&event["content_block"]["name"], text);
    }
    for key in ["text", "thinking", "partial_json"] {
        add(&event["delta"][key], text);
    }
}

fn chat(delta: &Value, text: &mut String) {
    for key in ["content", "reasoning_content", "refusal"] {
        add(&delta[key], text);
    }
    for function in items(&delta["tool_calls"]).map(|call| &call["function"]) {
        call_of(&function["name"], text);
        add(&function["arguments"], text);
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn add(value: &Value, text: &mut String) {
    text.push_str(value.as_str().unwrap_or_default());
}

/// Begins a line for the call of a tool.
fn call_of(name: &Value, text: &mut String) {
    if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
        text.push_str("\n→ ");
        text.push_str(name);
        text.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(events: &[Value]) -> String {
        let mut text = String::new();
        for event in events {
            append(event, &mut text);
        }
        text
    }

    #[test]
    fn all_formats_have_text_and_calls() {
        let chat = |delta: Value| json!({ "choices": [{ "delta": delta }] });
        let expected = "I look.\n→ read {\"path\":\"a\"}";
        for events in [
            [
                chat(json!({ "content": "I look." })),
                chat(json!({ "tool_calls": [{ "function": { "name": "read", "arguments": "" } }] })),
                chat(json!({ "tool_calls": [{ "function": { "arguments": "{\"path\":\"a\"}" } }] })),
                json!({ "choices": [], "usage": {} }),
            ],
            [
                json!({ "type": "content_block_delta", "delta": { "type": "text_delta", "text": "I look." } }),
                json!({ "type": "content_block_start", "content_block": { "type": "tool_use", "name": "read", "input": {} } }),
                json!({ "type": "content_block_delta", "delta": { "type": "input_json_delta", "partial_json": "{\"path\":\"a\"}" } }),
                json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" } }),
            ],
            [
                json!({ "type": "response.output_text.delta", "delta": "I look." }),
                json!({ "type": "response.output_item.added", "item": { "type": "function_call", "name": "read" } }),
                json!({ "type": "response.function_call_arguments.delta", "delta": "{\"path\":\"a\"}" }),
                json!({ "type": "response.completed", "response": { "output": [{ "text": "I look." }] } }),
            ],
            [
                json!({ "candidates": [{ "content": { "parts": [{ "text": "I " }, { "text": "look." }] } }] }),
                json!({ "candidates": [{ "content": { "parts": [{ "functionCall": { "name": "read", "args": { "path": "a" } } }] } }] }),
                json!({ "candidates": [{ "finishReason": "STOP" }] }),
                json!("not an object"),
            ],
        ] {
            assert_eq!(text(&events), expected, "{events:?}");
        }
    }
}
