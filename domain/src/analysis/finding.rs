//! Findings, and how they are named, ordered and counted.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::quality::Quality;
use super::rules::Rule;
use crate::speckit::{self, Diagnostic};

/// Most findings that a report holds; its counts are of all.
pub const MAX_FINDINGS: usize = 500;

/// How much of the document's words a finding repeats, in bytes.
const MAX_EXCERPT_BYTES: usize = 160;

/// What a finding is about: the passes of Spec Kit's `analyze`, overlap with other specifications, and form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Category {
    /// Two statements say the same.
    Duplication,
    /// Readers can understand it differently.
    Ambiguity,
    /// Something is missing that is needed to build or to check it.
    Underspecification,
    /// Two places do not fit together.
    Inconsistency,
    /// A conflict with a principle of the constitution.
    Constitution,
    /// A requirement without a task, or a task without a requirement.
    Coverage,
    /// Another specification in flight touches the same.
    Overlap,
    /// The document's form; the code is the parser's.
    Format,
}

impl Category {
    /// The name, as in `Ambiguity`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplication => "Duplication",
            Self::Ambiguity => "Ambiguity",
            Self::Underspecification => "Underspecification",
            Self::Inconsistency => "Inconsistency",
            Self::Constitution => "Constitution",
            Self::Coverage => "Coverage",
            Self::Overlap => "Overlap",
            Self::Format => "Format",
        }
    }

    /// The three letters that begin a finding's id.
    const fn letters(self) -> &'static str {
        match self {
            Self::Duplication => "DUP",
            Self::Ambiguity => "AMB",
            Self::Underspecification => "UND",
            Self::Inconsistency => "INC",
            Self::Constitution => "CON",
            Self::Coverage => "COV",
            Self::Overlap => "OVE",
            Self::Format => "FOR",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Spec Kit's severities, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Conflicts with the constitution's MUST, or the document cannot be used.
    Critical,
    /// Duplicate or conflicting requirement, vague security or performance, criterion that nobody can test.
    High,
    /// Terms that drift, an edge that is not described.
    Medium,
    /// Wording.
    Low,
}

impl Severity {
    /// The name, as in `Critical`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "Critical",
            Self::High => "High",
            Self::Medium => "Medium",
            Self::Low => "Low",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing to improve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name that stays while the words that it is about stay, wherever they move: `AMB-1f3a9c2e`. Of equal ones the second is `…-2`.
    pub id: String,
    /// What it is about.
    pub category: Category,
    /// How much it matters.
    pub severity: Severity,
    /// Stable name of this kind of finding, in `CamelCase`.
    pub code: &'static str,
    /// Line in the document, counted from 1; 0 when it is about a task.
    pub line: u32,
    /// Where it is, in words that a person finds: `FR-003`, `US1/AC2`, `Success Criteria`.
    pub location: String,
    /// The document's words that it is about, shortened; empty when it is about something that is not there.
    pub excerpt: String,
    /// What is wrong.
    pub summary: String,
    /// What to write instead.
    pub recommendation: String,
}

/// How many findings there are of each severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Critical ones.
    pub critical: u32,
    /// High ones.
    pub high: u32,
    /// Medium ones.
    pub medium: u32,
    /// Low ones.
    pub low: u32,
}

impl Counts {
    /// Counts findings by severity.
    pub fn of(findings: &[Finding]) -> Self {
        let mut counts = Self::default();
        for finding in findings {
            *match finding.severity {
                Severity::Critical => &mut counts.critical,
                Severity::High => &mut counts.high,
                Severity::Medium => &mut counts.medium,
                Severity::Low => &mut counts.low,
            } += 1;
        }
        counts
    }

    /// All of them together.
    pub const fn total(&self) -> u32 {
        self.critical + self.high + self.medium + self.low
    }
}

/// What was found in a document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// The worst first, then by line and id; at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// Of all findings, also of those beyond the limit.
    pub counts: Counts,
    /// How good the document is, with its parts.
    pub quality: Quality,
}

/// Gathers what the passes find.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

