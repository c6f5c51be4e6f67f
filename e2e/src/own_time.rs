//! Enact's own part of the time in which agents write documents: while none of their pods exists that has not ended.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use enact_domain::names::{LABEL_ROLE, ROLE_DRAFT};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use tokio::task::JoinHandle;

use crate::Stage;

/// A watch of the pods of drafts, planners and judges in a stage.
pub struct PodClock {
    times: Arc<Mutex<Times>>,
    watch: JoinHandle<()>,
}

/// How long something took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Took {
    /// The time from the start of the watch to its end.
    pub all: Duration,
    /// The part of it in which no pod worked.
    pub own: Duration,
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s, of which {:.2} s are Enact's own", self.all.as_secs_f64(), self.own.as_secs_f64())
    }
}

impl PodClock {
    /// Starts the clock and the watch.
    pub fn start(stage: &Stage) -> Self {
        let times = Arc::new(Mutex::new(Times::new(Instant::now())));
        let watch = tokio::spawn(follow(stage.api(), Arc::clone(&times)));
        Self { times, watch }
    }

    /// Stops both.
    pub fn stop(self) -> Took {
        self.watch.abort();
        self.times.lock().unwrap_or_else(PoisonError::into_inner).end(Instant::now())
    }
}

/// Updates the times until the task is aborted. A watch that the API server ended starts again.
async fn follow(api: Api<Pod>, times: Arc<Mutex<Times>>) {
    loop {
        // What happens between two watches is in the list of the second one.
        let _ = follow_once(&api, &times).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn follow_once(api: &Api<Pod>, times: &Mutex<Times>) -> Result<(), kube::Error> {
    let selector = format!("{LABEL_ROLE}={ROLE_DRAFT}");
    let see = |pod: &Pod, exists: bool| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let works = exists && !matches!(phase, Some("Succeeded" | "Failed"));
        times.lock().unwrap_or_else(PoisonError::into_inner).see(&pod.name_any(), works, Instant::now());
    };
    let found = api.list(&ListParams::default().labels(&selector)).await?;
    found.items.iter().for_each(|pod| see(pod, true));
    let version = found.metadata.resource_version.unwrap_or_default();
    let mut events = api.watch(&WatchParams::default().labels(&selector), &version).await?.boxed();
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => see(&pod, true),
            WatchEvent::Deleted(pod) => see(&pod, false),
            WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
        }
    }
    Ok(())
}

/// The pods that work, and the time without one.
#[derive(Debug)]
struct Times {
    began: Instant,
    working: BTreeSet<String>,
    /// The time at which the last one ended, if none works.
    idle_since: Option<Instant>,
    idle: Duration,
}

impl Times {
    fn new(now: Instant) -> Self {
        Self { began: now, working: BTreeSet::new(), idle_since: Some(now), idle: Duration::ZERO }
    }

    fn see(&mut self, pod: &str, works: bool, now: Instant) {
        if works {
            self.working.insert(pod.to_owned());
        } else {
            self.working.remove(pod);
        }
        if !self.working.is_empty() {
            self.idle += self.idle_since.take().map_or(Duration::ZERO, |since| now - since);
        } else if self.idle_since.is_none() {
            self.idle_since = Some(now);
        }
    }

    fn end(&self, now: Instant) -> Took {
        let rest = self.idle_since.map_or(Duration::ZERO, |since| now - since);
        Took { all: now - self.began, own: self.idle + rest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_time_is_that_without_a_working_pod() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut times = Times::new(start);
        for (pod, works, seconds) in
            [("a", true, 1), ("b", true, 2), ("a", false, 5), ("b", false, 8), ("b", false, 9), ("c", true, 10)]
        {
            times.see(pod, works, at(seconds));
        }
        let seconds = |took: Took| (took.all.as_secs(), took.own.as_secs());
        assert_eq!(seconds(times.end(at(20))), (20, 3));
        times.see("c", false, at(20));
        assert_eq!(seconds(times.end(at(24))), (24, 7));
    }
}
