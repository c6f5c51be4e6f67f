//! Revisions of real documents of public projects, if they exist: beside the repository, or in the directory that `ENACT_CORPUS` names.
//! The test changes the documents in known ways, and the changes must be found.

#[path = "support/corpus.rs"]
mod corpus;

use std::path::Path;

use enact_domain::revisions::amendment::{Amendment, ChangeKind, Level, RulesChange};
use enact_domain::revisions::sections::{Merge, SectionKind, diff, merge};
use enact_domain::revisions::staleness::{Changes, ItemKind};
use enact_domain::revisions::{amendment, staleness};
use enact_domain::speckit::{constitution, spec};

/// Calls `check` with each Markdown document of this name (of any name for `None`) that is valid UTF-8.
fn each(name: Option<&str>, mut check: impl FnMut(&str, &str)) {
    let Some(root) = corpus::root() else { return };
    let markdown = |path: &Path| path.extension().is_some_and(|ext| ext == "md");
    let found = corpus::files(&root, |path| markdown(path) && name.is_none_or(|name| path.ends_with(name)));
    for path in &found {
        if let Ok(text) = std::fs::read_to_string(path) {
            check(&path.display().to_string(), &text);
        }
    }
    println!("{} documents", found.len());
}

/// Returns the document with a line inserted after this line, counted from 1.
fn with_line(text: &str, after: usize, line: &str) -> String {
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.insert(after, line);
    lines.join("\n")
}

#[test]
fn edits_of_different_lines_of_real_documents_merge() {
    each(None, |place, text| {
        assert_eq!(diff(text, text), [], "{place}");
        let lines = text.split('\n').count();
        if lines < 12 {
            return;
        }
        let end = if text.contains("\r\n") { "\r" } else { "" };
        let (ours, theirs) = (
            with_line(text, lines / 4, &format!("> ours{end}")),
            with_line(text, 3 * lines / 4, &format!("> theirs{end}")),
        );
        let both = with_line(&ours, 3 * lines / 4 + 1, &format!("> theirs{end}"));
        assert_eq!(merge(text, &ours, &theirs), Merge { text: both.clone(), conflicts: Vec::new() }, "{place}");
        assert_eq!(merge(text, &theirs, &ours).text, both, "{place}");
        let changes = diff(text, &both);
        assert!((1..=2).contains(&changes.len()), "{place}: {changes:?}");
        assert!(changes.iter().all(|change| change.kind == SectionKind::Changed), "{place}: {changes:?}");
        let clash = merge(text, &ours, &with_line(text, lines / 4, &format!("> other{end}")));
        assert_eq!(clash.conflicts.len(), 1, "{place}");
    });
}

#[test]
fn real_principles_that_go_or_come_are_found() {
    let mut principles = 0;
    each(Some("constitution.md"), |place, text| {
        let old = constitution::parse(text.as_bytes()).model;
        let level = |text: &str| {
            let new = constitution::parse(text.as_bytes()).model;
            amendment::compare(&old, &new, &RulesChange::default())
        };
        assert_eq!(level(text), Amendment::default(), "{place}");
        for principle in &old.principles {
            principles += 1;
            let mut without = text.to_owned();
            without.replace_range(principle.span.start..principle.span.end, "");
            let gone = level(&without);
            assert_eq!(gone.level(), Level::Major, "{place}: {}", principle.name);
            let named = |kind, name: &str| gone.changes.iter().any(|c| c.kind == kind && c.principle == name);
            assert!(named(ChangeKind::Removed, &principle.name), "{place}: {gone:?}");
            let heading = "#".repeat(text[principle.span.start..].bytes().take_while(|b| *b == b'#').count());
            let mut with = text.to_owned();
            with.insert_str(principle.span.end, &format!("\n\n{heading} XL. Quite New\n\nIt MUST be quite new.\n"));
            let came = level(&with);
            assert_eq!(came.level(), Level::Minor, "{place}: {}: {came:?}", principle.name);
        }
    });
    println!("{principles} principles");
    assert!(principles > 0 || corpus::root().is_none());
}

#[test]
fn real_requirements_that_change_are_found() {
    let mut requirements = 0;
    each(Some("spec.md"), |place, text| {
        let old = spec::parse(text.as_bytes()).model;
        assert_eq!(staleness::compare(&old, &old), Changes::default(), "{place}");
        for requirement in old.requirements.iter().take(5) {
            let Some(at) = text[requirement.span.start..requirement.span.end].find("MUST") else { continue };
            requirements += 1;
            let mut edited = text.to_owned();
            edited.insert_str(requirement.span.start + at, "always ");
            let changes = staleness::compare(&old, &spec::parse(edited.as_bytes()).model);
            let found: Vec<_> = changes.requirements.iter().map(|c| (c.id.as_str(), &c.kind, c.line)).collect();
            assert_eq!(found, [(requirement.id.as_str(), &ItemKind::Changed, requirement.line)], "{place}");
            let others = Changes { requirements: Vec::new(), ..changes };
            assert_eq!(others, Changes::default(), "{place}: {}", requirement.id);
        }
    });
    println!("{requirements} requirements");
    assert!(requirements > 0 || corpus::root().is_none());
}
