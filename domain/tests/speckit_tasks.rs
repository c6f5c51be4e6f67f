//! `tasks.md`: the grammar, with a test for each variation, and the resulting order.

use enact_domain::speckit::tasks::{self, PhaseKind, Task, TaskState, TasksFile};
use enact_domain::speckit::{Diagnostic, TaskId};

fn file(text: &str) -> TasksFile {
    tasks::parse(text.as_bytes()).model
}

fn diagnostics(text: &str) -> Vec<Diagnostic> {
    tasks::parse(text.as_bytes()).diagnostics
}

fn id(text: &str) -> TaskId {
    TaskId::parse(text).expect(text)
}

fn one(line: &str) -> Task {
    let file = file(&format!("# Tasks: One\n\n## Phase 1: Setup\n\n{line}\n"));
    assert_eq!(file.tasks.len(), 1, "{line}: {:?}", file.tasks);
    file.tasks.into_iter().next().expect(line)
}

/// Returns the effective edges as `T002: T001; T003: T001 T002`, without tasks that have no dependency.
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
fn a_box_may_be_missing_struck_or_odd() {
    assert_eq!(one("- [X] T001 Hang it").state, TaskState::Done);
    assert_eq!(one("- [-] T001 Hang it").state, TaskState::Cancelled);
    assert_eq!(one("- [~] T001 Hang it").state, TaskState::InProgress);
    assert_eq!(one("- [⚠] T001 Hang it").state, TaskState::Blocked);
    let struck = one("- [x] ~~T001 [US1] Hang it~~ — given up");
    assert_eq!((struck.state, struck.title.as_str()), (TaskState::Cancelled, "Hang it — given up"));
    let bare = one("- T001 [CORE][P] Hang it");
    assert_eq!((bare.checkbox, bare.parallel, bare.title.as_str()), (None, true, "Hang it"));
    assert_eq!(bare.tags, ["CORE"]);
}

#[test]
fn an_identifier_may_be_bold_bracketed_lettered_or_dotted() {
    assert_eq!(one("- [ ] **T001** Hang it").title, "Hang it");
    assert_eq!(one("- [ ] **T001 [P] [US2] Hang it** in `a.rs`").title, "Hang it in `a.rs`");
    assert_eq!(one("- [ ] [T001] [P] Hang it").title, "Hang it");
    assert_eq!(one("- [ ] T001: Hang it").title, "Hang it");
    assert_eq!(one("* [ ] T001 — Hang it").title, "Hang it");
    assert_eq!(one("1. [ ] `T001` Hang it").title, "Hang it");
    assert_eq!(one("- [ ] T014c Hang it").id, id("T014c"));
    assert_eq!(one("- [ ] T035.1 Hang it").id, id("T035.1"));
    assert_eq!(one("- [ ] T000 Hang it").id, id("T000"));
}

#[test]
fn tags_have_any_order_and_several_stories() {
    let keys = |line: &str| one(line).stories.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(keys("- [ ] T001 [US4] [P] Hang it"), "US4");
    assert_eq!(keys("- [ ] T001 [US1][US2] Hang it"), "US1 US2");
    assert_eq!(keys("- [ ] T001 [US3+US4] Hang it"), "US3 US4");
    assert_eq!(keys("- [ ] T001 [US1.5] [US5a] Hang it"), "US1.5 US5a");
    assert_eq!(keys("- [ ] T001 [US-shared] Hang it"), "US-shared");
    let cross = one("- [ ] T001 [RED] [US1 / cross-cutting] Hang it [P]");
    assert!(cross.parallel);
    assert_eq!(cross.tags, ["RED", "cross-cutting"]);
    let module = one("- [ ] T001 [MODULE:auth] [FR1] [Test] Hang it");
    assert_eq!((module.tags.join(" ").as_str(), module.title.as_str()), ("MODULE:auth FR1 Test", "Hang it"));
    let linked = one("- [ ] T001 [the door](docs/door.md) must be hung");
    assert_eq!((linked.tags.len(), linked.title.as_str()), (0, "[the door](docs/door.md) must be hung"));
}

