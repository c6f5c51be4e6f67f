//! What an agent does, in one form for all agents.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::assignment::Usage;
use crate::text::{truncate, truncated};

/// Maximum size of a text in an event, in bytes.
pub const MAX_EVENT_TEXT: usize = 4 << 10;
/// Start of a line of the pod's log that has a line of the agent's own output, unchanged.
pub const RAW_PREFIX: &str = "enact-raw: ";
/// Most bytes of a tool's input in a readable line.
const MAX_INPUT: usize = 200;
/// Width of the word at the start of a readable line.
const LABEL: usize = 9;

/// One event. Its texts are what an agent chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum AgentEvent {
    /// The session began.
    Session { id: String },
    /// The model wrote a text.
    Message { text: String },
    /// The agent runs a command.
    Command { command: String },
    /// The agent changes a file.
    File { path: String },
    /// The agent calls another tool.
    Tool { name: String, input: String },
    /// The agent reports an error.
    Error { text: String },
    /// A line that is not an event.
    Output { text: String },
    /// A person sent a message, which the agent gets now.
    Person { by: String, text: String },
    /// The tokens of the whole run.
    Usage(Usage),
    /// The session ended.
    End { completed: bool },
}

impl AgentEvent {
    /// Returns the event with all texts changed by `change`.
    #[must_use]
    pub fn map_texts(mut self, change: &dyn Fn(&str) -> String) -> Self {
        match &mut self {
            Self::Session { id: text }
            | Self::Message { text }
            | Self::Command { command: text }
            | Self::File { path: text }
            | Self::Error { text }
            | Self::Output { text } => *text = change(text),
            Self::Person { by: name, text: input } | Self::Tool { name, input } => {
                *name = change(name);
                *input = change(input);
            }
            Self::Usage(_) | Self::End { .. } => {}
        }
        self
    }

    /// Returns the event for a person, with a line end: a word for the kind, and the text. Further lines of the text are indented, so that
    /// no text looks like another event. Control characters are removed.
    pub fn readable(&self) -> String {
        let (label, text) = match self {
            Self::Session { id } => ("session", id.clone()),
            Self::Message { text } => ("message", text.clone()),
            Self::Command { command } => ("command", command.clone()),
            Self::File { path } => ("file", path.clone()),
            Self::Tool { name, input } => ("tool", format!("{name} {}", truncated(input, MAX_INPUT))),
            Self::Error { text } => ("error", text.clone()),
            Self::Output { text } => ("output", text.clone()),
            Self::Person { by, text } => ("person", format!("{by}: {text}")),
            Self::Usage(usage) => ("usage", tokens(usage)),
            Self::End { completed: true } => ("end", "the agent completed its session".to_owned()),
            Self::End { completed: false } => ("end", "the agent's session failed".to_owned()),
        };
        let mut lines = String::new();
        let mut label = label;
        for line in text.trim_end().replace("\r\n", "\n").split(['\n', '\r']) {
            let line: String =
                line.chars().filter(|c| *c == '\t' || !c.is_control()).filter(|c| !is_direction(*c)).collect();
            let _ = writeln!(lines, "{}", format!("{label:LABEL$}{line}").trim_end());
            label = "";
        }
        lines
    }
}

/// Returns whether a character changes the direction of text, which could make a line look like another one.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

fn tokens(usage: &Usage) -> String {
    let Usage { input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, cost_micro_usd } = usage;
    let mut text = format!("{input_tokens} input, {cached_input_tokens} cached, {output_tokens} output tokens");
    if *reasoning_tokens > 0 {
        let _ = write!(text, " ({reasoning_tokens} of them reasoning)");
    }
    if *cost_micro_usd > 0 {
        let _ = write!(text, ", {}.{:06} USD", cost_micro_usd / 1_000_000, cost_micro_usd % 1_000_000);
    }
    text
}

/// Returns a text that is short enough for an event.
pub(super) fn bounded(mut text: String) -> String {
    if text.len() > MAX_EVENT_TEXT {
        truncate(&mut text, MAX_EVENT_TEXT - '…'.len_utf8());
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readable_lines_cannot_be_forged() {
        let event = AgentEvent::Message { text: "one\u{1b}[2J\ncommand  rm\r\u{202e}end  x\n\n".into() };
        assert_eq!(event.readable(), "message  one[2J\n         command  rm\n         end  x\n");
        assert_eq!(AgentEvent::File { path: String::new() }.readable(), "file\n");
    }

    #[test]
    fn usage_is_one_line() {
        let usage = Usage {
            input_tokens: 10,
            output_tokens: 5,
            reasoning_tokens: 2,
            cost_micro_usd: 1_500,
            ..Usage::default()
        };
        let line = AgentEvent::Usage(usage).readable();
        assert_eq!(line, "usage    10 input, 0 cached, 5 output tokens (2 of them reasoning), 0.001500 USD\n");
    }

    #[test]
    fn an_event_is_a_json_object_with_its_kind() {
        let json = serde_json::to_string(&AgentEvent::File { path: "a.rs".into() }).unwrap();
        assert_eq!(json, r#"{"kind":"file","path":"a.rs"}"#);
    }
}
