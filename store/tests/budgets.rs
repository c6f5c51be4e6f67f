//! Budgets: concurrent requests never exceed a limit, and each request is booked once.

mod support;

use enact_domain::time::Millis;
use enact_domain::usage::{Balance, Charge, Limit, Scope};
use enact_store::{ErrorClass, Opened, Outcome, Refusal, Settlement};
use support::Database;
use support::usage::*;
use tokio::task::JoinSet;
use uuid::Uuid;

fn all_scopes() -> [Scope; 5] {
    [attempt("t"), task("t"), plan(), agent("2026-11"), tenant("2026-11")]
}

#[tokio::test]
async fn a_request_counts_in_all_its_budgets() {
    let database = Database::migrated().await;
    let store = database.store();
    assert_eq!(store.open_requests("a", &[request(1, "t")]).await.unwrap(), [Opened::Accepted]);
    for (scope, balance) in store.balances("a", &all_scopes()).await.unwrap() {
        assert_eq!((balance.used_tokens(), balance.used_cost()), (10, 100), "{scope}");
        assert_eq!(balance.spent.tokens.total(), 0, "{scope}");
    }
    let used = charge(40, 20, 777);
    store.settle_requests("a", &[settlement(1, used)]).await.unwrap();
    for (scope, balance) in store.balances("a", &all_scopes()).await.unwrap() {
        assert_eq!((balance.spent, balance.reserved), (used, charge(0, 0, 0)), "{scope}");
    }
    let others = [task("other"), tenant("2026-12")];
    let empty = store.balances("a", &others).await.unwrap();
    assert_eq!(empty, others.map(|scope| (scope, Balance::default())));
    assert_eq!(store.balances("b", &[plan()]).await.unwrap()[0].1, Balance::default(), "another tenant");
}

#[tokio::test]
async fn refuses_what_a_budget_does_not_allow() {
    let database = Database::migrated().await;
    let store = database.store();
    store.set_budgets("a", &[(task("t"), tokens(15)), (plan(), money(250)), (task("u"), tokens(0))]).await.unwrap();
    let requests = [request(1, "t"), request(2, "t"), request(3, "u"), request(4, "v"), request(5, "v")];
    let outcomes = store.open_requests("a", &requests).await.unwrap();
    let refusing: Vec<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Opened::Accepted => "accepted".to_owned(),
            Opened::Refused { scope, .. } => scope.key(),
            Opened::Duplicate => "duplicate".to_owned(),
        })
        .collect();
    assert_eq!(refusing, ["accepted", "task/uid-t", "task/uid-u", "accepted", "plan/uid-p"]);
    let Opened::Refused { balance, .. } = outcomes[1] else { panic!("{:?}", outcomes[1]) };
    assert_eq!((balance.limit, balance.used_tokens()), (tokens(15), 10), "the balance that refused it");
    assert_eq!(database.number("select count(*) from model_requests").await, 2, "a refused request is not recorded");

    // What is used is less than the estimate, so that the budget has room again.
    store.settle_requests("a", &[settlement(1, charge(1, 1, 20))]).await.unwrap();
    assert_eq!(store.open_requests("a", &[request(6, "t")]).await.unwrap(), [Opened::Accepted]);
    // A lower limit refuses further requests; a higher one accepts them again.
    store.set_budgets("a", &[(plan(), money(10))]).await.unwrap();
    let refused = store.open_requests("a", &[request(7, "v")]).await.unwrap();
    assert!(matches!(&refused[0], Opened::Refused { scope, .. } if *scope == plan()), "{refused:?}");
    store.set_budgets("a", &[(plan(), Limit::default())]).await.unwrap();
    assert_eq!(store.open_requests("a", &[request(7, "v")]).await.unwrap(), [Opened::Accepted]);
}

#[tokio::test]
async fn what_was_sent_is_booked_beyond_the_budget() {
    let database = Database::migrated().await;
    let store = database.store();
    store.set_budgets("a", &[(plan(), tokens(15))]).await.unwrap();
    assert_eq!(store.open_requests("a", &[request(1, "t")]).await.unwrap(), [Opened::Accepted]);
    let sent = [request(2, "t"), request(3, "t")];
    assert!(matches!(store.open_requests("a", &sent[..1]).await.unwrap()[0], Opened::Refused { .. }));
    for _ in 0..2 {
        store.open_sent_requests("a", &sent).await.unwrap();
        assert_eq!(store.balances("a", &[plan()]).await.unwrap()[0].1.used_tokens(), 30, "each one once");
    }
    store.settle_requests("a", &[settlement(2, charge(4, 6, 100)), settlement(3, charge(1, 1, 1))]).await.unwrap();
    let balance = store.balances("a", &[plan()]).await.unwrap()[0].1;
    assert_eq!((balance.spent.tokens.total(), balance.reserved.tokens.total()), (12, 10));
}

