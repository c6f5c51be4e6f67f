//! kubectl for the cluster that this program started.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::layout::Layout;
use crate::cmd::{CommandExt, cmd};

/// kubectl with the administrator's kubeconfig.
pub(super) struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// Returns kubectl from the folder of `tools`.
    pub(super) fn new(layout: &Layout, tools: &Path) -> Self {
        Self { program: tools.join("kubectl"), kubeconfig: layout.admin_kubeconfig() }
    }

    /// Runs a command and returns what it prints.
    pub(super) fn read(&self, args: &[&str]) -> Result<String> {
        self.command(args).read()
    }

    /// Applies manifests.
    pub(super) fn apply(&self, manifests: &str) -> Result<()> {
        let args = ["apply", "--server-side", "--force-conflicts", "--field-manager=enact-cluster", "-f", "-"];
        self.command(&args).read_with(manifests).context("cannot apply the cluster's own manifests")?;
        Ok(())
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = cmd(&self.program, ["--request-timeout=20s", "--kubeconfig"]);
        command.arg(&self.kubeconfig).args(args);
        command
    }
}
