//! `tasks.md`: the grammar, one oddity a test, and the order that follows from it.

use enact_domain::speckit::tasks::{self, PhaseKind, Task, TaskState, TasksFile};
use enact_domain::speckit::{Diagnostic, TaskId};

fn file(text: &str) -> TasksFile {
    tasks::parse(text.as_bytes()).model
}

fn diagnostics(text: &str) -> Vec<Diagnostic> {
    tasks::parse(text.as_bytes()).diagnostics
}

fn id(text: &str) -> TaskId {
    TaskId::parse(text).unwrap()
}

fn one(line: &str) -> Task {
    let file = file(&format!("# Tasks: One\n\n## Phase 1: Setup\n\n{line}\n"));
    assert_eq!(file.tasks.len(), 1, "{line}: {:?}", file.tasks);
    file.tasks.into_iter().next().unwrap()
}

/// The effective edges as `T002: T001; T003: T001 T002`, without tasks that wait for nobody.
fn order(text: &str) -> String {
    let edges = file(text).dependencies();
    let waiting = edges.iter().filter(|(_, on)| !on.is_empty());
    let shown =
        waiting.map(|(id, on)| format!("{id}: {}", on.iter().map(TaskId::as_str).collect::<Vec<_>>().join(" ")));
    shown.collect::<Vec<_>>().join("; ")
}

const STANDARD: &str = "# Tasks: Door

## Phase 1: Setup (Shared Infrastructure)

**Purpose**: a place to work in

- [x] T001 Create the crate in `Cargo.toml`
- [ ] T002 [P] Add lints to `clippy.toml`

## Phase 2: Foundational (Blocking Prerequisites)

- [ ] T003 Write src/door.rs
- [ ] T004 [P] Write src/hinge.rs
- [ ] T005 [P] Write src/lock.rs

**Checkpoint**: doors exist

## Phase 3: User Story 1 - Open it (Priority: P1) 🎯 MVP

**Goal**: a door that opens

**Independent Test**: push it

- [ ] T006 [P] [US1] Test in tests/open.rs
- [ ] T007 [US1] Open in src/open.rs

## Phase 4: User Story 2 - Close it (Priority: P2)

- [ ] T008 [US2] Close in src/close.rs

## Phase 5: Polish & Cross-Cutting Concerns

- [ ] T009 Write `docs/door.md`
";

#[test]
fn the_standard_grammar_is_read() {
    let file = file(STANDARD);
    assert_eq!(file.title.as_ref().unwrap().text, "Door");
    assert_eq!(file.phases.len(), 5);
    assert_eq!(file.phases[0].kind, PhaseKind::Setup);
    assert_eq!(file.phases[0].purpose.as_ref().unwrap().text, "a place to work in");
    assert_eq!(file.phases[1].checkpoint.as_ref().unwrap().text, "doors exist");
    assert_eq!(file.phases[2].number.as_deref(), Some("3"));
    assert_eq!(file.phases[2].independent_test.as_ref().unwrap().text, "push it");
    assert_eq!(file.tasks.len(), 9);
    assert_eq!(file.tasks[0].state, TaskState::Done);
    assert_eq!(file.tasks[1].paths, ["clippy.toml"]);
    assert_eq!(file.tasks[5].stories[0].as_str(), "US1");
    assert_eq!(file.tasks[5].title, "Test in tests/open.rs");
    assert!(file.tasks[5].parallel && !file.tasks[6].parallel);
    assert_eq!(file.tasks[6].line, 25);
    assert_eq!(diagnostics(STANDARD), []);
}

#[test]
fn the_standard_order_is_that_of_spec_kit() {
    assert_eq!(
        order(STANDARD),
        "T002: T001; T003: T002; T004: T003; T005: T003; T006: T004 T005; T007: T006; T008: T004 T005; T009: T007 T008"
    );
}

#[test]
fn a_line_in_a_fence_or_comment_is_no_task() {
    let text = "## Phase 1: Setup\n\n- [ ] T001 Real\n\n```text\n- [ ] T002 In a fence\n```\n\n<!--\n- [ ] T003 In a comment\n-->\n";
    assert_eq!(file(text).tasks.len(), 1);
}

#[test]
fn ticking_changes_one_byte() {
    let changed = tasks::set_done(STANDARD, &id("T002"), true).unwrap();
    assert_eq!(changed, STANDARD.replace("- [ ] T002", "- [x] T002"));
    assert_eq!(tasks::set_done(&changed, &id("T002"), false).unwrap(), STANDARD);
    assert_eq!(tasks::set_done(STANDARD, &id("T099"), true), None);
}

#[test]
fn a_box_may_be_missing_struck_or_odd() {
    assert_eq!(one("- [X] T001 Done").state, TaskState::Done);
    assert_eq!(one("- [-] T001 Given up").state, TaskState::Cancelled);
    assert_eq!(one("- [x] ~~T001 [US1] Never~~ — removed").state, TaskState::Cancelled);
    assert_eq!(one("- T001 [CORE][P] No box").checkbox, None);
}
