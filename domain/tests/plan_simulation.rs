//! A simulation of plans: in whatever order pods end, get stuck and vanish, people change their requests and the operator crashes, a plan
//! keeps its promises and ends.
//!
//! The test simulates pods, cluster nodes, people, the API server, the record and the operator. As in `operator/src/plan`, the operator
//! reads its nodes from their status, the record and its memory. It records a decision before it applies it, and ends attempts before it
//! starts others. Each action may fail without the others. The process may crash between two actions or within one, and loses its memory.
//!
//! These promises are asserted where they would break:
//! - A task starts after its dependencies.
//! - There are never more attempts than parallelism and free slots allow, except to replace starts that were recorded and failed.
//! - No attempt starts while the plan is suspended, halted or stopped. A stop takes effect at once, also that of `onFailure: Stop`. A held
//!   task does not start. An attempt whose start was recorded, and that has no pod, waits too, unless the plan is only halted.
//! - A finished phase changes only on a person's request, and a success only by a redo, which includes all dependents: at the end no task
//!   depends on older work.
//! - An attempt has no second pod, unless no running process has seen the first.
//! - Work with an external effect that an infrastructure failure interrupted is not repeated.
//! - An ended attempt leaves no pod that may continue. When the plan has ended, the record has the end of each attempt, except of
//!   one without a pod that waits for a dependency which was reopened and failed: a retry of the plan continues it.
//! - When nothing more happens, the plan has ended.
//!
//! A runner may deliver a success some time before its pod ends. The notification about it can be lost; the pod can end in any way.
//!
//! The simulation relies on guarantees of other components: the result of a success is in the record before its pod ends (a runner that
//! cannot deliver its result reports a failure), a kubelet starts no container in a pod that is being deleted, and a new process sees all
//! existing pods.

use std::collections::BTreeSet;

use enact_domain::assignment::{Reason, Report};
use enact_domain::attempt::{AttemptState, FailureClass, class_of};
use enact_domain::graph::{Graph, NodeId, PerNode};
use enact_domain::plan::{
    Action, Decision, NextStep, Node, OnFailure, PlanState, Policy, ReportedState, Request, Retry, Shared, TaskPhase,
    decide,
};
use enact_domain::time::Millis;
use proptest::prelude::*;

#[path = "support/simulated.rs"]
mod simulated;
#[path = "support/world.rs"]
mod world;

use simulated::{Chance, Open, Pod, Task};
use world::{World, graph, world};

struct Run<'a> {
    world: &'a World,
    graph: Graph,
    policy: Policy,
    free_slots: u32,
    now: Millis,
    /// The tasks and, if the plan has one, the integration.
    tasks: PerNode<Task>,
    /// Whether the process has read the record.
    hydrated: bool,
    /// The number of starts that were recorded and failed, also by a crash. Each may be repeated beyond the plan's parallelism, since others
    /// start while it waits.
    failed_starts: usize,
    /// A counter of starts and of ends of pods, used as a clock.
    moments: usize,
    chance: Chance,
}

impl<'a> Run<'a> {
    fn new(world: &'a World, chance: Vec<usize>) -> Self {
        let retry = Retry { limit: world.limit, infrastructure_limit: 2, ..Retry::default() };
        let graph = graph(world);
        let task = |node: NodeId| {
            let external_effect = world.trouble && node.task().is_some_and(|i| world.external_effect[i]);
            Task { status: Node { retry, external_effect, ..Node::default() }, ..Task::default() }
        };
        Self {
            world,
            tasks: graph.per_node(task),
            graph,
            policy: Policy { parallelism: world.parallelism, on_failure: world.on_failure, ..Policy::default() },
            free_slots: u32::MAX,
            now: Millis(0),
            hydrated: false,
            failed_starts: 0,
            moments: 0,
            chance: Chance(chance.into_iter()),
        }
    }

    fn nodes(&self) -> Vec<NodeId> {
        self.graph.nodes().collect()
    }

    /// Returns a random node.
    fn any_node(&mut self) -> NodeId {
        let nodes = self.nodes();
        nodes[self.chance.of(nodes.len()).unwrap_or(0)]
    }

