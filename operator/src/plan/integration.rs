//! The status of a plan's integration, which is a part of the plan's.

use enact_crds::convert;
use enact_crds::plan::IntegrationStatus;
use enact_crds::task::Phase;
use enact_domain::plan::{ReportedState, TaskPhase};
use enact_domain::waiting::Waiting;

use super::observed::Observed;
use crate::task::status;

/// Returns the status of the integration whose attempt runs. Reason and message are those of the last end, except while its pod does not
/// run yet.
pub fn running(old: IntegrationStatus, attempt: u32, waiting: Option<&Waiting>) -> IntegrationStatus {
    let waited = old.phase == Phase::Running && status::reported_state(old.reason.as_deref()) != ReportedState::Running;
    let (reason, message) = match waiting {
        Some(waiting) => (Some(waiting.reason.clone().into_owned()), Some(status::wait_message(attempt, waiting))),
        None if waited => (None, None),
        None => (old.reason, old.message),
    };
    IntegrationStatus { phase: TaskPhase::Running.into(), attempts: attempt, retry_at: None, reason, message, ..old }
}

/// Returns the status of the integration whose attempt ended.
pub fn ended(observed: &Observed, old: IntegrationStatus, end: &status::End) -> IntegrationStatus {
    let (failures, infrastructure_failures) = end.add_failure((old.failures, old.infrastructure_failures));
    let (phase, retry_at) = end.following();
    IntegrationStatus {
        phase: phase.into(),
        attempts: end.attempt,
        failures,
        infrastructure_failures,
        retry_at: retry_at.map(convert::time_not_before),
        branch: observed.plan.spec.workspace.as_ref().map(|w| observed.target_branch(w)),
        // Also a step that was stopped after its push reports a commit.
        commit: end.report.commit.clone().filter(|_| end.failure.is_none()),
        conflicts: end.report.conflicts.clone(),
        observed_rerun: old.observed_rerun,
        observed_redo: old.observed_redo,
        reason: Some(end.report.reason.as_str().into()),
        message: Some(end.report.message.clone()).filter(|message| !message.is_empty()),
    }
}
