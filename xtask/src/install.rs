//! Enact in a cluster, as a user installs it: images, then `helm install` from `charts/`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::cmd::CommandExt;
use crate::images;
use crate::images::archive::{Archive, REGISTRY};
use crate::kube::Kube;
use crate::{cluster, dirs};

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

/// Our images, as a cluster finds them.
pub(crate) struct Images {
    /// Registry and path.
    place: String,
    pub(crate) archives: Vec<Archive>,
}

impl Images {
    /// Brings archives to the cluster of this machine.
    pub(crate) fn load(archives: Vec<Archive>) -> Result<Self> {
        let paths: Vec<PathBuf> = archives.iter().map(|archive| archive.path.clone()).collect();
        cluster::load(&paths)?;
        Ok(Self { place: REGISTRY.to_owned(), archives })
    }

    /// The whole name of an image.
    pub(crate) fn name(&self, image: &str) -> Result<String> {
        Ok(format!("{}/{image}:{}", self.place, self.tag(image)?))
    }

    fn tag(&self, image: &str) -> Result<&str> {
        let archive = self.archives.iter().find(|archive| archive.short() == image);
        archive.map(Archive::tag).with_context(|| format!("the image {image} was not built"))
    }

    /// The values by which the chart finds them.
    fn values(&self) -> Result<Vec<String>> {
        let (registry, path) =
            self.place.split_once('/').context("a registry needs a path, as in localhost:5000/enact-dev")?;
        let mut values = vec![format!("image.registry={registry}")];
        for (image, key) in [("enact", "image"), ("agent", "agent.image"), ("postgres", "postgres.bundled.image")] {
            values.push(format!("{key}.repository={path}/{image}"));
            values.push(format!("{key}.tag={}", self.tag(image)?));
        }
        Ok(values)
    }
}

/// Brings images to the cluster.
pub(crate) fn deliver_images(kube: &Kube, delivery: &Delivery, archives: Vec<Archive>) -> Result<Images> {
    let mut place = REGISTRY.to_owned();
    if kube.is_own() {
        return Images::load(archives);
    }
    if let Some(command) = &delivery.load_command {
        images::load_with(command, &archives)?;
    } else if let Some(registry) = &delivery.push {
        images::push(&archives, registry)?;
        place.clone_from(registry);
    } else {
        anyhow::bail!(
            "how do the images get into the cluster? Give --push REGISTRY, or --load-command 'kind load image-archive {{}}'"
        );
    }
    Ok(Images { place, archives })
}

/// Revisions in the midst of something, for whose end every Helm waits, also when nobody is left who could bring it.
const UNFINISHED: &str =
    "owner=helm,name=enact,status in (pending-install,pending-upgrade,pending-rollback,uninstalling)";

/// Takes back what a Helm left that was killed with an earlier run.
fn forget_unfinished(kube: &Kube) -> Result<()> {
    let delete = |kind: &str, selector: &str| {
        kube.kubectl(["delete", kind, "--namespace", NAMESPACE, "--selector", selector, "--output=name"]).read()
    };
    let told = delete("secrets", UNFINISHED)?;
    // kubectl says in words when there was nothing to delete.
    let found: Vec<&str> = told.lines().filter(|line| line.starts_with("secret/")).collect();
    if !found.is_empty() {
        eprintln!("an earlier Helm did not come to its end: {} is taken back", found.join(", "));
        // Its migration would be nobody's; that of the revision before runs again without harm.
        delete("jobs", &format!("app.kubernetes.io/instance={RELEASE}"))?;
    }
    Ok(())
}

/// Installs or upgrades the release, with a Postgres of its own, and waits until it is ready. `more` are further flags for Helm.
pub(crate) fn helm(kube: &Kube, images: &Images, more: &[&str]) -> Result<()> {
    let mut helm = kube.helm(["upgrade", "--install", RELEASE]);
    helm.arg(dirs::workspace().join("charts/enact"));
    helm.args(["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "5m"]);
    helm.args(["--set", "postgres.bundled.enabled=true"]);
    // On this machine nobody else works with the release: neither with Helm, nor by settings of their own that would have to stay, as a
    // number of pods that a killed test left behind.
    if kube.is_own() {
        forget_unfinished(kube)?;
        helm.arg("--force-conflicts");
    }
    for value in images.values()? {
        helm.args(["--set-string", &value]);
    }
    helm.args(more).read().context("Helm could not install the chart")?;
    if kube.is_own() {
        cluster::forget_outdated(&images.archives)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_of_the_chart_is_named_by_its_content() {
        let archive =
            |name: &str| Archive { name: format!("ghcr.io/enact-dev/{name}:0.1.0-00{name}"), path: PathBuf::new() };
        let archives = ["enact", "agent", "postgres", "git-server"].map(archive).into();
        let images = Images { place: "localhost:5000/some/where".to_owned(), archives };
        assert_eq!(images.name("git-server").unwrap(), "localhost:5000/some/where/git-server:0.1.0-00git-server");
        let values = images.values().unwrap();
        assert_eq!(
            values,
            [
                "image.registry=localhost:5000",
                "image.repository=some/where/enact",
                "image.tag=0.1.0-00enact",
                "agent.image.repository=some/where/agent",
                "agent.image.tag=0.1.0-00agent",
                "postgres.bundled.image.repository=some/where/postgres",
                "postgres.bundled.image.tag=0.1.0-00postgres",
            ]
        );
        // Each of them is one that the chart has.
        let chart = std::fs::read_to_string(dirs::workspace().join("charts/enact/README.md")).unwrap();
        for (key, _) in values.iter().filter_map(|value| value.split_once('=')) {
            assert!(chart.contains(&format!("| {key} | string |")), "the chart has no value {key}");
        }
        assert!(images.name("cluster").is_err());
    }

    #[test]
    fn the_revisions_of_the_release_are_found_by_its_name() {
        assert!(UNFINISHED.contains(&format!(",name={RELEASE},")), "{UNFINISHED}");
    }
}
