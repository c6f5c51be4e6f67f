//! The lists to which every pass adds its findings and hints.

use std::collections::HashMap;

use super::finding::{Category, Finding, Position, Severity, id, shortened};
use super::format;
use super::kinds::FindingKind;
use crate::speckit::{self, Diagnostic};

/// Findings and hints of all passes.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<Finding>,
    hints: Vec<Finding>,
}

impl Findings {
    pub(super) fn push(
        &mut self,
        rule: &FindingKind,
        place: Position<'_>,
        summary: impl Into<String>,
        recommendation: impl Into<String>,
    ) {
        self.found.push(new_finding(rule, place, summary.into(), recommendation.into()));
    }

    /// Adds a hint: something that can be right as it is.
    pub(super) fn hint(
        &mut self,
        rule: &FindingKind,
        place: Position<'_>,
        summary: impl Into<String>,
        recommendation: impl Into<String>,
    ) {
        self.hints.push(new_finding(rule, place, summary.into(), recommendation.into()));
    }

    /// Adds the diagnostics of the parser as findings or hints, with the location that `locate` returns for a byte offset.
    pub(super) fn format(&mut self, parsed: &[Diagnostic], source: &str, locate: impl Fn(usize) -> String) {
        let starts: Vec<usize> = std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
        for diagnostic in format::readable(parsed, source) {
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
            let rule = FindingKind { code: diagnostic.code, category: Category::Format, severity };
            let place = Position { line: diagnostic.line, location: &location, excerpt };
            let mut finding = new_finding(&rule, place, diagnostic.message.clone(), diagnostic.remedy.clone());
            // Several diagnostics of one kind may be about one line. The hash includes the message to distinguish them, without its
            // digits, since the line numbers in it change when the document changes elsewhere.
            let said: String = diagnostic.message.chars().filter(|c| !c.is_ascii_digit()).collect();
            finding.id = id(rule.category, rule.code, &location, &format!("{excerpt}\n{said}"));
            if format::is_hint(&diagnostic) { self.hints.push(finding) } else { self.found.push(finding) }
        }
    }

    /// Returns all findings, sorted, each with a unique id.
    pub(super) fn finish(self) -> Vec<Finding> {
        self.finish_with_hints().0
    }

    /// Returns all findings, and all hints, both sorted. Each has a unique id.
    pub(super) fn finish_with_hints(self) -> (Vec<Finding>, Vec<Finding>) {
        let Self { mut found, mut hints } = self;
        let mut seen: HashMap<String, u32> = HashMap::new();
        for list in [&mut found, &mut hints] {
            list.sort_by(|a, b| (a.severity, a.line, &a.id).cmp(&(b.severity, b.line, &b.id)));
            // Findings are numbered after the sort, so that the first one in the document keeps the plain id.
            for finding in list {
                let count = seen.entry(finding.id.clone()).or_default();
                *count += 1;
                if *count > 1 {
                    finding.id = format!("{}-{count}", finding.id);
                }
            }
        }
        (found, hints)
    }
}

fn new_finding(rule: &FindingKind, place: Position<'_>, summary: String, recommendation: String) -> Finding {
    let Position { line, location, excerpt } = place;
    Finding {
        id: id(rule.category, rule.code, location, excerpt),
        category: rule.category,
        severity: rule.severity,
        code: rule.code,
        line,
        location: location.to_owned(),
        excerpt: shortened(excerpt),
        summary,
        recommendation,
    }
}
