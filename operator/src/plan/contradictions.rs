//! Findings about decisions of a proposal that contradict decisions in force in its namespace.

use enact_crds::document::{Finding, Severity};
use enact_domain::analysis::Category;
use enact_domain::decisions::{self, Contradiction, Decision, question_key};

use super::context::Context;
use super::observed::Observed;
use crate::context::Membership;
use crate::documents::findings::{cut, own};
use crate::error::Error;

/// Code of the findings.
const CODE: &str = "DecisionContradicted";
/// Most findings about one proposal. They are in the status, for each of several proposals.
const MAX_CONTRADICTIONS: usize = 10;

/// Reads the decisions in force of other plans, and returns a finding for each proposed decision that contradicts one.
///
/// # Errors
/// When the record cannot be read.
pub async fn find(
    ctx: &Context,
    observed: &Observed,
    member: &Membership,
    proposed: &[Decision],
) -> Result<Vec<Finding>, Error> {
    if proposed.is_empty() {
        return Ok(Vec::new());
    }
    let questions: Vec<String> = proposed.iter().map(|decision| question_key(&decision.question)).collect();
    let (tenant, namespace, uid) = (&member.tenant, &observed.namespace, &observed.uid);
    let recorded = ctx.record_store.decisions_in_force(tenant, namespace, uid, &questions).await?;
    let found = decisions::contradictions(proposed, &recorded);
    Ok(found.iter().take(MAX_CONTRADICTIONS).map(finding).collect())
}

fn finding(found: &Contradiction) -> Finding {
    let Contradiction { proposed, in_force } = found;
    let about = format!("{}/{}/{}", question_key(&proposed.question), proposed.choice, in_force.id);
    Finding {
        line: proposed.line,
        message: cut(&found.message()),
        remedy: cut(&found.remedy()),
        ..own(Category::Inconsistency, CODE, Severity::Medium, &about)
    }
}
