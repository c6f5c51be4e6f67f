//! The report (termination message and exit code) and the result of an attempt.

use std::path::Path;

use enact_domain::agents::checkpoint::Checkpoint;
use enact_domain::assignment::{AttemptResult, GateResult, MAX_REPORT_BYTES, MAX_RESULT_BYTES, Reason, Report, Usage};
use enact_domain::text::truncate;

use crate::agent::MAX_TRANSCRIPT;
use crate::log::log;

/// The parts of a result that are not in the report.
#[derive(Default)]
pub(crate) struct Evidence {
    pub(crate) transcript: String,
    pub(crate) gates: Vec<GateResult>,
    pub(crate) usage: Usage,
    /// Whether the agent or script was started.
    pub(crate) agent_began: bool,
    /// What a failed attempt leaves for the next one.
    pub(crate) checkpoint: Option<Checkpoint>,
}

impl Evidence {
    /// Returns the reason of a failure. `ContainerConfigError` says that nothing was done, so that a task with an external effect is repeated:
    /// no attempt ends with it once its agent has begun.
    pub(crate) fn reason_of(&self, reason: Reason) -> Reason {
        if self.agent_began && reason == Reason::ContainerConfigError { Reason::WorkspaceFailed } else { reason }
    }

    /// Adds lines to the transcript. Of a long one, the last lines are kept.
    pub(crate) fn add_transcript(&mut self, lines: &str) {
        self.transcript.push_str(lines);
        let excess = self.transcript.len().saturating_sub(MAX_TRANSCRIPT);
        if excess > 0 {
            let from = self.transcript.ceil_char_boundary(excess);
            let line = self.transcript[from..].find('\n').map_or(from, |at| from + at + 1);
            self.transcript.drain(..line);
        }
    }
}

/// Writes the report to the termination log, which the kubelet reads.
pub(crate) fn write(path: &Path, report: &Report) {
    if let Err(error) = std::fs::write(path, short_json(report.clone())) {
        log(&format!("the report cannot be written to {}: {error}", path.display()));
    }
}

/// Returns the report as JSON of at most [`MAX_REPORT_BYTES`]. It drops files in conflict first, then it cuts the message.
fn short_json(mut report: Report) -> String {
    loop {
        let json = json(&report);
        if json.len() <= MAX_REPORT_BYTES {
            return json;
        }
        // Each iteration shortens one part, the least important first, until the report fits.
        if !report.conflicts.is_empty() {
            report.conflicts.truncate(report.conflicts.len() / 2);
        } else if !report.message.is_empty() {
            halve(&mut report.message);
        } else {
            // `outputs::read` has checked the size of the outputs as JSON, so this branch never drops the outputs of a success.
            report.outputs.clear();
            report.commit = None;
        }
    }
}

/// Returns the result as JSON of at most [`MAX_RESULT_BYTES`]. It cuts the start of the transcript first, then the output of the gates.
pub(crate) fn result_json(mut result: AttemptResult) -> String {
    loop {
        let json = json(&result);
        if json.len() <= MAX_RESULT_BYTES {
            return json;
        }
        if !result.transcript.is_empty() {
            let keep = result.transcript.ceil_char_boundary(result.transcript.len().div_ceil(2));
            result.transcript.drain(..keep);
        } else if result.gates.iter().any(|gate| !gate.output.is_empty()) {
            result.gates.iter_mut().for_each(|gate| halve(&mut gate.output));
        } else if !result.gates.is_empty() {
            result.gates.clear();
        } else {
            result.report.conflicts.clear();
            result.report.message.clear();
            result.report.outputs.clear();
        }
    }
}

fn halve(text: &mut String) {
    truncate(text, text.len() / 2);
}

fn json(value: &impl serde::Serialize) -> String {
    // Serialization cannot fail: these types have string keys only. Readers treat an empty text as a missing report.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_stays_below_its_limit() {
        let mut report = Report::new(Reason::MergeConflict, "\u{1}".repeat(2000));
        report.conflicts = (0..500).map(|n| format!("src/\u{7}{n}.rs")).collect();
        report.commit = Some("a".repeat(40));
        let json = short_json(report);
        assert!(json.len() <= MAX_REPORT_BYTES);
        let back: Report = serde_json::from_str(&json).unwrap();
        assert_eq!((back.reason, back.commit.as_deref()), (Reason::MergeConflict, Some("a".repeat(40).as_str())));
        assert!(!back.message.is_empty());
    }

    #[test]
    fn report_keeps_some_conflicts() {
        let mut report = Report::new(Reason::MergeConflict, "short");
        report.conflicts = (0..300).map(|n| format!("src/file{n}.rs")).collect();
        let back: Report = serde_json::from_str(&short_json(report)).unwrap();
        assert!(back.conflicts.len() > 50, "{}", back.conflicts.len());
        assert_eq!(back.message, "short");
    }

    #[test]
    fn result_stays_below_its_limit() {
        let gate = GateResult { name: "g".into(), exit_code: Some(1), output: "\u{1}".repeat(4096) };
        let result = AttemptResult {
            subject_uid: "u".into(),
            attempt: 1,
            report: Report::new(Reason::GateFailed, "m"),
            transcript: "\u{1}".repeat(256 * 1024),
            gates: vec![gate; 100],
            duration_ms: 1,
        };
        let json = result_json(result);
        assert!(json.len() <= MAX_RESULT_BYTES);
        let back: AttemptResult = serde_json::from_str(&json).unwrap();
        assert_eq!(back.report.reason, Reason::GateFailed);
    }
}
