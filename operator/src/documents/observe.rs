//! Observe: everything outside the object that a decision depends on.

use enact_crds::approval::SubjectKind;
use enact_crds::{Approval, convert};
use enact_domain::approval::{Decision, Policy};
use enact_domain::condition::Readiness;
use enact_domain::names;
use kube::ResourceExt as _;

use super::content::{Content, Location, SourceState};
use super::context::Context;
use super::document::Document;
use super::source;
use crate::error::Error;
use crate::references::Target;
use crate::sourcing;

/// A document and everything outside the object that a decision depends on; `F` holds what is specific to its kind.
#[derive(Clone, Debug)]
pub struct Observed<F> {
    /// The document as arguments of a command: `specification/shop -n team`.
    pub handle: String,
    /// The tenant that owns the namespace.
    pub tenant: Option<String>,
    pub content: Result<Content<F>, Readiness>,
    pub source: SourceState,
    /// The approvals that the document needs.
    pub policy: Policy,
    /// The author of the document.
    pub author: Option<String>,
    /// People's decisions on the document, including those on earlier contents.
    pub decisions: Vec<Decision>,
}

/// Observes a document. It registers the references first, so that a change during the observation requeues the object.
///
/// # Errors
/// When the API server or the record store fails.
pub async fn observe<D: Document>(object: &D, ctx: &Context) -> Result<Observed<D::Facts>, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let tenant = ctx.tenant_of(&namespace).map(|m| m.tenant);
    let location = Location { namespace, tenant };
    let mut targets = object.targets(ctx, &location);
    targets.push(Target::namespace(&location.namespace));
    targets.extend(sourcing::targets(&location.namespace, object.source(), object.drafter().map(|d| d.drafting)));
    D::referrers(&ctx.references).set(object, targets);

    let (text, source) = source::read(object, ctx).await?;
    let content = match text {
        Ok(text) => Ok(object.examine(ctx, &location, text).await?),
        Err(missing) => Err(missing),
    };
    Ok(Observed {
        handle: format!("{}/{} -n {}", D::kind(&()).to_lowercase(), object.name_any(), location.namespace),
        content,
        source,
        policy: object.policy().into(),
        author: object.annotations().get(names::ANNOTATION_AUTHOR).cloned(),
        decisions: decisions(ctx, &location.namespace, D::SUBJECT, &object.name_any()),
        tenant: location.tenant,
    })
}

/// Returns people's decisions on a document or plan. An Approval requeues its subject only after the cache shows it.
pub fn decisions(ctx: &crate::context::Context, namespace: &str, kind: SubjectKind, name: &str) -> Vec<Decision> {
    let about = |a: &Approval| {
        a.spec.subject.kind == kind
            && a.spec.subject.name == name
            && a.metadata.namespace.as_deref() == Some(namespace)
            && a.metadata.deletion_timestamp.is_none()
    };
    ctx.caches.approvals.state_filter(about).iter().filter_map(|a| convert::decision(a)).collect()
}
