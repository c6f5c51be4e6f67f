//! The command line.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::server::ServerAddress;

pub use check::{Check, CheckOutput, DocumentKind};
pub use decisions::{Decisions, DecisionsOutput};
pub use diff::{Compared, Diff};
pub use drift::{Drift, DriftOutput};
pub use git::Git;
pub use impact::{Impact, ImpactOutput};
pub use knowledge::Knowledge;
pub use parse::{DocumentName, Kind, PlanOrAgent, PlanOrTask, SubjectName, kind_and_name};
use parse::{
    answer, digest, document, object_name, plan, plan_name, plan_or_agent, plan_or_task, recorded_revision,
    specification, subject, usd,
};
pub use planning::{Choose, Explain, ExplainOutput, NewPlan, Selection};
pub use replan::Replan;

mod check;
mod decisions;
mod diff;
mod drift;
mod git;
mod impact;
mod knowledge;
mod parse;
mod planning;
mod replan;

/// Build software on Kubernetes from a constitution and specifications
///
/// `kubectl enact import` converts a Spec Kit project to manifests for `kubectl apply`. The other commands work on the cluster of your
/// kubeconfig.
#[derive(Debug, Parser)]
#[command(name = "enact", version, propagate_version = true, arg_required_else_help = true, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub command: Command,
}

/// The cluster, namespace and user of a command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cluster")]
pub struct Target {
    /// Context in the kubeconfig [default: the current context]
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Kubeconfig file [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace [default: the namespace of the context]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Service of enact-server, for commands that read the record [default: the Service that the operator publishes]
    #[arg(long, global = true, value_name = "NAMESPACE/SERVICE")]
    pub server: Option<ServerAddress>,
    /// User to impersonate
    #[arg(long = "as", global = true, value_name = "USER")]
    pub as_user: Option<String>,
    /// Group to impersonate (repeatable)
    #[arg(long, global = true, value_name = "GROUP", requires = "as_user")]
    pub as_group: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    // The long help of these commands is at their arguments. A doc comment here would replace it.
    Import(Box<Import>),
    Check(Check),
    Plan(Box<NewPlan>),
    Choose(Choose),
    Replan(Replan),
    Decisions(Decisions),
    Knowledge(Knowledge),
    /// Show the progress of plans
    #[command(visible_alias = "st")]
    Status(Status),
    /// Approve the current content of a Constitution, Specification or Plan
    Approve(Approve),
    /// Reject the current content of a Constitution, Specification or Plan
    #[command(after_help = "Example: kubectl enact reject specification/shop --comment 'FR-003 cannot be tested'")]
    Reject(Decide),
    /// List the revisions of a document with author, date, reason and decisions
    History(History),
    /// Print a document or one of its revisions
    Show(Show),
    /// Compare two revisions of a document or attempts at a task, or show what the last attempt at a task changed
    Diff(Diff),
    /// Edit a document and merge changes that others made in the meantime
    Edit(Edit),
    /// Restore the content of an earlier revision as a new revision
    Rollback(Rollback),
    /// List and answer the open questions of a Specification
    Clarify(Clarify),
    /// Search documents for principles, requirements, decisions and tasks
    Search(Search),
    /// List Specifications with similar content
    Related(Related),
    Impact(Impact),
    Drift(Drift),
    /// Show tokens and cost of model requests, and budgets
    Usage(Usage),
    /// Print what agents sent to models and what they got, for tenants with request logging
    Requests(Requests),
    /// Print the prompt that the agent of a task gets
    Prompt(Prompt),
    Explain(Explain),
    /// Print the logs of an attempt
    Logs(Logs),
    /// Open a shell beside the running agent of a task
    #[command(
        after_help = "Examples:\n  kubectl enact attach shop/T003\n  kubectl enact attach shop/T003 -- git status"
    )]
    Attach(Attach),
    /// Send a message to the agent of a task
    Message(SendMessage),
    /// Retry a failed task, a failed integration, or everything that failed in a plan
    Retry(Retry),
    /// Repeat the tasks of a plan that are stale after a new revision of its specification
    #[command(after_help = "Example: kubectl enact redo shop")]
    Redo(ConfirmedPlan),
    /// Keep the stale tasks of a plan as they are and continue
    #[command(after_help = "Example: kubectl enact keep shop")]
    Keep(ConfirmedPlan),
    /// Suspend a plan or an agent: start no new attempts, let running ones finish
    #[command(after_help = "Examples:\n  kubectl enact suspend shop\n  kubectl enact suspend agent/claude")]
    Suspend(Suspended),
    /// Resume an agent that is suspended, or a plan that is suspended or paused after a phase
    #[command(after_help = "Examples:\n  kubectl enact resume shop\n  kubectl enact resume agent/claude")]
    Resume(Suspended),
    /// Change how a plan runs, also while it runs
    Set(Set),
    /// Cancel a plan permanently
    Cancel(ConfirmedPlan),
    /// Print the shell completion script for the command `enact`
    #[command(after_help = "Example: source <(kubectl enact completion bash)")]
    Completion {
        shell: Shell,
    },
    /// Print the version
    Version,
}

