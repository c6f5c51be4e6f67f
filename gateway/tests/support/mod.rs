//! A gateway with everything around it: an API server, providers, a usage record, and a client.

#![allow(dead_code, clippy::unwrap_used, reason = "not every test uses all of it, and a test fails by a panic")]

pub mod cluster;
pub mod ledger;
pub mod provider;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use enact_gateway::app::{App, Overrides};
use enact_gateway::config::Settings;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::cluster::Cluster;
use self::ledger::MemoryLedger;
use self::provider::{Answer, Provider};

/// The token of the pod of the first attempt.
pub const TOKEN: &str = "token-1";
/// The key of every provider, which must appear nowhere else.
pub const KEY: &str = "canary-key-7f3a";

/// A running gateway.
pub struct Gateway {
    pub address: SocketAddr,
    pub health: SocketAddr,
    pub cluster: Cluster,
    pub ledger: Arc<MemoryLedger>,
    pub provider: Provider,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Gateway {
    /// Starts a gateway whose Agent `coder` has the model `m` of the provider `p`.
    pub async fn start() -> Self {
        Self::start_with(Overrides::default(), |_| {}).await
    }

    pub async fn start_with(overrides: Overrides, change: impl FnOnce(&mut Settings)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let provider = Provider::start().await;
        let cluster = Cluster::new();
        for (name, api) in [("p", "OpenAi"), ("q", "OpenAi"), ("anthropic", "Anthropic"), ("gemini", "Gemini")] {
            cluster.provider(name, api, &format!("{}/{name}", provider.url()));
        }
        cluster.agent("coder", &[("p", "m"), ("q", "m2")]);
        cluster.agent("claude", &[("anthropic", "claude-x")]);
        cluster.agent("gemini", &[("gemini", "gemini-x")]);
        for (token, agent) in [(TOKEN, "coder"), ("token-claude", "claude"), ("token-gemini", "gemini")] {
            cluster.pod(token, agent);
        }
        let ledger = Arc::new(MemoryLedger::default());
        let local = "127.0.0.1:0".parse().unwrap();
        let mut settings = Settings {
            listen: local,
            health_listen: local,
            database_url: String::new(),
            database_connections: 1,
            namespace: "enact-system".into(),
            default_tenant_namespaces: vec![],
            allowed_private_hosts: vec!["127.0.0.1".into()],
            connections: 512,
            client_connections: 512,
            request_memory: 128,
            replicas: 1,
            tenant_requests_per_minute: None,
            tenant_tokens_per_minute: None,
            tenant_concurrent_requests: None,
            agent_requests_per_minute: None,
            agent_tokens_per_minute: None,
            attempt_requests_per_minute: None,
            attempt_concurrent_requests: None,
            drain_seconds: 20,
        };
        change(&mut settings);
        let app = App::with_ledger(&settings, cluster.client(), Arc::clone(&ledger) as _, overrides).await.unwrap();
        let [address, health] = app.addresses().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let stop = stop.clone();
            async move { app.run(stop).await.unwrap() }
        });
        let gateway = Self { address, health, cluster, ledger, provider, stop, task: Some(task) };
        eventually("the gateway is ready", async || get(gateway.health, "/readyz").await.0 == 200).await;
        gateway
    }

    /// Stops the gateway, and waits until it has written all usage.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        self.task.take().unwrap().await.unwrap();
    }

    /// Sends a request and returns the answer when its head has arrived.
    pub async fn send(&self, token: &str, path: &str, body: &Value) -> Response<Incoming> {
        self.send_bytes(token, path, body.to_string()).await
    }

    pub async fn send_bytes(&self, token: &str, path: &str, body: impl Into<Bytes>) -> Response<Incoming> {
        let request = Request::post(format!("http://{}{path}", self.address))
            .header("authorization", format!("Bearer {token}"))
            .body(Full::new(body.into()))
            .unwrap();
        client().request(request).await.unwrap()
    }

    /// Sends a request of Chat Completions and returns status and body.
    pub async fn chat(&self, model: &str) -> (u16, String) {
        read(self.send(TOKEN, "/v1/chat/completions", &chat(model)).await).await
    }

    /// Waits until this many requests are settled.
    pub async fn settled(&self, count: usize) -> Vec<ledger::Settled> {
        eventually("requests are settled", async || self.ledger.settled().len() >= count).await;
        self.ledger.settled()
    }

    pub async fn metrics(&self) -> String {
        get(self.health, "/metrics").await.1
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Returns a request of Chat Completions without a stream.
pub fn chat(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "hello" }], "max_tokens": 100 })
}

/// Returns an answer to [`chat`] with this usage.
pub fn answered(input: u64, output: u64) -> Answer {
    let usage = json!({ "prompt_tokens": input, "completion_tokens": output });
    Answer::json(200, &json!({ "id": "x", "choices": [{ "message": { "content": "hi" } }], "usage": usage }))
}

pub fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Reads a whole answer.
pub async fn read(response: Response<Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let request = Request::get(format!("http://{address}{path}")).body(Full::default()).unwrap();
    read(client().request(request).await.unwrap()).await
}

/// Does the same as [`get`] with a token.
pub async fn get_as(address: SocketAddr, path: &str, token: &str) -> (u16, String) {
    let request = Request::get(format!("http://{address}{path}")).header("authorization", format!("Bearer {token}"));
    read(client().request(request.body(Full::default()).unwrap()).await.unwrap()).await
}

/// Waits for a condition, for at most a minute.
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_mins(1), async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "not in time: {what}");
}
