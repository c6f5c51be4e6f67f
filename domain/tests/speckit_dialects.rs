//! `tasks.md` as people write it: identifiers, marks, tables, other dialects, and lines that cannot be read.

use enact_domain::speckit::edit;
use enact_domain::speckit::tasks::TaskState::{Blocked, Cancelled, Deferred, Done, InProgress, Open};
use enact_domain::speckit::tasks::{self, TaskState, TasksFile};
use enact_domain::speckit::{Diagnostic, TaskId};

fn file(text: &str) -> TasksFile {
    tasks::parse(text.as_bytes()).model
}

fn diagnostics(text: &str) -> Vec<Diagnostic> {
    tasks::parse(text.as_bytes()).diagnostics
}

fn codes(text: &str) -> Vec<(u32, &'static str)> {
    diagnostics(text).iter().map(|d| (d.line, d.code)).collect()
}

fn phase(lines: &str) -> String {
    format!("# Tasks: Boat\n\n## Phase 1: Hull\n\n{lines}\n")
}

/// Returns identifiers and titles of the tasks of one phase.
fn read(lines: &str) -> Vec<(String, String)> {
    file(&phase(lines)).tasks.into_iter().map(|t| (t.id.to_string(), t.title)).collect()
}

fn states(text: &str) -> Vec<(String, TaskState)> {
    file(text).tasks.into_iter().map(|t| (t.id.to_string(), t.state)).collect()
}

#[test]
fn identifiers_have_many_forms() {
    for (line, id) in [
        ("- [ ] T031A Caulk the seams", "T031A"),
        ("- [ ] T0BF Caulk the seams", "T0BF"),
        ("- [ ] T01 Caulk the seams", "T01"),
        ("- [ ] T7: Caulk the seams", "T7"),
        ("- [ ] T1.2 Caulk the seams", "T1.2"),
        ("- [ ] T012-1 Caulk the seams", "T012-1"),
        ("- [ ] T-012 Caulk the seams", "T-012"),
        ("- [ ] TASK-001 Caulk the seams", "TASK-001"),
        ("- [ ] TASK001: Caulk the seams", "TASK001"),
        ("- [ ] Task-4 Caulk the seams", "Task-4"),
        ("- [ ] 1.3 Caulk the seams", "1.3"),
        ("- [ ] 4. Caulk the seams", "4"),
        ("- [ ] Task 1.4: Caulk the seams", "1.4"),
        ("- [ ] Aufgabe 3: Caulk the seams", "3"),
        ("- [ ] 任务 5：Caulk the seams", "5"),
        ("- [ ] 🔴 T004 Caulk the seams", "T004"),
        ("- [ ] (P) T005 Caulk the seams", "T005"),
        ("- [ ] **[T006]** Caulk the seams", "T006"),
        ("-[ ] T007 Caulk the seams", "T007"),
        ("- [ ]T008 Caulk the seams", "T008"),
        ("- [] T009 Caulk the seams", "T009"),
        ("- [ x ] T010 Caulk the seams", "T010"),
        ("[ ] T011 Caulk the seams", "T011"),
        ("• [ ] T012 Caulk the seams", "T012"),
        ("☐ T013 Caulk the seams", "T013"),
        ("- T014: Caulk the seams", "T014"),
        ("**T015**: Caulk the seams", "T015"),
        ("### Task 6: Caulk the seams", "6"),
        ("### ✅ T016: Caulk the seams", "T016"),
        ("### TASK-017 Caulk the seams", "TASK-017"),
    ] {
        assert_eq!(read(line), [(id.to_owned(), "Caulk the seams".to_owned())], "{line}");
        assert_eq!(TaskId::parse(id).expect(id).as_str(), id);
    }
}

