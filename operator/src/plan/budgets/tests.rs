//! Plans with budgets against an API server and a record store in memory.

use std::sync::atomic::Ordering;

use enact_domain::assignment::exit;
use enact_domain::usage::{Balance, Charge, Limit, Scope, Tokens};
use enact_store::Discarded;
use serde_json::{Value, json};

use crate::testing::Bench;

/// Returns a bench with a plan of independent tasks whose agent uses models.
async fn bench(tasks: usize, execution: Value) -> Bench {
    let mut bench = Bench::new().await;
    add_agent(&mut bench, &json!({}));
    add_plan(&bench, "p", tasks, &execution);
    bench
}

fn add_agent(bench: &mut Bench, fields: &Value) {
    bench.add_provider(&json!({
        "apiVersion": "enact.dev/v1alpha1", "kind": "ModelProvider", "metadata": {"name": "claude", "namespace": "ns"},
        "spec": {"api": "Anthropic", "baseUrl": "https://api.example.org"},
    }));
    let mut spec = json!({"adapter": "Command", "models": [{"provider": "claude", "model": "claude-5"}]});
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    bench.agent_with("coder", spec);
}

fn add_plan(bench: &Bench, name: &str, tasks: usize, execution: &Value) {
    let task = |i: usize| json!({"id": format!("T{:03}", i + 1), "title": "A", "script": "true"});
    let tasks: Vec<Value> = (0..tasks).map(task).collect();
    bench.put_plan(name, &json!({"agentRef": {"name": "coder"}, "execution": execution, "tasks": tasks}));
}

fn usd(budget: &str) -> Value {
    json!({ "usd": budget })
}

fn cents(cents: u64) -> Limit {
    Limit { tokens: None, cost_micro_usd: Some(cents * 10_000) }
}

/// Sets what a scope has spent, in cents.
fn spend(bench: &Bench, scope: Scope, cents: u64) {
    let tokens = Tokens { output: cents * 100, ..Tokens::default() };
    let spent = Charge { tokens, cost_micro_usd: Some(cents * 10_000) };
    bench.record_store.balances.lock().unwrap().insert(scope, Balance { spent, ..Balance::default() });
}

fn uid(bench: &Bench, key: &str) -> String {
    bench.api.get(key)["metadata"]["uid"].as_str().unwrap().to_owned()
}

fn plan_scope(bench: &Bench, name: &str) -> Scope {
    Scope::Plan { uid: uid(bench, &format!("plans/{name}")) }
}

fn attempt_scope(bench: &Bench, task: &str, number: u32) -> Scope {
    Scope::Attempt { uid: uid(bench, &format!("tasks/{task}")), number }
}

fn pods(bench: &Bench) -> usize {
    bench.api.all("pods").len()
}

