//! The scheduler: decides as a pure function what a plan does next.
//!
//! A plan is a [`Graph`] of nodes: its tasks and, if it has a workspace, its integration. [`decide`] visits all nodes in the order of the
//! graph, so that a task that ends releases its dependents in the same reconcile. It is level-triggered: it depends only on the present
//! state, never on the event that caused the reconcile. Applying a decision twice is safe.

use std::cmp::Reverse;
use std::collections::HashSet;

use crate::agents::health;
use crate::assignment::{Reason, Report};
use crate::attempt::{AttemptState, FailureClass, class_of};
use crate::delivery::is_final;
use crate::graph::{Graph, NodeId, PerNode};
use crate::time::Millis;
use crate::waiting::{self, Facts};

mod agents;
mod budgets;
mod contest;
mod decision;
mod ends;
mod node;
mod pause;
mod policy;
mod state;

pub use agents::{Agent, Agents, Assignment, Unassigned};
use agents::{Assigner, Obstacle, agents_of_others};
pub use budgets::{Budgets, Funding, Shortage};
pub use contest::Verdict;
pub use decision::{Action, Decision, NextStep, Shared};
pub use ends::{LOST_SECONDS, is_lost};
use ends::{is_effect_unclear, retries, stopped_phase};
pub use node::{Contest, Contestant, CurrentAttempt, Executor, Node, Numbering, ReportedState, Request, TaskPhase};
pub use pause::Phases;
pub use policy::{OnFailure, Policy, Retry};
pub use state::{Counts, PlanState};
use state::{is_released, state_of};

/// Seconds that a pod may wait on its node for its image or its container before the attempt counts as failed.
pub const STUCK_SECONDS: u32 = 120;
/// Seconds after which budgets are checked again while an attempt waits for one: usage that was reserved may not have been needed.
const BUDGET_SECONDS: u32 = 30;
/// Seconds after which agents are considered again while no agent can have a task: health and capabilities change without an event.
const AGENT_SECONDS: u32 = 30;

/// Decides what a plan does next.
pub fn decide(policy: &Policy, graph: &Graph, nodes: &PerNode<Node>, shared: &Shared, now: Millis) -> Decision {
    let expired = policy.deadline.is_some_and(|d| now >= d);
    let stop = policy.cancelled || expired;
    let mut scheduler = Scheduler {
        now,
        stop,
        expired,
        quota_wait_seconds: policy.quota_wait_seconds,
        shared,
        actions: Vec::new(),
        exhausted: Vec::new(),
        requeue_at: None,
        contestants: 0,
    };
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
        // Contestants are not held themselves, only their node is.
        let may_get_pod = released && !node.held && !policy.suspended;
        phases[id] = scheduler.advance(id, node, may_get_pod);
        redone |= node.request == Request::Redo && phases[id] == TaskPhase::Pending;
        if node.exists && !node.kept && released && !phases[id].is_finished() {
            ready.extend(scheduler.startable(node).into_iter().map(|series| (id, series)));
        }
    }
    if redone {
        // Even if no event follows the reopening, the next decision must come, since only it starts the reopened nodes.
        scheduler.requeue(Millis(now.0 + 1));
    }
    let failed = phases.values().any(|p| matches!(p, TaskPhase::Failed | TaskPhase::Unknown));
    let halted = policy.on_failure != OnFailure::Continue && failed;
    if policy.on_failure == OnFailure::Stop && failed {
        scheduler.stop_running(nodes, &mut phases);
    }
    // All nodes that are to be redone are reopened, with everything that depends on them, before any of them starts: a crash in between
    // leaves none out, because the next decision reopens the others first.
    if halted || policy.suspended || stop || redone {
        ready.clear();
    }
    // Among equal priorities, the longest remaining path starts first, since it delays the plan most. The id makes the order
    // deterministic.
    ready.sort_by_key(|&(id, series)| (Reverse(nodes[id].priority), Reverse(graph.remaining(id)), id, series));
    let starts = scheduler.start(policy, shared, nodes, &ready, &mut phases);
    // A node that is only created now starts in a later decision, so the plan must not count as finished yet.
    let waits = scheduler.requeue_at.is_some() || starts.waiting > 0 || (!stop && nodes.values().any(|n| !n.exists));
    let state = state_of(policy, expired, halted, waits, graph, &phases);
    // No event announces the deadline.
    if let (Some(deadline), false, PlanState::Running | PlanState::Suspended) = (policy.deadline, stop, state) {
        scheduler.requeue(deadline);
    }
    Decision {
        retries: retries(nodes, &phases, &scheduler.actions),
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
    quota_wait_seconds: u32,
    shared: &'a Shared,
    actions: Vec<Action>,
    /// The agents of attempts that end because of a quota, and when it is reset.
    exhausted: Vec<(usize, Millis)>,
    requeue_at: Option<Millis>,
    /// Number of attempts in progress at nodes with a contest.
    contestants: usize,
}

