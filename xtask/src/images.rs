//! Container images, built from the Containerfiles that users build, and kept in the cache by content.
//!
//! On a machine without Docker and without a registry: `mmdebstrap` makes the base image that the Containerfiles name, `buildah` builds
//! on it, and the result is an OCI archive that containerd, kind or k3d can load.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cmd::{CommandExt, cmd};
use crate::digest::Inputs;
use crate::{apt, binaries, cluster, dirs, model};

/// Where our images are published.
pub(crate) const REGISTRY: &str = "ghcr.io/enact-dev";

/// The tag that the chart names unless it is told another one.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The annotation of an entry in an OCI layout's index that holds the image's name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The image that Containerfiles start from; here it is made from Debian's packages.
const BASE: &str = "docker.io/library/debian:trixie-slim";
const BASE_SUITE: &str = "trixie";

/// The packages that building needs.
const PACKAGES: [&str; 4] = ["binutils", "buildah", "golang-github-containers-common", "mmdebstrap"];

/// Our images, and the programs that lie in the build context; without any, the context is the Containerfile's folder.
const IMAGES: [(&str, &[&str]); 5] =
    [("enact", &binaries::NAMES), ("agent", &["enact-runner"]), ("postgres", &[]), ("git-server", &[]), (MODEL, &[])];

/// The image of the sentence model, whose context is the model. It is made when it is asked for by name: search works without it.
const MODEL: &str = "minilm";

/// Builds our images
#[derive(Args)]
pub(crate) struct Build {
    /// Build these only: enact, agent, postgres, git-server, minilm; by default all but minilm
    #[arg(value_name = "IMAGE", value_parser = IMAGES.map(|(name, _)| name))]
    only: Vec<String>,

    /// Optimise the programs as for a release
    #[arg(long)]
    release: bool,

    /// Load the images into the cluster that `cargo xtask cluster up` started
    #[arg(long)]
    load: bool,

    /// Load the images with this command, as in 'kind load image-archive {}'
    #[arg(long, value_name = "COMMAND")]
    load_command: Option<String>,

    /// Push the images to this registry and path, as in localhost:5000/enact-dev
    #[arg(long, value_name = "REGISTRY")]
    push: Option<String>,
}

/// An image in a file.
pub(crate) struct Archive {
    /// Its name, with a tag that no other content has: a node that keeps an image does not ask again what stands behind its tag.
    pub(crate) name: String,
    /// The OCI archive. It carries further names.
    pub(crate) path: PathBuf,
}

impl Archive {
    /// What tells this content from every other.
    pub(crate) fn tag(&self) -> &str {
        self.name.rsplit(':').next().unwrap_or_default()
    }

    /// The last part of its name, without the tag: `enact`, say.
    pub(crate) fn short(&self) -> &str {
        let path = self.name.split(':').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }

    /// As buildah takes it; which of the names makes no difference, but there are several, so that one must be said.
    fn source(&self) -> String {
        format!("oci-archive:{}:{}", self.path.display(), self.name)
    }
}

/// The part of an OCI archive's index that says what is inside.
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

/// Names and digests of what is in an OCI archive.
pub(crate) fn contents(archive: &Path) -> Result<Vec<(String, String)>> {
    // The index is the first file of our own archives; the rest need not be read.
    let index = cmd("tar", ["-x", "-O", "--occurrence=1", "-f"]).arg(archive).arg("index.json").read()?;
    let index: Index =
        serde_json::from_str(&index).with_context(|| format!("{} is no OCI archive", archive.display()))?;
    let entry = |mut entry: Descriptor| (entry.annotations.remove(REF_NAME).unwrap_or_default(), entry.digest);
    Ok(index.manifests.into_iter().map(entry).collect())
}

