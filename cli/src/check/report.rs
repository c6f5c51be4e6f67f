//! The result of a check, as all outputs show it. No text in it controls a terminal.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;
use enact_domain::analysis::{AcceptedFinding, Finding, Severity};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::args::DocumentKind;
use crate::text::one_line;

/// Version of the JSON output. A change that could break a reader increases it.
const JSON_VERSION: u32 = 1;

/// Characters of a path that are encoded in a URI.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Longest line in which the column of a finding is searched, in bytes. It bounds the time for hostile documents.
const MAX_LINE: usize = 16_384;

/// The findings of all documents.
#[derive(Debug, Serialize)]
pub struct Report {
    version: u32,
    /// Version of this program.
    enact: &'static str,
    pub counts: Counts,
    pub documents: Vec<CheckedDocument>,
}

/// Number of open findings by severity, and of accepted findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub critical: u32,
    pub high: u32,
    pub medium: u32,
    pub low: u32,
    pub accepted: u32,
}

/// A document with its findings.
#[derive(Debug, Serialize)]
pub struct CheckedDocument {
    /// The path, relative to the current directory if it is below it.
    pub path: String,
    /// The path as a URI reference.
    #[serde(skip)]
    pub uri: String,
    pub kind: DocumentKind,
    /// Quality from 0 to 100, of a specification or constitution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<u8>,
    pub counts: Counts,
    /// Open findings, by line.
    pub findings: Vec<Located>,
    /// Accepted findings, by line.
    pub accepted: Vec<Located>,
    /// Hints, by line. They are not counted.
    pub hints: Vec<Located>,
}

/// A finding in a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Located {
    pub id: String,
    pub code: String,
    pub category: &'static str,
    pub severity: Severity,
    /// Line, from 1.
    pub line: u32,
    /// First column, from 1, in Unicode code points.
    pub column: usize,
    /// Column after the last one.
    pub end_column: usize,
    pub location: String,
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// Why it is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Located {
    /// Returns what is wrong and what to do, on one line.
    pub fn text(&self) -> String {
        if self.remedy.is_empty() { self.message.clone() } else { format!("{}; {}", self.message, self.remedy) }
    }
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.critical += other.critical;
        self.high += other.high;
        self.medium += other.medium;
        self.low += other.low;
        self.accepted += other.accepted;
    }

    /// Counts the findings of a document.
    pub fn of(findings: &[Located], accepted: &[Located]) -> Self {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let count = |severity: Severity| number(findings.iter().filter(|f| f.severity == severity).count());
        Self {
            critical: count(Severity::Critical),
            high: count(Severity::High),
            medium: count(Severity::Medium),
            low: count(Severity::Low),
            accepted: number(accepted.len()),
        }
    }
}

impl Report {
    pub fn new(documents: Vec<CheckedDocument>) -> Self {
        let mut counts = Counts::default();
        for document in &documents {
            counts.add(document.counts);
        }
        Self { version: JSON_VERSION, enact: env!("CARGO_PKG_VERSION"), counts, documents }
    }

    /// Returns the report as JSON.
    pub fn json(&self) -> Result<String> {
        Ok(format!("{}\n", serde_json::to_string_pretty(self)?))
    }

    /// Returns the counts in words.
    pub fn summary(&self) -> String {
        let Counts { critical, high, medium, low, accepted } = self.counts;
        let documents = match self.documents.len() {
            1 => "1 document".to_owned(),
            n => format!("{n} documents"),
        };
        format!("{documents}: {critical} critical, {high} high, {medium} medium, {low} low, {accepted} accepted")
    }
}

/// The lines of a document, to find the columns of findings.
pub struct Lines<'a>(Vec<&'a str>);

impl<'a> Lines<'a> {
    pub fn new(text: &'a str) -> Self {
        Self(text.lines().collect())
    }

