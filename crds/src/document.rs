//! What constitutions, specifications and plans have in common as documents: where they come from, and what was found in them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::common::Severity;
use crate::common::{ConfigMapKey, LocalRef, default_revision};

/// Where a document comes from: exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.inline), has(self.configMapKeyRef), has(self.git)].exists_one(set, set)").message("set exactly one of inline, configMapKeyRef and git"))]
pub struct Source {
    /// The document itself, in Markdown as Spec Kit writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1_048_576))]
    pub inline: Option<String>,
    /// A key of a ConfigMap that holds the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKey>,
    /// A file in a Git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
}

/// A file in a Git repository, looked for again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitSource {
    /// URL of the repository: `https://`, `http://` or `ssh://`, without a credential.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.startsWith('https://') || self.startsWith('http://') || self.startsWith('ssh://')").message("must start with https://, http:// or ssh://"))]
    pub url: String,
    /// Branch, tag or commit. Default: `main`.
    #[serde(default = "default_revision")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("!self.startsWith('-')").message("the revision must not start with `-`: it would be taken for an option"))]
    pub revision: String,
    /// The file, from the root of the repository: `specs/001-cart/spec.md`.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("!self.startsWith('-') && !self.matches('(^|/)[.]{0,2}(/|$)')").message("must be a path from the root of the repository, without `.` and `..`"))]
    pub path: String,
    /// Secret with `username` and `password`, or `ssh-privatekey` and `known_hosts`, that the repository is read with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<LocalRef>,
    /// Seconds between two looks at the repository, more or less a tenth. Default: 300.
    #[serde(default = "default_interval")]
    #[schemars(range(min = 30, max = 86_400))]
    pub interval_seconds: u32,
}

fn default_interval() -> u32 {
    300
}

/// What was last read from a source outside the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// The commit that the document was read at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Digest of the document there, before answers were written into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why the last look gave nothing; the last good content is kept meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The value of the annotation `enact.dev/reconcile-at` that was last acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_reconcile_at: Option<String>,
}

/// How many findings of each severity the last check of a document gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FindingCounts {
    /// Findings that stop the document from being used, or that break what the constitution demands.
    pub critical: u32,
    /// Findings that a plan would suffer from: contradictions, criteria that nobody can test.
    pub high: u32,
    /// Findings that a person should look at.
    pub medium: u32,
    /// Remarks.
    pub low: u32,
}

/// A finding in a document, as shown in a status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Finding {
    /// Stable id of this finding, `AMB-1f3a9c2e`: the same while what it is about is the same.
    pub id: String,
    /// Spec Kit's category: `Ambiguity`, `Duplication` and so on; `Format` for what the parser found.
    pub category: String,
    /// Name of the kind of finding.
    pub code: String,
    /// How much it matters.
    pub severity: Severity,
    /// Line in the document, from 1.
    pub line: u32,
    /// What it is about, `FR-003`; empty when the line says enough.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub location: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// Largest number of findings kept in a status; the counts are always whole, and the record has all.
pub const MAX_FINDINGS: usize = 20;

/// How good a document is by its own check, from 0 to 100, and what that is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quality {
    /// The whole: the mean of the parts by their weight.
    pub score: u8,
    /// The parts.
    #[serde(default)]
    pub parts: Vec<QualityPart>,
}

/// One part of a document's quality.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QualityPart {
    /// What is measured: `clarity`.
    pub name: String,
    /// From 0 to 100.
    pub score: u8,
    /// Share of the whole, in percent.
    pub weight: u8,
    /// What the figure comes from.
    pub explanation: String,
}

/// What a rule does when it does not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Strength {
    /// It stops what breaks it.
    #[default]
    #[serde(rename = "MUST")]
    Must,
    /// It is a finding.
    #[serde(rename = "SHOULD")]
    Should,
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum AppliesTo {
    /// Specifications that name the constitution.
    #[default]
    Specification,
    /// Plans of such specifications.
    Plan,
    /// Each task of such plans.
    Task,
    /// The constitution itself, and those that inherit from it.
    Constitution,
}

/// A rule that a machine checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConstitutionRule {
    /// Name of the rule, unique in the constitution and in those that it inherits from.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What it is about.
    pub applies_to: AppliesTo,
    /// A CEL expression that is true when the rule holds; what it can see is described in docs/guide/rules.md.
    #[schemars(length(min = 1, max = 4096))]
    pub expression: String,
    /// What to tell a person when it does not hold.
    #[schemars(length(min = 1, max = 1024))]
    pub message: String,
    /// What it does then. Default: `MUST`.
    #[serde(default)]
    pub severity: Strength,
    /// The principle that it enforces, as the document names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub principle: Option<String>,
}

/// An answer to a question about a specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Clarification {
    /// Id of the question in `status.questions`, `Q-1f3a9c2e`, or the question itself, word for word.
    #[schemars(length(min = 1, max = 1024))]
    pub question: String,
    /// The answer, on one line.
    #[schemars(length(min = 1, max = 2048))]
    pub answer: String,
    /// Who answered. Stamped by the webhook from the request's user; whatever a client writes here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub by: Option<String>,
    /// The day of the answer, `YYYY-MM-DD`, which the document's session is named by. Stamped by the webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub date: Option<String>,
}

/// A question that somebody should answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// Stable id, `Q-1f3a9c2e`.
    pub id: String,
    /// The question.
    pub text: String,
    /// Answers to choose from; another one may be given all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Line in the document, from 1.
    pub line: u32,
    /// What it is about, `FR-003`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub location: String,
}

/// Largest number of questions kept in a status.
pub const MAX_QUESTIONS: usize = 10;
