//! Findings that a reader would not agree with must not be reported, and similar ones that are right must be.

use enact_domain::analysis::{self, Finding, QuestionOrigin, Report, TaskText};
use enact_domain::speckit::{plan, spec, tasks};

/// A specification without findings, with places for more text.
const FERRY: &str = "# Feature Specification: Ferry\n\n**Feature Branch**: `021-ferry`\n\n## User Scenarios & Testing\n\n\
    ### User Story 1 - Board (Priority: P1)\n\nA passenger boards the ferry with a ticket.\n\n\
    **Independent Test**: Board with a ticket.\n\n**Acceptance Scenarios**:\n\n\
    1. **Given** a ticket, **When** the passenger shows it, **Then** the gate opens\n{scenarios}\n{stories}\n\
    ### Edge Cases\n\n- The ferry is full.\n\n## Requirements\n\n{requirements}\n\n### Key Entities\n\n\
    - **Ticket**: Lets one passenger board one ferry.\n{entities}\n\n## Success Criteria\n\n\
    - **SC-001**: 95 % of passengers board within 10 seconds.\n{criteria}\n";

fn ferry(place: &str, text: &str) -> Report {
    let mut document = FERRY.replace(&format!("{{{place}}}"), text);
    if place != "requirements" {
        document = document.replace("{requirements}", "- **FR-001**: The gate MUST open for a valid ticket.");
    }
    for rest in ["scenarios", "stories", "entities", "criteria"] {
        document = document.replace(&format!("{{{rest}}}"), "");
    }
    analysed(&document)
}

fn analysed(document: &str) -> Report {
    analysis::specification(&spec::parse(document.as_bytes()))
}

fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|f| f.code).collect()
}

/// Asserts the codes of the hints about a text at a place of the specification, which has no finding.
#[track_caller]
fn hints(place: &str, text: &str, expected: &[&str]) {
    let report = ferry(place, text);
    assert_eq!((codes(&report.findings), codes(&report.hints)), (Vec::new(), expected.to_vec()), "{text}: {report:#?}");
}

/// Asserts the codes of the findings about a text at a place of the specification.
#[track_caller]
fn finds(place: &str, text: &str, expected: &[&str]) {
    let found = ferry(place, text).findings;
    assert_eq!(codes(&found), expected, "{text}: {found:#?}");
}

#[test]
fn a_list_below_a_vague_word_explains_it() {
    finds("requirements", "- **FR-001**: A torn ticket MUST be handled gracefully", &["VagueQuality"]);
    finds(
        "requirements",
        "- **FR-001**: A torn ticket MUST be handled gracefully\n  - the gate stays closed\n  - the steward is called",
        &[],
    );
    finds(
        "requirements",
        "- **FR-001**: A torn ticket MUST be handled in a reasonable way:\n  1. the gate stays closed",
        &[],
    );
    // The next requirement explains nothing.
    finds(
        "requirements",
        "- **FR-001**: A torn ticket MUST be handled gracefully\n- **FR-002**: The gate MUST stay closed without a ticket",
        &["VagueQuality"],
    );
}

#[test]
fn security_is_precise_where_its_meaning_is_known() {
    finds("requirements", "- **FR-001**: Tickets MUST be secure and unique", &["VagueSecurity"]);
    finds("requirements", "- **FR-001**: Tickets MUST be cryptographically secure and unique", &[]);
    finds("requirements", "- **FR-001**: Tickets MUST be stored securely and cannot be read by the crew", &[]);
}

#[test]
fn a_time_that_is_configured_is_not_vague() {
    finds("requirements", "- **FR-001**: The gate MUST periodically report its state", &["VagueTime"]);
    finds("requirements", "- **FR-001**: The gate MUST periodically report its state at the configured interval", &[]);
    finds("requirements", "- **FR-001**: The gate MUST regularly report its state (once per crossing)", &[]);
}

#[test]
fn a_fitting_word_is_vague_only_where_the_author_decides() {
    hints(
        "requirements",
        "- **FR-001**: The gate MUST show an appropriate message for a used ticket",
        &["VagueQuality"],
    );
    finds("requirements", "- **FR-001**: The gate MUST set appropriate ARIA attributes on its buttons", &[]);
    finds("requirements", "- **FR-001**: The chart MUST have appropriate labels", &[]);
    finds(
        "requirements",
        "- **FR-001**: The log MUST have sufficient detail to find a lost ticket without a search",
        &[],
    );
    finds("requirements", "- **FR-001**: The gate MUST wait for a reasonable timeout", &["VagueQuality"]);
}

