//! The arguments of `decisions`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use enact_crds::approval::SubjectKind;

use super::parse::{SubjectName, subject};

/// List the decisions of plans, or write them as Markdown files
///
/// When a proposal is chosen for a Plan, its decisions are recorded: the question, the options, the choice, the reason, who proposed and who
/// chose it. A later decision about the same question in the namespace supersedes the earlier one.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl enact decisions cart\n  kubectl enact decisions specification/cart -o wide\n  kubectl enact decisions --madr docs/decisions\n  kubectl enact decisions --recommend \"where are carts stored\""
)]
pub struct Decisions {
    /// PLAN, plan/NAME or specification/NAME [default: all decisions of the namespace]
    #[arg(value_name = "PLAN|SPECIFICATION", value_parser = plan_or_specification)]
    pub of: Option<SubjectName>,
    /// Write a file in the form of MADR for each decision into this directory, and overwrite those of an earlier export
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    pub madr: Option<PathBuf>,
    /// List choices about this question that worked: all tasks of a Plan with this choice succeeded, and no later decision replaced it
    ///
    /// They come from all namespaces of the tenant in which you may get Plans, each with its sources.
    #[arg(long, value_name = "QUESTION", conflicts_with_all = ["of", "madr"])]
    pub recommend: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    pub output: DecisionsOutput,
}

/// A form of the list of decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DecisionsOutput {
    /// A table, the newest first
    #[default]
    Table,
    /// The table with what became of each Plan: tasks, failed attempts, tasks that ran again, discarded attempts, cost
    Wide,
    /// JSON, the newest first
    Json,
}

fn plan_or_specification(text: &str) -> Result<SubjectName, String> {
    let found = subject(text)?;
    if found.kind == Some(SubjectKind::Constitution) {
        return Err("it must be PLAN, plan/NAME or specification/NAME".into());
    }
    Ok(found)
}
