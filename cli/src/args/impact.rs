//! The arguments of `impact`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::parse::{SubjectName, subject};

/// Show what a changed document would affect, or the amendment of a Constitution
///
/// With `--with`, the file takes the place of the document, and nothing is applied: it shows the items that change, the stale tasks of the
/// plans, the finished work that `redo` would repeat, the decisions that would no longer count, and the findings that appear and
/// disappear. For a Plan, the file is another tasks.md: it shows added, changed and removed tasks, and the finished work that is kept.
/// Without `--with`, it shows the amendment of a Constitution and the objects that it affects.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  kubectl enact impact specification/cart --with spec.md\n  \
    kubectl enact impact constitution/rules --with constitution.md -o json\n  \
    kubectl enact impact plan/cart --with tasks.md\n  kubectl enact impact constitution/rules")]
pub struct Impact {
    /// Specification, Constitution or Plan as KIND/NAME, or a name alone [default kind without --with: Constitution]
    #[arg(value_parser = subject)]
    pub subject: SubjectName,
    /// File with the changed document, or with other tasks
    #[arg(long, value_name = "FILE")]
    pub with: Option<PathBuf>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    pub output: ImpactOutput,
}

/// A form of what is affected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ImpactOutput {
    /// Lines for a person
    #[default]
    Text,
    /// JSON
    Json,
}
