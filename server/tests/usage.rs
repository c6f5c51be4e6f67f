//! Readers of usage and budgets.

mod support;

use enact_domain::record::{Event, Kind};
use enact_domain::time::Millis;
use enact_domain::usage::Limit;
use serde_json::{Value, json};
use support::api::{Api, FakeCluster};
use support::database::usage::{charge, money, plan, request, settlement, tenant};
use support::database::{Database, record, subject};
use support::{Server, http};

/// Starts a server with the usage of two tasks of the plan `shop` in `team`. `reader` may read Plans there, and
/// `elsewhere` those of another tenant's namespace.
async fn scene() -> (Database, Api, Server) {
    let database = Database::migrated().await;
    let store = database.store();
    store
        .set_budgets("acme", &[(plan(), money(5000)), (tenant("2026-11"), Limit::default())])
        .await
        .expect("Postgres accepts the scene");
    let mut shop = subject(Kind::Plan, "shop");
    shop.uid = "uid-p".into();
    let event = Event::Transition {
        key: "Running/1".into(),
        state: "Running".into(),
        reason: "Because".into(),
        message: String::new(),
        task: None,
    };
    store.record(vec![record("acme", shop, 1, event)]).await.expect("Postgres accepts the scene");
    let mut local = request(2, "t2");
    local.model = "=llama".into();
    store.open_requests("acme", &[request(1, "t1"), local]).await.expect("Postgres accepts the scene");
    store
        .settle_requests("acme", &[settlement(1, charge(100, 20, 1_500_000)), settlement(2, charge(7, 8, None))])
        .await
        .expect("Postgres accepts the scene");
    let mut cluster = FakeCluster::default();
    for (namespace, owner) in [("team", "acme"), ("elsewhere", "other")] {
        cluster.namespaces.insert(namespace.into(), json!({ "enact.dev/tenant": owner }));
    }
    cluster.reader("reader", "team", &["plans"]);
    cluster.user("auditor", "ann", "team", &["plans", "specifications"]);
    cluster.reader("elsewhere", "elsewhere", &["plans"]);
    let api = Api::start(cluster).await;
    let server = Server::start(&database.config().url, &api).await;
    (database, api, server)
}

const NOVEMBER: &str = "from=2026-11-01&to=2026-11-30";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_for_those_who_may_read_plans() {
    let (_database, _api, server) = scene().await;
    let usage = server.read("reader", &format!("team/usage?{NOVEMBER}&by=model")).await.json();
    assert_eq!(usage["by"], json!(["model"]));
    assert_eq!((&usage["from"], &usage["to"]), (&json!(1_793_491_200_000_i64), &json!(1_796_083_200_000_i64)));
    let rows: Vec<&Value> = usage["rows"].as_array().unwrap().iter().collect();
    assert_eq!((rows.len(), &rows[0]["model"]), (2, &json!("claude-sonnet-4-5")));
    assert_eq!(rows[0]["charge"]["costMicroUsd"], json!(1_500_000));
    assert_eq!(rows[0]["charge"]["tokens"]["input"], json!(100));
    assert_eq!((&rows[1]["charge"]["costMicroUsd"], &rows[1]["unpricedTokens"]), (&Value::Null, &json!(15)));
    assert_eq!(rows[0].get("plan"), None, "a dimension that is not asked for");

    for resource in ["usage", "budgets"] {
        let refused = server.read("elsewhere", &format!("team/{resource}")).await;
        refused.assert_problem(403, "forbidden", "plans");
    }
    let elsewhere = server.read("elsewhere", &format!("elsewhere/usage?{NOVEMBER}")).await.json();
    assert_eq!(elsewhere["rows"], json!([]), "another tenant");
    let plain = server.read("reader", "team/usage").await.json();
    assert_eq!(plain["by"], json!(["namespace", "plan"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_can_be_csv() {
    let (_database, _api, server) = scene().await;
    let answer = server.read("reader", &format!("team/usage?{NOVEMBER}&by=task,model&format=csv")).await;
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
    let text = answer.text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("namespace,plan,task,model,requests,"), "{text}");
    assert!(lines[1].starts_with("team,shop,shop-t1,claude-sonnet-4-5,1,0,0,0,100,0,0,20,0,120,1.500000,0,"), "{text}");
    assert!(lines[2].starts_with("team,shop,shop-t2,'=llama,1,"), "{text}");
    assert_eq!(lines.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn budgets_have_limits_and_balances() {
    let (_database, _api, server) = scene().await;
    let budgets = server.read("reader", "team/budgets?month=2026-11&plan=shop").await.json();
    let scopes: Vec<String> = budgets["budgets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|budget| format!("{} {}", budget["scope"]["kind"].as_str().unwrap(), budget["name"].as_str().unwrap()))
        .collect();
    assert_eq!(scopes, ["tenant acme", "agent coder", "plan shop", "task shop-t1", "task shop-t2"]);
    let balance = &budgets["budgets"][2]["balance"];
    assert_eq!(balance["limit"], json!({ "tokens": null, "costMicroUsd": 5000 }));
    assert_eq!((&balance["spent"]["costMicroUsd"], &balance["unpricedTokens"]), (&json!(1_500_000), &json!(15)));
    let october = server.read("reader", "team/budgets?month=2026-10").await.json();
    assert_eq!(october["budgets"].as_array().unwrap().len(), 1, "only the plan, whose budget has no month");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_parameters_are_refused() {
    let (_database, _api, server) = scene().await;
    for query in [
        "usage?by=secret",
        "usage?from=x",
        "usage?limit=1",
        "usage?month=2026-11",
        "budgets?by=plan",
        "budgets?month=1",
    ] {
        server.read("reader", &format!("team/{query}")).await.assert_problem(400, "bad-parameter", "");
    }
    let metric = "enact_server_requests_total{route=\"usage\",status=\"200\"}";
    server.read("reader", "team/usage").await.assert_status(200);
    assert_eq!(server.metric(metric).await, 1);
    let posted = http::send(server.readings, &http::Request::new("POST", "/v1/namespaces/team/usage")).await;
    posted.assert_problem(405, "method-not-allowed", "only GET");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_requests_are_for_those_who_may_read_plans_and_specifications() {
    let (database, _api, server) = scene().await;
    let log = |id: u128, seconds: u32| enact_store::RequestLog {
        id: uuid::Uuid::from_u128(id),
        expires_at: Millis(4_000_000_000_000).plus_seconds(seconds),
        request: format!("question {id}"),
        request_bytes: 10,
        answer: "answer".into(),
        answer_bytes: 6,
    };
    database.store().log_requests("acme", &[log(1, 0), log(2, 0)]).await.expect("Postgres accepts the texts");
    let all = server.read("auditor", "team/requests?plan=shop").await.json();
    let texts: Vec<&Value> = all["requests"].as_array().unwrap().iter().map(|found| &found["request"]).collect();
    assert_eq!(texts, [&json!("question 2"), &json!("question 1")]);
    let one = server.read("auditor", "team/requests?task=shop-t1&limit=5").await.json();
    let found = &one["requests"][0];
    assert_eq!(
        (&found["task"], &found["attempt"], &found["model"]),
        (&json!("shop-t1"), &json!(1), &json!("claude-sonnet-4-5"))
    );
    assert_eq!((&found["charge"]["costMicroUsd"], &found["answer"]), (&json!(1_500_000), &json!("answer")));
    assert_eq!(one["requests"].as_array().unwrap().len(), 1);
    server.read("reader", "team/requests").await.assert_problem(403, "forbidden", "specifications");
    server.read("elsewhere", "team/requests").await.assert_problem(403, "forbidden", "plans");
}
