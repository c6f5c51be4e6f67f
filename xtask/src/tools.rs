//! Kubernetes, Helm and other tools, built from the pinned Go modules in `tools/` and cached by content.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cmd::{self, CommandExt, cmd};
use crate::digest::Inputs;
use crate::dirs;

/// The version that the API server reports: the version of `k8s.io/kubernetes` in `tools/cluster/go.mod`.
const KUBERNETES_VERSION: &str = "v1.35.4";

/// The components in the multi-call binary. Each is a symbolic link to it.
const COMPONENTS: [&str; 7] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"];

/// Packages of a Go module below `tools/`.
struct Module {
    folder: &'static str,
    packages: &'static [&'static str],
}

const CLUSTER: Module = Module { folder: "cluster", packages: &["./cmd/...", "helm.sh/helm/v4/cmd/helm"] };
/// Programs of the same module that only the checks of charts need.
const CHARTS: Module = Module {
    folder: "cluster",
    packages: &[
        "github.com/helm-unittest/helm-unittest/cmd/helm-unittest",
        "github.com/yannh/kubeconform/cmd/kubeconform",
    ],
};
const KWOK: Module = Module { folder: "kwok", packages: &["tool"] };

/// Returns the folder with Kubernetes, `CoreDNS` and Helm. The first call on a machine takes minutes.
pub(crate) fn cluster() -> Result<PathBuf> {
    CLUSTER.build()
}

/// Returns the folder with helm-unittest and kubeconform.
pub(crate) fn charts() -> Result<PathBuf> {
    CHARTS.build()
}

/// Returns the folder with the tool `name`.
pub(crate) fn folder_of(name: &str) -> Result<PathBuf> {
    if CHARTS.packages.iter().any(|package| package.ends_with(name)) { charts() } else { cluster() }
}

/// Returns the folder with kwok, which simulates nodes. It has its own module, because it needs newer libraries than Kubernetes.
pub(crate) fn kwok() -> Result<PathBuf> {
    KWOK.build()
}

/// Returns the folder of Kubernetes' pinned sources.
pub(crate) fn kubernetes_source() -> Result<PathBuf> {
    let mut download = cmd("go", ["mod", "download", "-json", "k8s.io/kubernetes"]);
    let module = download.current_dir(dirs::workspace().join("tools").join(CLUSTER.folder)).read()?;
    let module: serde_json::Value = serde_json::from_str(&module)?;
    Ok(PathBuf::from(module["Dir"].as_str().context("go mod download does not report the folder of Kubernetes")?))
}

/// Returns a Rust program from crates.io, and builds it once. It is not optimised, which would take longer than running it.
pub(crate) fn cargo_program(name: &str, version: &str) -> Result<PathBuf> {
    let root = dirs::cache()?.join("tools").join(format!("{name}-{version}"));
    let program = root.join("bin").join(name);
    if !program.exists() {
        eprintln!("building {name} {version} (once)");
        fs::create_dir_all(&root)?;
        let mut install =
            cmd::cargo(["install", "--quiet", "--locked", "--debug", name, "--version", version, "--root"]);
        // The build runs outside of the workspace, because `.cargo/config.toml` there is for our own programs.
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
        let digest = Inputs::default().text(&flags).text(&self.packages.join(" ")).path(&source)?.short();
        let target = dirs::cache()?.join("tools").join(digest);
        if target.exists() {
            return Ok(target);
        }
        eprintln!("building tools/{} (the first build takes minutes)", self.folder);
        // Each process builds in its own folder. The rename below publishes only complete builds.
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
            // Another process finished first, with the same result.
            Err(_) if target.exists() => Ok(fs::remove_dir_all(&partial).map(|()| target)?),
            Err(error) => Err(error).with_context(|| format!("cannot create {}", target.display())),
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
