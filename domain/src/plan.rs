//! The scheduler: decides as a pure function what a plan does next.
//!
//! A plan is a [`Graph`] of nodes: its tasks and, if it has a workspace, its integration. [`decide`] visits all nodes in the order of the
//! graph, so that a task that ends releases its dependents in the same reconcile. It is level-triggered: it depends only on the present
//! state, never on the event that caused the reconcile. Applying a decision twice is safe.

use std::cmp::Reverse;

use crate::assignment::{Reason, Report};
use crate::attempt::{AttemptState, FailureClass, class_of, may_have_worked};
use crate::graph::{Graph, NodeId, PerNode};
use crate::time::Millis;
use crate::usage::Limit;
use crate::waiting::{self, Facts, Waiting};

mod agents;
mod budgets;
mod node;
mod policy;
mod state;

pub use agents::{Agent, Agents, Assignment, Unassigned};
use agents::{Assigner, Obstacle};
pub use budgets::{Budgets, Funding, Shortage};
pub use node::{CurrentAttempt, Executor, Node, ReportedState, Request, TaskPhase};
pub use policy::{OnFailure, Policy, Retry};
pub use state::{Counts, PlanState};
use state::{is_released, state_of};

/// Seconds that a pod may wait on its node for its image or its container before the attempt counts as failed.
pub const STUCK_SECONDS: u32 = 120;
/// Seconds after the request to delete a pod before a pod that has not ended counts as lost.
pub const LOST_SECONDS: u32 = 120;
/// Seconds after which budgets are checked again while an attempt waits for one: usage that was reserved may not have been needed.
const BUDGET_SECONDS: u32 = 30;
/// Seconds after which agents are considered again while no agent can have a task: health and capabilities change without an event.
const AGENT_SECONDS: u32 = 30;
/// Seconds to wait for the reset of a provider's quota when its time is unknown.
const QUOTA_SECONDS: u32 = 900;

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
    /// Finish a node that has no attempt in progress.
    Close { node: NodeId, phase: TaskPhase, reason: Reason },
    /// Make a node pending again, with its failures forgotten. For a node that has not begun, this only records that its `Redo` is served.
    Reopen(NodeId),
    /// Report in the status that the attempt runs, or why it does not run yet. The caller may omit it for a short attempt. It is decided
    /// again only when the reason changes: the messages of the cluster change too often to be reported.
    MarkRunning {
        node: NodeId,
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
}

/// Next actions of a plan, and its state after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub actions: Vec<Action>,
    /// Phase of each node after the actions.
    pub phases: PerNode<TaskPhase>,
    /// Attempts of all nodes that failed.
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

/// Decides what a plan does next.
pub fn decide(policy: &Policy, graph: &Graph, nodes: &PerNode<Node>, shared: &Shared, now: Millis) -> Decision {
    let expired = policy.deadline.is_some_and(|d| now >= d);
    let stop = policy.cancelled || expired;
    let budgets = &shared.budgets;
    let mut scheduler = Scheduler { now, stop, expired, budgets, actions: Vec::new(), requeue_at: None };
    let mut phases = graph.per_node(|_| TaskPhase::Pending);
    let mut ready = Vec::new();
    let mut redone = false;
    // Each node comes after its dependencies, so their phases after this decision are known here.
    for id in graph.nodes() {
        let node = &nodes[id];
        if !node.exists {
            if stop {
                // An object that does not exist is not created only to be stopped.
                phases[id] = TaskPhase::Cancelled;
                continue;
            }
            scheduler.actions.push(Action::Create(id));
        }
        let released = is_released(graph, &phases, id);
        phases[id] = scheduler.advance(id, node, released);
        redone |= node.request == Request::Redo && phases[id] == TaskPhase::Pending;
        if phases[id] == TaskPhase::Pending && node.exists && released && scheduler.may_start(node) {
            ready.push(id);
        }
    }
    if redone {
        // Even if no event follows the reopening, the next decision must come, since only it starts the reopened nodes.
        scheduler.requeue(Millis(now.0 + 1));
    }
    let failed = phases.values().any(|p| matches!(p, TaskPhase::Failed | TaskPhase::Unknown));
    let halted = policy.on_failure == OnFailure::Halt && failed;
    // All nodes that are to be redone are reopened, with everything that depends on them, before any of them starts: a crash in between
    // leaves none out, because the next decision reopens the others first.
    if halted || policy.suspended || stop || redone {
        ready.clear();
    }
    // Among equal priorities, the longest remaining path starts first, since it delays the plan most. The id makes the order
    // deterministic.
    ready.sort_by_key(|&id| (Reverse(nodes[id].priority), Reverse(graph.remaining(id)), id));
    let starts = scheduler.start(policy, shared, nodes, &ready, &mut phases);
    // A node that is only created now starts in a later decision, so the plan must not count as finished yet.
    let waits = scheduler.requeue_at.is_some() || starts.waiting > 0 || (!stop && nodes.values().any(|n| !n.exists));
    let state = state_of(policy, expired, halted, waits, graph, &phases);
    // No event announces the deadline.
    if let (Some(deadline), false, PlanState::Running | PlanState::Suspended) = (policy.deadline, stop, state) {
        scheduler.requeue(deadline);
    }
    Decision {
        retries: nodes.values().map(|n| n.failures + n.infrastructure_failures).sum(),
        state,
        phases,
        actions: scheduler.actions,
        requeue_at: scheduler.requeue_at,
        waiting_for_slots: starts.waiting,
        unfunded: starts.unfunded,
        assignments: starts.assignments,
        unassigned: starts.unassigned,
    }
}

