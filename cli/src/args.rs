//! The command line.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use enact_domain::assignment;

/// Turn written specifications into working software on Kubernetes
///
/// `enact import` prints manifests of a Spec Kit project for `kubectl apply`; the other commands talk to the cluster of your kubeconfig.
#[derive(Debug, Parser)]
#[command(
    name = "enact",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub struct Cli {
    /// Where the objects are.
    #[command(flatten)]
    pub target: Target,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster and namespace.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cluster")]
pub struct Target {
    /// Context of the kubeconfig; default: the current one
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Kubeconfig file; default: $KUBECONFIG, then ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace; default: the context's
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print manifests of a Spec Kit feature
    Import(Import),
    /// Print a script that completes commands in a shell
    #[command(after_help = "Example: source <(enact completion bash)")]
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Print the version
    Version,
}

/// Print manifests of a Spec Kit feature
///
/// Reads spec.md, tasks.md and plan.md of a feature's directory and the constitution.md above it, tells on standard error what is wrong or
/// missing, and prints a Constitution, a Specification and a Plan as YAML: for `kubectl apply -f -`, or for a GitOps repository. The same
/// documents always give the same bytes. A single Markdown file is taken as well: tasks.md becomes a Plan, constitution.md a Constitution,
/// any other a Specification.
#[derive(Args, Debug)]
#[command(after_help = "Example: enact import specs/001-photo-albums -n shop --agent scripts | kubectl apply -f -")]
pub struct Import {
    /// Directory of a feature (specs/001-photo-albums), or one Markdown file
    pub path: PathBuf,
    /// Name of the Specification and the Plan; default: from the directory's
    #[arg(long, value_parser = object_name)]
    pub name: Option<String>,
    /// Agent of the plan's tasks
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = object_name)]
    pub agent: String,
    /// The constitution; default: .specify/memory/constitution.md or memory/constitution.md in a directory above
    #[arg(long, value_name = "FILE")]
    pub constitution: Option<PathBuf>,
    /// Leave the constitution out
    #[arg(long, conflicts_with = "constitution")]
    pub no_constitution: bool,
    /// Ask one member of these groups, who is not the author, to approve the Specification and the Plan
    #[arg(long, value_name = "GROUP,…", value_delimiter = ',')]
    pub approve_groups: Vec<String>,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The repository that the tasks work on.
    #[command(flatten)]
    pub git: Git,
}

/// The repository that the tasks work on.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Workspace")]
pub struct Git {
    /// Repository that the tasks work on: https://, http:// or ssh://, without a credential
    #[arg(long, value_name = "URL", value_parser = git_url)]
    pub git_url: Option<String>,
    /// Branch, tag or commit to start from; default: main
    #[arg(long, requires = "git_url", value_parser = git_revision)]
    pub revision: Option<String>,
    /// Secret that tasks read the repository and push their branches with
    #[arg(long, requires = "git_url", value_name = "SECRET", value_parser = object_name)]
    pub credentials_secret: Option<String>,
    /// Branch that receives the merged work; default: plan/<name of the plan>
    #[arg(long, requires = "git_url", value_name = "BRANCH", value_parser = git_revision)]
    pub integration_branch: Option<String>,
    /// Secret that the integration alone pushes that branch with; default: the tasks'
    #[arg(long, requires = "git_url", value_name = "SECRET", value_parser = object_name)]
    pub integration_secret: Option<String>,
}

/// Reads the command line, or ends the program with a message as clap does.
pub fn parse() -> Cli {
    let mut command = Cli::command();
    // The plugin is called by kubectl as `kubectl-enact`, and its help should say what a person types.
    let called = std::env::args_os().next().map(PathBuf::from);
    if called.is_some_and(|path| path.file_stem().is_some_and(|stem| stem == "kubectl-enact")) {
        command = command.bin_name("kubectl enact");
    }
    let matches = command.get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Prints a shell's completion script.
pub fn completion(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "enact", &mut script);
    crate::terminal::print(&String::from_utf8_lossy(&script))
}

fn object_name(text: &str) -> Result<String, String> {
    if enact_domain::names::is_label(text) {
        Ok(text.to_owned())
    } else {
        Err("a name has 1 to 63 of a-z, 0-9 and -, and begins and ends with a letter or digit".into())
    }
}

fn git_url(text: &str) -> Result<String, String> {
    assignment::check_url(text)
        .map(|()| text.to_owned())
        .map_err(|error| error.to_string())
}

fn git_revision(text: &str) -> Result<String, String> {
    assignment::check_ref(text)
        .map(|()| text.to_owned())
        .map_err(|error| error.to_string())
}
