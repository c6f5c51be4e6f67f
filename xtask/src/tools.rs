//! Kubernetes, Helm and their like, built from the pinned Go modules in `tools/` and kept in the cache by content.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::cluster;
use crate::cmd::{self, CommandExt, cmd};
use crate::digest::Inputs;
use crate::dirs;

/// What the API server says that it is; the version of `k8s.io/kubernetes` in `tools/cluster/go.mod`.
const KUBERNETES_VERSION: &str = "v1.35.4";

/// The names by which the multi-call binary is called.
const COMPONENTS: [&str; 7] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"];

/// A Go module below `tools/` and the packages built from it.
struct Module {
    folder: &'static str,
    packages: &'static [&'static str],
}

const CLUSTER: Module = Module { folder: "cluster", packages: &["./cmd/...", "tool"] };
const KWOK: Module = Module { folder: "kwok", packages: &["tool"] };

/// The folder with Kubernetes, `CoreDNS`, Helm and the tools for charts. The first call on a machine takes minutes.
pub(crate) fn cluster() -> Result<PathBuf> {
    CLUSTER.build()
}

/// The folder with kwok, which plays nodes; a module of its own, because it needs newer libraries than Kubernetes.
pub(crate) fn kwok() -> Result<PathBuf> {
    KWOK.build()
}

/// The folder of Kubernetes' pinned sources.
pub(crate) fn kubernetes_source() -> Result<PathBuf> {
    let mut download = cmd("go", ["mod", "download", "-json", "k8s.io/kubernetes"]);
    let module = download.current_dir(dirs::workspace().join("tools").join(CLUSTER.folder)).read()?;
    let module: serde_json::Value = serde_json::from_str(&module)?;
    Ok(PathBuf::from(module["Dir"].as_str().context("Go does not say where Kubernetes' sources are")?))
}

/// What a tool is given, unread.
#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Becomes the tool `name`. It talks to our cluster, when there is one and `KUBECONFIG` names no other.
pub(crate) fn exec(name: &str, arguments: &Arguments) -> Result<()> {
    let mut command = Command::new(cluster()?.join(name));
    command.args(&arguments.arguments);
    if std::env::var_os("KUBECONFIG").is_none()
        && let Ok(kubeconfig) = cluster::default_kubeconfig()
    {
        command.env("KUBECONFIG", kubeconfig);
    }
    Err(command.exec()).with_context(|| format!("cannot run {name}"))
}

/// A Rust program from crates.io, built once. Not optimised: it would take longer to build than to run.
pub(crate) fn cargo_program(name: &str, version: &str) -> Result<PathBuf> {
    let root = dirs::cache()?.join("tools").join(format!("{name}-{version}"));
    let program = root.join("bin").join(name);
    if !program.exists() {
        eprintln!("building {name} {version} (once)");
        fs::create_dir_all(&root)?;
        let mut install =
            cmd::cargo(["install", "--quiet", "--locked", "--debug", name, "--version", version, "--root"]);
        // Not in the workspace, whose configuration is for our own programs.
        install.arg(&root).current_dir(&root).env("CARGO_PROFILE_DEV_DEBUG", "false");
        install.show().with_context(|| format!("cannot build {name}"))?;
    }
    Ok(program)
}

impl Module {
    fn build(&self) -> Result<PathBuf> {
        let source = dirs::workspace().join("tools").join(self.folder);
        let flags = format!(
            "-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION} \
             -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=35 \
             -X k8s.io/component-base/version.gitTreeState=clean"
        );
        let digest = Inputs::default().text(&flags).path(&source)?.short();
        let target = dirs::cache()?.join("tools").join(digest);
        if target.exists() {
            return Ok(target);
        }
        eprintln!("building tools/{} (the first time this takes minutes)", self.folder);
        let partial = target.with_extension(format!("partial-{}", std::process::id()));
        fs::create_dir_all(&partial)?;
        cmd("go", ["build", "-trimpath", "-ldflags", &flags, "-o"])
            .arg(format!("{}/", partial.display()))
            .args(self.packages)
            .current_dir(&source)
            .env("CGO_ENABLED", "0")
            .show()
            .context("cannot build the tools: is Go installed?")?;
        link_components(&partial)?;
        match fs::rename(&partial, &target) {
            Ok(()) => Ok(target),
            // Another process was first, with the same result.
            Err(_) if target.exists() => Ok(fs::remove_dir_all(&partial).map(|()| target)?),
            Err(error) => Err(error).with_context(|| format!("cannot make {}", target.display())),
        }
    }
}

fn link_components(folder: &Path) -> Result<()> {
    if folder.join("kubernetes").exists() {
        for component in COMPONENTS {
            symlink("kubernetes", folder.join(component))?;
        }
    }
    Ok(())
}
