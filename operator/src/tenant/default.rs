//! The namespaces of the tenant `default` that no Tenant looks after: nothing bounds them, but people read the record there as anywhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use enact_domain::names::DEFAULT_TENANT;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::apply::{delete, put};
use super::context::{ACTIVE_RESYNC, Context};
use super::decide::{Step, contents};
use super::objects::Wanted;
use crate::caches::NamespaceEntry;
use crate::context::RESYNC;
use crate::error::Error;

/// Keeps what such namespaces hold, until the process ends.
pub async fn run(ctx: Arc<Context>, shutdown: CancellationToken) {
    let always = async {
        ctx.synced().await;
        loop {
            let wait = match settle(&ctx).await {
                Ok(()) => RESYNC,
                Err(error) => {
                    tracing::warn!(%error, "a namespace of the default tenant is not set up; it is tried again");
                    ACTIVE_RESYNC
                }
            };
            // News, or time for a look without.
            let _ = timeout(wait, ctx.cluster.changed.notified()).await;
        }
    };
    shutdown.run_until_cancelled(always).await;
}

/// Sets up those that are the default tenant's, and clears those that no longer are. What fails in one does not keep the others.
///
/// # Errors
/// The first failure.
pub async fn settle(ctx: &Context) -> Result<(), Error> {
    let wanted = Wanted::of_default(&ctx.config);
    let ours: BTreeSet<&String> =
        ctx.config.default_tenant_namespaces.iter().filter(|name| is_unattended(ctx, name)).collect();
    let mut done = Ok(());
    for namespace in &ours {
        let live = wanted.objects.keys().filter_map(|kind| Some((*kind, ctx.cluster.object(*kind, namespace)?)));
        for step in contents(DEFAULT_TENANT, namespace, &live.collect(), &wanted) {
            let taken = match step {
                Step::Apply(kind, content) => put(ctx, DEFAULT_TENANT, namespace, kind, &content).await,
                Step::Delete(kind, uid) => delete(ctx, namespace, kind, &uid).await,
                Step::Create(_) | Step::Label(_) | Step::Unlabel => continue,
            };
            done = done.and(taken);
        }
    }
    for kind in wanted.objects.keys().rev() {
        for (namespace, object) in ctx.cluster.objects_of(DEFAULT_TENANT, *kind) {
            if !ours.contains(&namespace) && !is_attended(ctx, &namespace) {
                done = done.and(delete(ctx, &namespace, *kind, &object.uid).await);
            }
        }
    }
    done
}

/// Whether a namespace of the default tenant stands, and no Tenant sets it up.
fn is_unattended(ctx: &Context, namespace: &str) -> bool {
    let stands = ctx.caches.namespaces.get("", namespace).is_some_and(|n| !n.terminating);
    stands && !is_attended(ctx, namespace)
}

/// Whether a Tenant sets the namespace up, or holds it: one may be called `default` and name these namespaces, and no other.
fn is_attended(ctx: &Context, namespace: &str) -> bool {
    let label = ctx.caches.namespaces.get("", namespace);
    let holder = label.as_ref().and_then(NamespaceEntry::tenant).and_then(|name| ctx.tenant(name));
    let named = || ctx.tenant(DEFAULT_TENANT).is_some_and(|t| t.spec.namespaces.iter().any(|n| n == namespace));
    holder.is_some() || named()
}
