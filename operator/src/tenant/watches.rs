//! The watches of namespaces, of the operator's objects in them, and of the network policies of others.

use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, watcher};
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::objects::{LABEL_MANAGED_BY, MANAGER, ObjectKind};
use crate::caches::NamespaceEntry;
use crate::metadata_cache::ObjectKey;
use crate::references::Target;
use crate::watch::restarting;

/// Watches the namespaces, and requeues every object in one that changed.
pub async fn follow_namespaces(ctx: Arc<Context>, shutdown: CancellationToken) {
    let api = Api::<PartialObjectMeta<Namespace>>::all(ctx.client.clone());
    let stream = watcher(api, watcher::Config::default().page_size(500));
    let events = restarting(stream, "Namespace", ctx.common.clone()).take_until(shutdown.cancelled_owned());
    let on_change = |(_, name): &ObjectKey| {
        ctx.references.changed(&Target::namespace(name));
        ctx.cluster.changed.notify_one();
    };
    ctx.caches.namespaces.follow(events, |n| Some(NamespaceEntry::of(n)), on_change).await;
}

/// Watches the operator's objects of one kind, and requeues the Tenant of one that changed.
pub async fn follow_objects(kind: ObjectKind, ctx: Arc<Context>, shutdown: CancellationToken) {
    let api = Api::<DynamicObject>::all_with(ctx.client.clone(), &kind.resource());
    let config = watcher::Config::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGER}")).page_size(500);
    let events = restarting(watcher(api, config), kind.as_str(), ctx.common.clone());
    let on_change = |(namespace, _): &ObjectKey| {
        ctx.references.tenants.requeue_referrers(&Target::namespace(namespace));
        ctx.cluster.changed.notify_one();
    };
    ctx.cluster.follow(kind, events.take_until(shutdown.cancelled_owned()), on_change).await;
}

/// Watches the network policies of others, and requeues the Tenant of one that changed.
pub async fn follow_policies(ctx: Arc<Context>, shutdown: CancellationToken) {
    let api = Api::<NetworkPolicy>::all(ctx.client.clone());
    // Whatever their labels: anybody can set the operator's.
    let others = format!("metadata.name!={}", ObjectKind::NetworkPolicy.object_name());
    let config = watcher::Config::default().fields(&others).page_size(500);
    let events = restarting(watcher(api, config), "NetworkPolicy", ctx.common.clone());
    let on_change =
        |(namespace, _): &ObjectKey| ctx.references.tenants.requeue_referrers(&Target::namespace(namespace));
    ctx.cluster.follow_policies(events.take_until(shutdown.cancelled_owned()), on_change).await;
}
