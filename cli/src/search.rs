//! `search`, `related` and `impact`: documents that a search or another document leads to.

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
pub async fn search(cluster: &Cluster, options: &Search) -> Result<()> {
    let words = options.words.join(" ");
    let hits = Record::open(cluster).await?.search(&words, options.kind.as_deref(), options.limit).await?;
    for Hit { kind, name, item, item_kind, line, text, .. } in &hits {
        let line = if *line > 0 { format!(", line {line}") } else { String::new() };
        let document = format!("{}/{name}{line}", kind.to_ascii_lowercase());
        terminal::print_line(&one_line(&format!("{item} ({item_kind} of {document}): {text}")))?;
    }
    if hits.is_empty() {
        note(&format!("no document in namespace {} matches these words", cluster.namespace));
    }
    Ok(())
}

/// Lists Specifications with similar content.
pub async fn related(cluster: &Cluster, options: &Related) -> Result<()> {
    let specification: Specification = cluster.get(&options.specification).await?;
    let known = specification.status.map(|status| status.related).unwrap_or_default();
    let subject = Subject { kind: SubjectKind::Specification, name: options.specification.clone() };
    let found = async { Record::open(cluster).await?.related(&subject).await }.await;
    let lines: Vec<String> = match found {
        Ok(found) => found.iter().map(|r| format!("{:>3.0} %  {}/{}", r.score * 100.0, r.namespace, r.name)).collect(),
        // The status has the same list, with less precision and perhaps older.
        Err(problem) => {
            note(&format!("{problem:#}; this list is from the status of the object"));
            known.iter().map(|r| format!("{:>3} %  {}/{}", r.similarity, r.namespace, r.name)).collect()
        }
    };
    for line in &lines {
        terminal::print_line(&one_line(line))?;
    }
    if lines.is_empty() {
        note(&format!("no Specification is similar to {}", options.specification));
    }
    Ok(())
}

/// Prints the amendment of a Constitution and the objects that it affects.
pub async fn impact(cluster: &Cluster, name: &str) -> Result<()> {
    let constitution: Constitution = cluster.get(name).await?;
    let status = constitution.status.unwrap_or_default();
    let lines: Vec<String> =
        status.amendment.iter().flat_map(amendment).chain(status.impact.iter().flat_map(affected)).collect();
    for line in &lines {
        terminal::print_line(line)?;
    }
    if lines.is_empty() {
        note(&format!("the status of Constitution {name} has neither an amendment nor an impact"));
    }
    Ok(())
}

fn amendment(amendment: &Amendment) -> Vec<String> {
    let Amendment { from, level, changes, .. } = amendment;
    let from = from.as_ref().map_or_else(String::new, |from| format!(" from version {}", one_line(from)));
    let mut lines = vec![format!("amendment{from}; it needs a {} version", one_line(level))];
    lines.extend(
        changes.iter().map(|c| format!("  {}", one_line(&format!("{} {}: {}", c.kind, c.principle, c.explanation)))),
    );
    lines
}

fn affected(impact: &Impact) -> Vec<String> {
    let Impact { specifications, plans, tasks, some } = impact;
    let mut lines =
        vec![format!("it affects {specifications} Specifications, {plans} unfinished Plans and {tasks} open Tasks")];
    lines.extend(some.iter().map(|object| format!("  {}", one_line(object))));
    lines
}
