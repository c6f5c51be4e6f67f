//! Malicious documents: a document of sixteen times the size may take about sixteen times as long, never the square.

#[path = "support/stopwatch.rs"]
mod stopwatch;

use std::time::Duration;

use enact_domain::speckit::edit::{self, Answer};
use enact_domain::speckit::{TaskId, checklist, constitution, data_model, plan, research, spec, tasks};
use stopwatch::Stopwatch;

const SMALL: usize = 4 << 10;
const LARGE: usize = 64 << 10;
/// The allowed ratio between the time for a large document and the time for small ones of the same total size. Linear is 1 and quadratic
/// is 16. The margin is for caches and for other processes on the same core.
const ALLOWED: u32 = 5;
/// A time that a large document may always take, because a measurement below it is not significant.
const FLOOR: Duration = Duration::from_millis(80);

/// The pieces that fill a document by repetition.
const REPEATED: [&str; 98] = [
    "[x] ",
    "T1: ",
    "`[~]` = done ",
    "|T001|[ ]|a|\n",
    "> - [ ] T001 a\n",
    "- [ ] a\n",
    "### T001 a\n",
    "T001の後 ",
    "Wait for T001:\n- [ ] T002 [P] a T001\n",
    "- [ ] 1. a\n- [ ] 1.1 b\n",
    "- [ ] BE-01 a 1.2 \n",
    "```\nT001 → T002\n```\n",
    "**Decision**: a\n",
    "Rationale: a\n",
    "## Decision: a\n",
    "### Rationale\n",
    "- [ ] CHK001 a [Gap]\n",
    " [Gap]",
    "## Entities\n### a\n",
    "|Story|Depends On|\n|-|-|\n|US1|US2|\n",
    "[NEEDS CLARIFICATION: a]",
    "### Acceptance\n1. Given\n",
    "[",
    "(",
    "# (",
    "*",
    "**",
    "- ",
    "> ",
    "T000-",
    "T000 ",
    "T000→",
    "T000-T999→",
    "Phase 1-50, ",
    "US1-US50 ",
    "us-",
    "US1-",
    "1.",
    "~~~a\n",
    "```a\n",
    "<!--",
    "<!--\n",
    "-->\n",
    "|",
    "a|b\n",
    "`",
    "``` `",
    "TODO(",
    "- [ ] T001 ",
    "- [ ] T001\n",
    "## Phase 1\n",
    "## Dependencies\n",
    "## Clarifications\n",
    "- Q: a\n",
    "## Dependencies\n\nT000 after T000 after\n",
    "[NEEDS CLARIFICATION: ",
    "[NEEDS CLARIFICATION: \n  ",
    "**a**: ",
    "**a**: b\n",
    "### I. a\n",
    "MUST. ",
    "- **FR-001**: a\n",
    "# Requirements FR-001 ",
    "   ",
    "\n",
    "\t- [ ] T001\n",
    "&amp;",
    "a.b ",
    "src/a.rs ",
    "`src/a.rs` ",
    "given then ",
    "1. **Given** a **Then** b\n",
    "## User Stories\n- As a b, I want c\n  - **US1**: d\n",
    "# User Stories\n\nAs a b, I want c\n\n",
    "- **C001**: a C002-C003\n",
    "## User Story 1\n",
    "### User Story 1 (P1\n",
    "Setup ",
    "depends on ",
    "depends on T001 ",
    ", and ",
    "not after ",
    "(after ",
    "![a](",
    "[a]: b\n",
    "[a][",
    "<a ",
    "<div>\n",
    "\\",
    "&",
    "- - ",
    "1) ",
    "_",
    "_a ",
    "*a ",
    "__a",
    "|a|\n|-|\n",
    "[^a]: b\n",
];

/// The beginnings of documents. With the second one, the repetition is part of the section about order.
const BEGINNINGS: [&str; 2] = ["", "# Tasks: a\n\n## Phase 1: Setup\n\n- [ ] T001 a\n\n## Dependencies\n\n"];

fn read_all(document: &str) {
    let bytes = document.as_bytes();
    let parsed = tasks::parse(bytes);
    parsed.model.dependencies();
    spec::parse(bytes);
    plan::parse(bytes);
    constitution::parse(bytes);
    research::parse(bytes);
    checklist::parse(bytes);
    data_model::parse(bytes);
    // The result does not matter: the edits search the document whether or not there is something to tick or to answer.
    let _ = TaskId::parse("T001").map(|id| edit::tick(document, &id, true));
    let answer = Answer { question: "a".into(), answer: "b".into(), date: "2026-03-02".into() };
    let _ = edit::answer(document, &answer);
}

