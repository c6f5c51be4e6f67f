//! The arguments of `knowledge`.

use clap::Args;

use super::parse::{object_name, plan, plan_name};

/// Let an agent propose what later agents should know about the repository of a Plan that has succeeded
///
/// Creates a Plan with one task: the agent reads the repository, the gates of the Plan and why its attempts failed, and writes the file
/// .enact/knowledge.md: build and test commands, conventions and pitfalls, each with the files that show it. Read the branch of that Plan and
/// merge it to accept it. Agents of later Plans then get the entries whose files have not changed since.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl enact knowledge cart\n  kubectl enact knowledge cart --agent claude --revision main"
)]
pub struct Knowledge {
    /// Name of the Plan that has succeeded
    #[arg(value_parser = plan)]
    pub plan: String,
    /// Agent that writes the proposal [default: that of the Plan]
    #[arg(long, value_name = "NAME", value_parser = object_name)]
    pub agent: Option<String>,
    /// Branch, tag or commit that the agent reads [default: the commit that the Plan has published]
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<String>,
    /// Name of the new Plan [default: the name of the Plan with -knowledge]
    #[arg(long, value_name = "NAME", value_parser = plan_name)]
    pub name: Option<String>,
}
