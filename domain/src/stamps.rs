//! Who gave each answer of a Specification, and who changed what controls an object, and when: annotations that the webhook writes.
//!
//! They are not fields of the answers. A client that applies its answers again would send the list without them, so that its list would
//! differ from the stored one each time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Hex digits of the digest that names an answer.
const KEY_DIGITS: usize = 32;

/// Author and day of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// The user who answered.
    pub by: String,
    /// The day of the answer in UTC, `YYYY-MM-DD`.
    pub date: String,
}

/// The stamps of all answers of an object, by the digest of question and answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamps(BTreeMap<String, Stamp>);

impl Stamps {
    /// Reads the annotation. One that cannot be read has no stamps.
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

    /// Returns the stamp of an answer.
    pub fn get(&self, question: &str, answer: &str) -> Option<&Stamp> {
        self.0.get(&key(question, answer))
    }

    pub fn insert(&mut self, question: &str, answer: &str, stamp: Stamp) {
        self.0.insert(key(question, answer), stamp);
    }

    /// Returns the stamps of `answers`, pairs of question and answer, after a write by `user`. An answer that was stored before keeps what
    /// `self` has of it, also nothing. A new answer gets `new`.
    #[must_use]
    pub fn after(&self, stored: &[(&str, &str)], answers: &[(&str, &str)], new: &Stamp) -> Self {
        let mut after = Self::default();
        for &(question, answer) in answers {
            let known = self.get(question, answer);
            let is_new = known.is_none() && !stored.contains(&(question, answer));
            if let Some(stamp) = known.or(is_new.then_some(new)) {
                after.insert(question, answer, stamp.clone());
            }
        }
        after
    }

    /// Returns whether these are the stamps in `due`, of which those of new answers may have any date.
    pub fn are(&self, due: &Self, known: &Self) -> bool {
        let same = |key: &String, stamp: &Stamp| {
            self.0
                .get(key)
                .is_some_and(|own| own.by == stamp.by && (own.date == stamp.date || !known.0.contains_key(key)))
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

fn key(question: &str, answer: &str) -> String {
    // A NUL separates them, because no field of an object has one.
    let digest = Digest::of_bytes(format!("{question}\0{answer}").as_bytes());
    digest.as_str().trim_start_matches("sha256:").chars().take(KEY_DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(by: &str, date: &str) -> Stamp {
        Stamp { by: by.into(), date: date.into() }
    }

    #[test]
    fn an_answer_keeps_its_stamp_and_a_new_one_gets_one() {
        let mut old = Stamps::default();
        old.insert("Q-1", "yes", stamp("ann", "2026-01-01"));
        let new = stamp("bob", "2026-02-02");
        let stored = [("Q-1", "yes"), ("Q-2", "unstamped")];
        let after = old.after(&stored, &[("Q-1", "yes"), ("Q-2", "unstamped"), ("Q-3", "new")], &new);
        assert_eq!(after.get("Q-1", "yes"), Some(&stamp("ann", "2026-01-01")));
        assert_eq!(after.get("Q-2", "unstamped"), None, "nobody knows who gave it");
        assert_eq!(after.get("Q-3", "new"), Some(&new));
        assert_eq!(old.after(&stored, &[("Q-1", "no")], &new).get("Q-1", "no"), Some(&new), "it is another answer");
        assert!(old.after(&stored, &[], &new).is_empty());
        assert_eq!(Stamps::parse(Some(&after.format())), after);
        assert!(Stamps::parse(Some("[]")).is_empty() && Stamps::parse(None).is_empty());
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
        old.insert("Q-1", "yes", stamp("ann", "2026-01-01"));
        let answers = [("Q-1", "yes"), ("Q-2", "no")];
        let due = old.after(&answers[..1], &answers, &stamp("bob", ""));
        let with = |one: Stamp, other: Stamp| {
            let mut stamps = Stamps::default();
            stamps.insert("Q-1", "yes", one);
            stamps.insert("Q-2", "no", other);
            stamps
        };
        let anns = || stamp("ann", "2026-01-01");
        assert!(with(anns(), stamp("bob", "2026-02-02")).are(&due, &old), "the webhook sets the date");
        assert!(!with(anns(), stamp("ann", "2026-02-02")).are(&due, &old));
        assert!(!with(stamp("ann", "2025-01-01"), stamp("bob", "2026-02-02")).are(&due, &old));
        assert!(!old.are(&due, &old) && !Stamps::default().are(&due, &old));
    }
}
