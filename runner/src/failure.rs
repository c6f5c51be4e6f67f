//! Why the work cannot go on.

use std::io;
use std::path::Path;

use enact_domain::assignment::{MAX_MESSAGE_BYTES, Reason, Report};

/// The end of an attempt that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", reason.as_str())]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) message: String,
    /// Files in conflict.
    pub(crate) conflicts: Vec<String>,
}

impl Failure {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), conflicts: Vec::new() }
    }

    pub(crate) fn cancelled() -> Self {
        Self::new(Reason::Cancelled, "the attempt was asked to stop")
    }

    /// A volume that cannot be used as the runner needs it.
    pub(crate) fn volume(path: &Path, error: &io::Error) -> Self {
        Self::new(
            Reason::ContainerConfigError,
            format!("{} cannot be used: {error}; check the pod's volumes and their size limits", path.display()),
        )
    }

    /// A program that the image has to hold, and that cannot be started.
    pub(crate) fn program(name: &str, error: &io::Error) -> Self {
        Self::new(
            Reason::InvalidAssignment,
            format!("`{name}` cannot be started: {error}; the Agent's image must contain it"),
        )
    }

    pub(crate) fn into_report(self) -> Report {
        let mut report = Report::new(self.reason, self.message);
        report.conflicts = self.conflicts;
        report
    }
}

/// `head`, and as much of the end of `detail` as a report's message holds.
pub(crate) fn explain(head: &str, detail: &str) -> String {
    let room = MAX_MESSAGE_BYTES.saturating_sub(head.len() + 2);
    match crate::capture::last_lines(detail, room.min(700)) {
        "" => head.to_owned(),
        detail => format!("{head}: {detail}"),
    }
}
