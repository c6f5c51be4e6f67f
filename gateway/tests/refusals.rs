//! Requests that the gateway refuses: credentials, budgets, sizes, slow clients.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use enact_crds::Agent;
use enact_crds::agent_content::models_digest;
use enact_crds::provider::Api;
use enact_domain::usage::Scope;
use enact_gateway::app::Overrides;
use enact_gateway::gateway::{LEDGER_SLOTS, Patience};
use enact_service::pace::Pace;
use enact_store::Outcome;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use support::{Gateway, TOKEN, answered, chat, eventually, read};

fn plan() -> Scope {
    Scope::Plan { uid: "plan-uid".into() }
}

#[tokio::test]
async fn a_token_is_valid_while_its_pod_runs() {
    let gateway = Gateway::start().await;
    for token in ["", "unknown", "a b"] {
        let (status, _) = read(gateway.send(token, "/v1/chat/completions", &chat("m")).await).await;
        assert_eq!(status, 401, "{token:?}");
    }
    gateway.cluster.pod("token-done", "coder");
    gateway.cluster.api.change("pods/pod-token-done", &json!({ "status": { "phase": "Succeeded" } }));
    gateway.cluster.pod("token-foreign", "coder");
    gateway
        .cluster
        .api
        .change("pods/pod-token-foreign", &json!({ "metadata": { "labels": { "enact.dev/tenant": "other" } } }));
    // Postgres takes neither, and would refuse other requests with them.
    for (token, metadata) in [
        ("token-number", json!({ "labels": { "enact.dev/attempt": "4294967295" } })),
        (
            "token-owner",
            json!({ "ownerReferences": [{
                "apiVersion": "enact.dev/v1alpha1", "kind": "Task", "name": "x", "uid": "u".repeat(200), "controller": true,
            }] }),
        ),
    ] {
        gateway.cluster.pod(token, "coder");
        gateway.cluster.api.change(&format!("pods/pod-{token}"), &json!({ "metadata": metadata }));
    }
    gateway.cluster.pod("token-other-agent", "nobody");
    gateway.cluster.pod("token-elsewhere", "elsewhere/coder");
    for (token, expected) in [
        ("token-done", 401),
        ("token-foreign", 401),
        ("token-number", 401),
        ("token-owner", 401),
        ("token-other-agent", 403),
        ("token-elsewhere", 403),
    ] {
        let (status, body) = read(gateway.send(token, "/v1/chat/completions", &chat("m")).await).await;
        assert_eq!(status, expected, "{token}: {body}");
    }
    assert!(gateway.provider.seen().is_empty());
}

/// Creates the pod of `token-draft`, which writes a document for an object of this kind and name.
fn draft(gateway: &Gateway, kind: &str, name: &str) {
    gateway.cluster.pod("token-draft", "coder");
    let owner = json!([{
        "apiVersion": "enact.dev/v1alpha1", "kind": kind, "name": name, "uid": "uid-cart", "controller": true,
    }]);
    let labels = json!({
        "enact.dev/role": "draft", "enact.dev/plan": null, "enact.dev/plan-uid": null, "enact.dev/task": null,
    });
    let metadata = json!({ "labels": labels, "ownerReferences": owner });
    gateway.cluster.api.change("pods/pod-token-draft", &json!({ "metadata": metadata }));
}

#[tokio::test]
async fn a_planner_is_metered_for_its_plan_and_stopped_by_its_budget() {
    let gateway = Gateway::start().await;
    draft(&gateway, "Plan", "cart");
    gateway.provider.answer("p", answered(90, 60));
    let ask = async || read(gateway.send("token-draft", "/v1/chat/completions", &chat("m")).await).await;
    assert_eq!(ask().await.0, 200);
    let request = gateway.settled(1).await.remove(0).request;
    assert_eq!((request.plan.as_str(), request.plan_uid.as_str(), request.task.as_str()), ("cart", "uid-cart", ""));
    gateway.ledger.limit(Scope::Plan { uid: "uid-cart".into() }, 200);
    let (status, body) = ask().await;
    assert_eq!((status, body.contains("BudgetExceeded")), (403, true), "{body}");
    assert!(body.contains("the budget of the plan"), "{body}");
    assert_eq!(gateway.ledger.refusal("uid-pod-token-draft").unwrap().reason, "BudgetExceeded");
}

