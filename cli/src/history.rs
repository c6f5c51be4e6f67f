//! `history`, `show` and `diff`: the revisions of a document.

use std::io;

use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, Result, bail};
use enact_crds::approval::{Subject, SubjectKind};
use enact_crds::task::TaskTemplate;
use enact_crds::{Plan, compile};
use enact_domain::digest::Digest;
use enact_domain::names::ANNOTATION_ACCEPTED;
use enact_domain::revisions::sections;
use enact_domain::stamps::Stamps;
use kube::ResourceExt as _;
use serde_json::Value;

use crate::args::{Compared, Diff, History, Show};
use crate::cluster::Cluster;
use crate::document::{self, Document};
use crate::record::{Finding, Record, Revision};
use crate::subject::{handle, resolve, title};
use crate::terminal::{self, Paint, note};
use crate::text::{align, fit, one_line, safe};
use crate::{compare, planning, replan};

/// Most revisions in one answer of the server.
const PAGE: u32 = 50;
/// Most columns of a cell with untrusted text.
const MAX_CELL_WIDTH: usize = 60;
/// Name of the revision with the current content.
const PRESENT: &str = "present";
/// Name of the revision that was approved last.
const APPROVED: &str = "approved";

/// Lists the revisions of a document, newest first.
pub async fn history(cluster: &Cluster, options: &History) -> Result<()> {
    let subject = resolve(cluster, &options.subject).await?;
    let record = Record::open(cluster).await?;
    let (mut revisions, mut before) = (Vec::new(), None);
    let more = loop {
        let left = options.limit.saturating_sub(u32::try_from(revisions.len()).unwrap_or(u32::MAX));
        if left == 0 {
            break before.is_some();
        }
        let page = record.history(&subject, before, left.min(PAGE)).await?;
        let empty = page.revisions.is_empty();
        revisions.extend(page.revisions);
        before = page.next;
        // An empty page ends the loop even if the server names a next page.
        if empty || before.is_none() {
            break false;
        }
    };
    if revisions.is_empty() {
        note(&format!("the record has no revision of {} in namespace {}", title(&subject), cluster.namespace));
        return Ok(());
    }
    terminal::print(&(table(&revisions).join("\n") + "\n"))?;
    if more {
        note(&format!("only the newest {} revisions are shown; use --limit to show more", revisions.len()));
    }
    Ok(())
}

/// Returns one line per revision, and a separator where an earlier object of the same name begins.
fn table(revisions: &[Revision]) -> Vec<String> {
    const TITLES: [&str; 7] = ["NUMBER", "DIGEST", "VERSION", "WHEN (UTC)", "WHO", "WHY", "DECISIONS"];
    let mut rows = vec![TITLES.map(str::to_owned).to_vec()];
    rows.extend(revisions.iter().map(cells));
    align(&mut rows);
    let mut lines = Vec::with_capacity(rows.len());
    for (at, row) in rows.iter().enumerate() {
        // Row 0 is the heading; row n is revision n - 1.
        if at > 1 && revisions[at - 2].uid != revisions[at - 1].uid {
            lines.push("── an earlier object with this name".into());
        }
        lines.push(row.concat().trim_end().to_owned());
    }
    lines
}

fn cells(revision: &Revision) -> Vec<String> {
    let decided = |approved: bool, word: &str| {
        let who: Vec<String> =
            revision.approvals.iter().filter(|v| v.approved == approved).map(|v| one_line(&v.actor)).collect();
        (!who.is_empty()).then(|| format!("{word} by {}", who.join(", ")))
    };
    let decisions = [decided(true, "approved"), decided(false, "rejected")];
    let commit = revision.commit.as_ref().map(|commit| format!(" at {}", commit.chars().take(12).collect::<String>()));
    vec![
        revision.number.to_string(),
        short(&revision.digest),
        one_line(revision.version.as_deref().unwrap_or_default()),
        revision.when(),
        fit(&revision.actor, MAX_CELL_WIDTH),
        fit(&format!("{}{}", revision.reason, commit.unwrap_or_default()), MAX_CELL_WIDTH),
        decisions.into_iter().flatten().collect::<Vec<_>>().join("; "),
    ]
}

