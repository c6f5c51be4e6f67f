//! Requests that pass the gateway: all wire formats, keys, models and usage.

mod support;

use enact_domain::usage::Tokens;
use enact_store::Outcome;
use serde_json::{Value, json};

use support::provider::Answer;
use support::{Gateway, KEY, TOKEN, answered, chat, get, read};

const CHAT_EVENTS: [&str; 3] = [
    "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":4,\"prompt_tokens_details\":{\"cached_tokens\":8}}}\n\n",
    "data: [DONE]\n\n",
];

#[tokio::test]
async fn an_answer_is_metered_and_the_key_replaces_the_token() {
    let gateway = Gateway::start().await;
    gateway.provider.answer("p", answered(20, 4));
    let (status, body) = gateway.chat("m").await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"content\":\"hi\""), "{body}");
    let settled = gateway.settled(1).await.remove(0);
    assert_eq!(settled.settlement.outcome, Outcome::Completed);
    assert_eq!(settled.settlement.charge.tokens, Tokens { input: 20, output: 4, ..Tokens::default() });
    let request = settled.request;
    assert_eq!((request.plan.as_str(), request.task.as_str(), request.attempt), ("shop", "task-coder", 1));
    assert_eq!((request.agent.as_str(), request.provider.as_str()), ("team/coder", "team/p"));
    assert_eq!((request.model.as_str(), request.estimate.tokens.output), ("m", 100));
    assert_eq!(gateway.ledger.open_count(), 0);
    let seen = gateway.provider.seen().remove(0);
    assert_eq!(seen.path, "/p/v1/chat/completions");
    assert_eq!(seen.headers["authorization"], format!("Bearer {KEY}"));
    assert!(!format!("{:?}", seen.headers).contains(TOKEN));
}

#[tokio::test]
async fn a_stream_of_chat_reports_usage_only_to_the_gateway() {
    let gateway = Gateway::start().await;
    gateway.provider.answer("p", Answer::events(&CHAT_EVENTS));
    let mut request = chat("m");
    request["stream"] = true.into();
    let (status, body) = read(gateway.send(TOKEN, "/v1/chat/completions", &request).await).await;
    assert_eq!((status, body), (200, [CHAT_EVENTS[0], CHAT_EVENTS[2]].concat()));
    let expected = Tokens { input: 12, cached_input: 8, output: 4, ..Tokens::default() };
    assert_eq!(gateway.settled(1).await[0].settlement.charge.tokens, expected);
    let sent: Value = serde_json::from_str(&gateway.provider.seen()[0].body).unwrap();
    assert_eq!(sent["stream_options"], json!({ "include_usage": true }));

    gateway.provider.answer("p", Answer::events(&CHAT_EVENTS));
    request["stream_options"] = json!({ "include_usage": true });
    let (_, body) = read(gateway.send(TOKEN, "/v1/chat/completions", &request).await).await;
    assert_eq!(body, CHAT_EVENTS.concat(), "a client that asks for usage gets it");
}

