//! Metrics of the operator.

use anyhow::{Context as _, Result};
use kube::Client;

/// The number of round trips to Postgres and of records written since the operator's start.
pub struct Load {
    pub round_trips: f64,
    pub records: f64,
}

impl Load {
    /// Returns the difference to an earlier reading.
    pub fn since(&self, before: &Self) -> Self {
        Self { round_trips: self.round_trips - before.round_trips, records: self.records - before.records }
    }
}

/// Reads the operator's metrics through the API server.
///
/// # Errors
/// If they cannot be read.
pub async fn record_load(client: &Client) -> Result<Load> {
    let path = "/api/v1/namespaces/enact-system/services/enact-operator:8081/proxy/metrics";
    let request = http::Request::get(path).body(Vec::new())?;
    let metrics = client.request_text(request).await.context("cannot read the operator's metrics")?;
    let value = |name: &str| -> Result<f64> {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("the operator has no metric {name}"))?.parse()?)
    };
    Ok(Load { round_trips: value("enact_database_round_trips_total")?, records: value("enact_records_total")? })
}
