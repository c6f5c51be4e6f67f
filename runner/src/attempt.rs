//! One attempt at a task, or one step of an integration.

use std::time::Instant;

use enact_domain::assignment::{Assignment, AttemptResult, Reason, Report, Work};

use crate::args::Step;
use crate::delivery::RunnerKey;
use crate::failure::Failure;
use crate::log::log;
use crate::process::Supervisor;
use crate::report::Evidence;
use crate::settings::{self, Settings};
use crate::{delivery, integration, task};

/// Does the work and delivers its result. The report covers both.
pub(crate) fn run(step: &Step, supervisor: &mut Supervisor, settings: &Settings) -> Report {
    match settings::assignment() {
        Ok(assignment) => carry_out(step, supervisor, settings, &assignment),
        Err(failure) => failure.into_report(),
    }
}

/// Does the work of an assignment and delivers its result.
pub(crate) fn carry_out(
    step: &Step,
    supervisor: &mut Supervisor,
    settings: &Settings,
    assignment: &Assignment,
) -> Report {
    let begun = Instant::now();
    let key = match register(step, supervisor, settings, assignment) {
        Ok(key) => key,
        Err(failure) => return failure.into_report(),
    };
    let mut evidence = Evidence::default();
    let outcome = work(step, supervisor, settings, assignment, key.as_ref(), &mut evidence);
    // An attempt that was asked to stop has not succeeded, even if its work is complete. The outcome does not change after this line, so
    // that the delivered result, the report and the exit code agree.
    let mut report = outcome.unwrap_or_else(Failure::into_report);
    report.reason = evidence.reason_of(report.reason);
    if supervisor.cancelled() {
        // Its work may be on its branch all the same.
        report = Report { commit: report.commit, ..Failure::cancelled().into_report() };
    }
    report.usage = evidence.usage;
    // Before the delivery and the termination message, which both contain the report.
    supervisor.secrets().redact_report(&mut report);
    // Without a server, the termination message is the only result.
    let Some(server) = assignment.server_url.as_deref().filter(|_| delivers(step, &report)) else {
        return report;
    };
    // Before the result, after which the attempt has ended and leaves nothing more.
    if let (Some(checkpoint), Some(key)) = (evidence.checkpoint, &key)
        && let Err(problem) = delivery::deliver_checkpoint(supervisor, settings, assignment, server, key, &checkpoint)
    {
        log(&format!("the next attempt cannot continue with this one's work: {problem}"));
    }
    let result = AttemptResult {
        subject_uid: assignment.subject_uid.clone(),
        attempt: assignment.attempt,
        report: report.clone(),
        transcript: evidence.transcript,
        gates: evidence.gates,
        duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    match delivery::deliver_result(supervisor, settings, assignment, server, key.as_ref(), result) {
        Ok(()) => report,
        Err(problem) => undelivered(report, &problem),
    }
}

/// Registers a key for the delivery of a task's result, before its agent starts. The containers of an integration that run the agents'
/// code have no token, so that they need no key.
fn register(
    step: &Step,
    supervisor: &mut Supervisor,
    settings: &Settings,
    assignment: &Assignment,
) -> Result<Option<RunnerKey>, Failure> {
    let Some(server) = assignment.server_url.as_deref().filter(|_| matches!(step, Step::Task)) else { return Ok(None) };
    let failed = |why: String| Failure::new(Reason::DeliveryFailed, format!("the work has not begun: {why}"));
    let key = RunnerKey::new().map_err(|error| failed(format!("the kernel has no random bytes: {error}")))?;
    delivery::register(supervisor, settings, assignment, server, &key).map_err(failed)?;
    Ok(Some(key))
}

fn work(
    step: &Step,
    supervisor: &mut Supervisor,
    settings: &Settings,
    assignment: &Assignment,
    key: Option<&RunnerKey>,
    evidence: &mut Evidence,
) -> Result<Report, Failure> {
    let invalid = |message: &str| Failure::new(Reason::InvalidAssignment, message);
    let git = || assignment.git.as_ref().ok_or_else(|| invalid("the assignment of an integration has no repository"));
    match (step, &assignment.work) {
        (Step::Task, Work::Task(task)) => task::run(supervisor, settings, assignment, task, key, evidence),
        (Step::Merge, Work::Integration(integration)) => integration::merge(supervisor, settings, git()?, integration),
        (Step::Gate, Work::Integration(integration)) => integration::gate(supervisor, settings, integration, evidence),
        (Step::Publish, Work::Integration(integration)) => {
            integration::publish(supervisor, settings, git()?, integration, evidence)
        }
        _ => Err(invalid("the assignment is for a different step than the one that this container runs")),
    }
}

/// Returns whether this step delivers the result of the attempt. A step that is followed by another one only does so when it fails.
fn delivers(step: &Step, report: &Report) -> bool {
    match step {
        Step::Task | Step::Publish => true,
        Step::Merge => report.reason != Reason::Succeeded,
        Step::Wait
        | Step::Gate
        | Step::Fetch
        | Step::Clone
        | Step::Draft
        | Step::Probe
        | Step::Install { .. }
        | Step::Credential { .. } => false,
    }
}

/// Turns a success into `DeliveryFailed`, because nobody has its result. A failure keeps its own reason.
fn undelivered(report: Report, problem: &str) -> Report {
    log(&format!("the result was not delivered: {problem}"));
    if report.reason != Reason::Succeeded {
        return report;
    }
    let message = format!("the work is done, but its result could not be delivered: {problem}");
    Report { commit: report.commit, outputs: report.outputs, ..Report::new(Reason::DeliveryFailed, message) }
}
