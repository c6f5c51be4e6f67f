//! A cache of objects, cut down to what the controllers read, that is kept by a watch and by our own writes alike.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::{Stream, StreamExt as _};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt as _};
use tokio::sync::watch;

/// Resource versions are decimal numbers that grow, by the contract of Kubernetes 1.35 (KEP-5504).
pub fn version<K: Resource>(object: &K) -> u64 {
    object.resource_version().and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// An object's place in a [`Shelf`]: its namespace (empty for a kind without one) and name.
pub type Place = (String, String);

/// Entries of one kind by [`Place`].
pub struct Shelf<E> {
    known: Mutex<Known<E>>,
    listed: watch::Sender<bool>,
}

struct Known<E> {
    entries: HashMap<Place, (u64, E)>,
    /// What was entered since the present list began: a list does not show what was made after it.
    fresh: Option<HashSet<Place>>,
}

impl<E> Default for Shelf<E> {
    fn default() -> Self {
        Self { known: Mutex::new(Known { entries: HashMap::new(), fresh: None }), listed: watch::Sender::new(false) }
    }
}

impl<E: Clone + PartialEq> Shelf<E> {
    /// The entry of an object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<E> {
        let place = (namespace.to_owned(), name.to_owned());
        self.lock().entries.get(&place).map(|(_, entry)| entry.clone())
    }

    /// The places whose entries fulfil `is`.
    pub fn places(&self, is: impl Fn(&Place, &E) -> bool) -> Vec<Place> {
        self.lock().entries.iter().filter(|(p, (_, e))| is(p, e)).map(|(p, _)| p.clone()).collect()
    }

    /// Enters an object as the API server returned it or a watch told it, unless something newer is known; true when that is news.
    pub fn put<K: Resource>(&self, object: &K, entry: E) -> bool {
        let (place, version) = (place(object), version(object));
        let mut known = self.lock();
        if let Some(fresh) = &mut known.fresh {
            fresh.insert(place.clone());
        }
        match known.entries.get(&place) {
            Some((newer, _)) if *newer > version => false,
            old => {
                let news = old.is_none_or(|(_, e)| *e != entry);
                known.entries.insert(place, (version, entry));
                news
            }
        }
    }

    /// Forgets an object that was deleted, unless a namesake that is newer is known; true when it was known.
    pub fn remove<K: Resource>(&self, object: &K) -> bool {
        let place = place(object);
        let mut known = self.lock();
        let gone = known.entries.get(&place).is_some_and(|(v, _)| *v <= version(object));
        if gone {
            known.entries.remove(&place);
        }
        gone
    }

    /// Returns when the objects were listed once: before that, one that is missing here may well exist.
    pub async fn synced(&self) {
        // The sender lives as long as the shelf.
        let _ = self.listed.subscribe().wait_for(|done| *done).await;
    }

    /// Keeps the shelf current from a watch, and tells `news` of each place whose entry came, changed or went. Objects of which `entry`
    /// makes none are left out.
    pub async fn follow<K: Resource>(
        &self,
        events: impl Stream<Item = Event<K>>,
        entry: impl Fn(&K) -> Option<E>,
        mut news: impl FnMut(&Place),
    ) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Event::Init => self.lock().fresh = Some(HashSet::new()),
                Event::Apply(object) | Event::InitApply(object) => {
                    let changed = match entry(&object) {
                        Some(entry) => self.put(&object, entry),
                        None => self.remove(&object),
                    };
                    if changed {
                        news(&place(&object));
                    }
                }
                Event::Delete(object) => {
                    if self.remove(&object) {
                        news(&place(&object));
                    }
                }
                Event::InitDone => {
                    for place in self.forget_unlisted() {
                        news(&place);
                    }
                    self.listed.send_replace(true);
                }
            }
        }
    }

    /// What is known and was not in the list that ends now was deleted while nothing watched.
    fn forget_unlisted(&self) -> Vec<Place> {
        let mut known = self.lock();
        let fresh = known.fresh.take().unwrap_or_default();
        let gone: Vec<Place> = known.entries.keys().filter(|p| !fresh.contains(*p)).cloned().collect();
        for place in &gone {
            known.entries.remove(place);
        }
        gone
    }

    fn lock(&self) -> MutexGuard<'_, Known<E>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place<K: Resource>(object: &K) -> Place {
    (object.namespace().unwrap_or_default(), object.name_any())
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

    async fn follow(shelf: &Shelf<u64>, events: Vec<Event<ConfigMap>>) -> Vec<String> {
        let mut news = Vec::new();
        shelf.follow(stream::iter(events), |m| Some(version(m)), |(_, name)| news.push(name.clone())).await;
        news.sort();
        news
    }

    #[tokio::test]
    async fn older_news_change_nothing_and_a_new_list_forgets_what_is_gone() {
        let shelf = Shelf::default();
        shelf.put(&map("a", 7), 7);
        shelf.put(&map("b", 2), 2);
        assert_eq!(follow(&shelf, vec![Event::Apply(map("a", 5)), Event::Delete(map("a", 6))]).await, [""; 0]);
        let list = vec![Event::Init, Event::InitApply(map("a", 7)), Event::InitDone];
        assert_eq!(follow(&shelf, list).await, ["b"]);
        assert_eq!((shelf.get("ns", "a"), shelf.get("ns", "b")), (Some(7), None));
    }

    #[tokio::test]
    async fn what_was_made_while_the_list_was_read_stays() {
        let shelf = Shelf::default();
        follow(&shelf, vec![Event::Init]).await;
        shelf.put(&map("made", 9), 9);
        follow(&shelf, vec![Event::<ConfigMap>::InitDone]).await;
        assert_eq!(shelf.get("ns", "made"), Some(9));
    }
}
