//! The arguments of `replan`.

use std::path::PathBuf;

use clap::Args;

use super::parse::{object_name, plan, plan_name};

/// Create a Plan that replaces another one and keeps its finished work
///
/// Agents write the tasks again: they read the specification as it is approved now, the tasks of the Plan with what became of each, and your
/// remark. Or give your own tasks.md. Finished tasks that are the same in the new Plan do not run again. It starts when it is approved and the
/// Plan that it replaces has ended.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  kubectl enact replan cart --because 'T004 needs an index first'\n  \
    kubectl enact replan cart --because 'The sum is wrong' --agents claude,codex\n  \
    kubectl enact replan cart --because 'T004 is too large' --tasks tasks.md --name cart-again")]
pub struct Replan {
    /// Name of the Plan to replace
    #[arg(value_parser = plan)]
    pub plan: String,
    /// Why another Plan is wanted, for the agents and for those who approve
    #[arg(long, value_name = "TEXT")]
    pub because: String,
    /// Agents that write a proposal each, at most 8 [default: those that wrote the tasks of the Plan]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = object_name)]
    pub agents: Vec<String>,
    /// The new tasks.md, instead of agents that write it
    #[arg(long, value_name = "FILE", conflicts_with = "agents")]
    pub tasks: Option<PathBuf>,
    /// Name of the new Plan [default: the name of the Plan with the next number, as cart-2]
    #[arg(long, value_name = "NAME", value_parser = plan_name)]
    pub name: Option<String>,
}
