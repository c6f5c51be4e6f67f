//! Providers that fail, are slow, hostile, or at a forbidden address; and clients that leave.

mod support;

use std::time::Duration;

use enact_gateway::app::Overrides;
use enact_gateway::gateway::Patience;
use enact_gateway::relay::RelayLimits;
use enact_store::Outcome;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use support::provider::Answer;
use support::{Gateway, TOKEN, answered, chat, eventually, read};

fn stream() -> Value {
    let mut request = chat("m");
    request["stream"] = true.into();
    request
}

#[tokio::test]
async fn the_next_model_replaces_one_that_fails() {
    let gateway = Gateway::start().await;
    for failure in [
        Answer::json(500, &json!({})),
        Answer::json(529, &json!({})),
        Answer::json(401, &json!({})),
        Answer::json(429, &json!({})).header("retry-after", "0"),
    ] {
        gateway.provider.answer("p", failure);
        gateway.provider.answer("q", answered(2, 3));
        let (status, body) = gateway.chat("m").await;
        assert_eq!(status, 200, "{body}");
    }
    let settled = gateway.settled(8).await;
    let of = |provider: &str| settled.iter().filter(|s| s.request.provider == provider).collect::<Vec<_>>();
    assert!(
        of("team/p").iter().all(|s| s.settlement.outcome == Outcome::Failed && s.settlement.charge.tokens.total() == 0)
    );
    assert!(of("team/q").iter().all(|s| s.settlement.charge.tokens.total() == 5 && s.request.model == "m2"));
    let models: Vec<Value> = gateway
        .provider
        .seen()
        .iter()
        .map(|seen| serde_json::from_str::<Value>(&seen.body).unwrap()["model"].clone())
        .collect();
    assert_eq!(models[..2], [json!("m"), json!("m2")], "each provider gets its own model");
}

#[tokio::test]
async fn a_pause_is_honoured() {
    let gateway = Gateway::start().await;
    gateway.cluster.agent("coder", &[("p", "m")]);
    eventually("the Agent has one model", async || {
        let (_, body) = read(gateway.send(TOKEN, "/v1/chat/completions", &chat("other")).await).await;
        !body.contains("m2")
    })
    .await;
    gateway.provider.answer("p", Answer::json(429, &json!({})).header("retry-after", "60"));
    for _ in 0..3 {
        let response = gateway.send(TOKEN, "/v1/chat/completions", &chat("m")).await;
        assert_eq!(response.status(), 429);
        let seconds: u32 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((50..=60).contains(&seconds), "{seconds}");
    }
    assert_eq!(gateway.provider.seen().len(), 1, "the provider is asked once");
}

#[tokio::test]
async fn used_up_quotas_end_the_attempt() {
    let gateway = Gateway::start().await;
    gateway.provider.answer("p", Answer::json(429, &json!({ "error": { "code": "insufficient_quota" } })));
    gateway.provider.answer("q", Answer::json(429, &json!({})).header("retry-after", "7200"));
    let (status, body) = gateway.chat("m").await;
    assert_eq!(status, 429, "{body}");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["error"]["code"], "ProviderQuota");
    let refusal = gateway.ledger.refusal("uid-task-coder").unwrap();
    assert_eq!(refusal.reason, "ProviderQuota");
    let reset = refusal.reset_at.unwrap().since(enact_gateway::gateway::now());
    assert!((7_000_000..=7_200_000).contains(&reset), "{reset}");
}

/// Some agents try again for as long as they run.
#[tokio::test]
async fn a_limit_ends_an_attempt_that_gets_no_answer_for_long() {
    let patience = Patience { limited: Duration::from_secs(1), ..Patience::default() };
    let gateway = Gateway::start_with(Overrides { patience, headers: None }, |_| {}).await;
    let limited = || Answer::json(429, &json!({})).header("retry-after", "60");
    gateway.provider.answer("p", limited());
    gateway.provider.answer("q", limited());
    assert_eq!(gateway.chat("m").await.0, 429);
    assert_eq!(gateway.ledger.refusal("uid-task-coder"), None, "the agent may try again");
    eventually("the attempt ends", async || {
        let (status, body) = gateway.chat("m").await;
        assert_eq!(status, 429, "{body}");
        gateway.ledger.refusal("uid-task-coder").is_some_and(|refusal| {
            assert!(refusal.message.ends_with("; the agent got no answer for 1 s"), "{}", refusal.message);
            refusal.reason == "RateLimited"
        })
    })
    .await;
    assert_eq!(gateway.provider.seen().len(), 2, "each provider is asked once");
}

