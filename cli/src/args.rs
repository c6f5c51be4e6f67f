//! The command line.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use enact_crds::approval::{Subject, SubjectKind};
use enact_domain::{assignment, names};

/// Turn written specifications into working software on Kubernetes
///
/// `enact import` prints manifests of a Spec Kit project for `kubectl apply`; the other commands talk to the cluster of your kubeconfig.
#[derive(Debug, Parser)]
#[command(name = "enact", version, propagate_version = true, arg_required_else_help = true, max_term_width = 110)]
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
    /// Service of the server, for what the record holds; default: where the operator says that it is
    #[arg(long, global = true, value_name = "NAMESPACE/SERVICE", value_parser = crate::record::server)]
    pub server: Option<(String, String)>,
    /// User to act for, as far as your rights reach
    #[arg(long = "as", global = true, value_name = "USER")]
    pub as_user: Option<String>,
    /// Group to act for; may be repeated
    #[arg(long, global = true, value_name = "GROUP", requires = "as_user")]
    pub as_group: Vec<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    // Its long help stands with its arguments; a comment for documentation here would replace that.
    Import(Box<Import>),
    /// Show how plans go
    #[command(visible_alias = "st")]
    Status(Status),
    /// Approve the present content of a Constitution, Specification or Plan
    Approve(Decide),
    /// Send the present content of a Constitution, Specification or Plan back
    Reject(Decide),
    /// Show the revisions of a document: who made each, when and why
    History(History),
    /// Print a document, as it is or as it was
    Show(Show),
    /// Show how a document changed, section by section
    Diff(Diff),
    /// Change a document, beside others who do
    Edit(Edit),
    /// Give a document the content of an earlier revision, as a new one
    Rollback(Rollback),
    /// Show the open questions of a Specification, and answer them
    Clarify(Clarify),
    /// Search principles, requirements, decisions and tasks
    Search(Search),
    /// Show Specifications that say similar things
    Related(Related),
    /// Show what an amendment of a Constitution changes and touches
    Impact {
        /// Name of the Constitution
        constitution: String,
    },
    /// Print what an attempt printed
    Logs(Logs),
    /// Try failed work again
    Retry(Retry),
    /// Do again what a newer revision of its specification makes stale of a plan
    Redo(Outdated),
    /// Go on with a plan as it is, though its specification has a newer revision
    Keep(Outdated),
    /// Start nothing new of a plan; what runs may end
    Suspend(PlanName),
    /// Let a suspended plan go on
    Resume(PlanName),
    /// Stop a plan for good
    Cancel(Cancel),
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
///
/// Tasks that are ticked in tasks.md count as done and get no Task; tasks that are struck out get none either.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    enact import specs/001-photo-albums -n shop --agent scripts | kubectl apply --server-side -f -\n  \
    enact import specs/001-photo-albums -n shop --include-done --agent notes --script notes.sh \\\n    \
    --git-url https://git.example.com/shop.git --credentials-secret git --integration-secret git-integrator --out shop.yaml")]
pub struct Import {
    /// Directory of a feature (specs/001-photo-albums), or one Markdown file
    pub path: PathBuf,
    /// Name of the Specification and the Plan; default: from the directory's
    #[arg(long, value_parser = plan_name)]
    pub name: Option<String>,
    /// Agent of the plan's tasks
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = object_name)]
    pub agent: String,
    /// Print that agent too: one that runs this shell script for every task, whose prompt is in the file $ENACT_PROMPT_FILE
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Take the tasks that are ticked for open ones: their boxes are cleared in the Plan's copy of tasks.md
    #[arg(long)]
    pub include_done: bool,
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
    #[arg(id = "git_url", long = "git-url", value_name = "URL", value_parser = git_url)]
    pub url: Option<String>,
    /// Branch, tag or commit to start from; default: main
    #[arg(long, requires = "git_url", value_parser = git_revision)]
    pub revision: Option<String>,
    /// Secret that tasks read the repository and push their branches with; agents can read it
    #[arg(long, requires_all = ["git_url", "integration_secret"], value_name = "SECRET", value_parser = secret_name)]
    pub credentials_secret: Option<String>,
    /// Branch that receives the merged work, not below enact/; default: plan/<name of the plan>
    #[arg(long, requires = "git_url", value_name = "BRANCH", value_parser = target_branch)]
    pub integration_branch: Option<String>,
    /// Secret that the integration alone pushes that branch with, another than the tasks'
    #[arg(long, requires = "git_url", value_name = "SECRET", value_parser = secret_name)]
    pub integration_secret: Option<String>,
}

