//! `research.md`, checklists and `data-model.md`.

use enact_domain::speckit::{Diagnostic, Parsed, checklist, constitution, data_model, plan, research};

fn codes(diagnostics: &[Diagnostic]) -> Vec<(u32, &str)> {
    diagnostics.iter().map(|d| (d.line, d.code)).collect()
}

/// Returns title, decision, rationale, and alternatives of each decision.
fn decisions(text: &str) -> Vec<(String, String, String, Vec<String>)> {
    let model = research::parse(text.as_bytes()).model;
    assert_eq!(model.source, text);
    let part = |item: &Option<enact_domain::speckit::Item>| item.as_ref().map(|i| i.text.clone()).unwrap_or_default();
    let read = |d: &research::Decision| {
        let alternatives = d.alternatives.iter().map(|a| a.text.clone()).collect();
        (d.title.clone(), part(&d.decision), part(&d.rationale), alternatives)
    };
    model.decisions.iter().map(read).collect()
}

fn one(text: &str) -> (String, String, String, Vec<String>) {
    let found = decisions(text);
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().expect("there is one")
}

fn expected(
    title: &str,
    decision: &str,
    rationale: &str,
    alternatives: &[&str],
) -> (String, String, String, Vec<String>) {
    let alternatives = alternatives.iter().map(ToString::to_string).collect();
    (title.into(), decision.into(), rationale.into(), alternatives)
}

#[test]
fn a_decision_may_be_a_heading() {
    let text = "# Research: Door\n\n## Decision 1: Use oak\n\n**Rationale**: It is\nstrong.\n\n**Alternatives considered**:\n- Pine: rejected, too soft\n- **Steel**: rejected,\n  too cold\n\n**Source**: the forest\n";
    let wanted =
        expected("Use oak", "Use oak", "It is strong.", &["Pine: rejected, too soft", "**Steel**: rejected, too cold"]);
    assert_eq!(one(text), wanted);
    let Parsed { model, diagnostics } = research::parse(text.as_bytes());
    assert_eq!(diagnostics, []);
    assert_eq!((model.title.unwrap().text.as_str(), model.decisions[0].line), ("Door", 3));
    assert!(
        model.decisions[0].span.text(text).starts_with("## Decision 1")
            && model.decisions[0].span.text(text).ends_with("cold")
    );
}

#[test]
fn a_decision_may_be_labels_of_paragraphs_or_of_a_list() {
    let wanted = expected("Wood", "Use oak", "Strong", &["Pine, steel"]);
    let parts = [("Decision", "Use oak"), ("Rationale", "Strong"), ("Alternatives considered", "Pine, steel")];
    let of = |form: &dyn Fn(&str, &str) -> String| {
        format!("## R1: Wood\n\n{}", parts.iter().map(|(label, text)| form(label, text)).collect::<String>())
    };
    assert_eq!(one(&of(&|label, text| format!("**{label}**: {text}\n\n"))), wanted);
    assert_eq!(one(&of(&|label, text| format!("- **{label}:** {text}\n"))), wanted);
    assert_eq!(one(&of(&|label, text| format!("{label}: {text}\n"))), wanted);
    assert_eq!(one(&of(&|label, text| format!("**{label}** — {text}\n\n"))), wanted);
    assert_eq!(
        one(&of(&|label, text| format!("### {label}\n\n{text}\n\n"))),
        expected("Wood", "Use oak", "Strong", &["Pine, steel"])
    );
    assert_eq!(
        one(
            "## 2. Wood\n\n### Decision: Use oak\n\n### Rationale\n\nStrong\n\n### Alternatives Considered\n1. Pine\n2. Steel\n"
        ),
        expected("Use oak", "Use oak", "Strong", &["Pine", "Steel"])
    );
}

#[test]
fn a_section_may_hold_several_decisions() {
    let text =
        "## Wood\n\n**Decision**: oak\n**Rationale**: strong\n\n---\n\n**Decision**: pine\n**Rationale**: cheap\n";
    assert_eq!(decisions(text), [expected("Wood", "oak", "strong", &[]), expected("Wood", "pine", "cheap", &[])]);
    let reversed = "## Wood\n\n**Rationale**: strong\n\n**Decision**: oak\n";
    assert_eq!(one(reversed), expected("Wood", "oak", "strong", &[]));
}

#[test]
fn a_decision_may_name_its_sources() {
    let text = "## Wood\n\n**Decision**: oak\n\n**Consequences**: heavy\n\n**Taken from**: claude, codex\n";
    let found = research::parse(text.as_bytes()).model.decisions;
    let part = |item: &Option<enact_domain::speckit::Item>| item.as_ref().map(|item| item.text.clone());
    let parts = (part(&found[0].consequences), part(&found[0].taken_from));
    assert_eq!(parts, (Some("heavy".into()), Some("claude, codex".into())));
    assert_eq!(decisions("# Research\n\n## Wood\n\n**Taken from**: claude\n"), []);
}

#[test]
fn a_decision_may_have_consequences() {
    let consequences = |text: &str| {
        let found = research::parse(text.as_bytes()).model.decisions;
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].consequences.as_ref().map(|item| item.text.clone()).unwrap_or_default()
    };
    let text = "## Wood\n\n**Decision**: oak\n\n**Consequences**: The door is heavy.\n\n**Rationale**: strong\n";
    assert_eq!(consequences(text), "The door is heavy.");
    assert_eq!(consequences("## Wood\n\n### Decision\n\noak\n\n### Consequences\n\nIt is heavy.\n"), "It is heavy.");
    let nested = "## Wood\n\n**Decision**: oak\n\n**Alternatives**:\n- Pine\n  - Consequences: soft\n- Steel\n";
    assert_eq!(one(nested).3.len(), 2, "they are those of an alternative");
    assert_eq!(decisions("# Research\n\n## Implications\n\nDoors are heavy.\n"), []);
}

