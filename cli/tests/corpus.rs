//! Real Spec Kit projects, if they exist. Each is imported as a user does, and the API server would accept the resulting objects.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "support/manifests.rs"]
mod manifests;
#[path = "support/schema.rs"]
mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use enact_crds::common::LocalRef;
use enact_crds::{Constitution, Plan, Specification, Task, TaskSpec, compile};
use enact_domain::names::is_label;
use manifests::Manifests;
use regex::Regex;
use schema::Schemas;
use serde::Serialize;
use serde_json::Value;

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn import(path: &Path, options: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_enact")).arg("import").arg(path).args(options).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let ran = Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
    assert!(matches!(ran.code, Some(0 | 1)), "{}: {:?}: {}", path.display(), ran.code, ran.stderr);
    ran
}

/// Returns a folder of test material beside the repository, if it exists.
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}

/// Finds all directories below that contain a feature.
fn features(directory: &Path, found: &mut Vec<PathBuf>) {
    if directory.join("spec.md").is_file() || directory.join("tasks.md").is_file() {
        found.push(directory.to_owned());
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.iter().filter(|path| path.is_dir()).for_each(|path| features(path, found));
}

fn accept<K: Serialize + Debug>(schemas: &Schemas, object: &K, place: &Path) {
    let problems = schemas.problems(&serde_json::to_value(object).unwrap());
    assert!(problems.is_empty(), "{}: {problems:#?}", place.display());
}

#[test]
fn real_projects_become_objects_that_the_api_takes() {
    let Some(corpus) = shared("corpus/dev") else { return };
    let schemas = Schemas::load();
    let mut all = Vec::new();
    features(&corpus, &mut all);
    let place = Regex::new(r"\.md:\d+: error: ").unwrap();
    let (mut plans, mut tasks, mut refused) = (0, 0, 0);
    for feature in &all {
        let ran = import(feature, &["--include-done"]);
        if ran.code == Some(1) {
            refused += 1;
            assert_eq!(ran.stdout, "", "{}", feature.display());
            assert!(place.is_match(&ran.stderr), "{}: {}", feature.display(), ran.stderr);
            continue;
        }
        let manifests = Manifests::parse(&ran.stdout);
        for specification in manifests.all::<Specification>() {
            schemas
                .evaluate_rules(&serde_json::json!(specification))
                .unwrap_or_else(|e| panic!("{}: {e:?}", feature.display()));
            accept(&schemas, &specification, feature);
            assert_eq!(
                specification.spec.source.as_ref().and_then(|s| s.inline.clone()),
                fs::read_to_string(feature.join("spec.md")).ok()
            );
        }
        for constitution in manifests.all::<Constitution>() {
            accept(&schemas, &constitution, feature);
        }
        for plan in manifests.all::<Plan>() {
            schemas.evaluate_rules(&serde_json::json!(plan)).unwrap_or_else(|e| panic!("{}: {e:?}", feature.display()));
            accept(&schemas, &plan, feature);
            plans += 1;
            tasks += check_tasks(&schemas, feature, &plan, &ran.stderr);
        }
    }
    println!("{} features: {plans} plans with {tasks} tasks, {refused} refused with their place", all.len());
    assert!(all.len() >= 80 && plans >= 60 && tasks >= 2000, "{} features, {plans} plans, {tasks} tasks", all.len());
}

/// Checks that each task of the document is in the plan, or that `message` reports why not. Returns the number of tasks.
fn check_tasks(schemas: &Schemas, feature: &Path, plan: &Plan, message: &str) -> usize {
    let document = fs::read_to_string(feature.join("tasks.md")).unwrap();
    let inline = plan.spec.source.as_ref().and_then(|source| source.inline.as_ref()).unwrap();
    let boxes = Regex::new(r"\[[ xX✓✔✅]\x{fe0f}?\]").unwrap();
    assert_eq!(boxes.replace_all(&document, "[ ]"), boxes.replace_all(inline, "[ ]"), "{}", feature.display());

    let (templates, _) = compile::from_markdown(inline.as_bytes(), plan.spec.unread_tasks);
    let compiled = compile::compile(plan.metadata.name.as_deref().unwrap(), templates).unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (task, name) in compiled.tasks.iter().zip(&compiled.names) {
        *counts.entry(task.id.as_str()).or_default() += 1;
        assert!(is_label(name), "{}: {name}", feature.display());
        let spec = TaskSpec { plan_ref: LocalRef { name: plan.metadata.name.clone().unwrap() }, work: task.clone() };
        accept(schemas, &Task::new(name, spec), feature);
    }
    // A separate, simple parser, which knows only the usual form of a task.
    let line = Regex::new(r"(?m)^[ \t]*[-*] \[[ xX]\] (?:\*\*)?(T\d{3,}[a-z]?)\b").unwrap();
    let reported_ids: BTreeSet<&str> = message.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    for id in line.captures_iter(&document).map(|found| found.get(1).unwrap().as_str()) {
        let is_reported = reported_ids.contains(id);
        assert!(
            counts.get(id) == Some(&1) || is_reported,
            "{}: {id} is neither a task nor message of:\n{message}",
            feature.display()
        );
    }
    compiled.tasks.len()
}

#[test]
fn the_same_project_gives_the_same_bytes() {
    let Some(corpus) = shared("corpus/dev") else { return };
    let mut all = Vec::new();
    features(&corpus, &mut all);
    for feature in all.iter().step_by(3) {
        let (first, second) = (import(feature, &[]), import(feature, &[]));
        assert_eq!((first.stdout, first.stderr), (second.stdout, second.stderr), "{}", feature.display());
    }
}

#[test]
fn real_projects_are_checked() {
    let Some(corpus) = shared("corpus/dev") else { return };
    let check = |output: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enact"));
        command.args(["check", "--output", output]).arg(&corpus).output().unwrap()
    };
    let (began, first) = (Instant::now(), check("json"));
    let elapsed = began.elapsed();
    assert!(matches!(first.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&first.stderr));
    assert_eq!(first.stdout, check("json").stdout, "the same documents have the same findings");
    let report: Value = serde_json::from_slice(&first.stdout).unwrap();
    let documents = report["documents"].as_array().unwrap();
    println!("{} documents in {elapsed:?}: {}", documents.len(), report["counts"]);
    assert!(documents.len() >= 200, "{}", documents.len());
    for document in documents {
        let text = fs::read_to_string(document["path"].as_str().unwrap()).unwrap();
        for finding in document["findings"].as_array().unwrap() {
            let (line, column) = (finding["line"].as_u64().unwrap(), finding["column"].as_u64().unwrap());
            let found = text.lines().nth(usize::try_from(line).unwrap() - 1).unwrap_or_default();
            let last = u64::try_from(found.chars().count()).unwrap() + 1;
            let end = finding["endColumn"].as_u64().unwrap();
            assert!((1..=end).contains(&column) && end <= last, "{}: {finding}: {found}", document["path"]);
        }
    }
    let sarif: Value = serde_json::from_slice(&check("sarif").stdout).unwrap();
    let total: usize = documents.iter().map(|d| d["findings"].as_array().unwrap().len()).sum();
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), total);
}

#[test]
fn a_document_alone_becomes_a_specification() {
    let Some(seeds) = shared("seeds") else { return };
    let path = seeds.join("system-architecture-spec.md");
    let ran = import(&path, &["--namespace", "demo"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let manifests = Manifests::parse(&ran.stdout);
    assert_eq!(manifests.kinds(), ["Specification"]);
    let specification: Specification = manifests.only();
    assert_eq!(specification.metadata.name.as_deref(), Some("system-architecture-spec"));
    assert_eq!(specification.spec.source.as_ref().and_then(|s| s.inline.clone()), fs::read_to_string(&path).ok());
    let schemas = Schemas::load();
    accept(&schemas, &specification, &path);
    schemas.evaluate_rules(&serde_json::json!(specification)).unwrap();
    let parsed = enact_domain::speckit::spec::parse(&fs::read(&path).unwrap()).model;
    assert!(!parsed.stories.is_empty() && !parsed.requirements.is_empty() && !parsed.success_criteria.is_empty());
}