#[test]
fn a_prefix_of_the_project_counts_if_it_is_used_twice() {
    assert_eq!(
        read("- [ ] SAIL-01 Cut\n- [ ] SAIL-02 Sew").iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(),
        ["SAIL-01", "SAIL-02"]
    );
    let text = phase(
        "- [ ] M001 [P] Cut\n- [ ] M002 [P] Sew\n- [ ] M003 [P] Dye\n- [ ] M004 [P] Hoist (depends on M001-M002, M003)\n",
    );
    let tasks = file(&text).tasks;
    let on: Vec<&str> = tasks[3].depends_on.iter().map(|d| d.on.as_str()).collect();
    assert_eq!((tasks[3].id.as_str(), on), ("M004", vec!["M001", "M002", "M003"]));
    let others = read(
        "- [ ] V8 is built\n- [ ] V9 is built\n- [ ] H264 in every file\n- [ ] CHK001 is met\n- [ ] CHK002 is met",
    );
    assert!(others.iter().all(|(id, _)| id.starts_with("box-")), "{others:?}");
    let once = read("- [ ] UTF-8 in every file");
    assert!(once.len() == 1 && once[0].0.starts_with("box-") && once[0].1 == "UTF-8 in every file", "{once:?}");
}

#[test]
fn a_box_without_identifier_has_a_stable_one_and_is_ticked_at_its_line() {
    let text = phase("- [ ] Lay the keel\n- [ ] Oil it\n- [ ] Oil it\n  - [ ] twice");
    let ids: Vec<TaskId> = file(&text).tasks.into_iter().map(|t| t.id).collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
    assert!(ids[2].as_str().ends_with("-2") && ids[2].as_str().starts_with(ids[1].as_str()), "{ids:?}");
    let ticked = edit::tick(&text, &ids[1], true).expect("it has a box");
    assert_eq!(ticked, text.replacen("- [ ] Oil it\n", "- [x] Oil it\n", 1));
    let later = ticked.replace("## Phase 1: Hull\n", "## Phase 1: Hull\n\n- [ ] Draw it\n");
    let states: Vec<(TaskId, TaskState)> = file(&later).tasks.into_iter().map(|t| (t.id, t.state)).collect();
    assert_eq!(states[2], (ids[1].clone(), TaskState::Done), "a new line above changes no identifier");
}

#[test]
fn boxes_among_conditions_are_no_tasks() {
    let text = "# Tasks: Boat\n\n## Phase A: Hull\n\n- [x] T001 Lay the keel\n- [ ] T002 Plank\n\nPhase A gate:\n\n- [ ] T001 DONE\n- [ ] it \
                floats\n\n## Phase B: Rig\n\n- [ ] T003 Step the mast\n\n## Definition of done\n\n- [ ] T001 and T003 are merged\n- [ ] \
                T001-T003 have tests\n- [ ] nobody drowns\n";
    assert_eq!(file(text).tasks.len(), 3);
    assert_eq!(codes(text), [(11, "ChecklistItems"), (21, "ChecklistItems")]);
}

#[test]
fn a_real_duplicate_is_found_beside_mentions() {
    let text = "## Phase 1: Hull\n\n- [ ] T001 Lay the keel\n- [ ] T001 Plank\n\n## Checklist\n\n- [ ] T001 is done\n";
    assert_eq!(codes(text), [(4, "DuplicateTask")]);
}

#[test]
fn marks_are_read_by_their_meaning_or_by_the_legend() {
    let marks =
        "- [x] T001 a\n- [~] T002 b\n- [/] T003 c\n- [>] T004 d\n- [!] T005 e\n- [-] T006 f\n- [x]T007 g\n- [D] T008 h";
    let plain = file(&phase(marks));
    let found: Vec<TaskState> = plain.tasks.iter().map(|t| t.state).collect();
    assert_eq!(found, [Done, InProgress, InProgress, Deferred, Blocked, Cancelled, Done, Open]);
    assert_eq!(plain.tasks[7].unknown_mark.as_deref(), Some("D"));
    assert_eq!(codes(&phase(marks)), [(12, "UnknownMark")]);
    let legend = format!("# Tasks: Boat\n\n`[~]` means dropped; `[D]` = deferred\n\n## Phase 1: Hull\n\n{marks}\n");
    let found: Vec<TaskState> = file(&legend).tasks.iter().map(|t| t.state).collect();
    assert_eq!((found[1], found[7]), (Cancelled, Deferred));
    assert_eq!(codes(&legend), []);
}

