//! Finds the documents to check.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use enact_domain::speckit::MAX_DOCUMENT_BYTES;

use crate::args::DocumentKind;
use crate::import::project::CONSTITUTIONS;

/// Most documents of one run.
const MAX_DOCUMENTS: usize = 20_000;
/// Most entries of directories that are read in one run.
const MAX_ENTRIES: usize = 1_000_000;
/// Most directories between a path and a document below it.
const MAX_DEPTH: usize = 32;

/// The documents of a feature, in the order in which they are written.
const FEATURE: [(&str, DocumentKind); 3] =
    [("spec.md", DocumentKind::Specification), ("plan.md", DocumentKind::Plan), ("tasks.md", DocumentKind::Tasks)];

/// Hidden directories that have documents.
const HIDDEN: [&str; 2] = [".specify", ".kiro"];

/// A document to check.
#[derive(Debug)]
pub struct Found {
    pub kind: DocumentKind,
    /// The path for people, and for reading without `given`.
    pub path: PathBuf,
    /// The content from standard input.
    pub given: Option<Vec<u8>>,
}

/// Documents that are checked together.
#[derive(Debug, Default)]
pub struct Unit {
    pub documents: Vec<Found>,
    /// The constitution that the specification must follow.
    pub constitution: Option<PathBuf>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct AllFound {
    pub units: Vec<Unit>,
    /// What is not checked, and why.
    pub notes: Vec<String>,
}

/// Finds the documents of these paths. The order depends on the paths and names only.
///
/// # Errors
/// When a path cannot be read or has no documents, and when there are too many.
pub fn find(paths: &[PathBuf], kind: Option<DocumentKind>) -> Result<AllFound> {
    let mut search = Search::default();
    for path in paths {
        if path.as_os_str() == "-" {
            search.add_input(kind)?;
            continue;
        }
        let is_directory = fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?.is_dir();
        if is_directory {
            let before = search.encountered;
            search.directory(path, 0)?;
            if search.encountered == before {
                bail!("{} has no spec.md, tasks.md or memory/constitution.md", path.display());
            }
        } else {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let kind = kind.unwrap_or_else(|| kind_of(&name));
            search.add(vec![(path.clone(), kind)], None)?;
        }
    }
    Ok(search.found)
}

/// Returns the kind of a document by its name, as `import` reads a single document.
fn kind_of(name: &str) -> DocumentKind {
    match name {
        "constitution.md" => DocumentKind::Constitution,
        "plan.md" => DocumentKind::Plan,
        "tasks.md" => DocumentKind::Tasks,
        _ => DocumentKind::Specification,
    }
}

#[derive(Default)]
struct Search {
    found: AllFound,
    /// The documents that were found, by their paths without symbolic links.
    seen: HashSet<PathBuf>,
    /// Number of documents that were found, also of those that were found before.
    encountered: usize,
    entries: usize,
}

impl Search {
    /// Reads a document from standard input.
    fn add_input(&mut self, kind: Option<DocumentKind>) -> Result<()> {
        let mut bytes = Vec::new();
        // The parser refuses a document that is one byte over the limit.
        let limit = MAX_DOCUMENT_BYTES as u64 + 1;
        io::stdin().lock().take(limit).read_to_end(&mut bytes).context("standard input cannot be read")?;
        let kind = kind.unwrap_or(DocumentKind::Specification);
        let document = Found { kind, path: PathBuf::from("-"), given: Some(bytes) };
        self.found.units.push(Unit { documents: vec![document], constitution: None });
        Ok(())
    }

    /// Adds documents that are checked together, without those that were found before.
    fn add(&mut self, documents: Vec<(PathBuf, DocumentKind)>, constitution: Option<PathBuf>) -> Result<()> {
        let mut unit = Unit { documents: Vec::new(), constitution };
        for (path, kind) in documents {
            let whole = path.canonicalize().with_context(|| format!("{} cannot be read", path.display()))?;
            self.encountered += 1;
            if self.seen.insert(whole) {
                unit.documents.push(Found { kind, path, given: None });
            }
        }
        if self.encountered > MAX_DOCUMENTS {
            bail!("there are more than {MAX_DOCUMENTS} documents; check parts of the project");
        }
        if !unit.documents.is_empty() {
            self.found.units.push(unit);
        }
        Ok(())
    }

    /// Adds the documents in a directory and below it.
    fn directory(&mut self, path: &Path, depth: usize) -> Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path).with_context(|| format!("{} cannot be read", path.display()))? {
            let entry = entry.with_context(|| format!("{} cannot be read", path.display()))?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                bail!("there are more than {MAX_ENTRIES} files and directories; check parts of the project");
            }
            // Does not follow a symbolic link: it could lead out of the project.
            let kind = entry.file_type().with_context(|| format!("{} cannot be read", entry.path().display()))?;
            entries.push((entry.file_name().to_string_lossy().into_owned(), entry.path(), kind));
        }
        entries.sort_by(|a, b| a.1.cmp(&b.1));
        let is_feature = entries.iter().any(|(name, ..)| name == "spec.md" || name == "tasks.md");
        let is_memory = path.canonicalize().is_ok_and(|whole| whole.ends_with("memory"));
        let mut documents = Vec::new();
        for (name, path, kind) in &entries {
            let of_feature = FEATURE.iter().find(|(known, _)| is_feature && name == known).map(|(_, kind)| *kind);
            let constitution = (is_memory && name == "constitution.md").then_some(DocumentKind::Constitution);
            let Some(document) = of_feature.or(constitution) else { continue };
            if kind.is_symlink() {
                self.found.notes.push(format!("{} is a symbolic link and is not checked", path.display()));
            } else if kind.is_file() {
                documents.push((path.clone(), document));
            }
        }
        // The order of a feature, not of the names.
        documents.sort_by_key(|(_, kind)| *kind as usize);
        if !documents.is_empty() {
            let constitution = if is_feature { constitution_of(path) } else { None };
            self.add(documents, constitution)?;
        }
        for (name, path, kind) in &entries {
            let is_wanted = (!name.starts_with('.') || HIDDEN.contains(&name.as_str())) && name != "node_modules";
            if !kind.is_dir() || !is_wanted {
                continue;
            }
            if depth == MAX_DEPTH {
                self.found.notes.push(format!("{} is too deep and is not checked", path.display()));
                continue;
            }
            self.directory(path, depth + 1)?;
        }
        Ok(())
    }
}

/// Returns the nearest constitution of a feature: in its directory or above, within the same Git repository, as `import` finds it. None if
/// a symbolic link leads to it.
fn constitution_of(feature: &Path) -> Option<PathBuf> {
    let feature = feature.canonicalize().ok()?;
    for directory in feature.ancestors() {
        let paths = CONSTITUTIONS.iter().map(|place| directory.join(place));
        if let Some(path) = paths.into_iter().find(|path| path.is_file()) {
            return path.canonicalize().is_ok_and(|whole| whole == path).then_some(path);
        }
        if directory.join(".git").exists() {
            break;
        }
    }
    None
}
