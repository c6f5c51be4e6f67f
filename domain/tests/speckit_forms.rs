//! Forms of documents that were found in public repositories after the parsers were written.

use enact_domain::analysis::{self, SharedItemKind, Sketch, TaskText};
use enact_domain::speckit::spec::Spec;
use enact_domain::speckit::tasks::{TaskState, TasksFile};
use enact_domain::speckit::{TaskId, constitution, plan, spec, tasks};

fn feature(text: &str) -> Spec {
    spec::parse(text.as_bytes()).model
}

fn list(text: &str) -> TasksFile {
    tasks::parse(text.as_bytes()).model
}

fn ids(text: &str) -> Vec<String> {
    list(text).tasks.iter().map(|task| task.id.to_string()).collect()
}

/// Returns the findings in a specification: code and location.
fn findings(text: &str) -> Vec<(&'static str, String)> {
    let report = analysis::specification(&spec::parse(text.as_bytes()));
    report.findings.into_iter().map(|finding| (finding.code, finding.location)).collect()
}

/// Returns the tasks that a task waits for.
fn waits(file: &TasksFile, id: &str) -> Vec<String> {
    let task = file.task(&TaskId::parse(id).expect("an identifier")).expect("a task");
    task.depends_on.iter().map(|dependency| dependency.on.to_string()).collect()
}

#[test]
fn one_letter_identifiers_of_rows_are_read() {
    let requirements = "# Feature Specification: Boat\n\n## Requirements\n\n| ID | Requirement |\n| --- | --- |\n\
        | A-01 | The boat MUST float |\n| A-02 | The sail MUST dry |\n| B-1 | The oar MUST fit |\n";
    let read: Vec<String> =
        feature(requirements).requirements.into_iter().map(|r| format!("{} {}", r.id, r.text)).collect();
    assert_eq!(read, ["A-01 The boat MUST float", "A-02 The sail MUST dry", "B-1 The oar MUST fit"]);

    let rows = "# Tasks: Boat\n\n## Phase 1: Hull\n\n| ID | Status | Task | Depends on |\n| --- | --- | --- | --- |\n\
        | A-01 | [x] | Saw planks | |\n| A-02 | [ ] | Bend planks | A-01 |\n| RIG-1 | [ ] | Hoist | A-01, A-02 |\n\
        | RIG-2 | [ ] | Lower | RIG-1 |\n";
    assert_eq!(ids(rows), ["A-01", "A-02", "RIG-1", "RIG-2"]);
    let file = list(rows);
    assert_eq!(file.tasks[0].state, TaskState::Done);
    assert_eq!(
        (waits(&file, "A-02"), waits(&file, "RIG-1"), waits(&file, "RIG-2")),
        (vec!["A-01".to_owned()], vec!["A-01".to_owned(), "A-02".to_owned()], vec!["RIG-1".to_owned()],)
    );
    // A table without states is about anything.
    let risks = "# Tasks: Boat\n\n## Phase 1: Hull\n\n- [ ] T001 Saw\n\n| ID | Risk |\n| --- | --- |\n| R-01 | Rot |\n| R-02 | Ice |\n";
    assert_eq!(ids(risks), ["T001"]);
}

#[test]
fn a_tree_below_a_table_is_no_row_of_it() {
    let tree = "├── src/\n│   └── hull.rs\n└── tests/";
    let ascii = "|-- src/\n|   |-- hull.rs\n|-- tests/";
    for tree in [tree, ascii] {
        let text = format!(
            "# Implementation Plan: Boat\n\n## Complexity Tracking\n\n| Violation | Why | Simpler |\n| --- | --- | --- |\n\
             | Two hulls | Speed | One sinks |\n{tree}\n"
        );
        let parsed = plan::parse(text.as_bytes());
        assert_eq!(parsed.model.complexity.len(), 1, "{tree}");
        assert!(parsed.diagnostics.iter().all(|d| d.code != "UnjustifiedComplexity"), "{:?}", parsed.diagnostics);
    }
    let none = "# Implementation Plan: Boat\n\n## Complexity Tracking\n\n| Violation | Why | Simpler |\n| --- | --- | --- |\n| [None] | | |\n";
    assert_eq!(plan::parse(none.as_bytes()).model.complexity, []);
}

