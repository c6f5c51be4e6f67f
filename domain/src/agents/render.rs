//! What starts an agent: arguments, environment and files, from a definition and the values of one run. Nothing is given to a shell.

use serde_json::{Value, json};

use super::definition::{AdapterDefinition, Place};
use super::mcp;
use super::run::AgentRun;
use super::template::{self, Variables};

/// The values that the runner knows.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    pub run: &'a AgentRun,
    /// Token for the gateway.
    pub token: Option<&'a str>,
    pub task_id: &'a str,
    pub prompt: &'a str,
    /// Path of the file with the prompt.
    pub prompt_file: &'a str,
    pub home: &'a str,
    pub tree: &'a str,
    /// Path of the directory for temporary files.
    pub temporary: &'a str,
    /// ID of the session to resume.
    pub session: Option<&'a str>,
    /// ID for a new session: a UUID.
    pub new_session: &'a str,
}

/// A program, ready to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Program and arguments.
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Text on the standard input; none for an empty one.
    pub standard_input: Option<String>,
    pub files: Vec<RenderedFile>,
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedFile {
    pub place: Place,
    /// Path below the home directory or the working tree.
    pub path: String,
    pub content: String,
}

/// Renders a definition. `lookup` returns the value of a variable of the pod.
///
/// # Errors
/// A message for a person.
pub fn render(
    definition: &AdapterDefinition,
    values: &Values,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Start, String> {
    let mut variables = variables(definition, values, lookup)?;
    let mut files = Vec::new();
    for file in &definition.files {
        let content = match (&file.text, &file.json, &file.toml) {
            (Some(text), ..) => template::text(text, &variables)?,
            (_, Some(json), _) => structured(json, &variables)?.map(|value| format!("{value:#}\n")),
            (.., Some(toml)) => structured(toml, &variables)?.map(|value| as_toml(&value)).transpose()?,
            _ => None,
        };
        let Some(content) = content else { continue };
        if let Some(name) = &file.variable {
            let place = if file.place == Place::Home { values.home } else { values.tree };
            variables.insert(name.clone(), json!(format!("{place}/{}", file.path)));
        }
        files.push(RenderedFile { place: file.place, path: file.path.clone(), content });
    }
    let groups = if values.session.is_some() { &definition.resume } else { &definition.command };
    let mut argv = Vec::new();
    for group in groups {
        let rendered: Result<Option<Vec<_>>, String> =
            group.iter().map(|argument| template::text(argument, &variables)).collect();
        argv.extend(rendered?.unwrap_or_default());
    }
    let mut env = Vec::new();
    for (name, value) in &definition.env {
        if let Some(value) = template::text(value, &variables)? {
            env.push((name.clone(), value));
        }
    }
    if argv.iter().chain(env.iter().map(|(_, value)| value)).any(|text| text.contains('\0')) {
        return Err("an argument or variable contains a NUL character".into());
    }
    let standard_input = definition.standard_input.as_ref().map(|text| template::text(text, &variables)).transpose()?;
    Ok(Start { argv, env, standard_input: standard_input.flatten(), files })
}

fn variables(
    definition: &AdapterDefinition,
    values: &Values,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Variables, String> {
    let run = values.run;
    let mut variables = Variables::new();
    let mut set = |name: &str, value: Option<Value>| drop(value.map(|value| variables.insert(name.to_owned(), value)));
    set("gateway", run.gateway_url.as_deref().map(|url| json!(url.trim_end_matches('/'))));
    set("token", values.token.filter(|_| run.gateway_url.is_some()).map(|token| json!(token)));
    set("model", run.model.as_ref().map(|model| json!(model)));
    set("instructions", run.instructions.as_ref().map(|text| json!(text)));
    let usd = |micro: u64| format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000);
    set("maxCostUsd", run.max_cost_micro_usd.map(|micro| json!(usd(micro))));
    set("maxTurns", run.max_turns.map(|turns| json!(turns)));
    set("taskId", Some(json!(values.task_id)));
    set("promptFile", Some(json!(values.prompt_file)));
    set("home", Some(json!(values.home)));
    set("tree", Some(json!(values.tree)));
    set("temporary", Some(json!(values.temporary)));
    set("sessionId", Some(json!(values.session.unwrap_or(values.new_session))));
    // A program would take a prompt with a dash in front for an option.
    let dash = if values.prompt.starts_with('-') { "\n" } else { "" };
    set("prompt", Some(json!(format!("{dash}{}", values.prompt))));
    if let (Some(templates), false) = (&definition.mcp, run.mcp_servers.is_empty()) {
        set("mcpServers", Some(mcp::configuration(&run.mcp_servers, templates, lookup)?));
    }
    Ok(variables)
}

/// Renders the content of a file. It is left out if nothing is left of it.
fn structured(template: &Value, variables: &Variables) -> Result<Option<Value>, String> {
    let rendered = template::json(template, variables)?;
    Ok(rendered.filter(|value| value.as_object().is_none_or(|entries| !entries.is_empty())))
}

fn as_toml(value: &Value) -> Result<String, String> {
    toml::to_string(value).map_err(|error| format!("a file cannot be written as TOML: {error}"))
}
