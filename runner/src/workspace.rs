//! The directories and files of an attempt.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use enact_domain::assignment::TaskWork;

use crate::failure::Failure;
use crate::settings::Settings;

/// Git hooks that add the trailers to the message of every commit, whether the agent or `git am` makes it.
const HOOKS: [&str; 2] = ["prepare-commit-msg", "applypatch-msg"];
/// The script of these hooks. It reads the trailers from the file `trailers` beside it, one per line, so that no trailer is ever code.
const HOOK: &str = r#"#!/bin/sh
message=$1
set --
while IFS= read -r trailer; do
    set -- "$@" --trailer "$trailer"
done < "${0%/*}/trailers"
exec git interpret-trailers --in-place --if-exists addIfDifferent "$@" "$message"
"#;

/// Paths below the work directory.
#[derive(Clone, Debug)]
pub(crate) struct WorkspaceLayout {
    pub(crate) root: PathBuf,
    /// The working tree.
    pub(crate) tree: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) temporary: PathBuf,
    pub(crate) prompt: PathBuf,
    pub(crate) inputs: PathBuf,
    pub(crate) outputs: PathBuf,
    pub(crate) hooks: PathBuf,
    /// The clone that a waiting pod has fetched: the folder `.git` of a working tree.
    pub(crate) prefetched: PathBuf,
}

impl WorkspaceLayout {
    /// Returns the paths. It creates nothing.
    pub(crate) fn new(settings: &Settings) -> Self {
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
            prefetched: below("prefetched"),
            root,
        }
    }

    /// Creates the directories. The working tree, outputs and hooks are empty afterwards: a container that the kubelet restarts finds the
    /// files of the one before it.
    pub(crate) fn clear(&self) -> Result<(), Failure> {
        let clear = || -> io::Result<()> {
            // HOME and the temporary directory stay: they may contain caches, and no result is read from them.
            for directory in [&self.tree, &self.outputs, &self.hooks] {
                match fs::remove_dir_all(directory) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => fs::create_dir_all(directory)?,
                }
            }
            self.create_home()
        };
        clear().map_err(|error| Failure::volume(&self.root, &error))
    }

    /// Keeps the clone in the working tree for the attempt that comes.
    pub(crate) fn keep_clone(&self) -> Result<(), Failure> {
        let kept = fs::rename(self.tree.join(".git"), &self.prefetched);
        kept.map_err(|error| Failure::volume(&self.prefetched, &error))
    }

    /// Puts the clone that was kept into the empty working tree. Returns whether there is one.
    pub(crate) fn take_clone(&self) -> Result<bool, Failure> {
        match fs::rename(&self.prefetched, self.tree.join(".git")) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Failure::volume(&self.prefetched, &error)),
        }
    }

    /// Creates HOME and the directory for temporary files.
    pub(crate) fn create_home(&self) -> io::Result<()> {
        fs::create_dir_all(&self.home)?;
        fs::create_dir_all(&self.temporary)
    }

    /// Writes the file with the prompt.
    pub(crate) fn write_prompt(&self, prompt: &str) -> Result<(), Failure> {
        fs::write(&self.prompt, prompt).map_err(|error| Failure::volume(&self.prompt, &error))
    }

    /// Writes the files that the agent of a task reads: prompt, inputs and Git hooks.
    pub(crate) fn write_inputs(&self, task: &TaskWork, trailers: &[String]) -> Result<(), Failure> {
        self.write_prompt(&task.prompt)?;
        let write = || -> io::Result<()> {
            fs::write(&self.inputs, serde_json::to_string_pretty(&task.inputs)?)?;
            fs::write(self.hooks.join("trailers"), trailers.join("\n") + "\n")?;
            for name in HOOKS {
                let hook = self.hooks.join(name);
                fs::write(&hook, HOOK)?;
                fs::set_permissions(&hook, fs::Permissions::from_mode(0o755))?;
            }
            Ok(())
        };
        write().map_err(|error| Failure::volume(&self.root, &error))
    }
}
