//! `explain`: why the agent of a task was selected, and the proposals for a plan.

use anyhow::{Result, bail};
use enact_crds::task::Phase;
use enact_crds::{Plan, Task, compile};
use enact_domain::agents::selection::{Outcome, Selection};
use enact_domain::condition::READY;
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::args::{Explain, ExplainOutput, Kind, kind_and_name};
use crate::cluster::{Cluster, api_error};
use crate::control::{Target, task_of};
use crate::record::{Record, Selected};
use crate::text::{aligned, one_line};
use crate::{planning, terminal};

/// What an argument names.
enum Found {
    Task(Box<Task>),
    /// The name of a plan.
    Plan(String),
}

/// Prints the proposals for a plan, or the candidates of a task with all components of their scores, and why the others were excluded.
pub async fn run(cluster: &Cluster, options: &Explain) -> Result<()> {
    let task = match find(cluster, &options.task).await? {
        Found::Plan(name) => return planning::explain(cluster, &name, options.output).await,
        Found::Task(_) if options.output == ExplainOutput::Json => bail!("--output json is for plans; name one"),
        Found::Task(task) => *task,
    };
    let plan: Plan = cluster.get(&task.spec.plan_ref.name).await?;
    terminal::print_line(&format!("{}: {}", task.spec.work.id, one_line(&task.spec.work.title)))?;
    contradiction(&task).map_or(Ok(()), |line| terminal::print_line(&line))?;
    contest(&task).iter().try_for_each(|line| terminal::print_line(line))?;
    if let Some(attempts) = task.spec.work.attempts.as_ref().filter(|attempts| !attempts.agents.is_empty()) {
        let agents = one_line(&attempts.agents.join(", "));
        return terminal::print_line(&format!("the Agents {agents} are named by the task: none is selected"));
    }
    let named = task.spec.work.agent_ref.as_ref().map(|agent| (agent, "the task"));
    if let Some((agent, by)) = named.or(plan.spec.agent_ref.as_ref().map(|agent| (agent, "the plan"))) {
        return terminal::print_line(&format!("Agent {} is named by {by}: none is selected", one_line(&agent.name)));
    }
    terminal::print_line(&format!("needs: {}", needs(&task)))?;
    let record = Record::open(cluster).await?;
    let mut selections = record.selections(&task.spec.plan_ref.name, &task.name_any()).await?;
    if let Some(attempt) = options.attempt {
        selections.retain(|selected| selected.attempt == attempt);
        if selections.is_empty() {
            bail!(
                "the record has no selection for attempt {attempt} of this task; without --attempt, the newest is shown"
            );
        }
    }
    // The plan says why its first task waits; another one waits for the same agents, or will start with one of them.
    let is_pending = task.status.as_ref().is_none_or(|status| status.phase == Phase::Pending);
    let waiting = waiting(&plan).filter(|_| is_pending && options.attempt.is_none());
    match (selections.first(), waiting) {
        (Some(selected), waiting) => {
            let waiting = waiting.into_iter().flat_map(|message| [String::new(), message]);
            lines(selected).into_iter().chain(waiting).try_for_each(|line| terminal::print_line(&line))
        }
        (None, Some(message)) => terminal::print_line(&message),
        (None, None) => terminal::print_line("no attempt has started; an agent is selected when one starts"),
    }
}

/// Returns the task or plan that an argument names. A name without a kind is first that of a Task.
async fn find(cluster: &Cluster, text: &str) -> Result<Found> {
    let name = match (Target::parse(text), kind_and_name(text).0) {
        (Target::TaskOfPlan(plan, id), _) => return Ok(Found::Task(Box::new(task_of(cluster, &plan, &id).await?))),
        (Target::Name(name), Some(Kind::Plan)) => return Ok(Found::Plan(name)),
        (Target::Name(name), Some(_)) => return Ok(Found::Task(Box::new(cluster.get(&name).await?))),
        (Target::Name(name), None) => name,
    };
    if let Some(task) = cluster.api::<Task>().get_opt(&name).await.map_err(api_error)? {
        return Ok(Found::Task(Box::new(task)));
    }
    match cluster.api::<Plan>().get_metadata_opt(&name).await.map_err(api_error)? {
        Some(_) => Ok(Found::Plan(name)),
        None => bail!("there is neither a Task nor a Plan {name} in namespace {}", cluster.namespace),
    }
}

