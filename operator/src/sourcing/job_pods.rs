//! The pods of document jobs: their creation, deletion and watch.

use std::sync::Arc;

use enact_domain::names;
use enact_domain::time::Millis;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use kube::runtime::watcher::{self, watcher};
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::jobs::{JobPod, JobRole};
use super::sourced::Subject;
use crate::context::Membership;
use crate::error::Error;
use crate::metadata_cache::{ObjectKey, key};
use crate::pods::{self, AttemptPod};
use crate::setup_failures;
use crate::watch::restarting;

/// Watches the pods of document jobs until `shutdown`.
pub async fn follow(ctx: Arc<Context>, shutdown: CancellationToken) {
    let selector = format!("{} in ({}, {})", names::LABEL_ROLE, names::ROLE_FETCH, names::ROLE_DRAFT);
    let config = watcher::Config::default().labels(&selector).page_size(500);
    let stream = watcher(Api::<AttemptPod>::all(ctx.client.clone()), config);
    let events = restarting(stream, "Pod", ctx.common.clone()).take_until(shutdown.cancelled_owned());
    ctx.jobs.follow(events, &ctx.references).await;
}

/// The result of starting a job.
pub enum StartResult {
    /// The pod was created, with this UID.
    Started(String),
    /// The tenant runs its highest number of concurrent jobs.
    NoSlot,
    /// Another pod has the name. It is being deleted.
    NameTaken,
    /// The API server refused the pod, with this message.
    Refused(String),
}

/// Creates the pod of a job, if the tenant has a free slot. `authors` changed its Agent, and the ModelProviders of the
/// Agent, last.
///
/// # Errors
/// When the API server fails temporarily.
pub async fn start(
    ctx: &Context,
    member: &Membership,
    role: JobRole,
    pod: &Pod,
    authors: &[String],
) -> Result<StartResult, Error> {
    let key = key(pod);
    let is_own = |namespace: &str| ctx.is_of_tenant(namespace, &member.tenant);
    let Some(_reserved) = ctx.jobs.reserve(member, role, &key, is_own) else { return Ok(StartResult::NoSlot) };
    // It adds the pod to the cache, where `reserve` counts it from then on.
    create(ctx, &key, pod, authors).await
}

async fn create(
    ctx: &Context,
    (namespace, name): &ObjectKey,
    pod: &Pod,
    authors: &[String],
) -> Result<StartResult, Error> {
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace);
    ctx.metrics.wrote("create", "Pod");
    let created = match api.create(&PostParams::default(), pod).await {
        Ok(created) => created,
        Err(kube::Error::Api(e)) if e.code == 409 && e.reason == "AlreadyExists" => {
            return delete_existing(ctx, &api, pod).await;
        }
        // A quota, a policy or an admission webhook refuses it: the status shows the message, and the reconcile retries later.
        Err(kube::Error::Api(e)) if matches!(e.code, 400 | 403 | 422) => {
            return Ok(StartResult::Refused(format!("the API server refused the pod: {}", e.message)));
        }
        Err(e) => return Err(Error::kube(format!("create Pod {name}"))(e)),
    };
    // The next reconcile must see the pod even if the watch delivers it late: otherwise it would start another.
    ctx.jobs.add(&AttemptPod::of(&created)?, authors);
    Ok(StartResult::Started(created.uid().unwrap_or_default()))
}

/// Deletes the pod that has the name of a job's pod, unless it is being deleted. It is a copy that somebody made, or another process created
/// it and ended before the status had its UID. Nothing but the UID tells the two apart.
async fn delete_existing(ctx: &Context, api: &Api<Pod>, pod: &Pod) -> Result<StartResult, Error> {
    let (namespace, name) = key(pod);
    let existing = api.get_opt(&name).await.map_err(Error::kube(format!("read Pod {name}")))?;
    let owner = |pod: &Pod| pod.owner_references().first().map(|o| o.uid.clone());
    match existing {
        Some(existing) if owner(&existing) != owner(pod) => Err(Error::Taken { kind: "Pod", name }),
        Some(existing) if existing.metadata.deletion_timestamp.is_none() => {
            pods::delete(ctx, &namespace, &name, &existing.uid().unwrap_or_default()).await?;
            Ok(StartResult::NameTaken)
        }
        // It is being deleted, or was in between.
        _ => Ok(StartResult::NameTaken),
    }
}

/// Returns the pod of a job with the reason for which its node cannot set it up, and the time at which that is read again.
pub async fn with_setup_failure(ctx: &Context, subject: &Subject, mut pod: JobPod) -> (JobPod, Option<Millis>) {
    let late_at = setup_failures::late_at([&pod.view]);
    let failures = setup_failures::read(ctx, &subject.namespace, ctx.now(), late_at).await;
    pod.view.setup_failure = failures.of(&pod.uid).cloned();
    (pod, failures.read_again_at)
}

/// Deletes all pods of a subject.
///
/// # Errors
/// When the API server fails.
pub async fn delete_all(ctx: &Context, subject: &Subject) -> Result<(), Error> {
    delete_others(ctx, subject, &[]).await
}

/// Deletes all pods of a subject but those with these UIDs.
///
/// # Errors
/// When the API server fails.
pub async fn delete_others(ctx: &Context, subject: &Subject, kept: &[String]) -> Result<(), Error> {
    let unwanted = |(namespace, _): &ObjectKey, pod: &JobPod| {
        *namespace == subject.namespace
            && !kept.contains(&pod.uid)
            && pod.owner == subject.uid
            && pod.view.deleting.is_none()
    };
    for ((_, name), _, pod) in ctx.jobs.pods.entries(unwanted) {
        // With the UID, a new pod of the same name stays.
        pods::delete(ctx, &subject.namespace, &name, &pod.uid).await?;
    }
    Ok(())
}
