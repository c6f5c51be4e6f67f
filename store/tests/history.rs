//! Revisions of documents: content that returns is a new revision, and no revision is recorded twice.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use enact_domain::digest::Digest;
use enact_domain::record::{Event, Kind, MAX_FINDINGS_BYTES, Record};
use enact_domain::time::Millis;
use enact_store::{ErrorClass, MAX_CONTENT_BYTES, Revision, RevisionSelector, Store};
use serde_json::json;
use sqlx::Executor as _;
use support::{Database, record, revision, subject};

/// Returns a revision of the specification `s`, whose UID ends with `uid`.
fn spec_revision(uid: &str, content: &str, at: i64, reason: &str) -> Record {
    let mut record = revision("a", subject(Kind::Specification, "s"), content);
    record.subject.uid = format!("uid-{uid}");
    record.at = Millis(at);
    record.actor = "ann".into();
    if let Event::Revision { reason: why, commit, .. } = &mut record.event {
        *why = reason.into();
        *commit = Some(format!("commit-of-{content}"));
    }
    record
}

fn approval(uid: &str, content: &str, approved: bool, at: i64) -> Record {
    let event = Event::Approval {
        kind: Kind::Specification,
        name: "s".into(),
        digest: Digest::of_bytes(content.as_bytes()),
        approved,
        comment: "so be it".into(),
    };
    let mut record = record("a", subject(Kind::Approval, uid), at, event);
    record.actor = "bob".into();
    record
}

async fn history(store: &Store) -> Vec<Revision> {
    store.history("a", Kind::Specification, "team", "s", None, 100).await.unwrap()
}

/// Returns UID, number and content of each revision.
async fn revisions(store: &Store) -> Vec<(String, u32, String)> {
    let mut revisions = Vec::new();
    for revision in history(store).await {
        let content = store.content("a", &revision.digest).await.unwrap().unwrap();
        revisions.push((revision.uid, revision.number, String::from_utf8(content).unwrap()));
    }
    revisions
}

fn expected<const N: usize>(rows: [(&str, u32, &str); N]) -> Vec<(String, u32, String)> {
    rows.map(|(uid, number, content)| (format!("uid-{uid}"), number, content.to_owned())).to_vec()
}

#[tokio::test]
async fn a_long_version_is_truncated() {
    let database = Database::migrated().await;
    let store = database.store();
    let mut record = spec_revision("1", "one", 1, "Source");
    if let Event::Revision { version, .. } = &mut record.event {
        *version = Some(format!("{}ü", "1".repeat(255)));
    }
    store.record(vec![record]).await.unwrap();
    assert_eq!(history(&store).await[0].version, Some("1".repeat(255)), "at a character boundary");
}

#[tokio::test]
async fn content_that_returns_is_a_new_revision() {
    let database = Database::migrated().await;
    let store = database.store();
    store.record(vec![spec_revision("1", "one", 10, "Source")]).await.unwrap();
    store.record(vec![approval("d1", "one", false, 11), approval("d2", "one", true, 12)]).await.unwrap();
    store.record(vec![spec_revision("1", "two", 20, "Clarification")]).await.unwrap();
    store.record(vec![spec_revision("1", "one", 30, "Rollback of 1")]).await.unwrap();
    assert_eq!(revisions(&store).await, expected([("1", 3, "one"), ("1", 2, "two"), ("1", 1, "one")]));
    let revisions = history(&store).await;
    assert_eq!(
        revisions.iter().map(|r| r.reason.as_str()).collect::<Vec<_>>(),
        ["Rollback of 1", "Clarification", "Source"]
    );
    let newest = &revisions[0];
    assert_eq!((newest.actor.as_str(), newest.at, newest.version.as_deref()), ("ann", Millis(30), Some("1.0.0")));
    assert_eq!(newest.commit.as_deref(), Some("commit-of-one"));
    let approvals: Vec<_> = newest.approvals.iter().map(|v| (v.actor.as_str(), v.approved, v.at)).collect();
    assert_eq!(
        approvals,
        [("bob", false, Millis(11)), ("bob", true, Millis(12))],
        "an approval belongs to the content"
    );
    assert_eq!(revisions[1].approvals, []);
    assert_eq!(database.number("select count(*) from audit where event = 'Revision'").await, 3);
    assert_eq!(database.number("select count(*) from outbox where payload ->> 'number' = '3'").await, 1);
}

