//! `enact history`, `show` and `diff`: what a document was, and how it changed.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, Result, bail};
use enact_crds::approval::{Subject, SubjectKind};
use enact_crds::{Plan, compile};
use enact_domain::digest::Digest;
use enact_domain::revisions::sections;
use serde_json::Value;

use crate::args::{Diff, History, Show};
use crate::cluster::Cluster;
use crate::document::{self, Document};
use crate::record::{Finding, Record, Revision};
use crate::terminal::{self, Paint, note};
use crate::text::{fit, one_line, pad, safe, width};

/// Most revisions that the server gives at once.
const PAGE: u32 = 50;
/// Most columns of a cell that others filled.
const WIDEST: usize = 60;
/// The words by which a person names what stands now, and what was approved last.
const PRESENT: &str = "present";
const APPROVED: &str = "approved";

/// Prints a subject's revisions, newest first.
pub async fn history(cluster: &Cluster, options: &History) -> Result<ExitCode> {
    let record = Record::open(cluster).await?;
    let (mut revisions, mut before) = (Vec::new(), None);
    let more = loop {
        let left = options.limit.saturating_sub(u32::try_from(revisions.len()).unwrap_or(u32::MAX));
        if left == 0 {
            break before.is_some();
        }
        let page = record.history(&options.subject, before, left.min(PAGE)).await?;
        let empty = page.revisions.is_empty();
        revisions.extend(page.revisions);
        before = page.next;
        if empty || before.is_none() {
            break false;
        }
    };
    if revisions.is_empty() {
        let Subject { kind, name } = &options.subject;
        note(&format!("the record has no revision of {kind:?} {name} in namespace {}", cluster.namespace));
        return Ok(ExitCode::SUCCESS);
    }
    terminal::print(&(table(&revisions).join("\n") + "\n"))?;
    if more {
        note(&format!("these are the newest {}; --limit shows more", revisions.len()));
    }
    Ok(ExitCode::SUCCESS)
}

/// One line a revision; a line between those of two objects that bore the name one after the other.
fn table(revisions: &[Revision]) -> Vec<String> {
    const TITLES: [&str; 7] = ["NUMBER", "DIGEST", "VERSION", "WHEN (UTC)", "WHO", "WHY", "DECISIONS"];
    let rows: Vec<[String; 7]> = revisions.iter().map(cells).collect();
    let columns: [usize; 6] = std::array::from_fn(|at| {
        rows.iter().map(|row| width(&row[at])).chain([width(TITLES[at])]).max().unwrap_or_default() + 2
    });
    let line = |cells: &[String; 7]| {
        let padded = cells.iter().zip(columns).map(|(cell, columns)| pad(cell, columns));
        format!("{}{}", padded.collect::<String>(), cells[6]).trim_end().to_owned()
    };
    let mut lines = vec![line(&TITLES.map(str::to_owned))];
    for (at, (revision, row)) in revisions.iter().zip(&rows).enumerate() {
        if at > 0 && revisions[at - 1].uid != revision.uid {
            lines.push("── an earlier object of this name".into());
        }
        lines.push(line(row));
    }
    lines
}

fn cells(revision: &Revision) -> [String; 7] {
    let decided = |approved: bool, word: &str| {
        let who: Vec<String> =
            revision.approvals.iter().filter(|v| v.approved == approved).map(|v| one_line(&v.actor)).collect();
        (!who.is_empty()).then(|| format!("{word} by {}", who.join(", ")))
    };
    let decisions = [decided(true, "approved"), decided(false, "rejected")];
    let commit = revision.commit.as_ref().map(|commit| format!(" at {}", commit.chars().take(12).collect::<String>()));
    [
        revision.number.to_string(),
        short(&revision.digest),
        one_line(revision.version.as_deref().unwrap_or_default()),
        revision.when(),
        fit(&revision.actor, WIDEST),
        fit(&format!("{}{}", revision.reason, commit.unwrap_or_default()), WIDEST),
        decisions.into_iter().flatten().collect::<Vec<_>>().join("; "),
    ]
}

/// The part of a digest that people tell contents apart by.
pub fn short(digest: &str) -> String {
    one_line(Digest::from(digest.to_owned()).short())
}

/// Prints a document, or what was found in it.
pub async fn show(cluster: &Cluster, options: &Show) -> Result<ExitCode> {
    let which = options.document.revision.as_deref().unwrap_or(PRESENT);
    let subject = &options.document.subject;
    if options.findings {
        return findings(cluster, subject, which).await;
    }
    let text = text(cluster, subject, which).await?;
    let shown = if io::stdout().is_terminal() { safe(&text).into_owned() } else { text };
    terminal::print(&shown)?;
    Ok(ExitCode::SUCCESS)
}

async fn findings(cluster: &Cluster, subject: &Subject, which: &str) -> Result<ExitCode> {
    let digest = digest(cluster, subject, which).await?;
    let found = Record::open(cluster).await?.findings(subject, &digest).await?;
    let Some(found) = found else { bail!("the record has no findings of revision {which} of {}", subject.name) };
    for Finding { id, severity, line, location, message, remedy } in &found.kept {
        let place = if location.is_empty() { String::new() } else { format!(" {location}") };
        terminal::say(&one_line(&format!("line {line}: {severity} {id}{place}: {message}; {remedy}")))?;
    }
    let shown = found.kept.len();
    let more = (found.total as usize).saturating_sub(shown);
    let rest = if more > 0 { format!(", and {more} more that were not kept") } else { String::new() };
    note(&format!("{shown} findings by {}{rest}", one_line(&found.analyser)));
    Ok(ExitCode::SUCCESS)
}

