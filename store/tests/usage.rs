//! Usage by any dimension.

mod support;

use enact_domain::assignment::{Reason, Report};
use enact_domain::record::{Event, Kind};
use enact_domain::time::Millis;
use enact_domain::usage::Charge;
use enact_store::{
    Dimension, Discarded, FinishedTask, ModelRequest, RequestLog, RequestLogFilter, Store, UsageFilter, UsageQuery,
    UsageRow,
};
use serde_json::json;
use support::usage::*;
use support::{Database, done, end, plan_transition, record, revision, start, subject};
use uuid::Uuid;

/// Opens and settles requests of three tasks: `t1` with a failed and a running attempt, `t2` with another model of unknown price, and `t3`.
async fn scene(database: &Database) -> Store {
    let store = database.store();
    let mut lost = done();
    lost.message = "lost".into();
    store
        .record(vec![start("a", "t1", 1), end("a", "t1", 1, Some("Task"), lost), start("a", "t1", 2)])
        .await
        .expect("Postgres accepts the scene");
    let second = ModelRequest { attempt: 2, ..request(2, "t1") };
    let other = ModelRequest {
        model: "llama".into(),
        provider: "local".into(),
        agent: "team/other".into(),
        at: Millis(NOW.0 - 86_400_000),
        ..request(3, "t2")
    };
    let elsewhere = ModelRequest { namespace: "elsewhere".into(), plan_uid: "uid-x".into(), ..request(5, "t9") };
    let requests = [request(1, "t1"), second, other, request(4, "t3"), elsewhere, request(6, "t3")];
    store.open_requests("a", &requests).await.expect("Postgres accepts the scene");
    let settled = [
        settlement(1, charge(100, 10, 1000)),
        settlement(2, charge(200, 20, 2000)),
        settlement(3, charge(7, 8, None)),
        settlement(4, charge(1, 2, 30)),
        settlement(5, charge(9, 9, 9)),
    ];
    store.settle_requests("a", &settled).await.expect("Postgres accepts the scene");
    store
}

/// Returns the values of a dimension with tokens and cost.
fn totals(rows: &[UsageRow], dimension: Dimension) -> Vec<(String, u64, Option<u64>)> {
    let mut totals: Vec<_> = rows
        .iter()
        .map(|row| {
            let Charge { tokens, cost_micro_usd } = row.charge;
            (row.value(dimension).unwrap_or_default(), tokens.total(), cost_micro_usd)
        })
        .collect();
    totals.sort();
    totals
}

#[tokio::test]
async fn usage_is_grouped_by_any_dimension() {
    let database = Database::migrated().await;
    let store = scene(&database).await;
    let by = async |dimension| totals(&store.usage("a", &query(&[dimension])).await.unwrap(), dimension);
    let row = |name: &str, tokens, cost: Option<u64>| (name.to_owned(), tokens, cost);
    assert_eq!(by(Dimension::Plan).await, [row("shop", 348, Some(3030))]);
    let tasks = [row("shop-t1", 330, Some(3000)), row("shop-t2", 15, None), row("shop-t3", 3, Some(30))];
    assert_eq!(by(Dimension::Task).await, tasks);
    assert_eq!(by(Dimension::Model).await, [row("claude-sonnet-4-5", 333, Some(3030)), row("llama", 15, None)]);
    assert_eq!(by(Dimension::Provider).await, [row("anthropic", 333, Some(3030)), row("local", 15, None)]);
    assert_eq!(by(Dimension::Agent).await, [row("team/coder", 333, Some(3030)), row("team/other", 15, None)]);
    assert_eq!(by(Dimension::Day).await, [row("2026-11-29", 15, None), row("2026-11-30", 333, Some(3030))]);
    assert_eq!(by(Dimension::Namespace).await, [row("team", 348, Some(3030))]);
    let attempts = store.usage("a", &query(&[Dimension::Attempt])).await.unwrap();
    let attempts: Vec<_> = attempts
        .iter()
        .map(|row| (row.task.as_deref().unwrap_or_default(), row.attempt, row.charge.known_cost()))
        .collect();
    assert_eq!(
        attempts,
        [("shop-t1", Some(2), 2000), ("shop-t1", Some(1), 1000), ("shop-t3", Some(1), 30), ("shop-t2", Some(1), 0)],
        "with the highest cost first"
    );
    assert_eq!(store.usage("b", &query(&[Dimension::Plan])).await.unwrap(), [], "another tenant");
}

