//! What a changed Specification would affect.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use enact_crds::documents::findings::Findings;
use enact_crds::documents::texts::{self, ConstitutionText, SpecificationText};
use enact_crds::documents::{answers, evaluation};
use enact_crds::{Specification, convert};
use enact_domain::revisions::staleness::compare;
use enact_domain::rules::Program;
use kube::ResourceExt as _;

use super::change::{Change, check, decisions};
use super::constitutions::{self, Constitutions};
use super::plans;
use super::report::{FindingChanges, Report};
use crate::cluster::Cluster;
use crate::subject::handle;

/// The rules and texts that govern a Specification.
#[derive(Default)]
pub struct Governing {
    pub programs: Vec<Program>,
    /// The nearest first.
    pub texts: Vec<Arc<ConstitutionText>>,
}

/// A Specification with one of its texts, as the operator reads it.
pub struct Read {
    pub text: SpecificationText,
    pub findings: Findings,
    /// Why it could not be approved.
    pub blocked: Option<String>,
}

/// Reads a document as that of the object. The findings that the comparison with other Specifications has are not among the findings.
pub fn read(object: &Specification, source: &[u8], governing: &Governing) -> Read {
    let answered = answers::write(texts::specification_content(object, source), &answers::of(object));
    let text = SpecificationText::read(&answered.bytes);
    let evaluated = evaluation::specification(&governing.programs, &governing.texts, &text, &object.name_any());
    let more = answered.findings.into_iter().chain(evaluated.findings);
    let findings = Findings::new(&text.report, more, &text.acceptances);
    Read { findings, blocked: evaluated.blocked.map(|blocked| blocked.message), text }
}

/// Returns what the changed document would affect.
pub async fn report(cluster: &Cluster, change: &Change<'_>) -> Result<Report> {
    let object: Specification = cluster.get(&change.subject.name).await?;
    let chain =
        Constitutions::list(cluster).await?.chain(None, object.spec.constitution_ref.as_ref(), "spec.constitutionRef");
    // Without a usable chain the operator evaluates nothing: the document waits for its constitution, changed or not.
    let rules = chain.check().and_then(|()| chain.rules()).map_err(|error| error.to_string());
    let (governing, problem) = match rules.and_then(|rules| constitutions::programs(&rules)) {
        Ok(programs) => {
            let texts = constitutions::texts(cluster, &chain, &BTreeMap::new()).await?;
            (Governing { programs, texts }, None)
        }
        Err(problem) => (Governing::default(), Some(problem)),
    };
    let before = read(&object, change.present.as_bytes(), &governing);
    let after = read(&object, change.bytes, &governing);
    check(change, &after.text.parsed)?;
    let (old, new) = (&before.text.parsed.model, &after.text.parsed.model);
    let worst = convert::worst(&after.findings.counts);
    Ok(Report {
        subject: handle(change.subject),
        namespace: cluster.namespace.clone(),
        digest: change.digest.clone(),
        new_digest: after.text.digest.to_string(),
        blocked: after.blocked.or(problem),
        changes: Some(compare(old, new)),
        plans: plans::affected(cluster, change, &before.text, &after.text).await?,
        approvals: decisions(cluster, change.subject, &object, &after.text.digest, worst).await,
        findings: FindingChanges::between(&before.findings, &after.findings),
        ..Report::default()
    })
}