/// Returns the short form of a digest.
pub fn short(digest: &str) -> String {
    one_line(Digest::from(digest.to_owned()).short())
}

/// Prints a document or the findings of its analysis.
pub async fn show(cluster: &Cluster, options: &Show) -> Result<()> {
    let revision = options.document.revision.as_deref().unwrap_or(PRESENT);
    let subject = resolve(cluster, &options.document.subject).await?;
    if options.findings {
        return findings(cluster, &subject, revision).await;
    }
    let text = match (&options.proposal, options.judgement) {
        (Some(_), _) | (_, Some(_)) if subject.kind != SubjectKind::Plan => {
            bail!("only a Plan has proposals and judgements; omit --proposal and --judgement")
        }
        (Some(agent), _) => planning::read(cluster, &subject.name, agent).await?,
        (None, Some(number)) => planning::reasons(cluster, &subject.name, number).await?,
        (None, None) => text(cluster, &subject, revision).await?,
    };
    terminal::print_untrusted(&text)
}

async fn findings(cluster: &Cluster, subject: &Subject, revision: &str) -> Result<()> {
    let digest = digest(cluster, subject, revision).await?;
    let found = Record::open(cluster).await?.findings(subject, &digest).await?;
    let Some(found) = found else { bail!("the record has no findings for revision {revision} of {}", title(subject)) };
    for Finding { id, severity, line, location, message, remedy, accepted } in &found.kept {
        let place = if location.is_empty() { String::new() } else { format!(" {location}") };
        let rest = accepted.as_ref().map_or_else(|| remedy.clone(), |reason| format!("accepted: {reason}"));
        terminal::print_line(&one_line(&format!("line {line}: {severity} {id}{place}: {message}; {rest}")))?;
    }
    let shown = found.kept.len();
    let more = (found.total as usize).saturating_sub(shown);
    let rest = if more > 0 { format!(", and {more} more that were not kept") } else { String::new() };
    note(&format!("{shown} findings by {}{rest}", one_line(&found.analyser)));
    Ok(())
}

/// Prints the difference between two revisions.
pub async fn diff(cluster: &Cluster, options: &Diff) -> Result<()> {
    let subject = match &options.subject {
        Compared::Task { plan, id } => return compare::run(cluster, plan, id, &options.attempts).await,
        Compared::Document(_) if !options.attempts.is_empty() => {
            bail!("--attempts compares attempts at a task; name it as PLAN/TASKID")
        }
        Compared::Document(subject) => &resolve(cluster, subject).await?,
    };
    let (old, new) = (options.from.as_deref().unwrap_or(APPROVED), options.to.as_deref().unwrap_or(PRESENT));
    if options.from.is_none() && digest(cluster, subject, APPROVED).await.is_err() {
        bail!(
            "no revision of {} was approved; name two revisions, which `kubectl enact history {}` lists",
            title(subject),
            handle(subject)
        );
    }
    let (before, after) = futures::try_join!(text(cluster, subject, old), text(cluster, subject, new))?;
    let named = |revision: &str, text: &str| format!("{revision} ({})", content_digest(subject.kind, text).short());
    note(&format!("{} → {}", named(old, &before), named(new, &after)));
    terminal::print(&difference(&before, &after, Paint::for_stream(&io::stdout())))
}

/// Returns the digest of a content from its text. The content of a Plan is canonical JSON, and its text is the indented form.
fn content_digest(kind: SubjectKind, text: &str) -> Digest {
    let json = || serde_json::from_str(text).and_then(|value: Value| Digest::of_json(&value)).ok();
    let plan = (kind == SubjectKind::Plan).then(json).flatten();
    plan.unwrap_or_else(|| Digest::of_bytes(text.as_bytes()))
}

/// Returns the difference between two texts section by section, without terminal control characters.
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

