//! Terms that are written in several ways: `filename`, `file name`, `file-name`.

use std::collections::BTreeMap;

use super::finding::Position;
use super::findings::Findings;
use super::kinds::TERM_DRIFT;
use super::statements::{Statement, StatementKind, Statements};
use super::text::{Word, adjacent, is_one_of, is_stop};

/// Second words of phrasal verbs, which are two words as verbs and one as nouns: `log in`, `login`.
const PARTICLES: &str = "in on up out off down back over away around through by to of for together ahead time";

/// First words that make function words: `every one`, `any time`.
const FUNCTION: &str = "any every some no what when where who how here there may over under";

/// One spelling of a term, with its frequency and first position.
#[derive(Debug, Clone, Copy)]
struct Spelling<'s> {
    count: u32,
    text: &'s str,
    statement: usize,
}

#[derive(Debug, Default)]
struct Spellings<'s> {
    closed: Option<Spelling<'s>>,
    hyphen: Option<Spelling<'s>>,
    /// With a hyphen where no further noun follows, as in `the end-user can`.
    hyphen_noun: bool,
    open: Option<Spelling<'s>>,
    /// Apart where no further noun follows.
    open_noun: bool,
}

pub(super) fn find(statements: &Statements<'_>, findings: &mut Findings) {
    let mut terms: BTreeMap<String, Spellings<'_>> = BTreeMap::new();
    let english =
        || statements.all.iter().enumerate().filter(|(_, s)| s.english && !s.is(StatementKind::Clarification));
    for (index, statement) in english() {
        for (at, word) in statement.words.iter().enumerate().filter(|(_, w)| is_prose(statement.text, w)) {
            if let Some((left, right)) = word.lower.split_once('-') {
                if is_part(left) && is_part(right) {
                    let entry = terms.entry(format!("{left}{}", singular(right))).or_default();
                    entry.hyphen_noun |= is_noun(statement, at, at + 1);
                    count(&mut entry.hyphen, word.raw, index);
                }
                continue;
            }
            if word.lower.len() >= 6 && word.lower.bytes().all(|b| b.is_ascii_lowercase()) {
                count(&mut terms.entry(singular(&word.lower).to_owned()).or_default().closed, word.raw, index);
            }
            let Some(next) = statement.words.get(at + 1).filter(|n| is_prose(statement.text, n)) else { continue };
            let apart = is_part(&word.lower) && is_part(&next.lower) && !is_stop(&word.lower) && !is_stop(&next.lower);
            if apart && adjacent(statement.text, word, next) {
                let entry = terms.entry(format!("{}{}", word.lower, singular(&next.lower))).or_default();
                entry.open_noun |= is_noun(statement, at, at + 2);
                count(&mut entry.open, &statement.text[word.start..next.end], index);
            }
        }
    }
    for spellings in terms.values() {
        report(spellings, statements, findings);
    }
}

fn count<'s>(spelling: &mut Option<Spelling<'s>>, text: &'s str, statement: usize) {
    spelling.get_or_insert(Spelling { count: 0, text, statement }).count += 1;
}

/// Returns whether a word is prose: not code, not a name, not a part of a path.
fn is_prose(text: &str, word: &Word<'_>) -> bool {
    let inner = word.raw.chars().skip(1).any(char::is_uppercase);
    let before = text[..word.start].chars().next_back();
    let after = text[word.end..].chars().next();
    let path = |c: Option<char>| {
        c.is_some_and(|c| matches!(c, '/' | '\\' | '@' | '#' | '<' | '>' | '=' | '_' | '.' | '-' | '$'))
    };
    let sentence_end = after == Some('.') && text[word.end + 1..].chars().next().is_none_or(char::is_whitespace);
    !word.quoted && !inner && !path(before) && (sentence_end || !path(after))
}

fn is_part(word: &str) -> bool {
    word.len() >= 3 && word.bytes().all(|b| b.is_ascii_lowercase()) && !is_one_of(FUNCTION, word)
}

fn singular(word: &str) -> &str {
    word.strip_suffix('s').filter(|w| w.len() > 3 && !w.ends_with('s')).unwrap_or(word)
}

/// Returns whether the words from `first` up to `end` are a noun: after an article, and not before another noun.
fn is_noun(statement: &Statement<'_>, first: usize, end: usize) -> bool {
    let words = &statement.words;
    let article = first > 0
        && matches!(words[first - 1].lower.as_str(), "a" | "an" | "the" | "each" | "every" | "this" | "its" | "their");
    let alone =
        words.get(end).is_none_or(|next| !adjacent(statement.text, &words[end - 1], next) || is_stop(&next.lower));
    article && alone
}

fn report(spellings: &Spellings<'_>, statements: &Statements<'_>, findings: &mut Findings) {
    let particle = |s: &Spelling<'_>| {
        let second = s.text.rsplit([' ', '-']).next().unwrap_or_default();
        is_one_of(PARTICLES, &second.to_lowercase())
    };
    // A hyphen before a noun is grammar (`end-user support`, `support for the end user`), unless the term is also written as one word.
    let apart = spellings
        .open
        .filter(|o| !particle(o) && (spellings.closed.is_some() || (spellings.hyphen_noun && spellings.open_noun)));
    let hyphen = spellings
        .hyphen
        .filter(|h| (spellings.closed.is_some() && !particle(h)) || (apart.is_some() && spellings.hyphen_noun));
    let mut forms: Vec<Spelling<'_>> = [spellings.closed, hyphen, apart].into_iter().flatten().collect();
    if forms.len() < 2 {
        return;
    }
    forms.sort_by_key(|f| std::cmp::Reverse(f.count));
    let (common, rare) = (forms[0], forms[forms.len() - 1]);
    let listed: Vec<String> = forms.iter().map(|f| format!("\"{}\" ({}×)", f.text.to_lowercase(), f.count)).collect();
    let statement = &statements.all[rare.statement];
    let excerpt = forms.iter().map(|f| f.text.to_lowercase()).collect::<Vec<_>>().join(", ");
    let place = Position { line: statement.line, location: &statement.location, excerpt: &excerpt };
    let summary = format!("one term is written {}", listed.join(" and "));
    findings.push(&TERM_DRIFT, place, summary, format!("write \"{}\" everywhere", common.text.to_lowercase()));
}
