//! Amendments of constitutions: the level that a change requires, and versions that match it or not.

use enact_domain::revisions::amendment::{
    Accepted, Amendment, ChangeKind, Level, Rule, RulesChange, VersionMismatch, check_version, compare,
};
use enact_domain::speckit::constitution::{self, Constitution};

const OLD: &str = "<!-- Sync Impact Report: 1.1.0 to 1.2.3 -->

# Ferry Constitution

## Core Principles

### I. Safety First (NON-NEGOTIABLE)

A gate MUST NOT move while somebody stands in it. Sensors
are checked daily.

### II. Tested

Every change MUST:

- have a test
- be reviewed

### III. Plain Words

Messages are short and say what to do next.

## Constraints

Services run on one machine.

## Governance

Amendments MUST be approved by two maintainers.

**Version**: 1.2.3 | **Ratified**: 2026-01-01 | **Last Amended**: 2026-02-01
";

fn read(text: &str) -> Constitution {
    constitution::parse(text.as_bytes()).model
}

/// Returns the amendment that results from replacing these texts in the old constitution.
fn amended(edits: &[(&str, &str)]) -> Amendment {
    let new = edits.iter().fold(OLD.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?}");
        text.replacen(from, to, 1)
    });
    compare(&read(OLD), &read(&new), &RulesChange::default())
}

fn kinds(amendment: &Amendment) -> Vec<(ChangeKind, &str, u32)> {
    amendment.changes.iter().map(|c| (c.kind, c.principle.as_str(), c.line)).collect()
}

#[test]
fn form_alone_is_no_amendment() {
    let amendment = amended(&[
        ("1.1.0 to 1.2.3", "anything"),
        ("somebody stands in it. Sensors\nare checked daily.", "somebody\nstands in it.\nSensors are *checked* daily."),
        ("MUST NOT", "**MUST NOT**"),
        ("2026-02-01", "2026-03-01"),
        ("- have a test\n", "* have a test\n"),
        ("- be reviewed\n", "* be reviewed\n"),
        ("\n## Governance", "\n\n## Governance"),
    ]);
    assert_eq!(amendment, Amendment::default());
    assert_eq!(amendment.level(), Level::None);
}

#[test]
fn new_wording_is_a_patch() {
    let amendment = amended(&[
        ("Sensors\nare checked daily", "All sensors are looked at each day"),
        ("### II. Tested", "### III. Tested"),
        ("### III. Plain", "### II. Plain"),
        ("on one machine", "on a single machine"),
        ("# Ferry Constitution", "# Ferries Constitution"),
    ]);
    assert_eq!(amendment.level(), Level::Patch);
    insta::assert_yaml_snapshot!(amendment);
}

#[test]
fn added_demands_are_minor() {
    let amendment = amended(&[
        ("- be reviewed", "- be reviewed\n- be small"),
        ("## Constraints", "### IV. Quiet\n\nEngines MUST be quiet.\n\n## Constraints"),
        ("two maintainers.", "two maintainers. They MUST be named."),
        ("### III. Plain Words", "### III. Few Words"),
        ("Services run", "Services MUST log. Services run"),
    ]);
    assert_eq!(amendment.level(), Level::Minor);
    insta::assert_yaml_snapshot!(amendment);
}

#[test]
fn removed_or_changed_demands_are_major() {
    let amendment = amended(&[
        ("MUST NOT move while", "MUST NOT move fast while"),
        ("- have a test\n", ""),
        ("### III. Plain Words\n\nMessages are short and say what to do next.\n\n", ""),
        ("## Constraints\n\nServices run on one machine.\n\n", ""),
        ("approved by two", "approved by three"),
    ]);
    assert_eq!(amendment.level(), Level::Major);
    insta::assert_yaml_snapshot!(amendment);
}

