//! Plans that replace others: what they keep, when they start, and what planners read.

use serde_json::{Value, json};

use crate::testing::Bench;
use crate::testing::plans::script_task;

/// Returns a bench with the Plan `old`: T001 is finished, T002 depends on it and has failed, and T003 is not needed.
async fn bench() -> Bench {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    let tasks = [script_task("T001", &[]), script_task("T002", &["T001"]), script_task("T003", &["T002"])];
    let retry = json!({"limit": 0});
    bench.put_plan("old", &json!({"agentRef": {"name": "scripts"}, "tasks": tasks, "execution": {"retry": retry}}));
    reconcile(&mut bench, "old").await;
    bench.succeed_with("old-t001-1", &json!({"reason": "Succeeded", "outputs": {"port": "8080"}})).await;
    reconcile(&mut bench, "old").await;
    bench
}

async fn reconcile(bench: &mut Bench, plan: &str) {
    for _ in 0..3 {
        bench.pass(2);
        bench.plan(plan).await.unwrap();
    }
    bench.settle().await;
}

async fn fail(bench: &mut Bench) {
    bench.fail("old-t002-1", "it does not compile").await;
    reconcile(bench, "old").await;
    assert_eq!(bench.api.get("plans/old")["status"]["phase"], "Failed");
}

/// Creates the Plan `new` with these tasks, and reconciles it.
async fn replace(bench: &mut Bench, tasks: &[Value]) {
    let replaces = json!({"name": "old", "because": "T002 is too large."});
    bench.put_plan("new", &json!({"agentRef": {"name": "scripts"}, "tasks": tasks, "replaces": replaces}));
    reconcile(bench, "new").await;
}

fn status(bench: &Bench) -> Value {
    bench.api.get("plans/new")["status"].clone()
}

fn ready(bench: &Bench, plan: &str) -> (String, String) {
    let ready = bench.api.get(&format!("plans/{plan}"))["status"]["conditions"][0].clone();
    (ready["reason"].as_str().unwrap().to_owned(), ready["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn unchanged_finished_tasks_do_not_run_again() {
    let mut bench = bench().await;
    fail(&mut bench).await;
    let changed = json!({"id": "T002", "title": "Less", "script": "true", "dependsOn": ["T001"]});
    replace(&mut bench, &[script_task("T001", &[]), changed, script_task("T004", &["T001"])]).await;
    let replaced = json!({
        "added": {"count": 1, "ids": ["T004"]}, "changed": {"count": 1, "ids": ["T002"]},
        "removed": {"count": 1, "ids": ["T003"]}, "repeated": {"count": 0}, "kept": ["T001"],
    });
    let shown = status(&bench);
    assert_eq!((&shown["replaced"], &shown["phase"]), (&replaced, &json!("Running")), "{shown}");
    let kept = bench.api.get("tasks/new-t001")["status"].clone();
    assert_eq!((&kept["phase"], &kept["attempts"]), (&json!("Succeeded"), &json!(null)), "{kept}");
    assert_eq!(
        (&kept["outputs"]["port"], &kept["conditions"][0]["reason"]),
        (&json!("8080"), &json!("Kept")),
        "{kept}"
    );
    assert!(!bench.api.has("pods/new-t001-1"));
    for pod in ["new-t002-1", "new-t004-1"] {
        assert!(bench.api.get(&format!("pods/{pod}")).to_string().contains("8080"), "it gets the output of T001");
        bench.succeed(pod).await;
    }
    reconcile(&mut bench, "new").await;
    assert_eq!((&status(&bench)["phase"], &status(&bench)["tasks"]["succeeded"]), (&json!("Succeeded"), &json!(3)));
}

#[tokio::test]
async fn waits_until_the_replaced_plan_has_ended() {
    let mut bench = bench().await;
    replace(&mut bench, &[script_task("T001", &[]), script_task("T005", &[])]).await;
    let (reason, message) = ready(&bench, "new");
    assert_eq!(reason, "WaitingForPredecessor");
    assert!(message.contains("kubectl enact cancel old"), "{message}");
    assert_eq!(status(&bench)["replaced"]["kept"], json!(["T001"]), "what differs is shown already");
    assert!(!bench.api.has("tasks/new-t005"));

    bench.fail("old-t002-1", "it does not compile").await;
    for _ in 0..3 {
        bench.pass(2);
        bench.plan("old").await.unwrap();
    }
    // The end of the one requeues the other.
    bench.settle().await;
    assert_eq!(status(&bench)["phase"], "Running", "{}", status(&bench));
}

#[tokio::test]
async fn names_what_cannot_be_replaced() {
    let mut bench = bench().await;
    fail(&mut bench).await;
    let of = |name: &str, more: Value| -> Value {
        let mut spec =
            json!({"agentRef": {"name": "scripts"}, "tasks": [script_task("T001", &[])], "replaces": {"name": name}});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        spec
    };
    bench.put_plan("idle", &json!({"agentRef": {"name": "nobody"}, "tasks": [script_task("T001", &[])]}));
    bench.plan("idle").await.unwrap();
    let elsewhere = json!({"workspace": {"url": "https://git.example.com/other.git"}});
    for (plan, spec, expected, words) in [
        ("one", of("missing", json!({})), "PredecessorNotFound", "no Plan missing"),
        ("two", of("idle", json!({})), "WaitingForPredecessor", "has not started"),
        ("three", of("old", elsewhere), "InvalidWorkspace", "spec.workspace.url"),
    ] {
        bench.put_plan(plan, &spec);
        reconcile(&mut bench, plan).await;
        let (reason, message) = ready(&bench, plan);
        assert!(reason == expected && message.contains(words), "{reason}: {message}");
    }
}

#[tokio::test]
async fn the_kept_work_is_a_part_of_the_approved_content() {
    let mut bench = bench().await;
    replace(&mut bench, &[script_task("T001", &[]), script_task("T002", &["T001"])]).await;
    let before = status(&bench)["digest"].clone();
    bench.succeed("old-t002-1").await;
    reconcile(&mut bench, "old").await;
    reconcile(&mut bench, "new").await;
    assert_ne!(status(&bench)["digest"], before, "T002 has finished since");
    assert_eq!(status(&bench)["replaced"]["kept"], json!(["T001", "T002"]));
}
