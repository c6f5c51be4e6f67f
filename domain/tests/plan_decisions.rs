//! Decisions about plans of one or two tasks, one rule at a time.

use enact_domain::assignment::{Reason, Report};
use enact_domain::attempt::{AttemptState, ContainerView, FailureClass, PodView, class_of, classify};
use enact_domain::graph::NodeId::Task;
use enact_domain::graph::{Graph, PerNode};
use enact_domain::plan::{
    self, Action, Budgets, Contest, Counts, CurrentAttempt, Decision, Funding, NextStep, Node, OnFailure, PlanState,
    Policy, Request, Shared, Shortage, TaskPhase,
};
use enact_domain::time::Millis;
use enact_domain::usage::Limit;

/// Decides without budgets.
fn decide(policy: &Policy, graph: &Graph, nodes: &PerNode<Node>, free_slots: u32, now: Millis) -> Decision {
    plan::decide(policy, graph, nodes, &Shared { free_slots, ..Shared::default() }, now)
}

fn report(reason: Reason) -> AttemptState {
    match reason {
        Reason::Succeeded => AttemptState::Succeeded(Report::new(reason, "")),
        _ => AttemptState::Failed { class: class_of(reason), report: Report::new(reason, "") },
    }
}

fn two_tasks() -> (Graph, PerNode<Node>) {
    let graph = Graph::build([("a", vec![]), ("b", vec!["a"])]).expect("a chain");
    (graph, existing(2))
}

/// Returns tasks whose objects exist, without any attempt.
fn existing(n: usize) -> PerNode<Node> {
    PerNode { tasks: vec![Node { exists: true, ..Node::default() }; n], integration: None }
}

fn policy() -> Policy {
    Policy { parallelism: 8, ..Policy::default() }
}

#[test]
fn an_end_releases_dependents_at_once() {
    let (graph, mut nodes) = two_tasks();
    nodes.tasks[0].attempts = 1;
    nodes.tasks[0].current =
        CurrentAttempt::Pod { state: report(Reason::Succeeded), created: Millis(0), deleting: None, delivered: None };
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert!(matches!(
        decision.actions[0],
        Action::End { node: Task(0), failure: None, next: NextStep::Finish(TaskPhase::Succeeded), .. }
    ));
    assert_eq!(decision.actions[1], Action::Start { node: Task(1), attempt: 1 });
}

#[test]
fn kept_work_succeeds_without_an_attempt() {
    let (graph, mut nodes) = two_tasks();
    nodes.tasks[0] = Node { kept: true, ..Node::default() };
    let created = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert_eq!(created.actions, [Action::Create(Task(0))]);

    nodes.tasks[0].exists = true;
    let closed = Action::Close { node: Task(0), phase: TaskPhase::Succeeded, reason: Reason::Succeeded };
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert_eq!(decision.actions, std::slice::from_ref(&closed), "its dependents start when the status shows the work");
    assert!(decision.requeue_at.is_some() && decision.state == PlanState::Running);
    let cancelled = decide(&Policy { cancelled: true, ..policy() }, &graph, &nodes, 9, Millis(5));
    assert_eq!(cancelled.actions[0], closed, "another plan can keep it");

    nodes.tasks[0] = Node { exists: true, phase: TaskPhase::Succeeded, ..Node::default() };
    let next = decide(&policy(), &graph, &nodes, 9, Millis(6));
    assert_eq!(next.actions, [Action::Start { node: Task(1), attempt: 1 }]);
}

#[test]
fn kept_work_that_the_specification_makes_stale_is_redone() {
    let (graph, mut nodes) = two_tasks();
    nodes.tasks[0] = Node { kept: true, request: Request::Redo, ..nodes.tasks[0].clone() };
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert_eq!(decision.actions, [Action::Reopen(Task(0))]);
}

