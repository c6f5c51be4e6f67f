//! Records the texts of requests and answers for tenants that want them: without credentials, within limits, beside the requests. Texts
//! that cannot be written are dropped, because no request waits for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use enact_crds::tenant::RequestLogging;
use enact_domain::redaction::redact;
use enact_domain::text::truncate;
use enact_domain::time::Millis;
use enact_store::RequestLog;
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::ledger::Ledger;
use crate::memory::{Held, Memory};
use crate::metrics::Metrics;
use crate::wire::sse::Events;
use crate::wire::text::append;
use crate::wire::usage::Form;

/// Most bytes of all texts until they are written, and of those of one tenant. Further ones are dropped.
const MEMORY: u64 = 32 << 20;
const MEMORY_OF_TENANT: u64 = 16 << 20;
/// Most texts in one transaction.
const BATCH: usize = 16;
/// Largest event whose text is read, in bytes. Only events that repeat the whole answer are larger.
const MAX_EVENT_BYTES: usize = 256 << 10;
const SECONDS_OF_DAY: u32 = 86_400;

/// The texts of one request and its answer, as far as they have arrived.
pub struct Recording {
    request: Vec<Vec<u8>>,
    request_bytes: usize,
    answer: Answer,
    /// The key of the provider, which a careless provider repeats.
    key: Option<Arc<SecretString>>,
    expires_at: Millis,
    /// The memory of both texts.
    _held: Held,
}

/// The text of an answer.
struct Answer {
    /// None before the answer begins, and for one that cannot be read.
    form: Option<Form>,
    events: Events,
    text: Vec<u8>,
    /// Most bytes of the text.
    limit: usize,
    bytes: u64,
}

impl Recording {
    fn begin(logging: &RequestLogging, body: &[u8], key: Option<Arc<SecretString>>, now: Millis, held: Held) -> Self {
        let limit = usize::try_from(logging.max_bytes).unwrap_or(usize::MAX);
        let request = if body.len() <= limit {
            vec![body.to_vec()]
        } else {
            // The beginning has the instructions, the end the latest messages.
            let half = limit / 2;
            vec![without_cut_word(&body[..half], Side::End), without_cut_word(&body[body.len() - half..], Side::Start)]
        };
        Self {
            request,
            request_bytes: body.len(),
            answer: Answer { form: None, events: Events::new(MAX_EVENT_BYTES), text: Vec::new(), limit, bytes: 0 },
            key,
            expires_at: now.plus_seconds(logging.retention_days.saturating_mul(SECONDS_OF_DAY)),
            _held: held,
        }
    }

    /// Notes the form of the answer, before its first part.
    pub fn answered(&mut self, form: Form) {
        self.answer.form = Some(form).filter(|form| *form != Form::Opaque);
    }

    /// Takes a part of the answer.
    pub fn feed(&mut self, part: &[u8]) {
        let Answer { form, events, text, limit, bytes } = &mut self.answer;
        *bytes = bytes.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
        // A text that is longer shows that something is left out.
        if text.len() > *limit {
            return;
        }
        match form {
            Some(Form::Events) => events.feed(part, |data| {
                if data.len() <= MAX_EVENT_BYTES
                    && text.len() <= *limit
                    && let Ok(event) = serde_json::from_slice(data)
                {
                    let mut more = String::new();
                    append(&event, &mut more);
                    text.extend_from_slice(more.as_bytes());
                }
            }),
            Some(Form::Json) => text.extend_from_slice(&part[..part.len().min(*limit + 1 - text.len())]),
            Some(Form::Opaque) | None => {}
        }
    }