#[tokio::test]
async fn a_repeated_batch_adds_nothing() {
    let database = Database::migrated().await;
    let store = database.store();
    // A crash between the record and the status: the second try has another time.
    store.record(vec![spec_revision("1", "one", 10, "Source")]).await.unwrap();
    store.record(vec![spec_revision("1", "one", 11, "Source")]).await.unwrap();
    // The answer was lost: the same batch is recorded again, after newer records.
    let batch = || {
        vec![
            spec_revision("1", "two", 20, "Source"),
            spec_revision("1", "one", 30, "Rollback of 1"),
            spec_revision("1", "two", 40, "x"),
        ]
    };
    store.record(batch()).await.unwrap();
    let rows = database.rows().await;
    store.record(batch()).await.unwrap();
    store.record(batch().into_iter().chain(batch()).collect()).await.unwrap();
    assert_eq!(database.rows().await, rows);
    assert_eq!(revisions(&store).await, expected([("1", 4, "two"), ("1", 3, "one"), ("1", 2, "two"), ("1", 1, "one")]));
}

#[tokio::test]
async fn history_covers_all_objects_of_a_name() {
    let database = Database::migrated().await;
    let store = database.store();
    store.record(vec![spec_revision("1", "one", 10, "Source"), spec_revision("1", "two", 20, "Source")]).await.unwrap();
    store.record(vec![spec_revision("2", "one", 30, "Source")]).await.unwrap();
    assert_eq!(revisions(&store).await, expected([("2", 1, "one"), ("1", 2, "two"), ("1", 1, "one")]));

    let page = |before, limit| store.history("a", Kind::Specification, "team", "s", before, limit);
    let first = page(None, 2).await.unwrap();
    let rest = page(first.last().map(|r| r.position), 2).await.unwrap();
    assert_eq!([first, rest].concat(), history(&store).await);
    assert_eq!(page(Some(1), 2).await.unwrap(), []);

    let one = async |selector| store.revision("a", Kind::Specification, "team", "s", &selector).await;
    let found = one(RevisionSelector::Number(1)).await.unwrap().unwrap();
    assert_eq!((found.uid.as_str(), found.number), ("uid-2", 1), "the newest object's");
    assert_eq!(one(RevisionSelector::Number(2)).await.unwrap().unwrap().uid, "uid-1");
    assert_eq!(one(RevisionSelector::Number(3)).await.unwrap(), None);
    assert_eq!(one(RevisionSelector::Number(u32::MAX)).await.unwrap(), None);
    let digest = Digest::of_bytes(b"one");
    for prefix in [digest.as_str(), digest.short(), &digest.short().to_uppercase()] {
        let found = one(RevisionSelector::DigestPrefix(prefix.into())).await.unwrap().unwrap();
        assert_eq!((found.uid.as_str(), &found.digest), ("uid-2", &digest));
    }
    assert_eq!(one(RevisionSelector::DigestPrefix("00000000".into())).await.unwrap(), None);
    for prefix in ["", "abc", "sha256:", "xyzzy", "_____", "%%%%", "1234'; --", "1234\0", &"a".repeat(65)] {
        let error = one(RevisionSelector::DigestPrefix(prefix.into())).await.expect_err(prefix);
        assert_eq!(error.category(), "invalid", "{prefix}: {error}");
    }
}

