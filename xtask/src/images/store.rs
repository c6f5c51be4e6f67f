//! Images that buildah builds, and their archives in the cache.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::agents;
use super::archive::{Archive, REGISTRY, VERSION, carries, content_tag, is_digest, under_names};
use crate::cmd::{CommandExt, cmd};
use crate::digest::Inputs;
use crate::{apt, dirs, model};

/// The base image of the builds here, which is made from Debian packages. The Containerfiles name the published one by its digest.
const BASE: &str = "docker.io/library/debian:trixie-slim";
const BASE_SUITE: &str = "trixie";

/// The packages that builds need.
const PACKAGES: [&str; 4] = ["binutils", "buildah", "golang-github-containers-common", "mmdebstrap"];

/// The image of the sentence model, whose context is the model. It is built only when it is asked for by name: search works without it.
pub(super) const MODEL: &str = "minilm";

/// The inputs of an image.
struct Image {
    name: String,
    containerfile: PathBuf,
    /// The build context. For a coding agent, the files that determine its packages.
    files: Vec<PathBuf>,
}

impl Image {
    fn digest(&self) -> Result<String> {
        let mut inputs = Inputs::default().text(BASE_SUITE).path(&self.containerfile)?;
        for file in &self.files {
            inputs = inputs.text(&file.file_name().unwrap_or_default().to_string_lossy()).path(file)?;
        }
        Ok(inputs.short())
    }
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

/// buildah's images and our archives in the cache. A lock admits one process at a time.
pub(crate) struct Store {
    pub(super) folder: PathBuf,
    driver: &'static str,
    _lock: File,
}

impl Store {
    pub(super) fn open() -> Result<Self> {
        if !apt::is_root() {
            bail!("building images needs chroot: run this as root");
        }
        apt::ensure(&PACKAGES)?;
        let folder = dirs::cache()?.join("images");
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        let mut store = Self { folder, driver: "overlay", _lock: lock };
        // The overlay driver fails on an overlay file system, for example in a container. The vfs driver copies all files: it is slow, but
        // always works.
        if !store.buildah().arg("images").succeeds() {
            store.driver = "vfs";
        }
        Ok(store)
    }

    fn buildah(&self) -> Command {
        let mut command = cmd("buildah", ["--storage-driver", self.driver, "--root"]);
        command.arg(self.folder.join(format!("storage-{}", self.driver)));
        command.arg("--runroot").arg(self.folder.join(format!("run-{}", self.driver)));
        command.env("BUILDAH_ISOLATION", "chroot");
        command
    }

    /// Returns the archive of one of our images with `programs` from `dist/`.
    pub(super) fn archive_of(&self, name: &str, programs: &[&str]) -> Result<Archive> {
        let folder = dirs::workspace().join("images").join(name);
        let mut containerfile = folder.join("Containerfile");
        let files = if name == MODEL {
            model::files()?
        } else if let Some(agent) = agents::agent_of(name) {
            containerfile = agents::containerfile();
            agents::inputs(agent)
        } else if programs.is_empty() {
            files_in(&folder)?
        } else {
            programs.iter().map(|program| dirs::workspace().join("dist").join(program)).collect()
        };
        let image = Image { name: name.to_owned(), containerfile, files };
        let digest = image.digest()?;
        let names = [VERSION, "dev", &content_tag(&digest)].map(|tag| format!("{REGISTRY}/{name}:{tag}"));
        let path = self.archive(&image, &digest, &names)?;
        let [.., name] = names;
        Ok(Archive { name, path })
    }

    /// Builds the parts that need no program of ours: the whole image, or the named stages of its Containerfile. When the image is built
    /// later, buildah reuses their layers.
    pub(super) fn prepare(&self, name: &str, programs: &[&str]) -> Result<()> {
        if programs.is_empty() {
            return self.archive_of(name, programs).map(drop);
        }
        let containerfile = dirs::workspace().join("images").join(name).join("Containerfile");
        self.ensure_base()?;
        let context = tempfile::tempdir_in(&self.folder)?;
        for stage in stages(&fs::read_to_string(&containerfile)?) {
            let mut build = self.buildah();
            build.args(["build", "--quiet", "--layers", "--pull-never", "--target", stage]);
            build.arg(base_argument()).arg("--file");
            build.arg(&containerfile).arg(context.path()).read()?;
        }
        Ok(())
    }