    /// Returns the texts without credentials.
    fn log(self, id: Uuid) -> RequestLog {
        let key = self.key.as_ref().map(|key| key.expose_secret());
        let known: Vec<&str> = key.into_iter().collect();
        let clean = |text: &[u8]| redact(&String::from_utf8_lossy(text), &known);
        let kept: usize = self.request.iter().map(Vec::len).sum();
        let gap = format!("\n[… {} bytes are left out …]\n", self.request_bytes.saturating_sub(kept));
        let parts: Vec<String> = self.request.iter().map(|part| clean(part)).collect();
        let Answer { text, limit, bytes, .. } = self.answer;
        let is_cut = text.len() > limit;
        let mut answer = if is_cut { clean(&without_cut_word(&text[..limit], Side::End)) } else { clean(&text) };
        truncate(&mut answer, limit);
        if is_cut {
            answer.push_str("\n[… the rest is left out …]");
        }
        RequestLog {
            id,
            expires_at: self.expires_at,
            request: parts.join(&gap),
            request_bytes: u64::try_from(self.request_bytes).unwrap_or(u64::MAX),
            answer,
            answer_bytes: bytes,
        }
    }
}

/// The side at which a text was cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Start,
    End,
}

/// Returns a part of a text without the word that was cut: redaction would not find a part of a credential.
fn without_cut_word(part: &[u8], cut: Side) -> Vec<u8> {
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || b"\"'\\,;".contains(byte);
    let kept = match cut {
        Side::Start => part.iter().position(is_space).map_or(&[][..], |at| &part[at..]),
        Side::End => part.iter().rposition(is_space).map_or(&[][..], |at| &part[..=at]),
    };
    kept.to_vec()
}

/// Writes recordings. Clones share the queue.
#[derive(Clone)]
pub struct RequestLogs(Arc<Inner>);

struct Inner {
    ledger: Arc<dyn Ledger>,
    metrics: Metrics,
    memory: Memory,
    queue: Mutex<Queue>,
    tasks: TaskTracker,
}

/// The recordings that wait, and whether a task writes them.
#[derive(Default)]
struct Queue {
    waiting: Vec<(String, Uuid, Recording)>,
    is_running: bool,
}

impl RequestLogs {
    pub fn new(ledger: Arc<dyn Ledger>, metrics: Metrics) -> Self {
        let memory = Memory::new(MEMORY, MEMORY_OF_TENANT);
        Self(Arc::new(Inner { ledger, metrics, memory, queue: Mutex::default(), tasks: TaskTracker::new() }))
    }

    /// Begins the recording of a request; none when there is no memory for it.
    pub fn begin(
        &self,
        tenant: &str,
        logging: &RequestLogging,
        body: &[u8],
        key: Option<Arc<SecretString>>,
        now: Millis,
    ) -> Option<Box<Recording>> {
        let limit = u64::from(logging.max_bytes);
        let bytes = limit.saturating_add(limit.min(u64::try_from(body.len()).unwrap_or(u64::MAX)));
        let Some(held) = self.0.memory.share(tenant).take_now(bytes) else {
            self.count("dropped", 1);
            return None;
        };
        Some(Box::new(Recording::begin(logging, body, key, now, held)))
    }

    /// Writes the recording of a request that has ended. It never waits.
    pub fn write(&self, tenant: &str, id: Uuid, recording: Recording) {
        let mut queue = self.0.queue.lock();
        queue.waiting.push((tenant.to_owned(), id, recording));
        if !std::mem::replace(&mut queue.is_running, true) {
            self.0.tasks.spawn(self.clone().run());
        }
    }

    /// Waits until everything is written, or until a timeout. Call it when no request is in progress any more.
    pub async fn flush(&self, limit: Duration) {
        self.0.tasks.close();
        if tokio::time::timeout(limit, self.0.tasks.wait()).await.is_err() {
            tracing::warn!("Postgres did not take all texts of requests");
        }
    }

