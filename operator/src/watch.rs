//! Watches that no controller runs itself.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, future};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::references::Target;

/// Restarts a watch that breaks, with a growing delay, and counts the failures.
pub fn restarting<K: Send + 'static>(
    stream: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    kind: &'static str,
    ctx: Arc<Context>,
) -> impl Stream<Item = Event<K>> + Send {
    // If the watch cannot resume, the watcher lists again: consumers see `Init` and remove the objects that the list lacks.
    stream.default_backoff().filter_map(move |event| {
        let event = event.inspect_err(|error| {
            ctx.metrics.watch_errors.with_label_values(&[kind]).inc();
            tracing::warn!(kind, %error, "a watch failed and is restarted");
        });
        future::ready(event.ok())
    })
}

/// Requeues the objects that read a ConfigMap when it changes. One watch of metadata serves all kinds.
pub async fn config_maps(ctx: Arc<Context>, shutdown: CancellationToken) {
    let api = Api::<PartialObjectMeta<ConfigMap>>::all(ctx.client.clone());
    let stream = watcher::watcher(api, watcher::Config::default().page_size(500));
    let mut events = Box::pin(restarting(stream, "ConfigMap", ctx.clone()).take_until(shutdown.cancelled_owned()));
    while let Some(event) = events.next().await {
        if let Event::Apply(map) | Event::InitApply(map) | Event::Delete(map) = event {
            ctx.references.changed(&Target::of(&map));
        }
    }
}
