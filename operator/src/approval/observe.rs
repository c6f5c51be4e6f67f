//! Observe: the subject of an Approval, read from the API server, because a cache may be older than the event that caused this reconcile.

use enact_crds::approval::SubjectKind;
use enact_crds::subject::{Approvable, ApprovalSubject};
use enact_crds::{Approval, Constitution, Plan, Specification};
use k8s_openapi::NamespaceResourceScope;
use kube::api::Api;
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::error::Error;
use crate::references::Target;

/// Everything outside an Approval that a decision depends on.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The tenant that owns the namespace.
    pub tenant: Option<String>,
    /// The subject; none if it does not exist.
    pub subject: Option<ApprovalSubject>,
}

/// Observes an Approval's subject. It registers the reference first, so that a change during the observation requeues the Approval.
///
/// # Errors
/// When the API server fails.
pub async fn observe(object: &Approval, ctx: &Context) -> Result<Observed, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let subject = match object.spec.subject.kind {
        SubjectKind::Constitution => read::<Constitution>(object, ctx, &namespace).await,
        SubjectKind::Specification => read::<Specification>(object, ctx, &namespace).await,
        SubjectKind::Plan => read::<Plan>(object, ctx, &namespace).await,
    }?;
    Ok(Observed { tenant: ctx.tenant_of(&namespace).map(|m| m.tenant), subject })
}

async fn read<K>(object: &Approval, ctx: &Context, namespace: &str) -> Result<Option<ApprovalSubject>, Error>
where
    K: Approvable
        + Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let name = &object.spec.subject.name;
    // Before the read: a change of the subject in between requeues the Approval.
    ctx.references.approvals.set(object, [Target::new::<K>(namespace, name), Target::namespace(namespace)]);
    let api = Api::<K>::namespaced(ctx.client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(Error::kube(format!("get {} {namespace}/{name}", K::kind(&()))))?;
    let tenant = ctx.tenant_of(namespace).and_then(|member| ctx.tenant(&member.tenant));
    Ok(found.map(|found| ApprovalSubject::of(&found, tenant.as_deref())))
}
