//! Names of Constitutions, Specifications and Plans: in messages, and from the command line.

use anyhow::{Result, bail};
use enact_crds::approval::{Subject, SubjectKind};
use enact_crds::{Constitution, Plan, Specification};

use crate::args::SubjectName;
use crate::cluster::{Cluster, api_error};

/// Returns kind and name for a sentence: `Specification shop`.
pub fn title(subject: &Subject) -> String {
    format!("{:?} {}", subject.kind, subject.name)
}

/// Returns the form that commands accept: `specification/shop`.
pub fn handle(subject: &Subject) -> String {
    format!("{}/{}", format!("{:?}", subject.kind).to_ascii_lowercase(), subject.name)
}

/// Returns the object that an argument names. A name without kind must be that of one object only.
///
/// # Errors
/// When no object, or more than one, has the name.
pub async fn resolve(cluster: &Cluster, given: &SubjectName) -> Result<Subject> {
    let name = given.name.as_str();
    let subject = |kind| Subject { kind, name: name.to_owned() };
    if let Some(kind) = given.kind {
        return Ok(subject(kind));
    }
    let constitutions = cluster.api::<Constitution>();
    let specifications = cluster.api::<Specification>();
    let plans = cluster.api::<Plan>();
    let (constitution, specification, plan) = futures::try_join!(
        constitutions.get_metadata_opt(name),
        specifications.get_metadata_opt(name),
        plans.get_metadata_opt(name)
    )
    .map_err(api_error)?;
    let found = [
        constitution.map(|_| SubjectKind::Constitution),
        specification.map(|_| SubjectKind::Specification),
        plan.map(|_| SubjectKind::Plan),
    ];
    let found: Vec<Subject> = found.into_iter().flatten().map(subject).collect();
    match found.as_slice() {
        [] => bail!("there is no Constitution, Specification or Plan {name} in namespace {}", cluster.namespace),
        [one] => Ok(one.clone()),
        several => {
            let forms: Vec<String> = several.iter().map(handle).collect();
            bail!(
                "several objects in namespace {} have the name {name}: write {}",
                cluster.namespace,
                forms.join(" or ")
            )
        }
    }
}