#[tokio::test]
async fn a_repetition_has_no_effect() {
    let database = Database::migrated().await;
    let store = database.store();
    let twice = [request(1, "t"), request(1, "t"), request(2, "t")];
    let outcomes = store.open_requests("a", &twice).await.unwrap();
    assert_eq!(outcomes, [Opened::Accepted, Opened::Duplicate, Opened::Accepted]);
    store.set_budgets("a", &[(plan(), tokens(20))]).await.unwrap();
    assert_eq!(store.open_requests("a", &twice[1..]).await.unwrap(), [Opened::Duplicate, Opened::Duplicate]);
    for _ in 0..2 {
        let settled =
            [settlement(1, charge(3, 3, 30)), settlement(1, charge(9, 9, 90)), settlement(99, charge(9, 9, 9))];
        store.settle_requests("a", &settled).await.unwrap();
    }
    store.settle_requests("b", &[settlement(2, charge(1, 1, 1))]).await.unwrap();
    let balance = balance(&store, plan()).await;
    assert_eq!(balance.spent, charge(3, 3, 30), "the first settlement counts, and another tenant has none");
    assert_eq!(balance.reserved, charge(4, 6, 100));
    assert_eq!(store.open_requests("b", &[request(1, "t")]).await.unwrap(), [Opened::Accepted], "of another tenant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_never_exceed_a_limit() {
    let database = Database::migrated().await;
    let store = database.store();
    // Room for 25 of 120 requests in the plan, and for 10 in each task.
    store
        .set_budgets("a", &[(plan(), tokens(259)), (task("t0"), tokens(100)), (task("t1"), tokens(100))])
        .await
        .unwrap();
    let mut calls = JoinSet::new();
    for call in 0..30_u128 {
        let store = store.clone();
        calls.spawn(async move {
            let task = |at: u128| format!("t{}", at % 4);
            let batch: Vec<_> = (0..4).map(|at| request(call * 4 + at, &task(call + at))).collect();
            let outcomes = store.open_requests("a", &batch).await.unwrap();
            // Every other call settles at once, with less than its estimate.
            let accepted = batch.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Opened::Accepted);
            let ids: Vec<u128> = accepted.map(|(request, _)| request.id.as_u128()).collect();
            if call % 2 == 0 {
                let settled: Vec<Settlement> = ids.iter().map(|id| settlement(*id, charge(4, 5, 90))).collect();
                store.settle_requests("a", &settled).await.unwrap();
                return (0, ids.len());
            }
            (ids.len(), 0)
        });
    }
    let counts = calls.join_all().await;
    let running: usize = counts.iter().map(|(running, _)| running).sum();
    let settled: usize = counts.iter().map(|(_, settled)| settled).sum();
    let plan = balance(&store, plan()).await;
    assert!(plan.used_tokens() <= 259, "{plan:?}");
    assert_eq!(plan.used_tokens(), 10 * running as u64 + 9 * settled as u64);
    assert_eq!(plan.reserved.tokens.total(), 10 * running as u64);
    assert!(running + settled >= 25, "{counts:?}");
    let mut tasks = 0;
    for name in ["t0", "t1", "t2", "t3"] {
        let task = balance(&store, task(name)).await;
        assert!(task.limit.tokens.is_none_or(|limit| task.used_tokens() <= limit), "{name}: {task:?}");
        tasks += task.used_tokens();
    }
    assert_eq!(tasks, plan.used_tokens());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_at_once_counts_once() {
    let database = Database::migrated().await;
    let store = database.store();
    let mut calls = JoinSet::new();
    for _ in 0..16 {
        let store = store.clone();
        calls.spawn(async move {
            let opened = store.open_requests("a", &[request(1, "t"), request(2, "u")]).await.unwrap();
            store
                .settle_requests("a", &[settlement(2, charge(1, 1, 1)), settlement(1, charge(2, 2, 2))])
                .await
                .unwrap();
            opened
        });
    }
    let outcomes: Vec<Opened> = calls.join_all().await.into_iter().flatten().collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Opened::Accepted).count(), 2, "{outcomes:?}");
    let balance = balance(&store, plan()).await;
    assert_eq!((balance.spent, balance.reserved), (charge(3, 3, 3), charge(0, 0, 0)));
}