    async fn run(self) {
        while let Some(batch) = self.next() {
            // Redaction takes milliseconds, for which no other task may wait.
            let redacted = tokio::task::spawn_blocking(move || {
                let mut logs: BTreeMap<String, Vec<RequestLog>> = BTreeMap::new();
                for (tenant, id, recording) in batch {
                    logs.entry(tenant).or_default().push(recording.log(id));
                }
                logs
            });
            for (tenant, logs) in redacted.await.unwrap_or_default() {
                let written = self.0.ledger.log_requests(&tenant, &logs).await;
                if let Err(error) = &written {
                    tracing::warn!(tenant, %error, requests = logs.len(), "cannot record the texts of requests");
                }
                self.count(if written.is_ok() { "written" } else { "failed" }, logs.len());
            }
        }
    }

    /// Takes the next batch. When there is none, the task ends, and the next recording starts another one.
    fn next(&self) -> Option<Vec<(String, Uuid, Recording)>> {
        let mut queue = self.0.queue.lock();
        if queue.waiting.is_empty() {
            queue.is_running = false;
            return None;
        }
        let count = queue.waiting.len().min(BATCH);
        Some(queue.waiting.drain(..count).collect())
    }

    fn count(&self, outcome: &str, requests: usize) {
        let requests = u64::try_from(requests).unwrap_or(u64::MAX);
        self.0.metrics.request_logs.with_label_values(&[outcome]).inc_by(requests);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_796_000_000_000);

    fn logging(max_bytes: u32) -> RequestLogging {
        RequestLogging { max_bytes, retention_days: 2 }
    }

    fn recorded(body: &str, form: Form, parts: &[&str]) -> RequestLog {
        let key = Some(Arc::new(SecretString::from("provider-key".to_owned())));
        let held = Memory::new(1024, 1024).share("a").take_now(1024).unwrap();
        let mut recording = Recording::begin(&logging(1024), body.as_bytes(), key, NOW, held);
        recording.answered(form);
        for part in parts {
            recording.feed(part.as_bytes());
        }
        recording.log(Uuid::nil())
    }

    #[test]
    fn texts_have_no_credentials() {
        let body = r#"{"content":"use provider-key or sk-abcdefghijklmnopqrst"}"#;
        // The credential of the answer is in two events.
        let events = [
            "data: {\"choices\":[{\"delta\":{\"content\":\"it is sk-abcdefgh\"}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"ijklmnopqrst.\"}}]}\n\ndata: [DONE]\n\n",
        ];
        let log = recorded(body, Form::Events, &events);
        assert_eq!(log.request, r#"{"content":"use [redacted] or [redacted]"}"#);
        assert_eq!(log.answer, "it is [redacted].");
        assert_eq!(log.answer_bytes, u64::try_from(events.concat().len()).unwrap());
        assert_eq!(log.expires_at, NOW.plus_seconds(172_800));
    }

    #[test]
    fn long_texts_are_cut_between_words() {
        let secret = format!("sk-{}", "a".repeat(40));
        let body = format!("begin {}{secret} {}{secret} end", "word ".repeat(99), "more ".repeat(1000));
        let log = recorded(&body, Form::Json, &["{\"text\":\"", &"long ".repeat(1000), &secret]);
        assert!(log.request.starts_with("begin word") && log.request.ends_with(" end"), "{}", log.request);
        assert!(log.request.contains(" bytes are left out …]"), "{}", log.request);
        assert!(!log.request.contains("aaaa") && !log.answer.contains("aaaa"), "{} {}", log.request, log.answer);
        assert!(log.request.len() <= 1100 && log.answer.len() <= 1100);
        assert!(log.answer.ends_with("[… the rest is left out …]"), "{}", log.answer);
        assert_eq!(log.request_bytes, u64::try_from(body.len()).unwrap());
        assert_eq!(recorded("short", Form::Opaque, &["\u{1}gzip"]).answer, "");
    }

    #[test]
    fn a_text_of_one_word_is_left_out() {
        let log = recorded(&"x".repeat(5000), Form::Json, &[&"y".repeat(5000)]);
        assert_eq!(
            (log.request.as_str(), log.answer.as_str()),
            ("\n[… 5000 bytes are left out …]\n", "\n[… the rest is left out …]")
        );
    }
}
