//! Status: what a document's status says.

use enact_crds::common::Condition;
use enact_crds::document::{Finding, FindingCounts, Quality, SourceStatus};
use enact_crds::{ConstitutionStatus, SpecificationStatus, convert};
use enact_domain::condition::{Condition as Wanted, READY};
use enact_domain::digest::Digest;
use enact_domain::time::Millis;

use super::decide::Decision;
use super::observe::Content;

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
    /// What was last read from outside the cluster.
    pub source: Option<SourceStatus>,
    /// How good the document is.
    pub quality: Option<Quality>,
    /// How many findings there are.
    pub findings: FindingCounts,
    /// The first of them.
    pub top_findings: Vec<Finding>,
}

/// A status that has that part.
pub trait Shared: Default {
    /// The part.
    fn standing(&self) -> Standing;
    /// The status with another part.
    #[must_use]
    fn with(self, standing: Standing) -> Self;
}

macro_rules! shared {
    ($status:ident) => {
        impl Shared for $status {
            fn standing(&self) -> Standing {
                Standing {
                    observed_generation: self.observed_generation,
                    conditions: self.conditions.clone(),
                    digest: self.digest.clone().map(Into::into),
                    approved_digest: self.approved_digest.clone().map(Into::into),
                    source: self.source.clone(),
                    quality: self.quality.clone(),
                    findings: self.findings.clone(),
                    top_findings: self.top_findings.clone(),
                }
            }

            fn with(self, standing: Standing) -> Self {
                Self {
                    observed_generation: standing.observed_generation,
                    conditions: standing.conditions,
                    digest: standing.digest.map(|d| d.to_string()),
                    approved_digest: standing.approved_digest.map(|d| d.to_string()),
                    source: standing.source,
                    quality: standing.quality,
                    findings: standing.findings,
                    top_findings: standing.top_findings,
                    ..self
                }
            }
        }
    };
}

shared!(ConstitutionStatus);
shared!(SpecificationStatus);

impl Standing {
    /// The reason of `Ready`.
    pub fn reason(&self) -> Option<&str> {
        self.conditions.iter().find(|c| c.type_ == READY).map(|c| c.reason.as_str())
    }

    /// What is so after a decision; findings stay as they are when there is no content to find anything in.
    #[must_use]
    pub fn after<F>(
        self,
        decision: &Decision,
        content: Option<&Content<F>>,
        generation: Option<i64>,
        now: Millis,
    ) -> Self {
        let conditions = decision.progress.conditions(decision.reason, &decision.message);
        let mut after = self.with(conditions, generation, now);
        after.digest.clone_from(&decision.digest);
        after.approved_digest.clone_from(&decision.approved);
        if let Some(content) = content {
            after.quality.clone_from(&content.quality);
            after.findings = content.findings.counts.clone();
            after.top_findings = content.findings.top();
        }
        after
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
