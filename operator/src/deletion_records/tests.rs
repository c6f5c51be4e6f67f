//! Deletions against an API server and a record store in memory.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::*;
use crate::testing::Bench;

const NOW: Millis = Millis(1_000_000);

fn subject(uid: &str) -> Subject {
    Subject { kind: Kind::Plan, namespace: "ns".into(), name: "p".into(), uid: uid.into() }
}

/// Returns a note about the plan `p` as a ConfigMap.
fn note(uid: &str, by: &str, at: i64) -> ConfigMap {
    let note = Deletion { tenant: "acme".into(), subject: subject(uid), by: by.into(), at: Millis(at) };
    let map = json!({"metadata": {"name": note.name()}, "data": {"deletion": serde_json::to_string(&note).unwrap()}});
    serde_json::from_value(map).unwrap()
}

fn deleted(since: Option<i64>) -> Deleted {
    Deleted { since: since.map(Millis), ..Deleted::missed_plan("acme", subject("uid")) }
}

/// Returns the outcomes that are ready `seconds` later while the object is there or not.
fn outcomes(pending: &Pending, seconds: u32, presence: Presence) -> Vec<Outcome> {
    pending.ready(NOW.plus_seconds(seconds), |_| presence).into_iter().map(|ready| ready.outcome).collect()
}

fn by(user: &str, at: i64) -> Outcome {
    Outcome::DeletedBy { user: user.into(), at: Millis(at) }
}

#[test]
fn a_deletion_waits_for_its_note() {
    let mut pending = Pending::default();
    pending.add(deleted(None), NOW);
    assert_eq!(outcomes(&pending, 4, Presence::Gone), []);
    assert_eq!(outcomes(&pending, 5, Presence::Gone), [Outcome::Deleted]);
    pending.add_note(&note("other", "bob", 1), NOW);
    pending.add_note(&note("uid", "ann", 1), NOW);
    assert_eq!(outcomes(&pending, 0, Presence::Stays), [by("ann", 1)], "of the other object, nothing is known");
    assert_eq!(pending.remove("uid").len(), 1);
    assert_eq!(pending.remove("other").len(), 1);
    assert!(pending.is_empty());
}

#[test]
fn a_note_without_a_deletion_is_dropped_unless_the_object_is_gone() {
    let mut pending = Pending::default();
    pending.add_note(&note("uid", "ann", 1), NOW);
    assert_eq!(outcomes(&pending, 0, Presence::Gone), [by("ann", 1)], "deleted while no operator ran");
    assert_eq!(outcomes(&pending, 59, Presence::Stays), []);
    assert_eq!(outcomes(&pending, 60, Presence::Stays), [Outcome::Stays], "something refused it");
    assert_eq!(outcomes(&pending, 3600, Presence::Leaving), [], "a finalizer holds it");
    let odd = serde_json::from_value(json!({"metadata": {"name": "odd"}, "data": {"deletion": "{}"}})).unwrap();
    pending.add_note(&odd, NOW);
    assert_eq!(pending.remove("uid").len(), 1);
    assert!(pending.is_empty());
}

#[test]
fn of_several_who_ask_the_one_who_succeeded_counts() {
    let mut pending = Pending::default();
    pending.add_note(&note("uid", "refused", 1_000), NOW);
    pending.add_note(&note("uid", "ann", 2_500), NOW);
    pending.add_note(&note("uid", "late", 9_000), NOW);
    pending.add_note(&note("uid", "late", 9_500), NOW);
    pending.add(deleted(Some(2_000)), NOW);
    assert_eq!(outcomes(&pending, 0, Presence::Gone), [by("ann", 2_500)], "the deletion began in this second");
    assert_eq!(pending.remove("uid").len(), 3);
}

/// Returns a bench with a plan of one task, whose pod exists.
async fn running() -> Bench {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    bench.api.put(
        "plans/p",
        json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Plan",
            "metadata": {"name": "p", "namespace": "ns", "generation": 1},
            "spec": {"agentRef": {"name": "scripts"}, "tasks": [{"id": "T001", "title": "T001", "script": "true"}]}
        }),
    );
    for _ in 0..2 {
        bench.plan("p").await.unwrap();
    }
    bench.api.writes();
    bench
}

fn deletions(bench: &Bench) -> Vec<String> {
    bench.record_store.summaries().into_iter().filter(|line| line.contains("deleted")).collect()
}

#[tokio::test]
async fn a_deletion_is_recorded_and_its_note_removed() {
    let mut bench = running().await;
    let ctx = bench.contexts.common.clone();
    let gone = bench.no_plan("p");
    let map = note(&gone.subject.uid, "ann", 5);
    bench.api.put(&format!("configmaps/{}", map.name_any()), serde_json::to_value(&map).unwrap());
    handle(&bench.contexts.documents, &bench.contexts.plans, &gone).await;
    let mut pending = Pending::default();
    pending.add(gone, ctx.now());
    pending.add_note(&map, ctx.now());
    bench.record_store.down.store(true, Ordering::Relaxed);
    assert!(record_ready(&ctx, &mut pending).await.is_err());
    assert!(!pending.is_empty() && bench.api.all("configmaps").len() == 1, "nothing is lost");
    bench.record_store.down.store(false, Ordering::Relaxed);
    record_ready(&ctx, &mut pending).await.unwrap();
    assert_eq!(deletions(&bench), ["p: deleted by ann"]);
    assert!(pending.is_empty() && bench.api.all("configmaps").is_empty());
    let records = bench.record_store.records.lock().unwrap();
    assert_eq!(records.last().map(|record| (record.at, record.tenant.as_str())), Some((Millis(5), "acme")));
}

#[tokio::test]
async fn a_plan_that_was_deleted_while_no_operator_ran_is_found() {
    let mut bench = running().await;
    let ctx = bench.contexts.common.clone();
    let mut pending = Pending::default();
    add_missed(&ctx, &mut pending).await.unwrap();
    assert!(pending.is_empty(), "it exists");
    bench.no_plan("p");
    add_missed(&ctx, &mut pending).await.unwrap();
    bench.pass(5);
    record_ready(&ctx, &mut pending).await.unwrap();
    assert_eq!(deletions(&bench), ["p: deleted by unknown"]);
    add_missed(&ctx, &mut pending).await.unwrap();
    assert!(pending.is_empty(), "it is recorded");
}

#[tokio::test]
async fn nothing_is_recorded_of_a_plan_after_its_deletion() {
    let mut bench = running().await;
    let plan: enact_crds::Plan = serde_json::from_value(bench.api.get("plans/p")).unwrap();
    bench.fail("p-t001-1", "no").await;
    let gone = bench.no_plan("p");
    handle(&bench.contexts.documents, &bench.contexts.plans, &gone).await;
    let before = bench.record_store.summaries();
    // It was queued before the deletion.
    crate::plan::reconcile(Arc::new(plan), bench.contexts.plans.clone()).await.unwrap();
    assert_eq!(bench.record_store.summaries(), before);
    assert_eq!(bench.api.writes(), [""; 0]);
}
