//! The arguments of `drift`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::parse::{git_revision, specification};

/// Show which Specifications the repository's own changes have made outdated
///
/// Compares a clone with the commits that finished plans published: lists the tasks whose files were changed or removed since by commits
/// that are not work of a plan, the requirements that these tasks serve, and whether tests are among the files. The files of a task are those
/// that its commits changed; if the clone has no commit of the task, the paths in its text. Nothing is changed, in the clone or the cluster.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  kubectl enact drift --repository ../shop\n  \
    kubectl enact drift specification/cart --since v1.4.0 -o json")]
pub struct Drift {
    /// specification/NAME or its name [default: all Specifications of the namespace]
    #[arg(value_parser = specification)]
    pub specification: Option<String>,
    /// Directory of a clone; the commit that is checked out counts
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub repository: PathBuf,
    /// Commit, tag or branch from which on changes count [default: what each plan published]
    #[arg(long, value_name = "COMMIT", value_parser = git_revision)]
    pub since: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    pub output: DriftOutput,
}

/// A form of the drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DriftOutput {
    /// A table of the tasks
    #[default]
    Table,
    /// JSON
    Json,
}
