//! `impact`: what a changed document or tasks.md would affect before it is applied, and what an amendment of a Constitution affects.

mod change;
mod constitution;
mod constitutions;
mod plan;
mod plans;
mod report;
mod specification;

use anyhow::{Result, bail};
use enact_crds::Constitution;
use enact_crds::approval::SubjectKind;
use serde::Serialize;
use serde_json::json;

use self::change::Change;
use crate::args::{Impact, ImpactOutput};
use crate::cluster::Cluster;
use crate::document::Document;
use crate::import::project;
use crate::subject::{resolve, title};
use crate::terminal::{self, note};

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
        // JSON escapes only a part of what controls a terminal.
        ImpactOutput::Json => terminal::print_line(&serde_json::to_string_pretty(report)?),
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
        return terminal::print_line(&format!("{both:#}"));
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
