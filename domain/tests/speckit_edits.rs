//! Ticks and answers: what they change, and that they change nothing else.

use enact_domain::speckit::edit::{self, Answer, EditError, MAX_ANSWER_BYTES};
use enact_domain::speckit::spec::{self, Spec};
use enact_domain::speckit::tasks::{self, TaskState};
use enact_domain::speckit::{MAX_DOCUMENT_BYTES, TaskId};
use proptest::prelude::*;

fn id(text: &str) -> TaskId {
    TaskId::parse(text).expect("an identifier")
}

fn given(question: &str, answer: &str, date: &str) -> Answer {
    Answer { question: question.into(), answer: answer.into(), date: date.into() }
}

fn answered(source: &str, question: &str, answer: &str, date: &str) -> String {
    let changed = edit::answer(source, &given(question, answer, date)).expect("an answer");
    assert_eq!(edit::answer(&changed, &given(question, answer, date)), Ok(changed.clone()), "a second time");
    changed
}

const TASKS: &str = "\u{feff}# Tasks: Door\r\n\r\n## Phase 1: Setup\r\n\r\n- [x] T001 Hang it [ ]\r\n  - [ ] oil it\r\n- [⚠] T002 Paint it\r\n- [-] T003 Sell it\r\n\r\n### T004: Praise it\r\n";

#[test]
fn ticking_changes_the_box_alone() {
    let tick = |id_: &str, done| edit::tick(TASKS, &id(id_), done).unwrap();
    assert_eq!(tick("T001", false), TASKS.replace("[x] T001", "[ ] T001"));
    assert_eq!(tick("T001", true), TASKS);
    assert_eq!(tick("T002", true), TASKS.replace("[⚠]", "[x]"));
    assert_eq!(tick("T003", true), TASKS.replace("[-]", "[x]"));
}

#[test]
fn a_tick_without_check_box_is_rejected() {
    let refused = |source: &str, id_: &str| edit::tick(source, &id(id_), true).unwrap_err().to_string();
    assert_eq!(refused(TASKS, "T009"), "the document has no task T009; use the identifier of a task in the document");
    assert_eq!(refused(TASKS, "T004"), "line 10: task T004 has no check box; write it as `- [ ] T004 …`");
    assert_eq!(refused("", "T001"), "line 1: the document is empty; write the document, or remove the reference to it");
}

const OPEN: &str = "# Feature Specification: Door

**Status**: Draft

## User Scenarios & Testing *(mandatory)*

### User Story 1 - Open it (Priority: P1)

1. **Given** a door, **When** pushed, **Then** it opens

## Requirements *(mandatory)*

- **FR-001**: It MUST open [NEEDS CLARIFICATION: inwards or
  outwards?] without noise
- **FR-002**: It MUST be [NEEDS CLARIFICATION: which colour?]

## Success Criteria

- **SC-001**: Nine of ten get through
";

#[test]
fn an_answer_replaces_its_marker_and_is_recorded() {
    let changed = answered(OPEN, "Inwards or outwards", "Inwards", "2026-03-02");
    let section = "## Clarifications\n\n### Session 2026-03-02\n\n- Q: Inwards or outwards → A: Inwards\n\n";
    let wanted = OPEN
        .replace("[NEEDS CLARIFICATION: inwards or\n  outwards?]", "Inwards")
        .replace("## User Scenarios", &format!("{section}## User Scenarios"));
    assert_eq!(changed, wanted);
    let second = answered(&changed, "which colour?", "red", "2026-03-02");
    let wanted = wanted
        .replace("[NEEDS CLARIFICATION: which colour?]", "red")
        .replace("A: Inwards\n", "A: Inwards\n- Q: which colour? → A: red\n");
    assert_eq!(second, wanted);
    let third = answered(&second, "Is there a bell?", "No", "2026-03-05");
    let session = "A: red\n\n### Session 2026-03-05\n\n- Q: Is there a bell? → A: No\n";
    assert_eq!(third, wanted.replace("A: red\n", session));
}

#[test]
fn line_ends_and_byte_order_mark_stay() {
    let source = format!("\u{feff}{}", OPEN.replace('\n', "\r\n"));
    let changed = answered(&source, "which colour?", "red", "2026-03-02");
    let plain = answered(OPEN, "which colour?", "red", "2026-03-02");
    assert_eq!(changed, format!("\u{feff}{}", plain.replace('\n', "\r\n")));
}

