//! `kubectl enact requests`, run as a user does, against a simulated API server and record.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "support/fake.rs"]
mod fake;

use fake::{Answer, Fake, PROXY, Request, access_to_the_record};
use serde_json::{Value, json};

fn logged(task: &str, answer: &str) -> Value {
    json!({
        "id": "018f", "at": 1_793_491_200_000_i64, "plan": "shop", "task": task, "attempt": 2, "agent": "demo/coder",
        "provider": "demo/claude", "model": "claude", "outcome": "Completed", "httpStatus": 200,
        "charge": {
            "tokens": { "input": 5, "cachedInput": 10, "cacheWrite": 0, "output": 20, "reasoning": 0 }, "costMicroUsd": 1,
        },
        "expiresAt": 1_796_083_200_000_i64, "request": "{\"a\":1}", "requestBytes": 7, "answer": answer, "answerBytes": 9,
    })
}

fn answer(request: &Request) -> Answer {
    if let Some(answer) = access_to_the_record(request) {
        return answer;
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", path) if path == format!("{PROXY}/requests") => {
            let requests = if request.parameter("agent") == "nobody" {
                json!([])
            } else {
                json!([logged("shop-t002", "newest\u{1b}[2J"), logged("", "oldest")])
            };
            Answer::Ok(json!({ "requests": requests }))
        }
        _ => Answer::Failure(404, "not found"),
    }
}

#[test]
fn texts_are_printed_in_the_order_of_time() {
    let api = Fake::start(answer);
    let ran = api.enact(&["requests", "shop/T002", "--limit", "5"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let title = |subject: &str| {
        format!(
            "2026-11-01T00:00:00Z {subject} attempt 2, demo/coder, claude of demo/claude: Completed, 15 tokens of input, 20 of output"
        )
    };
    assert_eq!(lines[0], title("draft"));
    assert_eq!(lines[1..5], ["--- request (7 bytes)", "{\"a\":1}", "--- answer (9 bytes)", "oldest"]);
    assert_eq!((lines[6], lines[10]), (title("shop-t002").as_str(), "newest\u{fffd}[2J"));
    let request = api.seen().into_iter().find(|request| request.path.ends_with("/requests")).unwrap();
    let sent: Vec<(&str, &str)> = request.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(sent, [("limit", "5"), ("plan", "shop"), ("task", "shop-t002")]);
}

#[test]
fn json_is_as_the_server_says() {
    let api = Fake::start(answer);
    let ran = api.enact(&["requests", "-o", "json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed["requests"][1]["answer"], json!("oldest"));
}

#[test]
fn without_texts_a_note_says_how_to_get_them() {
    let api = Fake::start(answer);
    let ran = api.enact(&["requests", "--agent", "nobody"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("spec.requestLogging of the Tenant"), "{}", ran.stderr);
    let ran = api.enact(&["requests", "shop/"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("it must be PLAN or PLAN/TASKID"), "{}", ran.stderr);
}