#[test]
fn a_reason_and_a_title_are_not_measures() {
    finds("requirements", "- **FR-001**: Tickets MUST be found fast", &["VaguePerformance"]);
    hints("requirements", "- **FR-001**: Tickets MUST be found fast at the gate", &["VaguePerformance"]);
    finds("requirements", "- **FR-001**: Tickets MUST be indexed by number for fast lookup", &[]);
    finds("requirements", "- **FR-001**: The gate MUST print short links for easy sharing", &[]);
    finds("requirements", "- **FR-001**: The gate MUST use a worker to securely check tickets", &[]);
    finds("requirements", "- **FR-001**: Passengers MUST be able to quickly identify their ferry", &[]);
    finds("requirements", "- **FR-001**: The gate MUST read tickets efficiently (each once)", &[]);
    finds("requirements", "- **FR-001**: The gate MUST remain responsive and MUST NOT ignore a ticket", &[]);
    finds("requirements", "- **FR-001**: Fast Boarding - The gate MUST accept delays of 10ms-2s", &[]);
}

#[test]
fn a_vague_word_is_a_finding_where_the_statement_demands_it() {
    for (text, code) in [
        ("The gate MUST be secure, and closed at night", "VagueSecurity"),
        ("Tickets MUST be printed in a secure way", "VagueSecurity"),
        ("The gate MUST enforce strong passwords", "VagueSecurity"),
        ("The gate SHOULD be fast and feel instant", "VaguePerformance"),
        ("The gate MUST open quickly when a passenger waits", "VaguePerformance"),
        ("The gate MUST be clean, intuitive and blue", "VagueQuality"),
        ("The gate MUST handle torn tickets gracefully", "VagueQuality"),
        ("The gate MUST close after a reasonable delay", "VagueQuality"),
        ("The gate MUST report its state regularly", "VagueTime"),
        ("The gate MUST close when appropriate", "EscapeClause"),
    ] {
        finds("requirements", &format!("- **FR-001**: {text}"), &[code]);
    }
    for (text, code) in [
        ("The gate MUST keep tickets in a box to find them quickly", "VaguePerformance"),
        ("The gate MUST securely keep tickets of passengers", "VagueSecurity"),
        ("The gate MUST show a helpful error", "VagueQuality"),
        ("The gate MUST refuse torn tickets gracefully and call the steward", "VagueQuality"),
        ("The gate MUST list the frequently used tickets", "VagueTime"),
        ("The gate MUST have a lamp or similar", "OpenList"),
        ("The log MUST say why a delay is acceptable", "VagueQuality"),
        ("The gate MUST keep its speed (the horn remains responsive)", "VaguePerformance"),
        ("The gate MUST write its state to the log or the board as appropriate", "EscapeClause"),
    ] {
        hints("requirements", &format!("- **FR-001**: {text}"), &[code]);
    }
}

#[test]
fn hints_count_for_nothing_and_become_questions() {
    let text = "- **FR-001**: The gate MUST show a helpful error";
    let (with, without) =
        (ferry("requirements", text), ferry("requirements", &text.replace("a helpful error", "an error")));
    assert_eq!((with.counts, &with.quality), (without.counts, &without.quality));
    let document = FERRY.replace("{requirements}", text);
    let parsed = spec::parse(document.as_bytes());
    let asked = analysis::questions(&parsed, &analysis::specification(&parsed));
    assert!(asked.iter().any(|q| q.text.contains("\"helpful\"")), "{asked:#?}");
    let accepted = format!("{text} <!-- enact: accept VagueQuality the steward wrote the texts -->");
    let report = ferry("requirements", &accepted);
    assert_eq!((codes(&report.findings), codes(&report.hints), report.accepted), (vec![], vec![], vec![]));
}

#[test]
fn diagnostics_that_only_inform_are_hints() {
    let both = |report: &Report| (report.findings.len(), codes(&report.hints).join(" "));
    let short = analysis::plan(&plan::parse(b"# Implementation Plan: Ferry\n\nPaint it.\n"));
    assert_eq!(both(&short), (0, "MissingSection".to_owned()), "{short:#?}");
    let boxes = "# Tasks: Ferry\n\n## Phase 1: Setup\n\n- [ ] T001 Paint the ferry\n\n## Definition of done\n\n- [ ] it is white\n";
    let boxes = analysis::tasks(&tasks::parse(boxes.as_bytes()));
    assert_eq!(both(&boxes), (0, "ChecklistItems".to_owned()), "{boxes:#?}");
    let mentions = "# Tasks: Ferry\n\n## Phase 1: Setup\n\n- [ ] T001 [P] Paint the ferry\n- [ ] T002 [P] Paint the pier, once the paint of T001 has dried\n";
    let mentions = analysis::tasks(&tasks::parse(mentions.as_bytes()));
    assert!(mentions.findings.is_empty(), "{mentions:#?}");
}