    /// Returns the archive of `image`, which has `digest`, under `names`. Builds it unless it is cached.
    fn archive(&self, image: &Image, digest: &str, names: &[String]) -> Result<PathBuf> {
        let Some(name) = names.first() else { bail!("image {} has no name", image.name) };
        let path = self.folder.join(format!("{}-{digest}.tar", image.name));
        // The same content may have been built under other names, for example for another version.
        if !carries(&path, names) {
            eprintln!("building image {name}");
            self.build(image, name).with_context(|| format!("cannot build {name}"))?;
            self.export(names, &path)?;
            self.forget_older(&image.name, &path)?;
        }
        Ok(path)
    }

    fn build(&self, image: &Image, name: &str) -> Result<()> {
        let text = fs::read_to_string(&image.containerfile)?;
        let has_base = text.lines().any(|line| line.starts_with("FROM ${DEBIAN}"));
        if has_base {
            self.ensure_base()?;
        }
        let context = tempfile::tempdir_in(&self.folder)?;
        for file in &image.files {
            cmd("cp", ["-R", "--"]).arg(file).arg(context.path()).read()?;
        }
        let mut build = self.buildah();
        build.args(["build", "--quiet", "--layers", "--pull-never", "--file"]).arg(&image.containerfile);
        if has_base {
            build.arg(base_argument());
        }
        let agent = agents::agent_of(&image.name);
        let packages = agent.map(|agent| agents::packages(agent, &self.folder)).transpose()?;
        if let (Some(agent), Some(packages)) = (agent, &packages) {
            build.arg(format!("--build-arg=AGENT={agent}"));
            build.arg(format!("--build-context=packages={}", packages.path().display()));
        }
        let replaced = self.image_id(name);
        build.args(["--tag", name]).arg(context.path()).read()?;
        if let Some(old) = replaced.filter(|old| self.image_id(name).as_ref() != Some(old)) {
            // Deletes the layers too, unless other images use them. Each image contains all programs, so that old ones fill the disk.
            // Fails if the image has other names, which is fine.
            self.buildah().args(["rmi", &old]).succeeds();
        }
        Ok(())
    }

    fn image_id(&self, name: &str) -> Option<String> {
        self.buildah().args(["inspect", "--type", "image", "--format", "{{.FromImageID}}", name]).read().ok()
    }

    /// Writes an archive with every name. It is not compressed, because it is only copied on this machine.
    fn export(&self, names: &[String], path: &Path) -> Result<()> {
        let Some(first) = names.first() else { bail!("an image without a name cannot be exported") };
        let folder = tempfile::tempdir_in(&self.folder)?;
        let layout = folder.path().join("layout");
        let target = format!("oci:{}:{first}", layout.display());
        self.buildah().args(["push", "--quiet", "--disable-compression", first, &target]).read()?;
        let index = layout.join("index.json");
        fs::write(&index, under_names(&fs::read_to_string(&index)?, names)?)?;
        let partial = path.with_extension("partial");
        // The index comes first, so that readers of the content need not read the rest.
        cmd("tar", ["-C"]).arg(&layout).arg("-cf").arg(&partial).args(["index.json", "oci-layout", "blobs"]).read()?;
        // The rename is atomic, so an interrupted export never leaves an incomplete archive in the cache.
        fs::rename(&partial, path)?;
        Ok(())
    }

