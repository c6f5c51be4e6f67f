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
use crate::{apt, attack, charts, cluster, dirs, parallel, postgres, tools};

/// Runs all checks, and installs what they need
#[derive(Args)]
pub(crate) struct Test {
    /// Run only these steps; default: all but agents
    #[arg(value_enum)]
    steps: Vec<Step>,

    /// Keep the cluster that was started for the tests
    #[arg(long)]
    keep: bool,

    /// Run only the cluster tests whose name contains this text; `attack` runs the attacks
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
    /// Check licences and sources of dependencies, and known vulnerabilities where their database can be fetched
    Deny,
    /// Run unit, property and snapshot tests, and the tests on a real Postgres
    Unit,
    /// Check the Helm charts: lint, unit tests, schemas, alerts
    Charts,
    /// Run the tests on a real cluster: installation, plans with real pods, faults, upgrade
    Cluster,
    /// Run each coding agent in pods of a real cluster, with a scripted model. Builds images of 3 GB, so it runs only when it is named
    Agents,
}

/// The tests of `e2e/` that run together, each with what it needs in the cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Suite {
    Usual,
    Agents,
}

/// The test program of the suite [`Suite::Agents`].
const AGENTS: &str = "agents";
/// The filter that selects the attacks of `cargo xtask attack`.
const ATTACKS: &str = "attack";
/// The coding agent of the usual tests: the fastest one, which also needs the least memory.
const USUAL_AGENT: &str = "agent-codex";

/// Helm's flags for the tests.
const FLAGS: [&str; 5] = [
    "--set=cache.enabled=true",
    "--set=server.pushes.enabled=true",
    // The model servers of the tests, which are Services and therefore have private addresses.
    "--set=gateway.allowedPrivateHosts={*.e2e-models.svc}",
    "--set=networkPolicy.modelPorts={443,8080}",
    // Whom the admission policy does not stop meets what is behind it.
    "--set=admissionPolicies.pods.groups={e2e-exempt}",
];

/// Runs the steps until one fails.
pub(crate) fn run(test: &Test) -> Result<()> {
    let named = |step: &Step| if test.steps.is_empty() { *step != Step::Agents } else { test.steps.contains(step) };
    let mut times = Vec::new();
    let mut failure = None;
    for step in Step::value_variants().iter().filter(|step| named(step)) {
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
            Self::Cluster => on_cluster(test, Suite::Usual),
            Self::Agents => on_cluster(test, Suite::Agents),
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
    let run = |program: &str, args: &[&str]| {
        let mut command = cmd(program, args);
        command.current_dir(dirs::workspace());
        command
    };
    let deny = deny.to_str().context("a path that is not UTF-8")?;
    run(deny, &["check", "bans", "licenses", "sources"]).show()?;
    // The database is a Git repository, which not every machine reaches; some wait long for an answer.
    if run("timeout", &["60", deny, "fetch", "db"]).succeeds() {
        return run(deny, &["check", "--disable-fetch", "advisories"]).show();
    }
    println!(
        "advisories skipped: their database cannot be fetched here. Run `cargo deny check advisories` where it can"
    );
    Ok(())
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
fn on_cluster(test: &Test, suite: Suite) -> Result<()> {
    let was_there = cluster::default_kubeconfig().is_ok();
    let up = || cluster::up(&cluster::Options::default());
    let ((), archives) = parallel::both(up, || images::archives(&[], Profile::WithTests))?;
    let result = tests_on_cluster(test, suite, archives);
    // A cluster that this command started is deleted even if the tests failed. A cluster that existed before is kept.
    if !was_there && !test.keep {
        cluster::down()?;
    }
    result
}

fn tests_on_cluster(test: &Test, suite: Suite, archives: Vec<Archive>) -> Result<()> {
    let kube = Kube::own()?;
    let images = install::deliver_images(&kube, &Delivery::default(), archives)?;
    images::check_push(&images.archives).context("images cannot be pushed")?;
    install::helm(&kube, &images, &FLAGS)?;
    // The installation deletes images that it does not use, so these are loaded afterwards.
    let more: Vec<String> = match suite {
        Suite::Usual => vec!["minilm".to_owned(), USUAL_AGENT.to_owned()],
        Suite::Agents => images::agent_images().map(str::to_owned).collect(),
    };
    let more = Images::load(images::archives(&more, Profile::WithTests)?)?;
    let model = more.name("minilm").ok();
    if suite == Suite::Usual && test.filter.as_deref().is_none_or(|name| name == ATTACKS) {
        let began = Instant::now();
        attack::fast().context("the attacks failed")?;
        println!("--- {ATTACKS} took {:.0} s", began.elapsed().as_secs_f32());
    }
    let mut programs = e2e_programs()?;
    programs.retain(|(name, _)| (name == AGENTS) == (suite == Suite::Agents));
    // A disturbed installation could make the other tests fail, so the tests that disturb it run last.
    programs.sort_by_key(|(name, _)| (disturbs(name), name.clone()));
    for (name, program) in programs {
        let began = Instant::now();
        run_tests(&name, &program, model.as_deref(), test.filter.as_deref())
            .with_context(|| format!("the tests `{name}` failed"))?;
        println!("--- {name} took {:.0} s", began.elapsed().as_secs_f32());
    }
    Ok(())
}

/// Returns how much a test program disturbs the shared installation. Programs that disturb it run last, and one test at a time.
fn disturbs(name: &str) -> u8 {
    match name {
        "faults" | "reliability" => 1,
        "release" => 2,
        _ => 0,
    }
}

fn run_tests(name: &str, program: &Path, model: Option<&str>, filter: Option<&str>) -> Result<()> {
    let tools = tools::cluster()?;
    // Each test of the coding agents already runs several of them, which need a gigabyte of memory each.
    let threads = if disturbs(name) > 0 || name == AGENTS { "1" } else { "4" };
    let mut run = cmd(program, filter);
    run.args(["--test-threads", threads]);
    run.current_dir(dirs::workspace().join("e2e"));
    run.env("KUBECONFIG", cluster::default_kubeconfig()?);
    run.env("ENACT_E2E_BIN", dirs::workspace().join("dist"));
    run.envs(model.map(|model| ("ENACT_E2E_MODEL", model)));
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
