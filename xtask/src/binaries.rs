//! Enact's own programs, static and stripped, in `dist/`.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::cmd::{CommandExt, cmd};
use crate::dirs;

/// The programs that go into images.
pub(crate) const NAMES: [&str; 5] = ["enact", "enact-operator", "enact-runner", "enact-server", "enact-webhook"];

/// One line of `cargo build --message-format=json`, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds `programs` and puts them into `dist/`. Features are those of the whole workspace, as tests use them, so that nothing is
/// compiled twice.
pub(crate) fn build(programs: &[&str], release: bool) -> Result<()> {
    let mut cargo = cmd("cargo", ["build", "--workspace", "--message-format=json-render-diagnostics"]);
    for program in programs {
        cargo.args(["--bin", program]);
    }
    if release {
        cargo.arg("--release");
    }
    // What cargo says goes to the terminal at once: the first build takes minutes.
    let built = cargo.current_dir(dirs::workspace()).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !built.status.success() {
        bail!("cargo cannot build the programs: {}", built.status);
    }
    let messages = String::from_utf8_lossy(&built.stdout);
    let dist = dirs::workspace().join("dist");
    fs::create_dir_all(&dist)?;
    let mut missing = programs.to_vec();
    for line in messages.lines() {
        let Ok(Message { target: Some(target), executable: Some(executable) }) = serde_json::from_str(line) else {
            continue;
        };
        if missing.contains(&target.name.as_str()) {
            let stripped = dist.join(&target.name);
            cmd("strip", ["-o"]).arg(&stripped).arg(&executable).read().context("cannot strip a program")?;
            missing.retain(|name| *name != target.name);
        }
    }
    if !missing.is_empty() {
        bail!("the workspace has no program called {}", missing.join(", "));
    }
    Ok(())
}