/// Convert a Spec Kit feature to manifests
///
/// Reads spec.md, tasks.md and plan.md from the directory of a feature and constitution.md from a directory above it. Prints a Constitution,
/// a Specification and a Plan as YAML, for `kubectl apply -f -` or a GitOps repository. Reports errors and missing documents on standard
/// error. The same documents always give the same output. PATH can also be a single Markdown file: tasks.md becomes a Plan,
/// constitution.md a Constitution, and any other file a Specification.
///
/// Tasks that are ticked in tasks.md count as done. The Plan contains neither ticked tasks nor tasks that are struck out.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    kubectl enact import specs/001-photo-albums -n shop --agent scripts | kubectl apply --server-side -f -\n  \
    kubectl enact import specs/001-photo-albums -n shop --include-done --agent notes --script notes.sh \\\n    \
    --git-url https://git.example.com/shop.git --credentials-secret git \\\n    \
    --integration-secret git-integrator --out shop.yaml")]
pub struct Import {
    /// Directory of a feature (specs/001-photo-albums), or a Markdown file
    pub path: PathBuf,
    /// Name of the Specification and the Plan [default: the name of the directory]
    #[arg(long, value_parser = plan_name)]
    pub name: Option<String>,
    /// Agent for the tasks of the Plan
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = object_name)]
    pub agent: String,
    /// Also print an Agent that runs this shell script for every task; the script finds its prompt in the file $ENACT_PROMPT_FILE
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Include ticked tasks: clear their boxes in the Plan's copy of tasks.md
    #[arg(long)]
    pub include_done: bool,
    /// Accept a tasks.md with lines that look like tasks and cannot be read: the Plan leaves them out (unreadTasks: Warn)
    #[arg(long)]
    pub allow_unread: bool,
    /// Constitution [default: .specify/memory/constitution.md or memory/constitution.md in a directory above]
    #[arg(long, value_name = "FILE")]
    pub constitution: Option<PathBuf>,
    /// Print no Constitution
    #[arg(long, conflicts_with = "constitution")]
    pub no_constitution: bool,
    /// Require the approval of Specification and Plan by one member of these groups who is not the author
    #[arg(long, value_name = "GROUP,…", value_delimiter = ',')]
    pub approve_groups: Vec<String>,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub git: Git,
}

/// Show the progress of plans
#[derive(Args, Debug)]
#[command(after_help = "Example: kubectl enact status shop --watch --until-finished")]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct Status {
    /// Plan to show as a tree [default: all plans in a table]
    #[arg(value_parser = plan)]
    pub plan: Option<String>,
    /// Show the plans of every namespace
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "plan"])]
    pub all_namespaces: bool,
    /// Watch the plan: redraw the tree on a terminal, print one line per change otherwise
    #[arg(short, long, requires = "plan")]
    pub watch: bool,
    /// Watch until the plan is finished; exit with 0 if it succeeded, with 1 and the reason if it failed or is stalled
    #[arg(long, requires = "plan")]
    pub until_finished: bool,
    /// Show every task of a large plan [default: fold tasks that are done or have not started]
    #[arg(long, requires = "plan", conflicts_with_all = ["watch", "until_finished"])]
    pub expand: bool,
    /// Show what each task has spent of models, and what is reserved and left of its budget, from the record
    #[arg(long, requires = "plan", conflicts_with_all = ["watch", "until_finished"])]
    pub usage: bool,
}

