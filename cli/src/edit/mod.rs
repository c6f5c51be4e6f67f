//! `edit` and `rollback`: replace the text of a document while others may change it, too.

mod keep;
mod patch;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use enact_crds::approval::Subject;
use enact_domain::digest::Digest;
use enact_domain::revisions::sections::{Conflict, Merge, merge};
use enact_domain::speckit::MAX_DOCUMENT_BYTES;

pub use patch::print as print_patch;

use crate::args::{Edit, Rollback};
use crate::cluster::Cluster;
use crate::document::{Document, Saved, Storage};
use crate::history::difference;
use crate::record::Record;
use crate::subject::{handle, resolve, title};
use crate::terminal::{self, Paint, note};

/// Most attempts to save a text. A status update by the operator also makes an attempt fail.
const TRIES: u32 = 8;

/// Lets a person edit a document and saves the result.
pub async fn edit(cluster: &Cluster, options: &Edit) -> Result<()> {
    let subject = resolve(cluster, &options.subject).await?;
    let document = Document::load(cluster, &subject).await?;
    let in_git = match document.storage()? {
        Storage::Git(git) => Some(git),
        _ => None,
    };
    let base = match (&options.base, in_git) {
        (Some(digest), _) => base(cluster, &document, digest).await?,
        (None, Some(_)) => document.in_git(cluster).await?,
        (None, None) => document.current(cluster).await?.text,
    };
    let ours = match &options.file {
        Some(file) => read(file)?,
        None => in_editor(&subject.name, &base)?,
    };
    if ours == base {
        note("nothing was changed");
        return Ok(());
    }
    if let Some(git) = in_git {
        return patch::print(git, &base, &ours);
    }
    let saved = Box::pin(save(cluster, &subject, &base, &ours, options.message.as_deref())).await;
    let name = &subject.name;
    // A text from a file is still in that file. Any other text would be lost when saving fails.
    let is_in_file = options.file.as_deref().is_some_and(|file| file != Path::new("-"));
    if !matches!(saved, Ok(None)) && !is_in_file {
        let path = keep::text(name, "yours", &ours)?;
        note(&format!("your text is in {}", path.display()));
    }
    let Some((merge, theirs)) = saved? else { return Ok(()) };
    let path = keep::text(name, "merged", &merge.text)?;
    show_conflicts(&merge.conflicts);
    bail!(
        "somebody else changed the same text; {0} contains both versions with Git's conflict markers: resolve the conflicts in it, and then \
         run: kubectl enact edit {1} -f {0} --base {2} -n {3}",
        path.display(),
        handle(&subject),
        Digest::of_bytes(theirs.as_bytes()).short(),
        cluster.namespace,
    )
}

/// Saves `ours`, which is based on `base`, merged with the changes that others made since. If there are conflicts, it saves nothing and
/// returns the merge and the current text.
async fn save(
    cluster: &Cluster,
    subject: &Subject,
    base: &str,
    ours: &str,
    reason: Option<&str>,
) -> Result<Option<(Merge, String)>> {
    for _ in 0..TRIES {
        let document = Document::load(cluster, subject).await?;
        let read = document.current(cluster).await?;
        // Each attempt merges with the newest content, so that no change of somebody else is lost.
        let merged = merge(base, ours, &read.text);
        if !merged.conflicts.is_empty() {
            return Ok(Some((merged, read.text)));
        }
        if merged.text == read.text {
            note(&format!("{} already has this content", document.title()));
            return Ok(None);
        }
        if document.save(cluster, &read, &merged.text, reason).await? == Saved::Yes {
            if read.text != base {
                note("somebody else changed it meanwhile; the new content has both changes");
            }
            print_saved(&document, &merged.text)?;
            return Ok(None);
        }
    }
    bail!("{} was changed {TRIES} times in the meantime; try again", title(subject))
}

fn print_saved(document: &Document, text: &str) -> Result<()> {
    terminal::print_line(&format!("{}: saved content {}", document.title(), Digest::of_bytes(text.as_bytes()).short()))
}