    /// Runs until nothing is left to do or to wait for, and returns the phases of the nodes and the plan's state.
    fn until_the_end(mut self) -> (PerNode<TaskPhase>, PlanState) {
        for _ in 0..3000 {
            let decision = self.reconcile();
            let calm = decision.actions.is_empty();
            if !self.happens(decision.requeue_at) && calm {
                self.check_end(&decision);
                return (decision.phases, decision.state);
            }
        }
        panic!("no end");
    }

    /// Runs one reconcile of the operator, or a part of it until a crash.
    fn reconcile(&mut self) -> Decision {
        if !self.hydrated || self.tasks.values().any(Task::has_vanished) {
            for node in self.nodes() {
                self.tasks[node].hydrate();
            }
            self.hydrated = true;
        }
        let graph = self.graph.clone();
        let nodes = graph.per_node(|node| self.tasks[node].observe());
        let shared = Shared { free_slots: self.free_slots, ..Shared::default() };
        let mut decision = decide(&self.policy, &self.graph, &nodes, &shared, self.now);
        self.check(&decision, &nodes);
        decision.actions.sort_by_key(|action| match action {
            Action::End { .. } | Action::Judge { .. } | Action::Close { .. } | Action::Reopen(_) => 0,
            Action::Start { .. } => 1,
            Action::MarkRunning { .. } => 2,
            Action::Create(_) => 3,
        });
        // Each action has two halves, between which the process may crash. For example, an end deletes the pod and writes the status.
        let halves = decision.actions.len() * 2;
        let crash = if self.chance.strikes(6) { self.chance.of(halves + 2) } else { None };
        if crash != Some(halves + 1) {
            decision.actions.iter().for_each(|action| self.record(action));
            for (n, action) in decision.actions.iter().enumerate() {
                let fails = self.world.trouble && self.chance.strikes(9);
                let is_lost = fails || crash.is_some_and(|at| at <= n * 2 + 1);
                self.failed_starts += usize::from(is_lost && matches!(action, Action::Start { .. }));
                let half = fails && self.chance.strikes(2);
                if crash.is_none_or(|at| at > n * 2) && (!fails || half) {
                    self.delete(action);
                }
                match action {
                    _ if crash.is_some_and(|at| at <= n * 2 + 1) => {}
                    Action::Start { node, attempt } if fails => {
                        let open = Open { number: *attempt, seen: false, result: None, lacks_pod: true };
                        self.tasks[*node].open = Some(open);
                    }
                    _ if fails => {}
                    _ => self.apply(action, &nodes),
                }
            }
        }
        self.check_pods();
        if crash.is_some() {
            self.hydrated = false;
            for node in self.nodes() {
                let task = &mut self.tasks[node];
                task.open = None;
                task.seen.clear();
            }
        }
        decision
    }

    fn record(&mut self, action: &Action) {
        match action {
            Action::Start { node, attempt } => drop(self.tasks[*node].record.entry(*attempt).or_default()),
            Action::End { node, attempt, .. } => self.tasks[*node].record.entry(*attempt).or_default().ended = true,
            _ => {}
        }
    }

    fn delete(&mut self, action: &Action) {
        if let Action::End { node, attempt, delete_pod: true, .. } = action
            && let Some(pod) = self.tasks[*node].pods.get_mut(attempt)
        {
            pod.deleting.get_or_insert(self.now.plus_seconds(30));
        }
    }

