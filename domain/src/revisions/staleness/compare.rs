//! Computes the items that differ between two specifications.

use std::collections::{BTreeMap, VecDeque};

use super::items::{Entry, Reader};
use super::model::{Changes, ItemChange, ItemKind};
use crate::speckit::spec::Spec;

/// Compares two revisions of a specification item by item.
///
/// An item is unchanged if its identifier and its text are the same; emphasis, line breaks, list markers and its section do not matter.
/// An item with the same text under another identifier was renumbered. An item with the same identifier and another text has changed.
/// Lists, tables and code below an item belong to it. The title, independent test and prose of a story are compared, but neither its
/// priority nor the reasons for it. A clarification is identified by its question. If several items have the same identifier, only the
/// first is compared.
///
/// Text without an identifier (edge cases, assumptions, prose outside of stories) is not compared here, but by
/// [`crate::revisions::sections::diff`].
pub fn compare(old: &Spec, new: &Spec) -> Changes {
    let (before, after) = (Reader::new(old), Reader::new(new));
    let (old_stories, new_stories) = (before.stories(), after.stories());
    let stories = Pairs::of(&old_stories, &new_stories);
    // Scenarios are compared only within a story that both revisions have; other stories are added or removed as a whole.
    let mut scenarios = Vec::new();
    for (n, o) in stories.pairs.iter().enumerate() {
        if let Some(o) = o {
            let (old, new) = (before.scenarios(&old.stories[*o]), after.scenarios(&new.stories[n]));
            scenarios.extend(Pairs::of(&old, &new).changes(&old, &new));
        }
    }
    scenarios.sort_by_key(|change: &ItemChange| change.kind == ItemKind::Removed);
    let list = |old: Vec<Entry>, new: Vec<Entry>| Pairs::of(&old, &new).changes(&old, &new);
    Changes {
        requirements: list(before.requirements(), after.requirements()),
        stories: stories.changes(&old_stories, &new_stories),
        scenarios,
        criteria: list(before.criteria(), after.criteria()),
        entities: list(before.entities(), after.entities()),
        clarifications: list(before.clarifications(), after.clarifications()),
    }
}

/// Function that returns the key by which two items are paired.
type Key = fn(&Entry) -> Option<(&str, &str)>;

/// The old item of each new one.
struct Pairs {
    pairs: Vec<Option<usize>>,
    gone: Vec<usize>,
}

impl Pairs {
    /// Pairs items with the same identifier and text, then items with the same text, then items with the same identifier.
    fn of(old: &[Entry], new: &[Entry]) -> Self {
        // The order of the keys matters: an unchanged item must be paired before its text or identifier can pair it with another one.
        let keys: [Key; 3] = [
            |entry| Some((&entry.id, &entry.text)),
            // An empty text does not identify an item.
            |entry| Some(("", entry.text.as_str())).filter(|_| !entry.text.is_empty()),
            |entry| Some((&entry.id, "")),
        ];
        let mut pairs: Vec<Option<usize>> = vec![None; new.len()];
        let mut gone: Vec<usize> = (0..old.len()).collect();
        for key in keys {
            let mut known: BTreeMap<(&str, &str), VecDeque<usize>> = BTreeMap::new();
            for index in &gone {
                if let Some(key) = key(&old[*index]) {
                    known.entry(key).or_default().push_back(*index);
                }
            }
            // Marks the paired items, so that a later key does not pair them again.
            let mut taken = vec![false; old.len()];
            for (pair, entry) in pairs.iter_mut().zip(new).filter(|(pair, _)| pair.is_none()) {
                *pair = key(entry).and_then(|key| known.get_mut(&key)?.pop_front());
                if let Some(index) = pair {
                    taken[*index] = true;
                }
            }
            gone.retain(|index| !taken[*index]);
        }
        Self { pairs, gone }
    }

    fn changes(&self, old: &[Entry], new: &[Entry]) -> Vec<ItemChange> {
        let mut found = Vec::new();
        for (entry, pair) in new.iter().zip(&self.pairs) {
            let kind = match pair.map(|index| &old[index]) {
                None => ItemKind::Added,
                Some(before) if before.id != entry.id => ItemKind::Renamed { from: before.id.clone() },
                Some(before) if before.text != entry.text => ItemKind::Changed,
                Some(_) => continue,
            };
            found.push(ItemChange { id: entry.id.clone(), kind, line: entry.line });
        }
        found.extend(self.gone.iter().map(|index| &old[*index]).map(|entry| ItemChange {
            id: entry.id.clone(),
            kind: ItemKind::Removed,
            line: entry.line,
        }));
        found
    }
}
