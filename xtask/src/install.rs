//! Enact in a cluster, as a user installs it: images, then `helm install` from `charts/`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::cmd::CommandExt;
use crate::dirs;
use crate::images::{self, Archive};
use crate::kube::Kube;

/// The namespace and the name of the release.
pub(crate) const NAMESPACE: &str = "enact-system";
pub(crate) const RELEASE: &str = "enact";

/// How images get into a cluster that is not this machine's own.
#[derive(Args, Clone, Default)]
pub(crate) struct Delivery {
    /// Push the images to this registry and path, from which the cluster pulls, as in localhost:5000/enact-dev
    #[arg(long, value_name = "REGISTRY", requires = "context")]
    push: Option<String>,

    /// Load the images with this command, as in 'kind load image-archive {}'
    #[arg(long, value_name = "COMMAND", requires = "context")]
    load_command: Option<String>,
}

/// Builds all images and brings them to the cluster; the archives, and the registry and path that the cluster finds them by.
pub(crate) fn deliver_images(kube: &Kube, delivery: &Delivery) -> Result<(Vec<Archive>, String)> {
    let archives = images::archives(&[], false)?;
    let mut place = images::REGISTRY.to_owned();
    if kube.is_own() {
        let paths: Vec<PathBuf> = archives.iter().map(|archive| archive.path.clone()).collect();
        crate::cluster::load(&paths)?;
    } else if let Some(command) = &delivery.load_command {
        images::load_with(command, &archives)?;
    } else if let Some(registry) = &delivery.push {
        images::push(&archives, registry)?;
        place.clone_from(registry);
    } else {
        anyhow::bail!(
            "how do the images get into the cluster? Give --push REGISTRY, or --load-command 'kind load image-archive {{}}'"
        );
    }
    Ok((archives, place))
}

/// Installs or upgrades the release, with a Postgres of its own, and waits until it is ready. `more` are further flags for Helm.
pub(crate) fn helm(kube: &Kube, archives: &[Archive], place: &str, more: &[&str]) -> Result<()> {
    let (registry, path) = place.split_once('/').context("a registry needs a path, as in localhost:5000/enact-dev")?;
    let mut helm = kube.helm(["upgrade", "--install", RELEASE]);
    helm.arg(dirs::workspace().join("charts/enact"));
    helm.args(["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "5m"]);
    let set = |helm: &mut std::process::Command, key: &str, value: &str| {
        helm.arg("--set-string").arg(format!("{key}={value}"));
    };
    helm.args(["--set", "postgres.bundled.enabled=true"]);
    set(&mut helm, "image.registry", registry);
    set(&mut helm, "image.repository", &format!("{path}/enact"));
    set(&mut helm, "agent.image.repository", &format!("{path}/agent"));
    set(&mut helm, "postgres.bundled.image.repository", &format!("{path}/postgres"));
    // The tag stays the same when the programs change: without this, the old ones would run on.
    for archive in archives.iter().filter(|archive| archive.name.contains("/enact:")) {
        let version = archive.path.file_stem().unwrap_or_default().to_string_lossy();
        for component in ["operator", "webhook", "server"] {
            set(&mut helm, &format!("{component}.podAnnotations.enact\\.dev/archive"), &version);
        }
    }
    helm.args(more).read().context("Helm could not install the chart").map(drop)
}
