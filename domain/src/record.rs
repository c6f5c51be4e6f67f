//! What goes to the record in Postgres before it happens in Kubernetes.
//!
//! Each [`Record`] is idempotent: it is keyed by the UID of its object and a key of its own, so that recording it twice changes nothing.

use serde::{Deserialize, Serialize};

use crate::assignment::Report;
use crate::attempt::FailureClass;
use crate::digest::Digest;
use crate::time::Millis;

/// Largest list of findings that is kept for one revision, as JSON in bytes.
pub const MAX_FINDINGS_BYTES: usize = 1 << 20;

/// The kinds whose life is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A tenant of the installation.
    Tenant,
    /// A constitution.
    Constitution,
    /// A specification.
    Specification,
    /// A plan.
    Plan,
    /// A task of a plan.
    Task,
    /// A coding agent's configuration.
    Agent,
    /// A person's decision.
    Approval,
}

impl Kind {
    /// Kubernetes' name of the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "Tenant",
            Self::Constitution => "Constitution",
            Self::Specification => "Specification",
            Self::Plan => "Plan",
            Self::Task => "Task",
            Self::Agent => "Agent",
            Self::Approval => "Approval",
        }
    }
}

/// The object that a record is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for a Tenant.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: a namesake is another subject.
    pub uid: String,
}

/// One thing to remember.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Tenant that it belongs to.
    pub tenant: String,
    /// What it is about.
    pub subject: Subject,
    /// When it was decided.
    pub at: Millis,
    /// Who did it: a user's name, or `system:enact`.
    pub actor: String,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A document has this content (constitution, specification, plan). The content that it has already, recorded again, adds nothing;
    /// one that it had before is a new revision.
    Revision {
        /// Digest of `content`.
        digest: Digest,
        /// The version that the document gives itself, if any.
        version: Option<String>,
        /// Why: `Source`, `Clarification`, `Rollback of 3`, or a person's words of at most 1 KiB.
        reason: String,
        /// The Git commit that it was read from, if it was.
        commit: Option<String>,
        /// The document, or the canonical JSON of the content.
        content: String,
    },
    /// What the analysis of a revision found. Keyed by the digest and the analyser.
    Findings {
        /// Digest of the content that was analysed.
        digest: Digest,
        /// Name and version of the analysis: another version may find something else. At most 64 bytes.
        analyser: String,
        /// The findings, an array; as many of them are kept as fit into [`MAX_FINDINGS_BYTES`].
        findings: serde_json::Value,
    },
    /// The subject came into a state. Keyed by `key`.
    Transition {
        /// Unique for the subject: the state and what makes it unlike an earlier one (`Running/2`, say).
        key: String,
        /// The state.
        state: String,
        /// CamelCase reason.
        reason: String,
        /// For a person.
        message: String,
        /// For a Task: UID of its Plan and id in it.
        task: Option<TaskRef>,
    },
    /// An attempt begins; written before its pod is created. Keyed by the number.
    AttemptStarted {
        /// UID of the plan.
        plan_uid: String,
        /// Number of the attempt.
        number: u32,
        /// Name of the pod.
        pod: String,
        /// Name of the Agent.
        agent: String,
    },
    /// An attempt ended. Keyed by the number.
    AttemptFinished {
        /// UID of the plan.
        plan_uid: String,
        /// Number of the attempt.
        number: u32,
        /// Class of the failure; none on success.
        failure: Option<FailureKind>,
        /// What the pod reported.
        report: Report,
        /// When its work began.
        started: Option<Millis>,
    },
    /// A person decided. Keyed by the Approval's UID, which is the subject's.
    Decision {
        /// Kind of what was decided on.
        about: Kind,
        /// Name of what was decided on.
        name: String,
        /// Content that was decided on.
        digest: Digest,
        /// Whether it was approved.
        approved: bool,
        /// The person's words.
        comment: String,
    },
}

/// Longest reason of a revision, in bytes.
const MAX_REASON_BYTES: usize = 1024;

/// What an annotation says that makes `words` the reason of the revision with this content: it must not be taken for that of a later one.
pub fn tell_reason(digest: &Digest, words: &str) -> String {
    format!("{} {words}", digest.short())
}

/// The words of an annotation that [`tell_reason`] made, if they are about this content; cut where they are too long.
pub fn told_reason<'a>(annotation: &'a str, digest: &Digest) -> Option<&'a str> {
    let words = annotation.strip_prefix(digest.short())?.strip_prefix(' ')?.trim();
    let words = words.get(..words.floor_char_boundary(MAX_REASON_BYTES))?;
    (!words.is_empty()).then_some(words)
}

/// A task's place in its plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRef {
    /// UID of the Plan.
    pub plan_uid: String,
    /// The task's id in the plan.
    pub id: String,
}

/// [`FailureClass`] as it is stored.
pub type FailureKind = String;

/// The stored word for a class.
pub fn failure_kind(class: FailureClass) -> FailureKind {
    class.as_str().to_owned()
}

/// An attempt as the record has it: what a restarted operator needs to know so that nothing is done twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedAttempt {
    /// UID of the Task, or of the Plan for an integration.
    pub subject_uid: String,
    /// Number of the attempt.
    pub number: u32,
    /// Whether its end is recorded, and if it is, with which failure.
    pub finished: Option<Option<FailureKind>>,
    /// How it ended; while that is not recorded, what the pod itself delivered to the server.
    pub report: Option<Report>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_of_one_content() {
        let (one, other) = (Digest::of_bytes(b"one"), Digest::of_bytes(b"other"));
        let told = tell_reason(&one, "Rollback of 3");
        assert_eq!(told_reason(&told, &one), Some("Rollback of 3"));
        assert_eq!(told_reason(&told, &other), None);
        assert_eq!(told_reason("because", &one), None);
        assert_eq!(told_reason(&tell_reason(&one, " "), &one), None);
        let long = tell_reason(&one, &"ä".repeat(1000));
        assert_eq!(told_reason(&long, &one).map(str::len), Some(1024));
    }
}
