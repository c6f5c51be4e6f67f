use enact_domain::assignment::Assignment;
use enact_domain::digest::Digest;
use enact_domain::record::{Event as Happened, Kind, Record, RecordedAttempt, Subject};
use futures::stream;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use crate::config::Config;
use crate::pods::AttemptPod;
use crate::testing::{Bench, config};

/// Returns a bench with a plan of one task, whose agent has a warm pool of this size. The Task exists, and the pool's pods wait.
async fn bench(size: u32, task: &Value) -> Bench {
    let mut t001 = json!({"id": "T001", "title": "One", "script": "echo $HOME"});
    t001.as_object_mut().unwrap().extend(task.as_object().unwrap().clone());
    let agent = json!({"adapter": "Command", "warmPool": {"size": size}});
    begin(Bench::new().await, &agent, &json!({"agentRef": {"name": "scripts"}, "tasks": [t001]})).await
}

/// Does the same with these specs.
async fn begin(mut bench: Bench, agent: &Value, plan: &Value) -> Bench {
    let object = |kind: &str, name: &str, spec: &Value| {
        json!({"apiVersion": "enact.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": "ns", "generation": 1, "uid": format!("uid-of-{name}")}, "spec": spec})
    };
    bench.api.put("agents/scripts", object("Agent", "scripts", agent));
    bench.api.put("plans/p", object("Plan", "p", plan));
    bench.reconcile_agent("scripts").await.unwrap();
    wait(&bench).await;
    bench.plan("p").await.unwrap();
    bench.api.writes();
    bench
}

/// Returns the names of the pods with this role.
fn pods(bench: &Bench, role: &str) -> Vec<String> {
    let has_role = |pod: &Value| pod["metadata"]["labels"]["enact.dev/role"] == role;
    let all = bench.api.all("pods").into_iter().filter(has_role);
    all.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Lets all waiting pods be ready, and delivers them by their watch.
async fn wait(bench: &Bench) {
    for name in pods(bench, "waiting") {
        let ready = json!({"phase": "Running", "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Ready", "status": "True"}]});
        bench.api.change(&format!("pods/{name}"), &json!({ "status": ready }));
        let pod: AttemptPod = serde_json::from_value(bench.api.get(&format!("pods/{name}"))).unwrap();
        bench.contexts.agents.warm_pods.follow(stream::iter([Event::Apply(pod)]), |_| {}).await;
    }
}

/// Returns the writes of pods since the last call.
fn writes(bench: &Bench) -> Vec<String> {
    bench.api.writes().into_iter().filter(|write| write.contains("pods/")).collect()
}

/// Returns the pods that the recorded starts name.
fn recorded(bench: &Bench) -> Vec<String> {
    let records = bench.record_store.records.lock().unwrap();
    let pod = |event: &Happened| match event {
        Happened::AttemptStarted { pod, .. } => Some(pod.clone()),
        _ => None,
    };
    records.iter().filter_map(|record| pod(&record.event)).collect()
}

fn attempts(bench: &Bench, outcome: &str) -> u64 {
    bench.contexts.common.metrics.warm_pool_attempts.with_label_values(&[outcome]).get()
}

