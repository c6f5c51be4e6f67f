//! Whatever the order in which pods end, pods vanish and the operator crashes, a plan keeps its promises and ends the same.

use std::collections::BTreeSet;

use enact_domain::assignment::{Reason, Report};
use enact_domain::attempt::{AttemptState, ContainerView, FailureClass, PodView, class_of, classify};
use enact_domain::graph::Graph;
use enact_domain::plan::{
    Action, After, Current, Decision, Node, OnFailure, PlanState, Policy, Retry, TaskPhase, decide,
};
use enact_domain::time::Millis;
use proptest::prelude::*;

/// A plan, and how each attempt of each task will end: by the number of its failures before the success, if any.
#[derive(Clone, Debug)]
struct World {
    edges: Vec<Vec<usize>>,
    failures_first: Vec<u32>,
    limit: u32,
    parallelism: u32,
    on_failure: OnFailure,
}

fn world() -> impl Strategy<Value = World> {
    (2usize..14).prop_flat_map(|n| {
        (
            proptest::collection::vec((0..n, 0..n), 0..n * 2),
            proptest::collection::vec(prop_oneof![4 => Just(0u32), 1 => 1u32..4], n),
            0u32..3,
            1u32..6,
            any::<bool>(),
        )
            .prop_map(move |(pairs, failures_first, limit, parallelism, halt)| {
                let mut edges = vec![Vec::new(); n];
                for (a, b) in pairs {
                    if a != b {
                        edges[a.max(b)].push(a.min(b));
                    }
                }
                let on_failure = if halt { OnFailure::Halt } else { OnFailure::Continue };
                World { edges, failures_first, limit, parallelism, on_failure }
            })
    })
}

fn graph(world: &World) -> Graph {
    let ids: Vec<String> = (0..world.edges.len()).map(|i| format!("T{i:03}")).collect();
    let list = ids
        .iter()
        .zip(&world.edges)
        .map(|(id, e)| (id.as_str(), e.iter().map(|&d| ids[d].as_str()).collect::<Vec<_>>()));
    Graph::build(list).expect("edges to earlier tasks only")
}

fn report(reason: Reason) -> AttemptState {
    match reason {
        Reason::Succeeded => AttemptState::Succeeded(Report::new(reason, "")),
        _ => AttemptState::Failed { class: class_of(reason), report: Report::new(reason, "") },
    }
}

/// Runs until nothing is left to do; `choices` orders the ends of pods and says which passes a crash interrupts.
fn run(world: &World, choices: &mut dyn Iterator<Item = usize>) -> (Vec<TaskPhase>, PlanState) {
    let graph = graph(world);
    let policy = Policy { parallelism: world.parallelism, on_failure: world.on_failure, ..Policy::default() };
    let retry = Retry { limit: world.limit, ..Retry::default() };
    let mut nodes = vec![Node { retry, ..Node::default() }; world.edges.len()];
    let mut now = Millis(0);
    let mut started: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); nodes.len()];
    for _ in 0..2000 {
        let before: Vec<TaskPhase> = nodes.iter().map(|n| n.phase).collect();
        let decision = decide(&policy, &graph, &nodes, u32::MAX, now);
        // A crash after any number of actions: the rest is decided again.
        let keep = choices
            .next()
            .map_or(usize::MAX, |c| if c % 5 == 0 { c / 5 % (decision.actions.len() + 1) } else { usize::MAX });
        let mut did = 0;
        for action in decision.actions.iter().take(keep) {
            did += 1;
            apply(action, &mut nodes, &graph, &mut started, now);
        }
        let running = nodes.iter().filter(|n| n.current != Current::None).count();
        assert!(running <= world.parallelism as usize, "{running} at once");
        for (node, was) in nodes.iter().zip(before) {
            assert!(!was.is_finished() || node.phase == was, "a finished state changed");
        }
        let live: Vec<usize> = (0..nodes.len())
            .filter(|&i| matches!(nodes[i].current, Current::Pod { state: AttemptState::Running, .. }))
            .collect();
        if !live.is_empty() {
            let i = live[choices.next().unwrap_or(0) % live.len()];
            let fails = nodes[i].attempts <= world.failures_first[i];
            let state = report(if fails { Reason::AgentFailed } else { Reason::Succeeded });
            nodes[i].current = Current::Pod { state, created: now, deleting: None };
        } else if let Some(wake) = decision.wake {
            now = now.max(wake);
        } else if did == 0 && decision.actions.is_empty() {
            assert_ne!(
                decision.state,
                PlanState::Running,
                "nothing to do, nothing to wait for, and not finished: {nodes:?}"
            );
            return (nodes.iter().map(|n| n.phase).collect(), decision.state);
        }
    }
    panic!("no end after 2000 steps");
}

