//! Competing attempts: several attempts at a task count at the same time, one wins, and what the others used is discarded.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use enact_domain::agents::checkpoint::{Checkpoint, UnfinishedWork};
use enact_domain::assignment::{AttemptResult, GateResult, Reason, Report};
use enact_domain::digest::Digest;
use enact_domain::record::{Event, Kind, Record};
use enact_domain::usage::{Charge, Tokens};
use enact_store::{CheckpointDelivery, Delivery, DeliveryOutcome, ModelRequest, Store};
use support::{Database, done, end, plan_transition, record, start, subject};
use uuid::Uuid;

/// Returns the start of an attempt at a task with three contestants.
fn start_of(task: &str, number: u32) -> Record {
    let mut record = start("a", task, number);
    if let Event::AttemptStarted { contestants, .. } = &mut record.event {
        *contestants = 3;
    }
    record
}

fn decided(task: &str, newest: u32, winner: Option<u32>) -> Record {
    let event = Event::ContestDecided { plan_uid: "uid-p".into(), newest, winner, message: "it was the best".into() };
    record("a", subject(Kind::Task, task), 3_000, event)
}

fn delivery(attempt: u32) -> Delivery {
    Delivery {
        tenant: "a".into(),
        namespace: "team".into(),
        pod_uid: format!("pod-t-{attempt}"),
        plan_uid: "uid-p".into(),
        runner_key: None,
        result: AttemptResult {
            subject_uid: "uid-t".into(),
            attempt,
            report: Report::new(Reason::Succeeded, format!("by {attempt}")),
            transcript: String::new(),
            gates: vec![GateResult { name: "build".into(), exit_code: Some(0), output: "ok".into() }],
            duration_ms: 1234,
        },
    }
}

async fn use_tokens(store: &Store, attempt: u32, tokens: u64) {
    let request = ModelRequest {
        id: Uuid::from_u128(attempt.into()),
        at: enact_domain::time::Millis(1_000),
        namespace: "team".into(),
        plan: "p".into(),
        plan_uid: "uid-p".into(),
        task: "t".into(),
        task_uid: "uid-t".into(),
        attempt,
        agent: "team/coder".into(),
        provider: "Command".into(),
        model: String::new(),
        estimate: Charge::default(),
    };
    let tokens = Tokens { output: tokens, ..Tokens::default() };
    store.report_usage("a", &request, &Charge { tokens, cost_micro_usd: Some(1) }).await.unwrap();
}

#[tokio::test]
async fn only_an_attempt_of_the_same_contestant_replaces_a_result() {
    let database = Database::migrated().await;
    let store = database.store();
    store.record(vec![start_of("t", 1), start_of("t", 2), start_of("t", 3)]).await.unwrap();
    assert_eq!(store.deliver(delivery(1)).await.unwrap(), DeliveryOutcome::Stored, "2 and 3 are of other contestants");
    store.record(vec![start_of("t", 5)]).await.unwrap();
    assert_eq!(store.deliver(delivery(2)).await.unwrap(), DeliveryOutcome::Stale, "5 is of the same contestant");
    assert_eq!(store.deliver(delivery(3)).await.unwrap(), DeliveryOutcome::Stored);
}

#[tokio::test]
async fn each_contestant_has_its_own_checkpoint() {
    let database = Database::migrated().await;
    let store = database.store();
    let checkpoint = |attempt: u32| Checkpoint {
        attempt,
        work: Some(UnfinishedWork {
            branch: format!("enact/p/t-{attempt}"),
            commit: "a".repeat(40),
            base: "b".repeat(40),
        }),
        session: None,
        last_message: 0,
        archive: None,
        bundle: None,
    };
    for attempt in [1, 2] {
        let runner_key = Digest::of_bytes(&[u8::try_from(attempt).unwrap()]);
        store.record(vec![start_of("t", attempt)]).await.unwrap();
        store.register_runner("a", "uid-t", attempt, &format!("pod-t-{attempt}"), &runner_key).await.unwrap();
        let (tenant, subject_uid) = ("a".into(), "uid-t".into());
        let checkpoint = checkpoint(attempt);
        let delivery = CheckpointDelivery { tenant, subject_uid, runner_key, checkpoint, archive: None, bundle: None };
        assert!(store.save_checkpoint(delivery).await.unwrap());
    }
    store.record(vec![start_of("t", 4), start_of("t", 5), start_of("t", 6)]).await.unwrap();
    let left =
        async |attempt| store.checkpoint("a", "uid-t", attempt).await.unwrap().map(|found| found.checkpoint.attempt);
    assert_eq!((left(4).await, left(5).await, left(6).await), (Some(1), Some(2), None));
    assert_eq!(left(2).await, None, "not that of another contestant");
}

#[tokio::test]
async fn what_a_loser_used_is_discarded() {
    let database = Database::migrated().await;
    let store = database.store();
    let mut records = vec![plan_transition("a", "p", "Running", 500)];
    records.extend([1, 2, 3].map(|number| start_of("t", number)));
    store.record(records).await.unwrap();
    for (attempt, tokens) in [(1, 10), (2, 200), (3, 3000)] {
        use_tokens(&store, attempt, tokens).await;
    }
    let ends =
        vec![end("a", "t", 1, None, done()), end("a", "t", 2, None, done()), end("a", "t", 3, Some("Task"), done())];
    store.record(ends).await.unwrap();
    let discarded = async || store.discarded("a", "uid-p").await.unwrap().tokens;
    assert_eq!(discarded().await, 3000, "the contest is not decided: only what failed");
    for _ in 0..2 {
        store.record(vec![decided("t", 3, Some(2))]).await.unwrap();
    }
    assert_eq!(discarded().await, 3010);
    assert_eq!(database.number("select count(*) from audit where event = 'ContestDecided'").await, 1);

    assert_eq!(store.deliver(delivery(2)).await.unwrap(), DeliveryOutcome::Stored);
    let attempts = store.attempts_of_task("a", "team", "p", "t").await.unwrap();
    let shown: Vec<_> = attempts.iter().map(|a| (a.attempt, a.contestants, a.lost_to, a.tokens)).collect();
    assert_eq!(shown, [(3, 3, None, 3000), (2, 3, None, 200), (1, 3, Some(2), 10)]);
    assert_eq!((attempts[1].gates[0].name.as_str(), attempts[1].duration_ms), ("build", Some(1234)));
    assert_eq!(store.attempts_of_task("b", "team", "p", "t").await.unwrap(), [], "another tenant");
    let finished = store.finished_tasks("a").await.unwrap();
    assert_eq!(finished.iter().map(|task| task.tokens).collect::<Vec<_>>(), [3210 / 3], "the mean of the contestants");
}

#[tokio::test]
async fn a_contest_without_winner_marks_nobody() {
    let database = Database::migrated().await;
    let store = database.store();
    store.record(vec![start_of("t", 1), end("a", "t", 1, None, done()), decided("t", 3, None)]).await.unwrap();
    assert_eq!(database.number("select count(*) from attempts where lost_to is not null").await, 0);
}
