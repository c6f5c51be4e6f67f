//! Sourcing: reads a document from the object itself, a ConfigMap or a Git repository, or has an agent draft it.
//!
//! The operator reads no Secret and opens no connection to a tenant's URL. A short-lived pod in the tenant's namespace (a document job)
//! fetches or drafts the document and sends it to enact-server. When the pod ends, the operator finds the document in the record store by
//! the digest in the pod's termination message. A pod is deleted only after the object's status holds its result, so that a crash loses
//! neither. The operator reads the result of a pod only if it knows its UID, and deletes other pods of the object.

pub mod agent_job;
pub mod context;
mod draft;
mod git;
mod job_pods;
pub mod jobs;
mod poll_state;
pub mod push;
mod sourced;
#[cfg(test)]
mod tests;

use enact_crds::common::ConfigMapKey;
use enact_crds::document::{Source, SourceStatus};
use enact_crds::specification::Drafting;
use enact_crds::{Agent, Plan};
use enact_domain::condition::Readiness;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;

pub use context::Context;
pub use job_pods::{delete_others, follow};
use sourced::SOURCE_MISSING;
pub use sourced::{Drafter, Sourced, Subject, at_work};

use crate::error::Error;
use crate::references::Target;

/// Reads the document from `source` or, without one, from an agent's draft. `known` is the state of the source in the object's status.
///
/// # Errors
/// When the API server or the record store fails.
pub async fn content(
    ctx: &Context,
    subject: &Subject,
    source: Option<&Source>,
    known: Option<&SourceStatus>,
    drafter: Option<Drafter<'_>>,
) -> Result<Sourced, Error> {
    match (source, drafter) {
        (Some(Source { git: Some(git), .. }), _) => Box::pin(git::content(ctx, subject, git, known)).await,
        (None, Some(drafter)) => Box::pin(draft::content(ctx, subject, &drafter)).await,
        (Some(Source { inline: Some(text), .. }), _) => {
            job_pods::delete_all(ctx, subject).await?;
            Ok(Sourced::from_cluster(Ok(text.clone().into_bytes())))
        }
        (Some(Source { config_map_key_ref: Some(key), .. }), _) => {
            job_pods::delete_all(ctx, subject).await?;
            config_map(ctx, &subject.namespace, key).await.map(Sourced::from_cluster)
        }
        _ => {
            job_pods::delete_all(ctx, subject).await?;
            let message = "there is no document; set spec.source, or set spec.request and an Agent in spec.drafting that drafts it";
            Ok(Sourced::from_cluster(Err(Readiness::stalled(SOURCE_MISSING, message))))
        }
    }
}

/// Deletes the document jobs of a plan that no longer needs its document.
///
/// # Errors
/// When the API server fails.
pub async fn delete_jobs(ctx: &Context, plan: &Plan) -> Result<(), Error> {
    job_pods::delete_all(ctx, &Subject::of(plan, None)).await
}

/// Returns the objects that a source depends on: a ConfigMap, or the agent that drafts. The constitutions that a draft depends on are
/// targets of the object itself.
pub fn targets(
    places: [&str; 2],
    source: Option<&Source>,
    drafting: Option<&Drafting>,
) -> impl Iterator<Item = Target> {
    let config_map = source.and_then(|s| s.config_map_key_ref.as_ref());
    let drafting = drafting.filter(|_| source.is_none());
    let agents = drafting.map(|d| places.map(|namespace| Target::new::<Agent>(namespace, &d.agent_ref.name)));
    config_map.map(|key| Target::config_map(places[0], &key.name)).into_iter().chain(agents.into_iter().flatten())
}

async fn config_map(ctx: &Context, namespace: &str, key: &ConfigMapKey) -> Result<Result<Vec<u8>, Readiness>, Error> {
    let api = Api::<ConfigMap>::namespaced(ctx.client.clone(), namespace);
    let found = api.get_opt(&key.name).await.map_err(Error::kube(format!("get ConfigMap {namespace}/{}", key.name)))?;
    let missing =
        |problem: String| Readiness::stalled(SOURCE_MISSING, format!("spec.source.configMapKeyRef: {problem}"));
    let Some(map) = found else {
        return Ok(Err(missing(format!("there is no ConfigMap {} in this namespace; create it", key.name))));
    };
    let text = map.data.and_then(|mut data| data.remove(&key.key)).map(String::into_bytes);
    let bytes = text.or_else(|| map.binary_data.and_then(|mut data| data.remove(&key.key)).map(|b| b.0));
    Ok(bytes.ok_or_else(|| {
        missing(format!("ConfigMap {} has no key {}; add it, or name an existing key", key.name, key.key))
    }))
}