#[tokio::test]
async fn an_attempt_gets_a_waiting_pod() {
    let mut bench = bench(1, &json!({"timeoutSeconds": 120})).await;
    let warm = pods(&bench, "waiting").pop().unwrap();
    assert!(bench.api.get(&format!("pods/{warm}"))["spec"]["activeDeadlineSeconds"].is_null());
    bench.pass(5);
    bench.plan("p").await.unwrap();
    assert_eq!(writes(&bench), [format!("PATCH pods/{warm}")]);
    assert_eq!((recorded(&bench), attempts(&bench, "assigned")), (vec![warm.clone()], 1));

    let pod = bench.api.get(&format!("pods/{warm}"));
    let task = bench.api.get("tasks/p-t001")["metadata"]["uid"].clone();
    let owners = pod["metadata"]["ownerReferences"].as_array().unwrap();
    assert_eq!((owners.len(), &owners[0]["kind"], &owners[0]["uid"]), (1, &json!("Task"), &task));
    let labels = &pod["metadata"]["labels"];
    assert_eq!(
        (&labels["enact.dev/task"], &labels["enact.dev/attempt"], &labels["enact.dev/role"]),
        (&json!("p-t001"), &json!("1"), &json!("task"))
    );
    assert_eq!(pod["spec"]["activeDeadlineSeconds"], 125, "it has waited for five seconds");
    let assignment = pod["metadata"]["annotations"]["enact.dev/assignment"].as_str().unwrap();
    let assignment: Assignment = serde_json::from_str(assignment).unwrap();
    assert_eq!((json!(assignment.subject_uid), assignment.attempt), (task, 1));
    assert!(format!("{:?}", assignment.work).contains("echo $HOME"), "nothing is escaped: {assignment:?}");

    // It is a pod of the plan from now on, and the pool gets another.
    assert_eq!(bench.contexts.plans.limiter.running("default"), 1);
    assert!(bench.requeued_agents().contains(&"scripts".to_owned()));
    bench.reconcile_agent("scripts").await.unwrap();
    assert_eq!(pods(&bench, "waiting").len(), 1);
    assert_eq!(bench.api.get("agents/scripts")["status"]["warmPool"], json!({"ready": 0, "starting": 1, "used": 1}));
    bench.api.writes();
    bench.plan("p").await.unwrap();
    assert_eq!(writes(&bench), [""; 0]);
    bench.succeed(&warm).await;
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.get("plans/p")["status"]["phase"], "Succeeded");
    assert_eq!(bench.contexts.plans.limiter.running("default"), 0);
}

/// With everything that only some pods have: tokens for gateway and cache, and the credential of a repository.
#[tokio::test]
async fn a_pool_with_a_repository_serves_the_plans_with_it() {
    let url = "https://git.example.org/shop.git";
    let git = |name: &str| json!({ "name": name });
    let agent = json!({"adapter": "Command", "models": [{"provider": "claude", "model": "claude-5"}],
        "warmPool": {"size": 1, "repository": {"url": url, "credentialsSecretRef": git("git")}}});
    for (secret, expected) in [("git", "assigned"), ("another", "none")] {
        let (gateway_url, cache_url) = (Some("http://gateway:8090".to_owned()), Some("http://cache:8080".to_owned()));
        let mut bench = Bench::with_config(Config { gateway_url, cache_url, ..config() }).await;
        bench.add_provider(&json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "ModelProvider", "metadata": {"name": "claude", "namespace": "ns"},
            "spec": {"api": "Anthropic", "baseUrl": "https://api.example.org"},
        }));
        let workspace = json!({"url": url, "credentialsSecretRef": git(secret),
            "integration": {"credentialsSecretRef": git("git-integrator")}});
        let task = json!({"id": "T001", "title": "One", "script": "true"});
        let plan = json!({"agentRef": {"name": "scripts"}, "workspace": workspace, "tasks": [task]});
        let mut bench = begin(bench, &agent, &plan).await;
        assert_eq!(pods(&bench, "waiting").len(), 1);
        bench.plan("p").await.unwrap();
        assert_eq!(attempts(&bench, expected), 1, "{secret}: {:?}", bench.api.get("plans/p")["status"]);
    }
}

#[tokio::test]
async fn an_attempt_that_needs_another_pod_gets_its_own() {
    for different in [json!({"resources": {"memory": "1Gi"}}), json!({"timeoutSeconds": 86_400})] {
        let mut bench = bench(1, &different).await;
        bench.plan("p").await.unwrap();
        assert_eq!(writes(&bench), ["POST pods/p-t001-1"]);
        assert_eq!((recorded(&bench), attempts(&bench, "none")), (vec!["p-t001-1".to_owned()], 1));
    }
}

