//! Plans with competing attempts against an API server and a record store in memory.

use enact_domain::assignment::{Assignment, Work};
use enact_domain::digest::Digest;
use enact_domain::record::RecordedAttempt;
use enact_domain::usage::{Balance, Charge, Scope};
use serde_json::{Value, json};

use crate::testing::Bench;
use crate::testing::plans::script_task;

/// Returns a bench with a plan of a task with three contestants, which are running, and of one that depends on it.
async fn started() -> Bench {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    bench.agent("other");
    let measurements = json!([{"name": "p95", "script": "./bench"}]);
    let mut contest = script_task("T001", &[]);
    contest["attempts"] = json!({"bestOf": 3, "agents": ["scripts", "other"], "measurements": measurements});
    let tasks = [contest, script_task("T002", &["T001"])];
    let spec = json!({"agentRef": {"name": "scripts"}, "workspace": {"url": "https://git/shop"}, "tasks": tasks});
    bench.put_plan_with("p", &json!({"uid": "5f0c1a2b-7d3e-4b8a-9c6d-0e1f2a3b4c5d"}), &spec);
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    bench
}

fn assignment(bench: &Bench, pod: &str) -> Assignment {
    let pod = bench.api.get(&format!("pods/{pod}"));
    let text = pod["spec"]["containers"][0]["env"][0]["value"].as_str().unwrap().replace("$$", "$");
    serde_json::from_str(&text).unwrap()
}

fn commit(pod: &str) -> String {
    Digest::of_bytes(pod.as_bytes()).as_str().trim_start_matches("sha256:").to_owned()
}

/// Ends a pod successfully, with a commit and a measurement.
async fn pass(bench: &Bench, pod: &str, p95: &str) {
    let report =
        json!({"reason": "Succeeded", "commit": commit(pod), "measurements": {"p95": p95}, "outputs": {"by": pod}});
    bench.succeed_with(pod, &report).await;
}

async fn evict(bench: &Bench, pod: &str) {
    bench.pod(pod, json!({"phase": "Failed", "reason": "Evicted", "message": "the node is low on memory"})).await;
}

fn status(bench: &Bench) -> Value {
    bench.api.get("tasks/p-t001")["status"].clone()
}

#[tokio::test]
async fn only_the_winner_reaches_dependents_and_integration() {
    let mut bench = started().await;
    let agents = ["p-t001-1", "p-t001-2", "p-t001-3"].map(|pod| {
        let assignment = assignment(&bench, pod);
        let Work::Task(work) = &assignment.work else { panic!("{assignment:?}") };
        assert_eq!(work.measurements[0].name, "p95");
        (work.agent.clone(), assignment.git.unwrap().branch)
    });
    let of_plan = |branch: &str| format!("enact/p-5f0c1a2b/{branch}");
    let expected = [("scripts", "t001-1"), ("other", "t001-2"), ("scripts", "t001-3")];
    assert_eq!(agents, expected.map(|(agent, branch)| (agent.to_owned(), of_plan(branch))));

    pass(&bench, "p-t001-1", "30").await;
    bench.plan("p").await.unwrap();
    let shown = status(&bench);
    assert_eq!((&shown["phase"], &shown["attempts"]), (&json!("Running"), &json!(3)));
    assert!(!bench.api.has("pods/p-t002-1"), "the contest is not decided");
    pass(&bench, "p-t001-2", "20.5").await;
    bench.fail("p-t001-3", "no idea").await;
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();

    let shown = status(&bench);
    let message = "attempt 2 of Agent other won: it has the best p95";
    assert_eq!((&shown["phase"], &shown["conditions"][0]["message"]), (&json!("Succeeded"), &json!(message)));
    assert_eq!((&shown["commit"], &shown["outputs"]["by"]), (&json!(commit("p-t001-2")), &json!("p-t001-2")));
    let contest = &shown["contest"];
    assert_eq!((&contest["winner"], &contest["message"]), (&json!(2), &json!(message)));
    let one = |number: &str, field: &str| contest["contestants"][number][field].clone();
    assert_eq!((one("1", "phase"), one("1", "branch")), (json!("Succeeded"), json!(of_plan("t001-1"))), "it is kept");
    assert_eq!((one("2", "measurements"), one("2", "outputs")), (json!({"p95": "20.5"}), Value::Null));
    assert_eq!((one("3", "phase"), one("3", "reason")), (json!("Failed"), json!("AgentFailed")));

    let winner = [(of_plan("t001-2"), commit("p-t001-2"))];
    let merged = |bench: &Bench, pod: &str| -> Vec<(String, String)> {
        assignment(bench, pod)
            .git
            .unwrap()
            .merge
            .into_iter()
            .map(|verified| (verified.branch, verified.commit))
            .collect()
    };
    assert_eq!(merged(&bench, "p-t002-1"), winner);
    bench.succeed("p-t002-1").await;
    bench.plan("p").await.unwrap();
    assert_eq!(merged(&bench, "p-integration-1"), winner);

    let summaries = bench.record_store.summaries();
    let position = |text: &str| summaries.iter().position(|summary| summary == text);
    assert!(position("p-t001: end 3 AgentFailed") < position("p-t001: winner Some(2)"), "{summaries:?}");
    assert!(position("p-t001: winner Some(2)") < position("p-t001: Succeeded Succeeded"), "{summaries:?}");
    assert!(position("p-t001: Succeeded Succeeded") < position("p-t002: start 1"), "{summaries:?}");
    assert!(bench.api.events().iter().any(|event| event == "ContestDecided"));
}

