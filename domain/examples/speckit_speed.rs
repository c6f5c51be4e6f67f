//! How fast documents are read: each kind, synthetic documents of doubling size, and the corpus where it is at hand.
//!
//! `cargo run --release -p enact-domain --example speckit_speed` prints a table, with the name of a kind behind `--` for that kind alone; figures are megabytes (10^6 bytes) a second on one core.

#[path = "../tests/support/corpus.rs"]
mod corpus;
#[path = "../tests/support/stopwatch.rs"]
mod stopwatch;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use enact_domain::speckit::{checklist, constitution, data_model, plan, research, spec, tasks};
use pulldown_cmark::{Options, Parser};
use stopwatch::Stopwatch;

/// A kind of document: its name, the names of its files, a reader, and a writer of the part with this number.
struct Kind {
    name: &'static str,
    file: fn(&Path) -> bool,
    read: fn(&[u8]) -> usize,
    opening: &'static str,
    part: fn(usize) -> String,
}

fn named(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|file| file == name)
}

const KINDS: [Kind; 7] = [
    Kind {
        name: "constitution",
        file: |path| named(path, "constitution.md"),
        read: |bytes| constitution::parse(bytes).model.principles.len(),
        opening: "# Doors Constitution\n\n## Core Principles\n\n",
        part: |n| {
            format!(
                "### {n}. Doors before walls\n\nEvery wall MUST have a door before it is painted. Doors SHOULD open inwards.\nA hinge is oiled \
                 once a year, and **MUST NOT** squeak.\n\n- Locks are optional.\n- Keys MUST be kept (see `docs/keys.md`).\n\n"
            )
        },
    },
    Kind {
        name: "spec",
        file: |path| named(path, "spec.md"),
        read: |bytes| spec::parse(bytes).model.requirements.len(),
        opening: "# Feature Specification: Doors\n\n**Feature Branch**: `001-doors`\n**Status**: Draft\n\n## Clarifications\n\n### Session \
                  2026-03-02\n\n- Q: Which way? → A: Inwards\n\n## User Scenarios & Testing\n\n",
        part: |n| {
            format!(
                "### User Story {n} - Open the door (Priority: P{})\n\nA guest opens the door, and goes through it.\n\n**Why this priority**: \
                 without it nobody gets in.\n\n**Independent Test**: push the door and look.\n\n**Acceptance Scenarios**:\n\n1. **Given** a \
                 closed door, **When** a guest pushes it, **Then** it opens within 300 ms\n2. **Given** a locked door, **When** a guest pushes \
                 it,\n   **Then** it stays shut\n\n### Functional Requirements\n\n- **FR-{n:05}**: The door MUST open without noise, as \
                 `docs/noise.md` says\n- **SC-{n:05}**: 95 % of guests get through at once\n\n",
                n % 4
            )
        },
    },
    Kind {
        name: "plan",
        file: |path| named(path, "plan.md"),
        read: |bytes| plan::parse(bytes).model.context.len(),
        opening: "# Implementation Plan: Doors\n\n**Branch**: `001-doors` | **Date**: 2026-03-03 | **Spec**: [spec.md](spec.md)\n\n## \
                  Summary\n\nHang doors.\n\n## Constitution Check\n\n- [x] Doors first\n\n## Technical Context\n\n",
        part: |n| {
            format!(
                "**Language/Version {n}**: Oak 2.1, with `brass` fittings\n**Storage**: N/A\n\n- hinges from src/hinge.rs\n- locks from \
                 src/lock.rs\n\n```text\nsrc/\n  door_{n}.rs\n```\n\n| Violation | Why Needed | Simpler Alternative Rejected Because \
                 |\n|---|---|---|\n| third hinge | heavy oak | two break |\n\n"
            )
        },
    },
    Kind {
        name: "tasks",
        file: |path| named(path, "tasks.md"),
        read: |bytes| tasks::parse(bytes).model.tasks.len(),
        opening: "# Tasks: Doors\n\n## Phase 1: Setup\n\n",
        part: |n| {
            let phase = if n % 40 == 0 {
                format!(
                    "## Phase {}: User Story {} - Open (Priority: P1)\n\n**Goal**: a door\n\n",
                    n / 40 + 2,
                    n / 40 + 1
                )
            } else {
                String::new()
            };
            let parallel = if n.is_multiple_of(3) { " [P]" } else { "" };
            format!(
                "{phase}- [ ] T{n:04}{parallel} [US1] Hang door {n} in `src/doors/door_{n}.rs` and src/walls/wall_{n}.rs, with two hinges (depends \
                 on T{:04})\n  - the hinges are of brass, and each of them is oiled before the door is hung, which takes a while and cannot be\n    \
                 hurried; see docs/hinges.md for the reasons, and for what was tried before\n  - [ ] look at it from both sides, open it and \
                 close it, and listen\n  - **Files**: `src/doors/mod.rs`, `tests/doors/door_{n}_test.rs`, `docs/doors/door_{n}.md`\n  - a \
                 remark that says nothing about order, but is as long as remarks of people who explain are, so that it counts\n",
                n.saturating_sub(1)
            )
        },
    },
    Kind {
        name: "research",
        file: |path| named(path, "research.md"),
        read: |bytes| research::parse(bytes).model.decisions.len(),
        opening: "# Research: Doors\n\n",
        part: |n| {
            format!(
                "## R{n}: Wood of door {n}\n\n**Decision**: Oak, two fingers thick.\n\n**Rationale**: It is strong and grows nearby; the \
                 `noise` figures are in docs/noise.md.\n\n**Alternatives considered**:\n- Pine: rejected, too soft\n- Steel: rejected, too \
                 cold\n\n"
            )
        },
    },
    Kind {
        name: "checklist",
        file: |path| path.parent().is_some_and(|parent| parent.ends_with("checklists")),
        read: |bytes| checklist::parse(bytes).model.items.len(),
        opening: "# Door Checklist: Doors\n\n**Purpose**: ask before\n\n## Completeness\n\n",
        part: |n| {
            format!(
                "- [ ] CHK{n:05} Are the hinges of every door specified with a number? [Completeness, Spec §FR-{n:03}]\n"
            )
        },
    },
    Kind {
        name: "data-model",
        file: |path| named(path, "data-model.md"),
        read: |bytes| data_model::parse(bytes).model.entities.len(),
        opening: "# Data Model: Doors\n\n## Entities\n\n",
        part: |n| {
            format!(
                "### Door{n}\n\nA thing on hinges.\n\n| Field | Type | Rule |\n|---|---|---|\n| `width` | number | above 0, in millimetres, as \
                 wide as the frame allows |\n| `open` | boolean | true while a guest goes through |\n\n"
            )
        },
    },
];