#[test]
fn many_unknown_dependencies_have_one_cause() {
    let findings = |count: usize| {
        let task = |n: usize| format!("- [ ] T{n:03} Paint pier {n} (depends on T{:03})\n", n + 500);
        let text = format!("# Tasks: Ferry\n\n## Phase 1: Setup\n\n{}", (1..=count).map(task).collect::<String>());
        analysis::tasks(&tasks::parse(text.as_bytes())).findings
    };
    assert_eq!(codes(&findings(5)), ["UnknownTask"; 5]);
    let found = findings(6);
    assert_eq!(codes(&found), ["UnknownTask"], "{found:#?}");
    let summary = &found[0].summary;
    assert!(summary.ends_with("6 lines have this problem in all, also lines 6, 7, 8, 9, 10"), "{summary}");
}

#[test]
fn a_specification_can_do_without_success_criteria() {
    let document = FERRY.replace("{requirements}", "- **FR-001**: The gate MUST open.");
    let (before, _) = document.split_once("\n## Success Criteria").expect("the document has criteria");
    let without =
        ["scenarios", "stories", "entities"].iter().fold(before.to_owned(), |d, p| d.replace(&format!("{{{p}}}"), ""));
    let report = analysed(&without);
    assert_eq!((codes(&report.findings), codes(&report.hints)), (vec![], vec!["MissingSection"]));
    // Criteria in a form that is not read are missed.
    let other = analysed(&format!("{without}\n## Success Criteria\n\nPassengers are on board in time.\n"));
    assert_eq!(codes(&other.findings), ["MissingSection"], "{other:#?}");
}

#[test]
fn terms_in_another_order_can_be_about_another_case() {
    let swapped = "- **FR-001**: Pressing `A` MUST open the GATE and MUST NOT ring the BELL\n\
        - **FR-002**: Pressing `B` MUST ring the BELL and MUST NOT open the GATE";
    finds("requirements", swapped, &[]);
    let opposite = "- **FR-001**: The left lamp MUST show the minimum depth in front of the right pier\n\
        - **FR-002**: The right lamp MUST show the minimum depth in front of the left pier";
    finds("requirements", opposite, &[]);
}

#[test]
fn tasks_with_many_unknown_identifiers_are_about_another_specification() {
    let requirements = "- **FR-001**: The gate MUST open.";
    let found = |named: &str| covers(requirements, &[task("T001", named, None)]).len();
    assert_eq!(found("FR-001, FR-101 to FR-105"), 5);
    assert_eq!(found("FR-001, FR-101 to FR-106"), 0);
}

#[test]
fn a_priority_in_another_form_is_a_priority() {
    let story = "### User Story 2 - Leave (Priority: P2.5)\n\nA passenger leaves.\n\n**Independent Test**: Leave.\n\n\
        1. **Given** a passenger, **When** the ferry lands, **Then** the gate opens\n";
    finds("stories", story, &[]);
}

#[test]
fn a_document_of_another_kind_has_one_finding() {
    let change = "## ADDED Requirements\n\n### Requirement: Gates\n\nThe gate SHALL open.\n\n#### Scenario: Ticket\n\n- **WHEN** shown\n- **THEN** it opens\n";
    assert_eq!(codes(&analysed(change).findings), ["DeltaDocument"]);
}

#[test]
fn a_label_of_the_product_is_no_placeholder() {
    finds("requirements", "- **FR-001**: The gate MUST open at TBA.", &["Placeholder"]);
    finds("requirements", "- **FR-001**: The gate MUST show the TBA label of a late ferry.", &[]);
}

#[test]
fn an_open_list_in_brackets_is_an_example() {
    finds("requirements", "- **FR-001**: The gate MUST accept tickets, passes, etc. at night", &["OpenList"]);
    finds("requirements", "- **FR-001**: The gate MUST accept all documents of a passenger (ticket, pass, etc.)", &[]);
    finds("requirements", "- **FR-001**: Gates MUST be numbered G1, G2, and so on", &[]);
    finds("requirements", "- **FR-001**: The gate MUST create the folder if necessary, such as `log/`", &[]);
}

