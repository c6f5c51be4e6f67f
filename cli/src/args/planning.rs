//! The arguments of `plan`, `choose` and `explain`.

use clap::{Args, ValueEnum};

use super::git::Git;
use super::parse::{object_name, plan, plan_name, specification};

/// Create a Plan whose tasks agents write
///
/// Each of the agents writes a proposal when the Specification is approved. The proposals are checked and scored, and one of them becomes the
/// tasks of the Plan: by its score, by votes, or because a person chooses it; another agent can also combine the best ones. The Plan is
/// approved like any other.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  kubectl enact plan cart --agents claude,codex\n  \
    kubectl enact plan cart-again --spec cart --agents claude,codex --select person --guidance 'Use the crate sqlx.'\n  \
    kubectl enact plan cart-merged --spec cart --agents claude,codex --select synthesis --synthesizer merger")]
pub struct NewPlan {
    /// Name of the Plan
    #[arg(value_parser = plan_name)]
    pub name: String,
    /// Agents that write a proposal each, at most 8
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', required = true, value_parser = object_name)]
    pub agents: Vec<String>,
    /// Specification to plan [default: the one with the name of the Plan]
    #[arg(long, value_name = "NAME", value_parser = specification)]
    pub spec: Option<String>,
    /// Agent for all tasks [default: for each attempt the best of the agents that plan]
    #[arg(long, value_name = "NAME", value_parser = object_name)]
    pub agent: Option<String>,
    /// What the agents should know in addition to the specification and the constitution
    #[arg(long, value_name = "TEXT")]
    pub guidance: Option<String>,
    /// Agents that compare the best proposals without knowing who wrote them, at most 3
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = object_name)]
    pub judges: Vec<String>,
    /// How one of the proposals is chosen
    #[arg(long, value_enum, default_value_t)]
    pub select: Selection,
    /// For --select synthesis: agent that combines the best proposals; it neither plans nor judges
    #[arg(long, value_name = "NAME", required_if_eq("select", "synthesis"), value_parser = object_name)]
    pub synthesizer: Option<String>,
    /// Maximum number of attempts of each agent
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10))]
    pub attempts: u32,
    /// Require the approval of the Plan by one member of these groups who is not the author
    #[arg(long, value_name = "GROUP,…", value_delimiter = ',')]
    pub approve_groups: Vec<String>,
    #[command(flatten)]
    pub git: Git,
}

/// How one of several proposals is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Selection {
    /// The highest score decides
    #[default]
    BestScore,
    /// A person decides, with `kubectl enact choose`
    Person,
    /// The planners vote on what they decide differently, with the proficiency that their agents declare
    Votes,
    /// The synthesizer combines the best proposals
    Synthesis,
}

/// Choose the proposal that becomes the tasks of a Plan
///
/// The choice counts before the scores. Your name is recorded, and you become an author of the Plan.
#[derive(Args, Debug)]
#[command(after_help = "Example: kubectl enact choose cart --agent claude")]
pub struct Choose {
    /// Name of the Plan
    #[arg(value_parser = plan)]
    pub plan: String,
    /// Agent that wrote the proposal
    #[arg(long, value_name = "NAME", value_parser = object_name)]
    pub agent: String,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub yes: bool,
}

/// Show why the agent of a task was selected from the pool of its plan, or compare the proposals for a plan
///
/// For a task, prints all agents of the pool with the components of their scores, and why the others were excluded. For a plan whose tasks
/// agents write, prints all proposals with the components of their scores, and what they decide differently.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl enact explain task/shop-t004\n  kubectl enact explain shop/T004 --attempt 2\n  kubectl enact explain plan/shop\n  kubectl enact explain plan/shop -o json"
)]
pub struct Explain {
    /// PLAN/TASKID, or the name of a Task or a Plan
    #[arg(value_name = "TASK|PLAN")]
    pub task: String,
    /// Explain this attempt [default: the newest one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,
    /// Form of the output; JSON is for a plan
    #[arg(short, long, value_enum, default_value_t, conflicts_with = "attempt")]
    pub output: ExplainOutput,
}

/// A form of an explanation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ExplainOutput {
    /// Tables
    #[default]
    Table,
    /// JSON
    Json,
}
