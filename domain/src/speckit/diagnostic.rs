//! Diagnostics of the parsers.

use std::fmt;

use serde::Serialize;

/// How much a diagnostic matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Severity {
    /// The document cannot be used until it is corrected.
    Error,
    /// The document can be used, but a part of it is probably not read as intended.
    Warning,
    /// Worth knowing.
    Info,
}

/// One finding about a document, with where it is and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Line in the document, counted from 1.
    pub line: u32,
    /// Stable name of this kind of finding, in CamelCase.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl Diagnostic {
    pub(super) fn error(line: u32, code: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { line, code, severity: Severity::Error, message: message.into(), remedy: remedy.into() }
    }

    pub(super) fn warning(
        line: u32,
        code: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { line, code, severity: Severity::Warning, message: message.into(), remedy: remedy.into() }
    }

    pub(super) fn info(line: u32, code: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { line, code, severity: Severity::Info, message: message.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}; {}", self.line, self.message, self.remedy)
    }
}

/// A model read from a document, and what was found on the way, in the order of the lines.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Parsed<T> {
    /// What the document says, as far as it could be understood.
    pub model: T,
    /// Findings, by line.
    pub diagnostics: Vec<Diagnostic>,
}

impl<T> Parsed<T> {
    pub(super) fn new(model: T, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|d| d.line);
        Self { model, diagnostics }
    }

    /// Returns whether a finding forbids the use of the document.
    pub fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }

    /// Returns the findings that forbid the use of the document.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Error)
    }
}