#[test]
fn missing_parts_of_a_decision_are_reported() {
    let text = "# Research\n\n## Wood\n\n**Decision**: oak\n\n```text\n**Rationale**: in a fence\n```\n";
    let found = research::parse(text.as_bytes()).diagnostics;
    assert_eq!(codes(&found), [(5, "IncompleteDecision")]);
    assert_eq!(found[0].message, "the decision \"Wood\" has no rationale, no alternatives");
    assert_eq!(codes(&research::parse(b"# Research\n\ntext\n").diagnostics), [(1, "NoDecisions")]);
}

const CHECKLIST: &str = "# Door Checklist: Door\r
\r
**Purpose**: ask before\r
\r
## Completeness\r
\r
- [ ] CHK001 - Are hinges specified? [Completeness, Spec §FR-001, FR-002]\r
- [x] CHK002 Is \"red\" defined\r
  with a value? [Ambiguity] [Gap]\r
- [X] No [NEEDS CLARIFICATION] markers remain\r
- no box\r
* [ ] **CHK001**: Again?\r
\r
```text\r
- [ ] CHK009 in a fence\r
```\r
";

#[test]
fn a_checklist_is_read_whole() {
    let Parsed { model, diagnostics } = checklist::parse(CHECKLIST.as_bytes());
    assert_eq!(model.source, CHECKLIST);
    assert_eq!(
        (model.title.as_ref().unwrap().text.as_str(), model.purpose.as_ref().unwrap().text.as_str()),
        ("Door", "ask before")
    );
    let items: Vec<_> = model.items.iter().map(|i| (i.id.as_deref(), i.text.as_str(), i.done, i.line)).collect();
    assert_eq!(
        items,
        [
            (Some("CHK001"), "Are hinges specified?", false, 7),
            (Some("CHK002"), "Is \"red\" defined with a value?", true, 8),
            (None, "No [NEEDS CLARIFICATION] markers remain", true, 10),
            (Some("CHK001"), "Again?", false, 12),
        ]
    );
    assert_eq!(
        (model.items[0].markers.join(" "), model.items[0].references.join(" ")),
        ("Completeness".into(), "FR-001 FR-002".into())
    );
    assert_eq!(model.items[1].markers, ["Ambiguity", "Gap"]);
    assert_eq!(model.items[1].checkbox.text(CHECKLIST), "x");
    assert!(!model.is_done());
    assert_eq!(codes(&diagnostics), [(12, "DuplicateItem")]);
    assert_eq!(codes(&checklist::parse(b"# Checklist\n").diagnostics), [(1, "NoItems")]);
}

#[test]
fn entities_are_headings_of_three_forms() {
    let names = |text: &str| -> Vec<(String, u32)> {
        data_model::parse(text.as_bytes()).model.entities.into_iter().map(|e| (e.name, e.line)).collect()
    };
    let wanted = |names: &[(&str, u32)]| names.iter().map(|(n, l)| ((*n).to_owned(), *l)).collect::<Vec<_>>();
    assert_eq!(
        names("# Data Model: a\n\n## Overview\n\n## Entity: Door\n\n### Fields\n\n## Entity 2: `Hinge`\n"),
        wanted(&[("Door", 5), ("Hinge", 9)])
    );
    assert_eq!(
        names(
            "# Data Model\n\n## Entities\n\n- **Lock**: shuts\n\n### 1. Door (Extended)\n\n#### Fields\n\n### 2. `Hinge`\n\n## Relationships\n\n### Door\n"
        ),
        wanted(&[("Lock", 5), ("Door", 7), ("Hinge", 11)])
    );
    assert_eq!(
        names("# Data Model\n\n## Door\n\n### Rules\n\n## State Transitions\n\n## Hinge\n\n## Door\n"),
        wanted(&[("Door", 3), ("Hinge", 9)])
    );
    let text = "# Data Model: a\n\n## Door\n\nOpens\ninwards.\n\n| a |\n|-|\n";
    let door = &data_model::parse(text.as_bytes()).model.entities[0];
    assert_eq!((door.text.as_str(), door.span.end), ("Opens inwards.", text.trim_end().len()));
    assert_eq!(codes(&data_model::parse(b"# Data Model\n\nnone\n").diagnostics), [(1, "NoEntities")]);
}

#[test]
fn a_version_can_be_below_a_heading() {
    let version = |text: &str| {
        let text = format!("# Boat\n\n{text}\n\n## I. Float\n\nIt MUST float.\n");
        constitution::parse(text.as_bytes()).model.version.map(|item| (item.text, item.line))
    };
    assert_eq!(version("## Version\n2.1.0"), Some(("2.1.0".to_owned(), 4)));
    assert_eq!(version("## Versión\n\n**2.1.0**\n\nSince May."), Some(("2.1.0".to_owned(), 5)));
    assert_eq!(version("## Version\n\nThe hull has versions."), None);
    assert_eq!(version("## Versions\n\n2.1.0"), None);
    // The footer counts.
    assert_eq!(version("## Version\n\n2.1.0\n\n**Version**: 2.2.0"), Some(("2.2.0".to_owned(), 7)));
}

#[test]
fn what_counts_something_is_no_placeholder() {
    let codes = |text: &str| {
        let parsed = plan::parse(format!("# Implementation Plan: Boat\n\n{text}\n").as_bytes());
        parsed.diagnostics.iter().map(|d| d.code).filter(|code| *code == "UnfilledTemplate").count()
    };
    assert_eq!(codes("the logbook is read [2 READS]"), 0);
    assert_eq!(codes("the logbook is [LOGBOOK COLOUR]"), 1);
}
