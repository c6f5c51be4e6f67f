//! Findings about constitutions and about several specifications that a reader would not agree with must not be reported, and similar ones
//! that are right must be.

use enact_domain::analysis::{self, Finding, Sketch};
use enact_domain::speckit::{constitution, spec};

const PRINCIPLES: &str = "# Ferry Constitution\n\n## Core Principles\n\n{principles}\n\n## Governance\n\n\
    **Version**: 1.0.0 | **Ratified**: 2026-02-03 | **Last Amended**: 2026-02-03\n";

fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|f| f.code).collect()
}

#[test]
fn only_equal_requirements_and_described_entities_overlap() {
    let sketch = |requirement: &str, entity: &str| {
        let text = format!(
            "# Feature Specification: Ferry\n\n## Requirements\n\n- **FR-001**: {requirement}\n\n### Key Entities\n\n{entity}\n"
        );
        Sketch::new(&spec::parse(text.as_bytes()).model)
    };
    let kinds = |ours: &Sketch, theirs: &Sketch| analysis::overlap(ours, theirs).len();
    let gate = sketch("The gate MUST show the departure times of ferries", "- **Pier**: Where ferries land.");
    let equal = sketch("Gates MUST display departure times of the ferry", "- **Piers**: A ferry can land there.");
    assert_eq!(kinds(&gate, &equal), 2);
    // Features of one product share some requirements.
    let more = "The gate MUST show the departure times of ferries\n- **FR-002**: Tickets MUST be sold before noon\n\
        - **FR-003**: Passengers MUST queue along the pier\n- **FR-004**: Dogs MUST wear a leash on board";
    let other = more.replace("noon", "dusk").replace("queue", "wait").replace("leash", "collar");
    let (ours, theirs) = (sketch(more, ""), sketch(&other, ""));
    assert_eq!((kinds(&ours, &theirs), kinds(&ours, &ours)), (0, 4));
    // Another term makes another case, and many features use one entity.
    let trains = sketch("The gate MUST show the departure times of trains", "- **Pier**: Gets a lamp.");
    assert_eq!(kinds(&gate, &trains), 0);
    let existing = sketch("The gate MUST open", "- **Pier** (existing): Where ferries land.");
    assert_eq!(kinds(&gate, &existing), 0);
}

#[test]
fn a_copy_of_a_specification_has_one_finding() {
    let sketch = |count: usize| {
        let all: String = ["bell", "horn", "mast", "sail", "keel", "deck", "helm"][..count]
            .iter()
            .enumerate()
            .map(|(at, part)| {
                format!("- **FR-{at:03}**: The crew MUST inspect the {part} of the {part} harbour daily\n")
            })
            .collect();
        Sketch::new(
            &spec::parse(format!("# Feature Specification: Ferry\n\n## Requirements\n\n{all}").as_bytes()).model,
        )
    };
    let found = |count: usize| {
        let shared = analysis::overlap(&sketch(count), &sketch(count));
        assert_eq!(shared.len(), count);
        analysis::overlap_findings("copy", &shared)
    };
    assert_eq!(codes(&found(5)), ["SimilarRequirement"; 5]);
    let one = found(7);
    assert_eq!(codes(&one), ["SimilarRequirement"]);
    assert_eq!(one[0].summary, "specification copy has 7 similar requirements; the first is FR-000");
}

#[test]
fn a_version_in_another_form_is_a_version() {
    let found = |footer: &str| {
        let text = format!(
            "# Ferry Constitution\n\n## Core Principles\n\n### I. Calm\n\nFerries MUST wait for calm sea.\n\n## Governance\n\n{footer}\n"
        );
        let report = analysis::constitution(&constitution::parse(text.as_bytes()));
        codes(&report.findings).contains(&"MissingVersion")
    };
    assert!(found("The captain amends these rules."));
    assert!(found("Version control is used."));
    assert!(!found("--- Version 1.2.0 Ratified 2026-01-02 Last Amended 2026-01-03"));
}

#[track_caller]
fn governs(principles: &str, expected: &[&str]) {
    let text = PRINCIPLES.replace("{principles}", principles);
    let found = analysis::constitution(&constitution::parse(text.as_bytes())).findings;
    assert_eq!(codes(&found), expected, "{found:#?}");
}

/// Asserts the codes of the hints about principles.
#[track_caller]
fn suggests(principles: &str, expected: &[&str]) {
    let text = PRINCIPLES.replace("{principles}", principles);
    let found = analysis::constitution(&constitution::parse(text.as_bytes())).hints;
    assert_eq!(codes(&found), expected, "{found:#?}");
}

#[test]
fn principles_in_plain_sentences_are_principles() {
    governs("### I. Care\n\nCrews check the gate before each crossing. Tickets are never sold twice.", &[]);
    governs("### I. Care\n\n- MUST check the gate\n- MUST count the passengers", &[]);
    governs("### I. Retry (gate)\n\nGates MUST retry.\n\n### II. Retry (ticket)\n\nTickets MUST be read again.", &[]);
    governs(
        "### I. Retry\n\nGates MUST retry.\n\n### II. Retry\n\nTickets MUST be read again.",
        &["DuplicatePrinciple"],
    );
}

#[test]
fn a_principle_explains_its_words_where_it_wants() {
    // The values of a project may be general.
    governs("### I. Speed\n\nGates MUST open fast.", &[]);
    suggests("### I. Speed\n\nGates MUST open fast.", &["VaguePerformance"]);
    suggests("### I. Speed\n\nGates MUST open fast.\n\n| gate | limit |\n| --- | --- |\n| bow | 200 ms |", &[]);
    suggests("### I. Use\n\nGates MUST be intuitive.\n\n- Gates MUST have one button.", &[]);
    suggests("### I. Use\n\n- Gates MUST be intuitive.\n- Gates MUST have one button.", &["VagueQuality"]);
    suggests("### I. State\n\nLogs MUST be saved at regular intervals (every 500 tickets at least).", &[]);
    governs("### I. Branches\n\nCrews practise **Trunk-Based Development (TBD)** and TBD MUST be kept.", &[]);
    governs("### I. Logs\n\nLogs MUST NOT contain TODO or FIXME comments.", &[]);
    governs("### I. Branches\n\nCrews MUST keep logs for TBD days of the year.", &["Placeholder"]);
}
