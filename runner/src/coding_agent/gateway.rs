//! What the model gateway says about the attempt: whether it refuses further requests, and the usage.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use enact_domain::assignment::{Reason, Usage};
use enact_domain::text::truncated;
use serde::Deserialize;
use ureq::http::header;

use crate::delivery;
use crate::failure::Failure;
use crate::log::log;
use crate::process::Stopper;

/// Time between two requests.
const INTERVAL: Duration = Duration::from_secs(5);
/// Time limit for one request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of an answer.
const MAX_ANSWER: u64 = 16 << 10;
/// Most bytes of a message.
const MAX_MESSAGE: usize = 600;
/// Number of requests for the answer after the agent has ended.
const LAST_REQUESTS: u32 = 3;

/// The gateway, as the pod reaches it.
pub(super) struct Gateway {
    url: String,
    token_file: PathBuf,
}

/// The reason why the gateway refuses the requests of the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) message: String,
}

/// The last answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) refusal: Option<Refusal>,
    pub(super) usage: Option<Usage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    refusal: Option<RefusalBody>,
    #[serde(default)]
    usage: Option<UsageBody>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UsageBody {
    input_tokens: u64,
    cached_input_tokens: u64,
    output_tokens: u64,
    reasoning_tokens: u64,
    /// None when the price of a model is not known, and before the first request.
    cost_micro_usd: Option<u64>,
}

impl From<UsageBody> for Usage {
    fn from(body: UsageBody) -> Self {
        let UsageBody { input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, cost_micro_usd } = body;
        let cost_micro_usd = cost_micro_usd.unwrap_or_default();
        Self { input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, cost_micro_usd }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefusalBody {
    reason: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    reset_at: Option<String>,
}

impl Gateway {
    pub(super) fn new(url: &str, token_file: &Path) -> Self {
        Self { url: format!("{}/enact/v1/attempt", url.trim_end_matches('/')), token_file: token_file.to_owned() }
    }

    /// Returns the token, which is the key that the agent uses for its model.
    pub(super) fn token(&self) -> Result<String, Failure> {
        let token = std::fs::read_to_string(&self.token_file);
        let token = token.map_err(|error| Failure::volume(&self.token_file, &error))?;
        Ok(token.trim().to_owned())
    }

    /// Asks again and again in another thread, and stops the agent when the gateway refuses its requests.
    pub(super) fn watch(self, stopper: Stopper) -> Watch {
        let (ended, notice) = channel::<()>();
        let last = Arc::new(Mutex::new(Answer::default()));
        let known = Arc::clone(&last);
        let thread = std::thread::spawn(move || {
            let client = delivery::agent(TIMEOUT);
            let mut reachable = true;
            while matches!(notice.recv_timeout(INTERVAL), Err(RecvTimeoutError::Timeout)) {
                match self.ask(&client) {
                    Ok(answer) => {
                        *lock(&known) = answer;
                        reachable = true;
                    }
                    Err(problem) if reachable => {
                        log(&format!("the gateway does not answer: {problem}"));
                        reachable = false;
                    }
                    Err(_) => {}
                }
                let refusal = lock(&known).refusal.clone();
                if let Some(refusal) = refusal {
                    log(&format!("the gateway refuses requests ({}); stopping the agent", refusal.reason.as_str()));
                    stopper.stop();
                    break;
                }
            }
            // Waits for the end of the agent: until then, requests may still be counted.
            let _ = notice.recv();
            let last = lock(&known).clone();
            (0..LAST_REQUESTS).find_map(|_| self.ask(&client).ok()).map_or(last.clone(), |answer| Answer {
                refusal: answer.refusal.or(last.refusal),
                usage: answer.usage.or(last.usage),
            })
        });
        Watch { ended, thread, last }
    }

    fn ask(&self, client: &ureq::Agent) -> Result<Answer, String> {
        let token = std::fs::read_to_string(&self.token_file).map_err(|error| error.to_string())?;
        let request = client.get(&self.url).header(header::AUTHORIZATION, format!("Bearer {}", token.trim()));
        let mut response = request.call().map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            return Err(response.status().to_string());
        }
        let text = response.body_mut().with_config().limit(MAX_ANSWER).read_to_string();
        answer(&text.map_err(|error| error.to_string())?)
    }
}

/// Reads an answer of the gateway.
fn answer(text: &str) -> Result<Answer, String> {
    let body: Body = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(Answer { refusal: body.refusal.and_then(refusal), usage: body.usage.map(Usage::from) })
}

/// Returns a refusal that ends the attempt; none for one that only concerns a request.
fn refusal(body: RefusalBody) -> Option<Refusal> {
    let reason: Reason = serde_json::from_value(body.reason.into()).ok()?;
    let ends = matches!(
        reason,
        Reason::BudgetExceeded
            | Reason::ProviderQuota
            | Reason::RateLimited
            | Reason::CredentialRejected
            | Reason::ModelsChanged
    );
    let message = truncated(&body.message, MAX_MESSAGE);
    let until = body.reset_at.map(|time| format!(" (until {})", truncated(&time, 40))).unwrap_or_default();
    ends.then(|| Refusal { reason, message: format!("the gateway refused a request: {message}{until}") })
}

/// The thread that asks the gateway.
pub(super) struct Watch {
    ended: Sender<()>,
    thread: JoinHandle<Answer>,
    /// The last answer while the agent ran.
    last: Arc<Mutex<Answer>>,
}

fn lock(answer: &Mutex<Answer>) -> MutexGuard<'_, Answer> {
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// Ends the thread and returns the last answer. Call it after the agent has ended. If the runner was `asked_to_stop`, it does not wait for
    /// the gateway: the time until the kubelet kills the runner is for the work.
    pub(super) fn finish(self, asked_to_stop: bool) -> Answer {
        if asked_to_stop {
            return lock(&self.last).clone();
        }
        let _ = self.ended.send(());
        drop(self.ended);
        self.thread.join().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_of_the_first_request_is_read() {
        let text = r#"{"refusal": {"reason": "CredentialRejected", "message": "no key", "resetAt": null},
                       "usage": {"inputTokens": 0, "cacheWriteTokens": 0, "outputTokens": 0, "costMicroUsd": null}}"#;
        let answer = answer(text).unwrap();
        assert_eq!(answer.refusal.map(|refusal| refusal.reason), Some(Reason::CredentialRejected));
        assert_eq!(answer.usage, Some(Usage::default()));
    }

    #[test]
    fn only_some_refusals_end_an_attempt() {
        let of = |reason: &str| {
            refusal(RefusalBody {
                reason: reason.into(),
                message: "m".into(),
                reset_at: Some("2026-12-01T00:00:00Z".into()),
            })
        };
        let budget = of("BudgetExceeded").unwrap();
        assert_eq!(budget.reason, Reason::BudgetExceeded);
        assert_eq!(budget.message, "the gateway refused a request: m (until 2026-12-01T00:00:00Z)");
        for reason in ["ProviderQuota", "RateLimited", "CredentialRejected", "ModelsChanged"] {
            assert_eq!(of(reason).map(|refusal| refusal.reason.as_str().to_owned()).as_deref(), Some(reason));
        }
        assert_eq!((of("ModelNotAllowed"), of("Succeeded"), of("")), (None, None, None));
    }
}
