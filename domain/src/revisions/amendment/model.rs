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

/// Kind of the change of a principle, a section or a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ChangeKind {
    /// A principle was removed.
    Removed,
    /// A principle no longer contains all of its demands.
    Redefined,
    /// A principle was added.
    Added,
    /// A principle has all of its demands, and more.
    Extended,
    /// A principle has the same demands under another name.
    Renamed,
    /// A principle has the same demands in other words, or another number.
    Reworded,
    /// The section about governance changed in any way.
    GovernanceChanged,
    /// Another section was removed.
    SectionRemoved,
    /// Another section was added.
    SectionAdded,
    /// Another section changed.
    SectionChanged,
    /// A rule was removed.
    RuleRemoved,
    /// A rule was added.
    RuleAdded,
    /// A rule has another meaning.
    RuleRedefined,
    /// A rule has the same meaning and another message.
    RuleReworded,
}

/// One difference between two constitutions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub kind: ChangeKind,
    /// The step that this difference alone requires.
    pub level: Level,
    /// Name of the principle, title of the section, or name of the rule.
    pub principle: String,
    /// Line in the new document, or in the old one if it was removed; 0 for a rule, which is not in a document.
    pub line: u32,
    /// Explanation of the difference, for a person who decides about it.
    pub explanation: String,
}

/// All differences between two constitutions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Amendment {
    /// The changes: principles, then sections, each in the order of the new document with removed ones at the end, then rules.
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
    /// Names of removed rules: MAJOR.
    pub removed: Vec<String>,
    /// Names of rules with another expression or another severity: MAJOR.
    pub redefined: Vec<String>,
    /// Names of added rules: MINOR.
    pub added: Vec<String>,
    /// Names of rules with another message: PATCH.
    pub reworded: Vec<String>,
}

/// A rule, reduced to the parts that an amendment compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule<'a> {
    pub name: &'a str,
    /// Everything that determines what the rule allows: expression, severity, scope.
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
