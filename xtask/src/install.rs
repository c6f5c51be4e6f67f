//! Installs Enact in a cluster as a user does: images, then `helm install` from `charts/`.

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

/// The way in which images are delivered to a cluster that this program did not start.
#[derive(Args, Clone, Default)]
pub(crate) struct Delivery {
    /// Push the images to this registry and path, from which the cluster pulls, for example localhost:5000/enact-dev
    #[arg(long, value_name = "REGISTRY", requires = "context")]
    push: Option<String>,

    /// Load the images with this command, for example 'kind load image-archive {}'
    #[arg(long, value_name = "COMMAND", requires = "context")]
    load_command: Option<String>,
}

/// Images that a cluster can pull or has loaded.
pub(crate) struct Images {
    /// Registry and path.
    repository: String,
    pub(crate) archives: Vec<Archive>,
}

impl Images {
    /// Loads archives into the cluster of this machine.
    pub(crate) fn load(archives: Vec<Archive>) -> Result<Self> {
        let paths: Vec<PathBuf> = archives.iter().map(|archive| archive.path.clone()).collect();
        cluster::load(&paths)?;
        Ok(Self { repository: REGISTRY.to_owned(), archives })
    }

    /// Returns the full name of an image.
    pub(crate) fn name(&self, image: &str) -> Result<String> {
        Ok(format!("{}/{image}:{}", self.repository, self.tag(image)?))
    }

    fn tag(&self, image: &str) -> Result<&str> {
        let archive = self.archives.iter().find(|archive| archive.short() == image);
        archive.map(Archive::tag).with_context(|| format!("the image {image} was not built"))
    }

    /// Returns the chart's values for the images.
    fn values(&self) -> Result<Vec<String>> {
        let (registry, path) =
            self.repository.split_once('/').context("a registry needs a path, for example localhost:5000/enact-dev")?;
        let mut values = vec![format!("image.registry={registry}")];
        for (image, key) in [("enact", "image"), ("agent", "agent.image"), ("postgres", "postgres.bundled.image")] {
            values.push(format!("{key}.repository={path}/{image}"));
            values.push(format!("{key}.tag={}", self.tag(image)?));
        }
        Ok(values)
    }
}

/// Delivers images to the cluster.
pub(crate) fn deliver_images(kube: &Kube, delivery: &Delivery, archives: Vec<Archive>) -> Result<Images> {
    let mut repository = REGISTRY.to_owned();
    if kube.is_own() {
        return Images::load(archives);
    }
    if let Some(command) = &delivery.load_command {
        images::load_with(command, &archives)?;
    } else if let Some(registry) = &delivery.push {
        images::push(&archives, registry)?;
        repository.clone_from(registry);
    } else {
        anyhow::bail!(
            "the cluster cannot get the images: set --push REGISTRY, or --load-command 'kind load image-archive {{}}'"
        );
    }
    Ok(Images { repository, archives })
}

/// Selects revisions with an unfinished operation. Helm refuses to work on such a release, even if no Helm process runs any more.
const UNFINISHED: &str =
    "owner=helm,name=enact,status in (pending-install,pending-upgrade,pending-rollback,uninstalling)";

/// Deletes unfinished revisions that a killed Helm left.
fn forget_unfinished(kube: &Kube) -> Result<()> {
    let delete = |kind: &str, selector: &str| {
        kube.kubectl(["delete", kind, "--namespace", NAMESPACE, "--selector", selector, "--output=name"]).read()
    };
    let deleted = delete("secrets", UNFINISHED)?;
    // If there is nothing to delete, kubectl prints a sentence.
    let found: Vec<&str> = deleted.lines().filter(|line| line.starts_with("secret/")).collect();
    if !found.is_empty() {
        eprintln!("an earlier Helm was interrupted: deleted {}", found.join(", "));
        // The migration Job of the deleted revision has no owner. The Job of the previous revision can run again without harm.
        delete("jobs", &format!("app.kubernetes.io/instance={RELEASE}"))?;
    }
    Ok(())
}

/// Installs or upgrades the release with a bundled Postgres, and waits until it is ready. `more` are additional flags for Helm.
pub(crate) fn helm(kube: &Kube, images: &Images, more: &[&str]) -> Result<()> {
    let mut helm = kube.helm(["upgrade", "--install", RELEASE]);
    helm.arg(dirs::workspace().join("charts/enact"));
    helm.args(["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "5m"]);
    helm.args(["--set", "postgres.bundled.enabled=true"]);
    // Nobody else uses the release on this machine. Field values that a killed test left, such as a number of replicas, can be
    // overwritten.
    if kube.is_own() {
        forget_unfinished(kube)?;
        helm.arg("--force-conflicts");
    }
    for value in images.values()? {
        helm.args(["--set-string", &value]);
    }
    helm.args(more).read().context("Helm cannot install the chart")?;
    if kube.is_own() {
        cluster::forget_outdated(&images.archives)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_name_every_image_by_content() {
        let archive =
            |name: &str| Archive { name: format!("ghcr.io/enact-dev/{name}:0.1.0-00{name}"), path: PathBuf::new() };
        let archives = ["enact", "agent", "postgres", "git-server"].map(archive).into();
        let images = Images { repository: "localhost:5000/some/where".to_owned(), archives };
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
        // The chart has each of these values.
        let chart = std::fs::read_to_string(dirs::workspace().join("charts/enact/README.md")).unwrap();
        for (key, _) in values.iter().filter_map(|value| value.split_once('=')) {
            assert!(chart.contains(&format!("| {key} | string |")), "the chart has no value {key}");
        }
        assert!(images.name("cluster").is_err());
    }

    #[test]
    fn unfinished_revisions_are_selected_by_release() {
        assert!(UNFINISHED.contains(&format!(",name={RELEASE},")), "{UNFINISHED}");
    }
}