#[test]
fn a_story_lacks_only_what_others_have() {
    let bare = "### User Story 2 - Leave\n\nA passenger leaves the ferry.\n";
    // One of two stories has a test and a priority: that is not a rule of the document.
    finds("stories", bare, &["NoScenario"]);
    let later = "### User Story 2 - Leave (Priority: Deferred)\n\n**Independent Test**: Leave.\n\n\
        1. **Given** a passenger, **When** the ferry lands, **Then** the gate opens\n\n";
    let whole = "### User Story 3 - Pay (Priority: P2)\n\n**Independent Test**: Pay.\n\n\
        1. **Given** a fare, **When** it is paid, **Then** a ticket is printed\n\n";
    finds("stories", &format!("{whole}{later}"), &[]);
    finds("stories", &format!("{whole}{bare}"), &["NoScenario", "NoIndependentTest", "NoPriority"]);
    finds("stories", "### User Story 2 - Leave (DEFERRED)\n\nA passenger leaves the ferry.\n", &[]);
    // Acceptance in a form that is not read as scenarios.
    let listed = "### User Story 2 - Leave (Priority: P2)\n\n**Independent Test**: Leave.\n\nDone when:\n\n- the gate opens from inside\n";
    finds("stories", listed, &[]);
    let none = "# Feature Specification: Ferry\n\n### User Story 1 - Board\n\n1. **Given** a ticket, **When** it is shown, \
        **Then** the gate opens\n\n### User Story 2 - Leave\n\n1. **Given** a passenger, **When** the ferry lands, **Then** the gate opens\n\n\
        - **FR-001**: The gate MUST open.\n- **SC-001**: 95 % of passengers board within 10 seconds.\n";
    assert_eq!(codes(&analysed(none).findings), [""; 0], "the document uses neither priorities nor tests");
}

#[test]
fn scenarios_may_be_in_a_section_of_their_own() {
    let document = |end: &str| {
        format!(
            "# Feature Specification: Ferry\n\n## User Stories\n\n### US-1: Board\n\nA passenger boards the ferry.\n\n\
            ## Requirements\n\n- **FR-001**: The gate MUST open.\n\n{end}## Success Criteria\n\n\
            - **SC-001**: 95 % of passengers board within 10 seconds.\n"
        )
    };
    assert_eq!(codes(&analysed(&document("")).findings), ["NoScenario"]);
    let section = "## Acceptance Criteria\n\n### AC-1: Board\n\n- The gate opens for a ticket\n\n";
    assert_eq!(codes(&analysed(&document(section)).findings), [""; 0]);
}

#[test]
fn stories_are_read_with_their_priority_first_and_with_the_number_of_the_feature() {
    let parsed = |headings: &[&str]| {
        let all: String = headings.iter().map(|h| format!("### {h}\n\nA passenger boards the ferry.\n\n")).collect();
        let parsed = spec::parse(format!("# Feature Specification: Ferry\n\n## User Stories\n\n{all}").as_bytes());
        assert!(!parsed.has_errors(), "{:#?}", parsed.diagnostics);
        let story = |s: &spec::UserStory| format!("{} {} {}", s.key, s.title, s.priority.as_deref().unwrap_or("-"));
        parsed.model.stories.iter().map(story).collect::<Vec<_>>()
    };
    assert_eq!(parsed(&["[P1] US1: Board", "[P2] US2: Leave"]), ["US1 Board P1", "US2 Leave P2"]);
    assert_eq!(parsed(&["US-021-01: Board", "US-021-02: Leave"]), ["US021-01 Board -", "US021-02 Leave -"]);
    assert_eq!(parsed(&["US1-2: Board", "US2 - Leave"]), ["US1 2: Board -", "US2 Leave -"]);
}

#[test]
fn a_scenario_is_incomplete_without_a_result() {
    finds("scenarios", "2. **Given** a used ticket, **Then** the gate stays closed", &[]);
    finds("scenarios", "2. **When** the ferry is full, **Then** the gate stays closed", &[]);
    finds("scenarios", "2. **Given** a used ticket **When** the passenger shows it", &["IncompleteScenario"]);
}

