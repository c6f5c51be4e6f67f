//! The agents of new attempts: a named one, or the best one of a pool.

use std::sync::Arc;

use enact_domain::agents::needs::Needs;
use enact_domain::agents::selection::{Candidate, Outcome};
use enact_domain::assignment::{Reason, Report};
use enact_domain::attempt::{AttemptState, class_of};
use enact_domain::graph::NodeId::Task;
use enact_domain::graph::{Graph, PerNode};
use enact_domain::plan::{
    self, Action, Agent, Agents, Budgets, CurrentAttempt, Decision, Executor, Funding, NextStep, Node, PlanState,
    Policy, Shared, Shortage, TaskPhase,
};
use enact_domain::time::Millis;
use enact_domain::usage::Limit;

fn agent(name: &str, capability: &str, concurrency: u32) -> Agent {
    Agent {
        candidate: Candidate {
            name: name.into(),
            capabilities: [(capability.to_owned(), 80)].into(),
            concurrency: Some(concurrency),
            preference: 50,
            ..Candidate::default()
        },
        ..Agent::default()
    }
}

fn pool(need: &str) -> Executor {
    Executor::Pool { needs: Arc::new(Needs::stated(&[need.to_owned()])), last: None, next: None }
}

/// Decides about tasks without dependencies, one for each executor.
fn decide(shared: &Shared, executors: &[Executor]) -> Decision {
    let ids: Vec<String> = (0..executors.len()).map(|i| format!("T{i:03}")).collect();
    let graph = Graph::build(ids.iter().map(|id| (id.as_str(), Vec::new()))).expect("no edges");
    let node = |executor: &Executor| Node {
        exists: true,
        executor: executor.clone(),
        funding: Funding { budgets: vec![0], ..Funding::default() },
        ..Node::default()
    };
    let nodes = PerNode { tasks: executors.iter().map(node).collect(), integration: None };
    plan::decide(&Policy { parallelism: 9, ..Policy::default() }, &graph, &nodes, shared, Millis(5))
}

fn shared(agents: Vec<Agent>) -> Shared {
    let pool = (0..agents.len()).collect();
    Shared { free_slots: 9, budgets: Budgets::new(vec![Limit::default()]), agents: Agents { all: agents, pool } }
}

#[allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
fn assigned(decision: &Decision) -> Vec<(usize, usize)> {
    decision.assignments.iter().map(|assignment| (assignment.node.task().unwrap(), assignment.agent)).collect()
}

#[test]
fn each_task_gets_an_agent_with_its_capability() {
    let shared = shared(vec![agent("docs", "docs", 9), agent("rust", "rust", 9)]);
    let decision = decide(&shared, &[pool("rust"), pool("docs"), pool("rust")]);
    assert_eq!(assigned(&decision), [(0, 1), (1, 0), (2, 1)]);
    let selection = decision.assignments[0].selection.as_ref().unwrap();
    assert_eq!(selection.candidates.iter().map(|c| c.agent.as_str()).collect::<Vec<_>>(), ["rust", "docs"]);
    assert!(matches!(selection.candidates[1].outcome, Outcome::Excluded(_)));
}

#[test]
fn a_task_waits_while_its_agents_are_busy() {
    let shared = shared(vec![agent("docs", "docs", 9), agent("rust", "rust", 1)]);
    let decision = decide(&shared, &[pool("rust"), pool("rust"), pool("rust"), pool("docs")]);
    assert_eq!(assigned(&decision), [(0, 1), (3, 0)], "the others do not block a task that has an agent");
    let unassigned = decision.unassigned.unwrap();
    assert_eq!((unassigned.count, unassigned.first), (2, Task(1)));
    assert_eq!(unassigned.why, "docs lacks rust, rust is busy (1 of 1 attempts)");
    assert_eq!((decision.state, decision.requeue_at), (PlanState::Running, Some(Millis(30_005))));
}

#[test]
fn starts_in_one_decision_share_the_load() {
    let shared = shared(vec![agent("a", "rust", 4), agent("b", "rust", 4)]);
    let decision = decide(&shared, &[pool("rust"), pool("rust"), pool("rust"), pool("rust")]);
    assert_eq!(assigned(&decision), [(0, 0), (1, 1), (2, 0), (3, 1)]);
}

