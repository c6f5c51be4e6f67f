//! A Tenant with the name of an earlier one gets nothing of its record, unless it asks for it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use enact_domain::assignment::AttemptResult;
use enact_domain::decisions::Decision;
use enact_domain::digest::Digest;
use enact_domain::record::{Event, Kind, Record};
use enact_domain::time::Millis;
use enact_store::{Delivery, Erasure, Item, ItemKind, Query, RecordOwner, RequestLog, Store};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use support::usage::{NOW, charge, request, settlement};
use support::{Database, done, end, plan_transition, record, revision, start, subject, tables, task_transition};
use uuid::Uuid;

/// Returns the choice of a proposal with a decision for the plan `p`.
fn chosen(tenant: &str) -> Record {
    let digest = Digest::of_bytes(b"a proposal");
    let decision = Decision { question: "Storage".into(), choice: "Postgres".into(), ..Decision::default() };
    let event = Event::ProposalChosen {
        key: "1".into(),
        agent: "claude".into(),
        digest: digest.clone(),
        specification: "cart".into(),
        specification_digest: digest,
        decisions: vec![decision],
    };
    record(tenant, subject(Kind::Plan, "p"), 3, event)
}

/// Records a document, a plan with a task, an attempt with its result, usage and search items of a tenant.
async fn work(store: &Store, tenant: &str) {
    let document = subject(Kind::Specification, "cart");
    let records = vec![
        revision(tenant, document.clone(), "# A cart"),
        plan_transition(tenant, "p", "Running", 1),
        task_transition(tenant, "t", "Succeeded", 2),
        start(tenant, "t", 1),
        end(tenant, "t", 1, None, done()),
        chosen(tenant),
    ];
    store.record(records).await.unwrap();
    let result = AttemptResult {
        subject_uid: "uid-t".into(),
        attempt: 1,
        report: done(),
        transcript: "thinking …".into(),
        gates: Vec::new(),
        duration_ms: 5,
    };
    let delivery = Delivery {
        tenant: tenant.into(),
        namespace: "team".into(),
        pod_uid: "pod-t-1".into(),
        plan_uid: "uid-p".into(),
        runner_key: None,
        result,
    };
    store.deliver(delivery).await.unwrap();
    let text = "Carts MUST be kept for thirty days";
    let item = Item { kind: ItemKind::Requirement, key: "FR-001".into(), line: 1, text: text.into() };
    store.index_items(tenant, &document, vec![item]).await.unwrap();
    store.open_requests(tenant, &[request(1, "t")]).await.unwrap();
    store.settle_requests(tenant, &[settlement(1, charge(100, 10, 1000))]).await.unwrap();
    let log = RequestLog {
        id: Uuid::from_u128(1),
        expires_at: NOW,
        request: "secret".into(),
        request_bytes: 6,
        answer: "secret".into(),
        answer_bytes: 6,
    };
    store.log_requests(tenant, &[log]).await.unwrap();
}

async fn claim(store: &Store, uid: &str, vacant: bool) -> RecordOwner {
    store.claim_record("a", uid, vacant, Millis(5)).await.unwrap()
}

/// Returns the number of rows of each table that holds some of a tenant.
async fn rows_of(database: &Database, tenant: &str) -> Vec<(String, i64)> {
    let mut connection = database.superuser().await;
    let mut rows = Vec::new();
    for table in tables(&mut connection).await {
        let count = format!("select count(*) from enact.{table} where tenant_id = $1");
        let count: i64 =
            sqlx::query_scalar(AssertSqlSafe(count)).bind(tenant).fetch_one(&mut connection).await.unwrap();
        if count > 0 {
            rows.push((table, count));
        }
    }
    rows
}

/// Lets the time pass in which nothing is erased.
async fn pass_the_wait(database: &Database) {
    let later = "update enact.tenants set successor_at = successor_at - interval '181 seconds'";
    database.superuser().await.execute(later).await.unwrap();
}

async fn erase(store: &Store, successor: &str) -> u64 {
    let mut erased = 0;
    loop {
        match store.erase_former("a", successor).await.unwrap() {
            Erasure::Erased(rows) => erased += rows,
            Erasure::Complete => return erased,
            Erasure::Waiting => panic!("nothing is erased"),
        }
    }
}

#[tokio::test]
async fn a_record_belongs_to_the_first_tenant_of_the_name() {
    let database = Database::migrated().await;
    let store = database.store();
    for _ in 0..2 {
        assert_eq!(claim(&store, "uid-1", true).await, RecordOwner::Own);
        assert_eq!(claim(&store, "uid-2", true).await, RecordOwner::Former("uid-1".into()));
    }
    assert_eq!(store.claim_record("b", "uid-2", true, Millis(5)).await.unwrap(), RecordOwner::Own);
    assert_eq!(database.number("select count(*) from tenants where updated_at = to_timestamp(0.005)").await, 2);
}

