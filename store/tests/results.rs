//! Results of pods: the first result of an attempt counts, and a late one overwrites nothing.

mod support;

use std::time::Duration;

use enact_domain::assignment::{AttemptResult, GateResult, MAX_RESULT_BYTES, Reason, Report};
use enact_domain::digest::Digest;
use enact_domain::record::{Event, Kind};
use enact_store::{Delivery, DeliveryOutcome, ErrorClass, Registration, Store};
use support::{Database, done, end, plan_transition, pod, record, start, subject};
use tokio::task::JoinSet;

fn delivery(task: &str, attempt: u32, message: &str) -> Delivery {
    Delivery {
        tenant: "a".into(),
        namespace: "team".into(),
        pod_uid: format!("pod-{task}-{attempt}"),
        plan_uid: "uid-p".into(),
        runner_key: None,
        result: AttemptResult {
            subject_uid: format!("uid-{task}"),
            attempt,
            report: Report::new(Reason::Succeeded, message),
            transcript: "thinking …".into(),
            gates: vec![GateResult { name: "build".into(), exit_code: Some(0), output: "ok".into() }],
            duration_ms: 1234,
        },
    }
}

async fn delivered(store: &Store) -> Vec<(u32, Option<String>)> {
    let attempts = store.recorded_attempts("a", "uid-p").await.expect("the attempts can be read");
    attempts.into_iter().map(|attempt| (attempt.number, attempt.report.map(|report| report.message))).collect()
}

#[tokio::test]
async fn the_first_result_counts() {
    let database = Database::migrated().await;
    let store = database.store();
    store.record(vec![start("a", "t", 1)]).await.unwrap();
    assert_eq!(store.deliver(delivery("t", 1, "first")).await.unwrap(), DeliveryOutcome::Stored);
    let rows = database.rows().await;
    assert_eq!(store.deliver(delivery("t", 1, "first")).await.unwrap(), DeliveryOutcome::AlreadyThere);
    assert_eq!(database.rows().await, rows, "a repetition contradicts nothing");
    assert_eq!(store.deliver(delivery("t", 1, "second")).await.unwrap(), DeliveryOutcome::AlreadyThere);
    assert_eq!(delivered(&store).await, [(1, Some("first".to_owned()))]);
    assert_eq!(
        database.result("a", "uid-t", 1).await,
        Some(delivery("t", 1, "first").result),
        "the whole result is stored"
    );
    let stored =
        "select count(*) from results where plan_uid = 'uid-p' and not stale and received_at > to_timestamp(0)";
    assert_eq!(database.number(stored).await, 1);
    let delivered_events = "select count(*) from audit where event = 'ResultDelivered' and actor = 'pod:team/pod-t-1'";
    assert_eq!(database.number(delivered_events).await, 1);
    assert_eq!(database.result("b", "uid-t", 1).await, None);
}

#[tokio::test]
async fn a_result_after_the_success_is_stored() {
    let database = Database::migrated().await;
    let store = database.store();
    store.record(vec![start("a", "t", 1), end("a", "t", 1, None, done())]).await.unwrap();
    assert_eq!(store.deliver(delivery("t", 1, "late")).await.unwrap(), DeliveryOutcome::Stored);
}

#[tokio::test]
async fn a_stale_result_is_evidence_only() {
    let database = Database::migrated().await;
    let store = database.store();
    let lost = Report::new(Reason::Lost, "the node was lost");
    store.record(vec![start("a", "t", 1), end("a", "t", 1, Some("Unknown"), lost)]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.deliver(delivery("t", 1, "too late")).await.unwrap(), DeliveryOutcome::Stale);
    }
    store.record(vec![start("a", "t", 2), start("a", "t", 3)]).await.unwrap();
    assert_eq!(store.deliver(delivery("t", 2, "overtaken")).await.unwrap(), DeliveryOutcome::Stale);
    assert_eq!(store.deliver(delivery("t", 3, "in time")).await.unwrap(), DeliveryOutcome::Stored);
    assert_eq!(
        delivered(&store).await,
        [(1, Some("the node was lost".to_owned())), (2, None), (3, Some("in time".to_owned()))]
    );
    assert_eq!(database.number("select count(*) from results where stale").await, 2);
    assert_eq!(database.number("select count(*) from attempts where failure = 'Unknown'").await, 1);
}

