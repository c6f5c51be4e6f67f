//! Pairs the sections of two documents.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::split::Section;

/// Maximum number of comparisons of sections without a namesake below one heading; if more were needed, none is made.
const MAX_COMPARISONS: usize = 4096;

/// Returns for each section of `new` the section of `old` that it came from, if any. Each old section is returned at most once.
///
/// From the top down, children of paired sections are paired by level and title, in order. Then children that share at least half of
/// their words are paired, so that a section with a changed title is still the same section. Last, sections with identical texts are
/// paired at any position.
pub(super) fn pair(old: &[Section<'_>], new: &[Section<'_>]) -> Vec<Option<usize>> {
    let mut pairing = Pairing {
        old,
        new,
        old_children: children(old),
        new_children: children(new),
        taken: vec![false; old.len()],
        pairs: vec![None; new.len()],
    };
    pairing.below(old.len(), new.len());
    // Sections that moved to another parent are still unpaired; identical texts identify them.
    let mut same: BTreeMap<&str, VecDeque<usize>> = BTreeMap::new();
    for (index, section) in old.iter().enumerate().filter(|(index, _)| !pairing.taken[*index]) {
        same.entry(section.text.trim_end()).or_default().push_back(index);
    }
    for (index, section) in new.iter().enumerate() {
        let candidates = same.get_mut(section.text.trim_end()).filter(|_| pairing.pairs[index].is_none());
        let Some(candidates) = candidates else { continue };
        while let Some(candidate) = candidates.pop_front() {
            // `below` can have paired it with a subsection in the meantime.
            if !pairing.taken[candidate] {
                pairing.take(candidate, index);
                pairing.below(candidate, index);
                break;
            }
        }
    }
    pairing.pairs
}

/// Returns the children of each section, and as the last entry the sections without a parent.
fn children(sections: &[Section<'_>]) -> Vec<Vec<usize>> {
    let mut found = vec![Vec::new(); sections.len() + 1];
    for (index, section) in sections.iter().enumerate() {
        found[section.parent.unwrap_or(sections.len())].push(index);
    }
    found
}

struct Pairing<'a> {
    old: &'a [Section<'a>],
    new: &'a [Section<'a>],
    old_children: Vec<Vec<usize>>,
    new_children: Vec<Vec<usize>>,
    taken: Vec<bool>,
    pairs: Vec<Option<usize>>,
}

impl Pairing<'_> {
    fn take(&mut self, old: usize, new: usize) {
        self.taken[old] = true;
        self.pairs[new] = Some(old);
    }

    /// Pairs the sections below two paired sections, recursively.
    fn below(&mut self, old: usize, new: usize) {
        let mut open = vec![(old, new)];
        while let Some((old, new)) = open.pop() {
            let mut olds = self.old_children[old].clone();
            let mut news = self.new_children[new].clone();
            // Namesakes first, so that only the other sections are compared by their words.
            for rule in [Self::namesakes, Self::alike] {
                olds.retain(|o| !self.taken[*o]);
                news.retain(|n| self.pairs[*n].is_none());
                for (o, n) in rule(self, &olds, &news) {
                    self.take(o, n);
                    open.push((o, n));
                }
            }
        }
    }

    fn namesakes(&self, olds: &[usize], news: &[usize]) -> Vec<(usize, usize)> {
        let mut named: BTreeMap<(u8, &str), VecDeque<usize>> = BTreeMap::new();
        for &o in olds {
            named.entry((self.old[o].level, &self.old[o].title)).or_default().push_back(o);
        }
        let find =
            |&n: &usize| Some((named.get_mut(&(self.new[n].level, self.new[n].title.as_str()))?.pop_front()?, n));
        news.iter().filter_map(find).collect()
    }

    /// Returns the pairs of sections without a namesake that share most of their words. A single title of level 1 in each document is a
    /// pair, whatever its words.
    fn alike(&self, olds: &[usize], news: &[usize]) -> Vec<(usize, usize)> {
        if olds.len().saturating_mul(news.len()) > MAX_COMPARISONS {
            return Vec::new();
        }
        if let ([o], [n]) = (olds, news)
            && (self.old[*o].level, self.new[*n].level) == (1, 1)
        {
            return vec![(*o, *n)];
        }
        let words = |section: &Section<'_>, below: &[usize], all: &[Section<'_>]| {
            let titles = below.iter().flat_map(|child| all[*child].title.split_whitespace());
            let mut words: Vec<u64> = section.text.split_whitespace().chain(titles).map(hash).collect();
            words.sort_unstable();
            words
        };
        let mut bags: BTreeMap<usize, Vec<u64>> =
            olds.iter().map(|o| (*o, words(&self.old[*o], &self.old_children[*o], self.old))).collect();
        let mut found = Vec::new();
        for &n in news {
            let bag = words(&self.new[n], &self.new_children[n], self.new);
            let level = |(o, _): &(&usize, &Vec<u64>)| self.old[**o].level == self.new[n].level;
            let scored = bags.iter().filter(level).filter_map(|(o, words)| Some((shared(words, &bag)?, *o)));
            // Of equal scores, the first wins.
            let best = scored.reduce(|best, next| if next.0 > best.0 { next } else { best });
            if let Some((_, o)) = best {
                found.push((o, n));
                bags.remove(&o);
            }
        }
        found
    }
}

fn hash(word: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    word.hash(&mut hasher);
    hasher.finish()
}

/// Returns the share of common words of two sorted bags in thousandths, if it is at least half.
fn shared(one: &[u64], other: &[u64]) -> Option<usize> {
    let (mut i, mut j, mut common) = (0, 0, 0_usize);
    while let (Some(a), Some(b)) = (one.get(i), other.get(j)) {
        common += usize::from(a == b);
        i += usize::from(a <= b);
        j += usize::from(b <= a);
    }
    let score = 2_000 * common / (one.len() + other.len()).max(1);
    (score >= 500).then_some(score)
}

/// Returns for each element whether it keeps its position if as few elements as possible move: it belongs to a longest ascending
/// subsequence.
pub(super) fn ascending(sequence: &[usize]) -> Vec<bool> {
    let mut tails: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(sequence.len());
    for (index, value) in sequence.iter().enumerate() {
        let at = tails.partition_point(|tail| sequence[*tail] < *value);
        before.push(at.checked_sub(1).map(|at| tails[at]));
        if at == tails.len() {
            tails.push(index);
        } else {
            tails[at] = index;
        }
    }
    let mut stays = vec![false; sequence.len()];
    let mut next = tails.last().copied();
    while let Some(index) = next {
        stays[index] = true;
        next = before[index];
    }
    stays
}
