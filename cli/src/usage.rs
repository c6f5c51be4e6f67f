//! `usage`: tokens and cost of model requests, and budgets.

use std::collections::BTreeMap;

use anyhow::Result;
use enact_crds::Plan;
use enact_domain::time::Millis;
use enact_domain::usage::{Charge, Scope};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::args::{Usage, UsageOutput};
use crate::cluster::{Cluster, api_error};
use crate::estimate;
use crate::record::{self, Budget, Budgets, Record, UsageReport, UsageRow};
use crate::terminal::{self, BAD, Paint, WARNING, note};
use crate::text::{align, one_line, safe};

/// Mark of rows with usage that the agent has reported itself.
const SELF_REPORTED: &str = "*";
/// Width of the bar that shows how much of a budget is used.
const BAR: usize = 10;

/// Prints the usage of the namespace.
pub async fn run(cluster: &Cluster, options: &Usage) -> Result<()> {
    let record = Record::open(cluster).await?;
    let usage = record.usage(&parameters(options)).await?;
    match options.output {
        UsageOutput::Csv => terminal::print(&safe(&String::from_utf8_lossy(&usage))),
        UsageOutput::Json => {
            let budgets: Value = record::parse(&record.budgets(options.plan.as_deref()).await?)?;
            let usage: Value = record::parse(&usage)?;
            let text = serde_json::to_string_pretty(&json!({ "usage": usage, "budgets": budgets }))?;
            terminal::print_line(&safe(&text))
        }
        UsageOutput::Table => {
            let report: UsageReport = record::parse(&usage)?;
            let budgets: Budgets = record::parse(&record.budgets(options.plan.as_deref()).await?)?;
            print_tables(&report, &budgets.budgets, &cluster.namespace)?;
            if let Some(plan) = &options.plan {
                print_estimate(cluster, plan).await?;
            }
            Ok(())
        }
    }
}

/// Prints what was expected of a plan and what it has spent, if the plan still exists.
async fn print_estimate(cluster: &Cluster, name: &str) -> Result<()> {
    let plan = match cluster.api::<Plan>().get_opt(name).await {
        Ok(plan) => plan,
        // The report above is complete without it.
        Err(error) => {
            note(&format!("the estimate of Plan {name} cannot be read: {:#}", api_error(error)));
            return Ok(());
        }
    };
    match plan.and_then(|plan| plan.status).as_ref().and_then(estimate::compare) {
        Some(compared) => terminal::print_line(&format!("\nPlan {name}: {compared}")),
        None => Ok(()),
    }
}

/// The model requests of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskUsage {
    /// What it has used, and what is reserved and left of its budget.
    pub line: String,
    /// Time at which its last request started, or ended.
    pub last_at: Option<Millis>,
}

/// Returns the model requests of each task of a plan, by the name of the Task.
pub async fn by_task(cluster: &Cluster, plan: &Plan) -> Result<BTreeMap<String, TaskUsage>> {
    let name = plan.name_any();
    // A Plan of the same name may have existed before.
    let from = plan.creation_timestamp().map(|at| ("from", at.0.to_string()));
    let parameters: Vec<_> = [("by", "task".to_owned()), ("plan", name.clone())].into_iter().chain(from).collect();
    let record = Record::open(cluster).await?;
    let report: UsageReport = record::parse(&record.usage(&parameters).await?)?;
    let budgets: Budgets = record::parse(&record.budgets(Some(&name)).await?)?;
    Ok(of_tasks(&report, &budgets.budgets))
}

fn of_tasks(report: &UsageReport, budgets: &[Budget]) -> BTreeMap<String, TaskUsage> {
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut last: BTreeMap<String, Option<Millis>> = BTreeMap::new();
    for row in &report.rows {
        last.insert(row.value("task"), row.last_at);
        let spent =
            format!("{}, {} tokens", cost(&row.charge, row.unpriced_tokens), grouped(row.charge.tokens.total()));
        let discarded =
            (row.discarded.tokens.total() > 0).then(|| format!("{} discarded", discarded_part(&row.discarded)));
        lines.entry(row.value("task")).or_default().extend([spent].into_iter().chain(discarded));
    }
    for Budget { name, balance, .. } in budgets.iter().filter(|budget| matches!(budget.scope, Scope::Task { .. })) {
        let tokens = |tokens: u64| format!("{} tokens", grouped(tokens));
        let (cost, reserved) = (balance.reserved.known_cost(), balance.reserved.tokens.total());
        let reserved = if cost > 0 { Some(usd(cost)) } else { (reserved > 0).then(|| tokens(reserved)) };
        let left = balance.remaining_cost().map(usd).into_iter().chain(balance.remaining_tokens().map(tokens));
        let parts = reserved.map(|reserved| format!("{reserved} reserved")).into_iter();
        lines.entry(name.clone()).or_default().extend(parts.chain(left.map(|left| format!("{left} left"))));
    }
    lines
        .into_iter()
        .map(|(name, parts)| {
            let last_at = last.get(&name).copied().flatten();
            (name, TaskUsage { line: one_line(&parts.join(", ")), last_at })
        })
        .filter(|(_, usage)| !usage.line.is_empty())
        .collect()
}

