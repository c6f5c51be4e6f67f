//! Enact's own programs, static and stripped, in `dist/`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::cmd::{self, CommandExt, cmd};
use crate::dirs;

/// The programs that go into images.
pub(crate) const NAMES: [&str; 6] =
    ["enact", "enact-gateway", "enact-operator", "enact-runner", "enact-server", "enact-webhook"];

/// A line of the output of `cargo build --message-format=json`.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
    profile: Option<Flags>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Flags {
    /// Whether the executable is the test program of the target.
    test: bool,
}

/// A compiled program.
pub(crate) struct Program {
    name: String,
    pub(crate) executable: PathBuf,
}

/// A way to compile programs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Optimised.
    Release,
    /// Not optimised.
    Development,
    /// Not optimised, together with all tests. Tests enable more features of dependencies, so separate builds would compile these twice.
    WithTests,
    /// Without the sentence model, whose inference crates take minutes to compile. Only `search.embedder=minilm` needs them.
    WithoutModel,
}

/// Compiles `programs`.
pub(crate) fn compile(programs: &[&str], profile: Profile) -> Result<Vec<Program>> {
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    let mut cargo = cmd::cargo(["build", "--workspace", "--message-format=json-render-diagnostics"]);
    for program in programs {
        cargo.args(["--bin", program]);
    }
    match profile {
        Profile::Release => cargo.arg("--release"),
        Profile::Development => &mut cargo,
        Profile::WithTests => cargo.arg("--tests"),
        Profile::WithoutModel => cargo.arg("--no-default-features"),
    };
    // Cargo's progress is shown as it arrives, because the first build takes minutes.
    let built = cargo.current_dir(dirs::workspace()).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !built.status.success() {
        bail!("cargo cannot build the programs: {}", built.status);
    }
    let compiled = executables(&String::from_utf8_lossy(&built.stdout), programs);
    if let Some(missing) = programs.iter().find(|name| !compiled.iter().any(|program| program.name == **name)) {
        bail!("the workspace has no program {missing}");
    }
    Ok(compiled)
}

/// Finds `programs` in cargo's messages, one on each line.
fn executables(messages: &str, programs: &[&str]) -> Vec<Program> {
    let program = |line: &str| {
        let Message { target: Some(Target { name }), executable: Some(executable), profile } =
            serde_json::from_str(line).ok()?
        else {
            return None;
        };
        // With `--tests`, cargo also reports the test program of each target, under the same target name.
        let is_test = profile.is_some_and(|profile| profile.test);
        (!is_test && programs.contains(&name.as_str())).then_some(Program { name, executable })
    };
    messages.lines().filter_map(program).collect()
}

/// Writes `programs` to `dist/`, stripped.
pub(crate) fn collect(programs: &[Program]) -> Result<()> {
    let dist = dirs::workspace().join("dist");
    fs::create_dir_all(&dist)?;
    for Program { name, executable } in programs {
        cmd("strip", ["-o"]).arg(dist.join(name)).arg(executable).read().context("cannot strip a program")?;
    }
    // kubectl runs a program with this name as its plugin `enact` if `dist/` is on the PATH.
    let plugin = dist.join("kubectl-enact");
    if plugin.symlink_metadata().is_err() {
        symlink("enact", &plugin).with_context(|| format!("cannot create {}", plugin.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_what_cargo_says() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"enact-runner"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"enact-runner"},"executable":"/target/enact-runner"}
{"reason":"compiler-artifact","target":{"name":"enact"},"executable":"/target/deps/enact-1","profile":{"test":true}}
{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/target/other"}
no JSON
{"reason":"build-finished","success":true}"#;
        let found = executables(messages, &["enact-runner", "enact"]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].executable, PathBuf::from("/target/enact-runner"));
    }
}