#[test]
fn a_vanished_pod_counts_by_its_delivered_report() {
    let (graph, mut nodes) = two_tasks();
    nodes.tasks[0].attempts = 1;
    nodes.tasks[0].current = CurrentAttempt::Absent { seen: true, delivered: Some(Report::new(Reason::Succeeded, "")) };
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert!(matches!(decision.actions[0], Action::End { failure: None, .. }));

    nodes.tasks[0].current = CurrentAttempt::Absent { seen: true, delivered: None };
    let lost = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert!(matches!(
        &lost.actions[0],
        Action::End { failure: Some(FailureClass::Unknown), next: NextStep::Retry(_), .. }
    ));

    nodes.tasks[0].external_effect = true;
    let unknown = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert!(matches!(&unknown.actions[0], Action::End { next: NextStep::Finish(TaskPhase::Unknown), .. }));
    assert_eq!(unknown.state, PlanState::Unknown);
}

#[test]
fn a_verified_result_ends_an_attempt_whose_pod_still_runs() {
    let (graph, mut nodes) = two_tasks();
    nodes.tasks[0].attempts = 1;
    let mut decide_with = |state: AttemptState, delivered: Reason, policy: &Policy| {
        let delivered = Some(Box::new(Report::new(delivered, "")));
        nodes.tasks[0].current = CurrentAttempt::Pod { state, created: Millis(0), deleting: None, delivered };
        assert_eq!(nodes.tasks[0].is_running(), nodes.tasks[0].end_report().is_none());
        // With the only slot of the plan.
        decide(&Policy { parallelism: 1, ..*policy }, &graph, &nodes, 1, Millis(5)).actions
    };
    let stopped = Policy { cancelled: true, ..policy() };
    for state in [AttemptState::Running, AttemptState::Pending, report(Reason::NoReport), report(Reason::Lost)] {
        let actions = decide_with(state.clone(), Reason::Succeeded, &policy());
        let [Action::End { failure: None, delete_pod: false, .. }, then] = actions.as_slice() else {
            panic!("{actions:?}")
        };
        assert_eq!(*then, Action::Start { node: Task(1), attempt: 1 });
        let actions = decide_with(state, Reason::Succeeded, &stopped);
        assert!(matches!(actions[0], Action::End { failure: None, .. }), "work that succeeded counts: {actions:?}");
    }
    let failed = decide_with(AttemptState::Running, Reason::MergeConflict, &policy());
    assert!(matches!(&failed[..], [Action::End { failure: Some(FailureClass::Task), delete_pod: false, .. }]));
    // Only the end of the pod shows why the process was killed, or who asked it to stop.
    for reason in [Reason::Killed, Reason::GateFailed, Reason::Cancelled] {
        let actions = decide_with(AttemptState::Running, reason, &policy());
        assert!(!actions.iter().any(|action| action.ended().is_some()), "{reason:?}: {actions:?}");
        let actions = decide_with(report(Reason::OutOfMemory), reason, &policy());
        let Action::End { report, .. } = &actions[0] else { panic!("{actions:?}") };
        assert_eq!(report.reason, Reason::OutOfMemory);
    }
}

#[test]
fn a_pod_that_may_live_on_is_deleted_with_its_attempt() {
    let (graph, mut nodes) = two_tasks();
    let pod =
        |reason| CurrentAttempt::Pod { state: report(reason), created: Millis(0), deleting: None, delivered: None };
    nodes.tasks[0].attempts = 1;
    for (reason, goes) in [
        (Reason::Lost, true),
        (Reason::ImagePullFailed, true),
        (Reason::Evicted, false),
        (Reason::DeliveryFailed, false),
        (Reason::GateFailed, false),
    ] {
        nodes.tasks[0].current = pod(reason);
        let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
        let Action::End { delete_pod, .. } = decision.actions[0] else { panic!("{:?}", decision.actions) };
        assert_eq!(delete_pod, goes, "{reason:?}");
    }
}

#[test]
fn a_stop_from_outside_is_an_infrastructure_failure() {
    let (graph, mut nodes) = two_tasks();
    nodes.tasks[0].attempts = 1;
    let stopped = || Report::new(Reason::Cancelled, "the attempt was asked to stop");
    let pod = CurrentAttempt::Pod {
        state: report(Reason::Cancelled),
        created: Millis(0),
        deleting: Some(Millis(0)),
        delivered: None,
    };
    for current in [pod, CurrentAttempt::Absent { seen: true, delivered: Some(stopped()) }] {
        nodes.tasks[0].current = current;
        let drained = decide(&policy(), &graph, &nodes, 9, Millis(5));
        let Action::End { failure, report, next, .. } = &drained.actions[0] else { panic!("{:?}", drained.actions) };
        assert_eq!((*failure, report.reason), (Some(FailureClass::Infrastructure), Reason::Evicted));
        assert!(matches!(next, NextStep::Retry(_)), "{next:?}");
        let cancelled = decide(&Policy { cancelled: true, ..policy() }, &graph, &nodes, 9, Millis(5));
        let Action::End { report, next, .. } = &cancelled.actions[0] else { panic!("{:?}", cancelled.actions) };
        assert_eq!((report.reason, *next), (Reason::Cancelled, NextStep::Finish(TaskPhase::Cancelled)));
    }
}

