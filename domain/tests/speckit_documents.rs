//! `spec.md`, `plan.md`, `constitution.md`, and common properties of all documents.

use enact_domain::speckit::spec::Spec;
use enact_domain::speckit::{Diagnostic, MAX_DOCUMENT_BYTES, Parsed, constitution, plan, spec, tasks};

fn codes(diagnostics: &[Diagnostic]) -> Vec<(u32, &str)> {
    diagnostics.iter().map(|d| (d.line, d.code)).collect()
}

fn read(text: &str) -> Spec {
    spec::parse(text.as_bytes()).model
}

const SPEC: &str = "# Feature Specification: Door

**Feature Branch**: `007-door`
**Created**: 2026-03-01
**Status**: Draft
**Input**: User description: \"A door
that opens\"

## Clarifications

### Session 2026-03-02

- Q: Which way does it open? → A: Inwards
- Q: Who may open it? -> A: Everybody
- **Q1**: Is there a bell?
  **A**: No

## User Scenarios & Testing *(mandatory)*

### User Story 1 - Open it (Priority: P1) 🎯

**Independent Test**: Push it
and look.

**Acceptance Scenarios**:

1. **Given** a closed door, **When** it is pushed,
   **Then** it opens
2. **Given** an open door, **When** it is pushed, **Then** nothing happens

### User Story 2a — Close it（Priority：P2）

**Acceptance Scenarios**:

1. **Given** an open door, **When** it is pulled, **Then** it closes

### Edge Cases

- What if it is locked?
- What if it rains?

## Requirements *(mandatory)*

### Functional Requirements

- **FR-001**: It MUST open
  without noise
- **FR-002a** (P2): It MUST close
- FR-003: It SHOULD be red
- **FR-LOCK-004**：It MUST lock
- **FR-001 was once longer.** This is a remark.

| ID | Text |
|----|------|
| NFR-1 | Opens in a second |

### Key Entities

- **Door**: a thing on hinges
- **Hinge**

## Success Criteria *(mandatory)*

### Measurable Outcomes

- **SC-001**: Nine of ten people get through

## Assumptions

- There is a wall

### Requirement coverage

- **FR-001**: tested
";

#[test]
fn a_specification_is_read_whole() {
    let Parsed { model, diagnostics } = spec::parse(SPEC.as_bytes());
    assert_eq!(diagnostics, []);
    assert_eq!(model.source, SPEC);
    assert_eq!(model.title.unwrap().text, "Door");
    assert_eq!(model.branch.unwrap().text, "007-door");
    assert_eq!(model.created.unwrap().text, "2026-03-01");
    assert_eq!(model.status.unwrap().text, "Draft");
    assert_eq!(model.input.unwrap().text, "User description: \"A door that opens\"");
    assert_eq!(model.edge_cases.len(), 2);
    assert_eq!(model.assumptions[0].text, "There is a wall");
    let entities: Vec<_> = model.entities.iter().map(|e| (e.name.as_str(), e.text.as_str())).collect();
    assert_eq!(entities, [("Door", "a thing on hinges"), ("Hinge", "")]);
}

#[test]
fn stories_have_keys_priorities_and_scenarios() {
    let stories = read(SPEC).stories;
    let heads: Vec<_> =
        stories.iter().map(|s| (s.key.as_str(), s.title.as_str(), s.priority.as_deref(), s.line)).collect();
    assert_eq!(heads, [("US1", "Open it", Some("P1"), 20), ("US2a", "Close it", Some("P2"), 31)]);
    assert_eq!(stories[0].independent_test.as_ref().unwrap().text, "Push it and look.");
    let scenarios: Vec<_> = stories.iter().flat_map(|s| &s.scenarios).map(|s| (s.key.as_str(), s.line)).collect();
    assert_eq!(scenarios, [("US1/AC1", 27), ("US1/AC2", 29), ("US2a/AC1", 35)]);
    assert!(stories[0].scenarios[0].text.ends_with("**Then** it opens"));
    assert_eq!(stories[1].span.text(SPEC).lines().count(), 5);
}

