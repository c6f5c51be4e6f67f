//! `decisions`: the recorded decisions of plans, as a table, JSON or MADR files, and what they recommend.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use enact_crds::approval::SubjectKind;
use enact_crds::convert;
use enact_domain::decisions::recommendations::{Recommendation, RecommendationSource};
use enact_domain::decisions::{DecisionOutcome, PlanOutcome, RecordedDecision, State};
use enact_domain::names::slug;
use enact_domain::text::truncated;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::args::{Decisions, DecisionsOutput};
use crate::cluster::Cluster;
use crate::record::{self, Record};
use crate::terminal::{self, note};
use crate::text::{aligned, fit, one_line, safe};

/// Most columns of a cell with untrusted text.
const MAX_CELL_WIDTH: usize = 48;
/// Most characters of a question in the name of a file.
const MAX_SLUG: usize = 60;

/// The answer of the server.
#[derive(Debug, Deserialize)]
struct Answer {
    decisions: Vec<DecisionOutcome>,
}

/// Prints or exports the decisions of the namespace, of one plan, or of the plans for one specification.
pub async fn run(cluster: &Cluster, options: &Decisions) -> Result<()> {
    if let Some(question) = &options.recommend {
        return recommend(cluster, question, options.output).await;
    }
    let found = Record::open(cluster).await?.decisions(&parameters(options)).await?;
    if options.output == DecisionsOutput::Json {
        return print_json(&found);
    }
    let Answer { decisions } = record::parse(&found)?;
    if decisions.is_empty() {
        note(&format!(
            "no decision is recorded for this in namespace {}; they are recorded when a proposal with decisions is chosen",
            cluster.namespace
        ));
        return Ok(());
    }
    match &options.madr {
        Some(folder) => export(folder, &decisions),
        None => terminal::print(&(table(&decisions, options.output == DecisionsOutput::Wide).join("\n") + "\n")),
    }
}

/// Prints an answer of the server.
fn print_json(answer: &[u8]) -> Result<()> {
    let value: Value = record::parse(answer)?;
    terminal::print_line(&safe(&serde_json::to_string_pretty(&value)?))
}

/// The answer of the server about what worked.
#[derive(Debug, Deserialize)]
struct Recommended {
    recommendations: Vec<Recommendation>,
}

/// Prints the choices that worked for a question.
async fn recommend(cluster: &Cluster, question: &str, output: DecisionsOutput) -> Result<()> {
    let found = Record::open(cluster).await?.recommendations(question).await?;
    if output == DecisionsOutput::Json {
        return print_json(&found);
    }
    let Recommended { recommendations } = record::parse(&found)?;
    if recommendations.is_empty() {
        note(
            "no Plan that succeeded has a decision in force with one of these words, in the namespaces that you may read",
        );
        return Ok(());
    }
    terminal::print(&(recommendation_table(&recommendations).join("\n") + "\n"))
}