#[test]
fn external_work_is_repeated_only_if_not_begun() {
    use Reason::{
        ContainerConfigError, DeliveryFailed, Evicted, ImagePullFailed, Lost, RepositoryUnreachable, SandboxFailed,
        WorkspaceFailed,
    };
    let (graph, mut nodes) = two_tasks();
    nodes.tasks[0].attempts = 1;
    nodes.tasks[0].external_effect = true;
    let mut then = |state| {
        nodes.tasks[0].current = CurrentAttempt::Pod { state, created: Millis(0), deleting: None, delivered: None };
        match decide(&policy(), &graph, &nodes, 9, Millis(500_000)).actions.as_slice() {
            [Action::End { next, .. }] => *next,
            other => panic!("{other:?}"),
        }
    };
    for reason in [DeliveryFailed, Evicted, Lost, RepositoryUnreachable, WorkspaceFailed, Reason::Cancelled] {
        assert_eq!(then(report(reason)), NextStep::Finish(TaskPhase::Unknown), "{reason:?}");
    }
    for reason in [ImagePullFailed, ContainerConfigError, SandboxFailed] {
        assert!(matches!(then(report(reason)), NextStep::Retry(_)), "{reason:?}");
        let stuck = AttemptState::Stuck { reason, message: "no such image".into(), since: Millis(0) };
        assert!(matches!(then(stuck), NextStep::Retry(_)), "{reason:?}");
    }
    assert_eq!(then(report(Reason::AgentFailed)), NextStep::Finish(TaskPhase::Failed), "its own failures are counted");
}

#[test]
fn a_missing_pod_is_created_under_its_old_number() {
    let (graph, mut nodes) = two_tasks();
    nodes.tasks[0].attempts = 3;
    nodes.tasks[0].current = CurrentAttempt::Absent { seen: false, delivered: None };
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert_eq!(decision.actions, vec![Action::Start { node: Task(0), attempt: 3 }]);
}

#[test]
fn a_recorded_start_waits_while_suspended_or_held() {
    let (graph, mut nodes) = two_tasks();
    nodes.tasks[0].attempts = 1;
    nodes.tasks[0].current = CurrentAttempt::Absent { seen: false, delivered: None };
    let suspended = decide(&Policy { suspended: true, ..policy() }, &graph, &nodes, 9, Millis(5));
    assert_eq!((suspended.actions, suspended.state), (Vec::new(), PlanState::Suspended));
    nodes.tasks[0].held = true;
    let held = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert_eq!((held.actions, held.phases.tasks[0]), (Vec::new(), TaskPhase::Pending));

    let mut node = Node { exists: true, held: true, ..Node::default() };
    let mut contest = Contest::new(&Node { held: false, ..node.clone() }, 2, Vec::new());
    contest.contestants[0].node.attempts = 1;
    contest.contestants[0].node.current = CurrentAttempt::Absent { seen: false, delivered: None };
    node.contest = Some(contest);
    nodes.tasks[0] = node;
    let held = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert_eq!((held.actions, held.phases.tasks[0]), (Vec::new(), TaskPhase::Pending));
}

