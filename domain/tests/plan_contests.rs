//! Best of N: competing attempts at one task.

use std::collections::BTreeMap;

use enact_domain::assignment::{Reason, Report};
use enact_domain::attempt::{AttemptState, FailureClass, class_of};
use enact_domain::contest::{Achievement, Better, Criterion, DecidedBy, contestant_of};
use enact_domain::graph::NodeId::Task;
use enact_domain::graph::{Graph, PerNode};
use enact_domain::plan::{
    self, Action, Agent, Agents, Budgets, Contest, Contestant, CurrentAttempt, Decision, Executor, Funding, NextStep,
    Node, PlanState, Policy, Request, Shared, Shortage, TaskPhase,
};
use enact_domain::time::Millis;
use enact_domain::usage::Limit;
use proptest::prelude::*;

/// A plan of two tasks, the second of which depends on the first, which has a contest.
struct Plan {
    graph: Graph,
    nodes: PerNode<Node>,
    policy: Policy,
    shared: Shared,
    now: Millis,
}

impl Plan {
    fn new(contestants: u32) -> Self {
        let graph = Graph::build([("a", vec![]), ("b", vec!["a"])]).expect("a chain");
        let rules = Node { exists: true, ..Node::default() };
        let criteria = vec![Criterion { name: "p95".into(), better: Better::Lower }];
        let contest = Some(Contest::new(&rules, contestants, criteria));
        let nodes = PerNode { tasks: vec![Node { contest, ..rules.clone() }, rules], integration: None };
        let policy = Policy { parallelism: 9, ..Policy::default() };
        Self { graph, nodes, policy, shared: Shared { free_slots: 9, ..Shared::default() }, now: Millis(0) }
    }

    fn contest(&mut self) -> &mut Contest {
        self.nodes.tasks[0].contest.as_mut().expect("it has a contest")
    }

    fn contestant(&mut self, attempt: u32) -> &mut Contestant {
        let index = self.contest().index_of(attempt).expect("a contestant");
        &mut self.contest().contestants[index]
    }

    fn decide(&mut self) -> Decision {
        self.now = Millis(self.now.0 + 1);
        plan::decide(&self.policy, &self.graph, &self.nodes, &self.shared, self.now)
    }

    /// Decides, and applies the decision as the operator does.
    fn step(&mut self) -> Decision {
        let decision = self.decide();
        for action in &decision.actions {
            self.apply(action);
        }
        decision
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::Start { node: Task(0), attempt } => {
                let pod = CurrentAttempt::Pod {
                    state: AttemptState::Running,
                    created: self.now,
                    deleting: None,
                    delivered: None,
                };
                let node = &mut self.contestant(*attempt).node;
                assert!(!node.phase.is_finished() && node.current == CurrentAttempt::None, "{attempt} starts twice");
                (node.attempts, node.current, node.retry_at) = (*attempt, pod, None);
            }
            Action::End { node: Task(0), attempt, failure, report, next, .. } => {
                let contestant = self.contestant(*attempt);
                contestant.is_parked = matches!(next, NextStep::Park { .. });
                let node = &mut contestant.node;
                assert_eq!(node.attempts, *attempt);
                node.current = CurrentAttempt::None;
                node.infrastructure_failures += u32::from(*failure == Some(FailureClass::Infrastructure));
                (node.phase, node.retry_at) = match next {
                    NextStep::Finish(phase) => (*phase, None),
                    NextStep::Retry(at) | NextStep::Park { until: at, .. } => (TaskPhase::Pending, Some(*at)),
                    NextStep::Failover => (TaskPhase::Pending, None),
                };
                let measurements = report.measurements.clone();
                contestant.achievement =
                    failure.is_none().then(|| Achievement { measurements, ..Achievement::default() });
            }
            Action::Judge { node: Task(0), verdict } => {
                assert!(!self.nodes.tasks[0].phase.is_finished(), "judged twice");
                self.nodes.tasks[0].phase = verdict.phase;
            }
            Action::MarkRunning { attempt, .. } => self.contestant(*attempt).node.phase = TaskPhase::Running,
            _ => {}
        }
    }

    /// Lets the pod of an attempt end.
    fn end(&mut self, attempt: u32, reason: Reason, p95: Option<&str>) {
        let mut report = Report::new(reason, "");
        report.measurements.extend(p95.map(|text| ("p95".to_owned(), text.parse().expect("a number"))));
        let state = match reason {
            Reason::Succeeded => AttemptState::Succeeded(report),
            _ => AttemptState::Failed { class: class_of(reason), report },
        };
        self.contestant(attempt).node.current =
            CurrentAttempt::Pod { state, created: Millis(0), deleting: None, delivered: None };
    }

    fn pass(&mut self, seconds: u32) {
        self.now = self.now.plus_seconds(seconds);
    }
}

fn starts(decision: &Decision) -> Vec<u32> {
    let start = |action: &Action| match action {
        Action::Start { node: Task(0), attempt } => Some(*attempt),
        _ => None,
    };
    decision.actions.iter().filter_map(start).collect()
}