/// Returns a line for each recommendation, the best first.
fn recommendation_table(recommendations: &[Recommendation]) -> Vec<String> {
    let titles = ["QUESTION", "CHOICE", "PLANS", "FAILED ATTEMPTS", "SOURCES"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    let source = |source: &RecommendationSource| {
        one_line(&format!("{}/{} (decision {})", source.namespace, source.plan, source.decision))
    };
    rows.extend(recommendations.iter().map(|found| {
        vec![
            fit(&found.question, MAX_CELL_WIDTH),
            fit(&found.choice, MAX_CELL_WIDTH),
            found.plans.to_string(),
            format!("{} of {}", found.failed_attempts, found.attempts),
            found.sources.iter().map(source).collect::<Vec<_>>().join(", "),
        ]
    }));
    aligned(rows)
}

/// Returns the parameters of the request to the server.
fn parameters(options: &Decisions) -> Vec<(&'static str, String)> {
    let parameter = options.of.as_ref().map(|of| match of.kind {
        Some(SubjectKind::Specification) => ("specification", of.name.clone()),
        _ => ("plan", of.name.clone()),
    });
    parameter.into_iter().collect()
}

/// Returns a line for each decision. A wide one ends with what became of the plan.
fn table(decisions: &[DecisionOutcome], wide: bool) -> Vec<String> {
    const TITLES: [&str; 8] = ["ID", "STATE", "QUESTION", "CHOICE", "PLAN", "PROPOSED BY", "CHOSEN BY", "WHEN (UTC)"];
    const OUTCOME: [&str; 6] = ["PLAN STATE", "TASKS", "FAILED ATTEMPTS", "RUN AGAIN", "DISCARDED", "COST"];
    let more: &[&str] = if wide { &OUTCOME } else { &[] };
    let mut rows = vec![TITLES.iter().chain(more).map(|title| (*title).to_owned()).collect::<Vec<_>>()];
    rows.extend(decisions.iter().map(|DecisionOutcome { decision, outcome }| {
        let mut cells = vec![
            decision.id.to_string(),
            state(decision),
            fit(&decision.question, MAX_CELL_WIDTH),
            fit(&decision.choice, MAX_CELL_WIDTH),
            one_line(&decision.plan),
            one_line(&decision.agent),
            fit(decision.chosen_by.as_deref().unwrap_or("selection"), MAX_CELL_WIDTH),
            time(decision, "%Y-%m-%d %H:%M"),
        ];
        if wide {
            cells.extend(outcome.as_ref().map_or_else(|| OUTCOME.map(|_| "-".to_owned()), outcome_cells));
        }
        cells
    }));
    aligned(rows)
}

fn outcome_cells(outcome: &PlanOutcome) -> [String; 6] {
    let failed = if outcome.failed_tasks > 0 { format!(", {} failed", outcome.failed_tasks) } else { String::new() };
    [
        one_line(outcome.state.as_deref().unwrap_or("not started")),
        format!("{} succeeded{failed}", outcome.succeeded_tasks),
        format!("{} of {}", outcome.failed_attempts, outcome.attempts),
        outcome.repeated_tasks.to_string(),
        outcome.discarded_attempts.to_string(),
        cost(outcome),
    ]
}

/// Returns the cost of a plan; at least the known part.
fn cost(outcome: &PlanOutcome) -> String {
    let least = if outcome.unpriced_tokens > 0 { "> " } else { "" };
    format!("{least}{} USD", convert::usd(outcome.cost_micro_usd))
}

/// Returns a sentence about what became of a plan.
fn sentence(plan: &str, outcome: &PlanOutcome) -> String {
    let [state, tasks, attempts, repeated, discarded, cost] = outcome_cells(outcome);
    format!(
        "Plan {} so far: {state}; tasks: {tasks}; {attempts} attempts failed; {repeated} tasks ran again after they had passed; \
         the work of {discarded} attempts is discarded; it cost {cost}.",
        one_line(plan)
    )
}

/// Returns the state of a decision, and what replaces it.
fn state(decision: &RecordedDecision) -> String {
    match (decision.state, decision.superseded_by) {
        (State::InForce, _) => "in force".to_owned(),
        (State::Superseded, Some(by)) => format!("superseded by {by}"),
        (State::Superseded, None) => "superseded".to_owned(),
        (State::Withdrawn, _) => "withdrawn".to_owned(),
    }
}

fn time(decision: &RecordedDecision, format: &str) -> String {
    Timestamp::from_millisecond(decision.at.0).map_or_else(|_| "?".to_owned(), |at| at.strftime(format).to_string())
}

/// Writes a file for each decision.
fn export(folder: &Path, decisions: &[DecisionOutcome]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create the directory {}", folder.display()))?;
    for decision in decisions {
        let path = folder.join(file_name(&decision.decision));
        fs::write(&path, madr(decision)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    terminal::print_line(&format!("{} decisions are written to {}", decisions.len(), folder.display()))
}

/// Returns the name of a decision's file. Only its number identifies it.
fn file_name(decision: &RecordedDecision) -> String {
    let slug = slug(&decision.question);
    let slug = truncated(&slug, MAX_SLUG).trim_end_matches('-');
    format!("{:04}-{}.md", decision.id, if slug.is_empty() { "decision" } else { slug })
}

/// Returns a decision as a Markdown Architectural Decision Record. Each text of an agent stays on one line, so that it can add no section.
fn madr(DecisionOutcome { decision, outcome }: &DecisionOutcome) -> String {
    let status = match decision.state {
        State::InForce => "accepted".to_owned(),
        State::Superseded => state(decision),
        State::Withdrawn => "rejected".to_owned(),
    };
    let chosen_by = decision.chosen_by.as_deref().map_or_else(|| "the selection of the plan".to_owned(), one_line);
    let [question, choice, rationale, consequences] =
        [&decision.question, &decision.choice, &decision.rationale, &decision.consequences].map(|text| one_line(text));
    let options = std::iter::once(&decision.choice).chain(&decision.alternatives);
    let options: String = options.map(|option| format!("* {}\n", one_line(option))).collect();
    let because = if rationale.is_empty() { "the proposal gives no reason".to_owned() } else { rationale };
    let consequences = match consequences.as_str() {
        "" => String::new(),
        consequences => format!("\n### Consequences\n\n* {consequences}\n"),
    };
    let supersedes = decision.supersedes.map_or_else(String::new, |id| format!("\n* It supersedes decision {id}."));
    let outcome = outcome.as_ref().filter(|outcome| outcome.state.is_some());
    let outcome = outcome.map_or_else(String::new, |outcome| format!("\n* {}", sentence(&decision.plan, outcome)));
    let (plan, specification, agent) =
        (one_line(&decision.plan), one_line(&decision.specification), one_line(&decision.agent));
    format!(
        "---\nstatus: {}\ndate: {}\ndecision-makers: {}\n---\n\n# {question}\n\n\
         ## Context and Problem Statement\n\n\
         Plan {plan} implements Specification {specification} (`{}`). Its planner had to settle: {question}\n\n\
         ## Considered Options\n\n{options}\n\
         ## Decision Outcome\n\nChosen option: \"{choice}\", because: {because}\n{consequences}\n\
         ## More Information\n\n\
         * Agent {agent} proposed it (`{}`); chosen by {chosen_by}.{supersedes}{outcome}\n",
        Value::from(status),
        time(decision, "%Y-%m-%d"),
        Value::from(chosen_by.as_str()),
        one_line(&decision.specification_digest),
        one_line(&decision.proposal),
    )
}