    /// Deletes all archives of an image except the newest.
    fn forget_older(&self, image: &str, newest: &Path) -> Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let digest = name.strip_prefix(&format!("{image}-")).and_then(|rest| rest.strip_suffix(".tar"));
            if path != newest && digest.is_some_and(is_digest) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Builds the base image from Debian packages, as small as the published one.
    fn ensure_base(&self) -> Result<()> {
        if self.buildah().args(["inspect", "--type", "image", BASE]).succeeds() {
            return Ok(());
        }
        eprintln!("building the base image {BASE}");
        let tar = self.folder.join("base.tar");
        cmd("mmdebstrap", ["--variant=minbase", "--quiet"])
            .args(["--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*"])
            .args(["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright"])
            .arg(BASE_SUITE)
            .arg(&tar)
            .read()?;
        let container = self.buildah().args(["from", "scratch"]).read()?;
        self.buildah().args(["add", "--quiet", &container]).arg(&tar).arg("/").read()?;
        self.buildah().args(["config", "--cmd", "bash", &container]).read()?;
        self.buildah().args(["commit", "--quiet", "--rm", &container, BASE]).read()?;
        fs::remove_file(&tar)?;
        Ok(())
    }

    /// Copies an archive's image to a target of `buildah push`.
    pub(super) fn copy(&self, archive: &Archive, target: &str, verify: bool) -> Result<()> {
        let id = self.buildah().args(["pull", "--quiet", &archive.source()]).read()?;
        self.buildah().args(["push", "--quiet", &format!("--tls-verify={verify}"), &id, target]).read().map(drop)
    }
}

/// Builds the image of the cluster's own pods, which has the pause process and CoreDNS from the folder of tools.
pub(crate) fn cluster_base(tools: &Path) -> Result<Archive> {
    let files = vec![tools.join("pause"), tools.join("coredns")];
    let containerfile = dirs::workspace().join("tools/cluster/Containerfile");
    let image = Image { name: "cluster".to_owned(), containerfile, files };
    let digest = image.digest()?;
    let name = format!("enact.dev/cluster:{digest}");
    let path = Store::open()?.archive(&image, &digest, std::slice::from_ref(&name))?;
    Ok(Archive { name, path })
}

/// Returns the argument of a build that replaces the published base image by the one that is built here.
fn base_argument() -> String {
    format!("--build-arg=DEBIAN={BASE}")
}

/// Returns the names of the stages of a Containerfile.
fn stages(containerfile: &str) -> impl Iterator<Item = &str> {
    containerfile.lines().filter(|line| line.starts_with("FROM ")).filter_map(|line| Some(line.split_once(" AS ")?.1))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn stages_are_found_by_name() {
        let text = "FROM ${DEBIAN} AS system\nRUN a\n\nFROM system\nCOPY x AS y\n";
        assert_eq!(stages(text).collect::<Vec<_>>(), ["system"]);
    }

    /// Everybody who builds an image gets the same base, and all images have the same one.
    #[test]
    fn published_base_images_are_named_by_digest() {
        let mut pins = BTreeMap::new();
        for folder in fs::read_dir(dirs::workspace().join("images")).unwrap() {
            let path = folder.unwrap().path().join("Containerfile");
            let text = fs::read_to_string(&path).unwrap();
            let mut known: BTreeSet<String> = stages(&text).map(str::to_owned).collect();
            known.insert("scratch".to_owned());
            for (name, value) in text.lines().filter_map(|line| line.strip_prefix("ARG ")?.split_once('=')) {
                let (image, digest) = value.split_once("@sha256:").unwrap_or_else(|| panic!("{value} has no digest"));
                assert!(digest.len() == 64 && digest.bytes().all(|c| c.is_ascii_hexdigit()), "{value}");
                assert_eq!(
                    *pins.entry(name.to_owned()).or_insert_with(|| value.to_owned()),
                    value,
                    "{}",
                    path.display()
                );
                assert!(name != "DEBIAN" || image == BASE, "{image} is not {BASE}");
                known.insert(format!("${{{name}}}"));
            }
            for from in text.lines().filter_map(|line| line.strip_prefix("FROM ")) {
                let image = from.split_whitespace().next().unwrap();
                assert!(known.contains(image), "{}: {image}", path.display());
            }
        }
        assert_eq!(pins.into_keys().collect::<Vec<_>>(), ["DEBIAN", "NODE"]);
    }
}
