//! The directed acyclic graph of a plan's tasks.
//!
//! Tasks are known by their index; names live with the caller. Edges are stored both ways, so that what a finished task releases is found
//! in the number of its dependents.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// A checked graph: no cycle, no unknown reference, no duplicate id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    dependencies: Vec<Vec<u32>>,
    dependents: Vec<Vec<u32>>,
    order: Vec<u32>,
    remaining: Vec<u32>,
}

/// Why a list of tasks is not a graph that can be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two tasks share an id.
    #[error("task {id} is declared twice (tasks[{first}] and tasks[{second}]); give each task its own id")]
    Duplicate {
        /// The id that is used twice.
        id: String,
        /// Index of the first use.
        first: usize,
        /// Index of the second use.
        second: usize,
    },
    /// A dependency names no task of the plan.
    #[error("task {task} depends on {dependency}, which is no task of this plan; correct the id or add the task")]
    Unknown {
        /// The task with the dependency.
        task: String,
        /// The id that was not found.
        dependency: String,
    },
    /// Tasks wait for each other.
    #[error("tasks wait for each other: {}; remove one of these dependencies", Path(cycle))]
    Cycle {
        /// The ids along the cycle, in the direction "waits for"; the first is not repeated at the end.
        cycle: Vec<String>,
    },
}

struct Path<'a>(&'a [String]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for id in self.0 {
            write!(f, "{id} → ")?;
        }
        f.write_str(self.0.first().map_or("", String::as_str))
    }
}