#[test]
fn requirements_come_in_lists_and_tables() {
    let model = read(SPEC);
    let found: Vec<_> = model.requirements.iter().map(|r| (r.id.as_str(), r.text.as_str(), r.line)).collect();
    assert_eq!(
        found,
        [
            ("FR-001", "It MUST open without noise", 46),
            ("FR-002a", "(P2): It MUST close", 48),
            ("FR-003", "It SHOULD be red", 49),
            ("FR-LOCK-004", "It MUST lock", 50),
            ("NFR-1", "Opens in a second", 55),
        ]
    );
    assert!(model.requirements.iter().all(|r| r.section == "Functional Requirements"));
    assert_eq!(model.success_criteria.len(), 1);
    assert_eq!(model.success_criteria[0].span.text(SPEC), "- **SC-001**: Nine of ten people get through");
}

#[test]
fn requirements_may_be_headings() {
    let model =
        read("# Spec: Door\n\n## Requirements\n\n### FR-001: Opening\n\nIt MUST open.\n\n### FR-002 — Closing\n");
    let found: Vec<_> = model.requirements.iter().map(|r| (r.id.as_str(), r.text.as_str())).collect();
    assert_eq!(found, [("FR-001", "Opening It MUST open."), ("FR-002", "Closing")]);
}

#[test]
fn scenarios_of_the_2025_layout_belong_to_the_story() {
    let text = "# Feature Specification: Door

## User Scenarios & Testing

### Primary User Story

As a guest, I want a door.

### Acceptance Scenarios

1. **Given** a door, **When** pushed, **Then** it opens
2. Given a locked door, when pushed, it stays shut
3. Nothing else

### Edge Cases

- What if it is Given and Then locked?

## Review & Acceptance Checklist

- [x] Given what was written, then it is complete

## Execution Status

- [x] Review checklist passed
";
    let stories = read(text).stories;
    let keys: Vec<_> = stories.iter().flat_map(|s| &s.scenarios).map(|s| (s.key.as_str(), s.line)).collect();
    assert_eq!(keys, [("US1/AC1", 11), ("US1/AC2", 12)]);
    assert_eq!((stories.len(), stories[0].title.as_str()), (1, "Primary User Story"));
}

#[test]
fn requirements_may_lack_the_hyphen() {
    let text = "# Spec: Door\n\n## Requirements\n\n- **R001** (MUST): It opens\n- R002a: It shuts\n- T003: Hang it\n- P1: first\n\n## Notes\n\n- **R009**: no definition\n\n## Success Criteria\n\n- **SC001**: all\n";
    let model = read(text);
    let found: Vec<_> = model.requirements.iter().map(|r| (r.id.as_str(), r.text.as_str())).collect();
    assert_eq!(found, [("R001", "(MUST): It opens"), ("R002a", "It shuts")]);
    assert_eq!(model.success_criteria[0].id, "SC001");
}

#[test]
fn answers_have_their_session() {
    let model = read(SPEC);
    let found: Vec<_> = model.clarifications.iter().map(|c| (c.question.as_str(), c.answer.as_str())).collect();
    assert_eq!(
        found,
        [("Which way does it open?", "Inwards"), ("Who may open it?", "Everybody"), ("Is there a bell?", "No")]
    );
    assert!(model.clarifications.iter().all(|c| c.session.as_deref() == Some("2026-03-02")));
}

#[test]
fn only_real_markers_are_open_questions() {
    let text = "# Spec: Door

- **FR-001**: It opens [NEEDS CLARIFICATION: which
  way [in or out]?] and closes
- No [NEEDS CLARIFICATION] markers remain
- The marker `[NEEDS CLARIFICATION: like this]` is explained here
- [NEEDS CLARIFICATION: never closed

<!-- [NEEDS CLARIFICATION: in a comment] -->

```text
[NEEDS CLARIFICATION: in a fence]
```
";
    let open = read(text).open_questions;
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].text.as_str(), open[0].line), ("which way [in or out]?", 3));
    assert!(open[0].span.text(text).starts_with("[NEEDS") && open[0].span.text(text).ends_with("?]"));
}

