//! Pauses of a plan between the phases of its tasks.

use super::node::TaskPhase;
use crate::graph::{Graph, NodeId};

/// The phases of a plan, in the order of their first tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    names: Vec<String>,
    /// Index of the phase of each task.
    of_task: Vec<usize>,
}

impl Phases {
    /// Returns the phases of tasks, from the name of each task's phase. A task without one belongs to the phase of the task before it.
    pub fn of<'a>(tasks: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let mut phases = Self::default();
        for name in tasks {
            let known = match name {
                None => phases.of_task.last().copied(),
                Some(name) => phases.names.iter().position(|known| known == name),
            };
            let index = known.unwrap_or(phases.names.len());
            if index == phases.names.len() {
                phases.names.push(name.unwrap_or_default().to_owned());
            }
            phases.of_task.push(index);
        }
        phases
    }

    /// Returns the number of phases.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// Returns which tasks wait for a person, who has resumed the plan after the phase number `resumed`, counted from 1; 0 for never.
    pub fn held(&self, graph: &Graph, resumed: usize) -> Vec<bool> {
        let mut held: Vec<bool> = self.of_task.iter().map(|phase| *phase > resumed).collect();
        // A task that one of an earlier phase depends on does not wait, or the plan would never reach the end of that phase. A node comes
        // after its dependencies, so that one visit in the reverse order is enough.
        let order: Vec<NodeId> = graph.nodes().collect();
        for node in order.into_iter().rev() {
            if node.task().is_some_and(|task| !held[task]) {
                for &dependency in graph.dependencies(node) {
                    held[dependency] = false;
                }
            }
        }
        held
    }

    /// Returns number and name of the phase after which the plan waits: all tasks up to it have succeeded, and others are held.
    pub fn paused_after(&self, tasks: &[TaskPhase], resumed: usize) -> Option<(usize, &str)> {
        let open = self.of_task.iter().zip(tasks).filter(|(_, task)| **task != TaskPhase::Succeeded);
        let done = open.map(|(phase, _)| *phase).min()?;
        (done > resumed).then(|| (done, self.names[done - 1].as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phases(names: &[&str]) -> Phases {
        Phases::of(names.iter().map(|name| (!name.is_empty()).then_some(*name)))
    }

    #[test]
    fn a_plan_pauses_after_each_phase() {
        let graph =
            Graph::build([("a", vec![]), ("b", vec!["a"]), ("c", vec!["b"]), ("d", vec!["c"])]).expect("a chain");
        let phases = phases(&["Setup", "", "Core", "Polish"]);
        assert_eq!(phases.count(), 3);
        assert_eq!(phases.held(&graph, 0), [false, false, true, true]);
        assert_eq!(phases.held(&graph, 1), [false, false, false, true]);
        assert_eq!(phases.held(&graph, 9), [false; 4]);

        let (done, open) = (TaskPhase::Succeeded, TaskPhase::Pending);
        assert_eq!(phases.paused_after(&[done, open, open, open], 0), None, "the first phase is not complete");
        assert_eq!(phases.paused_after(&[done, done, open, open], 0), Some((1, "Setup")));
        assert_eq!(phases.paused_after(&[done, done, open, open], 1), None, "it was resumed");
        assert_eq!(phases.paused_after(&[done, done, done, open], 1), Some((2, "Core")));
        assert_eq!(phases.paused_after(&[done; 4], 2), None, "nothing is left");
    }

    #[test]
    fn dependencies_in_later_phases_do_not_wait() {
        let graph = Graph::build([("a", vec!["b"]), ("b", vec!["c"]), ("c", vec![]), ("d", vec![])]).expect("a chain");
        let phases = phases(&["One", "Two", "Three", "Two"]);
        assert_eq!(phases.held(&graph, 0), [false, false, false, true]);
    }
}