#[test]
fn cancel_stops_everything_and_suspend_new_attempts() {
    let (graph, mut nodes) = two_tasks();
    nodes.tasks[0].attempts = 1;
    nodes.tasks[0].phase = TaskPhase::Running;
    nodes.tasks[0].current =
        CurrentAttempt::Pod { state: AttemptState::Running, created: Millis(0), deleting: None, delivered: None };
    let cancelled = decide(&Policy { cancelled: true, ..policy() }, &graph, &nodes, 9, Millis(5));
    assert_eq!(cancelled.state, PlanState::Cancelled);
    assert!(
        matches!(&cancelled.actions[0], Action::End { delete_pod: true, report, .. } if report.reason == Reason::Cancelled)
    );
    assert!(matches!(cancelled.actions[1], Action::Close { node: Task(1), phase: TaskPhase::Cancelled, .. }));
    let expired = decide(&Policy { deadline: Some(Millis(5)), ..policy() }, &graph, &nodes, 9, Millis(5));
    assert_eq!(expired.state, PlanState::DeadlineExceeded);
    nodes.tasks[0].current = CurrentAttempt::None;
    nodes.tasks[0].phase = TaskPhase::Succeeded;
    let suspended = decide(&Policy { suspended: true, ..policy() }, &graph, &nodes, 9, Millis(5));
    assert_eq!((suspended.state, suspended.actions.len()), (PlanState::Suspended, 0));
}

#[test]
fn a_failure_stops_running_attempts_if_the_plan_says_so() {
    let graph = Graph::build([("a", vec![]), ("b", vec![]), ("c", vec![]), ("d", vec!["a"])]).expect("an edge");
    let mut nodes = existing(4);
    let pod = |state| CurrentAttempt::Pod { state, created: Millis(0), deleting: None, delivered: None };
    for node in &mut nodes.tasks[..3] {
        (node.attempts, node.current) = (1, pod(AttemptState::Running));
    }
    nodes.tasks[2].external_effect = true;
    let stop = Policy { on_failure: OnFailure::Stop, ..policy() };
    let before = decide(&stop, &graph, &nodes, 9, Millis(5));
    assert!(before.actions.iter().all(|action| matches!(action, Action::MarkRunning { .. })), "{:?}", before.actions);

    nodes.tasks[0].current = pod(report(Reason::AgentFailed));
    let decision = decide(&stop, &graph, &nodes, 9, Millis(5));
    let [Action::End { node: Task(0), .. }, others @ ..] = decision.actions.as_slice() else {
        panic!("{:?}", decision.actions)
    };
    let ended: Vec<_> = others
        .iter()
        .map(|action| match action {
            Action::End { node, report, next, delete_pod: true, .. } => (*node, report.reason, *next),
            other => panic!("{other:?}"),
        })
        .collect();
    // Work with an external effect may have been done in part.
    let phases = [(Task(1), TaskPhase::Cancelled), (Task(2), TaskPhase::Unknown)];
    assert_eq!(ended, phases.map(|(node, phase)| (node, Reason::Cancelled, NextStep::Finish(phase))));
    assert_eq!((decision.phases.tasks[3], decision.retries), (TaskPhase::Pending, 0));

    let halt = decide(&Policy { on_failure: OnFailure::Halt, ..policy() }, &graph, &nodes, 9, Millis(5));
    assert_eq!(halt.phases.tasks[1], TaskPhase::Running);
}

#[test]
fn cancelled_work_with_an_external_effect_is_unknown_once_it_has_begun() {
    let (graph, mut nodes) = two_tasks();
    (nodes.tasks[0].attempts, nodes.tasks[0].external_effect) = (1, true);
    let mut phase = |current| {
        nodes.tasks[0].current = current;
        let decision = decide(&Policy { cancelled: true, ..policy() }, &graph, &nodes, 9, Millis(5));
        assert_eq!(decision.state, PlanState::Cancelled);
        decision.phases.tasks[0]
    };
    let pod = |state| CurrentAttempt::Pod { state, created: Millis(0), deleting: None, delivered: None };
    assert_eq!(phase(pod(AttemptState::Running)), TaskPhase::Unknown);
    assert_eq!(phase(pod(report(Reason::Cancelled))), TaskPhase::Unknown);
    assert_eq!(phase(CurrentAttempt::Absent { seen: true, delivered: None }), TaskPhase::Unknown);
    assert_eq!(phase(pod(AttemptState::Pending)), TaskPhase::Cancelled, "nothing was done");
    assert_eq!(phase(pod(report(Reason::AgentFailed))), TaskPhase::Cancelled, "its own failures are counted");
    assert_eq!(phase(CurrentAttempt::None), TaskPhase::Cancelled);
}