#[tokio::test]
async fn requests_of_a_dead_gateway_are_booked_as_estimated() {
    let database = Database::migrated().await;
    let store = database.store();
    let late = |id, at| enact_store::ModelRequest { at: Millis(at), ..request(id, "t") };
    let requests = [late(1, NOW.0), late(2, NOW.0 + 1000), late(3, NOW.0 + 2000)];
    store.open_requests("a", &requests).await.unwrap();
    assert_eq!(store.settle_abandoned("a", Millis(NOW.0 + 2000)).await.unwrap(), 2);
    assert_eq!(store.settle_abandoned("a", Millis(NOW.0 + 2000)).await.unwrap(), 0);
    let balance_now = balance(&store, plan()).await;
    assert_eq!((balance_now.spent, balance_now.reserved), (charge(8, 12, 200), charge(4, 6, 100)));
    assert_eq!(database.number("select count(*) from model_requests where outcome = 'Estimated'").await, 2);

    // The gateway of the second request was only slow: what was used replaces the estimate.
    let settled = settlement(2, charge(100, 200, None));
    for _ in 0..2 {
        store.settle_requests("a", std::slice::from_ref(&settled)).await.unwrap();
    }
    let guess = Settlement { outcome: Outcome::Estimated, ..settlement(1, charge(1, 1, 1)) };
    store.settle_requests("a", &[guess]).await.unwrap();
    let balance_then = balance(&store, plan()).await;
    assert_eq!(balance_then.spent, charge(104, 206, 100));
    assert_eq!(balance_then.unpriced_tokens, 300);
    assert_eq!(balance_then.reserved, charge(4, 6, 100));
}

#[tokio::test]
async fn many_abandoned_requests_are_settled() {
    let database = Database::migrated().await;
    let store = database.store();
    let requests: Vec<_> = (0..1001).map(|id| request(id, &format!("t{}", id % 7))).collect();
    store.open_requests("a", &requests).await.unwrap();
    assert_eq!(store.settle_abandoned("a", Millis(NOW.0 + 1)).await.unwrap(), 1001);
    let balance = balance(&store, tenant("2026-11")).await;
    assert_eq!((balance.spent.tokens.total(), balance.reserved.tokens.total()), (10_010, 0));
}

#[tokio::test]
async fn a_new_month_starts_with_the_limit_of_the_last() {
    let database = Database::migrated().await;
    let store = database.store();
    let other = Scope::Agent { namespace: "team".into(), name: "coder-2".into(), month: "2026-11".into() };
    let limits = [(tenant("2026-10"), tokens(1)), (tenant("2026-11"), tokens(15)), (agent("2026-11"), money(150))];
    store.set_budgets("a", &limits).await.unwrap();
    store.set_budgets("a", &[(other, tokens(0))]).await.unwrap();
    let december = |id| enact_store::ModelRequest { at: Millis(NOW.0 + 86_400_000), ..request(id, "t") };
    let opened = store.open_requests("a", &[request(1, "t"), december(2), december(3)]).await.unwrap();
    assert_eq!(opened[..2], [Opened::Accepted, Opened::Accepted], "the months have a budget each");
    assert!(matches!(&opened[2], Opened::Refused { scope, .. } if *scope == agent("2026-12")), "{opened:?}");
    assert_eq!(balance(&store, tenant("2026-12")).await.limit, tokens(15));
    store.set_budgets("a", &[(agent("2026-12"), Limit::default()), (tenant("2026-12"), tokens(20))]).await.unwrap();
    assert_eq!(store.open_requests("a", &[december(3)]).await.unwrap(), [Opened::Accepted]);
}

#[tokio::test]
async fn hostile_amounts_do_not_overflow() {
    let database = Database::migrated().await;
    let store = database.store();
    let mut hostile = request(1, "t");
    hostile.model = format!("a\0b{}", "x".repeat(10_000));
    hostile.estimate = charge(u64::MAX, u64::MAX, u64::MAX);
    let requests: Vec<_> =
        (1..50).map(|id| enact_store::ModelRequest { id: Uuid::from_u128(id), ..hostile.clone() }).collect();
    store
        .set_budgets("a", &[(plan(), Limit { tokens: Some(u64::MAX), cost_micro_usd: Some(u64::MAX) })])
        .await
        .unwrap();
    assert!(store.open_requests("a", &requests).await.unwrap().iter().all(|outcome| *outcome == Opened::Accepted));
    let most = charge(u64::MAX, u64::MAX, u64::MAX);
    let settled: Vec<_> = (1..50).map(|id| settlement(id, most)).collect();
    store.settle_requests("a", &settled).await.unwrap();
    assert!(balance(&store, plan()).await.spent.tokens.total() >= 49 * 2_000_000_000_000);
    let rows = store.usage("a", &support::usage::query(&[])).await.unwrap();
    assert!(rows[0].charge.known_cost() > 0);
    let error = store.open_requests("a' --", &[request(1, "t")]).await.expect_err("no tenant");
    assert_eq!((error.category(), error.class()), ("invalid", ErrorClass::Permanent));
    let unnamed = enact_store::ModelRequest {
        plan: String::new(),
        plan_uid: String::new(),
        task: String::new(),
        task_uid: String::new(),
        agent: String::new(),
        ..request(100, "t")
    };
    assert_eq!(store.open_requests("a", &[unnamed]).await.unwrap(), [Opened::Accepted], "it counts for the tenant");
}