#[test]
fn independent_tests_have_labels_in_each_language() {
    for label in [
        "Independent Test",
        "Test indépendant",
        "Unabhängiger Test",
        "Prueba independiente",
        "Test indipendente",
        "Teste independente",
        "Независимый тест",
        "独立テスト",
        "독립 테스트",
        "독립 테스트 (Independent Test)",
        "独立测试",
        "獨立驗證",
    ] {
        let document = format!(
            "# Feature Specification: Boat\n\n### User Story 1 - Sail (Priority: P1)\n\n**{label}**: Sail once.\n"
        );
        let found = feature(&document).stories[0].independent_test.clone().map(|item| item.text);
        assert_eq!(found.as_deref(), Some("Sail once."), "{label}");
        let phase = format!("# Tasks: Boat\n\n## Phase 1: User Story 1\n\n**{label}**: Sail once.\n\n- [ ] T001 Sew\n");
        let found = list(&phase).phases[0].independent_test.clone().map(|item| item.text);
        assert_eq!(found.is_some(), !label.contains('('), "{label}");
    }
}

#[test]
fn paths_are_relative_to_the_target() {
    let about = |folder: &str| {
        let text = format!(
            "# Feature Specification: Boat\n\n**Target**: `{folder}`\n\n## Requirements\n\n- **FR-001**: `src/hull.rs` MUST float\n"
        );
        Sketch::new(&feature(&text))
    };
    let shared = |one: &str, other: &str| {
        let items = analysis::overlap(&about(one), &about(other));
        items.iter().filter(|item| item.kind == SharedItemKind::Path).count()
    };
    assert_eq!((shared("apps/boat", "apps/ship"), shared("apps/boat", "apps/boat/")), (0, 1));
}

#[test]
fn boxes_with_the_name_of_a_phase_are_summaries() {
    let text = "# Tasks: Boat\n\n## Phase 1: Hull\n\n- [ ] T001 Saw\n\n## Phase 2: Rig\n\n- [ ] T002 Sew\n\n## Progress\n\n\
        - [x] Phase 1: Hull (7/7 complete)\n- [ ] **Phase 2**: Rig (0/3)\n- [ ] Phase 2\n";
    let parsed = tasks::parse(text.as_bytes());
    assert_eq!(ids(text), ["T001", "T002"]);
    assert_eq!(parsed.model.unread, []);
    let work = text.replace("Phase 1: Hull (7/7 complete)", "Phase 1 planks need oil");
    assert_eq!(tasks::parse(work.as_bytes()).model.tasks.len() + tasks::parse(work.as_bytes()).model.unread.len(), 3);
}

#[test]
fn identifiers_can_contain_the_number_of_the_feature() {
    let text = "# Tasks: Boat\n\n## Phase 1: Hull\n\n### TK-015-001 [P1] Saw planks\n\nAll of them.\n\n### TK-015-002 [P2] Bend planks\n\n\
        - **Dependencies**: TK-015-001\n";
    assert_eq!(ids(text), ["TK-015-001", "TK-015-002"]);
    assert_eq!(waits(&list(text), "TK-015-002"), ["TK-015-001"]);
    // One such heading is about something else.
    assert_eq!(ids("# Tasks: Boat\n\n## Phase 1: Hull\n\n### NOTE-015-001 Planks\n\n- [ ] T001 Saw\n"), ["T001"]);
}

#[test]
fn prefixes_with_two_digits_and_labels_beside_others_count() {
    let text = "# Tasks: Boat\n\n## Phase 1: Hull\n\n- [ ] T001 Saw\n- [x] RM01 [M3] Oil\n- [ ] RM02 Sand\n- [ ] **BE-001**: Nail\n\
        - [ ] **BE-002**: Glue\n- [ ] **SYS-001**: Launch\n- [ ] UTF-8 names\n";
    let read = ids(text);
    assert_eq!(read[..6], ["T001", "RM01", "RM02", "BE-001", "BE-002", "SYS-001"]);
    assert!(read[6].starts_with("box-"), "{read:?}");
}

