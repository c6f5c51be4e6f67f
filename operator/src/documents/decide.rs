//! Decide: where a document stands.

use enact_crds::convert;
use enact_domain::approval::{Content, Verdict, evaluate};
use enact_domain::condition::Progress;
use enact_domain::digest::Digest;
use enact_domain::time::Millis;

use super::observe::{Observed, Superior};
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
pub fn decide(seen: &Observed, before: &Standing, now: Millis) -> Decision {
    let digest = seen.content.as_ref().ok().map(|c| c.checked.digest.clone()).or_else(|| before.digest.clone());
    let (progress, reason, message, wake) = stand(seen, now);
    let approved = match progress {
        Progress::Ready => digest.clone(),
        // What is neither approved now nor replaced by something newer has lost its approval.
        _ => before.approved_digest.clone().filter(|a| Some(a) != digest.as_ref()),
    };
    Decision { progress, reason, message, digest, approved, wake }
}

fn stand(seen: &Observed, now: Millis) -> (Progress, &'static str, String, Option<Millis>) {
    use Progress::{Ready, Reconciling, Stalled};
    if seen.tenant.is_none() {
        let remedy = "add it to spec.namespaces of a Tenant, or move the object to a namespace of one";
        return (Stalled, "NotInTenant", format!("the namespace belongs to no tenant; {remedy}"), None);
    }
    let checked = match &seen.content {
        Ok(content) => &content.checked,
        Err(missing) => return (Stalled, "SourceMissing", missing.to_string(), None),
    };
    if let Some(error) = &checked.error {
        let more = match checked.counts.critical {
            0 | 1 => String::new(),
            n => format!(" (and {} more, see status.topFindings)", n - 1),
        };
        return (Stalled, "InvalidDocument", format!("{error}{more}"), None);
    }
    match &seen.constitution {
        Superior::None | Superior::Ready => {}
        Superior::Missing(name) => {
            let message = format!("spec.constitutionRef: there is no Constitution {name} in this namespace; create it");
            return (Reconciling, "WaitingForConstitution", message, None);
        }
        Superior::NotReady(name) => {
            let message = format!("Constitution {name} is not in force; see `kubectl describe constitution {name}`");
            return (Reconciling, "WaitingForConstitution", message, None);
        }
    }
    let subject =
        Content { digest: checked.digest.clone(), author: seen.author.clone(), worst: convert::worst(&checked.counts) };
    match evaluate(&seen.policy, &subject, &seen.decisions, now) {
        Verdict::Approved { people, until } => {
            let by = if people.is_empty() {
                "no approval is asked for".into()
            } else {
                format!("approved by {}", people.join(", "))
            };
            let message = match checked.facts.open_questions() {
                0 => by,
                1 => format!("{by}; 1 question is open"),
                n => format!("{by}; {n} questions are open"),
            };
            (Ready, "Approved", message, until)
        }
        Verdict::Waiting(demand) => {
            let message = format!("{demand}; read the document and run `enact approve {}`", seen.handle);
            (Reconciling, "WaitingForApproval", message, None)
        }
        Verdict::Rejected { user, comment } => {
            let said = if comment.is_empty() { String::new() } else { format!(": {comment}") };
            (Stalled, "Rejected", format!("rejected by {user}{said}; change the document"), None)
        }
    }
}

#[cfg(test)]
mod tests;
