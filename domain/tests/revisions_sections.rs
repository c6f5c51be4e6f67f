//! Differences and merges of documents by section: rendered results, and properties of all documents.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use enact_domain::revisions::sections::{Merge, SectionKind, Style, diff, merge, render};
use enact_domain::speckit::MAX_DOCUMENT_BYTES;
use proptest::prelude::*;

const SPEC: &str = "# Feature Specification: Ferry

**Status**: Draft

## User Scenarios & Testing

### User Story 1 - Board (Priority: P2)

A passenger boards with a ticket on the phone.

1. **Given** a valid ticket, **When** it is scanned, **Then** the gate opens
2. **Given** a used ticket, **When** it is scanned, **Then** the gate stays shut

### User Story 2 - Refund (Priority: P3)

A passenger gets the fare back.

## Requirements

### Functional Requirements

- **FR-001**: The gate MUST open within 2 seconds
- **FR-002**: A ticket MUST open the gate once

### Key Entities

- **Ticket**: a right to board once

## Success Criteria

- **SC-001**: 99 of 100 passengers board without help
";

fn replaced(text: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?}");
        text.replacen(from, to, 1)
    })
}

/// Returns the specification with its sections in another order, with added and removed sections, and with changed words.
fn revised() -> String {
    let entities = "### Key Entities\n\n- **Ticket**: a right to board once\n\n";
    let refund = "### User Story 2 - Refund (Priority: P3)\n\nA passenger gets the fare back.\n\n";
    let text = replaced(
        SPEC,
        &[
            (entities, ""),
            (refund, ""),
            ("(Priority: P2)", "(Priority: P1)"),
            ("within 2 seconds", "within 1 second"),
            (
                "- **FR-002**: A ticket MUST open the gate once\n",
                "- **FR-002**: A ticket MUST open the gate once\n- **FR-003**: The gate MUST log every scan\n",
            ),
            ("## Requirements\n\n", &format!("## Requirements\n\n{entities}")),
        ],
    );
    text + "\n## Assumptions\n\n- Phones have light\n"
}

#[test]
fn differences_are_grouped_by_section() {
    insta::assert_snapshot!(render(&diff(SPEC, &revised()), Style::Words));
}

#[test]
fn lines_can_stay_unmarked() {
    let text = render(&diff(SPEC, &replaced(SPEC, &[("2 seconds", "1 second")])), Style::Lines);
    let expected = "~ Feature Specification: Ferry > Requirements > Functional Requirements (changed, line 20)
    ### Functional Requirements

  - - **FR-001**: The gate MUST open within 2 seconds
  + - **FR-001**: The gate MUST open within 1 second
    - **FR-002**: A ticket MUST open the gate once
";
    assert_eq!(text, expected);
    assert_eq!(render(&[], Style::Lines), "no section differs\n");
}

#[test]
fn a_new_title_is_a_change_of_the_section() {
    let changes = diff(
        SPEC,
        &replaced(SPEC, &[("# Feature Specification: Ferry", "# Boat"), ("## Requirements", "## What it must do")]),
    );
    let kinds: Vec<_> = changes.iter().map(|c| (c.kind, c.path.last().map(String::as_str), c.line)).collect();
    assert_eq!(kinds, [(SectionKind::Changed, Some("Boat"), 1), (SectionKind::Changed, Some("What it must do"), 18)]);
    assert_eq!(
        changes[1].from.as_deref(),
        Some(&["Feature Specification: Ferry".to_owned(), "Requirements".to_owned()][..])
    );
}

#[test]
fn a_section_moves_with_all_below_it() {
    let text = "# A\n\n## B\n\nb\n\n### C\n\nc\n\n## D\n\nd\n\n## E\n\ne\n\n## F\n\nf\n";
    let moved = "# A\n\n## D\n\nd\n\n## E\n\ne\n\n## F\n\nf\n\n## B\n\nb\n\n### C\n\nc\n";
    let changes = diff(text, moved);
    assert_eq!(
        changes.iter().map(|c| (c.kind, c.line, c.hunks.len())).collect::<Vec<_>>(),
        [(SectionKind::Moved, 15, 0)]
    );
}

#[test]
fn line_ends_and_fenced_headings_do_not_differ() {
    assert_eq!(diff(SPEC, &format!("\u{feff}{}\r\n", SPEC.replace('\n', "\r\n"))), []);
    let changes = diff("# A\n\n```sh\n# one\n```\n", "# A\n\n```sh\n# two\n```\n");
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].path, ["A"]);
}

