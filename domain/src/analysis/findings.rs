//! The list to which every pass adds its findings.

use std::collections::HashMap;

use super::finding::{Category, Finding, Position, Severity, id, shortened};
use super::kinds::FindingKind;
use super::statements::headings;
use crate::speckit::{self, Diagnostic};

/// Code of the parser for a line with placeholders of the template.
pub(super) const UNFILLED: &str = "UnfilledTemplate";

/// Code of the parser for a constitution that only has placeholders.
pub(super) const NOT_FILLED: &str = "TemplateNotFilled";

/// List of the findings of all passes.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn push(
        &mut self,
        rule: &FindingKind,
        place: Position<'_>,
        summary: impl Into<String>,
        recommendation: impl Into<String>,
    ) {
        let Position { line, location, excerpt } = place;
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

    /// Adds the diagnostics of the parser, with the location that `locate` returns for a byte offset. Open questions are skipped, since
    /// the ambiguity pass reports them. An unfilled template is one finding, not one for each line.
    pub(super) fn format(&mut self, parsed: &[Diagnostic], source: &str, locate: impl Fn(usize) -> String) {
        let starts: Vec<usize> = std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let empty = parsed.iter().any(|d| d.code == NOT_FILLED);
        let line_of = |d: &Diagnostic| {
            let line = usize::try_from(d.line).unwrap_or_default().saturating_sub(1);
            let start = starts.get(line).copied().unwrap_or_default();
            let end = starts.get(line + 1).copied().unwrap_or(source.len());
            (line, start, source.get(start..end).unwrap_or_default().trim())
        };
        let placeholder = |d: &&Diagnostic| d.code == UNFILLED && !is_quoted(line_of(d).2);
        let unfilled = parsed.iter().filter(placeholder).count();
        let mut said_unfilled = false;
        let early = is_early_layout(source);
        for diagnostic in parsed.iter().filter(|d| d.code != "OpenQuestion") {
            if early && diagnostic.code == "MissingSection" && diagnostic.message.contains("success criteria") {
                continue;
            }
            let severity = match diagnostic.severity {
                speckit::Severity::Error => Severity::Critical,
                speckit::Severity::Warning => Severity::Medium,
                speckit::Severity::Info => Severity::Low,
            };
            let (line, start, excerpt) = line_of(diagnostic);
            if diagnostic.code == UNFILLED
                && (empty || is_quoted(excerpt) || std::mem::replace(&mut said_unfilled, true))
            {
                continue;
            }
            let location = if excerpt.is_empty() || line == 0 { "Document".to_owned() } else { locate(start) };
            let rule = FindingKind { code: diagnostic.code, category: Category::Format, severity };
            let place = Position { line: diagnostic.line, location: &location, excerpt };
            let more = match diagnostic.code {
                UNFILLED if unfilled > 1 => format!("; {} more lines have placeholders", unfilled - 1),
                "MissingSection" => unread(source, &diagnostic.message),
                _ => String::new(),
            };
            self.push(&rule, place, format!("{}{more}", diagnostic.message), diagnostic.remedy.clone());
            // Several diagnostics of one kind may be about one line. The hash includes the message to distinguish them, without its
            // digits, since the line numbers in it change when the document changes elsewhere.
            let said: String = diagnostic.message.chars().filter(|c| !c.is_ascii_digit()).collect();
            if let Some(finding) = self.0.last_mut() {
                finding.id = id(rule.category, rule.code, &location, &format!("{excerpt}\n{said}"));
            }
        }
    }

    /// Returns all findings, sorted, each with a unique id.
    pub(super) fn finish(self) -> Vec<Finding> {
        let mut findings = self.0;
        findings.sort_by(|a, b| (a.severity, a.line, &a.id).cmp(&(b.severity, b.line, &b.id)));
        // Findings are numbered after the sort, so that the first one in the document keeps the plain id.
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

/// Returns what to add to a message about missing parts of a specification if a heading announces them.
fn unread(source: &str, message: &str) -> String {
    let words: &[&str] = match message {
        m if m.contains("success criteria") => &["success", "criteria", "outcome"],
        m if m.contains("no requirements") => &["requirement"],
        m if m.contains("user stories") => &["scenario", "story", "stories"],
        _ => return String::new(),
    };
    let announces = |title: &str| words.iter().any(|word| title.to_lowercase().contains(word));
    let found = headings(source).into_iter().find(|(_, title)| announces(title));
    found.map_or_else(String::new, |(start, title)| {
        let line = source[..start].matches('\n').count() + 1;
        format!("; the heading \"{}\" on line {line} has content in another form", shortened(title))
    })
}

/// Returns whether a document has Spec Kit's layout of September 2025, which has no success criteria.
fn is_early_layout(source: &str) -> bool {
    source.contains("## Review & Acceptance Checklist") || source.contains("## Execution Flow (main)")
}

/// Returns whether the brackets of a line are inside quotation marks, as in the title of an issue.
fn is_quoted(line: &str) -> bool {
    line.find('[').is_some_and(|at| {
        let (before, after) = line.split_at(at);
        let open = before.matches('"').count() % 2 == 1 || before.contains('“');
        open && after.contains(['"', '”'])
    })
}