#[test]
fn facts_need_no_number_and_feelings_do() {
    finds("criteria", "- **SC-002**: The catalogue lists the ferries in the order of their departure.", &[]);
    finds("criteria", "- **SC-002**: Passengers feel confident on board.", &["UntestableCriterion"]);
    finds("criteria", "- **SC-002**: Boarding is intuitive.", &["VagueQuality"]);
    finds("criteria", "- **SC-002**: A passenger can book a berth and find it by the name of the ferry.", &[]);
    finds("criteria", "- **SC-002**: Passengers can sort by fields like name and port.", &[]);
    finds("criteria", "- **SC-002**: Most passengers say that they like the berths.", &[]);
    finds("criteria", "- **SC-002**: Passengers say that they like the berths.", &["UntestableCriterion"]);
}

#[test]
fn requirements_of_one_form_have_one_finding_or_none() {
    let lines = |modal: &str, end: &str| -> String {
        (1..=6).map(|n| format!("- **FR-00{n}**: Gate {n} {modal} for the passengers of ferry {n}{end}\n")).collect()
    };
    hints("requirements", &lines("opens", ""), &["NoObligation"]);
    finds("requirements", &lines("opens", " | P1"), &[]);
    let one = lines("MUST open", "").replacen("MUST open", "opens", 1);
    finds("requirements", &one, &[]);
}

#[test]
fn similar_requirements_about_different_cases_are_not_repetitions() {
    let round = "- **FR-001**: The ferry MUST sail to the next port by itself when all piers of the port are empty\n\
        - **FR-002**: The ferry MUST sail to the next pier by itself when the pier is empty";
    finds("requirements", round, &[]);
    let gone = "- **FR-001**: *(removido, ver sessão de maio)* Era o sino.\n- **FR-002**: *(removido, ver sessão de maio)* Era o sino.";
    finds("requirements", gone, &[]);
    let same = "- **FR-001**: The ferry MUST show its next port to passengers\n- **FR-002**: The ferry MUST display passengers its next port";
    finds("requirements", same, &["SimilarStatement"]);
}

#[test]
fn entities_are_used_by_other_entities_and_labels_are_none() {
    hints("entities", "- **Lighthouse**: A tower.", &["UnusedEntity"]);
    finds("entities", "- **Passengership**: Who boards.", &[]);
    finds("entities", "- **Lighthouse**: A tower.\n- **Ferry port**: A ticket's goal, with a lighthouse.", &[]);
    let labels =
        "- **Ferry port**: A ticket's goal.\n- Attributes: name\n- Relationships: many ferries\n- Attributes: number";
    finds("entities", labels, &[]);
    let labels = "- **Fare**: A price.\n- Discounts: none\n- **Fee**: A price.\n- Discounts: one\n- **Toll**: A price.\n- Discounts: two";
    finds("entities", labels, &[]);
    // A name that could be a label elsewhere is an entity.
    finds("entities", "- **Note**: Written on board.\n- **Notes**: Written ashore.", &["DuplicateEntity"]);
    finds("entities", "- **Tickets**: The same again.", &["DuplicateEntity"]);
    finds("entities", "- **Ticket (paper)**: A ticket on paper.", &[]);
    finds("entities", "- **SystemTicket**: A ticket that the ferry prints.", &[]);
    let (text, code) = ("- **FR-001**: A QR code MUST open the gate.", "- **QRCode**: What a ticket shows.");
    let both = FERRY.replace("{requirements}", text).replace("{entities}", code);
    let both = ["scenarios", "stories", "criteria"].iter().fold(both, |d, p| d.replace(&format!("{{{p}}}"), ""));
    assert_eq!(codes(&analysed(&both).findings), [""; 0]);
}

#[test]
fn references_may_name_what_is_elsewhere_or_gone() {
    finds("requirements", "- **FR-001**: The gate MUST open as FR-009 says", &["UnknownReference"]);
    for text in [
        "- **FR-001**: The gate MUST open as 014/FR-009 says",
        "- **FR-001**: The gate MUST open by the existing FR-009 rule",
        "- **FR-001**: The gate MUST open as FR-009 of spec 014 says",
        "- **FR-001**: The gate MUST open; this replaces the dropped FR-009",
        "- **FR-001**: The gate MUST open, see FR-1",
        "- **FR-001**: The gate MUST open\n- ~~**FR-009** Removed~~\n- **FR-010**: The gate MUST close, unlike FR-009",
    ] {
        finds("requirements", text, &[]);
    }
    let answered = "## Clarifications\n\n### Session 2026-02-03\n\n- Q: Are there dogs? → A: No, FR-009 goes.\n\n## Demands\n\n- **FR-001**: The gate MUST open";
    finds("requirements", answered, &[]);
}

