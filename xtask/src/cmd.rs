//! Running other programs: every failure names the command line and shows what the program said.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// A command with its arguments.
pub(crate) fn cmd<I, S>(program: impl AsRef<OsStr>, args: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// Cargo, with its arguments. What the cargo that runs this program says of its package is kept from it: build scripts that read such
/// variables, as ring's does, would otherwise run anew at each turn between `cargo xtask` and a cargo of one's own, and much with them.
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

/// The ways to run a [`Command`] that this crate uses.
pub(crate) trait CommandExt {
    /// Runs quietly and returns what it wrote to standard output, trimmed. Its standard error is shown only when it fails.
    fn read(&mut self) -> Result<String>;

    /// Like [`read`](Self::read), with `input` as standard input.
    fn read_with(&mut self, input: &str) -> Result<String>;

    /// Runs with this process' own standard streams.
    fn show(&mut self) -> Result<()>;

    /// Whether it ran and succeeded; its output is dropped.
    fn succeeds(&mut self) -> bool;
}

impl CommandExt for Command {
    fn read(&mut self) -> Result<String> {
        self.stdin(Stdio::null());
        let output = self.output().with_context(|| format!("cannot run {}", line(self)))?;
        checked(self, &output)
    }

    fn read_with(&mut self, input: &str) -> Result<String> {
        self.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.spawn().with_context(|| format!("cannot run {}", line(self)))?;
        // A program that fails early closes its input; its own message says more than the broken pipe.
        let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output()?;
        let text = checked(self, &output)?;
        written.with_context(|| format!("cannot write to {}", line(self)))?;
        Ok(text)
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
