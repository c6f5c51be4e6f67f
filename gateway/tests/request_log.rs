//! Texts of requests and answers are recorded only for a tenant that wants them, and without credentials.

mod support;

use serde_json::json;

use support::provider::Answer;
use support::{Gateway, KEY, TOKEN, answered, chat, eventually, read};

/// Sends a request whose text has a credential, and whose provider repeats its key.
async fn ask(gateway: &Gateway) {
    let delta = |text: &str| format!("data: {}\n\n", json!({ "choices": [{ "delta": { "content": text } }] }));
    let words = [delta("Your key is "), delta(&format!("{KEY}.")), "data: [DONE]\n\n".to_owned()];
    gateway.provider.answer("p", Answer::events(&[&words[0], &words[1], &words[2]]));
    let mut request = chat("m");
    request["stream"] = true.into();
    request["messages"][0]["content"] = "my password=correct-horse, read it".into();
    let (status, body) = read(gateway.send(TOKEN, "/v1/chat/completions", &request).await).await;
    assert_eq!((status, body.contains(KEY)), (200, true), "the answer of a model passes as it is");
}

#[tokio::test]
async fn texts_are_recorded_for_those_who_want_them() {
    let mut gateway = Gateway::start().await;
    ask(&gateway).await;
    gateway.settled(1).await;
    gateway
        .cluster
        .api
        .change("tenants/acme", &json!({ "spec": { "requestLogging": { "maxBytes": 4096, "retentionDays": 1 } } }));
    eventually("texts are recorded", async || {
        ask(&gateway).await;
        !gateway.ledger.logs().is_empty()
    })
    .await;
    let asked = gateway.settled(2).await.len();
    gateway.cluster.api.change("tenants/acme", &json!({ "spec": { "requestLogging": null } }));
    gateway.stop().await;
    let logs = gateway.ledger.logs();
    assert!(logs.len() < asked + 1, "the first request was sent before the tenant wanted it");
    for log in &logs {
        assert!(gateway.ledger.settled().iter().any(|settled| settled.request.id == log.id));
        assert!(log.request.contains("my password=[redacted]"), "{}", log.request);
        assert_eq!(log.answer, "Your key is [redacted].");
        let left = log.expires_at.since(enact_gateway::gateway::now());
        assert!((86_000_000..=86_400_000).contains(&left), "{left}");
    }
}

#[tokio::test]
async fn requests_do_not_depend_on_their_texts() {
    let gateway = Gateway::start().await;
    gateway.cluster.api.change("tenants/acme", &json!({ "spec": { "requestLogging": {} } }));
    eventually("texts are recorded", async || {
        ask(&gateway).await;
        !gateway.ledger.logs().is_empty()
    })
    .await;
    // An answer without a stream, and an error of the provider.
    let before = gateway.ledger.logs().len();
    gateway.provider.answer("p", answered(1, 2));
    assert_eq!(gateway.chat("m").await.0, 200);
    gateway.provider.answer("p", Answer::json(400, &json!({ "error": { "message": "prompt is too long" } })));
    assert_eq!(gateway.chat("m").await.0, 400);
    eventually("both are recorded", async || gateway.ledger.logs().len() >= before + 2).await;
    let answers: Vec<String> = gateway.ledger.logs()[before..].iter().map(|log| log.answer.clone()).collect();
    assert!(answers.iter().any(|answer| answer.contains("\"content\":\"hi\"")), "{answers:?}");
    assert!(gateway.metrics().await.contains("enact_gateway_request_logs_total{outcome=\"written\"}"));
}

/// Recordings of answers in progress could otherwise fill the memory of the gateway.
#[tokio::test]
async fn texts_in_progress_take_a_part_of_the_memory() {
    let gateway = Gateway::start().await;
    gateway.cluster.api.change("tenants/acme", &json!({ "spec": { "requestLogging": { "maxBytes": 262_144 } } }));
    eventually("texts are recorded", async || {
        ask(&gateway).await;
        !gateway.ledger.logs().is_empty()
    })
    .await;
    let mut request = chat("m");
    request["stream"] = true.into();
    request["messages"][0]["content"] = "x".repeat(300_000).into();
    let mut open = Vec::new();
    for _ in 0..40 {
        let (sender, answer) = Answer::sent();
        gateway.provider.answer("p", answer);
        let response = gateway.send(TOKEN, "/v1/chat/completions", &request).await;
        assert_eq!(response.status(), 200);
        open.push((sender, response));
    }
    // 32 of them have 16 MiB.
    assert!(gateway.metrics().await.contains("enact_gateway_request_logs_total{outcome=\"dropped\"}"));
}