fn verdict(decision: &Decision) -> Option<(TaskPhase, Option<u32>, Option<DecidedBy>)> {
    decision.actions.iter().find_map(|action| match action {
        Action::Judge { node: Task(0), verdict } => {
            let winner = verdict.winner.as_ref();
            Some((verdict.phase, winner.map(|w| w.attempt), winner.map(|w| w.decided_by.clone())))
        }
        _ => None,
    })
}

#[test]
fn the_best_attempt_wins_when_all_have_ended() {
    let mut plan = Plan::new(3);
    let first = plan.step();
    assert_eq!(starts(&first), [1, 2, 3]);
    plan.end(1, Reason::Succeeded, Some("30"));
    plan.end(2, Reason::GateFailed, None);
    let ended = plan.step();
    assert_eq!((verdict(&ended), ended.phases.tasks[0]), (None, TaskPhase::Running), "attempt 3 still runs");
    plan.end(3, Reason::Succeeded, Some("20"));
    let ended = plan.step();
    assert_eq!(verdict(&ended), None, "the end is recorded first");
    assert_eq!(ended.requeue_at, Some(Millis(plan.now.0 + 1)));
    let judged = plan.step();
    let p95 = DecidedBy::Measurement("p95".into());
    assert_eq!(verdict(&judged), Some((TaskPhase::Succeeded, Some(3), Some(p95))));
    assert!(judged.actions.contains(&Action::Start { node: Task(1), attempt: 1 }), "its dependents start");
    assert_eq!(verdict(&plan.step()), None);
}

#[test]
fn infrastructure_failures_are_replaced_and_task_failures_are_out() {
    let mut plan = Plan::new(2);
    plan.step();
    plan.end(1, Reason::Evicted, None);
    plan.end(2, Reason::AgentFailed, None);
    plan.step();
    assert_eq!((starts(&plan.step()), plan.contestant(1).node.phase), (vec![], TaskPhase::Pending));
    plan.pass(60);
    assert_eq!(starts(&plan.step()), [3], "attempts 1 and 3 are those of the first contestant");
    plan.end(3, Reason::GateFailed, None);
    plan.step();
    let judged = plan.step();
    assert_eq!(verdict(&judged), Some((TaskPhase::Failed, None, None)));
    assert_eq!((judged.state, judged.retries), (PlanState::Failed, 1));
}

#[test]
fn contestants_use_the_slots_of_the_plan() {
    let mut plan = Plan::new(3);
    plan.policy.parallelism = 2;
    let first = plan.step();
    assert_eq!((starts(&first), first.waiting_for_slots), (vec![1, 2], 1));
    let next = plan.step();
    assert_eq!((starts(&next), next.waiting_for_slots), (vec![], 1), "both are counted");
    plan.end(1, Reason::Succeeded, Some("1"));
    assert_eq!(starts(&plan.step()), [3]);
}

#[test]
fn a_budget_stops_one_contestant_and_not_the_others() {
    let tokens = |tokens| Limit { tokens: Some(tokens), cost_micro_usd: None };
    let mut plan = Plan::new(3);
    for contestant in &mut plan.contest().contestants {
        contestant.node.funding = Funding { budgets: vec![0], attempt: tokens(10), ..Funding::default() };
    }
    plan.shared.budgets = Budgets::new(vec![tokens(29)]);
    let first = plan.step();
    assert_eq!((starts(&first), first.unfunded), (vec![1, 2], vec![(Task(0), Shortage::Budget(0))]));
    plan.shared.budgets = Budgets::new(vec![tokens(0)]);
    plan.end(1, Reason::BudgetExceeded, None);
    assert_eq!(verdict(&plan.step()), None);
    let waiting = plan.step();
    assert_eq!((verdict(&waiting), waiting.phases.tasks[0]), (None, TaskPhase::Running), "attempt 2 continues");
    plan.end(2, Reason::Succeeded, None);
    plan.step();
    let judged = plan.step();
    assert_eq!(verdict(&judged), Some((TaskPhase::Succeeded, Some(2), Some(DecidedBy::Gates))));
    assert_eq!(judged.unfunded, [], "the others lack a budget, and one has passed");
}

#[test]
fn a_contest_without_success_waits_for_its_budget() {
    let mut plan = Plan::new(2);
    plan.step();
    plan.end(1, Reason::GateFailed, None);
    plan.end(2, Reason::ProviderQuota, None);
    plan.step();
    let waiting = plan.step();
    assert_eq!((verdict(&waiting), waiting.state), (None, PlanState::Running));
    plan.pass(3600);
    assert_eq!(starts(&plan.step()), [4]);
}