#[tokio::test]
async fn a_refused_or_missing_key_ends_the_attempt() {
    let gateway = Gateway::start().await;
    for provider in ["p", "q"] {
        gateway.provider.answer(provider, Answer::json(401, &json!({})));
    }
    let (status, body) = gateway.chat("m").await;
    assert_eq!((status, body.contains("CredentialRejected")), (403, true), "{body}");
    assert_eq!(gateway.ledger.refusal("uid-task-coder").unwrap().reason, "CredentialRejected");

    gateway
        .cluster
        .provider_with("anthropic", &json!({ "api": "Anthropic", "baseUrl": "http://127.0.0.1:1", "key": "none" }));
    eventually("the missing key is named", async || {
        let body = json!({ "model": "claude-x", "messages": [] });
        let (status, body) = read(gateway.send("token-claude", "/v1/messages", &body).await).await;
        status == 403 && body.contains("enact-model-keys in namespace team has no key none")
    })
    .await;
}

#[tokio::test]
async fn the_clients_own_errors_pass() {
    let gateway = Gateway::start().await;
    let error = json!({ "error": { "message": "prompt is too long", "type": "invalid_request_error" } });
    gateway.provider.answer("p", Answer::json(400, &error));
    let (status, body) = gateway.chat("m").await;
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (400, error));
    assert_eq!(gateway.provider.seen().len(), 1, "another provider would say the same");
    assert_eq!(gateway.settled(1).await[0].settlement.outcome, Outcome::Failed);
}

#[tokio::test]
async fn what_a_client_that_leaves_has_used_is_booked() {
    let gateway = Gateway::start().await;
    let (sender, answer) = Answer::sent();
    gateway.provider.answer("p", answer);
    let mut response = gateway.send(TOKEN, "/v1/chat/completions", &stream()).await;
    for _ in 0..10 {
        sender.send(Ok("data: {\"choices\":[{\"delta\":{\"content\":\"word\"}}]}\n\n".into())).unwrap();
    }
    response.body_mut().frame().await.unwrap().unwrap();
    drop(response);
    let settled = gateway.settled(1).await.remove(0);
    assert_eq!(settled.settlement.outcome, Outcome::Aborted);
    assert_eq!(settled.settlement.charge.tokens, settled.request.estimate.tokens, "the rest of the output is unknown");
    eventually("the connection to the provider is closed", async || sender.is_closed()).await;
}

#[tokio::test]
async fn a_client_that_leaves_early_is_booked_too() {
    let gateway = Gateway::start().await;
    gateway.provider.answer("p", Answer::never());
    let request = stream();
    let waiting = gateway.send(TOKEN, "/v1/chat/completions", &request);
    let left = tokio::select! {
        _ = waiting => false,
        () = eventually("the provider has the request", async || !gateway.provider.seen().is_empty()) => true,
    };
    assert!(left);
    let settled = gateway.settled(1).await.remove(0);
    assert_eq!(settled.settlement.outcome, Outcome::Aborted);
    assert_eq!(settled.settlement.charge.tokens, settled.request.estimate.tokens);
}

#[tokio::test]
async fn a_broken_answer_is_not_an_end() {
    let gateway = Gateway::start().await;
    let (sender, answer) = Answer::sent();
    gateway.provider.answer("p", answer);
    let response = gateway.send(TOKEN, "/v1/chat/completions", &stream()).await;
    sender.send(Ok("data: {\"choices\":[{\"delta\":{}}]}\n\n".into())).unwrap();
    sender.send(Err(std::io::Error::other("broken"))).unwrap();
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(gateway.settled(1).await[0].settlement.outcome, Outcome::Failed);
}

