//! Requests for usage, and their answers as JSON or CSV.

use enact_domain::time::Millis;
use enact_domain::usage::{Charge, month};
use enact_store::{Dimension, UsageFilter, UsageQuery, UsageRow};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;
use warp::http::{HeaderValue, header};
use warp::reply::{Reply, Response};

/// The columns of a CSV answer after the dimensions.
const COLUMNS: [&str; 14] = [
    "requests",
    "running",
    "estimated",
    "selfReported",
    "inputTokens",
    "cachedInputTokens",
    "cacheWriteTokens",
    "outputTokens",
    "reasoningTokens",
    "totalTokens",
    "costUsd",
    "unpricedTokens",
    "discardedTokens",
    "discardedCostUsd",
];

/// A request for the usage of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRequest {
    /// The first time that is included; the start of the month when none.
    pub from: Option<Millis>,
    /// The first time that is not included any more; the present when none.
    pub to: Option<Millis>,
    pub group_by: Vec<Dimension>,
    /// Name of a Plan.
    pub plan: Option<String>,
    /// `<namespace>/<name>` of an Agent.
    pub agent: Option<String>,
    /// Whether the answer is CSV instead of JSON.
    pub csv: bool,
}

impl UsageRequest {
    /// Returns the query for a namespace.
    pub fn query(&self, namespace: &str, now: Millis) -> UsageQuery {
        let start_of_month = || first_time(&format!("{}-01", month(now))).unwrap_or(now);
        UsageQuery {
            from: self.from.unwrap_or_else(start_of_month),
            to: self.to.unwrap_or(now),
            group_by: self.group_by.clone(),
            filter: UsageFilter {
                namespace: Some(namespace.to_owned()),
                plan: self.plan.clone(),
                agent: self.agent.clone(),
            },
        }
    }

    /// Returns the answer with these rows.
    pub fn answer(&self, query: &UsageQuery, rows: &[UsageRow]) -> Response {
        if !self.csv {
            let value = json!({ "from": query.from, "to": query.to, "by": query.dimensions(), "rows": rows });
            return warp::reply::json(&value).into_response();
        }
        let mut response = csv(query, rows).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
        response
    }
}

/// Returns the start of a day in UTC, or a time.
pub fn first_time(text: &str) -> Option<Millis> {
    day(text).or_else(|| time(text))
}

/// Returns the end of a day in UTC, or a time.
pub fn end_time(text: &str) -> Option<Millis> {
    let end = |start: Millis| start.plus_seconds(24 * 3600);
    day(text).map(end).or_else(|| time(text))
}

fn day(text: &str) -> Option<Millis> {
    // Only this form: the parser also accepts times.
    let date: Date = text.parse().ok().filter(|_| text.len() == "2026-11-30".len())?;
    Some(Millis(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond()))
}

fn time(text: &str) -> Option<Millis> {
    Some(Millis(text.parse::<Timestamp>().ok()?.as_millisecond()))
}

/// Returns the rows as CSV with a header.
fn csv(query: &UsageQuery, rows: &[UsageRow]) -> Vec<u8> {
    let dimensions = query.dimensions();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let names = dimensions.iter().map(|dimension| dimension.as_str()).chain(COLUMNS);
    let mut records = vec![names.map(ToOwned::to_owned).collect::<Vec<String>>()];
    records.extend(rows.iter().map(|row| {
        let values = dimensions.iter().map(|dimension| text(&row.value(*dimension).unwrap_or_default()));
        values.chain(numbers(row)).collect()
    }));
    // Writing to memory does not fail.
    for record in records {
        if let Err(error) = writer.write_record(&record) {
            tracing::error!(%error, "a row of usage cannot be written as CSV");
        }
    }
    writer.into_inner().unwrap_or_default()
}

/// Returns a text that a spreadsheet does not take for a formula. Names of models come from agents.
fn text(value: &str) -> String {
    let mut shown = String::with_capacity(value.len() + 1);
    // A spreadsheet of some languages begins a new cell at each `;`, also within quotes.
    let mut begins_cell = true;
    for c in value.chars() {
        // The last four are the wide forms, which spreadsheets read as the others.
        if begins_cell && matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '＝' | '＋' | '－' | '＠') {
            shown.push('\'');
        }
        begins_cell = matches!(c, ';' | '\t' | '\r' | '\n') || begins_cell && matches!(c, ' ' | '"');
        shown.push(c);
    }
    shown
}

fn numbers(row: &UsageRow) -> [String; COLUMNS.len()] {
    let tokens = &row.charge.tokens;
    [
        row.requests.to_string(),
        row.running.to_string(),
        row.estimated.to_string(),
        row.self_reported.to_string(),
        tokens.input.to_string(),
        tokens.cached_input.to_string(),
        tokens.cache_write.to_string(),
        tokens.output.to_string(),
        tokens.reasoning.to_string(),
        tokens.total().to_string(),
        usd(&row.charge),
        row.unpriced_tokens.to_string(),
        row.discarded.tokens.total().to_string(),
        usd(&row.discarded),
    ]
}

/// Returns the cost in US dollars; empty if it is unknown.
fn usd(charge: &Charge) -> String {
    charge.cost_micro_usd.map_or_else(String::new, |cost| format!("{}.{:06}", cost / 1_000_000, cost % 1_000_000))
}

#[cfg(test)]
mod tests {
    use enact_domain::usage::Tokens;

    use super::*;

    fn request() -> UsageRequest {
        UsageRequest { from: None, to: None, group_by: vec![Dimension::Model], plan: None, agent: None, csv: true }
    }

    #[test]
    fn usage_is_of_the_month_by_default() {
        let query = request().query("team", Millis(1_796_000_000_000));
        assert_eq!((query.from, query.to), (Millis(1_793_491_200_000), Millis(1_796_000_000_000)));
    }

    #[test]
    fn csv_quotes_what_agents_choose() {
        let row = |model: &str, cost_micro_usd| UsageRow {
            model: Some(model.to_owned()),
            requests: 2,
            charge: Charge { tokens: Tokens { input: 10, output: 5, ..Tokens::default() }, cost_micro_usd },
            ..UsageRow::default()
        };
        let rows = [row("a,\"b\"\n", Some(1_500_000)), row("=1+1", None)];
        let text = String::from_utf8(csv(&request().query("team", Millis(0)), &rows)).unwrap();
        let mut lines = text.split_inclusive('\n');
        assert!(lines.next().unwrap().starts_with("model,requests,running,"), "{text}");
        assert!(text.contains("\"a,\"\"b\"\"\n\",2,0,0,0,10,0,0,5,0,15,1.500000,0,0,\n"), "{text}");
        assert!(text.contains("'=1+1,2,0,0,0,10,0,0,5,0,15,,0,0,\n"), "an unknown price is empty: {text}");
    }

    #[test]
    fn no_part_of_a_text_is_a_formula() {
        let cases = [
            ("gpt-4.1+x@eu", "gpt-4.1+x@eu"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("＝1＋1", "'＝1＋1"),
            ("a;=1;-b", "a;'=1;'-b"),
            ("a; \"=1", "a; \"'=1"),
            ("a\n+1\r=2", "a\n'+1\r'=2"),
            ("\t=1", "'\t'=1"),
            ("", ""),
        ];
        for (value, expected) in cases {
            assert_eq!(text(value), expected);
        }
    }
}
