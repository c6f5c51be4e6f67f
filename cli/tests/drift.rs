//! `kubectl enact drift`, run as a user does, with a clone and a simulated API server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "support/fake.rs"]
mod fake;
#[path = "support/objects.rs"]
#[allow(dead_code, reason = "each test program uses a part of the objects")]
mod objects;

use std::fs;
use std::path::Path;
use std::process::Command;

use fake::{Answer, Fake, Ran, Request};
use objects::{ENACT, list, merge, object, plan, task};
use serde_json::{Value, json};

const DOCUMENT: &str = "# Feature Specification: Shop\n\n## Requirements\n\n- **FR-001**: The shop MUST sell mugs.\n\
                        - **FR-002**: The shop MUST ship orders.\n";

/// Runs Git in a directory and returns what it prints.
fn git(directory: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    for name in ["GIT_AUTHOR", "GIT_COMMITTER"] {
        command.env(format!("{name}_NAME"), "t").env(format!("{name}_EMAIL"), "t@example.org");
    }
    let output = command.current_dir(directory).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Writes files and commits them, as a task of a plan or as a person. A file without a text is removed.
fn commit(directory: &Path, files: &[(&str, Option<&str>)], work: Option<(&str, &str)>) -> String {
    for (name, text) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match text {
            Some(text) => fs::write(path, text).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
    }
    git(directory, &["add", "--all"]);
    let trailers = work.map_or_else(String::new, |(plan, task)| format!("Enact-Task: {task}\nEnact-Plan: {plan}"));
    git(directory, &["commit", "--quiet", "-m", "Change", "-m", &trailers]);
    git(directory, &["rev-parse", "HEAD"])
}

/// Creates a clone with the work of Plan shop. Returns the commit that the plan published.
fn clone(api: &Fake) -> String {
    let shop = api.here().join("shop");
    fs::create_dir(&shop).unwrap();
    git(&shop, &["init", "--quiet", "."]);
    commit(&shop, &[("README", Some("a shop"))], None);
    let of_first =
        [("src/sell.rs", Some("sell")), ("tests/sell.rs", Some("sells")), ("src/x\n\u{1b}[2J.rs", Some("x"))];
    commit(&shop, &of_first, Some(("demo/shop", "T001")));
    commit(&shop, &[("src/label.rs", Some("label"))], Some(("demo/shop-2", "T001")));
    commit(&shop, &[("src/ship.rs", Some("ship"))], Some(("demo/shop", "T002")))
}

/// Serves the finished Plan shop, which published this commit, and an unfinished one.
fn world(published: &str, request: &Request) -> Answer {
    let work = |id: &str, more: Value| {
        let mut task = task(id, "Succeeded", 1);
        merge(&mut task, json!({ "spec": more }));
        task
    };
    match request.path.strip_prefix(ENACT) {
        Some("/plans") => {
            let specification = json!({ "specificationRef": { "name": "shop" } });
            let status = json!({ "integration": { "phase": "Succeeded", "commit": published } });
            let finished = plan("Succeeded", json!({ "spec": specification, "status": status }));
            let mut running = plan("Running", json!({ "spec": specification }));
            merge(&mut running, json!({ "metadata": { "name": "next" } }));
            list("Plan", &[finished, running])
        }
        Some("/tasks") => {
            assert_eq!(request.parameter("fieldSelector"), "spec.planRef.name=shop");
            let ship = work("T002", json!({ "title": "Ship (FR-002)" }));
            let docs = work("T003", json!({ "title": "Describe it in `docs/shop/`" }));
            list("Task", &[work("T001", json!({ "requirements": ["FR-001"] })), ship, docs])
        }
        Some("/specifications/shop") => {
            let source = json!({ "spec": { "source": { "inline": DOCUMENT } } });
            Answer::Ok(object("Specification", "shop", source))
        }
        _ => Answer::Failure(404, "not found"),
    }
}

/// Runs `drift` in the clone after a change of it.
fn drift(more: &[&str], change: impl FnOnce(&Path)) -> Ran {
    let published = std::sync::Arc::new(std::sync::OnceLock::new());
    let known = std::sync::Arc::clone(&published);
    let api = Fake::start(move |request| world(known.get().map_or("", String::as_str), request));
    published.set(clone(&api)).unwrap();
    change(&api.here().join("shop"));
    let ran = api.enact(&[&["drift", "--repository", "shop"][..], more].concat());
    assert!(api.writes().is_empty(), "it only reads: {:?}", api.writes());
    ran
}

#[test]
fn changes_of_others_are_drift() {
    let ran = drift(&["-o", "json"], |shop| {
        commit(shop, &[("src/sell.rs", Some("sell more")), ("tests/sell.rs", None), ("README", Some("b"))], None);
        commit(shop, &[("src/ship.rs", Some("ship more"))], Some(("demo/next", "T009")));
        commit(shop, &[("docs/shop/a.md", Some("a")), ("src/x\n\u{1b}[2J.rs", Some("y"))], None);
        commit(shop, &[("src/label.rs", Some("changed"))], None);
    });
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    let plans = &printed["specifications"][0]["plans"];
    assert_eq!((plans.as_array().unwrap().len(), &plans[0]["name"]), (1, &json!("shop")));
    let tasks: Vec<_> = plans[0]["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| {
            let files = task["files"].as_array().unwrap().iter();
            let files: Vec<_> = files
                .map(|file| (file["path"].as_str().unwrap(), file["removed"] == true, file["test"] == true))
                .collect();
            (task["id"].as_str().unwrap(), task["basis"].as_str().unwrap(), task["requirements"].clone(), files)
        })
        .collect();
    let of_first =
        vec![("src/sell.rs", false, false), ("src/x\n\u{1b}[2J.rs", false, false), ("tests/sell.rs", true, true)];
    let docs = vec![("docs/shop/a.md", false, false)];
    assert_eq!(tasks, [("T001", "commits", json!(["FR-001"]), of_first), ("T003", "text", json!([]), docs)]);
    assert_eq!(plans[0]["tasks"][0]["files"][0]["commits"].as_array().unwrap().len(), 1);
}

