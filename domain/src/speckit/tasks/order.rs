//! The order of tasks: explicit statements, and otherwise Spec Kit's rules.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::index::Index;
use super::model::{Group, Phase, PhaseKind, TasksFile};
use crate::speckit::ids::TaskId;

impl TasksFile {
    /// Returns the direct dependencies of each task. Every task has an entry, including cancelled tasks.
    ///
    /// Explicit statements about tasks ([`Task::depends_on`](super::Task::depends_on)) are always in it, even where they form a cycle.
    /// The rest follows Spec Kit's rules, except where an explicit statement requires the opposite:
    ///
    /// - **Phases** follow the order of the document: all tasks of a phase wait for the phase before it. Only stories may run in
    ///   parallel:
    ///   a story waits for the last phase before it that is not a story, and for another story only if a
    ///   [`Precedence`](super::Precedence) requires it or if both are parts of one story; the next phase that is not a story waits for
    ///   all.
    ///   A dotted phase (`3.2`, the layout of 2025) is never a story in this sense.
    /// - **Inside a phase**: a task without `[P]` waits for the tasks before it; consecutive `[P]` tasks run in parallel, after
    ///   the last task without `[P]`.
    ///
    /// Only direct edges are returned: a task waits for the last tasks before it, which wait for the rest.
    pub fn dependencies(&self) -> BTreeMap<TaskId, BTreeSet<TaskId>> {
        let order = Order::new(self);
        let mut edges: BTreeMap<TaskId, BTreeSet<TaskId>> =
            self.tasks.iter().map(|t| (t.id.clone(), BTreeSet::new())).collect();
        for (task, waits) in order.edges().into_iter().enumerate() {
            if let Some(set) = edges.get_mut(&self.tasks[task].id) {
                set.extend(waits.into_iter().map(|on| self.tasks[on].id.clone()));
            }
        }
        edges
    }
}

/// Returns the direct dependencies of each task, by index.
pub(super) fn direct(file: &TasksFile) -> Vec<BTreeSet<usize>> {
    Order::new(file).edges()
}

/// Returns the line of the first phase up to which there are more edges than allowed, and the number of edges. Two consecutive phases of
/// parallel tasks make the product of their sizes; the edges are counted without being built.
pub(super) fn too_many_edges(file: &TasksFile, allowed: usize) -> Option<(u32, usize)> {
    // Each task waits for others of the file at most, so a small file needs no count.
    if file.tasks.len().pow(2) <= allowed {
        return None;
    }
    let order = Order::new(file);
    let before = order.phases_before();
    let widest: Vec<usize> = order.groups.iter().map(|g| g.iter().map(Vec::len).max().unwrap_or(0)).collect();
    let mut edges = 0;
    for &phase in &order.phases {
        let others: usize = before[phase].iter().map(|p| widest[*p]).sum();
        let mut previous = 0;
        for group in &order.groups[phase] {
            // A task that waits for a group waits for the earlier groups through it.
            edges += group.len() * if previous > 0 { previous } else { others };
            previous = group.len();
        }
        if edges > allowed {
            return Some((file.phases[phase].line, edges));
        }
    }
    None
}

/// Tasks by their index in the file.
struct Order<'a> {
    file: &'a TasksFile,
    /// Explicit statements: for each task, the tasks that it waits for.
    explicit: Vec<BTreeSet<usize>>,
    /// Phases in the order in which they run.
    phases: Vec<usize>,
    /// Position of each phase in that order.
    place: Vec<usize>,
    /// For each phase, the phases that the document states to come before it.
    stated: Vec<BTreeSet<usize>>,
    /// Position of each task in an order that respects the explicit statements and otherwise the document.
    rank: Vec<usize>,
    /// Tasks of each phase, by rank, in groups: a single task, or neighbours that run in parallel.
    groups: Vec<Vec<Vec<usize>>>,
}

impl<'a> Order<'a> {
    fn new(file: &'a TasksFile) -> Self {
        let explicit = explicit(file);
        // Phases are sorted before tasks: the rank of a task depends on the position of its phase.
        let stated = phase_statements(file);
        let phases = sorted(&stated, |phase| phase);
        let mut place = vec![0; file.phases.len()];
        phases.iter().enumerate().for_each(|(at, phase)| place[*phase] = at);
        let tasks = sorted(&explicit, |task| (place[file.tasks[task].phase], task));
        let mut rank = vec![0; file.tasks.len()];
        tasks.iter().enumerate().for_each(|(at, task)| rank[*task] = at);
        let mut groups: Vec<Vec<Vec<usize>>> = vec![Vec::new(); file.phases.len()];
        for &task in &tasks {
            let phase = &mut groups[file.tasks[task].phase];
            match phase.last_mut() {
                Some(group) if file.tasks[task].parallel && file.tasks[group[0]].parallel => group.push(task),
                _ => phase.push(vec![task]),
            }
        }
        Self { file, explicit, phases, place, stated, rank, groups }
    }

    fn edges(&self) -> Vec<BTreeSet<usize>> {
        let mut edges = self.explicit.clone();
        let before = self.phases_before();
        for (phase, groups) in self.groups.iter().enumerate() {
            for (at, group) in groups.iter().enumerate() {
                // An explicit statement can rank a task of an earlier phase between two groups of this phase. Then only the groups after
                // it wait for it.
                let previous = at.checked_sub(1).map(|previous| &groups[previous]);
                let since = previous.map_or(0, |group| self.rank[group[0]]);
                for &task in group {
                    edges[task].extend(previous.into_iter().flatten());
                    for &phase in &before[phase] {
                        edges[task].extend(self.end_of(phase, self.rank[task]).filter(|on| self.rank[*on] >= since));
                    }
                }
            }
        }
        edges
    }

