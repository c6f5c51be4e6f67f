//! The Agents in the status of a plan.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An Agent that a plan names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanAgent {
    /// Name of the Agent.
    pub name: String,
    /// Digest of its content: adapter, image, models and their endpoints, instructions, tools, skills, script, recorded work and environment.
    pub digest: String,
    /// Namespace of an Agent that the installation shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// User who changed the Agent last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Users who changed the ModelProviders of its models last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub provider_authors: Vec<String>,
}

impl PlanAgent {
    /// Returns the users who changed the Agent, or a ModelProvider of its models, last.
    pub fn authors(&self) -> impl Iterator<Item = &str> {
        self.author.iter().chain(&self.provider_authors).map(String::as_str)
    }
}
