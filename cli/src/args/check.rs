//! The arguments of `check`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use enact_domain::analysis::Severity;
use serde::Serialize;

/// Check documents without a cluster
///
/// Reads specifications, constitutions, plans and tasks as `import` and the operator do, and prints what the analysis finds. PATH is a
/// document, the directory of a feature, or a project: a directory with such directories below it. Symbolic links in it are not followed.
///
/// Exit codes: 0 without findings at or above --fail-on, 1 with such findings, 2 if a document cannot be read or the arguments are not valid.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl enact check\n  kubectl enact check specs/001-photo-albums --fail-on medium\n  \
                  kubectl enact check --output sarif > enact.sarif\n  git show HEAD:specs/001-photo-albums/tasks.md | \
                  kubectl enact check --kind tasks -"
)]
pub struct Check {
    /// Document, directory of a feature, or project; - reads a document from standard input
    #[arg(value_name = "PATH", default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    pub output: CheckOutput,
    /// Lowest severity that makes the command fail; critical findings are at or above each
    #[arg(long, value_name = "SEVERITY", value_enum, default_value_t)]
    pub fail_on: FailOn,
    /// Print also hints: words that can leave something open, and can be right as they are. They never make the command fail
    #[arg(long)]
    pub hints: bool,
    /// Kind of a document that PATH names [default: by the name of the file, else specification]
    #[arg(long, value_enum)]
    pub kind: Option<DocumentKind>,
}

/// A form of the findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CheckOutput {
    /// One line for each finding
    #[default]
    Text,
    /// JSON, as docs/guide/check.md describes
    Json,
    /// SARIF 2.1.0
    Sarif,
    /// Commands of GitHub workflows, which annotate the lines of a pull request
    Github,
}

/// The findings that make the command fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    #[default]
    High,
    Medium,
    Low,
    /// No finding
    Never,
}

impl FailOn {
    /// Returns whether a finding of this severity makes the command fail.
    pub fn includes(self, severity: Severity) -> bool {
        match self {
            Self::High => severity <= Severity::High,
            Self::Medium => severity <= Severity::Medium,
            Self::Low => severity <= Severity::Low,
            Self::Never => false,
        }
    }
}

/// Kind of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DocumentKind {
    /// constitution.md
    Constitution,
    /// spec.md
    Specification,
    /// plan.md
    Plan,
    /// tasks.md
    Tasks,
}
