//! Reads the output of an agent: bytes in, events out. The output is hostile: every size and number is limited, and nothing is an error.

use serde_json::Value;

use super::definition::{End, EventFormat, EventRule, StreamFormat, UsagePointers};
use super::events::{AgentEvent, MAX_EVENT_TEXT, bounded};
use crate::assignment::Usage;
use crate::reason::Reason;
use crate::text::truncate;

/// Maximum size of a line, in bytes; a longer one is counted and dropped.
const MAX_LINE: usize = 1 << 20;
/// Maximum size of the only JSON value of an output, in bytes.
const MAX_DOCUMENT: usize = 8 << 20;
/// Maximum number of events that one call returns; further ones are left out.
pub const MAX_EVENTS: usize = 10_000;
/// Maximum size of all texts about errors together, in bytes.
const MAX_ERRORS: usize = 16 << 10;

/// What is known about a run after its output has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub session: Option<String>,
    /// End of the session; none if no event states it.
    pub end: Option<End>,
    /// Reason of a failure that an event proves.
    pub reason: Option<Reason>,
    /// Texts of all errors.
    pub errors: String,
    /// Usage of this run that the agent reports; none if it reports none.
    pub usage: Option<Usage>,
    /// The numbers that cover the whole session, with the runs before this one.
    pub session_usage: Usage,
    /// Last text of the model.
    pub last_message: String,
    /// Number of lines that are not events.
    pub unreadable: u64,
}

/// A reader of one output.
#[derive(Debug)]
pub struct EventReader {
    format: EventFormat,
    /// Usage of the earlier runs of the session, which is a part of the next numbers for the whole session.
    earlier: Usage,
    pending: Vec<u8>,
    /// The line is too long: the rest of it is dropped.
    dropping: bool,
    /// Parts of a message that continues.
    partial: String,
    summary: Summary,
}

impl EventReader {
    /// Returns a reader. `earlier` is the [usage](Summary::session_usage) of a session that is resumed, and nothing for a new one.
    pub fn new(format: EventFormat, earlier: Usage) -> Self {
        Self {
            format,
            earlier,
            pending: Vec::new(),
            dropping: false,
            partial: String::new(),
            summary: Summary::default(),
        }
    }

    /// Returns what the agent has reported so far about this run; none before its first report, and after the end of the session.
    pub fn usage_so_far(&self) -> Option<Usage> {
        self.summary.usage.filter(|_| self.summary.end.is_none())
    }

