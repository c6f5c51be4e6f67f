//! `enact`: brings Spec Kit documents to Kubernetes, shows how their plans go, and records what people decide.
//!
//! As `kubectl-enact` on the search path it is also `kubectl enact`.

mod args;
mod import;
mod terminal;

use std::process::ExitCode;

use anyhow::Result;

use args::Command;

fn main() -> ExitCode {
    let cli = args::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) if terminal::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: args::Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Import(import) => import::run(&import, cli.target.namespace.as_deref()),
        Command::Completion { shell } => args::completion(shell),
        Command::Version => terminal::print(&format!("enact {}\n", env!("CARGO_PKG_VERSION"))),
    }
    .map(|()| ExitCode::SUCCESS)
}
