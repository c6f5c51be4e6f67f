//! Computes the amendment between two constitutions.

use std::collections::BTreeMap;

use super::model::{Amendment, Change, ChangeKind, Level, RulesChange};
use super::parts::{Part, others, paired, principles};
use super::prose::{Demand, shortened};
use crate::speckit::constitution::Constitution;

/// Compares two constitutions, and adds the changes of their rules, which the caller has found.
///
/// A demand is a sentence with MUST or SHALL, or an item of a list below one that ends in a colon. Demands are compared by their words,
/// without case, punctuation, emphasis and line breaks.
///
/// | difference | principle | governance | other section |
/// | --- | --- | --- | --- |
/// | removed | MAJOR | MAJOR | MAJOR if it demanded something, else MINOR |
/// | a demand is gone or has other words | MAJOR | MAJOR | MAJOR |
/// | demands nothing, and less than half of its words are left | MAJOR | MAJOR | PATCH |
/// | added, or demands more | MINOR | MINOR | MINOR |
/// | other name, same text or demands | MINOR | PATCH | PATCH |
/// | other wording, number or title of the document | PATCH | PATCH | PATCH |
///
/// A demand that moves from one part to another is removed from the first. Comments, the line with version and dates, line breaks,
/// emphasis and the order of parts are not differences. An added or removed heading without text is PATCH. Removed and redefined rules
/// are MAJOR, added rules MINOR, reworded rules PATCH.
pub fn compare(old: &Constitution, new: &Constitution, rules: &RulesChange) -> Amendment {
    let mut changes = Vec::new();
    for (kind, old, new) in
        [(PartKind::Principle, principles(old), principles(new)), (PartKind::Section, others(old), others(new))]
    {
        for pair in paired(&old, &new) {
            match pair {
                (Some(old), Some(new)) => kind.changed(old, new, &mut changes),
                (None, Some(new)) => changes.push(kind.added(new)),
                (Some(old), None) => changes.push(kind.removed(old)),
                (None, None) => {}
            }
        }
    }
    let lists = [
        (&rules.removed, ChangeKind::RuleRemoved, Level::Major, "is removed"),
        (&rules.redefined, ChangeKind::RuleRedefined, Level::Major, "is redefined"),
        (&rules.added, ChangeKind::RuleAdded, Level::Minor, "is new"),
        (&rules.reworded, ChangeKind::RuleReworded, Level::Patch, "has a different message"),
    ];
    for (names, kind, level, what) in lists {
        changes.extend(names.iter().map(|name| {
            let explanation = format!("rule {name:?} {what}");
            Change { kind, level, principle: name.clone(), line: 0, explanation }
        }));
    }
    Amendment { changes }
}

/// Kind of a part of a constitution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartKind {
    Principle,
    Section,
}

impl PartKind {
    fn change(self, part: &Part, kind: ChangeKind, level: Level, what: &str) -> Change {
        let explanation = match (self, part.name.as_str()) {
            (Self::Principle, name) => format!("principle {:?} {what}", shortened(name)),
            (Self::Section, "") => format!("the text before the first heading {what}"),
            (Self::Section, name) => format!("section {:?} {what}", shortened(name)),
        };
        Change { kind, level, principle: part.name.clone(), line: part.line, explanation }
    }

    /// Returns the kind of a change: of a principle, of governance, or of another section.
    fn kind(self, part: &Part, principle: ChangeKind, section: ChangeKind) -> ChangeKind {
        match self {
            Self::Principle => principle,
            Self::Section if part.governance => ChangeKind::GovernanceChanged,
            Self::Section => section,
        }
    }

    fn added(self, new: &Part) -> Change {
        let empty = self == Self::Section && new.prose.is_empty();
        let level = if empty { Level::Patch } else { Level::Minor };
        self.change(new, self.kind(new, ChangeKind::Added, ChangeKind::SectionAdded), level, "is new")
    }

    fn removed(self, old: &Part) -> Change {
        let level = match self {
            Self::Section if old.prose.is_empty() => Level::Patch,
            Self::Section if !old.governance && old.prose.demands.is_empty() => Level::Minor,
            _ => Level::Major,
        };
        self.change(old, self.kind(old, ChangeKind::Removed, ChangeKind::SectionRemoved), level, "is removed")
    }

    fn changed(self, old: &Part, new: &Part, changes: &mut Vec<Change>) {
        let kind = |principle| self.kind(new, principle, ChangeKind::SectionChanged);
        let mut add = |of: ChangeKind, level: Level, what: &str| changes.push(self.change(new, kind(of), level, what));
        if old.name != new.name {
            let level = if self == Self::Principle { Level::Minor } else { Level::Patch };
            add(ChangeKind::Renamed, level, &format!("was called {:?}", shortened(&old.name)));
        }
        // Demands are compared without their order.
        let lost = lacking(&old.prose.demands, &new.prose.demands);
        let gained = lacking(&new.prose.demands, &old.prose.demands);
        let binding = self == Self::Principle || new.governance;
        let silent = old.prose.demands.is_empty();
        if !lost.is_empty() {
            let mut what = format!("is redefined: it no longer requires {}", quoted(&lost));
            if !gained.is_empty() {
                what.push_str(&format!(", and now requires {}", quoted(&gained)));
            }
            add(ChangeKind::Redefined, Level::Major, &what);
        } else if binding && silent && !old.prose.is_mostly_kept_in(&new.prose) {
            // Without demands, only the words show whether the part has another meaning.
            add(ChangeKind::Redefined, Level::Major, "is redefined: less than half of its words are left");
        } else if !gained.is_empty() {
            add(ChangeKind::Extended, Level::Minor, &format!("now also requires {}", quoted(&gained)));
        } else if !old.prose.says_the_same(&new.prose) {
            add(ChangeKind::Reworded, Level::Patch, "is reworded");
        }
        if old.number != new.number {
            let number = |part: &Part| part.number.clone().unwrap_or_else(|| "none".to_owned());
            let what = format!("has the number {} instead of {}", number(new), number(old));
            add(ChangeKind::Reworded, Level::Patch, &what);
        }
    }
}

/// Returns the demands that occur more often in `demands` than in `other`.
fn lacking<'a>(demands: &'a [Demand], other: &[Demand]) -> Vec<&'a Demand> {
    let mut there: BTreeMap<&str, usize> = BTreeMap::new();
    for demand in other {
        *there.entry(&demand.words).or_default() += 1;
    }
    let lacks = |demand: &&Demand| match there.get_mut(demand.words.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    demands.iter().filter(lacks).collect()
}

fn quoted(demands: &[&Demand]) -> String {
    let first = demands.first().map(|demand| format!("\"{}\"", shortened(&demand.text))).unwrap_or_default();
    match demands.len() {
        0 | 1 => first,
        n => format!("{first} and {} more", n - 1),
    }
}
