//! The table of all plans.

use anstyle::Style;
use enact_crds::Plan;
use enact_crds::plan::PlanStatus;
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

/// Returns why a plan is not ready, and since when it waits; of a finished plan, whether it is stale.
fn reason(status: &PlanStatus, now: Timestamp) -> String {
    match (condition(&status.conditions, READY), &status.stale) {
        (Some(ready), _) if ready.status != "True" => {
            let wait = status.waiting.as_ref().filter(|wait| wait.reason == ready.reason);
            let since =
                wait.map_or_else(String::new, |wait| format!(" for {}", elapsed(now.duration_since(wait.since.0))));
            format!("{}{since}: {}", ready.reason, one_line(&ready.message))
        }
        (Some(_), Some(stale)) => {
            let tasks = if stale.tasks == 1 { "1 task does".to_owned() } else { format!("{} tasks do", stale.tasks) };
            format!("Stale: {tasks} not follow the approved specification")
        }
        _ => String::new(),
    }
}

fn cells(plan: &Plan, now: Timestamp) -> Vec<String> {
    let status = plan.status.clone().unwrap_or_default();
    let reason = reason(&status, now);
    let time = status
        .started_at
        .map_or_else(String::new, |start| elapsed(status.finished_at.map_or(now, |end| end.0).duration_since(start.0)));
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

#[cfg(test)]
mod tests {
    use enact_crds::common::{Condition, Time, WaitingStatus};
    use enact_crds::plan::Stale;

    use super::*;

    fn status(truth: &str, reason: &str) -> PlanStatus {
        let time = Time(Timestamp::UNIX_EPOCH);
        let ready = Condition {
            type_: READY.into(),
            status: truth.into(),
            reason: reason.into(),
            message: "why".into(),
            last_transition_time: time.clone(),
            observed_generation: None,
        };
        let waiting = (truth != "True").then(|| WaitingStatus {
            reason: reason.into(),
            message: "why".into(),
            since: time,
            task: None,
        });
        PlanStatus { conditions: vec![ready], waiting, ..PlanStatus::default() }
    }

    #[test]
    fn shows_since_when_a_plan_waits_and_that_a_finished_one_is_stale() {
        let now = Timestamp::from_second(125).unwrap();
        assert_eq!(reason(&status("False", "Suspended"), now), "Suspended for 2m05s: why");
        let running = PlanStatus { waiting: None, ..status("False", "Running") };
        assert_eq!(reason(&running, now), "Running: why");
        let done = status("True", "Succeeded");
        assert_eq!(reason(&done, now), "");
        let stale = PlanStatus { stale: Some(Stale { tasks: 2, ..Stale::default() }), ..done };
        assert_eq!(reason(&stale, now), "Stale: 2 tasks do not follow the approved specification");
    }
}
