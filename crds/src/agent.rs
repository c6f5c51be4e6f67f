//! Agent: how one coding agent runs.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Condition, LocalRef, Resources};

/// How one coding agent runs.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "enact.dev",
    version = "v1alpha1",
    kind = "Agent",
    namespaced,
    status = "AgentStatus",
    derive = "PartialEq",
    shortname = "ag",
    category = "enact",
    doc = "How one coding agent runs.",
    printcolumn(name = "Adapter", type_ = "string", json_path = ".spec.adapter"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.adapter != 'Replay' || has(self.replay)").message("adapter Replay needs the field replay"))]
pub struct AgentSpec {
    /// What kind of agent it is.
    pub adapter: Adapter,
    /// Image of the pods. Default: the installation's agent image, which has Git, Python and the runner. In another image the runner is
    /// put by an init container; it must have `git` and `/bin/sh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// For adapter Command: the script for `/bin/sh -e` of tasks that bring none of their own. The file named by `ENACT_PROMPT_FILE` holds
    /// the task's prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65_536))]
    pub script: Option<String>,
    /// For adapter Replay: where the recorded work is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// Environment of the agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 64))]
    pub env: Vec<EnvVar>,
    /// Compute resources of its pods, where the task names none.
    #[serde(default)]
    pub resources: Resources,
}

/// Kinds of agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Adapter {
    /// A shell script.
    Command,
    /// Recorded work of another agent, played back.
    Replay,
}

/// Recorded work: `<task id>.patch` (an mbox for `git am`) and `<task id>.transcript`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replay {
    /// A ConfigMap with one key a file.
    pub config_map_ref: LocalRef,
}

/// One environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.value) != has(self.secretKeyRef)").message("set exactly one of value and secretKeyRef"))]
#[x_kube(validation = Rule::new("!self.name.startsWith('ENACT_')").message("names that start with ENACT_ are reserved"))]
pub struct EnvVar {
    /// Name of the variable.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32_768))]
    pub value: Option<String>,
    /// A key of a Secret in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKey>,
}

/// One key of a Secret in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// Name of the Secret, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its `data`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Whether a text can be the reference of an image, as far as its form tells.
pub fn is_image(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    starts_well && text.chars().all(allowed) && !text.contains("//") && !text.ends_with(['/', ':', '@'])
}

/// What the operator observed of an agent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// The generation that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled, as kstatus reads them.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images() {
        for good in ["a", "localhost:5000/enact/agent:v1", "ghcr.io/a/b@sha256:0123"] {
            assert!(is_image(good), "{good}");
        }
        for bad in ["https://ghcr.io/a", "-a", "a b", "a\nb", "a:", "", "a//b", "$(id)"] {
            assert!(!is_image(bad), "{bad}");
        }
    }
}
