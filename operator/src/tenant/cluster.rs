//! What the cluster holds of tenants' namespaces, and of our objects in them, kept by watches.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use enact_crds::convert;
use enact_domain::names::LABEL_TENANT;
use enact_domain::time::Millis;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt as _};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::objects::{Kind, LABEL_MANAGED_BY, MANAGER, pod_security_labels};
use crate::context::Context;
use crate::follow::steady;
use crate::references::Target;
use crate::shelf::Shelf;
use futures::StreamExt as _;

/// A namespace as the tenant controller reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceEntry {
    /// Its UID.
    pub uid: String,
    /// Those of its labels that are ours to set.
    pub labels: BTreeMap<String, String>,
    /// Whether it is being deleted, and takes no new objects.
    pub terminating: bool,
}

impl NamespaceEntry {
    /// What counts of a namespace.
    pub fn of<K: Resource>(namespace: &K) -> Self {
        let ours: Vec<String> = pod_security_labels().chain([LABEL_TENANT.to_owned()]).collect();
        let labels = namespace.labels().iter().filter(|(key, _)| ours.contains(key));
        Self {
            uid: namespace.uid().unwrap_or_default(),
            labels: labels.map(|(k, v)| (k.clone(), v.clone())).collect(),
            terminating: namespace.meta().deletion_timestamp.is_some(),
        }
    }

    /// The tenant that it is labelled with.
    pub fn tenant(&self) -> Option<&str> {
        self.labels.get(LABEL_TENANT).map(String::as_str)
    }
}

/// One of our objects in a namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectEntry {
    /// Its UID.
    pub uid: String,
    /// The tenant that it is labelled with.
    pub tenant: Option<String>,
    /// What it says.
    pub content: Value,
    /// Whether it is in force: a ResourceQuota is when its present bounds were counted, and until then refuses whatever it bounds.
    pub in_force: bool,
    /// When a ResourceQuota was made that the cluster counted without some of the kinds that it bounds.
    pub half_counted: Option<Millis>,
}

/// Namespaces, and our objects in them.
#[derive(Default)]
pub struct Cluster {
    /// All namespaces.
    pub namespaces: Shelf<NamespaceEntry>,
    objects: [Shelf<ObjectEntry>; Kind::ALL.len()],
    /// When a Tenant's status was last written, by UID.
    written: Mutex<HashMap<String, Millis>>,
    news: Notify,
}

impl Cluster {
    /// Our object of `kind` in `namespace`.
    pub fn object(&self, kind: Kind, namespace: &str) -> Option<ObjectEntry> {
        self.objects[kind as usize].get(namespace, kind.object_name())
    }

    /// Enters an object as the API server returned it.
    pub fn put(&self, kind: Kind, object: &DynamicObject) {
        if let Some(entry) = entry(kind, object) {
            self.objects[kind as usize].put(object, entry);
        }
    }

    /// Our objects of `kind` that are labelled with `tenant`, with their namespaces.
    pub fn objects_of(&self, tenant: &str, kind: Kind) -> Vec<(String, ObjectEntry)> {
        let places = self.objects[kind as usize].places(|_, entry| entry.tenant.as_deref() == Some(tenant));
        places
            .into_iter()
            .filter_map(|(namespace, _)| Some((namespace.clone(), self.object(kind, &namespace)?)))
            .collect()
    }

    /// Returns when a namespace or one of our objects has changed since the last call.
    pub async fn changed(&self) {
        self.news.notified().await;
    }

    /// Names of the namespaces that are labelled with `tenant`.
    pub fn labelled(&self, tenant: &str) -> Vec<String> {
        let places = self.namespaces.places(|_, entry| entry.tenant() == Some(tenant));
        places.into_iter().map(|(_, name)| name).collect()
    }

    /// When a Tenant's status was last written.
    pub fn written(&self, uid: &str) -> Option<Millis> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).get(uid).copied()
    }

    /// Notes that a Tenant's status was written; none forgets the Tenant.
    pub fn wrote(&self, uid: &str, at: Option<Millis>) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match at {
            Some(at) => written.insert(uid.to_owned(), at),
            None => written.remove(uid),
        };
    }

    /// Returns when everything was listed once.
    pub async fn synced(&self) {
        self.namespaces.synced().await;
        for shelf in &self.objects {
            shelf.synced().await;
        }
    }
}