#[tokio::test]
async fn a_planner_whose_plan_has_no_name_of_kubernetes_is_refused() {
    let gateway = Gateway::start().await;
    draft(&gateway, "Plan", &"x".repeat(300));
    let (status, body) = read(gateway.send("token-draft", "/v1/chat/completions", &chat("m")).await).await;
    assert_eq!(status, 401, "Postgres would refuse the requests of others with it: {body}");
    assert!(gateway.provider.seen().is_empty());
}

#[tokio::test]
async fn a_draft_is_metered_for_its_agent_and_stopped_by_its_budget() {
    let gateway = Gateway::start().await;
    draft(&gateway, "Specification", "cart");
    gateway.provider.answer("p", answered(90, 60));
    let ask = async || read(gateway.send("token-draft", "/v1/chat/completions", &chat("m")).await).await;
    assert_eq!(ask().await.0, 200);
    let request = gateway.settled(1).await.remove(0).request;
    assert_eq!((request.plan.as_str(), request.plan_uid.as_str(), request.task.as_str()), ("", "", ""));
    assert_eq!((request.agent.as_str(), request.task_uid.as_str()), ("team/coder", "uid-pod-token-draft"));
    let month = enact_domain::usage::month(enact_gateway::gateway::now());
    gateway.ledger.limit(Scope::Agent { namespace: "team".into(), name: "coder".into(), month }, 200);
    let (status, body) = ask().await;
    assert_eq!((status, body.contains("BudgetExceeded")), (403, true), "{body}");
    assert_eq!(gateway.ledger.refusal("uid-pod-token-draft").unwrap().reason, "BudgetExceeded");
    let (status, body) = support::get_as(gateway.address, "/enact/v1/attempt", "token-draft").await;
    assert!(status == 200 && body.contains("\"BudgetExceeded\"") && body.contains("\"inputTokens\":90"), "{body}");
    assert!(gateway.ledger.refusal("uid-task-coder").is_none(), "another attempt of the agent has not asked");
}

#[tokio::test]
async fn a_shared_agent_uses_the_models_of_the_installation() {
    let gateway = Gateway::start().await;
    let url = format!("{}/p", gateway.provider.url());
    // The provider itself is not shared.
    gateway.cluster.installed(
        "modelproviders",
        "ModelProvider",
        "platform",
        &json!({ "api": "OpenAi", "baseUrl": url }),
    );
    let agent = |sharing: Value| {
        let models = json!([{ "provider": "platform", "model": "m" }]);
        json!({ "adapter": "Codex", "models": models, "shareWith": sharing })
    };
    for (name, tenants) in [("shared", "acme"), ("private", "other")] {
        gateway.cluster.installed("agents", "Agent", name, &agent(json!({ "tenants": [tenants] })));
        gateway.cluster.pod(&format!("token-{name}"), name);
    }
    let status = async |token: &str| read(gateway.send(token, "/v1/chat/completions", &chat("m")).await).await.0;
    eventually("the shared Agent is known", async || {
        gateway.provider.answer("p", answered(1, 1));
        status("token-shared").await == 200
    })
    .await;
    assert_eq!(status("token-private").await, 403, "it is shared with another tenant");
}