#[test]
fn stories_of_the_product_are_not_stories_of_the_feature() {
    let story = |named: &str| {
        format!(
            "### User Story 2 - Leave (Priority: P2)\n\nA passenger leaves, see {named}.\n\n**Independent Test**: Leave.\n\n\
            1. **Given** a passenger, **When** the ferry lands, **Then** the gate opens\n"
        )
    };
    finds("stories", &story("US-9"), &["UnknownReference"]);
    finds("stories", &story("US-012"), &[]);
}

#[test]
fn a_plan_that_needs_no_clarification_has_no_finding() {
    let plan = |text: &str| {
        let text = format!(
            "# Implementation Plan: Ferry\n\n## Summary\n\nPaint it.\n\n## Technical Context\n\n**Storage**: {text}\n"
        );
        analysis::plan(&plan::parse(text.as_bytes())).findings
    };
    assert_eq!(codes(&plan("NEEDS CLARIFICATION")), ["NeedsClarification"]);
    assert_eq!(codes(&plan("None. No NEEDS CLARIFICATION.")), [""; 0]);
}

#[test]
fn a_requirement_is_uncovered_only_where_scenarios_name_requirements() {
    let requirements = "- **FR-001**: The gate MUST open for a valid ticket.\n- **FR-002**: The gate MUST close behind a passenger.\n\
        - **FR-003**: The horn MUST sound thrice in fog.";
    // The scenarios name no requirement, so nothing is known.
    finds("requirements", requirements, &[]);
    let traced = format!("{requirements}\n\n### Acceptance\n\n1. A ticket opens the gate (FR-001/002).");
    hints("requirements", &traced, &["UncoveredRequirement"]);
    assert_eq!(ferry("requirements", &traced).hints[0].location, "FR-003");
    hints("requirements", &format!("{traced}\n2. In fog, the horn of the ferry sounds three times."), &[]);
    // A comment does not trace.
    finds("requirements", &format!("{requirements}\n\n<!-- FR-001–FR-002 are new -->"), &[]);
}

#[test]
fn a_marker_without_a_question_is_open() {
    let text = "- **FR-001**: The gate MUST open for [NEEDS CLARIFICATION] tickets.";
    finds("requirements", text, &["OpenMarker"]);
    let document = FERRY.replace("{requirements}", text);
    let parsed = spec::parse(document.as_bytes());
    let report = analysis::specification(&parsed);
    let question = analysis::questions(&parsed, &report).remove(0);
    assert_eq!(question.text, "FR-001 says \"[NEEDS CLARIFICATION]\": what is the decision?");
    assert_eq!(question.origin, QuestionOrigin::Finding(report.findings[0].id.clone()));
    assert!(report.quality.parts[0].explanation.contains("missing: no open question"), "{:?}", report.quality);
    for text in [
        "- ~~**FR-001**: The gate MUST [NEEDS CLARIFICATION: what?]~~ **deferred**",
        "- **FR-001**: The gate MUST open.\n\n- [ ] No [NEEDS CLARIFICATION] markers remain",
        "- **FR-001**: The gate MUST open.\n\n- Every item (excluding [NEEDS CLARIFICATION]) is done",
        "- **FR-001**: The gate MUST open.\n\n1. Extract all [NEEDS CLARIFICATION: ...] markers",
        "- **FR-001**: The gate MUST open.\n\nNo [NEEDS CLARIFICATION] markers remain.",
        "- **FR-001**: The gate MUST open.\n\nUse `[NEEDS CLARIFICATION]` for open points.",
        "- **FR-001**: The gate MUST open.\n\nMark what is unclear: [NEEDS CLARIFICATION: specific question].",
    ] {
        finds("requirements", text, &[]);
    }
}

#[test]
fn an_unfilled_template_is_one_finding() {
    let found =
        ferry("requirements", "- **FR-001**: The gate MUST open for [ENTITY_NAME].\n- **FR-002**: [SECOND_RULE]\n")
            .findings;
    assert_eq!(codes(&found), ["UnfilledTemplate"], "{found:#?}");
    assert!(found[0].summary.ends_with("and 2 lines have placeholders in all"), "{}", found[0].summary);
    finds("requirements", "- **FR-001** [OUT OF SCOPE - MVP]: The gate MUST sing.", &[]);
    finds("requirements", "- **FR-001**: The gate MUST open.\n\nSource: issue 7, \"[FEATURE] Open the gate\"", &[]);
    finds("requirements", "- **FR-001**: The gate MUST open.\n\n- gate\n  - load the ticket [1 QUERY_BY_ID]", &[]);
    finds("requirements", "- **FR-001**: The gate MUST show 「[FERRY_NAME]は満席です」.", &[]);
    finds("requirements", "- **FR-001**: The gate MUST write to the log log/[FERRY_NAME]/gate.txt.", &[]);
}

