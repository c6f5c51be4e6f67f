//! The command line tool: imports Spec Kit documents, shows the progress of plans, and records the decisions of people.
//!
//! As `kubectl-enact` on the PATH, it is the kubectl plugin `kubectl enact`.

mod args;
mod attach;
mod check;
mod clarify;
mod cluster;
mod compare;
mod control;
mod decide;
mod decisions;
mod document;
mod drift;
mod edit;
mod estimate;
mod explain;
mod git;
mod history;
mod impact;
mod import;
mod knowledge;
mod logs;
mod message;
mod planning;
mod prompt;
mod record;
mod replan;
mod requests;
mod search;
mod server;
mod set;
mod status;
mod subject;
mod terminal;
mod text;
mod usage;
mod work;

use std::process::ExitCode;

use anyhow::Result;
use enact_domain::names::{ANNOTATION_KEEP, ANNOTATION_REDO};

use args::{Cli, Command, Compared};
use cluster::Cluster;

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(run(args::arguments())).await {
        Ok(code) => code,
        Err(error) if terminal::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::report_error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let target = &cli.target;
    let cluster = || Cluster::connect(target);
    let done: Result<()> = match cli.command {
        // Its exit code says more than success or failure.
        Command::Check(options) => return check::run(&options),
        Command::Import(import) => import::run(&import, target.namespace.as_deref()),
        Command::Plan(options) => Box::pin(planning::create(&cluster().await?, &options)).await,
        Command::Choose(options) => Box::pin(planning::choose(&cluster().await?, &options)).await,
        Command::Replan(options) => Box::pin(replan::create(&cluster().await?, &options)).await,
        Command::Knowledge(options) => Box::pin(knowledge::propose(&cluster().await?, &options)).await,
        Command::Decisions(options) => Box::pin(decisions::run(&cluster().await?, &options)).await,
        Command::Status(options) => Box::pin(status::run(&cluster().await?, &options)).await,
        Command::Approve(options) => Box::pin(decide::approve(&cluster().await?, &options)).await,
        Command::Reject(options) => Box::pin(decide::reject(&cluster().await?, &options)).await,
        Command::History(options) => Box::pin(history::history(&cluster().await?, &options)).await,
        Command::Show(options) => Box::pin(history::show(&cluster().await?, &options)).await,
        Command::Diff(options) => match &options.subject {
            Compared::Task { plan, id } if options.attempts.is_empty() => {
                Box::pin(work::diff(&cluster().await?, plan, id)).await
            }
            Compared::Document(_) | Compared::Task { .. } => Box::pin(history::diff(&cluster().await?, &options)).await,
        },
        Command::Edit(options) => Box::pin(edit::edit(&cluster().await?, &options)).await,
        Command::Rollback(options) => Box::pin(edit::rollback(&cluster().await?, &options)).await,
        Command::Clarify(options) => Box::pin(clarify::run(&cluster().await?, &options)).await,
        Command::Search(options) => Box::pin(search::search(&cluster().await?, &options)).await,
        Command::Related(options) => Box::pin(search::related(&cluster().await?, &options)).await,
        Command::Impact(options) => Box::pin(impact::run(&cluster().await?, &options)).await,
        Command::Drift(options) => Box::pin(drift::run(&cluster().await?, &options)).await,
        Command::Usage(options) => Box::pin(usage::run(&cluster().await?, &options)).await,
        Command::Requests(options) => Box::pin(requests::run(&cluster().await?, &options)).await,
        Command::Prompt(options) => match &options.tasks {
            Some(tasks) => prompt::offline(&options, tasks),
            None => Box::pin(prompt::run(&cluster().await?, &options)).await,
        },
        Command::Explain(options) => Box::pin(explain::run(&cluster().await?, &options)).await,
        Command::Logs(options) => Box::pin(logs::run(&cluster().await?, &options)).await,
        Command::Attach(options) => attach::run(&cluster().await?, target, &options).await,
        Command::Message(options) => message::send(&cluster().await?, &options).await,
        Command::Retry(options) => Box::pin(control::retry(&cluster().await?, &options.target)).await,
        Command::Redo(options) => control::decide_stale(&cluster().await?, &options, ANNOTATION_REDO).await,
        Command::Keep(options) => control::decide_stale(&cluster().await?, &options, ANNOTATION_KEEP).await,
        Command::Suspend(options) => control::suspend(&cluster().await?, &options.target).await,
        Command::Resume(options) => control::resume(&cluster().await?, &options.target).await,
        Command::Set(options) => set::set(&cluster().await?, &options).await,
        Command::Cancel(options) => control::cancel(&cluster().await?, &options).await,
        Command::Completion { shell } => args::completion(shell),
        Command::Version => terminal::print_line(&format!("enact {}", env!("CARGO_PKG_VERSION"))),
    };
    done.map(|()| ExitCode::SUCCESS)
}
