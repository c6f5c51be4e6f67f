//! Many callers share one writer, and an outage loses and duplicates nothing.

mod support;

use std::time::{Duration, Instant};

use enact_domain::record::{Event, Record};
use enact_store::{ErrorClass, Recorder, Store, StoreError};
use sqlx::{AssertSqlSafe, Connection};
use support::proxy::{Network, Proxy};
use support::{Database, end, plan_transition, start, task_transition};
use tokio::task::JoinSet;

/// Returns a store that reaches its database through a network that can fail.
async fn behind_proxy(database: &Database) -> (Store, Proxy) {
    let proxy = Proxy::to(database.server()).await;
    let mut config = database.operator_config();
    config.url = database.operator_url_at(&proxy.address.ip().to_string(), proxy.address.port());
    config.connect_timeout = Duration::from_millis(500);
    config.operation_timeout = Duration::from_secs(2);
    (Store::connect(&config).expect("the URL is right"), proxy)
}

/// Records until Postgres acknowledges it, as a controller does, and returns the number of tries.
async fn insist(recorder: &Recorder, records: Vec<Record>) -> u32 {
    for tries in 1.. {
        match recorder.record(records.clone()).await {
            Ok(()) => return tries,
            Err(error) => assert_eq!(error.class(), ErrorClass::Transient, "{error}"),
        }
    }
    unreachable!("a range without an end")
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_share_round_trips() {
    let database = Database::migrated().await;
    let (store, proxy) = behind_proxy(&database).await;
    let (recorder, flusher) = Recorder::start(store.clone());
    recorder.record(vec![plan_transition("a", "p", "Running", 0)]).await.unwrap();
    let (counted, answered) = (store.round_trips(), proxy.answers());
    let mut callers = JoinSet::new();
    for caller in 0..100 {
        let recorder = recorder.clone();
        callers.spawn(async move {
            for turn_number in 0..5 {
                recorder
                    .record(vec![task_transition("a", &format!("t{caller}"), "Running", turn_number)])
                    .await
                    .unwrap();
            }
        });
    }
    callers.join_all().await;
    let (counted, answered) = (store.round_trips() - counted, proxy.answers() - answered);
    println!("500 transitions of 100 callers: {counted} round trips counted, {answered} seen on the wire");
    assert!(counted <= 50, "{counted} round trips for 500 transitions");
    // The network shows no more round trips, except those that set up a connection.
    assert!(answered <= counted + 10, "{answered} answers of Postgres for {counted} counted round trips");
    assert_eq!(database.number("select count(*) from audit where event = 'Transition'").await, 501);
    assert_eq!(database.number("select count(*) from tasks where state_at = to_timestamp(0.004)").await, 100);
    flusher.close().await;
}

#[tokio::test]
async fn an_invalid_record_fails_alone() {
    let database = Database::migrated().await;
    let (recorder, flusher) = Recorder::start(database.store());
    let mut callers = JoinSet::new();
    for caller in 0..40_u32 {
        let recorder = recorder.clone();
        callers.spawn(async move {
            let mut own = task_transition("a", &format!("t{caller}"), "Running", 1);
            if caller % 13 == 0 {
                own.subject.uid = "u".repeat(1000);
            }
            (caller, recorder.record(vec![own, start("a", &format!("t{caller}"), 1)]).await)
        });
    }
    for (caller, outcome) in callers.join_all().await {
        match outcome {
            Ok(()) => assert_ne!(caller % 13, 0),
            Err(error) => {
                assert_eq!(
                    (caller % 13, error.category(), error.class()),
                    (0, "refused", ErrorClass::Permanent),
                    "{error}"
                );
                assert!(error.to_string().contains("uid_length"), "{error}");
            }
        }
    }
    // No part of a submission with an invalid record is written.
    assert_eq!(database.number("select count(*) from attempts").await, 36);
    assert_eq!(database.number("select count(*) from audit where event = 'Transition'").await, 36);
    flusher.close().await;
}

#[tokio::test]
async fn tenants_do_not_disturb_each_other() {
    let database = Database::migrated().await;
    let (recorder, flusher) = Recorder::start(database.store());
    let bad = start("a", "t", 0);
    let mixed = recorder.record(vec![task_transition("b", "t", "Running", 1), bad]);
    let good = recorder.record(vec![task_transition("a", "t", "Running", 1)]);
    let (mixed, good) = tokio::join!(mixed, good);
    assert_eq!(mixed.expect_err("a part was refused").class(), ErrorClass::Permanent);
    good.unwrap();
    assert_eq!(database.number("select count(distinct tenant_id) from audit where event = 'Transition'").await, 2);
    let invalid = recorder.record(vec![task_transition("", "t", "Running", 1)]).await;
    assert!(matches!(invalid, Err(StoreError::Invalid { .. })), "{invalid:?}");
    flusher.close().await;
}

#[tokio::test]
async fn a_slow_tenant_fails_alone() {
    let database = Database::migrated().await;
    let mut config = database.operator_config();
    config.operation_timeout = Duration::from_secs(3);
    let (recorder, flusher) = Recorder::start(Store::connect(&config).unwrap());
    // The writer has a connection that it keeps.
    recorder.record(vec![plan_transition("b", "p", "Running", 1)]).await.unwrap();
    let mut other = database.superuser().await;
    let mut transaction = other.begin().await.unwrap();
    // The tenant's writer waits for the end of this transaction, which could write the same entry.
    sqlx::query(
        "insert into audit (tenant_id, at, actor, event, key, kind, namespace, subject_uid, details)
        values ('a', now(), 'x', 'Transition', 'Running/1', 'Task', 'team', 'uid-t', '{}')",
    )
    .execute(&mut *transaction)
    .await
    .unwrap();
    let records = |tenant: &str| vec![task_transition(tenant, "t", "Running", 1)];
    // Both are in one batch.
    let (slow, quick) = tokio::join!(recorder.record(records("a")), recorder.record(records("b")));
    let error = slow.expect_err("Postgres cancels the statement");
    assert_eq!((error.category(), error.class()), ("unavailable", ErrorClass::Transient), "{error}");
    quick.unwrap();
    transaction.rollback().await.unwrap();
    recorder.record(records("a")).await.unwrap();
    flusher.close().await;
}

#[tokio::test]
async fn a_deadlock_is_a_conflict_that_a_retry_resolves() {
    let database = Database::migrated().await;
    let mut other = database.superuser().await;
    // Postgres detects the deadlock on the store's connection first, and aborts its transaction.
    let login = database.operator_login().user;
    let patience = format!("alter role {login} set deadlock_timeout = '2s'; set deadlock_timeout = '60s'");
    sqlx::raw_sql(AssertSqlSafe(patience)).execute(&mut other).await.unwrap();
    let known = |task: &'static str| {
        sqlx::query(
            "insert into audit (tenant_id, at, actor, event, key, kind, namespace, subject_uid, details)
            values ('a', now(), 'x', 'Transition', 'Running/1', 'Task', 'team', $1, '{}')",
        )
        .bind(task)
    };
    let mut transaction = other.begin().await.unwrap();
    known("uid-t2").execute(&mut *transaction).await.unwrap();
    let store = database.store();
    let records = vec![task_transition("a", "t1", "Running", 1), task_transition("a", "t2", "Running", 1)];
    let recording = tokio::spawn({
        let (store, records) = (store.clone(), records.clone());
        async move { store.record(records).await }
    });
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while database.number(waiting).await == 0 {}
    known("uid-t1").execute(&mut *transaction).await.unwrap();
    let error = recording.await.unwrap().expect_err("each has what the other waits for");
    assert_eq!((error.category(), error.class()), ("conflict", ErrorClass::Conflict), "{error}");
    transaction.rollback().await.unwrap();
    store.record(records).await.unwrap();
    assert_eq!(database.number("select count(*) from audit where event = 'Transition'").await, 2);
}

