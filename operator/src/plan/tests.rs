//! Reconciles of plans against an API server in memory: what they write, and in which order.

use std::sync::atomic::Ordering;
use std::time::Duration;

use enact_domain::assignment::{Assignment, Reason, Report};
use enact_domain::digest::Digest;
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use crate::testing::Bench;
use crate::testing::plans::script_task;

/// Returns a bench with a plan of two tasks, and a third that depends on both.
async fn bench() -> Bench {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    let tasks = [script_task("T001", &[]), script_task("T002", &[]), script_task("T003", &["T001", "T002"])];
    bench.put_plan("p", &json!({"agentRef": {"name": "scripts"}, "tasks": tasks}));
    bench
}

fn reason(bench: &Bench) -> (String, String) {
    let status = &bench.api.get("plans/p")["status"];
    let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    (word(&status["phase"]), word(&status["conditions"][0]["reason"]))
}

fn sorted(mut writes: Vec<String>) -> Vec<String> {
    writes.sort();
    writes
}

/// Returns the bench with the first two pods running.
async fn started() -> Bench {
    let mut bench = bench().await;
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    bench.api.writes();
    bench
}

#[tokio::test]
async fn a_task_costs_three_writes() {
    let mut bench = bench().await;
    bench.plan("p").await.unwrap();
    let created =
        ["PATCH plans/p/status Running Running", "POST tasks/p-t001", "POST tasks/p-t002", "POST tasks/p-t003"];
    assert_eq!(sorted(bench.api.writes()), created);

    bench.plan("p").await.unwrap();
    assert_eq!(
        sorted(bench.api.writes()),
        ["POST pods/p-t001-1", "POST pods/p-t002-1"],
        "the counts wait for a second"
    );

    bench.succeed("p-t001-1").await;
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.writes(), ["PATCH tasks/p-t001/status Succeeded Succeeded"]);
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.writes(), [""; 0], "no change, no write");
    bench.pass(3);
    bench.plan("p").await.unwrap();
    let shown = ["PATCH tasks/p-t002/status Running Running", "PATCH plans/p/status Running"];
    assert_eq!(bench.api.writes(), shown, "a longer attempt is shown, and so are the counts");

    bench.succeed("p-t002-1").await;
    bench.plan("p").await.unwrap();
    let next = ["PATCH tasks/p-t002/status Succeeded Succeeded", "POST pods/p-t003-1"];
    assert_eq!(sorted(bench.api.writes()), next, "the dependent starts in the same reconcile");

    bench.succeed("p-t003-1").await;
    bench.plan("p").await.unwrap();
    let last = ["PATCH tasks/p-t003/status Succeeded Succeeded", "PATCH plans/p/status Succeeded Succeeded"];
    assert_eq!(bench.api.writes(), last);
    assert_eq!(bench.contexts.plans.limiter.running("default"), 0);
    insta::assert_snapshot!(bench.record_store.summaries().join("\n"));

    // A finished plan does not need its agent.
    bench.no_agent("scripts");
    bench.plan("p").await.unwrap();
    assert_eq!((bench.api.writes(), reason(&bench).1.as_str()), (vec![], "Succeeded"));
}

#[tokio::test]
async fn makes_no_decision_while_the_record_is_down() {
    let mut bench = started().await;
    bench.record_store.down.store(true, Ordering::Relaxed);
    bench.succeed("p-t001-1").await;
    bench.plan("p").await.unwrap_err();
    assert_eq!(bench.api.writes(), ["PATCH plans/p/status RecordUnavailable"]);
    bench.plan("p").await.unwrap_err();
    assert_eq!(bench.api.writes(), [""; 0], "it is reported once");
    assert_eq!(reason(&bench).0, "Running", "the phase stays");

    bench.record_store.down.store(false, Ordering::Relaxed);
    bench.plan("p").await.unwrap();
    let back = ["PATCH plans/p/status Running", "PATCH tasks/p-t001/status Succeeded Succeeded"];
    assert_eq!(sorted(bench.api.writes()), back);
}

