//! The project's own commands: `cargo xtask --help`.

mod apt;
mod attack;
mod bench;
mod binaries;
mod charts;
mod cluster;
mod cmd;
mod daemon;
mod demo;
mod digest;
mod dirs;
mod images;
mod install;
mod kube;
mod model;
mod parallel;
mod postgres;
mod random;
mod sbom;
mod schemas;
mod test;
mod tools;
mod wheel;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::cmd::CommandExt;

/// Commands to develop, test and demonstrate Enact on one Linux machine
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Xtask {
    /// Run the demonstration: from `helm install` to a product that pods have built
    Demo(demo::Demo),

    /// Run all checks, as CI does
    Test(test::Test),

    /// Attack an installation, in tenants of its own, and report what stopped each attack
    Attack(attack::Attack),

    /// Run the benchmarks on a real API server, next to a reference
    Bench(bench::Bench),

    /// Manage a Kubernetes cluster on this machine, without Docker
    Cluster(cluster::Cluster),

    /// Generate the custom resource definitions and their reference page from the types in `crds/src`
    Crds,

    /// Build the container images, and load them into a cluster or push them to a registry
    Images(images::Build),

    /// Download the sentence model for search by meaning, and print its folder
    Model,

    /// Manage a Postgres with pgvector on loopback, for tests that need no cluster
    #[command(subcommand)]
    Postgres(postgres::Action),

    /// Write the software bills of materials of the images to dist/sbom, without Debian's packages
    Sbom,

    /// Run kubectl against the cluster of this machine, or the cluster in KUBECONFIG
    #[command(disable_help_flag = true)]
    Kubectl(kube::Arguments),

    /// Run Helm against the cluster of this machine, or the cluster in KUBECONFIG
    #[command(disable_help_flag = true)]
    Helm(kube::Arguments),

    /// Run Helm's unit tests of charts
    #[command(disable_help_flag = true)]
    HelmUnittest(kube::Arguments),
}

fn main() -> ExitCode {
    match run(Xtask::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Xtask) -> Result<()> {
    match task {
        Xtask::Demo(demo) => demo::run(&demo),
        Xtask::Test(test) => test::run(&test),
        Xtask::Attack(attack) => attack::run(&attack),
        Xtask::Bench(bench) => bench::run(&bench),
        Xtask::Cluster(cluster) => cluster::run(cluster),
        Xtask::Crds => crds(),
        Xtask::Images(build) => images::run(&build),
        Xtask::Model => model::run(),
        Xtask::Postgres(action) => postgres::run(&action),
        Xtask::Sbom => sbom::run(),
        Xtask::Kubectl(arguments) => kube::exec("kubectl", &arguments),
        Xtask::Helm(arguments) => kube::exec("helm", &arguments),
        Xtask::HelmUnittest(arguments) => kube::exec("helm-unittest", &arguments),
    }
}

/// Runs the tests that compare the generated files; with `ENACT_UPDATE` they write them.
fn crds() -> Result<()> {
    let mut tests = cmd::cargo(["test", "--package", "enact-crds", "--test", "generated", "--test", "reference"]);
    tests.current_dir(dirs::workspace()).env("ENACT_UPDATE", "1").show()
}