#[tokio::test]
async fn deliveries_at_once_store_one() {
    let database = Database::migrated().await;
    let store = database.store();
    store.record(vec![start("a", "t", 1)]).await.unwrap();
    let mut deliveries = JoinSet::new();
    for number in 0..16 {
        let store = store.clone();
        deliveries.spawn(async move { store.deliver(delivery("t", 1, &number.to_string())).await.unwrap() });
    }
    let outcomes = deliveries.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == DeliveryOutcome::Stored).count(), 1, "{outcomes:?}");
    assert!(!outcomes.contains(&DeliveryOutcome::Stale));
    assert_eq!(database.number("select count(*) from outbox where event = 'ResultDelivered'").await, 1);
}

#[tokio::test]
async fn an_end_and_a_result_at_once_agree() {
    let database = Database::migrated().await;
    let store = database.store();
    let mut stored = 0;
    for number in 1..=20 {
        let task = format!("t{number}");
        store.record(vec![start("a", &task, 1)]).await.unwrap();
        let lost = end("a", &task, 1, Some("Unknown"), Report::new(Reason::Lost, "gone"));
        let (ended, outcome) = tokio::join!(store.record(vec![lost]), store.deliver(delivery(&task, 1, "here")));
        ended.unwrap();
        let attempts = store.recorded_attempts("a", "uid-p").await.unwrap();
        let attempt = attempts.iter().find(|attempt| attempt.subject_uid == format!("uid-{task}")).unwrap();
        assert_eq!(attempt.finished, Some(Some("Unknown".into())));
        assert_eq!(attempt.report.as_ref().map(|r| r.reason), Some(Reason::Lost), "how it ended, whatever came first");
        stored += i64::from(outcome.unwrap() == DeliveryOutcome::Stored);
        assert_eq!(database.number("select count(*) from results where not stale").await, stored);
    }
}

#[tokio::test]
async fn hostile_results_are_cleaned_and_bounded() {
    let database = Database::migrated().await;
    let store = database.store();
    store.record(vec![start("a", "t", 1)]).await.unwrap();
    let mut hostile = delivery("t", 1, "a\0b");
    hostile.result.transcript = "\0".repeat(MAX_RESULT_BYTES);
    hostile.result.gates[0].output = "x\0".into();
    hostile.result.duration_ms = u64::MAX;
    assert_eq!(store.deliver(hostile).await.unwrap(), DeliveryOutcome::Stored);
    let kept = database.result("a", "uid-t", 1).await.unwrap();
    assert_eq!((kept.report.message.as_str(), kept.gates[0].output.as_str()), ("a\u{FFFD}b", "x\u{FFFD}"));
    assert!(kept.transcript.len() <= MAX_RESULT_BYTES);
    assert_eq!(store.deliver(delivery("t", 0, "")).await.unwrap(), DeliveryOutcome::NotItsPod);
    let error = store.deliver(delivery("t", u32::MAX, "")).await.expect_err("no such attempt");
    assert_eq!(error.class(), ErrorClass::Permanent, "{error}");
    let mut other = delivery("t", 2, "");
    other.tenant = "a' or true --".into();
    assert_eq!(store.deliver(other).await.expect_err("no tenant").category(), "invalid");
}

#[tokio::test]
async fn a_report_of_a_newer_release_is_an_error() {
    let database = Database::migrated().await;
    let store = database.store();
    store.record(vec![start("a", "t", 1)]).await.unwrap();
    store.deliver(delivery("t", 1, "done")).await.unwrap();
    let newer = r#"update results set report = '{"reason": "FromTheFuture"}'"#;
    sqlx::query(newer).execute(&mut database.superuser().await).await.unwrap();
    let error = store.recorded_attempts("a", "uid-p").await.expect_err("nobody knows whether the work was done");
    assert_eq!((error.category(), error.class()), ("unreadable", ErrorClass::Permanent), "{error}");
}

