//! `enact edit` and `rollback`: another text in a document's place, beside others who do the same.

mod keep;
mod patch;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use enact_crds::approval::Subject;
use enact_domain::digest::Digest;
use enact_domain::revisions::sections::{Conflict, Merge, merge};
use enact_domain::speckit::MAX_DOCUMENT_BYTES;

pub use patch::print as print_patch;

use crate::args::{Edit, Rollback};
use crate::cluster::Cluster;
use crate::document::{Document, Home, Saved};
use crate::history::difference;
use crate::record::Record;
use crate::terminal::{self, Paint, note};

/// Tries to put a text in its place while others, or the operator's status, change the object.
const TRIES: u32 = 8;

/// Lets a person change a document, and saves what they made of it.
pub async fn edit(cluster: &Cluster, options: &Edit) -> Result<ExitCode> {
    let document = Document::load(cluster, &options.subject).await?;
    let in_git = match document.home()? {
        Home::Git(git) => Some(git),
        _ => None,
    };
    let base = match (&options.base, in_git) {
        (Some(digest), _) => base(cluster, &document, digest).await?,
        (None, Some(_)) => document.in_git(cluster).await?,
        (None, None) => document.present(cluster).await?.text,
    };
    let ours = match &options.file {
        Some(file) => read(file)?,
        None => in_editor(&options.subject.name, &base)?,
    };
    if ours == base {
        note("nothing was changed");
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(git) = in_git {
        return patch::print(git, &base, &ours);
    }
    let saved = Box::pin(save(cluster, &options.subject, &base, &ours, options.message.as_deref())).await;
    let name = &options.subject.name;
    // What came from a file is there still.
    let held = options.file.as_deref().is_some_and(|file| file != Path::new("-"));
    if !matches!(saved, Ok(None)) && !held {
        let place = keep::text(name, "yours", &ours)?;
        note(&format!("your text is in {}", place.display()));
    }
    let Some((merge, theirs)) = saved? else { return Ok(ExitCode::SUCCESS) };
    let place = keep::text(name, "merged", &merge.text)?;
    tell(&merge.conflicts);
    let kind = format!("{:?}", options.subject.kind).to_ascii_lowercase();
    bail!(
        "somebody else changed the same; both are in {0}, with Git's markers: settle them there, and then say: enact edit {kind}/{name} \
         -f {0} --base {1} -n {2}",
        place.display(),
        Digest::of_bytes(theirs.as_bytes()).short(),
        cluster.namespace,
    )
}

/// Puts what a person made of `base` in a document's place, merged with what others made of it meanwhile. What cannot be merged comes
/// back, with the text that is there.
async fn save(
    cluster: &Cluster,
    subject: &Subject,
    base: &str,
    ours: &str,
    reason: Option<&str>,
) -> Result<Option<(Merge, String)>> {
    for _ in 0..TRIES {
        let document = Document::load(cluster, subject).await?;
        let read = document.present(cluster).await?;
        let merged = merge(base, ours, &read.text);
        if !merged.conflicts.is_empty() {
            return Ok(Some((merged, read.text)));
        }
        if merged.text == read.text {
            note(&format!("{} says that already", document.title()));
            return Ok(None);
        }
        if document.save(cluster, &read, &merged.text, reason).await? == Saved::Yes {
            if read.text != base {
                note("somebody else changed it meanwhile: what both did is in it");
            }
            said(&document, &merged.text)?;
            return Ok(None);
        }
    }
    bail!("{:?} {} does not stop changing; try again", subject.kind, subject.name)
}

fn said(document: &Document, text: &str) -> Result<()> {
    terminal::say(&format!("{} has the content {} now", document.title(), Digest::of_bytes(text.as_bytes()).short()))
}

/// Puts a text that a document had in its place again, as a new revision.
pub async fn rollback(cluster: &Cluster, options: &Rollback) -> Result<ExitCode> {
    let (subject, which) = (&options.subject, &options.revision);
    let document = Document::load(cluster, subject).await?;
    let record = Record::open(cluster).await?;
    let revision = record.revision(subject, which).await?;
    let old = record.content(subject, &revision.digest).await?;
    if let Home::Git(git) = document.home()? {
        return patch::print(git, &document.in_git(cluster).await?, &old);
    }
    let shown = document.present(cluster).await?.text;
    if shown == old {
        note(&format!("{} has the content of revision {} already", document.title(), revision.number));
        return Ok(ExitCode::SUCCESS);
    }
    terminal::aside(&difference(&shown, &old, Paint::of(&io::stderr())));
    let (number, title) = (revision.number, document.title());
    if !options.yes && !terminal::confirm(&format!("Give {title} the content of revision {number} again?"))? {
        bail!("nothing was changed");
    }
    let reason = format!("Rollback of {number}");
    for _ in 0..TRIES {
        let document = Document::load(cluster, subject).await?;
        let read = document.present(cluster).await?;
        if read.text != shown {
            bail!("{title} was changed meanwhile; look at it again");
        }
        if document.save(cluster, &read, &old, Some(&reason)).await? == Saved::Yes {
            said(&document, &old)?;
            return Ok(ExitCode::SUCCESS);
        }
    }
    bail!("{title} does not stop changing; try again")
}

/// The text that a person began from.
async fn base(cluster: &Cluster, document: &Document, digest: &str) -> Result<String> {
    // The record may not have it yet, or not be there.
    if let Ok(present) = document.present(cluster).await
        && Digest::of_bytes(present.text.as_bytes()).as_str().starts_with(digest)
    {
        return Ok(present.text);
    }
    Record::open(cluster).await?.content(&document.subject, digest).await
}

/// A document from a file, or from standard input for `-`.
fn read(file: &Path) -> Result<String> {
    let read = || if file == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) };
    let text = read().with_context(|| format!("cannot read {}", file.display()))?;
    check(&text).with_context(|| format!("{}", file.display()))?;
    Ok(text)
}