#[tokio::test]
async fn nothing_of_a_former_tenant_is_left() {
    let database = Database::migrated().await;
    let store = database.store();
    claim(&store, "uid-1", true).await;
    for tenant in ["a", "b"] {
        work(&store, tenant).await;
    }
    let (before, others) = (rows_of(&database, "a").await, rows_of(&database, "b").await);
    assert!(before.len() >= 14, "{before:?}");
    claim(&store, "uid-2", true).await;
    pass_the_wait(&database).await;
    let erased = erase(&store, "uid-2").await;
    let count = |rows: &[(String, i64)]| rows.iter().map(|(_, count)| count.unsigned_abs()).sum::<u64>();
    assert_eq!(erased, count(&before), "all but the row of the tenant, and the entry about its successor");
    let left = [("audit".to_owned(), 1), ("tenants".to_owned(), 1)];
    assert_eq!(rows_of(&database, "a").await, left, "the new owner and the entry about the erasure");
    assert_eq!(rows_of(&database, "b").await, others);
    assert_eq!(claim(&store, "uid-2", true).await, RecordOwner::Own);
    let query = Query { text: "carts".into(), limit: 50, ..Query::default() };
    assert!(store.search("a", &query).await.unwrap().is_empty());
    // The same objects, in a namespace that was kept, are recorded again.
    work(&store, "a").await;
    assert_eq!(store.history("a", Kind::Specification, "team", "cart", None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_audit_log_of_a_former_tenant_is_kept_for_auditors() {
    let database = Database::migrated().await;
    let store = database.store();
    claim(&store, "uid-1", true).await;
    work(&store, "a").await;
    let entries = database.number("select count(*) from audit").await;
    claim(&store, "uid-2", true).await;
    pass_the_wait(&database).await;
    erase(&store, "uid-2").await;
    let kept = "select count(*) from audit where tenant_id = 'a.uid-1' and event not like 'Record%'";
    assert_eq!(database.number(kept).await, entries);
    let announced = "select count(*) from audit
        where tenant_id = 'a.uid-1' and event = 'RecordSuccessor' and subject_uid = 'uid-2'";
    assert_eq!(database.number(announced).await, 1, "the beginning of the wait");
    let query =
        "select details, actor, subject_uid::text as uid from audit where tenant_id = $1 and event = 'RecordErased'";
    let mut connection = database.superuser().await;
    let tombstone = sqlx::query(query).bind("a.uid-1").fetch_one(&mut connection).await.unwrap();
    let details: serde_json::Value = tombstone.get("details");
    assert_eq!((tombstone.get("actor"), tombstone.get("uid")), ("system:enact", "uid-1"));
    assert_eq!(details["successorUid"], "uid-2");
    assert_eq!(details["rows"]["results"], 1);
    assert_eq!(details["usage"]["2026-11"], serde_json::json!({"tokens": 110, "costMicroUsd": 1000}));
    let pointer = sqlx::query(query).bind("a").fetch_one(&mut connection).await.unwrap();
    let details: serde_json::Value = pointer.get("details");
    assert_eq!(details, serde_json::json!({"formerUid": "uid-1", "auditLog": "a.uid-1"}));
}

#[tokio::test]
async fn an_erasure_waits_until_late_writes_have_ended() {
    let database = Database::migrated().await;
    let store = database.store();
    claim(&store, "uid-1", true).await;
    work(&store, "a").await;
    let others = async || {
        let rows = database.rows().await.into_iter();
        rows.filter(|(table, _)| table != "audit").collect::<Vec<_>>()
    };
    let rows = others().await;
    assert_eq!(store.erase_former("a", "uid-1").await.unwrap(), Erasure::Waiting, "the owner has no successor");
    claim(&store, "uid-2", true).await;
    assert_eq!(store.erase_former("a", "uid-2").await.unwrap(), Erasure::Waiting, "it was seen just now");
    pass_the_wait(&database).await;
    claim(&store, "uid-2", false).await;
    assert_eq!(store.erase_former("a", "uid-2").await.unwrap(), Erasure::Waiting, "a namespace belongs to the name");
    claim(&store, "uid-2", true).await;
    pass_the_wait(&database).await;
    claim(&store, "uid-2", true).await;
    assert_eq!(store.erase_former("a", "uid-1").await.unwrap(), Erasure::Waiting, "it is not the successor");
    claim(&store, "uid-3", true).await;
    assert_eq!(store.erase_former("a", "uid-2").await.unwrap(), Erasure::Waiting, "there is a newer successor");
    assert_eq!(store.erase_former("a", "uid-3").await.unwrap(), Erasure::Waiting, "its wait begins now");
    assert_eq!(others().await, rows);
    let waits = "select count(*) from audit where tenant_id = 'a' and event = 'RecordSuccessor'";
    assert_eq!(database.number(waits).await, 3, "each beginning of a wait: uid-2 twice, then uid-3");
}

#[tokio::test]
async fn an_erasure_continues_after_a_crash() {
    let database = Database::migrated().await;
    let store = database.store();
    claim(&store, "uid-1", true).await;
    let transition = |n: i64| plan_transition("a", &format!("p{n}"), "Running", n);
    store.record((0..250).map(transition).collect()).await.unwrap();
    claim(&store, "uid-2", true).await;
    pass_the_wait(&database).await;
    assert_eq!(store.erase_former("a", "uid-2").await.unwrap(), Erasure::Erased(200), "a part of it");
    // The next process begins again.
    let store = database.store();
    assert_eq!(claim(&store, "uid-2", true).await, RecordOwner::Former("uid-1".into()));
    assert_eq!(erase(&store, "uid-2").await, 551, "plans, outgoing events and entries of the audit log");
    let rows =
        "select (details #>> '{rows,plans}')::bigint from audit where tenant_id = 'a.uid-1' and event = 'RecordErased'";
    assert_eq!(database.number(rows).await, 250);
}

#[tokio::test]
async fn a_tenant_can_keep_the_record_of_a_former_one() {
    let database = Database::migrated().await;
    let store = database.store();
    claim(&store, "uid-1", true).await;
    work(&store, "a").await;
    claim(&store, "uid-2", true).await;
    let before = database.rows().await;
    store.keep_record("a", "uid-3", "uid-1").await.unwrap();
    assert_eq!(claim(&store, "uid-2", true).await, RecordOwner::Former("uid-1".into()), "only the successor keeps it");
    store.keep_record("a", "uid-2", "uid-0").await.unwrap();
    assert_eq!(claim(&store, "uid-2", true).await, RecordOwner::Former("uid-1".into()), "another one is named");
    for _ in 0..2 {
        store.keep_record("a", "uid-2", "uid-1").await.unwrap();
        assert_eq!(claim(&store, "uid-2", true).await, RecordOwner::Own);
    }
    assert_eq!(database.rows().await, before);
    assert_eq!(claim(&store, "uid-1", true).await, RecordOwner::Former("uid-2".into()));
}

#[tokio::test]
async fn the_operator_cannot_shorten_the_wait() {
    let database = Database::migrated().await;
    let store = database.store();
    claim(&store, "uid-1", true).await;
    work(&store, "a").await;
    claim(&store, "uid-2", true).await;
    let mut operator = database.operator().await;
    operator.execute("set enact.tenant = 'a'").await.unwrap();
    for statement in [
        "update enact.tenants set successor_at = now() - interval '1 hour'",
        "insert into enact.tenants values ('a', 'uid-2', now(), now())",
    ] {
        let error = operator.execute(statement).await.expect_err(statement);
        assert!(error.to_string().contains("permission denied"), "{error}");
    }
    pass_the_wait(&database).await;
    let rows = database.rows().await;
    // With an empty batch, the owner would change and nothing would be erased.
    for batch in ["0", "-1", "null"] {
        let erase = format!("select enact.erase_former('uid-2', {batch})");
        let error = operator.execute(AssertSqlSafe(erase)).await.expect_err(batch);
        assert!(error.to_string().contains("batch must be at least 1"), "{error}");
    }
    assert_eq!(database.rows().await, rows);
    assert_eq!(claim(&store, "uid-2", true).await, RecordOwner::Former("uid-1".into()));
}

#[tokio::test]
async fn neither_an_archive_nor_the_installation_is_erased() {
    let database = Database::migrated().await;
    let store = database.store();
    let archive = store.claim_record("a.uid-1", "uid-2", true, Millis(5)).await.unwrap_err();
    assert!(archive.to_string().contains("has no dot"), "{archive}");
    for uid in ["uid-1", "uid-2"] {
        store.claim_record("default", uid, true, Millis(5)).await.unwrap();
    }
    pass_the_wait(&database).await;
    assert_eq!(store.erase_former("default", "uid-2").await.unwrap(), Erasure::Waiting);
}

#[tokio::test]
async fn every_table_is_erased() {
    let database = Database::migrated().await;
    let mut connection = database.superuser().await;
    let definition: String = sqlx::query_scalar("select pg_get_functiondef('enact.erase_former'::regproc)")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    for table in tables(&mut connection).await {
        // These two are not in the list: the owner changes, and entries move.
        let is_listed = definition.contains(&format!("'{table}'"));
        assert_eq!(is_listed, !["audit", "tenants"].contains(&table.as_str()), "{table}");
    }
}

#[tokio::test]
async fn only_the_operator_erases() {
    let database = Database::migrated().await;
    let mut connection = database.superuser().await;
    let may = async |role: &str, function: &str, connection: &mut sqlx::PgConnection| -> bool {
        sqlx::query_scalar("select has_function_privilege($1, $2, 'execute')")
            .bind(role)
            .bind(function)
            .fetch_one(connection)
            .await
            .unwrap()
    };
    for function in [
        "enact.claim_record(text, boolean, timestamptz)",
        "enact.keep_record(text, text)",
        "enact.erase_former(text, integer)",
    ] {
        assert!(may("enact_operator", function, &mut connection).await, "{function}");
        for role in ["enact_app", "public"] {
            assert!(!may(role, function, &mut connection).await, "{role} {function}");
        }
    }
}
