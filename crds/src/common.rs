//! Fields that several kinds share.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// A reference to an object of a kind that the field fixes, in the namespace of the object that refers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalRef {
    /// Name of the object, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One key of a ConfigMap in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKey {
    /// Name of the ConfigMap, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its `data`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Where a document comes from: exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.inline) != has(self.configMapKeyRef)").message("set exactly one of inline and configMapKeyRef"))]
pub struct Source {
    /// The document itself, in Markdown as Spec Kit writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1_048_576))]
    pub inline: Option<String>,
    /// A key of a ConfigMap that holds the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKey>,
}

/// What people must approve before anything downstream of this object starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalPolicy {
    /// How many different people must approve this content; 0 asks nobody.
    #[serde(default)]
    #[schemars(range(min = 0, max = 16))]
    pub required: u32,
    /// Only members of one of these groups count; empty means everybody whom RBAC lets create an Approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub groups: Vec<String>,
    /// Whether the author of the content may not approve it.
    #[serde(default)]
    pub four_eyes: bool,
}

/// Rules for further attempts after a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryPolicy {
    /// Further attempts after failures of the work itself. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub limit: Option<u32>,
    /// Further attempts after failures of the surroundings: eviction, a lost node, an image that cannot be pulled. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub infrastructure_limit: Option<u32>,
    /// Seconds before the first further attempt; doubled each time. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub backoff_seconds: Option<u32>,
    /// Longest wait between attempts, in seconds. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub max_backoff_seconds: Option<u32>,
}

/// Compute resources of an attempt's pod; requests equal limits for memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// Requested CPU as a Kubernetes quantity, `100m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?m?$"), length(max = 20))]
    pub cpu: Option<String>,
    /// Requested and largest memory as a Kubernetes quantity, `256Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$"), length(max = 20))]
    pub memory: Option<String>,
    /// Largest scratch space as a Kubernetes quantity, `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$"), length(max = 20))]
    pub ephemeral_storage: Option<String>,
}

/// A command that must succeed before work counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gate {
    /// Short name, shown in conditions.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Script for `/bin/sh -e`, run at the root of the working tree.
    #[schemars(length(min = 1, max = 16_384))]
    pub script: String,
}

/// How many findings of each severity the last check of a document gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingCounts {
    /// Findings that stop the document from being used.
    pub errors: u32,
    /// Findings that a person should look at.
    pub warnings: u32,
    /// Remarks.
    pub infos: u32,
}

/// A finding in a document, as shown in a status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Line in the document, from 1.
    pub line: u32,
    /// Stable id of the kind of finding.
    pub code: String,
    /// `Error`, `Warning` or `Info`.
    pub severity: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// Largest number of findings kept in a status; the counts are always whole.
pub const MAX_FINDINGS: usize = 20;

/// Outputs of a task: name → value.
pub type Outputs = BTreeMap<String, String>;
