//! The failure of an attempt.

use std::io;
use std::path::Path;

use enact_domain::assignment::{MAX_MESSAGE_BYTES, Reason, Report};
use enact_domain::text::truncate;

use crate::text::last_lines;

/// Most bytes of a program's output in a message.
const MAX_DETAIL_BYTES: usize = 700;

/// The reason and message of an attempt that did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) message: String,
    /// Files with merge conflicts.
    pub(crate) conflicts: Vec<String>,
    /// The commit with the work that was done, if it was pushed.
    pub(crate) commit: Option<String>,
}

impl Failure {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), conflicts: Vec::new(), commit: None }
    }

    pub(crate) fn cancelled() -> Self {
        Self::new(Reason::Cancelled, "the attempt was asked to stop")
    }

    pub(crate) fn signals(error: &io::Error) -> Self {
        Self::new(Reason::ContainerConfigError, format!("the runner cannot set up signal handling: {error}"))
    }

    /// Returns the failure for a volume that the runner cannot read or write.
    pub(crate) fn volume(path: &Path, error: &io::Error) -> Self {
        Self::new(
            Reason::ContainerConfigError,
            format!("{} cannot be used: {error}; check the pod's volumes and their size limits", path.display()),
        )
    }

    /// Returns the failure for a program that cannot be started.
    pub(crate) fn program(name: &str, error: &io::Error) -> Self {
        Self::new(
            Reason::InvalidAssignment,
            format!("`{name}` cannot be started: {error}; the Agent's image must contain it"),
        )
    }

    /// Adds a part to the end of the message, which is shortened for it if necessary.
    pub(crate) fn append(&mut self, part: &str) {
        truncate(&mut self.message, MAX_MESSAGE_BYTES.saturating_sub(part.len() + 2));
        self.message.push_str("; ");
        self.message.push_str(part);
    }

    pub(crate) fn into_report(self) -> Report {
        Report { conflicts: self.conflicts, commit: self.commit, ..Report::new(self.reason, self.message) }
    }
}

/// Returns `summary` followed by as much of the end of `detail` as fits into the message of a report.
pub(crate) fn explain(summary: &str, detail: &str) -> String {
    let limit = MAX_MESSAGE_BYTES.saturating_sub(summary.len() + 2);
    match last_lines(detail, limit.min(MAX_DETAIL_BYTES)) {
        "" => summary.to_owned(),
        detail => format!("{summary}: {detail}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_at_the_end_of_a_long_message_is_not_cut() {
        let mut failure = Failure::new(Reason::GateFailed, "é".repeat(MAX_MESSAGE_BYTES));
        failure.append("the work is lost: no space");
        let message = failure.into_report().message;
        assert!(message.ends_with("é; the work is lost: no space"), "{message}");
    }
}
