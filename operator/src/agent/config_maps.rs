//! The ConfigMaps of an Agent: its recorded work and its skills.

use std::collections::BTreeMap;

use enact_crds::agent::ConfigMapContent;
use enact_crds::{AgentSpec, agent_content};
use enact_domain::digest::Digest;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use serde_json::json;

use super::context::Context;
use super::decide;
use crate::error::Error;

/// The ConfigMaps that an Agent refers to, as far as they exist, by name.
#[derive(Default)]
pub struct ConfigMaps(BTreeMap<String, Read>);

struct Read {
    keys: Vec<String>,
    digest: Digest,
}

/// Reads the ConfigMaps of an Agent.
///
/// # Errors
/// When the API server fails.
pub async fn read(ctx: &Context, spec: &AgentSpec, namespace: &str) -> Result<ConfigMaps, Error> {
    let api = Api::<ConfigMap>::namespaced(ctx.client.clone(), namespace);
    let mut read = ConfigMaps::default();
    for name in agent_content::config_maps(spec) {
        let found = api.get_opt(name).await.map_err(Error::kube(format!("get ConfigMap {namespace}/{name}")))?;
        if let Some(map) = found {
            read.0.insert(name.to_owned(), Read::of(map));
        }
    }
    Ok(read)
}

impl Read {
    fn of(map: ConfigMap) -> Self {
        let (data, binary) = (map.data.unwrap_or_default(), map.binary_data.unwrap_or_default());
        let content = json!({ "data": data, "binaryData": binary });
        let digest = Digest::of_bytes(content.to_string().as_bytes());
        Self { keys: data.into_keys().chain(binary.into_keys()).collect(), digest }
    }
}

impl ConfigMaps {
    /// Returns the keys of a ConfigMap; none if it does not exist.
    pub fn keys(&self, name: &str) -> Option<&[String]> {
        self.0.get(name).map(|read| read.keys.as_slice())
    }

    /// Returns the first problem with the skills of an Agent.
    pub fn skill_problem(&self, spec: &AgentSpec) -> Option<String> {
        let mut skills = spec.skills.iter().enumerate();
        skills.find_map(|(index, skill)| decide::skill_problem(index, skill, self.keys(&skill.config_map_ref.name)))
    }

    /// Returns the digests for the status.
    pub fn status(&self) -> Vec<ConfigMapContent> {
        let content =
            |(name, read): (&String, &Read)| ConfigMapContent { name: name.clone(), digest: read.digest.to_string() };
        self.0.iter().map(content).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_covers_keys_and_values() {
        let digest = |map: serde_json::Value| Read::of(serde_json::from_value(map).unwrap()).digest;
        let first = digest(json!({"data": {"SKILL.md": "Review."}}));
        assert_ne!(digest(json!({"data": {"SKILL.md": "Approve."}})), first);
        assert_ne!(digest(json!({"data": {"SKILL.md": "Review."}, "binaryData": {"tool": "AAA="}})), first);
        let labelled = json!({"metadata": {"labels": {"a": "b"}}, "data": {"SKILL.md": "Review."}});
        assert_eq!(digest(labelled), first);
    }
}
