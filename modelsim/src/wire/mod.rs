//! The four wire formats.

mod anthropic;
mod chat;
mod gemini;
mod openai;
mod responses;

use serde_json::Value;

use crate::conversation::{Conversation, Format};
use crate::reply::{Event, Problem, Reply};

/// Reads a request. Only Gemini's path names the model and whether the answer is streamed.
pub fn parse(format: Format, body: &Value, model: &str, stream: bool) -> Conversation {
    match format {
        Format::Anthropic => anthropic::parse(body),
        Format::ChatCompletions => chat::parse(body),
        Format::Responses => responses::parse(body),
        Format::Gemini => gemini::parse(body, model, stream),
    }
}

/// Encodes an answer in one piece.
pub fn encode(format: Format, reply: &Reply) -> Value {
    match format {
        Format::Anthropic => anthropic::encode(reply),
        Format::ChatCompletions => chat::encode(reply),
        Format::Responses => responses::encode(reply),
        Format::Gemini => gemini::encode(reply),
    }
}

/// Encodes an answer as a stream.
pub fn stream(format: Format, reply: &Reply) -> Vec<Event> {
    match format {
        Format::Anthropic => anthropic::stream(reply),
        Format::ChatCompletions => chat::stream(reply),
        Format::Responses => responses::stream(reply),
        Format::Gemini => gemini::stream(reply),
    }
}

/// Encodes an error.
pub fn error(format: Format, problem: &Problem) -> Value {
    match format {
        Format::Anthropic => anthropic::error(problem),
        Format::ChatCompletions | Format::Responses => openai::error(problem),
        Format::Gemini => gemini::error(problem),
    }
}

/// Encodes an error in a stream.
pub fn stream_error(format: Format, problem: &Problem) -> Event {
    match format {
        Format::Anthropic => anthropic::stream_error(problem),
        Format::ChatCompletions => chat::stream_error(problem),
        Format::Responses => responses::stream_error(problem),
        Format::Gemini => gemini::stream_error(problem),
    }
}

/// Encodes the number of tokens of a request.
pub fn count(format: Format, tokens: u64) -> Value {
    match format {
        Format::Gemini => gemini::count(tokens),
        _ => anthropic::count(tokens),
    }
}
