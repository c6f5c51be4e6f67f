//! Container images, built from the Containerfiles that users build, and kept in the cache by content.
//!
//! On a machine without Docker and without a registry: `mmdebstrap` makes the base image that the Containerfiles name, `buildah` builds
//! on it, and the result is an OCI archive that containerd, kind or k3d can load.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cmd::{CommandExt, cmd};
use crate::digest::Inputs;
use crate::{apt, binaries, cluster, dirs};

/// Where our images are published.
pub(crate) const REGISTRY: &str = "ghcr.io/enact-dev";

/// The image that Containerfiles start from; here it is made from Debian's packages.
const BASE: &str = "docker.io/library/debian:trixie-slim";
const BASE_SUITE: &str = "trixie";

/// The packages that building needs.
const PACKAGES: [&str; 4] = ["binutils", "buildah", "golang-github-containers-common", "mmdebstrap"];

/// Our images, and the programs that lie in the build context; without any, the context is the Containerfile's folder.
const IMAGES: [(&str, &[&str]); 4] =
    [("enact", &binaries::NAMES), ("agent", &["enact-runner"]), ("postgres", &[]), ("git-server", &[])];

/// Builds our images
#[derive(Args)]
pub(crate) struct Build {
    /// Build these only: enact, agent, postgres, git-server
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
    /// Its name in a registry, with the tag.
    pub(crate) name: String,
    /// The OCI archive.
    pub(crate) path: PathBuf,
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
    }
    Ok(())
}

/// Builds the images called `only`, or all of them.
pub(crate) fn archives(only: &[String], release: bool) -> Result<Vec<Archive>> {
    build_all(&Store::open()?, only, release)
}

/// Loads each archive with a command, in which `{}` stands for its path.
pub(crate) fn load_with(command: &str, archives: &[Archive]) -> Result<()> {
    archives.iter().try_for_each(|archive| load_one_with(command, &archive.path))
}

/// Pushes archives to a registry and path.
pub(crate) fn push(archives: &[Archive], registry: &str) -> Result<()> {
    let store = Store::open()?;
    archives.iter().try_for_each(|archive| store.push(archive, registry))
}

/// The image that a cluster itself needs: the sandbox's process and DNS, from the folder of its tools.
pub(crate) fn cluster_base(tools: &Path) -> Result<Archive> {
    let files = vec![tools.join("pause"), tools.join("coredns")];
    let containerfile = dirs::workspace().join("tools/cluster/Containerfile");
    let image = Image { name: "cluster".to_owned(), containerfile, files };
    let tag = image.digest()?;
    Store::open()?.archive(&image, &[format!("enact.dev/cluster:{tag}")])
}

fn build_all(store: &Store, only: &[String], release: bool) -> Result<Vec<Archive>> {
    let chosen = IMAGES.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|wanted| wanted == name));
    let chosen: Vec<_> = chosen.collect();
    let mut programs: Vec<&str> = chosen.iter().flat_map(|(_, programs)| programs.iter().copied()).collect();
    programs.sort_unstable();
    programs.dedup();
    if !programs.is_empty() {
        binaries::build(&programs, release)?;
    }
    let mut archives = Vec::new();
    for (name, programs) in chosen {
        let folder = dirs::workspace().join("images").join(name);
        let files = if programs.is_empty() {
            files_in(&folder)?
        } else {
            programs.iter().map(|program| dirs::workspace().join("dist").join(program)).collect()
        };
        let image = Image { name: (*name).to_owned(), containerfile: folder.join("Containerfile"), files };
        let tags = [env!("CARGO_PKG_VERSION"), "dev"].map(|tag| format!("{REGISTRY}/{name}:{tag}"));
        archives.push(store.archive(&image, &tags)?);
    }
    Ok(archives)
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

    /// The archive of `image` under `names`, built unless it is there.
    fn archive(&self, image: &Image, names: &[String]) -> Result<Archive> {
        let (Some(name), file) = (names.first(), format!("{}-{}.tar", image.name, image.digest()?)) else {
            bail!("image {} has no name", image.name);
        };
        let path = self.folder.join(file);
        if !path.exists() {
            eprintln!("building image {name}");
            self.build(image, names).with_context(|| format!("cannot build {name}"))?;
            self.export(names, &path)?;
            self.forget_older(&image.name, &path)?;
        }
        Ok(Archive { name: name.clone(), path })
    }

    fn build(&self, image: &Image, names: &[String]) -> Result<()> {
        let text = fs::read_to_string(&image.containerfile)?;
        if text.lines().any(|line| line.starts_with("FROM debian:")) {
            self.ensure_base()?;
        }
        let context = self.folder.join("context");
        remove_dir(&context)?;
        fs::create_dir_all(&context)?;
        for file in &image.files {
            cmd("cp", ["-R", "--"]).arg(file).arg(&context).read()?;
        }
        let mut build = self.buildah();
        build.args(["build", "--quiet", "--layers", "--pull-never", "--file"]).arg(&image.containerfile);
        for name in names {
            build.args(["--tag", name]);
        }
        build.arg(&context).read()?;
        remove_dir(&context)
    }

    /// Writes an archive that carries every name. It is not compressed: it only goes from this disk to this disk.
    fn export(&self, names: &[String], path: &Path) -> Result<()> {
        let layout = self.folder.join("export");
        remove_dir(&layout)?;
        for name in names {
            let target = format!("oci:{}:{name}", layout.display());
            self.buildah().args(["push", "--quiet", "--disable-compression", name, &target]).read()?;
        }
        let partial = path.with_extension("partial");
        // The index first: it tells what is inside without reading on.
        cmd("tar", ["-C"]).arg(&layout).arg("-cf").arg(&partial).args(["index.json", "oci-layout", "blobs"]).read()?;
        fs::rename(&partial, path)?;
        remove_dir(&layout)
    }

    /// Deletes archives of an image but the newest, and layers that no image needs.
    fn forget_older(&self, image: &str, newest: &Path) -> Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let digest = name.strip_prefix(&format!("{image}-")).and_then(|rest| rest.strip_suffix(".tar"));
            if path != newest && digest.is_some_and(|digest| digest.len() == 16 && !digest.contains('-')) {
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

    fn push(&self, archive: &Archive, registry: &str) -> Result<()> {
        let id =
            self.buildah().args(["pull", "--quiet"]).arg(format!("oci-archive:{}", archive.path.display())).read()?;
        let short = archive.name.rsplit('/').next().unwrap_or(&archive.name);
        let target = format!("docker://{registry}/{short}");
        let host = registry.split([':', '/']).next().unwrap_or_default();
        // A registry on this machine has no certificate.
        let verify = !matches!(host, "localhost" | "127.0.0.1");
        self.buildah().args(["push", &format!("--tls-verify={verify}"), &id, &target]).show()?;
        println!("pushed {registry}/{short}");
        Ok(())
    }
}

fn remove_dir(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("cannot delete {}", path.display()))?;
    }
    Ok(())
}