/// An editor could otherwise move an approved attempt to a server of their own.
#[tokio::test]
async fn changed_models_get_no_request_of_an_approved_plan() {
    let gateway = Gateway::start().await;
    let agent: Agent = serde_json::from_value(gateway.cluster.api.get("agents/coder")).unwrap();
    let url = |name: &str| format!("{}/{name}", gateway.provider.url());
    let approved = models_digest(&agent, |name| Some((Api::OpenAi, url(name))));
    gateway.cluster.pod("token-approved", "coder");
    let annotations = json!({ "enact.dev/models": approved.to_string() });
    gateway.cluster.api.change("pods/pod-token-approved", &json!({ "metadata": { "annotations": annotations } }));
    let ask = async || {
        gateway.provider.answer("p", answered(1, 1));
        read(gateway.send("token-approved", "/v1/chat/completions", &chat("m")).await).await
    };
    let (status, body) = ask().await;
    assert_eq!(status, 200, "{body}");

    gateway.cluster.provider("p", "OpenAi", &url("evil"));
    eventually("the gateway knows the change", async || ask().await.0 == 403).await;
    let (_, body) = ask().await;
    assert!(body.contains("ModelsChanged") && body.contains("Agent team/coder"), "{body}");
    assert_eq!(gateway.ledger.refusal("uid-task-coder").unwrap().reason, "ModelsChanged");
    assert!(gateway.provider.seen().iter().all(|seen| !seen.path.starts_with("/evil")));

    gateway.provider.answer("evil", answered(1, 1));
    assert_eq!(gateway.chat("m").await.0, 200, "no approval covers this attempt");
    gateway.cluster.provider("p", "OpenAi", &url("p"));
    eventually("the provider is restored", async || ask().await.0 == 200).await;
    gateway.cluster.api.change("modelproviders/p", &json!({ "spec": { "hostedTools": true } }));
    eventually("tools of the provider were not approved", async || ask().await.0 == 403).await;
}

#[tokio::test]
async fn a_used_up_budget_ends_the_attempt() {
    let gateway = Gateway::start().await;
    gateway.ledger.limit(plan(), 200);
    gateway.provider.answer("p", answered(90, 60));
    assert_eq!(gateway.chat("m").await.0, 200);
    gateway.settled(1).await;
    let (status, body) = gateway.chat("m").await;
    assert_eq!(status, 403, "{body}");
    let error: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(error["error"]["code"], "BudgetExceeded");
    assert!(body.contains("150 of 200 tokens"), "{body}");
    assert_eq!(gateway.provider.seen().len(), 1, "the provider did not get the second request");
    let refusal = gateway.ledger.refusal("uid-task-coder").unwrap();
    assert_eq!(refusal.reason, "BudgetExceeded");
    gateway.ledger.limit(plan(), 1000);
    gateway.provider.answer("p", answered(1, 1));
    assert_eq!(gateway.chat("m").await.0, 200, "a raised budget allows requests again");
}

#[tokio::test]
async fn concurrent_requests_cannot_exceed_a_budget_together() {
    let gateway = Gateway::start().await;
    // Each request reserves about 130 tokens.
    gateway.ledger.limit(plan(), 700);
    for _ in 0..20 {
        gateway.provider.answer("p", answered(20, 90));
    }
    let answers = futures::future::join_all((0..20).map(|_| gateway.chat("m"))).await;
    let accepted = answers.iter().filter(|(status, _)| *status == 200).count();
    assert!((1..=6).contains(&accepted), "{accepted}");
    let settled = gateway.settled(accepted).await;
    let total: u64 = settled.iter().map(|s| s.settlement.charge.tokens.total()).sum();
    assert!(total <= 700, "{total}");
    eventually("nothing is reserved any more", async || gateway.ledger.open_count() == 0).await;
}

#[tokio::test]
async fn no_byte_passes_before_the_reservation() {
    let gateway = Gateway::start().await;
    let (status, body) = sent_early(&gateway, async || {}).await;
    assert_eq!(status, 200, "{body}");
}