    fn apply(&mut self, action: &Action, nodes: &PerNode<Node>) {
        match action {
            Action::Create(node) => self.tasks[*node].status.exists = true,
            Action::Start { node, attempt } => self.start(*node, *attempt),
            Action::End { node, attempt, failure, next, .. } => {
                let task = &mut self.tasks[*node];
                assert!(!task.status.phase.is_finished(), "the end of {attempt} changes a finished state");
                let goes = |p: &Pod| p.has_ended() || p.deleting.is_some() || p.delivered;
                assert!(task.pods.get(attempt).is_none_or(goes), "a pod without an attempt may run on, or come back");
                task.open = None;
                task.ends.insert(*attempt, *failure);
                task.status.attempts = *attempt;
                match failure {
                    _ if matches!(next, NextStep::Park { .. } | NextStep::Failover) => {}
                    Some(FailureClass::Task | FailureClass::Invalid) => task.status.failures += 1,
                    Some(_) => task.status.infrastructure_failures += 1,
                    None => {}
                }
                (task.status.phase, task.status.retry_at) = match next {
                    NextStep::Finish(phase) => (*phase, None),
                    NextStep::Retry(at) | NextStep::Park { until: at, .. } => (TaskPhase::Pending, Some(*at)),
                    NextStep::Failover => (TaskPhase::Pending, None),
                };
            }
            Action::Close { node, phase, .. } => {
                assert!(!self.tasks[*node].status.phase.is_finished(), "closed twice");
                self.tasks[*node].status.phase = *phase;
            }
            Action::Judge { .. } => unreachable!("no task of the simulation has a contest"),
            Action::Reopen(node) => {
                let task = &mut self.tasks[*node];
                let Node { request, phase, .. } = task.status;
                assert!(
                    request == Request::Redo || request == Request::Rerun && phase.is_finished(),
                    "nobody requested that"
                );
                assert!(request == Request::Redo || phase != TaskPhase::Succeeded, "what is done is done");
                task.ends.clear();
                let Node { exists, attempts, retry, external_effect, .. } = task.status;
                task.status = Node { exists, attempts, retry, external_effect, ..Node::default() };
            }
            Action::MarkRunning { node, waiting, .. } => {
                // An attempt that ends soon is never reported as running.
                if self.chance.of(3) != Some(2) {
                    let status = &mut self.tasks[*node].status;
                    assert!(!status.phase.is_finished(), "a finished task runs");
                    let reported =
                        waiting.as_ref().map_or(ReportedState::Running, |wait| ReportedState::of(&wait.reason));
                    assert!(
                        status.phase != TaskPhase::Running || status.reported != reported,
                        "the same is reported again"
                    );
                    (status.phase, status.reported, status.attempts) =
                        (TaskPhase::Running, reported, nodes[*node].attempts);
                }
            }
        }
    }

    fn start(&mut self, node: NodeId, attempt: u32) {
        // If the status could not be written, the delivered result of the last attempt decides.
        let last = |t: &Task| {
            t.record.last_key_value().filter(|(number, _)| **number > t.closed()).map(|(_, r)| r.delivered.clone())
        };
        let delivered = |t: &Task| last(t).flatten().map(|report| report.reason);
        let succeeded = |t: &Task| t.status.phase == TaskPhase::Succeeded || delivered(t) == Some(Reason::Succeeded);
        for &d in self.graph.dependencies(node) {
            assert!(succeeded(&self.tasks.tasks[d]), "{node:?} starts before task {d} is done");
        }
        let created = self.now;
        self.moments += 1;
        let task = &mut self.tasks[node];
        task.started = self.moments;
        task.open = Some(Open { number: attempt, seen: true, result: None, lacks_pod: false });
        if task.pods.contains_key(&attempt) {
            return;
        }
        if task.status.external_effect {
            let of_its_own = |n: &u32| task.ends.get(n) == Some(&Some(FailureClass::Task));
            let again = task.begun.iter().filter(|n| task.ends.contains_key(n)).any(|n| !of_its_own(n));
            assert!(!again && !task.born.contains(&attempt), "work that may not be repeated is repeated");
        }
        // A pod that vanished before any process saw it cannot be distinguished from a pod that was never created.
        assert!(!task.seen.contains(&attempt), "attempt {attempt} has had a pod");
        task.born.insert(attempt);
        task.seen.insert(attempt);
        task.pods.insert(attempt, Pod { state: AttemptState::Pending, created, deleting: None, delivered: false });
    }