#[test]
fn a_remark_states_that_a_task_is_not_part_of_the_work() {
    for (line, state) in [
        ("- [ ] T001 Paint it — DEFERRED (needs a dry day)", TaskState::Deferred),
        ("- [ ] T001 [DEFERRED] Paint it", TaskState::Deferred),
        ("- [ ] T001 Paint it (deferred to spring)", TaskState::Deferred),
        ("- [ ] T001 [SUPERSEDED by T009] Paint it", TaskState::Cancelled),
        ("- [ ] T001 **RETIRED**: Paint it", TaskState::Cancelled),
        ("- [~] T001 — REVERTED: Paint it", TaskState::Cancelled),
        ("- [ ] T001 Paint it (blocked by T009)", TaskState::Open),
        ("- [ ] T001 Show deferred payments (open ones)", TaskState::Open),
        ("- [ ] T001 Remove the retired pumps", TaskState::Open),
        ("- [x] T001 Paint it — DEFERRED", TaskState::Done),
    ] {
        assert_eq!(states(&phase(line)), [("T001".to_owned(), state)], "{line}");
    }
}

#[test]
fn headings_have_marks_at_either_end() {
    let text = phase(
        "### T001: Keel [X]\n\n### T002: Planks [P] [X]\n\n### T003: ✅ Mast [P]\n\n### T004: [x] Sail\n\n### T005: Rudder ✅\n\n### 🚧 T006: \
         Deck\n\n### T007: Cabin (done)\n\n### T008: Paint [ ]",
    );
    let found: Vec<_> = file(&text).tasks.into_iter().map(|t| (t.title, t.state, t.parallel)).collect();
    let wanted = [
        ("Keel", Done, false),
        ("Planks", Done, true),
        ("Mast", Done, true),
        ("Sail", Done, false),
        ("Rudder", Done, false),
        ("Deck", InProgress, false),
        ("Cabin", Done, false),
        ("Paint", Open, false),
    ];
    assert_eq!(found, wanted.map(|(title, state, parallel)| (title.to_owned(), state, parallel)));
    let ticked = edit::tick(&text, &TaskId::parse("T008").expect("an id"), true).expect("it has a box");
    assert_eq!(ticked, text.replace("Paint [ ]", "Paint [x]"));
}

#[test]
fn headings_written_like_list_items_are_tasks() {
    let text = phase(
        "### - [x] T001 Sew the hem\n\nWith care.\n\n### - [ ] T002 [P] Iron it in `src/iron.rs`\n\n### * [ ] T003 Pack it\n\n\
         ### - Notes\n\nNone.\n",
    );
    let expected = [("T001", Done), ("T002", Open), ("T003", Open)].map(|(id, state)| (id.to_owned(), state));
    assert_eq!(states(&text), expected);
    assert!(diagnostics(&text).is_empty(), "{:?}", diagnostics(&text));
    let ticked = edit::tick(&text, &TaskId::parse("T002").expect("an id"), true).expect("it has a box");
    assert!(ticked.contains("### - [x] T002 [P] Iron it"), "{ticked}");
}

#[test]
fn an_index_and_its_details_are_one_task() {
    let text = "## Phase 1: Hull\n\n### T001: Keel\n\n- [x] **T001** Lay it in src/keel\n\n### T002: Planks\n\nOf oak.\n\n## Task Execution \
                Checklist\n\n- [x] T001: it lies\n- [ ] T002: they hold\n";
    assert_eq!(states(text), [("T001".to_owned(), TaskState::Done), ("T002".to_owned(), TaskState::Open)]);
    let second = &file(text).tasks[1];
    let ticked = edit::tick(text, &second.id, true).expect("the box of the checklist");
    assert_eq!(ticked, text.replace("- [ ] T002", "- [x] T002"));
    assert_eq!(diagnostics(text), []);
}

#[test]
fn rows_of_tables_are_tasks() {
    let text = "## Phase 1: Hull\n\n| ID | Status | Task | Depends On |\n|----|----|----|----|\n| T001 | [x] | Keel in `keel.rs` | None |\n| \
                **T002** | [ ] | [P] Planks | T001 |\n| T003 | ✅ Done | Mast | |\n| T004 | In progress | Sail | T002, T003 |\n\n### T002 \
                details\n\nOf oak.\n";
    let parsed = tasks::parse(text.as_bytes());
    assert_eq!(parsed.diagnostics, []);
    let found: Vec<_> =
        parsed.model.tasks.iter().map(|t| (t.id.as_str(), t.state, t.parallel, t.depends_on.len())).collect();
    assert_eq!(
        found,
        [("T001", Done, false, 0), ("T002", Open, true, 1), ("T003", Done, false, 0), ("T004", InProgress, false, 2)]
    );
    assert_eq!(parsed.model.tasks[0].paths, ["keel.rs"]);
    assert!(parsed.model.tasks[1].section.is_some_and(|s| s.text(text).contains("Of oak")));
    let ticked = edit::tick(text, &parsed.model.tasks[1].id, true).expect("the row has a box");
    assert_eq!(ticked, text.replace("| [ ] | [P]", "| [x] | [P]"));
}

