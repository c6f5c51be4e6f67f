//! Commands that read the record and change documents, run as a user does, against a simulated API server and record.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "support/fake.rs"]
mod fake;

use std::fs;
use std::sync::{Arc, Mutex};

use enact_crds::agent_content::AgentDigests;
use enact_crds::replan::KeptWork;
use enact_crds::{PlanSpec, compile};
use enact_domain::digest::Digest;
use enact_domain::record::parse_reason;
use enact_domain::stamps::Stamps;
use fake::{Answer, Fake, PROXY, Request, access_to_the_record};
use serde_json::{Value, json};

const SPECIFICATION: &str = "/apis/enact.dev/v1alpha1/namespaces/demo/specifications/shop";
const PLAN: &str = "/apis/enact.dev/v1alpha1/namespaces/demo/plans/shop";
const ONE: &str =
    "# Feature Specification: Shop\n\n## Requirements\n\n- **FR-001**: It MUST sell.\n\n## Assumptions\n\nNone.\n";

fn digest(text: &str) -> String {
    Digest::of_bytes(text.as_bytes()).to_string()
}

fn two() -> String {
    ONE.replace("It MUST sell.", "It MUST sell mugs.")
}

/// The state of the cluster and of the record. Requests and the test change it.
struct World {
    object: Value,
    /// The contents of the revisions, oldest first. The first has the number 1.
    revisions: Vec<String>,
    /// A Plan that has not started.
    plan: Value,
    /// The contents of earlier Plans of this name, oldest first.
    plans: Vec<String>,
    /// The text that another user writes just before the next change arrives.
    rival: Option<String>,
    away: bool,
    /// The text that the server returns as the content of each revision, if it lies.
    forged: Option<String>,
}

impl World {
    fn version(&self) -> u64 {
        self.object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    }

    /// Sets the text of the document, and records and reports it as the operator does.
    fn set(&mut self, text: &str) {
        let version = self.version() + 1;
        self.object["metadata"]["resourceVersion"] = version.to_string().into();
        self.object["spec"]["source"] = json!({ "inline": text });
        self.object["status"]["digest"] = digest(text).into();
        self.revisions.push(text.to_owned());
    }

    fn revisions(&self, kind: &str) -> &[String] {
        if kind == "plans" { &self.plans } else { &self.revisions }
    }

    fn revision(&self, kind: &str, which: &str) -> Option<(usize, &String)> {
        let all = || self.revisions(kind).iter().enumerate().map(|(at, text)| (at + 1, text));
        match which.parse::<usize>() {
            Ok(number) if which.len() < 9 => all().find(|(at, _)| *at == number),
            _ => all().rev().find(|(_, text)| {
                digest(text).trim_start_matches("sha256:").starts_with(which.trim_start_matches("sha256:"))
            }),
        }
    }

    fn answer(&mut self, request: &Request) -> Answer {
        if let Some(answer) = access_to_the_record(request) {
            return answer;
        }
        let path = request.path.as_str();
        match (request.method.as_str(), path) {
            ("GET", SPECIFICATION) => Answer::Ok(self.object.clone()),
            ("GET", PLAN) => Answer::Ok(self.plan.clone()),
            ("PATCH", SPECIFICATION) => self.patch(&request.body),
            ("GET", _) if self.away => Answer::Failure(503, "no endpoints available for service \"http:server:read\""),
            ("GET", path) => match path.strip_prefix(PROXY) {
                Some(_) if request.token != "the-token" => Answer::Problem(401, "who are you?"),
                Some(rest) => self.record(rest),
                None => Answer::Failure(404, "not found"),
            },
            _ => Answer::Failure(403, "may not"),
        }
    }

    fn patch(&mut self, body: &Value) -> Answer {
        if let Some(rival) = self.rival.take() {
            self.set(&rival);
        }
        if body["metadata"]["resourceVersion"].as_str().is_some_and(|v| v != self.version().to_string()) {
            return Answer::Failure(409, "the object has been modified");
        }
        if let Some(text) = body["spec"]["source"]["inline"].as_str() {
            self.set(text);
        }
        if let Some(all) = body["spec"].get("clarifications") {
            self.object["spec"]["clarifications"] = all.clone();
        }
        Answer::Ok(self.object.clone())
    }

