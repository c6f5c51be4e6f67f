//! A request to a model, independent of its wire format.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Format {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Chat Completions.
    ChatCompletions,
    /// OpenAI Responses.
    Responses,
    /// Gemini generateContent.
    Gemini,
}

/// A part of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The text of a user message.
    User(String),
    /// The result of a tool call.
    Result(String),
}

/// A tool that the request offers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tool {
    pub name: String,
    /// Whether the input is text instead of JSON arguments.
    pub freeform: bool,
    /// JSON schemas of the arguments.
    pub properties: Map<String, Value>,
    pub required: Vec<String>,
}

impl Tool {
    /// Creates a tool with arguments from the JSON schema of the arguments.
    pub fn new(name: &str, schema: &Value) -> Self {
        let required = schema["required"].as_array().into_iter().flatten();
        Self {
            name: name.to_owned(),
            freeform: false,
            properties: schema["properties"].as_object().cloned().unwrap_or_default(),
            required: required.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }
}

/// What a request asks, independent of its wire format.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub format: Format,
    pub model: String,
    pub stream: bool,
    /// System prompts and developer messages.
    pub system: String,
    pub turns: Vec<Turn>,
    pub tools: Vec<Tool>,
    /// The JSON schema that the answer must follow.
    pub schema: Option<Value>,
    /// Whether a stream of Chat Completions ends with the usage.
    pub include_usage: bool,
    /// Length of the request.
    pub bytes: usize,
}

impl Conversation {
    /// Creates a conversation without history.
    pub fn new(format: Format, model: &str) -> Self {
        Self {
            format,
            model: model.to_owned(),
            stream: false,
            system: String::new(),
            turns: Vec::new(),
            tools: Vec::new(),
            schema: None,
            include_usage: true,
            bytes: 0,
        }
    }

    /// Adds a system prompt.
    pub fn add_system(&mut self, text: &str) {
        if !self.system.is_empty() {
            self.system.push('\n');
        }
        self.system.push_str(text);
    }

    /// Adds a user message, unless it has no text.
    pub fn add_user(&mut self, text: String) {
        if !text.trim().is_empty() {
            self.turns.push(Turn::User(text));
        }
    }

    /// Adds the result of a tool call.
    pub fn add_result(&mut self, text: String) {
        self.turns.push(Turn::Result(text));
    }
}

/// Returns the text of a message's content: a string, an object with a text, or a list of these.
pub fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<String> = parts.iter().map(text).filter(|text| !text.is_empty()).collect();
            texts.join("\n")
        }
        Value::Object(part) => match (part.get("text"), part.get("content"), part.get("output")) {
            (Some(Value::String(text)), _, _) => text.clone(),
            (_, Some(content), _) | (_, _, Some(content)) => text(content),
            _ => String::new(),
        },
        _ => String::new(),
    }
}
