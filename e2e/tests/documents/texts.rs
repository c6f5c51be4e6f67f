//! The documents of the tests in this folder.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A specification without serious findings.
pub const KEYS: &str = "\
# Feature Specification: Keys

## User Scenarios & Testing

### User Story 1 - Lend a key (Priority: P1)

A caretaker lends a key to somebody of the house.

**Independent Test**: Lend one key, and read the list of lent keys.

**Acceptance Scenarios**:

1. **Given** a free key, **When** the caretaker lends it, **Then** the list shows who has it (FR-001).
2. **Given** a lent key, **When** its time is over, **Then** the list marks it as overdue (FR-002).

## Requirements

### Functional Requirements

- **FR-001**: The list MUST show every key with the person who has it.
- **FR-002**: A lent key MUST be overdue after 30 days.

## Success Criteria

- **SC-001**: Lending a key takes less than 20 seconds.
";

/// Returns [`KEYS`] with an open question.
pub fn asking() -> String {
    KEYS.replace("after 30 days", "after [NEEDS CLARIFICATION: how long may a key be lent?]")
}

/// Returns [`KEYS`] with another number of days in its second requirement.
pub fn lent_for(days: u32) -> String {
    KEYS.replace("30 days", &format!("{days} days"))
}

/// Returns a constitution with this version.
pub fn house(version: &str) -> String {
    format!(
        "# House Constitution\n\n## Core Principles\n\n### I. Requirements bind\n\nEvery requirement MUST say what the system does.\n\n\
         ### II. Success is measured\n\nEvery success criterion MUST have a number.\n\n## Governance\n\n\
         An amendment MUST be approved by a lead.\n\n\
         **Version**: {version} | **Ratified**: 2026-01-05 | **Last Amended**: 2026-01-05\n"
    )
}

/// Returns a rule of the published library.
pub fn rule(name: &str) -> Result<Value> {
    let library: Value = serde_yaml::from_str(include_str!("../../../examples/rules/library.yaml"))?;
    let rules = library["rules"].as_array().context("the library has no rules")?;
    rules.iter().find(|rule| rule["name"] == name).cloned().with_context(|| format!("the library has no rule {name}"))
}

/// Checks without a cluster that these texts have the expected findings, and no other serious ones.
#[test]
fn the_texts_match_the_tests_expectations() {
    use enact_domain::analysis::{Severity, constitution_conflicts, questions, specification};
    use enact_domain::rules::compile_all;
    use enact_domain::speckit::{constitution, spec};

    let parsed_constitution = constitution::parse(house("1.0.0").as_bytes());
    assert_eq!(
        (parsed_constitution.errors().count(), parsed_constitution.model.principles.len()),
        (0, 2),
        "{:#?}",
        parsed_constitution.diagnostics
    );
    for text in [KEYS.to_owned(), lent_for(60)] {
        let parsed = spec::parse(text.as_bytes());
        let report = specification(&parsed);
        let weighty: Vec<_> = report.findings.iter().filter(|f| f.severity <= Severity::High).collect();
        assert!(weighty.is_empty(), "{weighty:#?}");
        let conflicts = constitution_conflicts(&parsed.model, &parsed_constitution.model);
        assert!(conflicts.is_empty(), "{conflicts:#?}");
    }
    let parsed = spec::parse(asking().as_bytes());
    let asked = questions(&parsed, &specification(&parsed));
    assert_eq!(
        (asked[0].text.as_str(), asked[0].line, asked[0].location.as_str()),
        ("how long may a key be lent?", 21, "FR-002")
    );
    let rules = ["requirements-bind", "criteria-are-measured", "no-open-questions", "tasks-are-settled"];
    let rules = rules.map(|name| serde_json::from_value(rule(name).unwrap()).unwrap());
    compile_all(&rules).unwrap();
}
