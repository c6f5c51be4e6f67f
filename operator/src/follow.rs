//! Watches that are no controller's: of children, and of what others depend on.

use std::sync::Arc;

use enact_crds::Task;
use enact_domain::names;
use futures::{Stream, StreamExt as _, future};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::index::Occupancy;
use crate::pods::AttemptPod;
use crate::references::Target;

/// Keeps the plans' tasks current.
pub async fn tasks(ctx: Arc<Context>, shutdown: CancellationToken) {
    let stream = watcher::watcher(Api::<Task>::all(ctx.client.clone()), watcher::Config::default().page_size(500));
    ctx.index.follow_tasks(steady(stream, "Task", ctx.clone()).take_until(shutdown.cancelled_owned())).await;
}

/// Keeps the plans' pods current, and counts the places that they take.
pub async fn pods(ctx: Arc<Context>, shutdown: CancellationToken) {
    let config = watcher::Config::default().labels(names::LABEL_PLAN_UID).page_size(500);
    let stream = watcher::watcher(Api::<AttemptPod>::all(ctx.client.clone()), config);
    let events = steady(stream, "Pod", ctx.clone()).take_until(shutdown.cancelled_owned());
    ctx.index.follow_pods(events, |told| count(&ctx, &told)).await;
}

/// Keeps the pods current that fetch or draft documents.
pub async fn errands(ctx: Arc<Context>, shutdown: CancellationToken) {
    let selector = format!("{} in ({}, {})", names::LABEL_ROLE, names::ROLE_FETCH, names::ROLE_DRAFT);
    let config = watcher::Config::default().labels(&selector).page_size(500);
    let stream = watcher::watcher(Api::<AttemptPod>::all(ctx.client.clone()), config);
    let events = steady(stream, "Pod", ctx.clone()).take_until(shutdown.cancelled_owned());
    ctx.errands.follow(events, &ctx.references).await;
}

/// Counts a pod's place: the label on the pod says for whom, since its namespace may have changed hands.
fn count(ctx: &Context, told: &Occupancy) {
    if told.taken {
        ctx.ledger.enter(&told.tenant, &told.namespace, &told.pod, told.until);
    } else if ctx.ledger.release(&told.tenant, &told.namespace, &told.pod) {
        ctx.hand_on(&told.tenant);
    }
    let (running, waiting) = ctx.ledger.totals();
    ctx.metrics.running.set(running.into());
    ctx.metrics.waiting_plans.set(waiting.into());
}

/// Documents and recorded work are in ConfigMaps: one watch of their metadata for all kinds that read them.
pub async fn config_maps(ctx: Arc<Context>, shutdown: CancellationToken) {
    let api = Api::<PartialObjectMeta<ConfigMap>>::all(ctx.client.clone());
    let stream = watcher::watcher(api, watcher::Config::default().page_size(500));
    let mut events = Box::pin(steady(stream, "ConfigMap", ctx.clone()).take_until(shutdown.cancelled_owned()));
    while let Some(event) = events.next().await {
        if let Event::Apply(map) | Event::InitApply(map) | Event::Delete(map) = event {
            ctx.references.touched(&Target::config_map(&map.namespace().unwrap_or_default(), &map.name_any()));
        }
    }
}

/// Tells everybody whom it concerns of objects of ours that are gone.
pub async fn departures(
    gone: impl Stream<Item = (Target, String)> + Send,
    ctx: Arc<Context>,
    shutdown: CancellationToken,
) {
    let mut gone = Box::pin(gone.take_until(shutdown.cancelled_owned()));
    while let Some((target, uid)) = gone.next().await {
        ctx.departed(&target, &uid);
    }
}

/// A watch that takes itself up again, with a growing wait.
pub fn steady<K: Send + 'static>(
    stream: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    kind: &'static str,
    ctx: Arc<Context>,
) -> impl Stream<Item = Event<K>> + Send {
    stream.default_backoff().filter_map(move |event| {
        let event = event.inspect_err(|error| {
            ctx.metrics.watch_errors.with_label_values(&[kind]).inc();
            tracing::warn!(kind, %error, "a watch broke; it is taken up again");
        });
        future::ready(event.ok())
    })
}
