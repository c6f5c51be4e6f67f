//! Initial sync: any number of tasks can wait until every watched kind was listed once.
//!
//! `Store::wait_until_ready` serves one task only: of several, the last one that asked is woken. The others, among them the controller that
//! owns the store, would wait until something else changes.

use futures::{Stream, StreamExt as _};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{Controller, WatchStreamExt as _, reflector};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// The annotation in which `kubectl apply` keeps the whole manifest.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The first lists that controllers wait for.
#[derive(Debug, Default)]
pub struct InitialSync {
    lists: Vec<watch::Receiver<bool>>,
}

impl InitialSync {
    /// Builds the controller of a kind, and waits for its first list from now on.
    pub fn controller<K>(&mut self, api: Api<K>) -> Controller<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    {
        self.controller_with(api, |_| {})
    }

    /// Builds the controller of a kind, and calls `on_event` for each event after the controller's cache has applied it.
    pub fn controller_with<K>(
        &mut self,
        api: Api<K>,
        mut on_event: impl FnMut(&Event<K>) + Send + 'static,
    ) -> Controller<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    {
        let (store, writer) = reflector::store();
        let events = reflector(writer, watcher(api, watcher::Config::default()).modify(drop_unread));
        // After `reflector`, which updates the cache: `on_event` may requeue objects whose reconciles read that cache.
        let events = events.inspect(move |event| {
            if let Ok(event) = event {
                on_event(event);
            }
        });
        Controller::for_stream(self.track(events).applied_objects(), store)
    }

    /// Waits for a list that something else reports.
    pub fn add(&mut self, listed: watch::Receiver<bool>) {
        self.lists.push(listed);
    }

    /// Returns the same events, and waits for the end of their first list from now on.
    fn track<K, S>(&mut self, events: S) -> impl Stream<Item = watcher::Result<Event<K>>> + use<K, S>
    where
        S: Stream<Item = watcher::Result<Event<K>>>,
    {
        let (listed, receiver) = watch::channel(false);
        self.add(receiver);
        events.inspect(move |event| {
            if matches!(event, Ok(Event::InitDone)) {
                listed.send_replace(true);
            }
        })
    }

    /// Waits until every list is complete.
    pub async fn done(&self) {
        for list in &self.lists {
            // A sender is dropped only when the process ends.
            let _ = list.clone().wait_for(|listed| *listed).await;
        }
    }
}

/// Drops what nobody reads in a cache: which fields each manager has written, and the manifest that `kubectl apply` keeps. They can be as
/// large as the object itself. When each manager wrote is read for Agents.
fn drop_unread<K: Resource>(object: &mut K) {
    let metadata = object.meta_mut();
    for managed in metadata.managed_fields.iter_mut().flatten() {
        managed.fields_v1 = None;
    }
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures::channel::mpsc;
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[tokio::test]
    async fn wakes_all_waiters_after_the_last_list() {
        let mut sync = InitialSync::default();
        let (first, events) = mpsc::unbounded::<watcher::Result<Event<ConfigMap>>>();
        let first_events = tokio::spawn(sync.track(events).for_each(|_| futures::future::ready(())));
        let (second, events) = mpsc::unbounded::<watcher::Result<Event<ConfigMap>>>();
        let second_events = tokio::spawn(sync.track(events).for_each(|_| futures::future::ready(())));
        let sync = Arc::new(sync);
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let sync = sync.clone();
                tokio::spawn(async move { sync.done().await })
            })
            .collect();
        for event in [Event::Init, Event::InitDone] {
            first.unbounded_send(Ok(event)).unwrap();
        }
        second.unbounded_send(Ok(Event::Init)).unwrap();
        drop(first);
        first_events.await.unwrap();
        assert!(waiting.iter().all(|w| !w.is_finished()), "one kind is not listed yet");
        second.unbounded_send(Ok(Event::InitDone)).unwrap();
        let all = futures::future::try_join_all(waiting);
        tokio::time::timeout(Duration::from_secs(30), all).await.expect("a task was not woken").unwrap();
        drop(second);
        second_events.await.unwrap();
    }

    #[test]
    fn caches_keep_nothing_that_nobody_reads() {
        let mut map: ConfigMap = serde_json::from_value(serde_json::json!({"metadata": {
            "name": "a", "annotations": {LAST_APPLIED: "{}", "enact.dev/author": "ann"},
            "managedFields": [{"manager": "kubectl", "operation": "Update", "time": "2026-01-01T00:00:00Z",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}}]
        }}))
        .unwrap();
        drop_unread(&mut map);
        let metadata = map.metadata;
        assert_eq!(metadata.annotations.unwrap().into_keys().collect::<Vec<_>>(), ["enact.dev/author"]);
        let managed = metadata.managed_fields.unwrap().remove(0);
        assert!(managed.fields_v1.is_none() && managed.time.is_some());
    }
}