/// The starts of a decision, apart from their actions.
#[derive(Default)]
struct Starts {
    /// Number of nodes that only lack a slot.
    waiting: u32,
    unfunded: Vec<(NodeId, Shortage)>,
    assignments: Vec<Assignment>,
    unassigned: Option<Unassigned>,
}

/// The actions that one visit of all nodes collects.
struct Scheduler<'a> {
    now: Millis,
    stop: bool,
    expired: bool,
    budgets: &'a Budgets,
    actions: Vec<Action>,
    requeue_at: Option<Millis>,
}

impl Scheduler<'_> {
    /// Advances one node as far as possible without a new attempt, and returns its phase after that.
    fn advance(&mut self, id: NodeId, node: &Node, released: bool) -> TaskPhase {
        let finished = node.phase.is_finished();
        let rerun = node.request == Request::Rerun && !self.stop && finished && node.phase != TaskPhase::Succeeded;
        let redo = node.request == Request::Redo && !self.stop && node.phase != TaskPhase::Unknown;
        let idle =
            // No pod works on an idle node: it is finished, has no attempt, or has one that never got a pod.
            finished || (node.exists && matches!(node.current, CurrentAttempt::None)) || self.still_needs_pod(node);
        if rerun || (redo && idle) {
            self.actions.push(Action::Reopen(id));
            return TaskPhase::Pending;
        }
        if finished {
            return node.phase;
        }
        let phase = self.advance_attempt(id, node, released);
        if redo && phase.is_finished() && phase != TaskPhase::Unknown {
            // This decision records the end; the next one reopens the node. Dependents must not start from this work.
            return TaskPhase::Pending;
        }
        phase
    }

    /// Returns whether an attempt is recorded that never got a pod, and may still get one.
    fn still_needs_pod(&self, node: &Node) -> bool {
        let absent = matches!(node.current, CurrentAttempt::Absent { seen: false, delivered: None });
        // The pod may have existed without this process seeing it, so work with an external effect may be done.
        absent && !self.stop && !node.external_effect
    }

    fn advance_attempt(&mut self, id: NodeId, node: &Node, released: bool) -> TaskPhase {
        match &node.current {
            CurrentAttempt::None if self.stop => {
                self.actions.push(Action::Close { node: id, phase: TaskPhase::Cancelled, reason: self.stop_reason() });
                TaskPhase::Cancelled
            }
            CurrentAttempt::None => TaskPhase::Pending,
            CurrentAttempt::Absent { delivered: Some(report), .. } => self.end_delivered(id, node, report),
            // A dependency may have been reopened since the start was recorded.
            CurrentAttempt::Absent { .. } if self.still_needs_pod(node) && !released => TaskPhase::Pending,
            CurrentAttempt::Absent { .. } if self.still_needs_pod(node) => {
                // With the recorded number: a crash between the record and the creation of the pod does not use up an attempt.
                self.actions.push(Action::Start { node: id, attempt: node.attempts });
                TaskPhase::Running
            }
            CurrentAttempt::Absent { .. } => {
                let message = "the pod disappeared before its end was seen, and it delivered no result";
                self.end(id, node, Some(FailureClass::Unknown), Report::new(Reason::Lost, message), false)
            }
            CurrentAttempt::Pod { state, created, deleting } => self.advance_pod(id, node, state, *created, *deleting),
        }
    }

    fn advance_pod(
        &mut self,
        id: NodeId,
        node: &Node,
        state: &AttemptState,
        created: Millis,
        deleting: Option<Millis>,
    ) -> TaskPhase {
        // The order of the arms matters: a pod that has ended keeps its result even if the plan stops now.
        match state {
            AttemptState::Succeeded(report) => self.end(id, node, None, report.clone(), false),
            AttemptState::Failed { class, report } => {
                // Such a pod may not have ended: it can come back with its node, or wait forever for an image that does not exist.
                let lingers = *class == FailureClass::Unknown || report.reason == Reason::ImagePullFailed;
                self.end_failed(id, node, *class, report, lingers)
            }
            _ if self.stop => {
                let report = Report::new(self.stop_reason(), "the attempt was stopped before its end");
                self.end(id, node, Some(FailureClass::Task), report, true)
            }
            _ if deleting.is_some_and(|d| self.is_due(d.plus_seconds(LOST_SECONDS))) => {
                let report = Report::new(Reason::Lost, "the pod is being deleted and its node does not respond");
                self.end(id, node, Some(FailureClass::Unknown), report, true)
            }
            AttemptState::Stuck { reason, message, since } if self.is_due(since.plus_seconds(STUCK_SECONDS)) => {
                let report = Report::new(*reason, message.clone());
                self.end(id, node, Some(FailureClass::Infrastructure), report, true)
            }
            AttemptState::Pending
            | AttemptState::Unscheduled { .. }
            | AttemptState::Running
            | AttemptState::Stuck { .. } => {
                let waiting = waiting::waiting(&Facts::Attempt { state, created }, None);
                let reported = waiting.as_ref().map_or(ReportedState::Running, |wait| ReportedState::of(&wait.reason));
                // Only on a change, since each report writes the status.
                if node.phase != TaskPhase::Running || node.reported != reported {
                    self.actions.push(Action::MarkRunning { node: id, since: created, waiting });
                }
                TaskPhase::Running
            }
        }
    }

    fn end_delivered(&mut self, id: NodeId, node: &Node, report: &Report) -> TaskPhase {
        match report.reason {
            Reason::Succeeded => self.end(id, node, None, report.clone(), false),
            reason => self.end_failed(id, node, class_of(reason), report, false),
        }
    }

    /// Ends an attempt with the failure that its pod reported.
    ///
    /// A runner that is stopped does not know who stopped it. If the plan did not, the infrastructure did: a drain, a preemption, or a
    /// person with kubectl. The reason then becomes `Evicted`.
    fn end_failed(
        &mut self,
        id: NodeId,
        node: &Node,
        class: FailureClass,
        report: &Report,
        delete_pod: bool,
    ) -> TaskPhase {
        if report.reason != Reason::Cancelled || self.stop {
            return self.end(id, node, Some(class), report.clone(), delete_pod);
        }
        let evicted = Report::new(Reason::Evicted, format!("the pod was stopped from outside: {}", report.message));
        let report = Report { reason: evicted.reason, message: evicted.message, ..report.clone() };
        self.end(id, node, Some(class_of(Reason::Evicted)), report, delete_pod)
    }

    fn end(
        &mut self,
        id: NodeId,
        node: &Node,
        failure: Option<FailureClass>,
        report: Report,
        delete_pod: bool,
    ) -> TaskPhase {
        let next = match failure {
            None => NextStep::Finish(TaskPhase::Succeeded),
            // After the arm of success: work that succeeded counts even if the plan stops now.
            Some(_) if self.stop => NextStep::Finish(TaskPhase::Cancelled),
            Some(class) => self.after_failure(node, class, report.reason),
        };
        self.actions.push(Action::End { node: id, attempt: node.attempts, failure, report, next, delete_pod });
        match next {
            NextStep::Finish(phase) => phase,
            NextStep::Retry(at) | NextStep::Park { until: at, .. } => {
                self.requeue(at);
                TaskPhase::Pending
            }
        }
    }

    fn after_failure(&self, node: &Node, class: FailureClass, reason: Reason) -> NextStep {
        let outside = matches!(class, FailureClass::Infrastructure | FailureClass::Unknown);
        // The effect may have happened already, and a retry would repeat it, so a person decides.
        if outside && node.external_effect && may_have_worked(reason) {
            return NextStep::Finish(TaskPhase::Unknown);
        }
        match reason {
            Reason::BudgetExceeded => {
                let remaining = Some(self.budgets.least(&node.funding));
                return NextStep::Park { until: self.now.plus_seconds(BUDGET_SECONDS), remaining };
            }
            Reason::ProviderQuota => {
                let soonest = self.now.plus_seconds(BUDGET_SECONDS);
                let until = node.funding.quota_reset.unwrap_or(self.now.plus_seconds(QUOTA_SECONDS)).max(soonest);
                return NextStep::Park { until, remaining: None };
            }
            _ => {}
        }
        let (so_far, limit) = match class {
            FailureClass::Invalid => return NextStep::Finish(TaskPhase::Failed),
            FailureClass::Task => (node.failures, node.retry.limit),
            FailureClass::Infrastructure | FailureClass::Unknown => {
                (node.infrastructure_failures, node.retry.infrastructure_limit)
            }
        };
        // `so_far` does not include this failure.
        if so_far >= limit {
            return NextStep::Finish(TaskPhase::Failed);
        }
        NextStep::Retry(self.now.plus_seconds(node.retry.wait_seconds(so_far + 1)))
    }

    /// Starts attempts at the `ready` nodes, in this order, as far as slots, budgets and agents allow.
    fn start(
        &mut self,
        policy: &Policy,
        shared: &Shared,
        nodes: &PerNode<Node>,
        ready: &[NodeId],
        phases: &mut PerNode<TaskPhase>,
    ) -> Starts {
        let running = phases.values().filter(|p| **p == TaskPhase::Running).count();
        let running = u32::try_from(running).unwrap_or(u32::MAX);
        let mut free = policy.parallelism.saturating_sub(running).min(shared.free_slots);
        let mut budgets = shared.budgets.clone();
        let mut assigner = Assigner::new(&shared.agents);
        let mut starts = Starts::default();
        for &id in ready {
            let node = &nodes[id];
            // Without a slot, no agent is selected: that would evaluate the pool for every task that waits.
            if free == 0 && matches!(node.executor, Executor::Pool { .. }) {
                starts.waiting += 1;
                continue;
            }
            match assigner.assign(node, &budgets) {
                Err(Obstacle::Budget(shortage)) => starts.unfunded.push((id, shortage)),
                Err(Obstacle::Agents(why)) => {
                    starts.unassigned.get_or_insert(Unassigned { first: id, why, count: 0 }).count += 1;
                }
                Ok(_) if free == 0 => starts.waiting += 1,
                Ok(start) => {
                    free -= 1;
                    budgets.reserve(&start.funding);
                    if let Some(agent) = start.agent {
                        assigner.occupy(agent);
                        starts.assignments.push(Assignment { node: id, agent, selection: start.selection });
                    }
                    self.actions.push(Action::Start { node: id, attempt: node.attempts + 1 });
                    phases[id] = TaskPhase::Running;
                }
            }
        }
        if !starts.unfunded.is_empty() {
            // No event announces that usage was released.
            self.requeue(self.now.plus_seconds(BUDGET_SECONDS));
        }
        if starts.unassigned.is_some() {
            self.requeue(self.now.plus_seconds(AGENT_SECONDS));
        }
        starts
    }

    fn stop_reason(&self) -> Reason {
        if self.expired { Reason::DeadlineExceeded } else { Reason::Cancelled }
    }

    /// Returns whether nothing about a pending node itself prevents a start.
    fn may_start(&mut self, node: &Node) -> bool {
        if node.held || node.phase.is_finished() || !matches!(node.current, CurrentAttempt::None) {
            return false;
        }
        node.retry_at.is_none_or(|at| self.is_due(at))
    }

    /// Returns whether `at` has come. If not, requeues the plan for that time.
    fn is_due(&mut self, at: Millis) -> bool {
        if self.now >= at {
            return true;
        }
        self.requeue(at);
        false
    }

    fn requeue(&mut self, at: Millis) {
        self.requeue_at = Some(self.requeue_at.map_or(at, |earlier| earlier.min(at)));
    }
}
