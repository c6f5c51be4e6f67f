//! Who gave each answer of a Specification, who accepted each finding, and who changed what controls an object, and when: annotations that
//! the webhook writes.
//!
//! They are not fields of the entries. A client that applies its list again would send it without them, so that its list would differ from
//! the stored one each time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Hex digits of the digest that names an entry.
const KEY_DIGITS: usize = 32;

/// Author and day of an entry of a list: of an answer, or of an accepted finding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// The user who added the entry.
    pub by: String,
    /// The day on which they did in UTC, `YYYY-MM-DD`.
    pub date: String,
}

/// The stamps of all entries of a list, by the digest of the entry's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamps(BTreeMap<String, Stamp>);

impl Stamps {
    /// Reads the annotation of this name. One that cannot be read has no stamps.
    pub fn of(annotations: &BTreeMap<String, String>, name: &str) -> Self {
        Self::parse(annotations.get(name).map(String::as_str))
    }

    /// Reads an annotation. One that cannot be read has no stamps.
    pub fn parse(annotation: Option<&str>) -> Self {
        annotation.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// Returns the annotation.
    pub fn format(&self) -> String {
        // A map of texts can always be written as JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the stamp of an entry, which is the values of its fields.
    pub fn get(&self, entry: &[&str]) -> Option<&Stamp> {
        self.0.get(&key(entry))
    }

    pub fn insert(&mut self, entry: &[&str], stamp: Stamp) {
        self.0.insert(key(entry), stamp);
    }

    /// Returns the stamps of `entries` after a write. An entry that was stored before keeps what `self` has of it, also nothing. Any other
    /// gets `new`, also if `self` has a stamp of it.
    #[must_use]
    pub fn after(&self, stored: &[Vec<&str>], entries: &[Vec<&str>], new: &Stamp) -> Self {
        let mut after = Self::default();
        for entry in entries {
            let stamp = if stored.contains(entry) { self.get(entry) } else { Some(new) };
            if let Some(stamp) = stamp {
                after.insert(entry, stamp.clone());
            }
        }
        after
    }

    /// Returns whether these are the stamps in `due`, of which those without a date may have any date.
    pub fn are(&self, due: &Self) -> bool {
        let same = |key: &String, stamp: &Stamp| {
            let own = self.0.get(key);
            own.is_some_and(|own| own.by == stamp.by && (stamp.date.is_empty() || own.date == stamp.date))
        };
        self.0.len() == due.0.len() && due.0.iter().all(|(key, stamp)| same(key, stamp))
    }
}

/// The last change of one control of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The user who changed it.
    pub by: String,
    /// Time of the change, as RFC 3339.
    pub at: String,
}

/// The last change of each control of an object, by the name of the control. Controls are fields and annotations that are not content, such
/// as `suspend`, `approval` and `rerun`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Changes(BTreeMap<String, Change>);

impl Changes {
    /// Reads the annotation. One that cannot be read has no changes.
    pub fn parse(annotation: Option<&str>) -> Self {
        annotation.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// Returns the annotation.
    pub fn format(&self) -> String {
        // A map of texts can always be written as JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub fn get(&self, control: &str) -> Option<&Change> {
        self.0.get(control)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Change)> {
        self.0.iter().map(|(control, change)| (control.as_str(), change))
    }

    /// Returns the changes after another one of these controls.
    #[must_use]
    pub fn after(mut self, controls: &[&str], change: &Change) -> Self {
        self.0.extend(controls.iter().map(|control| ((*control).to_owned(), change.clone())));
        self
    }

    /// Returns whether these are the changes in `due`, of which those of `controls` may have any time.
    pub fn are(&self, due: &Self, controls: &[&str]) -> bool {
        let same = |(control, change): (&String, &Change)| {
            self.0
                .get(control)
                .is_some_and(|own| own.by == change.by && (own.at == change.at || controls.contains(&control.as_str())))
        };
        self.0.len() == due.0.len() && due.0.iter().all(same)
    }
}

fn key(entry: &[&str]) -> String {
    // As JSON, because a separator could be a part of a field: two entries must not have the same key. Texts can always be written as JSON.
    let digest = Digest::of_bytes(&serde_json::to_vec(entry).unwrap_or_default());
    digest.as_str().trim_start_matches("sha256:").chars().take(KEY_DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(by: &str, date: &str) -> Stamp {
        Stamp { by: by.into(), date: date.into() }
    }

    #[test]
    fn an_entry_keeps_its_stamp_and_a_new_one_gets_one() {
        let mut old = Stamps::default();
        old.insert(&["Q-1", "yes"], stamp("ann", "2026-01-01"));
        old.insert(&["Q-3", "new"], stamp("eve", "2026-01-01"));
        let new = stamp("bob", "2026-02-02");
        let stored = [vec!["Q-1", "yes"], vec!["Q-2", "unstamped"]];
        let entries = [vec!["Q-1", "yes"], vec!["Q-2", "unstamped"], vec!["Q-3", "new"]];
        let after = old.after(&stored, &entries, &new);
        assert_eq!(after.get(&["Q-1", "yes"]), Some(&stamp("ann", "2026-01-01")));
        assert_eq!(after.get(&["Q-2", "unstamped"]), None, "nobody knows who gave it");
        assert_eq!(after.get(&["Q-3", "new"]), Some(&new), "a stamp without an entry is not inherited");
        let changed = old.after(&stored, &[vec!["Q-1", "no"]], &new);
        assert_eq!(changed.get(&["Q-1", "no"]), Some(&new), "it is another answer");
        assert!(old.after(&stored, &[], &new).is_empty());
        assert_eq!(Stamps::parse(Some(&after.format())), after);
        assert!(Stamps::parse(Some("[]")).is_empty() && Stamps::parse(None).is_empty());
    }

    #[test]
    fn entries_with_the_same_text_have_different_keys() {
        assert_ne!(key(&["a\0b", "c"]), key(&["a", "b\0c"]));
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["a", "b", ""]), key(&["a", "b"]));
    }

