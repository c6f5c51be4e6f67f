//! Constitution: the principles that every specification and plan must keep.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{ApprovalPolicy, Condition, LocalRef, NamespacedRef};
use crate::document::{ConstitutionRule, Finding, FindingCounts, Quality, Source, SourceStatus};

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
    doc = "The principles that every specification and plan must keep, as Spec Kit's constitution.md.",
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Principles", type_ = "integer", json_path = ".status.principles"),
    printcolumn(name = "Rules", type_ = "integer", json_path = ".status.rules"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConstitutionSpec {
    /// Where the document comes from.
    pub source: Source,
    /// Rules that a machine checks, besides those of the constitutions that this one inherits from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 64))]
    pub rules: Vec<ConstitutionRule>,
    /// A constitution in the same namespace whose principles and rules hold here too; this one can add to them and make them stricter. What
    /// the Tenant's `constitutionRef` names is inherited in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_ref: Option<LocalRef>,
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
    /// How many rules hold for what names it, inherited ones with them.
    #[serde(default)]
    pub rules: u32,
    /// The constitutions that it inherits from, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherits: Vec<NamespacedRef>,
    /// What was last read from Git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,
    /// How the document differs from the one that was approved before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amendment: Option<Amendment>,
    /// What names it, and so must keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact: Option<Impact>,
    /// How good the document is by its own check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// How many findings the check gave.
    #[serde(default)]
    pub findings: FindingCounts,
    /// The first findings, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top_findings: Vec<Finding>,
}

/// How a constitution differs from the one that was approved before: the first part of Spec Kit's Sync Impact Report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Amendment {
    /// The version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Digest of the document before.
    pub from_digest: String,
    /// What the difference asks of the version: `None`, `Patch`, `Minor` or `Major`.
    pub level: String,
    /// What changed, at most 20 entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<AmendmentChange>,
}

/// One change of a constitution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AmendmentChange {
    /// `Added`, `Removed`, `Redefined` or `Reworded`.
    pub kind: String,
    /// The principle or section.
    pub principle: String,
    /// For a person.
    pub explanation: String,
}

/// What a constitution touches: the second part of Spec Kit's Sync Impact Report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Impact {
    /// Specifications that name it, or a constitution that inherits from it.
    pub specifications: u32,
    /// Plans of those that are not finished.
    pub plans: u32,
    /// Tasks of those plans that have not ended.
    pub tasks: u32,
    /// Some of the specifications and plans, as `Specification namespace/name`; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub some: Vec<String>,
}
