//! `cargo xtask bench`: figures of reading documents and of rules on one core, and on a real Postgres and a real API server with nodes that
//! kwok plays, beside references in the same run.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::binaries;
use crate::cluster::{self, Options};
use crate::cmd::{self, CommandExt, cmd};
use crate::dirs;
use crate::images;
use crate::install::{self, Images};
use crate::kube::Kube;
use crate::postgres;

/// The most that a played node takes, and enough of them for all pods at once.
const NODES: u32 = 20;

/// Measures Enact: documents and rules, search, wall time, latency of a step, API writes, memory, database round trips
#[derive(Args)]
pub(crate) struct Bench {
    /// Measure this alone; default: all
    #[arg(long, value_enum)]
    only: Option<Part>,

    /// Flags of the measuring program, as in `-- --parallel 200 --live 0`
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// A part of what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Reading documents and evaluating rules
    Documents,
    /// Search on a real Postgres
    Search,
    /// Plans on a real cluster
    Plans,
}

/// Prepares Postgres and the cluster, installs programs that are optimised as for a release, measures, and puts the usual installation back.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let wanted = |part| bench.only.is_none_or(|only| only == part);
    if wanted(Part::Documents) {
        documents()?;
    }
    if wanted(Part::Plans) {
        install()?;
    }
    if bench.only == Some(Part::Documents) {
        return Ok(());
    }
    let built = binaries::compile(&["enact-bench"], true)?;
    let [program] = built.as_slice() else { bail!("there is more than one enact-bench") };
    let mut measure = cmd(&program.executable, &bench.arguments);
    if wanted(Part::Search) {
        measure.env("ENACT_BENCH_POSTGRES", postgres::ensure()?);
    }
    if wanted(Part::Plans) {
        measure.arg("--audit-log").arg(cluster::audit_log()?).env("KUBECONFIG", cluster::default_kubeconfig()?);
    }
    measure.show()
}

/// Documents and rules need neither cluster nor Postgres: their figures are printed by programs of their own room.
fn documents() -> Result<()> {
    for example in ["speckit_speed", "rules_speed"] {
        let run = ["run", "--quiet", "--release", "--package", "enact-domain", "--example", example];
        cmd::cargo(run).current_dir(dirs::workspace()).show()?;
    }
    Ok(())
}

fn install() -> Result<()> {
    let options = Options { audit: true, nodes: Some(NODES), ..Options::default() };
    cluster::up(&options)?;
    let kube = Kube::own()?;
    let images = Images::load(images::archives(&[], true)?)?;
    install::helm(
        &kube,
        &images,
        &[
            "--set=operator.extraEnv[0].name=ENACT_AGENT_NODE_SELECTOR",
            "--set=operator.extraEnv[0].value=type=kwok",
            "--set=operator.extraEnv[1].name=ENACT_AGENT_TOLERATIONS",
            "--set=operator.extraEnv[1].value=kwok.x-k8s.io/node",
            "--set=operator.resources.limits.memory=1Gi",
        ],
    )
}
