//! The files of an adapter.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use enact_domain::agents::definition::Place;
use enact_domain::agents::render::RenderedFile;
use enact_domain::assignment::Reason;

use crate::failure::Failure;
use crate::log::log;
use crate::workspace::WorkspaceLayout;

/// Name of the file with the agent's standard input, in the work directory.
const STANDARD_INPUT: &str = "standard-input";

/// The file that each skill must have.
const SKILL_FILE: &str = "SKILL.md";

/// The files that were written, and the folders of skills.
pub(super) struct Written(Vec<PathBuf>);

impl Written {
    /// Removes them: those in the working tree must not be committed, and those in HOME may contain credentials.
    pub(super) fn remove(&self) {
        for path in &self.0 {
            // The agent may have removed or replaced it.
            match path.symlink_metadata() {
                Ok(metadata) if metadata.is_file() => drop(fs::remove_file(path)),
                Ok(metadata) if metadata.is_dir() => drop(fs::remove_dir_all(path)),
                _ => {}
            }
        }
    }

    /// Copies skills from their volumes into `into`, a path below HOME. It replaces a skill of the image that has the same name.
    pub(super) fn add_skills(
        &mut self,
        names: &[String],
        volumes: &Path,
        into: &str,
        layout: &WorkspaceLayout,
    ) -> Result<(), Failure> {
        for name in names {
            let (from, to) = (volumes.join(name), layout.home.join(into).join(name));
            copy_skill(&from, &to, &layout.home).map_err(|error| Failure::volume(&to, &error))?;
            if !to.join(SKILL_FILE).is_file() {
                let message = format!(
                    "the ConfigMap of the skill {name} does not exist, or has no key {SKILL_FILE}; see spec.skills of the Agent"
                );
                return Err(Failure::new(Reason::ContainerConfigError, message));
            }
            self.0.push(to);
        }
        Ok(())
    }
}

/// Writes files into HOME and the working tree. A file of the repository is never replaced.
pub(super) fn write(files: &[RenderedFile], layout: &WorkspaceLayout) -> Result<Written, Failure> {
    let mut written = Vec::new();
    for file in files {
        let base = if file.place == Place::Home { &layout.home } else { &layout.tree };
        let path = base.join(&file.path);
        let in_tree = file.place == Place::Tree;
        if in_tree && path.symlink_metadata().is_ok() {
            log(&format!("the repository has its own {}", file.path));
            continue;
        }
        create(base, &path, file.content.as_bytes(), 0o600).map_err(|error| Failure::volume(&path, &error))?;
        if in_tree {
            exclude(&layout.tree, &file.path).map_err(|error| Failure::volume(&path, &error))?;
        }
        written.push(path);
    }
    Ok(Written(written))
}

/// Copies the files of a ConfigMap's volume. They are links into a hidden folder, which the kubelet replaces when the ConfigMap changes.
fn copy_skill(from: &Path, to: &Path, home: &Path) -> io::Result<()> {
    match fs::remove_dir_all(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        // The volume of a ConfigMap that does not exist.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry?.file_name();
        let file = from.join(&name);
        if !name.as_encoded_bytes().starts_with(b"..") && file.is_file() {
            let content = fs::read(file)?;
            // A ConfigMap has no file modes.
            let mode = if content.starts_with(b"#!") { 0o700 } else { 0o600 };
            create(home, &to.join(name), &content, mode)?;
        }
    }
    Ok(())
}

/// Writes the text of the agent's standard input into a file and opens it. A pipe would need a thread that writes while the agent reads.
pub(super) fn standard_input(text: &str, layout: &WorkspaceLayout) -> Result<File, Failure> {
    let path = layout.root.join(STANDARD_INPUT);
    let opened = create(&layout.root, &path, text.as_bytes(), 0o600).and_then(|()| File::open(&path));
    opened.map_err(|error| Failure::volume(&path, &error))
}

fn create(base: &Path, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let parent = path.parent().unwrap_or(base);
    fs::create_dir_all(parent)?;
    // A link in the repository could lead elsewhere.
    if !parent.canonicalize()?.starts_with(base.canonicalize()?) {
        return Err(io::Error::other("its directory is a link to another place"));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // It may contain the token: no mode lets others read it.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)
}

/// Hides a file from Git, for commits that the agent makes.
fn exclude(tree: &Path, path: &str) -> io::Result<()> {
    let git = tree.join(".git");
    if !git.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(git.join("info"))?;
    let mut file = OpenOptions::new().append(true).create(true).open(git.join("info/exclude"))?;
    writeln!(file, "/{path}")
}
