//! Approval: a person's decision on one subject at one content.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Budget, Condition};

/// A person's decision on one subject at one content digest. Immutable.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "enact.dev",
    version = "v1alpha1",
    kind = "Approval",
    namespaced,
    status = "ApprovalStatus",
    derive = "PartialEq",
    shortname = "appr",
    category = "enact",
    doc = "A person's decision on one subject at one content digest. Immutable.",
    selectable = ".spec.subject.name",
    selectable = ".spec.subject.kind",
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.subject.kind"),
    printcolumn(name = "Subject", type_ = "string", json_path = ".spec.subject.name"),
    printcolumn(name = "Decision", type_ = "string", json_path = ".spec.decision"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.by.user"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("an Approval is immutable; create another one"),
    validation = Rule::new("!has(self.budget) || (self.subject.kind == 'Plan' && self.decision == 'Approve')").message("only the approval of a Plan can have a budget"),
)]
pub struct ApprovalSpec {
    /// Object that the decision is about.
    pub subject: Subject,
    /// UID of the subject, so that the decision does not count for a later object with the same name. Default: the webhook sets that of the
    /// present object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub subject_uid: Option<String>,
    /// Digest of the content that was reviewed: `status.digest` of the subject.
    #[schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: String,
    /// Decision of the person.
    pub decision: Choice,
    /// Comment of the person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 4096))]
    pub comment: String,
    /// For a Plan: the maximum that it may use. Of several Approvals, the smallest budget applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// User who decided. The webhook sets it from the user of the request and replaces the value of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Person>,
}

impl ApprovalSpec {
    /// Returns whether the decision is about this object, and not about an earlier one with its name.
    pub fn is_about(&self, kind: SubjectKind, name: &str, uid: Option<&str>) -> bool {
        self.subject.kind == kind && self.subject.name == name && self.subject_uid.as_deref() == uid
    }
}

/// Object that a decision is about, in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// Kind of the subject.
    pub kind: SubjectKind,
    /// Name of the subject.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Kinds that can be approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum SubjectKind {
    /// A Constitution.
    Constitution,
    /// A Specification.
    Specification,
    /// A Plan.
    Plan,
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Choice {
    /// The subject may proceed.
    Approve,
    /// The subject must change before it may proceed.
    Reject,
}

/// A user as the API server authenticated it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Person {
    /// Name of the user.
    pub user: String,
    /// Groups of the user at the time of the decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// State of a decision.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalStatus {
    /// Generation of the object that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions Ready (the decision is accepted) and Stalled (it is not accepted, for the given reason).
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
