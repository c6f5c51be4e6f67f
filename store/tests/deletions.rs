//! Deleted objects: each is recorded once, and a deleted plan leaves no attempt open.

mod support;

use enact_domain::assignment::{Reason, Report};
use enact_domain::record::{Event, Kind, Record};
use support::{Database, done, end, plan_transition, record, start, subject, task_transition};

fn deleted(tenant: &str, kind: Kind, name: &str, by: &str, at: i64) -> Record {
    Record { actor: by.into(), ..record(tenant, subject(kind, name), at, Event::Deleted { note: String::new() }) }
}

#[tokio::test]
async fn a_deleted_plan_leaves_no_attempt_open() {
    let database = Database::migrated().await;
    let store = database.store();
    let records = [
        plan_transition("a", "p", "Running", 800),
        plan_transition("a", "q", "Running", 800),
        task_transition("a", "t1", "Running", 900),
        start("a", "t1", 1),
        end("a", "t1", 1, Some("Task"), Report::new(Reason::GateFailed, "no")),
        start("a", "t1", 2),
        start("b", "t1", 1),
    ];
    store.record(records.to_vec()).await.unwrap();
    // A start in the batch of the deletion is ended too.
    store.record(vec![start("a", "t2", 1), deleted("a", Kind::Plan, "p", "ann", 3_000)]).await.unwrap();

    let ends = |attempts: Vec<enact_domain::record::RecordedAttempt>| {
        let reason = |report: Option<Report>| report.map(|report| report.reason);
        let end = |a: enact_domain::record::RecordedAttempt| (a.subject_uid, a.number, a.finished, reason(a.report));
        attempts.into_iter().map(end).collect::<Vec<_>>()
    };
    let failed = || Some(Some("Task".to_owned()));
    let expected = [
        ("uid-t1".to_owned(), 1, failed(), Some(Reason::GateFailed)),
        ("uid-t1".to_owned(), 2, failed(), Some(Reason::PlanDeleted)),
        ("uid-t2".to_owned(), 1, failed(), Some(Reason::PlanDeleted)),
    ];
    assert_eq!(ends(store.recorded_attempts("a", "uid-p").await.unwrap()), expected);
    let of_another_tenant = ends(store.recorded_attempts("b", "uid-p").await.unwrap());
    assert_eq!(of_another_tenant, [("uid-t1".to_owned(), 1, None, None)]);
    let entries =
        "select count(*) from audit where tenant_id = 'a' and event = 'AttemptFinished' and actor = 'system:enact'
                   and details ->> 'reason' = 'PlanDeleted' and plan_uid = 'uid-p' and kind = 'Task'";
    assert_eq!(database.number(entries).await, 2);
    let by_ann = "select count(*) from audit where event = 'Deleted' and actor = 'ann' and subject_uid = 'uid-p'";
    assert_eq!(database.number(by_ann).await, 1);

    // What comes later changes nothing.
    let rows = database.rows().await;
    let late = vec![deleted("a", Kind::Plan, "p", "unknown", 9_000), end("a", "t1", 2, None, done())];
    store.record(late).await.unwrap();
    assert_eq!(database.rows().await, rows);
    assert_eq!(ends(store.recorded_attempts("a", "uid-p").await.unwrap()), expected);
    assert_eq!(database.number(by_ann).await, 1);
}

#[tokio::test]
async fn plans_are_listed_until_they_are_deleted() {
    let database = Database::migrated().await;
    let store = database.store();
    let records = ["p", "q", "r"].map(|plan| plan_transition("a", plan, "Running", 800));
    store.record(records.to_vec()).await.unwrap();
    store.record(vec![plan_transition("b", "p", "Running", 800)]).await.unwrap();
    let plans = |names: &[&str]| names.iter().map(|name| subject(Kind::Plan, name)).collect::<Vec<_>>();
    assert_eq!(store.recorded_plans("a", "").await.unwrap(), plans(&["p", "q", "r"]));
    assert_eq!(store.recorded_plans("a", "uid-p").await.unwrap(), plans(&["q", "r"]));
    let deletions = vec![deleted("a", Kind::Plan, "q", "ann", 900), deleted("a", Kind::Approval, "r", "ann", 900)];
    store.record(deletions).await.unwrap();
    assert_eq!(store.recorded_plans("a", "").await.unwrap(), plans(&["p", "r"]));
    assert_eq!(store.recorded_plans("b", "").await.unwrap(), plans(&["p"]));
}

#[tokio::test]
async fn objects_are_found_by_uid_in_the_record_of_their_tenant_alone() {
    let database = Database::migrated().await;
    let store = database.store();
    let records = [plan_transition("a", "p", "Running", 800), task_transition("a", "t1", "Running", 900)];
    store.record(records.to_vec()).await.unwrap();
    let found = async |tenant: &str, uids: &[&str]| {
        let uids: Vec<String> = uids.iter().map(|uid| (*uid).to_owned()).collect();
        store.recorded_subjects(tenant, &uids).await
    };
    assert_eq!(found("a", &["uid-p", "uid-none"]).await.unwrap(), [subject(Kind::Plan, "p")]);
    assert_eq!(found("b", &["uid-p"]).await.unwrap(), []);
    assert!(found("X_", &["uid-p"]).await.is_err(), "no tenant has this name");
}
