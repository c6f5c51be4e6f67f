//! Deletions of documents and plans, which controllers get no event for.

use std::sync::Arc;

use enact_crds::{Constitution, Plan, Specification};
use enact_domain::record::{Kind, Subject};
use futures::channel::mpsc;
use futures::{Stream, StreamExt as _};
use kube::Resource;
use kube::runtime::watcher::Event;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use crate::references::Target;

/// A deleted object.
#[derive(Debug)]
pub struct Deleted {
    target: Target,
    uid: String,
}

impl Deleted {
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self { target: Target::of(object), uid: object.meta().uid.clone().unwrap_or_default() }
    }
}

/// Returns an event handler that sends deleted objects to `queue`.
pub fn report_deletions<K>(queue: mpsc::UnboundedSender<Deleted>) -> impl FnMut(&Event<K>) + Send + 'static
where
    K: Resource<DynamicType = ()>,
{
    move |event| {
        if let Event::Delete(object) = event {
            // The receiver is dropped only when the process ends.
            let _ = queue.unbounded_send(Deleted::of(object));
        }
    }
}

/// Handles deleted objects until `shutdown`.
pub async fn follow(deleted: impl Stream<Item = Deleted> + Send, ctx: Arc<Context>, shutdown: CancellationToken) {
    let mut deleted = Box::pin(deleted.take_until(shutdown.cancelled_owned()));
    while let Some(object) = deleted.next().await {
        handle(&ctx, &object);
    }
}

/// Requeues everything that depended on a deleted object, and removes it from the search index.
pub fn handle(ctx: &Context, deleted: &Deleted) {
    let Deleted { target, .. } = deleted;
    ctx.references.changed(target);
    unindex(ctx, deleted);
    if let Some(key) = target.key::<Specification>() {
        for other in ctx.dependents.overlaps.remove(&key) {
            ctx.references.specifications.requeue_key(&other);
        }
        for constitution in ctx.dependents.specification_constitutions.remove(&key) {
            ctx.references.constitutions.requeue_key(&constitution);
        }
    }
    if let Some(key) = target.key::<Plan>() {
        for constitution in ctx.dependents.plan_constitutions.remove(&key) {
            ctx.references.constitutions.requeue_key(&constitution);
        }
    }
}

fn unindex(ctx: &Context, Deleted { target, uid }: &Deleted) {
    let specification = target.key::<Specification>().map(|key| (Kind::Specification, key));
    let constitution = || target.key::<Constitution>().map(|key| (Kind::Constitution, key));
    let plan = || target.key::<Plan>().map(|key| (Kind::Plan, key));
    let Some((kind, (namespace, name))) = specification.or_else(constitution).or_else(plan) else { return };
    if let Some(member) = ctx.tenant_of(&namespace) {
        let subject = Subject { kind, namespace, name, uid: uid.clone() };
        // No items remove the document from the index. The empty digest differs from that of every content.
        ctx.search.offer(&member.tenant, subject, "", Vec::new);
    }
}