/// Sends a request that reaches the provider before its reservation is made, and calls `meanwhile` before it is. Returns the answer.
async fn sent_early(gateway: &Gateway, meanwhile: impl AsyncFn()) -> (u16, String) {
    gateway.provider.answer("p", answered(1, 1));
    assert_eq!(gateway.chat("m").await.0, 200);
    // From now on, the balances are known, and a request is sent while its reservation is made.
    for _ in 0..100 {
        let gate = Arc::new(Semaphore::new(0));
        *gateway.ledger.gate.lock().unwrap() = Some(Arc::clone(&gate));
        let before = gateway.provider.seen().len();
        gateway.provider.answer("p", answered(1, 1));
        let answer = gateway.chat("m");
        tokio::pin!(answer);
        let early = tokio::time::timeout(Duration::from_millis(200), &mut answer).await;
        assert!(early.is_err(), "the answer came before the reservation");
        // Balances that are not known yet: the reservation comes first.
        let is_sent = gateway.provider.seen().len() > before;
        if is_sent {
            meanwhile().await;
        }
        gate.add_permits(10);
        let answer = answer.await;
        if is_sent {
            return answer;
        }
        assert_eq!(answer.0, 200);
    }
    panic!("no request is sent before its reservation");
}

#[tokio::test]
async fn a_sent_request_is_booked_though_its_reservation_is_refused() {
    let gateway = Gateway::start().await;
    let (status, body) = sent_early(&gateway, async || gateway.ledger.limit(plan(), 1)).await;
    assert_eq!((status, body.contains("BudgetExceeded")), (403, true), "{body}");
    let is_estimated = |settled: &support::ledger::Settled| settled.settlement.outcome == Outcome::Estimated;
    eventually("it is booked", async || gateway.ledger.settled().iter().any(is_estimated)).await;
    let settled = gateway.ledger.settled().into_iter().find(is_estimated).unwrap();
    assert_eq!(settled.settlement.charge.tokens, settled.request.estimate.tokens);
    let before = gateway.provider.seen().len();
    assert_eq!(gateway.chat("m").await.0, 403);
    assert_eq!(gateway.provider.seen().len(), before, "the next request is not sent before its reservation");
}

#[tokio::test]
async fn a_sent_request_is_booked_when_postgres_is_back() {
    let gateway = Gateway::start().await;
    assert_eq!(sent_early(&gateway, async || {}).await.0, 200);
    eventually("both requests are settled", async || gateway.ledger.open_count() == 0).await;
    let settled = gateway.ledger.settled().len();
    *gateway.ledger.gate.lock().unwrap() = None;
    gateway.ledger.is_down.store(true, Ordering::Relaxed);
    let before = gateway.provider.seen().len();
    gateway.provider.answer("p", answered(1, 1));
    assert_eq!(gateway.chat("m").await.0, 503);
    assert_eq!(gateway.provider.seen().len(), before + 1, "it was far from all limits");
    assert_eq!(gateway.chat("m").await.0, 503);
    assert_eq!(gateway.provider.seen().len(), before + 1, "the next one waits for Postgres");
    gateway.ledger.is_down.store(false, Ordering::Relaxed);
    eventually("what was sent is booked", async || gateway.ledger.settled().len() > settled).await;
    let booked = gateway.ledger.settled().remove(settled);
    assert_eq!(booked.settlement.outcome, Outcome::Estimated);
    assert_eq!(booked.settlement.charge.tokens, booked.request.estimate.tokens);
}

#[tokio::test]
async fn nothing_is_sent_while_usage_cannot_be_recorded() {
    let gateway = Gateway::start().await;
    gateway.ledger.is_down.store(true, Ordering::Relaxed);
    let response = gateway.send(TOKEN, "/v1/chat/completions", &chat("m")).await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert!(gateway.provider.seen().is_empty());
    gateway.ledger.is_down.store(false, Ordering::Relaxed);
    gateway.provider.answer("p", answered(1, 1));
    assert_eq!(gateway.chat("m").await.0, 200);
}