#[tokio::test]
async fn releases_slots_when_the_record_fails() {
    let mut bench = bench().await;
    bench.plan("p").await.unwrap();
    bench.record_store.down.store(true, Ordering::Relaxed);
    bench.plan("p").await.unwrap_err();
    assert_eq!(bench.contexts.plans.limiter.running("default"), 0);
    assert!(!bench.api.has("pods/p-t001-1"));
}

#[tokio::test]
async fn reports_a_full_quota_and_retries() {
    let mut bench = bench().await;
    bench.plan("p").await.unwrap();
    bench.api.writes();
    bench.api.refuse("POST pods/", 403, "pods is forbidden: exceeded quota: enact-tenant, limited: pods=0");
    bench.plan("p").await.unwrap_err();
    let requests = ["PATCH plans/p/status QuotaExceeded", "POST pods/p-t001-1", "POST pods/p-t002-1"];
    assert_eq!(sorted(bench.api.writes()), requests);
    assert_eq!(bench.contexts.plans.limiter.running("default"), 0);
    bench.plan("p").await.unwrap_err();
    assert_eq!(sorted(bench.api.writes()), requests[1..], "it is reported once");

    bench.api.relent();
    bench.plan("p").await.unwrap();
    assert_eq!(reason(&bench).1, "Running");
    let starts = bench.record_store.summaries().iter().filter(|t| t.ends_with("start 1")).count();
    assert_eq!(starts, 2, "the same attempts");
}

#[tokio::test]
async fn does_not_repeat_an_attempt_with_a_recorded_end() {
    let mut bench = bench().await;
    bench.plan("p").await.unwrap();
    bench.api.writes();
    let uid = bench.api.get("tasks/p-t001")["metadata"]["uid"].as_str().unwrap().to_owned();
    // The operator stopped after the record step and before the status, and the pod is gone.
    bench.record_store.attempts.lock().unwrap().push(enact_domain::record::RecordedAttempt {
        subject_uid: uid,
        number: 1,
        agent: Some("scripts".into()),
        finished: Some(Some("Task".into())),
        report: Some(Report::new(Reason::Evicted, "the node was drained")),
        ..Default::default()
    });
    bench.contexts.plans.runtimes.forget("uid-1");
    bench.plan("p").await.unwrap();
    let writes = bench.api.writes();
    assert!(!writes.contains(&"POST pods/p-t001-1".to_owned()), "{writes:?}");
    let reason = bench.api.get("tasks/p-t001")["status"]["conditions"][0]["reason"].clone();
    assert_eq!(reason, "Evicted", "it ended as the record has it");
}

#[tokio::test]
async fn a_started_plan_keeps_its_content_after_a_restart() {
    let mut bench = bench().await;
    let document = |task: &str| {
        json!({"metadata": {"name": "docs", "namespace": "ns"},
            "data": {"tasks.md": format!("# Tasks: A\n\n## Phase 1: A\n\n- [ ] T001 {task}\n- [ ] T002 Two\n")}})
    };
    bench.api.put("configmaps/docs", document("One"));
    let source = json!({"configMapKeyRef": {"name": "docs", "key": "tasks.md"}});
    bench.agent_with("scripts", json!({"adapter": "Command", "script": "true"}));
    bench.api.change("plans/p", &json!({"spec": {"tasks": null, "source": source}}));
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    assert!(bench.api.has("pods/p-t001-1"), "{:?}", reason(&bench));
    bench.api.put("configmaps/docs", document("Something else"));
    bench.succeed("p-t001-1").await;
    bench.contexts.plans.runtimes.forget("uid-1");
    bench.record_store.down.store(true, Ordering::Relaxed);
    bench.plan("p").await.unwrap_err();
    assert_eq!(reason(&bench), ("Running".into(), "RecordUnavailable".into()));
    bench.record_store.down.store(false, Ordering::Relaxed);
    bench.plan("p").await.unwrap();
    assert_eq!(reason(&bench), ("Running".into(), "Running".into()));
    assert!(bench.api.has("pods/p-t002-1"));
}

