//! Scenarios: what a scripted model answers, as data.

use std::collections::BTreeMap;
use std::path::Path;

use regex::{Regex, RegexBuilder};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::conversation::Format;
use crate::usage::Figures;

/// Largest scenario file.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Largest compiled regular expression.
const MAX_PATTERN_BYTES: usize = 1 << 20;
/// Name of the scenario that answers requests whose path names none, unless a file has it.
pub const BUILT_IN: &str = "default";

/// Reasons why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    #[error("cannot read the scenario {path}: {error}")]
    Read { path: String, error: std::io::Error },
    #[error("the scenario {path} has {bytes} bytes; at most {MAX_FILE_BYTES} are allowed")]
    Size { path: String, bytes: u64 },
    #[error("the scenario is invalid: {0}")]
    Parse(String),
    #[error(
        "the scenario's name {0:?} is invalid; use 1 to 63 letters, digits, `-`, `_` or `.`, and no version such as v1 or v1beta"
    )]
    Name(String),
    #[error("the scenario {0} has a pace with eventBytes 0; use at least 1")]
    Pace(String),
    #[error("the scenario {scenario}: rule {rule} {problem}")]
    Rule { scenario: String, rule: String, problem: &'static str },
}

/// The answers of a scripted model.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// The part of the path that selects the scenario.
    pub name: String,
    /// A note for readers.
    #[serde(default)]
    pub description: String,
    /// Models that the server lists. Requests may name others.
    #[serde(default)]
    pub models: Vec<String>,
    /// The folder of relative paths, when the request does not say which folder the agent works in.
    pub root: Option<String>,
    /// The speed of answers that do not set their own.
    #[serde(default)]
    pub pace: Pace,
    /// The first rule that matches a request answers it.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Answers requests that match no rule.
    #[serde(default = "no_rule")]
    pub otherwise: Answer,
}

/// An answer to certain requests.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Appears in the ledger. By default the position, from 1.
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub when: When,
    /// The rule answers only so many requests of a run, separately for each text that its patterns capture.
    pub times: Option<u32>,
    /// After the last step comes the first one again.
    #[serde(default)]
    pub endless: bool,
    /// The answers, in order. Tool results in the history tell which one is next.
    pub steps: Vec<Answer>,
}

/// Conditions of a rule. All that are present must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct When {
    /// A pattern of a user message. Tool results count from the last message that matches.
    pub prompt: Option<Pattern>,
    /// A pattern of a tool result. Tool results count from the last one that matches.
    pub result: Option<Pattern>,
    /// A pattern of the system prompt.
    pub system: Option<Pattern>,
    /// A pattern of the model's name.
    pub model: Option<Pattern>,
    pub formats: Option<Vec<Format>>,
    /// Whether the request offers tools. A rule with calls matches no request without tools.
    pub tools: Option<bool>,
    /// Whether the answer must follow a JSON schema. By default only requests without a schema match.
    #[serde(default)]
    pub schema: bool,
    /// Least number of tool results that count.
    #[serde(default)]
    pub min_results: usize,
    /// Largest number of tool results that count.
    pub max_results: Option<usize>,
}

/// A regular expression.
#[derive(Clone, Debug)]
pub struct Pattern(pub Regex);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        RegexBuilder::new(&text).size_limit(MAX_PATTERN_BYTES).build().map(Self).map_err(D::Error::custom)
    }
}

/// One answer of the model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    /// Thoughts before the answer.
    pub thoughts: Option<String>,
    pub text: Option<String>,
    #[serde(default)]
    pub calls: Vec<Call>,
    /// The model refuses the request, with this explanation.
    pub refusal: Option<String>,
    /// The answer ends because the limit of output tokens is reached.
    #[serde(default)]
    pub cut_off: bool,
    #[serde(default)]
    pub usage: Figures,
    /// By default the scenario's.
    pub pace: Option<Pace>,
    pub fault: Option<Fault>,
}

/// A tool call, independent of the agent that carries it out.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Call {
    /// Creates or replaces a file, and creates its folder.
    WriteFile {
        path: String,
        content: String,
    },
    /// Creates a file in a folder that exists. Agents may have a tool that does only this.
    CreateFile {
        path: String,
        content: String,
    },
    ReadFile {
        path: String,
    },
    RunCommand {
        command: String,
    },
    /// A call of the named tool with these arguments.
    UseTool {
        name: String,
        #[serde(default)]
        arguments: Value,
    },
}