/// Returns the line about what contradicts the result of an attempt.
fn contradiction(task: &Task) -> Option<String> {
    let contradiction = task.status.as_ref()?.contradiction.as_deref()?;
    Some(format!("a result is contradicted: {}; look at the pod and at the audit log", one_line(contradiction)))
}

/// Returns the lines about the competing attempts of a task, and why one of them won.
fn contest(task: &Task) -> Vec<String> {
    let Some(attempts) = &task.spec.work.attempts else { return Vec::new() };
    let status = task.status.as_ref().and_then(|status| status.contest.clone()).unwrap_or_default();
    let mut lines = vec![format!("the best of {} attempts counts", attempts.best_of)];
    lines.extend(status.message.as_deref().map(one_line));
    let mut head = ["ATTEMPT", "AGENT", "RESULT"].map(str::to_owned).to_vec();
    head.extend(attempts.measurements.iter().map(|measurement| one_line(&measurement.name).to_uppercase()));
    head.extend(["COST", "BRANCH"].map(str::to_owned));
    let mut rows = vec![head];
    for contestant in status.contestants.values() {
        let text = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), one_line);
        let result = match (status.winner, contestant.phase) {
            (Some(winner), _) if winner == contestant.attempt => "won".to_owned(),
            (_, Phase::Succeeded) => "passed".to_owned(),
            (_, phase) => {
                format!("{phase:?}{}", contestant.reason.as_deref().map(|r| format!(" ({r})")).unwrap_or_default())
            }
        };
        let mut row = vec![contestant.attempt.to_string(), text(contestant.agent.as_deref()), one_line(&result)];
        let numbers = attempts.measurements.iter().map(|m| contestant.measurements.get(&m.name).map(String::as_str));
        row.extend(numbers.map(text));
        row.push(contestant.usd.as_ref().map_or_else(|| "-".to_owned(), |usd| format!("{} USD", one_line(usd))));
        row.push(text(contestant.branch.as_deref()));
        rows.push(row);
    }
    if rows.len() > 1 {
        lines.push(String::new());
        lines.extend(aligned(rows));
    }
    lines.push(String::new());
    lines
}

/// Returns what a task needs, and where that comes from.
fn needs(task: &Task) -> String {
    let needs = compile::needs(&task.spec.work);
    let names = needs.names.iter().map(|name| one_line(name)).collect::<Vec<_>>().join(", ");
    match (names.is_empty(), needs.stated) {
        (true, _) => "nothing".to_owned(),
        (false, true) => format!("{names} (stated)"),
        (false, false) => format!("{names} (derived from its text)"),
    }
}

/// Returns the message of a plan some of whose tasks wait for an agent.
fn waiting(plan: &Plan) -> Option<String> {
    let ready = plan.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == READY)?;
    (ready.reason == "WaitingForAgent").then(|| one_line(&ready.message))
}

/// Returns the lines about one selection.
fn lines(selected: &Selected) -> Vec<String> {
    let Selected { attempt, agent, at, selection } = selected;
    let at = at.and_then(|at| Timestamp::from_millisecond(at).ok());
    let at = at.map(|at| format!(" at {}", at.strftime("%Y-%m-%d %H:%M"))).unwrap_or_default();
    let kept = if selection.kept { ", which had the previous attempt" } else { "" };
    let mut lines = vec![format!("attempt {attempt}: Agent {} was selected{at}{kept}", one_line(agent)), String::new()];
    lines.extend(table(selection));
    lines
}

