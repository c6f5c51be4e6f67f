//! `kubectl enact impact`, run as a user does, against a simulated API server and record.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "support/fake.rs"]
mod fake;
#[path = "support/objects.rs"]
#[allow(dead_code, reason = "each test program uses a part of the objects")]
mod objects;

use std::fs;

use enact_crds::compile;
use enact_crds::plan::UnreadTasks;
use enact_domain::digest::Digest;
use fake::{ACCOUNT, Answer, Fake, PROXY, Ran, Request, access_to_the_record};
use objects::{ENACT, list, merge, object, task};
use serde_json::{Value, json};

const OLD: &str = "# Feature Specification: Shop\n\n## Requirements\n\n- **FR-001**: The shop MUST sell mugs.\n\
                   - **FR-002**: The shop MUST ship orders.\n";
const CONTENT: &str = r#"{"tasks":[{"id":"T001","title":"Sell (FR-001)"},{"id":"T002","title":"Ship (FR-002)"},
    {"id":"T003","title":"Print labels","requirements":["FR-001"],"dependsOn":["T002"]}]}"#;
const RULES: &str = "# Shop Constitution\n\n## Core Principles\n\n### I. Records\n\nServices MUST use PostgreSQL.\n\n\
                     ### II. Tests\n\nEach change MUST have a test.\n\n**Version**: 1.0.0\n";

fn digest(text: &str) -> String {
    Digest::of_bytes(text.as_bytes()).to_string()
}

fn short(text: &str) -> String {
    digest(text)[7..19].to_owned()
}

/// The text with a changed and a new requirement.
fn new() -> String {
    OLD.replace("ship orders.", "ship orders within 2 days.")
        + "- **FR-003**: The shop MUST refund [NEEDS CLARIFICATION: which orders?].\n"
}

fn specification(more: Value) -> Value {
    let mut specification = object(
        "Specification",
        "shop",
        json!({
            "spec": {
                "source": { "inline": OLD }, "constitutionRef": { "name": "rules" },
                "approval": { "required": 1, "groups": ["leads"] },
            },
            "status": { "observedGeneration": 1, "conditions": [], "digest": digest(OLD), "approvedDigest": digest(OLD) },
        }),
    );
    merge(&mut specification, more);
    specification
}