const ANSWERED: &str = "# Spec: Door

## Clarifications

### Session 2026-03-02

- Q: Which way? -> A: Inwards
  as always <!-- ask again -->
- Q: Is there a bell? → A: No

### Session 2026-03-05 (evening)

* **Q**: Who may open it?
  - **A**: Everybody

---

## Requirements

- **FR-001**: It MUST open
";

#[test]
fn the_newer_of_two_answers_counts() {
    let same_day = answered(ANSWERED, "Which way?", "Outwards", "2026-03-02");
    let wanted = ANSWERED.replace("Q: Which way? -> A: Inwards\n  as always", "Q: Which way? → A: Outwards");
    assert_eq!(same_day, wanted);
    let later = answered(ANSWERED, "Is there a bell?", "Yes", "2026-03-05");
    let wanted = ANSWERED
        .replace("- Q: Is there a bell? → A: No\n", "")
        .replace("Everybody\n", "Everybody\n- Q: Is there a bell? → A: Yes\n");
    assert_eq!(later, wanted);
    let new_day = answered(ANSWERED, "Who may open it?", "Nobody", "2026-03-09");
    let wanted = ANSWERED.replace(
        "\n* **Q**: Who may open it?\n  - **A**: Everybody\n\n---\n",
        "\n\n---\n\n### Session 2026-03-09\n\n- Q: Who may open it? → A: Nobody\n",
    );
    assert_eq!(new_day, wanted);
    assert_eq!(answered(ANSWERED, "who may open it", "Nobody", "2026-03-04"), ANSWERED, "an older answer");
    assert_eq!(answered(ANSWERED, "Who may open it?", "Everybody", "2026-03-09"), ANSWERED, "the same answer");
}

#[test]
fn a_marker_gets_the_answer_that_counts() {
    let source = format!("{ANSWERED}- **FR-002**: It is for [NEEDS CLARIFICATION: who may open it?]\n");
    let changed = answered(&source, "who may open it?", "Nobody", "2026-03-01");
    assert_eq!(changed, source.replace("[NEEDS CLARIFICATION: who may open it?]", "Everybody"));
}

#[test]
fn a_section_goes_behind_an_overview_or_to_the_end() {
    let line = "## Clarifications\n\n### Session 2026-03-02\n\n- Q: Why? → A: Because";
    let add = |source: &str| answered(source, "Why?", "Because", "2026-03-02");
    assert_eq!(
        add("# Spec: a\n\n## Overview\n\ntext\n\n### More\n\n## Scope\n"),
        format!("# Spec: a\n\n## Overview\n\ntext\n\n### More\n\n{line}\n\n## Scope\n")
    );
    assert_eq!(add("# Spec: a\n\n## Scope\n"), format!("# Spec: a\n\n{line}\n\n## Scope\n"));
    assert_eq!(add("\u{feff}## Scope\n"), format!("\u{feff}{line}\n\n## Scope\n"));
    assert_eq!(add("# Spec: a\ntext"), format!("# Spec: a\ntext\n\n{line}\n"));
    assert_eq!(add("# Spec: a\r\ntext\r\n"), format!("# Spec: a\r\ntext\r\n\r\n{}\r\n", line.replace('\n', "\r\n")));
    assert_eq!(
        add("# Spec: a\n\n## Clarifications\n\n### Session 2026-03-02\n## Scope\n"),
        "# Spec: a\n\n## Clarifications\n\n### Session 2026-03-02\n\n- Q: Why? → A: Because\n## Scope\n"
    );
}

