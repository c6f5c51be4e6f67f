//! Plans with a pool of agents against an API server and a record store in memory.

use std::sync::atomic::Ordering;

use enact_domain::agents::selection::{History, Selection};
use enact_domain::assignment::{Assignment, Work};
use enact_domain::record::{Event, RecordedAttempt};
use enact_store::AgentHistory;
use serde_json::{Value, json};

use crate::testing::Bench;

fn agent(capabilities: &[(&str, u8)], concurrency: Option<u32>) -> Value {
    let capabilities: Vec<Value> =
        capabilities.iter().map(|(name, proficiency)| json!({"name": name, "proficiency": proficiency})).collect();
    json!({"adapter": "Command", "capabilities": capabilities, "concurrency": concurrency})
}

fn task(id: &str, requires: &[&str]) -> Value {
    json!({"id": id, "title": id, "script": "true", "requires": requires})
}

/// Returns a bench with the agents `backend` (rust, one attempt at a time) and `writer` (docs), and a plan `p` with both.
async fn bench(tasks: &[Value]) -> Bench {
    let mut bench = Bench::new().await;
    bench.agent_with("backend", agent(&[("rust", 80)], Some(1)));
    bench.agent_with("writer", agent(&[("docs", 80)], None));
    add_plan(&bench, "p", tasks);
    bench
}

fn add_plan(bench: &Bench, name: &str, tasks: &[Value]) {
    bench.put_plan(name, &json!({"agents": [{"name": "backend"}, {"name": "writer"}], "tasks": tasks}));
}

/// Creates the tasks, and starts the attempts.
async fn start(bench: &mut Bench, plan: &str) {
    bench.plan(plan).await.unwrap();
    bench.plan(plan).await.unwrap();
}

fn agent_of_pod(bench: &Bench, pod: &str) -> String {
    let pod = bench.api.get(&format!("pods/{pod}"));
    let named = pod["metadata"]["annotations"]["enact.dev/agent"].as_str().unwrap().to_owned();
    let assignment = pod["spec"]["containers"][0]["env"][0]["value"].as_str().unwrap().replace("$$", "$");
    let assignment: Assignment = serde_json::from_str(&assignment).unwrap();
    let Work::Task(work) = assignment.work else { panic!("{assignment:?}") };
    assert_eq!(work.agent, named);
    named
}

fn selection(bench: &Bench, task: &str) -> (String, Option<Vec<String>>, Selection) {
    let records = bench.record_store.records.lock().unwrap();
    let found =
        records.iter().rev().filter(|record| record.subject.name == task).find_map(|record| match &record.event {
            Event::AttemptStarted { agent, capabilities, selection, .. } => {
                Some((agent.clone(), capabilities.clone(), selection.clone()?))
            }
            _ => None,
        });
    found.expect("a selection")
}

fn ready(bench: &Bench, plan: &str) -> (String, String) {
    let condition = bench.api.get(&format!("plans/{plan}"))["status"]["conditions"][0].clone();
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

fn history(agent: &str, capability: &str, succeeded: u32) -> AgentHistory {
    let history = History { attempts: 10, succeeded, median_cost_micro_usd: None };
    AgentHistory { namespace: "ns".into(), agent: agent.into(), capability: capability.into(), history }
}

#[tokio::test]
async fn each_task_gets_an_agent_that_can_do_it() {
    let mut bench = bench(&[task("T001", &["docs"]), task("T002", &["rust"]), task("T003", &[])]).await;
    start(&mut bench, "p").await;
    assert_eq!(
        (agent_of_pod(&bench, "p-t001-1"), agent_of_pod(&bench, "p-t002-1")),
        ("writer".into(), "backend".into())
    );
    assert_eq!(agent_of_pod(&bench, "p-t003-1"), "writer", "it needs nothing, and backend is busy");
    let (agent, capabilities, selection) = selection(&bench, "p-t002");
    assert_eq!((agent.as_str(), capabilities), ("backend", Some(vec!["rust".to_owned()])));
    assert_eq!(selection.eligible().collect::<Vec<_>>(), ["backend"]);
    assert_eq!(selection.obstacles(), "writer lacks rust");
    assert_eq!(
        bench.record_store.history_reads.load(Ordering::Relaxed),
        1,
        "one query for all, and then again from memory"
    );

    bench.succeed("p-t002-1").await;
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.get("tasks/p-t002")["status"]["agent"], "backend");
}