/// Where a finding is, and the words that it is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) line: u32,
    pub(super) location: &'a str,
    pub(super) excerpt: &'a str,
}

impl Findings {
    pub(super) fn push(
        &mut self,
        rule: &Rule,
        place: Place<'_>,
        summary: impl Into<String>,
        recommendation: impl Into<String>,
    ) {
        let Place { line, location, excerpt } = place;
        self.0.push(Finding {
            id: id(rule.category, rule.code, location, excerpt),
            category: rule.category,
            severity: rule.severity,
            code: rule.code,
            line,
            location: location.to_owned(),
            excerpt: shortened(excerpt),
            summary: summary.into(),
            recommendation: recommendation.into(),
        });
    }

    /// What the parser had to say, with the place that `locate` knows for a byte of the source. Open questions are left out: the pass for
    /// ambiguity names them.
    pub(super) fn format(&mut self, parsed: &[Diagnostic], source: &str, locate: impl Fn(usize) -> String) {
        let starts: Vec<usize> = std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
        for diagnostic in parsed.iter().filter(|d| d.code != "OpenQuestion") {
            let severity = match diagnostic.severity {
                speckit::Severity::Error => Severity::Critical,
                speckit::Severity::Warning => Severity::Medium,
                speckit::Severity::Info => Severity::Low,
            };
            let line = usize::try_from(diagnostic.line).unwrap_or_default().saturating_sub(1);
            let start = starts.get(line).copied().unwrap_or_default();
            let end = starts.get(line + 1).copied().unwrap_or(source.len());
            let excerpt = source.get(start..end).unwrap_or_default().trim();
            let location = if excerpt.is_empty() || line == 0 { "Document".to_owned() } else { locate(start) };
            let rule = Rule { code: diagnostic.code, category: Category::Format, severity };
            let place = Place { line: diagnostic.line, location: &location, excerpt };
            self.push(&rule, place, diagnostic.message.clone(), diagnostic.remedy.clone());
            // Several findings of one kind may be about one line; what they say tells them apart, but for the numbers of lines in it.
            let said: String = diagnostic.message.chars().filter(|c| !c.is_ascii_digit()).collect();
            if let Some(finding) = self.0.last_mut() {
                finding.id = id(rule.category, rule.code, &location, &format!("{excerpt}\n{said}"));
            }
        }
    }

    /// All findings in their order, each with a name of its own.
    pub(super) fn finish(self) -> Vec<Finding> {
        let mut findings = self.0;
        findings.sort_by(|a, b| (a.severity, a.line, &a.id).cmp(&(b.severity, b.line, &b.id)));
        let mut seen: HashMap<String, u32> = HashMap::new();
        for finding in &mut findings {
            let count = seen.entry(finding.id.clone()).or_default();
            *count += 1;
            if *count > 1 {
                finding.id = format!("{}-{count}", finding.id);
            }
        }
        findings
    }
}

impl Report {
    pub(super) fn new(findings: Vec<Finding>, quality: Quality) -> Self {
        let counts = Counts::of(&findings);
        let mut findings = findings;
        findings.truncate(MAX_FINDINGS);
        Self { findings, counts, quality }
    }
}

/// The category's letters, and eight digits of a hash over all that makes a finding itself. Lines are no part of it.
fn id(category: Category, code: &str, location: &str, excerpt: &str) -> String {
    format!("{}-{}", category.letters(), hash(&[category.as_str(), code, location, &normalised(excerpt)]))
}

/// The first eight hex digits of the SHA-256 of these parts.
pub(super) fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn normalised(text: &str) -> String {
    text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// The beginning of a text, with an ellipsis when it goes on.
pub(super) fn shortened(text: &str) -> String {
    if text.len() <= MAX_EXCERPT_BYTES {
        return text.to_owned();
    }
    let cut = &text[..text.floor_char_boundary(MAX_EXCERPT_BYTES)];
    let cut = cut.rsplit_once(' ').map_or(cut, |(head, _)| head);
    format!("{cut}…")
}