/// Approve the current content of an object
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl enact approve specification/shop --comment 'as discussed'\n  kubectl enact approve plan/shop --budget 12.50\n  kubectl enact approve plan/shop --estimate"
)]
pub struct Approve {
    #[command(flatten)]
    pub decide: Decide,
    /// For a plan: the maximum that its agents may spend on models, in US dollars
    #[arg(long, value_name = "USD", value_parser = usd)]
    pub budget: Option<String>,
    /// For a plan: the maximum number of tokens that its agents may use
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000_000_000))]
    pub token_budget: Option<u64>,
    /// For a plan: limit it to the upper bound of its estimate [default: a question on a terminal]
    #[arg(long, conflicts_with_all = ["budget", "token_budget"])]
    pub estimate: bool,
}

// Approve contains these arguments: a doc comment here would replace its help.
#[derive(Args, Debug)]
pub struct Decide {
    /// constitution/NAME, specification/NAME or plan/NAME, or a name that only one of them has
    #[arg(value_name = "KIND/NAME", value_parser = subject)]
    pub subject: SubjectName,
    /// Fail if the digest of the content has changed: the digest, or at least its first 12 hex digits
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    pub digest: Option<String>,
    /// Comment; required for a rejection
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub yes: bool,
}

/// List the revisions of a document
#[derive(Args, Debug)]
#[command(after_help = "Example: kubectl enact history specification/shop")]
pub struct History {
    /// constitution/NAME, specification/NAME or plan/NAME, or a name that only one of them has
    #[arg(value_name = "KIND/NAME", value_parser = subject)]
    pub subject: SubjectName,
    /// Number of revisions to list, newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// Print a document
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl enact show spec/shop > spec.md\n  kubectl enact show spec/shop@3\n  kubectl enact show spec/shop --findings"
)]
pub struct Show {
    /// Document; REV is a number, the start of a digest, or `approved` [default: the current content]
    #[arg(value_name = "KIND/NAME[@REV]", value_parser = document)]
    pub document: DocumentName,
    /// Print the findings of the analysis instead
    #[arg(long)]
    pub findings: bool,
    /// For a Plan: print the proposal of this Agent instead
    #[arg(long, value_name = "AGENT", conflicts_with = "findings", value_parser = object_name)]
    pub proposal: Option<String>,
    /// For a Plan: print the reasons of this comparison instead, by its number in `kubectl enact explain plan/NAME`
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["findings", "proposal"])]
    pub judgement: Option<usize>,
}

/// Edit a document
///
/// Opens the document in $VISUAL or $EDITOR and saves the result. If somebody else changed the document in the meantime, the command merges
/// both changes section by section. If both changed the same text, it saves nothing, shows both versions, and keeps yours in a file.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl enact edit spec/shop\n  kubectl enact edit spec/shop -f spec.md --base 0123456789ab"
)]
pub struct Edit {
    /// constitution/NAME or specification/NAME
    #[arg(value_name = "KIND/NAME", value_parser = subject)]
    pub subject: SubjectName,
    /// Read the new text from this file (- for standard input) instead of an editor
    #[arg(short, long, value_name = "FILE", requires = "base")]
    pub file: Option<PathBuf>,
    /// Digest (or its start) of the content that the new text is based on; `kubectl enact history` shows it
    #[arg(long, value_name = "DIGEST", value_parser = digest, requires = "file")]
    pub base: Option<String>,
    /// Reason of the change, for the history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// Restore the content of an earlier revision
#[derive(Args, Debug)]
#[command(after_help = "Example: kubectl enact rollback spec/shop 3")]
pub struct Rollback {
    /// constitution/NAME or specification/NAME
    #[arg(value_name = "KIND/NAME", value_parser = subject)]
    pub subject: SubjectName,
    /// Revision: a number or the start of a digest
    #[arg(value_name = "REV", value_parser = recorded_revision)]
    pub revision: String,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub yes: bool,
}

/// List and answer the open questions of a Specification
///
/// On a terminal, the command asks the questions one by one. Otherwise it prints them and accepts answers by --answer.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl enact clarify shop\n  kubectl enact clarify shop --answer 'Q-1f3a9c2e=thirty days'"
)]
pub struct Clarify {
    /// Name of the Specification
    #[arg(value_name = "SPECIFICATION", value_parser = specification)]
    pub specification: String,
    /// Answer to the question with this ID (repeatable)
    #[arg(long = "answer", value_name = "ID=TEXT", value_parser = answer)]
    pub answers: Vec<(String, String)>,
    /// For a document in Git: print a patch with the answers for `git apply`; change nothing in the cluster
    #[arg(long)]
    pub patch: bool,
}