/// Reads a document, and returns a number so that the work is not optimised away.
type Read = fn(&[u8]) -> usize;

/// What the machine does in its present state: line ends are counted, and Markdown is read without looking at it. The other figures can be
/// compared with these, whatever else runs.
const REFERENCES: [(&str, Read); 2] = [
    ("line ends", |bytes| memchr::memchr_iter(b'\n', bytes).count()),
    ("Markdown", |bytes| {
        let text = str::from_utf8(bytes).unwrap_or_default();
        Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter().count()
    }),
];

/// Megabytes a second, over as many runs as take a while: the stopwatch goes in steps of milliseconds.
fn speed(read: fn(&[u8]) -> usize, documents: &[Vec<u8>]) -> f64 {
    const ENOUGH: Duration = Duration::from_millis(400);
    let bytes: u32 = documents.iter().map(|document| u32::try_from(document.len()).unwrap_or(u32::MAX)).sum();
    let stopwatch = Stopwatch::start();
    let (mut runs, mut taken) = (0, Duration::ZERO);
    while taken < ENOUGH {
        let found: usize = documents.iter().map(|document| read(document)).sum();
        std::hint::black_box(found);
        runs += 1;
        taken = stopwatch.elapsed();
    }
    f64::from(bytes) * f64::from(runs) / taken.as_secs_f64() / 1e6
}

fn synthetic(kind: &Kind, size: usize) -> Vec<u8> {
    let mut text = kind.opening.to_owned();
    for n in 1.. {
        let part = (kind.part)(n);
        if text.len() + part.len() > size {
            break;
        }
        text.push_str(&part);
    }
    text.into_bytes()
}

fn main() {
    const SIZES: [usize; 5] = [64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20];
    let corpus = corpus::root().map(|root| corpus::files(&root, |_| true)).unwrap_or_default();
    let head: String = SIZES.iter().fold(String::new(), |mut head, size| {
        let _ = write!(head, "{:>9}", format!("{} KiB", size >> 10));
        head
    });
    println!("MB/s         {head}   corpus (documents, KiB)");
    let only = std::env::args().nth(1);
    for kind in KINDS.iter().filter(|kind| only.as_deref().is_none_or(|name| name == kind.name)) {
        let mut line = format!("{:<13}", kind.name);
        for size in SIZES {
            let _ = write!(line, "{:>9.1}", speed(kind.read, &[synthetic(kind, size)]));
        }
        let documents: Vec<Vec<u8>> =
            corpus.iter().filter(|path| (kind.file)(path)).filter_map(|path| fs::read(path).ok()).collect();
        if documents.is_empty() {
            line.push_str("   none; set ENACT_CORPUS");
        } else {
            let size: usize = documents.iter().map(Vec::len).sum();
            let _ = write!(line, "{:>9.1} ({}, {})", speed(kind.read, &documents), documents.len(), size >> 10);
        }
        println!("{line}");
    }
    let documents: Vec<Vec<u8>> = corpus.iter().filter_map(|path| fs::read(path).ok()).collect();
    for (name, read) in REFERENCES.iter().filter(|_| !documents.is_empty()) {
        println!("{name} of all {} documents: {:.0}", documents.len(), speed(*read, &documents));
    }
}
