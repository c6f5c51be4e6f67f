//! A cache of objects of one kind, reduced to the fields that controllers read. A watch and the operator's own writes keep it current.

use std::collections::{HashMap, HashSet};

use futures::{Stream, StreamExt as _};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt as _};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Returns an object's resource version. These are decimal numbers that grow, by the contract of Kubernetes 1.35 (KEP-5504).
pub fn version<K: Resource>(object: &K) -> u64 {
    object.resource_version().and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// The namespace (empty for a cluster-scoped kind) and name of an object.
pub type ObjectKey = (String, String);

pub fn key<K: Resource>(object: &K) -> ObjectKey {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Entries of the objects of one kind.
pub struct MetadataCache<E> {
    contents: Mutex<Contents<E>>,
    listed: watch::Sender<bool>,
}

struct Contents<E> {
    /// Resource version and entry of each object.
    entries: HashMap<ObjectKey, (u64, E)>,
    /// Objects that were added since the current list began. The list does not show objects that were created after it.
    entered: Option<HashSet<ObjectKey>>,
}

impl<E> Default for MetadataCache<E> {
    fn default() -> Self {
        Self {
            contents: Mutex::new(Contents { entries: HashMap::new(), entered: None }),
            listed: watch::Sender::new(false),
        }
    }
}

impl<E: Clone + PartialEq> MetadataCache<E> {
    pub fn get(&self, namespace: &str, name: &str) -> Option<E> {
        let key = (namespace.to_owned(), name.to_owned());
        self.contents.lock().entries.get(&key).map(|(_, entry)| entry.clone())
    }

    /// Returns whether there is an entry that satisfies `filter`, without a copy of it.
    pub fn has(&self, namespace: &str, name: &str, filter: impl FnOnce(&E) -> bool) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        self.contents.lock().entries.get(&key).is_some_and(|(_, entry)| filter(entry))
    }

    /// Returns the keys of the entries that satisfy `filter`.
    pub fn keys(&self, filter: impl Fn(&ObjectKey, &E) -> bool) -> Vec<ObjectKey> {
        let contents = self.contents.lock();
        contents.entries.iter().filter(|(key, (_, entry))| filter(key, entry)).map(|(key, _)| key.clone()).collect()
    }

    /// Returns the entries that satisfy `filter`, with their keys and resource versions.
    pub fn entries(&self, filter: impl Fn(&ObjectKey, &E) -> bool) -> Vec<(ObjectKey, u64, E)> {
        let contents = self.contents.lock();
        let found = contents.entries.iter().filter(|(key, (_, entry))| filter(key, entry));
        found.map(|(key, (version, entry))| (key.clone(), *version, entry.clone())).collect()
    }

    /// Adds an object that the API server returned or a watch delivered, unless a newer version is cached. Returns whether the entry
    /// changed.
    pub fn put<K: Resource>(&self, object: &K, entry: E) -> bool {
        let (key, version) = (key(object), version(object));
        let mut contents = self.contents.lock();
        // The list in progress may have begun before this object was created: it must survive `remove_unlisted`.
        if let Some(entered) = &mut contents.entered {
            entered.insert(key.clone());
        }
        match contents.entries.get(&key) {
            // The operator's own write is cached before the watch delivers an older event.
            Some((newer, _)) if *newer > version => false,
            old => {
                let changed = old.is_none_or(|(_, e)| *e != entry);
                contents.entries.insert(key, (version, entry));
                changed
            }
        }
    }

    /// Removes a deleted object, unless a newer object with the same name is cached. Returns whether an entry was removed.
    pub fn remove<K: Resource>(&self, object: &K) -> bool {
        let key = key(object);
        let mut contents = self.contents.lock();
        let is_cached = contents.entries.get(&key).is_some_and(|(v, _)| *v <= version(object));
        if is_cached {
            contents.entries.remove(&key);
        }
        is_cached
    }

    /// Returns a receiver that becomes true after the first list. Before that, an object that is not cached may exist.
    pub fn listed(&self) -> watch::Receiver<bool> {
        self.listed.subscribe()
    }

    /// Keeps the cache current from a watch, and calls `on_change` for each key whose entry was added, changed or removed. An object for
    /// which `entry` returns none is not cached.
    pub async fn follow<K: Resource>(
        &self,
        events: impl Stream<Item = Event<K>>,
        entry: impl Fn(&K) -> Option<E>,
        mut on_change: impl FnMut(&ObjectKey),
    ) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Event::Init => self.contents.lock().entered = Some(HashSet::new()),
                Event::Apply(object) | Event::InitApply(object) => {
                    let changed = match entry(&object) {
                        Some(entry) => self.put(&object, entry),
                        // A changed label can make an object one that this cache does not contain.
                        None => self.remove(&object),
                    };
                    if changed {
                        on_change(&key(&object));
                    }
                }
                Event::Delete(object) => {
                    if self.remove(&object) {
                        on_change(&key(&object));
                    }
                }
                Event::InitDone => {
                    self.remove_unlisted().iter().for_each(&mut on_change);
                    self.listed.send_replace(true);
                }
            }
        }
    }

    /// Removes the entries that the list that ends now did not show: their objects were deleted while the watch was down.
    fn remove_unlisted(&self) -> Vec<ObjectKey> {
        let mut contents = self.contents.lock();
        let entered = contents.entered.take().unwrap_or_default();
        contents.entries.extract_if(|key, _| !entered.contains(key)).map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn map(name: &str, version: u32) -> ConfigMap {
        serde_json::from_value(
            json!({"metadata": {"name": name, "namespace": "ns", "resourceVersion": version.to_string()}}),
        )
        .unwrap()
    }

    async fn follow(cache: &MetadataCache<u64>, events: Vec<Event<ConfigMap>>) -> Vec<String> {
        let mut changed = Vec::new();
        cache.follow(stream::iter(events), |m| Some(version(m)), |(_, name)| changed.push(name.clone())).await;
        changed.sort();
        changed
    }

    #[tokio::test]
    async fn ignores_older_versions_and_drops_unlisted_objects() {
        let cache = MetadataCache::default();
        cache.put(&map("a", 7), 7);
        cache.put(&map("b", 2), 2);
        assert_eq!(follow(&cache, vec![Event::Apply(map("a", 5)), Event::Delete(map("a", 6))]).await, [""; 0]);
        let list = vec![Event::Init, Event::InitApply(map("a", 7)), Event::InitDone];
        assert_eq!(follow(&cache, list).await, ["b"]);
        assert_eq!((cache.get("ns", "a"), cache.get("ns", "b")), (Some(7), None));
    }

    #[tokio::test]
    async fn keeps_objects_created_during_a_list() {
        let cache = MetadataCache::default();
        follow(&cache, vec![Event::Init]).await;
        cache.put(&map("created", 9), 9);
        follow(&cache, vec![Event::<ConfigMap>::InitDone]).await;
        assert_eq!(cache.get("ns", "created"), Some(9));
    }
}
