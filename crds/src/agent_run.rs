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
        max_turns: spec.max_turns,
        timeout_seconds,
    }))
}

fn mcp_server(server: &McpServer) -> mcp::McpServer {
    mcp::McpServer {
        name: server.name.clone(),
        command: server.command.clone(),
        url: server.url.clone(),
        ..mcp::McpServer::default()
    }
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
