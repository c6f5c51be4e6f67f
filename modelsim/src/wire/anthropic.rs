//! Anthropic Messages.

use serde_json::{Value, json};

use crate::conversation::{Conversation, Format, Tool, text};
use crate::reply::{Event, Part, Problem, Reply, Stop};
use crate::tools::Input;
use crate::usage::Usage;

/// Reads a request.
pub fn parse(body: &Value) -> Conversation {
    let mut conversation = Conversation::new(Format::Anthropic, body["model"].as_str().unwrap_or_default());
    conversation.stream = body["stream"] == true;
    conversation.add_system(&text(&body["system"]));
    for message in body["messages"].as_array().into_iter().flatten() {
        match message["role"].as_str() {
            Some("user") => add_content(&mut conversation, &message["content"]),
            // Claude Code inserts system messages into the history.
            Some("system") => conversation.add_system(&text(&message["content"])),
            _ => {}
        }
    }
    // A tool without a schema is one of Anthropic's own, which the provider runs.
    let tools = body["tools"].as_array().into_iter().flatten().filter(|tool| tool["input_schema"].is_object());
    conversation.tools =
        tools.map(|tool| Tool::new(tool["name"].as_str().unwrap_or_default(), &tool["input_schema"])).collect();
    let schemas = [&body["output_config"]["format"]["schema"], &body["output_format"]["schema"]];
    conversation.schema = schemas.into_iter().find(|schema| schema.is_object()).cloned();
    conversation
}

/// Adds the results of tools and then the text of a user message.
fn add_content(conversation: &mut Conversation, content: &Value) {
    let Some(blocks) = content.as_array() else {
        conversation.add_user(text(content));
        return;
    };
    let (results, other): (Vec<&Value>, Vec<&Value>) = blocks.iter().partition(|block| block["type"] == "tool_result");
    for result in results {
        conversation.add_result(text(&result["content"]));
    }
    let texts: Vec<&str> = other.into_iter().filter_map(|block| block["text"].as_str()).collect();
    conversation.add_user(texts.join("\n"));
}

/// Encodes an answer.
pub fn encode(reply: &Reply) -> Value {
    let content: Vec<Value> = reply.parts.iter().map(|part| block(part, true)).collect();
    let mut message = message(reply, &content);
    message["stop_reason"] = json!(stop_reason(reply.stop));
    message["usage"] = usage(reply.usage, reply.usage.output);
    message
}

/// Encodes an answer as a stream.
pub fn stream(reply: &Reply) -> Vec<Event> {
    let mut events = vec![named("message_start", json!({"message": message(reply, &[])}))];
    for (index, part) in reply.parts.iter().enumerate() {
        let delta = |delta: Value| named("content_block_delta", json!({"index": index, "delta": delta}));
        events.push(named("content_block_start", json!({"index": index, "content_block": block(part, false)})));
        if index == 0 {
            events.push(named("ping", json!({})));
        }
        match part {
            Part::Thoughts(thoughts) => {
                let pieces = reply.pieces(thoughts);
                events.extend(pieces.iter().map(|piece| delta(json!({"type": "thinking_delta", "thinking": piece}))));
                events.push(delta(json!({"type": "signature_delta", "signature": SIGNATURE})));
            }
            Part::Text(text) | Part::Refusal(text) => {
                let pieces = reply.pieces(text);
                events.extend(pieces.iter().map(|piece| delta(json!({"type": "text_delta", "text": piece}))));
            }
            Part::Call { call, .. } => {
                let input = call.input.text();
                let pieces = reply.pieces(&input);
                events.extend(
                    pieces.iter().map(|piece| delta(json!({"type": "input_json_delta", "partial_json": piece}))),
                );
            }
        }
        events.push(named("content_block_stop", json!({"index": index})));
    }
    let end = json!({"stop_reason": stop_reason(reply.stop), "stop_sequence": null});
    events.push(named("message_delta", json!({"delta": end, "usage": usage(reply.usage, reply.usage.output)})));
    events.push(named("message_stop", json!({})));
    events
}

/// Encodes an error.
pub fn error(problem: &Problem) -> Value {
    let usual = match problem.status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    let code = problem.code.as_deref().unwrap_or(usual);
    json!({"type": "error", "error": {"type": code, "message": problem.message}, "request_id": "req_scripted"})
}

/// Encodes an error in a stream.
pub fn stream_error(problem: &Problem) -> Event {
    Event::named("error", &error(problem))
}

/// Encodes the number of tokens of a request.
pub fn count(tokens: u64) -> Value {
    json!({"input_tokens": tokens})
}

/// Stands for the signature by which the provider recognises its own thoughts.
const SIGNATURE: &str = "c2NyaXB0ZWQ=";

fn named(name: &'static str, mut data: Value) -> Event {
    data["type"] = json!(name);
    Event::named(name, &data)
}

/// Returns the message before its end is known.
fn message(reply: &Reply, content: &[Value]) -> Value {
    json!({
        "id": format!("msg_{}", reply.id),
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": content,
        "stop_reason": null,
        "stop_sequence": null,
        "usage": usage(reply.usage, reply.usage.output.min(1)),
    })
}

/// Returns a block of content, complete or as it begins.
fn block(part: &Part, complete: bool) -> Value {
    let of = |text: &str| if complete { text.to_owned() } else { String::new() };
    match part {
        Part::Thoughts(thoughts) => json!({"type": "thinking", "thinking": of(thoughts), "signature": of(SIGNATURE)}),
        Part::Text(text) | Part::Refusal(text) => json!({"type": "text", "text": of(text)}),
        Part::Call { id, call } => {
            let input = match &call.input {
                Input::Arguments(arguments) if complete => arguments.clone(),
                _ => json!({}),
            };
            json!({"type": "tool_use", "id": format!("toolu_{id}"), "name": call.name, "input": input})
        }
    }
}

fn stop_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::End => "end_turn",
        Stop::Calls => "tool_use",
        Stop::Limit => "max_tokens",
        Stop::Refused => "refusal",
    }
}

fn usage(usage: Usage, output: u64) -> Value {
    json!({
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached_input,
        "output_tokens": output,
        "service_tier": "standard",
    })
}
