//! Commands that talk to a cluster, run as a user does, against a simulated API server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "support/fake.rs"]
mod fake;
#[path = "cluster/logs.rs"]
mod logs;
#[path = "support/objects.rs"]
mod objects;

use std::sync::atomic::{AtomicUsize, Ordering};

use fake::{Answer, Fake, Request};
use objects::{DIGEST, ENACT, condition, list, merge, object, plan, specification, task};
use serde_json::{Value, json};

fn approvals(request: &Request) -> Answer {
    match request.line().strip_prefix("GET ").map_or("POST", |path| path.trim_start_matches(ENACT)) {
        "/specifications/shop" => Answer::Ok(specification()),
        "/approvals" => list(
            "Approval",
            &[object(
                "Approval",
                "shop-1",
                json!({ "spec": {
                    "subject": { "kind": "Specification", "name": "shop" }, "digest": DIGEST, "decision": "Approve",
                    "subjectUid": "uid-of-shop", "by": { "user": "kim", "groups": ["leads"] },
                }}),
            )],
        ),
        "POST" => {
            let stamped = json!({ "metadata": { "name": "shop-x7" }, "spec": { "by": { "user": "lee\u{7}" } } });
            let mut created = request.body.clone();
            merge(&mut created, stamped);
            Answer::Ok(created)
        }
        _ => Answer::Failure(404, "not found"),
    }
}

#[test]
fn approval_is_bound_to_the_shown_content() {
    let api = Fake::start(approvals);
    let ran = api.enact(&["approve", "spec/shop", "--yes", "-m", "as discussed", "--digest", "0123456789abcd"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "Specification shop approved by lee (shop-x7)\n"),
        "{}",
        ran.stderr
    );
    for shown in [
        "Specification shop in namespace demo: “The ]0;shop”, 3 stories, 12 requirements, 0 open questions\n",
        "content 0123456789ab\n",
        "by ann [2Ja\n",
        "line 4: Medium: no priority; give one\n",
        "read it: kubectl get specification shop --namespace demo",
        "nothing was approved before\n",
        "1 of 2 approvals by members of leads\n",
    ] {
        assert!(ran.stderr.contains(shown), "{shown:?} is not in: {}", ran.stderr);
    }
    let writes = api.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].line(), format!("POST {ENACT}/approvals"));
    assert_eq!(writes[0].body["metadata"]["generateName"], "shop-");
    let wanted = json!({
        "subject": { "kind": "Specification", "name": "shop" }, "digest": DIGEST, "decision": "Approve", "comment": "as discussed",
        "subjectUid": "uid-of-shop",
    });
    assert_eq!(writes[0].body["spec"], wanted);
    let asked: Vec<String> = api
        .seen()
        .iter()
        .filter(|r| r.path.ends_with("/approvals"))
        .map(|r| r.parameter("fieldSelector").to_owned())
        .collect();
    assert_eq!(asked[0], "spec.subject.kind=Specification,spec.subject.name=shop");
}

