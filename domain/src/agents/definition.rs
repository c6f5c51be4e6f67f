//! The definition of an adapter, as data.
//!
//! Texts are templates: `{name}` is a variable ([`VARIABLES`]), `{?name}` is nothing if the variable has a value, and `{{` and `}}` are
//! braces. A part of a definition that uses a variable without a value is left out: a group of arguments, a variable of the environment, a
//! file, or an entry of an object.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::template;
use crate::reason::Reason;

/// The variables of templates.
pub const VARIABLES: [&str; 14] = [
    "gateway",
    "home",
    "instructions",
    "maxCostUsd",
    "maxTurns",
    "mcpServers",
    "model",
    "prompt",
    "promptFile",
    "sessionId",
    "taskId",
    "temporary",
    "token",
    "tree",
];
/// The variables of the templates for one MCP server.
pub const MCP_VARIABLES: [&str; 6] = ["args", "command", "commandLine", "environment", "headers", "url"];
/// Maximum size of a definition as JSON, in bytes: it is a part of the assignment.
pub const MAX_DEFINITION_BYTES: usize = 32 << 10;
/// Maximum number of paths with the state of a session.
const MAX_SESSION_PATHS: usize = 16;
/// Maximum size of a compiled pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// How a coding agent is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdapterDefinition {
    /// Name of the adapter, as in `spec.adapter` of an Agent.
    pub name: String,
    /// Name of the program for people.
    pub title: String,
    /// Version of the program that the definition was verified with; none if it was written from documentation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
    /// API with which the agent calls its model at the gateway; none if it only works with the service of its vendor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<Api>,
    pub capabilities: Capabilities,
    /// Groups of arguments that start a session. The first one begins with the program.
    pub command: Vec<Vec<String>>,
    /// Groups of arguments that resume a session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resume: Vec<Vec<String>>,
    /// Text on the standard input of the program; without it, the standard input is empty. It suits a program that changes a prompt among
    /// its arguments, or takes only a short one there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard_input: Option<String>,
    /// Files and directories with the state of a session: paths below the home directory. They are kept for the next attempt. Without
    /// them, each attempt starts a new session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub session_files: Vec<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Files that are written before the start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileTemplate>,
    /// Form of MCP servers in the configuration of the program; none if it cannot use any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpTemplates>,
    /// Folder in the home directory in which the program looks for skills: one folder for each, with the file `SKILL.md`. None if it has no
    /// skills.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skills: Option<String>,
    /// Names of the files in a repository that the program reads on its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context_files: Vec<String>,
    pub events: EventFormat,
    /// Rules for the reason of a failure; the first one that matches decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailureRule>,
}

/// API of a model provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
pub enum Api {
    Anthropic,
    OpenAi,
    Gemini,
}

/// What an agent can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is an independent capability")]
pub struct Capabilities {
    /// Prints its events while it works.
    pub streaming: bool,
    /// Continues an earlier session.
    pub resume: bool,
    /// Uses MCP servers.
    pub mcp: bool,
    /// Uses skills.
    pub skills: bool,
    /// Stops after a number of turns.
    pub turn_limit: bool,
    /// Stops at a cost that it counts itself.
    pub own_budget: bool,
    /// Reports its own usage.
    pub usage: bool,
}

/// A file that is written before the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileTemplate {
    /// Relative path.
    pub path: String,
    #[serde(default)]
    pub place: Place,
    /// Name of a variable that holds the absolute path, for other templates. It has no value if the file is left out.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    /// Content as text. Exactly one of `text`, `json` and `toml` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Content as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// Content as TOML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toml: Option<Value>,
}

/// The directory of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// The home directory of the agent.
    #[default]
    Home,
    /// The working tree. A file of the repository is never replaced, and the written one is never committed.
    Tree,
}

/// The configuration of one MCP server, with the variables of [`MCP_VARIABLES`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct McpTemplates {
    /// A server that the agent starts.
    pub local: Value,
    /// A server that is reached by HTTP.
    pub remote: Value,
}

/// The output of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventFormat {
    pub format: StreamFormat,
    /// Whether an exit without an event that ends the session is a crash.
    #[serde(default)]
    pub requires_end: bool,
    /// File with one more event, as JSON, that the program writes before it ends: a path below the home directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_file: Option<String>,
    /// Tools that run commands or change files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolRule>,
    /// Rules for events; each rule that matches is applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<EventRule>,
}

/// The form of a program's standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamFormat {
    /// One JSON value a line.
    JsonLines,
    /// One JSON value at the end: an event, or an array of events.
    Json,
    /// Text for people.
    Text,
}

/// The meaning of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolRule {
    pub names: Vec<String>,
    /// JSON Pointer in the tool's input to the command that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// JSON Pointer in the tool's input to the file that it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// A rule for events. Pointers are JSON Pointers ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EventRule {
    /// Values that the event must have. A list accepts any of its values, and `null` accepts a missing value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, Value>,
    /// Array or object of the event: the rest of the rule applies to each of its values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub each: Option<String>,
    /// Values that each of these values must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, Value>,
    /// The ID of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// A text of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The text is a part of a message, which continues with the next event.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolPointers>,
    /// A command that the agent runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// A file that the agent changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// A text, or an array of texts, about an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsagePointers>,
    /// The session ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// The reason of a failure that the event proves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// A call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolPointers {
    pub name: String,
    /// The input, as an object or as JSON in a text.
    pub input: String,
}

