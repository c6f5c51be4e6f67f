//! MCP servers of an Agent. Neither the object nor the assignment has a credential: a value can come from a variable of the pod, which comes
//! from a Secret.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::definition::McpTemplates;
use super::template::{self, Variables};
use crate::names::is_label;

/// Prefix of variables with the credentials of an Agent's MCP servers. Their values are redacted, too, and only the configuration of the
/// servers gets them: they are not in the environment of the agent.
pub const MCP_SECRET_PREFIX: &str = "ENACT_MCP_";

/// A server that offers tools to an agent by the Model Context Protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct McpServer {
    pub name: String,
    /// Program and arguments of a server that the agent starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// URL of a server that is reached by HTTP. Exactly one of `command` and `url` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Environment of the command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<NamedValue>,
    /// Headers of requests to the URL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<NamedValue>,
}

/// A value, or the name of the variable of the pod that has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedValue {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_env: Option<String>,
}

/// Returns the name of the variable of the pod that has a credential: the value of a header or of a variable of an MCP server, which has
/// either headers or variables.
pub fn credential_variable(server: &str, name: &str) -> String {
    format!("{MCP_SECRET_PREFIX}{server}.{name}")
}

impl McpServer {
    /// Checks the form of a server.
    ///
    /// # Errors
    /// The first problem, for a person.
    pub fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if !is_label(name) {
            return Err(format!("`{}` is not a name of an MCP server: use a-z, 0-9 and -", name.escape_debug()));
        }
        if self.command.is_empty() != self.url.is_some() {
            return Err(format!("the MCP server {name} must have exactly one of command and url"));
        }
        if self.url.as_ref().is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
            return Err(format!("the URL of the MCP server {name} must begin with https:// or http://"));
        }
        let unused = if self.url.is_some() { &self.env } else { &self.headers };
        if !unused.is_empty() {
            return Err(format!("the MCP server {name} must have env with command only, and headers with url only"));
        }
        match self.env.iter().chain(&self.headers).find(|entry| !entry.is_valid()) {
            Some(entry) => Err(format!(
                "`{}` of the MCP server {name} must have a name and exactly one of value and fromEnv, a variable that begins with {MCP_SECRET_PREFIX}",
                entry.name.escape_debug()
            )),
            None => Ok(()),
        }
    }
}

impl NamedValue {
    fn is_valid(&self) -> bool {
        // The other variables of the pod are not for MCP servers.
        let from_env = self.from_env.as_ref().map(|variable| variable.starts_with(MCP_SECRET_PREFIX));
        !self.name.is_empty() && self.value.is_some() != from_env.is_some() && from_env != Some(false)
    }
}

/// Returns the servers in the form of an agent's configuration: an object with one entry for each server. `lookup` returns the value of a
/// variable of the pod.
///
/// # Errors
/// If a server is invalid or a variable does not exist.
pub fn configuration(
    servers: &[McpServer],
    templates: &McpTemplates,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Value, String> {
    let mut rendered = serde_json::Map::new();
    for server in servers {
        server.check()?;
        let template = if server.url.is_some() { &templates.remote } else { &templates.local };
        let variables = variables(server, lookup)?;
        let entry = template::json(template, &variables)?.unwrap_or_default();
        rendered.insert(server.name.clone(), entry);
    }
    Ok(Value::Object(rendered))
}

fn variables(server: &McpServer, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Variables, String> {
    let mut variables = Variables::new();
    let mut set = |name: &str, value: Value| drop(variables.insert(name.to_owned(), value));
    if let Some((program, arguments)) = server.command.split_first() {
        set("command", json!(program));
        set("args", json!(arguments));
        set("commandLine", json!(server.command));
    }
    if let Some(url) = &server.url {
        set("url", json!(url));
    }
    for (name, entries) in [("environment", &server.env), ("headers", &server.headers)] {
        let mut values = serde_json::Map::new();
        for entry in entries {
            let value = match (&entry.value, &entry.from_env) {
                (Some(value), _) => value.clone(),
                (None, from) => {
                    let from = from.as_deref().unwrap_or_default();
                    lookup(from).ok_or_else(|| {
                        format!(
                            "the MCP server {} uses the variable `{from}`, which the pod does not have",
                            server.name
                        )
                    })?
                }
            };
            values.insert(entry.name.clone(), Value::String(value));
        }
        if !values.is_empty() {
            set(name, Value::Object(values));
        }
    }
    Ok(variables)
}
