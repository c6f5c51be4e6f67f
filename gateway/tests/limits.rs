//! Limits per minute of tenants, agents and providers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::time::Duration;

use enact_gateway::app::Overrides;
use enact_gateway::gateway::Patience;
use serde_json::{Value, json};

use support::{Gateway, TOKEN, answered, chat, eventually, read};

/// Sends requests until one is refused, and returns how many passed, and the refusal.
async fn until_refused(gateway: &Gateway) -> (usize, u32, String) {
    for passed in 0..1000 {
        gateway.provider.answer("p", answered(1, 1));
        let response = gateway.send(TOKEN, "/v1/chat/completions", &chat("m")).await;
        if response.status() == 429 {
            let seconds = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            return (passed, seconds, read(response).await.1);
        }
        assert_eq!(response.status(), 200);
        read(response).await;
    }
    panic!("no limit was reached");
}

/// Sets the limits of an object, and waits until the gateway applies them.
async fn limit(gateway: &Gateway, object: &str, spec: &Value) {
    gateway.cluster.api.change(object, &json!({ "spec": spec }));
    eventually("the limit is applied", async || {
        gateway.provider.answer("p", answered(1, 1));
        read(gateway.send(TOKEN, "/v1/chat/completions", &chat("m")).await).await.0 == 429
    })
    .await;
}

#[tokio::test]
async fn a_tenants_limit_is_reached_and_recovers() {
    let gateway = Gateway::start().await;
    // A quarter of a minute's limit may be used at once, and one more request passes each second.
    limit(&gateway, "tenants/acme", &json!({ "modelLimits": { "requestsPerMinute": 60 } })).await;
    let (_, seconds, body) = until_refused(&gateway).await;
    assert!((1..=2).contains(&seconds), "{seconds}");
    let error: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(error["error"]["code"], "RateLimited");
    assert!(body.contains("the tenant's limit of requests per minute is reached"), "{body}");
    assert!(gateway.ledger.refusal("uid-task-coder").is_none(), "the attempt continues");
    eventually("requests pass again", async || {
        gateway.provider.answer("p", answered(1, 1));
        gateway.chat("m").await.0 == 200
    })
    .await;

    // Another agent of the tenant shares the limit, and gets the error in the format of its provider.
    let body = json!({ "model": "claude-x", "max_tokens": 10, "messages": [{ "role": "user", "content": "hello" }] });
    let mut refused = None;
    for _ in 0..100 {
        until_refused(&gateway).await;
        // A request may pass in between: then the next one is refused.
        let (status, text) = read(gateway.send("token-claude", "/v1/messages", &body).await).await;
        if status == 429 {
            refused = Some(text);
            break;
        }
    }
    let error: Value = serde_json::from_str(&refused.expect("the limit is the tenant's")).unwrap();
    assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!("rate_limit_error")));
}

#[tokio::test]
async fn an_agents_limit_is_its_own() {
    let gateway = Gateway::start().await;
    limit(&gateway, "agents/coder", &json!({ "limits": { "tokensPerMinute": 60 } })).await;
    let (_, _, body) = until_refused(&gateway).await;
    assert!(body.contains("the limit of tokens per minute of the Agent team/coder is reached"), "{body}");
    let usage = json!({ "input_tokens": 1, "output_tokens": 1 });
    gateway.provider.answer("anthropic", support::provider::Answer::json(200, &json!({ "usage": usage })));
    let body = json!({ "model": "claude-x", "max_tokens": 10, "messages": [{ "role": "user", "content": "hello" }] });
    let (status, body) = read(gateway.send("token-claude", "/v1/messages", &body).await).await;
    assert_eq!(status, 200, "another agent: {body}");
}