#[tokio::test]
async fn a_prefix_of_two_contents_is_ambiguous() {
    let database = Database::migrated().await;
    let store = database.store();
    // 1,000 contents have half a million pairs, and there are only 65,536 prefixes, so two contents share one.
    let contents: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    let prefix = |content: &String| Digest::of_bytes(content.as_bytes()).short()[..4].to_owned();
    let mut sorted: Vec<_> = contents.iter().map(|content| (prefix(content), content)).collect();
    sorted.sort();
    let pair = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0).unwrap();
    store
        .record(vec![spec_revision("1", pair[0].1, 1, "Source"), spec_revision("1", pair[1].1, 2, "Source")])
        .await
        .unwrap();
    let selector = RevisionSelector::DigestPrefix(pair[0].0.clone());
    let error = store.revision("a", Kind::Specification, "team", "s", &selector).await.expect_err("two match");
    assert!(
        error.to_string().contains("matches revision 2") && error.to_string().contains("and revision 1"),
        "{error}"
    );
}

#[tokio::test]
async fn another_tenant_sees_no_revisions() {
    let database = Database::migrated().await;
    let store = database.store();
    store.record(vec![spec_revision("1", "one", 10, "Source"), findings("one", json!([1]))]).await.unwrap();
    let digest = Digest::of_bytes(b"one");
    assert_eq!(store.history("b", Kind::Specification, "team", "s", None, 9).await.unwrap(), []);
    let selector = RevisionSelector::Number(1);
    assert_eq!(store.revision("b", Kind::Specification, "team", "s", &selector).await.unwrap(), None);
    assert_eq!(store.findings("b", "uid-1", &digest).await.unwrap(), None);
    // A tenant's own object of the same name has its own numbers, from one.
    let mut own = spec_revision("1", "two", 20, "Source");
    own.tenant = "b".into();
    store.record(vec![own]).await.unwrap();
    let seen = store.history("b", Kind::Specification, "team", "s", None, 9).await.unwrap();
    assert_eq!(seen.iter().map(|r| (r.number, r.position)).collect::<Vec<_>>(), [(1, 1)]);
}

#[tokio::test]
async fn concurrent_writers_number_without_gaps() {
    let database = Database::migrated().await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..16 {
        let store = database.store();
        writers.spawn(async move {
            let batch = vec![
                spec_revision("1", &format!("c{number}"), number, "Source"),
                spec_revision("2", "x", number, "Source"),
            ];
            store.record(batch).await.unwrap();
        });
    }
    writers.join_all().await;
    let revisions = revisions(&database.store()).await;
    let numbers = |uid: &str| revisions.iter().filter(|(of, ..)| of == uid).map(|(_, n, _)| *n).collect::<Vec<_>>();
    assert_eq!(numbers("uid-1"), (1..=16).rev().collect::<Vec<_>>());
    assert_eq!(numbers("uid-2"), [1]);
}

fn findings(content: &str, findings: serde_json::Value) -> Record {
    let digest = Digest::of_bytes(content.as_bytes());
    let mut subject = subject(Kind::Specification, "s");
    subject.uid = "uid-1".into();
    record("a", subject, 600, Event::Findings { digest, analyser: "enact/1".into(), findings })
}

#[tokio::test]
async fn findings_are_stored_by_content_and_analyser() {
    let database = Database::migrated().await;
    let store = database.store();
    let digest = Digest::of_bytes(b"one");
    assert_eq!(store.findings("a", "uid-1", &digest).await.unwrap(), None);
    store.record(vec![findings("one", json!([{ "id": "A1", "te\0xt": ["\0"] }]))]).await.unwrap();
    store.record(vec![findings("one", json!([]))]).await.unwrap();
    let kept = store.findings("a", "uid-1", &digest).await.unwrap().unwrap();
    assert_eq!(kept.findings, json!([{ "id": "A1", "te\u{FFFD}xt": ["\u{FFFD}"] }]), "the first stays");
    assert_eq!((kept.analyser.as_str(), kept.total, kept.at), ("enact/1", 1, Millis(600)));

    let mut newer = findings("one", json!([]));
    newer.at = Millis(700);
    if let Event::Findings { analyser, .. } = &mut newer.event {
        *analyser = "enact/2".into();
    }
    store.record(vec![newer]).await.unwrap();
    assert_eq!(store.findings("a", "uid-1", &digest).await.unwrap().unwrap().analyser, "enact/2");
}