#[test]
fn what_is_missing_twice_or_unfilled_is_said() {
    let text = "# Feature Specification: [FEATURE NAME]\n\n### User Story 1 - A\n\n### User Story 1 - B\n\n- **FR-001**: a\n- **FR-001**: b\n- **SC-001**: c `[NOT A FIELD]`\n";
    let found = spec::parse(text.as_bytes()).diagnostics;
    assert_eq!(codes(&found), [(1, "UnfilledTemplate"), (5, "DuplicateStory"), (8, "DuplicateRequirement")]);
    assert!(found[2].message.contains("line 7") && found[2].message.contains("line 8"));
    let empty = spec::parse(b"nothing here").diagnostics;
    assert_eq!(
        codes(&empty),
        [(1, "MissingTitle"), (1, "MissingSection"), (1, "MissingSection"), (1, "MissingSection")]
    );
}

const PLAN: &str = "# Implementation Plan: Door

**Branch**: `007-door` | **Date**: 2026-03-03 | **Spec**: [spec.md](spec.md)

## Summary

Hang a door
on two hinges.

## Technical Context

**Language/Version**: Oak
**Primary Dependencies**:

- hinges
- screws

**Storage**: NEEDS CLARIFICATION
**Testing**: [e.g., pushing, pulling or NEEDS CLARIFICATION]

## Constitution Check

*GATE: before the wall*

- [x] Doors first

## Project Structure

**Structure Decision**: One door, one frame

## Complexity Tracking

| Violation | Why Needed | Simpler Alternative Rejected Because |
|-----------|------------|--------------------------------------|
| Third hinge | heavy oak | |
| None | | |
";

#[test]
fn a_plan_is_read_whole() {
    let Parsed { model, diagnostics } = plan::parse(PLAN.as_bytes());
    assert_eq!(model.title.unwrap().text, "Door");
    assert_eq!(model.branch.unwrap().text, "007-door");
    assert_eq!(model.date.unwrap().text, "2026-03-03");
    assert_eq!(model.spec.unwrap().text, "[spec.md](spec.md)");
    assert_eq!(model.summary.unwrap().text, "Hang a door on two hinges.");
    let context: Vec<_> =
        model.context.iter().map(|e| (e.key.as_str(), e.value.as_str(), e.needs_clarification)).collect();
    assert_eq!(context[0], ("Language/Version", "Oak", false));
    assert_eq!(context[1], ("Primary Dependencies", "- hinges - screws", false));
    assert_eq!(context[2], ("Storage", "NEEDS CLARIFICATION", true));
    assert_eq!(context.len(), 4);
    assert!(model.constitution_check.unwrap().text.contains("Doors first"));
    assert_eq!(model.structure_decision.unwrap().text, "One door, one frame");
    for other in ["**Structure Decision** — One door", "**Structure Decision.** One door"] {
        let model = plan::parse(PLAN.replace("**Structure Decision**: One door, one frame", other).as_bytes()).model;
        assert_eq!(model.structure_decision.unwrap().text, "One door");
    }
    assert_eq!(model.complexity.len(), 1);
    assert_eq!((model.complexity[0].violation.as_str(), model.complexity[0].line), ("Third hinge", 35));
    assert_eq!(
        codes(&diagnostics),
        [(18, "NeedsClarification"), (19, "UnfilledTemplate"), (35, "UnjustifiedComplexity")]
    );
}

const CONSTITUTION: &str = "<!--
Sync Impact Report
**Version**: 9.9.9
-->

# Door Constitution

## Core Principles

### I. Doors First (NON-NEGOTIABLE)

Every wall MUST have a door. It may be red.

- Hinges MUST NOT
  squeak.

### 2) Simplicity

Keep it simple.

## Governance

All walls MUST comply.

**Version**: 1.2.0 | **Ratified**: 2026-01-31 | **Last Amended**: 2026-02-30
";