fn time(document: &str, times: usize) -> Duration {
    let stopwatch = Stopwatch::start();
    (0..times).for_each(|_| read_all(document));
    stopwatch.elapsed()
}

/// Checks the time for a larger document. Fails only if several measurements exceed the limit.
fn grows_with_its_size(name: &str, document: impl Fn(usize) -> String) {
    let (small, large) = (document(SMALL), document(LARGE));
    assert!(small.len() <= SMALL && large.len() <= LARGE && large.len() >= 12 * small.len().min(LARGE / 16));
    let (mut short, mut long) = (Duration::ZERO, Duration::MAX);
    for _ in 0..4 {
        long = long.min(time(&large, 1));
        if long <= FLOOR {
            return;
        }
        short = short.max(time(&small, LARGE / SMALL));
        if long <= short * ALLOWED {
            return;
        }
    }
    let (times, small, large) = (LARGE / SMALL, small.len(), large.len());
    panic!("{name}: {times} times {small} bytes take {short:?}, and {large} bytes take {long:?}");
}

fn filled(beginning: &str, piece: &str, size: usize) -> String {
    let mut document = beginning.to_owned();
    document.push_str(&piece.repeat((size - beginning.len()) / piece.len()));
    document
}

#[test]
fn repetition_costs_its_length() {
    for beginning in BEGINNINGS {
        for piece in REPEATED {
            grows_with_its_size(&format!("{piece:?} repeated"), |size| filled(beginning, piece, size));
        }
    }
}

/// A linear time can still be long: each open bracket was searched for its end on its own.
#[test]
fn open_brackets_cost_no_more_than_list_items() {
    let list = filled("", "- a\n", LARGE);
    let time = |document: &str| {
        let stopwatch = Stopwatch::start();
        spec::parse(document.as_bytes());
        stopwatch.elapsed()
    };
    for piece in ["[", "[[", "![", "](", "[ ", "[A_A_A_A", "[e.g. ", "TODO("] {
        let document = filled("", piece, LARGE);
        let cheap = (0..4).any(|_| time(&document) <= time(&list) * 2);
        assert!(cheap, "{piece:?} repeated takes more than twice the time of list items");
    }
}

#[test]
fn fences_of_every_length_cost_their_length() {
    grows_with_its_size("fences", |size| {
        let mut document = String::new();
        // Fences of 1 to n characters with their line ends have n (n + 3) / 2 bytes in total.
        let longest = (1..size).take_while(|n| n * (n + 3) / 2 <= size).count();
        (3..=longest).rev().for_each(|n| document.extend(["`".repeat(n), "\n".into()]));
        document
    });
}

#[test]
fn ever_deeper_lists_cost_their_length() {
    grows_with_its_size("nested tasks", |size| {
        let mut document = String::new();
        for depth in 0.. {
            let line = format!("{}- [ ] T{depth:04} x\n", "  ".repeat(depth));
            if document.len() + line.len() > size {
                break;
            }
            document.push_str(&line);
        }
        document
    });
}

#[test]
fn a_long_title_is_not_copied_to_each_item() {
    for title in ["# Requirements ", "# Core Principles ", "# Phase 1 User Story 1 "] {
        for below in ["## a\n", "### I. a\n", "- **FR-001**: a\n", "- [ ] T001 a\n", "- Q: a\n"] {
            grows_with_its_size(&format!("{below:?} below a long {title:?}"), |size| {
                let beginning = format!("{title}{}\n", "x".repeat(size / 2));
                filled(&beginning, below, size)
            });
        }
    }
}

#[test]
fn a_long_title_is_not_kept_with_each_item() {
    let document = filled(&format!("## Requirements {}\n", "é".repeat(LARGE / 4)), "- **FR-001**: a\n", LARGE);
    let requirements = spec::parse(document.as_bytes()).model.requirements;
    assert_eq!(requirements.len(), 1);
    assert!(requirements[0].section.starts_with("Requirements é") && requirements[0].section.len() <= 256);
}

#[test]
fn many_statements_about_order_cost_linear_time() {
    grows_with_its_size("ranges of ranges", |size| {
        let tasks = size / 130;
        let mut document = String::from("## Phase 1: Setup\n");
        for number in 0..tasks {
            if number == tasks / 2 {
                document.push_str("\n## Phase 2: Foundational\n");
            }
            document.extend([format!("- [ ] T{number:04} [P] a\n")]);
        }
        document.push_str("\n## Dependencies\n\n");
        let statement =
            format!("- T0000-T{:04} → T0000-T{:04} depends on T0000-T{:04}, Phase 1, US1\n", tasks - 1, tasks, tasks);
        filled(&document, &statement, size)
    });
}