/// Show how plans go
#[derive(Args, Debug)]
#[command(after_help = "Example: enact status shop --watch --until-finished")]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct Status {
    /// The plan to show as a tree; default: all plans as a table
    pub plan: Option<String>,
    /// Show the plans of every namespace
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "plan"])]
    pub all_namespaces: bool,
    /// Go on showing it: redrawn in place on a terminal, as one line a change elsewhere
    #[arg(short, long, requires = "plan")]
    pub watch: bool,
    /// Watch until the plan is finished: exit 0 when it succeeded, and 1, with the reason, when it failed or is stuck
    #[arg(long, requires = "plan")]
    pub until_finished: bool,
    /// Show every task, also where there are hundreds; default: what is done or has not begun is folded then
    #[arg(long, requires = "plan", conflicts_with_all = ["watch", "until_finished"])]
    pub expand: bool,
}

/// Decide on the present content of an object
#[derive(Args, Debug)]
#[command(after_help = "Example: enact approve specification/shop --comment 'as discussed'")]
pub struct Decide {
    /// What is decided on: constitution/NAME, specification/NAME or plan/NAME
    #[arg(value_name = "KIND/NAME", value_parser = subject)]
    pub subject: Subject,
    /// Decide only if this is still the content's digest, or how that begins: twelve hex digits or more
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    pub digest: Option<String>,
    /// Your words; a rejection needs them
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Show the revisions of a document
#[derive(Args, Debug)]
#[command(after_help = "Example: enact history specification/shop")]
pub struct History {
    /// constitution/NAME, specification/NAME or plan/NAME
    #[arg(value_name = "KIND/NAME", value_parser = subject)]
    pub subject: Subject,
    /// Most revisions to show, the newest
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// A document, or one revision of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentName {
    /// Whose it is.
    pub subject: Subject,
    /// Which revision; none for the present one.
    pub revision: Option<String>,
}

/// Print a document
#[derive(Args, Debug)]
#[command(
    after_help = "Examples: enact show spec/shop > spec.md\n          enact show spec/shop@3\n          enact show spec/shop --findings"
)]
pub struct Show {
    /// The document, and after @ its revision: a number, how its digest begins, or `approved`; default: as it is now
    #[arg(value_name = "KIND/NAME[@REV]", value_parser = document)]
    pub document: DocumentName,
    /// Print what the analysis of it found instead
    #[arg(long)]
    pub findings: bool,
}

/// Show how a document changed
#[derive(Args, Debug)]
#[command(after_help = "Examples: enact diff spec/shop\n          enact diff spec/shop 2 3")]
pub struct Diff {
    /// constitution/NAME, specification/NAME or plan/NAME
    #[arg(value_name = "KIND/NAME", value_parser = subject)]
    pub subject: Subject,
    /// The revision to compare with: a number, how its digest begins, `approved` or `present`; default: what was approved last
    #[arg(value_name = "OLD", value_parser = revision)]
    pub from: Option<String>,
    /// The revision that is compared; default: the document as it is now
    #[arg(value_name = "NEW", value_parser = revision)]
    pub to: Option<String>,
}

