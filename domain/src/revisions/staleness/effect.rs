//! The effect of a newer revision of a specification on a plan.

use std::collections::BTreeSet;

use super::model::{Changes, PlannedTask, Staleness};
use super::{compare, stale};
use crate::graph::{Graph, NodeId};
use crate::speckit::spec::Spec;

/// Effect of a newer revision of a specification on a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effect {
    /// The items that differ; none if the older revision is unknown.
    pub changes: Option<Changes>,
    /// Why tasks are stale, and what no task serves.
    pub staleness: Staleness,
    /// Indices of the stale tasks.
    pub tasks: BTreeSet<usize>,
    /// The stale tasks and everything that depends on them: a redo repeats these nodes.
    pub redone: BTreeSet<NodeId>,
}

impl Effect {
    /// Returns the effect on the tasks of a plan, which have the indices of `graph`.
    pub fn between(old: &Spec, new: &Spec, tasks: &[PlannedTask<'_>], graph: &Graph) -> Self {
        let changes = compare(old, new);
        let staleness = stale(old, new, &changes, tasks);
        let ids: BTreeSet<&str> = staleness.tasks.iter().map(|task| task.id.as_str()).collect();
        let tasks: BTreeSet<usize> =
            tasks.iter().enumerate().filter(|(_, task)| ids.contains(task.id)).map(|(index, _)| index).collect();
        Self { changes: Some(changes), redone: dependents(&tasks, graph), tasks, staleness }
    }

    /// Returns the effect if the older revision is unknown: a person decides about all tasks.
    pub fn of_unknown(graph: &Graph) -> Self {
        let tasks: BTreeSet<usize> = (0..graph.len()).collect();
        Self { redone: dependents(&tasks, graph), tasks, ..Self::default() }
    }

    /// Returns whether a person has to decide or to know about the revision.
    pub fn matters(&self) -> bool {
        !self.tasks.is_empty() || !self.staleness.uncovered.is_empty()
    }
}

/// Returns tasks with everything that depends on them. The integration depends on every task.
fn dependents(tasks: &BTreeSet<usize>, graph: &Graph) -> BTreeSet<NodeId> {
    let mut all = tasks.clone();
    // In topological order, so that one pass reaches indirect dependents too.
    for &index in graph.order() {
        if graph.dependencies(NodeId::Task(index)).iter().any(|dependency| all.contains(dependency)) {
            all.insert(index);
        }
    }
    let integration = (!all.is_empty()).then_some(NodeId::Integration);
    all.into_iter().map(NodeId::Task).chain(integration).collect()
}
