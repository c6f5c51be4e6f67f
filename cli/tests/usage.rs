//! `kubectl enact usage`, run as a user does, against a simulated API server and record.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "support/fake.rs"]
mod fake;

use fake::{Answer, Fake, PROXY, Request, access_to_the_record};
use serde_json::{Value, json};

fn charge(input: u64, cached: u64, output: u64, cost: Option<u64>) -> Value {
    json!({
        "tokens": { "input": input, "cachedInput": cached, "cacheWrite": 0, "output": output, "reasoning": 0 },
        "costMicroUsd": cost,
    })
}

fn row(model: &str, charge: &Value, unpriced: u64, discarded: &Value, self_reported: u64) -> Value {
    json!({
        "namespace": "demo", "plan": "shop", "attempt": 1, "model": model, "requests": 3, "running": 1, "estimated": 0,
        "selfReported": self_reported, "charge": charge, "unpricedTokens": unpriced, "discarded": discarded,
    })
}

fn answer(request: &Request) -> Answer {
    if let Some(answer) = access_to_the_record(request) {
        return answer;
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", path) if path == format!("{PROXY}/usage") => usage(request),
        ("GET", path) if path == format!("{PROXY}/budgets") => Answer::Ok(json!({
            "month": "2026-11",
            "budgets": [
                {
                    "scope": { "kind": "tenant", "month": "2026-11" }, "name": "acme",
                    "balance": {
                        "limit": { "tokens": null, "costMicroUsd": 10_000_000 }, "spent": charge(0, 0, 0, Some(8_000_000)),
                        "reserved": charge(0, 0, 0, Some(500_000)), "unpricedTokens": 0,
                    },
                },
                {
                    "scope": { "kind": "plan", "uid": "u" }, "name": request.parameter("plan"),
                    "balance": {
                        "limit": { "tokens": null, "costMicroUsd": null }, "spent": charge(1, 0, 0, None),
                        "reserved": charge(0, 0, 0, None), "unpricedTokens": 0,
                    },
                },
            ],
        })),
        _ => Answer::Failure(404, "not found"),
    }
}

fn usage(request: &Request) -> Answer {
    if request.parameter("format") == "csv" {
        return Answer::Text("plan,requests\nsh\u{1b}[2Jop,3\n".into());
    }
    let rows = if request.parameter("plan") == "empty" {
        vec![]
    } else {
        let (known, unknown) = (charge(1_234_567, 10, 20, Some(1_500_000)), charge(7, 0, 8, None));
        let (failed, none) = (charge(5, 0, 5, Some(250_000)), charge(0, 0, 0, None));
        vec![row("claude", &known, 0, &failed, 0), row("lla\u{1b}[2Jma", &unknown, 15, &none, 2)]
    };
    let by: Vec<&str> = request.parameter("by").split(',').collect();
    let by = if by.contains(&"model") { json!(["namespace", "plan", "model"]) } else { json!(["namespace", "plan"]) };
    Answer::Ok(json!({ "from": 1_793_491_200_000_i64, "to": 1_796_083_200_000_i64, "by": by, "rows": rows }))
}

#[test]
fn usage_and_budgets_are_tables() {
    let api = Fake::start(answer);
    let ran = api.enact(&["usage", "--by", "plan,model"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(
        ran.stdout.starts_with("Usage of namespace demo from 2026-11-01 00:00 to 2026-12-01 00:00 (UTC)\n"),
        "{}",
        ran.stdout
    );
    assert_eq!(lines[1], ["PLAN", "MODEL", "REQUESTS", "INPUT", "CACHED", "OUTPUT", "COST", "DISCARDED"]);
    assert_eq!(lines[2], ["shop", "claude", "3", "1,234,567", "10", "20", "$1.5000", "$0.2500"]);
    assert_eq!(lines[3], ["shop", "lla", "[2Jma", "3*", "7", "0", "8", "unknown", "-"], "an unknown price is not zero");
    assert_eq!(lines[4], ["TOTAL", "6", "1,234,574", "10", "28", ">", "$1.5000", "$0.2500"]);
    assert_eq!(lines[6], ["BUDGET", "LIMIT", "SPENT", "RESERVED", "REMAINING", "USED"]);
    assert_eq!(
        lines[7],
        ["tenant/acme", "2026-11", "$10.0000", "$8.0000", "$0.5000", "$1.5000", "[########..]", "85%"]
    );
    assert_eq!(lines.len(), 8, "a budget without a limit is left out: {}", ran.stdout);
    for part in [
        "15 tokens are of models without a known price",
        "2 requests run",
        "2 entries, in the rows with a *, are reported by",
    ] {
        assert!(ran.stderr.contains(part), "{part:?} is not in: {}", ran.stderr);
    }
    assert!(!ran.stdout.contains('\u{1b}'), "{:?}", ran.stdout);
}

#[test]
fn parameters_reach_the_server() {
    let api = Fake::start(answer);
    let asked = [
        "usage",
        "--plan",
        "shop",
        "--agent",
        "team/coder",
        "--from",
        "2026-11-01T00:00:00Z",
        "--to",
        "2026-11-30",
        "-o",
        "json",
    ];
    let ran = api.enact(&asked);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed["usage"]["rows"][0]["charge"]["costMicroUsd"], json!(1_500_000));
    assert_eq!(printed["budgets"]["budgets"][1]["name"], json!("shop"), "the plan is asked for");
    let request = api.seen().into_iter().find(|request| request.path.ends_with("/usage")).unwrap();
    let sent: Vec<(&str, &str)> = request.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        sent,
        [
            ("agent", "team/coder"),
            ("by", "plan"),
            ("from", "2026-11-01T00:00:00Z"),
            ("plan", "shop"),
            ("to", "2026-11-30")
        ]
    );
}