    /// Returns a finding with its columns.
    pub fn locate(&self, finding: &Finding) -> Located {
        let (column, end_column) = self.columns(finding.line, &finding.excerpt);
        Located {
            id: finding.id.clone(),
            code: finding.code.to_owned(),
            category: finding.category.as_str(),
            severity: finding.severity,
            line: finding.line.max(1),
            column,
            end_column,
            location: one_line(&finding.location),
            message: one_line(&finding.summary),
            remedy: one_line(&finding.recommendation),
            reason: None,
        }
    }

    /// Returns an accepted finding with its columns and reason.
    pub fn locate_accepted(&self, accepted: &AcceptedFinding) -> Located {
        Located { reason: Some(one_line(&accepted.reason)), ..self.locate(&accepted.finding) }
    }

    /// Returns the columns of an excerpt in a line: those of its first words, or of the whole line.
    pub fn columns(&self, line: u32, excerpt: &str) -> (usize, usize) {
        let index = usize::try_from(line).unwrap_or_default().saturating_sub(1);
        let text = self.0.get(index).copied().unwrap_or_default();
        if text.len() > MAX_LINE {
            return (1, 1);
        }
        let characters = |bytes: usize| text[..bytes].chars().count() + 1;
        let excerpt = excerpt.trim_end_matches('…');
        // An excerpt of several phrases is separated by commas. A statement can continue on the next line.
        let part = [excerpt, excerpt.split(", ").next().unwrap_or_default()].into_iter().find(|part| {
            let part = part.trim();
            !part.is_empty() && text.contains(part)
        });
        let whole = text.trim();
        let part = part.map_or(whole, str::trim);
        let start = text.find(part).unwrap_or_default();
        (characters(start), characters(start + part.len()))
    }
}

/// Returns a path for people and as a URI reference, both relative to `here` if the path is below it.
pub fn names(path: &Path, here: &Path) -> (String, String) {
    let path = path.strip_prefix(here).unwrap_or(path);
    let parts: Vec<Component<'_>> = path.components().filter(|part| *part != Component::CurDir).collect();
    let shown: PathBuf = parts.iter().collect();
    let encoded = |part: &Component<'_>| match part {
        Component::RootDir => String::new(),
        part => utf8_percent_encode(&part.as_os_str().to_string_lossy(), ENCODED).to_string(),
    };
    let uri = parts.iter().map(encoded).collect::<Vec<_>>().join("/");
    let uri = if path.is_absolute() { format!("file://{uri}") } else { uri };
    let shown = one_line(&shown.to_string_lossy());
    // A line that begins with `::` would be a command of a GitHub workflow.
    (if shown.starts_with("::") { format!("./{shown}") } else { shown }, uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_relative_to_the_current_directory() {
        let both = |path: &str| names(Path::new(path), Path::new("/home/ada"));
        let same = |text: &str| (text.to_owned(), text.to_owned());
        assert_eq!(both("./specs/001/spec.md"), same("specs/001/spec.md"));
        assert_eq!(both("/home/ada/spec.md"), same("spec.md"));
        assert_eq!(both("../spec.md"), same("../spec.md"));
        assert_eq!(both("::stop/spec.md").0, "./::stop/spec.md");
        assert_eq!(both("/srv/a b.md"), ("/srv/a b.md".into(), "file:///srv/a%20b.md".into()));
        assert_eq!(both("a\u{1b}[2J:ä.md"), ("a [2J:ä.md".into(), "a%1B%5B2J%3A%C3%A4.md".into()));
    }

    #[test]
    fn columns_count_characters() {
        let lines = Lines::new("# A\n- **FR-001**: Türen öffnen schnell, bald.\n");
        assert_eq!(lines.columns(2, "schnell"), (28, 35));
        assert_eq!(lines.columns(2, "schnell, gut"), (28, 35));
        assert_eq!(lines.columns(2, "elsewhere"), (1, 42));
        assert_eq!(lines.columns(9, "x"), (1, 1));
    }
}
