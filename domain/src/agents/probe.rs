//! The probe of an agent: a short pod with the agent's image that shows whether attempts can run, before the first one needs it.
//!
//! A [`ProbeJob`] is the JSON in [`ASSIGNMENT_ENV`](crate::assignment::ASSIGNMENT_ENV). The pod leaves a [`Report`] as its termination
//! message.

use serde::{Deserialize, Serialize};

use super::health::RETRY_SECONDS;
use super::run::AgentRun;
use crate::assignment::{Reason, Report};
use crate::attempt::{AttemptState, PodView, classify};
use crate::plan::{LOST_SECONDS, STUCK_SECONDS};
use crate::time::Millis;

/// Seconds after the last change of an Agent before its probe starts. An attempt that starts earlier makes the probe needless.
pub const DELAY_SECONDS: u32 = 30;
/// Time limit of a probe, in seconds. It includes the time to pull the image.
pub const TIMEOUT_SECONDS: u32 = 600;
/// The reason of an Agent whose image does not have what attempts need.
pub const IMAGE_PROBE_FAILED: &str = "ImageProbeFailed";

/// The work of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeJob {
    /// Name of the Agent.
    pub agent: String,
    pub run: AgentRun,
    /// Whether to send a request to the model through the gateway.
    #[serde(default)]
    pub model: bool,
}

/// What a probe shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Works,
    Fails,
    /// It ended for a reason that says nothing about the agent.
    Unclear,
}

/// What is known about an agent before a decision about its probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The last probe of the same content, and its end.
    pub probe: Option<(Verdict, Millis)>,
    /// End of the last attempt that could run.
    pub ran_at: Option<Millis>,
    /// Start of the last attempt.
    pub started_at: Option<Millis>,
    /// Last change of the Agent.
    pub changed: Millis,
}

/// What to do about the probe of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Nothing,
    /// Decide again at this time.
    Wait(Millis),
    Start,
}

/// Decides whether an agent is probed now.
pub fn next(known: &Known, now: Millis) -> Next {
    let at = match known.probe {
        Some((Verdict::Works, _)) => return Next::Nothing,
        _ if has_run_since(known) => return Next::Nothing,
        Some((Verdict::Fails | Verdict::Unclear, at)) => at.plus_seconds(RETRY_SECONDS),
        None => {
            let soonest = known.changed.plus_seconds(DELAY_SECONDS);
            // The end of that attempt will show what a probe would.
            known.started_at.map_or(soonest, |started| soonest.max(started.plus_seconds(RETRY_SECONDS)))
        }
    };
    if now < at { Next::Wait(at) } else { Next::Start }
}

/// Returns whether the probe shows that the agent does not work, and no attempt has shown the opposite since.
pub fn is_failing(known: &Known) -> bool {
    matches!(known.probe, Some((Verdict::Fails, _))) && !has_run_since(known)
}

fn has_run_since(known: &Known) -> bool {
    known.ran_at.is_some_and(|ran| known.probe.is_none_or(|(_, at)| ran > at))
}

/// Returns the report of a probe that has ended, or that takes too long; none while it runs.
pub fn report(pod: &PodView, now: Millis) -> Option<Report> {
    let is_over = |since: Millis, seconds: u32| now >= since.plus_seconds(seconds);
    match classify(pod) {
        AttemptState::Succeeded(report) | AttemptState::Failed { report, .. } => return Some(report),
        AttemptState::Stuck { reason, message, since } if is_over(since, STUCK_SECONDS) => {
            return Some(Report::new(reason, message));
        }
        _ => {}
    }
    if pod.deleting.is_some_and(|at| is_over(at, LOST_SECONDS)) {
        return Some(Report::new(Reason::Lost, "the pod was deleted, and its node does not respond"));
    }
    let late = is_over(pod.created, TIMEOUT_SECONDS + LOST_SECONDS);
    late.then(|| Report::new(Reason::DeadlineExceeded, "the pod of the probe did not start in time"))
}

/// Returns what the end of a probe for this reason shows.
pub fn verdict(reason: Reason) -> Verdict {
    match reason {
        Reason::Succeeded => Verdict::Works,
        Reason::CredentialRejected
        | Reason::ModelNotFound
        | Reason::ImagePullFailed
        | Reason::ContainerConfigError
        | Reason::AgentCrashed
        | Reason::InvalidAssignment
        | Reason::OutOfMemory
        | Reason::NoReport => Verdict::Fails,
        _ => Verdict::Unclear,
    }
}

