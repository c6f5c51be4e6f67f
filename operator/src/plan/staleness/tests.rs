//! Plans whose specification is approved again: which tasks wait, which are redone, and which stay.

use serde_json::{Value, json};

use crate::testing::Bench;

const SPEC: &str = "# Feature Specification: Keys\n\n## User Scenarios & Testing\n\n### User Story 1 - Lend (Priority: P1)\n\nA key is lent.\n\n\
    ## Requirements\n\n### Functional Requirements\n\n- **FR-001**: The list MUST show every key.\n\
    - **FR-002**: A key MUST expire after 30 days.\n";

/// A plan of three tasks: one for each requirement, and one that depends on the second.
async fn bench() -> Bench {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    let task = |id: &str, requirement: &str, needs: &[&str]| json!({"id": id, "title": id, "script": "true", "requirements": [requirement], "dependsOn": needs});
    let tasks = [task("T001", "FR-001", &[]), task("T002", "FR-002", &[]), task("T003", "FR-001", &["T002"])];
    let spec = json!({"agentRef": {"name": "scripts"}, "specificationRef": {"name": "keys"}, "tasks": tasks});
    bench.put_plan("p", &spec);
    bench.api.put(
        "specifications/keys",
        json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Specification",
            "metadata": {"name": "keys", "namespace": "ns", "generation": 1}, "spec": {"source": {"inline": SPEC}}
        }),
    );
    bench.specification("keys").await.unwrap();
    bench.settle().await;
    bench
}

async fn reconcile(bench: &mut Bench) {
    for _ in 0..3 {
        bench.pass(2);
        bench.plan("p").await.unwrap();
    }
    bench.settle().await;
}

/// Ends a pod of the plan successfully.
async fn done(bench: &mut Bench, pod: &str) {
    bench.succeed(pod).await;
    reconcile(bench).await;
}

/// Approves the specification with another text, and returns its digest.
async fn amend(bench: &mut Bench, text: &str) -> String {
    let generation = bench.api.get("specifications/keys")["metadata"]["generation"].as_i64().unwrap() + 1;
    let change = json!({"metadata": {"generation": generation}, "spec": {"source": {"inline": text}}});
    bench.api.change("specifications/keys", &change);
    bench.specification("keys").await.unwrap();
    bench.settle().await;
    reconcile(bench).await;
    let status = bench.api.get("specifications/keys")["status"].clone();
    assert_eq!(status["digest"], status["approvedDigest"]);
    status["approvedDigest"].as_str().unwrap().to_owned()
}

async fn decide(bench: &mut Bench, annotation: &str, digest: &str) {
    bench.api.change("plans/p", &json!({"metadata": {"annotations": {annotation: digest}}}));
    reconcile(bench).await;
}

fn status(bench: &Bench) -> Value {
    bench.api.get("plans/p")["status"].clone()
}

fn reason(bench: &Bench) -> String {
    status(bench)["conditions"][0]["reason"].as_str().unwrap().to_owned()
}

fn phases(bench: &Bench) -> String {
    let phase = |id: &str| {
        let status = bench.api.get(&format!("tasks/p-{id}"))["status"].clone();
        format!("{} {}", status["phase"].as_str().unwrap_or("-"), status["attempts"])
    };
    ["t001", "t002", "t003"].map(phase).join(", ")
}

#[tokio::test]
async fn stale_tasks_wait_for_a_person_and_others_continue() {
    let mut bench = bench().await;
    reconcile(&mut bench).await;
    let first = status(&bench);
    assert_eq!(first["coverage"], json!({"requirements": 2, "covered": 2}));
    done(&mut bench, "p-t002-1").await;
    assert!(bench.api.has("pods/p-t003-1"));

    let newer = amend(&mut bench, &SPEC.replace("every key", "every key and its door")).await;
    let shown = status(&bench);
    assert_eq!(reason(&bench), "SpecificationChanged");
    assert_eq!(shown["specificationDigest"], first["specificationDigest"], "the plan is still for the older revision");
    let wanted = json!({"specificationDigest": newer, "changes": ["FR-001 Changed"], "tasks": 2});
    assert_eq!(shown["stale"], wanted, "none of them is done yet");
    done(&mut bench, "p-t001-1").await;
    assert_eq!(status(&bench)["stale"]["redo"], json!(["T001"]));
    assert!(bench.api.writes().is_empty() || reason(&bench) == "SpecificationChanged");

    decide(&mut bench, "enact.dev/redo", &newer).await;
    assert_eq!(reason(&bench), "Running");
    assert!(bench.api.has("pods/p-t001-2"), "redone: {}", phases(&bench));
    done(&mut bench, "p-t003-1").await;
    assert!(bench.api.has("pods/p-t003-2"), "an attempt for the older revision is redone as well: {}", phases(&bench));
    assert_eq!(status(&bench)["specificationDigest"], json!(newer));
    done(&mut bench, "p-t001-2").await;
    done(&mut bench, "p-t003-2").await;
    assert_eq!(phases(&bench), "Succeeded 2, Succeeded 1, Succeeded 2", "an unaffected task stays");
    assert_eq!((reason(&bench).as_str(), &status(&bench)["stale"]), ("Succeeded", &Value::Null));
    assert!(bench.record_store.summaries().iter().any(|t| t.contains("Redo")), "{:?}", bench.record_store.summaries());
}

