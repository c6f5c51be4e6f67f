//! Specification: what to build and how to verify it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{ApprovalPolicy, Condition, LocalRef, Time};
use crate::document::{
    AcceptedFinding, Clarification, Finding, FindingCounts, Quality, Question, Source, SourceStatus,
};

/// What to build and how to verify it.
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
    doc = "What to build and how to verify it, as in Spec Kit's spec.md.",
    selectable = ".spec.constitutionRef.name",
    printcolumn(name = "Stories", type_ = "integer", json_path = ".status.stories"),
    printcolumn(name = "Requirements", type_ = "integer", json_path = ".status.requirements"),
    printcolumn(name = "Quality", type_ = "integer", json_path = ".status.quality.score"),
    printcolumn(name = "Questions", type_ = "integer", json_path = ".status.openQuestions"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.source) || has(self.request)").message("set source, or a request that an agent drafts the document from"))]
pub struct SpecificationSpec {
    /// Source of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Description of the feature in the words of a person. Without a `source`, an agent drafts the document from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16_384))]
    pub request: Option<String>,
    /// Settings for drafting the document from the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drafting: Option<Drafting>,
    /// Answers to questions about the document. Each is written into the document, as by Spec Kit's `clarify`, and creates a new revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["question".into()]))]
    #[schemars(length(max = 100))]
    pub clarifications: Vec<Clarification>,
    /// Findings that are accepted with a reason. They are a part of the approved content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["code".into(), "at".into()]))]
    #[schemars(length(max = 100))]
    pub accepted: Vec<AcceptedFinding>,
    /// Constitution that the specification must follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constitution_ref: Option<LocalRef>,
    /// Approvals that are required before a plan of this specification starts.
    #[serde(default)]
    pub approval: ApprovalPolicy,
    /// Whether the controller ignores this object.
    #[serde(default)]
    pub suspend: bool,
}

/// What the operator observed of a specification.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpecificationStatus {
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
    /// Title of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Number of user stories.
    #[serde(default)]
    pub stories: u32,
    /// Number of requirements.
    #[serde(default)]
    pub requirements: u32,
    /// Number of success criteria.
    #[serde(default)]
    pub success_criteria: u32,
    /// Number of unanswered `[NEEDS CLARIFICATION]` markers.
    #[serde(default)]
    pub open_questions: u32,
    /// Questions that a person should answer, the most urgent first; at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Question>,
    /// State of the source outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,
    /// State of the drafting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<DraftStatus>,
    /// Similar specifications of the tenant, the most similar first; at most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
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

/// Settings for drafting a document from a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Drafting {
    /// Agent that drafts the document.
    pub agent_ref: LocalRef,
    /// Maximum number of attempts. When the document of an attempt is not usable, the next attempt receives the reason. Default: 3.
    #[serde(default = "default_attempts")]
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: u32,
    /// Timeout of one attempt, in seconds. Default: 900.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout_seconds: u32,
}

fn default_attempts() -> u32 {
    3
}

fn default_timeout() -> u32 {
    900
}

/// State of a drafting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DraftStatus {
    /// Digest of the request and the agent. A change of it restarts the drafting.
    pub request: String,
    /// Number of attempts that were started.
    #[serde(default)]
    pub attempts: u32,
    /// UID of the pod of the last attempt. The operator reads the result of no other pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Digest of the drafted document, when a usable one exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Reason why the last attempt produced no usable document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Earliest time of the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
    /// Users who had changed the Agent, or a ModelProvider of its models, last when an attempt started. They are authors of the document for
    /// `fourEyes`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    // One Agent and the providers of its models, for each attempt.
    #[schemars(length(max = 90))]
    pub authors: Vec<String>,
}

/// A similar specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Related {
    /// Namespace of the specification.
    pub namespace: String,
    /// Name of the specification.
    pub name: String,
    /// Similarity in percent.
    pub similarity: u8,
}