impl Graph {
    /// Checks and builds the graph of `(id, ids that it depends on)`, in O(tasks + edges).
    ///
    /// # Errors
    /// All that is wrong: duplicates and unknown references together; a cycle only when there are none of these.
    pub fn build<'a, D>(tasks: impl IntoIterator<Item = (&'a str, D)>) -> Result<Self, Vec<GraphError>>
    where
        D: IntoIterator<Item = &'a str>,
    {
        let tasks: Vec<(&str, D)> = tasks.into_iter().collect();
        let mut errors = Vec::new();
        let mut index = HashMap::with_capacity(tasks.len());
        for (i, (id, _)) in tasks.iter().enumerate() {
            if let Some(first) = index.insert(*id, i) {
                errors.push(GraphError::Duplicate { id: (*id).to_owned(), first, second: i });
            }
        }
        let ids: Vec<&str> = tasks.iter().map(|(id, _)| *id).collect();
        let mut dependencies = Vec::with_capacity(tasks.len());
        let mut dependents = vec![Vec::new(); tasks.len()];
        for (i, (id, wanted)) in tasks.into_iter().enumerate() {
            let mut edges = Vec::new();
            for dependency in wanted {
                if let Some(&d) = index.get(dependency) {
                    edges.push(narrow(d));
                } else {
                    errors.push(GraphError::Unknown { task: id.to_owned(), dependency: dependency.to_owned() });
                }
            }
            edges.sort_unstable();
            edges.dedup();
            for &d in &edges {
                dependents[d as usize].push(narrow(i));
            }
            dependencies.push(edges);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let order = topological_order(&dependencies, &dependents);
        if order.len() < ids.len() {
            let cycle = find_cycle(&dependencies, &order).into_iter().map(|i| ids[i as usize].to_owned()).collect();
            return Err(vec![GraphError::Cycle { cycle }]);
        }
        let mut remaining = vec![1; ids.len()];
        for &i in order.iter().rev() {
            let longest = dependents[i as usize].iter().map(|&d| remaining[d as usize]).max().unwrap_or(0);
            remaining[i as usize] = longest + 1;
        }
        Ok(Self { dependencies, dependents, order, remaining })
    }

    /// This graph and one more task, which waits for all others (for those that nothing else waits for).
    #[must_use]
    pub fn with_last(&self) -> Self {
        let mut graph = self.clone();
        let last = narrow(graph.len());
        let ends: Vec<u32> = (0..last).filter(|&i| self.dependents[i as usize].is_empty()).collect();
        for &end in &ends {
            graph.dependents[end as usize].push(last);
        }
        graph.dependencies.push(ends);
        graph.dependents.push(Vec::new());
        graph.order.push(last);
        graph.remaining.iter_mut().for_each(|n| *n += 1);
        graph.remaining.push(1);
        graph
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.dependencies.len()
    }

    /// Whether there is no task.
    pub fn is_empty(&self) -> bool {
        self.dependencies.is_empty()
    }

    /// What task `i` waits for, ascending.
    pub fn dependencies(&self, i: usize) -> &[u32] {
        &self.dependencies[i]
    }

    /// What waits for task `i`, ascending.
    pub fn dependents(&self, i: usize) -> &[u32] {
        &self.dependents[i]
    }

    /// Whose work is merged before task `i` starts: of all that it waits for, directly or not, those with work that is contained in no
    /// other's, ascending. What a task leaves contains whatever was merged before it started; where it leaves nothing, what it waits
    /// for is merged in its place.
    pub fn merged_into(&self, i: usize, has_work: impl Fn(usize) -> bool) -> Vec<u32> {
        // What is ahead, and whether what was found contains it. By the longest path from it, so that a task comes after all that wait
        // for it; it is over when all that is still ahead is contained.
        let place = |task: u32| (self.remaining(task as usize), task);
        let mut ahead: BTreeMap<_, bool> = self.dependencies(i).iter().map(|&task| (place(task), false)).collect();
        let mut open = ahead.len();
        let mut found = Vec::new();
        while open > 0
            && let Some(((_, task), mut contained)) = ahead.pop_first()
        {
            if !contained {
                open -= 1;
                contained = has_work(task as usize);
                found.extend(contained.then_some(task));
            }
            for &inner in self.dependencies(task as usize) {
                let known = ahead.entry(place(inner)).or_insert_with(|| {
                    open += 1;
                    false
                });
                if contained && !*known {
                    *known = true;
                    open -= 1;
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// Every task after those that it depends on.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// The number of tasks on the longest path that starts at task `i`, itself included: what starting it late would delay.
    pub fn remaining(&self, i: usize) -> u32 {
        self.remaining[i]
    }

    /// One longest path from a task without dependencies to one without dependents.
    pub fn critical_path(&self) -> Vec<u32> {
        let longest = |tasks: &mut dyn Iterator<Item = u32>| {
            tasks.max_by_key(|&i| (self.remaining[i as usize], std::cmp::Reverse(i)))
        };
        let mut path = Vec::new();
        let mut next = longest(&mut self.order.iter().copied());
        while let Some(i) = next {
            path.push(i);
            next = longest(&mut self.dependents[i as usize].iter().copied());
        }
        path
    }
}

/// Kahn's algorithm; tasks of a cycle, and those behind one, are left out.
fn topological_order(dependencies: &[Vec<u32>], dependents: &[Vec<u32>]) -> Vec<u32> {
    let mut unmet: Vec<usize> = dependencies.iter().map(Vec::len).collect();
    let mut order: Vec<u32> = (0..narrow(unmet.len())).filter(|&i| unmet[i as usize] == 0).collect();
    let mut next = 0;
    while let Some(&i) = order.get(next) {
        next += 1;
        for &d in &dependents[i as usize] {
            unmet[d as usize] -= 1;
            if unmet[d as usize] == 0 {
                order.push(d);
            }
        }
    }
    order
}

/// Follows unmet dependencies from any task that is not in `order` until one comes again.
fn find_cycle(dependencies: &[Vec<u32>], order: &[u32]) -> Vec<u32> {
    let mut ordered = vec![false; dependencies.len()];
    for &i in order {
        ordered[i as usize] = true;
    }
    let mut seen_at = HashMap::new();
    let mut path = Vec::new();
    let mut at = ordered.iter().position(|&done| !done).map(narrow);
    while let Some(i) = at {
        if let Some(start) = seen_at.insert(i, path.len()) {
            path.drain(..start);
            break;
        }
        path.push(i);
        at = dependencies[i as usize].iter().copied().find(|&d| !ordered[d as usize]);
    }
    path
}

/// Task counts are bounded far below `u32::MAX` by the size of an object in etcd.
fn narrow(i: usize) -> u32 {
    u32::try_from(i).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn build(tasks: &[(&str, &[&str])]) -> Result<Graph, Vec<GraphError>> {
        Graph::build(tasks.iter().map(|(id, deps)| (*id, deps.iter().copied())))
    }

    #[test]
    fn cycle_is_named_without_what_hangs_on_it() {
        let errors = build(&[("a", &["c"]), ("b", &["a"]), ("c", &["b"]), ("d", &["c"]), ("e", &[])]).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].to_string(), "tasks wait for each other: a → c → b → a; remove one of these dependencies");
    }

    #[test]
    fn itself_is_a_cycle() {
        let errors = build(&[("a", &["a"])]).unwrap_err();
        assert_eq!(errors, vec![GraphError::Cycle { cycle: vec!["a".into()] }]);
    }

    #[test]
    fn all_wrong_references_are_told_at_once() {
        let errors = build(&[("a", &["x", "y"]), ("a", &[])]).unwrap_err();
        assert_eq!(errors.len(), 3);
    }

    #[test]
    fn critical_path_is_the_longest() {
        let graph = build(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["c"]), ("e", &["b", "d"])]).unwrap();
        assert_eq!(graph.critical_path(), vec![0, 2, 3, 4]);
        assert_eq!(graph.remaining(0), 4);
        assert_eq!(graph.dependents(0), [1, 2]);
        let whole = graph.with_last();
        assert_eq!((whole.dependencies(5), whole.order().last(), whole.remaining(0)), ([4].as_slice(), Some(&5), 5));
    }

    #[test]
    fn what_another_contains_is_not_merged() {
        // d waits for a, which it has through b, and for c, which changed nothing.
        let graph = build(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["a", "b", "c"]), ("e", &["c"])])
            .unwrap()
            .with_last();
        let merged = |i, without: &[usize]| graph.merged_into(i, |task| !without.contains(&task));
        assert_eq!(
            (merged(0, &[]), merged(1, &[]), merged(3, &[]), merged(5, &[])),
            (vec![], vec![0], vec![1, 2], vec![3, 4])
        );
        assert_eq!((merged(3, &[2]), merged(4, &[2]), merged(4, &[0, 2])), (vec![1], vec![0], vec![]));
        assert_eq!(
            (merged(5, &[3, 4]), merged(5, &[1, 2, 3, 4]), merged(5, &[0, 1, 2, 3, 4])),
            (vec![1, 2], vec![0], vec![])
        );
    }

    #[test]
    fn of_a_wide_plan_the_last_tasks_are_merged() {
        // A hundred rows of fifty; each task waits for the whole row before it, of which some leave nothing.
        let ids: Vec<String> = (0..5000).map(|i| format!("T{i:04}")).collect();
        let before = |i: usize| ids[(i / 50).saturating_sub(1) * 50..i / 50 * 50].iter().map(String::as_str);
        let graph = Graph::build(ids.iter().enumerate().map(|(i, id)| (id.as_str(), before(i)))).unwrap().with_last();
        let last: Vec<u32> = (4950..5000).collect();
        assert_eq!(graph.merged_into(5000, |_| true), last);
        assert_eq!(graph.merged_into(5000, |task| task % 2 == 0).len(), 25);
        assert_eq!(graph.merged_into(5000, |task| task < 100), (50..100).collect::<Vec<_>>());
    }

    proptest! {
        /// Whatever tasks leave work: what is merged into the last one holds all of it, and nothing twice.
        #[test]
        fn all_work_is_merged_and_none_twice(
            edges in proptest::collection::vec((0usize..24, 0usize..24), 0..80),
            working in proptest::collection::vec(any::<bool>(), 24),
        ) {
            let ids: Vec<String> = (0..24).map(|i| format!("T{i:03}")).collect();
            let mut deps = vec![Vec::new(); 24];
            for (a, b) in edges {
                if a != b { deps[a.max(b)].push(ids[a.min(b)].as_str()); }
            }
            let graph = Graph::build(ids.iter().zip(&deps).map(|(id, d)| (id.as_str(), d.iter().copied()))).unwrap().with_last();
            // What each task's commit holds: its own work, and what was merged before it started. And all the work that stands before it.
            let mut holds: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); 25];
            let mut before = holds.clone();
            let works = |task: u32| working.get(task as usize) == Some(&true);
            for &i in graph.order() {
                let merged = graph.merged_into(i as usize, |task| working[task]);
                let of = |sets: &[BTreeSet<u32>], tasks: &[u32]| -> BTreeSet<u32> {
                    tasks.iter().flat_map(|&task| sets[task as usize].clone()).collect()
                };
                for &one in &merged {
                    let others: Vec<u32> = merged.iter().copied().filter(|&other| other != one).collect();
                    prop_assert!(works(one) && !of(&holds, &others).contains(&one), "{i} merges {merged:?}");
                }
                let mut whole = of(&holds, &merged);
                let mut all = of(&before, graph.dependencies(i as usize));
                prop_assert_eq!(&whole, &all, "{}", i);
                whole.insert(i);
                all.extend([i].into_iter().filter(|&i| works(i)));
                (holds[i as usize], before[i as usize]) = (whole, all);
            }
            prop_assert_eq!(before[24].len(), working.iter().filter(|&&works| works).count());
        }

        /// Edges only to earlier tasks never make a cycle; every task comes after its dependencies.
        #[test]
        fn order_respects_edges(edges in proptest::collection::vec((0usize..60, 0usize..60), 0..200)) {
            let ids: Vec<String> = (0..60).map(|i| format!("T{i:03}")).collect();
            let mut deps = vec![Vec::new(); 60];
            for (a, b) in edges {
                if a != b { deps[a.max(b)].push(ids[a.min(b)].as_str()); }
            }
            let graph = Graph::build(ids.iter().zip(&deps).map(|(id, d)| (id.as_str(), d.iter().copied()))).unwrap();
            let mut place = vec![0; 60];
            for (n, &i) in graph.order().iter().enumerate() { place[i as usize] = n; }
            for i in 0..60 { for &d in graph.dependencies(i) { prop_assert!(place[d as usize] < place[i]); } }
        }

        /// Any graph either builds or names a real cycle.
        #[test]
        fn named_cycles_are_cycles(edges in proptest::collection::vec((0usize..12, 0usize..12), 0..40)) {
            let ids: Vec<String> = (0..12).map(|i| i.to_string()).collect();
            let mut deps = vec![Vec::new(); 12];
            for (a, b) in edges { deps[a].push(ids[b].as_str()); }
            if let Err(errors) = Graph::build(ids.iter().zip(&deps).map(|(id, d)| (id.as_str(), d.iter().copied()))) {
                let GraphError::Cycle { cycle } = &errors[0] else { panic!("{errors:?}") };
                for (n, id) in cycle.iter().enumerate() {
                    let next = &cycle[(n + 1) % cycle.len()];
                    let i: usize = id.parse().unwrap();
                    prop_assert!(deps[i].contains(&next.as_str()));
                }
            }
        }
    }
}
