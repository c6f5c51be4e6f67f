//! What is decided where one rule is at work: what a plan does next in a situation of one or two tasks.

use enact_domain::assignment::{Reason, Report};
use enact_domain::attempt::{AttemptState, ContainerView, FailureClass, PodView, class_of, classify};
use enact_domain::graph::Graph;
use enact_domain::plan::{Action, After, Asked, Current, Decision, Node, PlanState, Policy, TaskPhase, decide};
use enact_domain::time::Millis;

fn report(reason: Reason) -> AttemptState {
    match reason {
        Reason::Succeeded => AttemptState::Succeeded(Report::new(reason, "")),
        _ => AttemptState::Failed { class: class_of(reason), report: Report::new(reason, "") },
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
    nodes[0].asked = Asked::Rerun;
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

#[test]
fn a_plan_is_looked_at_at_its_deadline_though_nothing_happens() {
    let (graph, _) = two_tasks();
    let pod = Current::Pod { state: AttemptState::Running, created: Millis(0), deleting: None };
    let running = Node { exists: true, phase: TaskPhase::Running, attempts: 1, current: pod, ..Node::default() };
    let nodes = [running, Node { exists: true, ..Node::default() }];
    let policy = Policy { parallelism: 1, deadline: Some(Millis(5000)), ..Policy::default() };
    let before = decide(&policy, &graph, &nodes, 9, Millis(1000));
    assert_eq!((before.state, before.wake), (PlanState::Running, Some(Millis(5000))));
    let at = decide(&policy, &graph, &nodes, 9, Millis(5000));
    assert!(matches!(at.actions[0], Action::End { delete_pod: true, .. }), "{:?}", at.actions);
    assert_eq!(at.state, PlanState::DeadlineExceeded);
}

#[test]
fn what_is_cancelled_before_it_was_made_is_not_made() {
    let (graph, _) = two_tasks();
    let nodes = [Node::default(), Node::default()];
    let policy = Policy { parallelism: 1, cancelled: true, ..Policy::default() };
    let decision = decide(&policy, &graph, &nodes, 9, Millis(0));
    assert_eq!((decision.actions, decision.state), (vec![], PlanState::Cancelled));
    assert_eq!(decision.counts.cancelled, 2);
}

#[test]
fn what_is_redone_is_opened_with_all_that_stands_on_it_before_any_of_it_starts() {
    let (graph, mut nodes) = two_tasks();
    for node in &mut nodes {
        (node.phase, node.attempts, node.asked) = (TaskPhase::Succeeded, 1, Asked::Redo);
    }
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert_eq!(decision.actions, [Action::Reopen(0), Action::Reopen(1)]);
    assert_eq!(decision.state, PlanState::Running);

    // The first one's status was written, the second one's was not.
    nodes[0] = Node { exists: true, attempts: 1, ..Node::default() };
    let again = decide(&policy(), &graph, &nodes, 9, Millis(6));
    assert_eq!(again.actions, [Action::Reopen(1)], "nothing starts before all are open");

    nodes[1] = nodes[0].clone();
    let started = decide(&policy(), &graph, &nodes, 9, Millis(7));
    assert_eq!(started.actions, [Action::Start { node: 0, attempt: 2 }]);
}

#[test]
fn what_runs_when_it_is_to_be_redone_ends_first_and_releases_nothing() {
    let (graph, mut nodes) = two_tasks();
    (nodes[0].attempts, nodes[0].asked) = (1, Asked::Redo);
    nodes[0].current = Current::Pod { state: report(Reason::Succeeded), created: Millis(0), deleting: None };
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert!(matches!(decision.actions[..], [Action::End { node: 0, failure: None, .. }]), "{:?}", decision.actions);
    assert_eq!((decision.phases[0], decision.wake), (TaskPhase::Pending, Some(Millis(6))));
}

#[test]
fn work_of_unknown_end_is_not_redone_with_the_rest() {
    let (graph, mut nodes) = two_tasks();
    (nodes[0].phase, nodes[0].asked) = (TaskPhase::Unknown, Asked::Redo);
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert_eq!((decision.actions, decision.state), (vec![], PlanState::Unknown));
}

#[test]
fn what_is_held_waits_while_the_rest_goes_on() {
    let graph = Graph::build([("a", vec![]), ("b", vec![])]).expect("two alone");
    let mut nodes = vec![Node { exists: true, ..Node::default() }; 2];
    nodes[0].held = true;
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert_eq!(decision.actions, [Action::Start { node: 1, attempt: 1 }]);
    (nodes[1].phase, nodes[1].attempts) = (TaskPhase::Succeeded, 1);
    let waits = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert_eq!((waits.actions, waits.state), (vec![], PlanState::Running), "it is not the end");
}
