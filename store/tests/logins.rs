//! What an intruder in server or gateway cannot do: only the login of the operator writes what it decides, and claims and erases records.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use enact_domain::agents::checkpoint::Checkpoint;
use enact_domain::assignment::AttemptResult;
use enact_domain::digest::Digest;
use enact_domain::record::{Event, Kind};
use enact_domain::time::Millis;
use enact_store::{
    CheckpointDelivery, Delivery, DeliveryOutcome, Erasure, ErrorClass, Item, ItemKind, RecordOwner, Refusal,
    Registration, RequestLog, StoreError, migrate,
};
use sqlx::{AssertSqlSafe, Executor as _};
use support::usage::{NOW, charge, request, settlement};
use support::{Database, done, end, plan_transition, record, revision, start, subject, task_transition};
use uuid::Uuid;

/// Asserts that Postgres denied a right.
#[track_caller]
fn assert_denied<T: std::fmt::Debug>(result: Result<T, StoreError>, what: &str) {
    let error = result.expect_err(what);
    assert!(matches!(error, StoreError::Denied { .. }), "{what}: {error}");
    let text = error.to_string();
    assert!(text.contains("permission denied for ") || text.contains("row-level security policy"), "{what}: {text}");
}

#[tokio::test]
async fn only_the_operator_claims_keeps_and_erases() {
    let database = Database::migrated().await;
    let (operator, app) = (database.store(), database.app_store());
    let claim = async |uid: &str| operator.claim_record("a", uid, true, Millis(5)).await.unwrap();
    assert_denied(app.claim_record("a", "uid-0", true, Millis(5)).await, "a name without an owner");
    assert_eq!(claim("uid-1").await, RecordOwner::Own);
    operator.record(vec![plan_transition("a", "p", "Running", 1)]).await.unwrap();
    assert_denied(app.claim_record("a", "uid-2", true, Millis(5)).await, "a name with an owner");
    assert_eq!(claim("uid-2").await, RecordOwner::Former("uid-1".into()));
    let later = "update enact.tenants set successor_at = successor_at - interval '181 seconds'";
    database.superuser().await.execute(later).await.unwrap();
    let rows = database.rows().await;
    assert_denied(app.keep_record("a", "uid-2", "uid-1").await, "keep");
    assert_denied(app.erase_former("a", "uid-2").await, "erase");
    assert_eq!(database.rows().await, rows);
    assert!(matches!(operator.erase_former("a", "uid-2").await.unwrap(), Erasure::Erased(_)));
    assert_eq!(operator.erase_former("a", "uid-2").await.unwrap(), Erasure::Complete);
    assert_eq!(claim("uid-2").await, RecordOwner::Own);
}

#[tokio::test]
async fn only_the_operator_records_decisions() {
    let database = Database::migrated().await;
    let (operator, app) = (database.store(), database.app_store());
    let document = subject(Kind::Specification, "cart");
    let approval = Event::Approval {
        kind: Kind::Specification,
        name: "cart".into(),
        digest: Digest::of_bytes(b"# A cart"),
        approved: true,
        comment: String::new(),
    };
    let records = [
        revision("a", document.clone(), "# A cart"),
        plan_transition("a", "p", "Running", 1),
        task_transition("a", "t", "Succeeded", 2),
        start("a", "t", 1),
        record("a", subject(Kind::Approval, "yes"), 3, approval),
        end("a", "t", 1, None, done()),
    ];
    let items =
        || vec![Item { kind: ItemKind::Requirement, key: "FR-001".into(), line: 1, text: "Carts are kept".into() }];
    for record in &records {
        assert_denied(app.record(vec![record.clone()]).await, &format!("{:?}", record.event));
    }
    assert_denied(app.index_items("a", &document, items()).await, "index");
    assert!(database.rows().await.iter().all(|(_, rows)| *rows == 0));
    operator.record(records.to_vec()).await.unwrap();
    operator.index_items("a", &document, items()).await.unwrap();
    let mut connection = database.app().await;
    connection.execute("set enact.tenant = 'a'").await.unwrap();
    for statement in [
        "update enact.attempts set failure = 'Task'",
        "update enact.attempts set pod_uid = 'another'",
        "update enact.plans set state = 'Succeeded'",
        "delete from enact.search_items",
        "delete from enact.contents",
    ] {
        let error = connection.execute(statement).await.expect_err(statement);
        assert!(error.to_string().contains("permission denied"), "{statement}: {error}");
    }
}

#[tokio::test]
async fn server_and_gateway_add_entries_about_deliveries_only() {
    let database = Database::migrated().await;
    database.store().record(vec![start("a", "t", 1)]).await.unwrap();
    let mut connection = database.app().await;
    connection.execute("set enact.tenant = 'a'").await.unwrap();
    let audit = |actor: &str, event: &str, key: &str| {
        AssertSqlSafe(format!(
            "insert into enact.audit (tenant_id, at, actor, event, key, kind, namespace, name, subject_uid, plan_uid, details)
            values ('a', now(), '{actor}', '{event}', '{key}', 'Task', 'team', 't', 'uid-t', 'uid-p', '{{}}')"
        ))
    };
    let outbox = |actor: &str, event: &str| {
        AssertSqlSafe(format!(
            "insert into enact.outbox (tenant_id, at, actor, event, kind, namespace, name, subject_uid, plan_uid, payload)
            values ('a', now(), '{actor}', '{event}', 'Task', 'team', 't', 'uid-t', 'uid-p', '{{}}')"
        ))
    };
    for (actor, event, key) in [
        ("ann", "Approval", ""),
        ("ann", "ControlChanged", "suspend"),
        ("system:enact", "AttemptFinished", "1"),
        ("system:enact", "ResultContradicted", "1/pod"),
        ("ann", "ResultDelivered", "1"),
        ("pod:team/another", "ResultDelivered", "1"),
        ("pod:team/pod-t-1", "ResultDelivered", "2"),
        ("pod:team/pod-t-1", "ResultContradicted", "1/pod"),
    ] {
        let error = connection.execute(audit(actor, event, key)).await.expect_err(event);
        assert!(error.to_string().contains("row-level security policy"), "{actor} {event} {key}: {error}");
    }
    for (actor, event) in [("ann", "Approval"), ("ann", "ResultDelivered"), ("pod:team/pod-t-1", "AttemptFinished")] {
        let error = connection.execute(outbox(actor, event)).await.expect_err(event);
        assert!(error.to_string().contains("row-level security policy"), "{actor} {event}: {error}");
    }
    for (event, key) in [("ResultDelivered", "1"), ("ResultContradicted", "1/second")] {
        connection.execute(audit("pod:team/pod-t-1", event, key)).await.unwrap();
        connection.execute(outbox("pod:team/pod-t-1", event)).await.unwrap();
    }
}