#[test]
fn each_kind_alone() {
    use ChangeKind::{Added, GovernanceChanged, Redefined, Removed, Renamed, SectionChanged, SectionRemoved};
    let cases: &[(&str, &str, Level, ChangeKind, &str)] = &[
        ("MUST NOT move", "SHOULD NOT move", Level::Major, Redefined, "Safety First (NON-NEGOTIABLE)"),
        ("MUST NOT move", "must not move", Level::Major, Redefined, "Safety First (NON-NEGOTIABLE)"),
        (" (NON-NEGOTIABLE)", "", Level::Minor, Renamed, "Safety First"),
        ("II. Tested", "II. Proven", Level::Minor, Renamed, "Proven"),
        // In a principle without a MUST the whole text counts, and a change of more than half of its words is a redefinition.
        (
            "Messages are short and say what to do next.",
            "Everything speaks Latin.",
            Level::Major,
            Redefined,
            "Plain Words",
        ),
        ("## Constraints\n\nServices run on one machine.\n", "", Level::Minor, SectionRemoved, "Constraints"),
        ("## Constraints", "## Limits", Level::Patch, SectionChanged, "Limits"),
        (
            "## Governance\n\nAmendments MUST be approved by two maintainers.\n",
            "",
            Level::Major,
            GovernanceChanged,
            "Governance",
        ),
        ("## Constraints", "### IV. New\n\nNew.\n\n## Constraints", Level::Minor, Added, "New"),
        ("### II. Tested\n\nEvery change MUST:\n\n- have a test\n- be reviewed\n", "", Level::Major, Removed, "Tested"),
    ];
    for (from, to, level, kind, principle) in cases {
        let amendment = amended(&[(from, to)]);
        let first = &amendment.changes[0];
        assert_eq!(
            (amendment.level(), first.kind, first.principle.as_str()),
            (*level, *kind, *principle),
            "{from:?} → {to:?}"
        );
    }
}

#[test]
fn changes_point_at_their_lines() {
    let amendment = amended(&[
        ("### II. Tested", "### II. New\n\nIt MUST be new.\n\n### III. Tested"),
        ("### III. Plain Words\n\nMessages are short and say what to do next.\n\n", ""),
    ]);
    assert_eq!(
        kinds(&amendment),
        [
            (ChangeKind::Added, "New", 12),
            (ChangeKind::Reworded, "Tested", 16),
            (ChangeKind::Removed, "Plain Words", 19)
        ]
    );
}

#[test]
fn rules_count_as_principles_do() {
    let rule = |name, meaning, wording| Rule { name, meaning, wording };
    let old = [rule("a", "x > 1", "a"), rule("b", "y", "b"), rule("c", "z", "c"), rule("d", "w", "d")];
    let new = [rule("d", "w", "d"), rule("c", "z", "said otherwise"), rule("b", "y || true", "b"), rule("e", "v", "e")];
    let change = RulesChange::between(&old, &new);
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let expected =
        RulesChange { removed: names(&["a"]), redefined: names(&["b"]), added: names(&["e"]), reworded: names(&["c"]) };
    assert_eq!(change, expected);
    let amendment = compare(&read(OLD), &read(OLD), &change);
    let levels: Vec<_> = amendment.changes.iter().map(|c| (c.level, c.principle.as_str())).collect();
    assert_eq!(levels, [(Level::Major, "a"), (Level::Major, "b"), (Level::Minor, "e"), (Level::Patch, "c")]);
}

fn of(level: Level) -> Amendment {
    match level {
        Level::None => Amendment::default(),
        Level::Patch => amended(&[("on one machine", "on a single machine")]),
        Level::Minor => amended(&[("- be reviewed", "- be reviewed\n- be small")]),
        Level::Major => amended(&[("MUST NOT move", "SHOULD NOT move"), ("approved by two", "approved by one")]),
    }
}

