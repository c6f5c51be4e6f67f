//! The directed acyclic graph of a plan's tasks, and of the integration of their work.
//!
//! The graph knows tasks by their index in the plan; the caller keeps their names. It stores edges in both directions, so that the cost of
//! releasing the dependents of a task is proportional to their number.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::{Index, IndexMut};

/// A node of a plan's graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeId {
    /// The task at this index of the plan's tasks.
    Task(usize),
    /// The integration, which merges, checks and publishes the work of all tasks. Only a plan with a workspace has one.
    Integration,
}

impl NodeId {
    /// Returns the index of the task; none for the integration.
    pub fn task(self) -> Option<usize> {
        match self {
            Self::Task(i) => Some(i),
            Self::Integration => None,
        }
    }
}

/// One value for each node of a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerNode<T> {
    /// Values of the tasks, by the index of the task.
    pub tasks: Vec<T>,
    /// Value of the integration, if the graph has one.
    pub integration: Option<T>,
}

impl<T> PerNode<T> {
    /// Returns the value of every node, the tasks first.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.tasks.iter().chain(&self.integration)
    }

    /// Returns every node with its value, the tasks first.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &T)> {
        let tasks = self.tasks.iter().enumerate().map(|(i, value)| (NodeId::Task(i), value));
        tasks.chain(self.integration.iter().map(|value| (NodeId::Integration, value)))
    }
}

impl<T> Index<NodeId> for PerNode<T> {
    type Output = T;

    fn index(&self, node: NodeId) -> &T {
        match node {
            NodeId::Task(i) => &self.tasks[i],
            NodeId::Integration => self.integration.as_ref().expect("the graph has an integration"),
        }
    }
}

impl<T> IndexMut<NodeId> for PerNode<T> {
    fn index_mut(&mut self, node: NodeId) -> &mut T {
        match node {
            NodeId::Task(i) => &mut self.tasks[i],
            NodeId::Integration => self.integration.as_mut().expect("the graph has an integration"),
        }
    }
}

/// A checked graph: no cycle, no unknown reference, no duplicate id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    dependencies: Vec<Vec<usize>>,
    dependents: Vec<Vec<usize>>,
    order: Vec<usize>,
    remaining: Vec<usize>,
    /// Tasks that the integration waits for, if the graph has one: those without dependents.
    integrated: Option<Vec<usize>>,
}

