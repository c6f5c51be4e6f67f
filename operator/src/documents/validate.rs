//! Validate: a document's text becomes what it says and what is wrong with it.

use enact_crds::document::{self, Finding, FindingCounts, MAX_FINDINGS};
use enact_domain::digest::Digest;
use enact_domain::speckit::{self, Diagnostic, Parsed, Severity};

/// Longest text of a finding in a status, in bytes; the line tells the rest.
const MAX_TEXT: usize = 400;

/// A document that was read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Digest of the content.
    pub digest: Digest,
    /// What it says, as far as it could be understood.
    pub facts: Facts,
    /// How many findings there are.
    pub counts: FindingCounts,
    /// The first of them, the worst first.
    pub top: Vec<Finding>,
    /// The first finding that forbids the use of the document.
    pub error: Option<String>,
}

/// What a document says, for a status.
#[derive(Clone, Debug, PartialEq)]
pub enum Facts {
    /// Of a constitution.
    Constitution {
        /// The version that it gives itself.
        version: Option<String>,
        /// How many principles it has.
        principles: u32,
    },
    /// Of a specification.
    Specification {
        /// Its title.
        title: Option<String>,
        /// User stories.
        stories: u32,
        /// Requirements.
        requirements: u32,
        /// Success criteria.
        success_criteria: u32,
        /// Questions that nobody answered.
        open_questions: u32,
    },
}

impl Facts {
    /// The version that the document gives itself.
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::Constitution { version, .. } => version.as_deref(),
            Self::Specification { .. } => None,
        }
    }

    /// Questions that nobody answered.
    pub fn open_questions(&self) -> u32 {
        match self {
            Self::Constitution { .. } => 0,
            Self::Specification { open_questions, .. } => *open_questions,
        }
    }
}

/// Reads a constitution.
pub fn constitution(content: &[u8]) -> Checked {
    let parsed = speckit::constitution::parse(content);
    let facts = Facts::Constitution {
        version: parsed.model.version.as_ref().map(|v| cut(&v.text)),
        principles: count(&parsed.model.principles),
    };
    checked(content, &parsed, facts)
}

/// Reads a specification.
pub fn specification(content: &[u8]) -> Checked {
    let parsed = speckit::spec::parse(content);
    let model = &parsed.model;
    let facts = Facts::Specification {
        title: model.title.as_ref().map(|t| cut(&t.text)),
        stories: count(&model.stories),
        requirements: count(&model.requirements),
        success_criteria: count(&model.success_criteria),
        open_questions: count(&model.open_questions),
    };
    checked(content, &parsed, facts)
}

fn checked<T>(content: &[u8], parsed: &Parsed<T>, facts: Facts) -> Checked {
    let number = |severity| count_of(parsed.diagnostics.iter().filter(|d| d.severity == severity));
    Checked {
        digest: Digest::of_bytes(content),
        facts,
        counts: FindingCounts {
            critical: number(Severity::Error),
            high: 0,
            medium: number(Severity::Warning),
            low: number(Severity::Info),
        },
        top: worst_first(&parsed.diagnostics),
        error: parsed.errors().next().map(|d| cut(&d.to_string())),
    }
}

/// The findings that matter most, as a status shows them.
pub fn worst_first(diagnostics: &[Diagnostic]) -> Vec<Finding> {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|d| (d.severity, d.line));
    sorted.into_iter().take(MAX_FINDINGS).map(finding).collect()
}

fn finding(diagnostic: &Diagnostic) -> Finding {
    let severity = match diagnostic.severity {
        Severity::Error => document::Severity::Critical,
        Severity::Warning => document::Severity::Medium,
        Severity::Info => document::Severity::Low,
    };
    let key = Digest::of_bytes(format!("{}/{}", diagnostic.code, diagnostic.message).as_bytes());
    Finding {
        id: format!("FMT-{}", &key.short()[..8]),
        category: "Format".into(),
        line: diagnostic.line,
        location: String::new(),
        code: diagnostic.code.to_owned(),
        severity,
        message: cut(&diagnostic.message),
        remedy: cut(&diagnostic.remedy),
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
}

fn count<T>(items: &[T]) -> u32 {
    count_of(items.iter())
}

fn count_of(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_document_is_an_error_with_its_line() {
        let checked = specification(b"# Feature\n\0");
        assert_eq!(checked.counts.critical, 1);
        assert_eq!(checked.top[0].severity, document::Severity::Critical);
        assert!(checked.error.is_some_and(|e| e.starts_with("line 2: ")));
    }

    #[test]
    fn errors_are_shown_before_what_only_matters_less() {
        let about =
            |line, severity| Diagnostic { line, code: "x", severity, message: String::new(), remedy: String::new() };
        let mut all: Vec<Diagnostic> = (1..100).map(|line| about(line, Severity::Info)).collect();
        all.push(about(100, Severity::Error));
        assert_eq!(worst_first(&all)[0].line, 100);
    }

    #[test]
    fn a_status_stays_small_however_long_the_document() {
        let lines: Vec<String> = (0..1000).map(|n| format!("- **FR-001**: number {n} {}", "é".repeat(300))).collect();
        let text = lines.join("\n");
        let checked = specification(format!("# Feature Specification: {}\n{text}", "é".repeat(500)).as_bytes());
        assert!(checked.top.len() <= MAX_FINDINGS);
        let longest = checked.top.iter().map(|f| f.message.len() + f.remedy.len()).max().unwrap_or(0);
        assert!(longest <= 2 * MAX_TEXT, "{longest}");
        let Facts::Specification { title, .. } = checked.facts else { panic!("{:?}", checked.facts) };
        assert!(title.is_some_and(|t| t.len() <= MAX_TEXT));
    }
}
