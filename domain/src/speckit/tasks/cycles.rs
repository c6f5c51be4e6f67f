//! Cycles among the stated dependencies: each is an error that names every statement in it.

use super::index::Index;
use super::model::TasksFile;
use crate::speckit::diagnostic::Diagnostic;

/// Maximum number of cycles that are reported.
const MAX_CYCLES: usize = 5;

/// Maximum number of statements that one message names.
const MAX_NAMED: usize = 12;

/// A statement: the task that waits, the task that it waits for, and the line.
type Edge = (usize, usize, u32);

/// Returns an error for each cycle; cycles have no task in common.
pub(super) fn find(file: &TasksFile) -> Vec<Diagnostic> {
    if file.tasks.iter().all(|task| task.depends_on.is_empty()) {
        return Vec::new();
    }
    let index = Index::new(file);
    let edges: Vec<Vec<Edge>> = file
        .tasks
        .iter()
        .enumerate()
        .map(|(at, task)| {
            let on = task.depends_on.iter().filter_map(|d| Some((at, index.get(&d.on)?, d.line)));
            on.filter(|(from, to, _)| from != to).collect()
        })
        .collect();
    let mut found = Vec::new();
    let mut seen = vec![Mark::New; file.tasks.len()];
    for start in 0..edges.len() {
        if found.len() < MAX_CYCLES
            && seen[start] == Mark::New
            && let Some(cycle) = walk(start, &edges, &mut seen)
        {
            found.push(report(file, &cycle));
        }
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    /// On the present path.
    Open,
    Closed,
}

/// Walks from a task along its dependencies, each edge once, and returns the first cycle.
fn walk(start: usize, edges: &[Vec<Edge>], seen: &mut [Mark]) -> Option<Vec<Edge>> {
    let mut path: Vec<Edge> = Vec::new();
    let mut stack: Vec<(usize, usize)> = vec![(start, 0)];
    seen[start] = Mark::Open;
    let mut cycle = None;
    while let Some((node, next)) = stack.last_mut() {
        let Some(edge) = edges[*node].get(*next).copied() else {
            seen[*node] = Mark::Closed;
            stack.pop();
            path.pop();
            continue;
        };
        *next += 1;
        match seen[edge.1] {
            Mark::New => {
                seen[edge.1] = Mark::Open;
                path.push(edge);
                stack.push((edge.1, 0));
            }
            Mark::Open if cycle.is_none() => {
                let from = path.iter().position(|(who, ..)| *who == edge.1).unwrap_or(path.len());
                cycle = Some(path[from..].iter().copied().chain([edge]).collect());
            }
            Mark::Open | Mark::Closed => {}
        }
    }
    cycle
}

fn report(file: &TasksFile, cycle: &[Edge]) -> Diagnostic {
    let named = cycle
        .iter()
        .take(MAX_NAMED)
        .map(|(who, on, line)| format!("{} waits for {} (line {line})", file.tasks[*who].id, file.tasks[*on].id));
    let named: Vec<String> = named.collect();
    let more = if cycle.len() > MAX_NAMED { format!(", and {} more", cycle.len() - MAX_NAMED) } else { String::new() };
    let line = cycle.iter().map(|(.., line)| *line).min().unwrap_or(1);
    let message = format!("tasks wait for each other: {}{more}", named.join(", "));
    Diagnostic::error(line, "DependencyCycle", message, "remove or correct one of these statements")
}