#[test]
fn kiro_groups_tasks_by_their_numbers() {
    let text = "# Implementation Plan\n\n- [ ] 1. Hull\n- [x] 1.1 Lay the keel\n  - Of oak\n  - _Requirements: 1.1, 2.3_\n- [-] 1.2 Plank \
                it\n  - _Requirements: 1.2_\n- [ ] 2. Rig it\n  - _Requirements: 3.1_\n- [ ]* 3. Optional\n";
    let file = file(text);
    let found: Vec<_> =
        file.tasks.iter().map(|t| (t.id.as_str(), t.state, file.phases[t.phase].title.as_str())).collect();
    assert_eq!(found[0], ("1.1", TaskState::Done, "Hull"));
    assert_eq!(found[1], ("1.2", TaskState::InProgress, "Hull"));
    assert_eq!(found[2].0, "2");
    let edges = file.dependencies();
    assert!(edges[&file.tasks[2].id].contains(&file.tasks[1].id), "{edges:?}");
}

#[test]
fn openspec_numbers_sections_and_tasks() {
    let text = "# Tasks\n\n## 1. Hull\n\n- [x] 1.1 Lay the keel\n- [ ] 1.2 Plank it (depends on 1.1)\n\n## 2. Rig\n\n- [ ] 2.1 Step the mast\n";
    let parsed = tasks::parse(text.as_bytes());
    let found: Vec<_> = parsed.model.tasks.iter().map(|t| (t.id.to_string(), t.phase)).collect();
    assert_eq!(found, [("1.1".to_owned(), 0), ("1.2".to_owned(), 0), ("2.1".to_owned(), 1)]);
    assert_eq!(parsed.model.tasks[1].depends_on.len(), 1);
    assert_eq!(parsed.diagnostics, []);
}

#[test]
fn cc_sdd_marks_parallel_tasks_in_parentheses() {
    let text = "# Implementation Plan\n\n- [ ] 1. Hull\n- [ ] 1.1 (P) Lay the keel\n- [ ] 1.2 (P) Plank it\n";
    let found: Vec<_> = file(text).tasks.into_iter().map(|t| (t.title, t.parallel)).collect();
    assert_eq!(found, [("Lay the keel".to_owned(), true), ("Plank it".to_owned(), true)]);
}

#[test]
fn lines_that_look_like_work_are_reported() {
    let text = phase(
        "- [ ] T001 Lay the keel\n\n> - [ ] T002 Plank it\n\nText.\n\n    - [ ] T003 Step the mast\n\n### Task A: Sew\n\n- T004, T005: \
         rig\n\n| T009-T010 | rest |\n|-|-|\n| T011 and T012 | [ ] |",
    );
    assert_eq!(
        codes(&text).iter().filter(|(_, code)| *code == "UnreadTask").map(|(line, _)| *line).collect::<Vec<_>>(),
        [7, 11, 13, 15, 19]
    );
    let first = &diagnostics(&text)[0];
    assert!(
        first.message.contains("`> - [ ] T002 Plank it`") && first.remedy.contains("- [ ] T001 description"),
        "{first}"
    );
    let known = phase("- [ ] T001 Lay the keel\n\n> - [x] T001 was late");
    assert_eq!(codes(&known), []);
}

#[test]
fn a_mention_that_could_be_a_dependency_is_reported() {
    let of = |tail: &str| codes(&phase(&format!("- [ ] T001 [P] Keel\n- [ ] T002 [P] Planks{tail}")));
    assert_eq!(of(" once the wood of T001 has dried, beside T001"), [(6, "UnclearMention")]);
    assert_eq!(of(" (see T001)"), []);
    assert_eq!(of(", as in T001"), []);
    assert_eq!(of(" (depends on T001)"), []);
    let ordered = phase("- [ ] T001 Keel\n- [ ] T002 Planks over the T001 keel");
    assert_eq!(codes(&ordered), []);
}

