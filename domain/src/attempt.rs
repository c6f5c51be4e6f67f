//! How an attempt stands, told from what a pod shows.
//!
//! The kubelet, the image, the node and the agent all end a pod in their own ways; this module tells failure of the task from failure
//! of its surroundings, since they are retried by different rules.

use crate::assignment::{Reason, Report, exit};
use crate::time::Millis;

/// What a pod shows of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// `status.phase`.
    pub phase: PodPhase,
    /// `status.reason`: `Evicted`, `DeadlineExceeded`, `NodeLost`, …
    pub reason: Option<String>,
    /// `status.message`.
    pub message: Option<String>,
    /// When the pod object was created.
    pub created: Millis,
    /// Why no node has it, as the scheduler tells.
    pub unscheduled: Option<String>,
    /// When the kubelet took it.
    pub started: Option<Millis>,
    /// When its deletion was asked for.
    pub deleting: Option<Millis>,
    /// Reason of the condition `DisruptionTarget`, when it holds: `EvictionByEvictionAPI`, `DeletionByPodGC`, …
    pub disrupted: Option<String>,
    /// The container that decides: the first that failed, or the main one.
    pub container: ContainerView,
}

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodPhase {
    /// Not running yet.
    #[default]
    Pending,
    /// A container runs.
    Running,
    /// All containers exited with 0.
    Succeeded,
    /// A container failed, or the pod was ended from outside.
    Failed,
    /// The node cannot be asked.
    Unknown,
}

/// What a container shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerView {
    /// `state.waiting.reason`: `ImagePullBackOff`, `CreateContainerConfigError`, …
    pub waiting: Option<String>,
    /// `state.waiting.message`.
    pub waiting_message: Option<String>,
    /// How it ended.
    pub terminated: Option<Terminated>,
}

/// `state.terminated` of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terminated {
    /// Exit code.
    pub exit_code: i32,
    /// `OOMKilled`, `Error`, `Completed`, …
    pub reason: Option<String>,
    /// Termination message: the runner's [`Report`] as JSON, or anything else.
    pub message: Option<String>,
    /// When it ended.
    pub finished: Option<Millis>,
}

/// Who is to blame for a failure: decides which retry limit it counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// The work itself.
    Task,
    /// Node, image registry, Git or server.
    Infrastructure,
    /// What was asked is impossible: never retried.
    Invalid,
    /// Nobody knows whether the work was done: not retried where that could do harm.
    Unknown,
}

impl FailureClass {
    /// The name in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "Task",
            Self::Infrastructure => "Infrastructure",
            Self::Invalid => "Invalid",
            Self::Unknown => "Unknown",
        }
    }
}

/// Where an attempt stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptState {
    /// Waiting for an image, a volume, or to be looked at by the scheduler.
    Pending,
    /// No node takes it: too little is free, or none fits. It goes on by itself when that changes.
    Unscheduled {
        /// For a person.
        message: String,
    },
    /// Cannot start for a reason that often passes: an image registry that is down.
    Stuck {
        /// What holds it.
        reason: Reason,
        /// For a person.
        message: String,
        /// Since when it may have lasted: the kubelet has had the pod since then. Waiting for a node before is not counted.
        since: Millis,
    },
    /// The agent works.
    Running,
    /// Ended well.
    Succeeded(Report),
    /// Ended badly.
    Failed {
        /// Who is to blame.
        class: FailureClass,
        /// What the pod reported, or what was made of it.
        report: Report,
    },
}

/// Tells where an attempt stands.
pub fn classify(pod: &PodView) -> AttemptState {
    match pod.phase {
        PodPhase::Succeeded => succeeded(pod),
        PodPhase::Failed => failed(pod),
        PodPhase::Unknown => AttemptState::Failed {
            class: FailureClass::Unknown,
            report: Report::new(Reason::Lost, "the node cannot be asked about the pod"),
        },
        PodPhase::Pending | PodPhase::Running => match waiting(pod) {
            Some(stuck) => stuck,
            None if pod.phase == PodPhase::Running => AttemptState::Running,
            None => match &pod.unscheduled {
                Some(message) => AttemptState::Unscheduled { message: message.clone() },
                None => AttemptState::Pending,
            },
        },
    }
}