    /// Simulates an event. Returns false if no event is left.
    fn happens(&mut self, requeue_at: Option<Millis>) -> bool {
        if !self.world.trouble {
            return self.a_pod_ends_as_foreseen() || self.time_passes(requeue_at);
        }
        let Some(what) = self.chance.of(27) else {
            let calm = (false, u32::MAX);
            let before = (
                std::mem::replace(&mut self.policy.suspended, calm.0),
                std::mem::replace(&mut self.free_slots, calm.1),
            );
            let held = self.nodes().into_iter().any(|node| std::mem::take(&mut self.tasks[node].status.held));
            return held || before != calm || self.a_pod_goes_on() || self.time_passes(requeue_at);
        };
        match what {
            0..=15 => self.something_happens_to_a_pod(),
            16 | 17 => self.now = self.now.plus_seconds(u32::try_from(self.chance.of(200).unwrap_or(0)).unwrap_or(0)),
            18 => self.policy.suspended = !self.policy.suspended,
            19 => self.free_slots = u32::try_from(self.chance.of(4).unwrap_or(0)).unwrap_or(0),
            20 | 21 => {
                let node = self.any_node();
                let status = &mut self.tasks[node].status;
                // A redo request includes more than a rerun, so a rerun does not replace it.
                if status.request == Request::None {
                    status.request = Request::Rerun;
                }
            }
            22 => {
                // In most cases the event removes the deadline, as if a person had raised it.
                let seconds = self.chance.of(2000).and_then(|s| u32::try_from(s).ok()).filter(|s| *s < 500);
                self.policy.deadline = seconds.map(|s| self.now.plus_seconds(s));
            }
            23 => {
                let node = self.any_node();
                self.redo(node);
            }
            24 | 25 => {
                let node = self.any_node();
                self.tasks[node].status.held ^= true;
            }
            _ => self.policy.cancelled |= self.chance.strikes(10),
        }
        true
    }

    /// Requests a redo of a task and its dependents.
    fn redo(&mut self, node: NodeId) {
        let mut all = BTreeSet::from([node]);
        for node in self.graph.nodes() {
            if self.graph.dependencies(node).iter().any(|d| all.contains(&NodeId::Task(*d))) {
                all.insert(node);
            }
        }
        for node in all {
            let status = &mut self.tasks[node].status;
            if status.exists && status.phase != TaskPhase::Unknown {
                status.request = Request::Redo;
            }
        }
    }

    fn time_passes(&mut self, requeue_at: Option<Millis>) -> bool {
        self.now = self.now.max(requeue_at.unwrap_or(self.now));
        requeue_at.is_some()
    }

    /// Returns the pods that may still run, by task and attempt.
    fn alive(&self) -> Vec<(NodeId, u32)> {
        let of = |(i, task): (NodeId, &Task)| {
            task.pods.iter().filter(|(_, p)| !p.has_ended()).map(|(n, _)| (i, *n)).collect::<Vec<_>>()
        };
        self.tasks.iter().flat_map(of).collect()
    }

    fn a_pod_ends_as_foreseen(&mut self) -> bool {
        let alive = self.alive();
        if alive.is_empty() {
            return false;
        }
        let (i, number) = alive[self.chance.of(alive.len()).unwrap_or(0)];
        let fails = i.task().is_some_and(|i| number <= self.world.failures_first[i]);
        self.end(i, number, if fails { Reason::AgentFailed } else { Reason::Succeeded }, true);
        true
    }

    /// Advances the first pod that is not stuck by one step towards success.
    fn a_pod_goes_on(&mut self) -> bool {
        let goes_on = |&(i, number): &(NodeId, u32)| {
            let pod = &self.tasks[i].pods[&number];
            pod.deleting.is_none() && !matches!(pod.state, AttemptState::Stuck { .. } | AttemptState::Failed { .. })
        };
        let Some((i, number)) = self.alive().into_iter().find(goes_on) else { return false };
        self.advance(i, number);
        true
    }

    fn advance(&mut self, i: NodeId, number: u32) {
        if self.tasks[i].begun.insert(number) {
            self.tasks[i].pods.get_mut(&number).expect("it is alive").state = AttemptState::Running;
        } else {
            self.end(i, number, Reason::Succeeded, true);
        }
    }