/// Change a document
///
/// Opens the document in $VISUAL or $EDITOR and saves what you make of it. What somebody else changed meanwhile is merged with it, section
/// by section; where both changed the same, nothing is saved, both versions are shown, and yours is kept in a file.
#[derive(Args, Debug)]
#[command(after_help = "Examples: enact edit spec/shop\n          enact edit spec/shop -f spec.md --base 0123456789ab")]
pub struct Edit {
    /// constitution/NAME or specification/NAME
    #[arg(value_name = "KIND/NAME", value_parser = subject)]
    pub subject: Subject,
    /// Take the new text from this file, or from standard input for -, and open no editor
    #[arg(short, long, value_name = "FILE", requires = "base")]
    pub file: Option<PathBuf>,
    /// The content that the new text was made from, by its digest or how that begins: `enact history` shows it
    #[arg(long, value_name = "DIGEST", value_parser = digest, requires = "file")]
    pub base: Option<String>,
    /// Why, for the record
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
}

/// Give a document the content of an earlier revision
#[derive(Args, Debug)]
#[command(after_help = "Example: enact rollback spec/shop 3")]
pub struct Rollback {
    /// constitution/NAME or specification/NAME
    #[arg(value_name = "KIND/NAME", value_parser = subject)]
    pub subject: Subject,
    /// The revision, by its number or how its digest begins
    #[arg(value_name = "REV", value_parser = recorded)]
    pub revision: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Show the open questions of a Specification, and answer them
///
/// At a terminal it asks one question after the other. Elsewhere it prints them, and takes answers by --answer.
#[derive(Args, Debug)]
#[command(after_help = "Examples: enact clarify shop\n          enact clarify shop --answer 'Q-1f3a9c2e=thirty days'")]
pub struct Clarify {
    /// Name of the Specification
    #[arg(value_name = "SPECIFICATION", value_parser = specification)]
    pub specification: String,
    /// The answer to a question, by the question's id; may be repeated
    #[arg(long = "answer", value_name = "ID=TEXT", value_parser = answer)]
    pub answers: Vec<(String, String)>,
    /// For a document in Git: print the answers as a patch for `git apply`, and write nothing to the cluster
    #[arg(long)]
    pub patch: bool,
}

/// Search principles, requirements, decisions and tasks
#[derive(Args, Debug)]
#[command(after_help = "Example: enact search how long are carts kept")]
pub struct Search {
    /// What to look for, in your own words
    #[arg(required = true)]
    pub words: Vec<String>,
    /// Only this: principle, requirement, criterion, story, decision or task
    #[arg(long, value_parser = ["principle", "requirement", "criterion", "story", "decision", "task"])]
    pub kind: Option<String>,
    /// Most hits
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub limit: u32,
}

/// Show Specifications that say similar things
#[derive(Args, Debug)]
pub struct Related {
    /// Name of the Specification
    #[arg(value_name = "SPECIFICATION", value_parser = specification)]
    pub specification: String,
}

/// Print what an attempt printed
#[derive(Args, Debug)]
#[command(after_help = "Examples: enact logs shop/T003 --attempt 1\n          enact logs shop/integration -f")]
pub struct Logs {
    /// PLAN/TASKID, PLAN/integration, or the name of a Task
    #[arg(value_name = "TASK")]
    pub task: String,
    /// Number of the attempt; default: the last
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,
    /// Wait for the attempt, and print as it goes on
    #[arg(short, long)]
    pub follow: bool,
}

/// Try failed work again
#[derive(Args, Debug)]
#[command(after_help = "Examples: enact retry shop/T003\n          enact retry shop")]
pub struct Retry {
    /// A task, as PLAN/TASKID or by its name; or a plan, for everything in it that failed
    #[arg(value_name = "TASK|PLAN")]
    pub target: String,
}

/// A plan.
#[derive(Args, Debug)]
pub struct PlanName {
    /// Name of the plan
    pub plan: String,
}

/// Decide about what a newer revision of the specification makes stale
#[derive(Args, Debug)]
#[command(after_help = "Examples: enact redo plan/shop\n          enact keep plan/shop")]
pub struct Outdated {
    /// Name of the plan, or plan/NAME
    pub plan: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Stop a plan for good
#[derive(Args, Debug)]
pub struct Cancel {
    /// Name of the plan
    pub plan: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
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
    if names::is_label(text) {
        Ok(text.to_owned())
    } else {
        Err("a name has 1 to 63 of a-z, 0-9 and -, and begins and ends with a letter or digit".into())
    }
}

fn secret_name(text: &str) -> Result<String, String> {
    if names::is_subdomain(text) {
        Ok(text.to_owned())
    } else {
        Err("a Secret's name has 1 to 253 of a-z, 0-9, - and ., and begins and ends with a letter or digit".into())
    }
}

fn digest(text: &str) -> Result<String, String> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hex = hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    if is_hex && (12..=64).contains(&hex.len()) {
        Ok(format!("sha256:{hex}"))
    } else {
        Err("a digest is 12 to 64 lower-case hex digits, with or without sha256: before them".into())
    }
}

fn subject(text: &str) -> Result<Subject, String> {
    let wanted = "write constitution/NAME, specification/NAME or plan/NAME";
    let (kind, name) = text.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or(wanted)?;
    let kind = match kind.to_ascii_lowercase().as_str() {
        "constitution" | "constitutions" | "const" => SubjectKind::Constitution,
        "specification" | "specifications" | "spec" => SubjectKind::Specification,
        "plan" | "plans" | "pl" => SubjectKind::Plan,
        _ => return Err(wanted.into()),
    };
    if !names::is_subdomain(name) {
        return Err("a name has 1 to 253 of a-z, 0-9, - and ., and begins and ends with a letter or digit".into());
    }
    Ok(Subject { kind, name: name.to_owned() })
}

fn document(text: &str) -> Result<DocumentName, String> {
    let (name, which) = text.split_once('@').map_or((text, None), |(name, which)| (name, Some(which)));
    Ok(DocumentName { subject: subject(name)?, revision: which.map(revision).transpose()? })
}

fn revision(text: &str) -> Result<String, String> {
    if matches!(text, "present" | "approved") { Ok(text.to_owned()) } else { recorded(text) }
}

fn recorded(text: &str) -> Result<String, String> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_digest = (4..=64).contains(&hex.len()) && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    let is_number = (1..=9).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit());
    if is_digest || is_number {
        Ok(text.to_owned())
    } else {
        Err("a revision is a number, or 4 to 64 lower-case hex digits that its digest begins with".into())
    }
}

