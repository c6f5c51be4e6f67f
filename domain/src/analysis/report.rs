//! The result of the analysis of one document.

use serde::Serialize;

use super::acceptance::{Acceptance, AcceptedFinding, DOCUMENT, Separated, separate};
use super::directives;
use super::finding::{Category, Finding, Position, SeverityCounts};
use super::findings::Findings;
use super::kinds::{FINDING_KINDS, INVALID_ACCEPTANCE, UNUSED_ACCEPTANCE};
use super::quality::Quality;

/// Maximum number of findings in a report; its counts include all findings.
pub const MAX_FINDINGS: usize = 500;

/// Result of the analysis of a document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Open findings, the worst first, then by line and id; at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// Findings that are accepted with a reason, in the same order.
    pub accepted: Vec<AcceptedFinding>,
    /// Hints: words that can leave something open, and can be right as they are; at most [`MAX_FINDINGS`]. A hint becomes a question, and
    /// counts for nothing: neither counts, quality nor policies include it.
    pub hints: Vec<Finding>,
    /// Counts of all open findings, including those beyond the limit.
    pub counts: SeverityCounts,
    /// Quality of the document, whether its findings are accepted or not.
    pub quality: Quality,
}

impl Report {
    pub(super) fn new((mut findings, mut hints): (Vec<Finding>, Vec<Finding>), quality: Quality) -> Self {
        let counts = SeverityCounts::new(&findings);
        findings.truncate(MAX_FINDINGS);
        hints.truncate(MAX_FINDINGS);
        Self { findings, accepted: Vec::new(), hints, counts, quality }
    }

    /// Separates the findings that comments of the document accept, and adds findings about comments that accept nothing.
    pub(super) fn with_comments(self, source: &str) -> Self {
        let comments = directives::read(source);
        if comments.valid.is_empty() && comments.invalid.is_empty() {
            return self;
        }
        let acceptances: Vec<Acceptance> = comments.valid.iter().map(|comment| comment.acceptance.clone()).collect();
        let (mut report, used) = self.accepting(&acceptances);
        let mut more = Findings::default();
        for comment in &comments.invalid {
            let place = Position { line: comment.line, location: DOCUMENT, excerpt: &comment.text };
            let remedy = "write `<!-- enact: accept CODE reason -->`, or remove the comment";
            more.push(&INVALID_ACCEPTANCE, place, comment.problem.clone(), remedy);
        }
        for (comment, _) in comments.valid.iter().zip(used).filter(|(_, used)| !used) {
            let Acceptance { code, reason, .. } = &comment.acceptance;
            // Only a comparison with other documents has these findings.
            if is_about_others(code) {
                continue;
            }
            let excerpt = format!("{code} {reason}");
            let place = Position { line: comment.line, location: DOCUMENT, excerpt: &excerpt };
            let summary = format!(
                "the comment accepts {code}, and line {} has no finding of this code that can be accepted",
                comment.about
            );
            more.push(&UNUSED_ACCEPTANCE, place, summary, "remove the comment, or move it to the line of the finding");
        }
        report.add(more.finish());
        report
    }

    /// Separates the findings that these acceptances cover, and removes such hints; also returns which acceptances cover one.
    #[must_use]
    pub fn accepting(mut self, acceptances: &[Acceptance]) -> (Self, Vec<bool>) {
        let Separated { open, accepted, mut used } = separate(std::mem::take(&mut self.findings), acceptances);
        let hints = separate(std::mem::take(&mut self.hints), acceptances);
        for (used, of_hint) in used.iter_mut().zip(hints.used) {
            *used |= of_hint;
        }
        self.hints = hints.open;
        for AcceptedFinding { finding, .. } in &accepted {
            *self.counts.of(finding.severity) -= 1;
        }
        self.findings = open;
        self.accepted.extend(accepted);
        (self, used)
    }

    fn add(&mut self, more: Vec<Finding>) {
        for finding in &more {
            *self.counts.of(finding.severity) += 1;
        }
        self.findings.extend(more);
        self.findings.sort_by(|a, b| (a.severity, a.line, &a.id).cmp(&(b.severity, b.line, &b.id)));
        self.findings.truncate(MAX_FINDINGS);
    }
}

/// Returns whether only a comparison with other documents, or with the tasks of a plan, has findings of this code.
pub fn is_about_others(code: &str) -> bool {
    let others = [Category::Coverage, Category::Overlap, Category::Constitution];
    FINDING_KINDS.iter().any(|kind| kind.code == code && others.contains(&kind.category))
}