#[test]
fn an_answer_cannot_become_anything_else() {
    let marker = "[NEEDS CLARIFICATION: q?]";
    let source = format!("# Spec: a\n\n## Requirements\n\n- **FR-001**: a {marker} b `c`\n- {marker}\n\n{marker}\n");
    for answer in [
        "x\n## Requirements\n- **FR-009**: evil",
        "```\nx",
        "- **FR-009**: evil",
        "FR-009: evil",
        "<!-- x",
        "-->",
        "===",
        "---",
        "[NEEDS CLARIFICATION: more?]",
        "x\r\u{2028}\u{7}\u{202e}y",
        "a`b",
        "**Checkpoint**: x",
        "→ A: x",
        "[x] T001 x",
        "\\",
    ] {
        let changed = answered(&source, "q?", answer, "2026-03-02");
        let model = spec::parse(changed.as_bytes()).model;
        assert_eq!(model.requirements.len(), 1, "{changed}");
        assert_eq!((model.clarifications.len(), model.open_questions.len()), (1, 0), "{changed}");
        assert_eq!(changed.lines().count(), source.lines().count() + 6, "{changed}");
        let visible = |c: char| !c.is_control() || c == '\n';
        assert!(changed.chars().all(visible) && !changed.contains('\u{202e}'));
        assert!(changed.ends_with('\n') && changed.contains("\n- **FR-001**: a "), "{changed}");
    }
    let table = format!("# Spec: a\n\n## Requirements\n\n| ID | a | b |\n|-|-|-|\n| FR-001 | x {marker} | y |\n");
    let changed = answered(&table, "q?", "either | or", "2026-03-02");
    assert!(changed.ends_with("| FR-001 | x either \\| or | y |\n"), "{changed}");
}

#[test]
fn what_is_no_answer_is_refused() {
    let refused = |source: &str, q: &str, a: &str, date: &str| edit::answer(source, &given(q, a, date)).unwrap_err();
    let long = "é".repeat(MAX_ANSWER_BYTES / 2 + 1);
    assert_eq!(refused(OPEN, "\n?", "a", "2026-03-02"), EditError::EmptyQuestion);
    assert_eq!(refused(OPEN, "q?", "\u{200b}\n", "2026-03-02"), EditError::EmptyAnswer("q?".into()));
    assert_eq!(refused(OPEN, "q?", "a", "2026-02-30"), EditError::InvalidDate("2026-02-30".into()));
    assert_eq!(refused(OPEN, "q?", &long, "2026-03-02"), EditError::TooLong { what: "answer", bytes: long.len() });
    assert_eq!(refused(OPEN, &long, "a", "2026-03-02"), EditError::TooLong { what: "question", bytes: long.len() });
    assert!(matches!(refused("a\0", "q?", "a", "2026-03-02"), EditError::Unreadable(_)));
    let full = format!("{OPEN}{}", "a".repeat(MAX_DOCUMENT_BYTES - OPEN.len()));
    assert!(matches!(refused(&full, "q?", "a", "2026-03-02"), EditError::DocumentTooLarge(_)));
}

/// Pieces of documents and of answers, for combinations that nobody would write.
const PIECES: [&str; 40] = [
    "# Spec: a\n",
    "## Clarifications\n",
    "### Session 2026-03-02\n",
    "#### Session 2026-04-01\n",
    "## User Scenarios & Testing\n",
    "### User Story 1 - a (Priority: P1)\n",
    "## Overview\n",
    "## Requirements\n",
    "- **FR-001**: ",
    "- **SC-001**: ",
    "- Q: why? → A: so\n",
    "- Q: why? -> A: ",
    "1. Q: who?\n   A: we\n",
    "* ",
    "- ",
    "> ",
    "  ",
    "[NEEDS CLARIFICATION: why?]",
    "[NEEDS CLARIFICATION: who\n  is it?]",
    "[NEEDS CLARIFICATION: ",
    "]",
    "why?",
    "so",
    "```\n",
    "`",
    "~~~",
    "<!-- ",
    " -->",
    "<div>",
    "|a|b|\n|-|-|\n|",
    "---\n",
    "===\n",
    "**",
    "\n",
    "\r\n",
    "\n\n",
    "\r",
    "é任",
    "\u{feff}",
    "\u{202e}\u{7}",
];

fn soup(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..most).prop_map(|pieces| pieces.concat())
}

/// Returns the parts of a specification that an answer must not change.
fn rest(spec: &Spec) -> Vec<String> {
    let stories = spec.stories.iter().map(|s| s.key.to_string());
    // An identifier that is made from a text changes with the text, which can contain the question.
    let id = |r: &spec::Requirement| if r.is_numbered() { r.id.clone() } else { String::new() };
    let items = spec.requirements.iter().chain(&spec.success_criteria).map(id);
    stories.chain(items).collect()
}

