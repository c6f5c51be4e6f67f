//! What a plan does next: the scheduler's decision as a pure function.
//!
//! A plan is a [`Graph`] of nodes: its tasks and, last, its integration when it has a workspace. [`decide`] looks at all nodes in the
//! order of the graph, so that a task that ends releases its dependents in the same pass. It is level-triggered: it never asks what has
//! just happened, only what is so. What it returns is safe to carry out twice.

use std::cmp::Reverse;

use crate::assignment::{Reason, Report};
use crate::attempt::{AttemptState, FailureClass, class_of, may_have_worked};
use crate::graph::Graph;
use crate::time::Millis;

/// Seconds that a pod may wait on its node for its image or its container before the attempt counts as failed.
pub const STUCK_SECONDS: u32 = 120;
/// Seconds after the request to delete a pod when a pod that still shows no end is taken for lost.
pub const LOST_SECONDS: u32 = 120;

/// What to do with the rest of a plan when one of its tasks has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Start nothing new; what runs may end.
    #[default]
    Halt,
    /// Go on with every task that does not depend on the failed one.
    Continue,
}

/// What holds for the whole plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Most attempts at once.
    pub parallelism: u32,
    /// What to do when a task has failed.
    pub on_failure: OnFailure,
    /// Start nothing new.
    pub suspended: bool,
    /// Stop everything.
    pub cancelled: bool,
    /// When everything is stopped.
    pub deadline: Option<Millis>,
}

/// How often and when an attempt is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Further attempts after failures of the work.
    pub limit: u32,
    /// Further attempts after failures of the surroundings.
    pub infrastructure_limit: u32,
    /// Seconds before the first further attempt; doubled each time.
    pub backoff_seconds: u32,
    /// Longest wait, in seconds.
    pub max_backoff_seconds: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { limit: 0, infrastructure_limit: 3, backoff_seconds: 5, max_backoff_seconds: 300 }
    }
}

impl Retry {
    /// Seconds to wait after the `n`th failure, counted from 1.
    pub fn wait_seconds(&self, n: u32) -> u32 {
        let factor = 1u32.checked_shl(n.saturating_sub(1).min(31)).unwrap_or(u32::MAX);
        self.backoff_seconds.saturating_mul(factor).min(self.max_backoff_seconds)
    }
}

/// Where a node durably stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TaskPhase {
    /// Waits: for its dependencies, for a free place, for its next attempt.
    #[default]
    Pending,
    /// An attempt is under way.
    Running,
    /// Done.
    Succeeded,
    /// Given up.
    Failed,
    /// Stopped on request, or by the plan's deadline.
    Cancelled,
    /// Nobody knows what of it was done, and doing it again may do harm; a person must look.
    Unknown,
}

impl TaskPhase {
    /// Whether nothing changes any more unless a person asks for another attempt.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Unknown)
    }
}

/// What is known of a node's attempt that is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Current {
    /// No attempt is under way.
    #[default]
    None,
    /// An attempt is recorded as started, and has no pod.
    Absent {
        /// Whether its pod was seen before: it is lost then; otherwise it was perhaps never created.
        seen: bool,
        /// What the pod delivered to the record.
        delivered: Option<Report>,
    },
    /// Its pod.
    Pod {
        /// Where it stands.
        state: AttemptState,
        /// When the pod was created.
        created: Millis,
        /// When its deletion was asked for.
        deleting: Option<Millis>,
    },
}

/// What the object of a running node says of its attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// It is under way.
    #[default]
    UnderWay,
    /// It waits for a node of the cluster.
    Unscheduled,
}

/// What a person asks of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// Nothing.
    #[default]
    Nothing,
    /// Another attempt if it is finished without success.
    Rerun,
    /// That its work be done again, whether it has succeeded or not: what it was made for has changed. Work of unknown end stays so.
    Redo,
}

/// A node: a task, or the integration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Whether its object exists.
    pub exists: bool,
    /// Where it durably stands.
    pub phase: TaskPhase,
    /// Number of the last attempt that was started.
    pub attempts: u32,
    /// Attempts that failed by the work's fault since the node was last (re)opened.
    pub failures: u32,
    /// Attempts that failed by other faults since then.
    pub infrastructure_failures: u32,
    /// Not to be tried again before.
    pub retry_at: Option<Millis>,
    /// The attempt under way.
    pub current: Current,
    /// What its object says of that attempt.
    pub shown: Shown,
    /// Rules for further attempts.
    pub retry: Retry,
    /// What a person asks of it.
    pub asked: Asked,
    /// No attempt starts before a person has decided about the node.
    pub held: bool,
    /// Its work reaches beyond the workspace: never repeated blindly.
    pub external_effect: bool,
    /// Higher goes first.
    pub priority: i32,
}

