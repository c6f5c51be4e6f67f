//! The scratch space of an attempt: what lies where.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use enact_domain::assignment::TaskWork;

use crate::failure::Failure;
use crate::settings::Settings;

/// Hooks that add the trailers to every message, at the moment that a commit is made: by the agent, or by `git am`.
const HOOKS: [&str; 2] = ["prepare-commit-msg", "applypatch-msg"];
/// What these hooks do. The trailers are data in a file beside them, one a line.
const HOOK: &str = r#"#!/bin/sh
message=$1
set --
while IFS= read -r trailer; do
    set -- "$@" --trailer "$trailer"
done < "${0%/*}/trailers"
exec git interpret-trailers --in-place --if-exists addIfDifferent "$@" "$message"
"#;

/// Where everything lies.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) root: PathBuf,
    pub(crate) tree: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) temporary: PathBuf,
    pub(crate) prompt: PathBuf,
    pub(crate) inputs: PathBuf,
    pub(crate) outputs: PathBuf,
    pub(crate) hooks: PathBuf,
}

impl Desk {
    /// The places, whether they exist or not.
    pub(crate) fn of(settings: &Settings) -> Self {
        let root = settings.work_dir.clone();
        let below = |name| root.join(name);
        Self {
            tree: below("tree"),
            home: below("home"),
            temporary: below("tmp"),
            prompt: below("prompt.md"),
            inputs: below("inputs.json"),
            outputs: below("outputs"),
            hooks: below("hooks"),
            root,
        }
    }

    /// Makes HOME and the like, and an empty tree, whatever an earlier container of the pod left.
    pub(crate) fn clear(&self) -> Result<(), Failure> {
        let cleared = || -> io::Result<()> {
            for directory in [&self.tree, &self.outputs, &self.hooks] {
                match fs::remove_dir_all(directory) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => fs::create_dir_all(directory)?,
                }
            }
            self.make_home()
        };
        cleared().map_err(|error| Failure::volume(&self.root, &error))
    }

    /// Makes HOME and the directory for temporary files.
    pub(crate) fn make_home(&self) -> io::Result<()> {
        fs::create_dir_all(&self.home)?;
        fs::create_dir_all(&self.temporary)
    }

    /// Lays out what a task's agent is given to read.
    pub(crate) fn lay_out(&self, task: &TaskWork, trailers: &[String]) -> Result<(), Failure> {
        let laid_out = || -> io::Result<()> {
            fs::write(&self.prompt, &task.prompt)?;
            fs::write(&self.inputs, json(&task.inputs)?)?;
            fs::write(self.hooks.join("trailers"), trailers.join("\n") + "\n")?;
            for name in HOOKS {
                write_executable(&self.hooks.join(name), HOOK)?;
            }
            Ok(())
        };
        laid_out().map_err(|error| Failure::volume(&self.root, &error))
    }
}

fn json(inputs: &BTreeMap<String, BTreeMap<String, String>>) -> io::Result<String> {
    serde_json::to_string_pretty(inputs).map_err(io::Error::from)
}

fn write_executable(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
