//! The state of a plan that follows from the phases of its nodes.

use super::node::TaskPhase;
use super::policy::Policy;
use crate::graph::{Graph, NodeId, PerNode};

/// Number of nodes in each phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub total: u32,
    pub pending: u32,
    pub running: u32,
    pub succeeded: u32,
    /// Nodes in phase `Failed` or `Unknown`.
    pub failed: u32,
    pub cancelled: u32,
    /// Failed attempts that another one followed, or will follow.
    pub retries: u32,
}

impl Counts {
    /// Counts phases.
    pub fn of<'a>(phases: impl IntoIterator<Item = &'a TaskPhase>, retries: u32) -> Self {
        let mut counts = Self { retries, ..Self::default() };
        for phase in phases {
            counts.total += 1;
            *match phase {
                TaskPhase::Pending => &mut counts.pending,
                TaskPhase::Running => &mut counts.running,
                TaskPhase::Succeeded => &mut counts.succeeded,
                TaskPhase::Failed | TaskPhase::Unknown => &mut counts.failed,
                TaskPhase::Cancelled => &mut counts.cancelled,
            } += 1;
        }
        counts
    }
}

/// State of the plan after the actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanState {
    /// An attempt runs, or will start.
    Running,
    /// No attempt runs, and none starts until the plan is resumed.
    Suspended,
    Succeeded,
    /// A node failed, and no further attempt can start.
    Failed,
    /// Stopped on request.
    Cancelled,
    /// The time limit was reached, and everything is stopped.
    DeadlineExceeded,
    /// No attempt can start until a person finds out what became of one.
    Unknown,
}

/// Returns whether every task that a node waits for has succeeded.
pub(super) fn is_released(graph: &Graph, phases: &PerNode<TaskPhase>, id: NodeId) -> bool {
    graph.dependencies(id).iter().all(|&d| phases.tasks[d] == TaskPhase::Succeeded)
}

/// Returns the state of a plan. `waits` says whether a node can still start although no attempt runs.
pub(super) fn state_of(
    policy: &Policy,
    expired: bool,
    halted: bool,
    waits: bool,
    graph: &Graph,
    phases: &PerNode<TaskPhase>,
) -> PlanState {
    let any = |phase| phases.values().any(|p| *p == phase);
    // An attempt that still runs must end before the plan does.
    if any(TaskPhase::Running) {
        return PlanState::Running;
    }
    if phases.values().all(|p| *p == TaskPhase::Succeeded) {
        return PlanState::Succeeded;
    }
    if expired {
        return PlanState::DeadlineExceeded;
    }
    if policy.cancelled {
        return PlanState::Cancelled;
    }
    // Whether a pending node can still start.
    let open =
        !halted && phases.iter().any(|(id, phase)| *phase == TaskPhase::Pending && is_released(graph, phases, id));
    if open && policy.suspended {
        return PlanState::Suspended;
    }
    if open || (waits && !halted) {
        return PlanState::Running;
    }
    if any(TaskPhase::Unknown) {
        return PlanState::Unknown;
    }
    if any(TaskPhase::Failed) { PlanState::Failed } else { PlanState::Cancelled }
}