#[tokio::test]
async fn a_plan_from_git_polls_only_before_its_start() {
    let mut bench = bench().await;
    bench.agent_with("scripts", json!({"adapter": "Command", "script": "true"}));
    let source = json!({"git": {"url": "https://git.example.org/shop.git", "path": "specs/001/tasks.md"}});
    bench.api.change("plans/p", &json!({"spec": {"tasks": null, "source": source}}));
    bench.plan("p").await.unwrap();
    assert_eq!(reason(&bench).1, "FetchingSource");
    let name = |bench: &Bench| bench.api.all("pods")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let fetch = name(&bench);
    let ended = |code: i32, report: &Value| {
        let ended = json!({"terminated": {"exitCode": code, "reason": "Ended", "message": report.to_string()}});
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        json!({"phase": phase, "containerStatuses": [{"name": "fetch", "state": ended}]})
    };
    let denied = json!({"reason": "RepositoryDenied", "message": "https://git.example.org refused the credential"});
    let status = ended(78, &denied);
    bench.set_job_status(&fetch, status).await;
    bench.plan("p").await.unwrap();
    assert_eq!(reason(&bench).1, "SourceMissing");
    let problem = bench.api.get("plans/p")["status"]["source"]["problem"].as_str().unwrap().to_owned();
    assert!(problem.starts_with("RepositoryDenied: "), "{problem}");
    let pod = bench.api.get(&format!("pods/{fetch}"));
    bench.plan("p").await.unwrap();
    bench.delete_job(pod).await;

    bench.pass(34);
    bench.plan("p").await.unwrap();
    let text = b"# Tasks: A\n\n## Phase 1: A\n\n- [ ] T001 One\n";
    bench.record_store.documents.lock().unwrap().push(text.to_vec());
    let report = json!({"reason": "Succeeded", "commit": "1".repeat(40), "document": Digest::of_bytes(text).as_str()});
    let (again, status) = (name(&bench), ended(0, &report));
    bench.set_job_status(&again, status).await;
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    assert!(bench.api.has("pods/p-t001-1"), "{:?}", reason(&bench));
    assert!(!bench.api.has(&format!("pods/{again}")), "a started plan is pinned to its content");
    let status = bench.api.get("plans/p")["status"].clone();
    assert_eq!(
        (status["source"]["commit"].as_str(), status["source"].get("problem")),
        (Some("1".repeat(40).as_str()), None)
    );
    bench.pass(1000);
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.all("pods").len(), 1);
}

#[tokio::test]
async fn a_plan_changed_past_the_webhook_can_be_cancelled() {
    let mut bench = started().await;
    let other = json!([{"id": "T009", "title": "other", "script": "true"}]);
    bench.api.change("plans/p", &json!({"metadata": {"generation": 2}, "spec": {"tasks": other}}));
    bench.plan("p").await.unwrap();
    assert_eq!(reason(&bench), ("Running".into(), "ContentChanged".into()));
    bench.api.writes();
    bench.api.change("plans/p", &json!({"metadata": {"generation": 3}, "spec": {"cancel": true}}));
    bench.plan("p").await.unwrap();
    let stopped = [
        "DELETE pods/p-t001-1",
        "DELETE pods/p-t002-1",
        "PATCH plans/p/status Cancelled Cancelled",
        "PATCH tasks/p-t001/status Cancelled Cancelled",
        "PATCH tasks/p-t002/status Cancelled Cancelled",
        "PATCH tasks/p-t003/status Cancelled Cancelled",
    ];
    assert_eq!(sorted(bench.api.writes()), stopped);
}

