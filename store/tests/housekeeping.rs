//! What nobody needs is deleted in parts, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::time::Duration;

use enact_domain::digest::Digest;
use enact_domain::planning::Preference;
use enact_domain::record::{Event, Kind};
use enact_store::Store;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use support::{Database, plan_transition, record, revision, subject};

/// Makes all deliveries so old that they do not keep their documents.
async fn age_deliveries(database: &Database) {
    let old = "update enact.document_deliveries set delivered_at = now() - interval '8 days'";
    database.superuser().await.execute(old).await.unwrap();
}

async fn deliver(store: &Store, tenant: &str, pod: &str, content: &str) -> Digest {
    store.deliver_document(tenant, pod, content.as_bytes()).await.unwrap().expect("accepted")
}

async fn has(store: &Store, tenant: &str, content: &str) -> bool {
    store.content(tenant, &Digest::of_bytes(content.as_bytes())).await.unwrap().is_some()
}

#[tokio::test]
async fn contents_that_nothing_refers_to_are_deleted() {
    let database = Database::migrated().await;
    let store = database.store();
    deliver(&store, "a", "pod-1", "unused").await;
    deliver(&store, "b", "pod-1", "unused").await;
    let named = deliver(&store, "a", "pod-2", "in a status").await;
    deliver(&store, "a", "pod-3", "a revision").await;
    let proposed = deliver(&store, "a", "pod-4", "a proposal").await;
    let proposal = Event::Proposal { agent: "planner".into(), digest: proposed, score: 50, tasks: 3 };
    let plan = subject(Kind::Plan, "p");
    store.record(vec![revision("a", subject(Kind::Specification, "cart"), "a revision")]).await.unwrap();
    let judgement = Event::Judgement {
        key: "k".into(),
        judge: "judge".into(),
        first: "planner".into(),
        second: "another".into(),
        preference: Preference::Tie,
        digest: deliver(&store, "a", "pod-6", "reasons").await,
    };
    store.record(vec![record("a", plan.clone(), 1, proposal), record("a", plan, 2, judgement)]).await.unwrap();
    assert_eq!(store.delete_unused_contents("a", &[]).await.unwrap(), 0, "all were delivered just now");
    age_deliveries(&database).await;
    // A new delivery also deletes the entries of old ones.
    deliver(&store, "a", "pod-5", "delivered").await;
    let named = [named.to_string()];
    assert_eq!(store.delete_unused_contents("a", &named).await.unwrap(), 1);
    assert_eq!(store.delete_unused_contents("a", &named).await.unwrap(), 0);
    assert!(!has(&store, "a", "unused").await);
    for kept in ["in a status", "a revision", "a proposal", "reasons", "delivered"] {
        assert!(has(&store, "a", kept).await, "{kept}");
    }
    assert!(has(&store, "b", "unused").await, "another tenant has its own");
    assert_eq!(store.delete_unused_contents("a", &[]).await.unwrap(), 1, "no status names it any more");
}

#[tokio::test]
async fn many_contents_are_deleted_in_parts() {
    let database = Database::migrated().await;
    let insert = "insert into enact.contents (tenant_id, digest, content)
        select 'a', 'sha256:' || encode(sha256(n::text::bytea), 'hex'), n::text::bytea from generate_series(1, 250) n";
    database.superuser().await.execute(insert).await.unwrap();
    let store = database.store();
    let before = store.round_trips();
    assert_eq!(store.delete_unused_contents("a", &[]).await.unwrap(), 250);
    assert_eq!(store.round_trips() - before, 3 * 5, "three parts: begin, read, lock, delete, commit");
}

#[tokio::test]
async fn a_revision_at_the_same_time_keeps_its_content() {
    let database = Database::migrated().await;
    let store = database.store();
    let digest = deliver(&store, "a", "pod-1", "a document").await;
    age_deliveries(&database).await;
    // What the operator does when it records a revision: it has the lock, and its revision is not committed yet.
    let mut operator = database.operator().await;
    let mut transaction = operator.begin().await.unwrap();
    let insert = format!(
        "select set_config('enact.tenant', 'a', true);
        select pg_advisory_xact_lock(hashtextextended('enact.revisions/a', 0));
        insert into enact.revisions (tenant_id, subject_uid, number, kind, namespace, name, position, digest, actor, reason, revised_at)
        values ('a', 'uid', 1, 'Plan', 'team', 'p', 1, '{digest}', 'x', '', now())"
    );
    sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut *transaction).await.unwrap();
    let deletion = tokio::spawn({
        let store = store.clone();
        async move { store.delete_unused_contents("a", &[]).await }
    });
    let waiting = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and wait_event = 'advisory'";
    while database.number(waiting).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    transaction.commit().await.unwrap();
    assert_eq!(deletion.await.unwrap().unwrap(), 0);
    assert!(has(&store, "a", "a document").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_written_while_contents_are_deleted_keeps_its_content() {
    let database = Database::migrated().await;
    let (store, app) = (database.store(), database.app_store());
    for round in 0..40 {
        let content = format!("document {round}");
        deliver(&app, "a", &format!("first-{round}"), &content).await;
        age_deliveries(&database).await;
        let write = async {
            if round % 2 == 0 {
                deliver(&app, "a", &format!("second-{round}"), &content).await;
            } else {
                let document = subject(Kind::Specification, &format!("s{round}"));
                store.record(vec![revision("a", document, &content)]).await.unwrap();
            }
        };
        let (deleted, ()) = tokio::join!(store.delete_unused_contents("a", &[]), write);
        deleted.unwrap();
        assert!(has(&store, "a", &content).await, "round {round}");
    }
}

#[tokio::test]
async fn old_outgoing_events_are_deleted() {
    let database = Database::migrated().await;
    let store = database.store();
    let insert = "insert into enact.outbox (tenant_id, at, actor, event, kind, namespace, subject_uid, payload, queued_at)
        select 'a', now(), 'x', 'Old', 'Plan', 'team', 'uid', '{}', now() - interval '8 days' from generate_series(1, 2500)";
    database.superuser().await.execute(insert).await.unwrap();
    for tenant in ["a", "b"] {
        // The event says that it happened long ago, but it is queued now.
        store.record(vec![plan_transition(tenant, "p", "Running", 1)]).await.unwrap();
    }
    let before = store.round_trips();
    assert_eq!(store.delete_old_events("a").await.unwrap(), 2500);
    assert_eq!(store.round_trips() - before, 3 * 3, "three parts: begin, delete, commit");
    assert_eq!(store.delete_old_events("a").await.unwrap(), 0);
    assert_eq!(database.number("select count(*) from outbox where event = 'Transition'").await, 2);
    assert_eq!(database.number("select count(*) from audit").await, 2, "the audit log stays");
}
