//! Observe: the subject of an Approval, read from the API server, because a cache may be older than the event that caused this reconcile.

use std::fmt::Debug;

use enact_crds::approval::SubjectKind;
use enact_crds::subject::{Approvable, ApprovalSubject};
use enact_crds::{Approval, Constitution, Plan, Specification};
use enact_domain::approval::{Content, Policy};
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
    pub subject: Subject,
}

/// The subject of an Approval.
#[derive(Clone, Debug)]
pub enum Subject {
    /// It does not exist.
    Missing,
    /// Its controller has not written a status yet.
    NotReconciled,
    Known {
        policy: Policy,
        content: Content,
    },
}

/// Observes an Approval's subject. It registers the reference first, so that a change during the observation requeues the Approval.
///
/// # Errors
/// When the API server fails.
pub async fn observe(object: &Approval, ctx: &Context) -> Result<Observed, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let name = &object.spec.subject.name;
    let target = match object.spec.subject.kind {
        SubjectKind::Constitution => Target::new::<Constitution>(&namespace, name),
        SubjectKind::Specification => Target::new::<Specification>(&namespace, name),
        SubjectKind::Plan => Target::new::<Plan>(&namespace, name),
    };
    ctx.references.approvals.set(object, [target, Target::namespace(&namespace)]);
    let subject = match object.spec.subject.kind {
        SubjectKind::Constitution => read::<Constitution>(ctx, &namespace, name).await,
        SubjectKind::Specification => read::<Specification>(ctx, &namespace, name).await,
        SubjectKind::Plan => read::<Plan>(ctx, &namespace, name).await,
    }?;
    Ok(Observed { tenant: ctx.tenant_of(&namespace).map(|m| m.tenant), subject })
}

async fn read<K>(ctx: &Context, namespace: &str, name: &str) -> Result<Subject, Error>
where
    K: Approvable + Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api = Api::<K>::namespaced(ctx.client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(Error::kube(format!("get {} {namespace}/{name}", K::kind(&()))))?;
    Ok(match found.as_ref().map(ApprovalSubject::of) {
        None => Subject::Missing,
        Some(ApprovalSubject { content: None, .. }) => Subject::NotReconciled,
        Some(ApprovalSubject { content: Some(content), policy }) => Subject::Known { policy, content },
    })
}
