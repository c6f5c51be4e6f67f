//! Where documents come from: the object itself, a ConfigMap, a Git repository, or an agent that drafts one.
//!
//! The operator reads no Secret and opens no connection to a tenant's URL: a repository is read, and a document is drafted, by a short-lived
//! pod in the tenant's namespace (an *errand*), which brings the document to the server. The operator sees the pod end, and finds the
//! document in the record by the digest that the pod left. A pod is deleted once the object's status tells what the pod told: a crash at
//! any moment leaves either of them.

mod draft;
pub mod errands;
mod git;
pub mod push;
#[cfg(test)]
mod tests;

use enact_crds::common::{ConfigMapKey, LocalRef};
use enact_crds::document::{Source, SourceStatus};
use enact_crds::specification::{DraftStatus, Drafting};
use enact_crds::{Agent, Plan};
use enact_domain::condition::Progress;
use enact_domain::names;
use enact_domain::time::Millis;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::Api;
use kube::{Resource, ResourceExt as _};

use crate::context::{Context, Membership};
use crate::error::Error;
use crate::references::Target;
use crate::task::build::controlled_by;

/// The object whose document it is.
#[derive(Clone, Debug)]
pub struct Subject {
    namespace: String,
    name: String,
    uid: String,
    /// Whether what its status says of its source was observed of its present spec.
    current: bool,
    owner: OwnerReference,
    /// The request to look at its source now.
    reconcile_at: Option<String>,
}

impl Subject {
    /// An object; `observed` is the generation that its status is about.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K, observed: Option<i64>) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            current: observed.is_some() && observed == object.meta().generation,
            owner: controlled_by(object),
            reconcile_at: object.annotations().get(names::ANNOTATION_RECONCILE_AT).cloned(),
        }
    }
}

/// How a document is drafted when there is no source.
#[derive(Clone, Copy, Debug)]
pub struct Drafter<'a> {
    /// What is wanted, in a person's words.
    pub request: &'a str,
    /// Who drafts, and how often.
    pub drafting: &'a Drafting,
    /// The constitution that the document names.
    pub constitution: Option<&'a LocalRef>,
    /// How the drafting stands by the object's status.
    pub known: Option<&'a DraftStatus>,
}

/// What a document's source gives now.
#[derive(Debug)]
pub struct Sourced {
    /// The document.
    pub bytes: Result<Vec<u8>, Missing>,
    /// What the status is to say of the source; none for one that is in the cluster.
    pub status: Option<SourceStatus>,
    /// What the status is to say of the drafting.
    pub draft: Option<DraftStatus>,
    /// When to look again though nothing told of a change.
    pub wake: Option<Millis>,
}

impl Sourced {
    /// What the cluster itself gives.
    fn at_hand(bytes: Result<Vec<u8>, Missing>) -> Self {
        Self { bytes, status: None, draft: None, wake: None }
    }

    /// The commit that the document was read at.
    pub fn commit(&self) -> Option<&str> {
        self.status.as_ref()?.commit.as_deref()
    }
}

/// A document that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The object names no source.
    #[error(
        "there is no document; set spec.source, or name an Agent in spec.drafting that drafts it from spec.request"
    )]
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
    /// It is on its way.
    #[error("{message}")]
    Waiting {
        /// CamelCase.
        reason: &'static str,
        /// For a person.
        message: String,
    },
    /// It cannot be had.
    #[error("{message}")]
    Failed {
        /// CamelCase.
        reason: &'static str,
        /// For a person.
        message: String,
    },
}

impl Missing {
    fn waiting(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Waiting { reason, message: message.into() }
    }

    fn failed(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Failed { reason, message: message.into() }
    }

    /// Which of the kstatus conditions holds of an object without a document, and the reason.
    pub fn standing(&self) -> (Progress, &'static str) {
        match self {
            Self::Unnamed | Self::ConfigMap(_) | Self::Key { .. } => (Progress::Stalled, "SourceMissing"),
            Self::Waiting { reason, .. } => (Progress::Reconciling, reason),
            Self::Failed { reason, .. } => (Progress::Stalled, reason),
        }
    }
}

