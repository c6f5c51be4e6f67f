//! The findings as commands of GitHub workflows, which annotate the lines of a pull request.

use enact_domain::analysis::Severity;

use super::report::Report;

/// Returns one command for each open finding.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    for document in &report.documents {
        for finding in &document.findings {
            let command = match finding.severity {
                Severity::Critical | Severity::High => "error",
                Severity::Medium => "warning",
                Severity::Low => "notice",
            };
            let title = format!("{} {} at {}", finding.severity, finding.code, finding.location);
            text.push_str(&format!(
                "::{command} file={},line={},endLine={},col={},endColumn={},title={}::{}\n",
                property(&document.path),
                finding.line,
                finding.line,
                finding.column,
                finding.end_column,
                property(&title),
                data(&finding.text())
            ));
        }
    }
    text
}

/// Escapes the message of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes the value of a property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_would_end_a_command() {
        assert_eq!(data("100 %\r\n::error::x"), "100 %25%0D%0A::error::x");
        assert_eq!(property("a,b:c%2C\n"), "a%2Cb%3Ac%252C%0A");
    }
}