/// The volume of a waiting pod can have a content that the ConfigMap had before the approved one was restored.
#[tokio::test]
async fn a_plan_with_approvals_gets_no_waiting_pod_with_config_maps() {
    for (required, expected) in [(0, 1), (1, 0)] {
        let bench = Bench::new().await;
        let work = json!({"metadata": {"name": "work", "namespace": "ns"}, "data": {"T001.patch": "one"}});
        bench.api.put("configmaps/work", work);
        let replay = json!({"configMapRef": {"name": "work"}});
        let agent = json!({"adapter": "Replay", "replay": replay, "warmPool": {"size": 1}});
        let tasks = json!([{"id": "T001", "title": "One"}]);
        let plan = json!({"agentRef": {"name": "scripts"}, "tasks": tasks, "approval": {"required": required}});
        let mut bench = begin(bench, &agent, &plan).await;
        assert_eq!(pods(&bench, "waiting").len(), 1);
        bench.agent_is("scripts");
        bench.plan("p").await.unwrap();
        bench.decide_on_plan("kim", "Approve", &json!({}));
        for _ in 0..3 {
            bench.plan("p").await.unwrap();
        }
        let status = bench.api.get("plans/p")["status"].clone();
        assert_eq!(attempts(&bench, "assigned"), expected, "{required}: {status}");
        assert_eq!(bench.api.has("pods/p-t001-1"), expected == 0, "{required}: {status}");
    }
}

#[tokio::test]
async fn an_attempt_whose_waiting_pod_is_gone_gets_its_own() {
    let mut bench = bench(1, &json!({})).await;
    let warm = pods(&bench, "waiting").pop().unwrap();
    bench.api.remove(&format!("pods/{warm}"));
    bench.plan("p").await.unwrap();
    assert_eq!(writes(&bench), ["POST pods/p-t001-1"]);
    assert_eq!((recorded(&bench), attempts(&bench, "lost")), (vec![warm], 1));
    assert_eq!(bench.contexts.plans.limiter.running("default"), 1);
    bench.succeed("p-t001-1").await;
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.get("plans/p")["status"]["phase"], "Succeeded");
}

#[tokio::test]
async fn a_waiting_pod_that_cannot_be_assigned_is_deleted_before_another_is_created() {
    let mut bench = bench(1, &json!({})).await;
    let warm = pods(&bench, "waiting").pop().unwrap();
    bench.api.refuse("PATCH pods/", 403, "a policy allows no change of pods");
    bench.plan("p").await.unwrap();
    let expected = [format!("PATCH pods/{warm}"), format!("DELETE pods/{warm}"), "POST pods/p-t001-1".to_owned()];
    assert_eq!(writes(&bench), expected);
}

/// The operator stops between the record of a start and the assignment, and the next process knows only what the record says.
#[tokio::test]
async fn a_restarted_operator_assigns_the_recorded_pod() {
    let mut bench = bench(3, &json!({})).await;
    bench.api.refuse("PATCH pods/", 500, "the API server is restarted");
    bench.plan("p").await.unwrap_err();
    let [first] = <[String; 1]>::try_from(recorded(&bench)).unwrap();
    assert!(first.starts_with("scripts-w"), "{first}");
    assert_eq!((pods(&bench, "task").len(), bench.contexts.plans.limiter.running("default")), (0, 0));

    bench.api.relent();
    bench.api.writes();
    let uid = bench.api.get("plans/p")["metadata"]["uid"].as_str().unwrap().to_owned();
    bench.contexts.plans.runtimes.forget(&uid);
    bench.record_store.attempts.lock().unwrap().push(RecordedAttempt {
        subject_uid: bench.api.get("tasks/p-t001")["metadata"]["uid"].as_str().unwrap().to_owned(),
        number: 1,
        agent: Some("scripts".into()),
        ..RecordedAttempt::default()
    });
    // The pool is not the agent's any more: the recorded pod counts all the same.
    bench.api.change("agents/scripts", &json!({"spec": {"warmPool": null}}));
    bench.agent_with("scripts", json!({"adapter": "Command"}));
    bench.plan("p").await.unwrap();
    assert!(bench.api.writes().contains(&format!("PATCH pods/{first}")));
    assert_eq!(pods(&bench, "task"), [first]);
}