#[test]
fn a_task_in_brackets_before_a_verb_is_the_subject() {
    let text = "# Tasks: Boat\n\n## Phase 1: Hull\n\n- [ ] T029 Saw\n- [ ] T036 [P] Sew the sail; its rigging (T037) needs T029\n- [ ] T037 [P] Rig\n";
    let file = list(text);
    assert_eq!((waits(&file, "T036"), waits(&file, "T037")), (vec![], vec!["T029".to_owned()]));
}

#[test]
fn a_letter_names_a_part_of_a_task() {
    let text = "# Tasks: Boat\n\n## Phase 1: Hull\n\n- [ ] T048 Saw\n- [ ] T050 [P] Sew (depends on T048b)\n- [ ] T051 [P] Tar (depends on T049b)\n";
    let parsed = tasks::parse(text.as_bytes());
    assert_eq!(waits(&parsed.model, "T050"), ["T048"]);
    let unknown: Vec<u32> = parsed.diagnostics.iter().filter(|d| d.code == "UnknownTask").map(|d| d.line).collect();
    assert_eq!(unknown, [7]);
}

#[test]
fn principles_have_headings_of_other_names() {
    let read = |text: &str| -> Vec<String> {
        constitution::parse(text.as_bytes()).model.principles.into_iter().map(|p| p.name).collect()
    };
    let values = "# Boat Constitution\n\n## Core Values\n\n### Dry first\n\nKeep dry.\n\n### Safe\n\nWear vests.\n\n## Governance\n\nVote.\n";
    assert_eq!(read(values), ["Dry first", "Safe"]);
    let numbered = "# Boat Constitution\n\n## Purpose\n\nWhy.\n\n## 1. Dry first\n\nKeep dry.\n\n## 2. Safe\n\nVests.\n\n## 3. Governance\n\nVote.\n";
    assert_eq!(read(numbered), ["Dry first", "Safe"]);
    let plain =
        "# Boat Standards\n\n## Dry hulls\n\nKeep dry.\n\n## Vests\n\nWear them.\n\n## Version history\n\n- 1.0.0\n";
    assert_eq!(read(plain), ["Dry hulls", "Vests"]);
    // A description of a system is not a list of principles.
    let system = "# Boat\n\n## Stack\n\nOak.\n\n## Schema\n\n### Table: hulls\n\nName.\n\n### Table: sails\n\nName.\n";
    assert_eq!(read(system), [""; 0]);
    let named = "# Boat Constitution\n\n## Core Principles\n\n### I. Dry\n\nKeep dry.\n\n## Rigging\n\nSew.\n\n## Crew\n\nTwo.\n";
    assert_eq!(read(named), ["Dry"]);
}

#[test]
fn requirements_of_open_spec_are_headings() {
    let text = "# hull Specification\n\n## Purpose\n\nHulls.\n\n## Requirements\n\n### Requirement: Dry hull\n\nThe hull SHALL stay dry.\n\n\
        #### Scenario: Rain\n\n- **WHEN** it rains\n- **THEN** the hull is dry\n\n#### Scenario: Waves\n\n- **WHEN** it rains\n\
        - **THEN** the hull is dry\n\n### Requirement: Light hull\n\nThe hull SHALL weigh at most 90 kg.\n\n#### Scenario: Scale\n\n- **WHEN** weighed\n- **THEN** at most 90 kg\n";
    let texts: Vec<String> = feature(text).requirements.into_iter().map(|r| r.text).collect();
    assert_eq!(texts, ["Dry hull: The hull SHALL stay dry.", "Light hull: The hull SHALL weigh at most 90 kg."]);
    assert_eq!(findings(text), []);
    // A change is not analysed further: its statements are about another document.
    let change = text
        .replace("## Requirements", "## ADDED Requirements")
        .replace("# hull Specification\n\n## Purpose\n\nHulls.\n\n", "");
    assert_eq!(findings(&change).iter().map(|(code, _)| *code).collect::<Vec<_>>(), ["DeltaDocument"]);
}

