//! References to identifiers that the document does not define.

use std::collections::HashSet;

use super::finding::Position;
use super::findings::Findings;
use super::identifiers::{Identifier, family, identifiers, leading, prefix};
use super::kinds::UNKNOWN_REFERENCE;
use super::statements::{Statement, StatementKind, Statements};
use super::text::{Word, is_one_of, words};
use crate::speckit::Span;
use crate::speckit::spec::{Spec, UserStory};

/// How a story with a number with leading zeros begins.
const PADDED: &str = "US0";

/// Identifiers that a specification defines.
pub(super) struct Defined {
    families: HashSet<String>,
    prefixes: HashSet<String>,
    /// Whether a story has a number with leading zeros.
    padded: bool,
}

impl Defined {
    pub(super) fn new(spec: &Spec) -> Self {
        let requirements = spec.requirements.iter().chain(&spec.success_criteria).map(|r| r.id.as_str());
        // A single story needs no number, and others may have none, so numbers of stories may belong to another document.
        let numbered = spec.stories.iter().filter(|s| s.numbered && spec.stories.len() > 1);
        let stories = numbered.map(|s| s.key.as_str());
        let all: Vec<&str> = requirements.chain(stories).collect();
        // An identifier at the beginning of a line, cell or heading may be a definition in a form that the parser does not read.
        let begins = spec.source.lines().filter_map(leading).map(family);
        let families = all.iter().map(|id| family(id)).chain(begins).collect();
        let prefixes = all.iter().map(|id| prefix(id)).collect();
        let padded = spec.stories.iter().any(|s| s.key.as_str().starts_with(PADDED));
        Self { families, prefixes, padded }
    }

    /// Returns whether the document defines identifiers with this prefix, but not this one.
    pub(super) fn lacks(&self, id: &str) -> bool {
        let (family, known) = (family(id), self.prefixes.contains(&prefix(id)));
        // `SC-00x` stands for any of them.
        let wildcard = id.ends_with(['x', 'X']) || family.ends_with(|c: char| !c.is_ascii_digit());
        // Beside `User Story 1`, `US-012` is a story of the whole product.
        let product = id.starts_with(PADDED) && !self.padded;
        known && !wildcard && !product && !self.families.contains(&family)
    }
}

/// Returns the number of this feature, with which its branch begins.
pub(super) fn own_number(spec: &Spec) -> Option<&str> {
    let branch = spec.branch.as_ref()?.text.rsplit('/').next()?;
    let digits = branch.bytes().take_while(u8::is_ascii_digit).count();
    (digits >= 3).then(|| &branch[..digits])
}

pub(super) fn find(spec: &Spec, statements: &Statements<'_>, findings: &mut Findings) {
    let (defined, own) = (Defined::new(spec), own_number(spec));
    let mut reported: HashSet<(&str, String)> = HashSet::new();
    // An answer may name what it has removed.
    let written = |s: &&Statement<'_>| !s.is(StatementKind::Clarification) && !is_withdrawn(s);
    for statement in statements.all.iter().filter(written) {
        for id in unknown(statement.text, &statement.words, &defined, own) {
            if reported.insert((statement.location.as_str(), id.clone())) {
                report(&id, statement.place(&id), findings);
            }
        }
    }
    for story in &spec.stories {
        in_prose(story, spec, &defined, findings);
    }
}

/// Returns the identifiers of a text that this document should define, and does not.
pub(super) fn unknown(text: &str, words: &[Word<'_>], defined: &Defined, own: Option<&str>) -> Vec<String> {
    let lacking = |i: &Identifier| !i.foreign && defined.lacks(&i.id) && !elsewhere(words, i.at);
    identifiers(text, own).into_iter().filter(lacking).map(|i| i.id).collect()
}

/// Adds findings for unknown identifiers in the prose of a story. Its scenarios are separate statements.
fn in_prose(story: &UserStory, spec: &Spec, defined: &Defined, findings: &mut Findings) {
    let end = story.scenarios.first().map_or(story.span.end, |s| s.span.start.min(story.span.end));
    let prose = Span { start: story.span.start, end }.text(&spec.source);
    let mut reported: HashSet<String> = HashSet::new();
    for id in unknown(prose, &words(prose), defined, own_number(spec)) {
        if reported.insert(id.clone()) {
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
    const GONE: &str =
        "removed withdrawn deprecated superseded deleted dropped retired replaced renumbered merged folded formerly";
    let gone = |w: &Word<'_>| is_one_of(GONE, &w.lower);
    super::text::is_struck(statement.text) || statement.words.iter().any(gone)
}

/// Returns whether the words around the identifier at this byte refer to another document.
fn elsewhere(words: &[Word<'_>], offset: usize) -> bool {
    const NEAR: usize = 8;
    let at = words.partition_point(|w| w.end <= offset);
    let numbered =
        |w: &Word<'_>| w.raw.len() >= 3 && w.raw.bytes().take(3).all(|b| b.is_ascii_digit()) && !w.raw.contains('.');
    let other = |w: &Word<'_>| {
        numbered(w) || is_one_of("spec specs specification constitution prd upstream existing", &w.lower)
    };
    words[at.saturating_sub(NEAR)..(at + NEAR).min(words.len())].iter().any(other)
}