impl Scheduler<'_> {
    /// Advances one node as far as possible without a new attempt, and returns its phase after that. `may_get_pod` says whether an attempt
    /// that is recorded and has no pod may get one now.
    fn advance(&mut self, id: NodeId, node: &Node, may_get_pod: bool) -> TaskPhase {
        let finished = node.phase.is_finished();
        let rerun = node.request == Request::Rerun && !self.stop && finished && node.phase != TaskPhase::Succeeded;
        let redo = node.request == Request::Redo && !self.stop && node.phase != TaskPhase::Unknown;
        // No pod works on an idle node: it is finished, has no attempt, or has only attempts that never got a pod.
        let has_no_attempt = |series: &Node| node.exists && matches!(series.current, CurrentAttempt::None);
        let idle = finished || node.series().all(|series| has_no_attempt(series) || self.still_needs_pod(series));
        if rerun || (redo && idle) {
            self.actions.push(Action::Reopen(id));
            return TaskPhase::Pending;
        }
        if finished {
            return node.phase;
        }
        // Also while the plan stops: the work exists, and another plan can keep it.
        if node.kept && node.exists {
            self.actions.push(Action::Close { node: id, phase: TaskPhase::Succeeded, reason: Reason::Succeeded });
            if self.stop {
                return TaskPhase::Succeeded;
            }
            // Dependents merge what the status shows of the work. So only the next decision starts them.
            self.requeue(Millis(self.now.0 + 1));
            return TaskPhase::Pending;
        }
        let phase = match &node.contest {
            Some(contest) => self.advance_contest(id, contest, may_get_pod),
            None => self.advance_attempt(id, node, may_get_pod),
        };
        if redo && phase.is_finished() && phase != TaskPhase::Unknown {
            // This decision records the end; the next one reopens the node. Dependents must not start from this work.
            return TaskPhase::Pending;
        }
        phase
    }

    /// Advances the contestants of a node, and judges the contest if it is decided.
    fn advance_contest(&mut self, id: NodeId, contest: &Contest, may_get_pod: bool) -> TaskPhase {
        let has_started = contest.newest_attempt() > 0;
        if self.stop && !has_started {
            self.actions.push(Action::Close { node: id, phase: TaskPhase::Cancelled, reason: self.stop_reason() });
            return TaskPhase::Cancelled;
        }
        let (before, mut running) = (self.actions.len(), 0);
        for Contestant { node, .. } in &contest.contestants {
            let has_attempt = !node.phase.is_finished() && !matches!(node.current, CurrentAttempt::None);
            if has_attempt && self.advance_attempt(id, node, may_get_pod) == TaskPhase::Running {
                running += 1;
            }
        }
        self.contestants += running;
        let ends = self.actions[before..].iter().any(|action| matches!(action, Action::End { .. }));
        if ends {
            // Only the next decision judges: what an attempt achieved is a part of its recorded end.
            self.requeue(Millis(self.now.0 + 1));
        }
        if ends || running > 0 {
            return TaskPhase::Running;
        }
        match contest.verdict(self.stop, &[]) {
            Some(verdict) => self.judge(id, verdict),
            None => TaskPhase::Pending,
        }
    }

    fn judge(&mut self, node: NodeId, verdict: Verdict) -> TaskPhase {
        let phase = verdict.phase;
        self.actions.push(Action::Judge { node, verdict });
        phase
    }

    /// Returns whether an attempt is recorded that never got a pod, and may still get one.
    fn still_needs_pod(&self, node: &Node) -> bool {
        let absent = matches!(node.current, CurrentAttempt::Absent { seen: false, delivered: None });
        // The pod may have existed without this process seeing it, so work with an external effect may be done.
        absent && !self.stop && !node.external_effect
    }

    fn advance_attempt(&mut self, id: NodeId, node: &Node, may_get_pod: bool) -> TaskPhase {
        match &node.current {
            CurrentAttempt::None if self.stop => {
                self.actions.push(Action::Close { node: id, phase: TaskPhase::Cancelled, reason: self.stop_reason() });
                TaskPhase::Cancelled
            }
            CurrentAttempt::None => TaskPhase::Pending,
            CurrentAttempt::Absent { delivered: Some(report), .. } => self.end_delivered(id, node, report),
            // Since the start was recorded, a dependency may have been reopened, or the plan suspended, or the node held.
            CurrentAttempt::Absent { .. } if self.still_needs_pod(node) && !may_get_pod => TaskPhase::Pending,
            CurrentAttempt::Absent { .. } if self.still_needs_pod(node) => {
                // With the recorded number: a crash between the record and the creation of the pod does not use up an attempt.
                self.actions.push(Action::Start { node: id, attempt: node.attempts });
                TaskPhase::Running
            }
            CurrentAttempt::Absent { seen: false, .. } if self.stop && !node.external_effect => {
                let report = Report::new(self.stop_reason(), "the attempt was stopped before a pod of it was seen");
                self.end(id, node, Some(FailureClass::Task), report, false)
            }
            CurrentAttempt::Absent { .. } => {
                let message = "the pod disappeared before its end was seen, and it delivered no result";
                self.end(id, node, Some(FailureClass::Unknown), Report::new(Reason::Lost, message), false)
            }
            // Its runner has done everything, and the pod ends by itself.
            CurrentAttempt::Pod { delivered: Some(report), .. } if is_final(report) => {
                self.end_delivered(id, node, report)
            }
            CurrentAttempt::Pod { state, created, deleting, .. } => {
                self.advance_pod(id, node, state, *created, *deleting)
            }
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
                    let attempt = node.attempts;
                    self.actions.push(Action::MarkRunning { node: id, attempt, since: created, waiting });
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
            Some(class) if self.stop => NextStep::Finish(stopped_phase(node, class, report.reason)),
            Some(class) => self.after_failure(node, class, report.reason),
        };
        self.actions.push(Action::End { node: id, attempt: node.attempts, failure, report, next, delete_pod });
        match next {
            NextStep::Finish(phase) => phase,
            NextStep::Retry(at) | NextStep::Park { until: at, .. } => {
                self.requeue(at);
                TaskPhase::Pending
            }
            NextStep::Failover => {
                self.requeue(Millis(self.now.0 + 1));
                TaskPhase::Pending
            }
        }
    }

    fn after_failure(&mut self, node: &Node, class: FailureClass, reason: Reason) -> NextStep {
        // The effect may have happened already, and a retry would repeat it, so a person decides.
        if node.external_effect && is_effect_unclear(class, reason) {
            return NextStep::Finish(TaskPhase::Unknown);
        }
        match reason {
            Reason::BudgetExceeded => {
                let remaining = Some(self.shared.budgets.least(&node.funding));
                return NextStep::Park { until: self.now.plus_seconds(BUDGET_SECONDS), remaining };
            }
            Reason::ProviderQuota => {
                let reset = health::quota_reset(node.funding.quota_reset, self.now);
                self.exhausted.extend(node.executor.last().map(|agent| (agent, reset)));
                let is_far = reset > self.now.plus_seconds(self.quota_wait_seconds);
                if is_far && self.shared.agents.can_take_over(node, reset) {
                    return NextStep::Failover;
                }
                let until = reset.max(self.now.plus_seconds(BUDGET_SECONDS));
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

    /// Stops the attempts that run, because a node has failed. In a stopped plan, none is left.
    fn stop_running(&mut self, nodes: &PerNode<Node>, phases: &mut PerNode<TaskPhase>) {
        let running: Vec<NodeId> =
            phases.iter().filter(|(_, phase)| **phase == TaskPhase::Running).map(|(id, _)| id).collect();
        // Neither reports of these attempts nor the repetition of a start whose pod is missing.
        self.actions.retain(|action| match action {
            Action::MarkRunning { node, .. } | Action::Start { node, .. } => !running.contains(node),
            _ => true,
        });
        let ended: HashSet<(NodeId, u32)> = self.actions.iter().filter_map(Action::ended).collect();
        for id in running {
            let runs = |series: &&Node| {
                !matches!(series.current, CurrentAttempt::None) && !ended.contains(&(id, series.attempts))
            };
            for series in nodes[id].series().filter(runs) {
                let message = "the attempt was stopped before its end, because another task failed";
                let report = Report::new(Reason::Cancelled, message);
                let phase = stopped_phase(series, FailureClass::Task, report.reason);
                let (next, delete_pod) =
                    (NextStep::Finish(phase), matches!(series.current, CurrentAttempt::Pod { .. }));
                let (attempt, failure) = (series.attempts, Some(FailureClass::Task));
                self.actions.push(Action::End { node: id, attempt, failure, report, next, delete_pod });
                // A contest is judged by the next decision.
                if nodes[id].contest.is_none() {
                    phases[id] = phase;
                } else {
                    self.requeue(Millis(self.now.0 + 1));
                }
            }
        }
    }

    /// Starts attempts of the `ready` series of nodes, in this order, as far as slots, budgets and agents allow.
    fn start(
        &mut self,
        policy: &Policy,
        shared: &Shared,
        nodes: &PerNode<Node>,
        ready: &[(NodeId, usize)],
        phases: &mut PerNode<TaskPhase>,
    ) -> Starts {
        let is_running =
            |(id, phase): &(NodeId, &TaskPhase)| **phase == TaskPhase::Running && nodes[*id].contest.is_none();
        let running = phases.iter().filter(is_running).count() + self.contestants;
        let running = u32::try_from(running).unwrap_or(u32::MAX);
        let mut free = policy.parallelism.saturating_sub(running).min(shared.free_slots);
        let mut budgets = shared.budgets.clone();
        let mut assigner = Assigner::new(&shared.agents, &self.exhausted);
        let mut starts = Starts::default();
        let mut unfunded: Vec<(NodeId, usize)> = Vec::new();
        for &(id, index) in ready {
            let Some(node) = nodes[id].series().nth(index) else { continue };
            // Without a slot, no agent is selected: that would evaluate the pool for every task that waits.
            if free == 0 && matches!(node.executor, Executor::Pool { .. }) {
                starts.waiting += 1;
                continue;
            }
            let others = agents_of_others(&nodes[id], index, &starts.assignments, id);
            match assigner.assign(node, &others, &budgets) {
                Err(Obstacle::Budget(shortage)) => {
                    if unfunded.last().is_none_or(|(last, _)| *last != id) {
                        starts.unfunded.push((id, shortage));
                    }
                    unfunded.push((id, index));
                }
                Err(Obstacle::Agents(why)) => {
                    starts.unassigned.get_or_insert(Unassigned { first: id, why, count: 0 }).count += 1;
                }
                Ok(_) if free == 0 => starts.waiting += 1,
                Ok(start) => {
                    free -= 1;
                    budgets.reserve(&start.funding);
                    let attempt = node.next_attempt();
                    if let Some(agent) = start.agent {
                        assigner.occupy(agent);
                        starts.assignments.push(Assignment { node: id, attempt, agent, selection: start.selection });
                    }
                    self.actions.push(Action::Start { node: id, attempt });
                    phases[id] = TaskPhase::Running;
                }
            }
        }
        self.judge_without(&unfunded, nodes, phases);
        starts.unfunded.retain(|(id, _)| !phases[*id].is_finished());
        if !starts.unfunded.is_empty() {
            // No event announces that usage was released.
            self.requeue(self.now.plus_seconds(BUDGET_SECONDS));
        }
        if starts.unassigned.is_some() {
            self.requeue(self.now.plus_seconds(AGENT_SECONDS));
        }
        starts
    }

    /// Judges the contests that only wait for contestants without a budget.
    fn judge_without(&mut self, unfunded: &[(NodeId, usize)], nodes: &PerNode<Node>, phases: &mut PerNode<TaskPhase>) {
        for &(id, _) in unfunded {
            let Some(contest) = nodes[id].contest.as_ref().filter(|_| phases[id] == TaskPhase::Pending) else {
                continue;
            };
            let of_node: Vec<usize> =
                unfunded.iter().filter(|(node, _)| *node == id).map(|(_, index)| *index).collect();
            if let Some(verdict) = contest.verdict(false, &of_node) {
                phases[id] = self.judge(id, verdict);
                // The next decision releases the dependents.
                self.requeue(Millis(self.now.0 + 1));
            }
        }
    }

    fn stop_reason(&self) -> Reason {
        if self.expired { Reason::DeadlineExceeded } else { Reason::Cancelled }
    }

    /// Returns the indices of the series of a node that may start.
    fn startable(&mut self, node: &Node) -> Vec<usize> {
        if node.held || node.phase.is_finished() {
            return Vec::new();
        }
        let series = node.series().enumerate();
        series.filter(|(_, series)| self.may_start(series)).map(|(index, _)| index).collect()
    }

    /// Returns whether nothing about a series of attempts itself prevents a start.
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