#[test]
fn stories_can_have_the_letter_of_an_area_or_arabic_headings() {
    let text = "# Spec: Boat\n\n## User Stories\n\n### US-F01 — Sail\n\nGo.\n\n### US-F02 — Row\n\nGo.\n\n### قصة المستخدم 3 - إبحار (الأولوية: P1)\n\nاذهب.\n";
    let stories: Vec<String> =
        feature(text).stories.into_iter().map(|s| format!("{} {}", s.key.as_str(), s.title)).collect();
    assert_eq!(stories[..2], ["US-F01 Sail", "US-F02 Row"]);
    assert!(stories[2].starts_with("US3 "), "{stories:?}");
}

#[test]
fn a_story_in_a_list_can_begin_with_its_priority() {
    let text = "# Spec: Boat\n\n## User Stories\n\n- P1: As a sailor, I want to sail\n- [P2] As a cook, I want to fry\n- P3: paint\n";
    let stories: Vec<_> = feature(text).stories.into_iter().map(|s| (s.title, s.priority)).collect();
    let read = |title: &str, priority: &str| (title.to_owned(), Some(priority.to_owned()));
    assert_eq!(stories, [read("As a sailor, I want to sail", "P1"), read("As a cook, I want to fry", "P2")]);
}

#[test]
fn a_relation_of_entities_is_no_entity_with_a_number() {
    let text = "# Feature Specification: Boat\n\n## Key Entities\n\n- User: steers\n- User 1:N Boat (by year)\n- User 1:N Oar\n- Oar: rows\n";
    let names: Vec<String> = feature(text).entities.into_iter().map(|entity| entity.name).collect();
    assert_eq!(names, ["User", "User 1:N Boat (by year)", "User 1:N Oar", "Oar"]);
    assert!(findings(text).iter().all(|(code, _)| *code != "DuplicateEntity"), "{:?}", findings(text));
}

#[test]
fn sections_can_have_han_numbers() {
    let text = "## 项目宪章\n\n**宪章版本（Constitution Version）：** v1.0.0\n**LAST_AMENDED_DATE：** 2026-03-04\n\n## 一、保持干燥\n\n船体必须干燥。\n\n\
        ## 二、安全\n\n### 2.1 背心\n\n必须穿。\n\n## 三、治理\n\n投票。\n";
    let read = constitution::parse(text.as_bytes()).model;
    let names: Vec<&str> = read.principles.iter().map(|principle| principle.name.as_str()).collect();
    assert_eq!(names, ["保持干燥", "安全"]);
    assert_eq!(read.version.map(|version| version.text).as_deref(), Some("v1.0.0"));
    assert_eq!(read.last_amended.map(|date| date.text).as_deref(), Some("2026-03-04"));
}

#[test]
fn paths_of_what_exists_are_not_shared() {
    let about = |text: &str| Sketch::new(&feature(&format!("# Feature Specification: Boat\n\n- **FR-001**: {text}\n")));
    let shared = |one: &str, other: &str| analysis::overlap(&about(one), &about(other)).len();
    let change = "Hulls MUST be in `src/hull.rs`";
    assert_eq!(
        (shared(change, "`src/hull.rs` MUST float"), shared(change, "MUST use the existing types of `src/hull.rs`")),
        (1, 0)
    );
}

#[test]
fn a_story_outside_of_the_scope_needs_no_scenario() {
    let story = |title: &str| {
        let whole = |number: u32, title: &str, rest: &str| {
            format!("### User Story {number} - {title} (Priority: P1)\n\n{rest}\n\n")
        };
        let full = "**Independent Test**: Sail.\n\n1. **Given** wind, **When** hoisted, **Then** it moves.";
        format!(
            "# Feature Specification: Boat\n\n{}{}{}## Requirements\n\n- **FR-001**: Boats MUST float\n\n## Success Criteria\n\n- **SC-001**: 9 of 10 float\n",
            whole(1, "Sail", full),
            whole(2, "Row", full),
            whole(3, title, "Later."),
        )
    };
    let codes = |title: &str| findings(&story(title)).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
    assert_eq!(codes("Fly"), ["NoScenario", "NoIndependentTest"]);
    for title in
        ["Fly (out of scope)", "[후속 사이클 — 본 스펙 제외] 비행", "006 범위 외, 별도 스펙으로 분리", "飞行（范围外）"]
    {
        assert_eq!(codes(title), [""; 0], "{title}");
    }
}