#[tokio::test]
async fn findings_are_bounded_and_counted() {
    let database = Database::migrated().await;
    let store = database.store();
    let many: Vec<_> = (0..5_000).map(|number| json!({ "id": number, "message": "x".repeat(1 << 10) })).collect();
    store.record(vec![findings("many", many.clone().into())]).await.unwrap();
    let kept = store.findings("a", "uid-1", &Digest::of_bytes(b"many")).await.unwrap().unwrap();
    let found = kept.findings.as_array().unwrap();
    assert_eq!((kept.total, &found[..]), (5_000, &many[..found.len()]));
    let bytes = kept.findings.to_string().len();
    assert!((MAX_FINDINGS_BYTES - 2_000..=MAX_FINDINGS_BYTES).contains(&bytes), "{bytes}");
    let error = store.record(vec![findings("one", json!({ "no": "array" }))]).await.expect_err("no array");
    assert_eq!((error.category(), error.class()), ("invalid", ErrorClass::Permanent), "{error}");
}

#[tokio::test]
async fn reasons_are_cleaned_and_truncated() {
    let database = Database::migrated().await;
    let store = database.store();
    let long = format!("be\0cause {}", "ü".repeat(1 << 10));
    store.record(vec![spec_revision("1", "one", 10, &long)]).await.unwrap();
    let reason = &history(&store).await[0].reason;
    assert!(reason.starts_with("be\u{FFFD}cause ü") && reason.len() <= 1 << 10, "{reason}");
}

#[tokio::test]
async fn a_delivered_document_is_stored_before_its_revision() {
    let database = Database::migrated().await;
    let store = database.store();
    let digest = store.deliver_document("a", "pod-1", b"# Draft\0\xff").await.unwrap().expect("accepted");
    for pod in ["pod-1", "pod-2"] {
        assert_eq!(store.deliver_document("a", pod, b"# Draft\0\xff").await.unwrap().as_ref(), Some(&digest), "{pod}");
    }
    assert_eq!(store.content("a", &digest).await.unwrap().as_deref(), Some(&b"# Draft\0\xff"[..]));
    assert_eq!(store.content("b", &digest).await.unwrap(), None);
    let largest = vec![b'x'; MAX_CONTENT_BYTES];
    assert!(store.deliver_document("a", "pod-3", &largest).await.unwrap().is_some());
    let error = store.deliver_document("a", "pod-4", &[&largest[..], b"x"].concat()).await.expect_err("too large");
    assert!(error.to_string().contains("4194305 bytes, more than the maximum of 4194304"), "{error}");
    assert_eq!(error.class(), ErrorClass::Permanent);
    assert_eq!(database.number("select count(*) from contents").await, 2);
}

#[tokio::test]
async fn a_pod_delivers_one_document() {
    let database = Database::migrated().await;
    let store = database.store();
    assert!(store.deliver_document("a", "pod-1", b"# One").await.unwrap().is_some());
    assert_eq!(store.deliver_document("a", "pod-1", b"# Two").await.unwrap(), None);
    assert!(store.deliver_document("b", "pod-1", b"# Two").await.unwrap().is_some(), "another tenant has other pods");
    assert_eq!(database.number("select count(*) from contents where tenant_id = 'a'").await, 1);
    let mut superuser = database.superuser().await;
    let old = "update enact.document_deliveries set delivered_at = now() - interval '8 days'";
    superuser.execute(old).await.unwrap();
    assert!(store.deliver_document("a", "pod-2", b"# Two").await.unwrap().is_some());
    let left = "select count(*) from document_deliveries where tenant_id = 'a'";
    assert_eq!(database.number(left).await, 1, "those of ended pods are deleted");
}
