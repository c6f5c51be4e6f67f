//! Decide: whether a document is approved, and if not, why.

use enact_crds::convert;
use enact_domain::approval::{self, Verdict, evaluate};
use enact_domain::condition::Progress;
use enact_domain::digest::Digest;
use enact_domain::time::Millis;

use super::common_status::CommonStatus;
use super::observe::Observed;

/// The state of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The kstatus condition.
    pub progress: Progress,
    pub reason: &'static str,
    pub message: String,
    /// Digest of the content; the last known one when the content is missing.
    pub digest: Option<Digest>,
    /// Digest of the content that was last approved and still is.
    pub approved: Option<Digest>,
    /// When an approval expires; the document is decided again then.
    pub requeue_at: Option<Millis>,
}

/// Decides on what was observed at `now`, given the status `before`.
pub fn decide<F>(seen: &Observed<F>, before: &CommonStatus, now: Millis) -> Decision {
    let digest = seen.content.as_ref().ok().map(|c| c.digest.clone()).or_else(|| before.digest.clone());
    let (progress, reason, message, requeue_at) = state(seen, now);
    let approved = match (progress, reason) {
        (Progress::Ready, _) => digest.clone(),
        // The approval of this content was withdrawn, or a newer content was never approved.
        (_, WAITING | REJECTED) => before.approved_digest.clone().filter(|a| Some(a) != digest.as_ref()),
        // Another problem does not withdraw an approval.
        _ => before.approved_digest.clone(),
    };
    Decision { progress, reason, message, digest, approved, requeue_at }
}

const WAITING: &str = "WaitingForApproval";
const REJECTED: &str = "Rejected";

fn state<F>(seen: &Observed<F>, now: Millis) -> (Progress, &'static str, String, Option<Millis>) {
    use Progress::{Ready, Reconciling, Stalled};
    if seen.tenant.is_none() {
        let remedy = "add it to spec.namespaces of a Tenant, or move the object to a namespace of one";
        return (Stalled, "NotInTenant", format!("the namespace belongs to no tenant; {remedy}"), None);
    }
    let content = match &seen.content {
        Ok(content) => content,
        Err(missing) => {
            let (progress, reason) = missing.readiness();
            return (progress, reason, missing.to_string(), None);
        }
    };
    if let Some(error) = &content.error {
        return (Stalled, "InvalidDocument", error.clone(), None);
    }
    if let Some(obstacle) = &content.obstacle {
        return (obstacle.progress, obstacle.reason, obstacle.message.clone(), None);
    }
    let worst = convert::worst(&content.findings.counts);
    let subject = approval::Content { digest: content.digest.clone(), author: seen.author.clone(), worst };
    match evaluate(&seen.policy, &subject, &seen.decisions, now) {
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
            (Ready, "Approved", message, until)
        }
        Verdict::Waiting(demand) => {
            let message = format!("{demand}; read the document and run `kubectl enact approve {}`", seen.handle);
            (Reconciling, WAITING, message, None)
        }
        Verdict::Rejected { user, comment } => {
            let said = if comment.is_empty() { String::new() } else { format!(": {comment}") };
            (Stalled, REJECTED, format!("rejected by {user}{said}; change the document"), None)
        }
    }
}

#[cfg(test)]
mod tests;
