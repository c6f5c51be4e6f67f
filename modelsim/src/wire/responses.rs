//! OpenAI Responses.

use serde_json::{Value, json};

use super::openai;
use crate::conversation::{Conversation, Format, Tool, text};
use crate::reply::{Event, Part, Problem, Reply, Stop};
use crate::tools::Input;
use crate::usage::Usage;

/// Reads a request.
pub fn parse(body: &Value) -> Conversation {
    let mut conversation = Conversation::new(Format::Responses, body["model"].as_str().unwrap_or_default());
    conversation.stream = body["stream"] == true;
    conversation.add_system(&text(&body["instructions"]));
    if let Some(prompt) = body["input"].as_str() {
        conversation.add_user(prompt.to_owned());
    }
    for item in body["input"].as_array().into_iter().flatten() {
        let kind = item["type"].as_str().unwrap_or("message");
        match (kind, item["role"].as_str()) {
            ("message", Some("system" | "developer")) => conversation.add_system(&text(&item["content"])),
            ("message", Some("user")) => conversation.add_user(text(&item["content"])),
            (kind, _) if kind.ends_with("_call_output") => conversation.add_result(text(&item["output"])),
            _ => {}
        }
    }
    let tools = body["tools"].as_array().into_iter().flatten();
    conversation.tools = tools.filter_map(tool).collect();
    let format = &body["text"]["format"];
    conversation.schema = match format["type"].as_str() {
        Some("json_schema") => Some(format["schema"].clone()),
        Some("json_object") => Some(json!({"type": "object"})),
        _ => None,
    };
    conversation
}

fn tool(tool: &Value) -> Option<Tool> {
    let name = tool["name"].as_str()?;
    match tool["type"].as_str()? {
        "function" => Some(Tool::new(name, &tool["parameters"])),
        "custom" => Some(Tool { name: name.to_owned(), freeform: true, ..Tool::default() }),
        _ => None,
    }
}

/// Encodes an answer.
pub fn encode(reply: &Reply) -> Value {
    let items: Vec<Value> =
        reply.parts.iter().enumerate().map(|(index, part)| item(reply, index, part, true)).collect();
    response(reply, end(reply.stop), &items)
}

/// Encodes an answer as a stream.
pub fn stream(reply: &Reply) -> Vec<Event> {
    let mut events = Events(Vec::new());
    events.push("response.created", json!({"response": response(reply, "in_progress", &[])}));
    events.push("response.in_progress", json!({"response": response(reply, "in_progress", &[])}));
    for (index, part) in reply.parts.iter().enumerate() {
        let begun = item(reply, index, part, false);
        let id = begun["id"].clone();
        events.push("response.output_item.added", json!({"output_index": index, "item": begun}));
        match part {
            Part::Thoughts(text) => {
                let at = json!({"item_id": id, "output_index": index, "summary_index": 0});
                let empty = json!({"type": "summary_text", "text": ""});
                events.at(&at, "response.reasoning_summary_part.added", json!({"part": empty}));
                for piece in reply.pieces(text) {
                    events.at(&at, "response.reasoning_summary_text.delta", json!({"delta": piece}));
                }
                events.at(&at, "response.reasoning_summary_text.done", json!({"text": text}));
                let part = json!({"type": "summary_text", "text": text});
                events.at(&at, "response.reasoning_summary_part.done", json!({"part": part}));
            }
            Part::Text(text) => message(&mut events, reply, &id, index, ("output_text", text)),
            Part::Refusal(text) => message(&mut events, reply, &id, index, ("refusal", text)),
            Part::Call { call, .. } => {
                let at = json!({"item_id": id, "output_index": index});
                let input = call.input.text();
                let (delta, done, field) = match call.input {
                    Input::Arguments(_) => {
                        ("response.function_call_arguments.delta", "response.function_call_arguments.done", "arguments")
                    }
                    Input::Freeform(_) => {
                        ("response.custom_tool_call_input.delta", "response.custom_tool_call_input.done", "input")
                    }
                };
                for piece in reply.pieces(&input) {
                    events.at(&at, delta, json!({"delta": piece}));
                }
                events.at(&at, done, json!({field: input}));
            }
        }
        let item = item(reply, index, part, true);
        events.push("response.output_item.done", json!({"output_index": index, "item": item}));
    }
    let name = if reply.stop == Stop::Limit { "response.incomplete" } else { "response.completed" };
    events.push(name, json!({"response": encode(reply)}));
    events.0
}

