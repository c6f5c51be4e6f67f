//! All plans, one line each.

use anstyle::Style;
use enact_crds::Plan;
use enact_domain::condition::READY;
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::snapshot::condition;
use super::tree::{Look, plan_symbol};
use crate::text::{elapsed, one_line, pad, width};

/// The table; with the namespaces where plans of several are shown.
pub fn render(plans: &[Plan], namespaces: bool, now: Timestamp, look: Look) -> Vec<String> {
    let mut titles = vec!["NAME", "PHASE", "DONE", "RUNNING", "FAILED", "TIME"];
    if namespaces {
        titles.insert(0, "NAMESPACE");
    }
    let rows: Vec<Vec<String>> = plans.iter().map(|plan| cells(plan, namespaces, now)).collect();
    let columns: Vec<usize> = (0..titles.len())
        .map(|at| rows.iter().map(|row| width(&row[at])).chain([width(titles[at])]).max().unwrap_or_default() + 2)
        .collect();
    let mut heading = look.line();
    for (title, columns) in titles.iter().zip(&columns) {
        heading = heading.plain(&pad(title, *columns));
    }
    let mut lines = vec![heading.plain("REASON").end()];
    for (plan, row) in plans.iter().zip(&rows) {
        let mut line = look.line();
        for (at, (cell, columns)) in row.iter().zip(&columns).enumerate() {
            let style = if titles[at] == "PHASE" { plan_symbol(phase(plan)).1 } else { Style::new() };
            line = line.add(style, &pad(cell, *columns));
        }
        lines.push(line.plain(&reason(plan)).end());
    }
    lines
}

fn phase(plan: &Plan) -> enact_crds::plan::Phase {
    plan.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

fn cells(plan: &Plan, namespaces: bool, now: Timestamp) -> Vec<String> {
    let status = plan.status.clone().unwrap_or_default();
    let time = status
        .started_at
        .map_or_else(String::new, |start| elapsed(status.finished_at.map_or(now, |end| end.0).duration_since(start.0)));
    let mut cells = vec![
        plan.name_any(),
        format!("{:?}", status.phase),
        format!("{}/{}", status.tasks.succeeded, status.tasks.total),
        status.tasks.running.to_string(),
        status.tasks.failed.to_string(),
        time,
    ];
    if namespaces {
        cells.insert(0, plan.namespace().unwrap_or_default());
    }
    cells
}

fn reason(plan: &Plan) -> String {
    let ready = plan.status.as_ref().and_then(|status| condition(&status.conditions, READY));
    ready
        .filter(|ready| ready.status != "True")
        .map_or_else(String::new, |ready| format!("{}: {}", ready.reason, one_line(&ready.message)))
}