fn constitution() -> Value {
    let ready = json!({ "type": "Ready", "status": "True", "reason": "Approved", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z" });
    object(
        "Constitution",
        "rules",
        json!({
            "spec": { "source": { "inline": RULES } },
            "status": {
                "observedGeneration": 1, "conditions": [ready], "digest": digest(RULES), "approvedDigest": digest(RULES),
                "impact": { "specifications": 1, "plans": 2, "tasks": 3, "some": ["Specification demo/shop"] },
            },
        }),
    )
}

fn plan(revision: &str) -> Value {
    object(
        "Plan",
        "shop",
        json!({
            "spec": { "agentRef": { "name": "scripts" }, "specificationRef": { "name": "shop" } },
            "status": {
                "observedGeneration": 1, "conditions": [], "phase": "Running", "startedAt": "2026-01-01T00:00:00Z",
                "digest": digest(CONTENT), "approvedDigest": digest(CONTENT), "specificationDigest": revision,
            },
        }),
    )
}

fn approval(digest: &str) -> Value {
    let by = json!({ "user": "kim", "groups": ["leads"] });
    let subject = json!({ "kind": "Specification", "name": "shop" });
    let spec =
        json!({ "subject": subject, "subjectUid": "uid-of-shop", "digest": digest, "decision": "Approve", "by": by });
    object("Approval", "shop-1", json!({ "spec": spec }))
}

/// Serves a Specification, its plan that was started for `revision`, and the Constitution of both.
fn answer(request: &Request, specification: Value, revision: &str) -> Answer {
    let path = request.path.as_str();
    if let Some(rest) = path.strip_prefix(ENACT) {
        return match rest {
            "/specifications/shop" => Answer::Ok(specification),
            "/specifications" => list("Specification", &[specification]),
            "/constitutions/rules" => Answer::Ok(constitution()),
            "/constitutions" => list("Constitution", &[constitution()]),
            "/plans" => list("Plan", &[plan(revision)]),
            "/tasks" => {
                let phases = [("T001", "Succeeded"), ("T002", "Succeeded"), ("T003", "Running")];
                list("Task", &phases.map(|(id, phase)| task(id, phase, 1)))
            }
            "/approvals" => list("Approval", &[approval(&digest(OLD))]),
            _ => Answer::Failure(404, "not found"),
        };
    }
    match (request.method.as_str(), path.strip_prefix(PROXY)) {
        ("GET", Some(rest)) if rest == format!("/plans/shop/revisions/{}/content", digest(CONTENT)) => {
            Answer::Text(CONTENT.to_owned())
        }
        ("GET", Some(_)) => Answer::Problem(404, "no such revision"),
        _ => access_to_the_record(request).unwrap_or(Answer::Failure(404, "not found")),
    }
}

fn world() -> Fake {
    Fake::start(|request| answer(request, specification(json!({})), &digest(OLD)))
}

/// Runs `impact` with a file of this text.
fn impact(api: &Fake, subject: &str, text: &str, more: &[&str]) -> Ran {
    fs::write(api.here().join("new.md"), text).unwrap();
    let ran = api.enact(&[&["impact", subject, "--with", "new.md"][..], more].concat());
    let writes = api.writes();
    assert!(writes.iter().all(|write| write.path == format!("{ACCOUNT}/token")), "it only reads: {writes:?}");
    ran
}

#[test]
fn changed_specification_shows_what_it_affects() {
    let ran = impact(&world(), "spec/shop", &new(), &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let (old, newer) = (short(OLD), short(&new()));
    for shown in [
        format!("specification/shop in namespace demo: {old} → {newer}\n"),
        "changes:\n  FR-002 has changed (line 6)\n  FR-003 is new (line 7)\n".into(),
        format!(
            "Plan shop (Running, started for {old}): 1 stale tasks, 1 finished tasks that `kubectl enact redo shop` repeats\n  \
             T002 (Succeeded) is stale and would run again: FR-002 has changed (line 6)\n  \
             T003 (Running) depends on stale tasks\n  \
             FR-003 is new (line 7), and no task serves it\n"
        ),
        "approvals: the approval by kim (shop-1) would not count: the content has changed since; approve the new digest\n\
         approvals then: 0 of 1 approvals by members of leads\n"
            .into(),
        "findings:\n  + line 7: ".into(),
    ] {
        assert!(ran.stdout.contains(&shown), "{shown:?} is not in: {}", ran.stdout);
    }
    assert!(!ran.stdout.contains("T001"), "it serves what does not change: {}", ran.stdout);
}

#[test]
fn json_has_the_same_facts() {
    let ran = impact(&world(), "specification/shop", &new(), &["-o", "json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&report["digest"], &report["newDigest"]), (&json!(digest(OLD)), &json!(digest(&new()))));
    let changed = json!([
        { "id": "FR-002", "kind": "Changed", "line": 6 }, { "id": "FR-003", "kind": "Added", "line": 7 },
    ]);
    assert_eq!(report["changes"]["requirements"], changed);
    let tasks = report["plans"][0]["tasks"].as_array().unwrap();
    let shown: Vec<_> = tasks.iter().map(|t| (t["id"].as_str().unwrap(), &t["stale"], &t["repeated"])).collect();
    assert_eq!(shown, [("T002", &json!(true), &json!(true)), ("T003", &json!(false), &json!(false))]);
    assert_eq!(report["plans"][0]["uncovered"][0]["id"], "FR-003");
    assert_eq!(report["approvals"]["lost"][0]["user"], "kim");
    let appear = report["findings"]["appear"].as_array().unwrap();
    assert!(appear.iter().any(|f| f["code"] == "OpenMarker" && f["location"] == "FR-003"), "{appear:?}");
}

#[test]
fn the_same_content_affects_nothing() {
    let api = world();
    let ran = impact(&api, "spec/shop", OLD, &[]);
    let same = format!("specification/shop already has this content ({})\n", short(OLD));
    assert_eq!((ran.code, ran.stdout), (Some(0), same), "{}", ran.stderr);
    let ran = impact(&api, "spec/shop", OLD, &["-o", "json"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let nothing = json!({ "lost": [] });
    assert_eq!((&report["plans"], &report["approvals"]), (&json!([]), &nothing));
}

#[test]
fn unrecorded_revision_makes_all_tasks_stale() {
    let api = Fake::start(|request| answer(request, specification(json!({})), &digest("lost")));
    let ran = impact(&api, "spec/shop", &new(), &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let why = "the record does not hold the revision that the plan was started for";
    for shown in [
        "3 stale tasks, 2 finished tasks".to_owned(),
        format!("T001 (Succeeded) is stale and would run again: {why}\n"),
        format!("T003 (Running) is stale: {why}\n"),
    ] {
        assert!(ran.stdout.contains(&shown), "{shown:?} is not in: {}", ran.stdout);
    }
}

#[test]
fn changed_constitution_shows_amendment_and_findings_of_specifications() {
    let sells = OLD.replace("sell mugs.", "NOT use PostgreSQL.");
    let served = specification(json!({
        "spec": { "source": { "inline": sells } }, "status": { "digest": digest(&sells), "approvedDigest": digest(&sells) },
    }));
    let api = Fake::start(move |request| answer(request, served.clone(), &digest(OLD)));
    let without = RULES.replace("Services MUST use PostgreSQL.", "Services SHOULD use a database.");
    let ran = impact(&api, "constitution/rules", &without, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for shown in [
        "it could not be approved: principle \"Records\" is redefined",
        "write `**Version**: 2.0.0`\n",
        "amendment from version 1.0.0; it needs a Major version\n  Redefined Records: ",
        "it affects 1 Specifications, 2 unfinished Plans and 3 open Tasks\n  Specification demo/shop\n",
        "findings of Specification shop:\n  - line 5: ",
    ] {
        assert!(ran.stdout.contains(shown), "{shown:?} is not in: {}", ran.stdout);
    }
    let raised = impact(&api, "constitution/rules", &without.replace("1.0.0", "2.0.0"), &[]);
    assert!(!raised.stdout.contains("it could not be approved"), "{}", raised.stdout);
}

const TASKS: &str = "# Tasks: Shop\n\n## Phase 1: Setup\n\n- [ ] T001 Create the shop\n- [ ] T002 Sell mugs in `sell.py`\n\
                     - [ ] T003 Ship orders in `ship.py`\n";

/// Serves a plan that was started with [`TASKS`].
fn planned() -> Fake {
    let (tasks, _) = compile::from_markdown(TASKS.as_bytes(), UnreadTasks::Refuse);
    let content = json!({ "tasks": tasks }).to_string();
    let mut started = plan(&digest(OLD));
    merge(&mut started["status"], json!({ "approvedDigest": digest(&content) }));
    let recorded = format!("{PROXY}/plans/shop/revisions/{}/content", digest(&content));
    Fake::start(move |request| match request.path.as_str() {
        path if path == format!("{ENACT}/plans/shop") => Answer::Ok(started.clone()),
        path if path == recorded => Answer::Text(content.clone()),
        _ => answer(request, specification(json!({})), &digest(OLD)),
    })
}

#[test]
fn other_tasks_of_a_plan_keep_finished_work() {
    let api = planned();
    let other = TASKS.replace("Sell mugs in", "Sell cups in") + "- [ ] T004 Pay back in `pay.py`\n";
    let ran = impact(&api, "plan/shop", &other, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let shown = "  added: T004\n  changed: T002\n  removed: none\n  finished work that is kept: T001\n  \
                 finished work that is done again: T002\nthe plan has started, so that its tasks cannot change";
    assert!(ran.stdout.contains(shown), "{}", ran.stdout);
    let ticked = TASKS.replace("- [ ] T001", "- [x] T001").replace("- [ ] T002", "- [x] T002");
    let ran = impact(&api, "plan/shop", &ticked, &["-o", "json"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let kept = json!({ "added": [], "changed": [], "removed": [], "kept": ["T001", "T002"], "repeated": [] });
    assert_eq!((&report["tasks"], &report["started"]), (&kept, &json!(true)));
    let unread = TASKS.to_owned() + "\n> - [ ] T004 Pay back\n";
    let refused = impact(&api, "plan/shop", &unread, &[]);
    let message = "new.md cannot be used as the tasks.md of Plan shop: line 9: ";
    assert!(refused.code == Some(1) && refused.stderr.contains(message), "{}", refused.stderr);
    let refused = impact(&api, "plan/shop", &TASKS.replace("- [ ]", "- [x]"), &[]);
    assert!(refused.code == Some(1) && refused.stderr.contains("the plan has no open task"), "{}", refused.stderr);
}

#[test]
fn unusable_input_is_refused() {
    let api = world();
    for (subject, text, message) in [
        ("spec/shop", "# Tasks: Shop\n\n- [ ] T001 Sell\n", "new.md cannot be used as a Specification: line 1: "),
        ("spec/shop", "", "new.md cannot be used as a Specification: "),
        ("spec/cart", OLD, "there is no Specification cart in namespace demo"),
    ] {
        let ran = impact(&api, subject, text, &[]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{subject} {text}");
        assert!(ran.stderr.contains(message), "{message:?} is not in: {}", ran.stderr);
    }
    let missing = api.enact(&["impact", "spec/shop", "--with", "other.md"]);
    assert!(missing.code == Some(1) && missing.stderr.contains("other.md cannot be read"), "{}", missing.stderr);
    let alone = api.enact(&["impact", "spec/shop"]);
    assert!(alone.code == Some(1) && alone.stderr.contains("add --with FILE"), "{}", alone.stderr);
    let unread = Fake::start(|request| {
        answer(request, specification(json!({ "status": { "observedGeneration": 0 } })), &digest(OLD))
    });
    let ran = impact(&unread, "spec/shop", &new(), &[]);
    assert!(ran.code == Some(1) && ran.stderr.contains("the operator has not read the change yet"), "{}", ran.stderr);
}

#[test]
fn amendment_of_a_constitution_is_shown_without_a_file() {
    let api = world();
    let text = api.enact(&["impact", "rules"]);
    let shown = "it affects 1 Specifications, 2 unfinished Plans and 3 open Tasks\n  Specification demo/shop\n";
    assert_eq!((text.code, text.stdout.as_str()), (Some(0), shown), "{}", text.stderr);
    let json = api.enact(&["impact", "constitution/rules", "-o", "json"]);
    let both: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&both["amendment"], &both["impact"]["tasks"]), (&Value::Null, &json!(3)));
}

#[test]
fn json_does_not_control_the_terminal() {
    let api = Fake::start(|request| match request.path.strip_prefix(ENACT) {
        Some("/constitutions/rules") => {
            let mut rules = constitution();
            rules["status"]["impact"]["some"] = json!(["Specification demo/shop\u{9b}2J\u{202e}"]);
            Answer::Ok(rules)
        }
        _ => answer(request, specification(json!({})), &digest(OLD)),
    });
    let ran = api.enact(&["impact", "constitution/rules", "-o", "json"]);
    assert!(ran.stdout.contains("shop\u{fffd}2J\u{fffd}"), "{:?} {}", ran.stdout, ran.stderr);
}
