//! `impact`: what a changed document or tasks.md would affect before it is applied, and what an amendment of a Constitution affects.

mod constitution;
mod constitutions;
mod plan;
mod plans;
mod report;
mod specification;

use std::path::Path;

use anyhow::{Result, bail};
use enact_crds::approval::{Choice, Subject, SubjectKind};
use enact_crds::subject::{Approvable, ApprovalSubject};
use enact_crds::{Approval, Constitution, convert};
use enact_domain::analysis::Severity;
use enact_domain::approval::{self, Content, Decision, Verdict, evaluate};
use enact_domain::digest::Digest;
use enact_domain::speckit::Parsed;
use enact_domain::time::Millis;
use jiff::Timestamp;
use kube::api::ListParams;
use serde::Serialize;
use serde_json::json;

use self::report::{Decisions, LostDecision};
use crate::args::{Impact, ImpactOutput};
use crate::cluster::{Cluster, api_error};
use crate::document::Document;
use crate::import::project;
use crate::subject::{resolve, title};
use crate::terminal::{self, note};

/// A document of an object, and the file that would replace it.
pub struct Change<'a> {
    subject: &'a Subject,
    /// The present document, with what the operator adds to it.
    present: String,
    /// Digest of the present content.
    digest: String,
    /// The changed document.
    bytes: &'a [u8],
    /// Path of the file.
    path: &'a Path,
}

/// Shows what a changed document would affect, or what the amendment of a Constitution affects.
pub async fn run(cluster: &Cluster, options: &Impact) -> Result<()> {
    let Some(path) = &options.with else { return amended(cluster, options).await };
    let file = project::read(path)?;
    let subject = resolve(cluster, &options.subject).await?;
    if subject.kind == SubjectKind::Plan {
        let report = Box::pin(plan::report(cluster, &subject, path, &file.bytes)).await?;
        return print(&report, report.lines(), options.output);
    }
    let document = Document::load(cluster, &subject).await?;
    let Some(digest) = document.digest().map(str::to_owned) else {
        bail!(
            "{} was changed, and the operator has not read the change yet; try again in a few seconds",
            title(&subject)
        );
    };
    let present = document.current(cluster).await?.text;
    let change = Change { subject: &subject, present, digest, bytes: &file.bytes, path };
    let report = if subject.kind == SubjectKind::Specification {
        Box::pin(specification::report(cluster, &change)).await?
    } else {
        Box::pin(constitution::report(cluster, &change)).await?
    };
    print(&report, report.lines(), options.output)
}

fn print(report: &impl Serialize, lines: Vec<String>, output: ImpactOutput) -> Result<()> {
    match output {
        ImpactOutput::Json => terminal::print(&format!("{}\n", serde_json::to_string_pretty(report)?)),
        ImpactOutput::Text => lines.into_iter().try_for_each(|line| terminal::print_line(&line)),
    }
}

/// Prints the amendment of a Constitution and the objects that it affects, as its status has them.
async fn amended(cluster: &Cluster, options: &Impact) -> Result<()> {
    let name = &options.subject.name;
    if options.subject.kind.is_some_and(|kind| kind != SubjectKind::Constitution) {
        bail!("only a Constitution has an amendment; add --with FILE to see what a changed document would affect");
    }
    let constitution: Constitution = cluster.get(name).await?;
    let status = constitution.status.unwrap_or_default();
    if options.output == ImpactOutput::Json {
        let both = json!({ "amendment": status.amendment, "impact": status.impact });
        return terminal::print(&format!("{both:#}\n"));
    }
    let amendment = status.amendment.iter().flat_map(report::amendment);
    let lines: Vec<String> = amendment.chain(status.impact.iter().flat_map(report::affected)).collect();
    for line in &lines {
        terminal::print_line(line)?;
    }
    if lines.is_empty() {
        note(&format!("the status of Constitution {name} has neither an amendment nor an impact"));
    }
    Ok(())
}

/// Checks that a changed document can be used.
fn check<T>(change: &Change<'_>, parsed: &Parsed<T>) -> Result<()> {
    match parsed.errors().next() {
        None => Ok(()),
        Some(error) => bail!("{} cannot be used as a {:?}: {error}", change.path.display(), change.subject.kind),
    }
}

/// Returns the decisions that would no longer count for the content with this digest, whose worst finding has this severity, and what
/// would then be missing.
async fn decisions<K: Approvable>(
    cluster: &Cluster,
    subject: &Subject,
    object: &K,
    digest: &Digest,
    worst: Option<Severity>,
) -> Decisions {
    let ApprovalSubject { uid, content, policy } = ApprovalSubject::of(object, None);
    let Some(before) = content else { return Decisions::default() };
    let after = Content { digest: digest.clone(), worst, ..before.clone() };
    let fields = format!("spec.subject.kind={:?},spec.subject.name={}", subject.kind, subject.name);
    let known = match cluster.api::<Approval>().list(&ListParams::default().fields(&fields)).await {
        Ok(known) => known,
        // A person may have the right to read documents without the right to list Approvals.
        Err(error) => {
            let needed = format!("the decisions cannot be listed: {:#}", api_error(error));
            return Decisions { lost: Vec::new(), needed: Some(needed) };
        }
    };
    let is_about = |a: &&Approval| a.spec.is_about(subject.kind, &subject.name, uid.as_deref());
    let decisions: Vec<Decision> = known.iter().filter(is_about).filter_map(convert::decision).collect();
    let now = Millis(Timestamp::now().as_millisecond());
    let lost = approval::lost(&policy, &before, &after, &decisions, now);
    let needed = match evaluate(&policy, &after, &decisions, now) {
        Verdict::Waiting(requirement) => Some(requirement.to_string()),
        Verdict::Rejected { user, .. } => Some(format!("{user} rejected this content")),
        Verdict::Approved { .. } => None,
    };
    let lost = lost.into_iter().map(|(decision, void)| LostDecision {
        name: decision.name.clone(),
        user: decision.user.clone(),
        decision: match decision.choice {
            approval::Choice::Approve => Choice::Approve,
            approval::Choice::Reject => Choice::Reject,
        },
        reason: void.to_string(),
    });
    Decisions { lost: lost.collect(), needed }
}
