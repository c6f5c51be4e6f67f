//! The output of a coding agent: readable in the pod's log, structured in the transcript, and unchanged behind a prefix in the log.
//!
//! Everything is redacted and limited. An agent that prints too much is stopped.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use enact_domain::agents::definition::{EventFormat, StreamFormat};
use enact_domain::agents::events::{AgentEvent, RAW_PREFIX};
use enact_domain::agents::stream::{EventReader, Summary};
use enact_domain::assignment::Usage;
use enact_domain::usage::Limit;

use crate::agent::MAX_TRANSCRIPT;
use crate::capture::Tail;
use crate::log::log;
use crate::process::Stopper;
use crate::secrets::Secrets;

/// Most bytes that an agent may print.
pub(super) const MAX_OUTPUT: u64 = 64 << 20;
/// Most bytes of readable lines in the pod's log.
const MAX_READABLE: usize = 8 << 20;
/// Most bytes of unchanged lines in the pod's log.
const MAX_RAW: usize = 8 << 20;
/// Most bytes of one unchanged line; a longer one is cut.
const MAX_RAW_LINE: usize = 16 << 10;
/// Most bytes of standard error that explain a failure.
const MAX_STDERR: usize = 4 << 10;
/// Most bytes of the file with one more event.
const MAX_REPORT: u64 = 1 << 20;

/// The threads that read an agent's output.
pub(super) struct Output {
    stdout: JoinHandle<EventReader>,
    stderr: JoinHandle<Tail>,
    shown: Arc<Mutex<Shown>>,
    secrets: Arc<Secrets>,
}

/// What the output was.
pub(super) struct Seen {
    /// One event as JSON a line.
    pub(super) transcript: String,
    pub(super) summary: Summary,
    pub(super) stderr: String,
    /// The agent printed more than [`MAX_OUTPUT`].
    pub(super) flooded: bool,
    /// The agent was stopped because it had reported as much usage as it may have.
    pub(super) exceeded: bool,
}

/// What both threads write.
struct Shown {
    transcript: Transcript,
    readable: usize,
    raw: usize,
    read: u64,
    stopper: Stopper,
    /// What the agent may report before it is stopped.
    limit: Limit,
    exceeded: bool,
    /// Whether the agent has reported its session.
    session: Arc<AtomicBool>,
}

/// The last events as JSON lines.
#[derive(Default)]
struct Transcript {
    lines: VecDeque<String>,
    bytes: usize,
    dropped: u64,
}

impl Output {
    /// Connects the output of `command` to two threads that read it. Returns the command, ready to start. An agent that reports more usage than
    /// `limit` before its end is stopped.
    pub(super) fn follow(
        mut command: Command,
        reader: EventReader,
        secrets: Arc<Secrets>,
        stopper: Stopper,
        limit: Limit,
    ) -> io::Result<(Command, Self)> {
        let (stdout, stdout_writer) = io::pipe()?;
        let (stderr, stderr_writer) = io::pipe()?;
        command.stdout(stdout_writer).stderr(stderr_writer);
        let shown = Shown {
            transcript: Transcript::default(),
            readable: 0,
            raw: 0,
            read: 0,
            stopper,
            limit,
            exceeded: false,
            session: Arc::default(),
        };
        let shown = Arc::new(Mutex::new(shown));
        let stdout = spawn_stdout(stdout, reader, Arc::clone(&shown), Arc::clone(&secrets));
        let stderr = spawn_stderr(stderr, Arc::clone(&shown), Arc::clone(&secrets));
        Ok((command, Self { stdout, stderr, shown, secrets }))
    }

    /// Returns whether the agent has reported its session, as a value that changes.
    pub(super) fn session(&self) -> Arc<AtomicBool> {
        Arc::clone(&lock(&self.shown).session)
    }

    /// Waits for the end of the output. `report` is a file with one more event.
    pub(super) fn finish(self, report: Option<&Path>) -> Seen {
        let stderr = self.stderr.join().unwrap_or_default().into_text();
        let mut summary = Summary::default();
        // Both threads have ended when their results are known.
        if let Ok(mut reader) = self.stdout.join() {
            let mut events = report.and_then(read_report).map(|bytes| reader.push_report(&bytes)).unwrap_or_default();
            let (last, found) = reader.finish();
            events.extend(last);
            summary = found;
            lock(&self.shown).show(events, &self.secrets);
        }
        let mut shown = lock(&self.shown);
        let transcript = std::mem::take(&mut shown.transcript).into_text();
        Seen { transcript, summary, stderr, flooded: shown.read > MAX_OUTPUT, exceeded: shown.exceeded }
    }
}

fn spawn_stdout(
    stream: impl Read + Send + 'static,
    mut reader: EventReader,
    shown: Arc<Mutex<Shown>>,
    secrets: Arc<Secrets>,
) -> JoinHandle<EventReader> {
    std::thread::spawn(move || {
        let mut raw = RawLines::default();
        read(stream, &secrets, |chunk, size| {
            let events = reader.push(chunk);
            let mut shown = lock(&shown);
            raw.push(chunk, &mut shown.raw);
            shown.show(events, &secrets);
            shown.count(size);
            shown.limit(reader.usage_so_far());
        });
        raw.end(&mut lock(&shown).raw);
        reader
    })
}

fn spawn_stderr(
    stream: impl Read + Send + 'static,
    shown: Arc<Mutex<Shown>>,
    secrets: Arc<Secrets>,
) -> JoinHandle<Tail> {
    let format = EventFormat {
        format: StreamFormat::Text,
        requires_end: false,
        report_file: None,
        tools: Vec::new(),
        rules: Vec::new(),
    };
    std::thread::spawn(move || {
        let mut reader = EventReader::new(format, Usage::default());
        let mut tail = Tail::new(MAX_STDERR);
        read(stream, &secrets, |chunk, size| {
            tail.push(chunk);
            let events = reader.push(chunk);
            let mut shown = lock(&shown);
            shown.show(events, &secrets);
            shown.count(size);
        });
        let (events, _) = reader.finish();
        lock(&shown).show(events, &secrets);
        tail
    })
}

