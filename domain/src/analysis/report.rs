//! The result of the analysis of one document.

use serde::Serialize;

use super::finding::{Finding, SeverityCounts};
use super::quality::Quality;

/// Maximum number of findings that a report holds; its counts are of all.
pub const MAX_FINDINGS: usize = 500;

/// What was found in a document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// The worst first, then by line and id; at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// Of all findings, also of those beyond the limit.
    pub counts: SeverityCounts,
    /// How good the document is, with its parts.
    pub quality: Quality,
}

impl Report {
    pub(super) fn new(findings: Vec<Finding>, quality: Quality) -> Self {
        let counts = SeverityCounts::new(&findings);
        let mut findings = findings;
        findings.truncate(MAX_FINDINGS);
        Self { findings, counts, quality }
    }
}
