//! Diagnostics of the parsers.

use std::fmt;

use serde::Serialize;

/// Code of a document without a part that its kind has.
pub const MISSING_SECTION: &str = "MissingSection";

/// Code of a specification without a title.
pub const MISSING_TITLE: &str = "MissingTitle";

/// Code of a constitution without a version.
pub const MISSING_VERSION: &str = "MissingVersion";

/// Code of a change of OpenSpec.
pub const DELTA_DOCUMENT: &str = "DeltaDocument";

/// Code of a document of another kind.
pub const WRONG_DOCUMENT: &str = "WrongDocument";

/// Code of a task that mentions another one without stating whether it waits.
pub const UNCLEAR_MENTION: &str = "UnclearMention";

/// Code of a value of a plan's technical context that is not decided.
pub const NEEDS_CLARIFICATION: &str = "NeedsClarification";

/// Code of an open question.
pub const OPEN_QUESTION: &str = "OpenQuestion";

/// Code of a line with placeholders of the template.
pub const UNFILLED_TEMPLATE: &str = "UnfilledTemplate";

/// Code of a document that only has placeholders of the template.
pub const TEMPLATE_NOT_FILLED: &str = "TemplateNotFilled";

/// Part of a specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecPart {
    Stories,
    Requirements,
    SuccessCriteria,
}

/// Severity of a diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Severity {
    /// The document cannot be used until it is corrected.
    Error,
    /// The document can be used, but a part of it is probably not read as intended.
    Warning,
    /// The diagnostic is only informative.
    Info,
}

/// A problem in a document, with its position and its remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Line in the document, counted from 1.
    pub line: u32,
    /// Stable name of this kind of finding, in CamelCase.
    pub code: &'static str,
    pub severity: Severity,
    /// Description of the problem.
    pub message: String,
    /// Action that solves the problem.
    pub remedy: String,
    /// Part of a specification that is missing, for [`MISSING_SECTION`].
    #[serde(skip)]
    pub missing: Option<SpecPart>,
}

impl Diagnostic {
    pub(super) fn error(line: u32, code: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { line, code, severity: Severity::Error, message: message.into(), remedy: remedy.into(), missing: None }
    }

    pub(super) fn warning(
        line: u32,
        code: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { line, code, severity: Severity::Warning, message: message.into(), remedy: remedy.into(), missing: None }
    }

    pub(super) fn info(line: u32, code: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { line, code, severity: Severity::Info, message: message.into(), remedy: remedy.into(), missing: None }
    }

    /// Returns the same diagnostic about this missing part.
    #[must_use]
    pub(super) fn about(self, missing: SpecPart) -> Self {
        Self { missing: Some(missing), ..self }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}; {}", self.line, self.message, self.remedy)
    }
}

/// A model read from a document, and the diagnostics in the order of the lines.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Parsed<T> {
    /// Content of the document, as far as it could be parsed.
    pub model: T,
    /// Diagnostics, by line.
    pub diagnostics: Vec<Diagnostic>,
}

impl<T> Parsed<T> {
    pub(super) fn new(model: T, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|d| d.line);
        Self { model, diagnostics }
    }

    /// Returns whether a diagnostic prevents the use of the document.
    pub fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }

    /// Returns the diagnostics that prevent the use of the document.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Error)
    }
}
