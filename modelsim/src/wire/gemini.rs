//! Gemini generateContent.

use serde_json::{Value, json};

use crate::conversation::{Conversation, Format, Tool};
use crate::reply::{Event, Part, Problem, Reply, Stop};
use crate::tools::Input;
use crate::usage::Usage;

/// Reads a request. Its path names the model and whether it streams.
pub fn parse(body: &Value, model: &str, stream: bool) -> Conversation {
    let mut conversation = Conversation::new(Format::Gemini, model);
    conversation.stream = stream;
    let system = ["systemInstruction", "system_instruction"].map(|name| &body[name]["parts"]);
    conversation.add_system(&system.into_iter().map(texts).find(|text| !text.is_empty()).unwrap_or_default());
    for content in body["contents"].as_array().into_iter().flatten() {
        if content["role"] == "model" {
            continue;
        }
        for part in content["parts"].as_array().into_iter().flatten() {
            if let Some(response) = part.get("functionResponse") {
                conversation.add_result(result(&response["response"]));
            }
        }
        conversation.add_user(texts(&content["parts"]));
    }
    let tools = body["tools"].as_array().into_iter().flatten();
    let functions = tools.flat_map(|tool| tool["functionDeclarations"].as_array().into_iter().flatten());
    conversation.tools = functions
        .map(|function| {
            let schemas = [&function["parametersJsonSchema"], &function["parameters"]];
            let schema = schemas.into_iter().find(|schema| schema.is_object()).unwrap_or(&Value::Null);
            Tool::new(function["name"].as_str().unwrap_or_default(), schema)
        })
        .collect();
    let config = &body["generationConfig"];
    let schemas = [&config["responseJsonSchema"], &config["responseSchema"]];
    conversation.schema = schemas.into_iter().find(|schema| schema.is_object()).cloned();
    if conversation.schema.is_none() && config["responseMimeType"] == "application/json" {
        conversation.schema = Some(json!({"type": "object"}));
    }
    conversation
}

fn texts(parts: &Value) -> String {
    let parts = parts.as_array().into_iter().flatten();
    parts.filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
}

/// Returns the text of a function's response, whose fields are not fixed.
fn result(response: &Value) -> String {
    ["output", "result", "error"]
        .iter()
        .find_map(|name| response[name].as_str())
        .map_or_else(|| response.to_string(), str::to_owned)
}

/// Encodes an answer.
pub fn encode(reply: &Reply) -> Value {
    let parts: Vec<Value> = reply.parts.iter().map(|part| encode_part(part, None)).collect();
    chunk(reply, &parts, true)
}

/// Encodes an answer as a stream.
pub fn stream(reply: &Reply) -> Vec<Event> {
    let mut events = Vec::new();
    for part in &reply.parts {
        match part {
            Part::Thoughts(text) | Part::Text(text) | Part::Refusal(text) => {
                let pieces = reply.pieces(text);
                events.extend(pieces.iter().map(|piece| chunk(reply, &[encode_part(part, Some(piece))], false)));
            }
            // A call is sent as a whole.
            Part::Call { .. } => events.push(chunk(reply, &[encode_part(part, None)], false)),
        }
    }
    events.push(chunk(reply, &[json!({"text": ""})], true));
    events.iter().map(Event::data).collect()
}

/// Encodes an error.
pub fn error(problem: &Problem) -> Value {
    let usual = match problem.status {
        400 | 413 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 | 529 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    };
    let status = problem.code.as_deref().unwrap_or(usual);
    let mut error = json!({"code": problem.status, "message": problem.message, "status": status});
    if let Some(seconds) = problem.reset_after {
        let retry = json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s")});
        error["details"] = json!([retry]);
    }
    json!({"error": error})
}

/// Encodes an error in a stream.
pub fn stream_error(problem: &Problem) -> Event {
    Event::data(&error(problem))
}

/// Encodes the number of tokens of a request.
pub fn count(tokens: u64) -> Value {
    json!({"totalTokens": tokens})
}

/// Encodes a part, or a piece of its text.
fn encode_part(part: &Part, piece: Option<&str>) -> Value {
    match part {
        Part::Thoughts(text) => json!({"text": piece.unwrap_or(text), "thought": true}),
        Part::Text(text) | Part::Refusal(text) => json!({"text": piece.unwrap_or(text)}),
        Part::Call { id, call } => {
            let args = match &call.input {
                Input::Arguments(arguments) => arguments.clone(),
                Input::Freeform(text) => json!({"input": text}),
            };
            json!({"functionCall": {"id": format!("call_{id}"), "name": call.name, "args": args}})
        }
    }
}

/// Returns a response, the last one of a stream with the reason of the end and all tokens.
fn chunk(reply: &Reply, parts: &[Value], last: bool) -> Value {
    let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": parts}});
    if last {
        candidate["finishReason"] = json!(finish_reason(reply.stop));
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": usage(reply.usage, last),
        "modelVersion": reply.model,
        "responseId": reply.id,
    })
}

fn finish_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Calls => "STOP",
        Stop::Limit => "MAX_TOKENS",
        Stop::Refused => "SAFETY",
    }
}

/// Returns the tokens. Gemini counts thoughts beside the candidates.
fn usage(usage: Usage, last: bool) -> Value {
    let prompt = usage.prompt();
    if !last {
        return json!({"promptTokenCount": prompt, "totalTokenCount": prompt});
    }
    json!({
        "promptTokenCount": prompt,
        "cachedContentTokenCount": usage.cached_input,
        "candidatesTokenCount": usage.output - usage.reasoning,
        "thoughtsTokenCount": usage.reasoning,
        "totalTokenCount": prompt + usage.output,
    })
}