#[test]
fn table_names_tasks_requirements_and_tests() {
    let ran = drift(&["spec/shop"], |shop| {
        commit(shop, &[("src/ship.rs", Some("ship more"))], None);
        commit(shop, &[("tests/sell.rs", Some("less"))], None);
    });
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let rows: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..7], ["shop", "shop", "T001", "FR-001", "tests/sell.rs", "1", "changed"], "{}", ran.stdout);
    assert_eq!(rows[2][..6], ["shop", "shop", "T002", "FR-002", "src/ship.rs", "-"], "{}", ran.stdout);
}

#[test]
fn a_change_that_was_taken_back_is_no_drift() {
    let ran = drift(&[], |shop| {
        commit(shop, &[("src/ship.rs", Some("ship more"))], None);
        commit(shop, &[("src/ship.rs", Some("ship"))], None);
    });
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("no file of 1 finished plans"), "{}", ran.stderr);
}

#[test]
fn since_names_where_changes_begin() {
    let ran = drift(&["--since", "checked", "-o", "json"], |shop| {
        commit(shop, &[("src/ship.rs", Some("ship more"))], None);
        git(shop, &["tag", "checked"]);
        commit(shop, &[("src/sell.rs", Some("sell more"))], None);
    });
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    let tasks = printed["specifications"][0]["plans"][0]["tasks"].as_array().unwrap();
    assert_eq!((tasks.len(), &tasks[0]["id"]), (1, &json!("T001")), "{}", ran.stdout);
    let ran = drift(&["--since", "nothing"], |_| {});
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("shop has no commit nothing"), "{}", ran.stderr);
}

#[test]
fn plan_of_another_repository_is_left_out() {
    let elsewhere = "0123456789012345678901234567890123456789";
    let api = Fake::start(move |request| world(elsewhere, request));
    clone(&api);
    let ran = api.enact(&["drift", "--repository", "shop"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{}", ran.stderr);
    let why = format!("Plan shop is left out: the repository has no commit {elsewhere}");
    assert!(ran.stderr.contains(&why), "{}", ran.stderr);
    let since = ["drift", "--repository", "shop", "--since", "HEAD"];
    assert!(api.enact(&since).stderr.contains("Plan shop is left out"), "its paths mean other files");
    let ran = api.enact(&[&since[..], &["spec/shop"]].concat());
    assert!(
        ran.stderr.contains("no file of 1 finished plans"),
        "a person says that it is this repository: {}",
        ran.stderr
    );
    let ran = api.enact(&["drift", "--repository", "."]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains(". is not a Git repository with a commit"), "{}", ran.stderr);
}
