//! Delivers results and documents to the server.

use std::path::Path;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use enact_domain::agents::checkpoint::Checkpoint;
use enact_domain::assignment::{Assignment, AttemptResult, MAX_ASSIGNMENT_BYTES, RUNNER_KEY_HEADER};
use enact_domain::digest::Digest;
use enact_domain::warm_pool::ASSIGNMENT_WAIT_SECONDS;
use ureq::http::{StatusCode, header};

use crate::log::log;
use crate::process::Supervisor;
use crate::report::result_json;
use crate::settings::Settings;

/// Time limit for all requests together.
const TOTAL_TIMEOUT: Duration = Duration::from_mins(1);
/// Time limit for all requests after the runner was asked to stop: the kubelet kills it soon.
const TOTAL_TIMEOUT_CANCELLED: Duration = Duration::from_secs(10);
/// Part of the time of a runner that was asked to stop that a checkpoint leaves for the result.
const RESULT_RESERVE: Duration = Duration::from_secs(5);
/// Time limit for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Least time for one request, also if no time is left.
const MIN_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Time limit for a request for an assignment, which waits at the server.
const ASSIGNMENT_TIMEOUT: Duration = Duration::from_secs(ASSIGNMENT_WAIT_SECONDS as u64 + 15);
/// Most requests to read something.
const FETCHES: usize = 5;
/// Waits between two requests.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(250))
    .with_max_delay(Duration::from_secs(8))
    .without_max_times();
/// Longest wait that an answer can ask for. A proxy may name hours, and the runner would give up, or miss its assignment.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(8);
/// Most bytes of the body of a refusal that are read.
const MAX_REFUSAL_BYTES: u64 = 4096;
/// Most characters of a refusal in a message.
const MAX_DETAIL: usize = 300;

/// The failure of one request.
pub(crate) enum RequestError {
    /// Another request may succeed, after `retry_after` if the server says so.
    Transient {
        message: String,
        retry_after: Option<Duration>,
    },
    Permanent(String),
}

/// A request body and its target.
pub(crate) struct Payload<'a> {
    pub(crate) url: String,
    pub(crate) media_type: &'static str,
    pub(crate) body: &'a [u8],
    /// The key that proves to the server that the runner, not the agent, delivers.
    pub(crate) key: Option<&'a RunnerKey>,
}

/// The key with which this process delivers its result. It exists only in the memory of the runner, which the agent cannot read.
pub(crate) struct RunnerKey(String);

impl RunnerKey {
    /// Returns a new random key.
    ///
    /// # Errors
    /// When the kernel has no random bytes.
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut bytes = [0; 32];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
        Ok(Self(hex::encode(bytes)))
    }
}

/// Registers the digest of `key` for an attempt. The agent must not be started before.
///
/// # Errors
/// A message for a person.
pub(crate) fn register(
    supervisor: &mut Supervisor,
    settings: &Settings,
    assignment: &Assignment,
    server: &str,
    key: &RunnerKey,
) -> Result<(), String> {
    let url = attempt_url(assignment, server, "runner");
    let digest = Digest::of_bytes(key.0.as_bytes());
    let body = digest.as_str().as_bytes();
    deliver(supervisor, settings, &Payload { url, media_type: "text/plain", body, key: None })
}

/// Delivers the result of an attempt.
///
/// # Errors
/// A message for a person.
pub(crate) fn deliver_result(
    supervisor: &mut Supervisor,
    settings: &Settings,
    assignment: &Assignment,
    server: &str,
    key: Option<&RunnerKey>,
    result: AttemptResult,
) -> Result<(), String> {
    let url = attempt_url(assignment, server, "result");
    let body = result_json(result);
    deliver(supervisor, settings, &Payload { url, media_type: "application/json", body: body.as_bytes(), key })
}