#[test]
fn a_line_may_stand_for_a_range_of_tasks() {
    let range = one("- [~] T029–T032 — REVERTED: the old hinges");
    assert_eq!(range.id, id("T029"));
    assert_eq!(range.also, [id("T030"), id("T031"), id("T032")]);
    assert_eq!(range.title, "REVERTED: the old hinges");
}

#[test]
fn headings_are_tasks_with_all_that_stands_below() {
    let text = "## Phase 1: Setup\n\n### T001: Hang it [P]\n\nWith two hinges.\n\n- **File**: `src/a.rs`\n\n### T002 Paint it\n\n- **Dependencies**: T001\n";
    let file = file(text);
    assert_eq!(file.tasks.len(), 2);
    assert!(file.tasks[0].parallel);
    assert_eq!(file.tasks[0].details.len(), 2);
    assert_eq!(file.tasks[0].paths, ["src/a.rs"]);
    assert_eq!(file.tasks[1].depends_on[0].on, id("T001"));
    assert_eq!(file.tasks[1].depends_on[0].line, 11);
}

#[test]
fn what_stands_below_a_task_belongs_to_it() {
    let text = "## Phase 1: Setup

- [ ] T001 Hang the door
  and oil it
  - in `src/hinge.rs`
  - [ ] no identifier, no task
  - [ ] T002 Oil the lock
- [ ] T003 Paint it
**Checkpoint**: painted
";
    let file = file(text);
    let lines: Vec<(u32, usize)> = file.tasks.iter().map(|t| (t.line, t.details.len())).collect();
    assert_eq!(lines, [(3, 2), (7, 0), (8, 0)]);
    assert_eq!(file.tasks[0].title, "Hang the door and oil it");
    assert_eq!(file.tasks[0].paths, ["src/hinge.rs"]);
    assert_eq!(file.phases[0].checkpoint.as_ref().unwrap().line, 9);
    assert!(!file.tasks[2].span.text(text).contains("Checkpoint"));
}

#[test]
fn mentions_tables_and_legends_are_no_tasks() {
    let text = "# Tasks: Door

## Format: `[ID] [P?] [Story]`

- **[P]**: can go side by side
- [P] tasks = other files

## Phase 1: Setup

- [ ] T001 Hang it
- [ ] T002 Paint it
- T001 and T002 can be done in any order

| Task | What |
|------|------|
| T001 | the first one |
| T001-T003 | a range |

## Notes

- T004 is not planned
- [ ] T001 is done
";
    let file = file(text);
    assert_eq!(file.tasks.iter().map(|t| t.id.as_str()).collect::<Vec<_>>(), ["T001", "T002"]);
    assert_eq!(diagnostics(text), []);
}

#[test]
fn an_odd_number_of_fences_loses_nothing() {
    let text =
        "## Phase 1: Setup\n\n```text\n- [ ] T009 not real\n```\n\n- [ ] T001 Hang it\n\n```\n\n- [ ] T002 Paint it\n";
    assert_eq!(file(text).tasks.len(), 2);
    let found = diagnostics(text);
    assert_eq!((found.len(), found[0].line, found[0].code), (1, 9, "UnclosedBlock"));
    let comment = "## Phase 1: Setup\n\n<!-- forgotten\n\n- [ ] T001 Hang it\n";
    assert_eq!(file(comment).tasks.len(), 1);
}

#[test]
fn carriage_returns_a_byte_order_mark_and_front_matter_are_accepted() {
    let text =
        "\u{feff}---\r\ntitle: x\r\n---\r\n\r\n# Tasks: Door\r\n\r\n## Phase 1: Setup\r\n\r\n- [ ] T001 Hang it\r\n";
    let file = file(text);
    assert_eq!(file.title.as_ref().unwrap().text, "Door");
    assert_eq!(file.tasks[0].title, "Hang it");
    assert_eq!(file.tasks[0].line, 9);
}