#[test]
fn versions_take_the_step() {
    let higher = |enough: &str| Ok(Accepted::Higher { enough: enough.to_owned() });
    let cases = [
        ("1.2.3", "1.2.3", Level::None, Ok(Accepted::Unchanged)),
        ("1.2.3", "1.3.0", Level::None, higher("1.2.3")),
        ("1.2.3", "1.2.4", Level::Patch, Ok(Accepted::AsNeeded)),
        ("1.2.3", "1.2.9", Level::Patch, higher("1.2.4")),
        ("1.2.3", "1.3.0", Level::Minor, Ok(Accepted::AsNeeded)),
        ("v1.2.3", "2.0.0", Level::Minor, higher("1.3.0")),
        ("0.9.1", "1.0.0", Level::Major, Ok(Accepted::AsNeeded)),
        ("9.9.9", "v10.0.0", Level::Major, Ok(Accepted::AsNeeded)),
        ("", "0.1.0", Level::Major, Ok(Accepted::First)),
        ("[VERSION]", "1.0.0", Level::Minor, Ok(Accepted::First)),
    ];
    for (old, new, level, expected) in cases {
        assert_eq!(check_version(old, new, &of(level)), expected, "{old} to {new} for {level}");
    }
}

#[test]
fn a_refusal_names_the_principle_and_the_version_to_write() {
    let refused = |old: &str, new: &str, level| check_version(old, new, &of(level)).unwrap_err().to_string();
    assert_eq!(
        refused("1.2.3", "1.3.0", Level::Major),
        "principle \"Safety First (NON-NEGOTIABLE)\" is redefined: it no longer requires \"A gate MUST NOT move while somebody stands in it.\" \
         (and one more change), a MAJOR amendment: version 1.2.3 must become 2.0.0, not 1.3.0; write `**Version**: 2.0.0`"
    );
    assert_eq!(
        refused("1.2.3", "1.2.3", Level::Patch),
        "section \"Constraints\" is reworded, a PATCH amendment: version 1.2.3 must become 1.2.4, not 1.2.3; write `**Version**: 1.2.4`"
    );
    assert_eq!(
        refused("1.2.3", "1.2.2", Level::Minor),
        "version 1.2.2 is lower than 1.2.3, and a version must not decrease; write `**Version**: 1.3.0`"
    );
    assert_eq!(
        refused("1.2.3", "next", Level::Minor),
        "version \"next\" is not of the form MAJOR.MINOR.PATCH; write `**Version**: 1.3.0`"
    );
    let unreadable = VersionMismatch::Unreadable { given: String::new(), needed: None };
    assert_eq!(check_version("", "", &of(Level::None)), Err(unreadable));
}

/// Checks the limits on time: work that grows faster than the documents would take minutes here.
#[test]
fn large_constitutions_cost_a_moment() {
    let text = |word: &str| {
        let items: String = (0..20_000).map(|n| format!("- be {word} {n}\n")).collect();
        let principles: String = (0..10_000).map(|n| format!("### {word} {n}\n\nIt MUST.\n\n")).collect();
        let sections: String = (0..10_000).map(|n| format!("### {word} {n}\n\ntext\n\n")).collect();
        format!(
            "# A Constitution\n\n## Core Principles\n\n### I. One\n\nIt MUST:\n\n{items}\n{principles}## Governance\n\n{sections}"
        )
    };
    let (old, new) = (read(&text("one")), read(&text("two")));
    assert_eq!(old.principles.len(), 10_001);
    let amendment = compare(&old, &new, &RulesChange::default());
    assert_eq!(amendment.level(), Level::Major);
    assert!(amendment.changes.len() > 20_000);
}

#[test]
fn a_comment_of_several_lines_is_no_difference() {
    let with = format!("{OLD}\n<!-- notes\n{{\"say\": \"this MUST be kept\"}}\nand more -->\n");
    let amendment = compare(
        &constitution::parse(OLD.as_bytes()).model,
        &constitution::parse(with.as_bytes()).model,
        &RulesChange::default(),
    );
    assert_eq!(amendment.changes, []);
}