/// Delivers the checkpoint of an attempt.
///
/// # Errors
/// A message for a person.
pub(crate) fn deliver_checkpoint(
    supervisor: &mut Supervisor,
    settings: &Settings,
    assignment: &Assignment,
    server: &str,
    key: &RunnerKey,
    checkpoint: &Checkpoint,
) -> Result<(), String> {
    let url = attempt_url(assignment, server, "checkpoint");
    let body = serde_json::to_vec(checkpoint).map_err(|error| error.to_string())?;
    let payload = Payload { url, media_type: "application/json", body: &body, key: Some(key) };
    deliver_with_reserve(supervisor, settings, &payload, RESULT_RESERVE)
}

/// Returns the URL of a resource of the attempt at the server.
pub(crate) fn attempt_url(assignment: &Assignment, server: &str, resource: &str) -> String {
    let Assignment { subject_uid, attempt, .. } = assignment;
    format!("{}/v1/attempts/{subject_uid}/{attempt}/{resource}", server.trim_end_matches('/'))
}

/// Reads at most `limit` bytes from the server, as the runner with `key`; none if it has nothing there.
///
/// # Errors
/// A message for a person.
pub(crate) fn fetch(
    supervisor: &mut Supervisor,
    settings: &Settings,
    url: &str,
    key: &RunnerKey,
    limit: u64,
) -> Result<Option<Vec<u8>>, String> {
    let agent = agent(REQUEST_TIMEOUT);
    let mut backoff = BACKOFF.with_max_times(FETCHES - 1).build();
    loop {
        let problem = match get(&agent, url, &settings.token_file, key, limit) {
            Ok(found) => return Ok(found),
            Err(RequestError::Permanent(message)) => return Err(message),
            Err(RequestError::Transient { message, .. }) => message,
        };
        match backoff.next().filter(|_| !supervisor.cancelled()) {
            Some(wait) => supervisor.pause(wait),
            None => return Err(problem),
        }
    }
}

/// Asks once for the assignment of this pod; none if it has none yet. The server lets the request wait.
pub(crate) fn ask_for_assignment(url: &str, token: &Path) -> Result<Option<Vec<u8>>, RequestError> {
    let transient = |error: ureq::Error| RequestError::Transient { message: error.to_string(), retry_after: None };
    let request = agent(ASSIGNMENT_TIMEOUT).get(url).header(header::AUTHORIZATION, bearer(token)?);
    let mut response = request.call().map_err(transient)?;
    match response.status() {
        StatusCode::OK => {
            let limit = u64::try_from(MAX_ASSIGNMENT_BYTES).map_or(u64::MAX, |bytes| bytes + 1);
            response.body_mut().with_config().limit(limit).read_to_vec().map(Some).map_err(transient)
        }
        StatusCode::NO_CONTENT => Ok(None),
        _ => Err(refusal(response)),
    }
}

/// Sends `payload` until the server accepts it, refuses it, or the time limit is over.
///
/// # Errors
/// A message for a person.
pub(crate) fn deliver(supervisor: &mut Supervisor, settings: &Settings, payload: &Payload) -> Result<(), String> {
    deliver_with_reserve(supervisor, settings, payload, Duration::ZERO)
}

/// Delivers as [`deliver`] does. A runner that was asked to stop ends early enough to leave `reserve` for what it does after that.
fn deliver_with_reserve(
    supervisor: &mut Supervisor,
    settings: &Settings,
    payload: &Payload,
    reserve: Duration,
) -> Result<(), String> {
    let begun = Instant::now();
    let mut backoff = BACKOFF.build();
    loop {
        // A server that does not answer must not hold up the report of a runner that was asked to stop.
        let timeout = time_left(supervisor, begun, reserve).clamp(MIN_REQUEST_TIMEOUT, REQUEST_TIMEOUT);
        let (message, retry_after) = match post(&agent(timeout), payload, &settings.token_file) {
            Ok(()) => return Ok(()),
            Err(RequestError::Permanent(message)) => return Err(message),
            Err(RequestError::Transient { message, retry_after }) => (message, retry_after),
        };
        let wait = backoff.next().max(retry_after).unwrap_or_default();
        if wait > time_left(supervisor, begun, reserve) {
            return Err(format!("{message} (tried for {} s)", begun.elapsed().as_secs()));
        }
        log(&format!("delivery failed: {message}; trying again in {} ms", wait.as_millis()));
        pause(supervisor, wait);
    }
}

