//! Properties of the analysis of any document.

use std::collections::BTreeSet;

use enact_domain::analysis::{self, MAX_FINDINGS, QuestionOrigin, SeverityCounts, Sketch, TaskText};
use enact_domain::speckit::{constitution, spec};
use proptest::prelude::*;

/// Generates lines of documents, usual and unusual ones.
fn line() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "The door MUST open quickly",
        "MUST NOT use `MongoDB`",
        "etc.",
        "user-profile",
        "userprofile",
        "user profile",
        "within 200 ms",
        "5 files",
        "FR-007",
        "US3",
        "SC-1",
        "TBD",
        "???",
        "**Given** a key **When** it turns **Then** it opens",
        "where possible",
        "“easy”",
        "`",
        "[NEEDS CLARIFICATION: A or B?]",
        "系统必须快速",
        "El sistema debe",
        "secure",
        "not",
        "is the of and to",
        "~~gone~~",
        "(a) x (b) y",
        "\u{301}",
        "🗝️",
    ]);
    let text = prop::collection::vec(words, 0..6).prop_map(|w| w.join(" "));
    let opening = prop::sample::select(vec![
        "",
        "- ",
        "- **FR-001**: ",
        "- **FR-002**: ",
        "- **FR-003**: ",
        "- **SC-001**: ",
        "- **SC-002**: ",
        "1. ",
        "## Requirements",
        "### Key Entities\n- **User Profile**: ",
        "### User Story 1 - A (Priority: P2)\n",
        "### User Story 2 - B (Priority: P1)\n",
        "**Acceptance Scenarios**:\n1. ",
        "### Edge Cases\n- ",
        "## Success Criteria\n",
        "# Feature Specification: ",
        "### I. ",
        "## Core Principles\n### II. ",
        "```\n",
        "| FR-004 | ",
        "**Independent Test**: ",
    ]);
    (opening, text).prop_map(|(opening, text)| format!("{opening}{text}"))
}

fn document() -> impl Strategy<Value = String> {
    (prop::collection::vec(line(), 0..60), prop::sample::select(vec!["\n", "\r\n", "\n\n"]))
        .prop_map(|(lines, end)| lines.join(end))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn findings_are_the_same_each_time_sound_and_in_order(text in document()) {
        let parsed = spec::parse(text.as_bytes());
        let report = analysis::specification(&parsed);
        prop_assert_eq!(&report, &analysis::specification(&spec::parse(text.as_bytes())));
        let principles = constitution::parse(text.as_bytes());
        let lines = text.split('\n').count();
        for report in [&report, &analysis::constitution(&principles)] {
            prop_assert!(report.findings.len() <= MAX_FINDINGS && report.quality.score <= 100);
            prop_assert!(report.findings.len() == MAX_FINDINGS || report.counts == SeverityCounts::new(&report.findings));
            let ids: BTreeSet<&str> = report.findings.iter().map(|f| f.id.as_str()).collect();
            prop_assert_eq!(ids.len(), report.findings.len());
            prop_assert!(report.findings.iter().all(|f| (1..=lines).contains(&(f.line as usize)) && !f.recommendation.is_empty()));
            prop_assert!(report.findings.windows(2).all(|p| (p[0].severity, p[0].line) <= (p[1].severity, p[1].line)));
        }
        for question in analysis::questions(&parsed, &report) {
            prop_assert!(question.options.len() != 1 && question.options.len() <= 5);
            let known = match &question.origin {
                QuestionOrigin::Marker => parsed.model.open_questions.iter().any(|q| q.text == question.text),
                QuestionOrigin::Finding(id) => report.findings.iter().chain(&report.hints).any(|f| f.id == *id),
            };
            prop_assert!(known, "{:?}", question);
        }
        analysis::constitution_conflicts(&parsed.model, &principles.model);
    }

    #[test]
    fn lines_above_a_document_change_no_name(text in document()) {
        let ids = |text: &str| {
            let report = analysis::specification(&spec::parse(text.as_bytes()));
            report.findings.into_iter().filter(|f| f.location != "Document").map(|f| f.id).collect::<BTreeSet<_>>()
        };
        prop_assert_eq!(ids(&text), ids(&format!("Doors.\n\nKeys.\n\n{text}")));
    }

    #[test]
    fn what_is_shared_is_shared_both_ways(ours in document(), theirs in document()) {
        let [ours, theirs] = [ours, theirs].map(|text| Sketch::new(&spec::parse(text.as_bytes()).model));
        prop_assert_eq!(analysis::overlap(&ours, &theirs).is_empty(), analysis::overlap(&theirs, &ours).is_empty());
    }

    #[test]
    fn every_task_that_is_named_is_a_task(text in document(), titles in prop::collection::vec(line(), 0..12)) {
        let ids: Vec<String> = (1..=titles.len()).map(|n| format!("T{n:03}")).collect();
        let tasks: Vec<TaskText<'_>> =
            ids.iter().zip(&titles).map(|(id, title)| TaskText { id, title, text: "", story: None }).collect();
        let coverage = analysis::coverage(&spec::parse(text.as_bytes()).model, &tasks);
        let served = coverage.requirements.iter().chain(&coverage.stories).chain(&coverage.criteria).flat_map(|c| &c.tasks);
        for link in served {
            prop_assert!(ids.contains(&link.task) && !coverage.unassigned.contains(&link.task));
        }
    }
}
