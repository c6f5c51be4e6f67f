//! Classification of an attempt by the status of its pod.
//!
//! The kubelet, the image, the node and the agent each end a pod in a different way. This module separates task failures from
//! infrastructure failures, because each class has its own retry limit.

use crate::assignment::{Reason, Report, exit};
use crate::text::one_line;
use crate::time::Millis;

/// Status of an attempt's pod, reduced to the fields that classify the attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// `status.phase`.
    pub phase: PodPhase,
    /// `status.reason`: `Evicted`, `DeadlineExceeded`, `NodeLost`, …
    pub reason: Option<String>,
    /// `status.message`.
    pub message: Option<String>,
    /// Creation time of the pod, or the time at which the attempt got it from a warm pool.
    pub created: Millis,
    /// Message of the scheduler while no node of the cluster fits.
    pub unscheduled: Option<String>,
    /// Time at which the kubelet accepted the pod.
    pub started: Option<Millis>,
    /// Whether the node has set the pod up: its volumes, its sandbox and its network.
    pub set_up: bool,
    /// Why the node cannot set the pod up. Only Events of the pod say so.
    pub setup_failure: Option<SetupFailure>,
    /// Time of the request to delete the pod.
    pub deleting: Option<Millis>,
    /// Reason of the condition `DisruptionTarget` if it is true: `EvictionByEvictionAPI`, `DeletionByPodGC`, …
    pub disrupted: Option<String>,
    /// The first container that failed, or the main one.
    pub container: ContainerView,
}

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodPhase {
    #[default]
    Pending,
    Running,
    /// All containers exited with 0.
    Succeeded,
    /// A container failed, or the pod was stopped from outside.
    Failed,
    /// The node does not respond.
    Unknown,
}

/// Status of a container, reduced to the fields that classify the attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerView {
    /// `state.waiting.reason`: `ImagePullBackOff`, `CreateContainerConfigError`, …
    pub waiting: Option<String>,
    /// `state.waiting.message`.
    pub waiting_message: Option<String>,
    pub terminated: Option<Terminated>,
}

/// Why a node cannot set a pod up, before any container is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupFailure {
    pub reason: Reason,
    pub message: String,
}

impl SetupFailure {
    /// Returns the failure that an Event of a pod reports; none if the Event reports something else.
    pub fn of_event(reason: &str, message: &str) -> Option<Self> {
        let message = one_line(message);
        match reason {
            "FailedCreatePodSandBox" => {
                // The words of containerd and CRI-O.
                let no_handler =
                    ["no runtime for", "runtime handler", "RuntimeHandler"].iter().any(|w| message.contains(w));
                let remedy = if no_handler {
                    "check the runtimeClassName of the Tenant, and that the nodes have the handler of that RuntimeClass"
                } else {
                    "check the container runtime and the pod network of the node"
                };
                let message = format!("the node cannot create the sandbox of the pod: {message}; {remedy}");
                Some(Self { reason: Reason::SandboxFailed, message })
            }
            "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" => {
                let message = format!(
                    "the node cannot mount a volume of the pod: {message}; create the Secret or ConfigMap that the message names"
                );
                Some(Self { reason: Reason::ContainerConfigError, message })
            }
            _ => None,
        }
    }
}

/// `state.terminated` of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terminated {
    pub exit_code: i32,
    /// `OOMKilled`, `Error`, `Completed`, …
    pub reason: Option<String>,
    /// Termination message: the runner's [`Report`] as JSON, or anything else.
    pub message: Option<String>,
    pub finished: Option<Millis>,
}

/// Class of a failure; it selects the retry limit that the failure counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
pub enum FailureClass {
    /// The work itself failed.
    Task,
    /// A node, the image registry, Git or the server failed.
    Infrastructure,
    /// The assignment is impossible; it is never retried.
    Invalid,
    /// It is unknown whether the work was done; it is not retried where a repetition may do harm.
    Unknown,
}

