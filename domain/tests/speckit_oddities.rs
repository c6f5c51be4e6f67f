//! Variations of Spec Kit's forms that people write and that the tests of the single documents do not cover, each with a small example.

use enact_domain::speckit::{constitution, plan, spec, tasks};

/// Returns key, title, priority and number of scenarios of the only story, which has this heading.
fn story(heading: &str, scenarios: &str) -> (String, String, Option<String>, usize) {
    let text = format!("# Spec: a\n\n## User Scenarios\n\n{heading}\n\n{scenarios}\n");
    let stories = spec::parse(text.as_bytes()).model.stories;
    assert_eq!(stories.len(), 1, "{heading}");
    let story = &stories[0];
    (story.key.to_string(), story.title.clone(), story.priority.clone(), story.scenarios.len())
}

#[test]
fn headings_of_stories() {
    for (heading, key, priority) in [
        ("### User Story 1 - Open (Priority: P1)", "US1", Some("P1")),
        ("### User Story 2a — Open (Priority: P2) 🎯 MVP", "US2a", Some("P2")),
        ("### User Story 1.5 -- Open (P1)", "US1.5", Some("P1")),
        ("### US-3: Open (P0)", "US3", Some("P0")),
        ("### 用户故事 4 - Open（优先级：P3）", "US4", Some("P3")),
        ("### História de Usuário 5 - Open (Prioridade: P1)", "US5", Some("P1")),
        ("### User Story 6: Open", "US6", None),
    ] {
        let (found, title, found_priority, _) = story(heading, "");
        assert_eq!((found.as_str(), title.as_str(), found_priority.as_deref()), (key, "Open", priority), "{heading}");
    }
    assert_eq!(story("### User Story 7 - Open", "**Priority**: P2").2.as_deref(), Some("P2"));
}

#[test]
fn forms_of_scenarios() {
    let count = |scenarios: &str| story("### User Story 1 - Open", scenarios).3;
    assert_eq!(
        count(
            "**Acceptance Scenarios**:\n\n1. **Given** a, **When** b, **Then** c\n2. **Given** d, **When** e,\n   **Then** f"
        ),
        2
    );
    assert_eq!(
        count("**Acceptance Scenarios**:\n\n- *Given* a, *When* b, *Then* c\n- __Given__ d, __When__ e, __Then__ f"),
        2
    );
    assert_eq!(count("**验收场景**：\n\n1. **假设** a，**当** b，**那么** c"), 1);
    assert_eq!(count("**Cenários de Aceitação**:\n\n1. **Dado** a, **Quando** b, **Então** c"), 1);
    assert_eq!(
        count("#### Acceptance Scenarios\n\n1. **Opening**:\n   - **Given** a\n   - **When** b\n   - **Then** c"),
        1
    );
    assert_eq!(count("- a remark\n- another"), 0);
}

/// Returns the identifiers of requirements and of criteria.
fn definitions(text: &str) -> (Vec<String>, Vec<String>) {
    let model = spec::parse(format!("# Spec: a\n\n## Requirements\n\n{text}\n").as_bytes()).model;
    let ids = |found: Vec<spec::Requirement>| found.into_iter().map(|r| r.id).collect();
    (ids(model.requirements), ids(model.success_criteria))
}

#[test]
fn identifiers_of_requirements_and_criteria() {
    for id in ["FR-001", "FR-012a", "FR-3.1", "NFR-1", "PR-001", "SR-002", "UX-003", "FR-DIAG-001"] {
        for line in
            [format!("- **{id}**: a"), format!("* {id}: a"), format!("- **{id}:** a"), format!("| {id} | a |\n")]
        {
            let line = if line.starts_with('|') { format!("| ID | Text |\n|-|-|\n{line}") } else { line };
            assert_eq!(definitions(&line).0, [id], "{line}");
        }
    }
    assert_eq!(definitions("- **SC-001**: a\n- SC-002b：b").1, ["SC-001", "SC-002b"]);
    assert_eq!(definitions("### SC-003: c\n\ntext").1, ["SC-003"]);
    assert_eq!(definitions("| Criterion | Text |\n|-|-|\n| **SC-004** | d |").1, ["SC-004"]);
    assert_eq!(
        definitions("- [x] **FR-001**: a\n- ~~FR-002~~: b\n- FR-001 and FR-002 are mentioned").0,
        ["FR-001", "FR-002"]
    );
}

#[test]
fn names_of_entities_have_no_marks() {
    let entity = |item: &str| {
        let text = format!("# Spec: a\n\n## Requirements\n\n### Key Entities\n\n- {item}\n");
        let entities = spec::parse(text.as_bytes()).model.entities;
        assert_eq!(entities.len(), 1, "{item}");
        (entities[0].name.clone(), entities[0].text.clone())
    };
    for (item, name, text) in [
        ("**Order**: what a guest **wants**", "Order", "what a guest **wants**"),
        ("**Order:** what a guest wants", "Order", "what a guest wants"),
        ("__Order__: what a guest wants", "Order", "what a guest wants"),
        ("**Order** (existing, Spec 002): has a date", "Order", "(existing, Spec 002): has a date"),
        ("**Order**: -1 or 1", "Order", "-1 or 1"),
        ("**Order** - what a guest wants: food", "Order", "what a guest wants: food"),
        ("**Order** – what a guest wants", "Order", "what a guest wants"),
        ("**Order** is what a guest wants", "Order", "is what a guest wants"),
        ("**Order**", "Order", ""),
        ("**`Order`**: what a guest wants", "Order", "what a guest wants"),
        ("`Order`: what a guest wants", "Order", "what a guest wants"),
        ("*Order* — what a guest wants", "Order", "what a guest wants"),
        ("Order: what **a guest** wants", "Order", "what **a guest** wants"),
        ("Order (`orders`): what a guest wants", "Order (orders)", "what a guest wants"),
        ("Order of a guest", "Order of a guest", ""),
    ] {
        assert_eq!(entity(item), (name.to_owned(), text.to_owned()), "{item}");
    }
}

