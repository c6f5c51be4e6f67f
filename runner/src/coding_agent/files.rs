//! The files of an adapter.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use enact_domain::agents::definition::Place;
use enact_domain::agents::render::RenderedFile;

use crate::failure::Failure;
use crate::log::log;
use crate::workspace::WorkspaceLayout;

/// Name of the file with the agent's standard input, in the work directory.
const STANDARD_INPUT: &str = "standard-input";

/// The files that were written.
pub(super) struct Written(Vec<PathBuf>);

impl Written {
    /// Removes them: those in the working tree must not be committed, and those in HOME may contain credentials.
    pub(super) fn remove(&self) {
        for path in &self.0 {
            // The agent may have removed or replaced it.
            if path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
                let _ = fs::remove_file(path);
            }
        }
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
        create(base, &path, &file.content).map_err(|error| Failure::volume(&path, &error))?;
        if in_tree {
            exclude(&layout.tree, &file.path).map_err(|error| Failure::volume(&path, &error))?;
        }
        written.push(path);
    }
    Ok(Written(written))
}

/// Writes the text of the agent's standard input into a file and opens it. A pipe would need a thread that writes while the agent reads.
pub(super) fn standard_input(text: &str, layout: &WorkspaceLayout) -> Result<File, Failure> {
    let path = layout.root.join(STANDARD_INPUT);
    let opened = create(&layout.root, &path, text).and_then(|()| File::open(&path));
    opened.map_err(|error| Failure::volume(&path, &error))
}

fn create(base: &Path, path: &Path, content: &str) -> io::Result<()> {
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
    // It may contain the token.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())
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
