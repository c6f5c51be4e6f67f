//! The Events about pods that nodes could not set up, as they were last read.

use std::collections::HashMap;
use std::sync::Arc;

use enact_crds::convert;
use enact_domain::attempt::SetupFailure;
use enact_domain::time::Millis;
use k8s_openapi::api::core::v1::Event;
use parking_lot::Mutex;

/// Seconds between two reads of the Events of a namespace.
pub const READ_SECONDS: u32 = 5;

/// The setup failures of a namespace by the UID of the pod, and the time at which they were read.
pub type ReadFailures = (Millis, Arc<HashMap<String, SetupFailure>>);

/// The setup failures of all namespaces that were read recently.
#[derive(Debug, Default)]
pub struct SetupEvents {
    by_namespace: Mutex<HashMap<String, ReadFailures>>,
}

impl SetupEvents {
    /// Returns the failures of a namespace if they were read recently.
    pub fn recent(&self, namespace: &str, now: Millis) -> Option<ReadFailures> {
        let mut known = self.by_namespace.lock();
        known.retain(|_, (read_at, _)| now < read_at.plus_seconds(READ_SECONDS));
        known.get(namespace).cloned()
    }

    /// Stores the failures of a namespace.
    pub fn put(&self, namespace: &str, read: ReadFailures) {
        self.by_namespace.lock().insert(namespace.to_owned(), read);
    }
}

/// Returns the newest setup failure of each pod, by its UID.
pub fn newest(events: &[Event]) -> HashMap<String, SetupFailure> {
    let mut newest: HashMap<String, (Millis, SetupFailure)> = HashMap::new();
    for event in events {
        let (Some(uid), Some(reason)) = (&event.involved_object.uid, &event.reason) else { continue };
        let message = event.message.as_deref().unwrap_or_default();
        let Some(failure) = SetupFailure::of_event(reason, message) else { continue };
        let time = event.last_timestamp.as_ref().or(event.metadata.creation_timestamp.as_ref());
        let at = time.map_or(Millis(0), convert::millis);
        if newest.get(uid).is_none_or(|(known, _)| *known <= at) {
            newest.insert(uid.clone(), (at, failure));
        }
    }
    newest.into_iter().map(|(uid, (_, failure))| (uid, failure)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn event(pod: &str, reason: &str, at: &str) -> Event {
        let event: Value = json!({"metadata": {"name": format!("{pod}.{at}"), "namespace": "ns"}, "reason": reason,
            "message": "it failed", "lastTimestamp": at, "involvedObject": {"kind": "Pod", "uid": pod}});
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn the_newest_failure_of_a_pod_counts() {
        let failures = newest(&[
            event("one", "FailedCreatePodSandBox", "2026-01-01T00:00:09Z"),
            event("one", "FailedMount", "2026-01-01T00:00:02Z"),
            event("two", "NodeNotReady", "2026-01-01T00:00:03Z"),
        ]);
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert_eq!(failures["one"].reason.as_str(), "SandboxFailed");
    }

    #[test]
    fn what_was_read_is_used_for_some_seconds() {
        let events = SetupEvents::default();
        events.put("ns", (Millis(0), Arc::default()));
        assert!(events.recent("ns", Millis(4999)).is_some() && events.recent("other", Millis(0)).is_none());
        assert!(events.recent("ns", Millis(5000)).is_none());
    }
}