#[test]
fn duplicates_and_unknown_tasks_are_named_with_their_lines() {
    let text = "## Phase 1: Setup\n\n- [ ] T001 Hang it\n- [ ] T001 Paint it\n- [ ] T002 Oil it (depends on T007)\n";
    let found: Vec<String> = diagnostics(text).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "line 4: T001 is defined on line 3 and again on line 4; the second is ignored; give one of them another identifier",
            "line 5: the dependency T007 does not exist: no task has this identifier; correct the identifier, or remove the statement",
        ]
    );
}

#[test]
fn tasks_without_a_phase_use_the_nearest_heading() {
    let text = "# Tasks: Door\n\n- [ ] T001 Hang it\n\n## Phase 1: Setup\n\n- [ ] T002 Oil it\n\n## Left over\n\n- [ ] T003 Paint it\n";
    let file = file(text);
    let of_task: Vec<&str> = file.tasks.iter().map(|t| file.phases[t.phase].title.as_str()).collect();
    assert_eq!(of_task, ["Tasks: Door", "Setup", "Left over"]);
    assert_eq!(order(text), "T002: T001; T003: T002");
}

#[test]
fn stories_below_a_phase_are_phases() {
    let text = "## Phase 3 - User Stories\n\n### User Story 1 - Open (P1)\n\n- [ ] T001 [US1] A\n\n#### Tests for it\n\n- [ ] T002 [US1] B\n\n### User Story 2 - Close (P2)\n\n- [ ] T003 [US2] C\n\n### Afterwards\n\n- [ ] T004 D\n";
    let kinds: Vec<String> = file(text).phases.iter().map(|p| format!("{:?}", p.kind)).collect();
    assert_eq!(kinds, ["Other", "Story(StoryKey(\"US1\"))", "Story(StoryKey(\"US2\"))", "Other"]);
    assert_eq!(order(text), "T002: T001; T004: T002 T003");
}

/// Returns the edges between four parallel tasks in one phase, so that all edges come from `tail`.
fn stated(tail: &str) -> String {
    order(&format!(
        "## Phase 1: Setup\n\n- [ ] T001 [P] a\n- [ ] T002 [P] b\n- [ ] T003 [P] c\n- [ ] T004 [P] d{tail}\n"
    ))
}

#[test]
fn a_task_says_what_it_waits_for() {
    assert_eq!(stated(" (depends on T001, T003)"), "T004: T001 T003");
    assert_eq!(stated(" (depends on T001-T003)"), "T004: T001 T002 T003");
    assert_eq!(stated(" (after T001–03)"), "T004: T001 T002 T003");
    assert_eq!(stated(" *(needs T001/T002)*"), "T004: T001 T002");
    assert_eq!(stated(" (requires T001+T002)"), "T004: T001 T002");
    assert_eq!(stated(" (after T001..T003)"), "T004: T001 T002 T003");
    assert_eq!(stated("\n  - **Dependencies**: T002"), "T004: T002");
    assert_eq!(stated("\n  - Depends on: T001 and\n    T003"), "T004: T001 T003");
    assert_eq!(stated("\n  - **Blocks**: T002"), "T002: T004");
    assert_eq!(stated(" (依赖 T002)"), "T004: T002");
}

#[test]
fn other_mentions_are_no_dependencies() {
    assert_eq!(stated(", as T001 does"), "");
    assert_eq!(stated(", which goes green once T001 is there"), "");
    assert_eq!(stated(" (does not depend on T001)"), "");
    assert_eq!(stated(" (independent of T001)"), "");
    assert_eq!(stated(" (depends on T004)"), "");
}

