//! Accepted findings: which comments accept which findings, and that an acceptance hides nothing elsewhere.

use enact_domain::analysis::{self, Acceptance, FINDING_KINDS, Finding, Report, Severity, TaskText};
use enact_domain::speckit::{constitution, plan, spec, tasks};
use proptest::prelude::*;

const SPEC: &str = "# Feature Specification: Keys

## Requirements

### Functional Requirements

- **FR-001**: The list MUST show each key within TBD
  seconds after the key is lent.
- **FR-002**: The door MUST check each key within TBD seconds.

FR-003: A lost key MUST be blocked within TBD seconds.
FR-004: A found key MUST be free within TBD seconds.
";

const COMMENT: &str = "<!-- enact: accept Placeholder the figure follows from the tests -->";

fn analysed(text: &str) -> Report {
    analysis::specification(&spec::parse(text.as_bytes()))
}

/// Returns the locations of the open and of the accepted findings `Placeholder`.
fn placeholders(text: &str) -> (Vec<String>, Vec<String>) {
    let report = analysed(text);
    let at = |f: &Finding| (f.code == "Placeholder").then(|| f.location.clone());
    (
        report.findings.iter().filter_map(at).collect(),
        report.accepted.iter().filter_map(|accepted| at(&accepted.finding)).collect(),
    )
}

/// Returns the lines and messages of the findings about comments.
fn remarks(text: &str) -> Vec<(&'static str, u32)> {
    let about = |f: &Finding| ["InvalidAcceptance", "UnusedAcceptance"].contains(&f.code).then_some((f.code, f.line));
    analysed(text).findings.iter().filter_map(about).collect()
}

#[test]
fn comment_beside_or_above_accepts_one_item() {
    let (open, accepted) = placeholders(SPEC);
    assert!(open.contains(&"FR-001".to_owned()) && open.contains(&"FR-002".to_owned()), "{open:?}");
    assert!(accepted.is_empty());
    for (place, text) in [
        ("beside", SPEC.replace("within TBD\n", &format!("within TBD {COMMENT}\n"))),
        ("on a wrapped line", SPEC.replace("key is lent.", &format!("key is lent. {COMMENT}"))),
        ("above", SPEC.replace("- **FR-001**", &format!("{COMMENT}\n- **FR-001**"))),
        ("above an empty line", SPEC.replace("- **FR-001**", &format!("{COMMENT}\n\n- **FR-001**"))),
        (
            "over several lines",
            SPEC.replace("- **FR-001**", &format!("{}\n- **FR-001**", COMMENT.replace("the ", "the\n"))),
        ),
    ] {
        let (left, accepted) = placeholders(&text);
        assert_eq!(accepted, ["FR-001"], "{place}");
        let rest: Vec<&String> = open.iter().filter(|at| *at != "FR-001").collect();
        assert_eq!(left.iter().collect::<Vec<_>>(), rest, "{place}");
        assert_eq!(remarks(&text), [], "{place}");
    }
}

#[test]
fn accepted_finding_keeps_its_reason_and_does_not_count() {
    let (before, text) = (analysed(SPEC), SPEC.replace("- **FR-002**", &format!("{COMMENT}\n- **FR-002**")));
    let after = analysed(&text);
    assert_eq!(after.counts.total() + 1, before.counts.total());
    assert_eq!(after.quality, before.quality);
    let [accepted] = after.accepted.as_slice() else { panic!("{:?}", after.accepted) };
    assert_eq!((accepted.reason.as_str(), accepted.finding.line), ("the figure follows from the tests", 10));
    let known = before.findings.iter().find(|f| f.location == "FR-002" && f.code == "Placeholder").map(|f| &f.id);
    assert_eq!(Some(&accepted.finding.id), known, "a finding keeps its id");
}

#[test]
fn acceptance_stays_when_the_text_around_it_changes() {
    let text = SPEC.replace("- **FR-002**", &format!("{COMMENT}\n- **FR-002**"));
    let moved = text.replace("## Requirements", "Doors have locks.\n\n## Requirements");
    let (first, second) = (analysed(&text).accepted, analysed(&moved).accepted);
    let ids = |all: &[analysis::AcceptedFinding]| all.iter().map(|a| a.finding.id.clone()).collect::<Vec<_>>();
    assert_eq!((ids(&first).len(), ids(&first)), (1, ids(&second)));
}

#[test]
fn comment_in_code_is_text() {
    for text in [
        format!("{SPEC}\n```\n{COMMENT}\n- **FR-001**\n```\n"),
        SPEC.replace("within TBD\n", &format!("within TBD `{COMMENT}`\n")),
        SPEC.replace("within TBD\n", &format!("within TBD \\{COMMENT}\n")),
        format!("---\nnote: {COMMENT}\n---\n{SPEC}"),
        format!("    {COMMENT}\n\n{SPEC}"),
    ] {
        assert_eq!((placeholders(&text).1, remarks(&text)), (vec![], vec![]), "{text}");
    }
}

