//! Container images, built from the Containerfiles that users build, and kept in the cache by content.
//!
//! On a machine without Docker and without a registry: `mmdebstrap` makes the base image that the Containerfiles name, `buildah` builds
//! on it, and the result is an OCI archive that containerd, kind or k3d can load.

pub(crate) mod archive;
pub(crate) mod store;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use self::archive::{Archive, VERSION};
use self::store::{MODEL, Store};
use crate::cmd::{CommandExt, cmd};
use crate::{binaries, cluster, parallel};

/// Our images, and the programs that lie in the build context; without any, the context is the Containerfile's folder.
const IMAGES: [(&str, &[&str]); 5] =
    [("enact", &binaries::NAMES), ("agent", &["enact-runner"]), ("postgres", &[]), ("git-server", &[]), (MODEL, &[])];

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
    // Debian's packages are downloaded and installed while the compiler works.
    let prepare = || {
        let store = Store::open()?;
        chosen.iter().try_for_each(|(name, programs)| store.prepare(name, programs))
    };
    let ((), compiled) = parallel::both(prepare, || binaries::compile(&programs, release))?;
    // The lock of the store also keeps other processes from `dist/`.
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

fn load_one_with(command: &str, archive: &Path) -> Result<()> {
    let words: Vec<String> =
        command.split_whitespace().map(|word| word.replace("{}", &archive.to_string_lossy())).collect();
    match words.as_slice() {
        [program, args @ ..] if command.contains("{}") => cmd(program, args).show(),
        _ => bail!("--load-command {command:?} does not say with {{}} where the archive goes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dirs;

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
