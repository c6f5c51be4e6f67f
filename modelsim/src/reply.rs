//! An answer with all its parts, before a wire format encodes it.

use bytes::Bytes;
use serde_json::Value;

use crate::tools::ToolCall;
use crate::usage::Usage;

/// A part of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Thoughts(String),
    Text(String),
    Refusal(String),
    Call { id: String, call: ToolCall },
}

/// Why an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    End,
    Calls,
    Limit,
    Refused,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Unique in the process, without a prefix.
    pub id: String,
    pub model: String,
    /// Seconds since 1970.
    pub created: i64,
    pub parts: Vec<Part>,
    pub stop: Stop,
    pub usage: Usage,
    /// Bytes of text in an event of a stream.
    pub event_bytes: usize,
    /// Whether a stream of Chat Completions ends with the usage.
    pub include_usage: bool,
}

impl Reply {
    /// Returns the length of all texts and arguments.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }

    /// Splits a text into the texts of events: at least one, which may be empty.
    pub fn pieces<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while rest.len() > self.event_bytes {
            // A character that is longer than an event is not split.
            let end = (self.event_bytes..=rest.len()).find(|end| rest.is_char_boundary(*end)).unwrap_or(rest.len());
            let (piece, after) = rest.split_at(end);
            pieces.push(piece);
            rest = after;
        }
        if !rest.is_empty() || pieces.is_empty() {
            pieces.push(rest);
        }
        pieces
    }
}

impl Part {
    fn bytes(&self) -> usize {
        match self {
            Self::Thoughts(text) | Self::Text(text) | Self::Refusal(text) => text.len(),
            Self::Call { call, .. } => call.name.len() + call.input.text().len(),
        }
    }
}

/// A server-sent event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub name: Option<&'static str>,
    pub data: String,
}

impl Event {
    /// Creates an event that has only data.
    pub fn data(data: &Value) -> Self {
        Self { name: None, data: data.to_string() }
    }

    /// Creates an event with a name.
    pub fn named(name: &'static str, data: &Value) -> Self {
        Self { name: Some(name), data: data.to_string() }
    }

    /// Returns the event as it is sent.
    pub fn encode(&self) -> Bytes {
        match self.name {
            Some(name) => format!("event: {name}\ndata: {}\n\n", self.data),
            None => format!("data: {}\n\n", self.data),
        }
        .into()
    }
}

/// An error in the words of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: u16,
    pub message: String,
    /// The provider's name of the error, when it is not the usual one of the status.
    pub code: Option<String>,
    /// Seconds until a limit is reset.
    pub reset_after: Option<u64>,
}

impl Problem {
    /// Creates an error with the usual name of its status.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), code: None, reset_after: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(event_bytes: usize) -> Reply {
        Reply {
            id: "1".to_owned(),
            model: "m".to_owned(),
            created: 0,
            parts: vec![],
            stop: Stop::End,
            usage: Usage::default(),
            event_bytes,
            include_usage: true,
        }
    }

    #[test]
    fn pieces_are_a_text_again() {
        assert_eq!(reply(2).pieces("abcde"), ["ab", "cd", "e"]);
        assert_eq!(reply(1).pieces("äö"), ["ä", "ö"]);
        assert_eq!(reply(4).pieces("abcd"), ["abcd"]);
        assert_eq!(reply(4).pieces(""), [""]);
    }
}
