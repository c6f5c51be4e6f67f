//! The project's own commands: `cargo xtask --help`.

mod apt;
mod cmd;
mod dirs;
mod postgres;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// Commands for developing, testing and showing Enact on one Linux machine
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Xtask {
    /// A real Postgres with pgvector on loopback, for tests that need no cluster
    #[command(subcommand)]
    Postgres(postgres::Action),
}

fn main() -> ExitCode {
    match run(Xtask::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Xtask) -> Result<()> {
    match task {
        Xtask::Postgres(action) => postgres::run(&action),
    }
}