#[test]
fn a_cycle_names_every_statement() {
    let text = phase(
        "- [ ] T001 Keel (depends on T003)\n- [ ] T002 Planks (depends on T001)\n- [ ] T003 Mast\n  - Depends on: T002",
    );
    let found = diagnostics(&text);
    assert_eq!(found.iter().map(|d| (d.line, d.code)).collect::<Vec<_>>(), [(5, "DependencyCycle")]);
    for part in ["T001 waits for T003 (line 5)", "T002 waits for T001 (line 6)", "T003 waits for T002 (line 8)"] {
        assert!(found[0].message.contains(part), "{}", found[0]);
    }
}

#[test]
fn a_line_alone_states_no_cycle() {
    let text = phase(
        "- [ ] T001 [P] Keel\n- [ ] T002 [P] Mast\n\n## Dependencies\n\n- T001 depends on T002, T002 depends on T001.",
    );
    assert_eq!(codes(&text), [(10, "UnclearMention")]);
    assert!(file(&text).tasks.iter().all(|task| task.depends_on.is_empty()));
}

/// Returns identifiers, titles and dependencies of the tasks of a document.
fn order(text: &str) -> Vec<(String, String, Vec<String>)> {
    let on = |task: &tasks::Task| task.depends_on.iter().map(|d| d.on.to_string()).collect();
    file(text).tasks.iter().map(|t| (t.id.to_string(), t.title.clone(), on(t))).collect()
}

#[test]
fn numbers_with_hyphens_are_identifiers() {
    let text = "# Tasks: Boat\n\n## Order\n\nTask 2-1 depends on Task 1-2.\n\n## Phase 1: Hull\n\n### Task 1-1: Bend the ribs\n\n- [ ] Steam \
                them\n\n### Task 1-2: Nail the planks\n\n**Dependencies**: Task 1-1\n\n## Phase 2: Deck\n\n### ✅ Task 2-1: Lay the \
                deck\n\n**Dependencies**: Task 1-1, Task 1-2\n";
    let expected = [
        ("1-1", "Bend the ribs", vec![]),
        ("1-2", "Nail the planks", vec!["1-1"]),
        ("2-1", "Lay the deck", vec!["1-1", "1-2"]),
    ];
    let expected = expected.map(|(id, title, on): (&str, &str, Vec<&str>)| {
        (id.to_owned(), title.to_owned(), on.into_iter().map(str::to_owned).collect::<Vec<_>>())
    });
    assert_eq!(order(text), expected);
    assert_eq!(codes(text), []);
    assert_eq!(states(text)[2].1, Done);
    assert_eq!(TaskId::parse("1-2").map(|id| id.to_string()).as_deref(), Some("1-2"));
    // A number twice is still a duplicate.
    let twice = text.replace("Task 1-2: Nail", "Task 1-1: Nail");
    assert!(codes(&twice).contains(&(13, "DuplicateTask")), "{:?}", codes(&twice));
    // Without a number that cannot be a range, it is one.
    let range = "# Tasks: Boat\n\n## Phase 1: Hull\n\n### Task 1: Bend\n\n### Task 2: Nail\n\n### Task 3: Paint\n\n\
                 **Dependencies**: Tasks 1-2\n\n### Task 1-3: notes\n";
    assert_eq!(order(range)[2].2, ["1", "2"]);
    assert_eq!(file(range).tasks.len(), 3);
}

