//! The digests of Agents, which every reconcile of a plan needs. They are remembered until an Agent, or the endpoint of one of its models,
//! changes.

use std::collections::HashMap;

use enact_crds::provider::Api;
use enact_crds::{Agent, agent_content};
use enact_domain::digest::Digest;
use kube::ResourceExt as _;
use parking_lot::Mutex;

/// Number of remembered digests. When it is reached all are forgotten, and computed again.
const MAX_AGENTS: usize = 4096;

/// API and URL of the ModelProvider of each model, in the order of the models.
type Endpoints = Vec<Option<(Api, String)>>;

/// The digests of an Agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentDigests {
    /// Of its content.
    pub content: Digest,
    /// Of the models in its content, and of the endpoints that serve them.
    pub models: Digest,
}

/// Digests by the UID of the Agent and the tenant: a name of a provider can refer to another one for another tenant.
#[derive(Debug, Default)]
pub struct AgentDigestCache {
    known: Mutex<HashMap<(String, String), Known>>,
}

/// Digests, and what they were computed from.
#[derive(Debug)]
struct Known {
    resource_version: String,
    endpoints: Endpoints,
    digests: ContentDigests,
}

impl AgentDigestCache {
    /// Returns the digests of an Agent for a tenant. `endpoint` returns API and URL of the ModelProvider that a name refers to.
    pub fn digests(
        &self,
        agent: &Agent,
        tenant: &str,
        endpoint: impl Fn(&str) -> Option<(Api, String)>,
    ) -> ContentDigests {
        let models = &agent.spec.models;
        let endpoints: Endpoints = models.iter().map(|model| endpoint(&model.provider)).collect();
        let of_name = |name: &str| {
            let found = models.iter().zip(&endpoints).find(|(model, _)| model.provider == name);
            found.and_then(|(_, endpoint)| endpoint.clone())
        };
        let compute = || ContentDigests {
            content: agent_content::digest(agent, of_name),
            models: agent_content::models_digest(agent, of_name),
        };
        let (Some(uid), Some(resource_version)) = (agent.uid(), agent.resource_version()) else { return compute() };
        let key = (uid, tenant.to_owned());
        let mut known = self.known.lock();
        let same = |known: &&Known| known.resource_version == resource_version && known.endpoints == endpoints;
        if let Some(found) = known.get(&key).filter(same) {
            return found.digests.clone();
        }
        let digests = compute();
        if known.len() >= MAX_AGENTS && !known.contains_key(&key) {
            known.clear();
        }
        known.insert(key, Known { resource_version, endpoints, digests: digests.clone() });
        digests
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn agent(version: &str, script: &str) -> Agent {
        let models = json!([{"provider": "claude", "model": "claude-5"}]);
        let spec = json!({"adapter": "Command", "script": script, "models": models});
        let mut agent = Agent::new("coder", serde_json::from_value(spec).unwrap());
        agent.metadata.uid = Some("uid".into());
        agent.metadata.resource_version = Some(version.into());
        agent
    }

    #[test]
    fn a_digest_is_that_of_the_present_agent_and_endpoint() {
        let cache = AgentDigestCache::default();
        let at = |url: &'static str| move |_: &str| Some((Api::Anthropic, url.to_owned()));
        let digest = |agent: &Agent, url| {
            let digests = cache.digests(agent, "acme", at(url));
            assert_eq!(digests.content, agent_content::digest(agent, at(url)), "as without the cache");
            assert_eq!(digests.models, agent_content::models_digest(agent, at(url)), "as without the cache");
            digests
        };
        let first = digest(&agent("1", "make"), "https://a");
        assert_eq!(digest(&agent("1", "make"), "https://a"), first);
        assert_ne!(digest(&agent("2", "make all"), "https://a"), first, "the Agent changed");
        assert_ne!(digest(&agent("1", "make"), "https://b"), first, "the provider changed");
        assert_eq!(cache.digests(&agent("1", "make"), "other", at("https://a")), first, "another tenant");
        assert_eq!(cache.known.lock().len(), 2, "one for each tenant");
    }

    #[test]
    fn an_unchanged_agent_is_not_read_again() {
        let cache = AgentDigestCache::default();
        let first = cache.digests(&agent("1", "make"), "acme", |_| None);
        assert_eq!(cache.digests(&agent("1", "never stored"), "acme", |_| None), first);
        let mut unstored = agent("1", "make");
        unstored.metadata.resource_version = None;
        unstored.spec.script = Some("echo".into());
        assert_ne!(cache.digests(&unstored, "acme", |_| None), first, "an object without a version is always read");
    }
}
