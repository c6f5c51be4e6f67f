//! OpenAI Chat Completions.

use serde_json::{Map, Value, json};

use super::openai;
use crate::conversation::{Conversation, Format, Tool, text};
use crate::reply::{Event, Part, Problem, Reply, Stop};
use crate::usage::Usage;

/// Reads a request.
pub fn parse(body: &Value) -> Conversation {
    let mut conversation = Conversation::new(Format::ChatCompletions, body["model"].as_str().unwrap_or_default());
    conversation.stream = body["stream"] == true;
    conversation.include_usage = body["stream_options"]["include_usage"] == true;
    for message in body["messages"].as_array().into_iter().flatten() {
        let content = text(&message["content"]);
        match message["role"].as_str() {
            Some("system" | "developer") => conversation.add_system(&content),
            Some("user") => conversation.add_user(content),
            Some("tool" | "function") => conversation.add_result(content),
            _ => {}
        }
    }
    let functions = body["tools"].as_array().into_iter().flatten().map(|tool| &tool["function"]);
    conversation.tools = functions
        .filter(|function| function.is_object())
        .map(|function| Tool::new(function["name"].as_str().unwrap_or_default(), &function["parameters"]))
        .collect();
    conversation.schema = match body["response_format"]["type"].as_str() {
        Some("json_schema") => Some(body["response_format"]["json_schema"]["schema"].clone()),
        Some("json_object") => Some(json!({"type": "object"})),
        _ => None,
    };
    conversation
}

/// Encodes an answer.
pub fn encode(reply: &Reply) -> Value {
    let mut message = json!({"role": "assistant", "content": null, "refusal": null});
    let mut calls = Vec::new();
    for part in &reply.parts {
        match part {
            Part::Thoughts(text) => message["reasoning_content"] = json!(text),
            Part::Text(text) => {
                let before = message["content"].as_str().unwrap_or_default();
                message["content"] = json!(format!("{before}{text}"));
            }
            Part::Refusal(text) => message["refusal"] = json!(text),
            Part::Call { id, call } => calls.push(json!({
                "id": format!("call_{id}"),
                "type": "function",
                "function": {"name": call.name, "arguments": call.input.text()},
            })),
        }
    }
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    let mut completion = head(reply, "chat.completion");
    completion.insert(
        "choices".to_owned(),
        json!([{"index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(reply.stop)}]),
    );
    completion.insert("usage".to_owned(), usage(reply.usage));
    Value::Object(completion)
}

/// Encodes an answer as a stream.
pub fn stream(reply: &Reply) -> Vec<Event> {
    let chunk = |delta: Value, finish: Option<&str>| {
        let mut chunk = head(reply, "chat.completion.chunk");
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
        chunk.insert("choices".to_owned(), json!([choice]));
        if reply.include_usage {
            chunk.insert("usage".to_owned(), Value::Null);
        }
        Event::data(&Value::Object(chunk))
    };
    let mut events = vec![chunk(json!({"role": "assistant", "content": ""}), None)];
    let mut index = 0;
    for part in &reply.parts {
        let (text, field) = match part {
            Part::Thoughts(text) => (text, "reasoning_content"),
            Part::Text(text) => (text, "content"),
            Part::Refusal(text) => (text, "refusal"),
            Part::Call { id, call } => {
                let begin = json!({"index": index, "id": format!("call_{id}"), "type": "function",
                    "function": {"name": call.name, "arguments": ""}});
                events.push(chunk(json!({"tool_calls": [begin]}), None));
                let input = call.input.text();
                events.extend(reply.pieces(&input).iter().map(|piece| {
                    chunk(json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}), None)
                }));
                index += 1;
                continue;
            }
        };
        events.extend(reply.pieces(text).iter().map(|piece| chunk(json!({field: piece}), None)));
    }
    events.push(chunk(json!({}), Some(finish_reason(reply.stop))));
    if reply.include_usage {
        let mut last = head(reply, "chat.completion.chunk");
        last.insert("choices".to_owned(), json!([]));
        last.insert("usage".to_owned(), usage(reply.usage));
        events.push(Event::data(&Value::Object(last)));
    }
    events.push(Event { name: None, data: "[DONE]".to_owned() });
    events
}

/// Encodes an error in a stream.
pub fn stream_error(problem: &Problem) -> Event {
    Event::data(&openai::error(problem))
}

fn head(reply: &Reply, object: &str) -> Map<String, Value> {
    let fields = [
        ("id", json!(format!("chatcmpl-{}", reply.id))),
        ("object", json!(object)),
        ("created", json!(reply.created)),
        ("model", json!(reply.model)),
        ("system_fingerprint", json!("fp_scripted")),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn finish_reason(stop: Stop) -> &'static str {
    match stop {
        // A refusal is in a field of its own.
        Stop::End | Stop::Refused => "stop",
        Stop::Calls => "tool_calls",
        Stop::Limit => "length",
    }
}

fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt(),
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt() + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}
