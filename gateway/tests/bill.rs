//! The bill of the gateway equals what the scripted model server has served, to the token, in every wire format.

mod support;

use enact_domain::usage::Tokens;
use enact_modelsim::{Config, Scenario, Server, Usage};
use serde_json::{Value, json};

use support::{Gateway, TOKEN, read};

const SCENARIO: &str = r"
name: bill
models: [m]
pace: {eventBytes: 7}
otherwise:
  thoughts: It is a short question.
  text: The answer is a rather long text, so that the stream has many events.
  usage: {input: 1201, cachedInput: 803, output: 97, reasoning: 13}
";

#[tokio::test]
async fn equals_what_was_served() {
    let gateway = Gateway::start().await;
    let config = Config { scenarios: vec![Scenario::parse(SCENARIO).unwrap()], ..Config::default() };
    let server = Server::start("127.0.0.1:0".parse().unwrap(), config).await.unwrap();
    for (name, api) in [("p", "OpenAi"), ("anthropic", "Anthropic"), ("gemini", "Gemini")] {
        gateway.cluster.provider(name, api, &server.url("bill", "run-1"));
    }
    support::eventually("the provider has another address", async || {
        let (status, _) = gateway.chat("m").await;
        status == 200
    })
    .await;
    let before = gateway.settled(1).await.iter().filter(|s| s.settlement.http_status == 200).count();
    let messages = json!([{ "role": "user", "content": "hello" }]);
    let contents = json!([{ "role": "user", "parts": [{ "text": "hello" }] }]);
    let chat = |stream: bool| json!({ "model": "m", "messages": messages, "stream": stream, "max_tokens": 200 });
    let claude =
        |stream: bool| json!({ "model": "claude-x", "messages": messages, "stream": stream, "max_tokens": 200 });
    let responses = |stream: bool| json!({ "model": "m", "input": "hello", "stream": stream });
    let requests: [(&str, &str, Value); 8] = [
        (TOKEN, "/v1/chat/completions", chat(false)),
        (TOKEN, "/v1/chat/completions", chat(true)),
        (TOKEN, "/v1/responses", responses(false)),
        (TOKEN, "/v1/responses", responses(true)),
        ("token-claude", "/v1/messages", claude(false)),
        ("token-claude", "/v1/messages?beta=true", claude(true)),
        ("token-gemini", "/v1beta/models/gemini-x:generateContent", json!({ "contents": contents })),
        ("token-gemini", "/v1beta/models/gemini-x:streamGenerateContent?alt=sse", json!({ "contents": contents })),
    ];
    for (token, path, body) in &requests {
        let (status, text) = read(gateway.send(token, path, body).await).await;
        assert_eq!(status, 200, "{path}: {text}");
        assert!(text.contains("The"), "{path}: {text}");
    }
    support::eventually("all requests are settled", async || {
        gateway.ledger.settled().iter().filter(|s| s.settlement.http_status == 200).count() >= before + requests.len()
    })
    .await;
    let mut billed = Tokens::default();
    for settled in gateway.ledger.settled() {
        billed.add(&settled.settlement.charge.tokens);
    }
    let run = server.served("run-1");
    let mut total = Usage::default();
    for answer in &run.answers {
        total.add(answer.usage);
    }
    assert!(run.answers.len() > requests.len());
    assert_eq!(
        (billed.input, billed.cached_input, billed.cache_write, billed.output),
        (total.input, total.cached_input, total.cache_write, total.output)
    );
}