    fn something_happens_to_a_pod(&mut self) {
        let alive = self.alive();
        if alive.is_empty() {
            return;
        }
        let (i, number) = alive[self.chance.of(alive.len()).unwrap_or(0)];
        let delivers = self.chance.strikes(2);
        let what = self.chance.of(22).unwrap_or(0);
        let now = self.now;
        let task = &mut self.tasks[i];
        let begun = task.begun.contains(&number);
        let pod = task.pods.get_mut(&number).expect("it is alive");
        let works = begun || pod.deleting.is_none();
        match what {
            0..=5 if works => self.advance(i, number),
            6 if works => self.end(i, number, Reason::AgentFailed, delivers),
            7 if works => self.end(i, number, Reason::DeliveryFailed, false),
            // A cause outside the plan stopped the runner.
            8 if works => self.end(i, number, Reason::Cancelled, delivers),
            9 if works => self.end(i, number, Reason::InvalidAssignment, delivers),
            10 => self.end(i, number, Reason::Evicted, false),
            // The node does not answer, but may return.
            11 => pod.state = ended(Reason::Lost),
            12 => pod.deleting = pod.deleting.or(Some(now)),
            13 if !begun => {
                let (reason, message) = (Reason::ImagePullFailed, String::new());
                pod.state = AttemptState::Stuck { reason, message, since: now };
            }
            14 if !begun => pod.state = AttemptState::Unscheduled { message: String::new() },
            // The image name is invalid, so the pod waits forever.
            15 if !begun => {
                let report = Report::new(Reason::ImagePullFailed, "");
                pod.state = AttemptState::Failed { class: FailureClass::Invalid, report };
            }
            16 if begun => {
                let reason = if delivers { Reason::Succeeded } else { Reason::Cancelled };
                task.deliver(number, Report::new(reason, ""));
                task.pods.remove(&number);
                self.moments += 1;
                task.finished.entry(number).or_insert(self.moments);
            }
            17 if works => self.end(i, number, Reason::BudgetExceeded, delivers),
            18 if works => self.end(i, number, Reason::ProviderQuota, delivers),
            // The result is delivered before the pod ends. The notification can be lost.
            20 | 21 if begun && works && !pod.delivered => {
                pod.delivered = true;
                task.deliver(number, Report::new(Reason::Succeeded, ""));
                if delivers {
                    task.notify(number);
                }
                self.moments += 1;
                task.finished.insert(number, self.moments);
            }
            20 | 21 => {}
            _ => drop(task.pods.remove(&number)),
        }
    }

    /// Ends a pod. The runner reports every reason except an eviction, so the attempt had begun.
    fn end(&mut self, i: NodeId, number: u32, reason: Reason, delivers: bool) {
        self.moments += 1;
        let task = &mut self.tasks[i];
        // The work of an attempt is done when its result is delivered.
        task.finished.entry(number).or_insert(self.moments);
        if reason != Reason::Evicted {
            task.begun.insert(number);
        }
        if delivers {
            task.deliver(number, Report::new(reason, ""));
        }
        task.pods.get_mut(&number).expect("it is alive").state = ended(reason);
    }

    /// Checks the promises that hold for each decision.
    fn check(&self, decision: &Decision, nodes: &PerNode<Node>) {
        let stop = self.policy.cancelled || self.policy.deadline.is_some_and(|at| self.now >= at);
        let is_early =
            |action: &Action| matches!(action, Action::Start { node, .. } if nodes[*node].retry_at > Some(self.now));
        assert!(!decision.actions.iter().any(is_early), "an attempt before its time");
        // Not even an attempt whose start was recorded before.
        let waits = |action: &Action| matches!(action, Action::Start { node, .. } if self.policy.suspended || nodes[*node].held);
        assert!(!decision.actions.iter().any(waits), "an attempt at what is suspended or held");
        let is_new =
            |action: &&Action| matches!(action, Action::Start { node, attempt } if *attempt > nodes[*node].attempts);
        let new = decision.actions.iter().filter(is_new).count();
        let running = decision.phases.values().filter(|p| **p == TaskPhase::Running).count();
        assert!(new == 0 || running <= self.world.parallelism as usize, "{running} at once");
        assert!(new <= self.free_slots as usize, "more than the tenant's free slots");
        let failed = decision.phases.values().any(|p| matches!(p, TaskPhase::Failed | TaskPhase::Unknown));
        let halted = failed && self.world.on_failure != OnFailure::Continue;
        let stopped = failed && self.world.on_failure == OnFailure::Stop;
        assert!(!stopped || running == 0, "an attempt is not stopped");
        assert!(new == 0 || !(stop || halted), "nothing new may start");
        let begins = |a: &Action| matches!(a, Action::Start { .. } | Action::Create(_) | Action::Reopen(_));
        assert!(!(stop && decision.actions.iter().any(begins)), "nothing at all may start");
        assert!(!stop || decision.phases.values().all(|p| p.is_finished()), "something is not stopped");
        assert!(decision.requeue_at.is_none_or(|at| at > self.now), "a wait that is over");
    }