#[test]
fn acceptance_that_accepts_nothing_is_reported() {
    for (comment, code) in [
        ("<!-- enact: accept Placeholder -->", "InvalidAcceptance"),
        ("<!-- enact: accept Placeholder … -->", "InvalidAcceptance"),
        ("<!-- enact: accept -->", "InvalidAcceptance"),
        ("<!-- enact: accept placeholder it is lower case -->", "InvalidAcceptance"),
        ("<!-- enact: ignore Placeholder because of this -->", "InvalidAcceptance"),
        ("<!-- enact: -->", "InvalidAcceptance"),
        ("<!-- enact: accept OpenMarker there is none -->", "UnusedAcceptance"),
        ("<!-- enact: accept NoSuchCode there is none -->", "UnusedAcceptance"),
    ] {
        let text = SPEC.replace("- **FR-002**", &format!("{comment}\n- **FR-002**"));
        assert_eq!(placeholders(&text).1, Vec::<String>::new(), "{comment}");
        assert_eq!(remarks(&text), [(code, 9)], "{comment}");
    }
    let long =
        SPEC.replace("- **FR-002**", &format!("<!-- enact: accept Placeholder {} -->\n- **FR-002**", "x".repeat(4096)));
    assert_eq!((placeholders(&long).1.len(), remarks(&long)), (0, vec![("InvalidAcceptance", 9)]));
    // Without the plan, nobody knows whether it is used.
    let of_plan =
        SPEC.replace("- **FR-002**", "<!-- enact: accept RequirementWithoutTask done by hand -->\n- **FR-002**");
    assert_eq!(remarks(&of_plan), []);
    assert_eq!(remarks("<!-- enact.dev/rules\n-->\n<!-- exact: accept -->\n# Feature Specification: A\n"), []);
}

#[test]
fn critical_findings_cannot_be_accepted() {
    let twice = "# Feature Specification: Keys\n\n## Requirements\n\n- **FR-001**: A key MUST open.\n\
                 - **FR-001**: A lock MUST close. <!-- enact: accept DuplicateRequirement both are needed -->\n";
    let report = analysed(twice);
    assert!(report.findings.iter().any(|f| f.code == "DuplicateRequirement" && f.severity == Severity::Critical));
    assert_eq!(report.accepted, []);
    assert!(remarks(twice).contains(&("UnusedAcceptance", 6)));
}

#[test]
fn comment_at_the_title_is_about_the_whole_document() {
    let bare = "# Implementation Plan: Keys\n";
    let findings = analysis::plan(&plan::parse(bare.as_bytes())).findings;
    let about = findings.iter().find(|f| f.location == "Document" && f.severity != Severity::Critical);
    let code = about.map_or("MissingSection", |f| f.code);
    let accepting = format!("<!-- enact: accept {code} a short plan -->\n{bare}");
    let report = analysis::plan(&plan::parse(accepting.as_bytes()));
    assert_eq!(report.findings.iter().filter(|f| f.code == code).count(), 0, "{report:?}");
}

#[test]
fn findings_of_principles_and_tasks_can_be_accepted() {
    let text = "# Keys Constitution\n\n## Core Principles\n\n<!-- enact: accept Placeholder decided in May -->\n\
                ### I. Tests\n\nTests MUST come first. The limit is TBD.\n\n**Version**: 1.0.0\n";
    let report = analysis::constitution(&constitution::parse(text.as_bytes()));
    assert_eq!((report.findings.iter().filter(|f| f.code == "Placeholder").count(), report.accepted.len()), (0, 1));

    let dangling =
        "# Tasks: Keys\n\n## Phase 1: Setup\n\n- [ ] T001 Cut a key (depends on T009)\n- [ ] T002 Hang the door\n";
    let found = analysis::tasks(&tasks::parse(dangling.as_bytes())).findings;
    let about: Vec<&Finding> = found.iter().filter(|f| f.severity != Severity::Critical && f.line == 5).collect();
    assert!(!about.is_empty(), "{found:?}");
    for finding in about {
        let comment = format!("<!-- enact: accept {} made elsewhere -->\n- [ ] T001", finding.code);
        let report = analysis::tasks(&tasks::parse(dangling.replace("- [ ] T001", &comment).as_bytes()));
        assert!(report.accepted.iter().any(|a| a.finding.code == finding.code), "{report:?}");
    }
}

