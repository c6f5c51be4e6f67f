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
    let mut namespaces = ctx.caches.namespaces.listed();
    let owners_known = async {
        // A sender is dropped only when the process ends.
        let _ = namespaces.wait_for(|listed| *listed).await;
    };
    // Before the first pod: `count` needs to know the tenants of the namespaces.
    shutdown.run_until_cancelled(owners_known).await;
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

/// Counts the slot of a pod for the tenant that has its namespace. The label says which one that is, except if somebody changed it, or the
/// namespace has changed hands: whoever may create pods can write any tenant into the label.
fn count(ctx: &Context, pod: &Occupancy) {
    let occupy = |tenant: &str| {
        ctx.limiter.occupy(tenant, &pod.namespace, &pod.pod, pod.until, pod.agent.as_deref());
    };
    if pod.occupied && ctx.is_of_tenant(&pod.namespace, &pod.tenant) {
        occupy(&pod.tenant);
    } else {
        if let Some(tenant) = ctx.limiter.release(&pod.namespace, &pod.pod) {
            ctx.wake_next(&tenant);
            if pod.agent.is_some() {
                ctx.wake_waiting_for_agents(&tenant);
            }
        }
        if let Some(member) = ctx.tenant_of(&pod.namespace).filter(|_| pod.occupied) {
            occupy(&member.tenant);
        }
    }
    let (running, waiting) = ctx.limiter.totals();
    ctx.metrics.running.set(running.into());
    ctx.metrics.waiting_plans.set(waiting.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[tokio::test]
    async fn a_pod_in_a_namespace_of_somebody_else_takes_no_slot() {
        let mut bench = Bench::new().await;
        bench.tenant_of_ns(1);
        let ctx = &bench.contexts.plans;
        let pod = |namespace: &str, occupied: bool| Occupancy {
            tenant: "acme".into(),
            namespace: namespace.into(),
            pod: "p-t001-1".into(),
            occupied,
            until: None,
            agent: None,
        };
        for (namespace, occupied, running) in
            [("elsewhere", true, 0), ("ns", true, 1), ("elsewhere", false, 1), ("ns", false, 0)]
        {
            count(ctx, &pod(namespace, occupied));
            assert_eq!(ctx.limiter.running("acme"), running, "{namespace} {occupied}");
        }
    }

    /// Whoever may change pods in the namespace changes the label of one that runs.
    #[tokio::test]
    async fn a_pod_that_names_another_tenant_has_its_slot_until_its_end() {
        let mut bench = Bench::new().await;
        bench.tenant_of_ns(1);
        let ctx = &bench.contexts.plans;
        for (tenant, occupied, running) in
            [("acme", true, 1), ("other", true, 1), ("acme", true, 1), ("other", false, 0)]
        {
            let pod = Occupancy {
                tenant: tenant.into(),
                namespace: "ns".into(),
                pod: "p-t001-1".into(),
                occupied,
                until: None,
                agent: None,
            };
            count(ctx, &pod);
            assert_eq!(ctx.limiter.running("acme"), running, "{tenant} {occupied}");
        }
    }
}