/// Encodes an error in a stream.
pub fn stream_error(problem: &Problem) -> Event {
    let error = openai::error(problem);
    let code = problem.code.as_deref().unwrap_or("server_error");
    let response = json!({"id": "resp_scripted", "object": "response", "status": "failed", "output": [],
        "error": {"code": code, "message": error["error"]["message"]}});
    Event::named("response.failed", &json!({"type": "response.failed", "sequence_number": 0, "response": response}))
}

/// The events of a stream, which are numbered.
struct Events(Vec<Event>);

impl Events {
    fn push(&mut self, name: &'static str, mut data: Value) {
        data["type"] = json!(name);
        data["sequence_number"] = json!(self.0.len());
        self.0.push(Event::named(name, &data));
    }

    /// Adds an event about a part of an item.
    fn at(&mut self, place: &Value, name: &'static str, mut data: Value) {
        for (field, value) in place.as_object().into_iter().flatten() {
            data[field] = value.clone();
        }
        self.push(name, data);
    }
}

/// Adds the events of a message's only part.
fn message(events: &mut Events, reply: &Reply, id: &Value, index: usize, (kind, text): (&str, &str)) {
    let at = json!({"item_id": id, "output_index": index, "content_index": 0});
    let (delta, done, field) = match kind {
        "refusal" => ("response.refusal.delta", "response.refusal.done", "refusal"),
        _ => ("response.output_text.delta", "response.output_text.done", "text"),
    };
    events.at(&at, "response.content_part.added", json!({"part": content(kind, "")}));
    for piece in reply.pieces(text) {
        events.at(&at, delta, json!({"delta": piece}));
    }
    events.at(&at, done, json!({field: text}));
    events.at(&at, "response.content_part.done", json!({"part": content(kind, text)}));
}

fn content(kind: &str, text: &str) -> Value {
    match kind {
        "refusal" => json!({"type": kind, "refusal": text}),
        _ => json!({"type": kind, "text": text, "annotations": [], "logprobs": []}),
    }
}

/// Returns an item of the output, complete or as it begins.
fn item(reply: &Reply, index: usize, part: &Part, complete: bool) -> Value {
    let status = if complete { "completed" } else { "in_progress" };
    let message = |kind: &str, text: &str| {
        let content = if complete { vec![content(kind, text)] } else { vec![] };
        let id = format!("msg_{}_{index}", reply.id);
        json!({"id": id, "type": "message", "role": "assistant", "status": status, "content": content})
    };
    match part {
        Part::Thoughts(text) => {
            let summary = if complete { vec![json!({"type": "summary_text", "text": text})] } else { vec![] };
            json!({"id": format!("rs_{}_{index}", reply.id), "type": "reasoning", "summary": summary})
        }
        Part::Text(text) => message("output_text", text),
        Part::Refusal(text) => message("refusal", text),
        Part::Call { id, call } => {
            let (kind, field) = match call.input {
                Input::Arguments(_) => ("function_call", "arguments"),
                Input::Freeform(_) => ("custom_tool_call", "input"),
            };
            let input = if complete { call.input.text() } else { String::new() };
            json!({"id": format!("fc_{id}"), "type": kind, "status": status, "call_id": format!("call_{id}"),
                "name": call.name, field: input})
        }
    }
}

fn response(reply: &Reply, status: &str, output: &[Value]) -> Value {
    let complete = status != "in_progress";
    let incomplete = (status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
    json!({
        "id": format!("resp_{}", reply.id),
        "object": "response",
        "created_at": reply.created,
        "status": status,
        "error": null,
        "incomplete_details": incomplete,
        "model": reply.model,
        "output": output,
        "parallel_tool_calls": true,
        "store": false,
        "usage": complete.then(|| usage(reply.usage)),
    })
}

fn end(stop: Stop) -> &'static str {
    if stop == Stop::Limit { "incomplete" } else { "completed" }
}

fn usage(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.prompt(),
        "input_tokens_details": {"cached_tokens": usage.cached_input},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt() + usage.output,
    })
}
