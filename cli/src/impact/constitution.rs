//! What a changed Constitution would affect.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use enact_crds::approval::{Subject, SubjectKind};
use enact_crds::documents::findings::Findings;
use enact_crds::documents::texts::{self, ConstitutionText};
use enact_crds::documents::{amendment, evaluation};
use enact_crds::{Constitution, Specification, convert};
use enact_domain::rules::{self, Rule, Scope, inherit};
use kube::ResourceExt as _;
use kube::api::ListParams;

use super::change::{Change, check, decisions};
use super::constitutions::{self, Constitutions};
use super::report::{FindingChanges, Report, SpecificationImpact};
use super::specification::{self, Governing};
use crate::cluster::{Cluster, api_error};
use crate::document::Document;
use crate::record::Record;
use crate::subject::handle;
use crate::text::problems;

/// A Constitution with one of its texts, as the operator reads it.
struct Read {
    text: Arc<ConstitutionText>,
    findings: Findings,
    /// Why it could not be approved.
    blocked: Option<String>,
}

/// Reads a document as that of the object. `inherited` are the rules that it inherits.
fn read(object: &Constitution, source: &[u8], inherited: Result<&[Rule], &String>) -> Read {
    let text = ConstitutionText::read(&texts::constitution_content(object, source));
    let own: Vec<Rule> = object.spec.rules.iter().map(convert::rule).collect();
    let all = inherited
        .map_err(Clone::clone)
        .and_then(|inherited| inherit(inherited, &own).map_err(|loosened| problems(&loosened)));
    let (evaluated, problem) = match all.and_then(|all| constitutions::programs(&all)) {
        Ok(programs) => {
            let document = rules::Document::constitution(&text.parsed.model);
            let budget = &mut rules::Budget::default();
            let found = evaluation::evaluate(&programs, Scope::Constitution, &document, "the constitution", budget);
            (found, None)
        }
        Err(problem) => (evaluation::Evaluation::default(), Some(problem)),
    };
    let findings = Findings::new(&text.report, evaluated.findings, &text.acceptances);
    Read { findings, blocked: problem.or(evaluated.blocked.map(|blocked| blocked.message)), text: Arc::new(text) }
}

/// Returns what the changed document would affect.
pub async fn report(cluster: &Cluster, change: &Change<'_>) -> Result<Report> {
    let name = change.subject.name.as_str();
    let object: Constitution = cluster.get(name).await?;
    let known = Constitutions::list(cluster).await?;
    let chain = known.chain(Some(name), object.spec.parent_ref.as_ref(), "spec.parentRef");
    let inherited = chain.check().and_then(|()| chain.rules()).map_err(|error| error.to_string());
    let inherited = inherited.as_deref();
    let before = read(&object, change.present.as_bytes(), inherited);
    let after = read(&object, change.bytes, inherited);
    check(change, &after.text.parsed)?;
    let (amendment, mismatch) = match amendment::base(object.status.as_ref(), &after.text.digest) {
        // The present content is in the cluster too.
        Some(base) if base.as_str() == change.digest => amendment::between(&before.text, &after.text),
        Some(base) => {
            let found = Record::open(cluster).await?.find_content(change.subject, base.as_str()).await?;
            found.map_or((None, None), |bytes| amendment::between(&ConstitutionText::read(&bytes), &after.text))
        }
        None => (None, None),
    };
    let worst = convert::worst(&after.findings.counts);
    Ok(Report {
        subject: handle(change.subject),
        namespace: cluster.namespace.clone(),
        digest: change.digest.clone(),
        new_digest: after.text.digest.to_string(),
        blocked: after.blocked.or(mismatch.map(|mismatch| mismatch.message)),
        amendment,
        affects: object.status.as_ref().and_then(|status| status.impact.clone()),
        approvals: decisions(cluster, change.subject, &object, &after.text.digest, worst).await,
        findings: FindingChanges::between(&before.findings, &after.findings),
        specifications: specifications(cluster, name, &known, [&before.text, &after.text]).await?,
        ..Report::default()
    })
}

/// Returns the Specifications of the namespace that the Constitution governs and whose findings would change.
async fn specifications(
    cluster: &Cluster,
    name: &str,
    known: &Constitutions,
    [before, after]: [&Arc<ConstitutionText>; 2],
) -> Result<Vec<SpecificationImpact>> {
    let all = cluster.api::<Specification>().list(&ListParams::default()).await.map_err(api_error)?;
    let mut found = Vec::new();
    for object in all.iter().filter(|object| object.metadata.deletion_timestamp.is_none()) {
        let chain = known.chain(None, object.spec.constitution_ref.as_ref(), "spec.constitutionRef");
        let is_governed = chain.links.iter().any(|link| link.at.name == name);
        let programs = chain.rules().ok().and_then(|rules| constitutions::programs(&rules).ok());
        let Some(programs) = programs.filter(|_| is_governed) else { continue };
        let with = |text: &Arc<ConstitutionText>| BTreeMap::from([(name.to_owned(), text.clone())]);
        let old = constitutions::texts(cluster, &chain, &with(before)).await?;
        let new = constitutions::texts(cluster, &chain, &with(after)).await?;
        let subject = Subject { kind: SubjectKind::Specification, name: object.name_any() };
        let document = Document::load(cluster, &subject).await?;
        // An agent has not drafted it yet.
        if document.digest().is_none() {
            continue;
        }
        let text = document.current(cluster).await?.text;
        let old = Governing { programs, texts: old };
        let before = specification::read(object, text.as_bytes(), &old);
        let new = Governing { texts: new, ..old };
        let after = specification::read(object, text.as_bytes(), &new);
        let findings = FindingChanges::between(&before.findings, &after.findings);
        let blocked = after.blocked.filter(|_| before.blocked.is_none());
        if !findings.is_empty() || blocked.is_some() {
            found.push(SpecificationImpact { name: object.name_any(), blocked, findings });
        }
    }
    Ok(found)
}
