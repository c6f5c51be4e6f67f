//! `enact-modelsim`: the scripted model server as a program.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Parser;
use enact_modelsim::{Canary, Config, Scenario, Server};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A scripted model server: speaks the wire formats of model providers, and answers what a scenario says.
#[derive(Debug, Parser)]
#[command(name = "enact-modelsim", version)]
struct Args {
    /// Address to listen on.
    #[arg(long, env = "ENACT_MODELSIM_LISTEN", default_value = "127.0.0.1:8089")]
    listen: SocketAddr,
    /// A scenario; can be repeated. The first one answers requests whose path names none.
    #[arg(long, value_name = "FILE")]
    scenario: Vec<PathBuf>,
    /// A folder of scenarios, in files that end with .yaml; can be repeated.
    #[arg(long, value_name = "FOLDER", env = "ENACT_MODELSIM_SCENARIO_DIR")]
    scenario_dir: Vec<PathBuf>,
    /// The key that requests must carry.
    #[arg(long, value_name = "KEY", env = "ENACT_MODELSIM_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// A text to look for in requests; can be repeated. The ledger shows the name of those found.
    #[arg(long, value_name = "NAME=TEXT", value_parser = canary)]
    canary: Vec<Canary>,
    /// Filter of the log lines, in the syntax of `tracing`.
    #[arg(long, env = "ENACT_LOG", default_value = "info")]
    log: String,
}

fn canary(text: &str) -> Result<Canary, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok(Canary { name: name.to_owned(), value: value.to_owned() })
        }
        _ => Err("write NAME=TEXT".to_owned()),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let filter = EnvFilter::try_new(&args.log).with_context(|| format!("--log {:?}", args.log))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let scenarios = scenarios(&args)?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let names: Vec<String> = scenarios.iter().map(|scenario| scenario.name.clone()).collect();
    let config = Config { scenarios, api_key: args.api_key, canaries: args.canary };
    let server =
        Server::start(args.listen, config).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    // Tests let the system choose a port, and read it here.
    println!("listening on {}", server.address());
    tracing::info!(address = %server.address(), scenarios = names.join(","), "started");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Reads all scenarios. Each name is used once.
fn scenarios(args: &Args) -> anyhow::Result<Vec<Scenario>> {
    let mut files = args.scenario.clone();
    for folder in &args.scenario_dir {
        files.extend(files_in(folder)?);
    }
    let mut names = BTreeSet::new();
    let mut scenarios = Vec::new();
    for file in files {
        let scenario = Scenario::read(&file).with_context(|| file.display().to_string())?;
        if !names.insert(scenario.name.clone()) {
            bail!("{}: another scenario is named {}, too; use different names", file.display(), scenario.name);
        }
        scenarios.push(scenario);
    }
    Ok(scenarios)
}

/// Returns the scenarios of a folder, sorted by name.
fn files_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot_read = || format!("cannot read the folder {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(cannot_read)? {
        let path = entry.with_context(cannot_read)?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
