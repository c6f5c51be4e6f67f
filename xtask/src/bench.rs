//! `cargo xtask bench`: figures on a real API server with nodes that kwok plays, and on a real Postgres, beside references in the same run.

use anyhow::{Result, bail};
use clap::Args;

use crate::binaries;
use crate::cluster::{self, Options};
use crate::cmd::{CommandExt, cmd};
use crate::images;
use crate::install::{self, Images};
use crate::kube::Kube;
use crate::postgres;

/// The most that a played node takes, and enough of them for all pods at once.
const NODES: u32 = 20;

/// Measures Enact: wall time, latency of a step, API writes, memory, database round trips, search
#[derive(Args)]
pub(crate) struct Bench {
    /// Measure search alone, which needs no cluster
    #[arg(long)]
    search: bool,

    /// Flags of the measuring program, as in `-- --parallel 200 --live 0`
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Prepares Postgres and the cluster, installs programs that are optimised as for a release, measures, and puts the usual installation back.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    if !bench.search {
        install()?;
    }
    let built = binaries::compile(&["enact-bench"], true)?;
    let [program] = built.as_slice() else { bail!("there is more than one enact-bench") };
    let mut measure = cmd(&program.executable, &bench.arguments);
    measure.env("ENACT_BENCH_POSTGRES", postgres::ensure()?);
    if !bench.search {
        measure.arg("--audit-log").arg(cluster::audit_log()?).env("KUBECONFIG", cluster::default_kubeconfig()?);
    }
    measure.show()
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
