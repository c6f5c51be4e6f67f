//! `diff PLAN/TASKID --attempts`: compares attempts at a task by what the record has of them.

use anyhow::{Result, bail};
use enact_crds::{Plan, Task, convert};
use enact_domain::names;
use jiff::SignedDuration;
use kube::ResourceExt as _;

use crate::cluster::Cluster;
use crate::control::task_of;
use crate::record::{Attempt, Gate, Record};
use crate::terminal::{self, note};
use crate::text::{aligned, elapsed, fit, one_line};

/// Most attempts to compare: those of one contest.
const MAX_ATTEMPTS: usize = 9;
/// Most columns of a cell.
const MAX_CELL_WIDTH: usize = 60;
/// Cell of a value that the record does not have.
const NOTHING: &str = "-";

/// Compares attempts at a task of a plan.
pub async fn run(cluster: &Cluster, plan: &str, id: &str, numbers: &[u32]) -> Result<()> {
    if !(2..=MAX_ATTEMPTS).contains(&numbers.len()) {
        bail!("name 2 to {MAX_ATTEMPTS} attempts, such as --attempts 1,3");
    }
    let task = task_of(cluster, plan, id).await?;
    let plan: Plan = cluster.get(plan).await?;
    let recorded = Record::open(cluster).await?.attempts(&plan.name_any(), &task.name_any()).await?;
    let mut attempts = Vec::new();
    for number in numbers {
        let Some(attempt) = recorded.iter().find(|attempt| attempt.number == *number) else {
            let known: Vec<String> = recorded.iter().rev().map(|attempt| attempt.number.to_string()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            bail!("the record has no attempt {number} at {id}; it has {known}");
        };
        attempts.push(attempt);
    }
    terminal::print_line(&format!("{id}: {}", one_line(&task.spec.work.title)))?;
    table(&plan, &task, &attempts).iter().try_for_each(|line| terminal::print_line(line))?;
    match git_commands(&plan, &task, &attempts) {
        Ok(commands) => {
            note("the work is in Git; compare it in a clone of the repository:");
            commands.iter().try_for_each(|line| terminal::print_line(line))
        }
        Err(why) => {
            note(&why);
            Ok(())
        }
    }
}

/// Returns one line for each property, with a column for each attempt.
fn table(plan: &Plan, task: &Task, attempts: &[&Attempt]) -> Vec<String> {
    let winner = task.status.as_ref().and_then(|status| status.contest.as_ref()?.winner);
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut add = |title: &str, cell: &dyn Fn(&Attempt) -> Option<String>| {
        let cells = attempts.iter().map(|&attempt| cell(attempt).unwrap_or_else(|| NOTHING.to_owned()));
        rows.push([title.to_owned()].into_iter().chain(cells.map(|cell| fit(&cell, MAX_CELL_WIDTH))).collect());
    };
    add("ATTEMPT", &|attempt| Some(attempt.number.to_string()));
    add("agent", &|attempt| attempt.agent.clone());
    add("result", &|attempt| Some(result(attempt, winner)));
    if attempts.iter().any(|attempt| attempt.contradiction.is_some()) {
        add("contradiction", &|attempt| attempt.contradiction.as_deref().map(one_line));
    }
    add("gates", &gates);
    for name in measurements(task, attempts) {
        add(&one_line(&name), &|attempt| Some(attempt.report.as_ref()?.measurements.get(&name)?.to_string()));
    }
    add("tokens", &|attempt| Some(attempt.tokens.to_string()).filter(|_| attempt.tokens > 0));
    add("cost", &cost);
    add("duration", &duration);
    if plan.spec.workspace.is_some() {
        add("branch", &|attempt| commit(attempt).map(|_| branch(plan, task, attempt.number)));
        add("commit", &|attempt| commit(attempt).map(str::to_owned));
    }
    aligned(rows)
}

fn result(attempt: &Attempt, winner: Option<u32>) -> String {
    let reason = attempt.report.as_ref().map(|report| report.reason.as_str());
    match (reason, attempt.finished_at, attempt.lost_to) {
        (_, Some(_), Some(other)) => format!("passed, lost to attempt {other}"),
        (Some(_), Some(_), None) if winner == Some(attempt.number) => "passed, won".to_owned(),
        (Some(reason), Some(_), None) => reason.to_owned(),
        _ => "not recorded as ended".to_owned(),
    }
}

/// Returns the gates that ran, with the exit code of those that failed.
fn gates(attempt: &Attempt) -> Option<String> {
    let gate = |gate: &Gate| match gate.exit_code {
        Some(0) => format!("{} passed", one_line(&gate.name)),
        Some(code) => format!("{} exited with {code}", one_line(&gate.name)),
        None => format!("{} was killed", one_line(&gate.name)),
    };
    (!attempt.gates.is_empty()).then(|| attempt.gates.iter().map(gate).collect::<Vec<_>>().join(", "))
}

/// Returns the names of the measurements: those of the task, in order, then others that were reported.
fn measurements(task: &Task, attempts: &[&Attempt]) -> Vec<String> {
    let declared = task.spec.work.attempts.iter().flat_map(|attempts| &attempts.measurements).map(|m| m.name.clone());
    let mut names: Vec<String> = declared.collect();
    for name in attempts.iter().filter_map(|attempt| attempt.report.as_ref()).flat_map(|r| r.measurements.keys()) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn cost(attempt: &Attempt) -> Option<String> {
    if attempt.tokens == 0 {
        return None;
    }
    let known = convert::usd(attempt.cost_micro_usd);
    Some(if attempt.unpriced_tokens > 0 {
        format!("{known} USD, and {} tokens without a known price", attempt.unpriced_tokens)
    } else {
        format!("{known} USD")
    })
}

fn duration(attempt: &Attempt) -> Option<String> {
    let whole = || attempt.finished_at?.checked_sub(attempt.started_at?);
    let milliseconds = attempt.duration_ms.and_then(|ms| i64::try_from(ms).ok()).or_else(whole)?;
    Some(elapsed(SignedDuration::from_millis(milliseconds)))
}

fn commit(attempt: &Attempt) -> Option<&str> {
    attempt.report.as_ref()?.commit.as_deref()
}

fn branch(plan: &Plan, task: &Task, attempt: u32) -> String {
    names::task_branch(&plan.name_any(), &plan.uid().unwrap_or_default(), &task.name_any(), attempt)
}

/// Returns the commands that compare the work with that of the first attempt.
///
/// # Errors
/// Why the work cannot be compared.
fn git_commands(plan: &Plan, task: &Task, attempts: &[&Attempt]) -> Result<Vec<String>, String> {
    let Some(workspace) = &plan.spec.workspace else {
        return Err("the plan has no repository, so no files of the attempts are kept".into());
    };
    let mut commits = Vec::new();
    for attempt in attempts {
        let Some(commit) = commit(attempt) else {
            return Err(format!("attempt {} pushed no commit, so its files cannot be compared", attempt.number));
        };
        commits.push(one_line(commit));
    }
    let branches: Vec<String> = attempts.iter().map(|attempt| branch(plan, task, attempt.number)).collect();
    let mut commands = vec![format!("git fetch {} {}", quoted(&workspace.url), branches.join(" "))];
    commands.extend(commits.iter().skip(1).map(|commit| format!("git diff {} {commit}", commits[0])));
    Ok(commands)
}

/// Returns a text as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ":/@._~-".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", one_line(text).replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn attempt(number: u32, commit: Option<&str>, extra: &Value) -> Attempt {
        let mut attempt = json!({
            "attempt": number, "agent": "coder", "startedAt": 1_000, "finishedAt": 66_000, "gates": [{"name": "tests", "exitCode": 0}],
            "report": {"reason": "Succeeded", "commit": commit, "measurements": {"p95": "20.5"}},
            "tokens": 1200, "costMicroUsd": 380_000, "unpricedTokens": 0,
        });
        attempt.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        serde_json::from_value(attempt).unwrap()
    }

    fn objects() -> (Plan, Task) {
        let plan = json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Plan",
            "metadata": {"name": "shop", "uid": "5f0c1a2b-7d3e-4b8a-9c6d-0e1f2a3b4c5d"},
            "spec": {"agentRef": {"name": "coder"}, "workspace": {"url": "https://git.example.org/shop.git"}},
        });
        let task = json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Task", "metadata": {"name": "shop-t004"},
            "spec": {"planRef": {"name": "shop"}, "id": "T004", "title": "t"}, "status": {"contest": {"winner": 1}},
        });
        (serde_json::from_value(plan).unwrap(), serde_json::from_value(task).unwrap())
    }

    #[test]
    fn shows_what_the_record_has() {
        let (plan, task) = objects();
        let (one, other) = ("a".repeat(40), "b".repeat(40));
        let first = attempt(1, Some(&one), &json!({}));
        let lost = json!({"lostTo": 1, "unpricedTokens": 7, "durationMs": 3000, "report": {"reason": "Succeeded", "commit": other}});
        let third = attempt(3, None, &lost);
        let lines = table(&plan, &task, &[&first, &third]);
        let row = |title: &str| {
            lines.iter().find(|line| line.starts_with(title)).map(|line| {
                line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
            })
        };
        let cells = |cells: &[&str]| Some(cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
        assert_eq!(row("result"), cells(&["result", "passed, won", "passed, lost to attempt 1"]));
        assert_eq!(row("gates"), cells(&["gates", "tests passed", "tests passed"]));
        assert_eq!(row("p95"), cells(&["p95", "20.5", "-"]));
        assert_eq!(row("cost"), cells(&["cost", "0.38 USD", "0.38 USD, and 7 tokens without a known price"]));
        assert_eq!(row("duration"), cells(&["duration", "1m05s", "3s"]));
        assert_eq!(row("branch"), cells(&["branch", "enact/shop-5f0c1a2b/t004-1", "enact/shop-5f0c1a2b/t004-3"]));
        assert_eq!(
            git_commands(&plan, &task, &[&first, &third]),
            Ok(vec![
                "git fetch https://git.example.org/shop.git enact/shop-5f0c1a2b/t004-1 enact/shop-5f0c1a2b/t004-3"
                    .to_owned(),
                format!("git diff {one} {other}"),
            ])
        );
        let failed = attempt(2, None, &json!({"finishedAt": null}));
        assert_eq!(result(&failed, Some(1)), "not recorded as ended");
        assert!(git_commands(&plan, &task, &[&first, &failed]).unwrap_err().contains("attempt 2 pushed no commit"));
    }

    #[test]
    fn urls_are_one_word_of_a_shell() {
        assert_eq!(quoted("https://git.example.org/a;b'c"), r"'https://git.example.org/a;b'\''c'");
    }
}
