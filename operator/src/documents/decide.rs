//! Decide: where a document stands.

use enact_domain::approval::{Verdict, evaluate};
use enact_domain::condition::Progress;
use enact_domain::digest::Digest;

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
}

/// Decides on what was observed, after what was known `before`.
pub fn decide<F>(seen: &Observed<F>, before: &Standing) -> Decision {
    let digest = seen.content.as_ref().ok().map(|c| c.digest.clone()).or_else(|| before.digest.clone());
    let (progress, reason, message) = stand(seen);
    let approved = match progress {
        Progress::Ready => digest.clone(),
        // What is neither approved now nor replaced by something newer has lost its approval.
        _ => before.approved_digest.clone().filter(|a| Some(a) != digest.as_ref()),
    };
    Decision { progress, reason, message, digest, approved }
}

fn stand<F>(seen: &Observed<F>) -> (Progress, &'static str, String) {
    use Progress::{Ready, Reconciling, Stalled};
    if seen.tenant.is_none() {
        let remedy = "add it to spec.namespaces of a Tenant, or move the object to a namespace of one";
        return (Stalled, "NotInTenant", format!("the namespace belongs to no tenant; {remedy}"));
    }
    let content = match &seen.content {
        Ok(content) => content,
        Err(missing) => return (Stalled, "SourceMissing", missing.to_string()),
    };
    if let Some(error) = &content.error {
        return (Stalled, "InvalidDocument", error.clone());
    }
    if let Some(obstacle) = &content.obstacle {
        return (obstacle.progress, obstacle.reason, obstacle.message.clone());
    }
    match evaluate(&seen.policy, &content.digest, seen.author.as_deref(), &seen.decisions) {
        Verdict::Approved(people) => {
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
            (Ready, "Approved", message)
        }
        Verdict::Waiting { have, need } => {
            let groups = match seen.policy.groups.as_slice() {
                [] => String::new(),
                groups => format!(" by members of {}", groups.join(", ")),
            };
            let message = format!(
                "{have} of {need} approvals{groups}; read the document and run `enact approve {}`",
                seen.handle
            );
            (Reconciling, "WaitingForApproval", message)
        }
        Verdict::Rejected { user, comment } => {
            let said = if comment.is_empty() { String::new() } else { format!(": {comment}") };
            (Stalled, "Rejected", format!("rejected by {user}{said}; change the document"))
        }
    }
}

#[cfg(test)]
mod tests;