#[tokio::test]
async fn a_terminated_connection_is_replaced() {
    let database = Database::migrated().await;
    let (recorder, flusher) = Recorder::start(database.store());
    for number in 0..5 {
        recorder.record(vec![task_transition("a", "t", "Running", number)]).await.unwrap();
        let ended = "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity where datname = current_database() and usename <> current_user";
        assert!(database.number(ended).await > 0);
    }
    assert_eq!(database.number("select count(*) from audit where event = 'Transition'").await, 5);
    flusher.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_loses_and_duplicates_nothing() {
    let database = Database::migrated().await;
    let (store, proxy) = behind_proxy(&database).await;
    let (recorder, flusher) = Recorder::start(store);
    let mut callers = JoinSet::new();
    for caller in 0..20 {
        let recorder = recorder.clone();
        callers.spawn(async move {
            let mut tries = 0;
            for number in 0..10 {
                let records = vec![
                    task_transition(["a", "b"][caller % 2], &format!("t{caller}"), "Running", number),
                    start("a", &format!("t{caller}"), u32::try_from(number).unwrap() + 1),
                ];
                tries += insist(&recorder, records).await;
            }
            tries
        });
    }
    let outage = Instant::now();
    for network in [Network::Down, Network::Silent, Network::Down, Network::Silent] {
        proxy.set(network);
        // A record that fails shows that the writer has noticed the outage.
        let error = loop {
            if let Err(error) = recorder.record(vec![plan_transition("c", "p", "Running", 1)]).await {
                break error;
            }
        };
        assert_eq!(error.class(), ErrorClass::Transient, "{error}");
        proxy.set(Network::Up);
        insist(&recorder, vec![plan_transition("c", "p", "Running", 2)]).await;
    }
    println!("four outages took {:?}", outage.elapsed());
    let tries: u32 = callers.join_all().await.into_iter().sum();
    println!("200 submissions took {tries} tries");
    assert_eq!(
        database.number("select count(*) from audit where event = 'Transition' and tenant_id <> 'c'").await,
        200
    );
    assert_eq!(database.number("select count(*) from attempts").await, 200);
    let audit = database.number("select count(*) from audit where tenant_id <> 'c'").await;
    let outbox = database.number("select count(*) from outbox where tenant_id <> 'c'").await;
    assert_eq!((audit, outbox), (400, 400));
    flusher.close().await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_counts_once() {
    let database = Database::migrated().await;
    let (store, proxy) = behind_proxy(&database).await;
    let (recorder, flusher) = Recorder::start(store);
    for number in 0..6 {
        proxy.lose_next_commit();
        insist(&recorder, vec![task_transition("a", "t", "Running", number), end("a", "t", 1, None, support::done())])
            .await;
        assert!(!proxy.waits_for_commit(), "a commit was lost");
    }
    for (table, count) in database.rows().await {
        let expected = match table.as_str() {
            "audit" | "outbox" => 7,
            "attempts" | "tasks" => 1,
            _ => 0,
        };
        assert_eq!(count, expected, "{table}");
    }
    flusher.close().await;
}

#[tokio::test]
async fn an_outage_fails_fast_for_all_tenants() {
    let database = Database::migrated().await;
    let (store, proxy) = behind_proxy(&database).await;
    proxy.set(Network::Silent);
    let (recorder, flusher) = Recorder::start(store.clone());
    let started = Instant::now();
    let records = (0..50).map(|tenant| task_transition(&format!("t{tenant}"), "t", "Running", 1)).collect();
    let error = recorder.record(records).await.expect_err("nobody answers");
    assert_eq!(error.class(), ErrorClass::Transient, "{error}");
    // Fifty tenants do not wait one after the other.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(store.ready().await.expect_err("nobody answers").class(), ErrorClass::Transient);
    proxy.set(Network::Up);
    insist(&recorder, vec![task_transition("a", "t", "Running", 1)]).await;
    flusher.close().await;
}

#[tokio::test]
async fn closing_answers_queued_submissions() {
    let database = Database::migrated().await;
    let (recorder, flusher) = Recorder::start(database.store());
    let mut callers = JoinSet::new();
    for caller in 0..50 {
        let recorder = recorder.clone();
        callers.spawn(
            async move { recorder.record(vec![task_transition("a", &format!("t{caller}"), "Running", 1)]).await },
        );
    }
    // Lets the callers submit before the recorder closes.
    tokio::task::yield_now().await;
    flusher.close().await;
    let outcomes = callers.join_all().await;
    let written = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(written > 0);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(()) | Err(StoreError::Closed))), "{outcomes:?}");
    assert_eq!(
        database.number("select count(*) from audit where event = 'Transition'").await,
        i64::try_from(written).unwrap()
    );
    assert!(matches!(recorder.record(vec![start("a", "t", 1)]).await, Err(StoreError::Closed)));
    recorder.record(Vec::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn large_documents_are_written_in_parts() {
    let database = Database::migrated().await;
    let (recorder, flusher) = Recorder::start(database.store());
    let mut callers = JoinSet::new();
    for caller in 0..24 {
        let recorder = recorder.clone();
        callers.spawn(async move {
            let mut record = support::revision(
                "a",
                support::subject(enact_domain::record::Kind::Specification, &format!("s{caller}")),
                &format!("{caller}{}", "x".repeat(1 << 20)),
            );
            if let Event::Revision { version, .. } = &mut record.event {
                *version = None;
            }
            recorder.record(vec![record]).await.unwrap();
        });
    }
    callers.join_all().await;
    assert_eq!(database.number("select count(*) from revisions").await, 24);
    flusher.close().await;
}