#[test]
fn a_retry_keeps_its_agent_if_it_can() {
    let shared = shared(vec![agent("a", "rust", 1), agent("b", "rust", 1)]);
    let retry = Executor::Pool { needs: Arc::new(Needs::stated(&["rust".into()])), last: Some(1), next: None };
    let decision = decide(&shared, &[retry.clone(), retry]);
    assert_eq!(assigned(&decision), [(0, 1), (1, 0)], "the second one finds its agent busy");
    let kept = |index: usize| decision.assignments[index].selection.as_ref().unwrap().kept;
    assert!(kept(0) && !kept(1));
}

#[test]
fn a_recorded_start_keeps_its_agent() {
    let shared = shared(vec![agent("a", "rust", 1), agent("b", "docs", 1)]);
    let recorded = Executor::Pool { needs: Arc::new(Needs::stated(&["rust".into()])), last: None, next: Some(1) };
    let decision = decide(&shared, &[recorded.clone(), recorded]);
    assert_eq!(assigned(&decision), [(0, 1)]);
    assert_eq!(decision.unassigned.unwrap().why, "b is busy (1 of 1 attempts)");
}

#[test]
fn a_named_agent_has_its_concurrency_too() {
    let shared = shared(vec![agent("a", "rust", 2)]);
    let decision = decide(&shared, &[Executor::Named(0), Executor::Named(0), Executor::Named(0)]);
    assert_eq!(assigned(&decision), [(0, 0), (1, 0)]);
    assert_eq!(decision.assignments[0].selection, None);
    assert_eq!(decision.unassigned.unwrap().count, 1);
}

#[test]
fn an_agent_without_budget_is_passed_over() {
    let mut shared = shared(vec![agent("a", "rust", 9), agent("b", "rust", 9), agent("free", "docs", 9)]);
    let spent = Limit { tokens: Some(0), cost_micro_usd: None };
    shared.budgets = Budgets::new(vec![Limit::default(), spent]);
    for (agent, budget) in shared.agents.all.iter_mut().zip([Some(1), None]) {
        (agent.metered, agent.budget) = (true, budget);
    }
    let decision = decide(&shared, &[pool("rust")]);
    assert_eq!(assigned(&decision), [(0, 1)]);

    shared.budgets = Budgets::new(vec![spent, spent]);
    let decision = decide(&shared, &[pool("rust"), pool("docs")]);
    assert_eq!(assigned(&decision), [(1, 2)], "an agent without models uses no budget");
    assert_eq!(decision.unfunded, [(Task(0), Shortage::Budget(0))]);
}

#[test]
fn no_agent_is_selected_without_a_slot() {
    let shared = Shared { free_slots: 1, ..shared(vec![agent("a", "rust", 9)]) };
    let decision = decide(&shared, &[pool("rust"), pool("rust")]);
    assert_eq!((assigned(&decision), decision.waiting_for_slots), (vec![(0, 0)], 1));
    assert_eq!(decision.actions, [Action::Start { node: Task(0), attempt: 1 }]);
    assert_eq!(decision.unassigned, None);
}

/// Returns a task of a pool whose first attempt, with the agent `last`, ended because of the quota, which is reset at `reset`.
fn exhausted(need: &str, last: usize, reset: Option<Millis>) -> Node {
    let report = Report::new(Reason::ProviderQuota, "the quota is used up");
    let state = AttemptState::Failed { class: class_of(report.reason), report };
    Node {
        exists: true,
        phase: TaskPhase::Running,
        attempts: 1,
        current: CurrentAttempt::Pod { state, created: Millis(0), deleting: None, delivered: None },
        executor: Executor::Pool { needs: Arc::new(Needs::stated(&[need.to_owned()])), last: Some(last), next: None },
        funding: Funding { quota_reset: reset, ..Funding::default() },
        ..Node::default()
    }
}

fn decide_nodes(shared: &Shared, tasks: Vec<Node>, now: Millis) -> Decision {
    let ids: Vec<String> = (0..tasks.len()).map(|i| format!("T{i:03}")).collect();
    let graph = Graph::build(ids.iter().map(|id| (id.as_str(), Vec::new()))).expect("no edges");
    let policy = Policy { parallelism: 9, quota_wait_seconds: 300, ..Policy::default() };
    plan::decide(&policy, &graph, &PerNode { tasks, integration: None }, shared, now)
}

