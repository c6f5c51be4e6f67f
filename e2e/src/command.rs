//! Programs that tests run: kubectl, Helm and Enact's own.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// The flag of `kubectl` for requests that need not wait.
pub const REQUEST_TIMEOUT: &str = "--request-timeout=60s";

/// The time limit of a program: longer than the sum of Helm's timeouts.
const LONGEST_RUN: Duration = Duration::from_mins(15);
/// The time limit of a command in a pod.
const LONGEST_EXEC: Duration = Duration::from_mins(3);

/// Returns a command for one of our programs, `kubectl` or `helm`.
///
/// # Errors
/// If the tests are not run by `cargo xtask test cluster`.
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
    let mut command = Command::new(path);
    // `enact attach` starts kubectl.
    if let Some(kubectl) = std::env::var_os("ENACT_E2E_KUBECTL").as_deref().map(Path::new).and_then(Path::parent) {
        let others = std::env::var_os("PATH").unwrap_or_default();
        command
            .env("PATH", std::env::join_paths([kubectl.to_owned()].into_iter().chain(std::env::split_paths(&others)))?);
    }
    Ok(command)
}

const HOW: &str = "run these tests with `cargo xtask test cluster`";

/// Runs a command and returns its standard output.
///
/// # Errors
/// If it fails, with its standard error, or if it does not end in time.
pub fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    succeeded(command, &output)
}

/// Runs `kubectl exec` with these arguments and returns the standard output.
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

/// Runs a command and returns its output, whether it fails or not.
///
/// # Errors
/// If it cannot be started or does not end in time.
pub fn output(command: &mut Command) -> Result<Output> {
    output_within(command, LONGEST_RUN)
}

/// Ends a program that hangs. Otherwise it would hang the whole run.
fn output_within(command: &mut Command, limit: Duration) -> Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
    // Both pipes are read in parallel, because a full pipe blocks the program.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hanging_programs_are_ended() {
        let error = output_within(Command::new("sleep").arg("600"), Duration::from_millis(100)).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
    }

    #[test]
    fn output_may_exceed_the_size_of_a_pipe() {
        let script = "head -c 200000 /dev/zero; head -c 200000 /dev/zero >&2; exit 3";
        let output = output_within(Command::new("sh").args(["-c", script]), Duration::from_mins(1)).unwrap();
        assert_eq!((output.status.code(), output.stdout.len(), output.stderr.len()), (Some(3), 200_000, 200_000));
    }
}
