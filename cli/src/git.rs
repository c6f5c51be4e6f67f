//! Git, which commands about the work of tasks run.

use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::text::one_line;

/// Longest wait for messages after the end of Git. A process that Git leaves behind, such as a shared connection of SSH, can keep the pipe open.
pub const LAST_MESSAGES: Duration = Duration::from_secs(1);
/// Most bytes that Git may print where no other limit is given.
const MAX_OUTPUT_BYTES: u64 = 1 << 30;
/// Most bytes of Git's error message that are read.
const MAX_ERROR_BYTES: u64 = 64 << 10;

/// Runs Git in a directory and returns what it prints.
pub fn output(directory: &Path, args: &[&str]) -> Result<String> {
    limited_output(directory, args, MAX_OUTPUT_BYTES)
}

/// Runs Git in a directory and returns what it prints, at most `max` bytes.
///
/// # Errors
/// Also when it prints more.
pub fn limited_output(directory: &Path, args: &[&str], max: u64) -> Result<String> {
    let mut command = command(directory);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(not_installed)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // Git waits when nobody reads one of the two.
    let (sender, errors) = mpsc::channel();
    thread::spawn(move || {
        let errors = stderr.map(read_errors).unwrap_or_default();
        // Nobody waits for the messages of a process that Git has left behind.
        let _ = sender.send(errors);
    });
    let mut printed = Vec::new();
    let read = stdout.context("Git has no output")?.take(max + 1).read_to_end(&mut printed);
    let is_too_long = printed.len() as u64 > max;
    if is_too_long || read.is_err() {
        // It may have ended already.
        let _ = child.kill();
    }
    let status = child.wait().context("Git cannot be awaited")?;
    let errors = errors.recv_timeout(LAST_MESSAGES).unwrap_or_default();
    read.context("the output of Git cannot be read")?;
    if is_too_long {
        bail!("`git {}` prints more than {} MiB", args[0], max >> 20);
    }
    if !status.success() {
        return Err(failed(args, &errors));
    }
    Ok(String::from_utf8_lossy(&printed).into_owned())
}

/// Reads the beginning of the error message, and drops the rest.
fn read_errors(mut stderr: impl Read) -> Vec<u8> {
    let mut errors = Vec::new();
    let _ = stderr.by_ref().take(MAX_ERROR_BYTES).read_to_end(&mut errors);
    let _ = io::copy(&mut stderr, &mut io::sink());
    errors
}

fn failed(args: &[&str], stderr: &[u8]) -> anyhow::Error {
    anyhow!("`git {}` failed: {}", args[0], one_line(&String::from_utf8_lossy(stderr)))
}

/// Returns Git for a directory, without the protocols that can run programs of this machine.
pub fn command(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(directory).env("GIT_ALLOW_PROTOCOL", "https:http:ssh");
    command
}

pub fn not_installed(error: io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::NotFound => anyhow!("this command needs Git, which is not installed"),
        _ => anyhow::Error::new(error).context("Git cannot be started"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn long_output_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let printed = limited_output(directory.path(), &["help", "-a"], 1 << 20).unwrap();
        assert!(printed.contains("diff"), "{printed}");
        let error = limited_output(directory.path(), &["help", "-a"], 16).unwrap_err();
        assert_eq!(error.to_string(), "`git help` prints more than 0 MiB");
        let error = limited_output(directory.path(), &["rev-parse", "HEAD"], 16).unwrap_err();
        assert!(error.to_string().starts_with("`git rev-parse` failed: fatal: "), "{error}");
    }

    #[test]
    fn a_process_that_git_leaves_behind_is_not_awaited() {
        let directory = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        // It keeps the pipe of the messages open.
        let printed =
            output(directory.path(), &["-c", "alias.leave=!echo done; sleep 60 >/dev/null &", "leave"]).unwrap();
        assert_eq!(printed, "done\n");
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }
}
