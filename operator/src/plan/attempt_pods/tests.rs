use std::sync::Arc;

use enact_crds::Plan;
use enact_domain::record::Event;
use futures::stream;
use kube::runtime::watcher;
use serde_json::{Value, json};

use crate::pods::AttemptPod;
use crate::record_store::RecordStore as _;
use crate::testing::Bench;
use crate::testing::plans::script_task;

/// Returns a bench with a plan of two tasks, which exist.
async fn bench() -> Bench {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    let task = |id: &str| json!({"id": id, "title": id, "script": "true"});
    bench.api.put(
        "plans/p",
        json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Plan",
            "metadata": {"name": "p", "namespace": "ns", "generation": 1},
            "spec": {"agentRef": {"name": "scripts"}, "tasks": [task("T001"), task("T002")]}
        }),
    );
    bench.plan("p").await.unwrap();
    bench
}

/// Returns the bench with a running pod for each task.
async fn started() -> Bench {
    let mut bench = bench().await;
    bench.plan("p").await.unwrap();
    bench.api.writes();
    bench
}

/// Lets another process lead, which knows what cluster and record have.
fn restart(bench: &Bench) {
    let uid = bench.api.get("plans/p")["metadata"]["uid"].as_str().unwrap().to_owned();
    bench.contexts.plans.runtimes.forget(&uid);
}

/// Returns the writes of tasks and pods since the last call.
fn writes(bench: &Bench) -> Vec<String> {
    let mut writes = bench.api.writes();
    writes.retain(|write| write.contains("tasks/") || write.contains("pods/"));
    writes
}

fn reason(bench: &Bench) -> Value {
    bench.api.get("plans/p")["status"]["conditions"][0]["reason"].clone()
}

#[tokio::test]
async fn adopts_an_existing_pod_only_with_the_key_of_its_attempt() {
    let mut bench = bench().await;
    let task = bench.api.get("tasks/p-t001")["metadata"]["uid"].as_str().unwrap().to_owned();
    let pod = |owner: &str, key: &str| {
        json!({"metadata": {"name": "p-t001-1", "namespace": "ns", "annotations": {"enact.dev/start-key": key},
            "ownerReferences": [{"apiVersion": "enact.dev/v1alpha1", "kind": "Task", "name": "p-t001", "uid": owner,
                "controller": true}]}, "spec": {"containers": []}})
    };
    // Whoever may create pods here can copy the owner. They cannot know the key of an attempt that has no pod yet.
    for owner in ["somebody", &task] {
        bench.api.put("pods/p-t001-1", pod(owner, "guessed"));
        bench.plan("p").await.unwrap_err();
        assert_eq!(reason(&bench), "NameTaken");
        assert_eq!(bench.contexts.plans.limiter.running("default"), 1, "only the other task's pod");
        bench.api.remove("pods/p-t001-1");
    }
    let starts = bench.record_store.started_pods("default", std::slice::from_ref(&task)).await.unwrap();
    bench.api.put("pods/p-t001-1", pod(&task, starts[0].start_key.as_ref().unwrap().as_str()));
    bench.plan("p").await.unwrap();
    assert_eq!(reason(&bench), "Running");
    assert_eq!(bench.contexts.plans.limiter.running("default"), 2);
}

/// The pods have owner and labels, one even the name, of the next attempt, and report success.
#[tokio::test]
async fn a_pod_that_the_operator_did_not_create_is_no_attempt() {
    let mut bench = started().await;
    let mut forged = bench.api.get("pods/p-t001-1");
    forged["metadata"]["labels"]["enact.dev/attempt"] = "2".into();
    for name in ["p-t001-2", "forged"] {
        forged["metadata"]["name"] = name.into();
        forged["metadata"]["uid"] = format!("uid-of-{name}").into();
        bench.api.put(&format!("pods/{name}"), forged.clone());
        bench.succeed(name).await;
    }
    bench.plan("p").await.unwrap();
    assert_eq!(writes(&bench), [""; 0], "the first attempt still runs");
    restart(&bench);
    bench.plan("p").await.unwrap();
    assert_eq!(writes(&bench), [""; 0], "for another process too");

    bench.succeed("p-t001-1").await;
    bench.plan("p").await.unwrap();
    assert_eq!(writes(&bench), ["PATCH tasks/p-t001/status Succeeded Succeeded"]);
    assert!(bench.record_store.summaries().contains(&"p-t001: end 1 Succeeded".to_owned()));
}

/// The pod has name, owner and labels of an attempt's, and a newer version, but is in a namespace of somebody else.
#[tokio::test]
async fn a_pod_in_another_namespace_is_no_attempt() {
    let mut bench = started().await;
    let mut forged = bench.api.get("pods/p-t001-1");
    let changes = [("namespace", "elsewhere"), ("uid", "forged"), ("resourceVersion", "1000000")];
    for (field, value) in changes {
        forged["metadata"][field] = value.into();
    }
    let forged: AttemptPod = serde_json::from_value(forged).unwrap();
    for event in [watcher::Event::Apply(forged.clone()), watcher::Event::Delete(forged)] {
        bench.contexts.plans.index.follow_pods(stream::iter([event]), |_| {}).await;
        bench.plan("p").await.unwrap();
        assert_eq!(writes(&bench), [""; 0], "the attempt still runs");
    }
    bench.succeed("p-t001-1").await;
    bench.plan("p").await.unwrap();
    assert_eq!(writes(&bench), ["PATCH tasks/p-t001/status Succeeded Succeeded"]);
}

