//! `enact search`, `related` and `impact`: what there is besides.

use std::process::ExitCode;

use anyhow::Result;
use enact_crds::approval::{Subject, SubjectKind};
use enact_crds::constitution::{Amendment, Impact};
use enact_crds::{Constitution, Specification};

use crate::args::{Related, Search};
use crate::cluster::Cluster;
use crate::record::{Hit, Record};
use crate::terminal::{self, note};
use crate::text::one_line;

/// Searches the documents of the namespace.
pub async fn search(cluster: &Cluster, options: &Search) -> Result<ExitCode> {
    let words = options.words.join(" ");
    let hits = Record::open(cluster).await?.search(&words, options.kind.as_deref(), options.limit).await?;
    for Hit { kind, name, item, item_kind, line, text, .. } in &hits {
        let line = if *line > 0 { format!(", line {line}") } else { String::new() };
        let place = format!("{}/{name}{line}", kind.to_ascii_lowercase());
        terminal::say(&one_line(&format!("{item} ({item_kind} of {place}): {text}")))?;
    }
    if hits.is_empty() {
        note(&format!("nothing in namespace {} fits these words", cluster.namespace));
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the specifications that say similar things.
pub async fn related(cluster: &Cluster, options: &Related) -> Result<ExitCode> {
    let specification: Specification = cluster.get(&options.specification).await?;
    let known = specification.status.map(|status| status.related).unwrap_or_default();
    let subject = Subject { kind: SubjectKind::Specification, name: options.specification.clone() };
    let found = async { Record::open(cluster).await?.related(&subject).await }.await;
    let lines: Vec<String> = match found {
        Ok(found) => found.iter().map(|r| format!("{:>3.0} %  {}/{}", r.score * 100.0, r.namespace, r.name)).collect(),
        Err(problem) => {
            note(&format!("{problem:#}; this is what the object itself shows"));
            known.iter().map(|r| format!("{:>3} %  {}/{}", r.similarity, r.namespace, r.name)).collect()
        }
    };
    for line in &lines {
        terminal::say(&one_line(line))?;
    }
    if lines.is_empty() {
        note(&format!("no specification is known that is like {}", options.specification));
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what an amendment of a constitution changes, and what it touches.
pub async fn impact(cluster: &Cluster, name: &str) -> Result<ExitCode> {
    let constitution: Constitution = cluster.get(name).await?;
    let status = constitution.status.unwrap_or_default();
    let lines: Vec<String> =
        status.amendment.iter().flat_map(amendment).chain(status.impact.iter().flat_map(touched)).collect();
    for line in &lines {
        terminal::say(line)?;
    }
    if lines.is_empty() {
        note(&format!("the operator tells neither an amendment nor an impact of Constitution {name}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn amendment(amendment: &Amendment) -> Vec<String> {
    let Amendment { from, level, changes, .. } = amendment;
    let from = from.as_ref().map_or_else(String::new, |from| format!(" from version {}", one_line(from)));
    let mut lines = vec![format!("amended{from}; the version must rise by {}", one_line(level))];
    lines.extend(
        changes.iter().map(|c| format!("  {}", one_line(&format!("{} {}: {}", c.kind, c.principle, c.explanation)))),
    );
    lines
}

fn touched(impact: &Impact) -> Vec<String> {
    let Impact { specifications, plans, tasks, some } = impact;
    let mut lines =
        vec![format!("it touches {specifications} specifications, {plans} unfinished plans, {tasks} open tasks")];
    lines.extend(some.iter().map(|what| format!("  {}", one_line(what))));
    lines
}
