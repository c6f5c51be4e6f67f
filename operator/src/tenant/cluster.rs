//! The cluster view: the operator's objects in tenants' namespaces, kept current by watches.

use std::collections::HashMap;

use enact_crds::convert;
use enact_domain::names::LABEL_TENANT;
use enact_domain::time::Millis;
use futures::Stream;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use kube::runtime::watcher::Event;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::objects::{LABEL_MANAGED_BY, MANAGER, ObjectKind};
use crate::metadata_cache::{MetadataCache, ObjectKey};

/// One of the operator's objects in a namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectEntry {
    pub uid: String,
    /// The tenant in its label.
    pub tenant: Option<String>,
    /// The fields that the operator sets.
    pub content: Value,
    /// Whether it is in effect. A ResourceQuota is in effect when the cluster has computed its usage; until then it refuses every object
    /// that it limits.
    pub in_force: bool,
    /// Creation time of a ResourceQuota whose usage the cluster computed without some of the kinds that it limits.
    pub partially_counted_since: Option<Millis>,
}

/// The operator's objects in tenants' namespaces.
#[derive(Default)]
pub struct ClusterView {
    objects: [MetadataCache<ObjectEntry>; ObjectKind::ALL.len()],
    /// The network policies of others that allow connections.
    foreign_policies: MetadataCache<()>,
    /// Time of the last write of each Tenant's status, by UID.
    written: Mutex<HashMap<String, Millis>>,
    /// Signals a change of a namespace or object to the controller of the default tenant.
    pub changed: Notify,
}

impl ClusterView {
    /// Returns the object of `kind` in `namespace`.
    pub fn object(&self, kind: ObjectKind, namespace: &str) -> Option<ObjectEntry> {
        self.objects[kind as usize].get(namespace, kind.object_name())
    }

    /// Adds an object that the API server returned.
    pub fn put(&self, kind: ObjectKind, object: &DynamicObject) {
        if let Some(entry) = entry(kind, object) {
            self.objects[kind as usize].put(object, entry);
        }
    }

    /// Returns the objects of `kind` whose label names `tenant`, with their namespaces.
    pub fn objects_of(&self, tenant: &str, kind: ObjectKind) -> Vec<(String, ObjectEntry)> {
        let keys = self.objects[kind as usize].keys(|_, entry| entry.tenant.as_deref() == Some(tenant));
        keys.into_iter()
            .filter_map(|(namespace, _)| Some((namespace.clone(), self.object(kind, &namespace)?)))
            .collect()
    }

    /// Keeps the objects of one kind current from a watch, and calls `on_change` for each that changed.
    pub async fn follow(
        &self,
        kind: ObjectKind,
        events: impl Stream<Item = Event<DynamicObject>>,
        on_change: impl FnMut(&ObjectKey),
    ) {
        self.objects[kind as usize].follow(events, |object| entry(kind, object), on_change).await;
    }

    /// Returns the names of the network policies of others that allow connections in `namespace`.
    pub fn foreign_policies(&self, namespace: &str) -> Vec<String> {
        let found = self.foreign_policies.keys(|key, ()| key.0 == namespace);
        let mut names: Vec<String> = found.into_iter().map(|(_, name)| name).collect();
        names.sort_unstable();
        names
    }

    /// Keeps the network policies of others current from a watch, and calls `on_change` for each that allows connections from now on, or no
    /// longer.
    pub async fn follow_policies(
        &self,
        events: impl Stream<Item = Event<NetworkPolicy>>,
        on_change: impl FnMut(&ObjectKey),
    ) {
        self.foreign_policies.follow(events, |policy| allows(policy).then_some(()), on_change).await;
    }

    /// Returns the time of the last write of a Tenant's status.
    pub fn written(&self, uid: &str) -> Option<Millis> {
        self.written.lock().get(uid).copied()
    }

    /// Stores the time of the last write of a Tenant's status; none removes the Tenant.
    pub fn set_written(&self, uid: &str, at: Option<Millis>) {
        let mut written = self.written.lock();
        match at {
            Some(at) => written.insert(uid.to_owned(), at),
            None => written.remove(uid),
        };
    }

    /// Returns receivers that become true when the objects of each kind were listed once.
    pub fn listed(&self) -> impl Iterator<Item = watch::Receiver<bool>> {
        self.objects.iter().map(MetadataCache::listed).chain([self.foreign_policies.listed()])
    }
}

/// Returns whether a network policy allows connections. One without rules only restricts, as it adds nothing to others.
fn allows(policy: &NetworkPolicy) -> bool {
    policy.spec.as_ref().is_some_and(|spec| {
        let ingress = spec.ingress.as_ref().is_some_and(|rules| !rules.is_empty());
        ingress || spec.egress.as_ref().is_some_and(|rules| !rules.is_empty())
    })
}

/// Reads the fields from an object; none when it is not the one that the operator manages.
fn entry(kind: ObjectKind, object: &DynamicObject) -> Option<ObjectEntry> {
    let ours = object.labels().get(LABEL_MANAGED_BY).is_some_and(|m| m == MANAGER);
    (ours && object.name_any() == kind.object_name()).then(|| ObjectEntry {
        uid: object.uid().unwrap_or_default(),
        tenant: object.labels().get(LABEL_TENANT).cloned(),
        content: kind.content(object),
        in_force: kind != ObjectKind::ResourceQuota || usage(object) == QuotaUsage::Complete,
        partially_counted_since: (kind == ObjectKind::ResourceQuota && usage(object) == QuotaUsage::Partial)
            .then(|| object.creation_timestamp().map(|at| convert::millis(&at)))
            .flatten(),
    })
}

/// The part of a quota's usage that the cluster has computed.
#[derive(PartialEq)]
enum QuotaUsage {
    /// Nothing for its present limits.
    Missing,
    /// Some kinds only: the quota refuses every object of the others.
    Partial,
    Complete,
}

/// Returns how much of a quota's usage is computed. The cluster's quota controller learns of new kinds of custom resources up to half a
/// minute after they are defined.
fn usage(quota: &DynamicObject) -> QuotaUsage {
    let at = |pointer| quota.data.pointer(pointer).and_then(Value::as_object);
    let (wanted, hard, used) = (at("/spec/hard"), at("/status/hard"), at("/status/used"));
    let has = |what: &String| used.is_some_and(|used| used.contains_key(what));
    match wanted {
        // The quota controller copies spec.hard to status.hard when it computes the usage: until then, `used` belongs to older limits.
        _ if hard != wanted => QuotaUsage::Missing,
        Some(wanted) if !wanted.keys().all(has) => QuotaUsage::Partial,
        _ => QuotaUsage::Complete,
    }
}
