//! `enact check`, run as a user does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const SPEC: &str = "# Feature Specification: Door

## Requirements

### Functional Requirements

- **FR-001**: The door MUST open within TBD seconds.
<!-- enact: accept Placeholder the supplier decides -->
- **FR-002**: The door MUST lock within TBD seconds.
";
const TASKS: &str =
    "# Tasks: Door\n\n## Phase 1: Setup\n\n- [ ] T001 Hang the door (FR-001)\n- [ ] T002 Oil the lock (FR-002)\n";
const CONSTITUTION: &str = "# Door Constitution\n\n## Core Principles\n\n### I. Test First\n\nTests MUST come first.\n\n\
                            **Version**: 1.0.0 | **Ratified**: 2026-01-31 | **Last Amended**: 2026-01-31\n";

#[derive(Debug, PartialEq, Eq)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn check(here: &Path, arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_enact"))
        .arg("check")
        .args(arguments)
        .current_dir(here)
        .env("KUBECONFIG", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may have ended before.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn json_of(here: &Path, arguments: &[&str]) -> Value {
    let ran = check(here, &[arguments, &["--output", "json"]].concat(), b"");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// Creates a project with these files.
fn project(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join(".git")).unwrap();
    for (name, content) in files {
        write(root.path(), name, content);
    }
    root
}

fn write(root: &Path, name: &str, content: &str) {
    let file = root.join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
}

fn door() -> TempDir {
    project(&[
        ("specs/001-door/spec.md", SPEC),
        ("specs/001-door/tasks.md", TASKS),
        (".specify/memory/constitution.md", CONSTITUTION),
    ])
}

#[test]
fn text_has_a_line_for_each_finding() {
    let root = door();
    let ran = check(root.path(), &[], b"");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let found = "specs/001-door/spec.md:7:41: High: TBD is used in place of a decision; ";
    assert!(
        ran.stdout.lines().any(|l| l.starts_with(found) && l.ends_with(" (Placeholder at FR-001)")),
        "{}",
        ran.stdout
    );
    let accepted = "specs/001-door/spec.md:9:41: accepted: the supplier decides (Placeholder at FR-002)";
    assert!(ran.stdout.lines().any(|l| l == accepted), "{}", ran.stdout);
    let summary = ran.stdout.lines().last().unwrap();
    assert!(summary.starts_with("3 documents: 0 critical, ") && summary.ends_with(", 1 accepted"), "{summary}");
    assert_eq!(ran.stderr, "");
}

#[test]
fn hints_are_printed_on_request_and_count_for_nothing() {
    let root = door();
    write(root.path(), "specs/001-door/spec.md", &format!("{SPEC}- **FR-003**: The door MUST show a helpful error.\n"));
    let (without, with) = (check(root.path(), &["specs"], b""), check(root.path(), &["specs", "--hints"], b""));
    let is_hint = |line: &&str| line.contains(": hint: \"helpful\" ") && line.ends_with(" (VagueQuality at FR-003)");
    assert_eq!((without.stdout.lines().filter(is_hint).count(), with.stdout.lines().filter(is_hint).count()), (0, 1));
    // The hints are between the findings and the summary.
    assert_eq!((without.code, without.stdout.lines().last()), (with.code, with.stdout.lines().last()));
    assert!(without.stdout.lines().all(|line| with.stdout.contains(line)), "{with:?}");
    let report = json_of(root.path(), &["specs"]);
    let hints = report["documents"][0]["hints"].as_array().unwrap();
    assert!(hints.iter().any(|h| h["code"] == "VagueQuality" && h["location"] == "FR-003"), "{report:#}");
}

#[test]
fn exit_code_follows_the_severity() {
    let root = door();
    write(root.path(), "good/tasks.md", TASKS);
    let code = |arguments: &[&str]| check(root.path(), arguments, b"").code;
    assert_eq!(code(&["good"]), Some(0));
    for (fail_on, wanted) in [("high", 1), ("medium", 1), ("low", 1), ("never", 0)] {
        assert_eq!(code(&["--fail-on", fail_on, "specs"]), Some(wanted), "{fail_on}");
    }
    let low =
        "# Tasks: Door\n\n## Phase 1: Setup\n\n- [ ] T001 Hang the door <!-- enact: accept NoSuchCode in a test -->\n";
    write(root.path(), "low/tasks.md", low);
    assert_eq!((code(&["low", "--fail-on", "medium"]), code(&["low", "--fail-on", "low"])), (Some(0), Some(1)));
    write(root.path(), "broken/spec.md", "");
    assert_eq!(code(&["broken"]), Some(1));
    for arguments in [&["nowhere"][..], &["--fail-on", "bad"], &["--output", "xml"], &[".git"], &["good", "nowhere"]] {
        let ran = check(root.path(), arguments, b"");
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.starts_with("error: "), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn json_has_counts_and_places() {
    let root = door();
    let report = json_of(root.path(), &["."]);
    assert_eq!((&report["version"], &report["enact"]), (&json!(1), &json!(env!("CARGO_PKG_VERSION"))));
    let documents = report["documents"].as_array().unwrap();
    let listed: Vec<(&Value, &Value)> = documents.iter().map(|d| (&d["path"], &d["kind"])).collect();
    let wanted = [
        (json!(".specify/memory/constitution.md"), json!("constitution")),
        (json!("specs/001-door/spec.md"), json!("specification")),
        (json!("specs/001-door/tasks.md"), json!("tasks")),
    ];
    assert_eq!(listed, wanted.iter().map(|(path, kind)| (path, kind)).collect::<Vec<_>>());
    let spec = &documents[1];
    assert!(spec["quality"].is_u64() && documents[2]["quality"].is_null());
    let finding = spec["findings"].as_array().unwrap().iter().find(|f| f["code"] == "Placeholder").unwrap();
    assert_eq!((&finding["line"], &finding["column"], &finding["endColumn"]), (&json!(7), &json!(41), &json!(44)));
    assert_eq!((&finding["severity"], &finding["category"]), (&json!("High"), &json!("Ambiguity")));
    assert_eq!((&finding["location"], &finding["reason"]), (&json!("FR-001"), &Value::Null));
    let accepted = spec["accepted"].as_array().unwrap();
    assert_eq!((accepted.len(), &accepted[0]["reason"]), (1, &json!("the supplier decides")));
    assert_eq!((&spec["counts"]["accepted"], &report["counts"]["accepted"]), (&json!(1), &json!(1)));
    let open: usize = documents.iter().map(|d| d["findings"].as_array().unwrap().len()).sum();
    let counted: u64 =
        ["critical", "high", "medium", "low"].iter().map(|s| report["counts"][s].as_u64().unwrap()).sum();
    assert_eq!(counted, open as u64);
}

#[test]
fn sarif_has_rules_and_relative_places() {
    let root = door();
    write(root.path(), "specs/002-a b/spec.md", SPEC);
    let ran = check(root.path(), &["--output", "sarif"], b"");
    let sarif: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &sarif["version"]), (Some(1), &json!("2.1.0")));
    let run = &sarif["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert!(!results.is_empty());
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(rules[index]["helpUri"].as_str().unwrap().starts_with("https://"), "{}", rules[index]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        let region = &result["locations"][0]["physicalLocation"]["region"];
        assert!(region["startLine"].as_u64() >= Some(1) && region["startColumn"].as_u64() >= Some(1), "{result}");
        assert!(!result["partialFingerprints"]["enactFinding/v1"].as_str().unwrap().is_empty());
    }
    let places: Vec<(&str, bool)> = results
        .iter()
        .filter(|r| r["ruleId"] == "Placeholder")
        .map(|r| {
            let uri = &r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
            (uri.as_str().unwrap(), r["suppressions"][0]["justification"] == "the supplier decides")
        })
        .collect();
    let (first, second) = ("specs/001-door/spec.md", "specs/002-a%20b/spec.md");
    assert_eq!(places, [(first, false), (first, true), (second, false), (second, true)]);
}

#[test]
fn github_output_is_one_command_for_each_finding() {
    let root = project(&[("specs/a,b:c/spec.md", SPEC)]);
    let ran = check(root.path(), &["--output", "github"], b"");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let wanted = "::error file=specs/a%2Cb%3Ac/spec.md,line=7,endLine=7,col=41,endColumn=44,title=High Placeholder at FR-001::TBD ";
    assert!(ran.stdout.lines().any(|line| line.starts_with(wanted)), "{}", ran.stdout);
    assert!(!ran.stdout.contains("the supplier decides"), "an accepted finding is not annotated");
    assert!(ran.stdout.lines().all(|line| line.starts_with("::")), "{}", ran.stdout);
    assert!(ran.stderr.starts_with("1 document: "), "{}", ran.stderr);
}

#[test]
fn hostile_documents_control_neither_terminal_nor_workflow() {
    let hostile = "# Feature Specification: \u{1b}]0;x\u{7}\n\n## Requirements\n\n\
                   - **FR-001**: The \u{1b}[2J \u{202e}door MUST open. [NEEDS CLARIFICATION: why?\u{1b}M \u{9b}2J ::error::%0A]\n";
    let root = project(&[("spec.md", hostile)]);
    for output in ["text", "json", "sarif", "github"] {
        let ran = check(root.path(), &["--output", output, "spec.md"], b"");
        assert!(ran.stdout.contains("OpenMarker"), "{output}: {ran:?}");
        let is_bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!ran.stdout.contains(is_bad) && !ran.stderr.contains(is_bad), "{output}: {ran:?}");
        assert!(!ran.stdout.lines().any(|line| line.starts_with("::error::")), "{output}: {ran:?}");
    }
    let large = "x".repeat(3 << 20);
    let ran = check(root.path(), &["-"], large.as_bytes());
    assert!(ran.code == Some(1) && ran.stdout.contains("DocumentTooLarge"), "{ran:?}");
}

#[test]
fn standard_input_is_a_document() {
    let root = project(&[]);
    let ran = check(root.path(), &["--kind", "tasks", "-"], TASKS.as_bytes());
    assert_eq!((ran.code, ran.stdout.ends_with(", 0 accepted\n")), (Some(0), true), "{ran:?}");
    let ran = check(root.path(), &["-"], SPEC.as_bytes());
    assert!(ran.code == Some(1) && ran.stdout.contains("-:7:41: High: "), "{ran:?}");
}

#[test]
fn project_is_searched_without_hidden_directories() {
    let root = door();
    for ignored in [".git/spec.md", ".cache/spec.md", "node_modules/a/spec.md", "docs/plan.md", "constitution.md"] {
        write(root.path(), ignored, SPEC);
    }
    write(root.path(), "packages/lock/specs/001-lock/spec.md", SPEC);
    write(root.path(), "packages/lock/specs/001-lock/plan.md", "# Implementation Plan: Lock\n");
    write(root.path(), ".kiro/specs/bolt/tasks.md", TASKS);
    let paths = |arguments: &[&str]| -> Vec<String> {
        let report = json_of(root.path(), arguments);
        report["documents"].as_array().unwrap().iter().map(|d| d["path"].as_str().unwrap().to_owned()).collect()
    };
    let all = [
        ".kiro/specs/bolt/tasks.md",
        ".specify/memory/constitution.md",
        "packages/lock/specs/001-lock/spec.md",
        "packages/lock/specs/001-lock/plan.md",
        "specs/001-door/spec.md",
        "specs/001-door/tasks.md",
    ];
    assert_eq!(paths(&["."]), all);
    let absolute = root.path().canonicalize().unwrap();
    assert_eq!(
        paths(&[absolute.to_str().unwrap(), "specs"]),
        all,
        "each document once, relative to the current directory"
    );
    assert_eq!(paths(&["specs/001-door/tasks.md"]), ["specs/001-door/tasks.md"]);
}

#[test]
fn constitution_of_a_project_is_compared() {
    let root = door();
    let forbids = CONSTITUTION.replace("Tests MUST come first.", "Services MUST NOT use MongoDB.");
    write(root.path(), ".specify/memory/constitution.md", &forbids);
    write(root.path(), "specs/001-door/spec.md", &format!("{SPEC}- **FR-003**: The service MUST use MongoDB.\n"));
    let report = json_of(root.path(), &["specs/001-door"]);
    let findings = report["documents"][0]["findings"].as_array().unwrap();
    assert!(findings.iter().any(|f| f["code"] == "ForbiddenByConstitution" && f["location"] == "FR-003"), "{report:#}");
}

#[cfg(unix)]
#[test]
fn symbolic_links_are_not_followed() {
    let outside = project(&[("spec.md", SPEC), ("feature/spec.md", SPEC)]);
    let root = project(&[("specs/002-own/spec.md", SPEC), ("specs/001-link/tasks.md", TASKS)]);
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(outside.path().join(target), root.path().join(name)).unwrap();
    };
    link("spec.md", "specs/001-link/spec.md");
    link("feature", "specs/003-link");
    let ran = check(root.path(), &[], b"");
    assert!(!ran.stdout.contains("001-link/spec.md:") && !ran.stdout.contains("003-link"), "{ran:?}");
    assert!(ran.stdout.contains("specs/002-own/spec.md:7:41: "), "{ran:?}");
    assert_eq!(ran.stderr, "note: ./specs/001-link/spec.md is a symbolic link and is not checked\n");
}

