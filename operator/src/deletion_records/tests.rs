//! Deletions against an API server and a record store in memory.

use std::sync::atomic::Ordering;

use enact_domain::time::Millis;
use serde_json::json;

use super::*;
use crate::testing::Bench;

fn note(tenant: &str, uid: &str, by: &str) -> Deletion {
    Deletion { tenant: tenant.into(), uid: uid.into(), by: by.into(), at: Millis(5) }
}

/// Handles once what is pending, as the loop does.
async fn handle_pending(ctx: &Context, pending: &mut Pending) -> Result<(), Error> {
    let present = present(ctx, pending);
    add_noted(ctx, pending, &present).await?;
    record_ready(ctx, pending, &present).await
}

/// Returns a bench with a plan of one task, whose pod exists.
async fn running() -> Bench {
    let mut bench = Bench::new().await;
    bench.agent("scripts");
    bench.put_plan(
        "p",
        &json!({"agentRef": {"name": "scripts"}, "tasks": [{"id": "T001", "title": "T001", "script": "true"}]}),
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
    let gone = of_owner(&ctx, bench.no_plan("p"));
    let note = note("X_", &gone.subject.uid, "ann");
    let map = json!({"metadata": {"name": note.name()}, "data": {"deletion": serde_json::to_string(&note).unwrap()}});
    bench.api.put(&format!("configmaps/{}", note.name()), map.clone());
    assert_eq!(note_in(&serde_json::from_value(map).unwrap()), Some(note.clone()));
    handle(&bench.contexts.documents, &bench.contexts.plans, &gone).await;
    let mut pending = Pending::default();
    pending.add(gone, ctx.now());
    pending.add_note(note, ctx.now());
    bench.record_store.down.store(true, Ordering::Relaxed);
    assert!(handle_pending(&ctx, &mut pending).await.is_err());
    assert!(!pending.is_empty() && bench.api.all("configmaps").len() == 1, "nothing is lost");
    bench.record_store.down.store(false, Ordering::Relaxed);
    handle_pending(&ctx, &mut pending).await.unwrap();
    assert_eq!(deletions(&bench), ["p: deleted by ann"]);
    assert!(pending.is_empty() && bench.api.all("configmaps").is_empty());
    let records = bench.record_store.records.lock().unwrap();
    assert_eq!(records.last().map(|record| (record.at, record.tenant.as_str())), Some((Millis(5), DEFAULT_TENANT)));
}

#[tokio::test]
async fn a_deletion_belongs_to_the_tenant_that_owns_the_namespace_now() {
    let mut bench = running().await;
    let ctx = bench.contexts.common.clone();
    // The label is from before the namespace moved.
    let gone = Deleted { tenant: "former".into(), ..bench.no_plan("p") };
    let mut pending = Pending::default();
    pending.add(of_owner(&ctx, gone.clone()), ctx.now());
    bench.pass(5);
    handle_pending(&ctx, &mut pending).await.unwrap();
    let recorded = |tenant: &str| {
        let records = bench.record_store.records.lock().unwrap();
        let is_deletion = |record: &&Record| matches!(record.event, Event::Deleted { .. });
        records.iter().filter(is_deletion).filter(|record| record.tenant == tenant).count()
    };
    assert_eq!((recorded("former"), recorded(DEFAULT_TENANT)), (0, 1));
    // A namespace that is gone has no owner.
    let elsewhere = Subject { namespace: "gone".into(), ..gone.subject.clone() };
    assert_eq!(of_owner(&ctx, Deleted { subject: elsewhere, ..gone }).tenant, "former");
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
    handle_pending(&ctx, &mut pending).await.unwrap();
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

#[tokio::test]
async fn a_forged_note_deletes_nothing() {
    let bench = running().await;
    let ctx = bench.contexts.common.clone();
    let uid = bench.api.get("plans/p")["metadata"]["uid"].as_str().unwrap().to_owned();
    let mut pending = Pending::default();
    for note in [note(DEFAULT_TENANT, &uid, "bob"), note("X_", &uid, "eve"), note("X_", "uid-of-nothing", "eve")] {
        pending.add_note(note, ctx.now());
    }
    handle_pending(&ctx, &mut pending).await.unwrap();
    bench.pass(61);
    handle_pending(&ctx, &mut pending).await.unwrap();
    assert_eq!(deletions(&bench), [""; 0]);
    assert!(pending.is_empty(), "what nobody knows is dropped");
}

#[tokio::test]
async fn a_note_about_an_object_that_the_cache_lacks_is_no_deletion() {
    let mut bench = running().await;
    let ctx = bench.contexts.common.clone();
    let plan = bench.api.get("plans/p");
    let gone = bench.no_plan("p");
    // The record has the plan and so has the API server, but the cache lacks it.
    bench.api.put("plans/p", plan);
    let mut pending = Pending::default();
    pending.add_note(note(DEFAULT_TENANT, &gone.subject.uid, "eve"), ctx.now());
    handle_pending(&ctx, &mut pending).await.unwrap();
    assert_eq!(deletions(&bench), [""; 0]);
    // Without it in the API server, it was deleted before this process began.
    bench.api.remove("plans/p");
    let mut pending = Pending::default();
    pending.add_note(note("other", &gone.subject.uid, "eve"), ctx.now());
    handle_pending(&ctx, &mut pending).await.unwrap();
    assert_eq!(deletions(&bench), [""; 0], "the record of another tenant does not have it");
    let mut pending = Pending::default();
    pending.add_note(note(DEFAULT_TENANT, &gone.subject.uid, "ann"), ctx.now());
    handle_pending(&ctx, &mut pending).await.unwrap();
    assert_eq!(deletions(&bench), ["p: deleted by ann"]);
}

#[tokio::test]
async fn a_refused_record_does_not_keep_back_others() {
    let mut bench = running().await;
    let ctx = bench.contexts.common.clone();
    let gone = of_owner(&ctx, bench.no_plan("p"));
    let mut pending = Pending::default();
    let odd = Subject { uid: "odd".into(), ..gone.subject.clone() };
    pending.add(Deleted { tenant: "X_".into(), subject: odd, ..gone.clone() }, ctx.now());
    pending.add(gone, ctx.now());
    bench.pass(5);
    handle_pending(&ctx, &mut pending).await.unwrap();
    assert_eq!(deletions(&bench), ["p: deleted by unknown"]);
    assert!(pending.is_empty());
}
