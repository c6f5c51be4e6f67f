//! Staleness: the effect of a newer revision of the specification on a plan that was started for an older one.

use std::collections::BTreeSet;

use enact_crds::compile::effect;
use enact_crds::plan::Stale;
use enact_crds::task::Phase;
use enact_domain::graph::NodeId;
use enact_domain::revisions::staleness::{Changes, Effect, ItemChange, ItemKind};

use super::observed::{Choice, Content, Observed};
use crate::documents::findings::{cut, len};
use crate::documents::texts::SpecificationText;

/// Most entries of each list in a status.
const MAX_SHOWN: usize = 50;

/// The effect of a newer revision on a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Staleness {
    /// Digest of the newer revision.
    pub digest: String,
    /// The differences, for a person.
    pub changes: Vec<String>,
    /// Indices of the stale tasks.
    pub tasks: BTreeSet<usize>,
    /// The stale tasks and everything that depends on them: a `redo` repeats these nodes.
    pub redone: BTreeSet<NodeId>,
    /// Requirements and stories that no task serves.
    pub uncovered: Vec<String>,
}

impl Staleness {
    /// Compares the revision that a plan was started for with a newer one. `before` is none if the record does not hold it.
    pub fn between(before: Option<&SpecificationText>, after: &SpecificationText, content: &Content) -> Self {
        let old = before.map(|text| &text.parsed.model);
        let Effect { changes, staleness, tasks, redone } = effect(old, &after.parsed.model, &content.compiled);
        // Without the older revision the difference is unknown.
        let unknown = || vec!["the record does not hold the revision that the plan was started for".to_owned()];
        Self {
            digest: after.digest.to_string(),
            changes: changes.as_ref().map_or_else(unknown, describe),
            tasks,
            redone,
            uncovered: staleness.uncovered.iter().map(|c| cut(&c.id)).collect(),
        }
    }

    /// Returns whether a person has to decide or to know about the revision.
    pub fn matters(&self) -> bool {
        !self.tasks.is_empty() || !self.uncovered.is_empty()
    }

    /// Returns the `stale` field of the plan's status.
    pub fn status(&self, observed: &Observed, content: &Content) -> Stale {
        let succeeded = |i: &usize| {
            let task = observed.children.tasks.get(&content.compiled.names[*i]);
            task.is_some_and(|t| t.phase == Phase::Succeeded)
        };
        // The list shows the finished work that a redo repeats: a task that has not succeeded has nothing to repeat.
        let redo = self.redone.iter().filter_map(|node| node.task()).filter(succeeded);
        Stale {
            specification_digest: self.digest.clone(),
            changes: self.changes.iter().take(MAX_SHOWN).cloned().collect(),
            tasks: len(self.tasks.len()),
            redo: redo.take(MAX_SHOWN).map(|i| content.compiled.tasks[i].id.clone()).collect(),
            uncovered: self.uncovered.iter().take(MAX_SHOWN).cloned().collect(),
        }
    }

    /// Returns whether a node waits for a person's choice. The integration waits too: stale work must not be published.
    pub fn holds(&self, choice: Choice, node: NodeId) -> bool {
        choice == Choice::None && node.task().map_or(!self.tasks.is_empty(), |i| self.tasks.contains(&i))
    }

    /// Returns whether a node is to be redone. `redone_for` is the revision that it was last redone for.
    pub fn requests_redo(&self, choice: Choice, node: NodeId, redone_for: Option<&str>) -> bool {
        choice == Choice::Redo && self.redone.contains(&node) && redone_for != Some(self.digest.as_str())
    }
}

fn describe(changes: &Changes) -> Vec<String> {
    let Changes { requirements, stories, scenarios, criteria, entities, clarifications } = changes;
    let all = [requirements, stories, scenarios, criteria, entities, clarifications].into_iter().flatten();
    let one = |change: &ItemChange| {
        let id = cut(&change.id);
        match &change.kind {
            ItemKind::Added => format!("{id} Added"),
            ItemKind::Removed => format!("{id} Removed"),
            ItemKind::Changed => format!("{id} Changed"),
            ItemKind::Renamed { from } => format!("{id} Renamed from {}", cut(from)),
        }
    };
    all.map(one).collect()
}

#[cfg(test)]
mod tests;
