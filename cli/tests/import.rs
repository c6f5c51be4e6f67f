//! `enact import`, run as a user does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "support/manifests.rs"]
mod manifests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use enact_crds::agent::Adapter;
use enact_crds::common::{ApprovalPolicy, LocalRef};
use enact_crds::{Agent, Constitution, Plan, Specification};
use manifests::Manifests;

fn feature() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/speckit/specs/001-word-count")
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn import(path: &Path, options: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_enact")).arg("import").arg(path).args(options).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Creates a feature with these files, in a directory `001-door` of its own repository.
fn with(files: &[(&str, &[u8])]) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let feature = root.path().join("specs/001-door");
    fs::create_dir_all(&feature).unwrap();
    fs::create_dir(root.path().join(".git")).unwrap();
    for (name, content) in files {
        let file = feature.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    (root, feature)
}

const SPEC: &[u8] = b"# Feature Specification: Door\n\n## Requirements\n\n- **FR-001**: The door MUST open.\n";
const TASKS: &[u8] = b"# Tasks: Door\n\n## Phase 1: Setup\n\n- [ ] T001 Hang the door\n- [ ] T002 Oil the hinge\n";

#[test]
fn project_becomes_objects_with_the_same_text() {
    let ran = import(&feature(), &["--namespace", "demo", "--agent", "scripts"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let manifests = Manifests::parse(&ran.stdout);
    assert_eq!(manifests.kinds(), ["Constitution", "Plan", "Specification"]);
    let document = |name: &str| Some(fs::read_to_string(feature().join(name)).unwrap());
    let constitution: Constitution = manifests.only();
    let specification: Specification = manifests.only();
    let plan: Plan = manifests.only();
    assert_eq!(constitution.spec.source.inline, document("../../.specify/memory/constitution.md"));
    assert_eq!(specification.spec.source.as_ref().and_then(|s| s.inline.clone()), document("spec.md"));
    assert_eq!(plan.spec.source.clone().unwrap().inline, document("tasks.md"));
    assert_eq!(specification.spec.constitution_ref, Some(LocalRef { name: "constitution".into() }));
    assert_eq!(plan.spec.specification_ref, Some(LocalRef { name: "f001-word-count".into() }));
    assert_eq!(plan.spec.agent_names().collect::<Vec<_>>(), ["scripts"]);
    assert_eq!(plan.spec.workspace, None);
    for metadata in [constitution.metadata, specification.metadata, plan.metadata] {
        assert_eq!(metadata.namespace.as_deref(), Some("demo"));
    }
    assert!(ran.stderr.contains("tasks.md: 8 tasks (7 open) in 5 phases"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("error") && !ran.stderr.contains("warning"), "{}", ran.stderr);
}

#[test]
fn output_is_deterministic() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_string_lossy().into_owned();
    assert_eq!(import(&feature(), &["--out", &path]).code, Some(0));
    assert_eq!(fs::read_to_string(file.path()).unwrap(), import(&feature(), &[]).stdout);
}

#[test]
fn options_become_fields() {
    let options = "--name door --approve-groups leads,security --git-url https://git.example.com/door.git --revision v1 \
                   --credentials-secret git.read --integration-branch main --integration-secret write --no-constitution";
    let ran = import(&feature(), &options.split_whitespace().collect::<Vec<_>>());
    let manifests = Manifests::parse(&ran.stdout);
    assert_eq!(manifests.kinds(), ["Plan", "Specification"]);
    let plan: Plan = manifests.only();
    let approval = ApprovalPolicy {
        required: 1,
        groups: vec!["leads".into(), "security".into()],
        four_eyes: true,
        ..ApprovalPolicy::default()
    };
    assert_eq!((plan.metadata.name.as_deref(), &plan.spec.approval), (Some("door"), &approval));
    assert_eq!(manifests.only::<Specification>().spec.approval, approval);
    let workspace = plan.spec.workspace.unwrap();
    let name = |reference: Option<LocalRef>| reference.unwrap().name;
    assert_eq!((workspace.url.as_str(), workspace.revision.as_str()), ("https://git.example.com/door.git", "v1"));
    assert_eq!(name(workspace.credentials_secret_ref), "git.read");
    assert_eq!(workspace.integration.branch.as_deref(), Some("main"));
    assert_eq!(name(workspace.integration.credentials_secret_ref), "write");
}

/// Checks that objects that the API server would refuse are not printed.
#[test]
fn integration_needs_its_own_secret_and_branch() {
    let long = "a".repeat(254);
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--credentials-secret", "git"], 2, "--integration-secret"),
        (&["--credentials-secret", "git", "--integration-secret", "git"], 1, "a Secret of its own"),
        (&["--integration-secret", "Git"], 2, "1 to 253 of a-z"),
        (&["--integration-secret", &long], 2, "1 to 253 of a-z"),
        (&["--integration-branch", "enact/shop"], 2, "agents push to branches below enact"),
        (&["--integration-branch", "a..b"], 2, "must not contain"),
    ];
    for (options, code, words) in cases {
        let ran = import(&feature(), &[&["--git-url", "https://git.example.com/door.git"], options].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{options:?}");
        assert!(ran.stderr.contains(words), "{options:?}: {}", ran.stderr);
    }
    let alone = ["--git-url", "https://git.example.com/door.git", "--integration-secret", "git"];
    assert_eq!(import(&feature(), &alone).code, Some(0));
}

#[test]
fn ticked_tasks_need_include_done() {
    let done = b"# Tasks: Door\n\n## Phase 1: Setup\n\n- [x] T001 Hang the door\n- [X] T002 Oil the hinge\n- [-] T003 Paint it\n";
    let (_root, feature) = with(&[("tasks.md", done)]);
    let ran = import(&feature, &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("no Plan is printed; use --include-done to include ticked tasks"), "{}", ran.stderr);
    let ran = import(&feature, &["--include-done"]);
    let plan: Plan = Manifests::parse(&ran.stdout).only();
    let wanted = String::from_utf8_lossy(done).replace("[x]", "[ ]").replace("[X]", "[ ]");
    assert_eq!(plan.spec.source.unwrap().inline, Some(wanted));
    assert!(ran.stderr.contains("2 ticked tasks are included as open tasks"), "{}", ran.stderr);
}

#[test]
fn script_becomes_an_agent() {
    let script = "grep -o 'T[0-9]*' \"$ENACT_PROMPT_FILE\" | head -1 > done.txt\n";
    let (_root, feature) = with(&[("tasks.md", TASKS), ("work.sh", script.as_bytes()), ("empty.sh", b"\n")]);
    let path = |name: &str| feature.join(name).to_string_lossy().into_owned();
    let ran = import(&feature, &["--agent", "notes", "--script", &path("work.sh")]);
    let manifests = Manifests::parse(&ran.stdout);
    assert_eq!(manifests.kinds(), ["Agent", "Plan"]);
    let agent: Agent = manifests.only();
    assert_eq!((agent.metadata.name.as_deref(), agent.spec.adapter), (Some("notes"), Adapter::Command));
    assert_eq!(agent.spec.script.as_deref(), Some(script));
    assert_eq!(manifests.only::<Plan>().spec.agent_names().collect::<Vec<_>>(), ["notes"]);
    let refused = import(&feature, &["--script", &path("empty.sh")]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    assert!(refused.stderr.contains("empty.sh is empty"), "{}", refused.stderr);
}

#[test]
fn reports_missing_documents() {
    let (_root, feature) = with(&[("tasks.md", TASKS)]);
    let ran = import(&feature, &[]);
    assert_eq!(Manifests::parse(&ran.stdout).kinds(), ["Plan"]);
    for missing in ["spec.md", "plan.md", "constitution.md"] {
        assert!(ran.stderr.contains(missing), "{missing} is not message in: {}", ran.stderr);
    }
}

#[test]
fn an_old_layout_is_read() {
    let (_root, feature) = with(&[
        ("spec.md", SPEC),
        ("../../memory/constitution.md", b"# C\n\n## Core Principles\n\n### I. Oil\n\nHinges MUST be oiled.\n"),
    ]);
    assert_eq!(Manifests::parse(&import(&feature, &[]).stdout).kinds(), ["Constitution", "Specification"]);
}

#[test]
fn one_file_becomes_one_object() {
    let (_root, feature) = with(&[("spec.md", SPEC), ("tasks.md", TASKS), ("Notes on doors.md", SPEC)]);
    for (file, kind, name) in [
        ("spec.md", "Specification", "f001-door"),
        ("tasks.md", "Plan", "f001-door"),
        ("Notes on doors.md", "Specification", "notes-on-doors"),
    ] {
        let ran = import(&feature.join(file), &[]);
        assert_eq!(Manifests::parse(&ran.stdout).kinds(), [kind]);
        assert!(ran.stdout.contains(&format!("name: {name}\n")), "{}", ran.stdout);
    }
}

#[test]
fn carriage_returns_survive() {
    let text = String::from_utf8_lossy(SPEC).replace('\n', "\r\n");
    let (_root, feature) = with(&[("spec.md", text.as_bytes())]);
    let specification: Specification = Manifests::parse(&import(&feature, &[]).stdout).only();
    assert_eq!(specification.spec.source.as_ref().and_then(|s| s.inline.clone()), Some(text));
}

#[test]
fn refuses_invalid_documents_with_their_line() {
    let cycle = b"# Tasks: Door\n\n## Phase 1: Setup\n\n- [ ] T001 Hang it (depends on T002)\n- [ ] T002 Oil it (depends on T001)\n";
    for (file, content, message) in [
        (
            "tasks.md",
            cycle.as_slice(),
            "tasks.md:5: error: tasks wait for each other: T001 waits for T002 (line 5), T002 waits for T001 (line 6)",
        ),
        ("spec.md", b" \n".as_slice(), "spec.md:1: error: the document is empty"),
        ("spec.md", b"one\ntwo \0".as_slice(), "spec.md:2: error: byte 8 is NUL"),
        ("spec.md", vec![b'a'; (1 << 20) + 5].as_slice(), "spec.md:1: error: the document has 1048577 bytes"),
    ] {
        let (_root, feature) = with(&[(file, content)]);
        let ran = import(&feature, &[]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{message}");
        assert!(ran.stderr.contains(message), "{message} is not in: {}", ran.stderr);
    }
}

#[test]
fn wrong_arguments_get_advice() {
    let (root, feature) = with(&[("spec.md", SPEC), ("plan.md", b"# Implementation Plan: Door\n")]);
    let ran = import(root.path(), &[]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("import one of its features") && ran.stderr.contains("001-door"), "{}", ran.stderr);
    assert_eq!(import(&feature.join("plan.md"), &[]).code, Some(1));
    for options in [["--git-url", "ext::sh -c true"], ["--revision", "main"], ["--agent", "Not A Name"]] {
        assert_eq!(import(&feature, &options).code, Some(2), "{options:?}");
    }
    assert_eq!(import(&feature, &["--git-url", "https://x/y", "--revision=--upload-pack=x"]).code, Some(2));
}

/// Imports real projects, if they exist.
#[test]
fn real_projects_are_kept_byte_for_byte() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/dev");
    let Ok(projects) = fs::read_dir(&corpus) else {
        eprintln!("skipped: {} is not there", corpus.display());
        return;
    };
    let mut imported = 0;
    let features =
        projects.flat_map(|project| fs::read_dir(project.unwrap().path().join("specs")).into_iter().flatten());
    for feature in features.map(|entry| entry.unwrap().path()).filter(|path| path.join("spec.md").is_file()) {
        let ran = import(&feature, &["--no-constitution"]);
        if ran.code == Some(1) {
            assert!(
                ran.stderr.contains(".md:") && ran.stderr.contains("error: "),
                "{}: {}",
                feature.display(),
                ran.stderr
            );
            continue;
        }
        let specification: Specification = Manifests::parse(&ran.stdout).only();
        assert_eq!(
            specification.spec.source.as_ref().and_then(|s| s.inline.clone()),
            fs::read_to_string(feature.join("spec.md")).ok()
        );
        imported += 1;
    }
    assert!(imported >= 40, "{imported} features were imported");
}