#[test]
fn approval_of_a_plan_can_have_a_budget() {
    let api = Fake::start(|request| match request.line().strip_prefix("GET ") {
        Some(path) if path.ends_with("/plans/shop") => {
            Answer::Ok(plan("Pending", json!({ "spec": { "execution": { "attemptBudget": { "usd": "2.00" } } } })))
        }
        Some(_) => Answer::Failure(404, "not found"),
        None => Answer::Ok(request.body.clone()),
    });
    let ran = api.enact(&["approve", "plan/shop", "--yes", "--budget", "12.50", "--token-budget", "1000000"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("budget of each attempt: 2.00 USD"), "{}", ran.stderr);
    let writes = api.writes();
    let approval = writes.iter().find(|write| write.path.ends_with("/approvals")).expect("an Approval");
    assert_eq!(approval.body["spec"]["budget"], json!({ "usd": "12.50", "tokens": 1_000_000 }));
    let ran = api.enact(&["approve", "spec/shop", "--yes", "--budget", "12.50"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("only the approval of a Plan"), "{}", ran.stderr);
    for wrong in [["--budget", "much"], ["--token-budget", "-1"]] {
        assert_eq!(api.enact(&[&["approve", "plan/shop"][..], &wrong].concat()).code, Some(2));
    }
}

#[test]
fn an_estimate_can_be_the_budget() {
    let estimate = json!({
        "usd": { "low": "0.90", "expected": "1.20", "high": "1.60" }, "durationSeconds": { "low": 60, "expected": 90, "high": 90 },
        "samples": 7, "basis": "Agent",
    });
    let serve = |estimate: Value| {
        Fake::start(move |request| match request.line().strip_prefix("GET ") {
            Some(path) if path.ends_with("/plans/shop") => {
                Answer::Ok(plan("Pending", json!({ "status": { "estimate": estimate } })))
            }
            Some(_) => Answer::Failure(404, "not found"),
            None => Answer::Ok(request.body.clone()),
        })
    };
    let api = serve(estimate);
    let ran = api.enact(&["approve", "plan/shop", "--yes", "--estimate"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let shown = "estimate: 1.20 USD (0.90 to 1.60), 1m30s (1m00s to 1m30s), from 7 finished tasks of the same agents\n";
    assert!(ran.stderr.contains(shown), "{}", ran.stderr);
    let budgets = || -> Vec<Value> {
        let writes = api.writes();
        let approvals = writes.iter().filter(|write| write.path.ends_with("/approvals"));
        approvals.map(|write| write.body["spec"]["budget"].clone()).collect()
    };
    assert_eq!(budgets(), [json!({ "usd": "1.60" })]);
    let ran = api.enact(&["approve", "plan/shop", "--yes"]);
    assert_eq!((ran.code, budgets().last()), (Some(0), Some(&Value::Null)), "without the flag there is no limit");
    let unknown = serve(json!({ "samples": 2, "basis": "Unknown" }));
    let ran = unknown.enact(&["approve", "plan/shop", "--yes", "--estimate"]);
    assert_eq!((ran.code, unknown.writes().len()), (Some(1), 0));
    assert!(ran.stderr.contains("it is unknown: the record has 2 finished tasks"), "{}", ran.stderr);
    assert_eq!(api.enact(&["approve", "plan/shop", "--estimate", "--budget", "1"]).code, Some(2));
    let ran = api.enact(&["approve", "spec/shop", "--yes", "--estimate"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("only the approval of a Plan"), "{}", ran.stderr);
}

#[test]
fn decision_needs_confirmation_and_the_right_digest() {
    let api = Fake::start(approvals);
    for (arguments, message) in [
        (vec!["approve", "spec/shop"], "add --yes"),
        (vec!["reject", "spec/shop", "--yes"], "a rejection needs --comment"),
        (
            vec!["approve", "spec/shop", "--yes", "--digest", "ffffffffffff"],
            "the content of Specification shop is now sha256:0123",
        ),
        (vec!["approve", "plan/shop", "--yes"], "there is no Plan shop in namespace demo"),
    ] {
        let ran = api.enact(&arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(ran.stderr.contains(message), "{message:?} is not in: {}", ran.stderr);
    }
    assert_eq!(api.enact(&["approve", "agent/shop"]).code, Some(2));
    assert_eq!(api.enact(&["approve", "spec/shop", "--digest", "xyz"]).code, Some(2));
    assert_eq!(api.writes(), []);
}

#[test]
fn unread_content_cannot_be_decided_on() {
    for status in [json!({ "digest": null }), json!({ "observedGeneration": 0 })] {
        let api = Fake::start(move |_| {
            let mut stale = specification();
            merge(&mut stale["status"], status.clone());
            Answer::Ok(stale)
        });
        let ran = api.enact(&["reject", "spec/shop", "--yes", "-m", "no"]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains("the operator has not read"), "{}", ran.stderr);
        assert_eq!(api.writes(), []);
    }
}

#[test]
fn denial_shows_its_reason() {
    let api = Fake::start(|request| match request.method.as_str() {
        "POST" => {
            Answer::Failure(403, "admission webhook \"a.enact.dev\" denied the request: you are the author\u{1b}[2J")
        }
        _ => approvals(request),
    });
    let ran = api.enact(&["approve", "spec/shop", "--yes"]);
    assert_eq!(ran.code, Some(1));
    let message = "error: the decision on Specification shop was not recorded: you are the author\u{fffd}[2J\n";
    assert!(ran.stderr.ends_with(message), "{:?}", ran.stderr);
}

// Requests to a plan.

#[test]
fn retry_survives_a_conflict() {
    let patches = AtomicUsize::new(0);
    let api = Fake::start(move |request| match request.method.as_str() {
        "PATCH" if patches.fetch_add(1, Ordering::SeqCst) == 0 => Answer::Failure(409, "the object has been modified"),
        _ if request.path.ends_with("/tasks") => list("Task", &[task("T003", "Failed", 2)]),
        _ if request.path.ends_with("/plans/shop") => Answer::Ok(plan("Failed", json!({}))),
        _ => Answer::Ok(task("T003", "Failed", 2)),
    });
    let ran = api.enact(&["retry", "shop/T003"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "T003 of Plan shop: another attempt is requested\n"),
        "{}",
        ran.stderr
    );
    assert_eq!(api.seen()[1].parameter("fieldSelector"), "spec.planRef.name=shop,spec.id=T003");
    let writes = api.writes();
    assert_eq!(writes.len(), 2, "the first was refused");
    for write in writes {
        assert_eq!(write.line(), format!("PATCH {ENACT}/tasks/shop-t003"));
        assert_eq!(write.content_type, "application/merge-patch+json");
        let metadata = &write.body["metadata"];
        assert_eq!(metadata["annotations"], json!({ "enact.dev/rerun": "4" }));
        assert_eq!(metadata["resourceVersion"], "7", "only the object that was read is changed");
    }
}

#[test]
fn message_is_added_to_those_that_were_sent() {
    let sent = json!([{"id": 4, "text": "one", "by": "bob", "at": "2026-12-01T10:00:00Z"}]).to_string();
    let patches = AtomicUsize::new(0);
    let known = sent.clone();
    let api = Fake::start(move |request| match request.method.as_str() {
        "PATCH" if patches.fetch_add(1, Ordering::SeqCst) == 0 => Answer::Failure(409, "the object has been modified"),
        "PATCH" => Answer::Ok(task("T003", "Running", 1)),
        _ => {
            let mut task = task("T003", "Running", 1);
            task["metadata"]["annotations"] = json!({"enact.dev/messages": known});
            list("Task", &[task])
        }
    });
    let ran = api.enact(&["message", "shop/T003", " Use SQLite. "]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout.starts_with("T003 of Plan shop: message 5 is sent; the running agent gets it"),
        "{}",
        ran.stdout
    );
    let write = api.writes().pop().expect("a message");
    assert_eq!(write.line(), format!("PATCH {ENACT}/tasks/shop-t003"));
    let annotation = write.body["metadata"]["annotations"]["enact.dev/messages"].as_str().unwrap();
    let mut expected: Value = serde_json::from_str(&sent).unwrap();
    expected.as_array_mut().unwrap().push(json!({"id": 5, "text": "Use SQLite."}));
    assert_eq!(serde_json::from_str::<Value>(annotation).unwrap(), expected);
    assert!(write.body["metadata"]["resourceVersion"].is_string());
}

#[test]
fn message_that_reaches_nobody_is_refused() {
    let api = Fake::start(|request| match request.path.as_str() {
        path if path.ends_with("/tasks/shop") => Answer::Failure(404, "not found"),
        path if path.ends_with("/tasks/shop-t003") => Answer::Ok(task("T003", "Succeeded", 1)),
        _ => list("Task", &[task("T003", "Succeeded", 1)]),
    });
    for (task, text, part) in [
        ("shop/T003", "hello", "has succeeded"),
        ("task/shop-t003", "hello", "has succeeded"),
        ("shop/T003", " ", "1 to 2048 bytes"),
        ("shop", "hello", "PLAN/TASKID"),
    ] {
        let ran = api.enact(&["message", task, text]);
        assert!(ran.code == Some(1) && ran.stderr.contains(part), "{}", ran.stderr);
    }
    assert_eq!(api.writes(), []);
}

#[test]
fn stale_decision_names_the_shown_revision() {
    let stale = json!({"specificationDigest": "sha256:7", "changes": ["FR-001 Changed"], "tasks": 2, "redo": ["T001"]});
    let api = Fake::start(move |_| {
        let mut plan = plan("Running", json!({}));
        plan["status"]["stale"] = stale.clone();
        Answer::Ok(plan)
    });
    let asked = api.enact(&["redo", "plan/shop"]);
    assert_eq!((asked.code, api.writes().len()), (Some(1), 0), "nobody could answer");
    assert!(
        asked.stdout.contains("changed: FR-001 Changed\nfinished tasks that will be repeated: T001\n"),
        "{}",
        asked.stdout
    );
    for (command, annotations) in [
        ("redo", json!({"enact.dev/redo": "sha256:7", "enact.dev/keep": null})),
        ("keep", json!({"enact.dev/keep": "sha256:7", "enact.dev/redo": null})),
    ] {
        let ran = api.enact(&[command, "shop", "--yes"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let write = api.writes().pop().expect("a decision");
        assert_eq!(write.line(), format!("PATCH {ENACT}/plans/shop"));
        assert_eq!(write.body["metadata"]["annotations"], annotations);
    }
    let fresh = Fake::start(|_| Answer::Ok(plan("Running", json!({}))));
    let none = fresh.enact(&["keep", "shop", "--yes"]);
    assert_eq!((none.code, fresh.writes().len()), (Some(1), 0));
    assert!(none.stderr.contains("nothing in Plan shop is stale"), "{}", none.stderr);
}

#[test]
fn retry_of_a_plan_covers_all_failures() {
    let api = Fake::start(|request| match request.path.trim_start_matches(ENACT) {
        "/tasks" => {
            let phases = [
                ("T001", "Succeeded"),
                ("T002", "Failed"),
                ("T003", "Running"),
                ("T004", "Unknown"),
                ("T005", "Pending"),
            ];
            list("Task", &phases.map(|(id, phase)| task(id, phase, 1)))
        }
        "/plans/shop" => {
            Answer::Ok(plan("Failed", json!({ "status": { "integration": { "phase": "Failed", "attempts": 1 } } })))
        }
        _ => Answer::Ok(task("T002", "Failed", 1)),
    });
    let ran = api.enact(&["retry", "plan/shop"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let wanted = ["tasks/shop-t002", "tasks/shop-t004", "plans/shop"].map(|path| format!("PATCH {ENACT}/{path}"));
    assert_eq!(api.writes().iter().map(Request::line).collect::<Vec<_>>(), wanted);
    assert_eq!(api.writes()[2].body["metadata"]["annotations"]["enact.dev/rerun"], "1");
}

#[test]
fn retry_refuses_work_that_has_not_failed() {
    let api = Fake::start(|request| match request.path.trim_start_matches(ENACT) {
        "/tasks" => list("Task", &[task("T001", "Succeeded", 1)]),
        "/plans/shop" => Answer::Ok(plan("Running", json!({}))),
        _ => Answer::Failure(404, "not found"),
    });
    for (target, message) in [
        ("shop/T001", "Task shop-t001 is Succeeded"),
        ("shop", "nothing in Plan shop has failed"),
        ("nobody", "neither a Plan nor a Task nobody in namespace demo"),
    ] {
        let ran = api.enact(&["retry", target]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains(message), "{message:?} is not in: {}", ran.stderr);
    }
    assert_eq!(api.writes(), []);
}

#[test]
fn retry_refuses_a_cancelled_plan() {
    let api = Fake::start(|request| match request.path.trim_start_matches(ENACT) {
        "/tasks" => list("Task", &[task("T001", "Cancelled", 1)]),
        "/plans/shop" => Answer::Ok(plan("Cancelled", json!({ "spec": { "cancel": true } }))),
        _ => Answer::Failure(404, "not found"),
    });
    for target in ["shop/T001", "shop/integration", "shop"] {
        let ran = api.enact(&["retry", target]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains("Plan shop is cancelled, which is permanent"), "{}", ran.stderr);
    }
    assert_eq!(api.writes(), []);
}

#[test]
fn suspends_resumes_and_cancels_a_plan() {
    let api = Fake::start(|_| Answer::Ok(plan("Running", json!({ "spec": { "suspend": true } }))));
    assert_eq!(api.enact(&["cancel", "shop"]).code, Some(1), "nobody was asked");
    for (command, spec) in [
        (vec!["suspend", "shop"], json!({ "suspend": true })),
        (vec!["resume", "shop"], json!({ "suspend": false })),
        (vec!["cancel", "shop", "--yes"], json!({ "cancel": true })),
    ] {
        let ran = api.enact(&command);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let last = api.writes().pop().unwrap();
        assert_eq!((last.line(), &last.body), (format!("PATCH {ENACT}/plans/shop"), &json!({ "spec": spec })));
    }
    assert_eq!(api.writes().len(), 3);
}

#[test]
fn commands_do_not_claim_what_they_cannot_do() {
    let running = Fake::start(|_| Answer::Ok(plan("Running", json!({}))));
    let ran = running.enact(&["resume", "shop"]);
    assert!(ran.stdout.starts_with("Plan shop is neither suspended nor paused; nothing was changed"), "{}", ran.stdout);
    assert_eq!((ran.code, running.writes()), (Some(0), vec![]));
    let finished = Fake::start(|_| Answer::Ok(plan("Succeeded", json!({}))));
    let ran = finished.enact(&["cancel", "shop", "--yes"]);
    assert_eq!(ran.stdout, "Plan shop cannot run again; it had ended before: Succeeded\n", "{}", ran.stderr);
    let ran = finished.enact(&["suspend", "shop"]);
    assert_eq!(ran.stdout, "Plan shop is suspended; it had ended before: Succeeded\n", "{}", ran.stderr);
}

#[test]
fn resume_continues_after_the_phase_that_the_plan_shows() {
    let paused = json!({ "status": { "pausedAfter": { "number": 2, "phase": "Core" } } });
    let api = Fake::start(move |_| Answer::Ok(plan("Running", paused.clone())));
    let ran = api.enact(&["resume", "shop"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "Plan shop continues after phase 2 (Core)\n"),
        "{}",
        ran.stderr
    );
    let wanted =
        json!({ "spec": { "suspend": false }, "metadata": { "annotations": { "enact.dev/resumed-after": "2" } } });
    assert_eq!(api.writes().pop().unwrap().body, wanted);
}

#[test]
fn set_changes_the_parallelism_only() {
    let api = Fake::start(|_| Answer::Ok(plan("Running", json!({}))));
    let ran = api.enact(&["set", "shop", "--parallelism", "2"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(api.writes().pop().unwrap().body, json!({ "spec": { "execution": { "parallelism": 2 } } }));
    assert_eq!(api.enact(&["set", "plans/shop", "--parallelism", "2"]).code, Some(0), "as kubectl names it");
    assert_ne!(api.enact(&["set", "shop", "--parallelism", "0"]).code, Some(0));
}

#[test]
fn explain_takes_the_name_of_a_plan() {
    let api = Fake::start(|request| match request.path.trim_start_matches(ENACT) {
        "/plans/shop" => Answer::Ok(plan("Running", json!({}))),
        "/plans/shop-2" => {
            let replaced = json!({ "kept": ["T001"], "changed": { "count": 1, "ids": ["T002"] } });
            let more = json!({ "spec": { "replaces": { "name": "shop" } }, "status": { "replaced": replaced } });
            Answer::Ok(plan("Pending", more))
        }
        _ => Answer::Failure(404, "not found"),
    });
    for name in ["shop", "plan/shop"] {
        let ran = api.enact(&["explain", name]);
        assert!(ran.stderr.contains("agents write no tasks for Plan shop"), "{name}: {}", ran.stderr);
    }
    let ran = api.enact(&["explain", "plan/shop-2"]);
    assert!(
        ran.stdout.contains("replaces Plan shop: 0 added, 1 (T002) changed, 0 removed, 1 (T001) kept"),
        "{}",
        ran.stderr
    );
    let ran = api.enact(&["explain", "nothing"]);
    assert!(ran.stderr.contains("there is neither a Task nor a Plan nothing in namespace demo"), "{}", ran.stderr);
}

#[test]
fn diff_of_a_task_without_work_says_so() {
    let git = json!({ "spec": { "workspace": { "url": "https://git.example.org/shop.git" } } });
    let api = Fake::start(move |request| match request.path.trim_start_matches(ENACT) {
        "/tasks" => list("Task", &[task("T001", "Failed", 1)]),
        "/plans/shop" => Answer::Ok(plan("Failed", git.clone())),
        _ => Answer::Failure(404, "not found"),
    });
    let ran = api.enact(&["diff", "shop/T001"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("no attempt at T001 of Plan shop has left work"), "{}", ran.stderr);
}

/// Git shows what the server of the repository sends.
#[test]
fn a_git_server_does_not_control_the_terminal() {
    let git = json!({ "spec": { "workspace": { "url": "ssh://git.example.org/shop.git" } } });
    let mut failed = task("T001", "Failed", 1);
    failed["status"]["branch"] = json!("enact/shop/t001");
    let api = Fake::start(move |request| match request.path.trim_start_matches(ENACT) {
        "/tasks" => list("Task", std::slice::from_ref(&failed)),
        "/plans/shop" => Answer::Ok(plan("Failed", git.clone())),
        _ => Answer::Failure(404, "not found"),
    });
    let path = std::env::var("PATH").unwrap();
    let ssh = r"printf 'remote: \033[2Jpassed\n' >&2; exit 1; :";
    let environment = [("PATH", path.as_str()), ("GIT_SSH_COMMAND", ssh), ("GIT_SSH_VARIANT", "simple")];
    let ran = api.enact_with(&["diff", "shop/T001"], &environment);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("remote: \u{fffd}[2Jpassed\n"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("branch enact/shop/t001 of ssh://git.example.org/shop.git cannot be read"),
        "{}",
        ran.stderr
    );
}

// Logs.

fn of_shop(request: &Request, now: &Value, next: &Value) -> Answer {
    let kind = match request.path.trim_start_matches(ENACT) {
        "/plans/shop" => return Answer::Ok(now.clone()),
        "/plans" if request.is_watch() => {
            return Answer::Changes(vec![json!({ "type": "MODIFIED", "object": next })]);
        }
        _ if request.is_watch() => return Answer::Changes(vec![]),
        "/plans" => return list("Plan", std::slice::from_ref(now)),
        "/tasks" => return list("Task", &[task("T001", "Succeeded", 1), task("T002", "Failed", 2)]),
        "/approvals" => "Approval",
        "/specifications" => "Specification",
        _ => return Answer::Failure(404, "the server could not find the requested resource"),
    };
    list(kind, &[])
}

#[test]
fn shows_a_plan_as_a_tree_and_all_as_a_table() {
    let running = plan("Running", json!({ "spec": { "specificationRef": { "name": "gone" } } }));
    let api = Fake::start(move |request| of_shop(request, &running, &running));
    let tree = api.enact(&["status", "shop"]);
    assert_eq!(tree.code, Some(0), "{}", tree.stderr);
    assert!(tree.stdout.starts_with("Plan demo/shop  ◐ Running\n"), "{}", tree.stdout);
    assert!(tree.stdout.contains("✗ Failed    T002"), "{}", tree.stdout);
    assert!(!tree.stdout.contains('\u{1b}'), "no colours where nobody sees them");
    let table = api.enact(&["status"]);
    assert!(table.stdout.starts_with("NAME  PHASE    DONE"), "{}", table.stdout);
    let missing = api.enact(&["status", "shed"]);
    assert_eq!(missing.code, Some(1));
    assert_eq!(missing.stderr, "error: there is no Plan shed in namespace demo\n");
    assert_eq!(api.writes(), []);
}

#[test]
fn watch_ends_when_the_plan_succeeds() {
    let (now, next) =
        (plan("Running", json!({})), plan("Succeeded", json!({ "metadata": { "resourceVersion": "10" } })));
    let api = Fake::start(move |request| of_shop(request, &now, &next));
    let ran = api.enact(&["status", "shop", "--until-finished"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines: Vec<&str> = ran.stdout.lines().filter_map(|line| line.split_once("  ")).map(|(_, line)| line).collect();
    assert!(lines.contains(&"T002 Failed: gate `sells`: exit code 1  Sell things"), "{lines:?}");
    assert_eq!(lines.last(), Some(&"Plan shop Succeeded"), "{lines:?}");
    let watches: Vec<Request> = api.seen().into_iter().filter(Request::is_watch).collect();
    let selected =
        |path: &str| watches.iter().find(|r| r.path.ends_with(path)).map(|r| r.parameter("fieldSelector").to_owned());
    assert_eq!(selected("/plans").as_deref(), Some("metadata.name=shop"));
    if let Some(tasks) = selected("/tasks") {
        assert_eq!(tasks, "spec.planRef.name=shop");
    }
}

#[test]
fn watch_ends_when_the_plan_fails() {
    let failed = json!({
        "metadata": { "resourceVersion": "10" },
        "status": { "conditions": [condition("Ready", "False", "TaskFailed", "task T002 failed")] },
    });
    let (now, next) = (plan("Running", json!({})), plan("Failed", failed));
    let api = Fake::start(move |request| of_shop(request, &now, &next));
    let ran = api.enact(&["status", "shop", "--until-finished"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.ends_with("error: Plan shop: Failed, TaskFailed: task T002 failed\n"), "{}", ran.stderr);
    assert!(ran.stdout.ends_with("Plan shop Failed: task T002 failed\n"), "{}", ran.stdout);
}

#[test]
fn shows_the_error_of_the_api_server() {
    let api = Fake::start(|_| Answer::Failure(403, "plans.enact.dev is forbidden: User \"eve\" cannot list"));
    let ran = api.enact(&["status"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.stderr, "error: plans.enact.dev is forbidden: User \"eve\" cannot list\n");
}
