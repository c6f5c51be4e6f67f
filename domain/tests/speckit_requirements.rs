//! Requirements and criteria: which lines define them, which mention them, and those without an identifier.

use enact_domain::speckit::spec::{self, Spec};
use enact_domain::speckit::{Diagnostic, Severity};

fn read(sections: &str) -> (Spec, Vec<Diagnostic>) {
    let story = "## User Scenarios & Testing\n\n### User Story 1 - Sail (Priority: P1)\n\nText.\n";
    let parsed = spec::parse(format!("# Feature Specification: Boat\n\n{story}\n{sections}").as_bytes());
    (parsed.model, parsed.diagnostics)
}

const DEFINED: &str = "## Requirements\n\n### Functional Requirements\n\n- **FR-001**: The boat MUST float\n- **FR-002**: The boat MUST \
                       steer\n\n## Success Criteria\n\n### Measurable Outcomes\n\n- **SC-001**: 95 % of trips end ashore\n";

fn ids(spec: &Spec) -> Vec<&str> {
    spec.requirements.iter().chain(&spec.success_criteria).map(|r| r.id.as_str()).collect()
}

fn texts(spec: &Spec) -> Vec<&str> {
    spec.requirements.iter().chain(&spec.success_criteria).map(|r| r.text.as_str()).collect()
}

#[test]
fn a_repeated_identifier_is_a_mention() {
    for section in [
        "## Traceability\n\n- **FR-001**: T001\n- **SC-001**: T002\n",
        "## Requirements Traceability Matrix\n\n| ID | Tasks |\n|-|-|\n| FR-001 | T001 |\n| SC-001 | T002 |\n",
        "## Requirements Coverage\n\n- **FR-001**: done\n",
        "## Actual vs Planned\n\n- **FR-001**: The boat floats\n- **SC-001**: 97 %\n",
        "## Success Criteria: Actual vs. Planned\n\n| ID | Planned | Actual |\n|-|-|-|\n| SC-001 | 95 % | 97 % |\n",
        "## Appendix A: Requirements\n\n- **FR-001**: The boat MUST float\n- **FR-002**: The boat MUST steer\n",
        "# Appendix\n\n## Functional Requirements\n\n- **FR-001**: The boat MUST float\n",
        "## Change Log\n\n- **FR-001**: added\n- **FR-002**: reworded\n",
        "## Changelog\n\n### 2026-03-02\n\n- **FR-001** — added\n",
        "## Requirements Status\n\n- **FR-001**: in progress\n",
        "## Requirements Summary\n\n| Requirement | Text |\n|-|-|\n| FR-001 | float |\n",
        "## Implementation Notes\n\n- **FR-001**: by the hull\n- **SC-001**: by a count\n",
        "## Design\n\n### FR-001: how the boat floats\n\nBy its hull.\n",
        "## Acceptance Criteria\n\n- **FR-001**: pushed into the water, it floats\n",
        "## Requirements Mapping\n\n| Requirement | Story | Test |\n|-|-|-|\n| FR-001 | US1 | floats.rs |\n",
        "## Requirements by Story\n\n| Requirement | User Story | Tasks |\n|-|-|-|\n| FR-001 | US1 | T001 |\n| FR-002 | US1 | T002 |\n",
        "## Requirements at a Glance\n\n- **FR-001**: ✅\n- **FR-002**: covered by US1\n",
        "## Requirement Groups\n\n- **FR-001–FR-002**: the hull\n- **FR-001, FR-002**: the rudder\n- FR-001-FR-002: both\n",
        "## Anhang: Anforderungen\n\n- **FR-001**: schwimmt\n",
        "## 附录：需求\n\n- **FR-001**：浮\n",
        "## 变更记录\n\n- **FR-001**：新增\n",
        "## Приложение: требования\n\n- **FR-001**: плавает\n",
    ] {
        for text in [format!("{DEFINED}\n{section}"), format!("{section}\n{DEFINED}")] {
            let (spec, found) = read(&text);
            assert_eq!(ids(&spec), ["FR-001", "FR-002", "SC-001"], "{text}");
            assert_eq!(found, Vec::new(), "{text}");
            let stated = ["The boat MUST float", "The boat MUST steer", "95 % of trips end ashore"];
            assert_eq!(texts(&spec), stated, "{text}");
        }
    }
}

