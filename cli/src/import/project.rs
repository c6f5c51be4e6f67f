//! Finds the documents of a feature.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use enact_domain::speckit::MAX_DOCUMENT_BYTES;

use super::names;
use super::reopen::reopen;
use crate::terminal::note;

/// Paths of the constitution in a project, the newer layout first.
pub const CONSTITUTIONS: [&str; 2] = [".specify/memory/constitution.md", "memory/constitution.md"];
/// Directories of features in a project.
const FEATURES: [&str; 2] = ["specs", ".specify/specs"];

/// Most characters in the script of an Agent.
const MAX_SCRIPT: usize = 65_536;

/// A file.
#[derive(Debug)]
pub struct Document {
    /// The path relative to the argument of the command, for messages.
    pub path: PathBuf,
    /// The content, cut one byte after the size limit.
    pub bytes: Vec<u8>,
}

/// The constitution to use.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// The nearest one in the directory of the feature or above.
    Nearest,
    File(&'a Path),
    None,
}

/// The documents of one feature.
#[derive(Debug, Default)]
pub struct Project {
    /// Name of the objects.
    pub name: String,
    pub constitution: Option<Document>,
    pub spec: Option<Document>,
    pub plan: Option<Document>,
    pub tasks: Option<Document>,
    /// Messages about missing documents.
    pub missing: Vec<String>,
}

impl Project {
    /// Clears the boxes of ticked tasks.
    pub fn reopen(&mut self) {
        let Some(document) = &mut self.tasks else { return };
        // `check` reports a file that is not text.
        if let Some((bytes, count)) = reopen(&document.bytes) {
            document.bytes = bytes;
            note(&format!("note: {}: {count} ticked tasks are included as open tasks", document.path.display()));
        }
    }
}

/// Reads the script of an Agent.
pub fn script(path: &Path) -> Result<String> {
    let document = read(path)?;
    let text = String::from_utf8(document.bytes).with_context(|| format!("{} is not UTF-8", path.display()))?;
    if text.trim().is_empty() {
        bail!("{} is empty; the script of an Agent must have a command", path.display());
    }
    let length = text.chars().count();
    if length > MAX_SCRIPT {
        bail!(
            "{} has {length} characters; the limit for an Agent's script is {MAX_SCRIPT}: put the script into the image of the Agent",
            path.display()
        );
    }
    Ok(text)
}

/// Reads the feature in a directory, or a single file.
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
            .push(format!("{shown} has no spec.md: no Specification is printed, and the Plan refers to none"));
    }
    if project.tasks.is_none() {
        project.missing.push(format!("{shown} has no tasks.md: no Plan is printed"));
    }
    if project.plan.is_none() {
        project.missing.push(format!("{shown} has no plan.md: it is not checked"));
    }
    project.constitution = match constitution {
        Wanted::File(file) => Some(read(file)?),
        Wanted::Nearest => above(path, &whole)?,
        Wanted::None => None,
    };
    if project.constitution.is_none() && matches!(constitution, Wanted::Nearest) {
        let paths = CONSTITUTIONS.join(" or ");
        project.missing.push(format!("there is no {paths} in {shown} or above: no Constitution is printed"));
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
        "plan.md" => {
            bail!("{} alone does not describe an object; import its directory, spec.md or tasks.md", path.display())
        }
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

/// Returns the nearest constitution in the directory or above, within the same Git repository.
fn above(path: &Path, whole: &Path) -> Result<Option<Document>> {
    let mut shown = path.to_owned();
    for directory in whole.ancestors() {
        for place in CONSTITUTIONS {
            if let Some(document) = optional(&shown.join(place))? {
                return Ok(Some(document));
            }
        }
        // The root of the repository is the last directory: a constitution above it belongs to another project.
        if directory.join(".git").exists() {
            break;
        }
        shown = parent(&shown, directory);
    }
    Ok(None)
}

/// Returns the directory above `shown`, in the form that the user typed while that is possible.
fn parent(shown: &Path, whole: &Path) -> PathBuf {
    let named = shown.parent().filter(|_| shown.file_name().is_some());
    match named {
        Some(above) if above.as_os_str().is_empty() => PathBuf::from("."),
        Some(above) => above.to_owned(),
        None => whole.parent().unwrap_or(whole).to_owned(),
    }
}

/// Returns advice for a directory that is not a feature.
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
    "; use the directory of a feature, such as specs/001-photo-albums".into()
}

fn optional(path: &Path) -> Result<Option<Document>> {
    if path.is_file() { read(path).map(Some) } else { Ok(None) }
}

/// Reads a document, at most one byte more than its size limit.
pub fn read(path: &Path) -> Result<Document> {
    let limited = |file: fs::File| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // The parser refuses a document that is one byte over the limit, so there is no need to read more.
        file.take(MAX_DOCUMENT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = fs::File::open(path).and_then(limited).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Document { path: path.to_owned(), bytes })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
