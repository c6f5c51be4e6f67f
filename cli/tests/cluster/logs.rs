//! `logs`: from pods and from the record.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::fake::{Answer, Fake, Request};
use crate::objects::{PODS, list, plan, pod, task};

#[test]
fn logs_have_every_byte_of_every_container() {
    let api = Fake::start(|request| match request.path.as_str() {
        path if path.ends_with("/tasks") => list("Task", &[task("T003", "Failed", 2)]),
        path if path.ends_with("-2") => Answer::Ok(pod("shop-t003-2", "Failed")),
        path if path.ends_with("/log") && request.parameter("container") == "prepare" => Answer::Bytes(b"ready\n"),
        path if path.ends_with("/log") => Answer::Bytes(b"\x1b[1mbold\xff\r\n"),
        _ => Answer::Failure(404, "not found"),
    });
    let ran = api.enact(&["logs", "shop/T003"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.bytes, b"ready\n\x1b[1mbold\xff\r\n");
    assert_eq!(ran.stderr, "── prepare\n── agent\n");
    let logs: Vec<Request> = api.seen().into_iter().filter(|request| request.path.ends_with("/log")).collect();
    assert!(logs.iter().all(|request| request.line() == format!("GET {PODS}/shop-t003-2/log")), "{logs:?}");
}

#[test]
fn a_pod_of_a_warm_pool_is_found_by_its_labels() {
    let api = Fake::start(|request| match request.path.as_str() {
        path if path.ends_with("/tasks") => list("Task", &[task("T003", "Failed", 2)]),
        PODS if request.parameter("labelSelector") == "enact.dev/task=shop-t003,enact.dev/attempt=2" => {
            list("Pod", &[pod("coder-w0000000a", "Failed")])
        }
        path if path.ends_with("/log") => Answer::Bytes(b"worked\n"),
        path if path.ends_with("/coder-w0000000a") => Answer::Ok(pod("coder-w0000000a", "Failed")),
        _ => Answer::Failure(404, "not found"),
    });
    let ran = api.enact(&["logs", "shop/T003"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "worked\nworked\n"), "{}", ran.stderr);
}

#[test]
fn logs_of_a_deleted_pod_come_from_the_record() {
    let log = "/proxy/v1/namespaces/demo/plans/shop/tasks/shop-t003/attempts/2/log";
    let api = Fake::start(move |request| match request.path.as_str() {
        path if path.ends_with("/tasks") => list("Task", &[task("T003", "Failed", 2)]),
        path if path.ends_with("/enact-reader/token") => Answer::Ok(json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
            "spec": { "audiences": ["enact-server"], "expirationSeconds": 600 },
            "status": { "token": "the-token", "expirationTimestamp": "2026-01-01T00:10:00Z" },
        })),
        PODS => list("Pod", &[]),
        path if path.ends_with(log) => Answer::Ok(json!({
            "report": { "reason": "GateFailed", "message": "gate `sells`: exit code 1" },
            "transcript": "plain output\n{\"kind\":\"message\",\"text\":\"two\\nlines\"}\n",
            "gates": [{ "name": "sells", "exitCode": 1, "output": "0 sold\n" }], "durationMs": 5, "stale": false,
        })),
        path if path.contains("/proxy/") => Answer::Problem(404, "no result"),
        _ => Answer::Failure(404, "not found"),
    });
    let ran = api.enact(&["logs", "shop/T003"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout, "plain output\nmessage  two\n         lines\n0 sold\n");
    assert!(ran.stderr.contains("pod shop-t003-2 does not exist any more; this is its output from the record"));
    assert!(ran.stderr.contains("── gate sells: exit code 1\n"), "{}", ran.stderr);
    let raw = api.enact(&["logs", "shop/T003", "--raw"]);
    assert!(raw.stdout.contains("\n{\"kind\":\"message\""), "{}", raw.stdout);
    let none = api.enact(&["logs", "shop/T003", "--attempt", "1"]);
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("the record has no result of it"), "{}", none.stderr);
}

#[test]
fn deleted_pod_leads_to_the_record() {
    let api = Fake::start(|request| match request.path.as_str() {
        path if path.ends_with("/tasks") => list("Task", &[task("T003", "Failed", 2)]),
        path if path.ends_with("/plans/shop") => {
            let integration = json!({ "phase": "Failed", "attempts": 1, "reason": "Conflict", "message": "door.rs" });
            Answer::Ok(plan("Failed", json!({ "status": { "integration": integration } })))
        }
        PODS => list("Pod", &[]),
        _ => Answer::Failure(404, "not found"),
    });
    for (arguments, message) in [
        (
            vec!["logs", "shop/T003"],
            vec!["attempt 2 of T003 has ended (Failed, GateFailed: gate `sells`: exit code 1)", "enact-reader"],
        ),
        (
            vec!["logs", "shop/T003", "--attempt", "1", "-f"],
            vec![
                "attempt 1 of T003 has ended, and its pod shop-t003-1 does not exist any more",
                "the record cannot be read",
            ],
        ),
        (vec!["logs", "shop/T003", "--attempt", "3"], vec!["attempt 3 of T003 has not started"]),
        (
            vec!["logs", "shop/integration"],
            vec!["(Failed, Conflict: door.rs)", "pod shop-integration-1", "the record cannot be read"],
        ),
        (vec!["logs", "shop-t009"], vec!["there is no Task shop-t009"]),
    ] {
        let ran = api.enact(&arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{arguments:?}");
        for message in message {
            assert!(ran.stderr.contains(message), "{message:?} is not in: {}", ran.stderr);
        }
    }
}

#[test]
fn follow_waits_for_the_pod() {
    let there = AtomicUsize::new(0);
    let api = Fake::start(move |request| match request.path.as_str() {
        path if path.ends_with("/tasks") => list("Task", &[task("T003", "Pending", 0)]),
        PODS if request.is_watch() => {
            there.store(1, Ordering::SeqCst);
            Answer::Changes(vec![json!({ "type": "ADDED", "object": pod("shop-t003-1", "Succeeded") })])
        }
        PODS if there.load(Ordering::SeqCst) == 0 => list("Pod", &[]),
        PODS => list("Pod", &[pod("shop-t003-1", "Succeeded")]),
        path if path.ends_with("/log") => Answer::Bytes(b"done\n"),
        _ if there.load(Ordering::SeqCst) == 0 => Answer::Failure(404, "not found"),
        _ => Answer::Ok(pod("shop-t003-1", "Succeeded")),
    });
    let ran = api.enact(&["logs", "shop/T003", "--follow"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "done\ndone\n"), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("waiting for pod shop-t003-1\n"), "{}", ran.stderr);
    let logs = api.seen().into_iter().filter(|request| request.path.ends_with("/log"));
    assert!(logs.into_iter().all(|request| request.parameter("follow") == "true"));
}

// Status.