fn table(selection: &Selection) -> Vec<String> {
    let head = ["AGENT", "SCORE", "PROFICIENCY", "SUCCESS", "LOAD", "PRICE", "PREFERENCE", "EXCLUDED"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for candidate in &selection.candidates {
        let name = one_line(&candidate.agent);
        rows.push(match &candidate.outcome {
            Outcome::Score(s) => {
                let parts = [s.total(), s.proficiency, s.success, s.load, s.price, s.preference];
                [name].into_iter().chain(parts.map(|part| part.to_string())).chain([String::new()]).collect()
            }
            Outcome::Excluded(exclusion) => {
                let none = std::iter::repeat_n("-".to_owned(), 6);
                [name].into_iter().chain(none).chain([one_line(&exclusion.message)]).collect()
            }
        });
    }
    aligned(rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shows_the_contest_and_who_won() {
        let measurements = json!([{"name": "p95", "script": "./bench"}]);
        let task: Task = serde_json::from_value(json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Task", "metadata": {"name": "shop-t004"},
            "spec": {"planRef": {"name": "shop"}, "id": "T004", "title": "t", "attempts": {"bestOf": 3, "measurements": measurements}},
            "status": {"contest": {"winner": 2, "message": "attempt 2 of Agent b won: it has the best p95", "contestants": {
                "1": {"phase": "Succeeded", "attempt": 1, "agent": "a", "measurements": {"p95": "30"}, "branch": "x/t004-1", "usd": "0.40"},
                "2": {"phase": "Succeeded", "attempt": 2, "agent": "b", "measurements": {"p95": "20.5"}, "branch": "x/t004-2"},
                "3": {"phase": "Failed", "attempt": 3, "agent": "a", "reason": "GateFailed"},
            }}},
        }))
        .unwrap();
        assert_eq!(
            contest(&task),
            [
                "the best of 3 attempts counts",
                "attempt 2 of Agent b won: it has the best p95",
                "",
                "ATTEMPT  AGENT  RESULT               P95   COST      BRANCH",
                "1        a      passed               30    0.40 USD  x/t004-1",
                "2        b      won                  20.5  -         x/t004-2",
                "3        a      Failed (GateFailed)  -     -         -",
                "",
            ]
        );
    }

    #[test]
    fn shows_what_contradicts_a_result() {
        let task = |status: serde_json::Value| -> Task {
            serde_json::from_value(json!({
                "apiVersion": "enact.dev/v1alpha1", "kind": "Task", "metadata": {"name": "shop-t004"},
                "spec": {"planRef": {"name": "shop"}, "id": "T004", "title": "t"}, "status": status,
            }))
            .unwrap()
        };
        assert_eq!(contradiction(&task(json!({}))), None);
        let text = "attempt 1: the runner delivered Succeeded, then the pod ended with Killed: by signal 9";
        let shown = contradiction(&task(json!({ "contradiction": text }))).unwrap();
        assert!(shown.starts_with(&format!("a result is contradicted: {text}")), "{shown}");
    }

    #[test]
    fn shows_all_candidates_and_components() {
        let selected: Selected = serde_json::from_value(json!({
            "attempt": 2, "agent": "coder", "at": 1_767_225_600_000_i64, "needs": ["rust"], "kept": true,
            "candidates": [
                {"agent": "coder", "score": {"proficiency": 360, "success": 270, "load": 25, "price": 25, "preference": 50}},
                {"agent": "cheap", "score": {"proficiency": 160, "success": 150, "load": 100, "price": 100, "preference": 50}},
                {"agent": "writer", "excluded": {"reason": "LacksCapability", "message": "lacks rust"}},
            ],
        }))
        .unwrap();
        assert_eq!(
            lines(&selected),
            [
                "attempt 2: Agent coder was selected at 2026-01-01 00:00, which had the previous attempt",
                "",
                "AGENT   SCORE  PROFICIENCY  SUCCESS  LOAD  PRICE  PREFERENCE  EXCLUDED",
                "coder   730    360          270      25    25     50",
                "cheap   560    160          150      100   100    50",
                "writer  -      -            -        -     -      -           lacks rust",
            ]
        );
    }
}
