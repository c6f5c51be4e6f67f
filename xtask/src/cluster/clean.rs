//! Removes a cluster in any state, without the help of its components.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::layout::{Layout, Machine};
use super::{net, node};
use crate::cmd::{CommandExt, cmd};
use crate::daemon::{self, Daemons, until};

/// The folder in which every kubelet listens for plugins.
const DEVICE_PLUGINS: &str = "/var/lib/kubelet/device-plugins";

/// The folder of the sockets of shims, which containerd 1 does not let us choose.
const SHIM_SOCKETS: &str = "/run/containerd/s";

/// Ends every process, removes mounts, links, rules and control groups, and deletes the directory.
pub(super) fn clean(layout: &Layout, daemons: &Daemons) -> Result<()> {
    // The daemons end first. Otherwise the kubelet would start pods again while their processes and mounts are removed.
    daemons.kill_all()?;
    end_cgroup(&layout.cgroup())?;
    remove_shim_sockets();
    unmount_below(layout.dir())?;
    net::down(&Machine::load(layout).map(|machine| machine.sysctls).unwrap_or_default())?;
    remove_traces(layout);
    if layout.dir().exists() {
        fs::remove_dir_all(layout.dir()).with_context(|| format!("cannot delete {}", layout.dir().display()))?;
    }
    Ok(())
}

/// Kills the processes of pods, and removes their control groups.
fn end_cgroup(name: &str) -> Result<()> {
    let roots: Vec<PathBuf> = node::cgroup_folders(name)?.into_iter().filter(|root| root.is_dir()).collect();
    let mut folders = Vec::new();
    for root in &roots {
        folders_below(root, &mut folders);
    }
    let ended = || {
        let processes = |folder: &PathBuf| fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        let pids: Vec<u32> = folders
            .iter()
            .flat_map(|folder| processes(folder).lines().map(str::parse).collect::<Vec<_>>())
            .flatten()
            .collect();
        daemon::kill(&pids);
        Ok(pids.is_empty())
    };
    if !until(Duration::from_secs(20), ended)? {
        bail!("processes in control group {name} cannot be killed");
    }
    // The deepest folder comes first. Deleting the folder of a control group deletes its files too. A zombie keeps it busy for a moment.
    let removed = || {
        let left = folders.iter().filter(|folder| folder.exists() && fs::remove_dir(folder).is_err()).count();
        Ok(left == 0)
    };
    if !until(Duration::from_secs(10), removed)? {
        bail!("control group {name} cannot be removed: another process runs in it");
    }
    Ok(())
}

/// Appends the folders below `root`, and then `root`.
fn folders_below(root: &Path, folders: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders_below(&entry.path(), folders);
        }
    }
    folders.push(root.to_owned());
}

/// Removes sockets of shims on which no process listens. Their names do not say which containerd they belong to, but our shims have
/// ended by now.
fn remove_shim_sockets() {
    for entry in fs::read_dir(SHIM_SOCKETS).into_iter().flatten().flatten() {
        if UnixStream::connect(entry.path()).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            // Another `down` may have removed it.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn unmount_below(dir: &Path) -> Result<()> {
    // Later mounts may be on top of earlier ones, so they are unmounted first.
    for target in mounts_below(dir)?.iter().rev() {
        if !cmd("umount", ["--no-mtab", "--"]).arg(target).succeeds() {
            // A process that is about to end still uses it. A lazy unmount completes when that process ends.
            cmd("umount", ["--no-mtab", "--lazy", "--"]).arg(target).read()?;
        }
    }
    let left = mounts_below(dir)?;
    if !left.is_empty() {
        bail!("these mounts cannot be removed: {left:?}");
    }
    Ok(())
}

fn mounts_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let targets = table.lines().filter_map(|line| line.split(' ').nth(4)).map(|target| PathBuf::from(unescape(target)));
    Ok(targets.filter(|target| target.starts_with(dir) && target != dir).collect())
}

/// Decodes blanks and backslashes, which the kernel writes in octal.
fn unescape(target: &str) -> String {
    target.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Removes files that components write to fixed paths: CNI's results for our pods, and the kubelet's links to our logs.
fn remove_traces(layout: &Layout) {
    let dir = layout.dir().to_string_lossy();
    let note = |path: &Path| fs::read_to_string(path).is_ok_and(|note| note.contains(dir.as_ref()));
    let link = |path: &Path| fs::read_link(path).is_ok_and(|target| target.starts_with(layout.dir()));
    for folder in ["/var/lib/cni/results", "/var/log/containers"] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if link(&entry.path()) || note(&entry.path()) {
                // A file that cannot be removed is harmless.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
    let _ = fs::remove_file(DEVICE_PLUGINS.to_owned() + "/kubelet.sock");
    for folder in [
        DEVICE_PLUGINS,
        "/var/lib/kubelet",
        "/var/lib/cni/results",
        "/var/lib/cni",
        "/var/log/containers",
        SHIM_SOCKETS,
        "/run/containerd",
    ] {
        // The removal fails if the folder contains files of other programs, which must stay.
        let _ = fs::remove_dir(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        assert_eq!(unescape(r"/a\040b\134c"), r"/a b\c");
        assert_eq!(unescape(r"/a\134040b"), r"/a\040b", "an escaped backslash does not begin another escape");
    }
}
