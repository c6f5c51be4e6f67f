//! How attempts end that the plan stops, or whose pods are lost, and which of the failed ones are tried again.

use std::collections::{HashMap, HashSet};

use super::decision::{Action, NextStep};
use super::node::{CurrentAttempt, Node, TaskPhase};
use crate::assignment::Reason;
use crate::attempt::{AttemptState, FailureClass, may_have_worked};
use crate::graph::{NodeId, PerNode};
use crate::time::Millis;

/// Seconds after the request to delete a pod before a pod that has not ended counts as lost.
pub const LOST_SECONDS: u32 = 120;

/// Returns whether nobody sees any more what a pod does: its node does not respond, or it should have been deleted long ago. A result that its
/// runner delivered then counts, and not the state of the pod.
pub fn is_lost(state: &AttemptState, deleting: Option<Millis>, now: Millis) -> bool {
    match state {
        AttemptState::Succeeded(_) => false,
        AttemptState::Failed { class, .. } => *class == FailureClass::Unknown,
        AttemptState::Pending
        | AttemptState::Unscheduled { .. }
        | AttemptState::Stuck { .. }
        | AttemptState::Running => deleting.is_some_and(|at| now >= at.plus_seconds(LOST_SECONDS)),
    }
}

/// Returns the number of failed attempts that another one followed, or will follow, after the actions.
pub(super) fn retries(nodes: &PerNode<Node>, phases: &PerNode<TaskPhase>, actions: &[Action]) -> u32 {
    let ends: HashMap<(NodeId, u32), &Action> =
        actions.iter().filter_map(|action| Some((action.ended()?, action))).collect();
    let reopened: HashSet<NodeId> = actions.iter().filter_map(Action::reopened).collect();
    let of_series = |(id, series): (NodeId, &Node)| {
        let end = match ends.get(&(id, series.attempts)) {
            Some(Action::End { failure, next, .. }) => Some((failure, next)),
            _ => None,
        };
        // A lack of budget or quota is not a failure of the work.
        let fails = end.is_some_and(|(failure, next)| {
            failure.is_some() && !matches!(next, NextStep::Park { .. } | NextStep::Failover)
        });
        if nodes[id].contest.is_some() {
            // A contestant is only tried again after a failure of the infrastructure.
            let outside = matches!(end, Some((Some(FailureClass::Infrastructure | FailureClass::Unknown), _)));
            let failed = series.infrastructure_failures + u32::from(fails && outside);
            return failed.min(series.retry.infrastructure_limit);
        }
        let failed = series.failures + series.infrastructure_failures + u32::from(fails);
        let gave_up = phases[id].is_finished() && phases[id] != TaskPhase::Succeeded;
        failed.saturating_sub(u32::from(gave_up))
    };
    let series = nodes.iter().filter(|(id, _)| !reopened.contains(id));
    series.flat_map(|(id, node)| node.series().map(move |series| (id, series))).map(of_series).sum()
}

/// Returns whether a person must find out if the external effect of a task has happened: the attempt may have done some of its work, and its
/// end counts against no limit that the author of the task can set to 0.
pub(super) fn is_effect_unclear(class: FailureClass, reason: Reason) -> bool {
    let outside = matches!(class, FailureClass::Infrastructure | FailureClass::Unknown);
    // An attempt that a budget stopped is a task failure, and another one follows as soon as more remains.
    (outside && may_have_worked(reason)) || reason == Reason::BudgetExceeded
}

/// Returns the phase of a node whose attempt ends because the plan stops it, or while the plan stops. Work with an external effect that has
/// begun is for a person to check.
pub(super) fn stopped_phase(node: &Node, class: FailureClass, reason: Reason) -> TaskPhase {
    let unclear = is_effect_unclear(class, reason);
    let stopped = matches!(reason, Reason::Cancelled | Reason::DeadlineExceeded) && has_begun(&node.current);
    if node.external_effect && (unclear || stopped) { TaskPhase::Unknown } else { TaskPhase::Cancelled }
}

/// Returns whether an attempt may have done some of its work.
fn has_begun(current: &CurrentAttempt) -> bool {
    match current {
        CurrentAttempt::None => false,
        CurrentAttempt::Absent { .. } => true,
        CurrentAttempt::Pod { state, delivered, .. } => {
            delivered.is_some()
                || matches!(state, AttemptState::Running | AttemptState::Succeeded(_) | AttemptState::Failed { .. })
        }
    }
}