#[test]
fn retries_count_attempts_that_another_one_follows() {
    let (graph, mut nodes) = two_tasks();
    let node = &mut nodes.tasks[0];
    (node.attempts, node.retry.limit) = (1, 1);
    node.current =
        CurrentAttempt::Pod { state: report(Reason::GateFailed), created: Millis(0), deleting: None, delivered: None };
    let first = decide(&policy(), &graph, &nodes, 9, Millis(0));
    assert_eq!((first.phases.tasks[0], first.retries), (TaskPhase::Pending, 1));

    (nodes.tasks[0].attempts, nodes.tasks[0].failures) = (2, 1);
    let last = decide(&policy(), &graph, &nodes, 9, Millis(0));
    assert_eq!((last.phases.tasks[0], last.retries), (TaskPhase::Failed, 1), "nothing follows the second");

    let node = &mut nodes.tasks[0];
    (node.phase, node.failures, node.current) = (TaskPhase::Failed, 1, CurrentAttempt::None);
    assert_eq!(decide(&policy(), &graph, &nodes, 9, Millis(0)).retries, 0);
}

#[test]
fn starts_by_priority_then_critical_path_then_order() {
    let graph = Graph::build([("a", vec![]), ("b", vec![]), ("c", vec!["b"]), ("d", vec![])]).unwrap();
    let mut nodes = existing(4);
    nodes.tasks[3].priority = 10;
    let decision = decide(&Policy { parallelism: 2, ..policy() }, &graph, &nodes, 9, Millis(0));
    assert_eq!(
        decision.actions,
        vec![Action::Start { node: Task(3), attempt: 1 }, Action::Start { node: Task(1), attempt: 1 }]
    );
    assert_eq!(decision.waiting_for_slots, 1);
}

#[test]
fn a_failed_task_is_reopened_on_request() {
    let (graph, mut nodes) = two_tasks();
    nodes.tasks[0].phase = TaskPhase::Failed;
    nodes.tasks[0].attempts = 2;
    assert_eq!(decide(&policy(), &graph, &nodes, 9, Millis(0)).state, PlanState::Failed);
    nodes.tasks[0].request = Request::Rerun;
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(0));
    assert_eq!(decision.actions, vec![Action::Reopen(Task(0))]);
    assert_eq!(decision.state, PlanState::Running);
}