/// Returns the text of a revision: a number, a digest, `present` or `approved`. For a Plan it is indented JSON.
async fn text(cluster: &Cluster, subject: &Subject, revision: &str) -> Result<String> {
    if revision == PRESENT && subject.kind != SubjectKind::Plan {
        return Ok(Document::load(cluster, subject).await?.current(cluster).await?.text);
    }
    let digest = digest(cluster, subject, revision).await?;
    // The record has a Plan only after its start, so the cluster comes first.
    if revision == PRESENT
        && let Ok(text) = planned(cluster, &subject.name, &digest).await
    {
        return Ok(text);
    }
    recorded(&Record::open(cluster).await?, subject, &digest).await
}

/// Returns the text of a revision from the record.
pub async fn recorded(record: &Record, subject: &Subject, revision: &str) -> Result<String> {
    let text = record.content(subject, revision).await?;
    if subject.kind != SubjectKind::Plan {
        return Ok(text);
    }
    indented(&text).with_context(|| format!("the record of {} is not valid JSON", title(subject)))
}

/// Returns the content of a Plan in the cluster as indented JSON.
///
/// # Errors
/// When the tasks are in Git, or the content does not match `digest`, which comes from the status.
pub async fn planned(cluster: &Cluster, name: &str, digest: &str) -> Result<String> {
    let plan: Plan = cluster.get(name).await?;
    let tasks = tasks(cluster, &plan).await?;
    let Plan { metadata, spec, status } = &plan;
    let agents = status.clone().unwrap_or_default().agent_digests();
    let stamps = Stamps::of(&metadata.annotations.clone().unwrap_or_default(), ANNOTATION_ACCEPTED);
    let kept = replan::kept(cluster, &plan, &tasks).await?;
    let content = compile::canonical(spec, &tasks, &kept, &agents, &stamps)?;
    // A person must review exactly the content that the digest in the Approval names.
    if Digest::of_bytes(content.as_bytes()).as_str() != digest {
        bail!(
            "Plan {name} was changed after the operator read it, or the operator has another version of Enact; review the Plan again"
        );
    }
    Ok(indented(&content)?)
}

/// Returns the tasks of a Plan that has not started.
///
/// # Errors
/// When they are in Git, or no proposal is chosen.
pub async fn tasks(cluster: &Cluster, plan: &Plan) -> Result<Vec<TaskTemplate>> {
    let spec = &plan.spec;
    let text = match &spec.source {
        None if spec.generate.is_some() => planning::chosen(cluster, plan).await?,
        Some(source) => document::read(cluster, source).await?.0.with_context(|| {
            format!("the tasks.md of Plan {} is stored in Git; read it in its repository", plan.name_any())
        })?,
        None => return Ok(spec.tasks.clone()),
    };
    Ok(compile::from_markdown(text.as_bytes(), spec.unread_tasks).0)
}

fn indented(json: &str) -> serde_json::Result<String> {
    let value: Value = serde_json::from_str(json)?;
    Ok(format!("{value:#}\n"))
}

/// Returns the digest of `present` and `approved`, and any other revision unchanged.
async fn digest(cluster: &Cluster, subject: &Subject, revision: &str) -> Result<String> {
    if !matches!(revision, PRESENT | APPROVED) {
        return Ok(revision.to_owned());
    }
    let (present, approved) = if subject.kind == SubjectKind::Plan {
        let status = cluster.get::<Plan>(&subject.name).await?.status.unwrap_or_default();
        (status.digest, status.approved_digest)
    } else {
        let document = Document::load(cluster, subject).await?;
        (document.digest().map(str::to_owned), document.approved)
    };
    let title = title(subject);
    if revision == PRESENT {
        present.with_context(|| {
            format!("the operator has not read the content of {title} yet; try again in a few seconds")
        })
    } else {
        approved.with_context(|| format!("no revision of {title} was approved"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_does_not_depend_on_the_form() {
        let canonical = r#"{"agentRef":{"name":"a"},"tasks":[{"id":"T001","title":"one"}]}"#;
        let shown = indented(canonical).unwrap();
        assert_ne!(shown, canonical);
        assert_eq!(content_digest(SubjectKind::Plan, &shown), Digest::of_bytes(canonical.as_bytes()));
        assert_eq!(content_digest(SubjectKind::Specification, "# A"), Digest::of_bytes(b"# A"));
        assert_eq!(content_digest(SubjectKind::Plan, "no JSON"), Digest::of_bytes(b"no JSON"));
    }
}