#[tokio::test]
async fn waits_for_an_agent_that_is_busy() {
    let mut bench = bench(&[task("T001", &["rust"]), task("T002", &["rust"])]).await;
    start(&mut bench, "p").await;
    bench.pass(2);
    bench.plan("p").await.unwrap();
    assert!(bench.api.has("pods/p-t001-1") && !bench.api.has("pods/p-t002-1"));
    let (reason, message) = ready(&bench, "p");
    assert_eq!(reason, "WaitingForAgent");
    assert!(
        message
            .starts_with("1 task waits for an agent: task T002: backend is busy (1 of 1 attempts), writer lacks rust;")
    );
    // Another plan of the tenant cannot exceed the concurrency either.
    add_plan(&bench, "q", &[task("T001", &["rust"])]);
    start(&mut bench, "q").await;
    assert!(!bench.api.has("pods/q-t001-1"));
    assert_eq!(bench.contexts.plans.limiter.take_waiting_for_agents("default").len(), 2, "both are woken");

    bench.succeed("p-t001-1").await;
    bench.plan("p").await.unwrap();
    assert_eq!(agent_of_pod(&bench, "p-t002-1"), "backend");
}

#[tokio::test]
async fn a_named_agent_has_its_concurrency() {
    let mut bench = bench(&[task("T001", &[]), task("T002", &[])]).await;
    bench.api.change("plans/p", &json!({"spec": {"agents": null, "agentRef": {"name": "backend"}}}));
    start(&mut bench, "p").await;
    assert!(bench.api.has("pods/p-t001-1") && !bench.api.has("pods/p-t002-1"));
    assert_eq!(agent_of_pod(&bench, "p-t001-1"), "backend", "so that it is counted after a restart");
    bench.succeed("p-t001-1").await;
    bench.plan("p").await.unwrap();
    assert!(bench.api.has("pods/p-t002-1"));
    assert_eq!(bench.api.get("tasks/p-t001")["status"]["agent"], Value::Null, "it was not selected");
}

#[tokio::test]
async fn the_agent_with_the_lower_declared_cost_gets_the_task() {
    let mut bench = bench(&[task("T001", &["rust"])]).await;
    let capabilities = |usd: &str| json!([{"name": "rust", "proficiency": 80, "expectedUsd": usd}]);
    bench.agent_with("backend", json!({"adapter": "Command", "capabilities": capabilities("2.00")}));
    bench.agent_with("writer", json!({"adapter": "Command", "capabilities": capabilities("0.50")}));
    start(&mut bench, "p").await;
    assert_eq!(agent_of_pod(&bench, "p-t001-1"), "writer");
}

#[tokio::test]
async fn a_suspended_agent_starts_nothing_and_what_runs_continues() {
    let mut bench = bench(&[task("T001", &["rust"]), task("T002", &["rust"]), task("T003", &[])]).await;
    start(&mut bench, "p").await;
    assert_eq!(agent_of_pod(&bench, "p-t003-1"), "writer");
    let mut suspended = agent(&[("rust", 80)], Some(1));
    suspended["suspend"] = json!(true);
    bench.agent_with("backend", suspended);
    bench.succeed("p-t001-1").await;
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.get("tasks/p-t001")["status"]["phase"], "Succeeded", "what runs continues");
    assert!(!bench.api.has("pods/p-t002-1"));
    bench.pass(2);
    bench.plan("p").await.unwrap();
    let (reason, message) = ready(&bench, "p");
    assert_eq!(reason, "WaitingForAgent");
    assert!(
        message.contains("task T002: backend is suspended (spec.suspend of the Agent), writer lacks rust"),
        "{message}"
    );
    bench.agent_with("backend", agent(&[("rust", 80)], Some(1)));
    bench.plan("p").await.unwrap();
    assert!(bench.api.has("pods/p-t002-1"));
}

#[tokio::test]
async fn a_task_waits_for_its_named_agent_that_is_suspended() {
    let mut bench = bench(&[task("T001", &[])]).await;
    bench.agent_with("backend", json!({"adapter": "Command", "suspend": true}));
    bench.api.change("plans/p", &json!({"spec": {"agents": null, "agentRef": {"name": "backend"}}}));
    start(&mut bench, "p").await;
    assert!(!bench.api.has("pods/p-t001-1"));
    assert!(ready(&bench, "p").1.contains("backend is suspended"), "{:?}", ready(&bench, "p"));
    bench.agent_with("backend", json!({"adapter": "Command"}));
    bench.plan("p").await.unwrap();
    assert!(bench.api.has("pods/p-t001-1"));
}

