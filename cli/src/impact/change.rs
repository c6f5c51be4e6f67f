//! A changed document, and the decisions that would no longer count for it.

use std::path::Path;

use anyhow::{Result, bail};
use enact_crds::approval::{Choice, Subject};
use enact_crds::subject::{Approvable, ApprovalSubject};
use enact_domain::analysis::Severity;
use enact_domain::approval::{self, Content, Verdict, evaluate};
use enact_domain::digest::Digest;
use enact_domain::speckit::Parsed;
use enact_domain::time::Millis;
use jiff::Timestamp;

use super::report::{Decisions, LostDecision};
use crate::cluster::Cluster;
use crate::decide::decisions_on;

/// A document of an object, and the file that would replace it.
pub struct Change<'a> {
    pub(super) subject: &'a Subject,
    /// The present document, with what the operator adds to it.
    pub(super) present: String,
    /// Digest of the present content.
    pub(super) digest: String,
    /// The changed document.
    pub(super) bytes: &'a [u8],
    /// Path of the file.
    pub(super) path: &'a Path,
}

/// Checks that a changed document can be used.
pub(super) fn check<T>(change: &Change<'_>, parsed: &Parsed<T>) -> Result<()> {
    match parsed.errors().next() {
        None => Ok(()),
        Some(error) => bail!("{} cannot be used as a {:?}: {error}", change.path.display(), change.subject.kind),
    }
}

/// Returns the decisions that would no longer count for the content with this digest, whose worst finding has this severity, and what
/// would then be missing.
pub(super) async fn decisions<K: Approvable>(
    cluster: &Cluster,
    subject: &Subject,
    object: &K,
    digest: &Digest,
    worst: Option<Severity>,
) -> Decisions {
    let ApprovalSubject { uid, content, policy } = ApprovalSubject::of(object, None);
    let Some(before) = content else { return Decisions::default() };
    let after = Content { digest: digest.clone(), worst, ..before.clone() };
    let decisions = match decisions_on(cluster, subject, uid.as_deref()).await {
        Ok(decisions) => decisions,
        // A person may have the right to read documents without the right to list Approvals.
        Err(error) => {
            let needed = format!("the decisions cannot be listed: {error:#}");
            return Decisions { lost: Vec::new(), needed: Some(needed) };
        }
    };
    let now = Millis(Timestamp::now().as_millisecond());
    let lost = approval::lost(&policy, &before, &after, &decisions, now);
    let needed = match evaluate(&policy, &after, &decisions, now) {
        Verdict::Waiting(requirement) => Some(requirement.to_string()),
        Verdict::Rejected { user, .. } => Some(format!("{user} rejected this content")),
        Verdict::Approved { .. } => None,
    };
    let lost = lost.into_iter().map(|(decision, void)| LostDecision {
        name: decision.name.clone(),
        user: decision.user.clone(),
        decision: match decision.choice {
            approval::Choice::Approve => Choice::Approve,
            approval::Choice::Reject => Choice::Reject,
        },
        reason: void.to_string(),
    });
    Decisions { lost: lost.collect(), needed }
}
