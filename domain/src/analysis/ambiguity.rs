//! Ambiguity: open markers, placeholders, vague words without a measure, lists without an end.

use super::finding::Position;
use super::findings::Findings;
use super::kinds::{OPEN_LIST, OPEN_MARKER, PLACEHOLDER, VAGUE_PERFORMANCE, VAGUE_TIME};
use super::statements::{Statement, StatementKind, Statements};
use super::text::{Word, is_one_of, is_struck, words};
use super::vague::{self, Around};
use crate::speckit::spec::Spec;

/// A marker without a question.
pub(super) const BARE_MARKER: &str = "[NEEDS CLARIFICATION]";

pub(super) fn find(spec: &Spec, statements: &Statements<'_>, findings: &mut Findings) {
    let struck = |at: usize| statements.at(at).is_some_and(|s| is_struck(s.text));
    for marker in spec.open_questions.iter().filter(|q| !struck(q.span.start)) {
        let location = statements.location(marker.span.start);
        let place = Position { line: marker.line, location: &location, excerpt: &marker.text };
        findings.push(
            &OPEN_MARKER,
            place,
            format!("the question \"{}\" is open", super::finding::shortened(&marker.text)),
            "answer it under `## Clarifications`, and write the answer in place of the marker",
        );
    }
    bare_markers(spec, statements, findings);
    let names = abbreviates(&spec.source);
    for statement in &statements.all {
        if let Some(word) = placeholder(statement, names) {
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
            wording(statement, &spec.source, findings);
        }
    }
}

/// Adds a finding for each marker without a question, except where a sentence is about markers.
fn bare_markers(spec: &Spec, statements: &Statements<'_>, findings: &mut Findings) {
    let source = &spec.source;
    let known = |at: usize| spec.open_questions.iter().any(|q| q.span.start <= at && at < q.span.end);
    let (mut start, mut fenced, mut commented) = (0, false, false);
    for (number, line) in (1..).zip(source.split_inclusive('\n')) {
        fenced ^= line.trim_start().starts_with("```");
        commented |= line.contains("<!--");
        if !fenced && !commented && !is_checkbox(line) {
            for at in markers(line).map(|at| start + at).filter(|at| !known(*at)) {
                let location = statements.location(at);
                let place = Position { line: number, location: &location, excerpt: BARE_MARKER };
                let remedy = "write the question into the marker, as in `[NEEDS CLARIFICATION: …]`, or replace it by the decision";
                findings.push(&OPEN_MARKER, place, "the marker does not say what is open", remedy);
            }
        }
        commented &= !line.contains("-->");
        start += line.len();
    }
}

fn is_checkbox(line: &str) -> bool {
    let item = line.trim_start().trim_start_matches(['-', '*', '+']).trim_start();
    ["[ ]", "[x]", "[X]"].iter().any(|box_| item.starts_with(box_))
}

/// Returns the offsets of the markers of a line that have no question and stand in place of a decision.
fn markers(line: &str) -> impl Iterator<Item = usize> + '_ {
    line.match_indices("NEEDS CLARIFICATION").filter_map(move |(at, marker)| {
        let before = line[..at].trim_end_matches(['*', '_', ' ']).strip_suffix('[')?;
        let after = line[at + marker.len()..].trim_start_matches(['*', '_', ' ', ':', '?']).strip_prefix(']')?;
        let code = before.matches('`').count() % 2 == 1;
        let next = words(after).into_iter().next().map(|w| w.lower).unwrap_or_default();
        let last = words(before).pop().map(|w| w.lower).unwrap_or_default();
        let about = is_one_of(
            "marker markers tag tags item items placeholder placeholders comment comments label labels",
            &next,
        ) || is_one_of("no zero any all use as mark marked every without each remaining or and excluding except including unresolved", &last);
        (!code && !about).then_some(before.len())
    })
}

/// Returns whether a document introduces `TBD` as the abbreviation of other words, such as Trunk-Based Development.
pub(super) fn abbreviates(source: &str) -> bool {
    /// Length of the text in which the words are.
    const NEAR: usize = 96;
    source.match_indices("(TBD)").any(|(at, _)| {
        let before = &source[source.ceil_char_boundary(at.saturating_sub(NEAR))..at];
        let pieces = before.split(|c: char| !c.is_alphanumeric()).filter(|p| !p.is_empty());
        let initials: String = pieces.filter_map(|p| p.chars().next()).collect();
        initials.to_uppercase().ends_with("TBD")
    })
}

/// Returns the placeholder in a statement: `TBD` unless it is an abbreviation, `TBC`, `???`, and `TODO` and `FIXME` unless they
/// are names.
fn placeholder<'a>(statement: &Statement<'a>, abbreviated: bool) -> Option<&'a str> {
    if matches!(statement.kind, StatementKind::Clarification) {
        return None;
    }
    let text = statement.text;
    let after = |word: &Word<'_>| text[word.end..].trim_start_matches('*').trim_start();
    let found = statement.words.iter().filter(|w| !w.quoted).find(|word| match word.raw {
        "TBD" => !abbreviated,
        "TBC" => true,
        // A label of the product, such as in `the TBA fallback`, is no decision that is missing.
        "TBA" => !after(word).starts_with(char::is_alphabetic),
        // The parser reports `TODO(FIELD)`; in `TODO comments` and `a TODO`, the word is a noun.
        "TODO" | "FIXME" => after(word).starts_with(':') || (word.start == 0 && after(word).is_empty()),
        _ => false,
    });
    let marks = || text.find("???").map(|at| &text[at..at + 3]);
    found.map(|word| word.raw).or_else(marks)
}

/// Adds one finding or hint for each family of vague words in a statement.
fn wording(statement: &Statement<'_>, source: &str, findings: &mut Findings) {
    // Scenarios are examples, so only vague words in the expected result matter, which a test must measure.
    let then = if statement.is(StatementKind::Scenario) {
        statement.words.iter().position(|w| w.lower == "then")
    } else {
        Some(0)
    };
    let Some(words) = then.map(|from| &statement.words[from..]) else { return };
    let hits = vague::find(statement.text, words, || Around::item(statement.with_details(source)));
    for (index, family) in vague::FAMILIES.iter().enumerate() {
        let lists = family.rule == OPEN_LIST;
        let counts = family.rule == VAGUE_PERFORMANCE || family.rule == VAGUE_TIME;
        if (statement.is(StatementKind::Scenario) && !counts) || (lists && !obliges(statement)) {
            continue;
        }
        let mut phrases: Vec<&str> = Vec::new();
        let demanded = hits.iter().any(|h| h.family == index && h.demanded);
        for hit in hits.iter().filter(|h| h.family == index && h.demanded == demanded) {
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
        let (place, summary) = (statement.place(&excerpt), format!("{quoted} {}", family.lacks));
        if demanded {
            findings.push(&family.rule, place, summary, family.remedy);
        } else {
            findings.hint(&family.rule, place, summary, family.remedy);
        }
    }
}

/// Returns whether a statement contains an obligation, which an open list leaves undefined.
fn obliges(statement: &Statement<'_>) -> bool {
    statement.words.iter().any(|w| matches!(w.lower.as_str(), "must" | "shall" | "should"))
}
