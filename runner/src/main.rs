//! The program that runs in the pods of Enact: one attempt at a task, one step of an integration, one document job, or the probe of an
//! agent.
//!
//! The runner is PID 1 of its container. It reads the [assignment](enact_domain::assignment) from its environment, does the work, and
//! reports in three layers: the exit code, a report in the termination message, and the full result, which it sends to the server.
//!
//! An agent runs as the same user as the runner and can read every file that is mounted into the pod. The Git credential of a task should
//! therefore only give access to the `enact/…` branches of the plan, and the token only allows delivery of the result of this attempt. The
//! agent can neither read the memory of the runner nor change the Git configuration that the runner uses, and the runner redacts secrets
//! from the output of the agent.

mod agent;
mod archive;
mod args;
mod attempt;
mod capture;
mod checkpoint;
mod clone_cache;
mod coding_agent;
mod credential;
mod delivery;
mod document;
mod document_job;
mod draft;
mod failure;
mod fetch;
mod git;
mod integration;
mod knowledge;
mod log;
mod outputs;
mod probe;
mod process;
mod refs;
mod report;
mod repository;
mod secrets;
mod settings;
mod task;
mod text;
mod unfinished;
mod wait;
mod workspace;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use enact_domain::assignment::Report;
use enact_domain::attempt::exit_code;

use crate::args::{Arguments, Step};
use crate::failure::Failure;
use crate::log::log;
use crate::process::Supervisor;
use crate::secrets::Secrets;
use crate::settings::Settings;

fn main() -> ExitCode {
    let Arguments { step, settings } = Arguments::parse();
    match &step {
        Step::Credential { operation } => {
            let answer = credential::answer(&settings.git_credentials_dir, operation, std::io::stdout());
            exit("the Git credential cannot be read", answer)
        }
        Step::Install { target } => exit("the runner cannot be installed", install(target)),
        Step::Probe => run(&settings, |supervisor| probe::run(supervisor, &settings)),
        Step::Fetch | Step::Clone | Step::Draft => {
            run(&settings, |supervisor| document_job::run(&step, supervisor, &settings))
        }
        Step::Wait => run(&settings, |supervisor| wait::run(supervisor, &settings)),
        Step::Task | Step::Merge | Step::Gate | Step::Publish => {
            run(&settings, |supervisor| attempt::run(&step, supervisor, &settings))
        }
    }
}

/// Does the work and writes its report to the termination log.
fn run(settings: &Settings, work: impl FnOnce(&mut Supervisor) -> Report) -> ExitCode {
    let report = match Supervisor::start(Secrets::load(settings)) {
        Ok(mut supervisor) => work(&mut supervisor),
        Err(error) => Failure::signals(&error).into_report(),
    };
    // Last: the kubelet reads this file when the container ends, also if the delivery to the server failed.
    report::write(&settings.termination_log, &report);
    log(&format!("{} {}", report.reason.as_str(), report.message));
    // The exit codes of the runner are below 256.
    ExitCode::from(u8::try_from(exit_code(report.reason)).unwrap_or(1))
}

fn exit(problem: &str, result: std::io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("enact-runner: {problem}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Copies this program, including its mode.
fn install(target: &Path) -> std::io::Result<()> {
    let own = std::env::current_exe()?;
    let target = if target.is_dir() { &target.join("enact-runner") } else { target };
    std::fs::copy(own, target).map(drop)
}