/// Returns the reason of the condition of an agent whose probe fails.
pub fn condition_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::CredentialRejected | Reason::ModelNotFound | Reason::ImagePullFailed | Reason::ContainerConfigError => {
            reason.as_str()
        }
        _ => IMAGE_PROBE_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::{ContainerView, PodPhase, Terminated};

    const CHANGED: Millis = Millis(1_000);

    fn at(seconds: u32) -> Millis {
        CHANGED.plus_seconds(seconds)
    }

    fn known(probe: Option<(Verdict, u32)>, ran: Option<u32>, started: Option<u32>) -> Known {
        let probe = probe.map(|(verdict, seconds)| (verdict, at(seconds)));
        Known { probe, ran_at: ran.map(at), started_at: started.map(at), changed: CHANGED }
    }

    #[test]
    fn a_new_agent_is_probed_unless_an_attempt_is_earlier() {
        assert_eq!(next(&known(None, None, None), at(0)), Next::Wait(at(30)));
        assert_eq!(next(&known(None, None, None), at(30)), Next::Start);
        assert_eq!(next(&known(None, None, Some(5)), at(30)), Next::Wait(at(605)), "its end shows more than a probe");
        assert_eq!(next(&known(None, None, Some(5)), at(605)), Next::Start, "it has shown nothing");
        assert_eq!(next(&known(None, Some(20), Some(5)), at(605)), Next::Nothing, "the attempt could run");
    }

    #[test]
    fn a_probe_is_repeated_while_it_does_not_show_that_the_agent_works() {
        assert_eq!(next(&known(Some((Verdict::Works, 40)), None, None), at(9_999)), Next::Nothing);
        for verdict in [Verdict::Fails, Verdict::Unclear] {
            let probed = known(Some((verdict, 40)), None, None);
            assert_eq!(next(&probed, at(41)), Next::Wait(at(640)), "{verdict:?}");
            assert_eq!(next(&probed, at(640)), Next::Start, "{verdict:?}");
            assert_eq!(is_failing(&probed), verdict == Verdict::Fails);
        }
        let works = known(Some((Verdict::Fails, 40)), Some(50), None);
        assert_eq!((next(&works, at(640)), is_failing(&works)), (Next::Nothing, false), "the record shows more");
        let failed = known(Some((Verdict::Fails, 40)), Some(30), None);
        assert_eq!((next(&failed, at(640)), is_failing(&failed)), (Next::Start, true));
    }

    #[test]
    fn a_pod_that_does_not_start_ends_the_probe() {
        let mut pod = PodView { created: CHANGED, ..PodView::default() };
        assert_eq!(report(&pod, at(700)), None);
        assert_eq!(report(&pod, at(720)).map(|report| report.reason), Some(Reason::DeadlineExceeded));
        pod.started = Some(CHANGED);
        pod.container = ContainerView { waiting: Some("ImagePullBackOff".into()), ..ContainerView::default() };
        assert_eq!(report(&pod, at(100)), None);
        assert_eq!(report(&pod, at(120)).map(|report| report.reason), Some(Reason::ImagePullFailed));
        let message = r#"{"reason":"AgentCrashed","message":"the image has no program"}"#;
        let terminated = Terminated { exit_code: 1, message: Some(message.into()), ..Terminated::default() };
        pod.phase = PodPhase::Failed;
        pod.container = ContainerView { terminated: Some(terminated), ..ContainerView::default() };
        let ended = report(&pod, at(5)).unwrap();
        assert_eq!((ended.reason, ended.message.as_str()), (Reason::AgentCrashed, "the image has no program"));
    }

    #[test]
    fn a_lost_pod_says_nothing_about_the_agent() {
        assert_eq!(verdict(Reason::Succeeded), Verdict::Works);
        for reason in [Reason::Lost, Reason::Evicted, Reason::RateLimited, Reason::BudgetExceeded] {
            assert_eq!(verdict(reason), Verdict::Unclear, "{reason:?}");
        }
        for (reason, shown) in [
            (Reason::CredentialRejected, "CredentialRejected"),
            (Reason::ImagePullFailed, "ImagePullFailed"),
            (Reason::AgentCrashed, IMAGE_PROBE_FAILED),
            (Reason::NoReport, IMAGE_PROBE_FAILED),
        ] {
            assert_eq!((verdict(reason), condition_reason(reason)), (Verdict::Fails, shown));
        }
    }
}