    /// Checks the number of pods whose attempt is not recorded as ended. A failed start is repeated, whatever else has started since.
    fn check_pods(&self) {
        let under_way = |(i, number): &(NodeId, u32)| !self.tasks[*i].record[number].ended;
        let pods = self.alive().iter().filter(|p| under_way(p)).count();
        assert!(pods <= self.world.parallelism as usize + self.failed_starts, "{pods} pods at once");
    }

    /// Checks the promises that hold at the end.
    fn check_end(&self, decision: &Decision) {
        let all = |f: fn(TaskPhase) -> bool| decision.phases.values().all(|p| f(*p));
        assert!(!matches!(decision.state, PlanState::Running | PlanState::Suspended), "{:?}", decision.state);
        assert_eq!(decision.state == PlanState::Succeeded, all(|p| p == TaskPhase::Succeeded));
        assert!(all(|p| p != TaskPhase::Running), "an attempt is left");
        let is_released = |node: NodeId| {
            self.graph.dependencies(node).iter().all(|d| decision.phases.tasks[*d] == TaskPhase::Succeeded)
        };
        let is_open = |task: &Task| task.record.values().any(|recorded| !recorded.ended);
        let open = self.tasks.iter().find(|(node, task)| is_released(*node) && is_open(task)).map(|(node, _)| node);
        assert_eq!(open, None, "an attempt has no end in the record");
        for (node, task) in self.tasks.iter().filter(|(node, _)| decision.phases[*node] == TaskPhase::Succeeded) {
            let ended = |t: &Task| t.finished.get(&t.status.attempts).copied().unwrap_or_default();
            let older = |d: &&usize| ended(&self.tasks.tasks[**d]) > task.started;
            let stale = self.graph.dependencies(node).iter().find(older);
            assert_eq!(stale, None, "{node:?} depends on an older success");
        }
        if self.policy.cancelled {
            assert!(!matches!(decision.state, PlanState::Failed | PlanState::Unknown), "{:?}", decision.state);
        }
    }
}

fn ended(reason: Reason) -> AttemptState {
    match reason {
        Reason::Succeeded => AttemptState::Succeeded(Report::new(reason, "")),
        _ => AttemptState::Failed { class: class_of(reason), report: Report::new(reason, "") },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_order_of_events_ends_the_same(
        world in world(false),
        first in proptest::collection::vec(0usize..1000, 0..120),
        second in proptest::collection::vec(0usize..1000, 0..120),
    ) {
        let one = Run::new(&world, first).until_the_end();
        let two = Run::new(&world, second).until_the_end();
        let all_good = world.failures_first.iter().all(|&f| f <= world.limit);
        prop_assert_eq!(one.1 == PlanState::Succeeded, all_good);
        prop_assert_eq!(one.1, two.1);
        // With `Halt` and `Stop`, the result depends on the tasks that started before the failure. With `Continue`, the order does not matter.
        if world.on_failure == OnFailure::Continue {
            prop_assert_eq!(one.0, two.0);
        }
    }

    #[test]
    fn a_plan_keeps_its_promises_and_comes_to_an_end(
        world in world(true),
        chance in proptest::collection::vec(0usize..100_000, 0..600),
    ) {
        Run::new(&world, chance).until_the_end();
    }
}
