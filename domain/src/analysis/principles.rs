//! Analysis of a constitution: empty principles, vague words and repetitions.

use std::cell::OnceCell;
use std::collections::HashMap;

use super::finding::Position;
use super::findings::Findings;
use super::kinds::{DUPLICATE_PRINCIPLE, EMPTY_PRINCIPLE, PLACEHOLDER, SIMILAR_STATEMENT};
use super::similar::pairs;
use super::text::{Language, Vocabulary, terms, words};
use super::vague::{self, Around};
use crate::speckit::constitution::{Constitution, Principle};

/// Minimum share of common terms of two demands that are repetitions, in percent.
const SIMILAR_PERCENT: usize = 80;

pub(super) fn find(constitution: &Constitution, findings: &mut Findings) {
    let mut names: HashMap<String, &Principle> = HashMap::new();
    let abbreviated = super::ambiguity::abbreviates(&constitution.source);
    for principle in &constitution.principles {
        let place = Position { line: principle.line, location: &principle.name, excerpt: &principle.name };
        let there = *names.entry(terms(&words(&principle.name)).concat()).or_insert(principle);
        // The parser reports placeholders of the template.
        if !std::ptr::eq(there, principle) && !principle.name.is_empty() && !principle.name.starts_with('[') {
            let summary = format!("a principle on line {} has the same name", there.line);
            findings.push(&DUPLICATE_PRINCIPLE, place, summary, "merge the two, or rename one");
        }
        demands(constitution, principle, abbreviated, findings);
    }
    repetitions(constitution, findings);
}

/// Adds findings for a principle without text, with a placeholder or with vague demands.
fn demands(constitution: &Constitution, principle: &Principle, abbreviated: bool, findings: &mut Findings) {
    let place = Position { line: principle.line, location: &principle.name, excerpt: &principle.name };
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
    let decides = |raw: &str| raw == "TBC" || (raw == "TBD" && !abbreviated);
    if let Some(word) = words.iter().find(|w| !w.quoted && decides(w.raw)) {
        let place = Position { excerpt: word.raw, ..place };
        let summary = format!("{} is used in place of a decision", word.raw);
        findings.push(&PLACEHOLDER, place, summary, "write the decision, or remove the sentence");
    }
    let around = OnceCell::new();
    // The last list of the principle explains the sentences before it, and nothing explains its items.
    let lines = body.split_inclusive('\n').scan(principle.body.start, |next, line| {
        let start = std::mem::replace(next, *next + line.len());
        Some((start, line))
    });
    let last = lines.filter(|(_, line)| vague::is_listed(line)).last().map_or(0, |(start, _)| start);
    for must in &principle.musts {
        let listed = must.span.end <= last && !vague::is_listed(line_at(&constitution.source, must.span.start));
        let section = || around.get_or_init(|| Around::section(body)).with_list(listed);
        sentence(principle, (&must.text, must.line), section, findings);
    }
}

/// Returns the line that contains this byte; of a long line, the part that begins shortly before it.
fn line_at(source: &str, offset: usize) -> &str {
    const NEAR: usize = 256;
    let before = source.get(..offset).unwrap_or_default();
    let from = before.ceil_char_boundary(before.len().saturating_sub(NEAR));
    let start = before[from..].rfind('\n').map_or(from, |at| from + at + 1);
    source.get(start..).unwrap_or_default().lines().next().unwrap_or_default()
}

/// Adds hints for vague words in a MUST sentence: the values of a project may be general.
fn sentence(principle: &Principle, (text, line): (&str, u32), section: impl Fn() -> Around, findings: &mut Findings) {
    let words = words(text);
    let place = Position { line, location: &principle.name, excerpt: text };
    let hits = vague::find(text, &words, section);
    for (index, family) in vague::FAMILIES.iter().enumerate() {
        if let Some(hit) = hits.iter().find(|h| h.family == index) {
            let phrase = &text[words[hit.first].start..words[hit.end - 1].end];
            let place = Position { excerpt: phrase, ..place };
            findings.hint(&family.rule, place, format!("\"{phrase}\" {}", family.lacks), family.remedy);
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
        if own != (0, 0) || earlier.line == must.line {
            continue;
        }
        let place = Position { line: must.line, location: &principle.name, excerpt: &must.text };
        let summary = format!("\"{}\" has the same sentence in other words on line {}", there.name, earlier.line);
        findings.push(&SIMILAR_STATEMENT, place, summary, "keep one of them");
    }
}
