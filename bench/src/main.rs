//! Measures Enact on a real API server with nodes that kwok simulates, and its search on a real Postgres. A reference is measured in the
//! same run, because machines differ and are noisy. `cargo xtask bench` prepares both and runs this program.

mod audit;
mod figures;
mod namespace;
mod operator;
mod plan;
mod reference;
mod search;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Parser;
use kube::Client;

use crate::figures::Figures;
use crate::namespace::Namespace;

/// Measures an installation of Enact
#[derive(Parser)]
struct Bench {
    /// Number of tasks in the plan whose tasks all run in parallel
    #[arg(long, default_value_t = 1000)]
    parallel: u32,

    /// Number of tasks in the plan in which each task depends on the previous one
    #[arg(long, default_value_t = 50)]
    chain: u32,

    /// Number of tasks, in plans of a thousand, for the measurement of memory; 0 skips it
    #[arg(long, default_value_t = 10_000)]
    live: u32,

    /// Audit log of the API server, at the level Metadata; without it, the cluster is not measured
    #[arg(long)]
    audit_log: Option<PathBuf>,

    /// Superuser URL of a Postgres with pgvector; without it, search is not measured
    #[arg(long, env = "ENACT_BENCH_POSTGRES", hide_env_values = true)]
    postgres: Option<String>,

    /// User name of the operator
    #[arg(long, default_value = "system:serviceaccount:enact-system:enact-operator")]
    operator_user: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let bench = Bench::parse();
    let mut figures = Figures::default();
    if let Some(server) = &bench.postgres {
        search::measure(server, &mut figures).await?;
    }
    if let Some(audit_log) = &bench.audit_log {
        Box::pin(cluster(&bench, audit_log, &mut figures)).await?;
    }
    figures.print();
    Ok(())
}

/// Measures an installation in a cluster.
async fn cluster(bench: &Bench, audit_log: &Path, figures: &mut Figures) -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::try_default().await?;
    let namespace = Namespace::set(&client).await?;

    let pods = reference::pods(&namespace, bench.parallel).await?;
    figures.add("reference: bare pods", f64::from(bench.parallel), "");
    figures.add("reference: wall time", pods.as_secs_f64(), "s");

    let before = audit::Mark::now(audit_log)?;
    let idle = operator::record_load(&client).await?;
    let parallel = plan::parallel(&namespace, "parallel", bench.parallel).await?;
    let writes = before.writes(audit_log, &bench.operator_user)?;
    figures.add("parallel plan: tasks", f64::from(bench.parallel), "");
    figures.add("parallel plan: wall time", parallel.as_secs_f64(), "s");
    figures.add("parallel plan: against the reference", parallel.as_secs_f64() / pods.as_secs_f64(), "x");
    figures.add("API writes of the operator a task", f64::from(writes.all) / f64::from(bench.parallel), "");
    for (what, count) in &writes.by_kind {
        println!("  {what}: {count}");
    }
    let load = operator::record_load(&client).await?.since(&idle);
    figures.add("parallel plan: round trips to the record a record", load.round_trips / load.records, "");

    let bare = Box::pin(reference::chain(&namespace, bench.chain as usize)).await?;
    let steps = plan::chain(&namespace, "chain", bench.chain).await?;
    figures.add("chain: steps", f64::from(bench.chain), "");
    figures.add("reference: latency of a step, p50", bare.percentile(50) * 1000.0, "ms");
    figures.add("chain: latency of a step, p50", steps.percentile(50) * 1000.0, "ms");
    figures.add("chain: latency of a step, p95", steps.percentile(95) * 1000.0, "ms");
    figures.add("chain: against the reference, p50", steps.percentile(50) / bare.percentile(50), "x");
    figures.add("operator: memory after these, peak", operator::peak_mebibytes()?, "MiB");

    if bench.live > 0 {
        let wall = plan::live(&namespace, bench.live).await?;
        figures.add("live tasks", f64::from(bench.live), "");
        figures.add("live tasks: until all were done", wall.as_secs_f64(), "s");
        figures.add("operator: memory at the live tasks, peak", operator::peak_mebibytes()?, "MiB");
    }
    namespace.clear().await
}
