//! Finds the documents of a feature.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use enact_domain::speckit::MAX_DOCUMENT_BYTES;

use super::names;
use super::reopen::reopen;
use crate::terminal::note;

/// Places of the constitution below a project's root, the present one first.
const CONSTITUTIONS: [&str; 2] = [".specify/memory/constitution.md", "memory/constitution.md"];
/// Places of features below a project's root.
const FEATURES: [&str; 2] = ["specs", ".specify/specs"];

/// Most characters of an Agent's script.
const MAX_SCRIPT: usize = 65_536;

/// A document as it lies on the disk.
#[derive(Debug)]
pub struct Document {
    /// Where it was found, as a person would name it.
    pub path: PathBuf,
    /// Its bytes, at most one more than may be read.
    pub bytes: Vec<u8>,
}

/// Which constitution to take.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// The nearest one in or above the feature's directory.
    Nearest,
    /// This file.
    File(&'a Path),
    /// None.
    None,
}

/// The documents of one feature.
#[derive(Debug, Default)]
pub struct Project {
    /// Name that its objects may bear.
    pub name: String,
    /// `constitution.md`.
    pub constitution: Option<Document>,
    /// `spec.md`.
    pub spec: Option<Document>,
    /// `plan.md`.
    pub plan: Option<Document>,
    /// `tasks.md`.
    pub tasks: Option<Document>,
    /// What was looked for and not found, and what follows from that.
    pub missing: Vec<String>,
}

impl Project {
    /// Takes the tasks that are ticked for open ones.
    pub fn reopen(&mut self) {
        let Some(document) = &mut self.tasks else { return };
        // What is not text is refused later, with its place.
        if let Some((bytes, count)) = reopen(&document.bytes) {
            document.bytes = bytes;
            note(&format!("note: {}: {count} ticked tasks are taken for open ones", document.path.display()));
        }
    }
}

/// Reads the script of an agent.
///
/// # Errors
/// When an Agent cannot hold it.
pub fn script(path: &Path) -> Result<String> {
    let document = read(path)?;
    let text = String::from_utf8(document.bytes).with_context(|| format!("{} is not UTF-8", path.display()))?;
    if text.trim().is_empty() {
        bail!("{} is empty: an agent needs something to run", path.display());
    }
    let length = text.chars().count();
    if length > MAX_SCRIPT {
        bail!(
            "{} has {length} characters, and an Agent's script may have {MAX_SCRIPT}: put it into the image",
            path.display()
        );
    }
    Ok(text)
}

/// Reads the feature in a directory, or a single file.
///
/// # Errors
/// When there is nothing to import at `path`, or a file cannot be read.
pub fn find(path: &Path, constitution: Wanted<'_>) -> Result<Project> {
    let kind = fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
    if kind.is_dir() { directory(path, constitution) } else { single(path, constitution) }
}

fn directory(path: &Path, constitution: Wanted<'_>) -> Result<Project> {
    let whole = path.canonicalize().with_context(|| format!("{} cannot be read", path.display()))?;
    let mut project = Project {
        name: names::of_feature(&file_name(&whole)),
        spec: optional(&path.join("spec.md"))?,
        plan: optional(&path.join("plan.md"))?,
        tasks: optional(&path.join("tasks.md"))?,
        ..Project::default()
    };
    let shown = path.display();
    if project.spec.is_none() && project.tasks.is_none() {
        bail!("{shown} has neither spec.md nor tasks.md{}", advice(path));
    }
    if project.spec.is_none() {
        project
            .missing
            .push(format!("{shown} has no spec.md: there will be no Specification, and the Plan is for none"));
    }
    if project.tasks.is_none() {
        project.missing.push(format!("{shown} has no tasks.md: there will be no Plan"));
    }
    if project.plan.is_none() {
        project.missing.push(format!("{shown} has no plan.md: nothing to check there"));
    }
    project.constitution = match constitution {
        Wanted::File(file) => Some(read(file)?),
        Wanted::Nearest => above(path, &whole)?,
        Wanted::None => None,
    };
    if project.constitution.is_none() && matches!(constitution, Wanted::Nearest) {
        let places = CONSTITUTIONS.join(" or ");
        project.missing.push(format!("no {places} in or above {shown}: there will be no Constitution"));
    }
    Ok(project)
}

fn single(path: &Path, constitution: Wanted<'_>) -> Result<Project> {
    let document = read(path)?;
    let whole = path.canonicalize().with_context(|| format!("{} cannot be read", path.display()))?;
    let file = file_name(&whole);
    let feature = whole.parent().map(file_name).unwrap_or_default();
    let stem = whole.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let constitution = match constitution {
        Wanted::File(file) => Some(read(file)?),
        Wanted::Nearest | Wanted::None => None,
    };
    let project = match file.as_str() {
        "plan.md" => bail!("{} alone becomes no object: import its directory, or spec.md or tasks.md", path.display()),
        "tasks.md" => {
            Project { name: names::of_feature(&feature), tasks: Some(document), constitution, ..Project::default() }
        }
        "constitution.md" => {
            Project { name: names::of_feature(&stem), constitution: Some(document), ..Project::default() }
        }
        "spec.md" => {
            Project { name: names::of_feature(&feature), spec: Some(document), constitution, ..Project::default() }
        }
        _ => Project { name: names::of_feature(&stem), spec: Some(document), constitution, ..Project::default() },
    };
    Ok(project)
}

/// The nearest constitution in or above the directory, within its Git repository.
fn above(path: &Path, whole: &Path) -> Result<Option<Document>> {
    let mut shown = path.to_owned();
    for directory in whole.ancestors() {
        for place in CONSTITUTIONS {
            if let Some(document) = optional(&shown.join(place))? {
                return Ok(Some(document));
            }
        }
        if directory.join(".git").exists() {
            break;
        }
        shown = parent(&shown, directory);
    }
    Ok(None)
}

/// The directory above `shown`, in the words of whoever named it as long as they reach.
fn parent(shown: &Path, whole: &Path) -> PathBuf {
    let named = shown.parent().filter(|_| shown.file_name().is_some());
    match named {
        Some(above) if above.as_os_str().is_empty() => PathBuf::from("."),
        Some(above) => above.to_owned(),
        None => whole.parent().unwrap_or(whole).to_owned(),
    }
}

/// What to import instead of a project's root.
fn advice(path: &Path) -> String {
    let is_feature = |directory: &Path| ["spec.md", "tasks.md"].iter().any(|name| directory.join(name).is_file());
    for place in FEATURES {
        let Ok(entries) = fs::read_dir(path.join(place)) else {
            continue;
        };
        let mut features: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|d| is_feature(d)).collect();
        features.sort();
        if !features.is_empty() {
            let names: Vec<String> = features.iter().map(|feature| feature.display().to_string()).collect();
            return format!("; import one of its features: {}", names.join(", "));
        }
    }
    "; give the directory of a feature, such as specs/001-photo-albums".into()
}

fn optional(path: &Path) -> Result<Option<Document>> {
    if path.is_file() { read(path).map(Some) } else { Ok(None) }
}

fn read(path: &Path) -> Result<Document> {
    let limited = |file: fs::File| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // One byte more than allowed shows the parser that the document is too large, however large it is.
        file.take(MAX_DOCUMENT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = fs::File::open(path).and_then(limited).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Document { path: path.to_owned(), bytes })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
