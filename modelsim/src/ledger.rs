//! The ledger: what the server served, to the token, and which requests it received.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;

use jiff::Timestamp;
use lru::LruCache;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::conversation::Format;
use crate::usage::Usage;

/// Most runs with totals. The run that was not used for the longest time is forgotten.
const MAX_RUNS: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
/// Most models of a run with totals of their own.
const MAX_MODELS: usize = 64;
/// Most answers that are kept one by one.
const MAX_ANSWERS: usize = 20_000;
/// Most requests that are kept.
const MAX_REQUESTS: usize = 2000;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The whole answer was handed to the connection.
    Completed,
    /// The answer was not sent to its end: by a fault of the scenario, or because the client closed the connection.
    Incomplete,
    /// An error was answered.
    Error,
}

/// An answer that was served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    pub at: Timestamp,
    pub scenario: String,
    pub run: String,
    /// None when no rule matched.
    pub rule: Option<String>,
    pub format: Format,
    pub model: String,
    pub stream: bool,
    pub status: u16,
    pub outcome: Outcome,
    /// The tokens that the complete answer states; zero for an error.
    pub usage: Usage,
    /// The tools that the answer calls.
    pub tools: Vec<String>,
}

/// Answers of a run, and their tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Complete answers.
    pub completed: u64,
    /// Tokens of the complete answers.
    pub usage: Usage,
    /// Answers that were not sent to their end.
    pub incomplete: u64,
    /// Tokens that these would have stated.
    pub incomplete_usage: Usage,
    /// Errors, by status.
    pub errors: BTreeMap<u16, u64>,
}

impl Totals {
    fn add(&mut self, served: &Served) {
        match served.outcome {
            Outcome::Completed => {
                self.completed += 1;
                self.usage.add(served.usage);
            }
            Outcome::Incomplete => {
                self.incomplete += 1;
                self.incomplete_usage.add(served.usage);
            }
            Outcome::Error => *self.errors.entry(served.status).or_default() += 1,
        }
    }
}

/// Totals of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunTotals {
    pub scenario: String,
    pub run: String,
    pub totals: Totals,
    pub models: BTreeMap<String, Totals>,
}

/// What the server served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Sorted by scenario and run.
    pub runs: Vec<RunTotals>,
    /// The last answers, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Served>,
}

/// A request that was received. Values of headers are not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Received {
    pub at: Timestamp,
    pub method: String,
    pub path: String,
    pub headers: Vec<String>,
    /// Names of the canaries in headers, path or query.
    pub canaries_in_head: Vec<String>,
    /// Names of the canaries in the body.
    pub canaries_in_body: Vec<String>,
    pub body_bytes: usize,
}

/// The ledger of a server.
#[derive(Debug)]
pub struct Ledger(Mutex<State>);

#[derive(Debug)]
struct State {
    runs: LruCache<(String, String), RunTotals>,
    answers: VecDeque<Served>,
    requests: VecDeque<Received>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self(Mutex::new(State { runs: LruCache::new(MAX_RUNS), answers: VecDeque::new(), requests: VecDeque::new() }))
    }
}

impl Ledger {
    /// Adds an answer.
    pub fn serve(&self, served: Served) {
        let mut state = self.0.lock();
        let (scenario, run) = (served.scenario.clone(), served.run.clone());
        let key = (scenario.clone(), run.clone());
        let totals = state.runs.get_or_insert_mut(key, || RunTotals { scenario, run, ..RunTotals::default() });
        totals.totals.add(&served);
        if totals.models.contains_key(&served.model) || totals.models.len() < MAX_MODELS {
            totals.models.entry(served.model.clone()).or_default().add(&served);
        }
        push(&mut state.answers, served, MAX_ANSWERS);
    }

    /// Adds a request.
    pub fn receive(&self, received: Received) {
        push(&mut self.0.lock().requests, received, MAX_REQUESTS);
    }

    /// Returns what was served, of one run or of all, with or without the single answers.
    pub fn summary(&self, run: Option<&str>, answers: bool) -> Summary {
        let state = self.0.lock();
        let is_asked = |name: &str| run.is_none_or(|run| run == name);
        let mut runs: Vec<_> = state.runs.iter().map(|(_, totals)| totals.clone()).collect();
        runs.retain(|totals| is_asked(&totals.run));
        runs.sort_by(|a, b| (&a.scenario, &a.run).cmp(&(&b.scenario, &b.run)));
        let answers =
            if answers { state.answers.iter().filter(|a| is_asked(&a.run)).cloned().collect() } else { vec![] };
        Summary { runs, answers }
    }

    /// Returns the last requests, the oldest first.
    pub fn requests(&self) -> Vec<Received> {
        self.0.lock().requests.iter().cloned().collect()
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// Adds an answer to the ledger when its body ends, or when the body is dropped before its end.
#[derive(Debug)]
pub struct PendingEntry {
    ledger: Arc<Ledger>,
    served: Option<Served>,
}

impl PendingEntry {
    /// Creates the entry of an answer that is complete when [`PendingEntry::complete`] is called.
    pub fn new(ledger: Arc<Ledger>, served: Served) -> Self {
        Self { ledger, served: Some(served) }
    }

    /// Says that the whole answer was handed to the connection.
    pub fn complete(&mut self) {
        if let Some(served) = self.served.take() {
            self.ledger.serve(Served { outcome: Outcome::Completed, ..served });
        }
    }
}

impl Drop for PendingEntry {
    fn drop(&mut self) {
        if let Some(served) = self.served.take() {
            self.ledger.serve(Served { outcome: Outcome::Incomplete, ..served });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(run: &str) -> Served {
        Served {
            at: Timestamp::UNIX_EPOCH,
            scenario: "s".to_owned(),
            run: run.to_owned(),
            rule: None,
            format: Format::Gemini,
            model: "m".to_owned(),
            stream: true,
            status: 200,
            outcome: Outcome::Completed,
            usage: Usage { input: 10, output: 2, ..Usage::default() },
            tools: vec![],
        }
    }

    #[test]
    fn an_answer_that_is_dropped_is_incomplete() {
        let ledger = Arc::new(Ledger::default());
        drop(PendingEntry::new(Arc::clone(&ledger), served("a")));
        let mut entry = PendingEntry::new(Arc::clone(&ledger), served("a"));
        entry.complete();
        drop(entry);
        let totals = &ledger.summary(Some("a"), false).runs[0].totals;
        assert_eq!((totals.completed, totals.incomplete, totals.usage.input), (1, 1, 10));
    }

    #[test]
    fn runs_have_separate_totals() {
        let ledger = Ledger::default();
        for run in ["b", "a", "b"] {
            ledger.serve(served(run));
        }
        let summary = ledger.summary(None, true);
        let counts: Vec<_> = summary.runs.iter().map(|run| (run.run.as_str(), run.totals.completed)).collect();
        assert_eq!(counts, [("a", 1), ("b", 2)]);
        assert_eq!(summary.answers.len(), 3);
        assert_eq!(ledger.summary(Some("none"), true), Summary::default());
    }
}