/// Returns the parameters of the request.
fn parameters(options: &Usage) -> Vec<(&'static str, String)> {
    let format = (options.output == UsageOutput::Csv).then(|| "csv".to_owned());
    let all = [
        ("by", Some(options.by.join(","))),
        ("from", options.from.clone()),
        ("to", options.to.clone()),
        ("plan", options.plan.clone()),
        ("agent", options.agent.clone()),
        ("format", format),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn print_tables(report: &UsageReport, budgets: &[Budget], namespace: &str) -> Result<()> {
    let (from, to) = (when(report.from), when(report.to));
    if report.rows.is_empty() {
        note(&format!("namespace {namespace} has no model requests from {from} to {to}"));
    } else {
        terminal::print_line(&format!("Usage of namespace {namespace} from {from} to {to} (UTC)"))?;
        for line in usage_table(report) {
            terminal::print_line(&line)?;
        }
        for remark in remarks(&report.rows) {
            note(&remark);
        }
    }
    let limited = budget_table(budgets, Paint::for_stream(&std::io::stdout()));
    if !limited.is_empty() {
        terminal::print_line("")?;
        for line in limited {
            terminal::print_line(&line)?;
        }
    }
    Ok(())
}

/// Formats a time in milliseconds since 1970.
fn when(at: i64) -> String {
    Timestamp::from_millisecond(at).map_or_else(|_| "?".into(), |at| at.strftime("%Y-%m-%d %H:%M").to_string())
}

/// Returns the lines of the table of usage, with the sum as the last line.
fn usage_table(report: &UsageReport) -> Vec<String> {
    // The report is about one namespace, so that its column says nothing.
    let dimensions: Vec<&String> = report.by.iter().filter(|name| *name != "namespace").collect();
    let numbers = ["REQUESTS", "INPUT", "CACHED", "OUTPUT", "COST", "DISCARDED"].map(ToOwned::to_owned);
    let mut rows = vec![dimensions.iter().map(|name| name.to_uppercase()).chain(numbers).collect::<Vec<_>>()];
    rows.extend(report.rows.iter().map(|row| {
        let values = dimensions.iter().map(|name| one_line(&row.value(name)));
        // A text that is empty would look like a shift of the columns.
        let values = values.map(|value| if value.is_empty() { "(none)".to_owned() } else { value });
        let mark = if row.self_reported > 0 { SELF_REPORTED } else { "" };
        values
            .chain([format!("{}{mark}", row.requests)])
            .chain(amounts(&row.charge, row.unpriced_tokens, &row.discarded))
            .collect()
    }));
    if report.rows.len() > 1 {
        let (mut charge, mut discarded, mut unpriced) = (Charge::default(), Charge::default(), 0_u64);
        for row in &report.rows {
            charge.add(&row.charge);
            discarded.add(&row.discarded);
            unpriced = unpriced.saturating_add(row.unpriced_tokens);
        }
        // A request counts once for each requirement of its task, so that their sum would be too high.
        let by_requirement = report.by.iter().any(|name| name == "requirement");
        let requests: u64 = report.rows.iter().map(|row| row.requests).fold(0, u64::saturating_add);
        let requests = if by_requirement { String::new() } else { requests.to_string() };
        let labels = (0..dimensions.len()).map(|at| if at == 0 { "TOTAL".to_owned() } else { String::new() });
        rows.push(labels.chain([requests]).chain(amounts(&charge, unpriced, &discarded)).collect());
    }
    align_numbers(&mut rows, dimensions.len());
    rows.iter().map(|row| row.concat().trim_end().to_owned()).collect()
}

/// Returns the columns of tokens and cost.
fn amounts(charge: &Charge, unpriced: u64, discarded: &Charge) -> [String; 5] {
    let tokens = &charge.tokens;
    [
        grouped(tokens.input.saturating_add(tokens.cache_write)),
        grouped(tokens.cached_input),
        grouped(tokens.output),
        cost(charge, unpriced),
        discarded_part(discarded),
    ]
}

/// Formats a cost. A cost that is only partly known is a lower bound.
fn cost(charge: &Charge, unpriced: u64) -> String {
    match charge.cost_micro_usd {
        Some(cost) if unpriced > 0 => format!("> {}", usd(cost)),
        Some(cost) => usd(cost),
        None if charge.tokens.total() == 0 => "-".to_owned(),
        None => "unknown".to_owned(),
    }
}

fn discarded_part(discarded: &Charge) -> String {
    match discarded.cost_micro_usd {
        _ if discarded.tokens.total() == 0 => "-".to_owned(),
        Some(cost) => usd(cost),
        None => format!("{} tokens", grouped(discarded.tokens.total())),
    }
}

/// Returns what a reader must know about the numbers.
fn remarks(rows: &[UsageRow]) -> Vec<String> {
    let sum = |count: fn(&UsageRow) -> u64| rows.iter().map(count).fold(0, u64::saturating_add);
    let mut remarks = Vec::new();
    let unpriced = sum(|row| row.unpriced_tokens);
    if unpriced > 0 {
        let unpriced = grouped(unpriced);
        remarks.push(format!(
            "{unpriced} tokens are of models without a known price and not in the cost; set prices in the ModelProvider"
        ));
    }
    for (count, text) in [
        (sum(|row| row.running), "requests run; their usage is not included yet"),
        (sum(|row| row.estimated), "requests have an estimated usage, because their gateway stopped before they ended"),
        (
            sum(|row| row.self_reported),
            "entries, in the rows with a *, are reported by the agent itself and not measured by the gateway",
        ),
    ] {
        if count > 0 {
            remarks.push(format!("{count} {text}"));
        }
    }
    remarks
}

/// Returns the lines of the table of budgets: one line for each limit.
fn budget_table(budgets: &[Budget], paint: Paint) -> Vec<String> {
    let title = ["BUDGET", "LIMIT", "SPENT", "RESERVED", "REMAINING", "USED"].map(ToOwned::to_owned).to_vec();
    let mut rows = vec![title];
    let mut parts = vec![0];
    for budget in budgets {
        let Budget { scope, name, balance } = budget;
        let name = match scope {
            Scope::Tenant { month } | Scope::Agent { month, .. } => {
                format!("{}/{} {month}", scope.kind(), one_line(name))
            }
            Scope::Plan { .. } | Scope::Task { .. } | Scope::Attempt { .. } => {
                format!("{}/{}", scope.kind(), one_line(name))
            }
        };
        let limits = [
            (balance.limit.cost_micro_usd, balance.spent.known_cost(), balance.reserved.known_cost(), true),
            (balance.limit.tokens, balance.spent.tokens.total(), balance.reserved.tokens.total(), false),
        ];
        for (limit, spent, reserved, money) in limits {
            let Some(limit) = limit else { continue };
            let amount = |amount: u64| if money { usd(amount) } else { format!("{} tokens", grouped(amount)) };
            let used = spent.saturating_add(reserved);
            let percent = percent(used, limit);
            rows.push(vec![
                name.clone(),
                amount(limit),
                amount(spent),
                amount(reserved),
                amount(limit.saturating_sub(used)),
                format!("{} {percent}%", bar(percent)),
            ]);
            parts.push(percent);
        }
    }
    if rows.len() == 1 {
        return Vec::new();
    }
    align(&mut rows);
    let style = |percent: u64| match percent {
        0..80 => anstyle::Style::new(),
        80..100 => WARNING,
        _ => BAD,
    };
    rows.iter().zip(parts).map(|(row, percent)| paint.with(style(percent), row.concat().trim_end())).collect()
}

/// Returns the used part in percent, rounded down. A limit of zero is used up.
fn percent(used: u64, limit: u64) -> u64 {
    let part = u128::from(used) * 100;
    part.checked_div(u128::from(limit)).map_or(100, |percent| u64::try_from(percent).unwrap_or(u64::MAX))
}

fn bar(percent: u64) -> String {
    let filled = usize::try_from(percent).unwrap_or(usize::MAX).saturating_mul(BAR) / 100;
    let filled = filled.min(BAR);
    format!("[{}{}]", "#".repeat(filled), ".".repeat(BAR - filled))
}

/// Formats micro-USD, rounded up to a hundredth of a cent so that no cost looks like none.
fn usd(micro: u64) -> String {
    let units = micro.div_ceil(100);
    format!("${}.{:04}", grouped(units / 10_000), units % 10_000)
}

/// Formats a number with separators of thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let separate = |(at, digit): (usize, char)| {
        let before = at > 0 && (digits.len() - at).is_multiple_of(3);
        before.then_some(',').into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(separate).collect()
}

/// Pads texts on the right and numbers, which are the columns from `numbers`, on the left.
fn align_numbers(rows: &mut [Vec<String>], numbers: usize) {
    let columns = rows.iter().map(Vec::len).min().unwrap_or_default();
    for column in numbers..columns {
        let widest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        for row in rows.iter_mut() {
            row[column] = format!("{:>widest$}", row[column]);
        }
    }
    align(rows);
}

#[cfg(test)]
mod tests {
    use enact_domain::usage::{Balance, Limit, Tokens};

    use super::*;

    fn charge(tokens: u64, cost_micro_usd: Option<u64>) -> Charge {
        Charge { tokens: Tokens { input: tokens, ..Tokens::default() }, cost_micro_usd }
    }

    #[test]
    fn numbers_have_separators() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 1, 100, 1_234_567_800, u64::MAX].map(usd),
            ["$0.0000", "$0.0001", "$0.0001", "$1,234.5678", "$18,446,744,073,709.5517"]
        );
    }

    #[test]
    fn an_unknown_price_is_not_zero() {
        assert_eq!(cost(&charge(5, None), 5), "unknown");
        assert_eq!(cost(&charge(5, Some(2_000_000)), 3), "> $2.0000");
        assert_eq!(cost(&charge(0, None), 0), "-");
        assert_eq!(discarded_part(&charge(1500, None)), "1,500 tokens");
    }

    #[test]
    fn tasks_show_what_is_spent_reserved_and_left() {
        let row = |task: &str, charge, discarded| UsageRow {
            last_at: Some(Millis(5000)),
            requests: 1,
            running: 0,
            estimated: 0,
            self_reported: 0,
            charge,
            unpriced_tokens: 0,
            discarded,
            values: BTreeMap::from([("task".to_owned(), json!(task))]),
        };
        let rows = vec![
            row("shop-t1", charge(1200, Some(30_000)), charge(200, Some(5000))),
            row("shop-t2", charge(7, Some(100)), Charge::default()),
        ];
        let report = UsageReport { from: 0, to: 0, by: vec!["task".into()], rows };
        let limit = Limit { tokens: Some(2000), cost_micro_usd: None };
        let balance =
            Balance { limit, spent: charge(1200, Some(30_000)), reserved: charge(300, Some(200)), unpriced_tokens: 0 };
        let budget = |scope, name: &str| Budget { scope, name: name.into(), balance };
        let budgets =
            [budget(Scope::Task { uid: "u".into() }, "shop-t1"), budget(Scope::Plan { uid: "p".into() }, "shop-t2")];
        let tasks = of_tasks(&report, &budgets);
        let line = "$0.0300, 1,200 tokens, $0.0050 discarded, $0.0002 reserved, 500 tokens left";
        assert_eq!(tasks["shop-t1"], TaskUsage { line: line.into(), last_at: Some(Millis(5000)) });
        assert_eq!((tasks["shop-t2"].line.as_str(), tasks.len()), ("$0.0001, 7 tokens", 2), "the plan is not a task");
    }

    #[test]
    fn budgets_without_a_limit_are_left_out() {
        let budget = |limit, spent| Budget {
            scope: Scope::Plan { uid: "u".into() },
            name: "shop\u{1b}[2J".into(),
            balance: Balance { limit, spent, ..Balance::default() },
        };
        let none = Limit::default();
        assert_eq!(budget_table(&[budget(none, charge(1, None))], Paint::new(false)), [""; 0]);
        let both = Limit { tokens: Some(2000), cost_micro_usd: Some(0) };
        let table = budget_table(&[budget(both, charge(500, Some(0)))], Paint::new(false));
        let cells: Vec<Vec<&str>> = table.iter().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(cells[1], ["plan/shop", "[2J", "$0.0000", "$0.0000", "$0.0000", "$0.0000", "[##########]", "100%"]);
        assert_eq!(
            cells[2][2..],
            ["2,000", "tokens", "500", "tokens", "0", "tokens", "1,500", "tokens", "[##........]", "25%"]
        );
    }
}
