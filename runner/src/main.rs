//! What runs in a pod of Enact: one attempt at one task, one step of an integration, or an errand for a document.
//!
//! The runner is PID 1 of its container. It reads the [assignment](enact_domain::assignment) from its environment, does the work, and
//! answers in three layers: the exit code, a report in the termination message, and the whole result sent to the server.
//!
//! An agent runs under the same user as the runner, and can read what is mounted into the pod: the credential of a task should reach the
//! plan's `enact/…` branches and no others, and the token opens nothing but the delivery of this attempt's result. It can neither look
//! into the runner's process nor change what the runner's Git does, and what it prints is kept without secrets.

mod agent;
mod capture;
mod credential;
mod delivery;
mod desk;
mod draft;
mod errand;
mod failure;
mod fetch;
mod git;
mod integration;
mod outputs;
mod process;
mod report;
mod repository;
mod secrets;
mod settings;
mod task;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use enact_domain::assignment::{Assignment, AttemptResult, GateResult, Reason, Report, Work};

use crate::failure::Failure;
use crate::process::Supervisor;
use crate::secrets::Secrets;
use crate::settings::Settings;

/// Runs one attempt of an Enact plan inside its pod
#[derive(Parser)]
#[command(version, after_help = "The assignment is read from the environment variable ENACT_ASSIGNMENT.")]
struct Arguments {
    #[command(subcommand)]
    step: Step,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand, Clone, PartialEq, Eq)]
enum Step {
    /// Do a task: clone, run the agent, commit, check, push, deliver the result
    Task,
    /// Integration, first step: merge the tasks' branches and push the candidate
    Merge,
    /// Integration, second step: run the plan's gates on the merged tree, without any credential
    Gate,
    /// Integration, third step: move the target branch to the candidate that passed
    Publish,
    /// A document: read it from a Git repository and deliver it
    Fetch,
    /// A document: have an agent draft it, and deliver it
    Draft,
    /// Copy the runner to a file, for images that do not have it: run as an init container that shares a volume with them
    Install {
        /// The file, or a directory that it is put in under its own name
        target: PathBuf,
    },
    /// Git credential helper that answers from the mounted Secret
    #[command(hide = true)]
    Credential {
        /// `get`, `store` or `erase`
        operation: String,
    },
}

/// What the result says beyond the report.
#[derive(Default)]
pub(crate) struct Evidence {
    transcript: String,
    gates: Vec<GateResult>,
}

/// Tells a person who reads the pod's log.
pub(crate) fn say(line: &str) {
    println!("enact-runner: {line}");
}

fn main() -> ExitCode {
    let Arguments { step, settings } = Arguments::parse();
    let told = |result: std::io::Result<()>, problem: &str| match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("enact-runner: {problem}: {error}");
            ExitCode::FAILURE
        }
    };
    match step {
        Step::Credential { operation } => {
            let answer = credential::answer(&settings.git_credentials_dir, &operation, std::io::stdout());
            told(answer, "the Git credential cannot be used")
        }
        Step::Install { target } => told(install(&target), "the runner cannot be installed"),
        Step::Fetch => leave(&settings, &errand::run(errand::Kind::Fetch, &settings)),
        Step::Draft => leave(&settings, &errand::run(errand::Kind::Draft, &settings)),
        Step::Task | Step::Merge | Step::Gate | Step::Publish => leave(&settings, &attempt(&step, &settings)),
    }
}

/// Copies this program, mode and all.
fn install(target: &Path) -> std::io::Result<()> {
    let own = std::env::current_exe()?;
    let target = if target.is_dir() { &target.join("enact-runner") } else { target };
    std::fs::copy(own, target).map(drop)
}

/// Leaves the report of what was done.
fn leave(settings: &Settings, report: &Report) -> ExitCode {
    report::write(&settings.termination_log, report);
    say(&format!("{} {}", report.reason.as_str(), report.message));
    // Exit codes of the runner are below 256.
    ExitCode::from(u8::try_from(report::exit_code(report)).unwrap_or(1))
}

/// Does the work and delivers its result; the report that is left says how both went.
fn attempt(step: &Step, settings: &Settings) -> Report {
    let begun = Instant::now();
    let mut supervisor = match Supervisor::start(Secrets::known(settings)) {
        Ok(supervisor) => supervisor,
        Err(error) => {
            return Report::new(Reason::ContainerConfigError, format!("signals cannot be handled: {error}"));
        }
    };
    let assignment = match settings::assignment() {
        Ok(assignment) => assignment,
        Err(failure) => return failure.into_report(),
    };
    let mut evidence = Evidence::default();
    let outcome = work(step, &mut supervisor, settings, &assignment, &mut evidence);
    // An attempt that was asked to stop has not succeeded, whatever it got done. From here on its end is decided: the result that is
    // delivered, the report and the exit code always say the same.
    let outcome = if supervisor.cancelled() { Err(Failure::cancelled()) } else { outcome };
    let mut report = outcome.unwrap_or_else(Failure::into_report);
    supervisor.secrets().hide_in(&mut report);
    let Some(server) = assignment.server_url.as_deref().filter(|_| delivers(step, &report)) else {
        return report;
    };
    let result = AttemptResult {
        subject_uid: assignment.subject_uid.clone(),
        attempt: assignment.attempt,
        report: report.clone(),
        transcript: evidence.transcript,
        gates: evidence.gates,
        duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    match delivery::deliver_result(&mut supervisor, settings, &assignment, server, result) {
        Ok(()) => report,
        Err(problem) => undelivered(report, &problem),
    }
}

fn work(
    step: &Step,
    supervisor: &mut Supervisor,
    settings: &Settings,
    assignment: &Assignment,
    evidence: &mut Evidence,
) -> Result<Report, Failure> {
    let git = || {
        assignment
            .git
            .as_ref()
            .ok_or_else(|| Failure::new(Reason::InvalidAssignment, "an integration needs a repository"))
    };
    match (step, &assignment.work) {
        (Step::Task, Work::Task(task)) => task::run(supervisor, settings, assignment, task, evidence),
        (Step::Merge, Work::Integration(integration)) => integration::merge(supervisor, settings, git()?, integration),
        (Step::Gate, Work::Integration(integration)) => integration::gate(supervisor, settings, integration, evidence),
        (Step::Publish, Work::Integration(integration)) => {
            integration::publish(supervisor, settings, git()?, integration, evidence)
        }
        _ => Err(Failure::new(Reason::InvalidAssignment, "the assignment is for another step than this container's")),
    }
}

/// Whether this step speaks for the attempt: a step that others follow only does when it is the last.
fn delivers(step: &Step, report: &Report) -> bool {
    match step {
        Step::Task | Step::Publish => true,
        Step::Merge => report.reason != Reason::Succeeded,
        Step::Gate | Step::Fetch | Step::Draft | Step::Install { .. } | Step::Credential { .. } => false,
    }
}

/// A result that nobody has is no success; a failure keeps its own reason.
fn undelivered(mut report: Report, problem: &str) -> Report {
    say(&format!("the result was not delivered: {problem}"));
    if report.reason == Reason::Succeeded {
        let mut lost = Report::new(
            Reason::DeliveryFailed,
            format!("the work is done, but its result could not be delivered: {problem}"),
        );
        (lost.commit, lost.outputs) = (report.commit.take(), std::mem::take(&mut report.outputs));
        return lost;
    }
    report
}
