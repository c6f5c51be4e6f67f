//! Measures Enact: documents in this process, search and record on a real Postgres, plans on a real API server with nodes that kwok
//! simulates, and the running webhook. A reference is measured in the same run, because machines differ and are noisy. `cargo xtask bench`
//! prepares everything and runs this program.

mod audit;
mod database;
mod figures;
mod namespace;
mod operator;
mod plan;
mod process;
mod record;
mod reference;
mod search;
mod tasks;
mod webhook;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use kube::Client;

use crate::figures::{Figure, Figures};
use crate::namespace::Namespace;
use crate::process::Process;

/// Measures an installation of Enact
#[derive(Parser)]
struct Bench {
    /// What to measure, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', required = true)]
    parts: Vec<Part>,

    /// Number of repeats; the table has their median and range
    #[arg(long, default_value_t = 5)]
    repeats: u32,

    /// Number of tasks in the plan whose tasks all run in parallel
    #[arg(long, default_value_t = 1000)]
    parallel: u32,

    /// Number of tasks in the plan in which each task depends on the previous one
    #[arg(long, default_value_t = 50)]
    chain: u32,

    /// Number of tasks, in plans of a thousand, for the measurement of memory; 0 skips it
    #[arg(long, default_value_t = 10_000)]
    live: u32,

    /// Audit log of the API server, at the level Metadata; for plans
    #[arg(long)]
    audit_log: Option<PathBuf>,

    /// Superuser URL of a Postgres with pgvector; for search and record
    #[arg(long, env = "ENACT_BENCH_POSTGRES", hide_env_values = true)]
    postgres: Option<String>,

    /// User name of the operator
    #[arg(long, default_value = "system:serviceaccount:enact-system:enact-operator")]
    operator_user: String,
}

/// A part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Tasks,
    Search,
    Record,
    Plans,
    Webhook,
}

#[tokio::main]
async fn main() -> Result<()> {
    let bench = Bench::parse();
    let mut figures = Figures::default();
    let _ = rustls::crypto::ring::default_provider().install_default();
    // What was measured before a failure is shown too.
    let measured = measure(&bench, &mut figures).await;
    figures.print();
    measured
}

async fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let postgres = || bench.postgres.as_deref().context("set ENACT_BENCH_POSTGRES to the URL of a Postgres");
    for part in &bench.parts {
        match part {
            Part::Tasks => tasks::measure(bench.repeats, figures)?,
            Part::Search => search::measure(postgres()?, figures).await?,
            Part::Record => record::measure(postgres()?, bench.repeats, figures).await?,
            Part::Plans => {
                let audit_log = bench.audit_log.as_deref().context("plans need --audit-log")?;
                Box::pin(plans(bench, audit_log, figures)).await?;
            }
            Part::Webhook => {
                let client = Client::try_default().await?;
                Box::pin(webhook::measure(&client, &bench.operator_user, bench.repeats, figures)).await?;
            }
        }
    }
    Ok(())
}

/// Measures plans of an installation in a cluster.
async fn plans(bench: &Bench, audit_log: &Path, figures: &mut Figures) -> Result<()> {
    let client = Client::try_default().await?;
    let namespace = Namespace::set(&client, namespace::NAME).await?;
    parallel(bench, &namespace, audit_log, figures).await?;
    chain(bench, &namespace, figures).await?;
    let operator = Process::find(&["enact-operator", "run"])?;
    figures.add("operator: memory after these, peak", operator.peak_mebibytes()?, "MiB");

    if bench.live > 0 {
        let wall = plan::live(&namespace, bench.live).await?;
        figures.add(&format!("{} live tasks: until all were done", bench.live), wall.as_secs_f64(), "s");
        let work = format!("operator: memory at {} live tasks, peak", bench.live);
        figures.push(Figure::new(work, "MiB", vec![operator.peak_mebibytes()?]).goal("≤ 64 MiB at 10,000"));
    }
    namespace.clear().await
}

/// Measures a plan whose tasks all run in parallel.
async fn parallel(bench: &Bench, namespace: &Namespace, audit_log: &Path, figures: &mut Figures) -> Result<()> {
    let (mut bare, mut walls, mut writes, mut round_trips) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.repeats {
        bare.push(reference::pods(namespace, bench.parallel).await?.as_secs_f64());
        let before = audit::Mark::now(audit_log)?;
        let idle = operator::record_load(&namespace.client).await?;
        walls.push(plan::parallel(namespace, "parallel", bench.parallel).await?.as_secs_f64());
        let written = before.writes(audit_log, &bench.operator_user)?;
        writes.push(f64::from(written.all) / f64::from(bench.parallel));
        for (what, count) in &written.by_kind {
            println!("  {what}: {count}");
        }
        let load = operator::record_load(&namespace.client).await?.since(&idle);
        round_trips.push(load.round_trips / load.records);
    }
    let work = format!("{} parallel tasks", bench.parallel);
    figures.push(
        Figure::new(format!("{work}: wall time"), "s", walls).against("the same bare pods", bare).goal("≤ 1.05 ×"),
    );
    figures.push(Figure::new(format!("{work}: API writes of the operator a task"), "", writes).goal("≤ 3.05"));
    figures.push(Figure::new(format!("{work}: round trips to Postgres a record"), "", round_trips).goal("≤ 0.1"));
    Ok(())
}

/// Measures a plan in which each task depends on the previous one.
async fn chain(bench: &Bench, namespace: &Namespace, figures: &mut Figures) -> Result<()> {
    let mut percentiles: [(usize, Vec<f64>, Vec<f64>, &str); 2] =
        [(50, Vec::new(), Vec::new(), "≤ 1.5 ×"), (99, Vec::new(), Vec::new(), "≤ 25 ms")];
    for _ in 0..bench.repeats {
        let bare = Box::pin(reference::chain(namespace, bench.chain as usize)).await?;
        let steps = plan::chain(namespace, "chain", bench.chain).await?;
        for (share, of_steps, of_bare, _) in &mut percentiles {
            of_steps.push(steps.percentile(*share) * 1000.0);
            of_bare.push(bare.percentile(*share) * 1000.0);
        }
    }
    for (share, steps, bare, goal) in percentiles {
        let work = format!("chain of {}: latency of a step, p{share}", bench.chain);
        figures.push(Figure::new(work, "ms", steps).against("bare pods in sequence", bare).goal(goal));
    }
    Ok(())
}