#[tokio::test]
async fn a_started_plan_without_its_agent_starts_nothing() {
    let mut bench = started().await;
    bench.no_agent("scripts");
    bench.succeed("p-t001-1").await;
    bench.succeed("p-t002-1").await;
    bench.plan("p").await.unwrap();
    let ended = [
        "PATCH plans/p/status AgentNotFound",
        "PATCH tasks/p-t001/status Succeeded Succeeded",
        "PATCH tasks/p-t002/status Succeeded Succeeded",
    ];
    assert_eq!(sorted(bench.api.writes()), ended);
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.writes(), [""; 0], "it is reported once");
    bench.agent("scripts");
    bench.plan("p").await.unwrap();
    assert!(bench.api.has("pods/p-t003-1"));
    assert_eq!(reason(&bench), ("Running".into(), "Running".into()));
}

#[tokio::test]
async fn a_failed_plan_reports_its_first_failure() {
    let mut bench = started().await;
    bench.fail("p-t001-1", "no such file").await;
    bench.plan("p").await.unwrap();
    assert_eq!(reason(&bench).0, "Running", "the other one is still running");
    bench.succeed("p-t002-1").await;
    bench.plan("p").await.unwrap();
    let ready = bench.api.get("plans/p")["status"]["conditions"][0].clone();
    let message = "task T001 failed: AgentFailed: attempt 1 failed, and no further attempt follows: no such file; fix it, then run `kubectl enact retry p/T001`";
    assert_eq!((ready["reason"].as_str(), ready["message"].as_str()), (Some("TaskFailed"), Some(message)));
}

/// Returns the phase and conditions of a plan with this change, after its first reconcile, or the second if it was started.
async fn shown(change: Value) -> String {
    let mut bench = bench().await;
    let key = json!({"name": "integrator", "key": "password"});
    bench.agent_with("thief", json!({"adapter": "Command", "env": [{"name": "KEY", "secretKeyRef": key}]}));
    bench.api.put("configmaps/there", json!({"metadata": {"name": "there", "namespace": "ns"}, "data": {"a": "b"}}));
    bench.api.change("plans/p", &change);
    for _ in 0..2 {
        // A refusal by the API server is returned as an error, and reported in the status as well.
        let _ = bench.plan("p").await;
    }
    let status = bench.api.get("plans/p")["status"].clone();
    let conditions: Vec<String> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            format!(
                "{}={} {}",
                c["type"].as_str().unwrap(),
                c["status"].as_str().unwrap(),
                c["reason"].as_str().unwrap()
            )
        })
        .collect();
    let phase = status["phase"].as_str().unwrap_or("-");
    format!("{phase}: {}: {}", conditions.join(", "), status["conditions"][0]["message"].as_str().unwrap())
}

#[tokio::test]
async fn every_state_has_a_remedy() {
    let task = |needs: &str| json!([{"id": "T001", "title": "t", "script": "true", "dependsOn": [needs]}]);
    let source = json!({"configMapKeyRef": {"name": "docs", "key": "tasks.md"}});
    let other_key = json!({"configMapKeyRef": {"name": "there", "key": "tasks.md"}});
    let workspace = |agents: Value, integration: Value| json!({"spec": {"workspace": {"url": "https://git/x", "credentialsSecretRef": agents, "integration": integration}}});
    let integrator = json!({"credentialsSecretRef": {"name": "integrator"}});
    let mut stolen = workspace(json!({"name": "agent"}), integrator.clone());
    stolen["spec"]["agentRef"] = json!({"name": "thief"});
    let cases = [
        ("running", json!({})),
        ("outside of every tenant", json!({"metadata": {"namespace": "elsewhere"}})),
        ("no agent", json!({"spec": {"agentRef": {"name": "nobody"}}})),
        ("no specification", json!({"spec": {"specificationRef": {"name": "shop"}}})),
        ("no document", json!({"spec": {"tasks": null, "source": source}})),
        ("a document without tasks", json!({"spec": {"tasks": null, "source": {"inline": "# Nothing"}}})),
        ("an unknown dependency", json!({"spec": {"tasks": task("T009")}})),
        ("an invalid workspace", json!({"spec": {"workspace": {"url": "https://ann:pw@git/x"}}})),
        ("one credential only", workspace(json!({"name": "agent"}), json!({}))),
        ("one credential for both", workspace(json!({"name": "integrator"}), integrator.clone())),
        ("the integration's credential in an Agent", stolen),
        ("a target below enact/", workspace(Value::Null, json!({"branch": "enact/p/t001-1"}))),
        ("separate credentials", workspace(json!({"name": "agent"}), integrator)),
        ("not approved", json!({"spec": {"approval": {"required": 2}}})),
        ("a document without its key", json!({"spec": {"tasks": null, "source": other_key}})),
        ("suspended", json!({"spec": {"suspend": true}})),
        ("cancelled before its start", json!({"spec": {"cancel": true}})),
    ];
    let mut all = Vec::new();
    for (name, change) in cases {
        all.push(format!("{name} -> {}", shown(change).await));
    }
    insta::assert_snapshot!(all.join("\n"));
}

