//! `enact`: brings Spec Kit documents to Kubernetes, shows how their plans go, and records what people decide.
//!
//! As `kubectl-enact` on the search path it is also `kubectl enact`.

mod args;
mod clarify;
mod cluster;
mod control;
mod decide;
mod document;
mod edit;
mod history;
mod import;
mod logs;
mod record;
mod search;
mod status;
mod terminal;
mod text;

use std::process::ExitCode;

use anyhow::Result;
use enact_crds::approval::Choice;

use args::{Cli, Command};
use cluster::Cluster;
use enact_domain::names;

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(run(args::parse())).await {
        Ok(code) => code,
        Err(error) if terminal::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let target = &cli.target;
    let cluster = || Cluster::connect(target);
    match cli.command {
        Command::Import(import) => import::run(&import, target.namespace.as_deref()),
        Command::Status(options) => return status::run(&cluster().await?, &options).await,
        Command::Approve(options) => return Box::pin(decide::run(&cluster().await?, &options, Choice::Approve)).await,
        Command::Reject(options) => return Box::pin(decide::run(&cluster().await?, &options, Choice::Reject)).await,
        Command::History(options) => return Box::pin(history::history(&cluster().await?, &options)).await,
        Command::Show(options) => return Box::pin(history::show(&cluster().await?, &options)).await,
        Command::Diff(options) => return Box::pin(history::diff(&cluster().await?, &options)).await,
        Command::Edit(options) => return Box::pin(edit::edit(&cluster().await?, &options)).await,
        Command::Rollback(options) => return Box::pin(edit::rollback(&cluster().await?, &options)).await,
        Command::Clarify(options) => return Box::pin(clarify::run(&cluster().await?, &options)).await,
        Command::Search(options) => return Box::pin(search::search(&cluster().await?, &options)).await,
        Command::Related(options) => return Box::pin(search::related(&cluster().await?, &options)).await,
        Command::Impact { constitution } => return search::impact(&cluster().await?, &constitution).await,
        Command::Logs(options) => return Box::pin(logs::run(&cluster().await?, &options)).await,
        Command::Retry(options) => return control::retry(&cluster().await?, &options.target).await,
        Command::Redo(options) => {
            return control::follow(&cluster().await?, &options, names::ANNOTATION_REDO).await;
        }
        Command::Keep(options) => {
            return control::follow(&cluster().await?, &options, names::ANNOTATION_KEEP).await;
        }
        Command::Suspend(options) => return control::suspend(&cluster().await?, &options.plan, true).await,
        Command::Resume(options) => return control::suspend(&cluster().await?, &options.plan, false).await,
        Command::Cancel(options) => return control::cancel(&cluster().await?, &options).await,
        Command::Completion { shell } => args::completion(shell),
        Command::Version => terminal::say(&format!("enact {}", env!("CARGO_PKG_VERSION"))),
    }
    .map(|()| ExitCode::SUCCESS)
}
