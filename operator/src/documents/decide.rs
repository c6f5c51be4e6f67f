//! Decide: the approval of a document, or the reason why it is not approved.

use enact_crds::convert;
use enact_domain::approval::{self, Verdict, evaluate};
use enact_domain::condition::{Progress, Readiness};
use enact_domain::digest::Digest;
use enact_domain::time::Millis;

use super::common_status::CommonStatus;
use super::content::Content;
use super::observe::Observed;

/// The state of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub readiness: Readiness,
    /// Digest of the content; the last known one when the content is missing.
    pub digest: Option<Digest>,
    /// Digest of the content that was last approved and still is.
    pub approved: Option<Digest>,
    /// Time at which an approval expires and the document is decided again.
    pub requeue_at: Option<Millis>,
}

const WAITING: &str = "WaitingForApproval";
const REJECTED: &str = "Rejected";

/// Decides the state of a document at `now`, given the status `before`. `handle` is the document as arguments of a command:
/// `specification/shop -n team`.
pub fn decide<F>(handle: &str, observed: &Observed<Content<F>>, before: &CommonStatus, now: Millis) -> Decision {
    // A source that is missing for a moment must not look like new content: approvals name this digest.
    let digest = observed.content.as_ref().ok().map(|c| c.digest.clone()).or_else(|| before.digest.clone());
    let (readiness, requeue_at) = readiness(handle, observed, now);
    let approved = match (readiness.progress, &*readiness.reason) {
        (Progress::Ready, _) => digest.clone(),
        // The approval of this content was withdrawn, or a newer content was never approved.
        (_, WAITING | REJECTED) => before.approved_digest.clone().filter(|a| Some(a) != digest.as_ref()),
        // Another problem does not withdraw an approval.
        _ => before.approved_digest.clone(),
    };
    Decision { readiness, digest, approved, requeue_at }
}

/// Returns the readiness of a document, and when an approval expires.
fn readiness<F>(handle: &str, observed: &Observed<Content<F>>, now: Millis) -> (Readiness, Option<Millis>) {
    if observed.location.tenant.is_none() {
        let message = "the namespace belongs to no tenant; add it to spec.namespaces of a Tenant, or move the object to a namespace of one";
        return (Readiness::stalled("NotInTenant", message), None);
    }
    let content = match &observed.content {
        Ok(content) => content,
        Err(missing) => return (missing.clone(), None),
    };
    if let Some(error) = &content.error {
        return (Readiness::stalled("InvalidDocument", error.clone()), None);
    }
    // Before the approvals are evaluated: people cannot approve a document that violates a MUST rule.
    if let Some(blocked) = &content.blocked {
        return (blocked.clone(), None);
    }
    let worst = convert::worst(&content.findings.counts);
    let subject = approval::Content { digest: content.digest.clone(), authors: observed.authors.clone(), worst };
    match evaluate(&observed.policy, &subject, &observed.decisions, now) {
        Verdict::Approved { people, until } => {
            let by = if people.is_empty() {
                "no approval is required".into()
            } else {
                format!("approved by {}", people.join(", "))
            };
            let message = match content.open_questions {
                0 => by,
                1 => format!("{by}; 1 question is open"),
                n => format!("{by}; {n} questions are open"),
            };
            (Readiness::ready("Approved", message), until)
        }
        Verdict::Waiting(demand) => {
            let message = format!("{demand}; read the document and run `kubectl enact approve {handle}`");
            (Readiness::stalled(WAITING, message), None)
        }
        Verdict::Rejected { user, comment } => {
            let comment = if comment.is_empty() { String::new() } else { format!(": {comment}") };
            (Readiness::stalled(REJECTED, format!("rejected by {user}{comment}; change the document")), None)
        }
    }
}

#[cfg(test)]
mod tests;
