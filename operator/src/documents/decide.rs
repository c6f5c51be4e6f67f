//! Decide: where a document stands.

use enact_crds::convert;
use enact_domain::approval::{self, Verdict, evaluate};
use enact_domain::condition::Progress;
use enact_domain::digest::Digest;
use enact_domain::time::Millis;

use super::observe::Observed;
use super::status::Standing;

/// Where a document stands, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Which of the kstatus conditions holds.
    pub progress: Progress,
    /// CamelCase reason.
    pub reason: &'static str,
    /// For a person.
    pub message: String,
    /// Digest of the content; the last known one when it is missing.
    pub digest: Option<Digest>,
    /// Digest of the content that was last approved, and still is.
    pub approved: Option<Digest>,
    /// When an approval expires, and this is to be decided again.
    pub wake: Option<Millis>,
}

/// Decides at the time `now` on what was observed, after what was known `before`.
pub fn decide<F>(seen: &Observed<F>, before: &Standing, now: Millis) -> Decision {
    let digest = seen.content.as_ref().ok().map(|c| c.digest.clone()).or_else(|| before.digest.clone());
    let (progress, reason, message, wake) = stand(seen, now);
    let approved = match (progress, reason) {
        (Progress::Ready, _) => digest.clone(),
        // What is not approved any more has lost it; something newer has not had it.
        (_, WAITING | REJECTED) => before.approved_digest.clone().filter(|a| Some(a) != digest.as_ref()),
        // Something else is in the way.
        _ => before.approved_digest.clone(),
    };
    Decision { progress, reason, message, digest, approved, wake }
}

const WAITING: &str = "WaitingForApproval";
const REJECTED: &str = "Rejected";

fn stand<F>(seen: &Observed<F>, now: Millis) -> (Progress, &'static str, String, Option<Millis>) {
    use Progress::{Ready, Reconciling, Stalled};
    if seen.tenant.is_none() {
        let remedy = "add it to spec.namespaces of a Tenant, or move the object to a namespace of one";
        return (Stalled, "NotInTenant", format!("the namespace belongs to no tenant; {remedy}"), None);
    }
    let content = match &seen.content {
        Ok(content) => content,
        Err(missing) => {
            let (progress, reason) = missing.standing();
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
                "no approval is asked for".into()
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
            let message = format!("{demand}; read the document and run `enact approve {}`", seen.handle);
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
