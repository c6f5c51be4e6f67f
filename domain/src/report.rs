//! The limits of a report from a pod: the operator copies it into the status of Kubernetes objects and into the assignments of other tasks.

use crate::assignment::{MAX_MESSAGE_BYTES, MAX_OUTPUT_BYTES, Report};
use crate::contest::{MAX_MEASUREMENTS, MAX_NAME_BYTES};
use crate::text;

/// Largest sum of names of files in conflict that is kept, in bytes.
const MAX_CONFLICT_BYTES: usize = 32 << 10;

/// The reason why a report is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The commit is not a hash; another program could take it for an option or a reference.
    #[error("report.commit must be 40 or 64 lower-case hex digits")]
    Commit,
    /// The digest of the document is malformed.
    #[error("report.document must be sha256: and 64 lower-case hex digits")]
    Document,
    /// The outputs have this size, in bytes.
    #[error("report.outputs take {0} bytes as JSON, and at most {MAX_OUTPUT_BYTES} are allowed")]
    Outputs(usize),
}

impl Report {
    /// Cleans and truncates the message and the list of conflicts, and rejects other values that are too large or malformed. Call it for every
    /// report from a pod: an agent may have written it.
    ///
    /// # Errors
    /// If the outputs are larger than allowed, or the commit or the document's digest is malformed.
    pub fn enforce_limits(&mut self) -> Result<(), ReportError> {
        // The commit is passed to Git, so it must be a hash and not an option or the name of a branch.
        if let Some(commit) = &self.commit {
            let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
            if !(commit.len() == 40 || commit.len() == 64) || !commit.bytes().all(hex) {
                return Err(ReportError::Commit);
            }
        }
        if self.document.as_ref().is_some_and(|digest| !digest.is_valid()) {
            return Err(ReportError::Document);
        }
        // The runner measures the outputs in the same way.
        let size = serde_json::to_string(&self.outputs).map_or(usize::MAX, |json| json.len());
        if !self.outputs.is_empty() && size > MAX_OUTPUT_BYTES {
            return Err(ReportError::Outputs(size));
        }
        // The names come from the assignment. Others than those of the task are never read.
        self.measurements.retain(|name, _| name.len() <= MAX_NAME_BYTES);
        while self.measurements.len() > MAX_MEASUREMENTS {
            self.measurements.pop_last();
        }
        self.message = text::message(std::mem::take(&mut self.message), MAX_MESSAGE_BYTES);
        let mut room = MAX_CONFLICT_BYTES;
        let fitting = self.conflicts.iter().take_while(|name| {
            // One byte more for each name, so that the limit also bounds the number of empty names.
            let left = room.checked_sub(name.len() + 1);
            room = left.unwrap_or_default();
            left.is_some()
        });
        let fitting = fitting.count();
        self.conflicts.truncate(fitting);
        for name in self.conflicts.iter_mut().filter(|name| name.contains(text::is_terminal_control)) {
            *name = text::one_line(name);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::assignment::Reason;
    use crate::digest::Digest;

    use super::*;

    #[test]
    fn reports_within_the_limits_do_not_change() {
        let mut report = Report::new(Reason::MergeConflict, "m".repeat(MAX_MESSAGE_BYTES));
        report.commit = Some("0123456789abcdef".repeat(4));
        report.document = Some(Digest::of_bytes(b"text"));
        report.outputs.insert("name".into(), "value".into());
        report.measurements.insert("p95".into(), "20.5".parse().unwrap());
        report.conflicts = (0..1000).map(|number| format!("src/{number}.rs")).collect();
        let before = report.clone();
        assert_eq!((report.enforce_limits(), report), (Ok(()), before));
    }

    #[test]
    fn texts_for_people_are_truncated() {
        let mut report = Report::new(Reason::AgentFailed, "");
        report.message = "ü".repeat(MAX_MESSAGE_BYTES);
        report.conflicts = vec![String::new(); 100_000];
        report.enforce_limits().unwrap();
        assert_eq!((report.message.len(), report.conflicts.len()), (MAX_MESSAGE_BYTES, MAX_CONFLICT_BYTES));
        report.conflicts = vec!["x".repeat(MAX_CONFLICT_BYTES), "y".into()];
        let names = (0..20).map(|number| number.to_string()).chain(["n".repeat(MAX_NAME_BYTES + 1)]);
        report.measurements = names.map(|name| (name, "1".parse().unwrap())).collect();
        report.enforce_limits().unwrap();
        assert!(report.conflicts.is_empty());
        assert_eq!(report.measurements.len(), MAX_MEASUREMENTS);
        assert!(report.measurements.keys().all(|name| name.len() <= MAX_NAME_BYTES));
    }

    #[test]
    fn control_characters_are_replaced() {
        let mut report = Report::new(Reason::MergeConflict, "");
        report.message = "10%\r20%\u{1b}[0m".into();
        report.conflicts = vec!["a\u{1b}]0;b".into(), "two  spaces.rs".into()];
        report.enforce_limits().unwrap();
        assert_eq!(report.message, "10%\n20%\u{fffd}[0m");
        assert_eq!(report.conflicts, ["a ]0;b", "two  spaces.rs"]);
    }

    #[test]
    fn malformed_values_are_rejected() {
        let refused = |change: &dyn Fn(&mut Report)| {
            let mut report = Report::new(Reason::Succeeded, "");
            change(&mut report);
            report.enforce_limits().expect_err("it is refused").to_string()
        };
        for commit in ["", "abc", &"A".repeat(40), &"g".repeat(40), "--upload-pack=touch /tmp/x"] {
            assert!(refused(&|report| report.commit = Some(commit.into())).contains("report.commit"), "{commit}");
        }
        for digest in ["", "sha256:abc", &format!("sha256:{}", "A".repeat(64))] {
            let digest = Digest::from(digest.to_owned());
            assert!(refused(&|report| report.document = Some(digest.clone())).contains("report.document"), "{digest}");
        }
        let large = |report: &mut Report| drop(report.outputs.insert("n".into(), "x".repeat(MAX_OUTPUT_BYTES)));
        assert!(refused(&large).contains("at most 2048"));
    }
}