#[tokio::test]
async fn reported_usage_counts_once_and_is_marked() {
    let database = Database::migrated().await;
    let store = database.store();
    store.set_budgets("a", &[(plan(), tokens(1))]).await.unwrap();
    for _ in 0..2 {
        store.report_usage("a", &request(1, "t"), &charge(5, 5, None)).await.unwrap();
    }
    let balance = balance(&store, plan()).await;
    assert_eq!((balance.spent, balance.unpriced_tokens), (charge(5, 5, 0), 10), "no limit applies to what was used");
    assert!(balance.is_exhausted());
    assert_eq!(
        database.number("select count(*) from model_requests where self_reported and outcome = 'Completed'").await,
        1
    );
    let refused = store.open_requests("a", &[request(2, "t")]).await.unwrap();
    assert!(matches!(refused[0], Opened::Refused { .. }));
}

#[tokio::test]
async fn the_latest_refusal_counts() {
    let database = Database::migrated().await;
    let store = database.store();
    let refusal = |reason: &str, reset_at: Option<i64>| Refusal {
        reason: reason.into(),
        message: "no\0 more".into(),
        reset_at: reset_at.map(Millis),
    };
    assert_eq!(store.refusal("a", "uid-t", 1).await.unwrap(), None);
    store.record_refusal("a", "uid-t", 1, &refusal("ProviderQuota", Some(5_000))).await.unwrap();
    let found = store.refusal("a", "uid-t", 1).await.unwrap().unwrap();
    assert_eq!((found.message.as_str(), found.reset_at), ("no\u{FFFD} more", Some(Millis(5_000))));
    store.record_refusal("a", "uid-t", 1, &refusal("BudgetExceeded", None)).await.unwrap();
    let found = store.refusal("a", "uid-t", 1).await.unwrap().unwrap();
    assert_eq!((found.reason.as_str(), found.reset_at), ("BudgetExceeded", None));
    assert_eq!(
        (store.refusal("a", "uid-t", 2).await.unwrap(), store.refusal("b", "uid-t", 1).await.unwrap()),
        (None, None)
    );
}

#[tokio::test]
async fn a_draft_counts_for_its_agent_and_tenant() {
    let database = Database::migrated().await;
    let store = database.store();
    store.set_budgets("a", &[(agent("2026-11"), tokens(25))]).await.unwrap();
    // Two pods of drafts; the UID of the pod is in the place of the Task's.
    let draft = |id, pod: &str| enact_store::ModelRequest {
        plan: String::new(),
        plan_uid: String::new(),
        task: String::new(),
        ..request(id, pod)
    };
    let opened = store.open_requests("a", &[draft(1, "pod-1"), draft(2, "pod-2"), draft(3, "pod-2")]).await.unwrap();
    assert_eq!(opened[..2], [Opened::Accepted, Opened::Accepted]);
    assert!(matches!(&opened[2], Opened::Refused { scope, .. } if *scope == agent("2026-11")), "{opened:?}");
    store.settle_requests("a", &[settlement(1, charge(1, 2, 30))]).await.unwrap();
    assert_eq!(balance(&store, attempt("pod-1")).await.spent, charge(1, 2, 30), "what its runner reads");
    assert_eq!(balance(&store, tenant("2026-11")).await.spent, charge(1, 2, 30));
    assert_eq!(balance(&store, tenant("2026-11")).await.reserved, charge(4, 6, 100));
    assert_eq!(balance(&store, plan()).await, Balance::default());
    // A refusal stops only the runner of this pod.
    let refusal = Refusal { reason: "BudgetExceeded".into(), message: "m".into(), reset_at: None };
    store.record_refusal("a", "uid-pod-2", 1, &refusal).await.unwrap();
    assert_eq!(store.refusal("a", "uid-pod-1", 1).await.unwrap(), None);
}

#[tokio::test]
async fn a_batch_takes_few_round_trips() {
    let database = Database::migrated().await;
    let store = database.store();
    let requests: Vec<_> = (0..100).map(|id| request(id, &format!("t{id}"))).collect();
    let before = store.round_trips();
    store.open_requests("a", &requests).await.unwrap();
    let opened = store.round_trips();
    let settled: Vec<_> = (0..100).map(|id| settlement(id, charge(1, 1, Charge::default().cost_micro_usd))).collect();
    store.settle_requests("a", &settled).await.unwrap();
    assert_eq!((opened - before, store.round_trips() - opened), (4, 4), "begin, two statements, commit");
}
