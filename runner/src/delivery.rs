//! Sends results and documents to the server.

use std::path::Path;
use std::time::{Duration, Instant};

use enact_domain::assignment::{Assignment, AttemptResult};
use ureq::http::{StatusCode, header};

use crate::process::Supervisor;
use crate::report::result_json;
use crate::settings::Settings;

/// How long all tries together may take.
const TOTAL: Duration = Duration::from_mins(1);
/// The same, once the runner was asked to stop: it is killed soon.
const TOTAL_CANCELLED: Duration = Duration::from_secs(10);
/// How long one try may take.
const ONE_TRY: Duration = Duration::from_secs(15);
/// The first and the longest wait between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));
/// How much of a refusal is read.
const MAX_REFUSAL_BYTES: u64 = 4096;

/// Why one try did not deliver.
enum Miss {
    /// Another try may.
    Passing { why: String, wait: Option<Duration> },
    /// No other try will.
    Refused(String),
}

/// What is sent, and where.
pub(crate) struct Parcel<'a> {
    pub(crate) url: String,
    /// Media type of the body.
    pub(crate) media: &'static str,
    pub(crate) body: &'a [u8],
}

/// Delivers an attempt's result.
///
/// # Errors
/// What to tell a person.
pub(crate) fn deliver_result(
    supervisor: &mut Supervisor,
    settings: &Settings,
    assignment: &Assignment,
    server: &str,
    result: AttemptResult,
) -> Result<(), String> {
    let (server, subject) = (server.trim_end_matches('/'), &assignment.subject_uid);
    let url = format!("{server}/v1/attempts/{subject}/{}/result", assignment.attempt);
    deliver(supervisor, settings, &Parcel { url, media: "application/json", body: result_json(result).as_bytes() })
}

/// Delivers `parcel`, with tries until the server has it, refuses it, or the time is up.
///
/// # Errors
/// What to tell a person.
pub(crate) fn deliver(supervisor: &mut Supervisor, settings: &Settings, parcel: &Parcel) -> Result<(), String> {
    let agent = agent();
    let begun = Instant::now();
    let mut backoff = BACKOFF.0;
    loop {
        let (why, asked) = match post(&agent, parcel, &settings.token_file) {
            Ok(()) => return Ok(()),
            Err(Miss::Refused(why)) => return Err(why),
            Err(Miss::Passing { why, wait }) => (why, wait),
        };
        let total = if supervisor.cancelled() { TOTAL_CANCELLED } else { TOTAL };
        let wait = asked.unwrap_or(backoff).max(backoff);
        if begun.elapsed() + wait > total {
            return Err(format!("{why} (tried for {} s)", begun.elapsed().as_secs()));
        }
        crate::say(&format!("the server did not take it: {why}; trying again"));
        pause(supervisor, wait);
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

/// Waits; being asked to stop shortens the whole, not the wait to nothing, so that the server is not hammered.
fn pause(supervisor: &mut Supervisor, wait: Duration) {
    if supervisor.cancelled() {
        std::thread::sleep(wait);
    } else {
        supervisor.pause(wait);
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(ONE_TRY))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build();
    config.new_agent()
}

fn post(agent: &ureq::Agent, parcel: &Parcel, token: &Path) -> Result<(), Miss> {
    // Read for each try: the kubelet replaces it before it runs out.
    let token = std::fs::read_to_string(token)
        .map_err(|error| Miss::Refused(format!("the token {} cannot be read: {error}", token.display())))?;
    let mut response = agent
        .post(&parcel.url)
        .header(header::AUTHORIZATION, format!("Bearer {}", token.trim()))
        .header(header::CONTENT_TYPE, parcel.media)
        .send(parcel.body)
        .map_err(|error| Miss::Passing { why: error.to_string(), wait: None })?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let wait = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let told = response.body_mut().with_config().limit(MAX_REFUSAL_BYTES).read_to_string().unwrap_or_default();
    let why = format!("the server answered {status} {}", detail(&told));
    if status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
        Err(Miss::Passing { why, wait })
    } else {
        Err(Miss::Refused(why))
    }
}

/// The `detail` of an RFC 9457 problem, or the text itself.
fn detail(body: &str) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let detail = problem.as_ref().and_then(|p| p.get("detail")?.as_str());
    detail.unwrap_or(body).trim().chars().take(300).collect()
}
