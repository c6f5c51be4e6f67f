//! References to identifiers, and the order of priorities.

use std::collections::HashSet;

use super::finding::Position;
use super::findings::Findings;
use super::kinds::{PRIORITY_ORDER, UNKNOWN_REFERENCE};
use super::statements::{Statement, Statements};
use super::text::{Word, is_one_of, words};
use crate::speckit::spec::{Spec, UserStory};
use crate::speckit::{Span, StoryKey};

/// Returns the identifiers among words: `FR-001`, `NFR-2a`, `SC-003`, `US1`, and `User Story 1` as `US1`, each with the index of its word.
pub(super) fn ids<'w>(words: &'w [Word<'_>]) -> impl Iterator<Item = (String, usize)> + 'w {
    words.iter().enumerate().filter_map(move |(at, word)| {
        if is_id(word.raw) {
            return Some((word.raw.to_owned(), at));
        }
        let story = at >= 2 && word.is_number() && words[at - 1].lower == "story" && words[at - 2].lower == "user";
        let spelled = if story { format!("US{}", word.raw) } else { word.raw.to_owned() };
        // Issue trackers number stories like `US015`, specifications do not.
        let key = StoryKey::parse(&spelled).filter(|key| !key.as_str().starts_with("US0"));
        key.map(|key| (key.as_str().to_owned(), at))
    })
}

/// Returns whether a word is an identifier such as `FR-001`, `SC-3` or `FR-DIAG-001`: at least two capitals, then a number after the last
/// hyphen.
fn is_id(raw: &str) -> bool {
    let Some((prefix, number)) = raw.rsplit_once('-') else { return false };
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    let first = prefix.split('-').next().unwrap_or_default();
    matches!(first, "FR" | "NFR" | "SC" | "SR" | "UX" | "PR" | "REQ")
        && prefix.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
        && (1..=6).contains(&digits)
        && number[digits..].len() <= 1
        && number[digits..].bytes().all(|b| b.is_ascii_lowercase())
}

/// Returns the normalised family of an identifier: `FR-7` for `FR-007b`.
pub(super) fn family(id: &str) -> String {
    let start = id
        .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '.'))
        .map_or_else(|| id.find(|c: char| c.is_ascii_digit()).unwrap_or(id.len()), |at| at + 1);
    let (prefix, number) = id.split_at(start);
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    let plain = digits.trim_start_matches('0');
    format!("{prefix}{}", if plain.is_empty() { "0" } else { plain })
}

/// Identifiers that a specification defines.
pub(super) struct Defined {
    families: HashSet<String>,
    prefixes: HashSet<String>,
}

impl Defined {
    pub(super) fn new(spec: &Spec) -> Self {
        let requirements = spec.requirements.iter().chain(&spec.success_criteria).map(|r| r.id.as_str());
        // A single story needs no number, so numbers of stories may belong to another document.
        let stories = spec.stories.iter().map(|s| s.key.as_str()).filter(|_| spec.stories.len() > 1);
        let all: Vec<&str> = requirements.chain(stories).collect();
        let families = all.iter().map(|id| family(id)).collect();
        let prefixes = all.iter().map(|id| prefix(id)).collect();
        Self { families, prefixes }
    }

    /// Returns whether the document defines identifiers with this prefix, but not this one.
    pub(super) fn lacks(&self, id: &str) -> bool {
        self.prefixes.contains(&prefix(id))
            && !self.families.contains(&family(id))
            && id.contains(|c: char| c.is_ascii_digit())
    }
}

fn prefix(id: &str) -> String {
    id.chars().take_while(|c| !c.is_ascii_digit()).collect()
}

pub(super) fn find(spec: &Spec, statements: &Statements<'_>, findings: &mut Findings) {
    let defined = Defined::new(spec);
    let mut reported: HashSet<(&str, String)> = HashSet::new();
    for statement in statements.all.iter().filter(|s| !is_withdrawn(s)) {
        for (id, at) in ids(&statement.words) {
            let unknown = !elsewhere(&statement.words, at) && defined.lacks(&id);
            if unknown && reported.insert((statement.location.as_str(), id.clone())) {
                report(&id, statement.place(&id), findings);
            }
        }
    }
    for story in &spec.stories {
        in_prose(story, spec, &defined, findings);
    }
    priorities(spec, findings);
}

/// Adds findings for unknown identifiers in the prose of a story. Its scenarios are separate statements.
fn in_prose(story: &UserStory, spec: &Spec, defined: &Defined, findings: &mut Findings) {
    let end = story.scenarios.first().map_or(story.span.end, |s| s.span.start.min(story.span.end));
    let prose = Span { start: story.span.start, end }.text(&spec.source);
    let words = words(prose);
    let mut reported: HashSet<String> = HashSet::new();
    for (id, at) in ids(&words).filter(|(id, _)| defined.lacks(id)) {
        if !elsewhere(&words, at) && reported.insert(id.clone()) {
            let place = Position { line: story.line, location: story.key.as_str(), excerpt: &id };
            report(&id, place, findings);
        }
    }
}

fn report(id: &str, place: Position<'_>, findings: &mut Findings) {
    let summary = format!("{} refers to {id}, which the document does not define", place.location);
    findings.push(&UNKNOWN_REFERENCE, place, summary, format!("define {id}, or correct the reference"));
}

/// Returns whether a statement is about something that was removed.
fn is_withdrawn(statement: &Statement<'_>) -> bool {
    let gone = |w: &Word<'_>| is_one_of("removed withdrawn deprecated superseded deleted merged formerly", &w.lower);
    super::text::is_struck(statement.text) || statement.words.iter().any(gone)
}

/// Returns whether the words around an identifier refer to another document.
fn elsewhere(words: &[Word<'_>], at: usize) -> bool {
    const NEAR: usize = 8;
    let numbered =
        |w: &Word<'_>| w.raw.len() >= 3 && w.raw.bytes().take(3).all(|b| b.is_ascii_digit()) && !w.raw.contains('.');
    let other = |w: &Word<'_>| numbered(w) || is_one_of("spec specs specification constitution prd upstream", &w.lower);
    words[at.saturating_sub(NEAR)..(at + NEAR).min(words.len())].iter().any(other)
}

fn priorities(spec: &Spec, findings: &mut Findings) {
    let level =
        |text: &Option<String>| text.as_ref().and_then(|p| p.strip_prefix('P')).and_then(|n| n.parse::<u32>().ok());
    let levels: Vec<_> = spec.stories.iter().filter_map(|s| Some((s, level(&s.priority)?))).collect();
    let Some(pair) = levels.windows(2).find(|pair| pair[1].1 < pair[0].1) else { return };
    let ((before, high), (story, low)) = (pair[0], pair[1]);
    let place = Position { line: story.line, location: story.key.as_str(), excerpt: &story.title };
    let summary = format!("{} (P{low}) comes after {} (P{high})", story.key, before.key);
    findings.push(&PRIORITY_ORDER, place, summary, "order the stories by priority, or change a priority");
}
