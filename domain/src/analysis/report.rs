//! The result of the analysis of one document.

use serde::Serialize;

use super::finding::{Finding, SeverityCounts};
use super::quality::Quality;

/// Maximum number of findings in a report; its counts include all findings.
pub const MAX_FINDINGS: usize = 500;

/// Result of the analysis of a document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Findings, the worst first, then by line and id; at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// Counts of all findings, including those beyond the limit.
    pub counts: SeverityCounts,
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
