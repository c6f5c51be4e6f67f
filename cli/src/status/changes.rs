//! The changes between two snapshots, one line each, for output that cannot be redrawn.

use std::collections::BTreeMap;

use enact_crds::task::Phase;
use enact_domain::condition::STALLED;
use enact_domain::plan::ReportedState;
use kube::ResourceExt as _;

use super::snapshot::{Row, Snapshot, condition};
use crate::text::{cut, elapsed, one_line};

/// Most columns of a line. A message may have thousands.
const MAX_WIDTH: usize = 500;

/// Returns a line for each difference between `before` and `after`; all lines of `after` if there is no `before`.
pub fn changes(before: Option<&Snapshot>, after: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |old: Option<String>, new: String| {
        // Lines are compared as text, so a change that no line shows prints nothing.
        if !new.is_empty() && old.as_ref() != Some(&new) {
            lines.push(cut(&new, MAX_WIDTH));
        }
    };
    let old_rows: BTreeMap<String, String> = before
        .map(|snapshot| snapshot.rows().iter().map(|row| (row.work.id.clone(), task(row))).collect())
        .unwrap_or_default();
    for row in after.rows() {
        add(old_rows.get(&row.work.id).cloned(), task(&row));
    }
    add(before.map(integration), integration(after));
    add(before.map(plan), plan(after));
    lines
}

/// Returns the line of a task; an empty one before its first attempt.
fn task(row: &Row<'_>) -> String {
    let reason = || row.ready.map_or_else(String::new, |ready| format!(": {}", one_line(&ready.message)));
    let detail = match (row.phase, row.attempts) {
        (Phase::Pending, 0) => return String::new(),
        // While the pod of the attempt does not run, the condition has the reason.
        (Phase::Running, _) if row.ready.is_some_and(|r| ReportedState::of(&r.reason) != ReportedState::Running) => {
            reason()
        }
        (Phase::Running, attempt) if attempt > 1 => format!(", attempt {attempt}"),
        (Phase::Running, _) => String::new(),
        (Phase::Succeeded, _) => match (row.started, row.finished) {
            (Some(start), Some(end)) => format!(" after {}", elapsed(end.0.duration_since(start.0))),
            _ => String::new(),
        },
        _ => reason(),
    };
    format!("{} {:?}{detail}  {}", row.work.id, row.phase, one_line(&row.work.title))
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
    // The message of a plan that runs counts its tasks, which have lines of their own. A stalled one waits for somebody who may read this.
    let is_stalled = condition(&status.conditions, STALLED).is_some_and(|stalled| stalled.status == "True");
    let waiting =
        matches!(status.phase, enact_crds::plan::Phase::Pending) || is_stalled || snapshot.outcome().is_some();
    let why = snapshot
        .ready()
        .filter(|_| waiting)
        .map_or_else(String::new, |ready| format!(": {}", one_line(&ready.message)));
    format!("Plan {} {:?}{why}", snapshot.plan.name_any(), status.phase)
}

#[cfg(test)]
mod tests {
    use enact_crds::common::{Condition, Time};
    use enact_crds::plan;
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_running_plan_that_waits_for_people_says_so() {
        let condition = |type_: &str, status: &str| Condition {
            type_: type_.into(),
            status: status.into(),
            reason: "Paused".into(),
            message: "phase 1 is done: continue with `kubectl enact resume door`".into(),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: None,
        };
        let mut paused = Snapshot::default();
        paused.plan.metadata.name = Some("door".into());
        paused.plan.status = Some(plan::PlanStatus {
            phase: plan::Phase::Running,
            conditions: vec![condition("Ready", "False"), condition("Stalled", "True")],
            ..plan::PlanStatus::default()
        });
        let shown = "Plan door Running: phase 1 is done: continue with `kubectl enact resume door`";
        assert_eq!(changes(None, &paused), [shown]);
    }
}