/// One thing to do. Nodes are named by their index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Create the node's object.
    Create(usize),
    /// Record the attempt and create its pod. The number may be one that was started before and never got a pod.
    Start {
        /// The node.
        node: usize,
        /// Number of the attempt, from 1.
        attempt: u32,
    },
    /// Record the end of an attempt.
    End {
        /// The node.
        node: usize,
        /// Number of the attempt.
        attempt: u32,
        /// Class of the failure; none on success.
        failure: Option<FailureClass>,
        /// How it ended.
        report: Report,
        /// What follows.
        then: After,
        /// Whether the pod is still there and must go.
        delete_pod: bool,
    },
    /// Finish a node that has no attempt under way.
    Close {
        /// The node.
        node: usize,
        /// How.
        phase: TaskPhase,
        /// Why.
        reason: Reason,
    },
    /// Make a node pending again, as if it had never failed. One that is to be redone and has not begun is told by it that it need not.
    Reopen(usize),
    /// Tell that the attempt runs, or waits for a node (the caller may leave it out when the attempt is short). It is decided again only
    /// when it runs after it waited, or the reverse: what the scheduler says meanwhile changes too often to be told.
    MarkRunning {
        /// The node.
        node: usize,
        /// When the pod was created.
        since: Millis,
        /// Why no node takes it.
        waits: Option<String>,
    },
}

/// What follows the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The node is finished.
    Finish(TaskPhase),
    /// Another attempt, not before this moment.
    Retry(Millis),
}

/// How many nodes stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub total: u32,
    /// Waiting.
    pub pending: u32,
    /// With an attempt under way.
    pub running: u32,
    /// Done.
    pub succeeded: u32,
    /// Given up, or of unknown end.
    pub failed: u32,
    /// Stopped.
    pub cancelled: u32,
    /// Attempts that failed.
    pub retries: u32,
}

/// Where the plan stands after the actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanState {
    /// Something runs, or will.
    Running,
    /// Nothing runs, and nothing starts until the plan is resumed.
    Suspended,
    /// Everything is done.
    Succeeded,
    /// Something failed, and nothing more can start.
    Failed,
    /// Stopped on request.
    Cancelled,
    /// The time limit was reached, and everything is stopped.
    DeadlineExceeded,
    /// Nothing can start until a person says what became of an attempt.
    Unknown,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to do, in order of importance.
    pub actions: Vec<Action>,
    /// How each node stands when that is done.
    pub phases: Vec<TaskPhase>,
    /// How many nodes stand where then.
    pub counts: Counts,
    /// Where the plan stands when that is done.
    pub state: PlanState,
    /// When to look again although nothing happened.
    pub wake: Option<Millis>,
    /// How many more attempts could start if there were room.
    pub starved: u32,
}

/// Decides what a plan does next. `room` is the number of attempts that the tenant has left; the plan's own limit is applied here.
pub fn decide(policy: &Policy, graph: &Graph, nodes: &[Node], room: u32, now: Millis) -> Decision {
    debug_assert_eq!(graph.len(), nodes.len());
    let expired = policy.deadline.is_some_and(|d| now >= d);
    let mut pass = Pass { now, stop: policy.cancelled || expired, expired, actions: Vec::new(), wake: None };
    let mut phases: Vec<TaskPhase> = Vec::with_capacity(nodes.len());
    let mut ready = Vec::new();
    let mut retries = 0;
    let mut redone = false;
    phases.resize(nodes.len(), TaskPhase::Pending);
    for &i in graph.order() {
        let i = i as usize;
        let node = &nodes[i];
        retries += node.failures + node.infrastructure_failures;
        if !node.exists {
            if pass.stop {
                // What was never made need not be made to be stopped.
                phases[i] = TaskPhase::Cancelled;
                continue;
            }
            pass.actions.push(Action::Create(i));
        }
        let released = graph.dependencies(i).iter().all(|&d| phases[d as usize] == TaskPhase::Succeeded);
        phases[i] = pass.advance(i, node, released);
        redone |= node.asked == Asked::Redo && phases[i] == TaskPhase::Pending;
        if phases[i] == TaskPhase::Pending && node.exists && released && pass.may_start(node) {
            ready.push(i);
        }
    }
    if redone {
        pass.wake_at(Millis(now.0 + 1));
    }
    let halted = policy.on_failure == OnFailure::Halt
        && phases.iter().any(|p| matches!(p, TaskPhase::Failed | TaskPhase::Unknown));
    // What is to be redone is opened again with all that stands on it before any of it starts, so that nothing is left out by a crash.
    if halted || policy.suspended || pass.stop || redone {
        ready.clear();
    }
    ready.sort_by_key(|&i| (Reverse(nodes[i].priority), Reverse(graph.remaining(i)), i));
    let running = phases.iter().filter(|p| **p == TaskPhase::Running).count();
    let free = (policy.parallelism as usize).saturating_sub(running).min(room as usize);
    let starved = ready.len().saturating_sub(free);
    for &i in ready.iter().take(free) {
        let attempt = nodes[i].attempts + 1;
        pass.actions.push(Action::Start { node: i, attempt });
        phases[i] = TaskPhase::Running;
    }
    let waits = pass.wake.is_some() || (!pass.stop && nodes.iter().any(|n| !n.exists));
    let state = state_of(policy, expired, halted, waits || starved > 0, graph, &phases);
    if let Some(deadline) =
        policy.deadline.filter(|_| !pass.stop && matches!(state, PlanState::Running | PlanState::Suspended))
    {
        pass.wake_at(deadline);
    }
    Decision {
        counts: count(&phases, retries),
        state,
        phases,
        actions: pass.actions,
        wake: pass.wake,
        starved: u32::try_from(starved).unwrap_or(u32::MAX),
    }
}

