//! Analysis of a constitution: principles without obligations, and repetitions.

use std::collections::HashMap;

use super::duplication::spelling;
use super::finding::Position;
use super::findings::Findings;
use super::kinds::{
    DUPLICATE_PRINCIPLE, EMPTY_PRINCIPLE, MUST_WITHOUT_SUBJECT, PLACEHOLDER, SIMILAR_STATEMENT, VAGUE_PRINCIPLE,
};
use super::similar::pairs;
use super::text::{Language, Vocabulary, Word, is_one_of, words};
use super::vague;
use crate::speckit::constitution::{Constitution, Principle};

/// Minimum share of common terms of two demands that are repetitions, in percent.
const SIMILAR_PERCENT: usize = 80;

pub(super) fn find(constitution: &Constitution, findings: &mut Findings) {
    let mut names: HashMap<String, &Principle> = HashMap::new();
    for principle in &constitution.principles {
        let place = Position { line: principle.line, location: &principle.name, excerpt: &principle.name };
        let there = *names.entry(spelling(&principle.name)).or_insert(principle);
        // The parser reports placeholders of the template.
        if !std::ptr::eq(there, principle) && !principle.name.is_empty() && !principle.name.starts_with('[') {
            let summary = format!("a principle on line {} has the same name", there.line);
            findings.push(&DUPLICATE_PRINCIPLE, place, summary, "merge the two, or rename one");
        }
        demands(constitution, principle, place, findings);
    }
    repetitions(constitution, findings);
}

/// Adds findings for a principle without text, without an obligation or with a placeholder.
fn demands(constitution: &Constitution, principle: &Principle, place: Position<'_>, findings: &mut Findings) {
    let body = principle.body.text(&constitution.source);
    let words = words(body);
    if words.is_empty() {
        let remedy = "write below it what MUST and what SHOULD be done, and why";
        findings.push(&EMPTY_PRINCIPLE, place, "the principle has no text", remedy);
        return;
    }
    if !Language::new(&words).is_english() {
        return;
    }
    if principle.musts.is_empty() && !words.iter().any(|w| obliges(w)) {
        let remedy = "write at least one sentence with MUST or SHOULD that a reviewer can check";
        findings.push(&VAGUE_PRINCIPLE, place, "the principle has neither MUST nor SHOULD", remedy);
    }
    if let Some(word) = words.iter().find(|w| !w.quoted && matches!(w.raw, "TBD" | "TBC" | "FIXME")) {
        let place = Position { excerpt: word.raw, ..place };
        let summary = format!("{} is used in place of a decision", word.raw);
        findings.push(&PLACEHOLDER, place, summary, "write the decision, or remove the sentence");
    }
    for must in &principle.musts {
        sentence(principle, &must.text, must.line, findings);
    }
}

fn obliges(word: &Word<'_>) -> bool {
    is_one_of(
        "must shall should required never always forbidden prohibited mandatory cannot may only non-negotiable",
        &word.lower,
    )
}

/// Adds findings for a MUST sentence without a subject or with vague words.
fn sentence(principle: &Principle, text: &str, line: u32, findings: &mut Findings) {
    let words = words(text);
    let place = Position { line, location: &principle.name, excerpt: text };
    if words.first().is_some_and(|w| matches!(w.raw, "MUST" | "SHALL")) {
        findings.push(
            &MUST_WITHOUT_SUBJECT,
            place,
            "the sentence does not say who or what must",
            "start the sentence with who or what must",
        );
    }
    let hits = vague::find(text, &words);
    for (index, family) in vague::FAMILIES.iter().enumerate().filter(|(_, f)| f.rule != super::kinds::EXAMPLE_LIST) {
        if let Some(hit) = hits.iter().find(|h| h.family == index) {
            let phrase = &text[words[hit.first].start..words[hit.end - 1].end];
            let place = Position { excerpt: phrase, ..place };
            findings.push(&family.rule, place, format!("\"{phrase}\" {}", family.lacks), family.remedy);
        }
    }
}

/// Adds a finding for each MUST sentence that repeats one of another principle.
fn repetitions(constitution: &Constitution, findings: &mut Findings) {
    let musts: Vec<_> = constitution.principles.iter().flat_map(|p| p.musts.iter().map(move |m| (p, m))).collect();
    let mut vocabulary = Vocabulary::default();
    let sets: Vec<Vec<u32>> = musts.iter().map(|(_, must)| vocabulary.set(&words(&must.text))).collect();
    for pair in pairs(&sets, 4, SIMILAR_PERCENT).found {
        let own = (sets[pair.first].len() - pair.shared, sets[pair.second].len() - pair.shared);
        let ((there, earlier), (principle, must)) = (musts[pair.first], musts[pair.second]);
        // A sentence below nested headings belongs to each of them.
        if own.0.min(own.1) > 0 || earlier.line == must.line {
            continue;
        }
        let place = Position { line: must.line, location: &principle.name, excerpt: &must.text };
        let summary = format!("\"{}\" has nearly the same sentence on line {}", there.name, earlier.line);
        findings.push(&SIMILAR_STATEMENT, place, summary, "keep one of them");
    }
}
