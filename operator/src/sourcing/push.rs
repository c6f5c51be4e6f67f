//! Pushes: what is read from a repository is looked at as soon as its forge tells that it moved.

use std::sync::Arc;

use enact_crds::document::Source;
use enact_domain::push::Push;
use enact_store::PushListener;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::references::Referrers;

/// Has documents looked at as pushes are heard of.
pub async fn follow(ctx: Arc<Context>, mut pushes: PushListener, shutdown: CancellationToken) {
    let hear = async {
        // Before, nobody could say whom one concerns; whatever is read from Git is looked at after a start anyhow.
        ctx.synced().await;
        loop {
            heard(&ctx, &pushes.next().await);
        }
    };
    shutdown.run_until_cancelled(hear).await;
}

/// Has every document looked at that a push concerns.
pub(super) fn heard(ctx: &Context, push: &Push) {
    let (caches, references) = (&ctx.caches, &ctx.references);
    let told = tell(ctx, push, &caches.constitutions, &references.constitutions, |c| Some(&c.spec.source))
        + tell(ctx, push, &caches.specifications, &references.specifications, |s| s.spec.source.as_ref())
        + tell(ctx, push, &caches.plans, &references.plans, |p| p.spec.source.as_ref());
    tracing::debug!(namespace = push.namespace, documents = told, "a push");
}

fn tell<K>(
    ctx: &Context,
    push: &Push,
    objects: &Store<K>,
    referrers: &Referrers<K>,
    source: impl Fn(&K) -> Option<&Source>,
) -> usize
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let concerned = |object: &Arc<K>| {
        object.meta().namespace.as_ref() == Some(&push.namespace)
            && source(object).and_then(|s| s.git.as_ref()).is_some_and(|git| push.affects(&git.url, &git.revision))
    };
    let concerned: Vec<Arc<K>> = objects.state().into_iter().filter(concerned).collect();
    for object in &concerned {
        ctx.errands.push(&object.uid().unwrap_or_default());
        referrers.look_again(ObjectRef::from_obj(&**object));
    }
    concerned.len()
}
