//! A server on its own ports, between a real Postgres and a simulated API server.

// Each test program compiles this module and uses a part of it.
#![allow(dead_code, clippy::unwrap_used)]

pub mod api;
// The helpers for databases are those of the store's tests.
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

/// The timeout of every wait in these tests.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// The UID of the attempt's subject in most tests.
pub const SUBJECT: &str = "0b0a8f26-6a4c-4f6f-a6a3-5a1e5d0b6d1e";

/// A running server. A test with a server needs several threads: it removes its database on its own thread, and Postgres delays this
/// until connections that another thread is just opening are ready.
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

    /// Starts a server with further flags.
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

    /// Reads a path below `/v1/namespaces/` with `token`, as commands do through the API server.
    pub async fn read(&self, token: &str, path: &str) -> Answer {
        let request = Request::get(&format!("/v1/namespaces/{path}")).header("x-enact-token", token);
        http::send(self.readings, &request).await
    }

    pub async fn metric(&self, line: &str) -> u64 {
        let text = http::send(self.health, &Request::get("/metrics")).await.text();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("{line} is not in\n{text}"))
    }

    /// Waits until `/readyz` has `status`, and returns the text of the answer.
    pub async fn ready(&self, status: u16) -> String {
        until(async || {
            let answer = http::send(self.health, &Request::get("/readyz")).await;
            (answer.status == status).then(|| answer.text())
        })
        .await
    }
}

/// Returns a port that is free at the moment.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Polls until there is an answer.
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

/// Starts a server, with the recorded start of the first attempt of `SUBJECT`. A pod with the token `token` works on the attempt.
pub async fn scene() -> (Database, Api, Server) {
    let database = Database::migrated().await;
    begun(&database, SUBJECT, 1).await;
    let api = Api::start(FakeCluster::with_pod("token", "shop-t001-1", SUBJECT, 1)).await;
    let server = Server::start(&database.config().url, &api).await;
    (database, api, server)
}

/// Records the start of an attempt of the tenant `acme` in the pod `shop-t001-<attempt>`.
pub async fn begun(database: &Database, subject: &str, attempt: u32) {
    begun_in(database, "acme", subject, attempt, &format!("shop-t001-{attempt}")).await;
}

/// Records the start of an attempt of a tenant in the pod with this name, whose UID is `uid-<name>`.
pub async fn begun_in(database: &Database, tenant: &str, subject: &str, attempt: u32, pod: &str) {
    let records = [
        database::start(tenant, "shop-t001", attempt),
        database::pod(tenant, "shop-t001", attempt, &format!("uid-{pod}")),
    ];
    let of_subject = records.map(|mut record| {
        record.subject.uid = subject.into();
        record
    });
    database.store().record(of_subject.into()).await.unwrap();
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

/// Returns a request as the runner sends it.
pub fn delivery(subject: &str, attempt: u32, token: &str, body: &[u8]) -> Request {
    Request::post(&format!("/v1/attempts/{subject}/{attempt}/result"))
        .header("authorization", &format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(body)
}
