//! Observe: everything outside the object that a decision about a document depends on.

use enact_crds::approval::SubjectKind;
use enact_crds::document::Quality;
use enact_crds::{Approval, convert};
use enact_domain::approval::{Decision, Policy};
use enact_domain::digest::Digest;
use enact_domain::names;
use kube::ResourceExt as _;

use super::Document;
use super::findings::Findings;
use super::obstacle::Obstacle;
use super::source::{self, Missing, Origin, Sourcing};
use crate::context::Context;
use crate::error::Error;
use crate::references::Target;
use crate::sourcing;

/// What was observed of a document; `F` is what its kind alone says.
#[derive(Clone, Debug)]
pub struct Observed<F> {
    /// How commands name it: `specification/shop -n team`.
    pub handle: String,
    /// The tenant that owns its namespace.
    pub tenant: Option<String>,
    /// Its content, as it was read and checked.
    pub content: Result<Content<F>, Missing>,
    /// What was found out about where it comes from.
    pub sourcing: Sourcing,
    /// What people must approve.
    pub policy: Policy,
    /// Who wrote it.
    pub author: Option<String>,
    /// What people decided on it, whatever its content was then.
    pub decisions: Vec<Decision>,
}

/// A content that is there, and what is to be said about it and all that surrounds it.
#[derive(Clone, Debug)]
pub struct Content<F> {
    /// What is approved and recorded.
    pub bytes: Vec<u8>,
    /// Digest of that.
    pub digest: Digest,
    /// The version that the document gives itself.
    pub version: Option<String>,
    /// Where it was found.
    pub origin: Origin,
    /// Digests of what it was before each answer that is written into it.
    pub steps: Vec<Digest>,
    /// The first thing that forbids its use.
    pub error: Option<String>,
    /// What else stands in its way, besides people's decisions.
    pub obstacle: Option<Obstacle>,
    /// Everything that was found.
    pub findings: Findings,
    /// How good it is.
    pub quality: Option<Quality>,
    /// Questions that nobody answered.
    pub open_questions: u32,
    /// What its kind alone says.
    pub facts: F,
}

/// Where a document is.
#[derive(Clone, Debug)]
pub struct Place {
    /// Namespace of the object.
    pub namespace: String,
    /// The tenant that owns it.
    pub tenant: Option<String>,
}

/// Observes a document, and notes first what to watch for it.
///
/// # Errors
/// When the API server or the record fails.
pub async fn observe<D: Document>(object: &D, ctx: &Context) -> Result<Observed<D::Facts>, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let tenant = ctx.tenant_of(&namespace).map(|m| m.tenant);
    let place = Place { namespace, tenant };
    let mut targets = object.targets(ctx, &place).await?;
    targets.push(Target::namespace(&place.namespace));
    targets.extend(sourcing::targets(&place.namespace, object.source(), object.drafter().map(|d| d.drafting)));
    D::referrers(&ctx.references).set(object, targets);

    let (found, sourcing) = source::read(object, ctx).await?;
    let content = match found {
        Ok(found) => Ok(object.examine(ctx, &place, found).await?),
        Err(missing) => Err(missing),
    };
    Ok(Observed {
        handle: format!("{}/{} -n {}", D::kind(&()).to_lowercase(), object.name_any(), place.namespace),
        content,
        sourcing,
        policy: object.policy().into(),
        author: object.annotations().get(names::ANNOTATION_AUTHOR).cloned(),
        decisions: decisions(ctx, &place.namespace, D::SUBJECT, &object.name_any()),
        tenant: place.tenant,
    })
}

/// What people decided on something: who is woken by a decision finds it in the cache.
pub fn decisions(ctx: &Context, namespace: &str, kind: SubjectKind, name: &str) -> Vec<Decision> {
    let about = |a: &Approval| {
        a.spec.subject.kind == kind
            && a.spec.subject.name == name
            && a.metadata.namespace.as_deref() == Some(namespace)
            && a.metadata.deletion_timestamp.is_none()
    };
    ctx.caches.approvals.state_filter(about).iter().filter_map(|a| convert::decision(a)).collect()
}
