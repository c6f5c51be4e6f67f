//! Paths that tasks claim, and whether tasks that can run at the same time claim the same path.

use std::collections::BTreeMap;

use crate::graph::{Graph, NodeId};
use crate::speckit::tasks::Task;

/// The paths that tasks name.
#[derive(Debug, Default)]
pub(super) struct Claims<'a> {
    /// Number of different paths.
    pub(super) paths: usize,
    /// Paths that tasks without an order between them name, sorted.
    pub(super) conflicting: Vec<&'a str>,
}

/// Returns the claims of `tasks`, which have the same indices as the graph.
pub(super) fn claims<'a>(tasks: &[&'a Task], graph: &Graph) -> Claims<'a> {
    let mut by_path: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    // In the order of the graph: a task comes after all tasks that it waits for.
    for &index in graph.order() {
        for path in &tasks[index].paths {
            let claimants = by_path.entry(path.as_str()).or_default();
            if claimants.last() != Some(&index) {
                claimants.push(index);
            }
        }
    }
    let before = Before::of(graph);
    // Tasks that are sorted like this are one chain if each waits for the one before it.
    let is_chain = |claimants: &[usize]| claimants.windows(2).all(|pair| before.waits(pair[1], pair[0]));
    let conflicting = by_path.iter().filter(|(_, claimants)| !is_chain(claimants)).map(|(path, _)| *path).collect();
    Claims { paths: by_path.len(), conflicting }
}

/// For each task, the tasks that it waits for, directly or not, as a row of bits.
struct Before {
    rows: Vec<Vec<u64>>,
}

impl Before {
    fn of(graph: &Graph) -> Self {
        let words = graph.len().div_ceil(64);
        let mut rows = vec![vec![0_u64; words]; graph.len()];
        for &index in graph.order() {
            let mut row = std::mem::take(&mut rows[index]);
            for &dependency in graph.dependencies(NodeId::Task(index)) {
                row[dependency / 64] |= 1 << (dependency % 64);
                for (word, inherited) in row.iter_mut().zip(&rows[dependency]) {
                    *word |= inherited;
                }
            }
            rows[index] = row;
        }
        Self { rows }
    }

    fn waits(&self, task: usize, other: usize) -> bool {
        self.rows[task][other / 64] & (1 << (other % 64)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speckit::{self, TaskId};

    #[test]
    fn tasks_in_order_may_claim_the_same_path() {
        let text = "# Tasks: x\n\n## Phase 1: Setup\n\n- [ ] T001 Write `a.rs`\n- [ ] T002 Extend `a.rs` and `b.rs`\n\
                    - [ ] T003 [P] Read `c.rs`\n- [ ] T004 [P] Change `c.rs` and `b.rs`\n";
        let file = speckit::tasks::parse(text.as_bytes()).model;
        let edges = file.dependencies();
        let graph = Graph::build(file.tasks.iter().map(|t| (t.id.as_str(), edges[&t.id].iter().map(TaskId::as_str))));
        let tasks: Vec<&Task> = file.tasks.iter().collect();
        let claims = claims(&tasks, &graph.unwrap());
        assert_eq!((claims.paths, claims.conflicting), (3, vec!["c.rs"]));
    }
}
