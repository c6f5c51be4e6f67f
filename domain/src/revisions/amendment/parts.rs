//! The parts of a constitution that an amendment compares: its principles and its other sections.

use std::collections::{BTreeMap, VecDeque};

use super::prose::{Prose, words};
use crate::revisions::sections::split;
use crate::speckit::constitution::Constitution;

/// A principle or section.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) number: Option<String>,
    pub(super) name: String,
    pub(super) line: u32,
    pub(super) prose: Prose,
    /// Whether the part is about the maintenance of the constitution itself.
    pub(super) governance: bool,
    /// Keys for pairing, the most specific first.
    keys: [String; 2],
}

/// Returns the document with the line of version and dates replaced by spaces. Every amendment changes that line.
fn content(constitution: &Constitution) -> String {
    let mut text = constitution.source.clone();
    for item in [&constitution.version, &constitution.ratified, &constitution.last_amended].into_iter().flatten() {
        let range = item.span.start..item.span.end;
        if text.get(range.clone()).is_some() {
            // Spaces instead of a removal, so that the offsets of the principles stay valid.
            text.replace_range(range.clone(), &" ".repeat(range.len()));
        }
    }
    text
}

/// Returns the principles in order.
pub(super) fn principles(constitution: &Constitution) -> Vec<Part> {
    let text = content(constitution);
    let read = |principle: &crate::speckit::constitution::Principle| {
        // `(NON-NEGOTIABLE)` after a name is not part of the name.
        let plain = principle.name.split(['(', '（']).next().unwrap_or_default();
        Part {
            number: principle.number.clone(),
            name: principle.name.clone(),
            line: principle.line,
            prose: Prose::read(principle.body.text(&text)),
            governance: false,
            keys: [words(&principle.name), words(plain)],
        }
    };
    constitution.principles.iter().map(read).collect()
}

/// Returns all sections that are neither principles nor parts of one, each without those below it.
pub(super) fn others(constitution: &Constitution) -> Vec<Part> {
    const GOVERNANCE: [&str; 5] = ["governance", "governança", "gobernanza", "治理", "ガバナンス"];
    let text = content(constitution);
    let mut principles = constitution.principles.iter().peekable();
    let mut found: Vec<Part> = Vec::new();
    // Index in `found` of the parent section, by index of the section; none for sections of principles.
    let mut places: Vec<Option<usize>> = Vec::new();
    for section in split(&text) {
        // Principles and sections are both in the order of the document, so one pass relates them.
        while principles.next_if(|principle| principle.span.end <= section.start).is_some() {}
        if principles.peek().is_some_and(|principle| principle.span.start <= section.start) {
            places.push(None);
            continue;
        }
        let above = section.parent.and_then(|parent| places[parent]).map(|place| &found[place]);
        let title = section.title.to_lowercase();
        let governance =
            above.is_some_and(|above| above.governance) || GOVERNANCE.iter().any(|word| title.contains(word));
        let body =
            if section.level == 0 { section.text } else { section.text.split_once('\n').map_or("", |(_, body)| body) };
        // The title of the document does not identify a section.
        let key = if section.level < 2 { String::new() } else { words(&section.title) };
        places.push(Some(found.len()));
        found.push(Part {
            number: None,
            name: section.title,
            line: section.line,
            prose: Prose::read(body),
            governance,
            keys: [format!("{} {key}", section.level), key],
        });
    }
    found
}

/// Returns the parts of both constitutions as pairs: in the order of the new one with added parts, then the removed parts.
///
/// Parts with the same name are paired first, then parts with the same text, then parts with the same demands; of several, the first.
pub(super) fn paired<'a>(old: &'a [Part], new: &'a [Part]) -> Vec<(Option<&'a Part>, Option<&'a Part>)> {
    let demands = |part: &Part| {
        let words: Vec<&str> = part.prose.demands.iter().map(|demand| demand.words.as_str()).collect();
        words.join("\n")
    };
    let keys: [&dyn Fn(&Part) -> String; 4] =
        [&|part| part.keys[0].clone(), &|part| part.keys[1].clone(), &|part| part.prose.text(), &demands];
    let mut olds: Vec<Option<&Part>> = old.iter().map(Some).collect();
    let mut found: Vec<(Option<&Part>, Option<&Part>)> = new.iter().map(|part| (None, Some(part))).collect();
    // Each key only pairs parts that the more specific keys before it left unpaired.
    for (rule, key) in keys.iter().enumerate() {
        let mut known: BTreeMap<String, VecDeque<usize>> = BTreeMap::new();
        for (index, part) in olds.iter().enumerate().filter_map(|(index, part)| Some((index, (*part)?))) {
            known.entry(key(part)).or_default().push_back(index);
        }
        for (pair, part) in found.iter_mut().zip(new).filter(|(pair, _)| pair.0.is_none()) {
            let key = key(part);
            // An empty text is equal to any other empty text, so it does not identify a part.
            if rule > 0 && key.is_empty() {
                continue;
            }
            let index = known.get_mut(&key).and_then(VecDeque::pop_front);
            pair.0 = index.and_then(|index| olds[index].take());
        }
    }
    found.extend(olds.into_iter().flatten().map(|part| (Some(part), None)));
    found
}