#[tokio::test]
async fn the_parts_of_usage_are_shown() {
    let database = Database::migrated().await;
    let store = scene(&database).await;
    let all = store.usage("a", &query(&[])).await.unwrap();
    let [all] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((all.requests, all.running, all.estimated, all.self_reported), (4, 1, 0, 0));
    assert_eq!(all.last_at, Some(Millis(NOW.0 + 50)), "the last requests ended after 50 ms");
    assert_eq!((all.charge.cost_micro_usd, all.unpriced_tokens), (Some(3030), 15));
    assert_eq!(all.discarded, charge(100, 10, 1000), "the first attempt at t1 failed");
    store.settle_abandoned("a", Millis(NOW.0 + 1)).await.unwrap();
    store.report_usage("a", &request(7, "t3"), &charge(1, 1, None)).await.unwrap();
    let all = store.usage("a", &query(&[])).await.unwrap();
    assert_eq!((all[0].requests, all[0].running, all[0].estimated, all[0].self_reported), (6, 0, 1, 1));
}

#[tokio::test]
async fn finished_tasks_have_the_usage_of_all_attempts() {
    let database = Database::migrated().await;
    let store = scene(&database).await;
    let mut started = plan_transition("a", "shop", "Running", 1);
    started.subject.uid = "uid-p".into();
    let ends = vec![
        started,
        end("a", "t1", 2, None, done()),
        start("a", "t2", 1),
        end("a", "t2", 1, None, done()),
        start("a", "t3", 1),
        end("a", "t3", 1, Some("Task"), done()),
        // A script.
        start("a", "t4", 1),
        end("a", "t4", 1, None, done()),
        start("a", "t5", 1),
    ];
    store.record(ends).await.unwrap();
    let mut tasks = store.finished_tasks("a").await.unwrap();
    tasks.sort_by_key(|task| task.tokens);
    let task =
        |tokens, cost_micro_usd, seconds| FinishedTask { agent: "team/coder".into(), tokens, cost_micro_usd, seconds };
    // Each attempt took half a second. The price of t2 is unknown; t3 failed and t5 runs.
    assert_eq!(tasks, [task(0, Some(0), 1), task(15, None, 1), task(330, Some(3000), 1)]);
    assert_eq!(store.finished_tasks("b").await.unwrap(), [], "another tenant");
}

#[tokio::test]
async fn discarded_usage_is_that_of_failed_and_replaced_attempts() {
    let database = Database::migrated().await;
    let store = scene(&database).await;
    let discarded = async || {
        let discarded = store.discarded("a", "uid-p").await.unwrap();
        (discarded.tokens, discarded.cost_micro_usd)
    };
    assert_eq!(discarded().await, (110, 1000), "the first attempt at t1 failed");
    // t3 has succeeded and is repeated for a newer specification.
    store.record(vec![start("a", "t3", 1), end("a", "t3", 1, None, done())]).await.unwrap();
    assert_eq!(discarded().await, (110, 1000));
    store.record(vec![start("a", "t3", 2)]).await.unwrap();
    assert_eq!(discarded().await, (113, 1030));
    let usage = store.usage("a", &query(&[])).await.unwrap();
    assert_eq!((usage[0].discarded.tokens.total(), usage[0].discarded.known_cost()), (113, 1030), "the report agrees");
    assert_eq!(store.discarded("b", "uid-p").await.unwrap(), Discarded::default(), "another tenant");
}