/// The class of a failure that was reported with `reason`. `Cancelled` is what a runner tells that was stopped; the scheduler makes
/// `Evicted` of it unless the plan asked for the stop.
pub fn class_of(reason: Reason) -> FailureClass {
    match reason {
        Reason::Succeeded
        | Reason::AgentFailed
        | Reason::GateFailed
        | Reason::MergeConflict
        | Reason::OutputTooLarge
        | Reason::DeadlineExceeded
        | Reason::OutOfMemory
        | Reason::Killed
        | Reason::Cancelled
        | Reason::NoReport
        | Reason::DocumentRefused
        | Reason::PushRejected => FailureClass::Task,
        Reason::ReplayFailed
        | Reason::PathNotFound
        | Reason::InvalidAssignment
        | Reason::RevisionNotFound
        | Reason::WorkNotFound
        | Reason::RepositoryDenied => FailureClass::Invalid,
        Reason::RepositoryUnreachable
        | Reason::DeliveryFailed
        | Reason::Evicted
        | Reason::ImagePullFailed
        | Reason::ContainerConfigError => FailureClass::Infrastructure,
        Reason::Lost => FailureClass::Unknown,
    }
}

/// Whether an attempt that its surroundings ended for `reason` may have done some of its work.
///
/// Before any work come an image that cannot be pulled and a container that cannot be created. Everything else may come at any moment: an
/// eviction takes whatever runs, a repository may be out of reach at the clone or only at the push, and where the delivery failed, all
/// of the work is done.
pub fn may_have_worked(reason: Reason) -> bool {
    !matches!(reason, Reason::ImagePullFailed | Reason::ContainerConfigError)
}

/// Reason of the `DisruptionTarget` of a pod whose node was deleted.
const NODE_GONE: &str = "DeletionByPodGC";
/// Reasons of a container that nobody saw end: the kubelet's, which does not find it, and containerd's, after the node was started anew.
const END_UNSEEN: [&str; 2] = ["ContainerStatusUnknown", "Unknown"];
const OUT_OF_MEMORY: &str = "the container used more memory than its limit; raise resources.memory";

/// The runner's report, or what was left instead.
fn report_of(pod: &PodView) -> Result<Report, String> {
    let text = pod.container.terminated.as_ref().and_then(|terminated| terminated.message.as_deref());
    let report = text.and_then(|text| serde_json::from_str::<Report>(text).ok());
    let mut report = report.ok_or("left no report of the runner")?;
    report.enforce_limits().map_err(|error| format!("left a report that cannot be taken ({error})"))?;
    Ok(report)
}

fn succeeded(pod: &PodView) -> AttemptState {
    let left = match report_of(pod) {
        Ok(report) if report.reason == Reason::Succeeded => return AttemptState::Succeeded(report),
        Ok(report) => format!("left the report of a failure ({})", report.reason.as_str()),
        Err(left) => left,
    };
    // Exit code 0 alone never means done: a shell that replaced the runner, an image with another entry point.
    failure(Report::new(Reason::NoReport, format!("the pod exited with 0 but {left}; check the Agent's image")))
}

fn failed(pod: &PodView) -> AttemptState {
    let outer = pod.reason.as_deref().unwrap_or_default();
    let why = || pod.message.clone().unwrap_or_default();
    if outer == "DeadlineExceeded" {
        return failure(Report::new(Reason::DeadlineExceeded, "the attempt took longer than its time limit"));
    }
    // The control plane writes this end of a pod whose node is no longer there: nobody saw what became of the work.
    if pod.disrupted.as_deref() == Some(NODE_GONE) {
        return failure(Report::new(Reason::Lost, "the pod's node is gone"));
    }
    if pod.disrupted.is_some()
        || matches!(
            outer,
            "Evicted"
                | "Preempting"
                | "NodeShutdown"
                | "Terminated"
                | "NodeAffinity"
                | "OutOfcpu"
                | "OutOfmemory"
                | "OutOfpods"
                | "UnexpectedAdmissionError"
        )
    {
        let by = if outer.is_empty() { pod.disrupted.as_deref().unwrap_or_default() } else { outer };
        return failure(Report::new(Reason::Evicted, format!("the pod was ended from outside ({by}): {}", why())));
    }
    if outer == "NodeLost" {
        return failure(Report::new(Reason::Lost, "the node was lost"));
    }
    let starved = pod.container.terminated.as_ref().is_some_and(|t| t.reason.as_deref() == Some("OOMKilled"));
    let left = match report_of(pod) {
        // The kernel killed what the agent ran, and the runner saw only how that ended.
        Ok(report) if starved && matches!(report.reason, Reason::Killed | Reason::AgentFailed | Reason::GateFailed) => {
            let told = Report::new(Reason::OutOfMemory, format!("{OUT_OF_MEMORY}: {}", report.message));
            return failure(Report { reason: told.reason, message: told.message, ..report });
        }
        Ok(report) if report.reason != Reason::Succeeded => return failure(report),
        Ok(_) => "left the report of a success".to_owned(),
        Err(left) => left,
    };
    match &pod.container.terminated {
        Some(_) if starved => failure(Report::new(Reason::OutOfMemory, OUT_OF_MEMORY)),
        Some(t) if t.reason.as_deref() == Some("StartError") || t.reason.as_deref() == Some("ContainerCannotRun") => {
            failure(Report::new(
                Reason::ContainerConfigError,
                format!("the container cannot run: {}", t.message.as_deref().unwrap_or_default()),
            ))
        }
        Some(t) if t.reason.as_deref().is_some_and(|reason| END_UNSEEN.contains(&reason)) => {
            failure(Report::new(Reason::Lost, "nobody saw the container end; its node was perhaps started anew"))
        }
        Some(t) if t.exit_code > 128 => {
            failure(Report::new(Reason::Killed, format!("the container was killed by signal {}", t.exit_code - 128)))
        }
        Some(t) if t.exit_code == exit::INFRASTRUCTURE => {
            failure(Report::new(Reason::DeliveryFailed, "the surroundings failed; see the pod's log"))
        }
        Some(t) => {
            failure(Report::new(Reason::NoReport, format!("the container exited with {} and {left}", t.exit_code)))
        }
        None => {
            failure(Report::new(Reason::Lost, format!("the pod failed without a container's end: {outer} {}", why())))
        }
    }
}

