//! A working tree in which a test runs a plan.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A Git repository with one working tree, and a branch for each task.
pub struct Tree {
    scratch: tempfile::TempDir,
}

impl Tree {
    /// Creates a repository with one empty commit on `main`.
    pub fn new() -> Self {
        let tree = Self { scratch: tempfile::tempdir().unwrap() };
        fs::create_dir_all(tree.root()).unwrap();
        tree.git(&["init", "--quiet", "--initial-branch=main"]).unwrap();
        tree.git(&["commit", "--quiet", "--allow-empty", "--message=Begin"]).unwrap();
        tree
    }

    /// Returns the path of the working tree.
    pub fn root(&self) -> PathBuf {
        self.scratch.path().join("tree")
    }

    fn outputs_dir(&self) -> PathBuf {
        self.scratch.path().join("outputs")
    }

    /// Checks out the branch of a task in a clean tree, and merges the branches of other tasks.
    pub fn start(&self, branch: &str, merge: &[String]) {
        let outputs = self.outputs_dir();
        if outputs.exists() {
            fs::remove_dir_all(&outputs).unwrap();
        }
        fs::create_dir_all(&outputs).unwrap();
        self.git(&["clean", "--quiet", "-ffdx"]).unwrap();
        self.git(&["checkout", "--quiet", "--force", "-B", branch, "main"]).unwrap();
        for other in merge {
            self.git(&["merge", "--quiet", "--no-edit", other]).unwrap();
        }
    }

    /// Runs a script as the runner does.
    pub fn script(
        &self,
        id: &str,
        attempt: u32,
        script: &str,
        inputs: &BTreeMap<String, BTreeMap<String, String>>,
    ) -> Result<(), String> {
        let file = self.scratch.path().join("inputs.json");
        fs::write(&file, serde_json::to_string(inputs).unwrap()).unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-e", "-c", script]).env("ENACT_TASK_ID", id).env("ENACT_ATTEMPT", attempt.to_string());
        command.env("ENACT_OUTPUT_DIR", self.outputs_dir()).env("ENACT_INPUTS_FILE", file);
        // Python compares the times of cached bytecode in seconds. It would use old bytecode for a module that changed within a second.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        self.run(&mut command)
    }

    /// Applies the patch of recorded work.
    pub fn apply(&self, patch: &str) -> Result<(), String> {
        let file = self.scratch.path().join("recorded.patch");
        fs::write(&file, patch).unwrap();
        self.git(&["am", "--quiet", "--3way", "--whitespace=nowarn", "--", &file.to_string_lossy()])
    }

    /// Commits all changes, if there are any.
    pub fn commit(&self, title: &str) {
        self.git(&["add", "--all"]).unwrap();
        if self.git(&["diff", "--cached", "--quiet"]).is_err() {
            self.git(&["commit", "--quiet", "--message", title]).unwrap();
        }
    }

    /// Returns the outputs of the task.
    pub fn outputs(&self) -> BTreeMap<String, String> {
        let read = |entry: fs::DirEntry| {
            let value = fs::read_to_string(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), value.strip_suffix('\n').unwrap_or(&value).to_owned())
        };
        fs::read_dir(self.outputs_dir()).unwrap().map(|entry| read(entry.unwrap())).collect()
    }

    fn git(&self, args: &[&str]) -> Result<(), String> {
        self.run(Command::new("git").args(args))
    }

    fn run(&self, command: &mut Command) -> Result<(), String> {
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Enact").env(format!("GIT_{role}_EMAIL"), "enact@example.com");
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let output = command.current_dir(self.root()).stdin(Stdio::null()).output().unwrap();
        if output.status.success() {
            return Ok(());
        }
        let printed = [output.stdout, output.stderr].concat();
        Err(format!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&printed)))
    }
}
