//! Fields that Constitutions, Specifications and Plans share as documents: sources, findings, rules and questions.

use enact_domain::stamps::Stamps;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::common::Severity;
use crate::common::{ConfigMapKey, LocalRef, default_revision};

/// Source of a document: exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.inline), has(self.configMapKeyRef), has(self.git)].exists_one(set, set)").message("set exactly one of inline, configMapKeyRef and git"))]
pub struct Source {
    /// The document itself, in Spec Kit's Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1_048_576))]
    pub inline: Option<String>,
    /// Key of a ConfigMap that contains the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKey>,
    /// A file in a Git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
}

/// A file in a Git repository that the operator polls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitSource {
    /// URL of the repository: `https://`, `http://` or `ssh://`, without a credential.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.startsWith('https://') || self.startsWith('http://') || self.startsWith('ssh://')").message("must start with https://, http:// or ssh://"))]
    pub url: String,
    /// Branch, tag or commit to read. Default: `main`.
    #[serde(default = "default_revision")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("!self.startsWith('-')").message("the revision must not start with `-`: it would be taken for an option"))]
    pub revision: String,
    /// Path of the file from the root of the repository: `specs/001-cart/spec.md`.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("!self.startsWith('-') && !self.matches('(^|/)[.]{0,2}(/|$)')").message("must be a path from the root of the repository, without `.` and `..`"))]
    pub path: String,
    /// Secret with the credentials for reading the repository: `username` and `password`, or `ssh-privatekey` and `known_hosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<LocalRef>,
    /// Seconds between two polls of the repository, with a jitter of 10 percent. Default: 300.
    #[serde(default = "default_interval")]
    #[schemars(range(min = 30, max = 86_400))]
    pub interval_seconds: u32,
}

fn default_interval() -> u32 {
    300
}

/// State of a source outside the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Commit from which the document was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Digest of the document in the source, before clarifications were written into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Reason why the last poll failed. The last valid content stays in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Value of the annotation `enact.dev/reconcile-at` that the operator last handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_reconcile_at: Option<String>,
}

/// Number of findings by severity in the last analysis of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FindingCounts {
    /// Findings that prevent the use of the document, or that violate the constitution.
    pub critical: u32,
    /// Findings that would affect a plan: contradictions, criteria that cannot be tested.
    pub high: u32,
    /// Findings that a person should review.
    pub medium: u32,
    /// Remarks.
    pub low: u32,
    /// Findings of any severity that are accepted with a reason. The other numbers do not include them.
    pub accepted: u32,
}

/// A finding in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Finding {
    /// Stable id of the finding: `AMB-1f3a9c2e`. It does not change while the text in question does not change.
    pub id: String,
    /// Category, as in Spec Kit: `Ambiguity`, `Duplication` and so on; `Format` for findings of the parser.
    pub category: String,
    /// Code of the finding: `VaguePerformance`.
    pub code: String,
    /// Severity of the finding.
    pub severity: Severity,
    /// Line in the document, from 1.
    pub line: u32,
    /// Location in the document: `FR-003`. Empty when the line is sufficient.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub location: String,
    /// Description of the problem.
    pub message: String,
    /// Suggested change.
    pub remedy: String,
    /// Reason for which the finding is accepted, in the record. A status has no accepted findings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
}

/// Findings that are accepted with a reason. The webhook writes who accepted them, and when, into the annotation `enact.dev/accepted`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AcceptedFinding {
    /// Code of the findings: `VagueTime`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Z][A-Za-z0-9]*$"))]
    pub code: String,
    /// Location of the findings in the document: `FR-003`. Or the id of one finding: `AMB-1f3a9c2e`.
    #[schemars(length(min = 1, max = 256))]
    pub at: String,
    /// Reason why they are accepted.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"\S"))]
    pub reason: String,
}

impl AcceptedFinding {
    /// Returns the values that identify the entry among the [stamps](enact_domain::stamps) of its list.
    pub fn entry(&self) -> [&str; 3] {
        [&self.code, &self.at, &self.reason]
    }

    /// Returns the user who accepted them, if the stamps of the list say so.
    pub fn by<'a>(&self, stamps: &'a Stamps) -> Option<&'a str> {
        stamps.get(&self.entry()).map(|stamp| stamp.by.as_str())
    }
}

/// Maximum number of findings in a status. The counts include all findings, and the record contains all of them.
pub const MAX_FINDINGS: usize = 20;

/// Quality score of a document, with its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quality {
    /// Weighted mean of the evaluated parts, from 0 to 100.
    pub score: u8,
    /// Parts of the score.
    #[serde(default)]
    pub parts: Vec<QualityPart>,
}

/// One part of a document's quality.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QualityPart {
    /// Name of the part: `clarity`.
    pub name: String,
    /// Score of the part, from 0 to 100; absent if the document has nothing to evaluate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<u8>,
    /// Weight of the part in the score, in percent.
    pub weight: u8,
    /// Explanation of the score, or the reason why there is none.
    pub explanation: String,
}

/// Effect of a violated rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Strength {
    /// A violation blocks the document or plan.
    #[default]
    #[serde(rename = "MUST")]
    Must,
    /// A violation is a finding.
    #[serde(rename = "SHOULD")]
    Should,
}

/// Kind of document that a rule applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum AppliesTo {
    /// Specifications that refer to the constitution.
    #[default]
    Specification,
    /// Plans of such specifications.
    Plan,
    /// Each task of such plans.
    Task,
    /// The constitution itself, and those that inherit from it.
    Constitution,
}

/// A rule that is checked automatically.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConstitutionRule {
    /// Name of the rule, unique in the constitution chain.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Kind of document that the rule applies to.
    pub applies_to: AppliesTo,
    /// CEL expression that is true when the rule holds. docs/guide/rules.md describes its variables.
    #[schemars(length(min = 1, max = 4096))]
    pub expression: String,
    /// Message for a person when the rule does not hold.
    #[schemars(length(min = 1, max = 1024))]
    pub message: String,
    /// Effect of a violation. Default: `MUST`.
    // The schema has no default: in a list, a default would differ from what a client applies again.
    #[serde(default, skip_serializing_if = "is_must")]
    pub severity: Strength,
    /// Name of the principle in the document that the rule enforces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub principle: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_must(strength: &Strength) -> bool {
    *strength == Strength::default()
}

/// A clarification: the answer to a question about a specification. The webhook writes author and date of each into the annotation
/// `enact.dev/answers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Clarification {
    /// Id of the question in `status.questions`: `Q-1f3a9c2e`. Or the text of the question, word for word.
    #[schemars(length(min = 1, max = 1024))]
    pub question: String,
    /// Answer, on one line.
    #[schemars(length(min = 1, max = 2048))]
    pub answer: String,
}

/// A question that a person should answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// Stable id of the question: `Q-1f3a9c2e`.
    pub id: String,
    /// Text of the question.
    pub text: String,
    /// Suggested answers. Other answers are allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Line in the document, from 1.
    pub line: u32,
    /// Location in the document: `FR-003`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub location: String,
}

/// Maximum number of questions in a status.
pub const MAX_QUESTIONS: usize = 10;
