//! The list to which every pass adds its findings.

use std::collections::HashMap;

use super::finding::{Category, Finding, Position, Severity, id, shortened};
use super::format;
use super::kinds::FindingKind;
use crate::speckit::{self, Diagnostic};

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

    /// Adds the diagnostics of the parser, with the location that `locate` returns for a byte offset.
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
            self.push(&rule, place, diagnostic.message.clone(), diagnostic.remedy);
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
