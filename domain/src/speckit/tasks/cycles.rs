//! Cycles among the stated dependencies: each is an error that names every statement in it. If one line alone states the cycle, the line was
//! misread, because nobody writes that two tasks wait for each other: its statements are dropped, with a warning.

use super::index::Index;
use super::model::{Dependency, TasksFile};
use crate::speckit::diagnostic::{Diagnostic, UNCLEAR_MENTION};

/// Maximum number of cycles that are reported.
const MAX_CYCLES: usize = 5;

/// Maximum number of statements that one message names.
const MAX_NAMED: usize = 12;

/// Maximum number of searches, each after misread statements were dropped. It bounds the time that a hostile document takes.
const MAX_SEARCHES: usize = 8;

/// Number of searches after which all statements of a misread line are dropped, since it states many cycles.
const MANY_SEARCHES: usize = 4;

/// A statement: the task that waits, the task that it waits for, and the line.
type Edge = (usize, usize, u32);

/// Drops misread statements, and returns a diagnostic for each cycle. The cycles that are errors have no task in common.
pub(super) fn resolve(file: &mut TasksFile) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for search in 1.. {
        let (misread, cycles): (Vec<_>, Vec<_>) =
            find(file).into_iter().partition(|cycle| search < MAX_SEARCHES && is_of_one_line(cycle));
        if misread.is_empty() {
            diagnostics.extend(cycles.iter().map(|cycle| report(file, cycle)));
            break;
        }
        for cycle in misread {
            diagnostics.push(unclear(file, &cycle));
            if search < MANY_SEARCHES {
                drop_statements(file, &cycle);
            } else {
                let line = cycle.first().map_or(0, |(.., line)| *line);
                file.tasks.iter_mut().for_each(|task| task.depends_on.retain(|d| d.line != line));
            }
        }
    }
    diagnostics
}

fn is_of_one_line(cycle: &[Edge]) -> bool {
    cycle.windows(2).all(|pair| pair[0].2 == pair[1].2)
}

fn drop_statements(file: &mut TasksFile, cycle: &[Edge]) {
    let index = Index::new(file);
    let kept: Vec<(usize, Vec<bool>)> = cycle
        .iter()
        .map(|(who, on, line)| {
            let of_cycle = |d: &Dependency| d.line == *line && index.get(&d.on) == Some(*on);
            (*who, file.tasks[*who].depends_on.iter().map(|d| !of_cycle(d)).collect())
        })
        .collect();
    for (who, kept) in kept {
        let mut kept = kept.into_iter();
        file.tasks[who].depends_on.retain(|_| kept.next().unwrap_or(true));
    }
}

/// Returns the cycles among the stated dependencies; they have no task in common.
fn find(file: &TasksFile) -> Vec<Vec<Edge>> {
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
            found.push(cycle);
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
    let line = cycle.iter().map(|(.., line)| *line).min().unwrap_or(1);
    let message = format!("tasks wait for each other: {}", statements(file, cycle));
    Diagnostic::error(line, "DependencyCycle", message, "remove or correct one of these statements")
}

fn unclear(file: &TasksFile, cycle: &[Edge]) -> Diagnostic {
    let line = cycle.first().map_or(1, |(.., line)| *line);
    let message = format!("the line seems to say that {}, which is ignored", statements(file, cycle));
    Diagnostic::warning(
        line,
        UNCLEAR_MENTION,
        message,
        "state each dependency as `(depends on T001)` at the task that waits",
    )
}

fn statements(file: &TasksFile, cycle: &[Edge]) -> String {
    let named = cycle
        .iter()
        .take(MAX_NAMED)
        .map(|(who, on, line)| format!("{} waits for {} (line {line})", file.tasks[*who].id, file.tasks[*on].id));
    let named: Vec<String> = named.collect();
    let more = if cycle.len() > MAX_NAMED { format!(", and {} more", cycle.len() - MAX_NAMED) } else { String::new() };
    format!("{}{more}", named.join(", "))
}
