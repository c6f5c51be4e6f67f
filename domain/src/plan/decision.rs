//! What the scheduler decides: actions, and the state of a plan after them.

use super::agents::{Agents, Assignment, Unassigned};
use super::budgets::{Budgets, Shortage};
use super::contest::Verdict;
use super::node::TaskPhase;
use super::state::PlanState;
use crate::assignment::{Reason, Report};
use crate::attempt::FailureClass;
use crate::graph::{NodeId, PerNode};
use crate::time::Millis;
use crate::usage::Limit;
use crate::waiting::Waiting;

/// One change that a decision makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Create the object of the node.
    Create(NodeId),
    /// Record the attempt and create its pod. The number may be that of an attempt that was recorded before and never got a pod.
    Start {
        node: NodeId,
        /// Number of the attempt, from 1.
        attempt: u32,
    },
    /// Record the end of an attempt.
    End {
        node: NodeId,
        attempt: u32,
        /// Class of the failure; none on success.
        failure: Option<FailureClass>,
        report: Report,
        next: NextStep,
        /// Whether the pod still exists and must be deleted.
        delete_pod: bool,
    },
    /// Record the verdict of a contest, and finish its node. No attempt at the node is in progress.
    Judge { node: NodeId, verdict: Verdict },
    /// Finish a node that has no attempt in progress.
    Close { node: NodeId, phase: TaskPhase, reason: Reason },
    /// Make a node pending again, with its failures forgotten. For a node that has not begun, this only records that its `Redo` is served.
    Reopen(NodeId),
    /// Report in the status that the attempt runs, or why it does not run yet. The caller may omit it for a short attempt. It is decided
    /// again only when the reason changes: the messages of the cluster change too often to be reported.
    MarkRunning {
        node: NodeId,
        attempt: u32,
        /// Creation time of the pod.
        since: Millis,
        /// Why the pod does not run yet.
        waiting: Option<Waiting>,
    },
}

/// Step that follows the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// The node is finished.
    Finish(TaskPhase),
    /// Another attempt follows, not before this time.
    Retry(Millis),
    /// The attempt lacked a budget or a quota, and another one follows when there is more of it. The end does not count as a failure.
    Park {
        /// Earliest time of the next attempt.
        until: Millis,
        /// For a budget: the least that remained of the node's budgets. The next attempt waits until there is more.
        remaining: Option<Limit>,
    },
    /// The quota of the attempt's agent is used up for longer than the plan waits, and another agent of the pool continues at once. The end
    /// does not count as a failure.
    Failover,
}

impl Action {
    /// Returns node and number of the attempt that it ends.
    pub fn ended(&self) -> Option<(NodeId, u32)> {
        if let Self::End { node, attempt, .. } = self { Some((*node, *attempt)) } else { None }
    }

    /// Returns the node that it reopens.
    pub(super) fn reopened(&self) -> Option<NodeId> {
        if let Self::Reopen(node) = self { Some(*node) } else { None }
    }
}

impl NextStep {
    /// Returns the phase after this step.
    pub fn phase(self) -> TaskPhase {
        match self {
            Self::Finish(phase) => phase,
            Self::Retry(_) | Self::Park { .. } | Self::Failover => TaskPhase::Pending,
        }
    }
}

/// Next actions of a plan, and its state after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub actions: Vec<Action>,
    /// Phase of each node after the actions.
    pub phases: PerNode<TaskPhase>,
    /// Number of failed attempts that another one followed, or will follow.
    pub retries: u32,
    /// State of the plan after the actions.
    pub state: PlanState,
    /// Time of the next decision if no event comes before.
    pub requeue_at: Option<Millis>,
    /// Number of attempts that only lack a free slot.
    pub waiting_for_slots: u32,
    /// The nodes that could start but for a budget, in the order in which they would start.
    pub unfunded: Vec<(NodeId, Shortage)>,
    /// The agents of the new attempts.
    pub assignments: Vec<Assignment>,
    /// The nodes that could start but for an agent.
    pub unassigned: Option<Unassigned>,
}

/// What a plan's attempts share with those of other plans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// Number of attempts that the tenant's limit allows; the plan's own limit is applied by [`decide`].
    pub free_slots: u32,
    pub budgets: Budgets,
    pub agents: Agents,
}