#[test]
fn a_second_definition_is_a_duplicate() {
    for (section, lines) in [
        ("## Requirements\n\n- **FR-001**: a\n- **FR-001**: b\n", vec![12]),
        (
            "## Requirements\n\n### Functional Requirements\n\n- **FR-001**: a\n\n### Security Requirements\n\n- **FR-001**: b\n",
            vec![17],
        ),
        ("## Requirements\n\n#### FR-001: Float\n\nIt MUST float.\n\n#### FR-001: Steer\n\nIt MUST steer.\n", vec![15]),
        (
            "## Requirements\n\n| ID | Requirement |\n|-|-|\n| FR-001 | It MUST float |\n| FR-001 | It MUST steer |\n",
            vec![14],
        ),
        (
            "## Requirements\n\n| ID | Requirement | Status |\n|-|-|-|\n| FR-001 | float | done |\n\n### Security Requirements\n\n\
             | ID | Requirement | Status |\n|-|-|-|\n| FR-001 | lock | open |\n",
            vec![19],
        ),
        ("## Success Criteria\n\n- **SC-001**: a\n- **SC-001**: b\n- **SC-001**: c\n", vec![12, 13]),
        ("- **FR-001**: a\n- **FR-001**: b\n", vec![10]),
    ] {
        let (spec, found) = read(section);
        assert_eq!(ids(&spec).len(), 1, "{section}");
        let duplicates = found.iter().filter(|d| d.code == "DuplicateRequirement");
        assert_eq!(duplicates.map(|d| d.line).collect::<Vec<_>>(), lines, "{section}");
    }
}

#[test]
fn a_section_that_usually_repeats_defines_what_is_nowhere_else() {
    let (spec, found) = read(
        "## Appendix: Requirements\n\n- **FR-001**: It MUST float\n- **FR-001**: as said\n\n## Success Criteria (Actual vs Planned)\n\n\
         | ID | Planned | Actual |\n|-|-|-|\n| SC-001 | 95 % | 97 % |\n",
    );
    assert_eq!((ids(&spec), found), (vec!["FR-001", "SC-001"], Vec::new()));
    assert_eq!(texts(&spec), ["It MUST float", "95 % | 97 %"]);
}

#[test]
fn a_row_may_have_its_identifier_behind_a_number() {
    let (spec, _) = read(
        "## Requirements\n\n| # | ID | Requirement |\n|-|-|-|\n| 1 | FR-001 | float |\n| 2 | **FR-002** | steer |\n",
    );
    assert_eq!((ids(&spec), texts(&spec)), (vec!["FR-001", "FR-002"], vec!["float", "steer"]));
}

#[test]
fn statements_without_identifier_are_read() {
    for (section, requirements, criteria) in [
        ("## Requirements\n\n### Functional Requirements\n\n- The boat MUST float\n- The boat steers\n", 2, 0),
        ("## Functional Requirements\n\n1. The boat floats\n2. The boat steers\n", 2, 0),
        ("## Functional Requirements\n\n- [ ] The boat floats\n- [x] The boat steers\n", 2, 0),
        ("## Functional Requirements\n\n- Hull:\n  - it floats\n  - it is dry\n- Rudder:\n  - it steers\n", 3, 0),
        (
            "## Functional Requirements\n\n| Requirement | Priority |\n|-|-|\n| The boat floats | high |\n| It steers | low |\n",
            2,
            0,
        ),
        ("## Requirements\n\n### Hull\n\n- It floats\n- It is dry\n", 2, 0),
        ("## Success Criteria\n\n- 95 % of trips end ashore\n- No sailor is lost\n", 0, 2),
        (
            "## Success Criteria\n\n### Measurable Outcomes\n\n- 95 % of trips end ashore\n\n### Safety\n\n- No sailor is lost\n",
            0,
            2,
        ),
        ("## Success Criteria\n\n- [ ] 95 % of trips end ashore\n", 0, 1),
        ("## Success Criteria\n\n| Metric | Target |\n|-|-|\n| trips that end ashore | 95 % |\n", 0, 1),
        ("## Erfolgskriterien\n\n- 95 % der Fahrten enden am Ufer\n", 0, 1),
        ("## 功能需求\n\n- 船必须漂浮\n\n## 成功标准\n\n- 95% 的航行靠岸\n", 1, 1),
        ("## Функциональные требования\n\n- Лодка плавает\n\n## Критерии успеха\n\n- 95 % рейсов\n", 1, 1),
    ] {
        let (spec, found) = read(section);
        assert_eq!((spec.requirements.len(), spec.success_criteria.len()), (requirements, criteria), "{section}");
        assert!(spec.requirements.iter().chain(&spec.success_criteria).all(|r| !r.is_numbered()), "{section}");
        let missing = |what: &str| found.iter().any(|d| d.code == "MissingSection" && d.message.contains(what));
        assert_eq!(
            (missing("requirements"), missing("success criteria")),
            (requirements == 0, criteria == 0),
            "{section}"
        );
        let unnumbered =
            found.iter().filter(|d| d.code == "UnnumberedRequirement").all(|d| d.severity == Severity::Info);
        assert!(unnumbered && found.iter().any(|d| d.code == "UnnumberedRequirement"), "{section}");
    }
}

#[test]
fn an_assigned_identifier_follows_from_the_text() {
    let read = |text: &str| read(&format!("## Functional Requirements\n\n{text}")).0.requirements;
    let (before, after) = (read("- a boat\n- an oar\n"), read("Oars:\n\n- an oar\n- a boat\n- a boat\n"));
    assert_eq!((&before[0].id, &before[1].id), (&after[1].id, &after[0].id));
    assert!(before[0].id.starts_with("requirement-") && !before[0].id.contains(|c: char| c.is_ascii_digit()));
    assert_ne!(after[1].id, after[2].id);
}

