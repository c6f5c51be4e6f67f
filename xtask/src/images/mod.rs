//! `cargo xtask images`: container images, built from the same Containerfiles that users build, and cached by content.
//!
//! No Docker and no registry is needed: `mmdebstrap` creates the base image of the Containerfiles, `buildah` builds on it, and the result
//! is an OCI archive that containerd, kind or k3d can load.

mod agents;
pub(crate) mod archive;
pub(crate) mod store;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use self::archive::{Archive, VERSION};
use self::store::{MODEL, Store};
use crate::binaries::Profile;
use crate::cmd::{CommandExt, cmd};
use crate::{binaries, cluster, parallel};

/// The images, and the programs in their build context. An image without programs has the Containerfile's folder as its context.
const IMAGES: [(&str, &[&str]); 12] = [
    ("enact", &binaries::NAMES),
    ("agent", &["enact-cache", "enact-runner"]),
    ("postgres", &[]),
    ("git-server", &[]),
    ("modelsim", &["enact-modelsim"]),
    (MODEL, &[]),
    ("agent-claude-code", &[]),
    ("agent-codex", &[]),
    ("agent-copilot", &[]),
    ("agent-gemini-cli", &[]),
    ("agent-opencode", &[]),
    ("agent-qwen-code", &[]),
];

/// Returns whether an image is built when none is named. Coding agents and the sentence model are large and rarely change.
fn by_default(name: &str) -> bool {
    name != MODEL && agents::agent_of(name).is_none()
}

/// Returns the names of the images of coding agents.
pub(crate) fn agent_images() -> impl Iterator<Item = &'static str> {
    IMAGES.iter().map(|(name, _)| *name).filter(|name| agents::agent_of(name).is_some())
}

/// Returns the manifest and the lock file of the image of a coding agent; none for another image.
pub(crate) fn npm_files(image: &str) -> Option<[PathBuf; 2]> {
    agents::agent_of(image).map(agents::npm_files)
}

/// Returns the programs of Enact that images contain.
pub(crate) fn programs() -> BTreeSet<&'static str> {
    IMAGES.iter().flat_map(|(_, programs)| programs.iter().copied()).collect()
}

/// Builds the images
#[derive(Args)]
pub(crate) struct Build {
    /// Build only these images; by default all but minilm and the coding agents (agent-…)
    #[arg(value_name = "IMAGE", value_parser = IMAGES.map(|(name, _)| name))]
    only: Vec<String>,

    /// Optimise the programs as for a release
    #[arg(long)]
    release: bool,

    /// Load the images into the cluster that `cargo xtask cluster up` started
    #[arg(long)]
    load: bool,

    /// Load the images with this command, for example 'kind load image-archive {}'
    #[arg(long, value_name = "COMMAND")]
    load_command: Option<String>,

    /// Push the images to this registry and path, for example localhost:5000/enact-dev
    #[arg(long, value_name = "REGISTRY")]
    push: Option<String>,
}

/// Builds images, and delivers them to the given targets.
pub(crate) fn run(build: &Build) -> Result<()> {
    let archives = archives(&build.only, if build.release { Profile::Release } else { Profile::Development })?;
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
        // `VERSION` is the chart's default tag, so the chart can be installed from this registry without further values.
        push_as(&archives, registry, |_| VERSION)?;
    }
    Ok(())
}

/// Builds the images named in `only`, or the default images if it is empty.
pub(crate) fn archives(only: &[String], profile: Profile) -> Result<Vec<Archive>> {
    let is_chosen =
        |name: &str| if only.is_empty() { by_default(name) } else { only.iter().any(|wanted| wanted == name) };
    let chosen = IMAGES.iter().filter(|(name, _)| is_chosen(name));
    let chosen: Vec<_> = chosen.collect();
    let mut programs: Vec<&str> = chosen.iter().flat_map(|(_, programs)| programs.iter().copied()).collect();
    programs.sort_unstable();
    programs.dedup();
    // The base image and the parts without programs are built while cargo compiles the programs.
    let prepare = || {
        let store = Store::open()?;
        chosen.iter().try_for_each(|(name, programs)| store.prepare(name, programs))
    };
    let ((), compiled) = parallel::both(prepare, || binaries::compile(&programs, profile))?;
    // The lock of the store also keeps other processes from changing `dist/` until the images are built.
    let store = Store::open()?;
    binaries::collect(&compiled)?;
    chosen.into_iter().map(|(name, programs)| store.archive_of(name, programs)).collect()
}

/// Loads each archive with a command in which `{}` is replaced by its path.
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
    // A registry on this machine usually has no certificate.
    let verify = !matches!(host, "localhost" | "127.0.0.1");
    for archive in archives {
        let name = format!("{registry}/{}:{}", archive.short(), tag(archive));
        store.copy(archive, &format!("docker://{name}"), verify)?;
        println!("pushed {name}");
    }
    Ok(())
}

/// Copies the smallest archive to a folder, which uses the code path of a push without a registry.
pub(crate) fn check_push(archives: &[Archive]) -> Result<()> {
    let store = Store::open()?;
    let size = |archive: &&Archive| fs::metadata(&archive.path).map_or(u64::MAX, |file| file.len());
    let smallest = archives.iter().min_by_key(size).context("no image was built")?;
    let folder = tempfile::tempdir_in(&store.folder)?;
    store.copy(smallest, &format!("dir:{}", folder.path().display()), true)?;
    let manifest = fs::read(folder.path().join("manifest.json"))?;
    let _: Value = serde_json::from_slice(&manifest).context("the pushed manifest is not JSON")?;
    Ok(())
}

fn load_one_with(command: &str, archive: &Path) -> Result<()> {
    let words: Vec<String> =
        command.split_whitespace().map(|word| word.replace("{}", &archive.to_string_lossy())).collect();
    match words.as_slice() {
        [program, args @ ..] if command.contains("{}") => cmd(program, args).show(),
        _ => bail!("--load-command {command:?} has no {{}}, which is replaced by the path of the archive"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dirs;

    #[test]
    fn containerfiles_copy_the_programs_of_their_context() {
        for (name, programs) in IMAGES.iter().filter(|(_, programs)| !programs.is_empty()) {
            let file = dirs::workspace().join("images").join(name).join("Containerfile");
            let text = fs::read_to_string(&file).unwrap();
            for program in *programs {
                assert!(
                    text.lines().any(|line| line.starts_with("COPY ") && line.contains(program)),
                    "{name}: {program}"
                );
            }
        }
    }

    #[test]
    fn every_folder_of_an_agent_is_an_image() {
        let of_folders: Vec<String> = agents::names().iter().map(|name| format!("agent-{name}")).collect();
        assert_eq!(agent_images().collect::<Vec<_>>(), of_folders);
    }

    #[test]
    fn a_load_command_needs_a_placeholder() {
        let error = load_one_with("true", Path::new("/a.tar")).unwrap_err();
        assert!(error.to_string().contains("{}"), "{error}");
        load_one_with("test /a.tar = {}", Path::new("/a.tar")).unwrap();
    }
}