/// Refuses what nobody means to save.
fn check(text: &str) -> Result<()> {
    if text.len() > MAX_DOCUMENT_BYTES {
        bail!("the document has {} bytes; at most {MAX_DOCUMENT_BYTES} are taken", text.len());
    }
    if text.trim().is_empty() {
        bail!("the document is empty");
    }
    let marked = text.lines().position(|line| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> "));
    if let Some(at) = marked {
        bail!("line {}: a conflict is marked here; settle it and take the markers out", at + 1);
    }
    Ok(())
}

/// What a person makes of a text in their editor.
fn in_editor(name: &str, text: &str) -> Result<String> {
    let editor = ["VISUAL", "EDITOR"].into_iter().find_map(std::env::var_os).filter(|editor| !editor.is_empty());
    let Some(editor) = editor else {
        bail!("no editor is set: set EDITOR, or change the document elsewhere and say -f FILE --base DIGEST");
    };
    let directory = tempfile::tempdir().context("cannot make a directory for the document")?;
    let file: PathBuf = directory.path().join(format!("{name}.md"));
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    // As Git does: the variable may hold options.
    let mut script = editor.clone();
    script.push(" \"$@\"");
    let mut run = Command::new("sh");
    run.arg("-c").arg(script).arg(&editor).arg(&file);
    let status = run.status().with_context(|| format!("cannot start {}", editor.display()))?;
    if !status.success() {
        bail!("{} ended with {status}; nothing was changed", editor.display());
    }
    let edited = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    if let Err(problem) = check(&edited) {
        let place = keep::text(name, "yours", &edited)?;
        return Err(problem.context(format!("nothing was changed; your text is in {}", place.display())));
    }
    Ok(edited)
}

/// Shows what a person must decide, section by section.
fn tell(conflicts: &[Conflict]) {
    for Conflict { path, ours, theirs, .. } in conflicts {
        let place = if path.is_empty() { "before the first heading".to_owned() } else { path.join(" > ") };
        note(&format!("conflict in {place}"));
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => {
                note("  theirs (-) and yours (+):");
                note(&difference(theirs, ours, Paint::new(false)));
            }
            (None, Some(_)) => note("  you removed what they changed"),
            (Some(_), None) => note("  they removed what you changed"),
            (None, None) => {}
        }
    }
}
