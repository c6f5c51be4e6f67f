//! Reconciles of a plan whose pods do not start: what it reports, when, and at which cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use enact_crds::Plan;
use serde_json::{Value, json};

use crate::testing::Bench;
use crate::testing::plans::script_task;

/// Returns a bench with a plan of two independent tasks, whose pods exist.
async fn started() -> Bench {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    let tasks = [script_task("T001", &[]), script_task("T002", &[])];
    let execution = json!({"retry": {"infrastructureLimit": 0}});
    bench.put_plan("p", &json!({"agentRef": {"name": "scripts"}, "tasks": tasks, "execution": execution}));
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    bench.api.writes();
    bench
}

fn status(bench: &Bench) -> Value {
    bench.api.get("plans/p")["status"].clone()
}

fn event(pod: &Value, reason: &str, message: &str) -> Value {
    json!({"metadata": {"name": format!("{reason}.1"), "namespace": "ns"}, "type": "Warning", "reason": reason,
        "message": message, "lastTimestamp": "2026-01-01T00:00:01Z",
        "involvedObject": {"kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}})
}

/// Returns the number of times that Events were read.
fn reads_of_events(bench: &Bench) -> usize {
    bench.api.requests().iter().filter(|request| request.starts_with("GET") && request.ends_with("/events")).count()
}

fn accepted(set_up: bool) -> Value {
    let set_up = if set_up { "True" } else { "False" };
    json!({"phase": "Pending", "startTime": "2026-01-01T00:00:00Z",
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "PodReadyToStartContainers", "status": set_up}],
        "containerStatuses": [{"name": "agent", "state": {"waiting": {"reason": "ContainerCreating"}}}]})
}

#[tokio::test]
async fn a_sandbox_that_fails_is_shown_and_ends_the_attempt() {
    let mut bench = started().await;
    let pod = bench.api.get("pods/p-t001-1");
    let why = "rpc error: failed to get sandbox runtime: no runtime for \"gvisor\" is configured";
    bench.api.put("events/sandbox", event(&pod, "FailedCreatePodSandBox", why));
    bench.pod("p-t001-1", accepted(false)).await;
    bench.pod("p-t002-1", accepted(true)).await;
    bench.pass(4);
    bench.plan("p").await.unwrap();
    let ready = bench.api.get("tasks/p-t001")["status"]["conditions"][0].clone();
    assert_eq!(ready["reason"], "SandboxFailed", "{ready}");
    assert_eq!(ready["lastTransitionTime"], "2026-01-01T00:00:00Z", "the time since when it waits");
    let message = ready["message"].as_str().unwrap();
    assert!(message.contains("attempt 1 cannot start") && message.contains("no runtime for \"gvisor\""), "{message}");
    let plan = status(&bench);
    assert_eq!(plan["conditions"][0]["reason"], "Running", "the other attempt is under way");
    assert_eq!((&plan["waiting"]["reason"], &plan["waiting"]["task"]), (&json!("SandboxFailed"), &json!("T001")));
    let message = plan["conditions"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("0 of 2 tasks done, 1 running, 1 waiting; task T001 cannot start:"), "{message}");

    bench.plan("p").await.unwrap();
    assert_eq!(reads_of_events(&bench), 1, "they are not read again at once");
    bench.succeed("p-t002-1").await;
    bench.pass(10);
    bench.plan("p").await.unwrap();
    assert_eq!(status(&bench)["conditions"][0]["reason"], "SandboxFailed", "no attempt runs");

    bench.pass(120);
    bench.plan("p").await.unwrap();
    let task = bench.api.get("tasks/p-t001")["status"].clone();
    assert_eq!((&task["phase"], &task["conditions"][0]["reason"]), (&json!("Failed"), &json!("SandboxFailed")));
    let plan = status(&bench);
    assert_eq!((&plan["phase"], plan.get("waiting")), (&json!("Failed"), None), "{plan}");
}

#[tokio::test]
async fn a_pod_that_is_set_up_costs_no_read_of_events() {
    let mut bench = started().await;
    for pod in ["p-t001-1", "p-t002-1"] {
        bench.pod(pod, accepted(true)).await;
    }
    bench.pass(60);
    bench.plan("p").await.unwrap();
    assert_eq!(reads_of_events(&bench), 0);
    assert!(status(&bench).get("waiting").is_none(), "{}", status(&bench));
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_shown_before_the_attempt_ends() {
    let mut bench = started().await;
    let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "not found\r\n"}});
    for pod in ["p-t001-1", "p-t002-1"] {
        let status = json!({"phase": "Pending", "startTime": "2026-01-01T00:00:00Z",
            "containerStatuses": [{"name": "agent", "state": waiting}]});
        bench.pod(pod, status).await;
    }
    bench.pass(3);
    bench.plan("p").await.unwrap();
    let plan = status(&bench);
    assert_eq!((&plan["phase"], &plan["conditions"][0]["reason"]), (&json!("Running"), &json!("ImagePullFailed")));
    let message = plan["conditions"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("(and 1 more)") && message.ends_with("0 of 2 tasks done, 0 running, 2 waiting"),
        "{message}"
    );
    assert_eq!(plan["waiting"]["since"], "2026-01-01T00:00:00Z");
    let plan: Plan = serde_json::from_value(bench.api.get("plans/p")).unwrap();
    assert_eq!(super::by_reason(&[Arc::new(plan)]), BTreeMap::from([("ImagePullFailed".to_owned(), 1)]));
}