/// Numbers of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct UsagePointers {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<String>,
    /// Tokens written to the provider's cache; they count as input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// Sum of input, output and reasoning, for a program that does not report the reasoning itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// Price in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// `input` includes the cached tokens.
    pub input_includes_cached: bool,
    /// `output` does not include the tokens of the reasoning.
    pub output_excludes_reasoning: bool,
    /// The numbers cover the whole session, also the part before it was resumed.
    pub whole_session: bool,
}

/// The end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    Completed,
    Failed,
}

/// A rule for the reason of a failure. All conditions that it has must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailureRule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Regular expression, without regard to case, for the texts of errors and for standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    pub reason: Reason,
}

/// What an Agent asks of its adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// API of the models' providers; none without models.
    pub api: Option<Api>,
    pub mcp_servers: bool,
    pub skills: bool,
    pub max_turns: bool,
}

impl AdapterDefinition {
    /// Returns what the adapter cannot honour, each as a message for a person.
    pub fn conflicts(&self, demands: &Demands) -> Vec<String> {
        let name = &self.name;
        let mut found = Vec::new();
        match (demands.api, self.api) {
            (Some(_), None) => {
                found.push(format!("the adapter {name} only works with the service of its vendor; remove models"));
            }
            (Some(asked), Some(own)) if asked != own => {
                let (asked, own): (&str, &str) = (asked.into(), own.into());
                found.push(format!(
                    "the adapter {name} speaks the API {own}, and the model providers speak {asked}; choose providers with the API {own}"
                ));
            }
            _ => {}
        }
        let can = self.capabilities;
        for (asked, has, what, field) in [
            (demands.mcp_servers, can.mcp, "use MCP servers", "mcpServers"),
            (demands.skills, can.skills, "use skills", "skills"),
            (demands.max_turns, can.turn_limit, "limit its turns", "maxTurns"),
        ] {
            if asked && !has {
                found.push(format!("the adapter {name} cannot {what}; remove {field}"));
            }
        }
        found
    }

    /// Returns whether the cost that the program reports is that of the whole session, also of the part before it was resumed.
    pub fn counts_cost_of_session(&self) -> bool {
        let mut usages = self.events.rules.iter().filter_map(|rule| rule.usage.as_ref());
        usages.any(|usage| usage.cost.is_some() && usage.whole_session)
    }

    /// Checks a definition: sizes, templates, paths, pointers, patterns, and that its capabilities agree with the rest.
    ///
    /// # Errors
    /// The first problem, for a person.
    pub fn check(&self) -> Result<(), String> {
        let size = serde_json::to_string(self).map_or(usize::MAX, |json| json.len());
        if size > MAX_DEFINITION_BYTES {
            return Err(format!("the definition has {size} bytes, and at most {MAX_DEFINITION_BYTES} are allowed"));
        }
        if self.command.first().is_none_or(Vec::is_empty) || self.resume.first().is_some_and(Vec::is_empty) {
            return Err("command and resume begin with a group that begins with the program".into());
        }
        self.check_files()?;
        self.check_templates()?;
        self.check_events()?;
        self.check_failures()?;
        self.check_capabilities()
    }

    fn check_files(&self) -> Result<(), String> {
        if let Some(path) = self.skills.as_ref().filter(|path| !is_relative(path)) {
            return Err(format!("the path `{}` must be relative, without `..`", path.escape_debug()));
        }
        for file in &self.files {
            let contents = [file.text.is_some(), file.json.is_some(), file.toml.is_some()];
            if contents.into_iter().filter(|set| *set).count() != 1 {
                return Err(format!("file {} must have exactly one of text, json and toml", file.path));
            }
            if !is_relative(&file.path) {
                return Err(format!("the path `{}` must be relative, without `..`", file.path.escape_debug()));
            }
            let first = file.path.split('/').next().unwrap_or_default();
            if file.place == Place::Tree && first.eq_ignore_ascii_case(".git") {
                return Err(format!("the path `{}` must not be in .git", file.path.escape_debug()));
            }
        }
        if self.session_files.len() > MAX_SESSION_PATHS {
            return Err(format!("sessionFiles must have at most {MAX_SESSION_PATHS} paths"));
        }
        if let Some(path) = self.session_files.iter().find(|path| !is_relative(path)) {
            return Err(format!("the path `{}` of sessionFiles must be relative, without `..`", path.escape_debug()));
        }
        if self.resume.is_empty() && !self.session_files.is_empty() {
            return Err("sessionFiles need resume: the arguments that resume a session".into());
        }
        Ok(())
    }