    fn record(&self, path: &str) -> Answer {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            [kind @ ("specifications" | "plans"), "shop", "revisions"] => {
                let all = self.revisions(kind).iter().enumerate().rev();
                Answer::Ok(
                    json!({ "revisions": all.map(|(at, text)| meta(at + 1, text)).collect::<Vec<_>>(), "next": null }),
                )
            }
            [kind, "shop", "revisions", which] => match self.revision(kind, which) {
                Some((number, text)) => Answer::Ok(meta(number, text)),
                None => Answer::Problem(404, "no such revision"),
            },
            [kind, "shop", "revisions", which, "content"] => match self.revision(kind, which) {
                Some((_, text)) => Answer::Text(self.forged.as_ref().unwrap_or(text).clone()),
                None => Answer::Problem(404, "no such revision"),
            },
            ["specifications", "shop", "revisions", _, "findings"] => Answer::Ok(json!({
                "number": 1, "digest": digest(ONE), "analyser": "analysis/1", "at": 0, "total": 3,
                "findings": [{ "id": "AMB-1", "severity": "High", "line": 5, "location": "FR-001",
                               "message": "vague\u{1b}[2J", "remedy": "say how much" }],
            })),
            _ => Answer::Problem(404, "see docs/reference/server.md"),
        }
    }
}

fn meta(number: usize, text: &str) -> Value {
    json!({
        "uid": "uid-of-shop", "number": number, "position": number, "digest": digest(text), "version": null,
        "actor": "ann\u{1b}[2J", "reason": "Source", "commit": null, "at": 1_767_225_600_000_i64,
        "approvals": if number == 1 { json!([{ "actor": "kim", "approved": true, "comment": "", "at": 0 }]) } else { json!([]) },
    })
}

/// Returns a specification of two revisions, of which the first was approved.
fn world() -> (Arc<Mutex<World>>, Fake) {
    let object = json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "Specification",
        "metadata": { "name": "shop", "namespace": "demo", "uid": "uid-of-shop", "generation": 2, "resourceVersion": "7" },
        "spec": { "source": { "inline": ONE } },
        "status": { "observedGeneration": 2, "conditions": [], "digest": digest(ONE), "approvedDigest": digest(ONE) },
    });
    let plan = plan(&json!([{ "id": "T001", "title": "Sell mugs", "script": "true" }]));
    let mut world =
        World { object, plan, plans: vec![], revisions: vec![ONE.to_owned()], rival: None, away: false, forged: None };
    world.set(&two());
    let world = Arc::new(Mutex::new(world));
    let played = Arc::clone(&world);
    let api = Fake::start(move |request| played.lock().unwrap().answer(request));
    (world, api)
}

fn canonical(spec: &Value) -> String {
    let spec: PlanSpec = serde_json::from_value(spec.clone()).unwrap();
    compile::canonical(&spec, &spec.tasks, &KeptWork::new(), &AgentDigests::new(), &Stamps::default()).unwrap()
}

/// Returns a Plan that waits for approval, with the status that the operator writes.
fn plan(tasks: &Value) -> Value {
    let spec = json!({ "agentRef": { "name": "coder" }, "tasks": tasks });
    let content = canonical(&spec);
    json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "Plan",
        "metadata": { "name": "shop", "namespace": "demo", "uid": "uid-of-plan", "generation": 2 },
        "spec": spec,
        "status": { "observedGeneration": 2, "conditions": [], "digest": digest(&content) },
    })
}

fn text(world: &Mutex<World>) -> String {
    world.lock().unwrap().object["spec"]["source"]["inline"].as_str().unwrap().to_owned()
}

// Reading.

