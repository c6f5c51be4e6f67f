//! Observe: the subject of an Approval, read from the API server, because a cache may be older than the event that caused this reconcile.

use enact_crds::approval::SubjectKind;
use enact_crds::common::ApprovalPolicy;
use enact_crds::{Approval, Constitution, Plan, Specification, convert};
use enact_domain::analysis::Severity;
use enact_domain::approval::{Content, Policy};
use enact_domain::names;
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
        SubjectKind::Constitution => {
            read(ctx, &namespace, name, |c: &Constitution| {
                let status = c.status.as_ref()?;
                Some((&c.spec.approval, status.digest.as_ref()?, convert::worst(&status.findings)))
            })
            .await
        }
        SubjectKind::Specification => {
            read(ctx, &namespace, name, |s: &Specification| {
                let status = s.status.as_ref()?;
                Some((&s.spec.approval, status.digest.as_ref()?, convert::worst(&status.findings)))
            })
            .await
        }
        SubjectKind::Plan => {
            read(ctx, &namespace, name, |p: &Plan| {
                let status = p.status.as_ref()?;
                Some((&p.spec.approval, status.digest.as_ref()?, convert::worst_of(&status.top_findings)))
            })
            .await
        }
    }?;
    Ok(Observed { tenant: ctx.tenant_of(&namespace).map(|m| m.tenant), subject })
}

async fn read<K>(
    ctx: &Context,
    namespace: &str,
    name: &str,
    content: impl FnOnce(&K) -> Option<(&ApprovalPolicy, &String, Option<Severity>)>,
) -> Result<Subject, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api = Api::<K>::namespaced(ctx.client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(Error::kube(format!("get {} {namespace}/{name}", K::kind(&()))))?;
    let Some(found) = found else {
        return Ok(Subject::Missing);
    };
    Ok(content(&found).map_or(Subject::NotReconciled, |(policy, digest, worst)| Subject::Known {
        policy: policy.into(),
        content: Content {
            digest: digest.clone().into(),
            author: found.annotations().get(names::ANNOTATION_AUTHOR).cloned(),
            worst,
        },
    }))
}