fn next_step(decision: &Decision) -> NextStep {
    match decision.actions.first() {
        Some(Action::End { next, .. }) => *next,
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_agent_continues_when_a_quota_is_used_up() {
    let shared = shared(vec![agent("a", "rust", 9), agent("b", "rust", 9), agent("docs", "docs", 9)]);
    let hour = Some(Millis(3_600_000));
    let waiting = Node {
        exists: true,
        executor: Executor::Pool { needs: Arc::new(Needs::stated(&["rust".into()])), last: None, next: None },
        ..Node::default()
    };
    let decision = decide_nodes(&shared, vec![exhausted("rust", 0, hour), waiting.clone()], Millis(5));
    assert_eq!((next_step(&decision), decision.phases.tasks[0]), (NextStep::Failover, TaskPhase::Pending));
    assert_eq!((decision.retries, decision.state), (0, PlanState::Running));
    assert_eq!(assigned(&decision), [(1, 1)], "no other task starts with the agent either");

    // The next decision, when the end is applied and the agents are read again.
    let mut shared = shared;
    shared.agents.all[0].candidate.exhausted_until = hour;
    let ended = Node {
        attempts: 1,
        executor: Executor::Pool { needs: Arc::new(Needs::stated(&["rust".into()])), last: Some(0), next: None },
        ..waiting
    };
    let decision = decide_nodes(&shared, vec![ended.clone()], Millis(6));
    assert_eq!(decision.actions, [Action::Start { node: Task(0), attempt: 2 }]);
    assert_eq!(assigned(&decision), [(0, 1)]);
    let selection = decision.assignments[0].selection.as_ref().unwrap();
    assert!(!selection.kept);
    assert!(selection.obstacles().contains("a has used up its quota, which is reset at 1970-01-01 01:00 UTC"));

    shared.agents.all[1].candidate.exhausted_until = Some(Millis(1_000_000));
    let why = decide_nodes(&shared, vec![ended], Millis(6)).unassigned.unwrap().why;
    assert_eq!(
        why,
        "a has used up its quota, which is reset at 1970-01-01 01:00 UTC, \
         b has used up its quota, which is reset at 1970-01-01 00:16 UTC, docs lacks rust"
    );
}

#[test]
fn a_task_waits_for_a_quota_that_is_reset_soon_or_that_nobody_else_has() {
    let step = |shared: &Shared, need: &str, last, reset| {
        next_step(&decide_nodes(shared, vec![exhausted(need, last, reset)], Millis(0)))
    };
    let hour = Millis(3_600_000);
    let parked = |until| NextStep::Park { until, remaining: None };
    let mut shared = shared(vec![agent("a", "rust", 9), agent("b", "rust", 1), agent("docs", "docs", 9)]);
    assert_eq!(step(&shared, "rust", 0, Some(Millis(300_000))), parked(Millis(300_000)), "it is reset soon");
    assert_eq!(step(&shared, "docs", 2, Some(hour)), parked(hour), "no other agent can do it");
    assert_eq!(step(&shared, "rust", 0, None), NextStep::Failover, "the time of the reset is unknown");
    shared.agents.all[1].candidate.running = 1;
    assert_eq!(step(&shared, "rust", 0, Some(hour)), NextStep::Failover, "another agent is only busy");
    shared.agents.all[1].candidate.exhausted_until = Some(Millis(3_000_000));
    assert_eq!(step(&shared, "rust", 0, Some(hour)), NextStep::Failover, "another agent is available earlier");
    shared.agents.all[1].candidate.exhausted_until = Some(Millis(4_000_000));
    assert_eq!(step(&shared, "rust", 0, Some(hour)), parked(hour));
    shared.agents.all[1].candidate.exhausted_until = None;
    shared.agents.all[1].candidate.unusable = Some("it is not ready".into());
    assert_eq!(step(&shared, "rust", 0, Some(hour)), parked(hour));

    let named = Node { executor: Executor::Named(0), ..exhausted("rust", 0, Some(hour)) };
    assert_eq!(next_step(&decide_nodes(&shared, vec![named], Millis(0))), parked(hour), "a named agent is kept");
}