/// A Specification, by its name alone or as kubectl prints it.
fn specification(text: &str) -> Result<String, String> {
    let name = match text.split_once('/') {
        Some(("spec" | "specification" | "specifications" | "specification.enact.dev", name)) => name,
        _ => text,
    };
    if names::is_subdomain(name) { Ok(name.to_owned()) } else { Err("write the name of a Specification".into()) }
}

fn answer(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((id, answer)) if !id.trim().is_empty() && !answer.trim().is_empty() => {
            Ok((id.trim().to_owned(), answer.to_owned()))
        }
        _ => Err("write ID=TEXT, with the id of a question as `enact clarify` prints it".into()),
    }
}

fn plan_name(text: &str) -> Result<String, String> {
    if object_name(text).is_ok() && text.len() <= 52 && text.starts_with(|c: char| c.is_ascii_lowercase()) {
        Ok(text.to_owned())
    } else {
        Err("a Plan's name begins the names of its tasks: 1 to 52 of a-z, 0-9 and -, the first a letter".into())
    }
}

fn git_url(text: &str) -> Result<String, String> {
    assignment::check_url(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

fn git_revision(text: &str) -> Result<String, String> {
    assignment::check_ref(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

fn target_branch(text: &str) -> Result<String, String> {
    if names::is_work_branch(text) {
        return Err("below enact/ is where agents push; name another branch".into());
    }
    git_revision(text)
}