/// Another process that still believed that it led has recorded the start with a pod of its own choice.
#[tokio::test]
async fn the_first_record_of_a_start_decides_about_its_pod() {
    let mut bench = bench(2, &json!({})).await;
    let [one, two] = <[String; 2]>::try_from(pods(&bench, "waiting")).unwrap();
    let uid = |key: &str| bench.api.get(key)["metadata"]["uid"].as_str().unwrap().to_owned();
    let (kind, namespace, name) = (Kind::Task, "ns".to_owned(), "p-t001".to_owned());
    let start = Record {
        tenant: "default".into(),
        subject: Subject { kind, namespace, name, uid: uid("tasks/p-t001") },
        at: bench.contexts.common.now(),
        actor: "system:enact".into(),
        event: Happened::AttemptStarted {
            plan_uid: uid("plans/p"),
            number: 1,
            pod: two.clone(),
            pod_uid: Some(uid(&format!("pods/{two}"))),
            start_key: Digest::of_bytes(b"another process"),
            agent: "scripts".into(),
            contestants: 1,
            capabilities: None,
            selection: None,
        },
    };
    bench.record_store.records.lock().unwrap().push(start);
    // This process would choose the first one.
    bench.plan("p").await.unwrap();
    assert_eq!((pods(&bench, "task"), pods(&bench, "waiting")), (vec![two], vec![one]));
}

#[tokio::test]
async fn a_pool_follows_its_agent() {
    let mut bench = bench(2, &json!({})).await;
    let old = pods(&bench, "waiting");
    bench.api.change("agents/scripts", &json!({"spec": {"env": [{"name": "MODE", "value": "fast"}]}}));
    bench.reconcile_agent("scripts").await.unwrap();
    let new = pods(&bench, "waiting");
    assert!(new.len() == 2 && new.iter().all(|name| !old.contains(name)), "{old:?} {new:?}");
    // A quota is full: it is reported once, and tried again later.
    bench.api.refuse("POST pods/", 403, "exceeded quota: enact-tenant");
    bench.api.change("agents/scripts", &json!({"spec": {"warmPool": {"size": 3}}}));
    bench.reconcile_agent("scripts").await.unwrap();
    bench.reconcile_agent("scripts").await.unwrap();
    let problem = bench.api.get("agents/scripts")["status"]["warmPool"]["problem"].as_str().unwrap().to_owned();
    assert!(problem.contains("exceeded quota"), "{problem}");
    assert_eq!(bench.api.events().iter().filter(|reason| *reason == "WarmPoolFailed").count(), 1);
    // Without a pool, no pod stays.
    bench.api.relent();
    bench.api.change("agents/scripts", &json!({"spec": {"warmPool": null}}));
    bench.reconcile_agent("scripts").await.unwrap();
    assert_eq!(pods(&bench, "waiting"), [""; 0]);
    assert!(bench.api.get("agents/scripts")["status"]["warmPool"].is_null());
}

/// The API server fails when the pod is assigned.
#[tokio::test]
async fn an_attempt_whose_pod_was_not_assigned_stays_open() {
    for cancel in [false, true] {
        let mut bench = bench(1, &json!({})).await;
        bench.api.refuse("PATCH pods/", 500, "the API server is restarted");
        bench.plan("p").await.unwrap_err();
        let recorded_pods = recorded(&bench);
        bench.api.relent();
        bench.api.writes();
        // The pool is not the agent's any more.
        bench.api.change("agents/scripts", &json!({"spec": {"warmPool": null}}));
        bench.agent_with("scripts", json!({"adapter": "Command"}));
        bench.api.change("plans/p", &json!({"spec": {"cancel": cancel}}));
        bench.plan("p").await.unwrap();
        let ended = bench.record_store.summaries().contains(&"p-t001: end 1 Cancelled".to_owned());
        assert_eq!(ended, cancel, "the record has no end of an attempt that a person stops");
        let expected = if cancel { vec![] } else { recorded_pods };
        assert_eq!(pods(&bench, "task"), expected, "an attempt has one pod");
    }
}
