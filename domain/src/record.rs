//! Records that the operator writes to Postgres before it acts in Kubernetes.
//!
//! Recording is idempotent: the UID of the subject and a key of the event identify a [`Record`], so recording it again changes nothing.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr};

use crate::agents::selection::Selection;
use crate::assignment::Report;
use crate::attempt::FailureClass;
use crate::decisions::Decision;
use crate::digest::Digest;
use crate::planning::Preference;
use crate::time::Millis;

/// Largest list of findings that is stored for one revision, as JSON in bytes.
pub const MAX_FINDINGS_BYTES: usize = 1 << 20;

/// The actor of records that no person caused.
pub const ACTOR: &str = "system:enact";
/// The actor of records about a person who is not known.
pub const UNKNOWN_ACTOR: &str = "unknown";

/// Kinds of objects that have records.
#[derive(
    Clone, Copy, Debug, Display, EnumString, IntoStaticStr, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Kind {
    Tenant,
    Constitution,
    Specification,
    Plan,
    Task,
    ModelProvider,
    Agent,
    Approval,
}

impl Kind {
    /// Returns the Kubernetes name of the kind.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The object that a record belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subject {
    pub kind: Kind,
    /// Empty for a Tenant.
    pub namespace: String,
    pub name: String,
    /// UID of the object. An object that is deleted and created again under the same name is another subject.
    pub uid: String,
}

/// An event of one subject, to be stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub tenant: String,
    pub subject: Subject,
    /// Time of the decision.
    pub at: Millis,
    /// Name of the user, [`ACTOR`], or [`UNKNOWN_ACTOR`].
    pub actor: String,
    pub event: Event,
}

/// A type of event with its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A document (constitution, specification or plan) has this content. The current content, recorded again, adds nothing; an earlier
    /// content that returns is a new revision.
    Revision {
        /// Digest of `content`.
        digest: Digest,
        /// The version that the document states.
        version: Option<String>,
        /// Reason of the change: `Source`, `AgentChanged`, `Clarification`, `Rollback of 3`, or a person's words of at most 1 KiB.
        reason: String,
        /// The Git commit that the document was read from.
        commit: Option<String>,
        /// The document, or the canonical JSON of the content.
        content: String,
    },
    /// Findings of the analysis of a revision. Keyed by the digest and the analyser.
    Findings {
        /// Digest of the analysed content.
        digest: Digest,
        /// Name and version of the analysis, since another version can have other findings. At most 64 bytes.
        analyser: String,
        /// An array. At most [`MAX_FINDINGS_BYTES`] of it are stored.
        findings: serde_json::Value,
    },
    /// The subject changes its state. Keyed by `key`.
    Transition {
        /// Unique for the subject: the state and what distinguishes it from the same state earlier, such as `Running/2`.
        key: String,
        state: String,
        /// Reason in CamelCase.
        reason: String,
        message: String,
        /// Set if the subject is a Task.
        task: Option<TaskRef>,
    },
    /// An attempt starts. Recorded before its pod is created. Keyed by `number`.
    AttemptStarted {
        plan_uid: String,
        number: u32,
        pod: String,
        /// UID of the pod, if it exists already: it waits in a warm pool.
        pod_uid: Option<String>,
        /// What the pod will carry in [`ANNOTATION_START_KEY`](crate::names::ANNOTATION_START_KEY), so that the operator recognises it even
        /// if it did not see the answer to its creation. Nobody else knows it before the pod exists.
        start_key: Digest,
        agent: String,
        /// Number of contestants of the task; 1 without a contest. Attempts whose numbers differ by a multiple of it are of one contestant.
        contestants: u32,
        /// The needs of the task that its agent declares; its result counts for them. None if the agent declares no capability and was not
        /// selected from a pool: then its result counts for no selection.
        capabilities: Option<Vec<String>>,
        /// The evaluation of the pool that the agent was selected from, if it was.
        selection: Option<Selection>,
    },
    /// An attempt has this pod, whose UID the API server returned. No other pod is accepted as that of the attempt. Keyed by `number` and
    /// `pod_uid`.
    AttemptPod { plan_uid: String, number: u32, pod: String, pod_uid: String },
    /// An attempt ends. Keyed by `number`.
    AttemptFinished {
        plan_uid: String,
        number: u32,
        /// Class of the failure; none on success.
        failure: Option<FailureKind>,
        /// The report of the pod.
        report: Report,
        /// Creation time of the pod.
        started: Option<Millis>,
    },
    /// The end of a pod contradicts the result with which its attempt has ended. Keyed by `number`.
    ResultContradicted {
        plan_uid: String,
        number: u32,
        /// For people; at most [`MAX_CONTRADICTION_BYTES`](crate::delivery::MAX_CONTRADICTION_BYTES).
        message: String,
        /// The report of the pod's end.
        report: Report,
    },
    /// The contest of a task is decided: competing attempts that have passed, and are not the winner, have lost. Keyed by `newest`.
    ContestDecided {
        plan_uid: String,
        /// The newest attempt of the contest.
        newest: u32,
        /// The attempt that won; none if no attempt has passed.
        winner: Option<u32>,
        message: String,
    },
    /// A planner has delivered a proposal for the plan that is the subject, and it can be chosen. Keyed by agent and digest.
    Proposal {
        /// Name of the Agent.
        agent: String,
        /// Digest of the document, which the record has.
        digest: Digest,
        score: u32,
        tasks: u32,
    },
    /// A judge has compared two proposals for the plan that is the subject. Keyed by `key`.
    Judgement {
        /// Unique for the subject: it follows from the judge, what it read and what it wrote.
        key: String,
        /// Name of the Agent that judged.
        judge: String,
        /// Planner whose proposal the judge read first.
        first: String,
        /// Planner whose proposal the judge read second.
        second: String,
        preference: Preference,
        /// Digest of the document with the reasons, which the record has.
        digest: Digest,
    },
    /// A proposal becomes the tasks.md of the plan that is the subject, by the selection or by a person, who is the actor. Keyed by `key`.
    ProposalChosen {
        /// Unique for the subject: the generation of the plan and the digest.
        key: String,
        /// Name of the Agent.
        agent: String,
        digest: Digest,
        /// Name of the Specification that the proposal is for.
        specification: String,
        specification_digest: Digest,
        /// The decisions of the proposal, which are in force from now on.
        decisions: Vec<Decision>,
    },
    /// A person sends a message to the agent of the task that is the subject. Keyed by `id`.
    Message {
        plan_uid: String,
        id: u64,
        /// At most [`MAX_MESSAGE_BYTES`](crate::agents::message::MAX_MESSAGE_BYTES).
        text: String,
    },
    /// A person changes the approval policy of the subject. Keyed by `key`.
    PolicyChanged {
        /// Time of the change, as the webhook wrote it.
        key: String,
        /// The policy after the change.
        policy: serde_json::Value,
    },
    /// A person changes how the subject is handled: suspends or cancels it, requests another attempt, or decides about stale work. Keyed by
    /// `key`.
    ControlChanged {
        /// The UID of the plan, if the subject is a Plan or a Task.
        plan_uid: Option<String>,
        /// The control and the time of the change, as the webhook wrote them.
        key: String,
        /// Name of a field or of an annotation without its prefix, such as `suspend` or `rerun`.
        control: String,
        /// The value after the change.
        value: serde_json::Value,
    },
    /// The subject was deleted. Recorded once. The attempts of a deleted Plan that have no recorded end get one.
    Deleted {
        /// Why the record does not have who deleted it; empty if it has.
        note: String,
    },
    /// A person approves or rejects one content of an object. Keyed by the UID of the Approval, which is the record's subject.
    Approval {
        /// Kind of the object that the person decided on.
        kind: Kind,
        /// Name of the object that the person decided on.
        name: String,
        /// Digest of the content that the person decided on.
        digest: Digest,
        approved: bool,
        comment: String,
    },
}

