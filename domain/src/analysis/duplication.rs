//! Duplicate, similar and contradicting statements.

use std::collections::{BTreeMap, HashMap};

use super::finding::{Position, shortened};
use super::findings::Findings;
use super::kinds::{
    CONFLICTING_NUMBERS, CONTRADICTION, DUPLICATE_ENTITY, DUPLICATE_STATEMENT, FindingKind, SIMILAR_STATEMENT,
};
use super::similar::{Pair, pairs};
use super::statements::{Statement, StatementKind, Statements, entity_name, is_entity};
use super::text::{Vocabulary, Word, is_one_of, is_struck, name_key};
use super::vague::is_unit;
use crate::speckit::spec::{Entity, Spec};

/// Minimum share of common terms of two statements that are compared, in percent.
const SIMILAR_PERCENT: usize = 100;

/// Minimum number of terms of a statement that is compared; fewer terms are not significant.
const LEAST_TERMS: usize = 4;

pub(super) fn find(spec: &Spec, statements: &Statements<'_>, findings: &mut Findings) {
    for kind in [StatementKind::Requirement, StatementKind::Criterion] {
        among(&statements.of_kind(kind).filter(|s| !is_struck(s.text)).collect::<Vec<_>>(), findings);
    }
    entities(spec, findings);
}