#[tokio::test]
async fn settlements_wait_for_postgres() {
    let mut gateway = Gateway::start().await;
    let (sender, answer) = support::provider::Answer::sent();
    gateway.provider.answer("p", answer);
    let mut request = chat("m");
    request["stream"] = true.into();
    let response = gateway.send(TOKEN, "/v1/chat/completions", &request).await;
    gateway.ledger.is_down.store(true, Ordering::Relaxed);
    sender
        .send(Ok("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}\n\n".into()))
        .unwrap();
    drop(sender);
    assert_eq!(read(response).await.0, 200);
    eventually("a settlement has failed", async || {
        gateway.metrics().await.contains("enact_gateway_ledger_failures_total{operation=\"settle\"}")
    })
    .await;
    assert_eq!(gateway.ledger.open_count(), 1);
    gateway.ledger.is_down.store(false, Ordering::Relaxed);
    gateway.stop().await;
    assert_eq!(
        gateway.ledger.settled()[0].settlement.charge.tokens.total(),
        11,
        "it is written before the process ends"
    );
}

#[tokio::test]
async fn bad_requests_are_answered_in_the_format_of_the_client() {
    let gateway = Gateway::start().await;
    for body in
        ["", "[]", "{", "{\"model\":\"m\",\"model\":\"x\"}", "{\"model\":\"m\",\"MODEL\":\"x\"}", "{\"model\":7}"]
    {
        let (status, answer) = read(gateway.send_bytes(TOKEN, "/v1/chat/completions", body).await).await;
        assert_eq!(status, 400, "{body}: {answer}");
        assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["error"]["code"], "InvalidRequest");
    }
    let (status, _) = read(gateway.send(TOKEN, "/v1/files", &json!({})).await).await;
    assert_eq!(status, 404);
    let (status, answer) = read(gateway.send_bytes("token-claude", "/v1/messages", "{").await).await;
    assert_eq!(
        (status, serde_json::from_str::<Value>(&answer).unwrap()["error"]["type"].clone()),
        (400, json!("invalid_request_error"))
    );
    let (status, answer) =
        read(gateway.send_bytes("token-gemini", "/v1beta/models/gemini-x:generateContent", "{").await).await;
    assert_eq!(
        (status, serde_json::from_str::<Value>(&answer).unwrap()["error"]["status"].clone()),
        (400, json!("INVALID_ARGUMENT"))
    );
}

