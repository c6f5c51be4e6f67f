//! The part of a status that Constitution and Specification have in common.

use enact_crds::common::Condition;
use enact_crds::document::{Finding, FindingCounts, Quality, SourceStatus};
use enact_crds::{ConstitutionStatus, SpecificationStatus, convert};
use enact_domain::condition::{Condition as WantedCondition, READY};
use enact_domain::digest::Digest;
use enact_domain::time::Millis;

/// The fields that both statuses have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommonStatus {
    pub observed_generation: Option<i64>,
    pub conditions: Vec<Condition>,
    /// Digest of the present content.
    pub digest: Option<Digest>,
    /// Digest of the content that was last approved.
    pub approved_digest: Option<Digest>,
    /// State of a Git source.
    pub source: Option<SourceStatus>,
    pub quality: Option<Quality>,
    pub findings: FindingCounts,
    /// The worst findings.
    pub top_findings: Vec<Finding>,
}

/// A status with these fields.
pub trait HasCommonStatus: Default {
    /// Returns the common fields.
    fn common(&self) -> CommonStatus;
    /// Returns the status with other common fields.
    #[must_use]
    fn with_common(self, common: CommonStatus) -> Self;
}

macro_rules! has_common_status {
    ($status:ident) => {
        impl HasCommonStatus for $status {
            fn common(&self) -> CommonStatus {
                CommonStatus {
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

            fn with_common(self, common: CommonStatus) -> Self {
                Self {
                    observed_generation: common.observed_generation,
                    conditions: common.conditions,
                    digest: common.digest.map(|d| d.to_string()),
                    approved_digest: common.approved_digest.map(|d| d.to_string()),
                    source: common.source,
                    quality: common.quality,
                    findings: common.findings,
                    top_findings: common.top_findings,
                    ..self
                }
            }
        }
    };
}

has_common_status!(ConstitutionStatus);
has_common_status!(SpecificationStatus);

impl CommonStatus {
    /// Returns the reason of `Ready`.
    pub fn reason(&self) -> Option<&str> {
        self.conditions.iter().find(|c| c.type_ == READY).map(|c| c.reason.as_str())
    }

    /// Returns the status with other conditions.
    #[must_use]
    pub fn with_conditions(self, wanted: Vec<WantedCondition>, generation: Option<i64>, now: Millis) -> Self {
        Self {
            observed_generation: generation,
            conditions: convert::conditions(&self.conditions, wanted, generation, now),
            ..self
        }
    }

    /// Returns all fields that a reconcile of another object reads.
    pub fn seen_by_others(&self, generation: Option<i64>) -> String {
        let Self { observed_generation, conditions, digest, approved_digest, .. } = self;
        let conditions: Vec<_> = conditions.iter().map(|c| (&c.type_, &c.status, &c.reason, &c.message)).collect();
        format!("{generation:?} {observed_generation:?} {conditions:?} {digest:?} {approved_digest:?}")
    }
}