/// What one look at all nodes collects.
struct Pass {
    now: Millis,
    stop: bool,
    expired: bool,
    actions: Vec<Action>,
    wake: Option<Millis>,
}

impl Pass {
    /// Brings one node as far as it gets without starting an attempt; its phase after that.
    fn advance(&mut self, i: usize, node: &Node, released: bool) -> TaskPhase {
        let finished = node.phase.is_finished();
        let rerun = node.asked == Asked::Rerun && !self.stop && finished && node.phase != TaskPhase::Succeeded;
        let redo = node.asked == Asked::Redo && !self.stop && node.phase != TaskPhase::Unknown;
        let idle = finished || (node.exists && matches!(node.current, Current::None)) || self.is_unborn(node);
        if rerun || (redo && idle) {
            self.actions.push(Action::Reopen(i));
            return TaskPhase::Pending;
        }
        if finished {
            return node.phase;
        }
        let phase = self.go_on(i, node, released);
        if redo && phase.is_finished() && phase != TaskPhase::Unknown {
            // Its end is told first; the next pass opens it again.
            return TaskPhase::Pending;
        }
        phase
    }

    /// Whether an attempt is recorded that never got a pod, and may get one.
    fn is_unborn(&self, node: &Node) -> bool {
        let absent = matches!(node.current, Current::Absent { seen: false, delivered: None });
        absent && !self.stop && !node.external_effect
    }

    fn go_on(&mut self, i: usize, node: &Node, released: bool) -> TaskPhase {
        match &node.current {
            Current::None if self.stop => {
                let reason = if self.expired { Reason::DeadlineExceeded } else { Reason::Cancelled };
                self.actions.push(Action::Close { node: i, phase: TaskPhase::Cancelled, reason });
                TaskPhase::Cancelled
            }
            Current::None => TaskPhase::Pending,
            Current::Absent { delivered: Some(report), .. } => self.delivered(i, node, report),
            // What it stands on may be done again since the record of its start.
            Current::Absent { .. } if self.is_unborn(node) && !released => TaskPhase::Pending,
            Current::Absent { .. } if self.is_unborn(node) => {
                self.actions.push(Action::Start { node: i, attempt: node.attempts });
                TaskPhase::Running
            }
            Current::Absent { .. } => {
                let report =
                    Report::new(Reason::Lost, "the pod disappeared before its end was seen, and delivered no result");
                self.end(i, node, Some(FailureClass::Unknown), report, false)
            }
            Current::Pod { state, created, deleting } => self.pod(i, node, state, *created, *deleting),
        }
    }

    fn pod(
        &mut self,
        i: usize,
        node: &Node,
        state: &AttemptState,
        created: Millis,
        deleting: Option<Millis>,
    ) -> TaskPhase {
        match state {
            AttemptState::Succeeded(report) => self.end(i, node, None, report.clone(), false),
            AttemptState::Failed { class, report } => {
                // Such a pod has not ended for certain: it may come back with its node, or wait for an image of no name for ever.
                let lingers = *class == FailureClass::Unknown || report.reason == Reason::ImagePullFailed;
                self.failed(i, node, *class, report, lingers)
            }
            _ if self.stop => {
                let reason = if self.expired { Reason::DeadlineExceeded } else { Reason::Cancelled };
                let report = Report::new(reason, "stopped before the end");
                self.end(i, node, Some(FailureClass::Task), report, true)
            }
            _ if deleting.is_some_and(|d| self.due(d.plus_seconds(LOST_SECONDS))) => {
                let report = Report::new(Reason::Lost, "the pod was to be deleted and its node does not answer");
                self.end(i, node, Some(FailureClass::Unknown), report, true)
            }
            AttemptState::Stuck { reason, message, since } if self.due(since.plus_seconds(STUCK_SECONDS)) => {
                let report = Report::new(*reason, message.clone());
                self.end(i, node, Some(FailureClass::Infrastructure), report, true)
            }
            AttemptState::Pending
            | AttemptState::Unscheduled { .. }
            | AttemptState::Running
            | AttemptState::Stuck { .. } => {
                let (shown, waits) = match state {
                    AttemptState::Unscheduled { message } => (Shown::Unscheduled, Some(message.clone())),
                    _ => (Shown::UnderWay, None),
                };
                if node.phase != TaskPhase::Running || node.shown != shown {
                    self.actions.push(Action::MarkRunning { node: i, since: created, waits });
                }
                TaskPhase::Running
            }
        }
    }

