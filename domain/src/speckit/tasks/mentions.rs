//! Mentions of tasks in the text of other tasks that are neither a dependency nor a plain mention.

use std::collections::{BTreeSet, HashSet};

use super::index::Index;
use super::model::TasksFile;
use super::order;
use super::relations;
use crate::speckit::diagnostic::{Diagnostic, UNCLEAR_MENTION};
use crate::speckit::ids::{self, Forms, TaskId};

/// Maximum number of edges that are followed for all mentions together, and of diagnostics.
const MAX_STEPS: usize = 200_000;
const MAX_REPORTED: usize = 20;

/// A mention of a task in the text of another one.
pub(super) struct Mentioned {
    /// Index of the task whose text it is.
    owner: usize,
    id: TaskId,
    line: u32,
}

/// Adds the mentions of single tasks in a text of the task `owner`, without those that the words before them make plain.
pub(super) fn collect(text: &str, owner: usize, line: u32, forms: &Forms, found: &mut Vec<Mentioned>) {
    for mention in ids::mentions(text, forms) {
        if mention.last.is_none() && !relations::is_plain(&text[..mention.start]) {
            found.push(Mentioned { owner, id: mention.first, line });
        }
    }
}

/// Returns a warning for each mention of a task that may run at the same time, although the text may mean that one waits for the other.
pub(super) fn report(file: &TasksFile, mentioned: Vec<Mentioned>) -> Vec<Diagnostic> {
    if mentioned.is_empty() {
        return Vec::new();
    }
    let index = Index::new(file);
    let open = |task: usize| file.tasks[task].state.is_open();
    let between = mentioned.into_iter().filter_map(|Mentioned { owner, id, line }| {
        let other = index.get(&id).filter(|other| *other != owner)?;
        (open(owner) && open(other)).then_some((owner, other, line))
    });
    let mut pairs: Vec<(usize, usize, u32)> = between.collect();
    // What is stated is clear, in either direction.
    let stated = file.tasks.iter().enumerate().filter(|_| !pairs.is_empty()).flat_map(|(at, task)| {
        let on = task.depends_on.iter().filter_map(|dependency| index.get(&dependency.on));
        on.flat_map(move |on| [(at, on), (on, at)])
    });
    let mut seen: HashSet<(usize, usize)> = stated.collect();
    pairs.retain(|(owner, other, _)| seen.insert((*owner, *other)));
    if pairs.is_empty() {
        return Vec::new();
    }
    let edges = order::direct(file);
    let mut steps = MAX_STEPS;
    let mut found = Vec::new();
    for (owner, other, line) in pairs {
        if steps == 0 || found.len() == MAX_REPORTED {
            break;
        }
        if !waits(&edges, owner, other, &mut steps) && !waits(&edges, other, owner, &mut steps) && steps > 0 {
            let (who, on) = (&file.tasks[owner].id, &file.tasks[other].id);
            found.push(Diagnostic::warning(
                line,
                UNCLEAR_MENTION,
                format!("{who} mentions {on}, and the two may run at the same time"),
                format!("if it waits for it, write `(depends on {on})`, else `(see {on})`"),
            ));
        }
    }
    found
}

/// Returns whether a task waits for another one, directly or through others.
fn waits(edges: &[BTreeSet<usize>], task: usize, on: usize, steps: &mut usize) -> bool {
    let mut seen = vec![false; edges.len()];
    let mut open = vec![task];
    while let Some(node) = open.pop() {
        for &next in &edges[node] {
            if next == on {
                return true;
            }
            *steps = steps.saturating_sub(1);
            if *steps == 0 {
                return false;
            }
            if !std::mem::replace(&mut seen[next], true) {
                open.push(next);
            }
        }
    }
    false
}