#[tokio::test]
async fn a_plan_cancelled_before_its_start_creates_nothing() {
    let mut bench = bench().await;
    bench.api.change("plans/p", &json!({"spec": {"cancel": true}}));
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.writes(), ["PATCH plans/p/status Cancelled Cancelled"]);
    let status = &bench.api.get("plans/p")["status"];
    assert!(status.get("startedAt").is_none() && status.get("approvedDigest").is_none(), "{status}");
}

#[tokio::test]
async fn a_plan_finishes_after_its_last_task() {
    let mut bench = started().await;
    bench.succeed("p-t001-1").await;
    bench.succeed("p-t002-1").await;
    bench.plan("p").await.unwrap();
    bench.succeed("p-t003-1").await;
    bench.api.refuse("PATCH tasks/p-t003/status", 500, "etcd is slow");
    bench.plan("p").await.unwrap_err();
    assert_eq!(reason(&bench).0, "Running");
    bench.api.relent();
    bench.plan("p").await.unwrap();
    assert_eq!(reason(&bench).0, "Succeeded");
}

#[tokio::test]
async fn many_starts_cause_no_busy_loop() {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    let tasks: Vec<Value> = (0..300).map(|i| script_task(&format!("T{i:03}"), &[])).collect();
    let spec = json!({"agentRef": {"name": "scripts"}, "execution": {"parallelism": 300}, "tasks": tasks});
    bench.put_plan("p", &spec);
    let mut action = bench.plan("p").await.unwrap();
    for _ in 0..5 {
        action = bench.plan("p").await.unwrap();
    }
    assert_ne!(action, Action::requeue(Duration::ZERO), "only attempts are left that are shown later");
}

#[tokio::test]
async fn reports_an_unschedulable_task_once() {
    let mut bench = started().await;
    let unschedulable = |why: &str| {
        json!({"phase": "Pending", "conditions":
            [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}]})
    };
    let reported = ["PATCH plans/p/status Unschedulable", "PATCH tasks/p-t001/status Running Unschedulable"];
    bench.pod("p-t001-1", unschedulable("0/1 nodes are available: 1 Insufficient memory.")).await;
    bench.succeed("p-t002-1").await;
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.writes(), ["PATCH tasks/p-t002/status Succeeded Succeeded"], "not at once");
    bench.pass(3);
    bench.plan("p").await.unwrap();
    assert_eq!(sorted(bench.api.writes()), reported);
    let ready = bench.api.get("tasks/p-t001")["status"]["conditions"][0].clone();
    assert_eq!(ready["message"], "attempt 1 waits for a node: 0/1 nodes are available: 1 Insufficient memory.");

    for why in ["0/1 nodes are available: 1 Insufficient memory.", "0/2 nodes are available: 2 Insufficient memory."] {
        bench.pass(60);
        bench.pod("p-t001-1", unschedulable(why)).await;
        bench.plan("p").await.unwrap();
        assert_eq!(bench.api.writes(), [""; 0], "{why}");
    }
    let taken = json!([{"type": "PodScheduled", "status": "True"}]);
    bench.pod("p-t001-1", json!({"phase": "Pending", "conditions": taken})).await;
    for expected in [vec!["PATCH tasks/p-t001/status Running Running", "PATCH plans/p/status Running"], vec![]] {
        bench.plan("p").await.unwrap();
        assert_eq!(bench.api.writes(), expected);
    }
}

