//! The short answer: the termination message and the exit code.

use std::path::Path;

use enact_domain::assignment::{AttemptResult, MAX_REPORT_BYTES, MAX_RESULT_BYTES, Reason, Report, exit};
use enact_domain::attempt::{FailureClass, class_of};

/// Writes the report where the kubelet reads it.
pub(crate) fn write(path: &Path, report: &Report) {
    if let Err(error) = std::fs::write(path, short_json(report.clone())) {
        crate::say(&format!("the report cannot be written to {}: {error}", path.display()));
    }
}

/// The exit code that says the class of the end.
pub(crate) fn exit_code(report: &Report) -> i32 {
    match (report.reason, class_of(report.reason)) {
        (Reason::Succeeded, _) => exit::SUCCEEDED,
        (_, FailureClass::Infrastructure) => exit::INFRASTRUCTURE,
        (_, FailureClass::Invalid) => exit::INVALID,
        (_, FailureClass::Task | FailureClass::Unknown) => exit::FAILED,
    }
}

/// The report as JSON of at most [`MAX_REPORT_BYTES`]: files in conflict are left out first, then the message is cut.
fn short_json(mut report: Report) -> String {
    loop {
        let json = json(&report);
        if json.len() <= MAX_REPORT_BYTES {
            return json;
        }
        if !report.conflicts.is_empty() {
            report.conflicts.truncate(report.conflicts.len() / 2);
        } else if !report.message.is_empty() {
            halve(&mut report.message);
        } else {
            // Outputs were measured as JSON before they got here, so this is never reached with outputs that count.
            report.outputs.clear();
            report.commit = None;
        }
    }
}

/// The result as JSON of at most [`MAX_RESULT_BYTES`]: the transcript loses its beginning first, then the gates their output.
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
    text.truncate(text.floor_char_boundary(text.len() / 2));
}

fn json(value: &impl serde::Serialize) -> String {
    // These types hold nothing that JSON cannot; an empty answer is told apart from a report by whoever reads it.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use enact_domain::assignment::GateResult;

    use super::*;

    #[test]
    fn a_report_fits_whatever_is_in_it() {
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
    fn some_conflicts_are_kept() {
        let mut report = Report::new(Reason::MergeConflict, "short");
        report.conflicts = (0..300).map(|n| format!("src/file{n}.rs")).collect();
        let back: Report = serde_json::from_str(&short_json(report)).unwrap();
        assert!(back.conflicts.len() > 50, "{}", back.conflicts.len());
        assert_eq!(back.message, "short");
    }

    #[test]
    fn a_result_fits_whatever_is_in_it() {
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