#[test]
fn a_box_before_a_lone_carriage_return_can_be_ticked() {
    let text = "## Phase 1: Setup\n\n- [⚠] T001 Sew \r# Notes\n";
    let id = tasks::parse(text.as_bytes()).model.tasks[0].id.clone();
    assert_eq!(edit::tick(text, &id, true).unwrap(), text.replace('⚠', "x"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_changes_one_answer(
        source in soup(60),
        question in prop_oneof![Just("why?".to_owned()), Just("who is it?".to_owned()), soup(4)],
        answer in soup(6),
        date in prop::sample::select(&["2026-03-01", "2026-03-02", "2026-05-01"][..]),
    ) {
        let given = given(&question, &answer, date);
        let before = spec::parse(source.as_bytes()).model;
        match edit::answer(&source, &given) {
            Ok(changed) => {
                let after = spec::parse(changed.as_bytes()).model;
                prop_assert_eq!(rest(&before), rest(&after));
                prop_assert_eq!(&edit::answer(&changed, &given).unwrap(), &changed);
                let added = after.clarifications.len() - before.clarifications.len().min(after.clarifications.len());
                prop_assert!(added <= 1);
                if changed != source {
                    prop_assert!(after.clarifications.iter().any(|c| !c.answer.is_empty()));
                }
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn an_answer_leaves_every_other_byte(
        (above, below) in (prop::collection::vec("[a-z é|*_.]{0,20}", 0..6), prop::collection::vec("[a-z é|*_.]{0,20}", 0..6)),
        (windows, marked, wrapped) in (any::<bool>(), any::<bool>(), any::<bool>()),
        answer in "[a-z][a-z ]{0,30}[a-z]",
    ) {
        let answer = answer.split_whitespace().collect::<Vec<_>>().join(" ");
        let document = |section: &str, sentence: &str| {
            let lines = |lines: &[String]| lines.iter().map(|l| format!("- z{l}\n")).collect::<String>();
            let text = format!(
                "# Spec: a\n\n{section}## User Scenarios\n\n{}\n- **FR-001**: say {sentence} now\n\n{}",
                lines(&above), lines(&below),
            );
            let text = if windows { text.replace('\n', "\r\n") } else { text };
            format!("{}{text}", if marked { "\u{feff}" } else { "" })
        };
        let asked = if wrapped { "[NEEDS CLARIFICATION: why\n  so?]" } else { "[NEEDS CLARIFICATION: why so?]" };
        let section = format!("## Clarifications\n\n### Session 2026-03-02\n\n- Q: why so? → A: {answer}\n\n");
        let changed = edit::answer(&document("", asked), &given("why so?", &answer, "2026-03-02"));
        prop_assert_eq!(changed.unwrap(), document(&section, &answer));
    }

    #[test]
    fn a_tick_changes_exactly_one_box(
        boxes in prop::collection::vec((prop::sample::select(&[" ", "x", "X", "-", "~", "⚠", "✅"][..]), soup(3)), 1..20),
        pick in any::<prop::sample::Index>(),
        done in any::<bool>(),
    ) {
        let mut text = String::from("## Phase 1: Setup\n\n");
        for (number, (mark, tail)) in boxes.iter().enumerate() {
            text.extend([format!("- [{mark}] T{number:03} do {tail}\n\n")]);
        }
        let before = tasks::parse(text.as_bytes()).model;
        let Some(task) = before.tasks.get(pick.index(before.tasks.len().max(1))) else { return Ok(()) };
        let mark = task.checkbox.unwrap();
        let changed = edit::tick(&text, &task.id, done).unwrap();
        let end = changed.len() - (text.len() - mark.end);
        prop_assert_eq!(&changed[..mark.start], &text[..mark.start]);
        prop_assert_eq!(&changed[end..], &text[mark.end..]);
        let wanted = if done { TaskState::Done } else { TaskState::Open };
        prop_assert!(task.state != wanted || changed == text);
        let after = tasks::parse(changed.as_bytes()).model;
        for (old, new) in before.tasks.iter().zip(&after.tasks) {
            let state = if old.id == task.id { wanted } else { old.state };
            prop_assert_eq!((&old.id, &old.title, state), (&new.id, &new.title, new.state));
        }
        prop_assert_eq!(before.tasks.len(), after.tasks.len());
    }
}