/// Restores the content of an earlier revision as a new revision.
pub async fn rollback(cluster: &Cluster, options: &Rollback) -> Result<()> {
    let subject = &resolve(cluster, &options.subject).await?;
    let document = Document::load(cluster, subject).await?;
    let record = Record::open(cluster).await?;
    let revision = record.revision(subject, &options.revision).await?;
    let old = record.content(subject, &revision.digest).await?;
    if let Storage::Git(git) = document.storage()? {
        return patch::print(git, &document.in_git(cluster).await?, &old);
    }
    let shown = document.current(cluster).await?.text;
    if shown == old {
        note(&format!("{} already has the content of revision {}", document.title(), revision.number));
        return Ok(());
    }
    terminal::note_text(&difference(&shown, &old, Paint::for_stream(&io::stderr())));
    let (number, title) = (revision.number, document.title());
    if !options.yes && !terminal::confirm(&format!("Restore the content of revision {number} in {title}?"))? {
        bail!("the rollback was not confirmed; nothing was changed");
    }
    let reason = format!("Rollback of {number}");
    for _ in 0..TRIES {
        let document = Document::load(cluster, subject).await?;
        let read = document.current(cluster).await?;
        // The person confirmed the difference from `shown` and not from other content.
        if read.text != shown {
            bail!("{title} was changed meanwhile; review the new content");
        }
        if document.save(cluster, &read, &old, Some(&reason)).await? == Saved::Yes {
            print_saved(&document, &old)?;
            return Ok(());
        }
    }
    bail!("{title} was changed {TRIES} times in the meantime; try again")
}

/// Returns the text with a digest: the base of an edit.
async fn base(cluster: &Cluster, document: &Document, digest: &str) -> Result<String> {
    // The current content needs no record, which may lack the newest revision or be unavailable.
    if let Ok(present) = document.current(cluster).await
        && Digest::of_bytes(present.text.as_bytes()).as_str().starts_with(digest)
    {
        return Ok(present.text);
    }
    Record::open(cluster).await?.content(&document.subject, digest).await
}

/// Reads a document from a file, or from standard input for `-`.
fn read(file: &Path) -> Result<String> {
    let read = || if file == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) };
    let text = read().with_context(|| format!("cannot read {}", file.display()))?;
    check(&text).with_context(|| format!("{}", file.display()))?;
    Ok(text)
}

/// Refuses texts that are certainly mistakes.
fn check(text: &str) -> Result<()> {
    if text.len() > MAX_DOCUMENT_BYTES {
        bail!("the document has {} bytes; the limit is {MAX_DOCUMENT_BYTES}", text.len());
    }
    if text.trim().is_empty() {
        bail!("the document is empty");
    }
    let marked = text.lines().position(|line| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> "));
    if let Some(at) = marked {
        bail!("line {}: a conflict is marked here; resolve it and take the markers out", at + 1);
    }
    Ok(())
}

/// Opens a text in the editor of a person and returns the result.
fn in_editor(name: &str, text: &str) -> Result<String> {
    let editor = ["VISUAL", "EDITOR"].into_iter().find_map(std::env::var_os).filter(|editor| !editor.is_empty());
    let Some(editor) = editor else {
        bail!("no editor is set; set EDITOR, or edit the document in a file and use -f FILE --base DIGEST");
    };
    let directory = tempfile::tempdir().context("cannot create a directory for the document")?;
    let file: PathBuf = directory.path().join(format!("{name}.md"));
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    // As in Git, the variable may contain options, so the shell splits it.
    let mut script = editor.clone();
    script.push(" \"$@\"");
    let mut run = Command::new("sh");
    run.arg("-c").arg(script).arg(&editor).arg(&file);
    let status = run.status().with_context(|| format!("cannot start {}", editor.display()))?;
    if !status.success() {
        bail!("{} failed with {status}; nothing was changed", editor.display());
    }
    let edited = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    if let Err(problem) = check(&edited) {
        let path = keep::text(name, "yours", &edited)?;
        return Err(problem.context(format!("nothing was changed; your text is in {}", path.display())));
    }
    Ok(edited)
}

/// Shows both versions of each section with a conflict.
fn show_conflicts(conflicts: &[Conflict]) {
    for Conflict { path, ours, theirs, .. } in conflicts {
        let section = if path.is_empty() { "the text before the first heading".to_owned() } else { path.join(" > ") };
        note(&format!("conflict in {section}"));
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => {
                note("  theirs (-) and yours (+):");
                note(&difference(theirs, ours, Paint::new(false)));
            }
            (None, Some(_)) => note("  you removed text that they changed"),
            (Some(_), None) => note("  they removed text that you changed"),
            (None, None) => {}
        }
    }
}