impl FailureClass {
    /// Returns the name that the record stores.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// State of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptState {
    /// The pod waits for the scheduler, for a volume or for its image.
    Pending,
    /// No node of the cluster fits. The pod continues without a person when that changes.
    Unscheduled {
        /// The scheduler's message.
        message: String,
    },
    /// The pod cannot start, often for a short time only: an image registry is down.
    Stuck {
        reason: Reason,
        message: String,
        /// Time at which the kubelet accepted the pod. The time that the pod waited for a node does not count.
        since: Millis,
    },
    Running,
    Succeeded(Report),
    Failed {
        class: FailureClass,
        /// The pod's own report, or one made from its status.
        report: Report,
    },
}

/// Classifies an attempt by its pod.
pub fn classify(pod: &PodView) -> AttemptState {
    match pod.phase {
        PodPhase::Succeeded => succeeded(pod),
        PodPhase::Failed => failed(pod),
        PodPhase::Unknown => AttemptState::Failed {
            class: FailureClass::Unknown,
            report: Report::new(Reason::Lost, "the node of the pod does not respond"),
        },
        PodPhase::Pending | PodPhase::Running => match waiting(pod) {
            Some(stuck) => stuck,
            None if pod.phase == PodPhase::Running => AttemptState::Running,
            None => match (&pod.unscheduled, &pod.setup_failure) {
                (Some(message), _) => AttemptState::Unscheduled { message: message.clone() },
                (None, Some(failure)) => AttemptState::Stuck {
                    reason: failure.reason,
                    message: failure.message.clone(),
                    since: pod.started.unwrap_or(pod.created),
                },
                (None, None) => AttemptState::Pending,
            },
        },
    }
}

/// Returns the class of a failure with this reason. A runner that is stopped reports `Cancelled`; the scheduler changes that to `Evicted`
/// unless the plan requested the stop.
pub fn class_of(reason: Reason) -> FailureClass {
    match reason {
        Reason::Succeeded
        | Reason::AgentFailed
        | Reason::AgentCrashed
        | Reason::NothingDone
        | Reason::Refused
        | Reason::TurnLimit
        | Reason::BudgetExceeded
        | Reason::GateFailed
        | Reason::MergeConflict
        | Reason::OutputTooLarge
        | Reason::DeadlineExceeded
        | Reason::OutOfMemory
        | Reason::Killed
        | Reason::Cancelled
        | Reason::PlanDeleted
        | Reason::NoReport
        | Reason::DocumentRefused
        | Reason::PushRejected => FailureClass::Task,
        Reason::ReplayFailed
        | Reason::PathNotFound
        | Reason::InvalidAssignment
        | Reason::RevisionNotFound
        | Reason::WorkNotFound
        | Reason::CredentialRejected
        | Reason::ModelNotFound
        | Reason::RepositoryDenied => FailureClass::Invalid,
        Reason::RepositoryUnreachable
        | Reason::DeliveryFailed
        | Reason::RateLimited
        | Reason::ProviderQuota
        | Reason::ModelsChanged
        | Reason::Evicted
        | Reason::ImagePullFailed
        | Reason::ContainerConfigError
        | Reason::WorkspaceFailed
        | Reason::NotAdmitted
        | Reason::SandboxFailed => FailureClass::Infrastructure,
        Reason::Lost => FailureClass::Unknown,
    }
}

/// Returns the exit code of a runner whose report has this reason.
pub fn exit_code(reason: Reason) -> i32 {
    match (reason, class_of(reason)) {
        (Reason::Succeeded, _) => exit::SUCCEEDED,
        (_, FailureClass::Infrastructure) => exit::INFRASTRUCTURE,
        (_, FailureClass::Invalid) => exit::INVALID,
        (_, FailureClass::Task | FailureClass::Unknown) => exit::FAILED,
    }
}

/// Returns whether an attempt that an infrastructure failure ended may have done some of its work.
///
/// Only a pod that is not admitted, an image that cannot be pulled, and a sandbox or container that cannot be created fail before any
/// work. Every other failure can come at any time: an eviction stops a running agent, a repository may be unreachable for the clone or only
/// for the push, and when the delivery fails, all of the work is done. A runner that cannot use its volumes reports `ContainerConfigError`
/// before its agent has begun, and `WorkspaceFailed` after that.
pub fn may_have_worked(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::ImagePullFailed | Reason::ContainerConfigError | Reason::NotAdmitted | Reason::SandboxFailed
    )
}

