//! Fields that several kinds share.

use std::collections::BTreeMap;

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

/// A reference to an object of a kind that the field fixes, in a namespace that it names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespacedRef {
    /// Namespace of the object.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Name of the object.
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

/// The branch of a repository that is meant where none is named.
pub(crate) fn default_revision() -> String {
    "main".into()
}

/// How much a finding matters, as Spec Kit's `analyze` ranks it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Severity {
    /// The document cannot be used, or breaks the constitution.
    Critical,
    /// A plan would suffer from it.
    High,
    /// A person should look at it.
    #[default]
    Medium,
    /// A remark.
    Low,
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
    /// What is asked besides while findings of a severity are open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub with_findings: Vec<FindingPolicy>,
    /// Seconds after which an approval counts no more; none means that it counts until the content changes. What was started meanwhile goes
    /// on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 31_536_000))]
    pub expires_after_seconds: Option<u32>,
    /// Service accounts and other machines whose Approvals count as a person's, by the name that the API server gives them:
    /// `system:serviceaccount:flux-system:kustomize-controller`. Without being named here, no machine counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub machines: Vec<String>,
}

/// What is asked besides while findings of a severity are open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FindingPolicy {
    /// It holds while there is an open finding of this severity or a worse one.
    pub at_least: Severity,
    /// How many different people must approve.
    #[schemars(range(min = 1, max = 16))]
    pub required: u32,
    /// Only members of one of these groups count towards that number; empty means those who count anyhow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub groups: Vec<String>,
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

/// Outputs of a task: name → value.
pub type Outputs = BTreeMap<String, String>;
