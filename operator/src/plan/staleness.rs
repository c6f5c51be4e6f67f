//! Staleness: the effect of a newer revision of the specification on a plan that was started for an older one.

use std::collections::BTreeSet;

use enact_crds::compile::task_text;
use enact_crds::plan::Stale;
use enact_crds::task::Phase;
use enact_domain::graph::NodeId;
use enact_domain::revisions::staleness::{Changes, ItemChange, ItemKind, PlannedTask, compare, stale};

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
        let tasks = &content.compiled.tasks;
        let digest = after.digest.to_string();
        let Some(before) = before else {
            // Without the older revision the difference is unknown: a person decides about all tasks.
            let changes = vec!["the record does not hold the revision that the plan was started for".to_owned()];
            let all: BTreeSet<usize> = (0..tasks.len()).collect();
            return Self { digest, changes, redone: dependents(&all, content), tasks: all, uncovered: vec![] };
        };
        let (old, new) = (&before.parsed.model, &after.parsed.model);
        let changes = compare(old, new);
        let texts: Vec<String> = tasks.iter().map(|t| format!("{}\n{}", t.title, task_text(t))).collect();
        let work: Vec<PlannedTask> = tasks
            .iter()
            .zip(&texts)
            .map(|(t, text)| PlannedTask { id: &t.id, story: t.story.as_deref(), text, requirements: &t.requirements })
            .collect();
        let found = stale(old, new, &changes, &work);
        let ids: BTreeSet<&str> = found.tasks.iter().map(|t| t.id.as_str()).collect();
        let tasks: BTreeSet<usize> =
            tasks.iter().enumerate().filter(|(_, t)| ids.contains(t.id.as_str())).map(|(i, _)| i).collect();
        Self {
            digest,
            changes: describe(&changes),
            redone: dependents(&tasks, content),
            tasks,
            uncovered: found.uncovered.iter().map(|c| cut(&c.id)).collect(),
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

/// Returns tasks with everything that depends on them. The integration depends on every task.
fn dependents(tasks: &BTreeSet<usize>, content: &Content) -> BTreeSet<NodeId> {
    let graph = &content.compiled.graph;
    let mut all = tasks.clone();
    // In topological order, so that one pass reaches indirect dependents too.
    for &i in graph.order() {
        if graph.dependencies(NodeId::Task(i)).iter().any(|d| all.contains(d)) {
            all.insert(i);
        }
    }
    let integration = (!all.is_empty()).then_some(NodeId::Integration);
    all.into_iter().map(NodeId::Task).chain(integration).collect()
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
