//! Specification: what is to be built and how one will know.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::common::{ApprovalPolicy, Condition, Finding, FindingCounts, LocalRef, Source};

/// What is to be built and how one will know.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "enact.dev",
    version = "v1alpha1",
    kind = "Specification",
    namespaced,
    status = "SpecificationStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "spec",
    category = "enact",
    cel,
    doc = "What is to be built and how one will know, as Spec Kit's spec.md.",
    selectable = ".spec.constitutionRef.name",
    printcolumn(name = "Stories", type_ = "integer", json_path = ".status.stories"),
    printcolumn(name = "Requirements", type_ = "integer", json_path = ".status.requirements"),
    printcolumn(name = "Questions", type_ = "integer", json_path = ".status.openQuestions"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SpecificationSpec {
    /// Where the document comes from.
    pub source: Source,
    /// The constitution that it must keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constitution_ref: Option<LocalRef>,
    /// What people must approve before a plan of this specification starts.
    #[serde(default)]
    pub approval: ApprovalPolicy,
    /// Whether the controller leaves this object alone.
    #[serde(default)]
    pub suspend: bool,
}

/// What the operator observed of a specification.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpecificationStatus {
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
    /// Title of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// User stories.
    #[serde(default)]
    pub stories: u32,
    /// Requirements.
    #[serde(default)]
    pub requirements: u32,
    /// Success criteria.
    #[serde(default)]
    pub success_criteria: u32,
    /// `[NEEDS CLARIFICATION]` markers that nobody answered.
    #[serde(default)]
    pub open_questions: u32,
    /// How many findings the check gave.
    #[serde(default)]
    pub findings: FindingCounts,
    /// The first findings, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top_findings: Vec<Finding>,
}
