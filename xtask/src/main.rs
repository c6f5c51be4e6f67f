//! The project's own commands: `cargo xtask --help`.

mod apt;
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
mod schemas;
mod test;
mod tools;
mod wheel;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::cmd::CommandExt;

/// Commands for developing, testing and showing Enact on one Linux machine
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Xtask {
    /// Show the whole way, from `helm install` to a product that pods have built
    Demo(demo::Demo),

    /// Check everything, as CI does
    Test(test::Test),

    /// Measure on a real API server, beside a reference
    Bench(bench::Bench),

    /// A real Kubernetes on this machine, without Docker
    Cluster(cluster::Cluster),

    /// Write the custom resource definitions and their reference page anew, from the types in `crds/src`
    Crds,

    /// Build the container images, and bring them to a cluster or registry
    Images(images::Build),

    /// Fetch the sentence model for search by meaning, and print its folder
    Model,

    /// A real Postgres with pgvector on loopback, for tests that need no cluster
    #[command(subcommand)]
    Postgres(postgres::Action),

    /// Run kubectl against the cluster of this machine, or the one that KUBECONFIG names
    #[command(disable_help_flag = true)]
    Kubectl(kube::Arguments),

    /// Run Helm against the cluster of this machine, or the one that KUBECONFIG names
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
        Xtask::Bench(bench) => bench::run(&bench),
        Xtask::Cluster(cluster) => cluster::run(cluster),
        Xtask::Crds => crds(),
        Xtask::Images(build) => images::run(&build),
        Xtask::Model => model::run(),
        Xtask::Postgres(action) => postgres::run(&action),
        Xtask::Kubectl(arguments) => kube::exec("kubectl", &arguments),
        Xtask::Helm(arguments) => kube::exec("helm", &arguments),
        Xtask::HelmUnittest(arguments) => kube::exec("helm-unittest", &arguments),
    }
}

/// The tests that compare what is generated write it, too.
fn crds() -> Result<()> {
    let mut tests = cmd::cargo(["test", "--package", "enact-crds", "--test", "generated", "--test", "reference"]);
    tests.current_dir(dirs::workspace()).env("ENACT_UPDATE", "1").show()
}
