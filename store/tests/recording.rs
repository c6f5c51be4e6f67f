//! Records are written once, to the audit log and to the tables that derive from it.

mod support;

use std::time::Duration;

use enact_domain::assignment::{Reason, Report, Usage};
use enact_domain::digest::Digest;
use enact_domain::record::{Event, Kind, Record, RecordedAttempt, Subject};
use enact_domain::time::Millis;
use enact_store::{ErrorClass, StartedPod};
use serde_json::json;
use sqlx::Row;
use support::{Database, done, end, plan_transition, pod, record, revision, start, subject, task_transition};

fn approval(tenant: &str, plan: &str, digest: Digest) -> Record {
    let event = Event::Approval { kind: Kind::Plan, name: plan.into(), digest, approved: true, comment: "fine".into() };
    record(tenant, subject(Kind::Approval, "yes"), 700, event)
}

fn findings(tenant: &str, subject: Subject, content: &str) -> Record {
    let event = Event::Findings {
        digest: Digest::of_bytes(content.as_bytes()),
        analyser: "enact/1".into(),
        findings: json!([{ "id": "A1" }]),
    };
    record(tenant, subject, 600, event)
}

fn message(tenant: &str, task: &str) -> Record {
    let event = Event::Message { plan_uid: "uid-p".into(), id: 1, text: "Use SQLite.".into() };
    Record { actor: "ann".into(), ..record(tenant, subject(Kind::Task, task), 650, event) }
}

/// Returns a record of every kind.
fn everything(tenant: &str) -> Vec<Record> {
    let mut report = done();
    report.usage = Usage { input_tokens: 10, output_tokens: 20, cost_micro_usd: u64::MAX, ..Usage::default() };
    vec![
        revision(tenant, subject(Kind::Plan, "p"), "the plan"),
        findings(tenant, subject(Kind::Plan, "p"), "the plan"),
        approval(tenant, "p", Digest::of_bytes(b"the plan")),
        message(tenant, "t1"),
        plan_transition(tenant, "p", "Running", 800),
        task_transition(tenant, "t1", "Running", 900),
        start(tenant, "t1", 1),
        end(tenant, "t1", 1, Some("Task"), Report::new(Reason::GateFailed, "no")),
        start(tenant, "t1", 2),
        end(tenant, "t1", 2, None, report),
        task_transition(tenant, "t1", "Succeeded", 2_000),
    ]
}

#[tokio::test]
async fn recording_twice_changes_nothing() {
    let database = Database::migrated().await;
    let store = database.store();
    let twice: Vec<Record> = everything("a").into_iter().chain(everything("a")).collect();
    store.record(twice).await.unwrap();
    let rows = database.rows().await;
    let expected = [
        ("approvals", 1),
        ("attempts", 2),
        ("audit", 11),
        ("budgets", 0),
        ("checkpoints", 0),
        ("contents", 1),
        ("decisions", 0),
        ("document_deliveries", 0),
        ("findings", 1),
        ("model_requests", 0),
        ("outbox", 11),
        ("plans", 1),
        ("refusals", 0),
        ("request_logs", 0),
        ("results", 0),
        ("revisions", 1),
        ("search_embeddings", 0),
        ("search_items", 0),
        ("tasks", 1),
        ("tenants", 0),
    ];
    assert_eq!(rows, expected.map(|(table, count)| (table.to_owned(), count)));
    store.record(everything("a")).await.unwrap();
    for record in everything("a") {
        store.record(vec![record]).await.unwrap();
    }
    assert_eq!(database.rows().await, rows);

    let transitions = "select count(*) from audit where event = 'Transition' and plan_uid = 'uid-p'";
    assert_eq!(database.number(transitions).await, 3);
    assert_eq!(database.number("select count(*) from attempts where failure is not null").await, 1);
    // The approval is an object of its own, whose entry does not belong to the plan.
    assert_eq!(database.number("select count(*) from audit where plan_uid = 'uid-p'").await, 10);
    let attempts = store.recorded_attempts("a", "uid-p").await.unwrap();
    let usage = attempts.iter().filter_map(|attempt| attempt.report.as_ref()).map(|report| report.usage).next_back();
    assert_eq!(
        usage,
        Some(Usage { input_tokens: 10, output_tokens: 20, cost_micro_usd: u64::MAX, ..Usage::default() })
    );
}