#[test]
fn headings_of_issues_are_tasks_of_a_list_without_others() {
    let list = "# Plano de tarefas — Barco\n\n## Issue 1 — Dobrar as costelas\n\n- **Dependências:** nenhuma\n\n## Issue 2 — Pregar as \
                tábuas\n\n- **Dependências:** Issue 1\n";
    let read = order(list);
    assert_eq!(
        read.iter().map(|(id, title, _)| (id.as_str(), title.as_str())).collect::<Vec<_>>(),
        [("1", "Dobrar as costelas"), ("2", "Pregar as tábuas")]
    );
    assert_eq!((&read[1].2[..], codes(list)), (&["1".to_owned()][..], Vec::new()));
    let english = list.replace("Plano de tarefas", "Tasks").replace("## Issue", "### Issue").replace(" — ", ": ");
    assert_eq!(order(&english).len(), 2);
    // Beside tasks, issues are those of a tracker, and so is a single one, or one in another document.
    let beside = format!("{list}\n## Phase 1: Hull\n\n- [ ] T001 Caulk the seams, as in issue 2\n");
    assert_eq!(order(&beside).iter().map(|(id, ..)| id.as_str()).collect::<Vec<_>>(), ["T001"]);
    let boxes = list.replace("- **Dependências:** nenhuma", "- [ ] Dobrar");
    assert!(file(&boxes).tasks.iter().all(|task| task.id.as_str().starts_with("box-")), "{:?}", order(&boxes));
    for other in [list.replace("Plano de tarefas", "Revisão"), list.replace("Issue 2", "Issue 1")] {
        assert_eq!(codes(&other).iter().map(|(_, code)| *code).collect::<Vec<_>>(), ["NoTasks"], "{other}");
    }
}

#[test]
fn boxes_about_the_tasks_for_something_are_no_tasks() {
    let tasks = "- [ ] T001 Caulk the seams\n- [ ] T002 Paint the hull";
    for line in [
        "- [x] AC-1 → T001",
        "- [ ] AC-2→T001,T002 · [ ] AC-3→T002",
        "- [ ] **FR-003**: -> T002",
        "- [ ] SC-001 => **T001**",
    ] {
        let text = phase(&format!("{tasks}\n{line}"));
        assert_eq!((file(&text).tasks.len(), file(&text).unread.len()), (2, 0), "{line}");
        assert_eq!(codes(&text), [(7, "ChecklistItems")], "{line}");
    }
    // Work for a requirement is a task.
    for line in ["- [ ] FR-003 Caulk the deck", "- [ ] AC-1 → the deck is dry", "- [ ] AC-1"] {
        assert_eq!(file(&phase(line)).tasks.len(), 1, "{line}");
    }
}

#[test]
fn a_line_that_refers_to_another_one_is_no_duplicate() {
    let first = "- [x] T004.1 Caulk the seams";
    for line in
        ["- [x] T004.1: Seams (see above)", "- [ ] **T004.1** Seams（見上方 Hull）", "- [x] T004.1 Seams (siehe oben)"]
    {
        let text = phase(&format!("{first}\n\n### Repairs\n\n{line}"));
        assert_eq!((read(&format!("{first}\n{line}")), codes(&text)), (read(first), Vec::new()), "{line}");
    }
    let text = phase(&format!("{first}\n- [x] T004.1 Look at the stars above (see the chart)"));
    assert_eq!(codes(&text), [(6, "DuplicateTask")]);
    // A line on its own is a task.
    assert_eq!(read("- [ ] T005 Paint it like the hull (see above)").len(), 1);
}

#[test]
fn indented_boxes_below_a_heading_are_no_code() {
    let text = "# Tasks: Boat\n\n## Phase 1: Hull\n\n    - [ ] T001 Caulk\n      the seams\n    - [x] T002 Paint\n\n    - [ ] T003 Launch\n\n## \
                Phase 2: Deck\n    - [ ] T004 Scrub\n";
    let read: Vec<(String, String)> =
        file(text).tasks.into_iter().map(|task| (task.id.to_string(), task.title)).collect();
    let expected = [("T001", "Caulk the seams"), ("T002", "Paint"), ("T003", "Launch"), ("T004", "Scrub")];
    assert_eq!(read, expected.map(|(id, title)| (id.to_owned(), title.to_owned())));
    assert_eq!(codes(text), []);
    // Behind a paragraph it is an example.
    let example = "# Tasks: Boat\n\n## Phase 1: Hull\n\n- [ ] T001 Caulk\n\n### Form\n\nA task looks like this:\n\n    - [ ] T001 Caulk\n";
    assert_eq!((file(example).tasks.len(), file(example).unread.len()), (1, 0));
    let code = text.replace("- [ ]", "run").replace("- [x]", "run");
    assert_eq!(file(&code).tasks, []);
}
