//! Pairs of similar sets, without comparing each with each.
//!
//! Two sets with a Jaccard index of at least t share one of their |A| − ⌈t·|A|⌉ + 1 rarest elements (prefix filtering, Chaudhuri et
//! al., 2006): only sets that meet in an index of those are compared.

use std::collections::HashMap;

use super::text::shared;

/// Maximum number of sets for each element of the index. An element that is among the rarest of many sets is not significant, and the
/// limit bounds the work on hostile input.
const MAX_POSTINGS: usize = 32;

/// Two similar sets by their indices, the earlier first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) first: usize,
    pub(super) second: usize,
    /// Number of common elements.
    pub(super) shared: usize,
}

/// The pairs, and the number of comparisons that found them.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub(super) found: Vec<Pair>,
    pub(super) compared: usize,
}

/// Returns all pairs of sets (sorted, without repetition) of at least `least` elements whose Jaccard index is at least `percent` / 100,
/// ordered by second, then first. Each set is compared with at most 32 others for each of its rare elements.
pub(super) fn pairs(sets: &[Vec<u32>], least: usize, percent: usize) -> Pairs {
    let mut frequency: HashMap<u32, u32> = HashMap::new();
    for element in sets.iter().flatten() {
        *frequency.entry(*element).or_default() += 1;
    }
    let mut index: HashMap<u32, Vec<usize>> = HashMap::new();
    let mut pairs = Pairs::default();
    for (second, set) in sets.iter().enumerate() {
        if set.len() < least.max(1) {
            continue;
        }
        let mut rare = set.clone();
        // Prefix filtering needs the same order of elements in all sets, so the element itself breaks ties.
        rare.sort_by_key(|e| (frequency[e], *e));
        rare.truncate(set.len() - (set.len() * percent).div_ceil(100) + 1);
        let mut candidates: Vec<usize> = rare.iter().filter_map(|e| index.get(e)).flatten().copied().collect();
        candidates.sort_unstable();
        candidates.dedup();
        // Sets of very different sizes cannot be similar.
        let fits = |other: &Vec<u32>| other.len().min(set.len()) * 100 >= other.len().max(set.len()) * percent;
        for first in candidates.into_iter().filter(|first| fits(&sets[*first])) {
            pairs.compared += 1;
            let both = shared(&sets[first], set);
            let union = sets[first].len() + set.len() - both;
            if both * 100 >= union * percent {
                pairs.found.push(Pair { first, second, shared: both });
            }
        }
        // After the comparison, so that a set is not compared with itself.
        for element in rare {
            let postings = index.entry(element).or_default();
            if postings.len() < MAX_POSTINGS {
                postings.push(second);
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn comparisons_grow_with_the_number_of_sets_and_not_with_its_square() {
        // 5,000 statements of 12 terms each: four that all share, eight of their own family of ten.
        let sets: Vec<Vec<u32>> =
            (0..5_000_u32).map(|n| (0..4).chain((0..8).map(|k| 10 + (n / 10) * 8 + k)).collect()).collect();
        let pairs = pairs(&sets, 4, 75);
        assert_eq!(pairs.found.len(), 5_000 / 10 * 45);
        assert!(pairs.compared <= 5_000 * 32, "{} comparisons", pairs.compared);
        // The worst case: all are equal.
        let same = vec![(0..12).collect::<Vec<u32>>(); 5_000];
        assert!(super::pairs(&same, 4, 75).compared <= 5_000 * 4 * MAX_POSTINGS);
    }

    proptest! {
        #[test]
        fn finds_what_comparing_each_with_each_finds(
            sets in prop::collection::vec(prop::collection::btree_set(0..40_u32, 0..12), 0..24),
            percent in 50..=100_usize,
        ) {
            let sets: Vec<Vec<u32>> = sets.into_iter().map(|s| s.into_iter().collect()).collect();
            let mut expected = Vec::new();
            for second in 0..sets.len() {
                for first in 0..second {
                    let both = shared(&sets[first], &sets[second]);
                    let long = sets[first].len() >= 3 && sets[second].len() >= 3;
                    if long && both * 100 >= (sets[first].len() + sets[second].len() - both) * percent {
                        expected.push(Pair { first, second, shared: both });
                    }
                }
            }
            prop_assert_eq!(pairs(&sets, 3, percent).found, expected);
        }
    }
}