/// Reads a stream to its end; `take` gets the redacted bytes and the number of bytes that were read.
fn read(mut stream: impl Read, secrets: &Secrets, mut take: impl FnMut(&[u8], usize)) {
    let mut buffer = [0; 16 * 1024];
    // A secret may be split between two chunks. Its possible start waits here for the next chunk.
    let mut pending = Vec::new();
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                pending.extend_from_slice(&buffer[..count]);
                take(&secrets.redact_stream(&mut pending, false), count);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    take(&secrets.redact_stream(&mut pending, true), 0);
}

/// Reads the file with one more event: a regular file, which the agent may have replaced by anything.
fn read_report(path: &Path) -> Option<Vec<u8>> {
    if !path.symlink_metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_REPORT).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shown {
    /// Writes events to the pod's log and the transcript.
    fn show(&mut self, events: Vec<AgentEvent>, secrets: &Secrets) {
        for event in events {
            if matches!(event, AgentEvent::Session { .. }) {
                self.session.store(true, Ordering::Relaxed);
            }
            // The stream was redacted as bytes; JSON can escape characters of a secret.
            let event = event.map_texts(&|text| secrets.redact(text));
            let line = event.readable();
            if write_limited(line.as_bytes(), &mut self.readable, MAX_READABLE) {
                log("the log has as much output as it may have; the agent continues");
            }
            self.transcript.push(&event);
        }
    }

    /// Stops the agent when it has reported as much usage as it may have.
    fn limit(&mut self, used: Option<Usage>) {
        let is_at = |limit: Option<u64>, used: u64| limit.is_some_and(|limit| used >= limit);
        let reaches = |used: Usage| {
            is_at(self.limit.tokens, used.tokens()) || is_at(self.limit.cost_micro_usd, used.cost_micro_usd)
        };
        if !self.exceeded && used.is_some_and(reaches) {
            log("the agent has used the budget of the attempt, as it reports; stopping it");
            self.exceeded = true;
            self.stopper.stop();
        }
    }

    /// Counts bytes that the agent printed, and stops it when they are too many.
    fn count(&mut self, bytes: usize) {
        let before = self.read;
        self.read += bytes as u64;
        if before <= MAX_OUTPUT && self.read > MAX_OUTPUT {
            log("the agent prints too much; stopping it");
            self.stopper.stop();
        }
    }
}

/// Writes to the pod's log while `written` is at most `limit`. Returns whether the limit was reached just now.
fn write_limited(bytes: &[u8], written: &mut usize, limit: usize) -> bool {
    if *written > limit {
        return false;
    }
    *written += bytes.len();
    // An attempt continues when standard output is closed.
    let _ = io::stdout().write_all(bytes);
    *written > limit
}

impl Transcript {
    fn push(&mut self, event: &AgentEvent) {
        let Ok(line) = serde_json::to_string(event) else { return };
        self.bytes += line.len() + 1;
        self.lines.push_back(line);
        while self.bytes > MAX_TRANSCRIPT {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.len() + 1;
            self.dropped += 1;
        }
    }

    fn into_text(self) -> String {
        let mut text = String::with_capacity(self.bytes);
        if self.dropped > 0 {
            let left_out = AgentEvent::Output { text: format!("({} earlier events are left out)", self.dropped) };
            text.push_str(&serde_json::to_string(&left_out).unwrap_or_default());
            text.push('\n');
        }
        for line in self.lines {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

/// Lines of the agent's own output.
#[derive(Default)]
struct RawLines {
    pending: Vec<u8>,
}

impl RawLines {
    fn push(&mut self, mut chunk: &[u8], written: &mut usize) {
        while let Some(at) = chunk.iter().position(|byte| *byte == b'\n') {
            self.extend(&chunk[..at]);
            self.end(written);
            chunk = &chunk[at + 1..];
        }
        self.extend(chunk);
    }

    fn extend(&mut self, bytes: &[u8]) {
        let fitting = bytes.len().min(MAX_RAW_LINE - self.pending.len());
        self.pending.extend_from_slice(&bytes[..fitting]);
    }

    fn end(&mut self, written: &mut usize) {
        if !self.pending.is_empty() {
            let line = [RAW_PREFIX.as_bytes(), &self.pending, b"\n"].concat();
            self.pending.clear();
            write_limited(&line, written, MAX_RAW);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transcript_keeps_the_last_events_and_says_so() {
        let mut transcript = Transcript::default();
        for n in 0..10_000 {
            transcript.push(&AgentEvent::Message { text: format!("{n} {}", "x".repeat(100)) });
        }
        let text = transcript.into_text();
        assert!(text.len() <= MAX_TRANSCRIPT + 200, "{}", text.len());
        let events: Vec<AgentEvent> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(
            matches!(&events[0], AgentEvent::Output { text } if text.contains("earlier events")),
            "{:?}",
            events[0]
        );
        assert!(matches!(events.last(), Some(AgentEvent::Message { text }) if text.starts_with("9999 ")));
    }

    #[test]
    fn long_raw_lines_are_cut() {
        let mut raw = RawLines::default();
        // Nothing is printed above the limit.
        let mut written = MAX_RAW + 1;
        raw.push(&vec![b'x'; 100_000], &mut written);
        assert_eq!(raw.pending.len(), MAX_RAW_LINE);
        raw.push(b"y\nz", &mut written);
        assert_eq!(raw.pending, b"z");
    }
}
