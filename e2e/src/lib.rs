//! What the tests on a real cluster share. `cargo xtask test cluster` installs Enact as a user would and runs them.
//!
//! Each test has a [`Stage`]: a tenant and a namespace of its own, made when it begins and taken away when it ends, however it ends. What
//! an earlier run left under the same name is removed first. Tests wait for conditions; how long is generous, since machines are slow.

pub mod git;
pub mod installation;
mod report;
mod stage;
pub mod work;

use std::future::Future;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

pub use stage::{Stage, condition, told};

/// The longest wait for something that takes seconds on an idle machine.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// Runs a test with a stage of its own. `name` is that of the test's tenant and namespace.
///
/// # Panics
/// When the test fails, with what the cluster says about its objects.
pub fn on_stage<F, Fut>(name: &'static str, test: F)
where
    F: FnOnce(Stage) -> Fut,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    on_stages([(name, "")], |[stage]| test(stage));
}

/// Runs a test with stages of its own, each with more lines below its Tenant's `spec`.
///
/// # Panics
/// When the test fails, with what the cluster says about its objects.
pub fn on_stages<const N: usize, F, Fut>(names: [(&'static str, &'static str); N], test: F)
where
    F: FnOnce([Stage; N]) -> Fut,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut stages = Vec::new();
        for (name, more) in names {
            match Stage::set(name, more).await {
                Ok(stage) => stages.push(stage),
                Err(e) => panic!("the stage {name} cannot be set: {e:#}"),
            }
        }
        let given: [Stage; N] = std::array::from_fn(|n| stages[n].clone());
        // A task, so that a panic ends the test and not the clean-up.
        let result = match tokio::spawn(test(given)).await {
            Ok(result) => result,
            Err(panic) => Err(anyhow::anyhow!("{panic}")),
        };
        let said = match &result {
            Ok(()) => String::new(),
            Err(_) => stages.iter().map(report::report).collect(),
        };
        for stage in &stages {
            if let Err(error) = stage.clear().await {
                eprintln!("the stage {} cannot be cleared: {error:#}", stage.name);
            }
        }
        if let Err(error) = result {
            panic!("{error:#}\n{said}");
        }
    });
}

/// Runs one of our programs, or `kubectl` or `helm`, of this run.
///
/// # Errors
/// When there is none: the tests are not run by `cargo xtask test cluster`.
pub fn program(name: &str) -> Result<Command> {
    let path = match name {
        "kubectl" | "helm" => {
            let variable = format!("ENACT_E2E_{}", name.to_uppercase());
            PathBuf::from(std::env::var_os(&variable).with_context(|| format!("{variable} is not set; {HOW}"))?)
        }
        _ => PathBuf::from(
            std::env::var_os("ENACT_E2E_BIN").with_context(|| format!("ENACT_E2E_BIN is not set; {HOW}"))?,
        )
        .join(name),
    };
    Ok(Command::new(path))
}

const HOW: &str = "run these tests by `cargo xtask test cluster`";

/// Runs a command to its end; what it wrote to standard output.
///
/// # Errors
/// With what it wrote to standard error, when it fails.
pub fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end, well or not.
///
/// # Errors
/// When it cannot be started.
pub fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))
}

/// Asks again and again until there is an answer, for at most `patience`.
///
/// # Errors
/// When the time is up, with `what` was waited for and the last word of the question.
pub async fn until<T, F, Fut>(what: &str, patience: Duration, mut ask: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Answer<T>>>,
{
    let end = tokio::time::Instant::now() + patience;
    loop {
        match ask().await? {
            Answer::Yes(value) => return Ok(value),
            Answer::NotYet(why) if tokio::time::Instant::now() > end => {
                bail!("waited {} s for {what}: {why}", patience.as_secs());
            }
            Answer::NotYet(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// What [`until`] is answered.
pub enum Answer<T> {
    /// So it is.
    Yes(T),
    /// How it is instead.
    NotYet(String),
}
