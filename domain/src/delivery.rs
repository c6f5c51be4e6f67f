//! What a delivered result means for an attempt whose pod still runs, and whether the end of the pod contradicts it.

use crate::assignment::{Reason, Report};
use crate::attempt::{AttemptState, FailureClass};
use crate::text;

/// Longest description of a contradiction, in bytes.
pub const MAX_CONTRADICTION_BYTES: usize = 512;

/// Returns whether an attempt ends with this verified report although its pod still runs.
///
/// Of some failures, only the end of the pod shows the cause: a process that was killed may have used too much memory, and who asked the runner
/// to stop is the kubelet, which knows whether a time limit or an eviction was the reason. When a budget or a quota ended the attempt, the next
/// one depends on what was used: the agent was stopped amid its requests, which the gateway still books.
pub fn is_final(report: &Report) -> bool {
    !matches!(
        report.reason,
        Reason::AgentFailed
            | Reason::AgentCrashed
            | Reason::Killed
            | Reason::GateFailed
            | Reason::Cancelled
            | Reason::BudgetExceeded
            | Reason::ProviderQuota
    )
}

/// Returns in which way the end of a pod contradicts the report with which its attempt ended; none if it does not, or has not come yet.
pub fn contradiction(delivered: &Report, end: &AttemptState) -> Option<String> {
    let described = match end {
        AttemptState::Succeeded(report) if report.reason != delivered.reason => {
            "the pod ended with a report of success".to_owned()
        }
        AttemptState::Succeeded(report) if report.commit != delivered.commit => {
            let commit = |report: &Report| report.commit.clone().unwrap_or_else(|| "none".to_owned());
            format!("the pod reported the commit {}, not {}", commit(report), commit(delivered))
        }
        AttemptState::Succeeded(report) if !has_same_values(report, delivered) => {
            "the pod reported other outputs or measurements".to_owned()
        }
        // The same failure, or a more exact cause of it.
        AttemptState::Failed { class, report } if is_stopped(*class, report) || report.reason == delivered.reason => {
            return None;
        }
        AttemptState::Failed { report, .. } => {
            format!("the pod ended with {}: {}", report.reason.as_str(), report.message)
        }
        AttemptState::Succeeded(_)
        | AttemptState::Pending
        | AttemptState::Unscheduled { .. }
        | AttemptState::Stuck { .. }
        | AttemptState::Running => return None,
    };
    let result = delivered.reason.as_str();
    Some(text::message(format!("the runner delivered {result}, then {described}"), MAX_CONTRADICTION_BYTES))
}

/// Returns whether something outside the pod ended it, or nobody saw its end. That says nothing about the work, which was done before.
fn is_stopped(class: FailureClass, report: &Report) -> bool {
    matches!(class, FailureClass::Infrastructure | FailureClass::Unknown) || report.reason == Reason::DeadlineExceeded
}

fn has_same_values(one: &Report, other: &Report) -> bool {
    // The record cannot hold a NUL.
    let clean = |value: &str| value.replace('\0', "\u{fffd}");
    let values = |report: &Report| report.outputs.iter().map(|(k, v)| (clean(k), clean(v))).collect::<Vec<_>>();
    values(one) == values(other) && one.measurements == other.measurements
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::class_of;

    fn report(reason: Reason) -> Report {
        Report::new(reason, "why")
    }

    fn failed(reason: Reason) -> AttemptState {
        AttemptState::Failed { class: class_of(reason), report: report(reason) }
    }

    #[test]
    fn a_failure_that_needs_the_end_of_the_pod_is_not_final() {
        assert!(is_final(&report(Reason::Succeeded)) && is_final(&report(Reason::MergeConflict)));
        // The kubelet may report OutOfMemory, DeadlineExceeded or Evicted.
        for reason in
            [Reason::Killed, Reason::AgentFailed, Reason::GateFailed, Reason::Cancelled, Reason::ProviderQuota]
        {
            assert!(!is_final(&report(reason)), "{reason:?}");
        }
    }

    #[test]
    fn a_pod_that_ends_otherwise_contradicts_its_result() {
        let done = Report { commit: Some("a".repeat(40)), ..report(Reason::Succeeded) };
        let end = |state: &AttemptState| contradiction(&done, state);
        assert_eq!(end(&AttemptState::Succeeded(done.clone())), None);
        let other = Report { commit: Some("b".repeat(40)), ..done.clone() };
        assert!(end(&AttemptState::Succeeded(other)).unwrap().contains("the commit bbbb"));
        let mut richer = done.clone();
        richer.outputs.insert("port".into(), "80".into());
        assert!(end(&AttemptState::Succeeded(richer)).unwrap().contains("other outputs"));
        let text = end(&failed(Reason::NoReport)).unwrap();
        assert_eq!(text, "the runner delivered Succeeded, then the pod ended with NoReport: why");
        assert!(contradiction(&report(Reason::MergeConflict), &AttemptState::Succeeded(done.clone())).is_some());
    }

    #[test]
    fn a_pod_that_is_stopped_or_still_runs_contradicts_nothing() {
        for state in [
            AttemptState::Running,
            AttemptState::Pending,
            failed(Reason::Evicted),
            failed(Reason::Lost),
            failed(Reason::DeadlineExceeded),
        ] {
            assert_eq!(contradiction(&report(Reason::Succeeded), &state), None, "{state:?}");
        }
        assert_eq!(contradiction(&report(Reason::PushRejected), &failed(Reason::PushRejected)), None);
    }

    #[test]
    fn outputs_are_compared_as_the_record_keeps_them() {
        let with = |value: &str| {
            let mut report = report(Reason::Succeeded);
            report.outputs.insert("name".into(), value.into());
            report
        };
        assert_eq!(contradiction(&with("a\u{fffd}b"), &AttemptState::Succeeded(with("a\0b"))), None);
        let long =
            AttemptState::Failed { class: FailureClass::Task, report: Report::new(Reason::Killed, "x".repeat(2000)) };
        let text = contradiction(&report(Reason::Succeeded), &long).unwrap();
        assert!(text.len() <= MAX_CONTRADICTION_BYTES, "{}", text.len());
    }
}