#[tokio::test]
async fn a_tenants_own_limit_replaces_that_of_the_installation() {
    let change = |settings: &mut enact_gateway::config::Settings| settings.tenant_requests_per_minute = Some(4);
    let gateway = Gateway::start_with(Overrides::default(), change).await;
    let (passed, seconds, _) = until_refused(&gateway).await;
    assert_eq!(passed, 1);
    assert!(seconds <= 15, "{seconds}");
    let own = json!({ "spec": { "modelLimits": { "requestsPerMinute": 100_000 } } });
    gateway.cluster.api.change("tenants/acme", &own);
    let answers = async || {
        gateway.provider.answer("p", answered(1, 1));
        gateway.chat("m").await.0 == 200
    };
    let begun = std::time::Instant::now();
    eventually("the tenant's own limit applies", answers).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "not because of the installation's limit");
}

#[tokio::test]
async fn an_attempt_has_few_requests_at_once() {
    let change = |settings: &mut enact_gateway::config::Settings| settings.attempt_concurrent_requests = Some(1);
    let gateway = Gateway::start_with(Overrides::default(), change).await;
    let (sender, answer) = support::provider::Answer::sent();
    gateway.provider.answer("p", answer);
    let running = gateway.send(TOKEN, "/v1/chat/completions", &chat("m")).await;
    assert_eq!(running.status(), 200);
    let response = gateway.send(TOKEN, "/v1/chat/completions", &chat("m")).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "1");
    let body = read(response).await.1;
    assert!(body.contains("limit of concurrent requests of one attempt"), "{body}");
    let usage = json!({ "input_tokens": 1, "output_tokens": 1 });
    gateway.provider.answer("anthropic", support::provider::Answer::json(200, &json!({ "usage": usage })));
    let body = json!({ "model": "claude-x", "max_tokens": 10, "messages": [{ "role": "user", "content": "hello" }] });
    let (status, body) = read(gateway.send("token-claude", "/v1/messages", &body).await).await;
    assert_eq!(status, 200, "another attempt: {body}");
    drop(sender);
    read(running).await;
    gateway.provider.answer("p", answered(1, 1));
    eventually("the request is not in progress any more", async || gateway.chat("m").await.0 == 200).await;
}

#[tokio::test]
async fn a_count_of_tokens_is_in_progress_until_its_end() {
    let change = |settings: &mut enact_gateway::config::Settings| settings.attempt_concurrent_requests = Some(1);
    let gateway = Gateway::start_with(Overrides::default(), change).await;
    let body = json!({ "model": "claude-x", "messages": [] });
    let count = async || read(gateway.send("token-claude", "/v1/messages/count_tokens", &body).await).await;
    gateway.provider.answer("anthropic", support::provider::Answer::never());
    let second = async {
        eventually("the provider has the first request", async || !gateway.provider.seen().is_empty()).await;
        count().await
    };
    let (status, text) = tokio::select! {
        first = count() => panic!("the first request has ended: {first:?}"),
        second = second => second,
    };
    assert_eq!(status, 429, "{text}");
    assert!(text.contains("limit of concurrent requests of one attempt"), "{text}");
    gateway.provider.answer("anthropic", support::provider::Answer::json(200, &json!({ "input_tokens": 5 })));
    eventually("the client of the first request has left", async || count().await.0 == 200).await;
}

#[tokio::test]
async fn an_attempt_with_an_answer_in_progress_is_not_stopped() {
    let patience = Patience { limited: Duration::ZERO, ..Patience::default() };
    let overrides = Overrides { patience, ..Overrides::default() };
    let gateway = Gateway::start_with(overrides, |settings| settings.attempt_concurrent_requests = Some(1)).await;
    let (sender, answer) = support::provider::Answer::sent();
    gateway.provider.answer("p", answer);
    let running = gateway.send(TOKEN, "/v1/chat/completions", &chat("m")).await;
    assert_eq!(running.status(), 200);
    for _ in 0..10 {
        assert_eq!(gateway.chat("m").await.0, 429);
    }
    assert!(gateway.ledger.refusal("uid-task-coder").is_none(), "the attempt gets an answer");
    drop(sender);
    read(running).await;
}
