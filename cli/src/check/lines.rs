//! The findings as lines for people.

use std::io;

use enact_domain::analysis::Severity;

use super::report::{CheckedDocument, Located, Report};
use crate::terminal::{BAD, Paint, WARNING};

/// Returns one line for each finding, then for each hint if they are wanted, and a summary.
pub fn render(report: &Report, hints: bool) -> String {
    let paint = Paint::for_stream(&io::stdout());
    let mut text = String::new();
    for document in &report.documents {
        for finding in &document.findings {
            let severity = finding.severity.to_string();
            let severity = match finding.severity {
                Severity::Critical | Severity::High => paint.with(BAD, &severity),
                Severity::Medium => paint.with(WARNING, &severity),
                Severity::Low => severity,
            };
            text.push_str(&format!(
                "{}: {severity}: {} ({})\n",
                place(document, finding),
                finding.text(),
                name(finding)
            ));
        }
        for finding in &document.accepted {
            let reason = finding.reason.as_deref().unwrap_or_default();
            text.push_str(&format!("{}: accepted: {reason} ({})\n", place(document, finding), name(finding)));
        }
    }
    for document in report.documents.iter().filter(|_| hints) {
        for hint in &document.hints {
            text.push_str(&format!("{}: hint: {} ({})\n", place(document, hint), hint.text(), name(hint)));
        }
    }
    text.push_str(&report.summary());
    text.push('\n');
    text
}

fn place(document: &CheckedDocument, finding: &Located) -> String {
    format!("{}:{}:{}", document.path, finding.line, finding.column)
}

fn name(finding: &Located) -> String {
    format!("{} at {}", finding.code, finding.location)
}