#[tokio::test]
async fn every_format_has_its_path_and_key() {
    let gateway = Gateway::start().await;
    let anthropic = json!({ "type": "message", "content": [], "usage": { "input_tokens": 9, "cache_read_input_tokens": 7, "output_tokens": 3 } });
    gateway.provider.answer("anthropic", Answer::json(200, &anthropic));
    let body = json!({ "model": "claude-x", "max_tokens": 10, "messages": [] });
    let (status, _) = read(gateway.send("token-claude", "/v1/messages?beta=true", &body).await).await;
    assert_eq!(status, 200);

    let gemini = json!([{ "candidates": [{ "finishReason": "STOP" }], "usageMetadata": { "promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 1 } }]);
    gateway.provider.answer("gemini", Answer::json(200, &gemini));
    let path = "/v1beta/models/gemini-x:streamGenerateContent?key=token-gemini";
    let (status, _) = read(gateway.send("token-gemini", path, &json!({ "contents": [] })).await).await;
    assert_eq!(status, 200);

    let completed = "event: response.completed\ndata: {\"response\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":3,\"output_tokens_details\":{\"reasoning_tokens\":1}}}}\n\n";
    gateway.provider.answer("p", Answer::events(&[completed]));
    let body = json!({ "model": "m", "stream": true, "input": "x" });
    let (status, body) = read(gateway.send(TOKEN, "/v1/responses", &body).await).await;
    assert_eq!((status, body.as_str()), (200, completed));

    let tokens: Vec<Tokens> = gateway.settled(3).await.iter().map(|s| s.settlement.charge.tokens).collect();
    assert_eq!(tokens[0], Tokens { input: 9, cached_input: 7, output: 3, ..Tokens::default() });
    assert_eq!(tokens[1], Tokens { input: 9, output: 3, reasoning: 1, ..Tokens::default() });
    assert_eq!(tokens[2], tokens[1]);
    let seen = gateway.provider.seen();
    let paths: Vec<&str> = seen.iter().map(|seen| seen.path.as_str()).collect();
    assert_eq!(
        paths,
        ["/anthropic/v1/messages?beta=true", "/gemini/v1beta/models/gemini-x:streamGenerateContent", "/p/v1/responses"]
    );
    assert_eq!(seen[0].headers["x-api-key"], KEY);
    assert_eq!(seen[0].headers["anthropic-version"], "2023-06-01");
    assert_eq!(seen[1].headers["x-goog-api-key"], KEY);
}

#[tokio::test]
async fn counting_tokens_is_not_metered() {
    let gateway = Gateway::start().await;
    gateway.provider.answer("anthropic", Answer::json(200, &json!({ "input_tokens": 5 })));
    let body = json!({ "model": "claude-x", "messages": [] });
    let (status, body) = read(gateway.send("token-claude", "/v1/messages/count_tokens", &body).await).await;
    assert_eq!((status, body.as_str()), (200, "{\"input_tokens\":5}"));
    assert_eq!(gateway.provider.seen()[0].path, "/anthropic/v1/messages/count_tokens");
    assert!(gateway.ledger.settled().is_empty());
}

#[tokio::test]
async fn only_models_of_the_agent_pass() {
    let gateway = Gateway::start().await;
    for model in ["claude-x", "other", "../m", "", "M"] {
        let (status, body) = gateway.chat(model).await;
        assert_eq!(status, 403, "{body}");
        let error: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(error["error"]["code"], "ModelNotAllowed", "{body}");
    }
    let (status, body) = read(gateway.send(TOKEN, "/v1/messages", &json!({ "model": "m" })).await).await;
    assert_eq!(status, 404, "the models speak another API");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["type"], "error");
    let path = "/v1beta/models/..%2F..%2Fx:generateContent";
    let (status, _) = read(gateway.send("token-gemini", path, &json!({})).await).await;
    assert_eq!(status, 403);
    for (name, value) in [
        ("models", json!(["other"])),
        ("fallbacks", json!(["other"])),
        ("tools", json!([{ "type": "image_generation" }])),
        ("previous_response_id", json!("resp_1")),
    ] {
        let mut request = chat("m");
        request[name] = value;
        let (status, body) = read(gateway.send(TOKEN, "/v1/responses", &request).await).await;
        assert_eq!((status, body.contains("InvalidRequest")), (400, true), "{name}: {body}");
    }
    assert!(gateway.provider.seen().is_empty());

    gateway
        .cluster
        .provider_with("p", &json!({ "api": "OpenAi", "baseUrl": "http://127.0.0.1:1", "models": ["gpt-*"] }));
    let (status, body) = gateway.chat("m").await;
    assert_eq!(status, 403, "the provider does not allow the model: {body}");
}

#[tokio::test]
async fn an_agent_lists_its_models() {
    let gateway = Gateway::start().await;
    let request = |path: &str, token: &str| {
        http::Request::get(format!("http://{}{path}", gateway.address))
            .header("x-api-key", token)
            .body(http_body_util::Full::default())
            .unwrap()
    };
    let (status, body) = read(support::client().request(request("/v1/models", TOKEN)).await.unwrap()).await;
    let list: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &list["data"][0]["id"], &list["data"][1]["id"]), (200, &json!("m"), &json!("m2")));
    let (_, body) = read(support::client().request(request("/v1beta/models", "token-gemini")).await.unwrap()).await;
    assert!(body.contains("models/gemini-x"), "{body}");
}

#[tokio::test]
async fn the_price_of_the_provider_counts() {
    let gateway = Gateway::start().await;
    let spec = json!({
        "api": "OpenAi", "baseUrl": format!("{}/p", gateway.provider.url()), "key": "main",
        "prices": [{
            "model": "m*", "input": "2", "output": "10.50",
            "longPrompts": [{ "above": 5000, "input": "4", "output": "20", "cachedInput": "0.5" }],
        }],
    });
    gateway.cluster.provider_with("p", &spec);
    gateway.provider.answer("p", answered(1000, 100));
    assert_eq!(gateway.chat("m").await.0, 200);
    let settled = gateway.settled(1).await.remove(0);
    assert_eq!(settled.settlement.charge.cost_micro_usd, Some(2000 + 1050));
    assert!(settled.request.estimate.cost_micro_usd.is_some());
    gateway.provider.answer("p", answered(5001, 100));
    assert_eq!(gateway.chat("m").await.0, 200);
    let long = gateway.settled(2).await.remove(1);
    assert_eq!(
        long.settlement.charge.cost_micro_usd,
        Some(20_004 + 2000),
        "the whole request has the price of a long prompt"
    );
    gateway.provider.answer("q", answered(1, 1));
    assert_eq!(gateway.chat("m2").await.0, 200);
    assert_eq!(gateway.settled(3).await[2].settlement.charge.cost_micro_usd, None, "the price of m2 is not known");
    assert!(gateway.metrics().await.contains("enact_gateway_unpriced_requests_total 1"));
}

#[tokio::test]
async fn the_key_appears_nowhere() {
    let gateway = Gateway::start().await;
    let careless = json!({ "error": { "message": format!("bad request with key {KEY} and {KEY}") } });
    gateway.provider.answer("p", Answer::json(400, &careless));
    let (status, body) = gateway.chat("m").await;
    assert_eq!(status, 400);
    assert!(body.contains("[redacted]") && !body.contains(KEY), "{body}");
    for status in [401, 500] {
        gateway.provider.answer("p", Answer::json(status, &careless).header("x-echo", KEY));
        gateway.provider.answer("q", Answer::json(status, &careless));
        let response = gateway.send(TOKEN, "/v1/chat/completions", &chat("m")).await;
        assert!(!format!("{:?}", response.headers()).contains(KEY));
        assert!(!read(response).await.1.contains(KEY));
    }
    assert!(!gateway.metrics().await.contains(KEY));
    assert!(!format!("{:?}", gateway.ledger.settled()).contains(KEY));
}

#[tokio::test]
async fn the_runner_sees_usage_and_refusal() {
    let gateway = Gateway::start().await;
    gateway.provider.answer("p", answered(20, 4));
    gateway.chat("m").await;
    gateway.settled(1).await;
    let request = http::Request::get(format!("http://{}/enact/v1/attempt", gateway.address))
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(http_body_util::Full::default())
        .unwrap();
    let (status, body) = read(support::client().request(request).await.unwrap()).await;
    let state: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &state["refusal"]), (200, &Value::Null));
    assert_eq!(state["usage"]["inputTokens"], 20);
    assert_eq!(state["usage"]["outputTokens"], 4);
    let (status, _) = get(gateway.address, "/enact/v1/attempt").await;
    assert_eq!(status, 401);
}
