//! Deletions and the webhook's notes about them, which wait for each other.

use std::collections::{BTreeMap, HashMap, HashSet};

use enact_domain::deletion::Deletion;
use enact_domain::time::Millis;

use crate::deleted::Deleted;

/// Seconds that a deletion waits for its note.
const WAIT_SECONDS: u32 = 5;
/// Seconds that a note waits for the deletion of an object: something else may have refused it.
const STAY_SECONDS: u32 = 60;
/// Most objects of which notes are kept, most of one tenant, and most notes of an object. Those of more are dropped.
const MAX_OBJECTS: usize = 16_384;
const MAX_OBJECTS_OF_TENANT: usize = 4096;
const MAX_NOTES_OF_OBJECT: usize = 8;

/// How the caches show an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is being deleted.
    Leaving,
    Stays,
}

/// Deletions and notes that wait for each other, by the UID of the object.
///
/// A note says who asked, and no more: only a watch or the record show that an object is deleted, and what it was.
#[derive(Debug, Default)]
pub struct Pending {
    deleted: HashMap<String, Waiting<Deleted>>,
    notes: HashMap<String, Notes>,
    /// Names of notes that are not kept.
    excess: Vec<String>,
}

#[derive(Debug)]
struct Waiting<T> {
    value: T,
    until: Millis,
}

/// The notes about one object.
#[derive(Debug, Default)]
struct Notes {
    all: Vec<Waiting<Deletion>>,
    /// Whether the record was asked for the object.
    sought: bool,
}

/// An object, or notes, about which everything is known that will be.
#[derive(Debug)]
pub struct Ready {
    /// UID of the object.
    pub uid: String,
    /// The object; none if no deletion follows its notes.
    pub deleted: Option<Deleted>,
    /// The note of who deleted it; none if nobody knows.
    pub note: Option<Deletion>,
}

impl Pending {
    pub fn is_empty(&self) -> bool {
        self.deleted.is_empty() && self.notes.is_empty() && self.excess.is_empty()
    }

    /// Adds an object that a watch, or the record, shows to be deleted.
    pub fn add(&mut self, object: Deleted, now: Millis) {
        let until = now.plus_seconds(WAIT_SECONDS);
        self.deleted.entry(object.subject.uid.clone()).or_insert(Waiting { value: object, until });
    }

    /// Adds a note of the webhook.
    pub fn add_note(&mut self, note: Deletion, now: Millis) {
        if !self.notes.contains_key(&note.uid) && self.is_full(&note.tenant) {
            self.excess.push(note.name());
            return;
        }
        let notes = self.notes.entry(note.uid.clone()).or_default();
        if notes.all.iter().any(|known| known.value.by == note.by) {
            return;
        }
        if notes.all.len() >= MAX_NOTES_OF_OBJECT {
            self.excess.push(note.name());
            return;
        }
        // It may name another tenant.
        notes.sought = false;
        notes.all.push(Waiting { value: note, until: now.plus_seconds(STAY_SECONDS) });
    }

    /// Returns whether the notes of no further object of a tenant are kept. Finalizers can keep objects, and with them their notes, as long as
    /// people like: the notes of one tenant must not take the place of others.
    fn is_full(&self, tenant: &str) -> bool {
        let is_own = |notes: &&Notes| notes.all.first().is_some_and(|note| note.value.tenant == tenant);
        self.notes.len() >= MAX_OBJECTS
            || (self.notes.len() >= MAX_OBJECTS_OF_TENANT
                && self.notes.values().filter(is_own).count() >= MAX_OBJECTS_OF_TENANT)
    }

    /// Returns the UIDs of the objects that have notes, and that nothing shows to be deleted.
    pub fn unmatched(&self) -> HashSet<&str> {
        self.notes.keys().map(String::as_str).filter(|uid| !self.deleted.contains_key(*uid)).collect()
    }

    /// Returns the UIDs of unmatched objects that are not among the `present` ones and of which the record was not asked yet, by the tenants
    /// that the notes name.
    pub fn unknown(&self, present: &HashMap<String, Presence>) -> BTreeMap<String, Vec<String>> {
        let mut unknown: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for uid in self.unmatched().into_iter().filter(|uid| !present.contains_key(*uid)) {
            let Some(notes) = self.notes.get(uid).filter(|notes| !notes.sought) else { continue };
            let tenants: HashSet<&str> = notes.all.iter().map(|note| note.value.tenant.as_str()).collect();
            for tenant in tenants {
                unknown.entry(tenant.to_owned()).or_default().push(uid.to_owned());
            }
        }
        unknown
    }

    /// Notes that the record was asked for an object.
    pub fn sought(&mut self, uid: &str) {
        if let Some(notes) = self.notes.get_mut(uid) {
            notes.sought = true;
        }
    }

    /// Returns the objects and notes about which everything is known that will be. `present` has the unmatched objects of the caches.
    pub fn ready(&self, now: Millis, present: &HashMap<String, Presence>) -> Vec<Ready> {
        let deleted = self.deleted.iter().filter_map(|(uid, Waiting { value, until })| {
            let note = self.author_of(uid, value.since);
            let is_ready = note.is_some() || now >= *until;
            is_ready.then(|| Ready { uid: uid.clone(), deleted: Some(value.clone()), note: note.cloned() })
        });
        let dropped = self.notes.iter().filter(|(uid, _)| !self.deleted.contains_key(*uid)).filter(|(uid, notes)| {
            present.get(*uid) != Some(&Presence::Leaving) && notes.all.iter().all(|note| now >= note.until)
        });
        deleted.chain(dropped.map(|(uid, _)| Ready { uid: uid.clone(), deleted: None, note: None })).collect()
    }

    /// Returns the note of who deleted an object: the last one before `since`, as a later request had no effect.
    fn author_of(&self, uid: &str, since: Option<Millis>) -> Option<&Deletion> {
        let all = self.notes.get(uid)?.all.iter().map(|note| &note.value);
        // `since` has no parts of a second.
        let is_in_time = |note: &&Deletion| since.is_none_or(|since| note.at < since.plus_seconds(1));
        let in_time = all.clone().filter(is_in_time).max_by_key(|note| note.at);
        in_time.or_else(|| all.min_by_key(|note| note.at))
    }

    /// Removes everything about an object, and returns the names of its notes.
    pub fn remove(&mut self, uid: &str) -> Vec<String> {
        self.deleted.remove(uid);
        self.notes.remove(uid).into_iter().flat_map(|notes| notes.all).map(|note| note.value.name()).collect()
    }

    /// Returns the names of the notes that were not kept, and forgets them.
    pub fn take_excess(&mut self) -> Vec<String> {
        std::mem::take(&mut self.excess)
    }
}

#[cfg(test)]
mod tests;