#[tokio::test]
async fn work_that_continues_after_a_budget_is_not_discarded() {
    let database = Database::migrated().await;
    let store = database.store();
    let ended = |number, reason| {
        let failure = (reason != Reason::Succeeded).then_some("Task");
        vec![start("a", "t1", number), end("a", "t1", number, failure, Report::new(reason, ""))]
    };
    let requests: Vec<ModelRequest> =
        (1..=4_u32).map(|attempt| ModelRequest { attempt, ..request(attempt.into(), "t1") }).collect();
    store.open_requests("a", &requests).await.unwrap();
    // The attempts use 10, 100, 1000 and 10000 tokens.
    let settled: Vec<_> = (1..=4_u32).map(|n| settlement(n.into(), charge(10_u64.pow(n), 0, 0))).collect();
    store.settle_requests("a", &settled).await.unwrap();
    let discarded = async || {
        let usage = store.usage("a", &query(&[])).await.unwrap();
        let of_plan = store.discarded("a", "uid-p").await.unwrap().tokens;
        assert_eq!(usage[0].discarded.tokens.total(), of_plan, "the report agrees");
        of_plan
    };
    store.record(ended(1, Reason::BudgetExceeded)).await.unwrap();
    assert_eq!(discarded().await, 0, "the next attempt continues");
    store.record(ended(2, Reason::ProviderQuota)).await.unwrap();
    store.record(vec![start("a", "t1", 3)]).await.unwrap();
    assert_eq!(discarded().await, 0);
    store.record(ended(3, Reason::GateFailed)).await.unwrap();
    assert_eq!(discarded().await, 1110, "the work of all three failed");
    store.record(ended(4, Reason::Succeeded)).await.unwrap();
    assert_eq!(discarded().await, 1110);
}

#[tokio::test]
async fn filters_select_requests() {
    let database = Database::migrated().await;
    let store = scene(&database).await;
    let count = async |filter: UsageFilter, from, to| {
        let query = UsageQuery { from: Millis(from), to: Millis(to), group_by: vec![], filter };
        store.usage("a", &query).await.unwrap().iter().map(|row| row.requests).sum::<u64>()
    };
    let text = |text: &str| Some(text.to_owned());
    let none = UsageFilter::default;
    assert_eq!(count(none(), 0, i64::MAX).await, 5, "of all namespaces");
    assert_eq!(count(none(), NOW.0, i64::MAX).await, 4);
    assert_eq!(count(none(), 0, NOW.0).await, 1, "the end is not included");
    assert_eq!(count(UsageFilter { namespace: text("elsewhere"), ..none() }, 0, i64::MAX).await, 1);
    assert_eq!(count(UsageFilter { plan: text("other"), ..none() }, 0, i64::MAX).await, 0);
    assert_eq!(count(UsageFilter { agent: text("team/other"), ..none() }, 0, i64::MAX).await, 1);
}

#[tokio::test]
async fn requirements_divide_the_usage_of_a_task() {
    let database = Database::migrated().await;
    let store = scene(&database).await;
    let content = json!({ "tasks": [
        { "id": "T1", "requirements": ["FR-001", "FR-002", "FR-001"] },
        { "id": "T2", "requirements": [] },
        { "id": "T3", "requirements": ["FR-002"] },
        { "id": "T4" },
    ] });
    // The plan's object has the UID of the requests' plan.
    let mut plan = subject(Kind::Plan, "shop");
    plan.uid = "uid-p".into();
    let older = json!({ "tasks": [{ "id": "T1", "requirements": ["FR-009"] }] });
    for text in [older, content] {
        store.record(vec![revision("a", plan.clone(), &text.to_string())]).await.unwrap();
    }
    let rows = store.usage("a", &query(&[Dimension::Requirement])).await.unwrap();
    let row = |name: &str, tokens, cost: Option<u64>| (name.to_owned(), tokens, cost);
    assert_eq!(
        totals(&rows, Dimension::Requirement),
        [row("(none)", 15, None), row("FR-001", 165, Some(1500)), row("FR-002", 168, Some(1530))]
    );
    assert!(rows.iter().all(|row| row.plan.as_deref() == Some("shop") && row.task.is_none()), "{rows:?}");
    let by_task = store.usage("a", &query(&[Dimension::Requirement, Dimension::Task])).await.unwrap();
    assert_eq!(by_task.len(), 4);
    let sum = |rows: &[UsageRow]| rows.iter().map(|row| row.charge.known_cost()).sum::<u64>();
    assert_eq!((sum(&rows), sum(&by_task)), (3030, 3030));
}