#[test]
fn a_missing_section_names_the_heading_that_announces_it() {
    let document = "# Feature Specification: Ferry\n\n## Scenarios\n\n- Walk on board.\n\n## Requirements\n\n- **FR-001**: The gate MUST open.\n\n\
        ## 5. Success Criteria\n\nThe gate opens.\n";
    let summaries =
        |document: &str| analysed(document).findings.into_iter().map(|f| f.summary).collect::<Vec<_>>().join("\n");
    let found = summaries(document);
    assert!(found.contains("no user stories were found, although the heading \"Scenarios\" on line 3"), "{found}");
    assert!(
        found.contains("no success criteria were found, although the heading \"5. Success Criteria\" on line 11"),
        "{found}"
    );
    assert_eq!(found.lines().count(), 1, "{found}");
    let chinese = document.replace("## Scenarios", "## 1. 使用者故事");
    assert!(summaries(&chinese).contains("although the heading \"1. 使用者故事\""), "{}", summaries(&chinese));
    // The layout of September 2025 has no success criteria.
    let early = document.replace("## 5. Success Criteria", "## Review & Acceptance Checklist");
    assert!(!summaries(&early).contains("success criteria"), "{}", summaries(&early));
}

#[test]
fn a_part_without_anything_to_evaluate_has_no_score() {
    let scores = |document: &str| {
        let quality = analysed(document).quality;
        let parts = quality.parts.iter().map(|p| (p.name, p.score)).collect::<Vec<_>>();
        (quality.score, parts)
    };
    let (score, parts) = scores(
        "# 功能规格：渡轮\n\n## 需求\n\n- **FR-001**：闸门必须打开。\n\n## 成功标准\n\n- **SC-001**：乘客满意。\n",
    );
    assert_eq!(parts[1..], [("Clarity", None), ("Testability", None), ("Consistency", Some(100)), ("Coverage", None)]);
    // 62 of weight 25 and 100 of weight 15.
    assert_eq!((parts[0].1, score), (Some(62), 76));
    let (score, parts) = scores("# Feature Specification: Ferry\n");
    assert!(parts[1..].iter().all(|(_, score)| score.is_none()) && score == parts[0].1.unwrap(), "{parts:?}");
    let reason = analysed("# Feature Specification: Ferry\n").quality.parts[2].explanation.clone();
    assert_eq!(reason, "not evaluated: no user story was found");
}

fn task<'a>(id: &'a str, text: &'a str, story: Option<&'a str>) -> TaskText<'a> {
    TaskText { id, title: "Work", text, story }
}

