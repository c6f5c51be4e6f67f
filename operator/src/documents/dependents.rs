//! Dependents: the objects to reconcile again when an object changes, although they do not refer to it.
//!
//! A specification that overlaps with others, or that a constitution governs, changes the status of those. This
//! module keeps the content that each object last published: its dependents are requeued only when that changes, and when the object is
//! deleted.

use std::collections::{BTreeSet, HashMap};

use enact_domain::digest::Digest;
use parking_lot::Mutex;

use crate::metadata_cache::ObjectKey;

/// The dependents of each object of one kind.
#[derive(Debug, Default)]
pub struct DependencyMap {
    known: Mutex<HashMap<ObjectKey, Published>>,
}

/// The content that an object last published, and its dependents at that time.
#[derive(Debug)]
struct Published {
    dependents: BTreeSet<ObjectKey>,
    content: Digest,
}

impl DependencyMap {
    /// Returns the dependents of an object.
    pub fn of(&self, object: &ObjectKey) -> BTreeSet<ObjectKey> {
        self.known.lock().get(object).map(|p| p.dependents.clone()).unwrap_or_default()
    }

    /// Replaces the dependents of an object and its published content, and returns the objects to requeue: none when nothing changed, else
    /// both the previous and the new dependents.
    pub fn update(&self, object: &ObjectKey, dependents: BTreeSet<ObjectKey>, content: &str) -> BTreeSet<ObjectKey> {
        let content = Digest::of_bytes(content.as_bytes());
        let mut known = self.known.lock();
        if known.get(object).is_some_and(|old| old.content == content && old.dependents == dependents) {
            return BTreeSet::new();
        }
        // The previous dependents too: their statuses still show this object.
        let before = known.insert(object.clone(), Published { dependents: dependents.clone(), content });
        before.map(|old| old.dependents).into_iter().flatten().chain(dependents).collect()
    }

    /// Removes a deleted object, and returns the objects to requeue.
    pub fn remove(&self, object: &ObjectKey) -> BTreeSet<ObjectKey> {
        self.known.lock().remove(object).map(|old| old.dependents).unwrap_or_default()
    }
}

/// The dependents of all kinds.
#[derive(Debug, Default)]
pub struct Dependents {
    /// From each Specification to those that it overlaps with.
    pub overlaps: DependencyMap,
    /// From each Specification to the Constitutions that govern it.
    pub specification_constitutions: DependencyMap,
    /// From each Plan to the Constitutions that govern it.
    pub plan_constitutions: DependencyMap,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requeues_old_and_new_dependents_after_a_change() {
        let map = DependencyMap::default();
        let key = |name: &str| ("ns".to_owned(), name.to_owned());
        let set = |names: &[&str]| names.iter().map(|n| key(n)).collect::<BTreeSet<_>>();
        assert_eq!(map.update(&key("a"), set(&["b"]), "1"), set(&["b"]));
        assert_eq!(map.update(&key("a"), set(&["b"]), "1"), set(&[]));
        assert_eq!(map.update(&key("a"), set(&["b"]), "2"), set(&["b"]));
        assert_eq!(map.update(&key("a"), set(&["c"]), "2"), set(&["b", "c"]));
        assert_eq!(map.remove(&key("a")), set(&["c"]));
        assert_eq!(map.remove(&key("a")), set(&[]));
    }
}
