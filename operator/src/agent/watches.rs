//! The watch of waiting pods.

use std::sync::Arc;

use enact_domain::names;
use futures::StreamExt as _;
use kube::Api;
use kube::runtime::watcher::{self, watcher};
use tokio_util::sync::CancellationToken;

use super::context::Context;
use crate::metadata_cache::ObjectKey;
use crate::pods::AttemptPod;
use crate::watch::restarting;

/// Watches the waiting pods of all warm pools until `shutdown`. Each change requeues the Agent.
pub async fn follow_waiting_pods(ctx: Arc<Context>, shutdown: CancellationToken) {
    let selector = format!("{}={}", names::LABEL_ROLE, names::ROLE_WAITING);
    let config = watcher::Config::default().labels(&selector).page_size(500);
    let events = restarting(watcher(Api::<AttemptPod>::all(ctx.client.clone()), config), "Pod", ctx.common.clone());
    let on_change = |agent: &ObjectKey| {
        ctx.references.agents.requeue_key(agent);
        ctx.metrics.warm_pool_waiting.set(i64::try_from(ctx.warm_pods.ready()).unwrap_or(i64::MAX));
    };
    ctx.warm_pods.follow(events.take_until(shutdown.cancelled_owned()), on_change).await;
}