fn covers(requirements: &str, tasks: &[TaskText<'_>]) -> Vec<(String, String)> {
    let document = FERRY.replace("{requirements}", requirements);
    let found = analysis::coverage(&spec::parse(document.as_bytes()).model, tasks).findings;
    found.into_iter().map(|f| (f.code.to_owned(), f.location)).collect()
}

#[test]
fn tasks_name_requirements_in_ranges_and_lists() {
    let requirements: String = (1..=6)
        .map(|n| format!("- **FR-00{n}**: Bell {n} MUST ring for the captains of harbour number {n}.\n"))
        .chain(["- **NFR-001**: The siren SHOULD stay under 90 dB.\n".to_owned()])
        .collect();
    for named in ["FR-001–FR-006, NFR-1", "(FR-001..006) NFR-001/SC-001", "FR-001/002/003 and FR-4 to FR-6; NFR-001"]
    {
        assert_eq!(covers(&requirements, &[task("T001", named, None)]), [], "{named}");
    }
    let found = covers(&requirements, &[task("T001", "FR-001–FR-005 NFR-001", None)]);
    assert_eq!(found, [("RequirementWithoutTask".to_owned(), "FR-006".to_owned())]);
    // An identifier of another feature is not this one's; the number of this feature is 021.
    let found = covers(&requirements, &[task("T001", "FR-001–FR-005 NFR-001 and 020/FR-006", None)]);
    assert_eq!(found, [("RequirementWithoutTask".to_owned(), "FR-006".to_owned())]);
    assert_eq!(covers(&requirements, &[task("T001", "FR-001–FR-005 NFR-001 and 021/FR-006", None)]), []);
    assert_eq!(covers(&requirements, &[task("T001", "FR-001–FR-006 NFR-001, measures SC-00x", None)]), []);
    // Prefixes of the project's own.
    let own = requirements.replace("FR-00", "C00").replace("NC001", "M004");
    for named in ["C001–C006, M004", "C001, C002/C003 + (C004) C005 and `C006`; M004", "C001-C006 M004"] {
        assert_eq!(covers(&own, &[task("T001", named, None), task("T002", "SC-001", None)]), [], "{named}");
    }
    let found = covers(&own, &[task("T001", "C001–C005 M004 SC-001 xC006 C0061", None)]);
    assert_eq!(found, [("RequirementWithoutTask".to_owned(), "C006".to_owned())]);
}

#[test]
fn tasks_that_name_no_requirements_have_no_findings_about_them() {
    let requirements = "- **FR-001**: The gate MUST open.\n- **FR-002**: A horn MUST sound thrice in fog.\n\
        - **FR-003**: The gate MUST NOT open at sea.\n- **FR-004**: The bell MUST ring at noon.";
    assert_eq!(covers(requirements, &[task("T001", "Lay out the page", None), task("T002", "Polish", None)]), []);
    // A prohibition and a limit need no work of their own.
    let tasks = [task("T001", "FR-001, FR-002, FR-004", None)];
    assert_eq!(covers(requirements, &tasks), []);
    for limit in
        ["The yard MUST serve one crew and MUST NOT rent out cranes", "This version MUST read only paper tickets"]
    {
        assert_eq!(covers(&requirements.replace("The gate MUST NOT open at sea", limit), &tasks), [], "{limit}");
    }
    let work = requirements.replace("The gate MUST NOT open at sea", "The yard MUST serve each crew");
    assert_eq!(covers(&work, &tasks), [("RequirementWithoutTask".to_owned(), "FR-003".to_owned())]);
}

#[test]
fn scenarios_of_a_story_are_not_stories() {
    let stories = "### User Story 2 - Leave (Priority: P2)\n\nA passenger leaves.\n";
    let document = FERRY.replace("{requirements}", "- **FR-001**: The gate MUST open.").replace("{stories}", stories);
    let model = spec::parse(document.as_bytes()).model;
    let found = |tasks: &[TaskText<'_>]| {
        analysis::coverage(&model, tasks).findings.into_iter().map(|f| f.code).collect::<Vec<_>>()
    };
    assert_eq!(found(&[task("T001", "checks US1-4", Some("US1")), task("T002", "leave", Some("US2"))]), [""; 0]);
    assert_eq!(found(&[task("T001", "", Some("US1")), task("T002", "", Some("US7"))]), ["UnknownIdInTask"]);
    // Tasks in English can describe a story in another language.
    let chinese = document
        .replace("Leave (Priority: P2)", "下船 (Priority: P2)")
        .replace("A passenger leaves.", "乘客 走 下 渡轮 并 离开 码头。");
    let chinese = spec::parse(chinese.as_bytes()).model;
    assert_eq!(chinese.stories.len(), 2);
    let only_first = analysis::coverage(&chinese, &[task("T001", "", Some("US1")), task("T002", "Leave", None)]);
    assert_eq!(codes(&only_first.findings), [""; 0]);
    // The story's work is in a task without a tag.
    assert_eq!(found(&[task("T001", "", Some("US1")), task("T002", "Passengers leave by the bow", None)]), [""; 0]);
}

#[test]
fn stories_without_numbers_have_none_that_a_task_could_miss() {
    let document = "# Feature Specification: Ferry\n\n## User Stories\n\n### As a sailor, I want to steer\n\nAt night.\n\n\
                    ### As a cook, I want to fry fish\n\nAt noon.\n\n## Requirements\n\n- **FR-001**: The gate MUST open\n";
    let found = |document: &str| {
        let model = spec::parse(document.as_bytes()).model;
        assert_eq!(model.stories.len(), 2);
        let tasks = [task("T001", "opens the gate, FR-001", Some("US1")), task("T002", "fish", Some("US3"))];
        analysis::coverage(&model, &tasks).findings.into_iter().map(|f| f.code).collect::<Vec<_>>()
    };
    assert_eq!(found(document), [""; 0]);
    let numbered = document.replace("### As a s", "### US1: As a s").replace("### As a c", "### US2: As a c");
    assert_eq!(found(&numbered), ["UnknownIdInTask"]);
}