#[tokio::test]
async fn only_the_registered_runner_delivers() {
    let database = Database::migrated().await;
    let store = database.store();
    let (ours, others) = (Digest::of_bytes(b"runner"), Digest::of_bytes(b"agent"));
    let register = async |key: &Digest| store.register_runner("a", "uid-t", 1, "pod-t-1", key).await.unwrap();
    assert_eq!(register(&ours).await, Registration::Refused, "the attempt is not recorded yet");
    store.record(vec![start("a", "t", 1)]).await.unwrap();
    assert_eq!(register(&ours).await, Registration::Accepted);
    assert_eq!(register(&ours).await, Registration::Accepted, "a repetition has no effect");
    assert_eq!(register(&others).await, Registration::Refused);
    let with = |key: Option<&Digest>| Delivery { runner_key: key.cloned(), ..delivery("t", 1, "done") };
    for forged in [None, Some(&others)] {
        assert_eq!(store.deliver(with(forged)).await.unwrap(), DeliveryOutcome::Forged);
    }
    assert_eq!(database.number("select count(*) from results").await, 0);
    assert_eq!(store.deliver(with(Some(&ours))).await.unwrap(), DeliveryOutcome::Stored);
    store.record(vec![end("a", "t", 1, None, done())]).await.unwrap();
    assert_eq!(register(&ours).await, Registration::Refused, "the attempt has ended");
}

/// Whoever may create pods in the namespace can copy owner, labels and name of an attempt's pod.
#[tokio::test]
async fn only_the_recorded_pod_speaks_for_an_attempt() {
    let database = Database::migrated().await;
    let store = database.store();
    let key = Digest::of_bytes(b"runner");
    let register = async |pod_uid: &str| store.register_runner("a", "uid-t", 1, pod_uid, &key).await.unwrap();
    let from = |pod_uid: &str, key: Option<&Digest>| Delivery {
        pod_uid: pod_uid.into(),
        runner_key: key.cloned(),
        ..delivery("t", 1, "done")
    };
    let deliver = async |pod_uid: &str, key: Option<&Digest>| store.deliver(from(pod_uid, key)).await.unwrap();
    assert_eq!(register("forged").await, Registration::Refused, "nobody has started the attempt");
    assert_eq!(deliver("forged", None).await, DeliveryOutcome::NotItsPod);

    let mut begun = start("a", "t", 1);
    let Event::AttemptStarted { pod_uid, .. } = &mut begun.event else { panic!("a start is recorded") };
    *pod_uid = None;
    store.record(vec![begun]).await.unwrap();
    let rows = database.rows().await;
    for anyone in ["forged", "pod-t-1"] {
        assert_eq!(register(anyone).await, Registration::PodUnknown, "the operator has not seen its pod yet");
        assert_eq!(deliver(anyone, None).await, DeliveryOutcome::PodUnknown);
    }
    assert_eq!(database.rows().await, rows);

    store.record(vec![pod("a", "t", 1, "pod-t-1")]).await.unwrap();
    assert_eq!(register("forged").await, Registration::Refused);
    assert_eq!(deliver("forged", None).await, DeliveryOutcome::NotItsPod);
    assert_eq!(register("pod-t-1").await, Registration::Accepted);
    store.record(vec![pod("a", "t", 1, "pod-t-1")]).await.unwrap();
    assert_eq!(deliver("pod-t-1", Some(&key)).await, DeliveryOutcome::Stored, "a repetition changes nothing");
    let recorded = store.recorded_attempts("a", "uid-p").await.unwrap();
    assert_eq!((recorded.len(), recorded[0].verified), (1, true));
}

#[tokio::test]
async fn a_result_is_verified_only_if_the_agent_cannot_send_it() {
    let database = Database::migrated().await;
    let store = database.store();
    // A runner of an older release registers no key, and its agent has the same token.
    store.record(vec![start("a", "t", 1)]).await.unwrap();
    assert_eq!(store.deliver(delivery("t", 1, "by anyone")).await.unwrap(), DeliveryOutcome::Stored);
    // The containers of an integration that run the agents' code have no token.
    let mut integration = start("a", "integration", 1);
    integration.subject = subject(Kind::Plan, "p");
    store.record(vec![integration]).await.unwrap();
    let mut result = delivery("integration", 1, "published");
    result.result.subject_uid = "uid-p".into();
    assert_eq!(store.deliver(result).await.unwrap(), DeliveryOutcome::Stored);
    let recorded = store.recorded_attempts("a", "uid-p").await.unwrap();
    let mut verified: Vec<_> = recorded.iter().map(|a| (a.subject_uid.as_str(), a.verified)).collect();
    verified.sort_unstable();
    assert_eq!(verified, [("uid-p", true), ("uid-t", false)]);
}

