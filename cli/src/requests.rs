//! `requests`: what agents sent to models and what they got, for tenants with request logging.

use anyhow::Result;
use enact_domain::names::task_name;
use jiff::Timestamp;
use serde_json::Value;

use crate::args::{PlanOrTask, Requests, RequestsOutput};
use crate::cluster::Cluster;
use crate::record::{self, LoggedRequest, LoggedRequests, Record};
use crate::terminal::{self, note};
use crate::text::{one_line, safe};

/// Prints the texts of requests of the namespace.
pub async fn run(cluster: &Cluster, options: &Requests) -> Result<()> {
    let found = Record::open(cluster).await?.requests(&parameters(options)).await?;
    if options.output == RequestsOutput::Json {
        let value: Value = record::parse(&found)?;
        return terminal::print_line(&safe(&serde_json::to_string_pretty(&value)?));
    }
    let LoggedRequests { requests } = record::parse(&found)?;
    if requests.is_empty() {
        note(&format!(
            "no texts of requests are recorded for this in namespace {}; spec.requestLogging of the Tenant turns it on",
            cluster.namespace
        ));
    }
    for (number, request) in requests.iter().rev().enumerate() {
        if number > 0 {
            terminal::print_line("")?;
        }
        for line in lines(request) {
            terminal::print_line(&line)?;
        }
    }
    Ok(())
}

/// Returns the parameters of the request to the server.
fn parameters(options: &Requests) -> Vec<(&'static str, String)> {
    let mut parameters = vec![("limit", options.limit.to_string())];
    if let Some(PlanOrTask { plan, task }) = &options.target {
        parameters.extend(task.as_ref().map(|id| ("task", task_name(plan, id))));
        parameters.push(("plan", plan.clone()));
    }
    parameters.extend(options.agent.clone().map(|agent| ("agent", agent)));
    parameters
}

/// Returns the lines for one request: what is known about it, and the two texts.
fn lines(request: &LoggedRequest) -> [String; 5] {
    let at = Timestamp::from_millisecond(request.at).map_or_else(|_| "?".into(), |at| at.to_string());
    let subject = if request.task.is_empty() { "draft" } else { &request.task };
    let outcome = request.outcome.as_deref().unwrap_or("runs");
    let status = request.http_status.filter(|status| *status != 200).map(|status| format!(" {status}"));
    let tokens = &request.charge.tokens;
    let title = format!(
        "{at} {subject} attempt {}, {}, {} of {}: {outcome}{}, {} tokens of input, {} of output",
        request.attempt,
        request.agent,
        request.model,
        request.provider,
        status.unwrap_or_default(),
        tokens.prompt(),
        tokens.output,
    );
    [
        one_line(&title),
        format!("--- request ({} bytes)", request.request_bytes),
        safe(&request.request).into_owned(),
        format!("--- answer ({} bytes)", request.answer_bytes),
        safe(&request.answer).into_owned(),
    ]
}
