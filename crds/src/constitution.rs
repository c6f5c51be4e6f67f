//! Constitution: the principles that every specification and plan must keep.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{ApprovalPolicy, Condition, LocalRef, NamespacedRef};
use crate::document::{AcceptedFinding, ConstitutionRule, Finding, FindingCounts, Quality, Source, SourceStatus};

/// The principles that every specification and plan must follow.
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
    doc = "The principles that every specification and plan must follow, as Spec Kit's constitution.md.",
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Principles", type_ = "integer", json_path = ".status.principles"),
    printcolumn(name = "Rules", type_ = "integer", json_path = ".status.rules"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConstitutionSpec {
    /// Source of the document.
    pub source: Source,
    /// Rules that are checked automatically, in addition to inherited rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 64))]
    pub rules: Vec<ConstitutionRule>,
    /// Findings that are accepted with a reason. They are a part of the approved content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["code".into(), "at".into()]))]
    #[schemars(length(max = 100))]
    pub accepted: Vec<AcceptedFinding>,
    /// A constitution in the same namespace from which this one inherits principles and rules. This constitution can add rules and make
    /// inherited rules stricter. It always inherits from the constitution that `constitutionRef` of the Tenant names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_ref: Option<LocalRef>,
    /// Approvals that are required before the constitution takes effect.
    #[serde(default)]
    pub approval: ApprovalPolicy,
    /// Whether the controller ignores this object.
    #[serde(default)]
    pub suspend: bool,
}

/// What the operator observed of a constitution.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConstitutionStatus {
    /// Generation of the object that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions Ready, Reconciling and Stalled, with kstatus semantics.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Digest of the current document; an Approval must name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Digest of the document that was last approved, or that required no approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_digest: Option<String>,
    /// Version that the document states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Number of principles.
    #[serde(default)]
    pub principles: u32,
    /// Number of rules of the effective constitution, including inherited rules.
    #[serde(default)]
    pub rules: u32,
    /// Constitution chain: the constitutions that it inherits from, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherits: Vec<NamespacedRef>,
    /// State of the source outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,
    /// Difference from the document that was approved before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amendment: Option<Amendment>,
    /// Objects that refer to it and must follow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact: Option<Impact>,
    /// Quality score of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// Number of findings by severity.
    #[serde(default)]
    pub findings: FindingCounts,
    /// Findings, the most severe first; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top_findings: Vec<Finding>,
}

/// Difference of a constitution from the one that was approved before: the first part of Spec Kit's Sync Impact Report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Amendment {
    /// Version of the document before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Digest of the document before.
    pub from_digest: String,
    /// Version step that the difference requires: `None`, `Patch`, `Minor` or `Major`.
    pub level: String,
    /// Changes, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<AmendmentChange>,
}

/// One change of a constitution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AmendmentChange {
    /// `Added`, `Removed`, `Redefined` or `Reworded`.
    pub kind: String,
    /// Name of the principle or section.
    pub principle: String,
    /// Explanation of the change.
    pub explanation: String,
}

/// Objects that a constitution affects: the second part of Spec Kit's Sync Impact Report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Impact {
    /// Number of specifications that refer to it, or to a constitution that inherits from it.
    pub specifications: u32,
    /// Number of unfinished plans of those specifications.
    pub plans: u32,
    /// Number of unfinished tasks of those plans.
    pub tasks: u32,
    /// Examples of the specifications and plans, as `Specification namespace/name`; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub some: Vec<String>,
}