#[test]
fn forms_of_answers() {
    let text = "# Spec: a\n\n## Clarifications\n\n### Session 2026-03-02\n\n1. Q: a? → A: b\n2. Q: c? -> A: d\n- Q: e?\n  - A: f\n- **Q**: g?\n  **A**: h\n- **Q3**: i? → **A**: j\n- 问：k？ → 答：l\n- Q: m?\n";
    let found = spec::parse(text.as_bytes()).model.clarifications;
    let pairs: Vec<_> = found.iter().map(|c| (c.question.as_str(), c.answer.as_str())).collect();
    assert_eq!(pairs, [("a?", "b"), ("c?", "d"), ("e?", "f"), ("g?", "h"), ("i?", "j"), ("k？", "l"), ("m?", "")]);
}

#[test]
fn numbers_of_tasks_may_leap_and_stand_in_any_order() {
    let text = "# Tasks: a\n\n## Phase 1: Setup\n\n- [ ] T100 a\n- [ ] T000 b\n\n## Phase 2: X\n\n### Tests for it\n\n#### Part\n\n- [ ] T205 c\n- [ ] T1000 d\n";
    let parsed = tasks::parse(text.as_bytes());
    let found: Vec<_> = parsed.model.tasks.iter().map(|t| (t.id.as_str(), t.phase)).collect();
    assert_eq!(found, [("T100", 0), ("T000", 0), ("T205", 1), ("T1000", 1)]);
    assert_eq!(parsed.diagnostics, []);
}

#[test]
fn boxes_without_identifiers_are_no_tasks() {
    let text = "# Tasks: a\n\n## Phase 1: Setup\n\n- [ ] T001 a\n\n## Validation Checklist\n\n- [x] every T001 is done\n- [ ] nothing is open\n";
    assert_eq!(tasks::parse(text.as_bytes()).model.tasks.len(), 1);
}

#[test]
fn forms_of_the_constitution_check() {
    for check in [
        "| Principle | Status |\n|-|-|\n| I. Doors | PASS |",
        "- I. Doors: PASS",
        "- [x] I. Doors",
        "All of it is kept: doors.",
    ] {
        let text = format!(
            "# Implementation Plan: a\n\n## Constitution Check\n\n{check}\n\n### Again after phase 1\n\nPASS\n"
        );
        let found = plan::parse(text.as_bytes()).model.constitution_check.expect("there is one");
        assert!(found.text.contains("oors") && found.text.ends_with("PASS"), "{}", found.text);
    }
}

#[test]
fn forms_of_the_technical_context() {
    let of = |context: &str| {
        let text = format!("# Implementation Plan: a\n\n## Technical Context\n\n{context}\n");
        let entries = plan::parse(text.as_bytes()).model.context;
        entries.into_iter().map(|e| (e.key, e.value)).collect::<Vec<_>>()
    };
    let wanted = vec![("Storage".to_owned(), "N/A".to_owned())];
    for context in ["**Storage**: N/A", "- **Storage:** N/A", "| Key | Value |\n|-|-|\n| **Storage** | N/A |"] {
        assert_eq!(of(context), wanted, "{context}");
    }
}

#[test]
fn forms_of_constitutions() {
    let codes =
        |text: &str| constitution::parse(text.as_bytes()).diagnostics.iter().map(|d| d.code).collect::<Vec<_>>();
    let names = |text: &str| {
        let model = constitution::parse(text.as_bytes()).model;
        model.principles.into_iter().map(|p| (p.number.unwrap_or_default(), p.name)).collect::<Vec<_>>()
    };
    let wanted = |number: &str| vec![(number.to_owned(), "Doors".to_owned())];
    assert_eq!(names("# A Constitution\n\n## Core Principles\n\n### I. Doors\n"), wanted("I"));
    assert_eq!(names("# A Constitution\n\n## Core Principles\n\n### 1. Doors\n"), wanted("1"));
    assert_eq!(
        names("# 章程\n\n## 核心原则\n\n### I. Doors\n\n**版本**：1.0.0 | **批准日期**：2026-01-31\n"),
        wanted("I")
    );
    assert_eq!(names("# A Constitution\n\n### Article IV — Doors\n"), wanted("IV"));
    assert_eq!(codes("# A Constitution\n\n### I. Doors\n"), ["MissingVersion"]);
    assert_eq!(codes("# A Constitution\n\n**Version**: 1.0\n"), ["NoPrinciples", "InvalidVersion"]);
    let translated =
        constitution::parse("# 章程\n\n### I. Doors\n\n**版本**：1.0.0 | **批准日期**：2026-01-31\n".as_bytes()).model;
    assert_eq!(
        (translated.version.expect("a version").text, translated.ratified.expect("a date").text),
        ("1.0.0".into(), "2026-01-31".into())
    );
}

#[test]
fn only_the_first_lines_are_front_matter() {
    let body = "# Spec: a\n\nIntro.\n\n---\n**Owner**: us\n\n### User Story 1 - Open (Priority: P1)\n\nTell.\n\n## Requirements\n\n\
                - **FR-001**: It MUST open\n\n---\n\nEnd.\n";
    for text in [
        body.to_owned(),
        format!("---\nid: 7\n---\n{body}"),
        format!("\u{feff}---\nid: 7\n---\n{body}"),
        format!("---\n\n{body}"),
    ] {
        let model = spec::parse(text.as_bytes()).model;
        assert_eq!((model.stories.len(), model.requirements.len()), (1, 1), "{text}");
        assert_eq!(model.source, text);
    }
}
