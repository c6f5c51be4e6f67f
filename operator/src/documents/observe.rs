//! Observe: everything outside the object that a decision about a document depends on.
//!
//! Approvals, constitutions and ConfigMaps are read from the API server, not from caches: a watch of another kind may be behind the one
//! that woke this reconcile, and nothing would wake it a second time.

use enact_crds::approval::SubjectKind;
use enact_crds::common::{ConfigMapKey, LocalRef};
use enact_crds::{Approval, Constitution, convert};
use enact_domain::approval::{Decision, Policy};
use enact_domain::{condition, names};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::Document;
use super::validate::Checked;
use crate::context::Context;
use crate::error::Error;
use crate::references::Target;

/// What was observed of a document.
#[derive(Clone, Debug)]
pub struct Observed {
    /// How commands name it: `specification/shop -n team`.
    pub handle: String,
    /// The tenant that owns its namespace.
    pub tenant: Option<String>,
    /// Its content, as it was read and checked.
    pub content: Result<Content, Missing>,
    /// The constitution that it must keep.
    pub constitution: Superior,
    /// What people must approve.
    pub policy: Policy,
    /// Who wrote it.
    pub author: Option<String>,
    /// What people decided on it, whatever its content was then.
    pub decisions: Vec<Decision>,
}

/// A content that is there.
#[derive(Clone, Debug)]
pub struct Content {
    /// As it was found.
    pub bytes: Vec<u8>,
    /// What it says.
    pub checked: Checked,
}

/// A content that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The object names no source.
    #[error("spec.source names no document; set inline or configMapKeyRef")]
    Unnamed,
    /// There is no such ConfigMap.
    #[error("spec.source.configMapKeyRef: there is no ConfigMap {0} in this namespace; create it")]
    ConfigMap(String),
    /// The ConfigMap has no such key.
    #[error("spec.source.configMapKeyRef: ConfigMap {name} has no key {key}; add it, or name one that it has")]
    Key {
        /// Name of the ConfigMap.
        name: String,
        /// The key that is missing.
        key: String,
    },
}

/// The constitution that a document must keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Superior {
    /// It names none.
    None,
    /// It is in force.
    Ready,
    /// There is none of this name.
    Missing(String),
    /// It is not in force yet, or not any more.
    NotReady(String),
}

/// Observes a document, and notes first what to watch for it.
///
/// # Errors
/// When the API server fails.
pub async fn observe<D: Document>(object: &D, ctx: &Context) -> Result<Observed, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let source = object.source();
    let config_map =
        source.and_then(|s| s.config_map_key_ref.as_ref()).map(|k| Target::config_map(&namespace, &k.name));
    let superior = object.constitution().map(|c| Target::new::<Constitution>(&namespace, &c.name));
    let targets = [Some(Target::namespace(&namespace)), config_map, superior];
    D::referrers(&ctx.references).set(object, targets.into_iter().flatten());

    let bytes = match (source.and_then(|s| s.inline.as_ref()), source.and_then(|s| s.config_map_key_ref.as_ref())) {
        (Some(text), _) => Ok(text.clone().into_bytes()),
        (None, Some(key)) => read(ctx, &namespace, key).await?,
        (None, None) => Err(Missing::Unnamed),
    };
    Ok(Observed {
        handle: format!("{}/{} -n {namespace}", D::kind(&()).to_lowercase(), object.name_any()),
        tenant: ctx.tenant_of(&namespace).map(|m| m.tenant),
        content: bytes.map(|bytes| Content { checked: D::check(&bytes), bytes }),
        constitution: constitution(ctx, &namespace, object.constitution()).await?,
        policy: object.policy().into(),
        author: object.annotations().get(names::ANNOTATION_AUTHOR).cloned(),
        decisions: decisions(ctx, &namespace, D::SUBJECT, &object.name_any()).await?,
    })
}

async fn read(ctx: &Context, namespace: &str, key: &ConfigMapKey) -> Result<Result<Vec<u8>, Missing>, Error> {
    let api = Api::<ConfigMap>::namespaced(ctx.client.clone(), namespace);
    let found = api.get_opt(&key.name).await.map_err(Error::kube(format!("get ConfigMap {namespace}/{}", key.name)))?;
    let Some(map) = found else {
        return Ok(Err(Missing::ConfigMap(key.name.clone())));
    };
    let text = map.data.and_then(|mut data| data.remove(&key.key)).map(String::into_bytes);
    let bytes = text.or_else(|| map.binary_data.and_then(|mut data| data.remove(&key.key)).map(|b| b.0));
    Ok(bytes.ok_or_else(|| Missing::Key { name: key.name.clone(), key: key.key.clone() }))
}

async fn constitution(ctx: &Context, namespace: &str, reference: Option<&LocalRef>) -> Result<Superior, Error> {
    let Some(name) = reference.map(|r| r.name.clone()) else {
        return Ok(Superior::None);
    };
    let api = Api::<Constitution>::namespaced(ctx.client.clone(), namespace);
    let found = api.get_opt(&name).await.map_err(Error::kube(format!("get Constitution {namespace}/{name}")))?;
    let Some(found) = found else {
        return Ok(Superior::Missing(name));
    };
    let conditions = found.status.map(|s| s.conditions).unwrap_or_default();
    let ready = conditions.iter().any(|c| c.type_ == condition::READY && c.status == "True");
    Ok(if ready { Superior::Ready } else { Superior::NotReady(name) })
}

async fn decisions(ctx: &Context, namespace: &str, kind: SubjectKind, name: &str) -> Result<Vec<Decision>, Error> {
    let of_subject = ListParams::default().fields(&format!("spec.subject.kind={kind:?},spec.subject.name={name}"));
    let api = Api::<Approval>::namespaced(ctx.client.clone(), namespace);
    let list = api
        .list(&of_subject)
        .await
        .map_err(Error::kube(format!("list the Approvals of {kind:?} {namespace}/{name}")))?;
    let kept = list.items.iter().filter(|a| a.metadata.deletion_timestamp.is_none());
    Ok(kept.filter_map(|a| convert::decision(a)).collect())
}