/// Builds what is asked for and brings it where it is asked for.
pub(crate) fn run(build: &Build) -> Result<()> {
    let archives = archives(&build.only, build.release)?;
    for archive in &archives {
        println!("{} {}", archive.name, archive.path.display());
    }
    if build.load {
        let paths: Vec<PathBuf> = archives.iter().map(|archive| archive.path.clone()).collect();
        cluster::load(&paths)?;
    }
    if let Some(command) = &build.load_command {
        load_with(command, &archives)?;
    }
    if let Some(registry) = &build.push {
        push(&archives, registry)?;
        // For whoever installs the chart as it is.
        push_as(&archives, registry, |_| VERSION)?;
    }
    Ok(())
}

/// Builds the images called `only`, or all that are built by default.
pub(crate) fn archives(only: &[String], release: bool) -> Result<Vec<Archive>> {
    let by_default = |name: &str| only.is_empty() && name != MODEL;
    let chosen = IMAGES.iter().filter(|(name, _)| by_default(name) || only.iter().any(|wanted| wanted == name));
    let chosen: Vec<_> = chosen.collect();
    let mut programs: Vec<&str> = chosen.iter().flat_map(|(_, programs)| programs.iter().copied()).collect();
    programs.sort_unstable();
    programs.dedup();
    let compiled = binaries::compile(&programs, release)?;
    // From here on, `dist/` too belongs to one process at a time.
    let store = Store::open()?;
    binaries::collect(&compiled)?;
    chosen.into_iter().map(|(name, programs)| store.archive_of(name, programs)).collect()
}

/// Loads each archive with a command, in which `{}` stands for its path.
pub(crate) fn load_with(command: &str, archives: &[Archive]) -> Result<()> {
    archives.iter().try_for_each(|archive| load_one_with(command, &archive.path))
}

/// Pushes archives to a registry and path, each under the tag of its content.
pub(crate) fn push(archives: &[Archive], registry: &str) -> Result<()> {
    push_as(archives, registry, Archive::tag)
}

fn push_as(archives: &[Archive], registry: &str, tag: impl Fn(&Archive) -> &str) -> Result<()> {
    let store = Store::open()?;
    let host = registry.split([':', '/']).next().unwrap_or_default();
    // A registry on this machine has no certificate.
    let verify = !matches!(host, "localhost" | "127.0.0.1");
    for archive in archives {
        let name = format!("{registry}/{}:{}", archive.short(), tag(archive));
        store.copy(archive, &format!("docker://{name}"), verify)?;
        println!("pushed {name}");
    }
    Ok(())
}

/// Copies the smallest archive the way that it would go into a registry, to see that this works where there is none.
pub(crate) fn check_push(archives: &[Archive]) -> Result<()> {
    let store = Store::open()?;
    let size = |archive: &&Archive| fs::metadata(&archive.path).map_or(u64::MAX, |file| file.len());
    let smallest = archives.iter().min_by_key(size).context("no image was built")?;
    let folder = tempfile::tempdir_in(&store.folder)?;
    store.copy(smallest, &format!("dir:{}", folder.path().display()), true)?;
    let manifest = fs::read(folder.path().join("manifest.json"))?;
    let _: Value = serde_json::from_slice(&manifest).context("what was pushed is no image")?;
    Ok(())
}