/// Reason of the `DisruptionTarget` of a pod whose node was deleted.
const NODE_GONE: &str = "DeletionByPodGC";
/// Reasons of a container whose end was not observed: reported by the kubelet if it does not find the container, and by containerd after
/// a restart of the node.
const END_UNSEEN: [&str; 2] = ["ContainerStatusUnknown", "Unknown"];
const OUT_OF_MEMORY: &str = "the container used more memory than its limit; raise resources.memory";

/// Returns the runner's report from the termination message, or a description of what the message contains instead.
fn report_of(pod: &PodView) -> Result<Report, String> {
    let text = pod.container.terminated.as_ref().and_then(|terminated| terminated.message.as_deref());
    let report = text.and_then(|text| serde_json::from_str::<Report>(text).ok());
    let mut report = report.ok_or("left no report from the runner")?;
    report.enforce_limits().map_err(|error| format!("left an invalid report ({error})"))?;
    Ok(report)
}

fn succeeded(pod: &PodView) -> AttemptState {
    let left = match report_of(pod) {
        Ok(report) if report.reason == Reason::Succeeded => return AttemptState::Succeeded(report),
        Ok(report) => format!("left the report of a failure ({})", report.reason.as_str()),
        Err(left) => left,
    };
    // Exit code 0 alone never means success: a shell may have replaced the runner, or the image has another entry point.
    failure(Report::new(Reason::NoReport, format!("the pod exited with 0 but {left}; check the Agent's image")))
}

/// Returns the report of a container that failed, or a description of what it left instead. `claim` is that description if it is a report
/// that the runner cannot have written.
///
/// The agent can write the termination message too. A runner that ends by itself replaces it and exits with the code of its report, but one
/// that is killed does not, for example because the agent used up the memory of the container.
fn runner_report(pod: &PodView) -> (Result<Report, String>, String) {
    let exited_with = pod.container.terminated.as_ref().map(|terminated| terminated.exit_code);
    match report_of(pod) {
        Ok(report) if exited_with != Some(exit_code(report.reason)) => {
            let left = format!(
                "left a report that does not match its exit code ({}: {})",
                report.reason.as_str(),
                report.message
            );
            let claim = format!("; it {left}");
            (Err(left), claim)
        }
        report => (report, String::new()),
    }
}

/// Returns the state of an attempt whose pod was stopped from outside; none if its containers ended by themselves.
fn stopped(pod: &PodView, left: &Result<Report, String>) -> Option<AttemptState> {
    let outer = pod.reason.as_deref().unwrap_or_default();
    let why = || pod.message.clone().unwrap_or_default();
    // The runner of a pod that is stopped reports what it used, and the commit with the work that it kept.
    let stopped = |reason, message: String| {
        let (commit, usage) = left.as_ref().map(|left| (left.commit.clone(), left.usage)).unwrap_or_default();
        Some(failure(Report { commit, usage, ..Report::new(reason, message) }))
    };
    // The pod's own reasons come first: a pod that is stopped loses its containers, whose state would hide the cause.
    if outer == "DeadlineExceeded" {
        return stopped(Reason::DeadlineExceeded, "the attempt took longer than its time limit".into());
    }
    // The control plane, not the kubelet, ends a pod whose node was deleted: nobody saw what became of the work.
    if pod.disrupted.as_deref() == Some(NODE_GONE) {
        return Some(failure(Report::new(Reason::Lost, "the node of the pod was deleted")));
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
        return stopped(Reason::Evicted, format!("the pod was stopped from outside ({by}): {}", why()));
    }
    (outer == "NodeLost").then(|| failure(Report::new(Reason::Lost, "the node was lost")))
}

