//! The namespaces of the tenant `default` that no Tenant lists: they have no limits, but people read records there as in other namespaces.

use std::collections::BTreeSet;
use std::sync::Arc;

use enact_domain::names::DEFAULT_TENANT;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::apply::{delete, put};
use super::context::{ACTIVE_RESYNC, Context};
use super::decide::{Step, object_steps};
use super::objects::Wanted;
use crate::caches::NamespaceEntry;
use crate::context::RESYNC;
use crate::error::Error;

/// Keeps the objects in these namespaces current until `shutdown`.
pub async fn run(ctx: Arc<Context>, shutdown: CancellationToken) {
    let loop_forever = async {
        ctx.synced().await;
        loop {
            let wait = match reconcile(&ctx).await {
                Ok(()) => RESYNC,
                Err(error) => {
                    tracing::warn!(%error, "cannot set up a namespace of the default tenant; retrying");
                    ACTIVE_RESYNC
                }
            };
            // Whichever comes first: a change, or the resync.
            let _ = timeout(wait, ctx.cluster.changed.notified()).await;
        }
    };
    shutdown.run_until_cancelled(loop_forever).await;
}

/// Sets up the default tenant's namespaces, and removes the objects from former ones. A failure in one namespace does not stop the others.
///
/// # Errors
/// The first failure.
pub async fn reconcile(ctx: &Context) -> Result<(), Error> {
    let wanted = Wanted::of_default(&ctx.config);
    let own: BTreeSet<&String> =
        ctx.config.default_tenant_namespaces.iter().filter(|name| is_unmanaged(ctx, name)).collect();
    let mut result = Ok(());
    for namespace in &own {
        let live = wanted.objects.keys().filter_map(|kind| Some((*kind, ctx.cluster.object(*kind, namespace)?)));
        for step in object_steps(DEFAULT_TENANT, namespace, &live.collect(), &wanted) {
            let applied = match step {
                Step::Apply(kind, content) => put(ctx, DEFAULT_TENANT, namespace, kind, &content).await,
                Step::Delete(kind, uid) => delete(ctx, namespace, kind, &uid).await,
                // `object_steps` returns only the two steps above: the operator neither creates nor labels these namespaces.
                Step::Create(_) | Step::Label(_) | Step::Unlabel => continue,
            };
            result = result.and(applied);
        }
    }
    // Namespaces that the configuration no longer lists. A Tenant that manages such a namespace takes over its objects.
    for kind in wanted.objects.keys().rev() {
        for (namespace, object) in ctx.cluster.objects_of(DEFAULT_TENANT, *kind) {
            if !own.contains(&namespace) && !is_managed(ctx, &namespace) {
                result = result.and(delete(ctx, &namespace, *kind, &object.uid).await);
            }
        }
    }
    result
}

/// Returns whether a namespace of the default tenant exists, and no Tenant manages it.
fn is_unmanaged(ctx: &Context, namespace: &str) -> bool {
    let exists = ctx.caches.namespaces.get("", namespace).is_some_and(|n| !n.terminating);
    exists && !is_managed(ctx, namespace)
}

/// Returns whether a Tenant manages the namespace. Only a Tenant named `default` may list these namespaces.
fn is_managed(ctx: &Context, namespace: &str) -> bool {
    let label = ctx.caches.namespaces.get("", namespace);
    let holder = label.as_ref().and_then(NamespaceEntry::tenant).and_then(|name| ctx.tenant(name));
    let named = || ctx.tenant(DEFAULT_TENANT).is_some_and(|t| t.spec.namespaces.iter().any(|n| n == namespace));
    holder.is_some() || named()
}