    fn check_templates(&self) -> Result<(), String> {
        let own: BTreeSet<&str> = self.files.iter().filter_map(|file| file.variable.as_deref()).collect();
        if let Some(taken) = own.iter().find(|name| VARIABLES.contains(name)) {
            return Err(format!("a file cannot define the variable `{taken}`, which has another meaning"));
        }
        let known = |name: &str| VARIABLES.contains(&name) || own.contains(name);
        let mut used = BTreeSet::new();
        let groups = self.command.iter().chain(&self.resume).flatten();
        for text in groups.chain(self.env.values()).chain(&self.standard_input) {
            used.extend(template::variables(text)?);
        }
        for file in &self.files {
            if let Some(text) = &file.text {
                used.extend(template::variables(text)?);
            }
            for value in file.json.iter().chain(&file.toml) {
                used.extend(template::variables_of(value)?);
            }
        }
        if let Some(unknown) = used.iter().find(|name| !known(name)) {
            return Err(format!("there is no variable `{unknown}`; write {{{{ for a brace"));
        }
        for value in self.mcp.iter().flat_map(|mcp| [&mcp.local, &mcp.remote]) {
            if let Some(unknown) = template::variables_of(value)?.iter().find(|name| !MCP_VARIABLES.contains(&&***name))
            {
                return Err(format!("there is no variable `{unknown}` for MCP servers"));
            }
        }
        if self.env.keys().any(|name| name.is_empty() || name.contains(['=', '\0']) || name.starts_with("ENACT_")) {
            return Err("names of environment variables must not be empty, contain `=` or begin with ENACT_".into());
        }
        Ok(())
    }

    fn check_events(&self) -> Result<(), String> {
        if let Some(path) = self.events.report_file.as_ref().filter(|path| !is_relative(path)) {
            return Err(format!("the path `{}` must be relative, without `..`", path.escape_debug()));
        }
        let tools = self.events.tools.iter().flat_map(|tool| tool.command.iter().chain(&tool.file));
        let rules = self.events.rules.iter().flat_map(EventRule::pointers);
        for pointer in tools.chain(rules) {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                return Err(format!("`{}` is not a JSON Pointer: it must begin with `/`", pointer.escape_debug()));
            }
        }
        Ok(())
    }

    fn check_failures(&self) -> Result<(), String> {
        for rule in &self.failures {
            if rule.exit_code.is_none() && rule.pattern.is_none() {
                return Err("a failure rule needs an exitCode or a pattern".into());
            }
            if let Some(pattern) = &rule.pattern {
                compiled(pattern)?;
            }
        }
        Ok(())
    }

    fn check_capabilities(&self) -> Result<(), String> {
        let uses = |variable: &str| {
            let texts = self.command.iter().flatten().chain(self.env.values()).map(|text| template::variables(text));
            let values = self.files.iter().flat_map(|file| {
                let text = file.text.iter().map(|text| template::variables(text));
                text.chain(file.json.iter().chain(&file.toml).map(template::variables_of))
            });
            texts.chain(values).flatten().any(|names| names.iter().any(|name| name == variable))
        };
        let can = self.capabilities;
        for (stated, real, what) in [
            (can.streaming, self.events.format != StreamFormat::Json, "streaming: events come while the agent works"),
            (can.resume, !self.resume.is_empty(), "resume: it has arguments to resume a session"),
            (can.mcp, self.mcp.is_some() && uses("mcpServers"), "mcp: it has templates for MCP servers and uses them"),
            (can.skills, self.skills.is_some(), "skills: it has the folder of the skills"),
            (can.turn_limit, uses("maxTurns"), "turnLimit: it uses the variable maxTurns"),
            (can.own_budget, uses("maxCostUsd"), "ownBudget: it uses the variable maxCostUsd"),
            (can.usage, self.events.rules.iter().any(|rule| rule.usage.is_some()), "usage: an event has usage"),
        ] {
            if stated != real {
                return Err(format!("the capability must be {real}, by the rest of the definition: {what}"));
            }
        }
        Ok(())
    }
}

impl EventRule {
    fn pointers(&self) -> impl Iterator<Item = &String> {
        let usage = self.usage.iter().flat_map(|usage| {
            [
                &usage.input,
                &usage.cached_input,
                &usage.cache_write,
                &usage.output,
                &usage.reasoning,
                &usage.total,
                &usage.cost,
            ]
        });
        [&self.each, &self.session, &self.message, &self.command, &self.file, &self.error]
            .into_iter()
            .chain(usage)
            .flatten()
            .chain(self.tool.iter().flat_map(|tool| [&tool.name, &tool.input]))
            .chain(self.when.keys())
            .chain(self.with.keys())
    }
}

/// Compiles the pattern of a failure rule.
///
/// # Errors
/// If it is invalid or too large.
pub(super) fn compiled(pattern: &str) -> Result<regex::Regex, String> {
    let built = regex::RegexBuilder::new(pattern).case_insensitive(true).size_limit(MAX_PATTERN_BYTES).build();
    built.map_err(|error| format!("the pattern `{}` is invalid: {error}", pattern.escape_debug()))
}

/// Returns whether `path` stays below the directory that it is relative to.
fn is_relative(path: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    !path.is_empty() && path.split('/').all(part) && !path.chars().any(char::is_control)
}