    fn delivered(&mut self, i: usize, node: &Node, report: &Report) -> TaskPhase {
        match report.reason {
            Reason::Succeeded => self.end(i, node, None, report.clone(), false),
            reason => self.failed(i, node, class_of(reason), report, false),
        }
    }

    /// Ends an attempt as its pod told. A runner that is stopped cannot know by whom; where the plan did not ask for it, its surroundings
    /// did: a drain, a preemption, a person with kubectl.
    fn failed(&mut self, i: usize, node: &Node, class: FailureClass, report: &Report, delete_pod: bool) -> TaskPhase {
        if report.reason != Reason::Cancelled || self.stop {
            return self.end(i, node, Some(class), report.clone(), delete_pod);
        }
        let told = Report::new(Reason::Evicted, format!("the pod was stopped from outside: {}", report.message));
        let report = Report { reason: told.reason, message: told.message, ..report.clone() };
        self.end(i, node, Some(class_of(Reason::Evicted)), report, delete_pod)
    }

    fn end(
        &mut self,
        i: usize,
        node: &Node,
        failure: Option<FailureClass>,
        report: Report,
        delete_pod: bool,
    ) -> TaskPhase {
        let then = match failure {
            None => After::Finish(TaskPhase::Succeeded),
            Some(_) if self.stop => After::Finish(TaskPhase::Cancelled),
            Some(class) => self.after_failure(node, class, report.reason),
        };
        self.actions.push(Action::End { node: i, attempt: node.attempts, failure, report, then, delete_pod });
        match then {
            After::Finish(phase) => phase,
            After::Retry(at) => {
                self.wake_at(at);
                TaskPhase::Pending
            }
        }
    }

    fn after_failure(&self, node: &Node, class: FailureClass, reason: Reason) -> After {
        let outside = matches!(class, FailureClass::Infrastructure | FailureClass::Unknown);
        if outside && node.external_effect && may_have_worked(reason) {
            return After::Finish(TaskPhase::Unknown);
        }
        let (so_far, limit) = match class {
            FailureClass::Invalid => return After::Finish(TaskPhase::Failed),
            FailureClass::Task => (node.failures, node.retry.limit),
            FailureClass::Infrastructure | FailureClass::Unknown => {
                (node.infrastructure_failures, node.retry.infrastructure_limit)
            }
        };
        if so_far >= limit {
            return After::Finish(TaskPhase::Failed);
        }
        After::Retry(self.now.plus_seconds(node.retry.wait_seconds(so_far + 1)))
    }

    /// Whether a pending node may start as far as it alone is concerned.
    fn may_start(&mut self, node: &Node) -> bool {
        if node.held || node.phase.is_finished() || !matches!(node.current, Current::None) {
            return false;
        }
        node.retry_at.is_none_or(|at| self.due(at))
    }

    /// Whether `at` has come; if not, the plan is looked at again then.
    fn due(&mut self, at: Millis) -> bool {
        if self.now >= at {
            return true;
        }
        self.wake_at(at);
        false
    }

    fn wake_at(&mut self, at: Millis) {
        self.wake = Some(self.wake.map_or(at, |w| w.min(at)));
    }
}

fn count(phases: &[TaskPhase], retries: u32) -> Counts {
    let mut counts = Counts { total: u32::try_from(phases.len()).unwrap_or(u32::MAX), retries, ..Counts::default() };
    for phase in phases {
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

fn state_of(
    policy: &Policy,
    expired: bool,
    halted: bool,
    waits: bool,
    graph: &Graph,
    phases: &[TaskPhase],
) -> PlanState {
    let any = |phase| phases.contains(&phase);
    if any(TaskPhase::Running) {
        return PlanState::Running;
    }
    if phases.iter().all(|p| *p == TaskPhase::Succeeded) {
        return PlanState::Succeeded;
    }
    if expired {
        return PlanState::DeadlineExceeded;
    }
    if policy.cancelled {
        return PlanState::Cancelled;
    }
    let released = |i: usize| graph.dependencies(i).iter().all(|&d| phases[d as usize] == TaskPhase::Succeeded);
    let open = !halted && (0..phases.len()).any(|i| phases[i] == TaskPhase::Pending && released(i));
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
