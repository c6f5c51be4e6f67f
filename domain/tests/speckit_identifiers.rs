//! Identifiers of tasks with what people add to them: letters, dots, words and primes.

use std::collections::BTreeSet;

use enact_domain::names::task_name;
use enact_domain::speckit::tasks::{self, TasksFile};
use enact_domain::speckit::{Diagnostic, TaskId, edit};

fn read(text: &str) -> (TasksFile, Vec<Diagnostic>) {
    let parsed = tasks::parse(text.as_bytes());
    (parsed.model, parsed.diagnostics)
}

/// Reads tasks in one phase.
fn phase(lines: &str) -> (TasksFile, Vec<Diagnostic>) {
    read(&format!("# Tasks: Boat\n\n## Phase 1: Setup\n\n{lines}"))
}

fn ids(file: &TasksFile) -> Vec<&str> {
    file.tasks.iter().map(|task| task.id.as_str()).collect()
}

fn waits(file: &TasksFile, id: &str) -> Vec<String> {
    let task = file.task(&TaskId::parse(id).expect("an identifier")).expect("a task");
    task.depends_on.iter().map(|dependency| dependency.on.to_string()).collect()
}

#[test]
fn a_suffix_makes_another_task() {
    for (written, id) in [
        ("T028'", "T028-prime"),
        ("T028’", "T028-prime"),
        ("T028′", "T028-prime"),
        ("T028''", "T028-prime-prime"),
        ("T028-B", "T028-B"),
        ("T028-b", "T028-b"),
        ("T028-EDGE", "T028-EDGE"),
        ("T028-edge", "T028-edge"),
        ("T028-EDGE-2", "T028-EDGE-2"),
        ("T028-BUG-B1", "T028-BUG-B1"),
        ("T028-B'", "T028-B-prime"),
        ("T028b", "T028b"),
        ("T028B", "T028B"),
        ("T028.1", "T028.1"),
        ("T028.1a", "T028.1a"),
        ("T028.a", "T028.a"),
        ("T028-1", "T028-1"),
    ] {
        for line in ["- [ ] {} Tar", "- [x] **{}** Tar", "- [~] {}  — Tar", "- [ ] {}: Tar", "- [ ] {} [P] [US1] Tar"]
        {
            let line = line.replace("{}", written);
            let (file, found) = phase(&format!("- [ ] T028 Plank\n{line}\n"));
            assert_eq!((ids(&file), found), (vec!["T028", id], Vec::new()), "{line}");
            assert_eq!(file.tasks[1].title, "Tar", "{line}");
        }
        let (file, found) = phase(&format!("### T028: Plank\n\n### {written}: Tar\n"));
        assert_eq!((ids(&file), found), (vec!["T028", id], Vec::new()), "{written}");
        let row = format!("| ID | Status | Task |\n|-|-|-|\n| T028 | [ ] | Plank |\n| {written} | [ ] | Tar |\n");
        let (file, found) = phase(&row);
        assert_eq!((ids(&file), found), (vec!["T028", id], Vec::new()), "{written}");
    }
}

#[test]
fn a_suffix_is_read_in_dependencies() {
    for written in ["T028'", "T028-B", "T028-EDGE", "T028-edge", "T028a", "T028.1"] {
        let id = TaskId::parse(written).expect("an identifier").to_string();
        for text in ["(depends on {})", "after {}, with care", "— deps: {}", "\n  - **Dependencies**: T027, {}"] {
            let text = text.replace("{}", written);
            let lines = format!("- [ ] T027 [P] a\n- [ ] T028 [P] b\n- [ ] {written} [P] c\n- [ ] T029 [P] d {text}\n");
            let (file, found) = phase(&lines);
            assert!(
                waits(&file, "T029").contains(&id) && !waits(&file, "T029").contains(&"T028".to_owned()),
                "{lines}"
            );
            assert_eq!(found, Vec::new(), "{lines}");
        }
        let section = format!(
            "- [ ] T028 [P] b\n- [ ] {written} [P] c\n- [ ] T029 [P] d\n\n## Dependencies\n\n- T029 depends on {written}\n- {written} → T028\n"
        );
        let (file, _) = phase(&section);
        assert_eq!((waits(&file, "T029"), waits(&file, "T028")), (vec![id.clone()], vec![id]), "{written}");
    }
}

#[test]
fn a_range_has_the_tasks_with_a_suffix_between_its_ends() {
    let tasks = "- [ ] T016 [P] a\n- [ ] T016-B [P] b\n- [ ] T017' [P] c\n- [ ] T018 [P] d\n- [ ] T018-EDGE [P] e\n- [ ] T019 [P] f\n";
    for range in ["T016-T018", "T016–T018", "T016..T018", "T016-18", "T016–T018-EDGE", "T016 to T018"] {
        let (file, found) = phase(&format!("{tasks}- [ ] T020 [P] g (depends on {range})\n"));
        assert_eq!(waits(&file, "T020"), ["T016", "T016-B", "T017-prime", "T018", "T018-EDGE"], "{range}");
        assert_eq!(found, Vec::new(), "{range}");
    }
    let (file, _) = phase(&format!("{tasks}- [ ] T020 [P] g (depends on T016-B–T017')\n"));
    assert_eq!(waits(&file, "T020"), ["T016-B", "T017-prime"]);
}

