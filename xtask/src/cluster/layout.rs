//! The files of a cluster, and the values that are chosen once for its lifetime.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::net::Ranges;
use crate::digest::Inputs;

/// The name of the only real node.
pub(super) const NODE: &str = "enact";
pub(super) const API_PORT: u16 = 6443;

/// The longest path of the directory. Sockets are below it, and the kernel limits their paths to 107 bytes.
const LONGEST_DIR: usize = 70;

/// Paths below the cluster's directory.
#[derive(Clone)]
pub(super) struct Layout {
    dir: PathBuf,
}

impl Layout {
    pub(super) fn new(dir: PathBuf) -> Result<Self> {
        if !dir.is_absolute() || dir.as_os_str().len() > LONGEST_DIR {
            bail!("--dir {} must be an absolute path of at most {LONGEST_DIR} bytes", dir.display());
        }
        Ok(Self { dir })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.dir.join(below)
    }

    /// Returns a path as an argument of a program.
    pub(super) fn arg(&self, below: &str) -> String {
        self.path(below).to_string_lossy().into_owned()
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.path("log")
    }

    pub(super) fn admin_kubeconfig(&self) -> PathBuf {
        self.path("admin.kubeconfig")
    }

    pub(super) fn containerd_socket(&self) -> PathBuf {
        self.path("containerd/containerd.sock")
    }

    /// Returns the name of the control group of this cluster's pods.
    pub(super) fn cgroup(&self) -> String {
        format!("enact-{}", Inputs::default().text(&self.dir.to_string_lossy()).short())
    }

    /// Creates the directory, readable by its owner only, because it contains keys.
    pub(super) fn create(&self) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        for below in ["certs", "config", "log", "containerd", "kubelet", "cni/net.d", "volumes", "users"] {
            let path = self.path(below);
            fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o700))?;
        Ok(())
    }

    /// Writes a configuration file and returns its path. A file with this content is not written, because some components exit when
    /// their file changes.
    pub(super) fn write(&self, below: &str, content: &str) -> Result<PathBuf> {
        let path = self.path(below);
        if fs::read(&path).ok().as_deref() != Some(content.as_bytes()) {
            fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(path)
    }
}

/// The state of the machine and the choices of the first `up`, for the next `up` and for `down`.
#[derive(Serialize, Deserialize)]
pub(super) struct Machine {
    /// The boot id. If it differs, no process of the cluster runs any more.
    pub(super) boot: String,
    pub(super) ranges: Ranges,
    /// Kernel settings before the first `up`.
    pub(super) sysctls: Vec<(String, String)>,
}

impl Machine {
    /// Reads the file; returns nothing if there is no cluster or the file cannot be read.
    pub(super) fn load(layout: &Layout) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(layout.path("machine.json")).ok()?).ok()
    }

    pub(super) fn save(&self, layout: &Layout) -> Result<()> {
        layout.write("machine.json", &serde_json::to_string_pretty(self)?)?;
        Ok(())
    }

    /// Returns whether the machine has not been restarted since the first `up`.
    pub(super) fn is_current(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot)
    }
}

/// Returns the kernel's boot id.
pub(super) fn boot_id() -> Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_relative_directories_are_refused() {
        assert!(Layout::new(PathBuf::from("relative")).is_err());
        assert!(Layout::new(PathBuf::from("/").join("x".repeat(LONGEST_DIR))).is_err());
        let longest = Layout::new(PathBuf::from("/").join("x".repeat(LONGEST_DIR - 1))).unwrap();
        assert!(longest.containerd_socket().as_os_str().len() < 108);
    }

    #[test]
    fn control_groups_differ_by_directory() {
        let cgroup = |dir: &str| Layout::new(PathBuf::from(dir)).unwrap().cgroup();
        assert_eq!(cgroup("/a"), cgroup("/a"));
        assert_ne!(cgroup("/a"), cgroup("/b"));
    }

    #[test]
    fn a_restart_makes_the_state_outdated() {
        let ranges = serde_json::from_str(r#"{"pods":"172.28.0.0","services":"172.29.0.0"}"#).unwrap();
        let mut machine = Machine { boot: boot_id().unwrap(), ranges, sysctls: Vec::new() };
        assert!(machine.is_current());
        "another".clone_into(&mut machine.boot);
        assert!(!machine.is_current());
    }
}
