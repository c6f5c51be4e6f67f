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
}
