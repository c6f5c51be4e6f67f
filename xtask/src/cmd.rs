//! Runs other programs. Every failure names the command line and shows the program's output.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Builds a command with arguments.
pub(crate) fn cmd<I, S>(program: impl AsRef<OsStr>, args: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// Builds a cargo command. The variables that cargo sets for this program's package are removed: build scripts that read them, such as
/// ring's, would run again whenever a user alternates between `cargo xtask` and `cargo`, and their dependents would be compiled again.
pub(crate) fn cargo<I, S>(args: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = cmd("cargo", args);
    let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(of_package) {
            command.env_remove(name);
        }
    }
    command
}

/// Methods that run a [`Command`].
pub(crate) trait CommandExt {
    /// Runs the command and returns its standard output, trimmed. An error has its standard error.
    fn read(&mut self) -> Result<String>;

    /// Does the same as [`read`](Self::read), with `input` as standard input.
    fn read_with(&mut self, input: &str) -> Result<String>;

    /// Runs the command with `input` as standard input, and returns its output, whether it fails or not.
    fn answer(&mut self, input: &str) -> Result<Output>;

    /// Runs the command with the standard streams of this process.
    fn show(&mut self) -> Result<()>;

    /// Returns whether the command succeeds; its output is discarded.
    fn succeeds(&mut self) -> bool;
}

impl CommandExt for Command {
    fn read(&mut self) -> Result<String> {
        self.stdin(Stdio::null());
        let output = self.output().with_context(|| format!("cannot run {}", line(self)))?;
        checked(self, &output)
    }

    fn read_with(&mut self, input: &str) -> Result<String> {
        let output = self.answer(input)?;
        checked(self, &output)
    }

    fn answer(&mut self, input: &str) -> Result<Output> {
        self.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.spawn().with_context(|| format!("cannot run {}", line(self)))?;
        // A program that fails early closes its input. Its own error is more useful than the broken pipe, so it is returned first.
        let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output()?;
        if output.status.success() {
            written.with_context(|| format!("cannot write to {}", line(self)))?;
        }
        Ok(output)
    }

    fn show(&mut self) -> Result<()> {
        let status = self.status().with_context(|| format!("cannot run {}", line(self)))?;
        if !status.success() {
            bail!("{} failed: {status}", line(self));
        }
        Ok(())
    }

    fn succeeds(&mut self) -> bool {
        self.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.status().is_ok_and(|status| status.success())
    }
}

fn checked(command: &Command, output: &Output) -> Result<String> {
    if !output.status.success() {
        let mut said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if said.is_empty() {
            String::from_utf8_lossy(&output.stdout).trim().clone_into(&mut said);
        }
        bail!("{} failed: {}\n{said}", line(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        // Writing to a String cannot fail.
        let _ = write!(line, " {}", arg.to_string_lossy());
    }
    line
}