#[test]
fn a_section_says_who_waits_for_whom() {
    let section = |text: &str| stated(&format!("\n\n## Dependencies\n\n{text}"));
    assert_eq!(section("- T002 depends on T001"), "T002: T001");
    assert_eq!(section("- T002 depends on T001, T003 depends on T002."), "T002: T001; T003: T002");
    assert_eq!(section("- T003 and T004 can run in parallel after T001."), "T003: T001; T004: T001");
    assert_eq!(section("T001 → T002, T003 → T004"), "T002: T001; T003: T001; T004: T002 T003");
    assert_eq!(section("`T001` -> **T002** (first) -> T003"), "T002: T001; T003: T002");
    assert_eq!(section("- T004 ← T003"), "T004: T003");
    assert_eq!(section("- Doors (T001-T002) must be hung before paint (T003)"), "T003: T001 T002");
    assert_eq!(section("- T001 blocks T003, T004"), "T003: T001; T004: T001");
    assert_eq!(section("- For one developer: T001 → T002"), "");
    assert_eq!(section("```text\nT001 → T002\n```"), "T002: T001");
    assert_eq!(section("```mermaid\ngraph TD\n  T001[Door] --> T003\n  T002 --> T003[Paint]\n```"), "T003: T001 T002");
}

/// Returns the edges between two phases and the two stories after them. `tail` contains more about their order.
fn grouped(tail: &str) -> String {
    order(&format!(
        "## Phase 1: Setup\n\n- [ ] T001 a\n\n## Phase 2: Foundational\n\n- [ ] T002 b\n\n## Phase 3: User Story 1 - x\n\n- [ ] T003 [US1] c\n\n## Phase 4: User Story 2 - y\n\n- [ ] T004 [US2] d\n\n## Dependencies\n\n{tail}\n"
    ))
}

#[test]
fn phases_and_stories_wait_as_the_document_says() {
    let plain = "T002: T001; T003: T002; T004: T002";
    let chained = "T002: T001; T003: T002; T004: T003";
    assert_eq!(
        grouped("- **User Story 2 (P2)**: Can start after Foundational - No dependencies on other stories"),
        plain
    );
    assert_eq!(grouped("- **User Stories (Phase 3+)**: All depend on Foundational phase completion"), plain);
    assert_eq!(grouped("- Or sequentially in priority order: US1 → US2"), plain);
    assert_eq!(grouped("- **US2 (Phase 4)**: Depends on US1 (its door)"), chained);
    assert_eq!(grouped("- Phase 4 depends on Phases 2 and 3"), chained);
    assert_eq!(grouped("- Phase 1 (T001) → Phase 2 → Phase 3 → Phase 4"), chained);
    assert_eq!(grouped("- US1 depends on US2"), "T002: T001; T003: T004; T004: T002");
    assert_eq!(grouped("- US2 depends only on US1"), chained);
    assert_eq!(
        grouped("| Story | Depends On | With |\n|-|-|-|\n| US1 | None — first | US2 |\n| US2 | US1 (open) | |"),
        chained
    );
    assert_eq!(
        grouped("| Story | Dependencies on Others |\n|-|-|\n| US2 — Close | Depends on US1, not on Phase 9 |"),
        chained
    );
    assert_eq!(grouped("- US2 depends on T003"), "T002: T001; T003: T002; T004: T002 T003");
}

#[test]
fn a_phase_says_what_it_waits_for() {
    let text = "## Phase 1: User Story 1 - x\n\n- [ ] T001 a\n\n## Phase 2: User Story 2 - y\n\n**Dependencies**: US1 must be complete\n\n- [ ] T002 b\n  - **Dependencies**: T009\n\n## Phase 3: User Story 3 - z\n\n- [ ] T003 c\n";
    assert_eq!(order(text), "T002: T001");
    let found = diagnostics(text);
    assert_eq!(found.iter().map(|d| (d.line, d.code)).collect::<Vec<_>>(), [(10, "UnknownTask")]);
}

