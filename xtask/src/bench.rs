//! `cargo xtask bench`: measures documents and rules on one core, search and the record on a real Postgres, plans on a real API server with
//! nodes that kwok simulates, and the running webhook. References are measured in the same run.

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

/// Measures Enact: documents and rules, search, the record, plans, the webhook. docs/reference/performance.md explains the figures
#[derive(Args)]
pub(crate) struct Bench {
    /// Run only these benchmarks, separated by commas; default: all
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,

    /// Flags of the benchmark program, for example `-- --repeats 1 --parallel 200 --live 0`
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// A benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Reading documents and evaluating rules
    Documents,
    /// Parsing and compiling the largest tasks.md
    Tasks,
    /// Search on a real Postgres
    Search,
    /// The record on a real Postgres
    Record,
    /// Plans on a real cluster
    Plans,
    /// The webhook on a real cluster
    Webhook,
}

/// Prepares Postgres and the cluster, installs release builds, and runs the benchmarks.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let wanted = |part: &Part| bench.only.is_empty() || bench.only.contains(part);
    if wanted(&Part::Documents) {
        documents()?;
    }
    // The benchmark program has the same parts, but for the examples of a crate.
    let parts: Vec<String> = Part::value_variants()
        .iter()
        .filter(|&part| wanted(part) && *part != Part::Documents)
        .filter_map(|part| Some(part.to_possible_value()?.get_name().to_owned()))
        .collect();
    if parts.is_empty() {
        return Ok(());
    }
    let in_cluster = wanted(&Part::Plans) || wanted(&Part::Webhook);
    if in_cluster {
        install()?;
    }
    let built = binaries::compile(&["enact-bench"], Profile::Release)?;
    let [program] = built.as_slice() else { bail!("there is more than one enact-bench") };
    let mut measure = cmd(&program.executable, ["--parts", &parts.join(",")]);
    if wanted(&Part::Search) || wanted(&Part::Record) {
        measure.env("ENACT_BENCH_POSTGRES", postgres::ensure()?);
    }
    if in_cluster {
        measure.arg("--audit-log").arg(cluster::audit_log()?).env("KUBECONFIG", cluster::default_kubeconfig()?);
    }
    measure.args(&bench.arguments).show()
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
            // All reviews go to one process, whose memory is measured.
            "--set=webhook.replicas=1",
        ],
    )
}
