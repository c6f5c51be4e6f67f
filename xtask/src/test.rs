//! `cargo xtask test`: the checks of CI, the fastest first, with the time of each step.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::binaries::Profile;
use crate::cmd::{self, CommandExt, cmd};
use crate::images::{self, archive::Archive};
use crate::install::{self, Delivery, Images};
use crate::kube::Kube;
use crate::{apt, charts, cluster, dirs, parallel, postgres, tools};

/// Runs all checks, and installs what they need
#[derive(Args)]
pub(crate) struct Test {
    /// Run only these steps; default: all
    #[arg(value_enum)]
    steps: Vec<Step>,

    /// Keep the cluster that was started for the tests
    #[arg(long)]
    keep: bool,

    /// Run only the cluster tests whose name contains this text
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
}

/// A step of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Check the formatting of the sources
    Format,
    /// Run clippy and the compiler's lints, as errors
    Lint,
    /// Check licences and sources of dependencies
    Deny,
    /// Run unit, property and snapshot tests, and the tests on a real Postgres
    Unit,
    /// Check the Helm charts: lint, unit tests, schemas, alerts
    Charts,
    /// Run the tests on a real cluster: installation, plans with real pods, faults, upgrade
    Cluster,
}

/// Runs the steps until one fails.
pub(crate) fn run(test: &Test) -> Result<()> {
    let steps = if test.steps.is_empty() { Step::value_variants() } else { &test.steps };
    let mut times = Vec::new();
    let mut failure = None;
    for step in steps {
        println!("\n=== {step:?}");
        let began = Instant::now();
        let result = step.run(test);
        times.push((*step, began.elapsed()));
        if let Err(error) = result {
            failure = Some(error.context(format!("the step `{step:?}` failed")));
            break;
        }
    }
    report(&times);
    failure.map_or(Ok(()), Err)
}

fn report(times: &[(Step, Duration)]) {
    println!("\nTime of each step:");
    for (step, time) in times {
        println!("  {:8} {:6.0} s", format!("{step:?}"), time.as_secs_f32());
    }
    let total: Duration = times.iter().map(|(_, time)| *time).sum();
    println!("  {:8} {:6.0} s", "total", total.as_secs_f32());
}

impl Step {
    fn run(self, test: &Test) -> Result<()> {
        match self {
            Self::Format => cargo(["fmt", "--all", "--check"]).show(),
            Self::Lint => cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).show(),
            Self::Deny => deny(),
            Self::Unit => unit(),
            Self::Charts => charts::check(),
            Self::Cluster => on_cluster(test),
        }
    }
}

fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut cargo = cmd::cargo(args);
    cargo.current_dir(dirs::workspace());
    cargo
}

fn deny() -> Result<()> {
    let deny = tools::cargo_program("cargo-deny", "0.20.2")?;
    // Advisories need network access to a Git repository: run `cargo deny check advisories` for them.
    let mut check = cmd(deny, ["check", "bans", "licenses", "sources"]);
    check.current_dir(dirs::workspace()).show()
}

fn unit() -> Result<()> {
    apt::ensure(&["git"])?;
    let url = postgres::ensure()?;
    // All tests are built with the arguments that the cluster tests use too. With other arguments, cargo could select other features and
    // compile again.
    cargo(["test", "--workspace", "--no-run"]).show()?;
    let mut tests = cargo(["test", "--workspace", "--exclude", "enact-e2e"]);
    tests.env("ENACT_TEST_DATABASE_URL", url).show()
}

/// Starts a cluster, installs the release, and runs the tests of `e2e/`.
fn on_cluster(test: &Test) -> Result<()> {
    let was_there = cluster::default_kubeconfig().is_ok();
    let up = || cluster::up(&cluster::Options::default());
    let ((), archives) = parallel::both(up, || images::archives(&[], Profile::WithTests))?;
    let result = tests_on_cluster(test, archives);
    // A cluster that this command started is deleted even if the tests failed. A cluster that existed before is kept.
    if !was_there && !test.keep {
        cluster::down()?;
    }
    result
}

fn tests_on_cluster(test: &Test, archives: Vec<Archive>) -> Result<()> {
    let kube = Kube::own()?;
    let images = install::deliver_images(&kube, &Delivery::default(), archives)?;
    images::check_push(&images.archives).context("images cannot be pushed")?;
    install::helm(&kube, &images, &["--set=server.pushes.enabled=true"])?;
    // The installation deletes images that it does not use, so this one is loaded afterwards.
    let model = Images::load(images::archives(&["minilm".to_owned()], Profile::WithTests)?)?.name("minilm")?;
    let mut programs = e2e_programs()?;
    // A disturbed installation could make the other tests fail, so the tests that disturb it run last.
    programs.sort_by_key(|(name, _)| (disturbs(name), name.clone()));
    for (name, program) in programs {
        let began = Instant::now();
        run_tests(&name, &program, &model, test.filter.as_deref())
            .with_context(|| format!("the tests `{name}` failed"))?;
        println!("--- {name} took {:.0} s", began.elapsed().as_secs_f32());
    }
    Ok(())
}

/// Returns how much a test program disturbs the shared installation. Programs that disturb it run last, and one test at a time.
fn disturbs(name: &str) -> u8 {
    match name {
        "faults" => 1,
        "release" => 2,
        _ => 0,
    }
}

fn run_tests(name: &str, program: &Path, model: &str, filter: Option<&str>) -> Result<()> {
    let tools = tools::cluster()?;
    let threads = if disturbs(name) > 0 { "1" } else { "4" };
    let mut run = cmd(program, filter);
    run.args(["--test-threads", threads]);
    run.current_dir(dirs::workspace().join("e2e"));
    run.env("KUBECONFIG", cluster::default_kubeconfig()?);
    run.env("ENACT_E2E_BIN", dirs::workspace().join("dist"));
    run.env("ENACT_E2E_MODEL", model);
    run.env("ENACT_E2E_HELM", tools.join("helm"));
    run.env("ENACT_E2E_KUBECTL", tools.join("kubectl"));
    run.show()
}

/// Builds the tests of the whole workspace, so that no dependency is compiled with different features, and returns those of `e2e/` by
/// name.
fn e2e_programs() -> Result<Vec<(String, PathBuf)>> {
    #[derive(serde::Deserialize)]
    struct Message {
        executable: PathBuf,
        package_id: String,
        target: Target,
        profile: Profile,
    }
    #[derive(serde::Deserialize)]
    struct Target {
        name: String,
    }
    #[derive(serde::Deserialize)]
    struct Profile {
        test: bool,
    }
    let messages = cargo(["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]).read()?;
    let programs: Vec<(String, PathBuf)> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|m| m.profile.test && m.package_id.contains("e2e"))
        .map(|message| (message.target.name, message.executable))
        .collect();
    if programs.is_empty() {
        bail!("enact-e2e has no tests");
    }
    Ok(programs)
}