/// What `source` gives now, or, without one, what an agent drafted. `known` is what the object's status says of the source.
///
/// # Errors
/// When the API server or the record fails.
pub async fn content(
    ctx: &Context,
    subject: &Subject,
    source: Option<&Source>,
    known: Option<&SourceStatus>,
    drafter: Option<Drafter<'_>>,
) -> Result<Sourced, Error> {
    match (source, drafter) {
        (Some(Source { git: Some(git), .. }), _) => git::content(ctx, subject, git, known).await,
        (None, Some(drafter)) => draft::content(ctx, subject, &drafter).await,
        (Some(Source { inline: Some(text), .. }), _) => {
            errands::dismiss(ctx, subject, &[]).await?;
            Ok(Sourced::at_hand(Ok(text.clone().into_bytes())))
        }
        (Some(Source { config_map_key_ref: Some(key), .. }), _) => {
            errands::dismiss(ctx, subject, &[]).await?;
            config_map(ctx, &subject.namespace, key).await.map(Sourced::at_hand)
        }
        _ => {
            errands::dismiss(ctx, subject, &[]).await?;
            Ok(Sourced::at_hand(Err(Missing::Unnamed)))
        }
    }
}

/// Deletes what is left of a plan's errands once it needs its document no more.
///
/// # Errors
/// When the API server fails.
pub async fn done_with(ctx: &Context, plan: &Plan) -> Result<(), Error> {
    errands::dismiss(ctx, &Subject::of(plan, None), &[]).await
}

/// Objects that a document's source depends on, to be looked at again when they change: a ConfigMap, the agent that drafts. What a drafting
/// has to do with a constitution, the object refers to anyhow.
pub fn targets(namespace: &str, source: Option<&Source>, drafting: Option<&Drafting>) -> impl Iterator<Item = Target> {
    let config_map = source.and_then(|s| s.config_map_key_ref.as_ref());
    let agent = drafting.filter(|_| source.is_none()).map(|d| Target::new::<Agent>(namespace, &d.agent_ref.name));
    config_map.map(|key| Target::config_map(namespace, &key.name)).into_iter().chain(agent)
}

async fn config_map(ctx: &Context, namespace: &str, key: &ConfigMapKey) -> Result<Result<Vec<u8>, Missing>, Error> {
    let api = Api::<ConfigMap>::namespaced(ctx.client.clone(), namespace);
    let found = api.get_opt(&key.name).await.map_err(Error::kube(format!("get ConfigMap {namespace}/{}", key.name)))?;
    let Some(map) = found else {
        return Ok(Err(Missing::ConfigMap(key.name.clone())));
    };
    let text = map.data.and_then(|mut data| data.remove(&key.key)).map(String::into_bytes);
    let bytes = text.or_else(|| map.binary_data.and_then(|mut data| data.remove(&key.key)).map(|b| b.0));
    Ok(bytes.ok_or_else(|| Missing::Key { name: key.name.clone(), key: key.key.clone() }))
}

/// The base URL of the server, which documents come by.
fn server(ctx: &Context) -> Result<String, String> {
    ctx.config.server_url.clone().ok_or_else(|| {
        "this installation runs without enact-server, which brings documents from pods; set --server-url of the operator".into()
    })
}

/// The tenant of the subject's namespace; without one, nothing is fetched, and the object's own condition says so.
fn member(ctx: &Context, subject: &Subject) -> Result<Membership, Missing> {
    let unowned = || Missing::waiting("NotInTenant", "the namespace belongs to no tenant");
    ctx.tenant_of(&subject.namespace).ok_or_else(unowned)
}

/// `seconds` in milliseconds, more or less a tenth: always the same for the same object, so that many objects do not come all at once.
fn jittered(uid: &str, seconds: u32) -> i64 {
    let whole = i64::from(seconds) * 1000;
    whole - whole / 10 + portion(uid, whole / 5)
}

/// A part of `whole`, from nothing to all of it: always the same for the same object.
fn portion(uid: &str, whole: i64) -> i64 {
    // FNV-1a: <http://www.isthe.com/chongo/tech/comp/fnv/>
    let hash = uid.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    i64::try_from(hash % u64::try_from(whole + 1).unwrap_or(1)).unwrap_or_default()
}
