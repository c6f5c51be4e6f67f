//! Circles: who is to look again when an object changes, though nothing of theirs names it.
//!
//! A specification that overlaps with others, or that is bound by a constitution, changes what is to be said about those. What an object
//! last told is kept here, so that they are woken when that is another, and when the object is gone.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use enact_domain::digest::Digest;

/// An object's namespace and name.
pub type Place = (String, String);

/// Objects of one kind, and whom each of them concerns.
#[derive(Debug, Default)]
pub struct Circle {
    known: Mutex<HashMap<Place, Told>>,
}

#[derive(Debug)]
struct Told {
    others: BTreeSet<Place>,
    text: Digest,
}

impl Circle {
    /// Those whom an object concerned when it was last told of.
    pub fn of(&self, object: &Place) -> BTreeSet<Place> {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(object)
            .map(|t| t.others.clone())
            .unwrap_or_default()
    }

    /// Notes whom an object concerns, and what of it; those to wake: nobody when nothing changed.
    pub fn tell(&self, object: &Place, others: BTreeSet<Place>, text: &str) -> BTreeSet<Place> {
        let text = Digest::of_bytes(text.as_bytes());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(object).is_some_and(|told| told.text == text && told.others == others) {
            return BTreeSet::new();
        }
        let before = known.insert(object.clone(), Told { others: others.clone(), text });
        before.map(|told| told.others).into_iter().flatten().chain(others).collect()
    }

    /// Forgets an object that is gone; those to wake.
    pub fn gone(&self, object: &Place) -> BTreeSet<Place> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(object).map(|told| told.others).unwrap_or_default()
    }
}

/// The circles of all kinds.
#[derive(Debug, Default)]
pub struct Circles {
    /// From Specifications to those that they overlap with.
    pub overlaps: Circle,
    /// From Specifications to the Constitutions that bind them.
    pub bound: Circle,
    /// From Plans to the Constitutions that bind them.
    pub plans: Circle,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_or_were_concerned_are_woken_when_something_changed() {
        let circle = Circle::default();
        let place = |name: &str| ("ns".to_owned(), name.to_owned());
        let set = |names: &[&str]| names.iter().map(|n| place(n)).collect::<BTreeSet<_>>();
        assert_eq!(circle.tell(&place("a"), set(&["b"]), "1"), set(&["b"]));
        assert_eq!(circle.tell(&place("a"), set(&["b"]), "1"), set(&[]));
        assert_eq!(circle.tell(&place("a"), set(&["b"]), "2"), set(&["b"]));
        assert_eq!(circle.tell(&place("a"), set(&["c"]), "2"), set(&["b", "c"]));
        assert_eq!(circle.gone(&place("a")), set(&["c"]));
        assert_eq!(circle.gone(&place("a")), set(&[]));
    }
}