/// The next leader has decided the contest. This process, which led before, does not know it yet.
#[tokio::test]
async fn a_former_leader_does_not_undo_a_verdict() {
    let mut bench = started().await;
    bench.api.writes();
    bench.pass(20);
    bench.plan("p").await.unwrap();
    let writes = bench.api.writes();
    let of_task = writes.iter().filter(|write| write.starts_with("PATCH tasks/p-t001/status")).count();
    assert_eq!(of_task, 3, "a patch for each contestant: {writes:?}");
    let shown = status(&bench)["contest"]["contestants"].clone();
    assert!(["1", "2", "3"].iter().all(|number| shown[*number]["phase"] == "Running"), "{shown}");

    bench.api.change("tasks/p-t001", &json!({"status": {"phase": "Succeeded", "contest": {"winner": 1}}}));
    pass(&bench, "p-t001-2", "20.5").await;
    bench.plan("p").await.unwrap_err();
    assert_eq!(status(&bench)["phase"], "Succeeded");
}

#[tokio::test]
async fn a_contest_continues_after_a_restart() {
    let mut bench = started().await;
    pass(&bench, "p-t001-1", "30").await;
    evict(&bench, "p-t001-2").await;
    bench.plan("p").await.unwrap();
    bench.pass(10);
    bench.plan("p").await.unwrap();
    assert!(bench.api.has("pods/p-t001-5") && !bench.api.has("pods/p-t001-4"), "the second contestant has 2, 5, 8");

    // Another process: it has the statuses, the pods and the record. The pod of attempt 3 is gone, and its result is in the record.
    let uid = bench.api.get("tasks/p-t001")["metadata"]["uid"].as_str().unwrap().to_owned();
    let recorded = |number, finished: Option<Option<String>>, report: Option<Value>| RecordedAttempt {
        subject_uid: uid.clone(),
        number,
        agent: Some("scripts".into()),
        verified: finished.is_none(),
        finished,
        report: report.map(|report| serde_json::from_value(report).unwrap()),
        ..RecordedAttempt::default()
    };
    let delivered = json!({"reason": "Succeeded", "commit": commit("p-t001-3"), "measurements": {"p95": "25"}});
    *bench.record_store.attempts.lock().unwrap() = vec![
        recorded(1, Some(None), Some(json!({"reason": "Succeeded"}))),
        recorded(2, Some(Some("Infrastructure".into())), Some(json!({"reason": "Evicted"}))),
        recorded(3, None, Some(delivered)),
        recorded(5, None, None),
    ];
    let gone = bench.api.get("pods/p-t001-3");
    bench.api.remove("pods/p-t001-3");
    let deleted = serde_json::from_value(gone).unwrap();
    let events = futures::stream::iter([kube::runtime::watcher::Event::Delete(deleted)]);
    bench.contexts.plans.index.follow_pods(events, |_| {}).await;
    bench.contexts.plans.runtimes.forget("5f0c1a2b-7d3e-4b8a-9c6d-0e1f2a3b4c5d");
    bench.plan("p").await.unwrap();
    let shown = status(&bench)["contest"]["contestants"].clone();
    assert_eq!((&shown["3"]["phase"], &shown["3"]["measurements"]["p95"]), (&json!("Succeeded"), &json!("25")));
    assert_eq!(bench.api.all("pods").len(), 3, "nothing starts again");

    pass(&bench, "p-t001-5", "26").await;
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    assert_eq!(status(&bench)["contest"]["winner"], 3);
}

