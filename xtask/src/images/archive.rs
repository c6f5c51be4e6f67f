//! OCI archives: images in files, named by their content.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cmd::{CommandExt, cmd};

/// The registry and path of our published images.
pub(crate) const REGISTRY: &str = "ghcr.io/enact-dev";

/// The default tag in the chart.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The annotation with the image's name in the index of an OCI layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image in an OCI archive.
pub(crate) struct Archive {
    /// The name, with a tag that is unique to the content: a node does not check whether the image of a tag has changed.
    pub(crate) name: String,
    /// The OCI archive. It has additional names.
    pub(crate) path: PathBuf,
}

impl Archive {
    /// Returns the tag, which is unique to the content.
    pub(crate) fn tag(&self) -> &str {
        self.name.rsplit(':').next().unwrap_or_default()
    }

    /// Returns the last part of the name without the tag, for example `enact`.
    pub(crate) fn short(&self) -> &str {
        let path = self.name.split(':').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }

    /// Returns the reference for buildah. An archive with several names needs one of them, no matter which.
    pub(super) fn source(&self) -> String {
        format!("oci-archive:{}:{}", self.path.display(), self.name)
    }
}

/// The index of an OCI archive.
#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Reads the names and digests of the images in an OCI archive.
pub(crate) fn contents(archive: &Path) -> Result<Vec<(String, String)>> {
    // The index is the first file of our own archives, so that the rest is not read.
    let index = cmd("tar", ["-x", "-O", "--occurrence=1", "-f"]).arg(archive).arg("index.json").read()?;
    let index: Index =
        serde_json::from_str(&index).with_context(|| format!("{} is not an OCI archive", archive.display()))?;
    let entry = |mut entry: Descriptor| (entry.annotations.remove(REF_NAME).unwrap_or_default(), entry.digest);
    Ok(index.manifests.into_iter().map(entry).collect())
}

/// Returns the tag for content of this version.
pub(super) fn content_tag(digest: &str) -> String {
    format!("{VERSION}-{digest}")
}

/// Selects the images of a node that have the name of one of these archives and other content.
pub(crate) fn outdated<'a>(kept: impl IntoIterator<Item = &'a str>, archives: &[Archive]) -> Vec<&'a str> {
    let of_other_content = |name: &&str| {
        archives.iter().any(|archive| {
            let repository = archive.name.strip_suffix(archive.tag()).unwrap_or_default();
            let tag = name.strip_prefix(repository).unwrap_or_default();
            tag != archive.tag() && tag.rsplit_once('-').is_some_and(|(_, digest)| is_digest(digest))
        })
    };
    kept.into_iter().filter(of_other_content).collect()
}

/// Returns whether a text is a result of [`Inputs::short`].
pub(super) fn is_digest(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns whether an archive exists and has its image under all of these names.
pub(super) fn carries(archive: &Path, names: &[String]) -> bool {
    let has = |contents: &[(String, String)], name| contents.iter().any(|(held, _)| held == name);
    archive.exists() && contents(archive).is_ok_and(|contents| names.iter().all(|name| has(&contents, name)))
}

/// Returns the index of an OCI layout with one image, with an entry for each name.
pub(super) fn under_names(index: &str, names: &[String]) -> Result<String> {
    let mut index: Value = serde_json::from_str(index).context("the index of the exported image is not JSON")?;
    let Some([image]) = index["manifests"].as_array().map(Vec::as_slice) else {
        bail!("the exported layout does not contain exactly one image: {index}");
    };
    let under = |name: &String| {
        let mut entry = image.clone();
        entry["annotations"][REF_NAME] = json!(name);
        entry
    };
    index["manifests"] = names.iter().map(under).collect();
    Ok(index.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn one_image_has_every_name() {
        let index = r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:1","size":3}]}"#;
        let names = ["a:1".to_owned(), "a:dev".to_owned()];
        let with_names: Value = serde_json::from_str(&under_names(index, &names).unwrap()).unwrap();
        let [_, second] = with_names["manifests"].as_array().unwrap().as_slice() else { panic!("{with_names}") };
        assert_eq!(second["digest"], "sha256:1");
        assert_eq!(second["annotations"]["org.opencontainers.image.ref.name"], "a:dev");
        assert!(under_names(r#"{"manifests":[]}"#, &names).is_err());
    }

    #[test]
    fn an_archive_without_a_name_is_rebuilt() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["a:1", "a:dev", "a:1-0123456789abcdef"].map(str::to_owned);
        let index = under_names(r#"{"manifests":[{"digest":"sha256:1","size":3}]}"#, &names).unwrap();
        fs::write(folder.path().join("index.json"), index).unwrap();
        let archive = folder.path().join("a.tar");
        assert!(!carries(&archive, &names));
        cmd("tar", ["-C"]).arg(folder.path()).arg("-cf").arg(&archive).arg("index.json").read().unwrap();
        assert!(carries(&archive, &names));
        assert!(!carries(&archive, &["a:2".to_owned()]));
        // buildah needs one of several names.
        let archive = Archive { name: names[2].clone(), path: archive };
        assert_eq!(archive.source(), format!("oci-archive:{}:{}", archive.path.display(), names[2]));
    }

    #[test]
    fn only_images_with_other_content_are_outdated() {
        let archive = |short: &str| Archive {
            name: format!("{REGISTRY}/{short}:{}", content_tag("0123456789abcdef")),
            path: PathBuf::new(),
        };
        let archives = [archive("enact"), archive("agent")];
        assert_eq!((archives[0].short(), archives[0].tag()), ("enact", &*content_tag("0123456789abcdef")));
        let kept = [
            "enact.dev/cluster:fedcba9876543210",
            "ghcr.io/enact-dev/enact:0.1.0",
            "ghcr.io/enact-dev/enact:dev",
            "ghcr.io/enact-dev/enact:0.0.9-fedcba9876543210",
            "ghcr.io/enact-dev/git-server:0.1.0-fedcba9876543210",
            "sha256:fedcba9876543210",
            &archives[0].name,
            &archives[1].name,
        ];
        assert_eq!(outdated(kept, &archives), ["ghcr.io/enact-dev/enact:0.0.9-fedcba9876543210"]);
    }
}
