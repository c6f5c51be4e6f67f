//! Findings, and how they are named, ordered and counted.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::text::truncated;

/// Maximum length of the excerpt of a finding, in bytes.
const MAX_EXCERPT_BYTES: usize = 160;

/// Category of a finding: the passes of Spec Kit's `analyze`, overlap with other specifications, and form.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
pub enum Category {
    /// Two statements say the same.
    Duplication,
    /// Readers can understand it differently.
    Ambiguity,
    /// Something is missing that is needed for the implementation or the verification.
    Underspecification,
    /// Two parts of the document contradict each other.
    Inconsistency,
    /// A conflict with a principle of the constitution.
    Constitution,
    /// A requirement without a task, or a task without a requirement.
    Coverage,
    /// Another specification in progress contains the same item.
    Overlap,
    /// The document's form; the code is the parser's.
    Format,
}

impl Category {
    /// Returns the name, such as `Ambiguity`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Spec Kit's severities, the worst first.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
pub enum Severity {
    /// Conflicts with the constitution's MUST, or the document cannot be used.
    Critical,
    /// Duplicate or conflicting requirement, vague security or performance, criterion that cannot be tested.
    High,
    /// Terms that drift, an edge that is not described.
    Medium,
    Low,
}

/// One thing to improve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable identifier, `AMB-1f3a9c2e`: it is derived from the words, not from their position. The second of equal ones is `…-2`.
    pub id: String,
    pub category: Category,
    pub severity: Severity,
    /// Stable name of this kind of finding, in `CamelCase`.
    pub code: &'static str,
    /// Line in the document, from 1; 0 for a finding about a task.
    pub line: u32,
    /// Location for a person: `FR-003`, `US1/AC2`, `Success Criteria`.
    pub location: String,
    /// Excerpt of the document, shortened; empty if something is missing.
    pub excerpt: String,
    /// Description of the problem.
    pub summary: String,
    /// Proposed correction.
    pub recommendation: String,
}

/// Number of findings of each severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SeverityCounts {
    pub critical: u32,
    pub high: u32,
    pub medium: u32,
    pub low: u32,
}

impl SeverityCounts {
    /// Counts findings by severity.
    pub fn new(findings: &[Finding]) -> Self {
        let mut counts = Self::default();
        for finding in findings {
            *counts.of(finding.severity) += 1;
        }
        counts
    }

    /// Returns the number of findings of a severity, to change it.
    pub(super) const fn of(&mut self, severity: Severity) -> &mut u32 {
        match severity {
            Severity::Critical => &mut self.critical,
            Severity::High => &mut self.high,
            Severity::Medium => &mut self.medium,
            Severity::Low => &mut self.low,
        }
    }

    /// Returns the number of all findings.
    pub const fn total(&self) -> u32 {
        self.critical + self.high + self.medium + self.low
    }
}

/// Location of a finding and the words that it is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position<'a> {
    pub(super) line: u32,
    pub(super) location: &'a str,
    pub(super) excerpt: &'a str,
}

/// Returns the id of a finding: three letters of the category, and eight digits of a hash of everything that identifies it. The line is not
/// hashed, so that a finding keeps its id when the text moves.
pub(super) fn id(category: Category, code: &str, location: &str, excerpt: &str) -> String {
    let letters = category.as_str()[..3].to_uppercase();
    format!("{letters}-{}", hash(&[category.as_str(), code, location, &normalised(excerpt)]))
}

/// Returns the first eight hex digits of the SHA-256 of these parts.
pub(super) fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hex::encode(&hasher.finalize()[..4])
}

fn normalised(text: &str) -> String {
    text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// Returns the beginning of a text, with an ellipsis if the text is longer.
pub(super) fn shortened(text: &str) -> String {
    if text.len() <= MAX_EXCERPT_BYTES {
        return text.to_owned();
    }
    let cut = truncated(text, MAX_EXCERPT_BYTES);
    let cut = cut.rsplit_once(' ').map_or(cut, |(head, _)| head);
    format!("{cut}…")
}