    /// Returns the last tasks of a phase, as far as they rank before `rank`.
    fn end_of(&self, phase: usize, rank: usize) -> impl Iterator<Item = usize> {
        let earlier = move |task: &&usize| self.rank[**task] < rank;
        let group = self.groups[phase].iter().rev().find(|g| g.iter().any(|t| self.rank[*t] < rank));
        group.into_iter().flatten().filter(earlier).copied()
    }

    /// Returns for each phase the phases with tasks that it waits for directly.
    fn phases_before(&self) -> Vec<BTreeSet<usize>> {
        let phases = &self.file.phases;
        let mut before: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); phases.len()];
        // The last phase for which all later phases must wait, and the stories that have begun since.
        let mut barrier: BTreeSet<usize> = BTreeSet::new();
        let mut stories: Vec<usize> = Vec::new();
        for &phase in &self.phases {
            let key = |p: usize| {
                if let PhaseKind::Story(key) = &phases[p].kind { Some(key) } else { None }
            };
            let dotted = phases[phase].number.as_ref().is_some_and(|n| n.contains('.'));
            let mut waits = barrier.clone();
            if let (Some(key_here), false) = (key(phase), dotted) {
                // Two parts of one story run in order; other stories only when the document states it.
                waits.extend(stories.iter().rev().find(|s| key(**s) == Some(key_here)));
                waits.extend(self.stated[phase].iter().filter(|p| self.place[**p] < self.place[phase]));
                if !self.groups[phase].is_empty() {
                    stories.push(phase);
                }
            } else {
                // Any other phase waits for all stories since the last barrier, and becomes the next barrier.
                waits.extend(&stories);
                if !self.groups[phase].is_empty() {
                    barrier = BTreeSet::from([phase]);
                    stories.clear();
                }
            }
            before[phase] = waits;
        }
        self.bridged(&before)
    }

    /// Replaces phases without tasks by the phases that they wait for, and drops every phase that another one in the set already waits for.
    fn bridged(&self, before: &[BTreeSet<usize>]) -> Vec<BTreeSet<usize>> {
        let mut result: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); before.len()];
        for &phase in &self.phases {
            let (empty, held): (BTreeSet<usize>, BTreeSet<usize>) =
                before[phase].iter().partition(|p| self.groups[**p].is_empty());
            let mut waits = held;
            for p in &empty {
                waits.extend(&result[*p]);
            }
            let covered: BTreeSet<usize> = waits.iter().flat_map(|p| result[*p].iter().copied()).collect();
            result[phase] = &waits - &covered;
        }
        result
    }
}

fn explicit(file: &TasksFile) -> Vec<BTreeSet<usize>> {
    let index = &Index::new(file);
    let on = |at: usize| file.tasks[at].depends_on.iter().filter_map(|d| index.get(&d.on)).filter(move |on| *on != at);
    // A task that names itself does not wait for itself.
    (0..file.tasks.len()).map(|at| on(at).collect()).collect()
}

/// Returns for each phase the phases that the document states to be before it.
fn phase_statements(file: &TasksFile) -> Vec<BTreeSet<usize>> {
    let members = |group: &Group| -> Vec<usize> {
        match group {
            Group::Phase(index) => vec![*index],
            Group::Story(key) => {
                let of_story = |(_, p): &(usize, &Phase)| p.kind == PhaseKind::Story(key.clone());
                file.phases.iter().enumerate().filter(of_story).map(|(index, _)| index).collect()
            }
        }
    };
    let mut before = vec![BTreeSet::new(); file.phases.len()];
    for precedence in &file.precedences {
        for subject in members(&precedence.subject) {
            before[subject].extend(members(&precedence.on).into_iter().filter(|on| *on != subject));
        }
    }
    before
}

/// Returns the nodes in topological order, and otherwise by key. A cycle is broken at its smallest key.
fn sorted<K: Ord>(waits: &[BTreeSet<usize>], key: impl Fn(usize) -> K) -> Vec<usize> {
    let mut missing: Vec<usize> = waits.iter().map(BTreeSet::len).collect();
    let mut unblocks: Vec<Vec<usize>> = vec![Vec::new(); waits.len()];
    for (node, on) in waits.iter().enumerate() {
        for o in on {
            unblocks[*o].push(node);
        }
    }
    let mut ready: BinaryHeap<Reverse<(K, usize)>> = BinaryHeap::new();
    let mut stuck: BinaryHeap<Reverse<(K, usize)>> = BinaryHeap::new();
    for (node, on) in waits.iter().enumerate() {
        let heap = if on.is_empty() { &mut ready } else { &mut stuck };
        heap.push(Reverse((key(node), node)));
    }
    let mut order = Vec::with_capacity(waits.len());
    let mut placed = vec![false; waits.len()];
    // `stuck` is used only if no node is ready, that is, if the rest is in a cycle or waits for one.
    while let Some(Reverse((_, node))) = ready.pop().or_else(|| stuck.pop()) {
        if std::mem::replace(&mut placed[node], true) {
            continue;
        }
        order.push(node);
        for &next in &unblocks[node] {
            missing[next] = missing[next].saturating_sub(1);
            if missing[next] == 0 && !placed[next] {
                ready.push(Reverse((key(next), next)));
            }
        }
    }
    order
}