/// Returns the status, reason and message of the plan's condition Ready.
fn ready(bench: &Bench) -> (String, String) {
    let condition = bench.api.get("plans/p")["status"]["conditions"][0].clone();
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

/// Ends a pod as the runner does when the gateway refuses its requests.
async fn stop(bench: &Bench, pod: &str, reason: &str) {
    let message = json!({"reason": reason, "message": "the model gateway refused a request"}).to_string();
    let code = if reason == "ProviderQuota" { exit::INFRASTRUCTURE } else { exit::FAILED };
    let ended = json!({"terminated": {"exitCode": code, "reason": "Error", "message": message}});
    bench.pod(pod, json!({"phase": "Failed", "containerStatuses": [{"name": "agent", "state": ended}]})).await;
}

fn raise(bench: &Bench, field: &str, budget: &str) {
    let generation = bench.api.get("plans/p")["metadata"]["generation"].as_i64().unwrap_or(1) + 1;
    let change = json!({"metadata": {"generation": generation}, "spec": {"execution": {field: usd(budget)}}});
    bench.api.change("plans/p", &change);
}

#[tokio::test]
async fn starts_only_what_the_budget_allows() {
    let mut bench = bench(3, json!({"budget": usd("1.00"), "attemptBudget": usd("0.40")})).await;
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    assert_eq!(pods(&bench), 2, "0.20 USD remain");
    let limits = std::mem::take(&mut *bench.record_store.limits.lock().unwrap());
    assert!(limits.contains(&(plan_scope(&bench, "p"), cents(100))), "{limits:?}");
    for task in ["p-t001", "p-t002"] {
        assert!(limits.contains(&(attempt_scope(&bench, task, 1), cents(40))), "{limits:?}");
    }
    assert_eq!(limits.len(), 3);

    bench.pass(3);
    spend(&bench, plan_scope(&bench, "p"), 10);
    spend(&bench, attempt_scope(&bench, "p-t001", 1), 10);
    bench.plan("p").await.unwrap();
    assert_eq!(pods(&bench), 2, "what an attempt has spent is a part of what it reserved");
    let (reason, message) = ready(&bench);
    assert_eq!(reason, "BudgetExceeded");
    insta::assert_snapshot!(message);

    bench.pass(3);
    bench.succeed("p-t001-1").await;
    bench.plan("p").await.unwrap();
    assert!(bench.api.has("pods/p-t003-1"), "the attempt did not need the rest: {:?}", ready(&bench));
    bench.pass(3);
    bench.plan("p").await.unwrap();
    assert_eq!(ready(&bench).0, "Running");
    let again = bench.record_store.limits.lock().unwrap().clone();
    assert_eq!(again, [(attempt_scope(&bench, "p-t003", 1), cents(40))], "a limit is written once");
}

#[tokio::test]
async fn a_task_without_budget_waits_until_it_is_raised() {
    let mut bench = bench(1, json!({"budget": usd("1.00")})).await;
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    spend(&bench, plan_scope(&bench, "p"), 95);
    stop(&bench, "p-t001-1", "BudgetExceeded").await;
    bench.plan("p").await.unwrap();
    let status = bench.api.get("tasks/p-t001")["status"].clone();
    assert_eq!((&status["phase"], &status["remainingBudget"]), (&json!("Pending"), &usd("0.05")));
    assert_eq!((&status["failures"], &status["conditions"][0]["reason"]), (&Value::Null, &json!("BudgetExceeded")));

    for _ in 0..3 {
        bench.pass(40);
        bench.plan("p").await.unwrap();
        assert_eq!(pods(&bench), 1, "the next request would be refused again");
    }
    let plan = bench.api.get("plans/p");
    assert_eq!((&plan["status"]["phase"], ready(&bench).0.as_str()), (&json!("Running"), "BudgetExceeded"));
    let usage = json!({
        "tokens": 9500, "usd": "0.95", "budget": usd("1.00"), "budgetSetBy": ["spec.execution.budget"], "remaining": usd("0.05"),
    });
    assert_eq!(plan["status"]["usage"], usage);
    let low =
        plan["status"]["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "BudgetLow");
    assert_eq!(
        low.map(|condition| (&condition["status"], &condition["reason"], &condition["message"])),
        Some((
            &json!("True"),
            &json!("BudgetLow"),
            &json!(
                "at least 80 % of the budget of the plan, 1.00 USD, is spent; it is set by spec.execution.budget; raise it before the tasks \
                 wait for it"
            )
        ))
    );
    insta::assert_snapshot!(ready(&bench).1);
    bench.api.writes();
    bench.pass(40);
    bench.plan("p").await.unwrap();
    assert_eq!(bench.api.writes(), [""; 0], "no change, no write");
    let warnings = bench.api.events();
    for reason in ["BudgetLow", "BudgetExceeded"] {
        assert!(warnings.iter().any(|event| event == reason), "{warnings:?}");
    }
    assert_eq!(warnings.iter().filter(|event| *event == "BudgetLow").count(), 1);

    raise(&bench, "budget", "2.00");
    bench.plan("p").await.unwrap();
    assert!(bench.api.has("pods/p-t001-2"), "{:?}", ready(&bench));
    let conditions = bench.api.get("plans/p")["status"]["conditions"].to_string();
    assert!(!conditions.contains("BudgetLow"), "{conditions}");
    let limits = bench.record_store.limits.lock().unwrap().clone();
    assert!(limits.contains(&(plan_scope(&bench, "p"), cents(200))), "{limits:?}");
}

#[tokio::test]
async fn an_attempt_over_its_own_budget_does_not_start_again() {
    let mut bench = bench(1, json!({"attemptBudget": usd("0.50")})).await;
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    spend(&bench, attempt_scope(&bench, "p-t001", 1), 45);
    stop(&bench, "p-t001-1", "BudgetExceeded").await;
    bench.plan("p").await.unwrap();
    bench.pass(40);
    bench.plan("p").await.unwrap();
    assert_eq!(pods(&bench), 1, "another attempt would spend as much and end the same");
    insta::assert_snapshot!(ready(&bench).1);
    raise(&bench, "attemptBudget", "0.60");
    bench.plan("p").await.unwrap();
    assert!(bench.api.has("pods/p-t001-2"), "{:?}", ready(&bench));
}

#[tokio::test]
async fn an_exhausted_quota_waits_for_its_reset() {
    let mut bench = bench(1, json!({})).await;
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    *bench.record_store.quota_reset.lock().unwrap() = Some(bench.contexts.common.now().plus_seconds(3600));
    stop(&bench, "p-t001-1", "ProviderQuota").await;
    bench.plan("p").await.unwrap();
    let status = bench.api.get("tasks/p-t001")["status"].clone();
    assert_eq!((&status["phase"], &status["retryAt"]), (&json!("Pending"), &json!("2026-01-01T01:00:00Z")));
    assert_eq!(status["infrastructureFailures"], Value::Null);
    bench.pass(3599);
    bench.plan("p").await.unwrap();
    assert_eq!(pods(&bench), 1);
    bench.pass(1);
    bench.plan("p").await.unwrap();
    assert!(bench.api.has("pods/p-t001-2"));
}

#[tokio::test]
async fn the_lowest_approved_budget_applies() {
    let mut bench = bench(1, json!({"budget": usd("5.00")})).await;
    bench.api.change("plans/p", &json!({"spec": {"approval": {"required": 1}}}));
    bench.plan("p").await.unwrap();
    assert_eq!(ready(&bench).0, "WaitingForApproval");
    let digest = bench.api.get("plans/p")["status"]["digest"].clone();
    let mut approve = |name: &str, digest: &Value, decision: &str, budget: Value| {
        bench.decide_on_plan(name, decision, &json!({"digest": digest, "budget": budget}));
    };
    approve("old", &json!("sha256:0"), "Approve", usd("0.01"));
    approve("kim", &digest, "Approve", usd("3.00"));
    approve("lee", &digest, "Approve", usd("2.00"));
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    let limits = bench.record_store.limits.lock().unwrap().clone();
    assert_eq!(limits, [(plan_scope(&bench, "p"), cents(200))]);
    let usage = bench.api.get("plans/p")["status"]["usage"].clone();
    assert_eq!((&usage["budget"], &usage["budgetSetBy"]), (&usd("2.00"), &json!(["Approval lee by lee"])));
    let stricter = json!({"metadata": {"generation": 2}, "spec": {"approval": {"required": 1, "groups": ["leads"]}}});
    bench.api.change("plans/p", &stricter);
    bench.plan("p").await.unwrap();
    let limits = bench.record_store.limits.lock().unwrap().clone();
    assert_eq!(limits, [(plan_scope(&bench, "p"), cents(200))], "a stricter policy raises no budget");
    bench.pass(3);
    spend(&bench, plan_scope(&bench, "p"), 200);
    stop(&bench, "p-t001-1", "BudgetExceeded").await;
    bench.plan("p").await.unwrap();
    bench.pass(40);
    bench.plan("p").await.unwrap();
    insta::assert_snapshot!(ready(&bench).1);
    assert!(bench.api.events().iter().any(|event| event == "BudgetExhausted"));
}

#[tokio::test]
async fn plans_share_the_budget_of_their_tenant_and_agent() {
    for owner in ["tenant", "agent"] {
        let mut bench = Bench::new().await;
        let budget = usd("1.00");
        let (of_tenant, of_agent) =
            if owner == "tenant" { (budget, json!({})) } else { (Value::Null, json!({"monthlyBudget": budget})) };
        bench.tenant_with("acme", json!({"namespaces": ["ns"], "parallelism": 9, "monthlyBudget": of_tenant}));
        add_agent(&mut bench, &of_agent);
        for name in ["p", "q"] {
            add_plan(&bench, name, 2, &json!({"attemptBudget": usd("0.40")}));
            bench.plan(name).await.unwrap();
            bench.plan(name).await.unwrap();
        }
        assert_eq!(pods(&bench), 2, "{owner}: the first plan has reserved 0.80 USD");
        bench.pass(3);
        bench.plan("q").await.unwrap();
        let waiting = bench.api.get("plans/q")["status"]["conditions"][0]["message"].clone();
        insta::assert_snapshot!(format!("shared_budget_of_{owner}"), waiting.as_str().unwrap());
        bench.succeed("p-t001-1").await;
        bench.plan("p").await.unwrap();
        bench.pass(3);
        bench.plan("q").await.unwrap();
        assert_eq!(pods(&bench), 3, "{owner}: a reservation was released");
    }
}

#[tokio::test]
async fn usage_is_read_and_written_from_time_to_time() {
    let mut bench = bench(1, json!({})).await;
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    bench.pass(3);
    bench.plan("p").await.unwrap();
    let reads = bench.record_store.balance_reads.load(Ordering::Relaxed);
    assert_eq!(bench.api.get("plans/p")["status"]["usage"], Value::Null, "nothing was used, and there is no budget");
    for cents in 1..5 {
        spend(&bench, plan_scope(&bench, "p"), cents);
        bench.pass(2);
        bench.plan("p").await.unwrap();
    }
    assert_eq!(bench.record_store.balance_reads.load(Ordering::Relaxed), reads + 1);
    assert_eq!(bench.api.get("plans/p")["status"]["usage"], json!({"tokens": 400, "usd": "0.04"}));
    spend(&bench, plan_scope(&bench, "p"), 7);
    bench.succeed("p-t001-1").await;
    bench.plan("p").await.unwrap();
    let status = bench.api.get("plans/p")["status"].clone();
    assert_eq!(
        (&status["phase"], &status["usage"]["usd"]),
        (&json!("Succeeded"), &json!("0.07")),
        "complete at the end"
    );
    assert_eq!(bench.record_store.limits.lock().unwrap().len(), 0, "no budget, no limit");
}

#[tokio::test]
async fn the_usage_of_failed_attempts_is_discarded() {
    let mut bench = bench(2, json!({"onFailure": "Continue"})).await;
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    spend(&bench, plan_scope(&bench, "p"), 9);
    *bench.record_store.discarded.lock().unwrap() = Discarded { tokens: 700, cost_micro_usd: 70_000 };
    bench.pass(12);
    bench.plan("p").await.unwrap();
    let discarded = |bench: &Bench| bench.api.get("plans/p")["status"]["usage"]["discarded"].clone();
    assert_eq!(discarded(&bench), Value::Null, "no attempt has failed, so nothing was read");
    bench.fail("p-t001-1", "no such file").await;
    bench.plan("p").await.unwrap();
    assert_eq!(discarded(&bench), json!({"tokens": 700, "usd": "0.07"}), "at once");
    *bench.record_store.discarded.lock().unwrap() = Discarded { tokens: 800, cost_micro_usd: 80_000 };
    bench.pass(12);
    bench.plan("p").await.unwrap();
    assert_eq!(discarded(&bench)["tokens"], 700, "no more was used");
    bench.succeed("p-t002-1").await;
    bench.plan("p").await.unwrap();
    let status = bench.api.get("plans/p")["status"].clone();
    assert_eq!((&status["phase"], &status["usage"]["discarded"]["usd"]), (&json!("Failed"), &json!("0.08")));
}

#[tokio::test]
async fn an_agent_without_models_reports_its_usage() {
    let mut bench = bench(1, json!({})).await;
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    bench.agent_with("coder", json!({"adapter": "Copilot"}));
    let usage = json!({"inputTokens": 100, "outputTokens": 5, "costMicroUsd": 250});
    bench.succeed_with("p-t001-1", &json!({"reason": "Succeeded", "usage": usage})).await;
    bench.plan("p").await.unwrap();
    let reported = bench.record_store.reported.lock().unwrap().clone();
    let [(request, charge)] = reported.as_slice() else { panic!("{reported:?}") };
    assert_eq!((request.agent.as_str(), request.provider.as_str(), request.attempt), ("ns/coder", "Copilot", 1));
    assert_eq!((charge.tokens.total(), charge.cost_micro_usd), (105, Some(250)));
}

#[tokio::test]
async fn an_agent_without_models_gets_the_budget_of_its_attempt() {
    let mut bench = bench(1, json!({"attemptBudget": {"usd": "0.50", "tokens": 7000}})).await;
    bench.agent_with("coder", json!({"adapter": "ClaudeCode"}));
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    let pod = bench.api.get("pods/p-t001-1");
    let assignment = pod["spec"]["containers"][0]["env"][0]["value"].as_str().unwrap();
    assert!(assignment.contains(r#""maxTokens":7000,"maxCostMicroUsd":500000"#), "{assignment}");
}

#[tokio::test]
async fn scripts_cost_nothing() {
    let mut bench = bench(1, json!({"budget": usd("0.00")})).await;
    bench.agent_with("coder", json!({"adapter": "Command"}));
    bench.plan("p").await.unwrap();
    bench.plan("p").await.unwrap();
    assert_eq!(pods(&bench), 1);
    bench.succeed("p-t001-1").await;
    bench.plan("p").await.unwrap();
    assert_eq!(bench.record_store.balance_reads.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_plan_waits_for_its_agents_provider() {
    let mut bench = bench(1, json!({})).await;
    add_agent(&mut bench, &json!({"models": [{"provider": "none", "model": "claude-5"}]}));
    bench.plan("p").await.unwrap();
    let (reason, message) = ready(&bench);
    assert_eq!(reason, "AgentNotReady");
    insta::assert_snapshot!(message);
    add_agent(&mut bench, &json!({"env": [{"name": "A", "secretKeyRef": {"name": "enact-model-keys", "key": "k"}}]}));
    bench.plan("p").await.unwrap();
    assert!(ready(&bench).1.contains("no pod may read"), "{:?}", ready(&bench));
    assert_eq!(pods(&bench), 0);
}
