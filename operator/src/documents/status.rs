//! Status: the status of a document after a decision.

use enact_domain::time::Millis;

use super::common_status::CommonStatus;
use super::content::{Content, SourceState};
use super::decide::Decision;

/// Returns the common fields after a decision. Findings stay as they are when there is no content to find anything in.
pub fn after<F>(
    before: CommonStatus,
    decision: &Decision,
    content: Option<&Content<F>>,
    source: &SourceState,
    generation: Option<i64>,
    now: Millis,
) -> CommonStatus {
    let mut after = before.with_conditions(decision.readiness.conditions(), generation, now);
    after.digest.clone_from(&decision.digest);
    after.approved_digest.clone_from(&decision.approved);
    after.source.clone_from(&source.source);
    if let Some(content) = content {
        after.quality.clone_from(&content.quality);
        after.findings = content.findings.counts.clone();
        after.top_findings = content.findings.top();
    }
    after
}