#[test]
fn other_items_are_no_statements() {
    for section in [
        "## Requirements\n\n### Key Entities\n\n- **Boat**: what floats\n",
        "## Requirements\n\n### Assumptions\n\n- The water is calm\n",
        "## Functional Requirements\n\n- None\n",
        "## Functional Requirements\n\n- [System capability]\n",
        "## Requirements\n\n### Permissions\n\n| Role | May sail |\n|-|-|\n| captain | yes |\n",
        "## Review & Acceptance Checklist\n\n### Requirement Completeness\n\n- [ ] Requirements are testable\n",
        "## Quick Guidelines\n\n### Section Requirements\n\n- **Mandatory sections**: Must be completed\n",
    ] {
        let (spec, _) = read(section);
        assert_eq!(ids(&spec), Vec::<&str>::new(), "{section}");
    }
    let part = "## Requirements\n\n- **FR-001**: It MUST float\n\n### Hull\n\n- Oak is heavy\n- It MUST be dry\n";
    assert_eq!(texts(&read(part).0), ["It MUST float", "It MUST be dry"]);
    let beside = "## Functional Requirements\n\n- **FR-001**: It MUST float\n- Oak is heavy\n- It MUST be dry\n";
    assert_eq!(texts(&read(beside).0), ["It MUST float", "It MUST be dry"]);
}

#[test]
fn an_identifier_of_the_project_is_read_by_its_heading() {
    for (heading, requirements, criteria) in [
        ("Requirements", 2, 0),
        ("Functional Requirements", 2, 0),
        ("Constraints", 2, 0),
        ("Randbedingungen", 2, 0),
        ("约束", 2, 0),
        ("Success Criteria", 0, 2),
        ("Erfolgskriterien", 0, 2),
        ("Exit Criteria", 0, 2),
        ("Success Metrics", 0, 2),
    ] {
        for (one, two) in [("C001", "C002"), ("M004", "M005"), ("C-001", "C-002"), ("KPI-1", "KPI-2")] {
            for form in [
                "- **{1}**: a boat\n- **{2}**: an oar\n",
                "- {1}: a boat\n- {2}: an oar\n",
                "### {1}: a boat\n\nText.\n\n### {2}: an oar\n\nText.\n",
                "| ID | Description |\n|-|-|\n| {1} | a boat |\n| {2} | an oar |\n",
            ] {
                let text = format!("## {heading}\n\n{}", form.replace("{1}", one).replace("{2}", two));
                let (spec, found) = read(&text);
                let counts = (spec.requirements.len(), spec.success_criteria.len());
                assert_eq!((ids(&spec), counts), (vec![one, two], (requirements, criteria)), "{text}");
                assert!(found.iter().all(|d| d.code == "MissingSection"), "{text}: {found:?}");
            }
        }
    }
    let (spec, _) = read("## Success Criteria\n\n- **FR-001**: a boat\n- **SC-001**: an oar\n- **C001**: a sail\n");
    let criteria: Vec<&str> = spec.success_criteria.iter().map(|r| r.id.as_str()).collect();
    assert_eq!((ids(&spec), criteria), (vec!["FR-001", "SC-001", "C001"], vec!["SC-001", "C001"]));
}

#[test]
fn an_identifier_that_is_not_read_is_reported() {
    let unread = |text: &str| {
        let (spec, found) = read(&format!("{DEFINED}\n{text}"));
        assert_eq!(ids(&spec), ["FR-001", "FR-002", "SC-001"], "{text}");
        let found = found.iter().filter(|d| d.code == "UnreadIdentifier");
        found
            .map(|d| (d.line, d.severity, d.message.split(',').next().unwrap_or_default().to_owned()))
            .collect::<Vec<_>>()
    };
    for (text, count, id) in [
        ("## Milestones\n\n- **M004**: the hull\n- **M005**: the sail\n", 2, "M004"),
        ("## Acceptance Criteria\n\n- C001: the hull\n", 1, "C001"),
        ("## Delivery\n\n**D001**: the hull\n", 1, "D001"),
        ("## Milestones\n\n| ID | What |\n|-|-|\n| M001 | the hull |\n", 1, "M001"),
    ] {
        let found = unread(text);
        assert_eq!(found.len(), 1, "{text}");
        let (line, severity, message) = &found[0];
        assert!(*line > 20 && *severity == Severity::Info, "{text}");
        assert!(message.starts_with(&format!("{count} statements below")) && message.ends_with(id), "{message}");
    }
    for text in [
        "## Milestones\n\n- the hull, as in M004\n",
        "## Coverage\n\n- **M004**: by the hull\n",
        "## Assumptions\n\n- **A001**: calm water\n",
        "## Key Entities\n\n- **E001**: Hull\n",
        "## Decisions\n\n- **ADR-001**: oak\n",
        "## Stories\n\n- **US1**: sail\n- **T001**: build\n",
        "## Milestones\n\n- **FR-001**: first\n",
        "## Implementation Status\n\n- **M004**: done\n",
        "## Phases\n\n- **M1**: the hull\n",
    ] {
        assert_eq!(unread(text), [], "{text}");
    }
}