#[tokio::test]
async fn what_contradicts_a_result_is_kept_and_shown() {
    let database = Database::migrated().await;
    let store = database.store();
    let key = Digest::of_bytes(b"runner");
    store.record(vec![plan_transition("a", "p", "Running", 500), start("a", "t", 1)]).await.unwrap();
    assert_eq!(store.register_runner("a", "uid-t", 1, "pod-t-1", &key).await.unwrap(), Registration::Accepted);
    let by_runner = |message: &str| Delivery { runner_key: Some(key.clone()), ..delivery("t", 1, message) };
    let shown = async || {
        let attempts = store.attempts_of_task("a", "team", "p", "t").await.unwrap();
        attempts.into_iter().next().and_then(|attempt| attempt.contradiction)
    };
    assert_eq!(store.deliver(by_runner("done")).await.unwrap(), DeliveryOutcome::Stored);
    assert_eq!(store.deliver(by_runner("done")).await.unwrap(), DeliveryOutcome::AlreadyThere);
    assert_eq!(shown().await, None, "the runner only repeats what it sent");

    for message in ["otherwise", "and otherwise again"] {
        assert_eq!(store.deliver(by_runner(message)).await.unwrap(), DeliveryOutcome::AlreadyThere);
        assert_eq!(store.deliver(delivery("t", 1, message)).await.unwrap(), DeliveryOutcome::Forged);
    }
    let text = "the runner delivered Succeeded, then the pod ended with NoReport";
    let end_of_pod = Event::ResultContradicted {
        plan_uid: "uid-p".into(),
        number: 1,
        message: text.into(),
        report: Report::new(Reason::NoReport, ""),
    };
    for _ in 0..2 {
        store.record(vec![record("a", subject(Kind::Task, "t"), 3_000, end_of_pod.clone())]).await.unwrap();
    }
    assert_eq!(shown().await.as_deref(), Some("another result (Succeeded) was delivered later"), "the first one");
    let kept = "select count(*) from audit where event = 'ResultContradicted' and details -> 'report' is not null";
    assert_eq!(database.number(kept).await, 3, "the first of each kind, so that nobody fills the audit log");
    assert_eq!(database.number("select count(*) from outbox where event = 'ResultContradicted'").await, 3);
    assert_eq!(delivered(&store).await, [(1, Some("done".to_owned()))], "the first result stays");
}

#[tokio::test]
async fn the_operator_is_notified_of_verified_results() {
    let database = Database::migrated().await;
    let (server, operator) = (database.store(), database.store());
    let mut listener = operator.delivery_listener();
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move { while sender.send(listener.next().await).is_ok() {} });
    let key = Digest::of_bytes(b"runner");
    // Listening starts some time after the first call, so that the first notices can be lost.
    let first = async {
        for number in 1.. {
            let task = format!("t{number}");
            server.record(vec![start("a", &task, 1)]).await.unwrap();
            server.register_runner("a", &format!("uid-{task}"), 1, &format!("pod-{task}-1"), &key).await.unwrap();
            let sent = Delivery { runner_key: Some(key.clone()), ..delivery(&task, 1, "done") };
            assert_eq!(server.deliver(sent).await.unwrap(), DeliveryOutcome::Stored);
            if let Ok(notice) = tokio::time::timeout(Duration::from_millis(200), received.recv()).await {
                return notice.unwrap();
            }
        }
        unreachable!()
    };
    let notice = tokio::time::timeout(Duration::from_mins(1), first).await.expect("a delivery is announced");
    assert_eq!((notice.plan_uid.as_str(), notice.attempt), ("uid-p", 1));
    let about = [(notice.subject_uid.clone(), 1), ("uid-nobody".to_owned(), 1)];
    let found = operator.deliveries("a", &about).await.unwrap();
    let report = found[0].report.as_ref().map(|report| report.message.as_str());
    assert_eq!((found.len(), &found[0].subject_uid, report), (1, &notice.subject_uid, Some("done")));
    assert_eq!(operator.deliveries("b", &about).await.unwrap(), []);

    // What the agent can have sent ends no attempt before its pod does.
    server.record(vec![start("a", "old", 1)]).await.unwrap();
    assert_eq!(server.deliver(delivery("old", 1, "by anyone")).await.unwrap(), DeliveryOutcome::Stored);
    let unverified = operator.deliveries("a", &[("uid-old".to_owned(), 1)]).await.unwrap();
    assert_eq!((unverified.len(), &unverified[0].report), (1, &None));
}