fn failed(pod: &PodView) -> AttemptState {
    let (left, claim) = runner_report(pod);
    if let Some(stopped) = stopped(pod, &left) {
        return stopped;
    }
    let out_of_memory = pod.container.terminated.as_ref().is_some_and(|t| t.reason.as_deref() == Some("OOMKilled"));
    let left = match left {
        // The kernel killed a child of the runner; the runner only saw a signal or an exit code.
        Ok(report)
            if out_of_memory
                && matches!(
                    report.reason,
                    Reason::Killed | Reason::AgentFailed | Reason::AgentCrashed | Reason::GateFailed
                ) =>
        {
            let message = Report::new(Reason::OutOfMemory, format!("{OUT_OF_MEMORY}: {}", report.message)).message;
            return failure(Report { reason: Reason::OutOfMemory, message, ..report });
        }
        Ok(report) if report.reason != Reason::Succeeded => return failure(report),
        Ok(_) => "left the report of a success".to_owned(),
        Err(left) => left,
    };
    match &pod.container.terminated {
        Some(_) if out_of_memory => failure(Report::new(Reason::OutOfMemory, format!("{OUT_OF_MEMORY}{claim}"))),
        Some(t) if t.reason.as_deref() == Some("StartError") || t.reason.as_deref() == Some("ContainerCannotRun") => {
            failure(Report::new(
                Reason::ContainerConfigError,
                format!("the container cannot run: {}", t.message.as_deref().unwrap_or_default()),
            ))
        }
        Some(t) if t.reason.as_deref().is_some_and(|reason| END_UNSEEN.contains(&reason)) => failure(Report::new(
            Reason::Lost,
            format!("the end of the container was not observed; its node was probably restarted{claim}"),
        )),
        // Container runtimes report a signal as 128 plus its number.
        Some(t) if t.exit_code > 128 => {
            let message = format!("the container was killed by signal {}{claim}", t.exit_code - 128);
            failure(Report::new(Reason::Killed, message))
        }
        // Without a report, the exit code of the runner still states the class.
        Some(t) if t.exit_code == exit::INFRASTRUCTURE => {
            let message = format!("the infrastructure failed; see the pod's log{claim}");
            failure(Report::new(Reason::DeliveryFailed, message))
        }
        Some(t) => {
            failure(Report::new(Reason::NoReport, format!("the container exited with {} and {left}", t.exit_code)))
        }
        None => failure(Report::new(
            Reason::Lost,
            format!(
                "the pod failed, and no container reports its end: {} {}",
                pod.reason.as_deref().unwrap_or_default(),
                pod.message.as_deref().unwrap_or_default()
            ),
        )),
    }
}

fn failure(report: Report) -> AttemptState {
    AttemptState::Failed { class: class_of(report.reason), report }
}