#[tokio::test]
async fn plans_of_a_specification_are_added_up() {
    let database = Database::migrated().await;
    let store = scene(&database).await;
    let second = ModelRequest { plan: "again".into(), plan_uid: "uid-q".into(), ..request(7, "t7") };
    store.open_requests("a", &[second]).await.unwrap();
    store.settle_requests("a", &[settlement(7, charge(1, 1, 70))]).await.unwrap();
    let tasks = json!([{ "id": "T1", "requirements": ["FR-001"] }]);
    let content = |specification| json!({ "specificationRef": { "name": specification }, "tasks": tasks }).to_string();
    for (uid, name, specification) in [("uid-p", "shop", "old"), ("uid-p", "shop", "cart"), ("uid-q", "again", "cart")]
    {
        let mut plan = subject(Kind::Plan, name);
        plan.uid = uid.into();
        store.record(vec![revision("a", plan, &content(specification))]).await.unwrap();
    }
    let rows = store.usage("a", &query(&[Dimension::Specification])).await.unwrap();
    assert_eq!(totals(&rows, Dimension::Specification), [("cart".to_owned(), 350, Some(3100))]);
    assert!(rows[0].plan.is_none() && rows[0].namespace.as_deref() == Some("team"), "{rows:?}");
    let rows = store.usage("a", &query(&[Dimension::Specification, Dimension::Plan])).await.unwrap();
    let row = |name: &str, tokens, cost| (name.to_owned(), tokens, Some(cost));
    assert_eq!(totals(&rows, Dimension::Plan), [row("again", 2, 70), row("shop", 348, 3030)]);
    let rows = store.usage("a", &query(&[Dimension::Specification, Dimension::Requirement])).await.unwrap();
    assert!(rows.iter().all(|row| row.specification.as_deref() == Some("cart")), "{rows:?}");
    assert_eq!(rows.iter().map(|row| row.charge.known_cost()).sum::<u64>(), 3100);
}

#[tokio::test]
async fn usage_of_a_plan_without_a_record_has_no_specification() {
    let database = Database::migrated().await;
    let store = scene(&database).await;
    let rows = store.usage("a", &query(&[Dimension::Specification])).await.unwrap();
    assert_eq!(totals(&rows, Dimension::Specification), [("(none)".to_owned(), 348, Some(3030))]);
}

#[tokio::test]
async fn usage_of_a_plan_without_a_record_has_no_requirement() {
    let database = Database::migrated().await;
    let store = scene(&database).await;
    let rows = store.usage("a", &query(&[Dimension::Requirement])).await.unwrap();
    assert_eq!(totals(&rows, Dimension::Requirement), [("(none)".to_owned(), 348, Some(3030))]);
}

#[tokio::test]
async fn budgets_of_a_namespace_have_names() {
    let database = Database::migrated().await;
    let store = scene(&database).await;
    let mut started = plan_transition("a", "shop", "Running", 1);
    started.subject.uid = "uid-p".into();
    let transition = |state: &str| Event::Transition {
        key: state.into(),
        state: state.into(),
        reason: "Because".into(),
        message: String::new(),
        task: None,
    };
    let idle = record("a", subject(Kind::Plan, "idle"), 2, transition("Running"));
    store.record(vec![started, idle]).await.unwrap();
    let limits = [(plan(), money(5000)), (task("t1"), tokens(400)), (tenant("2026-11"), money(10_000))];
    store.set_budgets("a", &limits).await.unwrap();
    let names = async |plan: Option<&str>, month: &str| -> Vec<String> {
        let budgets = store.budgets("a", "team", plan, month).await.unwrap();
        budgets.into_iter().map(|budget| format!("{} {}", budget.scope.kind(), budget.name)).collect()
    };
    assert_eq!(names(None, "2026-11").await, ["tenant a", "agent coder", "agent other", "plan shop"]);
    assert_eq!(names(None, "2026-10").await, ["plan shop"], "other months have other budgets");
    assert_eq!(
        names(Some("shop"), "2026-11").await,
        ["tenant a", "agent coder", "agent other", "plan shop", "task shop-t1", "task shop-t2", "task shop-t3"]
    );
    let budgets = store.budgets("a", "team", Some("shop"), "2026-11").await.unwrap();
    let of_task = budgets.iter().find(|budget| budget.name == "shop-t1").unwrap();
    assert_eq!((of_task.balance.limit, of_task.balance.spent.tokens.total()), (tokens(400), 330));
    assert_eq!(store.budgets("b", "team", None, "2026-11").await.unwrap(), []);
}

