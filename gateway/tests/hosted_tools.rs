//! Tools that a provider runs itself, in all formats.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use serde_json::{Value, json};

use support::provider::Answer;
use support::{Gateway, TOKEN, eventually, read};

/// Requests that ask for a tool of the provider and nothing else: token, path, and body.
fn searches() -> [(&'static str, &'static str, Value); 5] {
    let messages = json!([{ "role": "user", "content": "search" }]);
    [
        (
            "token-claude",
            "/v1/messages",
            json!({ "model": "claude-x", "max_tokens": 10, "messages": messages, "tools": [{ "type": "web_search_20250305", "name": "web_search" }] }),
        ),
        (
            "token-claude",
            "/v1/messages",
            json!({ "model": "claude-x", "max_tokens": 10, "messages": messages, "mcp_servers": [{ "type": "url", "url": "https://x.example" }] }),
        ),
        (
            TOKEN,
            "/v1/chat/completions",
            json!({ "model": "m", "messages": messages, "web_search_options": { "search_context_size": "low" } }),
        ),
        (
            TOKEN,
            "/v1/responses",
            json!({ "model": "m", "input": "search", "tools": [{ "type": "code_interpreter", "container": { "type": "auto" } }] }),
        ),
        (
            "token-gemini",
            "/v1beta/models/gemini-x:generateContent",
            json!({ "contents": [{ "parts": [{ "text": "search" }] }], "tools": [{ "googleSearch": {} }] }),
        ),
    ]
}

#[tokio::test]
async fn tools_of_the_provider_are_refused() {
    let gateway = Gateway::start().await;
    for (token, path, body) in searches() {
        let (status, answer) = read(gateway.send(token, path, &body).await).await;
        assert_eq!(status, 400, "{path}: {answer}");
        assert!(answer.contains("spec.hostedTools of the ModelProvider team/"), "{path}: {answer}");
    }
    assert!(gateway.provider.seen().is_empty());
}

#[tokio::test]
async fn tools_of_the_agent_stay() {
    let gateway = Gateway::start().await;
    let usage = json!({ "usage": { "input_tokens": 1, "output_tokens": 1 } });
    gateway.provider.answer("p", Answer::json(200, &usage));
    let tools = json!([{ "type": "function", "name": "shell" }, { "type": "web_search" }]);
    let body = json!({ "model": "m", "input": "work", "tools": tools });
    let (status, answer) = read(gateway.send(TOKEN, "/v1/responses", &body).await).await;
    assert_eq!(status, 200, "{answer}");
    let seen: Value = serde_json::from_str(&gateway.provider.seen()[0].body).unwrap();
    assert_eq!(seen["tools"], json!([{ "type": "function", "name": "shell" }]));
}

#[tokio::test]
async fn a_provider_can_allow_its_tools() {
    let gateway = Gateway::start().await;
    for name in ["p", "anthropic", "gemini"] {
        gateway.cluster.api.change(&format!("modelproviders/{name}"), &json!({ "spec": { "hostedTools": true } }));
    }
    for (token, path, body) in searches() {
        let before = gateway.provider.seen().len();
        eventually("the provider gets the request", async || {
            read(gateway.send(token, path, &body).await).await;
            gateway.provider.seen().len() > before
        })
        .await;
        let seen: Value = serde_json::from_str(&gateway.provider.seen()[before].body).unwrap();
        for field in ["tools", "mcp_servers", "web_search_options"] {
            assert_eq!(seen.get(field), body.get(field), "{path}");
        }
    }
}