#[tokio::test]
async fn a_recorded_start_keeps_its_agent_after_a_crash() {
    let mut bench = bench(&[task("T001", &[])]).await;
    bench.plan("p").await.unwrap();
    let uid = bench.api.get("tasks/p-t001")["metadata"]["uid"].as_str().unwrap().to_owned();
    // Without the record, backend would win by its name.
    bench.record_store.attempts.lock().unwrap().push(RecordedAttempt {
        subject_uid: uid,
        number: 1,
        agent: Some("writer".into()),
        ..RecordedAttempt::default()
    });
    bench.contexts.plans.runtimes.forget("uid-1");
    bench.plan("p").await.unwrap();
    assert_eq!(agent_of_pod(&bench, "p-t001-1"), "writer");
}

#[tokio::test]
async fn a_rerun_selects_again_by_the_record() {
    let mut bench = bench(&[task("T001", &[])]).await;
    bench.api.change("plans/p", &json!({"spec": {"execution": {"retry": {"limit": 0}}}}));
    start(&mut bench, "p").await;
    assert_eq!(agent_of_pod(&bench, "p-t001-1"), "backend");
    bench.fail("p-t001-1", "GateFailed").await;
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.get("tasks/p-t001")["status"]["phase"], "Failed");
    *bench.record_store.histories.lock().unwrap() = vec![history("backend", "", 1), history("writer", "", 9)];
    bench.pass(61);
    bench.api.change("tasks/p-t001", &json!({"metadata": {"annotations": {"enact.dev/rerun": "1"}}}));
    bench.contexts.plans.index.put_task(&serde_json::from_value(bench.api.get("tasks/p-t001")).unwrap());
    for _ in 0..3 {
        bench.plan("p").await.unwrap();
        bench.pass(1);
    }
    assert_eq!(agent_of_pod(&bench, "p-t001-2"), "writer");
}

#[tokio::test]
async fn a_capability_that_nobody_declares_is_reported_before_the_start() {
    let mut bench = bench(&[task("T001", &["rust"]), task("T002", &["cobol"])]).await;
    bench.plan("p").await.unwrap();
    let (reason, message) = ready(&bench, "p");
    assert_eq!(reason, "CapabilityMissing");
    assert!(message.contains("task T002 requires cobol") && message.contains("add it to an Agent"), "{message}");
    assert!(bench.api.all("tasks").is_empty());
    bench.agent_with("writer", agent(&[("cobol", 10)], None));
    start(&mut bench, "p").await;
    assert_eq!(agent_of_pod(&bench, "p-t002-1"), "writer");
}

#[tokio::test]
async fn an_agent_that_cannot_be_used_is_passed_over() {
    let mut bench = bench(&[task("T001", &[])]).await;
    bench.no_agent("backend");
    start(&mut bench, "p").await;
    assert_eq!(agent_of_pod(&bench, "p-t001-1"), "writer");
    let (_, _, selection) = selection(&bench, "p-t001");
    assert_eq!(selection.obstacles(), "backend cannot be used: there is no Agent backend in this namespace; create it");
}

#[tokio::test]
async fn an_unhealthy_agent_is_passed_over() {
    let mut bench = bench(&[task("T001", &["rust"]), task("T002", &["rust"]), task("T003", &["rust"])]).await;
    bench.agent_with("backend", agent(&[("rust", 80)], None));
    bench.api.change("plans/p", &json!({"spec": {"execution": {"onFailure": "Continue"}}}));
    start(&mut bench, "p").await;
    bench.requeued_agents();
    for pod in ["p-t001-1", "p-t002-1", "p-t003-1"] {
        assert_eq!(bench.requeued_agents(), [""; 0], "before {pod}");
        let message = json!({"reason": "CredentialRejected", "message": "HTTP 401"}).to_string();
        let ended = json!({"terminated": {"exitCode": 78, "reason": "Error", "message": message}});
        bench.pod(pod, json!({"phase": "Failed", "containerStatuses": [{"name": "agent", "state": ended}]})).await;
        bench.plan("p").await.unwrap();
    }
    assert_eq!(bench.requeued_agents(), ["backend"]);
    let object = json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "backend", "namespace": "ns"},
        "spec": agent(&[("rust", 80)], None)
    });
    bench.api.put("agents/backend", object);
    bench.reconcile_agent("backend").await.unwrap();
    let shown = bench.api.get("agents/backend")["status"]["conditions"][0].clone();
    assert_eq!((&shown["status"], &shown["reason"]), (&json!("False"), &json!("CredentialRejected")));
    assert!(
        shown["message"].as_str().unwrap().contains("its last 3 attempts failed with CredentialRejected: HTTP 401")
    );
    // The cache gets the status.
    bench.reconcile_agent("backend").await.unwrap();
    add_plan(&bench, "q", &[task("T001", &[])]);
    start(&mut bench, "q").await;
    assert_eq!(agent_of_pod(&bench, "q-t001-1"), "writer");

    bench.pass(600);
    bench.reconcile_agent("backend").await.unwrap();
    assert_eq!(bench.api.get("agents/backend")["status"]["conditions"][0]["reason"], "Valid", "it is tried again");
}

