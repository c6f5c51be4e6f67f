//! `search` and `related`: documents that a search or another document leads to.

use anyhow::Result;
use enact_crds::Specification;
use enact_crds::approval::{Subject, SubjectKind};

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