/// An object of ours; none when it is somebody else's, or not the one that we keep.
fn entry(kind: Kind, object: &DynamicObject) -> Option<ObjectEntry> {
    let ours = object.labels().get(LABEL_MANAGED_BY).is_some_and(|m| m == MANAGER);
    (ours && object.name_any() == kind.object_name()).then(|| ObjectEntry {
        uid: object.uid().unwrap_or_default(),
        tenant: object.labels().get(LABEL_TENANT).cloned(),
        content: kind.content(object),
        in_force: kind != Kind::ResourceQuota || counted(object) == Counted::Whole,
        half_counted: (kind == Kind::ResourceQuota && counted(object) == Counted::Half)
            .then(|| object.creation_timestamp().map(|at| convert::millis(&at)))
            .flatten(),
    })
}

/// How far the cluster has counted what a quota bounds.
#[derive(PartialEq)]
enum Counted {
    /// Not as it is written now.
    Not,
    /// Without some kinds: the quota refuses every object of them.
    Half,
    /// All of it.
    Whole,
}

/// How far a quota is counted. Kinds of custom resources are known to the cluster's quota controller up to half a minute after they are
/// defined.
fn counted(quota: &DynamicObject) -> Counted {
    let at = |pointer| quota.data.pointer(pointer).and_then(Value::as_object);
    let (wanted, hard, used) = (at("/spec/hard"), at("/status/hard"), at("/status/used"));
    let has = |what: &String| used.is_some_and(|used| used.contains_key(what));
    match wanted {
        _ if hard != wanted => Counted::Not,
        Some(wanted) if !wanted.keys().all(has) => Counted::Half,
        _ => Counted::Whole,
    }
}

/// Keeps the namespaces current, and has everything looked at again in one that changed.
pub async fn follow_namespaces(ctx: Arc<Context>, shutdown: CancellationToken) {
    let api = Api::<PartialObjectMeta<Namespace>>::all(ctx.client.clone());
    let stream = watcher::watcher(api, watcher::Config::default().page_size(500));
    let events = steady(stream, "Namespace", ctx.clone()).take_until(shutdown.cancelled_owned());
    let news = |place: &(String, String)| {
        ctx.references.touched(&Target::namespace(&place.1));
        ctx.cluster.news.notify_one();
    };
    ctx.cluster.namespaces.follow(events, |n| Some(NamespaceEntry::of(n)), news).await;
}

/// Keeps our objects of one kind current, and has the Tenant of one that changed looked at again.
pub async fn follow_objects(kind: Kind, ctx: Arc<Context>, shutdown: CancellationToken) {
    let api = Api::<DynamicObject>::all_with(ctx.client.clone(), &kind.resource());
    let ours = watcher::Config::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGER}")).page_size(500);
    let stream = watcher::watcher(api, ours);
    let events = steady(stream, kind.as_str(), ctx.clone()).take_until(shutdown.cancelled_owned());
    let news = |place: &(String, String)| {
        ctx.references.tenants.wake(&Target::namespace(&place.0));
        ctx.cluster.news.notify_one();
    };
    ctx.cluster.objects[kind as usize].follow(events, |o| entry(kind, o), news).await;
}

#[cfg(test)]
impl Cluster {
    /// As if everything had been listed, and nothing were there.
    pub async fn follow_nothing(&self) {
        use futures::stream;
        use kube::runtime::watcher::Event;
        let list = || stream::iter([Event::<PartialObjectMeta<Namespace>>::Init, Event::InitDone]);
        self.namespaces.follow(list(), |n| Some(NamespaceEntry::of(n)), |_| {}).await;
        for kind in Kind::ALL {
            let list = stream::iter([Event::<DynamicObject>::Init, Event::InitDone]);
            self.objects[kind as usize].follow(list, |o| entry(kind, o), |_| {}).await;
        }
    }

    /// As if a watch told of an object.
    pub async fn tell(&self, kind: Kind, object: DynamicObject) {
        let event = futures::stream::iter([kube::runtime::watcher::Event::Apply(object)]);
        self.objects[kind as usize].follow(event, |o| entry(kind, o), |_| {}).await;
    }
}