/// Prints how one revision differs from another.
pub async fn diff(cluster: &Cluster, options: &Diff) -> Result<ExitCode> {
    let subject = &options.subject;
    let (old, new) = (options.from.as_deref().unwrap_or(APPROVED), options.to.as_deref().unwrap_or(PRESENT));
    if options.from.is_none() && digest(cluster, subject, APPROVED).await.is_err() {
        bail!("nothing of {:?} {} was approved yet; name two revisions: enact history", subject.kind, subject.name);
    }
    let (before, after) = futures::try_join!(text(cluster, subject, old), text(cluster, subject, new))?;
    let named = |which: &str, text: &str| format!("{which} ({})", content(subject.kind, text).short());
    note(&format!("{} → {}", named(old, &before), named(new, &after)));
    terminal::print(&difference(&before, &after, Paint::of(&io::stdout())))?;
    Ok(ExitCode::SUCCESS)
}

/// The digest of the content that a text shows. A plan's is canonical JSON, which was made readable.
fn content(kind: SubjectKind, text: &str) -> Digest {
    let json = || serde_json::from_str(text).and_then(|value: Value| Digest::of_json(&value)).ok();
    let of_plan = (kind == SubjectKind::Plan).then(json).flatten();
    of_plan.unwrap_or_else(|| Digest::of_bytes(text.as_bytes()))
}

/// How two texts differ, section by section, with nothing in it that a terminal would obey.
pub fn difference(before: &str, after: &str, paint: Paint) -> String {
    const ADDED: Style = AnsiColor::Green.on_default();
    const REMOVED: Style = AnsiColor::Red.on_default();
    let changes = sections::diff(before, after);
    let rendered = sections::render(&changes, sections::Style::Words);
    let clean = safe(&rendered);
    let painted = clean.lines().map(|line| match line.get(..4) {
        Some("  + ") => paint.with(ADDED, line) + "\n",
        Some("  - ") => paint.with(REMOVED, line) + "\n",
        Some(_) | None if line.starts_with(' ') || line.is_empty() => format!("{line}\n"),
        _ => paint.with(Style::new().bold(), line) + "\n",
    });
    painted.collect()
}

/// The text of a revision: by number or digest, or as it is now, or as it was approved last. A plan's is made readable.
async fn text(cluster: &Cluster, subject: &Subject, which: &str) -> Result<String> {
    if which == PRESENT && subject.kind != SubjectKind::Plan {
        return Ok(Document::load(cluster, subject).await?.present(cluster).await?.text);
    }
    let digest = digest(cluster, subject, which).await?;
    if which == PRESENT
        && let Ok(text) = planned(cluster, &subject.name, &digest).await
    {
        return Ok(text);
    }
    recorded(&Record::open(cluster).await?, subject, &digest).await
}

/// The text of a revision that is recorded.
pub async fn recorded(record: &Record, subject: &Subject, which: &str) -> Result<String> {
    let text = record.content(subject, which).await?;
    if subject.kind != SubjectKind::Plan {
        return Ok(text);
    }
    readable(&text).context("the plan's content in the record is no JSON")
}

/// What a Plan does as it stands in the cluster, made readable: it is recorded only when it starts.
///
/// # Errors
/// When the cluster does not hold it, or holds another content than that of the digest, which the operator has read.
pub async fn planned(cluster: &Cluster, name: &str, digest: &str) -> Result<String> {
    let Plan { spec, .. } = cluster.get(name).await?;
    let tasks = match &spec.source {
        Some(source) => {
            let text = document::kept(cluster, source).await?.0;
            let text = text.with_context(|| format!("the tasks.md of Plan {name} is in Git; read it there"))?;
            compile::from_markdown(text.as_bytes()).0
        }
        None => spec.tasks.clone(),
    };
    let content = compile::canonical(&spec, &tasks)?;
    if Digest::of_bytes(content.as_bytes()).as_str() != digest {
        bail!(
            "Plan {name} does not say what the operator has read, or they are of different releases; look at it again"
        );
    }
    Ok(readable(&content)?)
}

fn readable(json: &str) -> serde_json::Result<String> {
    let value: Value = serde_json::from_str(json)?;
    Ok(format!("{value:#}\n"))
}

/// What the record finds a revision by.
async fn digest(cluster: &Cluster, subject: &Subject, which: &str) -> Result<String> {
    if !matches!(which, PRESENT | APPROVED) {
        return Ok(which.to_owned());
    }
    let (present, approved) = if subject.kind == SubjectKind::Plan {
        let status = cluster.get::<Plan>(&subject.name).await?.status.unwrap_or_default();
        (status.digest, status.approved_digest)
    } else {
        let document = Document::load(cluster, subject).await?;
        (document.digest().map(str::to_owned), document.approved)
    };
    let found = if which == PRESENT { present } else { approved };
    found.with_context(|| match which {
        APPROVED => format!("nothing of {:?} {} was approved yet", subject.kind, subject.name),
        _ => {
            format!("the operator has not read {:?} {} as it is now; try again in a moment", subject.kind, subject.name)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_called_by_the_digest_of_its_content_however_it_is_shown() {
        let canonical = r#"{"agentRef":{"name":"a"},"tasks":[{"id":"T001","title":"one"}]}"#;
        let shown = readable(canonical).unwrap();
        assert_ne!(shown, canonical);
        assert_eq!(content(SubjectKind::Plan, &shown), Digest::of_bytes(canonical.as_bytes()));
        assert_eq!(content(SubjectKind::Specification, "# A"), Digest::of_bytes(b"# A"));
        assert_eq!(content(SubjectKind::Plan, "no JSON"), Digest::of_bytes(b"no JSON"));
    }
}