fn among(statements: &[&Statement<'_>], findings: &mut Findings) {
    let mut first: HashMap<String, usize> = HashMap::new();
    let mut vocabulary = Vocabulary::default();
    let mut sets = Vec::with_capacity(statements.len());
    for (index, statement) in statements.iter().enumerate() {
        let same = wording(&statement.words);
        let earlier = (statement.words.len() >= LEAST_TERMS).then(|| *first.entry(same).or_insert(index));
        if let Some(earlier) = earlier.filter(|e| *e != index) {
            let there = statements[earlier];
            report(&DUPLICATE_STATEMENT, there, statement, &format!("repeats {} word for word", name(there)), findings);
        }
        // A repetition is not compared with further statements.
        let compared = statement.english && earlier.is_none_or(|e| e == index);
        sets.push(if compared { vocabulary.set(&statement.words) } else { Vec::new() });
    }
    // If a statement resembles several others, only the first is reported.
    let mut reported = None;
    for pair in pairs(&sets, LEAST_TERMS, SIMILAR_PERCENT).found {
        let (a, b) = (statements[pair.first], statements[pair.second]);
        if reported == Some(pair.second) {
            continue;
        }
        if let Some((rule, summary)) = relation(a, b, pair, &sets) {
            report(rule, a, b, &summary, findings);
            reported = Some(pair.second);
        }
    }
}

/// Returns the relation of two statements with the same terms: a repetition, a contradiction or conflicting numbers. A statement with a
/// further term is about another case, such as `export to PDF` beside `export`.
fn relation(
    a: &Statement<'_>,
    b: &Statement<'_>,
    pair: Pair,
    sets: &[Vec<u32>],
) -> Option<(&'static FindingKind, String)> {
    let own = (sets[pair.first].len() - pair.shared, sets[pair.second].len() - pair.shared);
    // If one has terms of its own, or their conditions differ, they are about different cases.
    if own != (0, 0) || conditions(a) != conditions(b) || names(a) != names(b) || directions(a) != directions(b) {
        return None;
    }
    let (numbers, there) = (quantities(&b.words), quantities(&a.words));
    if negations(&a.words) != negations(&b.words) {
        let opposite = numbers == there && obliges(a) && obliges(b);
        return opposite.then(|| (&CONTRADICTION, format!("contradicts {}", name(a))));
    }
    if numbers == there {
        return Some((&SIMILAR_STATEMENT, format!("repeats {} in other words", name(a))));
    }
    let units = |q: &[(String, String)]| q.iter().map(|(_, unit)| unit.clone()).collect::<Vec<_>>();
    // Numbers without a unit are names, as in `level 1` and `level 2`.
    let comparable = units(&numbers) == units(&there) && units(&numbers).iter().all(|u| is_unit(u));
    comparable.then(|| {
        let show =
            |q: &[(String, String)]| q.iter().map(|(n, unit)| format!("{n} {unit}")).collect::<Vec<_>>().join(", ");
        (&CONFLICTING_NUMBERS, format!("states {} where {} states {}", show(&numbers), name(a), show(&there)))
    })
}

fn report(rule: &FindingKind, a: &Statement<'_>, b: &Statement<'_>, summary: &str, findings: &mut Findings) {
    let remedy = match rule.code {
        "Contradiction" | "ConflictingNumbers" => {
            format!("decide which of {} and {} applies, and change the other", a.location, b.location)
        }
        _ => format!("merge {} and {} into one", a.location, b.location),
    };
    // The finding includes both texts: when either changes, it is another finding.
    let excerpt = format!("{} | {}", shortened(b.text), shortened(a.text));
    findings.push(rule, b.place(&excerpt), format!("{} {summary}", b.location), remedy);
}

fn name(statement: &Statement<'_>) -> String {
    format!("{} (line {})", statement.location, statement.line)
}

fn wording(words: &[Word<'_>]) -> String {
    words.iter().map(|w| w.lower.as_str()).collect::<Vec<_>>().join(" ")
}

fn obliges(statement: &Statement<'_>) -> bool {
    statement.words.iter().any(|w| matches!(w.lower.as_str(), "must" | "shall"))
}

/// Returns the number of negations.
pub(super) fn negations(words: &[Word<'_>]) -> usize {
    words
        .iter()
        .filter(|w| {
            matches!(w.lower.as_str(), "not" | "never" | "cannot" | "no" | "without" | "nor")
                || w.lower.ends_with("n't")
        })
        .count()
}

/// Returns the names in a statement, in order: in `A does not change B` and `B does not change A` the terms are the same.
fn names<'a>(statement: &'a Statement<'_>) -> Vec<&'a str> {
    let capitals =
        |w: &&Word<'_>| w.raw.len() > 1 && !w.raw.contains(char::is_lowercase) && w.raw.contains(char::is_uppercase);
    let named = |w: &&Word<'_>| w.quoted || (capitals(w) && !is_one_of("MUST SHALL SHOULD NOT MAY WILL", w.raw));
    statement.words.iter().filter(named).map(|w| w.raw).collect()
}

/// Returns the words that name one of two opposites, in order: left edge and minimum is another case than right edge and maximum.
fn directions<'a>(statement: &'a Statement<'_>) -> Vec<&'a str> {
    const DIRECTIONS: &str = "left right top bottom minimum maximum min max start end first last up down in out on off source target old new \
        increase decrease enable disable open close before after";
    statement.words.iter().map(|w| w.lower.as_str()).filter(|w| is_one_of(DIRECTIONS, w)).collect()
}

/// Returns the words that begin conditions, in order.
fn conditions<'a>(statement: &'a Statement<'_>) -> Vec<&'a str> {
    let begins = |w: &&Word<'_>| {
        matches!(w.lower.as_str(), "if" | "unless" | "until" | "before" | "after" | "except" | "only" | "or")
    };
    statement.words.iter().filter(begins).map(|w| w.lower.as_str()).collect()
}

/// Returns the numbers with the word after each, in order.
pub(super) fn quantities(words: &[Word<'_>]) -> Vec<(String, String)> {
    let unit_after =
        |at: usize| words.get(at + 1).filter(|w| !w.is_number()).map(|w| w.lower.clone()).unwrap_or_default();
    let numbers = words.iter().enumerate().filter(|(_, w)| w.is_number());
    numbers
        .map(|(at, w)| {
            let digits =
                w.lower.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ','))).unwrap_or(w.lower.len());
            let (number, unit) = w.lower.split_at(digits);
            let unit = if unit.is_empty() { unit_after(at) } else { unit.to_owned() };
            (number.to_owned(), unit)
        })
        .collect()
}

/// Adds a finding for each entity whose name differs from another only in spelling. A remark in brackets is part of the name.
fn entities(spec: &Spec, findings: &mut Findings) {
    let mut named: BTreeMap<String, Vec<&Entity>> = BTreeMap::new();
    for entity in spec.entities.iter().filter(|e| is_entity(&e.name)) {
        named.entry(name_key(&entity.name)).or_default().push(entity);
    }
    for (key, entities) in named {
        // A name that occurs more often is a label below each entity, such as `Statuses`.
        let [there, entity] = entities[..] else { continue };
        if key.is_empty() {
            continue;
        }
        let own = entity_name(&entity.name);
        let location = format!("Key Entities: {}", shortened(own));
        let place = Position { line: entity.line, location: &location, excerpt: own };
        let summary = format!("the entity \"{own}\" is already described on line {}", there.line);
        findings.push(&DUPLICATE_ENTITY, place, summary, "describe it once, under one name");
    }
}

/// Returns a name without case, plural, hyphens and spaces: equal for `UserProfile`, `user-profile` and `User Profiles`.
pub(super) fn spelling(name: &str) -> String {
    name_key(entity_name(name))
}