#[test]
fn history_is_a_table() {
    let (_world, api) = world();
    let ran = api.enact(&["history", "spec/shop"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let [short_one, short_two] = [ONE, &two()].map(|text| digest(text)[7..19].to_owned());
    assert_eq!(lines[0], ["NUMBER", "DIGEST", "VERSION", "WHEN", "(UTC)", "WHO", "WHY", "DECISIONS"]);
    assert_eq!(lines[1], ["2", &short_two, "2026-01-01", "00:00", "ann", "[2J", "Source"]);
    assert_eq!(lines[2], ["1", &short_one, "2026-01-01", "00:00", "ann", "[2J", "Source", "approved", "by", "kim"]);
    let nobody = api.enact(&["history", "spec/shop", "--server", "elsewhere/server"]);
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.stderr.contains("--server NAMESPACE/SERVICE"), "{}", nobody.stderr);
}

#[test]
fn show_prints_any_revision() {
    let (_world, api) = world();
    let ran = api.enact(&["show", "spec/shop"]);
    assert_eq!((ran.code, ran.stdout), (Some(0), two()));
    assert!(api.seen().iter().all(|request| !request.path.contains("proxy")), "the object itself holds it");
    for which in ["1", "approved", &digest(ONE)[7..15]] {
        let ran = api.enact(&["show", &format!("spec/shop@{which}")]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ONE), "{}", ran.stderr);
    }
    let ran = api.enact(&["show", "spec/shop@9"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("no revision 9 of Specification shop; `kubectl enact history specification/shop`"),
        "{}",
        ran.stderr
    );
    let found = api.enact(&["show", "spec/shop", "--findings"]);
    assert_eq!(found.stdout, "line 5: High AMB-1 FR-001: vague [2J; say how much\n");
    assert_eq!(found.stderr, "1 findings by analysis/1, and 2 more that were not kept\n");
    for wrong in ["spec/shop@../../secrets", "spec/shop@", "spec/../x", "agent/shop"] {
        assert_eq!(api.enact(&["show", wrong]).code, Some(2), "{wrong}");
    }
}

#[test]
fn diff_shows_changed_sections() {
    let (_world, api) = world();
    let ran = api.enact(&["diff", "spec/shop"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("~ Feature Specification: Shop > Requirements (changed"), "{}", ran.stdout);
    assert!(ran.stdout.contains("+ - **FR-001**: It MUST sell"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("Assumptions"), "only what differs: {}", ran.stdout);
    assert!(ran.stderr.contains("approved (") && ran.stderr.contains("→ present ("), "{}", ran.stderr);
    let same = api.enact(&["diff", "spec/shop", "2", "present"]);
    assert_eq!(same.stdout, "no section differs\n");
}

// Changing.

#[test]
fn rollback_makes_a_new_revision() {
    let (world, api) = world();
    world.lock().unwrap().object["spec"]["clarifications"] = json!([{ "question": "Q-1", "answer": "mugs" }]);
    let unasked = api.enact(&["rollback", "spec/shop", "1"]);
    assert_eq!(unasked.code, Some(1));
    assert!(unasked.stderr.contains("add --yes") && unasked.stderr.contains("FR-001"), "{}", unasked.stderr);
    assert_eq!(text(&world), two());
    let ran = api.enact(&["rollback", "spec/shop", "1", "--yes"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(text(&world), ONE);
    assert_eq!(world.lock().unwrap().revisions.len(), 3, "the history only grows");
    let write = api.writes().pop().unwrap();
    assert_eq!(write.body["metadata"]["resourceVersion"], "8");
    assert_eq!(
        write.body["spec"]["clarifications"],
        json!([]),
        "an answer that the old content does not have would change it"
    );
    let why = write.body["metadata"]["annotations"]["enact.dev/reason"].as_str().unwrap();
    assert_eq!(parse_reason(why, &Digest::of_bytes(ONE.as_bytes())), Some("Rollback of 1"));
    let again = api.enact(&["rollback", "spec/shop", "1", "--yes"]);
    assert_eq!(again.code, Some(0));
    assert!(again.stderr.contains("already has the content of revision 1"), "{}", again.stderr);
}

#[test]
fn rollback_refuses_content_that_was_not_shown() {
    let (world, api) = world();
    world.lock().unwrap().rival = Some(two().replace("None.", "Some."));
    let ran = api.enact(&["rollback", "spec/shop", "1", "--yes"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("was changed meanwhile; review the new content"), "{}", ran.stderr);
    assert_eq!(text(&world), two().replace("None.", "Some."));
}

/// An editor that replaces words.
const SED: (&str, &str) = ("EDITOR", "sed -i -e s/mugs/cups/");

#[test]
fn edit_merges_changes_of_others() {
    let (world, api) = world();
    world.lock().unwrap().rival = Some(two().replace("None.", "Some."));
    let path = ("PATH", std::env::var("PATH").unwrap());
    let ran = api.enact_with(&["edit", "spec/shop", "-m", "cups are mugs"], &[SED, (path.0, &path.1)]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("somebody else changed it meanwhile"), "{}", ran.stderr);
    assert_eq!(text(&world), two().replace("None.", "Some.").replace("mugs", "cups"));
    let writes = api.writes().into_iter().filter(|request| request.method == "PATCH").collect::<Vec<_>>();
    assert_eq!(writes.len(), 2, "the first came too late");
    let why = writes[1].body["metadata"]["annotations"]["enact.dev/reason"].as_str().unwrap();
    assert!(why.ends_with(" cups are mugs"), "{why}");
    let nothing = api.enact_with(&["edit", "spec/shop"], &[("EDITOR", "true"), (path.0, &path.1)]);
    assert_eq!((nothing.code, nothing.stderr.as_str()), (Some(0), "nothing was changed\n"));
}

#[test]
fn edit_conflict_keeps_both_versions() {
    let (world, api) = world();
    let theirs = two().replace("mugs", "plates");
    world.lock().unwrap().rival = Some(theirs.clone());
    let path = ("PATH", std::env::var("PATH").unwrap());
    let ran = api.enact_with(&["edit", "spec/shop"], &[SED, (path.0, &path.1)]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(text(&world), theirs, "nothing of theirs is lost");
    let yours = fs::read_to_string(api.here().join("shop.yours.md")).unwrap();
    assert_eq!(yours, two().replace("mugs", "cups"), "nothing of yours");
    assert!(ran.stderr.contains("conflict in Feature Specification: Shop > Requirements"), "{}", ran.stderr);
    let merged = fs::read_to_string(api.here().join("shop.merged.md")).unwrap();
    assert!(merged.contains("<<<<<<< ") && merged.contains("plates") && merged.contains("cups"), "{merged}");
    // The command follows the printed hint.
    let base = &digest(&theirs)[7..19];
    assert!(
        ran.stderr.contains(&format!("enact edit specification/shop -f shop.merged.md --base {base}")),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.trim_end().ends_with("-n demo"), "{}", ran.stderr);
    let again = ["edit", "spec/shop", "-f", "shop.merged.md", "--base", base];
    let unsettled = api.enact(&again);
    assert_eq!(unsettled.code, Some(1));
    assert!(unsettled.stderr.contains("a conflict is marked here"), "{}", unsettled.stderr);
    fs::write(api.here().join("shop.merged.md"), two().replace("mugs", "plates and cups")).unwrap();
    let settled = api.enact(&again);
    assert_eq!(settled.code, Some(0), "{}", settled.stderr);
    assert_eq!(text(&world), two().replace("mugs", "plates and cups"));
}

#[test]
fn edit_from_a_file_merges_from_its_base() {
    let (world, api) = world();
    fs::write(api.here().join("new.md"), ONE.replace("None.", "Some.")).unwrap();
    let ran = api.enact(&["edit", "spec/shop", "-f", "new.md", "--base", &digest(ONE)]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(text(&world), two().replace("None.", "Some."), "both changes are in it");
    assert_eq!(
        api.enact(&["edit", "spec/shop", "-f", "new.md"]).code,
        Some(2),
        "without a base nothing is message apart"
    );
    assert_eq!(fs::read_dir(api.here()).unwrap().count(), 2, "the file is kept by its owner: {:?}", api.here());
    fs::write(api.here().join("empty.md"), "\n").unwrap();
    let empty = api.enact(&["edit", "spec/shop", "-f", "empty.md", "--base", &digest(ONE)]);
    assert!(empty.code == Some(1) && empty.stderr.contains("the document is empty"), "{}", empty.stderr);
}

#[test]
fn document_in_git_gets_a_patch() {
    let (world, api) = world();
    let git = json!({ "url": "https://git.example.com/shop.git", "revision": "main", "path": "specs/001/spec.md" });
    world.lock().unwrap().object["spec"]["source"] = json!({ "git": git });
    let ran = api.enact(&["rollback", "spec/shop", "1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("git apply"), "{}", ran.stderr);
    fs::create_dir_all(api.here().join("work/specs/001")).unwrap();
    fs::write(api.here().join("work/specs/001/spec.md"), two()).unwrap();
    fs::write(api.here().join("work/rollback.patch"), &ran.stdout).unwrap();
    let applied = std::process::Command::new("git")
        .args(["apply", "rollback.patch"])
        .env("GIT_CEILING_DIRECTORIES", api.here())
        .current_dir(api.here().join("work"))
        .output()
        .unwrap();
    assert!(applied.status.success(), "{}\n{}", String::from_utf8_lossy(&applied.stderr), ran.stdout);
    assert_eq!(fs::read_to_string(api.here().join("work/specs/001/spec.md")).unwrap(), ONE);
    assert!(api.writes().iter().all(|request| request.method != "PATCH"));
}

#[test]
fn document_in_a_config_map_is_changed_there() {
    let (world, _) = world();
    let played = Arc::clone(&world);
    let map = "/api/v1/namespaces/demo/configmaps/cart";
    let source = json!({ "configMapKeyRef": { "name": "cart", "key": "spec.md" } });
    world.lock().unwrap().object["spec"]["source"] = source;
    let api = Fake::start(move |request| match (request.method.as_str(), request.path.as_str()) {
        ("GET" | "PATCH", path) if path == map => Answer::Ok(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "cart", "resourceVersion": "40" },
            "data": { "spec.md": two(), "other": "x" },
        })),
        _ => played.lock().unwrap().answer(request),
    });
    let ran = api.enact(&["rollback", "spec/shop", "1", "--yes"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let writes: Vec<Request> = api.writes().into_iter().filter(|request| request.method == "PATCH").collect();
    assert_eq!(writes[0].line(), format!("PATCH {SPECIFICATION}"), "the reason is there before the text");
    assert_eq!(writes[0].body["spec"], Value::Null);
    assert_eq!(writes[1].line(), format!("PATCH {map}"));
    assert_eq!(writes[1].body, json!({ "metadata": { "resourceVersion": "40" }, "data": { "spec.md": ONE } }));
    assert_eq!(writes.len(), 2);
}

#[test]
fn a_name_of_several_objects_needs_its_kind() {
    let (_, api) = world();
    let ran = api.enact(&["history", "shop"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("have the name shop: write specification/shop or plan/shop"), "{}", ran.stderr);
    let ran = api.enact(&["history", "nothing"]);
    assert!(ran.stderr.contains("there is no Constitution, Specification or Plan nothing"), "{}", ran.stderr);
}

// Answering.

#[test]
fn lists_and_answers_questions() {
    let (world, api) = world();
    world.lock().unwrap().object["status"]["questions"] = json!([
        { "id": "Q-1", "text": "How long\u{7}?", "options": ["30 days", "a year"], "line": 5, "location": "FR-001" },
        { "id": "Q-2", "text": "Who?", "line": 6 },
    ]);
    world.lock().unwrap().object["spec"]["clarifications"] = json!([{ "question": "Q-0", "answer": "yes" }]);
    let listed = api.enact(&["clarify", "shop"]);
    assert_eq!(
        (listed.code, listed.stdout.as_str()),
        (Some(0), "Q-1 (FR-001, line 5): How long ?\n  1. 30 days\n  2. a year\nQ-2 (line 6): Who?\n")
    );
    assert_eq!(api.writes(), []);
    let ran = api.enact(&["clarify", "spec/shop", "--answer", "Q-1=two = years\n", "--answer", "Q-0=no"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(
        world.lock().unwrap().object["spec"]["clarifications"],
        json!([{ "question": "Q-0", "answer": "no" }, { "question": "Q-1", "answer": "two = years" }])
    );
    let unknown = api.enact(&["clarify", "shop", "--answer", "Q-9=x"]);
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown.stderr.contains("there is no question Q-9; the questions that are open are Q-1, Q-2"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn answers_become_a_patch_for_git() {
    let (world, api) = world();
    {
        let mut world = world.lock().unwrap();
        world.set(&two().replace("mugs", "[NEEDS CLARIFICATION: mugs or cups?]"));
        let git = json!({ "url": "https://git.example.com/shop.git", "revision": "main", "path": "spec.md" });
        world.object["spec"]["source"] = json!({ "git": git });
        world.object["status"]["questions"] = json!([{ "id": "Q-1", "text": "mugs or cups?", "line": 5 }]);
    }
    let ran = api.enact(&["clarify", "shop", "--patch", "--answer", "Q-1=both"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("diff --git a/spec.md b/spec.md\n--- a/spec.md\n+++ b/spec.md\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("+- Q: mugs or cups? → A: both\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("-- **FR-001**: It MUST sell [NEEDS CLARIFICATION: mugs or cups?]"), "{}", ran.stdout);
    assert!(api.writes().iter().all(|request| request.method != "PATCH"));
}

// Deciding.

fn approve(api: &Fake) -> fake::Ran {
    api.enact(&["approve", "spec/shop"])
}

#[test]
fn approval_shows_the_difference_first() {
    let (world, api) = world();
    let ran = approve(&api);
    assert_eq!(ran.code, Some(1), "nobody was there to ask");
    let at = |part: &str| ran.stderr.find(part).unwrap_or_else(|| panic!("{part:?} is not in: {}", ran.stderr));
    assert!(at("since it was approved last:") < at("It MUST sell{+ mugs+}"), "{}", ran.stderr);
    assert!(at("It MUST sell{+ mugs+}") < at("add --yes"), "{}", ran.stderr);
    world.lock().unwrap().away = true;
    let away = approve(&api);
    let message = "the difference from the content that was approved last cannot be shown: the server cannot be reached: no endpoints available";
    assert!(away.stderr.contains(message) && away.stderr.contains("Approve this content?"), "{}", away.stderr);
    world.lock().unwrap().object["status"]["approvedDigest"] = Value::Null;
    assert!(approve(&api).stderr.contains("nothing was approved before"));
}

#[test]
fn another_content_than_that_of_the_digest_is_not_shown() {
    let (world, api) = world();
    world.lock().unwrap().forged = Some(ONE.replace("sell", "give"));
    let ran = approve(&api);
    let message = "cannot be shown: the answer of the server is not the content with the digest sha256:";
    assert!(ran.stderr.contains(message) && !ran.stderr.contains("MUST give"), "{}", ran.stderr);
}

#[test]
fn plan_approval_shows_the_difference_to_the_last_plan() {
    let (world, api) = world();
    let approve = || api.enact(&["approve", "plan/shop"]).stderr;
    let first = approve();
    assert!(first.contains("  nothing was approved before\n") && first.contains("Approve this content?"), "{first}");

    let does = |title: &str| {
        json!({ "agentRef": { "name": "coder" }, "tasks": [{ "id": "T001", "title": title, "script": "true" }], "gates": [], "specificationRef": null, "workspace": null }).to_string()
    };
    world.lock().unwrap().plans = vec![does("Sell tea"), does("Sell cups")];
    let shown = approve();
    let at = |part: &str| shown.find(part).unwrap_or_else(|| panic!("{part:?} is not in: {shown}"));
    assert!(at("since the last Plan of this name was approved:") < at("Sell [-cups-]"), "{shown}");
    assert!(at("{+mugs+}") < at("add --yes") && !shown.contains("tea"), "{shown}");
    // The content in the cluster is shown before it is recorded.
    let diff = api.enact(&["diff", "plan/shop", "1", "present"]);
    assert!(
        diff.stdout.contains("Sell [-tea-]") && diff.stdout.contains("Sell {+mugs+}"),
        "{} {}",
        diff.stdout,
        diff.stderr
    );

    // The command shows only the content of the digest, and not a later change.
    world.lock().unwrap().plan["spec"]["tasks"][0]["script"] = "curl".into();
    let message = "the difference from the content that was approved last cannot be shown: Plan shop was changed after the operator read it";
    assert!(approve().contains(message), "{}", approve());
    let tea = plan(&json!([{ "id": "T001", "title": "Sell tea", "script": "true" }]));
    {
        let mut world = world.lock().unwrap();
        world.plans = vec![does("Sell cups"), canonical(&tea["spec"])];
        world.plan = tea;
    }
    assert!(approve().contains("it does not differ from the content that was approved last"), "{}", approve());
}
