//! `kubectl enact decisions`, run as a user does, against a simulated API server and record.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "support/fake.rs"]
mod fake;

use std::fs;

use fake::{Answer, Fake, PROXY, Request, access_to_the_record};
use serde_json::{Value, json};

fn decision(id: i64, state: &str, choice: &str, superseded_by: Option<i64>) -> Value {
    let outcome = json!({
        "state": "Succeeded", "succeededTasks": 7, "failedTasks": 1, "repeatedTasks": 2, "attempts": 12, "failedAttempts": 3,
        "discardedAttempts": 4, "tokens": 90_000, "costMicroUsd": 1_500_000, "unpricedTokens": 10, "discardedCostMicroUsd": 300_000,
    });
    json!({
        "planUid": "u", "outcome": if id == 12 { outcome } else { json!(null) },
        "id": id, "state": state, "question": "Where are carts stored?", "choice": choice,
        "rationale": "The team\n# runs it\u{1b}[2J", "consequences": "A migration", "alternatives": ["Redis: loses carts"],
        "namespace": "team", "plan": "cart", "specification": "shop", "specificationDigest": "sha256:aa", "proposal": "sha256:bb", "agent": "claude",
        "chosenBy": if id == 12 { json!("dana") } else { json!(null) }, "at": 1_793_491_200_000_i64,
        "supersedes": if id == 12 { json!(7) } else { json!(null) }, "supersededBy": superseded_by,
    })
}

fn answer(request: &Request) -> Answer {
    if let Some(answer) = access_to_the_record(request) {
        return answer;
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", path) if path == format!("{PROXY}/decisions") => {
            let decisions = if request.parameter("plan") == "nobody" {
                json!([])
            } else {
                let superseded = decision(7, "Superseded", "Redis", Some(12));
                json!([decision(12, "InForce", "Postgres", None), superseded, decision(3, "Withdrawn", "A file", None)])
            };
            Answer::Ok(json!({ "decisions": decisions }))
        }
        ("GET", path) if path == format!("{PROXY}/recommendations") => {
            let source = |id: i64, plan: &str| {
                json!({
                    "decision": id, "namespace": "team", "plan": plan, "specification": "shop", "agent": "claude", "at": 0,
                })
            };
            let found = json!({
                "question": "Where are carts stored?", "choice": "Postgres\u{1b}[2J", "rationale": "It runs already.", "plans": 2,
                "attempts": 12, "failedAttempts": 3, "sources": [source(12, "cart"), source(4, "basket")],
            });
            let found = if request.parameter("q") == "nothing" { json!([]) } else { json!([found]) };
            Answer::Ok(json!({ "recommendations": found }))
        }
        _ => Answer::Failure(404, "not found"),
    }
}

/// Returns the parameters that the server got.
fn sent(api: &Fake) -> Vec<(String, String)> {
    let request = api.seen().into_iter().find(|request| request.path.ends_with("/decisions")).unwrap();
    request.query.into_iter().collect()
}

#[test]
fn decisions_are_a_table() {
    let api = Fake::start(answer);
    let ran = api.enact(&["decisions"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "ID  STATE             QUESTION                 CHOICE    PLAN  PROPOSED BY  CHOSEN BY  WHEN (UTC)",
            "12  in force          Where are carts stored?  Postgres  cart  claude       dana       2026-11-01 00:00",
            "7   superseded by 12  Where are carts stored?  Redis     cart  claude       selection  2026-11-01 00:00",
            "3   withdrawn         Where are carts stored?  A file    cart  claude       selection  2026-11-01 00:00",
        ]
    );
    assert!(sent(&api).is_empty());
}

#[test]
fn a_wide_table_has_what_became_of_the_plan() {
    let ran = Fake::start(answer).enact(&["decisions", "-o", "wide"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let ends = [
        "PLAN STATE  TASKS                  FAILED ATTEMPTS  RUN AGAIN  DISCARDED  COST",
        "Succeeded   7 succeeded, 1 failed  3 of 12          2          4          > 1.50 USD",
        "-           -                      -                -          -          -",
        "-           -                      -                -          -          -",
    ];
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines.len() == ends.len() && lines.iter().zip(ends).all(|(line, end)| line.ends_with(end)), "{lines:#?}");
}

#[test]
fn an_argument_names_a_plan_or_a_specification() {
    for (argument, name) in [("cart", "plan"), ("plan/cart", "plan"), ("spec/cart", "specification")] {
        let api = Fake::start(answer);
        let ran = api.enact(&["decisions", argument, "-o", "json"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(printed["decisions"][0]["choice"], json!("Postgres"));
        assert_eq!(sent(&api), [(name.to_owned(), "cart".to_owned())], "{argument}");
    }
    let ran = Fake::start(answer).enact(&["decisions", "constitution/shop"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("it must be PLAN, plan/NAME or specification/NAME"), "{}", ran.stderr);
}

#[test]
fn recommendations_have_their_sources() {
    let api = Fake::start(answer);
    let ran = api.enact(&["decisions", "--recommend", "where are carts stored"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "QUESTION                 CHOICE        PLANS  FAILED ATTEMPTS  SOURCES",
            "Where are carts stored?  Postgres [2J  2      3 of 12          team/cart (decision 12), team/basket (decision 4)",
        ]
    );
    let request = api.seen().into_iter().find(|request| request.path.ends_with("/recommendations")).unwrap();
    assert_eq!(request.parameter("q"), "where are carts stored");
    let ran = api.enact(&["decisions", "--recommend", "carts", "-o", "json"]);
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed["recommendations"][0]["sources"][1]["plan"], json!("basket"));
    let ran = api.enact(&["decisions", "--recommend", "nothing"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("no Plan that succeeded"), "{}", ran.stderr);
    assert_eq!(api.enact(&["decisions", "cart", "--recommend", "carts"]).code, Some(2));
}

#[test]
fn without_decisions_a_note_says_why() {
    let ran = Fake::start(answer).enact(&["decisions", "nobody"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("no decision is recorded"), "{}", ran.stderr);
}

#[test]
fn each_decision_becomes_a_file() {
    let api = Fake::start(answer);
    // The second export overwrites the first.
    for _ in 0..2 {
        let ran = api.enact(&["decisions", "--madr", "docs/decisions"]);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(0), "3 decisions are written to docs/decisions\n"),
            "{}",
            ran.stderr
        );
    }
    let folder = api.here().join("docs/decisions");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
    let text = fs::read_to_string(folder.join("0012-where-are-carts-stored.md")).unwrap();
    let expected = "---
status: \"accepted\"
date: 2026-11-01
decision-makers: \"dana\"
---

# Where are carts stored?

## Context and Problem Statement

Plan cart implements Specification shop (`sha256:aa`). Its planner had to settle: Where are carts stored?

## Considered Options

* Postgres
* Redis: loses carts

## Decision Outcome

Chosen option: \"Postgres\", because: The team # runs it [2J

### Consequences

* A migration

## More Information

* Agent claude proposed it (`sha256:bb`); chosen by dana.
* It supersedes decision 7.
* Plan cart so far: Succeeded; tasks: 7 succeeded, 1 failed; 3 of 12 attempts failed; 2 tasks ran again after they had passed; \
the work of 4 attempts is discarded; it cost > 1.50 USD.
";
    assert_eq!(text, expected, "an agent's text adds no section");
    let superseded = fs::read_to_string(folder.join("0007-where-are-carts-stored.md")).unwrap();
    assert!(
        superseded.contains("status: \"superseded by 12\"") && superseded.contains("chosen by the selection"),
        "{superseded}"
    );
}