#[tokio::test]
async fn an_answer_that_a_client_does_not_read_has_no_end() {
    let relay = RelayLimits { client: Duration::from_millis(300), ..RelayLimits::default() };
    let patience = Patience { relay, ..Patience::default() };
    let gateway = Gateway::start_with(Overrides { patience, headers: None }, |_| {}).await;
    gateway.provider.answer("p", Answer::endless(vec![b'x'; 64 << 10]));
    let body = stream().to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(gateway.settled(1).await[0].settlement.outcome, Outcome::Aborted);
    let mut answer = Vec::new();
    // The connection may be reset.
    let _ = client.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{} bytes", answer.len());
    assert!(!answer.ends_with(b"\r\n0\r\n\r\n"), "it looks like a whole answer");
}

#[tokio::test]
async fn endless_and_silent_answers_are_cut() {
    let relay = RelayLimits { bytes: 4 << 20, idle: Duration::from_millis(300), ..RelayLimits::default() };
    let patience = Patience { relay, head: Duration::from_millis(500), ..Patience::default() };
    let gateway = Gateway::start_with(Overrides { patience, headers: None }, |_| {}).await;
    gateway.provider.answer("p", Answer::endless(vec![b'x'; 64 << 10]));
    let response = gateway.send(TOKEN, "/v1/chat/completions", &stream()).await;
    assert!(response.into_body().collect().await.is_err(), "too large");

    let (_sender, silent) = Answer::sent();
    gateway.provider.answer("p", silent);
    let response = gateway.send(TOKEN, "/v1/chat/completions", &stream()).await;
    assert!(response.into_body().collect().await.is_err(), "silent");

    gateway.provider.answer("p", Answer::never());
    gateway.provider.answer("q", answered(1, 1));
    assert_eq!(gateway.chat("m").await.0, 200, "the next provider replaces one that does not answer");
    let settled = gateway.settled(4).await;
    assert_eq!(settled.iter().filter(|s| s.settlement.outcome == Outcome::Failed).count(), 3);
    let cut: Vec<_> = settled.iter().filter(|s| s.settlement.outcome == Outcome::Failed).collect();
    assert!(cut.iter().all(|s| s.settlement.charge.tokens.output == s.request.estimate.tokens.output), "{cut:?}");
}

#[tokio::test]
async fn an_answer_without_usage_is_estimated() {
    let gateway = Gateway::start().await;
    gateway.provider.answer(
        "p",
        Answer::events(&["data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n", "data: [DONE]\n\n"]),
    );
    assert_eq!(read(gateway.send(TOKEN, "/v1/chat/completions", &stream()).await).await.0, 200);
    gateway.provider.answer("p", Answer::json(200, &json!({ "choices": [] })).header("content-encoding", "gzip"));
    gateway.chat("m").await;
    for settled in gateway.settled(2).await {
        assert_eq!(settled.settlement.outcome, Outcome::Estimated);
        assert!(settled.settlement.charge.tokens.output > 0);
    }
}

#[tokio::test]
async fn providers_of_tenants_are_at_public_addresses() {
    let gateway = Gateway::start_with(Overrides::default(), |settings| settings.allowed_private_hosts.clear()).await;
    let port = gateway.provider.url().rsplit(':').next().unwrap().to_owned();
    for host in ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]"] {
        gateway.cluster.agent("coder", &[("p", "m")]);
        gateway.cluster.provider_with("p", &json!({ "api": "OpenAi", "baseUrl": format!("http://{host}:{port}/p") }));
        gateway.provider.answer("p", answered(1, 1));
        let (status, body) = gateway.chat("m").await;
        assert_eq!(status, 502, "{host}: {body}");
    }
    assert!(gateway.provider.seen().is_empty());
}

#[tokio::test]
async fn running_answers_end_before_the_gateway_stops() {
    let mut gateway = Gateway::start().await;
    let (sender, answer) = Answer::sent();
    gateway.provider.answer("p", answer);
    let response = gateway.send(TOKEN, "/v1/chat/completions", &stream()).await;
    let finish = async {
        tokio::task::yield_now().await;
        sender
            .send(Ok("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}\n\n".into()))
            .unwrap();
        drop(sender);
        read(response).await
    };
    let ((), (status, _)) = tokio::join!(gateway.stop(), finish);
    assert_eq!(status, 200);
    assert_eq!(gateway.ledger.settled()[0].settlement.charge.tokens.total(), 11);
}
