//! What the tests on a real cluster share. `cargo xtask test cluster` installs Enact as a user would and runs them.
//!
//! Each test has a [`Stage`]: a tenant and a namespace of its own, made when it begins and taken away when it ends, however it ends. What
//! an earlier run left under the same name is removed first. Tests wait for conditions; how long is generous, since machines are slow.

pub mod documents;
pub mod git;
pub mod installation;
pub mod people;
mod report;
mod stage;
pub mod work;

use std::future::Future;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

pub use stage::{Stage, condition, told};

/// The longest wait for something that takes seconds on an idle machine.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// A flag of `kubectl` for calls that wait for nothing but an answer.
pub const REQUEST_TIMEOUT: &str = "--request-timeout=60s";

/// The longest that a program may run: longer than the waits of Helm, which adds several up.
const LONGEST_RUN: Duration = Duration::from_mins(15);
/// The longest that a command in a pod may run.
const LONGEST_EXEC: Duration = Duration::from_mins(3);

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
/// With what it wrote to standard error, when it fails; when it does not end.
pub fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    succeeded(command, &output)
}

/// Runs `kubectl exec` with these arguments; what the command in the pod wrote to standard output.
pub(crate) fn exec(args: &[&str]) -> Result<String> {
    let mut exec = program("kubectl")?;
    exec.arg("exec").args(args);
    let output = output_within(&mut exec, LONGEST_EXEC)?;
    succeeded(&exec, &output)
}

fn succeeded(command: &Command, output: &Output) -> Result<String> {
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end, well or not.
///
/// # Errors
/// When it cannot be started, or does not end.
pub fn output(command: &mut Command) -> Result<Output> {
    output_within(command, LONGEST_RUN)
}

/// A program that hangs would hang the run, and leave the cluster as it is in the midst of a test.
fn output_within(command: &mut Command, limit: Duration) -> Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
    // Beside each other, and beside the wait: a full pipe would stop the program.
    let (stdout, stderr) = (drained(child.stdout.take()), drained(child.stderr.take()));
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            bail!("{command:?} did not end within {} s", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    };
    let read = |pipe: thread::JoinHandle<_>| pipe.join().unwrap_or_else(|_| Ok(Vec::new()));
    Ok(Output { status, stdout: read(stdout)?, stderr: read(stderr)? })
}

fn drained(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<std::io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended() {
        let error = output_within(Command::new("sleep").arg("600"), Duration::from_millis(100)).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
    }

    #[test]
    fn a_program_may_say_more_than_a_pipe_holds() {
        let script = "head -c 200000 /dev/zero; head -c 200000 /dev/zero >&2; exit 3";
        let output = output_within(Command::new("sh").args(["-c", script]), Duration::from_mins(1)).unwrap();
        assert_eq!((output.status.code(), output.stdout.len(), output.stderr.len()), (Some(3), 200_000, 200_000));
    }
}