/// The image that a cluster itself needs: the sandbox's process and DNS, from the folder of its tools.
pub(crate) fn cluster_base(tools: &Path) -> Result<Archive> {
    let files = vec![tools.join("pause"), tools.join("coredns")];
    let containerfile = dirs::workspace().join("tools/cluster/Containerfile");
    let image = Image { name: "cluster".to_owned(), containerfile, files };
    let digest = image.digest()?;
    let name = format!("enact.dev/cluster:{digest}");
    let path = Store::open()?.archive(&image, &digest, std::slice::from_ref(&name))?;
    Ok(Archive { name, path })
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

fn load_one_with(command: &str, archive: &Path) -> Result<()> {
    let words: Vec<String> =
        command.split_whitespace().map(|word| word.replace("{}", &archive.to_string_lossy())).collect();
    match words.as_slice() {
        [program, args @ ..] if command.contains("{}") => cmd(program, args).show(),
        _ => bail!("--load-command {command:?} does not say with {{}} where the archive goes"),
    }
}

/// What an image is made from.
struct Image {
    name: String,
    containerfile: PathBuf,
    /// The build context.
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

/// buildah's images and our archives in the cache. One process builds at a time.
struct Store {
    folder: PathBuf,
    driver: &'static str,
    _lock: File,
}

impl Store {
    fn open() -> Result<Self> {
        if !apt::is_root() {
            bail!("building images without a container engine needs chroot: run this as root");
        }
        apt::ensure(&PACKAGES)?;
        let folder = dirs::cache()?.join("images");
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        let mut store = Self { folder, driver: "overlay", _lock: lock };
        // Within a container, say, there is no overlay on overlay; copies are slow but always possible.
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

    /// The archive of one of our images, with `programs` from `dist/` in it.
    fn archive_of(&self, name: &str, programs: &[&str]) -> Result<Archive> {
        let folder = dirs::workspace().join("images").join(name);
        let files = if name == MODEL {
            model::files()?
        } else if programs.is_empty() {
            files_in(&folder)?
        } else {
            programs.iter().map(|program| dirs::workspace().join("dist").join(program)).collect()
        };
        let image = Image { name: name.to_owned(), containerfile: folder.join("Containerfile"), files };
        let digest = image.digest()?;
        let names = [VERSION, "dev", &content_tag(&digest)].map(|tag| format!("{REGISTRY}/{name}:{tag}"));
        let path = self.archive(&image, &digest, &names)?;
        let [.., name] = names;
        Ok(Archive { name, path })
    }

    /// The archive of `image`, whose digest is given, under `names`; built unless it is there.
    fn archive(&self, image: &Image, digest: &str, names: &[String]) -> Result<PathBuf> {
        let Some(name) = names.first() else { bail!("image {} has no name", image.name) };
        let path = self.folder.join(format!("{}-{digest}.tar", image.name));
        // The same content may have been built under other names: for another version, say.
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
        if text.lines().any(|line| line.starts_with("FROM debian:")) {
            self.ensure_base()?;
        }
        let context = tempfile::tempdir_in(&self.folder)?;
        for file in &image.files {
            cmd("cp", ["-R", "--"]).arg(file).arg(context.path()).read()?;
        }
        let mut build = self.buildah();
        build.args(["build", "--quiet", "--layers", "--pull-never", "--file"]).arg(&image.containerfile);
        let replaced = self.image_id(name);
        build.args(["--tag", name]).arg(context.path()).read()?;
        if let Some(old) = replaced.filter(|old| self.image_id(name).as_ref() != Some(old)) {
            // With its layers, but for those that others use: each holds all programs. It may have names that somebody else gave it.
            self.buildah().args(["rmi", &old]).succeeds();
        }
        Ok(())
    }

    fn image_id(&self, name: &str) -> Option<String> {
        self.buildah().args(["inspect", "--type", "image", "--format", "{{.FromImageID}}", name]).read().ok()
    }

    /// Writes an archive that carries every name. It is not compressed: it only goes from this disk to this disk.
    fn export(&self, names: &[String], path: &Path) -> Result<()> {
        let Some(first) = names.first() else { bail!("an image without a name cannot be exported") };
        let folder = tempfile::tempdir_in(&self.folder)?;
        let layout = folder.path().join("layout");
        let target = format!("oci:{}:{first}", layout.display());
        self.buildah().args(["push", "--quiet", "--disable-compression", first, &target]).read()?;
        let index = layout.join("index.json");
        fs::write(&index, under_names(&fs::read_to_string(&index)?, names)?)?;
        let partial = path.with_extension("partial");
        // The index first: it tells what is inside without reading on.
        cmd("tar", ["-C"]).arg(&layout).arg("-cf").arg(&partial).args(["index.json", "oci-layout", "blobs"]).read()?;
        fs::rename(&partial, path)?;
        Ok(())
    }

    /// Deletes archives of an image but the newest.
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

    /// Makes the base image from Debian's packages, as slim as the published one.
    fn ensure_base(&self) -> Result<()> {
        if self.buildah().args(["inspect", "--type", "image", BASE]).succeeds() {
            return Ok(());
        }
        eprintln!("making the base image {BASE}");
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

    /// Copies an archive's image to where buildah can push.
    fn copy(&self, archive: &Archive, target: &str, verify: bool) -> Result<()> {
        let id = self.buildah().args(["pull", "--quiet", &archive.source()]).read()?;
        self.buildah().args(["push", "--quiet", &format!("--tls-verify={verify}"), &id, target]).read().map(drop)
    }
}

/// The tag of an image of this version with this content.
fn content_tag(digest: &str) -> String {
    format!("{VERSION}-{digest}")
}

/// Of the names of images that a node keeps, those of other contents than these archives' own.
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

/// Whether this is what [`Inputs::short`] gives.
fn is_digest(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether an archive is there, and holds its image under every one of these names.
fn carries(archive: &Path, names: &[String]) -> bool {
    let has = |contents: &[(String, String)], name| contents.iter().any(|(held, _)| held == name);
    archive.exists() && contents(archive).is_ok_and(|contents| names.iter().all(|name| has(&contents, name)))
}

/// The index of an OCI layout that holds one image, with an entry for each name.
fn under_names(index: &str, names: &[String]) -> Result<String> {
    let mut index: Value = serde_json::from_str(index).context("the index of the exported image is not JSON")?;
    let Some([image]) = index["manifests"].as_array().map(Vec::as_slice) else {
        bail!("the exported layout does not hold one image: {index}");
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
    use super::*;

    #[test]
    fn one_image_stands_under_every_name() {
        let index = r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:1","size":3}]}"#;
        let names = ["a:1".to_owned(), "a:dev".to_owned()];
        let with_names: Value = serde_json::from_str(&under_names(index, &names).unwrap()).unwrap();
        let [_, second] = with_names["manifests"].as_array().unwrap().as_slice() else { panic!("{with_names}") };
        assert_eq!(second["digest"], "sha256:1");
        assert_eq!(second["annotations"]["org.opencontainers.image.ref.name"], "a:dev");
        assert!(under_names(r#"{"manifests":[]}"#, &names).is_err());
    }

    #[test]
    fn an_archive_that_lacks_a_name_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["a:1", "a:dev", "a:1-0123456789abcdef"].map(str::to_owned);
        let index = under_names(r#"{"manifests":[{"digest":"sha256:1","size":3}]}"#, &names).unwrap();
        fs::write(folder.path().join("index.json"), index).unwrap();
        let archive = folder.path().join("a.tar");
        assert!(!carries(&archive, &names));
        cmd("tar", ["-C"]).arg(folder.path()).arg("-cf").arg(&archive).arg("index.json").read().unwrap();
        assert!(carries(&archive, &names));
        assert!(!carries(&archive, &["a:2".to_owned()]));
        // Of several names, one has to be asked for.
        let archive = Archive { name: names[2].clone(), path: archive };
        assert_eq!(archive.source(), format!("oci-archive:{}:{}", archive.path.display(), names[2]));
    }

    #[test]
    fn images_of_other_contents_are_outdated_and_nothing_else_is() {
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

    #[test]
    fn every_image_has_a_containerfile_that_copies_what_its_context_holds() {
        for (name, programs) in IMAGES {
            let file = dirs::workspace().join("images").join(name).join("Containerfile");
            let text = fs::read_to_string(&file).unwrap();
            for program in programs {
                assert!(
                    text.lines().any(|line| line.starts_with("COPY ") && line.contains(program)),
                    "{name}: {program}"
                );
            }
        }
    }

    #[test]
    fn a_load_command_says_where_the_archive_goes() {
        let error = load_one_with("true", Path::new("/a.tar")).unwrap_err();
        assert!(error.to_string().contains("{}"), "{error}");
        load_one_with("test /a.tar = {}", Path::new("/a.tar")).unwrap();
    }
}
