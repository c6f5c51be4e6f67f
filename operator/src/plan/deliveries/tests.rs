use enact_domain::assignment::{Reason, Report};
use enact_domain::record::RecordedAttempt;
use enact_store::RecordedDelivery;
use serde_json::{Value, json};

use crate::testing::Bench;

/// Returns a bench with a plan of these tasks, whose first attempt runs.
async fn started(tasks: Value) -> Bench {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    bench.put_plan("p", &json!({"agentRef": {"name": "scripts"}, "tasks": tasks}));
    for _ in 0..2 {
        bench.plan("p").await.unwrap();
    }
    bench.pod("p-t001-1", json!({"phase": "Running"})).await;
    bench.plan("p").await.unwrap();
    bench.api.writes();
    bench
}

fn one() -> Value {
    json!([{"id": "T001", "title": "a", "script": "true"}])
}

fn chain() -> Value {
    json!([{"id": "T001", "title": "a", "script": "true"},
        {"id": "T002", "title": "b", "script": "true", "dependsOn": ["T001"]}])
}

fn uid(bench: &Bench, key: &str) -> String {
    bench.api.get(key)["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// Adds to the record what the first attempt delivered, and notifies the operator.
fn deliver(bench: &Bench, report: Option<Report>, contradiction: Option<&str>) {
    let subject_uid = uid(bench, "tasks/p-t001");
    bench.record_store.deliveries.lock().unwrap().push(RecordedDelivery {
        subject_uid: subject_uid.clone(),
        number: 1,
        report,
        contradiction: contradiction.map(str::to_owned),
    });
    bench.contexts.plans.index.note_delivery(&uid(bench, "plans/p"), &subject_uid, 1);
}

fn done() -> Report {
    Report::new(Reason::Succeeded, "")
}

/// Ends the pod of the first attempt without a report of its runner.
async fn kill(bench: &Bench) {
    let ended = json!({"terminated": {"exitCode": 137, "reason": "Error"}});
    bench.pod("p-t001-1", json!({"phase": "Failed", "containerStatuses": [{"name": "agent", "state": ended}]})).await;
}

/// Returns the writes of tasks and pods since the last call, sorted.
fn writes(bench: &Bench) -> Vec<String> {
    let mut writes = bench.api.writes();
    writes.retain(|write| write.contains("tasks/") || write.contains("pods/"));
    writes.sort();
    writes
}

#[tokio::test]
async fn a_verified_result_starts_the_dependents_while_the_pod_runs() {
    let mut bench = started(chain()).await;
    deliver(&bench, Some(done()), None);
    bench.plan("p").await.unwrap();
    assert_eq!(writes(&bench), ["PATCH tasks/p-t001/status Succeeded Succeeded", "POST pods/p-t002-1"]);
    let limiter = &bench.contexts.plans.limiter;
    assert_eq!(limiter.running("default"), 1, "the first pod has given its slot back");
    bench.pod("p-t001-1", json!({"phase": "Running", "startTime": "2026-01-01T00:00:01Z"})).await;
    assert_eq!(limiter.running("default"), 1, "and does not get it again");

    bench.succeed("p-t001-1").await;
    bench.plan("p").await.unwrap();
    assert_eq!(writes(&bench), [""; 0], "its end was expected");
    assert!(!bench.api.events().contains(&"ResultContradicted".to_owned()));
}

#[tokio::test]
async fn a_result_that_anyone_can_have_sent_ends_nothing() {
    let mut bench = started(chain()).await;
    deliver(&bench, None, None);
    bench.plan("p").await.unwrap();
    assert_eq!(writes(&bench), [""; 0]);
    bench.succeed("p-t001-1").await;
    bench.plan("p").await.unwrap();
    assert_eq!(writes(&bench), ["PATCH tasks/p-t001/status Succeeded Succeeded", "POST pods/p-t002-1"]);
}

/// The operator was down when the result was delivered.
#[tokio::test]
async fn a_restarted_operator_reads_the_results_of_open_attempts() {
    let mut bench = started(chain()).await;
    bench.record_store.attempts.lock().unwrap().push(RecordedAttempt {
        subject_uid: uid(&bench, "tasks/p-t001"),
        number: 1,
        agent: Some("scripts".into()),
        report: Some(done()),
        verified: true,
        ..RecordedAttempt::default()
    });
    bench.contexts.plans.runtimes.forget(&uid(&bench, "plans/p"));
    bench.plan("p").await.unwrap();
    assert_eq!(writes(&bench), ["PATCH tasks/p-t001/status Succeeded Succeeded", "POST pods/p-t002-1"]);
}

#[tokio::test]
async fn a_pod_that_contradicts_its_result_is_recorded_and_shown() {
    // With one task, the plan has finished when its pod ends.
    for tasks in [chain(), one()] {
        let mut bench = started(tasks).await;
        deliver(&bench, Some(done()), None);
        bench.plan("p").await.unwrap();
        kill(&bench).await;
        for _ in 0..2 {
            bench.plan("p").await.unwrap();
        }
        let recorded = bench.record_store.summaries();
        assert_eq!(recorded.iter().filter(|summary| *summary == "p-t001: contradiction 1").count(), 1, "{recorded:?}");
        assert_eq!(bench.api.events().iter().filter(|event| *event == "ResultContradicted").count(), 1);
        let status = bench.api.get("tasks/p-t001")["status"].clone();
        assert_eq!(status["phase"], "Succeeded", "the result stays");
        let text = status["contradiction"].as_str().unwrap();
        assert!(
            text.starts_with("attempt 1: the runner delivered Succeeded, then the pod ended with Killed"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn another_delivery_is_shown() {
    let mut bench = started(one()).await;
    bench.succeed("p-t001-1").await;
    bench.plan("p").await.unwrap();
    // The second notice is about something else.
    for _ in 0..2 {
        deliver(&bench, None, Some("another result (GateFailed) was delivered later"));
        bench.plan("p").await.unwrap();
    }
    assert_eq!(bench.api.events().iter().filter(|event| *event == "ResultContradicted").count(), 1);
    let shown = bench.api.get("tasks/p-t001")["status"]["contradiction"].clone();
    assert_eq!(shown, "attempt 1: another result (GateFailed) was delivered later");
}

#[tokio::test]
async fn a_quota_that_counts_the_leaving_pod_is_waited_for() {
    let mut bench = started(chain()).await;
    bench.api.refuse("POST pods/", 403, "pods is forbidden: exceeded quota: enact-tenant, limited: pods=1");
    deliver(&bench, Some(done()), None);
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.get("plans/p")["status"]["conditions"][0]["reason"], "Running", "nothing is wrong");
    bench.succeed("p-t001-1").await;
    bench.api.relent();
    bench.api.writes();
    bench.plan("p").await.unwrap();
    assert_eq!(writes(&bench), ["POST pods/p-t002-1"]);
}
