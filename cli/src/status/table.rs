//! All plans, one line each.

use enact_crds::Plan;
use enact_domain::condition::READY;
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::snapshot::condition;
use super::text::{elapsed, fit, one_line, pad, width};
use super::tree::{Look, plan_symbol};

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
    let mut lines =
        vec![titles.iter().zip(&columns).map(|(title, columns)| pad(title, *columns)).collect::<String>() + "REASON"];
    let room = look.width.saturating_sub(columns.iter().sum());
    for (plan, row) in plans.iter().zip(&rows) {
        let mut line = String::new();
        for (at, (cell, columns)) in row.iter().zip(&columns).enumerate() {
            let cell = pad(cell, *columns);
            let is_phase = titles[at] == "PHASE";
            line.push_str(&if is_phase { look.paint.with(plan_symbol(phase(plan)).1, &cell) } else { cell });
        }
        line.push_str(&fit(&reason(plan), room));
        lines.push(line.trim_end().to_owned());
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