/// Reason why a list of tasks is not a graph that can run.
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
    /// A dependency is not a task of the plan.
    #[error("task {task} depends on {dependency}, which is not a task of this plan; correct the id or add the task")]
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
    /// Checks and builds the graph of `(id, ids that it depends on)`, in O(tasks + edges). It has no integration.
    ///
    /// # Errors
    /// All duplicate ids and unknown references together; a cycle only when there are none of these.
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
                    edges.push(d);
                } else {
                    errors.push(GraphError::Unknown { task: id.to_owned(), dependency: dependency.to_owned() });
                }
            }
            edges.sort_unstable();
            edges.dedup();
            for &d in &edges {
                dependents[d].push(i);
            }
            dependencies.push(edges);
        }
        // A cycle can only be searched if every id is known and unique.
        if !errors.is_empty() {
            return Err(errors);
        }
        let order = topological_order(&dependencies, &dependents);
        if order.len() < ids.len() {
            let cycle = find_cycle(&dependencies, &order).into_iter().map(|i| ids[i].to_owned()).collect();
            return Err(vec![GraphError::Cycle { cycle }]);
        }
        let mut remaining = vec![1; ids.len()];
        // In reverse order, so that the values of all dependents are known.
        for &i in order.iter().rev() {
            remaining[i] = 1 + dependents[i].iter().map(|&d| remaining[d]).max().unwrap_or(0);
        }
        Ok(Self { dependencies, dependents, order, remaining, integrated: None })
    }

    /// Returns this graph with an integration, which waits for every task that no other task waits for.
    #[must_use]
    pub fn with_integration(mut self) -> Self {
        // Every other task is a direct or indirect dependency of these tasks.
        let ends = (0..self.len()).filter(|&i| self.dependents[i].is_empty()).collect();
        self.integrated = Some(ends);
        self
    }

    /// Returns the number of tasks.
    pub fn len(&self) -> usize {
        self.dependencies.len()
    }

    /// Returns whether the graph has no task.
    pub fn is_empty(&self) -> bool {
        self.dependencies.is_empty()
    }

    /// Returns every task after those that it depends on.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Returns every node after those that it depends on: the integration, if there is one, is the last.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        let integration = self.integrated.as_ref().map(|_| NodeId::Integration);
        self.order.iter().copied().map(NodeId::Task).chain(integration)
    }

    /// Computes a value for each node.
    pub fn per_node<T>(&self, mut value: impl FnMut(NodeId) -> T) -> PerNode<T> {
        let tasks = (0..self.len()).map(|i| value(NodeId::Task(i))).collect();
        PerNode { tasks, integration: self.integrated.as_ref().map(|_| value(NodeId::Integration)) }
    }

    /// Returns the tasks that `node` waits for, ascending.
    pub fn dependencies(&self, node: NodeId) -> &[usize] {
        match node {
            NodeId::Task(i) => &self.dependencies[i],
            NodeId::Integration => self.integrated.as_deref().unwrap_or_default(),
        }
    }

    /// Returns the tasks whose work is merged before `node` starts, ascending: of all tasks that it waits for, directly or not, those that
    /// have work which no other of them contains.
    ///
    /// The work of a task contains everything that was merged before the task started. A task without work is replaced by the tasks that
    /// it waits for.
    pub fn merged_into(&self, node: NodeId, has_work: impl Fn(usize) -> bool) -> Vec<usize> {
        // Tasks still to visit, and whether a task that was found contains them. The longest path decides the order, so that a task comes
        // after all tasks that wait for it. The search ends when every task still to visit is contained.
        let key = |task: usize| (self.remaining[task], task);
        let mut ahead: BTreeMap<_, bool> = self.dependencies(node).iter().map(|&task| (key(task), false)).collect();
        let mut open = ahead.len();
        let mut found = Vec::new();
        while open > 0
            && let Some(((_, task), mut contained)) = ahead.pop_first()
        {
            if !contained {
                open -= 1;
                contained = has_work(task);
                found.extend(contained.then_some(task));
            }
            for &inner in &self.dependencies[task] {
                let known = ahead.entry(key(inner)).or_insert_with(|| {
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

    /// Returns the number of nodes on the longest path that starts at `node`, including `node`.
    pub fn remaining(&self, node: NodeId) -> usize {
        node.task().map_or(0, |i| self.remaining[i]) + usize::from(self.integrated.is_some())
    }

    /// Returns one longest path from a task without dependencies to a task without dependents.
    pub fn critical_path(&self) -> Vec<usize> {
        let longest =
            |tasks: &[usize]| tasks.iter().copied().max_by_key(|&i| (self.remaining[i], std::cmp::Reverse(i)));
        let mut path = Vec::new();
        let mut next = longest(&self.order);
        while let Some(i) = next {
            path.push(i);
            next = longest(&self.dependents[i]);
        }
        path
    }
}

/// Sorts the tasks by Kahn's algorithm. The result omits the tasks of a cycle and their dependents.
fn topological_order(dependencies: &[Vec<usize>], dependents: &[Vec<usize>]) -> Vec<usize> {
    let mut unmet: Vec<usize> = dependencies.iter().map(Vec::len).collect();
    let mut order: Vec<usize> = (0..unmet.len()).filter(|&i| unmet[i] == 0).collect();
    let mut next = 0;
    while let Some(&i) = order.get(next) {
        next += 1;
        for &d in &dependents[i] {
            unmet[d] -= 1;
            if unmet[d] == 0 {
                order.push(d);
            }
        }
    }
    order
}

/// Follows unmet dependencies from any task that is not in `order` until it reaches a task a second time.
fn find_cycle(dependencies: &[Vec<usize>], order: &[usize]) -> Vec<usize> {
    let mut ordered = vec![false; dependencies.len()];
    for &i in order {
        ordered[i] = true;
    }
    let mut seen_at = HashMap::new();
    let mut path = Vec::new();
    let mut at = ordered.iter().position(|&done| !done);
    while let Some(i) = at {
        if let Some(start) = seen_at.insert(i, path.len()) {
            path.drain(..start);
            break;
        }
        path.push(i);
        // A task outside of `order` always has a dependency outside of it, so the path cannot end before it repeats a task.
        at = dependencies[i].iter().copied().find(|&d| !ordered[d]);
    }
    path
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::NodeId::{Integration, Task};
    use super::*;
    use proptest::prelude::*;

    fn build(tasks: &[(&str, &[&str])]) -> Result<Graph, Vec<GraphError>> {
        Graph::build(tasks.iter().map(|(id, deps)| (*id, deps.iter().copied())))
    }

    #[test]
    fn names_the_cycle_without_tasks_behind_it() {
        let errors = build(&[("a", &["c"]), ("b", &["a"]), ("c", &["b"]), ("d", &["c"]), ("e", &[])]).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].to_string(), "tasks wait for each other: a → c → b → a; remove one of these dependencies");
    }

    #[test]
    fn a_task_that_waits_for_itself_is_a_cycle() {
        let errors = build(&[("a", &["a"])]).unwrap_err();
        assert_eq!(errors, vec![GraphError::Cycle { cycle: vec!["a".into()] }]);
    }

    #[test]
    fn reports_all_wrong_references_at_once() {
        let errors = build(&[("a", &["x", "y"]), ("a", &[])]).unwrap_err();
        assert_eq!(errors.len(), 3);
    }

    #[test]
    fn critical_path_is_the_longest() {
        let graph = build(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["c"]), ("e", &["b", "d"])]).unwrap();
        assert_eq!(graph.critical_path(), vec![0, 2, 3, 4]);
        assert_eq!(graph.remaining(Task(0)), 4);
        assert_eq!(graph.dependents[0], [1, 2]);
        let whole = graph.with_integration();
        assert_eq!(
            (whole.dependencies(Integration), whole.nodes().last(), whole.remaining(Task(0))),
            ([4].as_slice(), Some(Integration), 5)
        );
    }

    #[test]
    fn merges_no_work_that_another_contains() {
        // d waits for a, which it has through b, and for c, which changed nothing.
        let graph = build(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["a", "b", "c"]), ("e", &["c"])])
            .unwrap()
            .with_integration();
        let merged = |node, without: &[usize]| graph.merged_into(node, |task| !without.contains(&task));
        assert_eq!(
            (merged(Task(0), &[]), merged(Task(1), &[]), merged(Task(3), &[]), merged(Integration, &[])),
            (vec![], vec![0], vec![1, 2], vec![3, 4])
        );
        assert_eq!(
            (merged(Task(3), &[2]), merged(Task(4), &[2]), merged(Task(4), &[0, 2])),
            (vec![1], vec![0], vec![])
        );
        assert_eq!(
            (merged(Integration, &[3, 4]), merged(Integration, &[1, 2, 3, 4]), merged(Integration, &[0, 1, 2, 3, 4])),
            (vec![1, 2], vec![0], vec![])
        );
    }

    #[test]
    fn merges_the_last_tasks_of_a_wide_plan() {
        // A hundred rows of fifty; each task waits for the whole row before it, of which some leave nothing.
        let ids: Vec<String> = (0..5000).map(|i| format!("T{i:04}")).collect();
        let before = |i: usize| ids[(i / 50).saturating_sub(1) * 50..i / 50 * 50].iter().map(String::as_str);
        let graph =
            Graph::build(ids.iter().enumerate().map(|(i, id)| (id.as_str(), before(i)))).unwrap().with_integration();
        let last: Vec<usize> = (4950..5000).collect();
        assert_eq!(graph.merged_into(Integration, |_| true), last);
        assert_eq!(graph.merged_into(Integration, |task| task % 2 == 0).len(), 25);
        assert_eq!(graph.merged_into(Integration, |task| task < 100), (50..100).collect::<Vec<_>>());
    }

    proptest! {
        /// Checks that the merged work contains the work of every task exactly once, for every choice of tasks with work.
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
            let graph = Graph::build(ids.iter().zip(&deps).map(|(id, d)| (id.as_str(), d.iter().copied()))).unwrap().with_integration();
            // The work that each node's commit contains (its own, and what was merged before it started), and all work of the nodes
            // before it.
            let mut holds: PerNode<BTreeSet<NodeId>> = graph.per_node(|_| BTreeSet::new());
            let mut before = holds.clone();
            let works = |node: NodeId| node.task().is_some_and(|task| working[task]);
            for node in graph.nodes() {
                let merged = graph.merged_into(node, |task| working[task]);
                let of = |sets: &PerNode<BTreeSet<NodeId>>, tasks: &[usize]| -> BTreeSet<NodeId> {
                    tasks.iter().flat_map(|&task| sets.tasks[task].clone()).collect()
                };
                for &one in &merged {
                    let others: Vec<usize> = merged.iter().copied().filter(|&other| other != one).collect();
                    prop_assert!(works(Task(one)) && !of(&holds, &others).contains(&Task(one)), "{node:?} merges {merged:?}");
                }
                let mut whole = of(&holds, &merged);
                let mut all = of(&before, graph.dependencies(node));
                prop_assert_eq!(&whole, &all, "{:?}", node);
                whole.insert(node);
                all.extend([node].into_iter().filter(|&node| works(node)));
                (holds[node], before[node]) = (whole, all);
            }
            prop_assert_eq!(before[Integration].len(), working.iter().filter(|&&works| works).count());
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
            let mut position = vec![0; 60];
            for (n, &i) in graph.order().iter().enumerate() { position[i] = n; }
            for i in 0..60 { for &d in graph.dependencies(Task(i)) { prop_assert!(position[d] < position[i]); } }
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