#[test]
fn comments_accept_findings_of_a_plan() {
    let covered = |text: &str, task: &str| {
        let spec = spec::parse(text.as_bytes()).model;
        let tasks = [TaskText { id: "T001", title: "Show the list", text: task, story: None }];
        analysis::coverage(&spec, &tasks)
    };
    let of = |findings: &[Finding], code: &str| findings.iter().filter(|f| f.code == code).count();
    let text = "# Feature Specification: Keys\n\n## Requirements\n\n- **FR-001**: Keys MUST open.\n- **FR-002**: Alarms MUST ring.\n\
                - **FR-003**: Doors MUST close.\n- **FR-004**: Lights MUST shine.\n";
    let task = "FR-001, FR-003, FR-004 and FR-099";
    let before = covered(text, task);
    assert_eq!((of(&before.findings, "UnknownIdInTask"), before.accepted.len()), (1, 0), "{before:?}");
    let task = format!("{task}\n<!-- enact: accept UnknownIdInTask of the old specification -->");
    let after = covered(text, &task);
    assert_eq!((of(&after.findings, "UnknownIdInTask"), after.accepted.len()), (0, 1));
    let text = text.replace("- **FR-002**", "<!-- enact: accept RequirementWithoutTask by hand -->\n- **FR-002**");
    let after = covered(&text, "FR-001, FR-003, FR-004");
    let accepted: Vec<&str> = after.accepted.iter().map(|a| a.finding.location.as_str()).collect();
    assert_eq!(accepted, ["FR-002"], "{after:?}");
}

#[test]
fn object_accepts_by_location_or_id() {
    let report = analysed(SPEC);
    let id = report.findings.iter().find(|f| f.location == "FR-002" && f.code == "Placeholder").map(|f| f.id.clone());
    for at in ["FR-002", id.as_deref().unwrap_or_default()] {
        let accepted = [Acceptance::named("Placeholder", at, "later", Some("ada".into()))];
        let (after, used) = analysed(SPEC).accepting(&accepted);
        assert_eq!((after.accepted.len(), used), (1, vec![true]), "{at}");
        assert_eq!(after.accepted[0].by.as_deref(), Some("ada"));
        assert_eq!(after.counts.total() + 1, report.counts.total());
    }
    let (after, used) = analysed(SPEC).accepting(&[Acceptance::named("OpenMarker", "FR-002", "none", None)]);
    assert_eq!((&after, used), (&report, vec![false]));
}

/// Generates lines of specifications that have findings.
fn line() -> impl Strategy<Value = String> {
    let openings = vec![
        "",
        "- ",
        "- **FR-001**: ",
        "- **FR-002**: ",
        "FR-003: ",
        "1. ",
        "## Requirements\n",
        "### Edge Cases\n- ",
        "# ",
    ];
    let words = vec![
        "the door MUST open within TBD seconds",
        "etc and so on",
        "where possible",
        "FR-009",
        "??? keys",
        "fast",
        "x",
    ];
    (prop::sample::select(openings), prop::collection::vec(prop::sample::select(words), 0..4))
        .prop_map(|(opening, words)| format!("{opening}{}", words.join(" ")))
}

/// Returns what identifies a finding in a document that has one more comment.
fn place(finding: &Finding) -> (&'static str, u32, String) {
    (finding.code, finding.line, finding.location.clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn acceptance_hides_nothing_elsewhere(lines in prop::collection::vec(line(), 1..30), at in 0usize..30, code in 0usize..FINDING_KINDS.len()) {
        let text = lines.join("\n");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = at % lines.len().max(1);
        // Beside text, a comment does not change the structure of the document.
        prop_assume!(lines.get(at).is_some_and(|line| line.ends_with(char::is_alphanumeric)));
        let before = analysed(&text);
        let code = before.findings.get(code % before.findings.len().max(1)).map_or("Placeholder", |f| f.code);
        lines[at].push_str(&format!(" <!-- enact: accept {code} seen -->"));
        let after = analysed(&lines.join("\n"));
        let mut all: Vec<_> = before.findings.iter().map(place).collect();
        let is_remark = |f: &&Finding| f.code != "UnusedAcceptance";
        let mut left: Vec<_> = after.findings.iter().filter(is_remark).map(place).collect();
        left.extend(after.accepted.iter().map(|accepted| place(&accepted.finding)));
        all.sort();
        left.sort();
        prop_assert_eq!(all, left, "every finding is open or accepted");
        for accepted in &after.accepted {
            let (finding, comment) = (&accepted.finding, at + 1);
            prop_assert!(finding.code == code && finding.severity != Severity::Critical);
            let line = finding.line as usize;
            let between = line.min(comment)..line.max(comment);
            let crosses = between.skip(1).any(|number| lines[number - 1].starts_with('#') || lines[number - 1].is_empty());
            prop_assert!(finding.location == "Document" || !crosses, "{:?}", finding);
        }
    }
}
