//! Checkpoints: only the runner of the latest attempt keeps one, and only a later attempt at the same task reads it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use enact_domain::agents::checkpoint::{Checkpoint, SavedSession, UnfinishedWork};
use enact_domain::assignment::{AttemptResult, Reason, Report, Usage};
use enact_domain::digest::Digest;
use enact_store::{CheckpointDelivery, Delivery, DeliveryOutcome, Store, StoredCheckpoint};
use sqlx::Executor as _;
use support::{Database, end, start};

fn key(name: &str) -> Digest {
    Digest::of_bytes(name.as_bytes())
}

fn checkpoint(attempt: u32) -> Checkpoint {
    Checkpoint {
        attempt,
        work: Some(UnfinishedWork {
            branch: format!("enact/shop-5f0c1a2b/t001-{attempt}"),
            commit: "a".repeat(40),
            base: "b".repeat(40),
        }),
        session: Some(SavedSession {
            id: format!("session-{attempt}"),
            agent: "scribe".into(),
            adapter: key("adapter"),
            prompt: key("prompt"),
            usage: Usage { output_tokens: u64::MAX, ..Usage::default() },
        }),
        last_message: 0,
        archive: None,
        bundle: None,
    }
}

fn delivery(task: &str, attempt: u32, runner_key: Digest) -> CheckpointDelivery {
    CheckpointDelivery {
        tenant: "a".into(),
        subject_uid: format!("uid-{task}"),
        runner_key,
        checkpoint: checkpoint(attempt),
        archive: Some(vec![0, 159, 255]),
        bundle: Some(vec![1, 0, 254]),
    }
}

/// Records the start of an attempt, whose runner has the key `<task>-<attempt>`.
async fn begun(store: &Store, task: &str, attempt: u32) -> Digest {
    store.record(vec![start("a", task, attempt)]).await.unwrap();
    let key = key(&format!("{task}-{attempt}"));
    let (subject_uid, pod_uid) = (format!("uid-{task}"), format!("pod-{task}-{attempt}"));
    store.register_runner("a", &subject_uid, attempt, &pod_uid, &key).await.unwrap();
    key
}

#[tokio::test]
async fn the_next_attempt_reads_what_the_last_one_left() {
    let database = Database::migrated().await;
    let store = database.store();
    let first = begun(&store, "t", 1).await;
    assert_eq!(store.checkpoint("a", "uid-t", 1).await.unwrap(), None);
    for _ in 0..2 {
        assert!(store.save_checkpoint(delivery("t", 1, first.clone())).await.unwrap());
    }
    let (archive, bundle) = (Some(vec![0, 159, 255]), Some(vec![1, 0, 254]));
    let left = StoredCheckpoint { checkpoint: checkpoint(1), archive, bundle };
    assert_eq!(store.checkpoint("a", "uid-t", 2).await.unwrap(), Some(left));
    // Neither the same attempt, another task nor another tenant reads it.
    for (tenant, task, attempt) in [("a", "uid-t", 1), ("a", "uid-u", 2), ("b", "uid-t", 2)] {
        assert_eq!(store.checkpoint(tenant, task, attempt).await.unwrap(), None, "{tenant} {task} {attempt}");
    }
    let second = begun(&store, "t", 2).await;
    assert!(!store.save_checkpoint(delivery("t", 1, first)).await.unwrap(), "a newer attempt has begun");
    assert!(store.save_checkpoint(delivery("t", 2, second)).await.unwrap());
    assert_eq!(store.checkpoint("a", "uid-t", 3).await.unwrap().unwrap().checkpoint, checkpoint(2));
    assert_eq!(database.number("select count(*) from checkpoints").await, 1);
}

#[tokio::test]
async fn only_the_runner_of_an_open_attempt_keeps_one() {
    let database = Database::migrated().await;
    let store = database.store();
    let runner = begun(&store, "t", 1).await;
    assert!(!store.save_checkpoint(delivery("t", 1, key("the agent"))).await.unwrap());
    // Without a registered key, nobody is the runner.
    store.record(vec![start("a", "u", 1)]).await.unwrap();
    assert!(!store.save_checkpoint(delivery("u", 1, key("u-1"))).await.unwrap());
    let failed = Report::new(Reason::AgentFailed, "failed");
    store.record(vec![end("a", "t", 1, Some("Task"), failed)]).await.unwrap();
    assert!(!store.save_checkpoint(delivery("t", 1, runner.clone())).await.unwrap(), "the attempt ended long ago");
    assert_eq!(database.number("select count(*) from checkpoints").await, 0);
    // An attempt that its plan stopped saves its work after its recorded end.
    database
        .superuser()
        .await
        .execute("update attempts set finished_at = now() where finished_at is not null")
        .await
        .unwrap();
    assert!(store.save_checkpoint(delivery("t", 1, runner)).await.unwrap());
}

#[tokio::test]
async fn success_and_age_delete_checkpoints() {
    let database = Database::migrated().await;
    let store = database.store();
    for task in ["t", "u"] {
        let runner = begun(&store, task, 1).await;
        assert!(store.save_checkpoint(delivery(task, 1, runner)).await.unwrap());
    }
    let result = |attempt: u32, reason: Reason| Delivery {
        tenant: "a".into(),
        namespace: "team".into(),
        pod_uid: format!("pod-t-{attempt}"),
        plan_uid: "uid-p".into(),
        runner_key: Some(key(&format!("t-{attempt}"))),
        result: AttemptResult {
            subject_uid: "uid-t".into(),
            attempt,
            report: Report::new(reason, ""),
            transcript: String::new(),
            gates: Vec::new(),
            duration_ms: 1,
        },
    };
    assert_eq!(store.deliver(result(1, Reason::ProviderQuota)).await.unwrap(), DeliveryOutcome::Stored);
    assert_eq!(database.number("select count(*) from checkpoints").await, 2, "a failure keeps it");
    begun(&store, "t", 2).await;
    assert_eq!(store.deliver(result(2, Reason::Succeeded)).await.unwrap(), DeliveryOutcome::Stored);
    assert_eq!(database.number("select count(*) from checkpoints where subject_uid = 'uid-t'").await, 0);

    let old = "update checkpoints set saved_at = now() - interval '31 days'";
    database.superuser().await.execute(old).await.unwrap();
    let runner = begun(&store, "v", 1).await;
    assert!(store.save_checkpoint(delivery("v", 1, runner)).await.unwrap());
    assert_eq!(database.number("select count(*) from checkpoints where subject_uid = 'uid-v'").await, 1);
    assert_eq!(database.number("select count(*) from checkpoints").await, 1);
}