#[tokio::test]
async fn a_finished_plan_restarts_on_redo() {
    let mut bench = bench().await;
    reconcile(&mut bench).await;
    for pod in ["p-t001-1", "p-t002-1", "p-t003-1"] {
        done(&mut bench, pod).await;
    }
    assert_eq!(reason(&bench), "Succeeded");
    let started = status(&bench)["startedAt"].clone();
    let newer = amend(&mut bench, &SPEC.replace("30 days", "7 days")).await;
    let shown = status(&bench);
    assert_eq!((reason(&bench).as_str(), shown["phase"].as_str()), ("Succeeded", Some("Succeeded")));
    assert_eq!((&shown["stale"]["tasks"], &shown["stale"]["redo"]), (&json!(1), &json!(["T002", "T003"])));
    bench.api.writes();
    reconcile(&mut bench).await;
    assert_eq!(bench.api.writes(), [""; 0], "it is reported once");

    decide(&mut bench, "enact.dev/redo", &newer).await;
    assert!(bench.api.has("pods/p-t002-2"), "{}", phases(&bench));
    assert_ne!(status(&bench)["startedAt"], started, "its deadline counts from now");
    assert!(!bench.api.has("pods/p-t003-2"), "it depends on the other one");
    done(&mut bench, "p-t002-2").await;
    done(&mut bench, "p-t003-2").await;
    assert_eq!(phases(&bench), "Succeeded 1, Succeeded 2, Succeeded 2");
    assert_eq!((reason(&bench).as_str(), &status(&bench)["stale"]), ("Succeeded", &Value::Null));
}

#[tokio::test]
async fn keep_settles_the_question() {
    let mut bench = bench().await;
    reconcile(&mut bench).await;
    let newer = amend(&mut bench, &SPEC.replace("30 days", "7 days")).await;
    done(&mut bench, "p-t002-1").await;
    assert_eq!(reason(&bench), "SpecificationChanged");
    decide(&mut bench, "enact.dev/keep", &newer).await;
    let kept = status(&bench);
    assert_eq!((&kept["stale"], &kept["specificationDigest"]), (&Value::Null, &json!(newer)));
    assert_eq!(phases(&bench).split(", ").nth(1), Some("Succeeded 1"));
    decide(&mut bench, "enact.dev/redo", "sha256:0").await;
    assert_eq!(phases(&bench).split(", ").nth(1), Some("Succeeded 1"), "that is not the current revision");
}

#[tokio::test]
async fn an_edit_without_changed_requirements_is_ignored() {
    let mut bench = bench().await;
    reconcile(&mut bench).await;
    for pod in ["p-t001-1", "p-t002-1", "p-t003-1"] {
        done(&mut bench, pod).await;
    }
    bench.api.writes();
    amend(&mut bench, &SPEC.replace("Specification: Keys", "Specification: All Keys")).await;
    let plans = bench.api.writes().into_iter().filter(|w| w.contains("plans/")).collect::<Vec<_>>();
    assert_eq!((plans, reason(&bench).as_str()), (vec![], "Succeeded"));
}

#[tokio::test]
async fn an_uncovered_requirement_is_shown_and_holds_nothing() {
    let mut bench = bench().await;
    reconcile(&mut bench).await;
    amend(&mut bench, &format!("{SPEC}- **FR-003**: Locks MUST log each failed opening.\n")).await;
    let shown = status(&bench);
    assert_eq!((&shown["stale"]["uncovered"], &shown["stale"]["tasks"]), (&json!(["FR-003"]), &json!(0)));
    assert_eq!(reason(&bench), "Running");
}

#[tokio::test]
async fn ignores_choices_for_other_revisions() {
    let mut bench = bench().await;
    reconcile(&mut bench).await;
    let newer = amend(&mut bench, &SPEC.replace("every key", "every key and its door")).await;
    done(&mut bench, "p-t001-1").await;
    done(&mut bench, "p-t002-1").await;
    let held = status(&bench);
    let both = json!({"enact.dev/redo": newer, "enact.dev/keep": newer});
    for annotations in [
        json!({"enact.dev/redo": "sha256:0"}),
        json!({"enact.dev/keep": ""}),
        json!({"enact.dev/keep": "x".repeat(9999)}),
        both,
    ] {
        bench.api.change("plans/p", &json!({"metadata": {"annotations": annotations}}));
        reconcile(&mut bench).await;
        assert_eq!(reason(&bench), "SpecificationChanged", "{annotations}");
        assert_eq!(status(&bench)["stale"], held["stale"], "{annotations}");
        assert!(
            !bench.api.has("pods/p-t003-1") && !bench.api.has("pods/p-t001-2"),
            "{annotations}: {}",
            phases(&bench)
        );
    }
    decide(&mut bench, "enact.dev/redo", "").await;
    assert!(bench.api.has("pods/p-t003-1"), "one of them alone is a choice: {}", phases(&bench));
}