#[test]
fn csv_is_printed_without_terminal_controls() {
    let api = Fake::start(answer);
    let ran = api.enact(&["usage", "-o", "csv"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "plan,requests\nsh\u{fffd}[2Jop,3\n"), "{}", ran.stderr);
}

#[test]
fn no_usage_is_a_note() {
    let api = Fake::start(answer);
    let ran = api.enact(&["usage", "--plan", "empty"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("namespace demo has no model requests from 2026-11-01"), "{}", ran.stderr);
    assert!(ran.stdout.trim_start().starts_with("BUDGET"), "{}", ran.stdout);
}

#[test]
fn an_unknown_dimension_is_an_error() {
    let api = Fake::start(answer);
    let ran = api.enact(&["usage", "--by", "plan,secret"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("requirement"), "it lists the dimensions: {}", ran.stderr);
}

/// Answers as `answer`, for a plan with an estimate and one task.
fn estimated(request: &Request) -> Answer {
    const ENACT: &str = "/apis/enact.dev/v1alpha1/namespaces/demo";
    let list = |kind: &str, items: &[Value]| {
        Answer::Ok(json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": format!("{kind}List"), "metadata": { "resourceVersion": "9" }, "items": items,
        }))
    };
    let object = |kind: &str, name: &str, spec: Value, status: Value| {
        json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": kind, "spec": spec, "status": status,
            "metadata": { "name": name, "namespace": "demo", "creationTimestamp": "2026-11-03T10:00:00Z" },
        })
    };
    let path = request.path.strip_prefix(ENACT).unwrap_or_default();
    match (request.method.as_str(), path) {
        ("GET", "/plans/shop") => {
            let usd = json!({ "low": "0.90", "expected": "1.20", "high": "1.60" });
            let status = json!({
                "phase": "Succeeded", "usage": { "tokens": 900, "usd": "1.50" },
                "estimate": { "usd": usd, "samples": 7, "basis": "Agent", "errorPercent": 25 },
            });
            Answer::Ok(object("Plan", "shop", json!({ "agentRef": { "name": "coder" } }), status))
        }
        ("GET", "/tasks") => {
            let spec = json!({ "planRef": { "name": "shop" }, "id": "T001", "title": "Sell" });
            list("Task", &[object("Task", "shop-t001", spec, json!({ "phase": "Succeeded", "attempts": 2 }))])
        }
        ("GET", "/approvals") => list("Approval", &[]),
        _ if request.path.ends_with("/usage") && request.parameter("by") == "task" => {
            let mut of_task =
                row("claude", &charge(800, 0, 100, Some(1_500_000)), 0, &charge(50, 0, 0, Some(100_000)), 0);
            of_task["task"] = json!("shop-t001");
            Answer::Ok(json!({ "from": 0, "to": 1, "by": ["namespace", "plan", "task"], "rows": [of_task] }))
        }
        _ => answer(request),
    }
}

#[test]
fn a_report_on_a_plan_compares_its_estimate() {
    let api = Fake::start(estimated);
    let ran = api.enact(&["usage", "--plan", "shop"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let last = "Plan shop: estimated 1.20 USD (0.90 to 1.60), duration unknown, from 7 finished tasks of the same agents; \
                spent 1.50 USD and 900 tokens, 25 % more than expected\n";
    assert!(ran.stdout.ends_with(last), "{}", ran.stdout);
}

#[test]
fn a_tree_can_show_the_usage_of_tasks() {
    let api = Fake::start(estimated);
    let ran = api.enact(&["status", "shop", "--usage"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let task = ran.stdout.lines().find(|line| line.contains("T001")).unwrap_or_default();
    assert!(task.contains("$1.5000, 900 tokens, $0.1000 discarded; attempt 2"), "{}", ran.stdout);
    let seen = api.seen();
    let asked = seen.iter().find(|request| request.path.ends_with("/usage")).expect("the usage is read");
    assert_eq!((asked.parameter("plan"), asked.parameter("from")), ("shop", "2026-11-03T10:00:00Z"));
    let plain = Fake::start(estimated);
    let ran = plain.enact(&["status", "shop"]);
    assert!(ran.code == Some(0) && !ran.stdout.contains("$1.5000"), "{}", ran.stdout);
    assert!(plain.seen().iter().all(|request| !request.path.contains("/proxy/")), "without the flag nothing is asked");
}