#[test]
fn a_missing_image_ends_the_attempt_after_a_while() {
    let (graph, mut nodes) = two_tasks();
    nodes.tasks[0].attempts = 1;
    let mut at = |started: Option<i64>, now: i64| {
        let container = ContainerView { waiting: Some("ErrImagePull".into()), ..ContainerView::default() };
        let pod = PodView { created: Millis(0), started: started.map(Millis), container, ..PodView::default() };
        nodes.tasks[0].current =
            CurrentAttempt::Pod { state: classify(&pod), created: pod.created, deleting: None, delivered: None };
        decide(&policy(), &graph, &nodes, 9, Millis(now))
    };
    assert_eq!(at(None, 1000).requeue_at, Some(Millis(120_000)));
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
fn a_plan_is_requeued_for_its_deadline() {
    let (graph, _) = two_tasks();
    let pod = CurrentAttempt::Pod { state: AttemptState::Running, created: Millis(0), deleting: None, delivered: None };
    let running = Node { exists: true, phase: TaskPhase::Running, attempts: 1, current: pod, ..Node::default() };
    let mut nodes = existing(2);
    nodes.tasks[0] = running;
    let policy = Policy { parallelism: 1, deadline: Some(Millis(5000)), ..Policy::default() };
    let before = decide(&policy, &graph, &nodes, 9, Millis(1000));
    assert_eq!((before.state, before.requeue_at), (PlanState::Running, Some(Millis(5000))));
    let at = decide(&policy, &graph, &nodes, 9, Millis(5000));
    assert!(matches!(at.actions[0], Action::End { delete_pod: true, .. }), "{:?}", at.actions);
    assert_eq!(at.state, PlanState::DeadlineExceeded);
}

#[test]
fn a_cancelled_plan_creates_no_tasks() {
    let (graph, _) = two_tasks();
    let nodes = PerNode { tasks: vec![Node::default(), Node::default()], integration: None };
    let policy = Policy { parallelism: 1, cancelled: true, ..Policy::default() };
    let decision = decide(&policy, &graph, &nodes, 9, Millis(0));
    assert_eq!((decision.actions, decision.state), (vec![], PlanState::Cancelled));
    assert_eq!(Counts::of(decision.phases.values(), decision.retries).cancelled, 2);
}

#[test]
fn redo_reopens_all_dependents_before_any_starts() {
    let (graph, mut nodes) = two_tasks();
    for node in &mut nodes.tasks {
        (node.phase, node.attempts, node.request) = (TaskPhase::Succeeded, 1, Request::Redo);
    }
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert_eq!(decision.actions, [Action::Reopen(Task(0)), Action::Reopen(Task(1))]);
    assert_eq!(decision.state, PlanState::Running);

    // The status of the first task was written, and that of the second was not.
    nodes.tasks[0] = Node { exists: true, attempts: 1, ..Node::default() };
    let again = decide(&policy(), &graph, &nodes, 9, Millis(6));
    assert_eq!(again.actions, [Action::Reopen(Task(1))], "nothing starts before all are open");

    nodes.tasks[1] = nodes.tasks[0].clone();
    let started = decide(&policy(), &graph, &nodes, 9, Millis(7));
    assert_eq!(started.actions, [Action::Start { node: Task(0), attempt: 2 }]);
}

#[test]
fn redo_of_a_running_task_waits_for_its_end() {
    let (graph, mut nodes) = two_tasks();
    (nodes.tasks[0].attempts, nodes.tasks[0].request) = (1, Request::Redo);
    nodes.tasks[0].current =
        CurrentAttempt::Pod { state: report(Reason::Succeeded), created: Millis(0), deleting: None, delivered: None };
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert!(
        matches!(decision.actions[..], [Action::End { node: Task(0), failure: None, .. }]),
        "{:?}",
        decision.actions
    );
    assert_eq!((decision.phases.tasks[0], decision.requeue_at), (TaskPhase::Pending, Some(Millis(6))));
}

#[test]
fn redo_leaves_unknown_work_to_a_person() {
    let (graph, mut nodes) = two_tasks();
    (nodes.tasks[0].phase, nodes.tasks[0].request) = (TaskPhase::Unknown, Request::Redo);
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert_eq!((decision.actions, decision.state), (vec![], PlanState::Unknown));
}

#[test]
fn a_held_task_waits_while_others_continue() {
    let graph = Graph::build([("a", vec![]), ("b", vec![])]).expect("two alone");
    let mut nodes = existing(2);
    nodes.tasks[0].held = true;
    let decision = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert_eq!(decision.actions, [Action::Start { node: Task(1), attempt: 1 }]);
    (nodes.tasks[1].phase, nodes.tasks[1].attempts) = (TaskPhase::Succeeded, 1);
    let waits = decide(&policy(), &graph, &nodes, 9, Millis(5));
    assert_eq!((waits.actions, waits.state), (vec![], PlanState::Running), "it is not the end");
}

fn tokens(tokens: u64) -> Limit {
    Limit { tokens: Some(tokens), cost_micro_usd: None }
}

/// Returns tasks that share one budget, and reserve ten tokens for each attempt.
fn funded(n: usize) -> (Graph, PerNode<Node>) {
    let ids: Vec<String> = (0..n).map(|i| format!("T{i:03}")).collect();
    let graph = Graph::build(ids.iter().map(|id| (id.as_str(), Vec::new()))).expect("no edges");
    let mut nodes = existing(n);
    for node in &mut nodes.tasks {
        node.funding = Funding { budgets: vec![0], attempt: tokens(10), ..Funding::default() };
    }
    (graph, nodes)
}

fn decide_with(remaining: u64, free_slots: u32, graph: &Graph, nodes: &PerNode<Node>, now: Millis) -> Decision {
    let shared = Shared { free_slots, budgets: Budgets::new(vec![tokens(remaining)]), ..Shared::default() };
    plan::decide(&policy(), graph, nodes, &shared, now)
}

#[test]
fn concurrent_starts_share_a_budget() {
    let (graph, mut nodes) = funded(4);
    let decision = decide_with(29, 9, &graph, &nodes, Millis(5));
    let starts = decision.actions.iter().filter(|a| matches!(a, Action::Start { .. })).count();
    assert_eq!(starts, 2, "{:?}", decision.actions);
    assert_eq!(decision.unfunded, [(Task(2), Shortage::Budget(0)), (Task(3), Shortage::Budget(0))]);
    assert_eq!((decision.waiting_for_slots, decision.requeue_at), (0, Some(Millis(30_005))));

    nodes.tasks[3].funding = Funding::default();
    let decision = decide_with(0, 9, &graph, &nodes, Millis(5));
    assert_eq!(decision.actions, [Action::Start { node: Task(3), attempt: 1 }], "it uses no model");
    assert_eq!(decision.state, PlanState::Running);

    nodes.tasks[3].phase = TaskPhase::Succeeded;
    let decision = decide_with(0, 9, &graph, &nodes, Millis(5));
    assert_eq!((decision.actions, decision.state), (vec![], PlanState::Running), "the plan waits for its budget");
    let decision = decide_with(99, 1, &graph, &nodes, Millis(5));
    assert_eq!((decision.actions.len(), decision.waiting_for_slots, decision.unfunded), (1, 2, vec![]));
}

#[test]
fn an_exceeded_budget_is_no_failure() {
    let (graph, mut nodes) = funded(1);
    let node = &mut nodes.tasks[0];
    node.attempts = 1;
    node.current = CurrentAttempt::Pod {
        state: report(Reason::BudgetExceeded),
        created: Millis(0),
        deleting: None,
        delivered: None,
    };
    let decision = decide_with(3, 9, &graph, &nodes, Millis(0));
    let Action::End { next, .. } = &decision.actions[0] else { panic!("{:?}", decision.actions) };
    assert_eq!(*next, NextStep::Park { until: Millis(30_000), remaining: Some(tokens(3)) });
    assert_eq!((decision.state, decision.phases.tasks[0]), (PlanState::Running, TaskPhase::Pending));

    let node = &mut nodes.tasks[0];
    node.current = CurrentAttempt::None;
    node.retry_at = Some(Millis(30_000));
    node.funding.attempt = Limit::default();
    node.funding.parked = Some(tokens(3));
    let early = decide_with(9, 9, &graph, &nodes, Millis(29_999));
    assert_eq!((early.actions, early.unfunded), (vec![], vec![]));
    let same = decide_with(3, 9, &graph, &nodes, Millis(30_000));
    assert_eq!((same.actions, same.unfunded), (vec![], vec![(Task(0), Shortage::Unchanged)]));
    let raised = decide_with(4, 9, &graph, &nodes, Millis(30_000));
    assert_eq!(raised.actions, [Action::Start { node: Task(0), attempt: 2 }]);
}

#[test]
fn an_external_effect_that_a_budget_interrupted_is_not_repeated() {
    let (graph, mut nodes) = funded(1);
    let node = &mut nodes.tasks[0];
    (node.attempts, node.external_effect) = (1, true);
    node.current = CurrentAttempt::Pod {
        state: report(Reason::BudgetExceeded),
        created: Millis(0),
        deleting: None,
        delivered: None,
    };
    let decision = decide_with(3, 9, &graph, &nodes, Millis(0));
    let Action::End { next, .. } = &decision.actions[0] else { panic!("{:?}", decision.actions) };
    assert_eq!((*next, decision.state), (NextStep::Finish(TaskPhase::Unknown), PlanState::Unknown));
}

#[test]
fn an_exhausted_quota_waits_for_its_reset() {
    let (graph, mut nodes) = funded(1);
    nodes.tasks[0].attempts = 1;
    nodes.tasks[0].current = CurrentAttempt::Pod {
        state: report(Reason::ProviderQuota),
        created: Millis(0),
        deleting: None,
        delivered: None,
    };
    let mut until = |reset: Option<i64>| {
        nodes.tasks[0].funding.quota_reset = reset.map(Millis);
        let decision = decide_with(99, 9, &graph, &nodes, Millis(0));
        match decision.actions.as_slice() {
            [Action::End { next: NextStep::Park { until, remaining: None }, .. }] => until.0,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((until(None), until(Some(3_600_000)), until(Some(1))), (900_000, 3_600_000, 30_000));
    nodes.tasks[0].external_effect = true;
    let decision = decide_with(99, 9, &graph, &nodes, Millis(0));
    assert_eq!(decision.state, PlanState::Unknown, "its effect may have happened");
}
