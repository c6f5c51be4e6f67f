//! The watches of tasks and of the pods of attempts, and the notifications about their results.

use std::sync::Arc;

use enact_crds::Task;
use enact_domain::names;
use enact_store::{DeliveryListener, DeliveryNotice};
use futures::StreamExt as _;
use kube::Api;
use kube::runtime::watcher::{self, watcher};
use tokio_util::sync::CancellationToken;

use super::context::Context;
use crate::index::Occupancy;
use crate::pods::AttemptPod;
use crate::watch::restarting;

/// Watches the tasks until `shutdown`.
pub async fn follow_tasks(ctx: Arc<Context>, shutdown: CancellationToken) {
    let stream = watcher(Api::<Task>::all(ctx.client.clone()), watcher::Config::default().page_size(500));
    let events = restarting(stream, "Task", ctx.common.clone());
    ctx.index.follow_tasks(events.take_until(shutdown.cancelled_owned())).await;
}

/// Watches the pods of attempts until `shutdown`, and counts the slots that they occupy.
pub async fn follow_pods(ctx: Arc<Context>, shutdown: CancellationToken) {
    let config = watcher::Config::default().labels(names::LABEL_PLAN_UID).page_size(500);
    let events = restarting(watcher(Api::<AttemptPod>::all(ctx.client.clone()), config), "Pod", ctx.common.clone());
    ctx.index.follow_pods(events.take_until(shutdown.cancelled_owned()), |occupancy| count(&ctx, &occupancy)).await;
}

/// Notes the deliveries of which the server notifies the operator, until `shutdown`.
pub async fn follow_deliveries(ctx: Arc<Context>, mut deliveries: DeliveryListener, shutdown: CancellationToken) {
    let listen = async {
        loop {
            let DeliveryNotice { plan_uid, subject_uid, attempt } = deliveries.next().await;
            ctx.index.note_delivery(&plan_uid, &subject_uid, attempt);
        }
    };
    shutdown.run_until_cancelled(listen).await;
}

/// Counts the slot of a pod for the tenant in the pod's label: its namespace may belong to another tenant by now.
fn count(ctx: &Context, pod: &Occupancy) {
    if pod.occupied {
        ctx.limiter.occupy(&pod.tenant, &pod.namespace, &pod.pod, pod.until, pod.agent.as_deref());
    } else if ctx.limiter.release(&pod.tenant, &pod.namespace, &pod.pod) {
        ctx.wake_next(&pod.tenant);
        if pod.agent.is_some() {
            ctx.wake_waiting_for_agents(&pod.tenant);
        }
    }
    let (running, waiting) = ctx.limiter.totals();
    ctx.metrics.running.set(running.into());
    ctx.metrics.waiting_plans.set(waiting.into());
}
