//! Merging of two rankings.

use std::collections::BTreeMap;

use serde::Serialize;

/// Key of an item: UID of its subject and its ordinal in the document.
pub(super) type Key = (String, i32);

/// The usual constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009). A larger one gives first ranks less weight.
const SMOOTHING: f64 = 60.0;

/// The ranking that contains an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Matched {
    FullText,
    Vector,
    Both,
}

/// An item with its score.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ranked {
    pub(super) key: Key,
    pub(super) score: f64,
    pub(super) matched: Matched,
}

/// Merges both rankings, best first. The score of an item is the sum of 1 / (60 + rank) over the rankings that contain it.
pub(super) fn fuse(by_words: &[Key], by_meaning: &[Key], limit: usize) -> Vec<Ranked> {
    let mut scores: BTreeMap<&Key, (f64, Matched)> = BTreeMap::new();
    for (ranking, source) in [(by_words, Matched::FullText), (by_meaning, Matched::Vector)] {
        let mut rank = SMOOTHING;
        for key in ranking {
            rank += 1.0;
            let (score, matched) = scores.entry(key).or_insert((0.0, source));
            *score += 1.0 / rank;
            if *matched != source {
                *matched = Matched::Both;
            }
        }
    }
    let mut ranked: Vec<Ranked> =
        scores.into_iter().map(|(key, (score, matched))| Ranked { key: key.clone(), score, matched }).collect();
    // The sort is stable, so items with equal scores stay in the order of their keys.
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

    fn merged(by_words: &str, by_meaning: &str, limit: usize) -> Vec<(String, Matched)> {
        let ranked = fuse(&keys(by_words), &keys(by_meaning), limit);
        ranked.into_iter().map(|ranked| (ranked.key.0, ranked.matched)).collect()
    }

    #[test]
    fn items_of_both_rankings_come_first() {
        use Matched::{Both, FullText, Vector};
        let expected = [("c", Both), ("a", FullText), ("x", Vector), ("b", FullText)];
        assert_eq!(merged("abc", "xc", 10), expected.map(|(name, matched)| (name.to_owned(), matched)));
        assert_eq!(
            merged("abc", "xc", 2),
            expected[..2].iter().map(|(n, m)| ((*n).to_owned(), *m)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_single_ranking_keeps_its_order() {
        let names = |merged: Vec<(String, Matched)>| merged.into_iter().map(|(name, _)| name).collect::<String>();
        assert_eq!(names(merged("zyx", "", 10)), "zyx");
        assert_eq!(names(merged("", "zyx", 10)), "zyx");
        assert_eq!(merged("", "", 10), []);
    }
}
