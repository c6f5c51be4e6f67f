//! The cluster that a command uses: the cluster of this machine, or the cluster of a kubeconfig context.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::cmd::{CommandExt, cmd};
use crate::{cluster, dirs, tools};

/// Arguments that are passed on to a tool.
#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Replaces this process with the tool `name`. It uses the cluster of this machine, unless `KUBECONFIG` is set.
pub(crate) fn exec(name: &str, arguments: &Arguments) -> Result<()> {
    let mut command = Command::new(tools::folder_of(name)?.join(name));
    command.args(&arguments.arguments);
    if std::env::var_os("KUBECONFIG").is_none()
        && let Ok(kubeconfig) = cluster::default_kubeconfig()
    {
        command.env("KUBECONFIG", kubeconfig);
    }
    Err(command.exec()).with_context(|| format!("cannot run {name}"))
}

/// A cluster, and the programs that access it.
pub(crate) struct Kube {
    kubectl: PathBuf,
    helm: PathBuf,
    /// The kubeconfig, for example that of this machine's cluster. If there is none, the programs use `KUBECONFIG` or their default.
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
}

impl Kube {
    /// Returns the cluster that `cargo xtask cluster up` started.
    pub(crate) fn own() -> Result<Self> {
        let tools = tools::cluster()?;
        let kubeconfig = Some(cluster::default_kubeconfig()?);
        Ok(Self { kubectl: tools.join("kubectl"), helm: tools.join("helm"), kubeconfig, context: None })
    }

    /// Returns the cluster of a context. kubectl and Helm are built if they are not installed.
    pub(crate) fn of_context(context: &str) -> Result<Self> {
        Self::named(None, Some(context))
    }

    /// Returns the cluster of a kubeconfig and one of its contexts. Without a kubeconfig, the programs use `KUBECONFIG` or their default;
    /// without a context, the current one.
    pub(crate) fn named(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Self> {
        let program = |name: &str| match on_path(name) {
            Some(path) => Ok(path),
            None => tools::cluster().map(|tools| tools.join(name)),
        };
        let (kubectl, helm) = (program("kubectl")?, program("helm")?);
        let (kubeconfig, context) = (kubeconfig.map(Path::to_owned), context.map(str::to_owned));
        Ok(Self { kubectl, helm, kubeconfig, context })
    }

    /// Returns whether this is the cluster of this machine.
    pub(crate) fn is_own(&self) -> bool {
        self.context.is_none()
    }

    pub(crate) fn kubectl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.command(&self.kubectl, "--context", args)
    }

    pub(crate) fn helm<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.command(&self.helm, "--kube-context", args)
    }

    /// Returns a command that runs `dist/enact`.
    pub(crate) fn enact<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.command(&dirs::workspace().join("dist/enact"), "--context", args)
    }

    fn command<S: AsRef<OsStr>>(&self, program: &Path, flag: &str, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = cmd(program, [] as [&str; 0]);
        if let Some(context) = &self.context {
            command.args([flag, context]);
        }
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        command.args(args);
        command
    }

    /// Applies manifests. `who` is empty, or contains kubectl's flags `--as` and `--as-group`.
    pub(crate) fn apply(&self, manifests: &str, who: &[&str]) -> Result<()> {
        let mut apply = self.kubectl(["apply", "--filename", "-"]);
        apply.args(who).read_with(manifests).map(drop)
    }

    /// Waits until `condition`, in the syntax of `kubectl wait --for`, is met.
    pub(crate) fn wait(&self, namespace: &str, object: &str, condition: &str, seconds: u32) -> Result<()> {
        let timeout = format!("--timeout={seconds}s");
        let condition = format!("--for={condition}");
        self.kubectl(["wait", "--namespace", namespace, object, &condition, &timeout]).read().map(drop)
    }

    /// Returns the kubeconfig that a user must export first.
    pub(crate) fn kubeconfig(&self) -> Option<&Path> {
        self.kubeconfig.as_deref()
    }

    /// Returns ` --context NAME` for the commands that a user types, if it is needed.
    pub(crate) fn flag(&self) -> String {
        self.context.as_ref().map(|context| format!(" --context {context}")).unwrap_or_default()
    }

    /// Returns the kubectl command for this cluster as a user types it.
    pub(crate) fn kubectl_in_words(&self) -> String {
        let program = match on_path("kubectl") {
            None if self.context.is_some() => self.kubectl.display().to_string(),
            _ => "kubectl".to_owned(),
        };
        format!("{program}{}", self.flag())
    }

    /// Returns a remote cluster with these programs as kubectl and Helm.
    #[cfg(test)]
    pub(crate) fn pretended(kubectl: PathBuf, helm: PathBuf) -> Self {
        Self { kubectl, helm, kubeconfig: None, context: Some("elsewhere".to_owned()) }
    }
}

/// Returns the path of an installed program.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
