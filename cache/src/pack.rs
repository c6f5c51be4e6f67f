//! Checks of a pack by Git.
//!
//! A pack is hostile input: agents can send one. `git index-pack` reads every object, names it by its content, and refuses a pack in which
//! an object that another one refers to is missing. It runs with limits on memory and time, and without any configuration.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use enact_domain::clone_cache::{Pack, is_object_name};
use tokio::process::Command;
use tokio::time::timeout;

/// Time limit for one call.
const LIMIT: Duration = Duration::from_mins(5);
/// Name of a new pack and its index in the folder of a repository, while they are checked.
pub const INCOMING: &str = "incoming.pack";
const INCOMING_INDEX: &str = "incoming.idx";
/// Folder of packs in a repository.
const PACKS: &str = "objects/pack";
/// Options of every call. Large objects are not held in memory, and neither are whole packs.
const OPTIONS: [&str; 5] = [
    "core.bigFileThreshold=16m",
    "core.deltaBaseCacheLimit=32m",
    "core.packedGitWindowSize=16m",
    "core.packedGitLimit=64m",
    "pack.writeReverseIndex=false",
];

/// Makes an empty repository, without a call of Git.
///
/// # Errors
/// When the file system does not allow it.
pub fn create(repository: &Path) -> io::Result<()> {
    fs::create_dir_all(repository.join(PACKS))?;
    fs::create_dir_all(repository.join("refs"))?;
    fs::write(repository.join("HEAD"), "ref: refs/heads/none\n")
}

/// Removes a pack that was not accepted.
pub fn remove_incoming(repository: &Path) {
    for name in [INCOMING, INCOMING_INDEX] {
        // It need not exist.
        let _ = fs::remove_file(repository.join(name));
    }
}

/// Returns the paths of a pack and of its index.
pub fn paths(repository: &Path, name: &str) -> [PathBuf; 2] {
    ["pack", "idx"].map(|suffix| repository.join(PACKS).join(format!("pack-{name}.{suffix}")))
}

/// Checks the file [`INCOMING`] of a repository, moves it to the repository's packs, and checks that it completes `commit`. `first` says
/// that the repository has no other pack. `memory` limits Git, in MiB.
///
/// # Errors
/// A message for the log, when it is not a complete pack. It is not among the packs then.
pub async fn accept(repository: &Path, commit: &str, first: bool, memory: u32) -> Result<Pack, String> {
    let (incoming, index) = (repository.join(INCOMING), repository.join(INCOMING_INDEX));
    let [from, to] = [&incoming, &index].map(|path| path.to_string_lossy().into_owned());
    let args = ["index-pack", "--check-self-contained-and-connected", "--threads=1", "-o", &to, &from];
    let output = git(repository, memory, &args).await?;
    // Git exits with 1 when the pack is complete together with the others, and with 128 when it is not.
    let complete = match output.status.code() {
        Some(0) => true,
        Some(1) => !first,
        _ => false,
    };
    if !complete {
        return Err(format!("the pack is not complete: {}", shown(&output)));
    }
    let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !is_object_name(&name) {
        return Err("git did not name the pack".into());
    }
    let [pack, final_index] = paths(repository, &name);
    if pack.exists() {
        return Err("the repository has this pack already".into());
    }
    let moved = || -> io::Result<Pack> {
        let size = |path: &Path| fs::metadata(path).map(|metadata| metadata.len());
        let described = Pack { name, bytes: size(&incoming)?, index_bytes: size(&index)? };
        fs::rename(&incoming, &pack)?;
        fs::rename(&index, &final_index)?;
        Ok(described)
    };
    let described = moved().map_err(|error| error.to_string())?;
    let output = git(repository, memory, &["cat-file", "-e", &format!("{commit}^{{commit}}")]).await;
    if output.as_ref().is_ok_and(|output| output.status.success()) {
        return Ok(described);
    }
    for path in [&pack, &final_index] {
        fs::remove_file(path).map_err(|error| error.to_string())?;
    }
    Err(format!("the pack does not complete the commit: {}", output.map_or_else(|problem| problem, |out| shown(&out))))
}

async fn git(repository: &Path, memory: u32, args: &[&str]) -> Result<Output, String> {
    let mut command = Command::new("/bin/sh");
    command
        // Git has no limit of its own for what a delta can make it allocate.
        .args(["-c", "ulimit -v \"$0\" && exec git \"$@\"", &(u64::from(memory) << 10).to_string()])
        .args(OPTIONS.iter().flat_map(|option| ["-c", option]))
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()))
        .env("LC_ALL", "C")
        .env("GIT_DIR", repository)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        // No call opens a connection.
        .env("GIT_ALLOW_PROTOCOL", "")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .current_dir(repository)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(LIMIT, command.output()).await.map_err(|_| "git exceeded its time limit".to_owned())?;
    output.map_err(|error| format!("git cannot be started: {error}"))
}

/// Returns the end of what Git printed, for the log.
fn shown(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().last().unwrap_or_default();
    line.chars().take(200).collect::<String>().escape_debug().to_string()
}
