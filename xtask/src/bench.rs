//! `cargo xtask bench`: measures documents and rules on one core, search on a real Postgres, and plans on a real API server with nodes
//! that kwok simulates. References are measured in the same run.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::binaries::{self, Profile};
use crate::cluster::{self, Options};
use crate::cmd::{self, CommandExt, cmd};
use crate::dirs;
use crate::images;
use crate::install::{self, Images};
use crate::kube::Kube;
use crate::postgres;

/// The number of simulated nodes: enough for all pods at once.
const NODES: u32 = 20;

/// Measures Enact: documents and rules, search, wall time, latency of a step, API writes, memory, database round trips
#[derive(Args)]
pub(crate) struct Bench {
    /// Run only this benchmark; default: all
    #[arg(long, value_enum)]
    only: Option<Part>,

    /// Flags of the benchmark program, for example `-- --parallel 200 --live 0`
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// A benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Reading documents and evaluating rules
    Documents,
    /// Search on a real Postgres
    Search,
    /// Plans on a real cluster
    Plans,
}

/// Prepares Postgres and the cluster, installs release builds, runs the benchmarks, and restores the usual installation.
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
    let built = binaries::compile(&["enact-bench"], Profile::Release)?;
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

/// Measures documents and rules, which need neither a cluster nor Postgres, with the examples of their crate.
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
    let images = Images::load(images::archives(&[], Profile::Release)?)?;
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