fn apply(action: &Action, nodes: &mut [Node], graph: &Graph, started: &mut [BTreeSet<u32>], now: Millis) {
    match action {
        Action::Create(i) => nodes[*i].exists = true,
        Action::Start { node, attempt } => {
            for &d in graph.dependencies(*node) {
                assert_eq!(nodes[d as usize].phase, TaskPhase::Succeeded, "task {node} starts before {d} is done");
            }
            assert!(started[*node].insert(*attempt), "attempt {attempt} of {node} started twice");
            let node = &mut nodes[*node];
            node.attempts = *attempt;
            node.current = Current::Pod { state: AttemptState::Running, created: now, deleting: None };
        }
        Action::End { node, failure, then, .. } => {
            let node = &mut nodes[*node];
            node.current = Current::None;
            match failure {
                Some(FailureClass::Task) => node.failures += 1,
                Some(_) => node.infrastructure_failures += 1,
                None => {}
            }
            match then {
                After::Finish(phase) => node.phase = *phase,
                After::Retry(at) => node.retry_at = Some(*at),
            }
        }
        Action::Close { node, phase, .. } => nodes[*node].phase = *phase,
        Action::Reopen(node) => nodes[*node].phase = TaskPhase::Pending,
        Action::MarkRunning { node, .. } => nodes[*node].phase = TaskPhase::Running,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_order_of_events_ends_the_same(
        world in world(),
        first in proptest::collection::vec(0usize..1000, 0..120),
        second in proptest::collection::vec(0usize..1000, 0..120),
    ) {
        let one = run(&world, &mut first.into_iter());
        let two = run(&world, &mut second.into_iter());
        let all_good = world.failures_first.iter().all(|&f| f <= world.limit);
        prop_assert_eq!(one.1 == PlanState::Succeeded, all_good);
        prop_assert_eq!(one.1, two.1);
        // Halting stops at whatever had started by then; going on does not depend on the order.
        if world.on_failure == OnFailure::Continue {
            prop_assert_eq!(one.0, two.0);
        }
    }
}

fn two_tasks() -> (Graph, Vec<Node>) {
    let graph = Graph::build([("a", vec![]), ("b", vec!["a"])]).expect("a chain");
    (graph, vec![Node { exists: true, ..Node::default() }; 2])
}

fn policy() -> Policy {
    Policy { parallelism: 8, ..Policy::default() }
}

#[test]
fn an_end_releases_dependents_in_the_same_pass() {
    let (graph, mut nodes) = two_tasks();
    nodes[0].attempts = 1;
    nodes[0].current = Current::Pod { state: report(Reason::Succeeded), created: Millis(0), deleting: None };
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert!(matches!(
        decision.actions[0],
        Action::End { node: 0, failure: None, then: After::Finish(TaskPhase::Succeeded), .. }
    ));
    assert_eq!(decision.actions[1], Action::Start { node: 1, attempt: 1 });
}

#[test]
fn a_vanished_pod_counts_by_what_it_delivered() {
    let (graph, mut nodes) = two_tasks();
    nodes[0].attempts = 1;
    nodes[0].current = Current::Absent { seen: true, delivered: Some(Report::new(Reason::Succeeded, "")) };
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert!(matches!(decision.actions[0], Action::End { failure: None, .. }));

    nodes[0].current = Current::Absent { seen: true, delivered: None };
    let lost = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert!(matches!(
        &lost.actions[0],
        Action::End { failure: Some(FailureClass::Unknown), then: After::Retry(_), .. }
    ));

    nodes[0].external_effect = true;
    let unknown = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert!(matches!(&unknown.actions[0], Action::End { then: After::Finish(TaskPhase::Unknown), .. }));
    assert_eq!(unknown.state, PlanState::Unknown);
}

#[test]
fn a_pod_that_has_not_ended_for_certain_goes_with_its_attempt() {
    let (graph, mut nodes) = two_tasks();
    let pod = |reason| Current::Pod { state: report(reason), created: Millis(0), deleting: None };
    nodes[0].attempts = 1;
    for (reason, goes) in [
        (Reason::Lost, true),
        (Reason::ImagePullFailed, true),
        (Reason::Evicted, false),
        (Reason::DeliveryFailed, false),
        (Reason::GateFailed, false),
    ] {
        nodes[0].current = pod(reason);
        let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
        let Action::End { delete_pod, .. } = decision.actions[0] else { panic!("{:?}", decision.actions) };
        assert_eq!(delete_pod, goes, "{reason:?}");
    }
}

#[test]
fn a_stop_that_the_plan_did_not_ask_for_is_of_the_surroundings() {
    let (graph, mut nodes) = two_tasks();
    nodes[0].attempts = 1;
    let stopped = || Report::new(Reason::Cancelled, "the attempt was asked to stop");
    let pod = Current::Pod { state: report(Reason::Cancelled), created: Millis(0), deleting: Some(Millis(0)) };
    for current in [pod, Current::Absent { seen: true, delivered: Some(stopped()) }] {
        nodes[0].current = current;
        let drained = decide(&policy(), &graph, &nodes, 9, Millis(5));
        let Action::End { failure, report, then, .. } = &drained.actions[0] else { panic!("{:?}", drained.actions) };
        assert_eq!((*failure, report.reason), (Some(FailureClass::Infrastructure), Reason::Evicted));
        assert!(matches!(then, After::Retry(_)), "{then:?}");
        let cancelled = decide(&Policy { cancelled: true, ..policy() }, &graph, &nodes, 9, Millis(5));
        let Action::End { report, then, .. } = &cancelled.actions[0] else { panic!("{:?}", cancelled.actions) };
        assert_eq!((report.reason, *then), (Reason::Cancelled, After::Finish(TaskPhase::Cancelled)));
    }
}

#[test]
fn work_beyond_the_workspace_is_repeated_only_when_it_surely_had_not_begun() {
    use Reason::{ContainerConfigError, DeliveryFailed, Evicted, ImagePullFailed, Lost, RepositoryUnreachable};
    let (graph, mut nodes) = two_tasks();
    nodes[0].attempts = 1;
    nodes[0].external_effect = true;
    let mut then = |state| {
        nodes[0].current = Current::Pod { state, created: Millis(0), deleting: None };
        match decide(&policy(), &graph, &nodes, 9, Millis(500_000)).actions.as_slice() {
            [Action::End { then, .. }] => *then,
            other => panic!("{other:?}"),
        }
    };
    for reason in [DeliveryFailed, Evicted, Lost, RepositoryUnreachable, Reason::Cancelled] {
        assert_eq!(then(report(reason)), After::Finish(TaskPhase::Unknown), "{reason:?}");
    }
    for reason in [ImagePullFailed, ContainerConfigError] {
        assert!(matches!(then(report(reason)), After::Retry(_)), "{reason:?}");
        let stuck = AttemptState::Stuck { reason, message: "no such image".into(), since: Millis(0) };
        assert!(matches!(then(stuck), After::Retry(_)), "{reason:?}");
    }
    assert_eq!(then(report(Reason::AgentFailed)), After::Finish(TaskPhase::Failed), "its own failures are counted");
}

#[test]
fn a_pod_that_was_never_created_is_created_again_under_its_number() {
    let (graph, mut nodes) = two_tasks();
    nodes[0].attempts = 3;
    nodes[0].current = Current::Absent { seen: false, delivered: None };
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert_eq!(decision.actions, vec![Action::Start { node: 0, attempt: 3 }]);
}

#[test]
fn cancel_and_deadline_stop_everything_and_suspend_stops_what_is_new() {
    let (graph, mut nodes) = two_tasks();
    nodes[0].attempts = 1;
    nodes[0].phase = TaskPhase::Running;
    nodes[0].current = Current::Pod { state: AttemptState::Running, created: Millis(0), deleting: None };
    let cancelled = decide(&Policy { cancelled: true, ..policy() }, &graph, &nodes, 9, Millis(5));
    assert_eq!(cancelled.state, PlanState::Cancelled);
    assert!(
        matches!(&cancelled.actions[0], Action::End { delete_pod: true, report, .. } if report.reason == Reason::Cancelled)
    );
    assert!(matches!(cancelled.actions[1], Action::Close { node: 1, phase: TaskPhase::Cancelled, .. }));
    let expired = decide(&Policy { deadline: Some(Millis(5)), ..policy() }, &graph, &nodes, 9, Millis(5));
    assert_eq!(expired.state, PlanState::DeadlineExceeded);
    nodes[0].current = Current::None;
    nodes[0].phase = TaskPhase::Succeeded;
    let suspended = decide(&Policy { suspended: true, ..policy() }, &graph, &nodes, 9, Millis(5));
    assert_eq!((suspended.state, suspended.actions.len()), (PlanState::Suspended, 0));
}

#[test]
fn priority_then_critical_path_then_order() {
    let graph = Graph::build([("a", vec![]), ("b", vec![]), ("c", vec!["b"]), ("d", vec![])]).unwrap();
    let mut nodes = vec![Node { exists: true, ..Node::default() }; 4];
    nodes[3].priority = 10;
    let decision = decide(&Policy { parallelism: 2, ..policy() }, &graph, &nodes, 9, Millis(0));
    assert_eq!(decision.actions, vec![Action::Start { node: 3, attempt: 1 }, Action::Start { node: 1, attempt: 1 }]);
    assert_eq!(decision.starved, 1);
}

#[test]
fn a_failed_task_can_be_tried_again_by_a_person() {
    let (graph, mut nodes) = two_tasks();
    nodes[0].phase = TaskPhase::Failed;
    nodes[0].attempts = 2;
    assert_eq!(decide(&policy(), &graph, &nodes, 9, Millis(0)).state, PlanState::Failed);
    nodes[0].reopen = true;
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(0));
    assert_eq!(decision.actions, vec![Action::Reopen(0)]);
    assert_eq!(decision.state, PlanState::Running);
}

#[test]
fn an_image_that_never_comes_ends_the_attempt_a_while_after_a_node_took_it() {
    let (graph, mut nodes) = two_tasks();
    nodes[0].attempts = 1;
    let mut at = |started: Option<i64>, now: i64| {
        let container = ContainerView { waiting: Some("ErrImagePull".into()), ..ContainerView::default() };
        let pod = PodView { created: Millis(0), started: started.map(Millis), container, ..PodView::default() };
        nodes[0].current = Current::Pod { state: classify(&pod), created: pod.created, deleting: None };
        decide(&policy(), &graph, &nodes, 9, Millis(now))
    };
    assert_eq!(at(None, 1000).wake, Some(Millis(120_000)));
    let ends = |decision: Decision| {
        matches!(
            &decision.actions[0],
            Action::End { failure: Some(FailureClass::Infrastructure), delete_pod: true, .. }
        )
    };
    assert!(ends(at(None, 120_000)));
    assert!(!ends(at(Some(600_000), 601_000)), "it waited ten minutes for a node, and a second for its image");
    assert!(ends(at(Some(600_000), 720_000)));
}