/// Returns what the runner of the first attempt at the task `t` delivers.
fn delivery(runner_key: &Digest) -> Delivery {
    Delivery {
        tenant: "a".into(),
        namespace: "team".into(),
        pod_uid: "pod-t-1".into(),
        plan_uid: "uid-p".into(),
        runner_key: Some(runner_key.clone()),
        result: AttemptResult {
            subject_uid: "uid-t".into(),
            attempt: 1,
            report: done(),
            transcript: String::new(),
            gates: Vec::new(),
            duration_ms: 5,
        },
    }
}

#[tokio::test]
async fn server_and_gateway_do_their_work_with_their_login() {
    let database = Database::migrated().await;
    let (operator, app) = (database.store(), database.app_store());
    app.ready().await.unwrap();
    operator.record(vec![start("a", "t", 1)]).await.unwrap();
    let key = Digest::of_bytes(b"key");
    assert_eq!(app.register_runner("a", "uid-t", 1, "pod-t-1", &key).await.unwrap(), Registration::Accepted);
    let checkpoint = Checkpoint { attempt: 1, work: None, session: None, last_message: 0, archive: None, bundle: None };
    let left = CheckpointDelivery {
        tenant: "a".into(),
        subject_uid: "uid-t".into(),
        runner_key: key.clone(),
        checkpoint,
        archive: None,
        bundle: None,
    };
    assert!(app.save_checkpoint(left).await.unwrap());
    assert_eq!(app.deliver(delivery(&key)).await.unwrap(), DeliveryOutcome::Stored);
    // The agent contradicts the result: the attempt shows it.
    let forged = app.deliver(delivery(&Digest::of_bytes(b"guessed"))).await.unwrap();
    assert_eq!(forged, DeliveryOutcome::Forged);
    assert_eq!(database.number("select count(contradiction) from attempts").await, 1);
    assert!(app.deliver_document("a", "pod-1", b"# A draft").await.unwrap().is_some());
    app.open_requests("a", &[request(1, "t")]).await.unwrap();
    app.settle_requests("a", &[settlement(1, charge(100, 10, 1000))]).await.unwrap();
    app.open_requests("a", &[request(2, "t")]).await.unwrap();
    assert_eq!(app.settle_abandoned("a", Millis(NOW.0 + 1)).await.unwrap(), 1);
    let log = RequestLog {
        id: Uuid::from_u128(1),
        expires_at: NOW,
        request: "question".into(),
        request_bytes: 8,
        answer: "answer".into(),
        answer_bytes: 6,
    };
    app.log_requests("a", &[log]).await.unwrap();
    assert_eq!(app.delete_expired_logs("a", NOW).await.unwrap(), 1);
    let refusal = Refusal { reason: "BudgetExceeded".into(), message: "no more".into(), reset_at: None };
    for _ in 0..2 {
        app.record_refusal("a", "uid-t", 1, &refusal).await.unwrap();
    }
}

#[tokio::test]
async fn one_login_for_all_programs_works_until_the_operator_gets_its_own() {
    let database = Database::empty().await;
    let (url, app, operator) = (database.owner_url(), database.login(), database.operator_login());
    let store = database.app_store();
    let claim = async || store.claim_record("a", "uid-1", true, Millis(5)).await;
    for _ in 0..2 {
        migrate(&url, Some(&app), None).await.unwrap();
        assert_eq!(claim().await.unwrap(), RecordOwner::Own);
        store.record(vec![plan_transition("a", "p", "Running", 1)]).await.unwrap();
        migrate(&url, Some(&app), Some(&operator)).await.unwrap();
        assert_denied(claim().await, "the operator has its own login");
        assert_denied(store.record(vec![plan_transition("a", "p", "Failed", 2)]).await, "so the other records nothing");
        assert_eq!(database.store().claim_record("a", "uid-1", true, Millis(5)).await.unwrap(), RecordOwner::Own);
    }
}

#[tokio::test]
async fn a_login_that_keeps_the_operators_rights_is_refused() {
    let database = Database::migrated().await;
    let (url, login) = (database.owner_url(), database.login());
    let error = migrate(&url, Some(&login), Some(&login)).await.expect_err("one login for both");
    assert!(error.to_string().contains("give the operator another user"), "{error}");
    let (app, operator) = (database.login().user, database.operator_login().user);
    let grant = format!("grant {operator} to {app}");
    database.superuser().await.execute(AssertSqlSafe(grant)).await.unwrap();
    let error = database.migrate().await.expect_err("the rights of the operator");
    assert!(error.to_string().contains("still a member of enact_operator"), "{error}");
    assert_eq!(error.class(), ErrorClass::Permanent);
}