    /// Reads the next bytes and returns the events that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<AgentEvent> {
        let mut events = Vec::new();
        if self.format.format == StreamFormat::Json {
            let fitting = bytes.len().min((MAX_DOCUMENT + 1).saturating_sub(self.pending.len()));
            self.pending.extend_from_slice(&bytes[..fitting]);
            return events;
        }
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            self.extend(&rest[..at]);
            self.end_line(&mut events);
            rest = &rest[at + 1..];
        }
        self.extend(rest);
        events
    }

    /// Reads the file with one more event.
    pub fn push_report(&mut self, document: &[u8]) -> Vec<AgentEvent> {
        let mut events = Vec::new();
        if let Ok(value) = serde_json::from_slice::<Value>(document) {
            self.read_event(&value, &mut events);
        }
        events
    }

    /// Reads the end of the output and returns the last events, and what is known about the run.
    pub fn finish(mut self) -> (Vec<AgentEvent>, Summary) {
        let mut events = Vec::new();
        if self.format.format == StreamFormat::Json {
            self.read_document(&mut events);
        } else if !self.pending.is_empty() || self.dropping {
            self.end_line(&mut events);
        }
        self.end_message(&mut events);
        if let Some(usage) = self.summary.usage {
            events.push(AgentEvent::Usage(usage));
        }
        (events, self.summary)
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.dropping {
            return;
        }
        if self.pending.len() + bytes.len() > MAX_LINE {
            self.dropping = true;
            self.pending.clear();
        } else {
            self.pending.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self, events: &mut Vec<AgentEvent>) {
        let line = std::mem::take(&mut self.pending);
        if std::mem::take(&mut self.dropping) {
            self.summary.unreadable += 1;
            let text = format!("(a line of more than {MAX_LINE} bytes is left out)");
            return self.add(events, AgentEvent::Output { text });
        }
        if line.trim_ascii().is_empty() {
            return;
        }
        let value = match self.format.format {
            StreamFormat::Text => None,
            _ => serde_json::from_slice::<Value>(&line).ok(),
        };
        match value {
            Some(value @ Value::Object(_)) => self.read_event(&value, events),
            _ => self.not_an_event(&line, events),
        }
    }

    fn read_document(&mut self, events: &mut Vec<AgentEvent>) {
        let document = std::mem::take(&mut self.pending);
        if document.len() <= MAX_DOCUMENT {
            match serde_json::from_slice::<Value>(&document) {
                Ok(Value::Array(values)) => {
                    for value in values.iter().take(MAX_EVENTS) {
                        self.read_event(value, events);
                    }
                    return;
                }
                Ok(value) => return self.read_event(&value, events),
                Err(_) => {}
            }
        }
        if !document.trim_ascii().is_empty() {
            self.not_an_event(&document, events);
        }
    }

    fn not_an_event(&mut self, line: &[u8], events: &mut Vec<AgentEvent>) {
        self.summary.unreadable += 1;
        let text = String::from_utf8_lossy(&line[..line.len().min(MAX_EVENT_TEXT)]);
        let text = text.trim_end().replace('\0', "\u{fffd}");
        self.add(events, AgentEvent::Output { text });
    }

    fn read_event(&mut self, event: &Value, events: &mut Vec<AgentEvent>) {
        // The rules are moved out while they are applied, because applying them changes the reader.
        let rules = std::mem::take(&mut self.format.rules);
        for rule in rules.iter().filter(|rule| matches(event, &rule.when)) {
            let values: Vec<&Value> = match rule.each.as_deref().map(|each| event.pointer(each)) {
                None => vec![event],
                Some(Some(Value::Array(values))) => values.iter().take(MAX_EVENTS).collect(),
                Some(Some(Value::Object(entries))) => entries.values().take(MAX_EVENTS).collect(),
                Some(_) => Vec::new(),
            };
            for value in values.into_iter().filter(|value| matches(value, &rule.with)) {
                self.apply(rule, value, events);
            }
        }
        self.format.rules = rules;
    }

    fn apply(&mut self, rule: &EventRule, value: &Value, events: &mut Vec<AgentEvent>) {
        let at = |pointer: &Option<String>| {
            pointer.as_deref().and_then(|pointer| text_of(value.pointer(pointer)?)).filter(|text| !text.is_empty())
        };
        if let Some(id) = at(&rule.session) {
            let id = bounded(id);
            if self.summary.session.as_ref() != Some(&id) {
                self.summary.session = Some(id.clone());
                self.add(events, AgentEvent::Session { id });
            }
        }
        if let Some(text) = at(&rule.message) {
            if rule.partial {
                self.partial.push_str(&text);
                if self.partial.len() >= MAX_EVENT_TEXT {
                    self.end_message(events);
                }
            } else {
                self.add(events, AgentEvent::Message { text });
            }
        }
        if let Some(tool) = &rule.tool {
            let called = self.tool_event(value.pointer(&tool.name), value.pointer(&tool.input));
            self.add(events, called);
        }
        if let Some(command) = at(&rule.command) {
            self.add(events, AgentEvent::Command { command });
        }
        if let Some(path) = at(&rule.file) {
            self.add(events, AgentEvent::File { path });
        }
        if let Some(text) = at(&rule.error) {
            let room = MAX_ERRORS.saturating_sub(self.summary.errors.len());
            let mut line = format!("{text}\n");
            truncate(&mut line, room);
            self.summary.errors.push_str(&line);
            self.add(events, AgentEvent::Error { text });
        }
        if let Some(pointers) = &rule.usage {
            self.count(pointers, value);
        }
        self.summary.reason = self.summary.reason.or(rule.reason);
        if let Some(end) = rule.end {
            // A failure stays: an agent that goes on after it has lost part of its work.
            if self.summary.end != Some(End::Failed) {
                self.summary.end = Some(end);
            }
            self.add(events, AgentEvent::End { completed: end == End::Completed });
        }
    }

    fn tool_event(&self, name: Option<&Value>, input: Option<&Value>) -> AgentEvent {
        let name = name.and_then(text_of).unwrap_or_default();
        // Some agents give the input as JSON in a text.
        let parsed = match input {
            Some(Value::String(text)) => serde_json::from_str(text).ok(),
            _ => None,
        };
        let input = parsed.as_ref().or(input).unwrap_or(&Value::Null);
        let rule = self.format.tools.iter().find(|rule| rule.names.contains(&name));
        let at = |pointer: Option<&String>| pointer.and_then(|pointer| text_of(input.pointer(pointer)?));
        if let Some(command) = rule.and_then(|rule| at(rule.command.as_ref())) {
            return AgentEvent::Command { command };
        }
        if let Some(path) = rule.and_then(|rule| at(rule.file.as_ref())) {
            return AgentEvent::File { path };
        }
        let input = if input.is_null() { String::new() } else { input.to_string() };
        AgentEvent::Tool { name, input }
    }

    fn add(&mut self, events: &mut Vec<AgentEvent>, event: AgentEvent) {
        self.end_message(events);
        if events.len() >= MAX_EVENTS {
            return;
        }
        let event = event.map_texts(&|text| bounded(text.to_owned()));
        if let AgentEvent::Message { text } = &event {
            self.summary.last_message.clone_from(text);
        }
        events.push(event);
    }

    fn end_message(&mut self, events: &mut Vec<AgentEvent>) {
        if !self.partial.is_empty() {
            let text = bounded(std::mem::take(&mut self.partial));
            self.summary.last_message.clone_from(&text);
            if events.len() < MAX_EVENTS {
                events.push(AgentEvent::Message { text });
            }
        }
    }

    fn count(&mut self, pointers: &UsagePointers, value: &Value) {
        let number = |pointer: &Option<String>| {
            pointer.as_deref().and_then(|pointer| value.pointer(pointer)?.as_u64()).unwrap_or_default()
        };
        let (mut input, cached) = (number(&pointers.input), number(&pointers.cached_input));
        let (mut output, mut reasoning) = (number(&pointers.output), number(&pointers.reasoning));
        if pointers.total.is_some() {
            reasoning = number(&pointers.total).saturating_sub(input).saturating_sub(output);
        }
        if pointers.input_includes_cached {
            input = input.saturating_sub(cached);
        }
        if pointers.output_excludes_reasoning {
            output = output.saturating_add(reasoning);
        }
        let cost = pointers.cost.as_deref().and_then(|pointer| value.pointer(pointer)?.as_f64()).unwrap_or_default();
        let mut counted = Usage {
            input_tokens: input.saturating_add(number(&pointers.cache_write)),
            cached_input_tokens: cached,
            output_tokens: output,
            reasoning_tokens: reasoning,
            cost_micro_usd: micro(cost),
        };
        if pointers.whole_session {
            self.summary.session_usage = self.summary.session_usage.plus(counted);
            // Subtracted once: the numbers of later events of this run are added to the first ones.
            counted = counted.combined(std::mem::take(&mut self.earlier), u64::saturating_sub);
        }
        let usage = self.summary.usage.get_or_insert_default();
        *usage = usage.plus(counted);
    }
}

/// Returns US dollars as millionths; nothing for a number that is not a price.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn micro(usd: f64) -> u64 {
    // More than any attempt can cost; the limit also excludes infinity.
    const MOST: f64 = 1e9;
    if (0.0..=MOST).contains(&usd) { (usd * 1e6).round() as u64 } else { 0 }
}

/// Returns a text, a number, or texts of an array joined by lines.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(values) => {
            let texts: Vec<String> = values.iter().take(MAX_EVENTS).filter_map(text_of).collect();
            (!texts.is_empty()).then(|| texts.join("\n"))
        }
        Value::Object(entries) => ["message", "text"].iter().find_map(|key| text_of(entries.get(*key)?)),
        Value::Null | Value::Bool(_) => None,
    }
}

fn matches(value: &Value, conditions: &std::collections::BTreeMap<String, Value>) -> bool {
    conditions.iter().all(|(pointer, wanted)| match (value.pointer(pointer), wanted) {
        (found, Value::Null) => found.is_none_or(Value::is_null),
        (Some(found), Value::Array(any)) => any.contains(found),
        (Some(found), wanted) => found == wanted,
        (None, _) => false,
    })
}
