//! When the objects of every kind were listed once, for any number of tasks that wait for it.
//!
//! A `Store` has a way to wait for that, but for one task only: of several, the one that asked last is woken, and the controller, whose own
//! waiting it is meant for, may be among those that are not. They would sleep until something else changes.

use futures::{Stream, StreamExt as _};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{Controller, WatchStreamExt as _, reflector};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// Which kinds were listed once.
#[derive(Debug, Default)]
pub struct Listings {
    kinds: Vec<watch::Receiver<bool>>,
}

impl Listings {
    /// A controller of a kind, whose first listing counts from now on.
    pub fn controller<K>(&mut self, api: Api<K>) -> Controller<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    {
        self.telling(api, |_| {})
    }

    /// The same; `told` is told of each event, after the controller's store has taken it.
    pub fn telling<K>(&mut self, api: Api<K>, mut told: impl FnMut(&Event<K>) + Send + 'static) -> Controller<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    {
        let (store, writer) = reflector::store();
        let events = reflector(writer, watcher(api, watcher::Config::default()));
        let events = events.inspect(move |event| {
            if let Ok(event) = event {
                told(event);
            }
        });
        Controller::for_stream(self.noting(events).applied_objects(), store)
    }

    /// The same events; the end of the first listing is noted.
    fn noting<K, S>(&mut self, events: S) -> impl Stream<Item = watcher::Result<Event<K>>> + use<K, S>
    where
        S: Stream<Item = watcher::Result<Event<K>>>,
    {
        let (listed, kind) = watch::channel(false);
        self.kinds.push(kind);
        events.inspect(move |event| {
            if matches!(event, Ok(Event::InitDone)) {
                listed.send_replace(true);
            }
        })
    }

    /// Returns when every kind was listed once.
    pub async fn done(&self) {
        for kind in &self.kinds {
            // A watch that is gone belongs to a process that ends.
            let _ = kind.clone().wait_for(|listed| *listed).await;
        }
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
    async fn everybody_who_waits_is_woken_and_nobody_before_all_kinds_are_listed() {
        let mut listings = Listings::default();
        let (first, events) = mpsc::unbounded::<watcher::Result<Event<ConfigMap>>>();
        let first_events = tokio::spawn(listings.noting(events).for_each(|_| futures::future::ready(())));
        let (second, events) = mpsc::unbounded::<watcher::Result<Event<ConfigMap>>>();
        let second_events = tokio::spawn(listings.noting(events).for_each(|_| futures::future::ready(())));
        let listings = Arc::new(listings);
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let listings = listings.clone();
                tokio::spawn(async move { listings.done().await })
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
        tokio::time::timeout(Duration::from_secs(30), all).await.expect("somebody sleeps on").unwrap();
        drop(second);
        second_events.await.unwrap();
    }
}
