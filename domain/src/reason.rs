//! The reason for the result of an attempt.

use serde::{Deserialize, Serialize};

/// The reason for the result of an attempt, used as the reason of conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr)]
pub enum Reason {
    /// The work is done, and its gates passed.
    Succeeded,
    /// The agent or script exited with an error.
    AgentFailed,
    /// The program of the agent ended without the end of its session: it crashed, or it is not the program that the adapter expects.
    AgentCrashed,
    /// The agent ended its session, but changed no file and wrote no output.
    NothingDone,
    /// The agent or its model refused the work.
    Refused,
    /// The agent reached its limit of turns.
    TurnLimit,
    /// The model provider limited the rate of requests until the agent gave up.
    RateLimited,
    /// The quota of the model provider is used up; the work can continue after its reset.
    ProviderQuota,
    /// The model provider or the gateway refused the credential.
    CredentialRejected,
    /// The model provider does not know the model, or the gateway does not allow it to the Agent.
    ModelNotFound,
    /// The models of the Agent, or the URLs that serve them, changed after the approval of the plan.
    ModelsChanged,
    /// A budget is used up.
    BudgetExceeded,
    /// A gate's command failed.
    GateFailed,
    /// Branches do not merge; the files are in `conflicts`.
    MergeConflict,
    /// An output is larger than allowed, or its name is invalid.
    OutputTooLarge,
    /// Recorded work is missing for this task, or does not apply.
    ReplayFailed,
    /// The repository does not contain the file at the revision.
    PathNotFound,
    /// The document is not a regular file, is too large, or is not text.
    DocumentRefused,
    /// The assignment cannot be read or carried out.
    InvalidAssignment,
    /// The repository cannot be reached.
    RepositoryUnreachable,
    /// The repository refused the credential.
    RepositoryDenied,
    /// The revision does not exist in the repository.
    RevisionNotFound,
    /// A branch to be merged does not contain the verified commit, or no longer exists.
    WorkNotFound,
    /// The push was refused.
    PushRejected,
    /// The result could not be delivered to the server.
    DeliveryFailed,
    /// The attempt took longer than its time limit.
    DeadlineExceeded,
    /// The attempt was asked to stop.
    Cancelled,
    /// The plan was deleted before the attempt ended.
    PlanDeleted,
    /// The container was killed for using more memory than its limit.
    OutOfMemory,
    /// The container was killed by a signal that Enact did not send.
    Killed,
    /// The pod was evicted, preempted or its node shut down.
    Evicted,
    /// The image cannot be pulled.
    ImagePullFailed,
    /// The container cannot be created (a Secret or ConfigMap is missing, a field is refused).
    ContainerConfigError,
    /// The runner could not use the volumes of the pod, or the local clone, after the agent had begun.
    WorkspaceFailed,
    /// The cluster does not admit the pod: a policy forbids it, or its RuntimeClass does not exist.
    NotAdmitted,
    /// The node cannot create the sandbox of the pod: it lacks the handler of the RuntimeClass, or its pod network fails.
    SandboxFailed,
    /// The node or the pod disappeared before it ended, and no result was delivered.
    Lost,
    /// The container ended without a readable report.
    NoReport,
}

impl Reason {
    /// Returns the name in conditions and in the record.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
