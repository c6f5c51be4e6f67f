//! The run of a coding agent, made from its Agent.

use enact_domain::agents::mcp;
use enact_domain::agents::run::AgentRun;

use crate::agent::{Adapter, AgentSpec, McpServer};

/// Returns the run of a coding agent for one attempt; none for scripts and recorded work. `gateway_url` is the address of the model gateway,
/// which agents with models use.
///
/// # Errors
/// If the definition of a custom adapter is invalid; the message is for a person.
pub fn agent_run(
    spec: &AgentSpec,
    gateway_url: Option<&str>,
    timeout_seconds: u32,
) -> Result<Option<AgentRun>, String> {
    let Some(definition) = spec.definition()? else { return Ok(None) };
    let custom = spec.adapter == Adapter::Custom;
    Ok(Some(AgentRun {
        adapter: if custom { String::new() } else { spec.adapter.as_str().to_owned() },
        custom: custom.then(|| definition.into_owned()),
        model: spec.models.first().map(|model| model.model.clone()),
        gateway_url: gateway_url.filter(|_| !spec.models.is_empty()).map(str::to_owned),
        instructions: spec.instructions.clone(),
        mcp_servers: spec.mcp_servers.iter().map(mcp_server).collect(),
        skills: spec.skills.iter().map(|skill| skill.name.clone()).collect(),
        max_turns: spec.max_turns,
        max_tokens: None,
        max_cost_micro_usd: None,
        timeout_seconds,
    }))
}

fn mcp_server(server: &McpServer) -> mcp::McpServer {
    mcp::McpServer {
        name: server.name.clone(),
        command: server.command.clone(),
        url: server.url.clone(),
        env: server.env.iter().map(|v| named_value(server, &v.name, v.value.as_ref())).collect(),
        headers: server.headers.iter().map(|h| named_value(server, &h.name, h.value.as_ref())).collect(),
    }
}

/// Returns a value of a server, or the name of the pod's variable with the value of a Secret.
fn named_value(server: &McpServer, name: &str, value: Option<&String>) -> mcp::NamedValue {
    let from_env = value.is_none().then(|| mcp::credential_variable(&server.name, name));
    mcp::NamedValue { name: name.to_owned(), value: value.cloned(), from_env }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::validation;

    fn spec(value: Value) -> AgentSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn has_the_fields_of_the_agent() {
        let spec = spec(json!({
            "adapter": "Codex", "models": [{"provider": "p", "model": "m"}, {"provider": "q", "model": "n"}],
            "instructions": "Be brief.", "mcpServers": [{"name": "docs", "command": ["docs"]}],
        }));
        let run = agent_run(&spec, Some("http://gateway:8090"), 60).unwrap().unwrap();
        assert_eq!((run.adapter.as_str(), run.model.as_deref()), ("Codex", Some("m")));
        assert_eq!(run.gateway_url.as_deref(), Some("http://gateway:8090"));
        assert_eq!((run.mcp_servers.len(), run.timeout_seconds), (1, 60));
        run.definition().unwrap();
    }

    #[test]
    fn credentials_of_mcp_servers_are_variables_of_the_pod() {
        let spec = spec(json!({"adapter": "Codex", "mcpServers": [
            {"name": "docs", "command": ["docs"], "env": [
                {"name": "MODE", "value": "fast"}, {"name": "TOKEN", "secretKeyRef": {"name": "docs", "key": "t"}}]},
            {"name": "tracker", "url": "https://mcp.example.com", "headers": [
                {"name": "Authorization", "secretKeyRef": {"name": "tracker", "key": "t"}}]},
        ]}));
        let run = agent_run(&spec, None, 60).unwrap().unwrap();
        for server in &run.mcp_servers {
            server.check().unwrap();
        }
        let value = |name: &str, value: Option<&str>, from_env: Option<&str>| mcp::NamedValue {
            name: name.into(),
            value: value.map(str::to_owned),
            from_env: from_env.map(str::to_owned),
        };
        let env = [value("MODE", Some("fast"), None), value("TOKEN", None, Some("ENACT_MCP_docs.TOKEN"))];
        assert_eq!(run.mcp_servers[0].env, env);
        let headers = [value("Authorization", None, Some("ENACT_MCP_tracker.Authorization"))];
        assert_eq!(run.mcp_servers[1].headers, headers);
        let credentials = spec.mcp_servers.iter().flat_map(McpServer::credentials);
        let credentials: Vec<(String, &str)> = credentials.map(|(name, key)| (name, key.name.as_str())).collect();
        let expected = [("ENACT_MCP_docs.TOKEN", "docs"), ("ENACT_MCP_tracker.Authorization", "tracker")];
        assert_eq!(credentials, expected.map(|(name, secret)| (name.to_owned(), secret)));
    }

    #[test]
    fn an_agent_without_models_uses_no_gateway() {
        let run = agent_run(&spec(json!({"adapter": "Cursor"})), Some("http://gateway:8090"), 60).unwrap().unwrap();
        assert_eq!((run.gateway_url, run.model), (None, None));
        assert_eq!(agent_run(&spec(json!({"adapter": "Command", "script": "true"})), None, 60), Ok(None));
    }

    #[test]
    fn a_custom_adapter_is_checked() {
        let custom = json!({
            "name": "Own", "title": "Own agent", "api": "OpenAi", "capabilities": {"streaming": true},
            "command": [["own", "{prompt}"]], "events": {"format": "Text"},
        });
        let own = spec(json!({"adapter": "Custom", "custom": custom, "models": [{"provider": "p", "model": "m"}]}));
        assert_eq!(validation::agent(&own), []);
        let run = agent_run(&own, None, 60).unwrap().unwrap();
        assert_eq!((run.adapter.as_str(), run.definition().unwrap().name.as_str()), ("", "Own"));

        let limited = AgentSpec { max_turns: Some(3), ..own.clone() };
        assert_eq!(validation::agent(&limited)[0].field, "spec.maxTurns");
        let broken = AgentSpec { custom: Some(json!({"name": "Own"})), ..own };
        let errors = validation::agent(&broken);
        assert_eq!((errors.len(), errors[0].field.as_str()), (1, "spec.custom"));
    }
}
