use std::sync::atomic::Ordering;

use enact_store::AgentEnd;
use serde_json::json;

use super::*;
use crate::testing::InMemoryRecordStore;

fn end(seconds: u32) -> End {
    let at = Millis(0).plus_seconds(seconds);
    End { reason: Reason::CredentialRejected, message: "HTTP 401".into(), at, quota_reset: None }
}

/// Returns a record store with ends of attempts of the agent `coder` at these seconds.
fn store(seconds: &[u32]) -> InMemoryRecordStore {
    let store = InMemoryRecordStore::default();
    let ended = |at: &u32| AgentEnd { namespace: "ns".into(), agent: "coder".into(), end: end(*at) };
    store.ends.lock().unwrap().extend(seconds.iter().map(ended));
    store
}

fn key() -> ObjectKey {
    ("ns".into(), "coder".into())
}

/// Returns an agent that was changed last at this second.
fn coder(changed: u32) -> HealthSubject {
    let changed = Some(Millis(0).plus_seconds(changed));
    HealthSubject { name: "coder".into(), generation: Some(1), changed }
}

async fn is_unhealthy(health: &AgentHealth, store: &InMemoryRecordStore, coder: HealthSubject, now: u32) -> bool {
    health.load(store, "acme", "ns", &[coder]).await.unwrap();
    health.problem(&key(), Some(1), Millis(0).plus_seconds(now)).is_some()
}

#[tokio::test]
async fn the_record_tells_the_health_after_a_restart() {
    let (health, store) = (AgentHealth::default(), store(&[10, 20, 30]));
    assert!(is_unhealthy(&health, &store, coder(0), 40).await);
    assert!(!is_unhealthy(&health, &store, coder(0), 630).await, "it is tried again");
    assert_eq!(store.end_reads.load(Ordering::Relaxed), 1, "the record is read once");
    assert!(!is_unhealthy(&AgentHealth::default(), &store, coder(15), 40).await, "it was changed after the first end");
}

#[tokio::test]
async fn an_end_before_the_record_is_read_counts_once() {
    let (health, store) = (AgentHealth::default(), store(&[10, 20]));
    assert!(health.add(&key(), Some(1), &end(20)), "it is not known yet: the Agent reconciles, and reads the record");
    assert!(!is_unhealthy(&health, &store, coder(0), 30).await);
    assert!(health.add(&key(), Some(1), &end(40)));
    assert!(health.problem(&key(), Some(1), Millis(0).plus_seconds(40)).is_some());
}

#[tokio::test]
async fn an_unreadable_record_is_read_again() {
    let (health, store) = (AgentHealth::default(), store(&[10, 20, 30]));
    store.down.store(true, Ordering::Relaxed);
    assert!(health.load(&store, "acme", "ns", &[coder(0)]).await.is_err());
    store.down.store(false, Ordering::Relaxed);
    assert!(is_unhealthy(&health, &store, coder(0), 40).await);
}

#[test]
fn a_change_of_the_status_is_no_change_of_the_agent() {
    let fields = json!([
        {"manager": "kubectl", "operation": "Apply", "time": "2026-01-01T00:00:00Z"},
        {"manager": "enact", "operation": "Update", "subresource": "status", "time": "2026-01-02T00:00:00Z"},
    ]);
    let agent: Agent = serde_json::from_value(json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "Agent",
        "metadata": {"name": "coder", "generation": 3, "managedFields": fields}, "spec": {"adapter": "Codex"},
    }))
    .unwrap();
    let subject = HealthSubject::of(&agent);
    assert_eq!((subject.generation, subject.changed), (Some(3), Some(Millis(1_767_225_600_000))));
}
