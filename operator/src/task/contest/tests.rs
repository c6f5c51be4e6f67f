use enact_crds::Task;
use enact_domain::assignment::Report;
use enact_domain::attempt::FailureClass;
use enact_domain::contest::{DecidedBy, Winner};

use super::*;

const NOW: Millis = Millis(1_767_225_600_000);

fn task(status: &Value) -> TaskEntry {
    let object = json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "Task", "metadata": {"name": "p-t001", "namespace": "ns", "uid": "u"},
        "spec": {"planRef": {"name": "p"}, "id": "T001", "title": "t"}, "status": status,
    });
    TaskEntry::of(&serde_json::from_value::<Task>(object).unwrap())
}

fn state(contestant: u32) -> State<'static> {
    State { contestant, agent: "coder", phase: TaskPhase::Running, newest: 3, running: (2, 3) }
}

#[test]
fn each_contestant_has_its_own_patch() {
    let mut report = Report::new(Reason::Succeeded, "");
    report.commit = Some("c0ffee".into());
    report.measurements.insert("p95".into(), "20.50".parse().unwrap());
    let end = End {
        attempt: 2,
        agent: None,
        failure: None,
        report: &report,
        next: NextStep::Finish(TaskPhase::Succeeded),
        branch: Some("enact/p/t001-2".into()),
        stopped: false,
        gates: 1,
        started: Some(NOW),
    };
    let patch = ended(&task(&json!({})), &state(2), &end, None, NOW);
    assert_eq!((&patch["phase"], &patch["attempts"], &patch["commit"]), (&json!("Running"), &json!(3), &Value::Null));
    let shown = &patch["contest"]["contestants"]["2"];
    assert_eq!((&shown["phase"], &shown["branch"]), (&json!("Succeeded"), &json!("enact/p/t001-2")));
    assert_eq!((&shown["measurements"], &shown["usd"]), (&json!({"p95": "20.5"}), &Value::Null));
    let running = running(&state(1), 1, NOW, None, NOW);
    assert_eq!(running["contest"]["contestants"]["2"], Value::Null, "a patch of one changes no other");
    let message = &running["conditions"][0]["message"];
    assert_eq!(message, "2 of 3 competing attempts are in progress; attempt 1 is running");
}

#[test]
fn a_contestant_that_cannot_start_is_not_called_running() {
    let waiting =
        Waiting { reason: "SandboxFailed".into(), message: "cannot start: no runtime".into(), since: NOW, task: None };
    let message = running(&state(1), 1, NOW, Some(&waiting), NOW)["conditions"][0]["message"].clone();
    assert_eq!(message, "2 of 3 competing attempts are in progress; attempt 1 cannot start: no runtime");
}

#[test]
fn counts_failures_of_the_infrastructure() {
    let report = Report::new(Reason::Evicted, "drained");
    let end = End {
        attempt: 4,
        agent: None,
        failure: Some(FailureClass::Infrastructure),
        report: &report,
        next: NextStep::Retry(NOW.plus_seconds(5)),
        branch: Some("b".into()),
        stopped: false,
        gates: 1,
        started: None,
    };
    let old = task(&json!({"contest": {"contestants": {"1": {"attempt": 1, "infrastructureFailures": 1}}}}));
    let shown = ended(&old, &state(1), &end, None, NOW)["contest"]["contestants"]["1"].clone();
    assert_eq!((&shown["phase"], &shown["infrastructureFailures"]), (&json!("Pending"), &json!(2)));
    assert_eq!((&shown["reason"], &shown["branch"]), (&json!("Evicted"), &Value::Null), "it pushed nothing");
}

#[test]
fn the_verdict_names_the_winner_or_the_ends() {
    let contestants = json!({
        "1": {"attempt": 1, "phase": "Succeeded", "agent": "a", "commit": "c1", "branch": "b1", "outputs": {"x": "1"}, "reason": "Succeeded"},
        "2": {"attempt": 5, "phase": "Failed", "agent": "b", "reason": "GateFailed", "message": "gate lint"},
    });
    let task = task(&json!({"phase": "Running", "contest": {"contestants": contestants}}));
    let winner = Some(Winner { attempt: 1, decided_by: DecidedBy::Gates });
    let patch = judged(&task, &Verdict { phase: TaskPhase::Succeeded, winner }, NOW);
    assert_eq!(
        (&patch["commit"], &patch["branch"], &patch["outputs"]),
        (&json!("c1"), &json!("b1"), &json!({"x": "1"}))
    );
    assert_eq!(patch["contest"]["message"], "attempt 1 of Agent a won: no other contestant passed");
    let conditions: Vec<&str> =
        patch["conditions"].as_array().unwrap().iter().filter_map(|condition| condition["type"].as_str()).collect();
    assert!(conditions.contains(&EXECUTED) && conditions.contains(&VERIFIED) && conditions.contains(&DELIVERED));

    let lost = judged(&task, &Verdict { phase: TaskPhase::Failed, winner: None }, NOW);
    assert_eq!(
        (&lost["phase"], &lost["commit"], &lost["contest"]["winner"]),
        (&json!("Failed"), &Value::Null, &Value::Null)
    );
    let message = "no competing attempt has passed: attempt 1: Succeeded, attempt 5: GateFailed";
    assert_eq!(lost["contest"]["message"], message);
    let reopened = reopen(&task, json!({"phase": "Pending"}));
    let contestants = &reopened["contest"]["contestants"];
    assert_eq!(contestants["2"].get("attempt"), None, "the numbers continue");
    let reason = |number: &str| contestants[number].get("reason").cloned();
    assert_eq!((reason("1"), reason("2")), (Some(Value::Null), None), "the next attempt gets the failure");
}