#[tokio::test]
async fn a_quota_that_can_never_suffice_stalls_the_plan() {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    bench.put_plan("p", &json!({"agentRef": {"name": "scripts"}, "tasks": [script_task("T001", &[])]}));
    bench.plan("p").await.unwrap();
    let message = "pods \"p-t001-1\" is forbidden: exceeded quota: enact-tenant, requested: limits.memory=2Gi, \
                   used: limits.memory=0, limited: limits.memory=512Mi";
    bench.api.refuse("POST pods/", 403, message);
    bench.plan("p").await.unwrap_err();
    let stalled = status(&bench)["conditions"][1].clone();
    assert_eq!((&stalled["type"], &stalled["reason"]), (&json!("Stalled"), &json!("QuotaTooSmall")));
    assert_eq!(status(&bench)["waiting"]["reason"], "QuotaTooSmall");

    bench.api.relent();
    bench.api.refuse("POST pods/", 403, "pods \"p-t001-1\" is forbidden: violates PodSecurity \"restricted\"");
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    let ready = bench.api.get("tasks/p-t001")["status"]["conditions"][0].clone();
    assert_eq!(ready["reason"], "NotAdmitted", "{ready}");
}

#[tokio::test]
async fn a_plan_without_a_slot_says_so_without_a_write_of_its_own() {
    let mut bench = started().await;
    let mut other = bench.api.get("plans/p");
    other["metadata"] = json!({"name": "q", "namespace": "ns", "generation": 1});
    other.as_object_mut().unwrap().remove("status");
    bench.api.put("plans/q", other);
    bench.tenant_of_ns(2);
    // Of the pods that exist, the limiter of this tenant learns by their watch.
    for pod in ["p-t001-1", "p-t002-1"] {
        bench.api.change(&format!("pods/{pod}"), &json!({"metadata": {"labels": {"enact.dev/tenant": "acme"}}}));
        bench.pod(pod, json!({"phase": "Running"})).await;
    }
    bench.plan("q").await.unwrap();
    bench.api.writes();
    bench.plan("q").await.unwrap();
    assert_eq!(bench.api.writes(), [""; 0], "the counts and the message wait for a second");
    bench.pass(2);
    bench.plan("q").await.unwrap();
    let status = bench.api.get("plans/q")["status"].clone();
    assert_eq!(status["conditions"][0]["reason"], "Running");
    let message = status["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("2 tasks wait for a slot: other plans use all 2 slots of Tenant acme"), "{message}");
    assert_eq!(status["waiting"]["reason"], "WaitingForSlot");
}