    #[test]
    fn each_control_keeps_its_last_change() {
        let change = |by: &str, at: &str| Change { by: by.into(), at: at.into() };
        let stored = Changes::default().after(&["suspend", "rerun"], &change("ann", "1"));
        let due = stored.clone().after(&["suspend"], &change("bob", ""));
        let written = stored.clone().after(&["suspend"], &change("bob", "2"));
        assert_eq!(Changes::parse(Some(&written.format())), written);
        assert_eq!(written.get("rerun"), Some(&change("ann", "1")));
        assert_eq!(written.iter().map(|(control, _)| control).collect::<Vec<_>>(), ["rerun", "suspend"]);
        assert!(written.are(&due, &["suspend"]), "the webhook sets the time");
        assert!(!written.are(&due, &[]) && !stored.are(&due, &["suspend"]));
        let forged = written.after(&["rerun"], &change("eve", "1"));
        assert!(!forged.are(&due, &["suspend"]));
        assert_eq!(Changes::parse(Some("[]")), Changes::default());
    }

    #[test]
    fn forged_stamps_differ_from_the_due_ones() {
        let mut old = Stamps::default();
        old.insert(&["Q-1", "yes"], stamp("ann", "2026-01-01"));
        let answers = [vec!["Q-1", "yes"], vec!["Q-2", "no"]];
        let due = old.after(&answers[..1], &answers, &stamp("bob", ""));
        let with = |one: Stamp, other: Stamp| {
            let mut stamps = Stamps::default();
            stamps.insert(&["Q-1", "yes"], one);
            stamps.insert(&["Q-2", "no"], other);
            stamps
        };
        let anns = || stamp("ann", "2026-01-01");
        assert!(with(anns(), stamp("bob", "2026-02-02")).are(&due), "the webhook sets the date");
        assert!(!with(anns(), stamp("ann", "2026-02-02")).are(&due));
        assert!(!with(stamp("ann", "2025-01-01"), stamp("bob", "2026-02-02")).are(&due));
        assert!(!old.are(&due) && !Stamps::default().are(&due));
    }
}
