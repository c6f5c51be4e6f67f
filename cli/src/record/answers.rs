//! Answers of enact-server, with the fields that this tool uses. `docs/reference/server.md` describes them.

use std::collections::BTreeMap;

use enact_domain::agents::selection::Selection;
use enact_domain::assignment::{GateResult, Report};
use enact_domain::time::Millis;
use enact_domain::usage::{Balance, Charge, Scope};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// A page of revisions, newest first.
#[derive(Clone, Debug, Deserialize)]
pub struct Page {
    pub revisions: Vec<Revision>,
    /// The position for the next page; none on the last page.
    pub next: Option<i64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Revision {
    pub uid: String,
    /// Starts at 1 for each object.
    pub number: u32,
    pub digest: String,
    /// The version that the document states.
    pub version: Option<String>,
    /// The user who made the revision.
    pub actor: String,
    pub reason: String,
    /// The Git commit of the document.
    pub commit: Option<String>,
    /// Time of recording, in milliseconds since 1970.
    pub at: i64,
    /// Decisions on the content.
    #[serde(default)]
    pub approvals: Vec<Verdict>,
}

impl Revision {
    /// Formats the time of recording.
    pub fn when(&self) -> String {
        Timestamp::from_millisecond(self.at).map_or_else(|_| "?".into(), |at| at.strftime("%Y-%m-%d %H:%M").to_string())
    }
}

/// A decision of a person.
#[derive(Clone, Debug, Deserialize)]
pub struct Verdict {
    pub actor: String,
    pub approved: bool,
}

/// The agent that was selected for an attempt.
#[derive(Clone, Debug, Deserialize)]
pub struct Selected {
    /// Number of the attempt.
    pub attempt: u32,
    /// Name of the Agent.
    pub agent: String,
    /// Time of the selection, in milliseconds since 1970.
    pub at: Option<i64>,
    #[serde(flatten)]
    pub selection: Selection,
}

/// An attempt at a task.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Number of the attempt.
    #[serde(rename = "attempt")]
    pub number: u32,
    /// Name of the Agent.
    pub agent: Option<String>,
    /// The attempt that won the contest, if this one has passed and lost.
    pub lost_to: Option<u32>,
    /// What contradicts its result, if something does.
    pub contradiction: Option<String>,
    /// Start and end, in milliseconds since 1970.
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    pub report: Option<Report>,
    /// The gates that ran.
    #[serde(default)]
    pub gates: Vec<Gate>,
    /// Duration of the work, as the runner measured it.
    pub duration_ms: Option<u64>,
    pub tokens: u64,
    /// The known part of the cost.
    pub cost_micro_usd: u64,
    /// Tokens whose price is unknown.
    pub unpriced_tokens: u64,
}

/// The outcome of a gate.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    pub name: String,
    /// None if it was killed by a signal.
    pub exit_code: Option<i32>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Findings {
    /// Name and version of the analyser.
    pub analyser: String,
    /// Number of findings, including those that were not kept.
    pub total: u32,
    #[serde(rename = "findings")]
    pub kept: Vec<Finding>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Finding {
    pub id: String,
    pub severity: String,
    /// Line in the document, starting at 1.
    pub line: u32,
    /// The item that the finding is about, such as `FR-001`.
    pub location: String,
    pub message: String,
    pub remedy: String,
    /// Why it is accepted; none if it is open.
    pub accepted: Option<String>,
}

/// A search result: an item of a document.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hit {
    /// Kind of the object that contains the item.
    pub kind: String,
    pub name: String,
    /// ID of the item, such as `FR-001`.
    pub item: String,
    pub item_kind: String,
    /// Line in the document, starting at 1; 0 if it has none.
    pub line: u32,
    /// The start of its text.
    pub text: String,
}

/// A similar document.
#[derive(Clone, Debug, Deserialize)]
pub struct Related {
    pub namespace: String,
    pub name: String,
    /// Similarity from 0 to 1.
    pub score: f64,
}

/// The usage of a namespace.
#[derive(Clone, Debug, Deserialize)]
pub struct UsageReport {
    /// The first time that is included, in milliseconds since 1970.
    pub from: i64,
    /// The first time that is not included any more.
    pub to: i64,
    /// The dimensions of the rows.
    pub by: Vec<String>,
    pub rows: Vec<UsageRow>,
}

/// Texts of model requests, newest first.
#[derive(Clone, Debug, Deserialize)]
pub struct LoggedRequests {
    pub requests: Vec<LoggedRequest>,
}

/// A model request and its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggedRequest {
    /// Milliseconds since 1970.
    pub at: i64,
    /// Name of the Task; empty for the draft of a document.
    pub task: String,
    pub attempt: u32,
    pub agent: String,
    pub provider: String,
    pub model: String,
    /// How it ended; none while it runs.
    pub outcome: Option<String>,
    pub http_status: Option<i32>,
    pub charge: Charge,
    pub request: String,
    pub request_bytes: u64,
    pub answer: String,
    pub answer_bytes: u64,
}

/// What the pod of an attempt delivered.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptLog {
    pub report: Report,
    pub transcript: String,
    pub gates: Vec<GateResult>,
}

/// Usage of the requests with the same values of the dimensions.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageRow {
    /// Time at which the last request started, or ended. A server of an older version does not say.
    #[serde(default)]
    pub last_at: Option<Millis>,
    pub requests: u64,
    /// Number of requests that run.
    pub running: u64,
    /// Number of requests whose usage is an estimate.
    pub estimated: u64,
    /// Number of requests whose usage the agent reported itself.
    pub self_reported: u64,
    pub charge: Charge,
    /// The part of the tokens whose price is unknown.
    pub unpriced_tokens: u64,
    /// The part that belongs to attempts that failed, or that a later attempt replaced.
    pub discarded: Charge,
    /// The values of the dimensions by their names.
    #[serde(flatten)]
    pub values: BTreeMap<String, Value>,
}

impl UsageRow {
    /// Returns the value of a dimension; empty if the row has none.
    pub fn value(&self, dimension: &str) -> String {
        match self.values.get(dimension) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }
}

/// The budgets that concern a namespace.
#[derive(Clone, Debug, Deserialize)]
pub struct Budgets {
    pub budgets: Vec<Budget>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Budget {
    pub scope: Scope,
    /// Name of the object that the budget belongs to.
    pub name: String,
    pub balance: Balance,
}
