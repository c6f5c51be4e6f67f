//! Ambiguity: open markers, placeholders, vague words without a measure, lists without an end.

use super::finding::Position;
use super::findings::Findings;
use super::kinds::{EXAMPLE_LIST, OPEN_LIST, OPEN_MARKER, PLACEHOLDER, VAGUE_PERFORMANCE, VAGUE_TIME};
use super::statements::{Statement, StatementKind, Statements};
use super::text::{Word, is_struck};
use super::vague;
use crate::speckit::spec::Spec;

pub(super) fn find(spec: &Spec, statements: &Statements<'_>, findings: &mut Findings) {
    for marker in &spec.open_questions {
        let location = statements.location(marker.span.start);
        let place = Position { line: marker.line, location: &location, excerpt: &marker.text };
        findings.push(
            &OPEN_MARKER,
            place,
            format!("the question \"{}\" is open", super::finding::shortened(&marker.text)),
            "answer it under `## Clarifications`, and write the answer in place of the marker",
        );
    }
    for statement in &statements.all {
        if let Some(word) = placeholder(statement) {
            findings.push(
                &PLACEHOLDER,
                statement.place(word),
                format!("{word} is used in place of a decision"),
                "write the decision, or ask with `[NEEDS CLARIFICATION: …]`",
            );
        }
        if statement.english
            && !is_struck(statement.text)
            && (statement.binds() || statement.is(StatementKind::Scenario))
        {
            wording(statement, findings);
        }
    }
}

/// Returns the placeholder in a statement: `TBD`, `TBC`, `???`, `FIXME`, and `TODO` unless it is a name.
fn placeholder<'a>(statement: &Statement<'a>) -> Option<&'a str> {
    if matches!(statement.kind, StatementKind::Clarification) {
        return None;
    }
    let text = statement.text;
    let after = |word: &Word<'_>| text[word.end..].trim_start_matches('*').trim_start();
    let found = statement.words.iter().filter(|w| !w.quoted).find(|word| match word.raw {
        "TBD" | "TBC" | "TBA" | "FIXME" => true,
        // The parser reports `TODO(FIELD)`; in `TODO comments` and `a TODO`, the word is a noun.
        "TODO" => after(word).starts_with(':') || (word.start == 0 && after(word).is_empty()),
        _ => false,
    });
    let marks = || text.find("???").map(|at| &text[at..at + 3]);
    found.map(|word| word.raw).or_else(marks)
}

/// Adds one finding for each family of vague words in a statement.
fn wording(statement: &Statement<'_>, findings: &mut Findings) {
    // Scenarios are examples, so only vague words in the expected result matter, which a test must measure.
    let then = if statement.is(StatementKind::Scenario) {
        statement.words.iter().position(|w| w.lower == "then")
    } else {
        Some(0)
    };
    let Some(words) = then.map(|from| &statement.words[from..]) else { return };
    let hits = vague::find(statement.text, words);
    for (index, family) in vague::FAMILIES.iter().enumerate() {
        let lists = family.rule == OPEN_LIST || family.rule == EXAMPLE_LIST;
        let counts = family.rule == VAGUE_PERFORMANCE || family.rule == VAGUE_TIME;
        if (statement.is(StatementKind::Scenario) && !counts) || (lists && !obliges(statement)) {
            continue;
        }
        let mut phrases: Vec<&str> = Vec::new();
        for hit in hits.iter().filter(|h| h.family == index) {
            let phrase = &statement.text[words[hit.first].start..words[hit.end - 1].end];
            if phrases.len() < 5 && !phrases.iter().any(|p| p.eq_ignore_ascii_case(phrase)) {
                phrases.push(phrase);
            }
        }
        if phrases.is_empty() {
            continue;
        }
        let quoted = phrases.iter().map(|p| format!("\"{p}\"")).collect::<Vec<_>>().join(", ");
        let excerpt = phrases.join(", ");
        findings.push(&family.rule, statement.place(&excerpt), format!("{quoted} {}", family.lacks), family.remedy);
    }
}

/// Returns whether a statement contains an obligation, which an open list leaves undefined.
fn obliges(statement: &Statement<'_>) -> bool {
    statement.words.iter().any(|w| matches!(w.lower.as_str(), "must" | "shall" | "should"))
}