/// Returns the time that is left for a delivery. It changes when a request to stop arrives.
fn time_left(supervisor: &mut Supervisor, begun: Instant, reserve: Duration) -> Duration {
    match supervisor.time_left() {
        None => TOTAL_TIMEOUT.saturating_sub(begun.elapsed()),
        Some(left) => TOTAL_TIMEOUT_CANCELLED.saturating_sub(begun.elapsed()).min(left.saturating_sub(reserve)),
    }
}

/// Waits. A request to stop ends the current wait. Later waits keep their length, so that the server is not flooded.
fn pause(supervisor: &mut Supervisor, wait: Duration) {
    if supervisor.cancelled() {
        std::thread::sleep(wait);
    } else {
        supervisor.pause(wait);
    }
}

/// Returns an HTTP client for requests with a token, which last at most `timeout`.
pub(crate) fn agent(timeout: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        // A redirect or a proxy would receive the token. The body of a refusal is read, so a status is not an error.
        .max_redirects(0)
        .proxy(None)
        .build();
    config.new_agent()
}

/// Returns the header with the token. Every request reads the file again: the kubelet replaces the token before it expires.
fn bearer(token: &Path) -> Result<String, RequestError> {
    let token = std::fs::read_to_string(token)
        .map_err(|error| RequestError::Permanent(format!("the token {} cannot be read: {error}", token.display())))?;
    Ok(format!("Bearer {}", token.trim()))
}

fn get(
    agent: &ureq::Agent,
    url: &str,
    token: &Path,
    key: &RunnerKey,
    limit: u64,
) -> Result<Option<Vec<u8>>, RequestError> {
    let transient = |error: ureq::Error| RequestError::Transient { message: error.to_string(), retry_after: None };
    let request = agent.get(url).header(header::AUTHORIZATION, bearer(token)?).header(RUNNER_KEY_HEADER, &key.0);
    let mut response = request.call().map_err(transient)?;
    match response.status() {
        StatusCode::OK => response.body_mut().with_config().limit(limit).read_to_vec().map(Some).map_err(transient),
        StatusCode::NOT_FOUND => Ok(None),
        _ => Err(refusal(response)),
    }
}

fn post(agent: &ureq::Agent, payload: &Payload, token: &Path) -> Result<(), RequestError> {
    let mut request = agent
        .post(&payload.url)
        .header(header::AUTHORIZATION, bearer(token)?)
        .header(header::CONTENT_TYPE, payload.media_type);
    if let Some(key) = payload.key {
        request = request.header(RUNNER_KEY_HEADER, &key.0);
    }
    let response = request
        .send(payload.body)
        .map_err(|error| RequestError::Transient { message: error.to_string(), retry_after: None })?;
    if response.status().is_success() { Ok(()) } else { Err(refusal(response)) }
}

/// Returns the failure of a request that the server has answered.
fn refusal(mut response: ureq::http::Response<ureq::Body>) -> RequestError {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(|seconds: u64| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    let body = response.body_mut().with_config().limit(MAX_REFUSAL_BYTES).read_to_string().unwrap_or_default();
    let message = format!("the server answered {status}: {}", detail(&body));
    if status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
        RequestError::Transient { message, retry_after }
    } else {
        RequestError::Permanent(message)
    }
}

/// Returns the `detail` of an RFC 9457 problem, or the body itself.
fn detail(body: &str) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let detail = problem.as_ref().and_then(|p| p.get("detail")?.as_str());
    detail.unwrap_or(body).trim().chars().take(MAX_DETAIL).collect()
}