#[test]
fn edits_of_two_people_become_one_text() {
    let ours = replaced(
        SPEC,
        &[
            ("within 2 seconds", "within 1 second"),
            ("(Priority: P2)", "(Priority: P1)"),
            (
                "## Success Criteria",
                "### Non-Functional Requirements\n\n- **NFR-001**: It MUST work in rain\n\n## Success Criteria",
            ),
        ],
    );
    let theirs = replaced(
        SPEC,
        &[
            ("open the gate once", "open the gate once a day"),
            ("a ticket on the phone", "a ticket on the phone or on paper"),
            ("### User Story 2 - Refund (Priority: P3)\n\nA passenger gets the fare back.\n\n", ""),
        ],
    ) + "\n## Assumptions\n\n- Phones have light\n";
    let Merge { text, conflicts } = merge(SPEC, &ours, &theirs);
    assert_eq!(conflicts, []);
    let expected = replaced(
        &ours,
        &[
            ("open the gate once", "open the gate once a day"),
            ("a ticket on the phone", "a ticket on the phone or on paper"),
            ("### User Story 2 - Refund (Priority: P3)\n\nA passenger gets the fare back.\n\n", ""),
        ],
    ) + "\n## Assumptions\n\n- Phones have light\n";
    assert_eq!(text, expected);
    // A merge is symmetric here.
    assert_eq!(merge(SPEC, &theirs, &ours).text, expected);
}

#[test]
fn a_conflict_is_shown_in_its_section() {
    let ours =
        replaced(SPEC, &[("within 2 seconds", "within 1 second"), ("gets the fare back", "gets half the fare back")]);
    let theirs = replaced(
        SPEC,
        &[
            ("within 2 seconds", "within 3 seconds"),
            ("### User Story 2 - Refund (Priority: P3)\n\nA passenger gets the fare back.\n\n", ""),
            ("99 of 100", "98 of 100"),
        ],
    );
    let Merge { text, conflicts } = merge(SPEC, &ours, &theirs);
    let paths: Vec<_> = conflicts.iter().map(|c| c.path.last().unwrap().as_str()).collect();
    assert_eq!(paths, ["User Story 2 - Refund (Priority: P3)", "Functional Requirements"]);
    assert_eq!(conflicts[0].theirs, None);
    assert!(conflicts[0].ours.as_ref().unwrap().contains("half the fare"));
    assert!(conflicts[1].base.as_ref().unwrap().contains("2 seconds"));
    insta::assert_snapshot!(text);
}

#[test]
fn additions_of_both_sides_are_kept() {
    let base = "# A\n\n## B\n\n- one\n";
    let ours = "# A\n\n## B\n\n- one\n\n## Ours\n\nx\n\n## Both\n\nsame\n";
    let theirs = "# A\n\n## B\n\n- one\n- two\n\n### Deep\n\ny\n\n## Both\n\nsame\n";
    let expected = "# A\n\n## B\n\n- one\n- two\n\n### Deep\n\ny\n\n## Ours\n\nx\n\n## Both\n\nsame\n";
    assert_eq!(merge(base, ours, theirs), Merge { text: expected.to_owned(), conflicts: Vec::new() });
    // A blank line separates sections that were the last ones of their documents.
    let merged = merge("# A\n", "# A\n\n## X\n\nx", "# A\n\n## Y\n\ny\n");
    assert_eq!(merged, Merge { text: "# A\n\n## X\n\nx\n\n## Y\n\ny\n".to_owned(), conflicts: Vec::new() });
}

#[test]
fn an_order_of_one_side_takes_the_edits_of_the_other() {
    let base = "# A\n\n## B\n\nb\n\n## C\n\nc\n\n## D\n\nd\n";
    let ordered = "# A\n\n## D\n\nd\n\n## B\n\nb\n\n## C\n\nc\n";
    let edited = "# A\n\n## B\n\nb\n\n## N\n\nn\n\n## C\n\nC\n\n## D\n\nd\n";
    let expected = "# A\n\n## D\n\nd\n\n## B\n\nb\n\n## N\n\nn\n\n## C\n\nC\n";
    for merged in [merge(base, ordered, edited), merge(base, edited, ordered)] {
        assert_eq!(merged, Merge { text: expected.to_owned(), conflicts: Vec::new() });
    }
}

#[test]
fn line_ends_are_merged_apart_from_the_text() {
    let windows = format!("\u{feff}{}", SPEC.replace('\n', "\r\n"));
    let edited = replaced(SPEC, &[("2 seconds", "1 second")]);
    let expected = format!("\u{feff}{}", edited.replace('\n', "\r\n"));
    for merged in [merge(SPEC, &windows, &edited), merge(SPEC, &edited, &windows)] {
        assert_eq!(merged, Merge { text: expected.clone(), conflicts: Vec::new() });
    }
    // A conflict keeps the line ends of the document.
    let conflict =
        merge(&windows, &windows.replace("2 seconds", "1 second"), &windows.replace("2 seconds", "3 seconds"));
    assert_eq!(conflict.conflicts.len(), 1);
    assert_eq!(conflict.text.matches('\n').count(), conflict.text.matches("\r\n").count());
    assert!(conflict.conflicts[0].base.as_ref().unwrap().contains("2 seconds\r\n"));
}

