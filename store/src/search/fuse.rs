//! Merging two rankings.

use std::collections::BTreeMap;

use serde::Serialize;

/// An item: its subject's UID and its place in the document.
pub(super) type Key = (String, i32);

/// How little the first ranks stand out. The usual constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009).
const SMOOTHING: f64 = 60.0;

/// By which way an item was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Matched {
    /// By its words.
    FullText,
    /// By its meaning.
    Vector,
    /// By both.
    Both,
}

/// An item with its score.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ranked {
    pub(super) key: Key,
    pub(super) score: f64,
    pub(super) matched: Matched,
}

/// Both rankings in one, best first: an item counts 1 / (60 + rank) for each ranking that it is in.
pub(super) fn fuse(by_words: &[Key], by_meaning: &[Key], limit: usize) -> Vec<Ranked> {
    let mut scores: BTreeMap<&Key, (f64, Matched)> = BTreeMap::new();
    for (ranking, way) in [(by_words, Matched::FullText), (by_meaning, Matched::Vector)] {
        let mut rank = SMOOTHING;
        for key in ranking {
            rank += 1.0;
            let (score, matched) = scores.entry(key).or_insert((0.0, way));
            *score += 1.0 / rank;
            if *matched != way {
                *matched = Matched::Both;
            }
        }
    }
    let mut ranked: Vec<Ranked> =
        scores.into_iter().map(|(key, (score, matched))| Ranked { key: key.clone(), score, matched }).collect();
    // The sort is stable: equals stay in the order of their keys.
    ranked.sort_by(|one, other| other.score.total_cmp(&one.score));
    ranked.truncate(limit);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &str) -> Vec<Key> {
        names.chars().map(|name| (name.to_string(), 1)).collect()
    }

    fn told(by_words: &str, by_meaning: &str, limit: usize) -> Vec<(String, Matched)> {
        let ranked = fuse(&keys(by_words), &keys(by_meaning), limit);
        ranked.into_iter().map(|ranked| (ranked.key.0, ranked.matched)).collect()
    }

    #[test]
    fn what_both_find_comes_first() {
        use Matched::{Both, FullText, Vector};
        let expected = [("c", Both), ("a", FullText), ("x", Vector), ("b", FullText)];
        assert_eq!(told("abc", "xc", 10), expected.map(|(name, matched)| (name.to_owned(), matched)));
        assert_eq!(told("abc", "xc", 2), expected[..2].iter().map(|(n, m)| ((*n).to_owned(), *m)).collect::<Vec<_>>());
    }

    #[test]
    fn one_ranking_keeps_its_order() {
        let names = |told: Vec<(String, Matched)>| told.into_iter().map(|(name, _)| name).collect::<String>();
        assert_eq!(names(told("zyx", "", 10)), "zyx");
        assert_eq!(names(told("", "zyx", 10)), "zyx");
        assert_eq!(told("", "", 10), []);
    }
}