fn waiting(pod: &PodView) -> Option<AttemptState> {
    let waiting = pod.container.waiting.as_deref()?;
    let message = pod.container.waiting_message.as_deref().unwrap_or_default();
    let since = pod.started.unwrap_or(pod.created);
    match waiting {
        "InvalidImageName" => Some(AttemptState::Failed {
            class: FailureClass::Invalid,
            report: Report::new(Reason::ImagePullFailed, format!("the Agent's image name is not valid: {message}")),
        }),
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "ImageInspectError" | "RegistryUnavailable" => {
            Some(AttemptState::Stuck {
                reason: Reason::ImagePullFailed,
                message: format!("the image cannot be pulled ({waiting}): {message}; check the Agent's image"),
                since,
            })
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Some(AttemptState::Stuck {
            reason: Reason::ContainerConfigError,
            message: format!(
                "the container cannot be created ({waiting}): {message}; create the Secret or ConfigMap that the message names, or correct the Agent"
            ),
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
    fn classifies_each_end_of_a_pod() {
        use FailureClass::{Infrastructure, Task, Unknown};
        let done = r#"{"reason":"Succeeded","commit":"0123456789abcdef0123456789abcdef01234567"}"#;
        assert_eq!(reason(&ended(0, "Completed", Some(done))), (None, Reason::Succeeded));
        assert_eq!(reason(&ended(0, "Completed", Some("all good"))), (Some(Task), Reason::NoReport));
        assert_eq!(reason(&ended(0, "Completed", None)), (Some(Task), Reason::NoReport));
        assert_eq!(reason(&ended(1, "Error", Some(r#"{"reason":"GateFailed"}"#))), (Some(Task), Reason::GateFailed));
        // A report of success with a failed container does not count.
        assert_eq!(reason(&ended(1, "Error", Some(done))), (Some(Task), Reason::NoReport));
        assert_eq!(reason(&ended(137, "OOMKilled", None)), (Some(Task), Reason::OutOfMemory));
        // When the kernel kills the agent and not its container, the runner reports only a signal.
        for reported in ["Killed", "AgentFailed", "GateFailed"] {
            let report = format!(r#"{{"reason":"{reported}","message":"by signal 9"}}"#);
            assert_eq!(reason(&ended(1, "OOMKilled", Some(&report))), (Some(Task), Reason::OutOfMemory));
        }
        // The runner that was killed cannot have written this report: the agent did.
        for exit_code in [137, 1] {
            let forged = r#"{"reason":"RepositoryUnreachable","message":"no route","commit":"0123456789abcdef0123456789abcdef01234567"}"#;
            let AttemptState::Failed { class, report } = classify(&ended(exit_code, "OOMKilled", Some(forged))) else {
                panic!("{exit_code}")
            };
            assert_eq!((class, report.reason, report.commit), (Task, Reason::OutOfMemory, None));
            assert!(report.message.contains("(RepositoryUnreachable: no route)"), "{}", report.message);
        }
        let forged = |reason: &str| format!(r#"{{"reason":"{reason}"}}"#);
        assert_eq!(reason(&ended(137, "Error", Some(&forged("ProviderQuota")))), (Some(Task), Reason::Killed));
        assert_eq!(reason(&ended(1, "Error", Some(&forged("ProviderQuota")))), (Some(Task), Reason::NoReport));
        assert_eq!(
            reason(&ended(75, "Error", Some(&forged("ProviderQuota")))),
            (Some(Infrastructure), Reason::ProviderQuota)
        );
        let large = r#"{"reason":"OutputTooLarge"}"#;
        assert_eq!(reason(&ended(1, "OOMKilled", Some(large))), (Some(Task), Reason::OutputTooLarge));
        assert_eq!(reason(&ended(137, "Error", None)), (Some(Task), Reason::Killed));
        let evicted = PodView { phase: PodPhase::Failed, reason: Some("Evicted".into()), ..PodView::default() };
        assert_eq!(reason(&evicted), (Some(Infrastructure), Reason::Evicted));
        let late = PodView { phase: PodPhase::Failed, reason: Some("DeadlineExceeded".into()), ..PodView::default() };
        assert_eq!(reason(&late), (Some(Task), Reason::DeadlineExceeded));
        // The work that the runner kept before the kubelet killed it.
        let kept = "0123456789abcdef0123456789abcdef01234567";
        let report = format!(r#"{{"reason":"Cancelled","commit":"{kept}"}}"#);
        for stopped in ["DeadlineExceeded", "Evicted"] {
            let pod = PodView { reason: Some(stopped.into()), ..ended(1, "Error", Some(&report)) };
            let AttemptState::Failed { report, .. } = classify(&pod) else { panic!("{stopped}") };
            assert_eq!((report.reason.as_str(), report.commit.as_deref()), (stopped, Some(kept)));
        }
        let lost = PodView { phase: PodPhase::Unknown, ..PodView::default() };
        assert_eq!(reason(&lost), (Some(Unknown), Reason::Lost));
    }

    #[test]
    fn an_unobserved_end_is_lost_not_a_task_failure() {
        let lost = (Some(FailureClass::Unknown), Reason::Lost);
        // The kubelet does not find the container, or the runtime does not know how it ended: the node was restarted.
        assert_eq!(reason(&ended(137, "ContainerStatusUnknown", Some("The container could not be located"))), lost);
        assert_eq!(reason(&ended(255, "Unknown", None)), lost);
        assert_eq!(reason(&ended(255, "Unknown", Some(r#"{"reason":"Succeeded"}"#))), lost);
        let report = r#"{"reason":"GateFailed"}"#;
        assert_eq!(reason(&ended(255, "Unknown", Some(report))), lost, "the agent may have written it");
    }

    #[test]
    fn a_disruption_evicts_unless_the_node_is_gone() {
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
    fn a_report_out_of_bounds_counts_as_none() {
        let message = |exit_code, report: &str| match classify(&ended(exit_code, "", Some(report))) {
            AttemptState::Failed { class: FailureClass::Task, report } if report.reason == Reason::NoReport => {
                assert_eq!((report.commit, report.outputs.len()), (None, 0));
                report.message
            }
            other => panic!("{other:?}"),
        };
        for commit in ["abc", "--upload-pack=touch /tmp/x", &"A".repeat(40), &"0".repeat(41)] {
            let done = format!(r#"{{"reason":"Succeeded","commit":"{commit}"}}"#);
            assert!(message(0, &done).contains("report.commit must be 40 or 64 lower-case hex digits"), "{commit}");
            let failed = format!(r#"{{"reason":"GateFailed","commit":"{commit}"}}"#);
            assert!(message(1, &failed).contains("report.commit must be"), "{commit}");
        }
        let outputs = format!(r#"{{"reason":"Succeeded","outputs":{{"n":"{}"}}}}"#, "x".repeat(MAX_OUTPUT_BYTES));
        assert!(message(0, &outputs).contains("report.outputs take 2056 bytes"), "{}", message(0, &outputs));
        // A message, which is for people only, is cut.
        let long = format!(r#"{{"reason":"GateFailed","message":"{}"}}"#, "x".repeat(2 * MAX_MESSAGE_BYTES));
        let AttemptState::Failed { report, .. } = classify(&ended(1, "Error", Some(&long))) else { panic!("{long}") };
        assert_eq!((report.reason, report.message.len()), (Reason::GateFailed, MAX_MESSAGE_BYTES));
    }

    #[test]
    fn an_image_failure_is_not_a_task_failure() {
        let mut pod = PodView::default();
        pod.container.waiting = Some("ImagePullBackOff".into());
        assert!(matches!(classify(&pod), AttemptState::Stuck { reason: Reason::ImagePullFailed, .. }));
        pod.container.waiting = Some("InvalidImageName".into());
        assert_eq!(reason(&pod), (Some(FailureClass::Invalid), Reason::ImagePullFailed));
        pod.container.waiting = Some("PodInitializing".into());
        assert_eq!(classify(&pod), AttemptState::Pending);
    }

    #[test]
    fn a_node_that_cannot_set_a_pod_up_is_an_infrastructure_failure() {
        let of = |reason: &str, message: &str| SetupFailure::of_event(reason, message);
        let sandbox =
            of("FailedCreatePodSandBox", "failed to get sandbox runtime: no runtime for \"gvisor\" is configured");
        let sandbox = sandbox.expect("it is one");
        assert!(sandbox.message.contains("runtimeClassName of the Tenant"), "{}", sandbox.message);
        let network = of("FailedCreatePodSandBox", "plugin type=\"cilium-cni\" failed").expect("it is one");
        assert!(network.message.contains("pod network of the node"), "{}", network.message);
        let mount = of("FailedMount", "MountVolume.SetUp failed: secret \"git\" not found").expect("it is one");
        assert_eq!(mount.reason, Reason::ContainerConfigError);
        assert_eq!(of("BackOff", "Back-off restarting failed container"), None);

        let mut pod = PodView { started: Some(Millis(7)), setup_failure: Some(sandbox), ..PodView::default() };
        assert!(matches!(classify(&pod), AttemptState::Stuck { reason: Reason::SandboxFailed, since: Millis(7), .. }));
        pod.phase = PodPhase::Running;
        assert_eq!(classify(&pod), AttemptState::Running, "an older failure is over");
    }

    #[test]
    fn an_unscheduled_pod_differs_from_a_pending_one() {
        let message = "0/1 nodes are available: 1 Insufficient memory.".to_owned();
        let mut pod = PodView { unscheduled: Some(message.clone()), ..PodView::default() };
        assert_eq!(classify(&pod), AttemptState::Unscheduled { message });
        pod.unscheduled = None;
        assert_eq!(classify(&pod), AttemptState::Pending);
    }
}