#[test]
fn a_constitution_is_read_whole() {
    let Parsed { model, diagnostics } = constitution::parse(CONSTITUTION.as_bytes());
    assert_eq!(model.title.unwrap().text, "Door");
    assert_eq!(model.version.unwrap().text, "1.2.0");
    assert_eq!(model.ratified.unwrap().text, "2026-01-31");
    assert_eq!(model.last_amended.unwrap().text, "2026-02-30");
    let heads: Vec<_> = model.principles.iter().map(|p| (p.number.as_deref(), p.name.as_str(), p.line)).collect();
    assert_eq!(heads, [(Some("I"), "Doors First (NON-NEGOTIABLE)", 10), (Some("2"), "Simplicity", 17)]);
    let musts: Vec<_> = model.principles[0].musts.iter().map(|m| (m.text.as_str(), m.line)).collect();
    assert_eq!(musts, [("Every wall MUST have a door.", 12), ("Hinges MUST NOT squeak.", 14)]);
    assert_eq!(model.principles[1].body.text(CONSTITUTION).trim(), "Keep it simple.");
    assert_eq!(codes(&diagnostics), [(25, "InvalidDate")]);
}

#[test]
fn an_unfilled_constitution_is_an_error() {
    let text = "# [PROJECT_NAME] Constitution\n\n## Core Principles\n\n### [PRINCIPLE_1_NAME]\n\n[PRINCIPLE_1_DESCRIPTION]\n\n## Governance\n\n**Version**: [CONSTITUTION_VERSION] | **Ratified**: TODO(RATIFICATION_DATE): ask\n";
    let parsed = constitution::parse(text.as_bytes());
    assert!(parsed.has_errors());
    let found = codes(&parsed.diagnostics);
    assert!(found.contains(&(5, "TemplateNotFilled")) && found.contains(&(11, "UnfilledTemplate")));
}

#[test]
fn two_footers_conflict() {
    let text = "# Door Constitution\n\n### I. A\n\n**Version**: 1.0.0\n\n## More\n\n**Version**: 1.1.0\n";
    let parsed = constitution::parse(text.as_bytes());
    assert_eq!(parsed.model.version.unwrap().text, "1.1.0");
    assert_eq!(codes(&parsed.diagnostics), [(9, "ConflictingFooter")]);
}

#[test]
fn what_is_no_document_is_one_error() {
    let large = vec![b'a'; MAX_DOCUMENT_BYTES + 1];
    let cases: [(&[u8], (u32, &str)); 5] = [
        (b"", (1, "EmptyDocument")),
        (b"\xef\xbb\xbf \r\n\t\n", (1, "EmptyDocument")),
        (b"# a\nb\0c", (2, "BinaryDocument")),
        (b"# a\n\nb\xff", (3, "InvalidUtf8")),
        (&large, (1, "DocumentTooLarge")),
    ];
    for (bytes, expected) in cases {
        for found in [
            constitution::parse(bytes).diagnostics,
            spec::parse(bytes).diagnostics,
            plan::parse(bytes).diagnostics,
            tasks::parse(bytes).diagnostics,
        ] {
            assert_eq!(codes(&found), [expected]);
        }
        assert!(tasks::parse(bytes).has_errors());
    }
}

#[test]
fn models_and_diagnostics_are_json() {
    let json = serde_json::to_value(spec::parse(SPEC.as_bytes())).unwrap();
    assert_eq!(json["model"]["stories"][1]["key"], "US2a");
    assert_eq!(json["model"]["requirements"][0]["line"], 46);
    let tasks = serde_json::to_value(tasks::parse(b"## Phase 1: Setup\n\n- [ ] T001 a\n- [ ] T001 b\n")).unwrap();
    assert_eq!(tasks["model"]["tasks"][0]["id"], "T001");
    assert_eq!(tasks["diagnostics"][0]["severity"], "Error");
}

/// Returns the names of diagnostics in a text: words in CamelCase between these marks.
fn names(text: &str, mark: char) -> std::collections::BTreeSet<&str> {
    let camel = |word: &&str| {
        let capitals = word.bytes().filter(u8::is_ascii_uppercase).count();
        word.starts_with(char::is_uppercase) && capitals > 1 && word.bytes().any(|b| b.is_ascii_lowercase())
    };
    text.split(mark).filter(|word| word.bytes().all(|b| b.is_ascii_alphanumeric())).filter(camel).collect()
}

#[test]
fn every_diagnostic_is_explained() {
    let mut sources = String::new();
    let mut open = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/speckit")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            sources.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    let page = include_str!("../../docs/reference/spec-kit-documents.md");
    let table = page.split("## Diagnostics").nth(1).unwrap().split("\n## ").next().unwrap();
    assert_eq!(names(&sources, '"'), names(table, '`'));
}
