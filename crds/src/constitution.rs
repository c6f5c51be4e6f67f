//! Constitution: the principles that every specification and plan must keep.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::common::{ApprovalPolicy, Condition, Finding, FindingCounts, Source};

/// The principles that every specification and plan must keep.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "enact.dev",
    version = "v1alpha1",
    kind = "Constitution",
    namespaced,
    status = "ConstitutionStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "const",
    category = "enact",
    cel,
    doc = "The principles that every specification and plan must keep, as Spec Kit's constitution.md.",
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Principles", type_ = "integer", json_path = ".status.principles"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConstitutionSpec {
    /// Where the document comes from.
    pub source: Source,
    /// What people must approve before the constitution counts.
    #[serde(default)]
    pub approval: ApprovalPolicy,
    /// Whether the controller leaves this object alone.
    #[serde(default)]
    pub suspend: bool,
}

/// What the operator observed of a constitution.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConstitutionStatus {
    /// The generation that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled, as kstatus reads them.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Digest of the document as it is now: what an Approval must name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Digest of the document that was last approved (or needed no approval).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_digest: Option<String>,
    /// The version that the document gives itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How many principles it has.
    #[serde(default)]
    pub principles: u32,
    /// How many findings the check gave.
    #[serde(default)]
    pub findings: FindingCounts,
    /// The first findings, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top_findings: Vec<Finding>,
}