/// The speed of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Pace {
    /// Milliseconds until the head of the response.
    pub first_byte_ms: u64,
    /// Milliseconds between two events of a stream.
    pub event_ms: u64,
    /// Bytes of text in an event.
    pub event_bytes: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { first_byte_ms: 0, event_ms: 0, event_bytes: 64 }
    }
}

/// What goes wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Fault {
    /// An error of the provider instead of an answer.
    Error(ProviderError),
    /// The provider reports an error in the stream, after so many events.
    StreamError {
        #[serde(default = "one")]
        after_events: usize,
    },
    /// The connection is closed in the middle of the response, after so many events.
    Truncate {
        #[serde(default = "one")]
        after_events: usize,
    },
    /// The connection is reset (TCP RST), after so many events; 0 resets it instead of a response.
    Reset {
        #[serde(default)]
        after_events: usize,
    },
    /// Nothing more is sent after so many events, and the connection stays open.
    Stall {
        #[serde(default)]
        after_events: usize,
    },
    /// A status of 200 and a body that is not in the format.
    Garbage {
        #[serde(default = "garbage")]
        body: String,
    },
    /// An answer whose text has about so many bytes.
    Huge {
        bytes: u64,
        /// Whether a stream has all the text in one event.
        #[serde(default)]
        single_event: bool,
    },
}

/// An error that a provider answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderError {
    pub status: u16,
    /// By default a message that fits the status.
    pub message: Option<String>,
    /// The provider's name of the error. By default one that fits the status.
    pub code: Option<String>,
    /// Seconds in the header `Retry-After`.
    pub retry_after: Option<u64>,
    /// Seconds until a limit is reset, as the provider tells it: rate limit headers, or the details of Gemini's error.
    pub reset_after: Option<u64>,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

fn one() -> usize {
    1
}

fn garbage() -> String {
    "<html><body>502 Bad Gateway</body></html>".to_owned()
}

fn no_rule() -> Answer {
    Answer { text: Some("There is nothing to do.".to_owned()), ..Answer::default() }
}

impl Scenario {
    /// Reads a scenario from a file.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let name = path.display().to_string();
        let read = |error| ScenarioError::Read { path: name.clone(), error };
        let bytes = std::fs::metadata(path).map_err(read)?.len();
        if bytes > MAX_FILE_BYTES {
            return Err(ScenarioError::Size { path: name, bytes });
        }
        Self::parse(&std::fs::read_to_string(path).map_err(read)?)
    }

    /// Parses a scenario and checks it.
    pub fn parse(yaml: &str) -> Result<Self, ScenarioError> {
        let mut scenario: Self =
            serde_saphyr::from_str(yaml).map_err(|error| ScenarioError::Parse(error.to_string()))?;
        if !is_name(&scenario.name) {
            return Err(ScenarioError::Name(scenario.name));
        }
        if scenario.pace.event_bytes == 0 {
            return Err(ScenarioError::Pace(scenario.name));
        }
        for (position, rule) in (1..).zip(&mut scenario.rules) {
            if rule.name.is_empty() {
                rule.name = format!("{position}");
            }
            if let Some(problem) = problem_of(rule) {
                return Err(ScenarioError::Rule { scenario: scenario.name, rule: rule.name.clone(), problem });
            }
        }
        Ok(scenario)
    }

    /// Returns the scenario of a server that was given none: every request gets the same text.
    pub fn built_in() -> Self {
        Self {
            name: BUILT_IN.to_owned(),
            description: String::new(),
            models: vec!["scripted".to_owned()],
            root: None,
            pace: Pace::default(),
            rules: Vec::new(),
            otherwise: no_rule(),
        }
    }
}

/// Returns whether a segment of a path can be the name of a scenario or of a run.
pub fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=63).contains(&name.len()) && name.chars().all(allowed) && !["v1", "v1beta"].contains(&name)
}

fn problem_of(rule: &Rule) -> Option<&'static str> {
    let Some((last, before)) = rule.steps.split_last() else { return Some("has no steps") };
    let calls = |step: &Answer| !step.calls.is_empty();
    if rule.endless && !rule.steps.iter().all(calls) {
        return Some("is endless, so each of its steps must have calls");
    }
    if !before.iter().all(calls) {
        return Some("has a step without calls that is not the last one; only tool results lead to the next step");
    }
    let is_empty = |step: &Answer| step.pace.is_some_and(|pace| pace.event_bytes == 0);
    if before.iter().chain([last]).any(is_empty) {
        return Some("has a pace with eventBytes 0; use at least 1");
    }
    None
}
