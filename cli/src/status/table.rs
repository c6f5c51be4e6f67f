//! The table of all plans.

use anstyle::Style;
use enact_crds::Plan;
use enact_domain::condition::READY;
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::display::Display;
use super::snapshot::condition;
use super::tree::plan_symbol;
use crate::text::{align, elapsed, one_line};

/// Returns the lines of the table. `namespaces` adds a column for the namespace.
pub fn render(plans: &[Plan], namespaces: bool, now: Timestamp, display: Display) -> Vec<String> {
    let titles = ["NAMESPACE", "NAME", "PHASE", "DONE", "RUNNING", "FAILED", "TIME", "REASON"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(plans.iter().map(|plan| cells(plan, now)));
    align(&mut rows);
    let styles = std::iter::once(Style::new()).chain(plans.iter().map(|plan| plan_symbol(phase(plan)).1));
    let line = |(row, phase): (&Vec<String>, Style)| {
        let cells = row.iter().zip(titles).filter(|(_, title)| namespaces || *title != "NAMESPACE");
        let add = |line: crate::terminal::Line, (cell, title): (&String, &str)| {
            line.add(if title == "PHASE" { phase } else { Style::new() }, cell)
        };
        cells.fold(display.line(), add).end()
    };
    rows.iter().zip(styles).map(line).collect()
}

fn phase(plan: &Plan) -> enact_crds::plan::Phase {
    plan.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

fn cells(plan: &Plan, now: Timestamp) -> Vec<String> {
    let status = plan.status.clone().unwrap_or_default();
    let time = status
        .started_at
        .map_or_else(String::new, |start| elapsed(status.finished_at.map_or(now, |end| end.0).duration_since(start.0)));
    let reason = condition(&status.conditions, READY)
        .filter(|ready| ready.status != "True")
        .map_or_else(String::new, |ready| format!("{}: {}", ready.reason, one_line(&ready.message)));
    vec![
        plan.namespace().unwrap_or_default(),
        plan.name_any(),
        format!("{:?}", status.phase),
        format!("{}/{}", status.tasks.succeeded, status.tasks.total),
        status.tasks.running.to_string(),
        status.tasks.failed.to_string(),
        time,
        reason,
    ]
}