/// Longest reason of a revision, in bytes.
const MAX_REASON_BYTES: usize = 1024;

/// Returns the value of the annotation that gives the reason for a new content.
///
/// It contains the content's digest, so that the reason does not apply to a later content.
pub fn format_reason(digest: &Digest, reason: &str) -> String {
    format!("{} {reason}", digest.short())
}

/// Returns the reason in an annotation that [`format_reason`] made for this content, truncated to its maximum length.
pub fn parse_reason<'a>(annotation: &'a str, digest: &Digest) -> Option<&'a str> {
    let reason = annotation.strip_prefix(digest.short())?.strip_prefix(' ')?.trim();
    let reason = reason.get(..reason.floor_char_boundary(MAX_REASON_BYTES))?;
    (!reason.is_empty()).then_some(reason)
}

/// Reference to a task in its plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRef {
    pub plan_uid: String,
    /// The task's id in the plan.
    pub id: String,
}

/// [`FailureClass`] as it is stored.
pub type FailureKind = String;

/// Returns the stored form of a class.
pub fn failure_kind(class: FailureClass) -> FailureKind {
    class.as_str().to_owned()
}

/// A recorded attempt. The operator reads it after a restart, so that it starts no attempt twice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordedAttempt {
    /// UID of the Task, or of the Plan for an integration.
    pub subject_uid: String,
    pub number: u32,
    /// Name of the Agent, if the start is recorded.
    pub agent: Option<String>,
    /// UID of its pod, if it is recorded. Another pod does not work on the attempt, whatever its labels say.
    pub pod_uid: Option<String>,
    /// The key by which its pod is recognised until the UID is recorded.
    pub start_key: Option<Digest>,
    /// None while the end is not recorded; otherwise the class of its failure, if any.
    pub finished: Option<Option<FailureKind>>,
    /// The report at the end; while the end is not recorded, the report that its pod delivered to the server.
    pub report: Option<Report>,
    /// Whether the delivered report is verified: only the runner can have sent it, not the agent.
    pub verified: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_applies_to_one_content() {
        let (one, other) = (Digest::of_bytes(b"one"), Digest::of_bytes(b"other"));
        let annotation = format_reason(&one, "Rollback of 3");
        assert_eq!(parse_reason(&annotation, &one), Some("Rollback of 3"));
        assert_eq!(parse_reason(&annotation, &other), None);
        assert_eq!(parse_reason("because", &one), None);
        assert_eq!(parse_reason(&format_reason(&one, " "), &one), None);
        let long = format_reason(&one, &"ä".repeat(1000));
        assert_eq!(parse_reason(&long, &one).map(str::len), Some(1024));
    }
}