#[test]
fn the_deadline_judges_what_has_passed() {
    for (passed, expected) in [(true, (TaskPhase::Succeeded, Some(1))), (false, (TaskPhase::Cancelled, None))] {
        let mut plan = Plan::new(2);
        plan.step();
        if passed {
            plan.end(1, Reason::Succeeded, Some("1"));
            plan.step();
        }
        plan.policy.deadline = Some(plan.now);
        let stopped = plan.step();
        let deleted =
            stopped.actions.iter().filter(|action| matches!(action, Action::End { delete_pod: true, .. })).count();
        assert_eq!(deleted, if passed { 1 } else { 2 });
        let judged = plan.step();
        assert_eq!(verdict(&judged).map(|(phase, winner, _)| (phase, winner)), Some(expected));
        assert_eq!(judged.state, PlanState::DeadlineExceeded);
    }
    let mut plan = Plan::new(2);
    plan.policy.cancelled = true;
    assert!(matches!(plan.step().actions[0], Action::Close { node: Task(0), phase: TaskPhase::Cancelled, .. }));
}

#[test]
fn a_person_repeats_a_failed_contest() {
    let mut plan = Plan::new(2);
    plan.nodes.tasks[0].phase = TaskPhase::Failed;
    for (contestant, attempts) in plan.contest().contestants.iter_mut().zip([1, 4]) {
        (contestant.node.phase, contestant.node.attempts) = (TaskPhase::Failed, attempts);
    }
    plan.nodes.tasks[0].request = Request::Rerun;
    assert_eq!(plan.step().actions, [Action::Reopen(Task(0))]);
    let node = &mut plan.nodes.tasks[0];
    (node.phase, node.request) = (TaskPhase::Pending, Request::None);
    for contestant in &mut plan.contest().contestants {
        contestant.node.phase = TaskPhase::Pending;
    }
    assert_eq!(starts(&plan.step()), [3, 6], "no number is used twice");
}

#[test]
fn contestants_get_different_agents_of_the_pool() {
    let mut plan = Plan::new(3);
    let agent = |name: &str, preference| {
        let mut agent = Agent::default();
        (agent.candidate.name, agent.candidate.preference) = (name.to_owned(), preference);
        agent
    };
    plan.shared.agents = Agents { all: vec![agent("a", 90), agent("b", 10)], pool: vec![0, 1] };
    for contestant in &mut plan.contest().contestants {
        contestant.node.executor = Executor::Pool { needs: std::sync::Arc::default(), last: None, next: None };
    }
    let decision = plan.step();
    let assigned: Vec<(u32, usize)> = decision.assignments.iter().map(|a| (a.attempt, a.agent)).collect();
    assert_eq!(assigned, [(1, 0), (2, 1), (3, 0)], "the third has no other choice");
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Decide,
    End(u32, Reason, i32),
    Pass,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let reasons = [Reason::Succeeded, Reason::Succeeded, Reason::GateFailed, Reason::Evicted, Reason::BudgetExceeded];
    let end = (0u32..4, proptest::sample::select(reasons.to_vec()), 0i32..3).prop_map(|(c, r, n)| Event::End(c, r, n));
    proptest::collection::vec(prop_oneof![Just(Event::Decide), end, Just(Event::Pass)], 0..40)
}

proptest! {
    /// Whatever happens in whatever order: each number is used once and by its contestant, and the verdict is that on all that has passed.
    #[test]
    fn a_contest_ends_with_its_best(contestants in 2u32..=4, parallelism in 1u32..=4, events in events()) {
        let mut plan = Plan::new(contestants);
        plan.policy.parallelism = parallelism;
        let (mut started, mut passed, mut judged) = (Vec::new(), BTreeMap::new(), None);
        // In the end, everything that runs succeeds.
        let last = (0..40).flat_map(|_| [Event::Pass, Event::Decide].into_iter().chain((0..4).map(|c| Event::End(c, Reason::Succeeded, 9))));
        for event in events.into_iter().chain(last) {
            match event {
                Event::Pass => plan.pass(600),
                Event::End(contestant, reason, number) => {
                    let Some(found) = plan.contest().contestants.get(contestant as usize) else { continue };
                    if matches!(found.node.current, CurrentAttempt::Pod { state: AttemptState::Running, .. }) {
                        let attempt = found.node.attempts;
                        plan.end(attempt, reason, Some(&number.to_string()));
                        if reason == Reason::Succeeded {
                            passed.insert(attempt, number);
                        }
                    }
                }
                Event::Decide => {
                    let decision = plan.step();
                    for attempt in starts(&decision) {
                        prop_assert!(!started.contains(&attempt), "{} is used twice", attempt);
                        let index = plan.contest().index_of(attempt);
                        prop_assert_eq!(index, Some(contestant_of(attempt, contestants) as usize - 1));
                        started.push(attempt);
                    }
                    let running = plan.contest().contestants.iter().filter(|c| c.node.is_running()).count();
                    prop_assert!(running <= parallelism as usize);
                    if let Some((phase, winner, _)) = verdict(&decision) {
                        prop_assert_eq!(running, 0);
                        prop_assert!(judged.is_none(), "judged twice");
                        judged = Some((phase, winner));
                    }
                }
            }
        }
        let best = passed.iter().min_by_key(|(attempt, number)| (**number, **attempt)).map(|(attempt, _)| *attempt);
        let phase = if best.is_some() { TaskPhase::Succeeded } else { TaskPhase::Failed };
        prop_assert_eq!(judged, Some((phase, best)));
    }
}