#[tokio::test]
async fn a_person_repeats_a_contest_that_nobody_passed() {
    let mut bench = started().await;
    for pod in ["p-t001-1", "p-t001-2", "p-t001-3"] {
        bench.fail(pod, "no idea").await;
    }
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    let shown = status(&bench);
    assert_eq!((&shown["phase"], &shown["conditions"][0]["reason"]), (&json!("Failed"), &json!("AgentFailed")));
    let message = shown["conditions"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("no competing attempt has passed: attempt 1: AgentFailed, attempt 2"), "{message}");

    bench.pass(5);
    bench.api.change("tasks/p-t001", &json!({"metadata": {"annotations": {"enact.dev/rerun": "1"}}}));
    bench.contexts.plans.index.put_task(&serde_json::from_value(bench.api.get("tasks/p-t001")).unwrap());
    for _ in 0..3 {
        bench.plan("p").await.unwrap();
        bench.pass(1);
    }
    for pod in ["p-t001-4", "p-t001-5", "p-t001-6"] {
        assert!(bench.api.has(&format!("pods/{pod}")), "{pod}");
        let Work::Task(work) = assignment(&bench, pod).work else { panic!("{pod}") };
        assert_eq!(work.previous.unwrap().message, "no idea", "it knows why the last attempt of its contestant failed");
    }
}

#[tokio::test]
async fn equal_contestants_are_decided_by_their_cost() {
    let mut bench = Bench::new().await;
    bench.add_provider(&json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "ModelProvider", "metadata": {"name": "claude", "namespace": "ns"},
        "spec": {"api": "Anthropic", "baseUrl": "https://api.example.org"},
    }));
    bench.agent_with("coder", json!({"adapter": "Command", "models": [{"provider": "claude", "model": "claude-5"}]}));
    let execution = json!({"attemptBudget": {"usd": "0.40"}, "budget": {"usd": "1.00"}});
    let tasks = json!([{"id": "T001", "title": "a", "script": "true", "attempts": {"bestOf": 3}}]);
    bench.put_plan("p", &json!({"agentRef": {"name": "coder"}, "execution": execution, "tasks": tasks}));
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.all("pods").len(), 2, "each contestant reserves 0.40 of 1.00 USD");
    let uid = bench.api.get("tasks/p-t001")["metadata"]["uid"].as_str().unwrap().to_owned();
    for (number, cost) in [(1, 390_000), (2, 380_000)] {
        let spent = Charge { cost_micro_usd: Some(cost), ..Charge::default() };
        let scope = Scope::Attempt { uid: uid.clone(), number };
        bench.record_store.balances.lock().unwrap().insert(scope, Balance { spent, ..Balance::default() });
    }
    let plan = Scope::Plan { uid: bench.api.get("plans/p")["metadata"]["uid"].as_str().unwrap().to_owned() };
    let spent = Charge { cost_micro_usd: Some(770_000), ..Charge::default() };
    bench.record_store.balances.lock().unwrap().insert(plan, Balance { spent, ..Balance::default() });
    bench.succeed("p-t001-1").await;
    bench.succeed("p-t001-2").await;
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    let contest = status(&bench)["contest"].clone();
    assert_eq!(contest["winner"], 2, "0.23 USD are too little for the third: {contest}");
    assert_eq!(contest["contestants"]["2"]["usd"], "0.38");
    assert!(contest["message"].as_str().unwrap().ends_with("it was the cheapest"), "{contest}");
}
