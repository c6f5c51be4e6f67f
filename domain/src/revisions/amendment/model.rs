//! The changes that make up an amendment, and the version steps that they need.

use std::collections::BTreeMap;

use serde::Serialize;

/// The step that a version must take, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, strum::Display)]
#[strum(serialize_all = "UPPERCASE")]
pub enum Level {
    /// Nothing relevant has changed: the version may stay.
    #[default]
    #[strum(serialize = "none")]
    None,
    /// The wording changed, and the demands did not: `1.2.3` becomes `1.2.4`.
    Patch,
    /// Demands were added: `1.2.3` becomes `1.3.0`.
    Minor,
    /// A demand was removed or changed: `1.2.3` becomes `2.0.0`.
    Major,
}

/// What happened to a principle, a section or a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ChangeKind {
    /// A principle is gone.
    Removed,
    /// A principle no longer demands what it did.
    Redefined,
    /// A principle is new.
    Added,
    /// A principle demands what it did, and more.
    Extended,
    /// A principle demands what it did under another name.
    Renamed,
    /// A principle says the same in other words, or has another number.
    Reworded,
    /// The section about governance differs, in whatever way.
    GovernanceChanged,
    /// Another section is gone.
    SectionRemoved,
    /// Another section is new.
    SectionAdded,
    /// Another section differs.
    SectionChanged,
    /// A rule is gone.
    RuleRemoved,
    /// A rule is new.
    RuleAdded,
    /// A rule means something else.
    RuleRedefined,
    /// A rule means the same and is said otherwise.
    RuleReworded,
}

/// One difference between two constitutions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub kind: ChangeKind,
    /// The step that this difference alone asks for.
    pub level: Level,
    /// Name of the principle, title of the section, or name of the rule.
    pub principle: String,
    /// Line in the new document, in the old one for what was removed; 0 for a rule, which is not in a document.
    pub line: u32,
    /// What differs, for a person who decides about it.
    pub explanation: String,
}

/// All differences between two constitutions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Amendment {
    /// What changed: principles, then sections, each in the order of the new document with what was removed at the end, then rules.
    pub changes: Vec<Change>,
}

impl Amendment {
    /// Returns the step that the version must take: the highest of the changes.
    pub fn level(&self) -> Level {
        self.changes.iter().map(|change| change.level).max().unwrap_or_default()
    }
}

/// The changes of the rules of a constitution, by name; see [`RulesChange::between`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RulesChange {
    /// No longer there: MAJOR.
    pub removed: Vec<String>,
    /// With another expression or another severity: MAJOR.
    pub redefined: Vec<String>,
    /// New: MINOR.
    pub added: Vec<String>,
    /// With another message: PATCH.
    pub reworded: Vec<String>,
}

/// A rule, as far as an amendment asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule<'a> {
    /// What it is known by.
    pub name: &'a str,
    /// All that decides what it allows: expression, severity, what it is about.
    pub meaning: &'a str,
    /// Message for people.
    pub wording: &'a str,
}

impl RulesChange {
    /// Compares two lists of rules by their names.
    pub fn between(old: &[Rule<'_>], new: &[Rule<'_>]) -> Self {
        let by_name = |rules: &[Rule<'_>]| -> BTreeMap<String, (String, String)> {
            let entry = |rule: &Rule<'_>| (rule.name.to_owned(), (rule.meaning.to_owned(), rule.wording.to_owned()));
            rules.iter().map(entry).collect()
        };
        let (old, new) = (by_name(old), by_name(new));
        let mut change =
            Self { removed: old.keys().filter(|name| !new.contains_key(*name)).cloned().collect(), ..Self::default() };
        for (name, (meaning, wording)) in new {
            match old.get(&name) {
                None => change.added.push(name),
                Some((before, _)) if *before != meaning => change.redefined.push(name),
                Some((_, before)) if *before != wording => change.reworded.push(name),
                Some(_) => {}
            }
        }
        change
    }
}