#[tokio::test]
async fn a_free_slot_wakes_the_next_plan() {
    let mut bench = bench().await;
    let mut other = bench.api.get("plans/p");
    other["metadata"] = json!({"name": "q", "namespace": "ns", "generation": 1});
    bench.api.put("plans/q", other);
    bench.tenant_of_ns(2);
    for name in ["p", "q"] {
        bench.plan(name).await.unwrap();
    }
    bench.plan("p").await.unwrap();
    bench.api.writes();
    bench.plan("q").await.unwrap();
    assert_eq!(bench.api.writes(), [""; 0], "p has both slots");
    assert_eq!(bench.contexts.plans.limiter.totals(), (2, 1));
    bench.succeed("p-t001-1").await;
    bench.requeued_plans();
    bench.plan("p").await.unwrap();
    assert!(bench.requeued_plans().contains(&"q".to_owned()), "p has nothing to start, so q is requeued");
    bench.plan("q").await.unwrap();
    assert!(bench.api.has("pods/q-t001-1") && !bench.api.has("pods/q-t002-1"));
}

/// Returns the bench with three plans of a tenant with two slots. Plan p has both; q and r wait for one in this order.
async fn waiting_plans() -> Bench {
    let mut bench = bench().await;
    for name in ["q", "r"] {
        let mut other = bench.api.get("plans/p");
        other["metadata"] = json!({"name": name, "namespace": "ns", "generation": 1});
        bench.api.put(&format!("plans/{name}"), other);
    }
    bench.tenant_of_ns(2);
    for name in ["p", "q", "r", "p", "q", "r"] {
        bench.plan(name).await.unwrap();
    }
    assert_eq!(bench.contexts.plans.limiter.totals(), (2, 2));
    bench
}

#[tokio::test]
async fn a_held_plan_passes_its_slot_on() {
    let mut bench = waiting_plans().await;
    let other = json!([{"id": "T009", "title": "other", "script": "true"}]);
    bench.api.change("plans/q", &json!({"metadata": {"generation": 2}, "spec": {"tasks": other}}));
    bench.succeed("p-t001-1").await;
    bench.requeued_plans();
    bench.plan("p").await.unwrap();
    assert!(bench.requeued_plans().contains(&"q".to_owned()), "q has waited longest");
    bench.plan("q").await.unwrap();
    assert_eq!(bench.api.get("plans/q")["status"]["conditions"][0]["reason"], "ContentChanged");
    assert!(bench.requeued_plans().contains(&"r".to_owned()), "q cannot use the slot, so r is requeued");
}

