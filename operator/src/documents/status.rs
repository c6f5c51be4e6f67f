//! Status: what a document's status says.

use enact_crds::common::Condition;
use enact_crds::convert;
use enact_crds::document::{Finding, FindingCounts};
use enact_domain::condition::{Condition as Wanted, READY};
use enact_domain::digest::Digest;
use enact_domain::time::Millis;

use super::decide::Decision;
use super::validate::Checked;

/// The part of a status that all documents share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// The generation that the status is about.
    pub observed_generation: Option<i64>,
    /// What holds.
    pub conditions: Vec<Condition>,
    /// Digest of the content.
    pub digest: Option<Digest>,
    /// Digest of the content that was last approved.
    pub approved_digest: Option<Digest>,
    /// How many findings there are.
    pub findings: FindingCounts,
    /// The first of them.
    pub top_findings: Vec<Finding>,
}

impl Standing {
    /// The reason of `Ready`.
    pub fn reason(&self) -> Option<&str> {
        self.conditions.iter().find(|c| c.type_ == READY).map(|c| c.reason.as_str())
    }

    /// What is so after a decision; findings stay as they are when there is no content to find anything in.
    #[must_use]
    pub fn after(self, decision: &Decision, checked: Option<&Checked>, generation: Option<i64>, now: Millis) -> Self {
        let conditions = decision.progress.conditions(decision.reason, &decision.message);
        let kept = (self.findings.clone(), self.top_findings.clone());
        let (findings, top_findings) = checked.map_or(kept, |c| (c.counts.clone(), c.top.clone()));
        Self {
            digest: decision.digest.clone(),
            approved_digest: decision.approved.clone(),
            findings,
            top_findings,
            ..self.with(conditions, generation, now)
        }
    }

    /// The same with other conditions.
    #[must_use]
    pub fn with(self, conditions: Vec<Wanted>, generation: Option<i64>, now: Millis) -> Self {
        Self {
            observed_generation: generation,
            conditions: convert::conditions(&self.conditions, conditions, generation, now),
            ..self
        }
    }
}