#[tokio::test]
async fn texts_of_requests_are_read_until_they_expire() {
    let database = Database::migrated().await;
    let store = database.store();
    let other = enact_store::ModelRequest { namespace: "elsewhere".into(), ..request(3, "t3") };
    store.open_requests("a", &[request(1, "t1"), request(2, "t2"), other]).await.unwrap();
    store.settle_requests("a", &[settlement(1, charge(5, 6, 70))]).await.unwrap();
    let log = |id: u128, days: u32| RequestLog {
        id: Uuid::from_u128(id),
        expires_at: NOW.plus_seconds(days * 86_400),
        request: format!("question {id}"),
        request_bytes: 1000,
        answer: "answer\0".into(),
        answer_bytes: 6,
    };
    let logs = [log(1, 1), log(2, 7), log(3, 7)];
    for _ in 0..2 {
        store.log_requests("a", &logs).await.unwrap();
    }
    let of = |task: Option<&str>| RequestLogFilter {
        namespace: "team".into(),
        task: task.map(str::to_owned),
        ..RequestLogFilter::default()
    };
    let read = async |tenant: &str, filter: RequestLogFilter, now, limit| -> Vec<String> {
        let found = store.logged_requests(tenant, &filter, now, limit).await.unwrap();
        found.into_iter().map(|found| found.request).collect()
    };
    assert_eq!(read("a", of(None), NOW, 10).await, ["question 2", "question 1"], "newest first, and of one namespace");
    assert_eq!(read("a", of(None), NOW, 1).await, ["question 2"]);
    assert_eq!(read("a", of(Some("shop-t1")), NOW, 10).await, ["question 1"]);
    assert_eq!(read("b", of(None), NOW, 10).await, [""; 0], "another tenant");
    let first = store.logged_requests("a", &of(Some("shop-t1")), NOW, 10).await.unwrap().remove(0);
    assert_eq!(
        (first.outcome.as_deref(), first.charge, first.request_bytes),
        (Some("Completed"), charge(5, 6, 70), 1000)
    );

    let later = NOW.plus_seconds(2 * 86_400);
    assert_eq!(read("a", of(None), later, 10).await, ["question 2"], "what has expired is not shown");
    assert_eq!(store.delete_expired_logs("b", later).await.unwrap(), 0);
    assert_eq!(store.delete_expired_logs("a", later).await.unwrap(), 1);
    assert_eq!(store.delete_expired_logs("a", later).await.unwrap(), 0);
    assert_eq!(database.number("select count(*) from request_logs").await, 2);
    assert_eq!(database.number("select count(*) from model_requests").await, 3, "the usage stays");
}

#[tokio::test]
async fn cache_writes_for_an_hour_are_recorded_apart() {
    let database = Database::migrated().await;
    let store = database.app_store();
    let mut reserved = request(1, "t1");
    (reserved.estimate.tokens.cache_write, reserved.estimate.tokens.cache_write_hour) = (90, 90);
    store.open_requests("a", &[reserved, request(2, "t1")]).await.unwrap();
    assert_eq!(database.number("select sum(cache_write_hour_tokens)::bigint from model_requests").await, 90);
    let mut used = charge(5, 6, 70);
    (used.tokens.cache_write, used.tokens.cache_write_hour) = (50, 30);
    let mut false_report = charge(5, 6, 70);
    (false_report.tokens.cache_write, false_report.tokens.cache_write_hour) = (7, 1000);
    store.settle_requests("a", &[settlement(1, used), settlement(2, false_report)]).await.unwrap();
    let query = UsageQuery {
        from: Millis(0),
        to: Millis(NOW.0 + 1),
        group_by: vec![Dimension::Plan],
        filter: UsageFilter::default(),
    };
    let rows = store.usage("a", &query).await.unwrap();
    let tokens = rows[0].charge.tokens;
    assert_eq!((tokens.cache_write, tokens.cache_write_hour), (57, 37), "a part is not more than the whole");
}