#[tokio::test]
async fn the_first_record_of_a_start_names_the_pod() {
    let database = Database::migrated().await;
    let store = database.store();
    let started_in = |name: &str| {
        let mut record = start("a", "t", 1);
        let Event::AttemptStarted { pod, .. } = &mut record.event else { panic!("a start is recorded") };
        name.clone_into(pod);
        record
    };
    for pod in ["coder-w0000000a", "t-1", "coder-w0000000b"] {
        store.record(vec![started_in(pod)]).await.unwrap();
    }
    let known = |name: &str, uid: &str| StartedPod {
        subject_uid: "uid-t".into(),
        number: 1,
        pod: name.into(),
        pod_uid: Some(uid.into()),
        start_key: Some(Digest::of_bytes(b"t-1")),
    };
    let pods = async || store.started_pods("a", &["uid-t".into(), "uid-x".into()]).await.unwrap();
    assert_eq!(pods().await, [known("coder-w0000000a", "pod-t-1")]);
    // Nobody can assign that pod any more, and the attempt gets its own.
    store.record(vec![pod("a", "t", 1, "own")]).await.unwrap();
    assert_eq!(pods().await, [known("t-1", "own")]);
    assert_eq!(store.started_pods("b", &["uid-t".into()]).await.unwrap(), []);
}

#[tokio::test]
async fn a_finished_attempt_does_not_change() {
    let database = Database::migrated().await;
    let store = database.store();
    store.record(vec![start("a", "t", 1)]).await.unwrap();
    let known = |finished| RecordedAttempt {
        subject_uid: "uid-t".into(),
        number: 1,
        agent: Some("coder".into()),
        pod_uid: Some("pod-t-1".into()),
        start_key: Some(Digest::of_bytes(b"t-1")),
        finished,
        ..RecordedAttempt::default()
    };
    assert_eq!(store.recorded_attempts("a", "uid-p").await.unwrap(), [known(None)]);
    store.record(vec![end("a", "t", 1, None, done())]).await.unwrap();
    let lost = || end("a", "t", 1, Some("Unknown"), Report::new(Reason::Lost, "gone"));
    store.record(vec![lost()]).await.unwrap();
    store.record(vec![start("a", "t", 1), lost()]).await.unwrap();
    assert_eq!(
        store.recorded_attempts("a", "uid-p").await.unwrap(),
        [RecordedAttempt { report: Some(done()), ..known(Some(None)) }]
    );
    assert_eq!(database.number("select count(*) from attempts where report ->> 'reason' = 'Succeeded'").await, 1);
    assert_eq!(database.number("select count(*) from audit where event = 'AttemptFinished'").await, 1);
    assert_eq!(store.recorded_attempts("b", "uid-p").await.unwrap(), []);
}

#[tokio::test]
async fn a_late_start_completes_an_attempt() {
    let database = Database::migrated().await;
    let store = database.store();
    store.record(vec![end("a", "t", 1, Some("Task"), done())]).await.unwrap();
    store.record(vec![start("a", "t", 1)]).await.unwrap();
    let complete = "select count(*) from attempts where pod = 't-1' and failure = 'Task' and started_at is not null";
    assert_eq!(database.number(complete).await, 1);
}

#[tokio::test]
async fn states_go_forward_only() {
    let database = Database::migrated().await;
    let store = database.store();
    // The order holds within one batch, and across batches. Of transitions at the same time, the last one counts.
    store
        .record(vec![task_transition("a", "t", "Running", 20), task_transition("a", "t", "Pending", 10)])
        .await
        .unwrap();
    assert_eq!(database.number("select count(*) from tasks where state = 'Running'").await, 1);
    store.record(vec![task_transition("a", "t", "Ready", 15), plan_transition("a", "p", "Running", 5)]).await.unwrap();
    assert_eq!(database.number("select count(*) from tasks where state = 'Running' and task_id = 'T'").await, 1);
    store
        .record(vec![task_transition("a", "t", "Verifying", 20), task_transition("a", "t", "Succeeded", 20)])
        .await
        .unwrap();
    assert_eq!(database.number("select count(*) from tasks where state = 'Succeeded'").await, 1);
    assert_eq!(database.number("select count(*) from audit where event = 'Transition'").await, 6);
    assert_eq!(database.number("select count(*) from plans where name = 'p' and state = 'Running'").await, 1);
}

#[tokio::test]
async fn an_object_with_the_same_name_is_another_subject() {
    let database = Database::migrated().await;
    let store = database.store();
    let mut second = task_transition("a", "t", "Running", 1);
    second.subject.uid = "uid-of-another".into();
    store.record(vec![task_transition("a", "t", "Running", 1), second]).await.unwrap();
    assert_eq!(database.number("select count(*) from tasks where name = 't'").await, 2);
}

#[tokio::test]
async fn times_keep_their_milliseconds() {
    let database = Database::migrated().await;
    let store = database.store();
    for (number, at) in [0, 1, -1, 1_700_000_000_123, 1_767_225_599_999, 253_402_300_799_999].into_iter().enumerate() {
        let mut record = revision("a", subject(Kind::Specification, &format!("s{number}")), "text");
        record.at = Millis(at);
        store.record(vec![record]).await.unwrap();
        let revisions = store.history("a", Kind::Specification, "team", &format!("s{number}"), None, 1).await.unwrap();
        assert_eq!(revisions[0].at, Millis(at));
    }
    let mut late = plan_transition("a", "p", "Running", 1);
    late.at = Millis(i64::MAX);
    let error = store.record(vec![late]).await.expect_err("Postgres has no such time");
    assert_eq!(error.class(), ErrorClass::Permanent, "{error}");
}