#[test]
fn lines_about_a_requirement_do_not_define_it() {
    let text = "# Feature Specification: Boat\n\n## Requirements\n\n- **FR-001**: The hull MUST float\n\n**FR-001 implementation notes**:\n\n- Use oak\n\n\
        **FR-001 实现说明**:\n\n- 橡木\n\n**FR-001 CLI 参数说明**:\n\n- 无\n\n### Barcodes\n\n- Formats:\n  - Code 39\n  - PDF417\n";
    let parsed = spec::parse(text.as_bytes());
    assert!(parsed.diagnostics.iter().all(|d| d.code != "DuplicateRequirement"), "{:?}", parsed.diagnostics);
    assert!(parsed.model.requirements.iter().all(|r| r.id != "PDF417"), "{:?}", parsed.model.requirements);
}

#[test]
fn a_part_about_a_story_is_not_a_second_one() {
    let text = "# Feature Specification: Boat\n\n### User Story 4 (P4) POC Scope Breakdown\n\n- Sails\n\n### User Story 4 - Sail (Priority: P3)\n\n\
        1. **Given** wind, **When** hoisted, **Then** it moves.\n";
    let parsed = spec::parse(text.as_bytes());
    assert!(parsed.diagnostics.iter().all(|d| d.code != "DuplicateStory"), "{:?}", parsed.diagnostics);
    assert_eq!(parsed.model.stories.iter().map(|s| s.title.as_str()).collect::<Vec<_>>(), ["Sail"]);
    let twice = text.replace("(P4) POC Scope Breakdown", "- Row");
    assert!(spec::parse(twice.as_bytes()).diagnostics.iter().any(|d| d.code == "DuplicateStory"));
}

#[test]
fn a_postponed_requirement_needs_no_task() {
    let text = "# Feature Specification: Boat\n\n## Requirements\n\n- **FR-001**: Boats MUST float\n- **FR-002**: Sails MUST dry\n\
        - **FR-003**: Oars MUST fit\n- **FR-004 Export**: Deferred, ships MUST wait\n";
    let task = |text| TaskText { id: "T001", title: text, text: "", story: None };
    let found = |text: &str| {
        let tasks = [task("FR-001 FR-002 FR-003")];
        analysis::coverage(&feature(text), &tasks).findings.into_iter().map(|f| f.location).collect::<Vec<_>>()
    };
    assert_eq!(found(text), [""; 0]);
    assert_eq!(found(&text.replace("Deferred, ships", "Ships")), ["FR-004"]);
}

#[test]
fn states_in_brackets_are_no_placeholders() {
    for (state, count) in [("[IN PROGRESS]", 0), ("[HIGH PRIORITY]", 0), ("[PROJECT_NAME]", 1)] {
        let text = format!("# Implementation Plan: Boat\n\n**State**: {state} sewing\n");
        let found = plan::parse(text.as_bytes()).diagnostics.iter().filter(|d| d.code == "UnfilledTemplate").count();
        assert_eq!(found, count, "{state}");
    }
    let context = "# Implementation Plan: Boat\n\n## Technical Context\n\n**Language**: Rust. No NEEDS CLARIFICATION.\n**Storage**: NEEDS CLARIFICATION\n";
    let entries = plan::parse(context.as_bytes()).model.context;
    assert_eq!(entries.iter().map(|entry| entry.needs_clarification).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_fence_around_a_document_is_named_also_if_a_block_closes_it() {
    let text = "```markdown\n# Tasks: Boat\n\n## Phase 1: Hull\n\n- [ ] T001 Saw\n\n```bash\nsaw\n```\n\n## Phase 2: Rig\n\nSew.\n\n```\n";
    let codes: Vec<&str> = tasks::parse(text.as_bytes()).diagnostics.iter().map(|d| d.code).collect();
    assert!(codes.contains(&"FencedDocument"), "{codes:?}");
    let example = "# Tasks: Boat\n\n```markdown\n# Example\n```\n\n## Phase 1: Hull\n\n- [ ] T001 Saw\n";
    assert_eq!(ids(example), ["T001"]);
}