#[test]
fn output_is_deterministic() {
    let root = project(&[]);
    for number in 0..200 {
        write(root.path(), &format!("specs/{number:03}-door/spec.md"), SPEC);
    }
    let first = check(root.path(), &["--output", "json"], b"");
    assert_eq!(first, check(root.path(), &["--output", "json"], b""));
    let report: Value = serde_json::from_str(&first.stdout).unwrap();
    let paths: Vec<&str> =
        report["documents"].as_array().unwrap().iter().map(|d| d["path"].as_str().unwrap()).collect();
    assert!(paths.len() == 200 && paths.is_sorted(), "{paths:?}");
}

/// Returns a file of the repository as YAML.
fn definition(name: &str) -> Value {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn definitions_for_pre_commit_and_github_call_the_command() {
    let root = door();
    let hooks = definition(".pre-commit-hooks.yaml");
    let entry: Vec<&str> = hooks[0]["entry"].as_str().unwrap().split(' ').collect();
    assert_eq!(entry[..2], ["enact", "check"]);
    assert_eq!(check(root.path(), &entry[2..], b"").code, Some(1));

    let action = definition("action.yml");
    let steps = action["runs"]["steps"].as_array().unwrap();
    assert_eq!(action["runs"]["using"], "composite");
    assert!(steps.iter().all(|step| step["shell"] == "bash"), "{steps:?}");
    // An expression in a script would run what a pull request writes. Inputs are environment variables.
    assert!(steps.iter().all(|step| !step["run"].as_str().unwrap().contains("${{")), "{steps:?}");
    let script = steps.last().unwrap()["run"].as_str().unwrap();
    let file = root.path().join("enact.sarif");
    let run = |path: &str, fail_on: &str, file: &Path| {
        let binary = Path::new(env!("CARGO_BIN_EXE_enact")).parent().unwrap();
        let search = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.args(["-e", "-c", script]).current_dir(root.path()).env("PATH", search);
        command.env("CHECK_PATH", path).env("FAIL_ON", fail_on).env("SARIF_FILE", file);
        command.output().unwrap()
    };
    let annotated = run(".", "high", &file);
    assert_eq!(annotated.status.code(), Some(1), "{annotated:?}");
    assert!(annotated.stdout.starts_with(b"::"), "{annotated:?}");
    let sarif: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(run(".", "never", Path::new("")).status.code(), Some(0));
    assert_eq!(run("nowhere", "never", Path::new("")).status.code(), Some(2));
}