#[tokio::test]
async fn another_agent_continues_when_a_quota_is_used_up() {
    let mut bench = bench(&[task("T001", &[]), task("T002", &["rust"])]).await;
    bench.agent_with("backend", agent(&[("rust", 80)], None));
    start(&mut bench, "p").await;
    assert_eq!(agent_of_pod(&bench, "p-t001-1"), "backend");
    let message = json!({"reason": "ProviderQuota", "message": "the quota is used up"}).to_string();
    let ended = json!({"terminated": {"exitCode": 75, "reason": "Error", "message": message}});
    for pod in ["p-t001-1", "p-t002-1"] {
        let ended = json!([{"name": "agent", "state": ended}]);
        bench.pod(pod, json!({"phase": "Failed", "containerStatuses": ended})).await;
    }
    bench.plan("p").await.unwrap();
    let status = bench.api.get("tasks/p-t001")["status"].clone();
    assert_eq!((&status["phase"], &status["retryAt"]), (&json!("Pending"), &Value::Null));
    assert_eq!(status["infrastructureFailures"], Value::Null, "it counts as no failure");
    let message = status["conditions"][0]["message"].as_str().unwrap().to_owned();
    assert_eq!(
        message,
        "attempt 1 was stopped, and another agent of the pool continues its work: the quota is used up"
    );
    let status = bench.api.get("tasks/p-t002")["status"].clone();
    assert_eq!(status["retryAt"], "2026-01-01T00:15:00Z", "no other agent can do it");

    bench.pass(1);
    bench.plan("p").await.unwrap();
    assert_eq!(agent_of_pod(&bench, "p-t001-2"), "writer");
    let (_, _, selection) = selection(&bench, "p-t001");
    assert_eq!(selection.obstacles(), "backend has used up its quota, which is reset at 2026-01-01 00:15 UTC");

    // The record has it after a restart.
    let restarted = Bench::new().await;
    let records = bench.record_store.records.lock().unwrap().clone();
    restarted.record_store.records.lock().unwrap().extend(records);
    let mut bench = restarted;
    bench.agent_with("backend", agent(&[("rust", 80)], None));
    bench.agent_with("writer", agent(&[("docs", 80)], None));
    add_plan(&bench, "q", &[task("T001", &[])]);
    start(&mut bench, "q").await;
    assert_eq!(agent_of_pod(&bench, "q-t001-1"), "writer");
    assert_eq!(bench.record_store.end_reads.load(Ordering::Relaxed), 1, "one query for all, once");
    bench.pass(900);
    add_plan(&bench, "r", &[task("T001", &[])]);
    start(&mut bench, "r").await;
    assert_eq!(agent_of_pod(&bench, "r-t001-1"), "backend");
}

#[tokio::test]
async fn statistics_are_refreshed_once_in_a_resync() {
    let mut bench = Bench::new().await;
    let object = json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "backend", "namespace": "ns"},
        "spec": agent(&[("rust", 80)], Some(2))
    });
    bench.api.put("agents/backend", object);
    *bench.record_store.histories.lock().unwrap() = vec![history("backend", "", 9), history("backend", "rust", 9)];
    bench.reconcile_agent("backend").await.unwrap();
    let shown = bench.api.get("agents/backend")["status"]["capabilities"].clone();
    assert_eq!(shown, json!([{"name": "rust", "attempts": 10, "successPercent": 90}]));
    bench.record_store.histories.lock().unwrap()[1].history.succeeded = 2;
    bench.pass(70);
    bench.api.writes();
    bench.reconcile_agent("backend").await.unwrap();
    assert_eq!(bench.api.writes(), [""; 0], "not again before the next resync");
    bench.pass(600);
    bench.reconcile_agent("backend").await.unwrap();
    assert_eq!(bench.api.get("agents/backend")["status"]["capabilities"][0]["successPercent"], 20);
}

#[tokio::test]
async fn a_plan_uses_an_agent_that_the_installation_shares() {
    let mut bench = bench(&[task("T001", &[])]).await;
    bench.api.change("plans/p", &json!({"spec": {"agents": null, "agentRef": {"name": "platform"}}}));
    let shared = |tenant: &str| json!({"adapter": "Command", "shareWith": {"tenants": [tenant]}});
    bench.agent_in("enact-system", "platform", shared("other"));
    bench.plan("p").await.unwrap();
    assert_eq!(ready(&bench, "p").0, "AgentNotFound");
    bench.agent_in("enact-system", "platform", shared("default"));
    start(&mut bench, "p").await;
    assert!(bench.api.has("pods/p-t001-1"));
}