/// Search documents for principles, requirements, decisions and tasks
#[derive(Args, Debug)]
#[command(after_help = "Example: kubectl enact search how long are carts kept")]
pub struct Search {
    /// Words to search for
    #[arg(required = true)]
    pub words: Vec<String>,
    /// Kind of item to search for
    #[arg(long, value_parser = ["principle", "requirement", "criterion", "story", "decision", "task"])]
    pub kind: Option<String>,
    /// Number of results
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub limit: u32,
}

/// List Specifications with similar content
#[derive(Args, Debug)]
pub struct Related {
    /// Name of the Specification
    #[arg(value_name = "SPECIFICATION", value_parser = specification)]
    pub specification: String,
}

/// Show tokens and cost of model requests, and budgets
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl enact usage\n  kubectl enact usage --plan shop --by task,model\n  kubectl enact usage --by day,model --from 2026-11-01 --to 2026-11-30 -o csv"
)]
pub struct Usage {
    /// Dimensions to group by: namespace, specification, plan, task, attempt, requirement, agent, provider, model, day
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "plan", value_parser = DIMENSIONS)]
    pub by: Vec<String>,
    /// First day, or time [default: the first day of this month in UTC]
    #[arg(long, value_name = "DAY")]
    pub from: Option<String>,
    /// Last day, or time at which the report ends [default: now]
    #[arg(long, value_name = "DAY")]
    pub to: Option<String>,
    /// Only this Plan, with the budgets of its tasks
    #[arg(long, value_name = "NAME", value_parser = plan)]
    pub plan: Option<String>,
    /// Only this Agent: a name, or NAMESPACE/NAME
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    pub output: UsageOutput,
}

/// The dimensions of usage.
const DIMENSIONS: [&str; 10] =
    ["namespace", "specification", "plan", "task", "attempt", "requirement", "agent", "provider", "model", "day"];

/// A form of the report on usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum UsageOutput {
    /// Usage and budgets as tables
    #[default]
    Table,
    /// Usage as comma-separated values
    Csv,
    /// Usage and budgets as JSON
    Json,
}

/// Print what agents sent to models and what they got, for tenants with request logging
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl enact requests shop/T003\n  kubectl enact requests --agent coder --limit 1 -o json"
)]
pub struct Requests {
    /// PLAN or PLAN/TASKID [default: all requests of the namespace]
    #[arg(value_name = "TARGET", value_parser = plan_or_task)]
    pub target: Option<PlanOrTask>,
    /// Only this Agent: a name, or NAMESPACE/NAME
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Print at most this number of requests, the newest ones
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub limit: u32,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    pub output: RequestsOutput,
}

/// A form of the texts of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RequestsOutput {
    /// Readable texts, the newest last
    #[default]
    Text,
    /// JSON, the newest first
    Json,
}

/// Print the logs of an attempt
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl enact logs shop/T003 --attempt 1\n  kubectl enact logs shop/integration -f"
)]
pub struct Logs {
    /// PLAN/TASKID, PLAN/integration, or the name of a Task
    #[arg(value_name = "TASK")]
    pub task: String,
    /// Number of the attempt [default: the last attempt]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,
    /// Wait for the attempt to start and follow its logs
    #[arg(short, long)]
    pub follow: bool,
    /// Print the events of a coding agent in its own format instead of readable lines
    #[arg(long)]
    pub raw: bool,
}