fn failure(report: Report) -> AttemptState {
    AttemptState::Failed { class: class_of(report.reason), report }
}

fn waiting(pod: &PodView) -> Option<AttemptState> {
    let waiting = pod.container.waiting.as_deref()?;
    let told = pod.container.waiting_message.as_deref().unwrap_or_default();
    let since = pod.started.unwrap_or(pod.created);
    match waiting {
        "InvalidImageName" => Some(AttemptState::Failed {
            class: FailureClass::Invalid,
            report: Report::new(Reason::ImagePullFailed, format!("the Agent's image name is not valid: {told}")),
        }),
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "ImageInspectError" | "RegistryUnavailable" => {
            Some(AttemptState::Stuck {
                reason: Reason::ImagePullFailed,
                message: format!("the image cannot be pulled ({waiting}): {told}; check the Agent's image"),
                since,
            })
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Some(AttemptState::Stuck {
            reason: Reason::ContainerConfigError,
            message: format!("the container cannot be created ({waiting}): {told}"),
            since,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::{MAX_MESSAGE_BYTES, MAX_OUTPUT_BYTES};

    fn ended(exit_code: i32, reason: &str, message: Option<&str>) -> PodView {
        PodView {
            phase: if exit_code == 0 { PodPhase::Succeeded } else { PodPhase::Failed },
            container: ContainerView {
                terminated: Some(Terminated {
                    exit_code,
                    reason: Some(reason.into()),
                    message: message.map(Into::into),
                    finished: Some(Millis(5)),
                }),
                ..ContainerView::default()
            },
            ..PodView::default()
        }
    }

    fn reason(pod: &PodView) -> (Option<FailureClass>, Reason) {
        match classify(pod) {
            AttemptState::Failed { class, report } => (Some(class), report.reason),
            AttemptState::Succeeded(report) => (None, report.reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ends_are_told_apart() {
        use FailureClass::{Infrastructure, Task, Unknown};
        let done = r#"{"reason":"Succeeded","commit":"0123456789abcdef0123456789abcdef01234567"}"#;
        assert_eq!(reason(&ended(0, "Completed", Some(done))), (None, Reason::Succeeded));
        assert_eq!(reason(&ended(0, "Completed", Some("all good"))), (Some(Task), Reason::NoReport));
        assert_eq!(reason(&ended(0, "Completed", None)), (Some(Task), Reason::NoReport));
        assert_eq!(reason(&ended(1, "Error", Some(r#"{"reason":"GateFailed"}"#))), (Some(Task), Reason::GateFailed));
        // A report that claims success with a failed container is not believed.
        assert_eq!(reason(&ended(1, "Error", Some(done))), (Some(Task), Reason::NoReport));
        assert_eq!(reason(&ended(137, "OOMKilled", None)), (Some(Task), Reason::OutOfMemory));
        // Where the kernel kills the agent and not its container, the runner tells of a signal only.
        for told in ["Killed", "AgentFailed", "GateFailed"] {
            let told = format!(r#"{{"reason":"{told}","message":"by signal 9"}}"#);
            assert_eq!(reason(&ended(1, "OOMKilled", Some(&told))), (Some(Task), Reason::OutOfMemory));
        }
        let large = r#"{"reason":"OutputTooLarge"}"#;
        assert_eq!(reason(&ended(1, "OOMKilled", Some(large))), (Some(Task), Reason::OutputTooLarge));
        assert_eq!(reason(&ended(137, "Error", None)), (Some(Task), Reason::Killed));
        let evicted = PodView { phase: PodPhase::Failed, reason: Some("Evicted".into()), ..PodView::default() };
        assert_eq!(reason(&evicted), (Some(Infrastructure), Reason::Evicted));
        let late = PodView { phase: PodPhase::Failed, reason: Some("DeadlineExceeded".into()), ..PodView::default() };
        assert_eq!(reason(&late), (Some(Task), Reason::DeadlineExceeded));
        let lost = PodView { phase: PodPhase::Unknown, ..PodView::default() };
        assert_eq!(reason(&lost), (Some(Unknown), Reason::Lost));
    }

    #[test]
    fn what_nobody_saw_end_is_lost_and_no_failure_of_the_work() {
        let lost = (Some(FailureClass::Unknown), Reason::Lost);
        // The kubelet does not find the container, or the runtime does not know how it ended: the node was started anew.
        assert_eq!(reason(&ended(137, "ContainerStatusUnknown", Some("The container could not be located"))), lost);
        assert_eq!(reason(&ended(255, "Unknown", None)), lost);
        assert_eq!(reason(&ended(255, "Unknown", Some(r#"{"reason":"Succeeded"}"#))), lost);
        let told = r#"{"reason":"GateFailed"}"#;
        let gate = (Some(FailureClass::Task), Reason::GateFailed);
        assert_eq!(reason(&ended(255, "Unknown", Some(told))), gate, "the runner had told its end before");
    }

    #[test]
    fn a_disruption_ends_a_pod_in_sight_but_where_the_node_is_gone() {
        let disrupted =
            |by: &str| reason(&PodView { phase: PodPhase::Failed, disrupted: Some(by.into()), ..PodView::default() });
        for by in [
            "PreemptionByScheduler",
            "DeletionByTaintManager",
            "DeletionByDeviceTaintManager",
            "EvictionByEvictionAPI",
            "TerminationByKubelet",
        ] {
            assert_eq!(disrupted(by), (Some(FailureClass::Infrastructure), Reason::Evicted), "{by}");
        }
        assert_eq!(disrupted("DeletionByPodGC"), (Some(FailureClass::Unknown), Reason::Lost));
    }

    #[test]
    fn a_report_that_breaks_its_bounds_counts_as_none() {
        let told = |exit_code, report: &str| match classify(&ended(exit_code, "", Some(report))) {
            AttemptState::Failed { class: FailureClass::Task, report } if report.reason == Reason::NoReport => {
                assert_eq!((report.commit, report.outputs.len()), (None, 0));
                report.message
            }
            other => panic!("{other:?}"),
        };
        for commit in ["abc", "--upload-pack=touch /tmp/x", &"A".repeat(40), &"0".repeat(41)] {
            let done = format!(r#"{{"reason":"Succeeded","commit":"{commit}"}}"#);
            assert!(told(0, &done).contains("report.commit must be 40 or 64 lower-case hex digits"), "{commit}");
            let failed = format!(r#"{{"reason":"GateFailed","commit":"{commit}"}}"#);
            assert!(told(1, &failed).contains("report.commit must be"), "{commit}");
        }
        let outputs = format!(r#"{{"reason":"Succeeded","outputs":{{"n":"{}"}}}}"#, "x".repeat(MAX_OUTPUT_BYTES));
        assert!(told(0, &outputs).contains("report.outputs take 2056 bytes"), "{}", told(0, &outputs));
        // What is for people only is cut.
        let long = format!(r#"{{"reason":"GateFailed","message":"{}"}}"#, "x".repeat(2 * MAX_MESSAGE_BYTES));
        let AttemptState::Failed { report, .. } = classify(&ended(1, "Error", Some(&long))) else { panic!("{long}") };
        assert_eq!((report.reason, report.message.len()), (Reason::GateFailed, MAX_MESSAGE_BYTES));
    }

    #[test]
    fn image_trouble_is_not_the_tasks_fault() {
        let mut pod = PodView::default();
        pod.container.waiting = Some("ImagePullBackOff".into());
        assert!(matches!(classify(&pod), AttemptState::Stuck { reason: Reason::ImagePullFailed, .. }));
        pod.container.waiting = Some("InvalidImageName".into());
        assert_eq!(reason(&pod), (Some(FailureClass::Invalid), Reason::ImagePullFailed));
        pod.container.waiting = Some("PodInitializing".into());
        assert_eq!(classify(&pod), AttemptState::Pending);
    }

    #[test]
    fn a_pod_that_no_node_takes_is_told_from_one_that_begins() {
        let message = "0/1 nodes are available: 1 Insufficient memory.".to_owned();
        let mut pod = PodView { unscheduled: Some(message.clone()), ..PodView::default() };
        assert_eq!(classify(&pod), AttemptState::Unscheduled { message });
        pod.unscheduled = None;
        assert_eq!(classify(&pod), AttemptState::Pending);
    }
}
