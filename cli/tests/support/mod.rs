//! Reads a folder of manifests, and a working tree in which a plan is carried out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use enact_crds::{Agent, Constitution, Plan, Specification, Tenant};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The objects of a folder's YAML files, in their order.
pub struct Example(Vec<Value>);

impl Example {
    /// Reads every file, and each object as its kind.
    pub fn load(folder: &Path) -> Self {
        let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        files.sort();
        let mut objects = Vec::new();
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for document in serde_yaml::Deserializer::from_str(&text) {
                let object = Value::deserialize(document).unwrap();
                check(&object).unwrap_or_else(|problem| panic!("{}: {problem}", file.display()));
                objects.push(object);
            }
        }
        Self(objects)
    }

    /// The kinds of all objects, sorted.
    pub fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> = self.0.iter().filter_map(|object| object["kind"].as_str()).collect();
        kinds.sort_unstable();
        kinds
    }

    /// All objects of a kind.
    pub fn all<K: Resource<DynamicType = ()> + DeserializeOwned>(&self) -> Vec<K> {
        let of_kind = self.0.iter().filter(|object| object["kind"] == *K::kind(&()));
        of_kind.map(|object| serde_json::from_value(object.clone()).unwrap()).collect()
    }

    /// The one object of a kind.
    pub fn only<K: Resource<DynamicType = ()> + DeserializeOwned>(&self) -> K {
        let mut all = self.all::<K>();
        assert_eq!(all.len(), 1, "objects of kind {}", K::kind(&()));
        all.remove(0)
    }
}

fn check(object: &Value) -> Result<(), String> {
    match object["kind"].as_str() {
        Some("Tenant") => same::<Tenant>(object),
        Some("Agent") => same::<Agent>(object),
        Some("Constitution") => same::<Constitution>(object),
        Some("Specification") => same::<Specification>(object),
        Some("Plan") => same::<Plan>(object),
        Some("ConfigMap") => same::<ConfigMap>(object),
        other => Err(format!("unexpected kind {other:?}")),
    }
}

/// Whether the type knows every field, as the API server's strict validation asks.
fn same<K: Serialize + DeserializeOwned>(object: &Value) -> Result<(), String> {
    let read: K = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    kept(object, &serde_json::to_value(&read).map_err(|error| error.to_string())?, "")
}

fn kept(written: &Value, read: &Value, path: &str) -> Result<(), String> {
    match (written, read) {
        (Value::Object(fields), _) => fields.iter().try_for_each(|(name, value)| kept(value, &read[name], &format!("{path}.{name}"))),
        (Value::Array(items), Value::Array(others)) if items.len() == others.len() => {
            items.iter().zip(others).try_for_each(|(item, other)| kept(item, other, &format!("{path}[]")))
        }
        _ if written == read => Ok(()),
        _ => Err(format!("{path} is {written}, and is read as {read}")),
    }
}

/// A Git repository with one working tree, and a branch a task.
pub struct Tree {
    scratch: tempfile::TempDir,
}

impl Tree {
    /// An empty repository with one commit on `main`.
    pub fn new() -> Self {
        let tree = Self { scratch: tempfile::tempdir().unwrap() };
        fs::create_dir_all(tree.root()).unwrap();
        tree.git(&["init", "--quiet", "--initial-branch=main"]).unwrap();
        tree.git(&["commit", "--quiet", "--allow-empty", "--message=Begin"]).unwrap();
        tree
    }

    /// The working tree.
    pub fn root(&self) -> PathBuf {
        self.scratch.path().join("tree")
    }

    fn outputs_dir(&self) -> PathBuf {
        self.scratch.path().join("outputs")
    }

    /// A clean tree on the branch of a task, with the branches of other tasks merged.
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
        // Bytecode is kept by the second: a module that is replaced within one would be taken for the old one.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        self.run(&mut command)
    }

    /// Applies recorded work.
    pub fn apply(&self, patch: &str) -> Result<(), String> {
        let file = self.scratch.path().join("recorded.patch");
        fs::write(&file, patch).unwrap();
        self.git(&["am", "--quiet", "--3way", "--whitespace=nowarn", "--", &file.to_string_lossy()])
    }

    /// Commits what changed, if anything did.
    pub fn commit(&self, title: &str) {
        self.git(&["add", "--all"]).unwrap();
        if self.git(&["diff", "--cached", "--quiet"]).is_err() {
            self.git(&["commit", "--quiet", "--message", title]).unwrap();
        }
    }

    /// What the task left for others.
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