/// Print the prompt that the agent of a task gets
///
/// With --tasks, the prompt is made from documents alone and needs no cluster.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  kubectl enact prompt shop/T004\n  kubectl enact prompt shop/T004 --attempt 2\n  \
    kubectl enact prompt --tasks specs/001-cart/tasks.md --spec specs/001-cart/spec.md T004")]
pub struct Prompt {
    /// PLAN/TASKID, or the name of a Task; TASKID with --tasks
    #[arg(value_name = "TASK")]
    pub task: String,
    /// Print the prompt that this attempt got, from its pod
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "tasks")]
    pub attempt: Option<u32>,
    /// Document with the tasks (tasks.md)
    #[arg(long, value_name = "FILE")]
    pub tasks: Option<PathBuf>,
    /// Document with the specification (spec.md)
    #[arg(long, value_name = "FILE", requires = "tasks")]
    pub spec: Option<PathBuf>,
    /// Document with the constitution (constitution.md)
    #[arg(long, value_name = "FILE", requires = "tasks")]
    pub constitution: Option<PathBuf>,
}

/// Open a shell beside the running agent of a task
///
/// Runs `kubectl exec` in the container of the agent, with its user and environment. You need the ClusterRole enact-attach in the namespace.
#[derive(Args, Debug)]
pub struct Attach {
    /// PLAN/TASKID, or the name of a Task
    #[arg(value_name = "TASK")]
    pub task: String,
    /// Number of the attempt [default: the last attempt]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,
    /// Command to run instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Send a message to the agent of a task
///
/// A running agent is interrupted, and its session continues with the message. Otherwise the next attempt gets it. The message and its author
/// are recorded.
#[derive(Args, Debug)]
#[command(after_help = "Example: kubectl enact message shop/T003 'Use the existing type Cart.'")]
pub struct SendMessage {
    /// PLAN/TASKID, or the name of a Task
    #[arg(value_name = "TASK")]
    pub task: String,
    /// The message, at most 2048 bytes
    pub text: String,
}

/// Retry failed work
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  kubectl enact retry shop/T003\n  kubectl enact retry shop")]
pub struct Retry {
    /// PLAN/TASKID, PLAN/integration, the name of a Task, or the name of a Plan (everything in it that failed)
    #[arg(value_name = "TASK|PLAN")]
    pub target: String,
}

#[derive(Args, Debug)]
pub struct Suspended {
    /// Name of the Plan, or agent/NAME
    #[arg(value_name = "PLAN|agent/NAME", value_parser = plan_or_agent)]
    pub target: PlanOrAgent,
}

/// Change how a plan runs, also while it runs
#[derive(Args, Debug)]
#[command(after_help = "Example: kubectl enact set cart --parallelism 2")]
pub struct Set {
    /// Name of the Plan
    #[arg(value_parser = plan)]
    pub plan: String,
    /// Maximum number of concurrent attempts; running ones continue
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub parallelism: u32,
}

/// A plan and the confirmation of a command that asks first.
#[derive(Args, Debug)]
pub struct ConfirmedPlan {
    /// Name of the Plan
    #[arg(value_parser = plan)]
    pub plan: String,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub yes: bool,
}

/// Parses the command line. Exits with a message if it is not valid.
pub fn arguments() -> Cli {
    let mut command = Cli::command();
    // kubectl runs the plugin as `kubectl-enact`; its usage should show what a person types.
    let program = std::env::args_os().next().map(PathBuf::from);
    if program.is_some_and(|path| path.file_stem().is_some_and(|stem| stem == "kubectl-enact")) {
        command = command.bin_name("kubectl enact");
    }
    let matches = command.get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Prints the completion script of a shell.
pub fn completion(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "enact", &mut script);
    crate::terminal::print(&String::from_utf8_lossy(&script))
}