#[tokio::test]
async fn a_plan_in_deletion_is_not_woken_for_a_slot() {
    let mut bench = waiting_plans().await;
    bench.api.change("plans/q", &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    bench.plan("q").await.unwrap();
    bench.succeed("p-t001-1").await;
    bench.requeued_plans();
    bench.plan("p").await.unwrap();
    assert!(bench.requeued_plans().contains(&"r".to_owned()), "q does not use the slot and would not pass it on");
}

/// Returns the Git part of a pod's assignment: the branches and commits to merge, and its own branch.
fn git_of(bench: &Bench, pod: &str) -> (Vec<(String, String)>, String) {
    let spec = bench.api.get(&format!("pods/{pod}"))["spec"].clone();
    let text = spec["containers"][0]["env"][0]["value"].as_str().unwrap().replace("$$", "$");
    let git = serde_json::from_str::<Assignment>(&text).unwrap().git.unwrap();
    (git.merge.into_iter().map(|verified| (verified.branch, verified.commit)).collect(), git.branch)
}

/// Ends a pod successfully with a commit, and returns the commit.
async fn with_commit(bench: &Bench, pod: &str) -> String {
    let commit = Digest::of_bytes(pod.as_bytes()).as_str().trim_start_matches("sha256:").to_owned();
    bench.succeed_with(pod, &json!({"reason": "Succeeded", "commit": commit})).await;
    commit
}

/// Returns the bench with a workspace, and the branches and commits of its first two tasks, which have succeeded. The third is running.
async fn in_git() -> (Bench, [(String, String); 2]) {
    let mut bench = bench().await;
    let mut plan = bench.api.get("plans/p");
    plan["metadata"]["uid"] = "5f0c1a2b-7d3e-4b8a-9c6d-0e1f2a3b4c5d".into();
    plan["spec"]["workspace"] = json!({"url": "https://git/shop"});
    bench.api.remove("plans/p");
    bench.api.put("plans/p", plan);
    for _ in 0..2 {
        bench.plan("p").await.unwrap();
    }
    let one = (of_plan("t001-1"), with_commit(&bench, "p-t001-1").await);
    bench.plan("p").await.unwrap();
    let two = (of_plan("t002-1"), with_commit(&bench, "p-t002-1").await);
    bench.plan("p").await.unwrap();
    (bench, [one, two])
}

fn of_plan(branch: &str) -> String {
    format!("enact/p-5f0c1a2b/{branch}")
}

#[tokio::test]
async fn merges_what_was_verified() {
    let (mut bench, [one, two]) = in_git().await;
    assert_eq!(git_of(&bench, "p-t001-1"), (vec![], of_plan("t001-1")));
    let status = bench.api.get("tasks/p-t001")["status"].clone();
    assert_eq!((status["branch"].as_str(), status["commit"].as_str()), (Some(one.0.as_str()), Some(one.1.as_str())));
    // The first is known from its status, the second from the reconcile that started the third.
    assert_eq!(git_of(&bench, "p-t003-1"), (vec![one, two], of_plan("t003-1")));

    let three = (of_plan("t003-1"), with_commit(&bench, "p-t003-1").await);
    bench.plan("p").await.unwrap();
    assert_eq!(git_of(&bench, "p-integration-1"), (vec![three], of_plan("candidate/1")), "it contains the others");
}

#[tokio::test]
async fn merges_the_dependencies_of_a_task_without_commit() {
    let (mut bench, [one, two]) = in_git().await;
    bench.succeed("p-t003-1").await;
    bench.plan("p").await.unwrap();
    assert_eq!(git_of(&bench, "p-integration-1").0, [one, two]);
}

#[tokio::test]
async fn a_lost_attempt_releases_its_slot() {
    let mut bench = bench().await;
    bench.tenant_of_ns(2);
    for _ in 0..2 {
        bench.plan("p").await.unwrap();
    }
    let running = |bench: &Bench| bench.contexts.plans.limiter.running("acme");
    bench.api.change("pods/p-t001-1", &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:30Z"}}));
    bench.pod("p-t001-1", json!({"phase": "Running"})).await;
    let dead = bench.api.get("pods/p-t001-1");
    bench.pass(149);
    bench.plan("p").await.unwrap();
    assert_eq!(running(&bench), 2, "the node may still respond");

    bench.pass(2);
    bench.plan("p").await.unwrap();
    assert!(
        bench.record_store.summaries().contains(&"p-t001: end 1 Lost".to_owned()),
        "{:?}",
        bench.record_store.summaries()
    );
    assert_eq!(running(&bench), 1);
    bench.pass(6);
    bench.plan("p").await.unwrap();
    assert!(bench.api.has("pods/p-t001-2"), "its next attempt has the slot");

    // Nothing removes the dead pod, and a new leader finds it in its first list.
    bench.api.put("pods/p-t001-1", dead);
    bench.pod("p-t001-1", json!({"phase": "Running"})).await;
    bench.plan("p").await.unwrap();
    assert_eq!(running(&bench), 2);
}
