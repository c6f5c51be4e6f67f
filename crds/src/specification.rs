//! Specification: what is to be built and how one will know.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{ApprovalPolicy, Condition, LocalRef, Time};
use crate::document::{Clarification, Finding, FindingCounts, Quality, Question, Source, SourceStatus};

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
    doc = "What is to be built and how one will know, as Spec Kit's spec.md.",
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
    /// Where the document comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What is wanted, in a person's words. Without a `source`, an agent drafts the document from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16_384))]
    pub request: Option<String>,
    /// How the document is drafted from the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drafting: Option<Drafting>,
    /// Answers to questions about the document: each is written into it, as Spec Kit's `clarify` does, and so makes a new revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["question".into()]))]
    #[schemars(length(max = 100))]
    pub clarifications: Vec<Clarification>,
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
    /// The questions that somebody should answer, the most urgent first; at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Question>,
    /// What was last read from Git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,
    /// How the drafting stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<DraftStatus>,
    /// Specifications of the tenant that say similar things, the nearest first; at most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
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

/// How a document is drafted from a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Drafting {
    /// The agent that drafts.
    pub agent_ref: LocalRef,
    /// Most attempts; an attempt whose document cannot be used is followed by another, which is told why. Default: 3.
    #[serde(default = "default_attempts")]
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: u32,
    /// Longest time of one attempt, in seconds. Default: 900.
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

/// How a drafting stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DraftStatus {
    /// Digest of the request and of who drafts: another one starts the drafting anew.
    pub request: String,
    /// Attempts that were started.
    #[serde(default)]
    pub attempts: u32,
    /// Digest of the document that was drafted, once one could be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why the last attempt gave no document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The next attempt starts not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
}

/// A specification that says similar things.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Related {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How similar, in percent.
    pub similarity: u8,
}