#[tokio::test]
async fn large_requests_are_refused() {
    let gateway = Gateway::start().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 1000000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    let count = stream.read(&mut answer).await.unwrap();
    assert!(answer[..count].starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&answer));

    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"100000\r\n".to_vec(), vec![b'x'; 0x0010_0000], b"\r\n".to_vec()].concat();
    let mut answer = Vec::new();
    let (mut reading, mut writing) = stream.split();
    let write = async {
        for _ in 0..40 {
            if writing.write_all(&chunk).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = write => {}
        _ = reading.read_to_end(&mut answer) => {}
    }
    assert!(answer.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn slow_requests_are_closed() {
    let patience = Patience { body: Duration::from_millis(300), ..Patience::default() };
    let overrides = Overrides { patience, headers: Some(Duration::from_millis(300)) };
    let gateway = Gateway::start_with(overrides, |_| {}).await;
    let exchange = async |text: String| {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(Duration::from_mins(1), stream.read_to_end(&mut answer)).await;
        assert!(closed.is_ok(), "the connection stays open");
        String::from_utf8_lossy(&answer).into_owned()
    };
    let headers = exchange("POST /v1/chat/completions HTTP/1.1\r\nhost: ".into()).await;
    assert!(headers.is_empty() || headers.starts_with("HTTP/1.1 408"), "{headers}");
    let body = exchange(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{{"
    ))
    .await;
    assert!(body.starts_with("HTTP/1.1 504"), "{body}");
}

/// A body keeps memory of its tenant while it arrives.
#[tokio::test]
async fn a_body_must_not_stall() {
    let pace = Pace { grace: Duration::from_millis(300), bytes_per_second: 1 << 20 };
    let patience = Patience { pace, ..Patience::default() };
    let gateway = Gateway::start_with(Overrides { patience, headers: None }, |_| {}).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\ncontent-length: 33000000\r\n\r\n{{"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "the connection stays open");
    assert!(answer.starts_with(b"HTTP/1.1 504"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn limits_per_minute_are_answered_with_a_time() {
    let gateway =
        Gateway::start_with(Overrides::default(), |settings| settings.agent_requests_per_minute = Some(8)).await;
    for _ in 0..2 {
        gateway.provider.answer("p", answered(1, 1));
        assert_eq!(gateway.chat("m").await.0, 200);
    }
    let response = gateway.send(TOKEN, "/v1/chat/completions", &chat("m")).await;
    assert_eq!(response.status(), 429);
    let seconds: u32 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=8).contains(&seconds), "{seconds}");
    assert_eq!(gateway.provider.seen().len(), 2);
    assert!(gateway.ledger.refusal("uid-task-coder").is_none(), "the attempt can continue");
}

/// Starts a provider that answers when the head of a request has arrived, and reads nothing more. Returns its URL.
async fn hasty_provider() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                head.push(byte);
            }
            let answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            let _ = stream.write_all(answer).await;
            open.push(stream);
        }
    });
    url
}

/// A provider and an agent could otherwise fill the memory of the gateway.
#[tokio::test]
async fn a_body_counts_until_its_provider_has_it() {
    let pace = Pace { grace: Duration::from_secs(2), bytes_per_second: 256 << 10 };
    let overrides = Overrides { patience: Patience { pace, ..Patience::default() }, headers: None };
    let gateway = Gateway::start_with(overrides, |settings| settings.request_memory = 32).await;
    gateway.cluster.provider("p", "OpenAi", &hasty_provider().await);
    let ask = async |request: &Value| gateway.send(TOKEN, "/v1/chat/completions", request).await;
    eventually("the provider has another address", async || ask(&chat("m")).await.status() == 200).await;
    let mut large = chat("m");
    large["messages"][0]["content"] = "x".repeat(28 << 20).into();
    let first = ask(&large).await;
    assert_eq!(first.status(), 200);
    // Memory is taken before a body is read, and this one does not arrive.
    let announce = async || {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\ncontent-length: 29000000\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let closed = tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut answer)).await;
        assert!(closed.is_ok(), "the connection stays open");
        answer
    };
    let answer = announce().await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("Busy"), "{answer}");
    drop(first);
    eventually("the connection is closed", async || announce().await.starts_with("HTTP/1.1 504")).await;
}

/// With HTTP/2, one pod could have more requests in progress than the gateway has connections.
#[tokio::test]
async fn a_connection_has_one_request_at_a_time() {
    let gateway = Gateway::start().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    // The preface of HTTP/2, and empty settings.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    assert!(closed.is_ok() && (answer.is_empty() || answer.starts_with(b"HTTP/1.1 4")), "{answer:?}");
}

#[tokio::test]
async fn a_tenant_has_a_part_of_the_connections_to_postgres() {
    let gateway = Gateway::start().await;
    let asked = (0..20).map(|_| support::get_as(gateway.address, "/enact/v1/attempt", TOKEN));
    for (status, body) in futures::future::join_all(asked).await {
        assert_eq!(status, 200, "{body}");
    }
    let most = gateway.ledger.most_reading.load(Ordering::Relaxed);
    assert!((1..=LEDGER_SLOTS).contains(&most), "{most}");
}

#[tokio::test]
async fn one_pod_cannot_hold_all_connections() {
    let gateway = Gateway::start_with(Overrides::default(), |settings| {
        (settings.connections, settings.client_connections) = (16, 4);
    })
    .await;
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(TcpStream::connect(gateway.address).await.unwrap());
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(gateway.address).await.unwrap();
    other.write_all(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let answered = tokio::time::timeout(Duration::from_secs(20), other.read_to_end(&mut answer)).await;
    assert!(answered.is_ok(), "the other pod gets no connection");
    assert!(answer.starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&answer));
}