#[test]
fn a_tick_goes_to_the_task_with_the_suffix() {
    let text =
        "## Phase 1: Setup\n\n- [ ] T028 a\n- [ ] T028' b\n- [ ] T028-B c\n- [ ] T028-edge d\n- [ ] T028-rest e\n";
    for (id, line) in
        [("T028'", "T028' b"), ("T028-prime", "T028' b"), ("T028-B", "T028-B c"), ("T028-edge", "T028-edge d")]
    {
        let id = TaskId::parse(id).expect("an identifier");
        let ticked = edit::tick(text, &id, true).expect("a task with a box");
        assert_eq!(ticked, text.replace(&format!("[ ] {line}"), &format!("[x] {line}")));
    }
}

#[test]
fn identifiers_with_a_suffix_have_names_of_their_own() {
    let ids = ["T028", "T028'", "T028''", "T028-B", "T028-b", "T028b", "T028.b", "T028-EDGE", "T028-edge"];
    let names: BTreeSet<String> = ids
        .iter()
        .map(|id| {
            let id = TaskId::parse(id).expect("an identifier");
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
            assert!(id.as_str().chars().all(plain), "{id} is not a valid identifier of a Plan's task");
            task_name("boat", id.as_str())
        })
        .collect();
    assert_eq!(names.len(), ids.len());
}

#[test]
fn a_word_behind_an_identifier_can_be_a_part_of_the_text() {
    let (file, found) = phase(
        "- [ ] T001-create the hull\n- [ ] T002 [P] Plank the T001-based hull, after T001-style work\n  which is T001's\n",
    );
    assert_eq!((ids(&file), found), (vec!["T001", "T002"], Vec::new()));
    assert_eq!(file.tasks[0].title, "create the hull");
    assert_eq!(waits(&file, "T002"), ["T001"]);
    let (file, found) =
        phase("- [ ] T001 a\n- [ ] T002 [P] b 'T001'\n\n## Checklist\n\n- [ ] T001-related tests pass\n");
    assert_eq!((ids(&file), found), (vec!["T001", "T002"], Vec::new()));
}

#[test]
fn the_beginning_of_another_identifier_is_no_suffix() {
    let (file, _) = phase(
        "- [ ] BE-012 a\n- [ ] BE-013 b\n- [ ] BE-014 [P] c (depends on BE-012-BE-013)\n- [ ] TASK-001 [P] d\n- [ ] TASK-002 [P] e\n\
         - [ ] TASK-003 [P] f (depends on TASK-001-TASK-002)\n",
    );
    assert_eq!(waits(&file, "BE-014"), ["BE-012", "BE-013"]);
    assert_eq!(waits(&file, "TASK-003"), ["TASK-001", "TASK-002"]);
    for text in [
        "T00X",
        "T001-Setup",
        "T001-",
        "T001-présent",
        "T001's",
        "T001''''",
        "T1-a-b-c-d-e-f-g-h-i-j-k-l-m-n-o-p-q-r-s-t-u-v-w-x-y-z-a-b-c-d-e-f",
    ] {
        assert_eq!(TaskId::parse(text), None, "{text}");
    }
}

#[test]
fn two_tasks_with_one_suffix_are_a_duplicate() {
    let (file, found) = phase("- [ ] T028-B a\n- [ ] T028-B b\n- [ ] T029' c\n- [ ] T029' d\n");
    assert_eq!(ids(&file), ["T028-B", "T029-prime"]);
    assert_eq!(
        found.iter().map(|d| (d.line, d.code)).collect::<Vec<_>>(),
        [(6, "DuplicateTask"), (8, "DuplicateTask")]
    );
}

#[test]
fn a_placeholder_is_no_identifier() {
    let (file, found) = phase("- [ ] T00X a\n- [ ] T00X b\n- [ ] T01X [P] c\n- [ ] T012X d\n");
    assert!(ids(&file)[..3].iter().all(|id| id.starts_with("box-")) && ids(&file)[3] == "T012X", "{:?}", ids(&file));
    assert_eq!(found, Vec::new());
}

#[test]
fn a_path_may_follow_an_identifier() {
    let (file, found) = phase("- [P] **T001** `/hull/oak.md` names the wood\n- **T002** /hull/tar.md\n");
    assert_eq!((ids(&file), found), (vec!["T001", "T002"], Vec::new()));
    let (_, found) = phase("- [ ] T001 a\n- [P] T003/T004 are later\n");
    assert_eq!(found.iter().map(|d| (d.line, d.code)).collect::<Vec<_>>(), [(6, "UnreadTask")]);
    assert!(file.tasks[0].parallel && file.tasks[0].title.starts_with("`/hull"));
}

#[test]
fn a_tick_goes_to_the_task_itself_and_not_to_a_range_with_it() {
    let text = "## Phase 1: Setup\n\n- [ ] T001-T003 a\n- [ ] T002 b\n";
    let id = TaskId::parse("T002").expect("an identifier");
    let ticked = edit::tick(text, &id, true).expect("a task with a box");
    assert_eq!(ticked, text.replace("[ ] T002", "[x] T002"));
}

#[test]
fn a_box_before_the_title_of_a_heading_is_no_part_of_it() {
    for mark in [" ", "x", "~"] {
        let (file, _) = phase(&format!("### T001 [{mark}]: Write\n\n### T002: [{mark}] - Sew\n"));
        assert_eq!(file.tasks.iter().map(|t| t.title.as_str()).collect::<Vec<_>>(), ["Write", "Sew"], "{mark}");
    }
}
