//! Pushes: a repository is polled as soon as its Git host reports a push.

use std::sync::Arc;

use enact_crds::document::Source;
use enact_domain::push::Push;
use enact_store::PushListener;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use super::context::Context;
use crate::references::Referrers;

/// Requeues the documents that pushes concern, until `shutdown`.
pub async fn follow(ctx: Arc<Context>, mut pushes: PushListener, shutdown: CancellationToken) {
    let listen = async {
        // Before the caches are filled, nothing tells which documents a push concerns. After a restart all Git sources are polled anyway.
        ctx.synced().await;
        loop {
            handle(&ctx, &pushes.next().await);
        }
    };
    shutdown.run_until_cancelled(listen).await;
}

/// Requeues every document that a push concerns.
pub(super) fn handle(ctx: &Context, push: &Push) {
    let (caches, references) = (&ctx.caches, &ctx.references);
    let documents = requeue(ctx, push, &caches.constitutions, &references.constitutions, |c| Some(&c.spec.source))
        + requeue(ctx, push, &caches.specifications, &references.specifications, |s| s.spec.source.as_ref())
        + requeue(ctx, push, &caches.plans, &references.plans, |p| p.spec.source.as_ref());
    tracing::debug!(namespace = push.namespace, documents, "received a push");
}

/// Requeues the objects of one kind whose Git source a push concerns, and returns their number.
fn requeue<K>(
    ctx: &Context,
    push: &Push,
    objects: &Store<K>,
    referrers: &Referrers<K>,
    source: impl Fn(&K) -> Option<&Source>,
) -> usize
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let is_concerned = |object: &Arc<K>| {
        object.meta().namespace.as_ref() == Some(&push.namespace)
            && source(object).and_then(|s| s.git.as_ref()).is_some_and(|git| push.affects(&git.url, &git.revision))
    };
    let concerned: Vec<Arc<K>> = objects.state().into_iter().filter(is_concerned).collect();
    for object in &concerned {
        // Counted before the requeue: the reconcile that follows must find the push.
        ctx.jobs.push(&object.uid().unwrap_or_default());
        referrers.requeue(ObjectRef::from_obj(&**object));
    }
    concerned.len()
}