#[test]
fn the_layout_of_2025_goes_phase_by_phase() {
    let text = "## Phase 3.1: Setup\n\n- [ ] T001 a\n\n## Phase 3.2: Tests First\n\n- [ ] T002 [P] b\n- [ ] T003 [P] c\n\n## Phase 3.3: Core\n\n- [ ] T004 [P] d\n- [ ] T005 e\n\n## Phase 3.5: Polish\n\n- [ ] T006 f\n";
    assert_eq!(order(text), "T002: T001; T003: T001; T004: T002 T003; T005: T004; T006: T005");
}

#[test]
fn rules_give_way_to_what_is_stated() {
    let text = "## Phase 1: Setup\n\n- [ ] T001 a (depends on T004)\n- [ ] T002 b\n- [ ] T003 c\n\n## Phase 2: Foundational\n\n- [ ] T004 d\n- [ ] T005 e\n";
    assert_eq!(order(text), "T001: T003 T004; T003: T002; T004: T003; T005: T001 T004");
}

#[test]
fn a_stated_cycle_is_kept() {
    assert_eq!(stated(" (depends on T001)\n\n## Dependencies\n\n- T001 depends on T004"), "T001: T004; T004: T001");
}

#[test]
fn a_phase_without_tasks_blocks_nothing() {
    let text = "## Phase 1: Setup\n\n- [ ] T001 a\n\n## Phase 2: Foundational\n\nNothing.\n\n## Phase 3: User Story 1 - x\n\n- [ ] T002 b\n";
    assert_eq!(order(text), "T002: T001");
}

#[test]
fn a_file_without_tasks_says_so() {
    let found = diagnostics("# Tasks: Door\n\nHang it.\n");
    assert_eq!(found.iter().map(|d| (d.line, d.code)).collect::<Vec<_>>(), [(1, "NoTasks")]);
    let found =
        diagnostics("# Tasks: Door\n\n```text\n- [ ] T001 Hang it\n```\n\n### Task one: paint\n\n> - [ ] oil it\n");
    assert_eq!(found.iter().map(|d| (d.line, d.code)).collect::<Vec<_>>(), [(7, "NoTasks")]);
    assert!(found[0].message.contains("lines 7, 9"), "{}", found[0]);
}

#[test]
fn tasks_beyond_the_limit_are_an_error() {
    let list = |tasks: usize| {
        let lines = (1..=tasks).map(|n| format!("- [ ] T{n:04} Hang door {n}\n"));
        format!("# Tasks: Doors\n\n## Phase 1: Setup\n\n{}", lines.collect::<String>())
    };
    let full = tasks::parse(list(tasks::MAX_TASKS).as_bytes());
    assert_eq!((full.model.tasks.len(), full.diagnostics), (5_000, vec![]));
    let parsed = tasks::parse(list(tasks::MAX_TASKS + 1).as_bytes());
    assert_eq!(parsed.model.tasks.len(), tasks::MAX_TASKS);
    let errors: Vec<(&str, u32)> = parsed.errors().map(|d| (d.code, d.line)).collect();
    assert_eq!(errors, [("TooManyTasks", 5_005)]);
}

#[test]
fn too_many_dependencies_are_counted_not_built() {
    let phase = |number: usize, tasks: std::ops::Range<usize>| {
        let tasks: String = tasks.map(|n| format!("- [ ] T{n:04} [P] Write\n")).collect();
        format!("## Phase {number}: Other\n\n{tasks}\n")
    };
    let of = |first: usize, second: usize, middle: &str| {
        let (one, two) = (phase(1, 1..first + 1), phase(2, 2001..2001 + second));
        diagnostics(&format!("# Tasks: Wide\n\n{one}{middle}{two}"))
            .into_iter()
            .find(|d| d.code == "TooManyDependencies")
    };
    let found = of(600, 600, "").expect("360,000 dependencies");
    assert_eq!((found.line, found.message.contains("360000")), (606, true), "{found}");
    assert!(found.remedy.contains("one task without [P]"));
    assert_eq!(of(600, 600, "## Phase 1.5: Gate\n\n- [ ] T1999 Check\n\n"), None, "the remedy is one");
    assert_eq!(of(500, 500, ""), None);
}