/// Checks the limits on time: work that grows faster than the document would take minutes here.
#[test]
fn large_documents_cost_a_moment() {
    let mut seed = 7_u64;
    let mut random = move |limit: u32| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(seed >> 33).unwrap() % limit
    };
    let mut document = |line: fn(u32) -> String, kinds: u32| {
        let mut text = String::with_capacity(MAX_DOCUMENT_BYTES + 64);
        while text.len() < MAX_DOCUMENT_BYTES {
            text.push_str(&line(random(kinds)));
        }
        text
    };
    let numbers: fn(u32) -> String = |kind| format!("{kind}\n");
    let headings: fn(u32) -> String = |kind| format!("{} h{}\n", "#".repeat(1 + kind as usize % 6), kind % 97);
    let words: fn(u32) -> String = |kind| format!("w{kind} ");
    let kinds = [(numbers, 4), (numbers, 1_000_000), (headings, 1_000_000), (words, 50)];
    for (line, kinds) in kinds {
        let [base, ours, theirs] = [(); 3].map(|()| document(line, kinds));
        let changes = diff(&base, &ours);
        assert!(render(&changes, Style::Words).len() > MAX_DOCUMENT_BYTES);
        assert!(!merge(&base, &ours, &theirs).conflicts.is_empty());
    }
}

const PIECES: [&str; 18] = [
    "# a",
    "## b",
    "## c",
    "### d",
    "one",
    "two",
    "three",
    "- four",
    "- five",
    "",
    "",
    "```",
    "---",
    "> # q",
    "\u{feff}x",
    "<!--",
    "-->",
    "Set\n===",
];

/// Generates documents of headings, lines and blank lines. Two documents often have some in common.
fn document() -> impl Strategy<Value = String> {
    let line = prop::sample::select(&PIECES[..]).prop_map(str::to_owned);
    let end = prop::sample::select(&["\n", "\n", "\n", "\r\n"][..]);
    (prop::collection::vec((line, end), 0..16), any::<bool>(), any::<bool>()).prop_map(|(lines, bom, cut)| {
        let text: String = lines.iter().flat_map(|(line, end)| [line.as_str(), end]).collect();
        let text = if cut { text.trim_end_matches(['\n', '\r']).to_owned() } else { text };
        if bom { format!("\u{feff}{text}") } else { text }
    })
}

/// Returns a document with some lines replaced, removed and added.
fn edited(base: &str, edits: &[(prop::sample::Index, u8, u16)]) -> String {
    let mut lines: Vec<String> = base.split_inclusive('\n').map(str::to_owned).collect();
    for (at, what, number) in edits {
        let at = at.index(lines.len() + 1);
        match (what % 4, at < lines.len()) {
            (0, true) => lines[at] = format!("new {number}\n"),
            (1, true) => drop(lines.remove(at)),
            (2, _) => lines.insert(at, format!("## new {number}\n")),
            _ => lines.insert(at, format!("new {number}\n")),
        }
    }
    lines.concat()
}

/// Returns a text without its byte order mark.
fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn lines(text: &str) -> BTreeSet<&str> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect()
}

fn three() -> impl Strategy<Value = (String, String, String)> {
    let edits = || prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<u16>()), 0..5);
    (document(), edits(), edits()).prop_map(|(base, ours, theirs)| {
        let (ours, theirs) = (edited(&base, &ours), edited(&base, &theirs));
        (base, ours, theirs)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_alone_changed_something_has_his_way(base in document(), changed in document()) {
        for (ours, theirs) in [(&changed, &base), (&base, &changed), (&changed, &changed)] {
            prop_assert_eq!(merge(&base, ours, theirs), Merge { text: changed.clone(), conflicts: Vec::new() });
        }
    }

    #[test]
    fn no_line_is_lost((base, ours, theirs) in three()) {
        let merged = merge(&base, &ours, &theirs);
        let mut kept = lines(unmarked(&merged.text));
        for conflict in &merged.conflicts {
            kept.extend([&conflict.ours, &conflict.theirs].into_iter().flatten().flat_map(|text| lines(text)));
        }
        for side in [&ours, &theirs] {
            let added: BTreeSet<_> = lines(unmarked(side)).difference(&lines(unmarked(&base))).copied().collect();
            prop_assert!(added.is_subset(&kept), "{added:?} of {merged:?}");
        }
        if merged.conflicts.is_empty() {
            prop_assert!(!merged.text.contains("<<<<<<< ours"));
        }
    }

    #[test]
    fn a_difference_names_every_changed_line((base, changed, _) in three()) {
        let mut marked = String::new();
        for change in diff(&base, &changed) {
            for line in change.hunks.iter().flat_map(|h| &h.lines) {
                let text: String = line.pieces.iter().map(|p| p.text.as_str()).collect();
                writeln!(marked, "{text}").unwrap();
            }
        }
        let shown = lines(&marked);
        let (old, new) = (lines(unmarked(&base)), lines(unmarked(&changed)));
        let differing: BTreeSet<_> = old.symmetric_difference(&new).copied().collect();
        prop_assert!(differing.is_subset(&shown), "{differing:?} of {marked:?}");
    }

    #[test]
    fn what_is_equal_has_no_difference(text in document()) {
        prop_assert_eq!(diff(&text, &text), []);
    }

    #[test]
    fn any_texts_are_merged(base in "\\PC{0,80}", ours in "\\PC{0,80}", theirs in "\\PC{0,80}") {
        let _ = merge(&base, &ours, &theirs);
        prop_assert!(render(&diff(&ours, &theirs), Style::Words).ends_with('\n'));
    }
}
