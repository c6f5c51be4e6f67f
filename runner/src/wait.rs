//! A pod of a warm pool: it fetches the repository, waits until it is assigned to an attempt, and carries out that attempt.

use std::fs;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use enact_domain::assignment::{Assignment, Reason, Report};
use enact_domain::warm_pool::ASSIGNMENT_PATH;

use crate::args::Step;
use crate::delivery::RequestError;
use crate::failure::Failure;
use crate::git::RepositoryFields;
use crate::log::log;
use crate::process::Supervisor;
use crate::secrets::Secrets;
use crate::settings::{self, Settings};
use crate::workspace::WorkspaceLayout;
use crate::{attempt, delivery, repository};

/// Fields of an Agent.
const POOL_FIELDS: RepositoryFields = RepositoryFields {
    url: "spec.warmPool.repository.url",
    revision: "spec.warmPool.repository.revision",
    credentials: "spec.warmPool.repository.credentialsSecretRef",
};
/// Shortest time between two requests for the assignment. The server lets each of them wait much longer.
const INTERVAL: Duration = Duration::from_secs(1);
/// Waits after requests that failed.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(250))
    .with_max_delay(Duration::from_secs(8))
    .without_max_times();

/// Waits for an attempt and carries it out. The report is that of the attempt, or says why there was none.
pub(crate) fn run(supervisor: &mut Supervisor, settings: &Settings) -> Report {
    match wait(supervisor, settings) {
        Ok(assignment) => {
            // Tokens and mounted Secrets may have been replaced since the start.
            supervisor.begin(Secrets::load(settings));
            attempt::carry_out(&Step::Task, supervisor, settings, &assignment)
        }
        Err(failure) => {
            let mut report = failure.into_report();
            supervisor.secrets().redact_report(&mut report);
            report
        }
    }
}

fn wait(supervisor: &mut Supervisor, settings: &Settings) -> Result<Assignment, Failure> {
    let waiting = settings::waiting()?;
    if let Some(repository) = &waiting.repository
        && let Err(failure) = repository::fetch_ahead(supervisor, settings, repository, &POOL_FIELDS)
    {
        if supervisor.cancelled() {
            return Err(Failure::cancelled());
        }
        // The attempt clones it, or fails with this reason.
        log(&format!("the repository cannot be fetched in advance: {}", failure.message));
    }
    log("waiting for an attempt");
    let assignment = ask(supervisor, settings, &waiting.server_url)?;
    let url = assignment.git.as_ref().map(|work| &work.url);
    let layout = WorkspaceLayout::new(settings);
    if url != waiting.repository.as_ref().map(|repository| &repository.url) && layout.prefetched.exists() {
        fs::remove_dir_all(&layout.prefetched).map_err(|error| Failure::volume(&layout.prefetched, &error))?;
    }
    Ok(assignment)
}

/// Asks the server for the assignment until it has one. A server that is down is asked again and again.
fn ask(supervisor: &mut Supervisor, settings: &Settings, server_url: &str) -> Result<Assignment, Failure> {
    let url = format!("{}{ASSIGNMENT_PATH}", server_url.trim_end_matches('/'));
    let mut backoff = BACKOFF.build();
    loop {
        let begun = Instant::now();
        let (address, token) = (url.clone(), settings.token_file.clone());
        let asked = supervisor.wait_for_thread(move || delivery::ask_for_assignment(&address, &token));
        match asked {
            Some(Ok(Some(json))) => return settings::received(&json),
            Some(Ok(None)) => {
                backoff = BACKOFF.build();
                supervisor.pause(INTERVAL.saturating_sub(begun.elapsed()));
            }
            Some(Err(RequestError::Transient { message, retry_after })) => {
                log(&format!("the server cannot be asked for an attempt: {message}"));
                supervisor.pause(backoff.next().max(retry_after).unwrap_or(INTERVAL));
            }
            Some(Err(RequestError::Permanent(message))) => {
                return Err(Failure::new(
                    Reason::DeliveryFailed,
                    format!("no attempt can begin in this pod: {message}"),
                ));
            }
            None => return Err(Failure::cancelled()),
        }
    }
}