/// The pod of an attempt is deleted, and somebody creates another one in its name that reports success.
#[tokio::test]
async fn a_recreated_pod_is_not_that_of_the_attempt() {
    let mut bench = started().await;
    let mut another = bench.api.get("pods/p-t001-1");
    another["metadata"]["uid"] = "another".into();
    bench.api.remove("pods/p-t001-1");
    bench.api.put("pods/p-t001-1", another);
    bench.succeed("p-t001-1").await;
    bench.plan("p").await.unwrap();
    assert!(bench.record_store.summaries().contains(&"p-t001: end 1 Lost".to_owned()));
}

/// The operator stops after the API server created the pods, before their UIDs are recorded.
#[tokio::test]
async fn a_restarted_operator_recognises_the_pods_that_it_created() {
    let mut bench = started().await;
    bench.record_store.records.lock().unwrap().retain(|record| !matches!(record.event, Event::AttemptPod { .. }));
    restart(&bench);
    bench.plan("p").await.unwrap();
    assert_eq!(writes(&bench), [""; 0], "nothing starts again");
    let recorded = bench.record_store.summaries().iter().filter(|summary| summary.ends_with("pod 1")).count();
    assert_eq!(recorded, 2, "their UIDs are recorded now");
    bench.succeed("p-t001-1").await;
    bench.plan("p").await.unwrap();
    assert_eq!(writes(&bench), ["PATCH tasks/p-t001/status Succeeded Succeeded"]);
}

/// The operator stops before the UID of a pod is recorded. Somebody copies the pod, with the key that everybody can read now.
#[tokio::test]
async fn a_copy_of_an_unrecorded_pod_is_no_attempt() {
    let mut bench = started().await;
    bench.record_store.records.lock().unwrap().retain(|record| !matches!(record.event, Event::AttemptPod { .. }));
    let mut copy = bench.api.get("pods/p-t001-1");
    (copy["metadata"]["name"], copy["metadata"]["uid"]) = ("copy".into(), "uid-of-copy".into());
    bench.api.put("pods/copy", copy);
    bench.succeed("copy").await;
    let own = bench.api.get("pods/p-t001-1");
    bench.contexts.plans.index.follow_pods(stream::iter([deleted(own)]), |_| {}).await;
    restart(&bench);
    // The pod is in the cluster, and the watch is late: only the copy is known.
    bench.plan("p").await.unwrap();
    let records = bench.record_store.records.lock().unwrap();
    let pods = records.iter().filter_map(|record| match &record.event {
        Event::AttemptPod { pod, .. } => Some(pod.as_str()),
        _ => None,
    });
    let mut pods: Vec<&str> = pods.collect();
    pods.sort_unstable();
    assert_eq!(pods, ["p-t001-1", "p-t002-1"]);
}

/// The next leader has ended the attempt. This process, which led before, does not know it yet.
#[tokio::test]
async fn a_former_leader_does_not_undo_an_end() {
    let mut bench = started().await;
    bench.pass(20);
    bench.api.change("tasks/p-t001", &json!({"status": {"phase": "Succeeded", "attempts": 1}}));
    bench.plan("p").await.unwrap_err();
    assert_eq!(bench.api.get("tasks/p-t001")["status"]["phase"], "Succeeded");
    assert_eq!(bench.api.get("tasks/p-t002")["status"]["phase"], "Running", "others are not affected");
    let known = serde_json::from_value(bench.api.get("tasks/p-t001")).unwrap();
    bench.contexts.plans.index.put_task(&known);
    bench.plan("p").await.unwrap();
}

/// The next leader has ended the integration. This process, which led before, has seen the plan before that.
#[tokio::test]
async fn a_former_leader_does_not_undo_the_end_of_an_integration() {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    let spec = json!({"agentRef": {"name": "scripts"}, "workspace": {"url": "https://git/shop"},
        "tasks": [script_task("T001", &[])]});
    bench.put_plan_with("p", &json!({"uid": "5f0c1a2b-7d3e-4b8a-9c6d-0e1f2a3b4c5d"}), &spec);
    for _ in 0..2 {
        bench.plan("p").await.unwrap();
    }
    let commit = "c0ffee01".repeat(5);
    bench.succeed_with("p-t001-1", &json!({"reason": "Succeeded", "commit": commit})).await;
    bench.plan("p").await.unwrap();
    assert!(bench.api.has("pods/p-integration-1"), "{}", bench.api.get("plans/p"));
    let seen: Plan = serde_json::from_value(bench.api.get("plans/p")).unwrap();
    let ended = json!({"phase": "Succeeded", "integration": {"phase": "Succeeded", "attempts": 1}});
    bench.api.change("plans/p", &json!({"status": ended}));
    bench.pass(20);
    crate::plan::reconcile(Arc::new(seen), bench.contexts.plans.clone()).await.unwrap_err();
    let status = bench.api.get("plans/p")["status"].clone();
    assert_eq!((&status["phase"], &status["integration"]["phase"]), (&json!("Succeeded"), &json!("Succeeded")));
    // The watch delivers it.
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.get("plans/p")["status"], status);
}

fn deleted(pod: Value) -> watcher::Event<AttemptPod> {
    watcher::Event::Delete(serde_json::from_value(pod).unwrap())
}