#[tokio::test]
async fn documents_are_stored_unchanged_and_once() {
    let database = Database::migrated().await;
    let store = database.store();
    let spec = subject(Kind::Specification, "s");
    let text = "# Spec\r\n\0 \u{1F600}";
    store.record(vec![revision("a", spec.clone(), text), revision("a", spec.clone(), "newer")]).await.unwrap();
    store.record(vec![revision("a", spec.clone(), text), revision("a", subject(Kind::Plan, "p"), text)]).await.unwrap();
    let digest = Digest::of_bytes(text.as_bytes());
    assert_eq!(store.content("a", &digest).await.unwrap().as_deref(), Some(text.as_bytes()));
    assert_eq!(store.content("b", &digest).await.unwrap(), None);
    assert_eq!(database.number("select count(*) from contents").await, 2);

    let mut forged = revision("a", spec, "something");
    if let Event::Revision { content, .. } = &mut forged.event {
        content.push_str(" else");
    }
    let error = store.record(vec![forged]).await.expect_err("the digest is of another content");
    assert!(error.to_string().contains("contents_digest_is_of_content"), "{error}");
    assert_eq!(error.class(), ErrorClass::Permanent);
}

#[tokio::test]
async fn invalid_texts_are_cleaned_truncated_or_rejected() {
    let database = Database::migrated().await;
    let store = database.store();
    let mut odd = task_transition("a", "t", "Running", 1);
    odd.actor = "x\0y".into();
    if let Event::Transition { message, reason, .. } = &mut odd.event {
        *message = format!("\0{}", "ü".repeat(1 << 20));
        *reason = "Nu\0l".into();
    }
    let mut report = Report::new(Reason::AgentFailed, "a\0b \\u0000 \u{FFFF}");
    report.outputs.insert("k\0".into(), "v\0".into());
    store.record(vec![odd, end("a", "t", 1, Some("Task"), report)]).await.unwrap();
    let row = sqlx::query(
        "select details ->> 'reason' as reason, octet_length(details ->> 'message') as length, actor from audit
        where event = 'Transition'",
    )
    .fetch_one(&mut database.superuser().await)
    .await
    .unwrap();
    assert_eq!((row.get("reason"), row.get("actor")), ("Nu\u{FFFD}l", "x\u{FFFD}y"));
    assert!(row.get::<i32, _>("length") <= 32 << 10);
    let report: serde_json::Value =
        sqlx::query_scalar("select report from attempts").fetch_one(&mut database.superuser().await).await.unwrap();
    assert_eq!(report["message"], "a\u{FFFD}b \\u0000 \u{FFFF}");
    assert_eq!(report["outputs"]["k\u{FFFD}"], "v\u{FFFD}");

    let rows = database.rows().await;
    let mut long = plan_transition("a", "p", "Running", 1);
    long.subject.name = "n".repeat(254);
    let huge = revision("a", subject(Kind::Specification, "s"), &"x".repeat((4 << 20) + 1));
    let none = start("a", "t", 0);
    let beyond = start("a", "t", u32::MAX);
    for bad in [long, huge, none, beyond] {
        let error = store.record(vec![bad, plan_transition("a", "p", "Running", 2)]).await.expect_err("refused");
        assert_eq!(error.class(), ErrorClass::Permanent, "{error}");
        assert!(error.to_string().len() < 1024, "{error}");
    }
    let mut nobody = plan_transition("a", "p", "Running", 1);
    nobody.tenant = "a'; drop schema enact".into();
    assert_eq!(store.record(vec![nobody]).await.expect_err("no tenant").category(), "invalid");
    assert_eq!(database.rows().await, rows, "a refused batch leaves nothing behind");
}

#[tokio::test]
async fn outgoing_events_carry_their_transaction() {
    let database = Database::migrated().await;
    let store = database.store();
    store
        .record(vec![task_transition("a", "t1", "Running", 1), task_transition("a", "t2", "Running", 1)])
        .await
        .unwrap();
    store.record(vec![task_transition("a", "t3", "Running", 1)]).await.unwrap();
    assert_eq!(database.number("select count(distinct xid) from outbox").await, 2);
    // Open transactions of other databases on this server delay it, too.
    let sendable = "select count(*) from outbox where xid < pg_snapshot_xmin(pg_current_snapshot())";
    let all = async {
        while database.number(sendable).await < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), all).await.expect("all can be sent once other transactions end");
    let names: Vec<String> = sqlx::query_scalar("select name::text from outbox order by xid, id")
        .fetch_all(&mut database.superuser().await)
        .await
        .unwrap();
    assert_eq!(names, ["t1", "t2", "t3"]);
}
