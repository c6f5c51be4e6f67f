//! A server on ports of its own, between a real Postgres and an API server that tests make up.

// Each test program compiles this module and uses a part of it.
#![allow(dead_code, clippy::unwrap_used)]

pub mod api;
// The same databases as the store's own tests have.
#[path = "../../../store/tests/support/mod.rs"]
pub mod database;
pub mod http;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser as _;
use database::Database;
use enact_domain::assignment::{AttemptResult, GateResult, Reason, Report};
use enact_server::app::{Addresses, App};
use enact_server::config::Cli;
use enact_server::intake::Times;
use kube::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use api::{Api, FakeCluster};
use http::{Answer, Request};

/// Longest wait for anything that a test waits for.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// The attempt that most tests are about.
pub const SUBJECT: &str = "0b0a8f26-6a4c-4f6f-a6a3-5a1e5d0b6d1e";

/// A running server. Tests with one have several threads: a database is removed on the test's own, and Postgres waits with that for
/// connections that are just being opened on another.
pub struct Server {
    pub address: SocketAddr,
    pub readings: SocketAddr,
    pub pushes: SocketAddr,
    pub health: SocketAddr,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
}

impl Server {
    pub async fn start(database_url: &str, api: &Api) -> Self {
        Self::start_with(database_url, api, Times::default(), Duration::from_secs(30)).await
    }

    pub async fn start_with(database_url: &str, api: &Api, times: Times, headers: Duration) -> Self {
        Self::start_as(database_url, api, times, headers, &["--embedder=none"]).await
    }

    /// With further flags.
    pub async fn start_as(database_url: &str, api: &Api, times: Times, headers: Duration, flags: &[&str]) -> Self {
        let any = [
            "--listen=127.0.0.1:0",
            "--read-listen=127.0.0.1:0",
            "--push-listen=127.0.0.1:0",
            "--health-listen=127.0.0.1:0",
            "--default-tenant-namespaces=free",
        ];
        let url = format!("--database-url={database_url}");
        let cli =
            Cli::try_parse_from(["enact-server", &url].into_iter().chain(any).chain(flags.iter().copied())).unwrap();
        let mut config = kube::Config::new(format!("http://{}", api.address).parse().unwrap());
        config.default_retry = false;
        let app = App::bind(&cli.settings, Client::try_from(config).unwrap()).await.unwrap().with(times, headers);
        let (Addresses { deliveries: address, readings, pushes, health }, stop) =
            (app.addresses().unwrap(), CancellationToken::new());
        let stopped = stop.clone();
        let task = tokio::spawn(async move { app.run(stopped).await.unwrap() });
        Self { address, readings, pushes: pushes.unwrap(), health, stop, task }
    }

    /// Delivers `result` for `SUBJECT` with `token`, as the runner does.
    pub async fn deliver(&self, token: &str, result: &AttemptResult) -> Answer {
        self.send(&delivery(&result.subject_uid, result.attempt, token, &serde_json::to_vec(result).unwrap())).await
    }

    pub async fn send(&self, request: &Request) -> Answer {
        http::send(self.address, request).await
    }

    /// Reads a path below `/v1/namespaces/` with `token`, as commands do by way of the API server.
    pub async fn read(&self, token: &str, path: &str) -> Answer {
        let request = Request::get(&format!("/v1/namespaces/{path}")).header("x-enact-token", token);
        http::send(self.readings, &request).await
    }

    pub async fn metric(&self, line: &str) -> u64 {
        let text = http::send(self.health, &Request::get("/metrics")).await.text();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("{line} is not in\n{text}"))
    }

    /// Waits until `/readyz` has `status`, and gives back what it says.
    pub async fn ready(&self, status: u16) -> String {
        until(async || {
            let answer = http::send(self.health, &Request::get("/readyz")).await;
            (answer.status == status).then(|| answer.text())
        })
        .await
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks again until there is an answer.
pub async fn until<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it happens in time")
}

/// The first attempt of `SUBJECT` began, a pod with the token `token` works on it, and the server runs.
pub async fn scene() -> (Database, Api, Server) {
    let database = Database::migrated().await;
    begun(&database, SUBJECT, 1).await;
    let api = Api::start(FakeCluster::with_pod("token", "shop-t001-1", SUBJECT, 1)).await;
    let server = Server::start(&database.config().url, &api).await;
    (database, api, server)
}

/// Records that an attempt of the tenant `acme` began.
pub async fn begun(database: &Database, subject: &str, attempt: u32) {
    let mut start = database::start("acme", "shop-t001", attempt);
    start.subject.uid = subject.into();
    database.store().record(vec![start]).await.unwrap();
}

pub fn result(subject: &str, attempt: u32) -> AttemptResult {
    AttemptResult {
        subject_uid: subject.into(),
        attempt,
        report: Report::new(Reason::Succeeded, "done"),
        transcript: "thinking …".into(),
        gates: vec![GateResult { name: "build".into(), exit_code: Some(0), output: "ok".into() }],
        duration_ms: 1234,
    }
}

/// A request as the runner makes it.
pub fn delivery(subject: &str, attempt: u32, token: &str, body: &[u8]) -> Request {
    Request::post(&format!("/v1/attempts/{subject}/{attempt}/result"))
        .header("authorization", &format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(body)
}
