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

/// Most directories of one name that [`WorkspaceLayout::new_directory`] creates. An agent could create them before.
const MAX_DIRECTORIES: u32 = 1000;

/// HOME and the directory for temporary files of one gate or measurement. Nothing that ran before it has written into them. They are removed
/// with this value, as far as possible.
#[derive(Debug)]
pub(crate) struct GateDirectories {
    root: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) temporary: PathBuf,
}

impl Drop for GateDirectories {
    fn drop(&mut self) {
        // Only to save space: the next gate gets other directories.
        let _ = fs::remove_dir_all(&self.root);
    }
}

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
        // A container that runs again after a restart of the node finds the clone of its first run.
        let kept = match fs::remove_dir_all(&self.prefetched) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::rename(self.tree.join(".git"), &self.prefetched),
        };
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
    fn create_home(&self) -> io::Result<()> {
        fs::create_dir_all(&self.home)?;
        fs::create_dir_all(&self.temporary)
    }

    /// Creates the directories of one gate or measurement.
    pub(crate) fn gate_directories(&self) -> Result<GateDirectories, Failure> {
        let create = || -> io::Result<GateDirectories> {
            let root = self.new_directory("gate")?;
            let directories = GateDirectories { home: root.join("home"), temporary: root.join("tmp"), root };
            fs::create_dir(&directories.home)?;
            fs::create_dir(&directories.temporary)?;
            Ok(directories)
        };
        create().map_err(|error| Failure::volume(&self.root, &error))
    }

    /// Writes the inputs of a task into a file that the agent has not seen, for the gates, and returns its path.
    pub(crate) fn write_gate_inputs(&self, task: &TaskWork) -> Result<PathBuf, Failure> {
        let write = || -> io::Result<PathBuf> {
            let file = self.new_directory("gate-inputs")?.join("inputs.json");
            fs::write(&file, serde_json::to_string_pretty(&task.inputs)?)?;
            Ok(file)
        };
        write().map_err(|error| Failure::volume(&self.root, &error))
    }

    /// Replaces the working tree by one that contains only the clone. The other files are moved away, and removed as far as possible.
    pub(crate) fn renew_tree(&self) -> Result<(), Failure> {
        let renew = || -> io::Result<PathBuf> {
            let former = self.new_directory("former")?;
            let tree = former.join("tree");
            // A directory without write permission could not be moved, and nothing could be moved out of it.
            fs::set_permissions(&self.tree, fs::Permissions::from_mode(0o755))?;
            fs::rename(&self.tree, &tree)?;
            fs::create_dir(&self.tree)?;
            fs::rename(tree.join(".git"), self.tree.join(".git"))?;
            Ok(former)
        };
        let former = renew().map_err(|error| Failure::volume(&self.root, &error))?;
        // Only to save space: an agent can leave directories that cannot be removed.
        let _ = fs::remove_dir_all(former);
        Ok(())
    }

    /// Creates a directory that did not exist before.
    fn new_directory(&self, name: &str) -> io::Result<PathBuf> {
        for n in 0..MAX_DIRECTORIES {
            let path = self.root.join(format!("{name}-{n}"));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => return created.map(|()| path),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
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
