//! Measurements of the operator's process and its metrics.

use std::fs;

use anyhow::{Context as _, Result, bail};
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

/// Returns the peak memory of the operator's process in MiB. Its pod runs on this machine.
///
/// # Errors
/// If there is not exactly one such process.
pub fn peak_mebibytes() -> Result<f64> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let folder = entry?.path();
        // A process may end at any time.
        let Ok(arguments) = fs::read(folder.join("cmdline")) else { continue };
        let mut arguments = arguments.split(|&byte| byte == 0);
        if arguments.next() == Some(b"enact-operator") && arguments.next() == Some(b"run") {
            let status = fs::read_to_string(folder.join("status"))?;
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kibibytes: f64 = peak.and_then(|p| p.split_whitespace().next()).context("no VmHWM")?.parse()?;
            found.push(kibibytes / 1024.0);
        }
    }
    match found.as_slice() {
        [peak] => Ok(*peak),
        _ => bail!("{} processes are called `enact-operator run`; one was expected", found.len()),
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
