//! What changed between two moments, one line each: for logs, where nothing can be redrawn.

use std::collections::BTreeMap;

use enact_crds::task::Phase;
use kube::ResourceExt as _;

use super::snapshot::{Row, Snapshot};
use crate::text::{cut, elapsed, one_line};

/// Columns of the longest line: a message may have thousands.
const MAX_WIDTH: usize = 500;

/// The lines to print after `before` has become `after`; all that is so when there was nothing before.
pub fn changes(before: Option<&Snapshot>, after: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    let mut tell = |old: Option<String>, new: String| {
        if !new.is_empty() && old.as_ref() != Some(&new) {
            lines.push(cut(&new, MAX_WIDTH));
        }
    };
    let old_rows: BTreeMap<String, String> = before
        .map(|snapshot| snapshot.rows().iter().map(|row| (row.work.id.clone(), task(row))).collect())
        .unwrap_or_default();
    for row in after.rows() {
        tell(old_rows.get(&row.work.id).cloned(), task(&row));
    }
    tell(before.map(integration), integration(after));
    tell(before.map(plan), plan(after));
    lines
}

/// Where a task stands; nothing before it begins.
fn task(row: &Row<'_>) -> String {
    let reason = || row.ready.map_or_else(String::new, |ready| format!(": {}", one_line(&ready.message)));
    let said = match (row.phase, row.attempts) {
        (Phase::Pending, 0) => return String::new(),
        (Phase::Running, attempt) if attempt > 1 => format!(", attempt {attempt}"),
        (Phase::Running, _) => String::new(),
        (Phase::Succeeded, _) => match (row.started, row.finished) {
            (Some(start), Some(end)) => format!(" after {}", elapsed(end.0.duration_since(start.0))),
            _ => String::new(),
        },
        _ => reason(),
    };
    format!("{} {:?}{said}  {}", row.work.id, row.phase, one_line(&row.work.title))
}

fn integration(snapshot: &Snapshot) -> String {
    let Some(status) = snapshot.plan.status.as_ref().and_then(|status| status.integration.as_ref()) else {
        return String::new();
    };
    match (status.phase, &status.commit, &status.reason) {
        (Phase::Pending, _, _) if status.attempts == 0 => String::new(),
        (Phase::Succeeded, Some(commit), _) => format!("Integration Succeeded: {commit}"),
        (phase, _, Some(reason)) => {
            format!("Integration {phase:?}: {reason}: {}", one_line(status.message.as_deref().unwrap_or_default()))
        }
        (phase, _, None) => format!("Integration {phase:?}"),
    }
}

fn plan(snapshot: &Snapshot) -> String {
    let status = snapshot.plan.status.clone().unwrap_or_default();
    // While it runs the message counts tasks, whose own lines say more.
    let waiting = matches!(status.phase, enact_crds::plan::Phase::Pending) || snapshot.outcome().is_some();
    let why = snapshot
        .ready()
        .filter(|_| waiting)
        .map_or_else(String::new, |ready| format!(": {}", one_line(&ready.message)));
    format!("Plan {} {:?}{why}", snapshot.plan.name_any(), status.phase)
}
