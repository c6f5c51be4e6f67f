//! Measures the time that the gateway adds to the first byte of an answer, at many concurrent streams: the same requests go to a scripted
//! model server directly and through a gateway with metering and budgets, and both are compared.
//!
//! `ENACT_TEST_DATABASE_URL=$(cargo xtask postgres up) cargo run --release -p enact-gateway --example latency`
//!
//! Gateway and model server are processes of their own, so that the memory of the gateway is seen. `--target name=url` adds another proxy
//! for the same model server, whose URL the program prints; `--wait` gives time to start it.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a program for developers, and measurements are not exact"
)]

#[path = "../tests/support/cluster.rs"]
mod cluster;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Parser, Subcommand};
use enact_domain::usage::{Limit, Scope, month};
use enact_gateway::app::App;
use enact_gateway::config::Settings;
use enact_gateway::gateway::now;
use enact_modelsim::{Config, Scenario, Server};
use enact_store::{AppLogin, Store, migrate};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The key of the provider, which the fake cluster's Secret contains.
const KEY: &str = "benchmark";
const LOCAL: &str = "127.0.0.1:0";

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// Superuser URL of a Postgres server.
    #[arg(long, env = "ENACT_TEST_DATABASE_URL", default_value = "")]
    database_url: String,
    /// Concurrent streams.
    #[arg(long, default_value_t = 200)]
    streams: usize,
    /// Attempts among which the streams are divided.
    #[arg(long, default_value_t = 50)]
    attempts: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Milliseconds until the model answers.
    #[arg(long, default_value_t = 200)]
    first_byte_ms: u64,
    /// Milliseconds between two events, of which an answer has about 20.
    #[arg(long, default_value_t = 50)]
    event_ms: u64,
    /// Another proxy to measure, as `name=base URL`, with the path of Chat Completions added.
    #[arg(long)]
    target: Vec<String>,
    /// Seconds to wait before the measurement.
    #[arg(long, default_value_t = 0)]
    wait: u64,
}

#[derive(Subcommand)]
enum Role {
    /// The model server, as a child of the measurement.
    Model { first_byte_ms: u64, event_ms: u64 },
    /// The gateway, as a child of the measurement.
    Gateway { model: String, database_url: String, attempts: usize },
}

#[tokio::main]
async fn main() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let args = Args::parse();
    match &args.role {
        Some(Role::Model { first_byte_ms, event_ms }) => model(*first_byte_ms, *event_ms).await,
        Some(Role::Gateway { model, database_url, attempts }) => gateway(model, database_url, *attempts).await,
        None => measure(&args).await,
    }
}

async fn model(first_byte_ms: u64, event_ms: u64) {
    let scenario = json!({
        "name": "bench", "pace": { "firstByteMs": first_byte_ms, "eventMs": event_ms, "eventBytes": 20 },
        "otherwise": { "text": "x".repeat(400), "usage": { "input": 1000, "output": 100 } },
    });
    let scenario = Scenario::parse(&scenario.to_string()).unwrap();
    let config = Config { scenarios: vec![scenario], ..Config::default() };
    let server = Server::start(LOCAL.parse().unwrap(), config).await.unwrap();
    println!("{}", server.address());
    std::future::pending::<()>().await;
}

async fn gateway(model: &str, database_url: &str, attempts: usize) {
    let cluster = cluster::Cluster::new();
    cluster.provider("p", "OpenAi", &format!("http://{model}/bench/run"));
    cluster.agent("coder", &[("p", "scripted")]);
    for attempt in 0..attempts {
        cluster.pod(&format!("token-{attempt}"), "coder");
    }
    let local: SocketAddr = LOCAL.parse().unwrap();
    let settings = Settings {
        listen: local,
        health_listen: local,
        database_url: database_url.into(),
        database_connections: 8,
        namespace: "enact-system".into(),
        default_tenant_namespaces: vec![],
        allowed_private_hosts: vec!["127.0.0.1".into()],
        connections: 2048,
        request_memory: 128,
        replicas: 1,
        tenant_requests_per_minute: None,
        tenant_tokens_per_minute: None,
        agent_requests_per_minute: None,
        agent_tokens_per_minute: None,
        drain_seconds: 5,
    };
    let app = App::bind(&settings, cluster.client()).await.unwrap();
    println!("{}", app.addresses().unwrap()[0]);
    app.run(CancellationToken::new()).await.unwrap();
}

/// A child that prints its address, and ends with this process.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(args: &[&str]) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new(program).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { child, address: address.trim().to_owned() }
    }

    /// Returns the largest resident memory so far, in MiB.
    fn peak_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn measure(args: &Args) {
    let database_url = database(&args.database_url).await;
    let model = Process::start(&["model", &args.first_byte_ms.to_string(), &args.event_ms.to_string()]);
    let gateway = Process::start(&["gateway", &model.address, &database_url, &args.attempts.to_string()]);
    let direct = format!("http://{}/bench/run/v1", model.address);
    println!("model server: {direct}");
    tokio::time::sleep(Duration::from_secs(args.wait)).await;
    let mut targets =
        vec![("direct".to_owned(), direct), ("gateway".to_owned(), format!("http://{}/v1", gateway.address))];
    targets.extend(args.target.iter().map(|target| {
        let (name, url) = target.split_once('=').unwrap();
        (name.to_owned(), url.trim_end_matches('/').to_owned())
    }));
    println!("{} streams, first byte after {} ms, {} s each", args.streams, args.first_byte_ms, args.seconds);
    let mut direct = Vec::new();
    for (name, url) in targets {
        // The first requests open connections, and look up identities and balances.
        run(args, &url, Duration::from_secs(3)).await;
        let times = run(args, &url, Duration::from_secs(args.seconds)).await;
        let percentiles: Vec<f64> = [50.0, 90.0, 99.0].iter().map(|p| percentile(&times, *p)).collect();
        if direct.is_empty() {
            direct.clone_from(&percentiles);
        }
        let added: Vec<String> =
            percentiles.iter().zip(&direct).map(|(time, direct)| format!("{:+.2}", time - direct)).collect();
        println!(
            "{name:10} requests {:6}  first byte p50 {:8.2}  p90 {:8.2}  p99 {:8.2} ms  added {} ms",
            times.len(),
            percentiles[0],
            percentiles[1],
            percentiles[2],
            added.join(" "),
        );
    }
    println!("peak memory of the gateway: {:.1} MiB", gateway.peak_mib());
}

/// Creates the schema and a login, with budgets that are far from used up, and returns the URL of the login.
async fn database(superuser: &str) -> String {
    assert!(!superuser.is_empty(), "set ENACT_TEST_DATABASE_URL");
    let login = AppLogin { user: "enact_latency".into(), password: "latency".into() };
    migrate(superuser, Some(&login)).await.unwrap();
    let mut url = url::Url::parse(superuser).unwrap();
    url.set_username(&login.user).unwrap();
    url.set_password(Some(&login.password)).unwrap();
    let store = Store::connect(&enact_store::Config::new(url.as_str())).unwrap();
    let limit = Limit { tokens: Some(1_000_000_000_000), cost_micro_usd: Some(1_000_000_000_000) };
    let month = month(now());
    let agent = Scope::Agent { namespace: "team".into(), name: "coder".into(), month: month.clone() };
    let scopes = [Scope::Tenant { month }, agent, Scope::Plan { uid: "plan-uid".into() }];
    store.set_budgets("acme", &scopes.map(|scope| (scope, limit))).await.unwrap();
    url.into()
}

/// Sends requests over all streams, and returns the sorted times to the first byte in milliseconds.
async fn run(args: &Args, base: &str, time: Duration) -> Vec<f64> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(args.streams).build(connector);
    let body: Value = json!({
        "model": "scripted", "stream": true, "max_tokens": 1000,
        "messages": [{ "role": "user", "content": "word ".repeat(4000) }],
    });
    let (url, body, end) = (format!("{base}/chat/completions"), Bytes::from(body.to_string()), Instant::now() + time);
    let streams = (0..args.streams).map(|stream| {
        let (client, url, body) = (client.clone(), url.clone(), body.clone());
        let token = format!("Bearer token-{}", stream % args.attempts);
        // Spread over the time of one answer, so that not all begin together.
        let start =
            Duration::from_millis(args.first_byte_ms + 20 * args.event_ms).mul_f64(stream as f64 / args.streams as f64);
        tokio::spawn(async move {
            let mut times = Vec::new();
            tokio::time::sleep(start).await;
            while Instant::now() < end {
                let request = Request::post(&url)
                    .header("authorization", &token)
                    .header("content-type", "application/json")
                    .body(Full::new(body.clone()))
                    .unwrap();
                let begun = Instant::now();
                let response = client.request(request).await.unwrap();
                assert_eq!(response.status(), 200);
                let mut body = response.into_body();
                let first = body.frame().await;
                times.push(begun.elapsed().as_secs_f64() * 1000.0);
                assert!(first.unwrap().is_ok());
                while let Some(frame) = body.frame().await {
                    frame.unwrap();
                }
            }
            times
        })
    });
    let mut times: Vec<f64> = Vec::new();
    for stream in streams.collect::<Vec<_>>() {
        times.extend(stream.await.unwrap());
    }
    times.sort_by(f64::total_cmp);
    times
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the bounds of the list")]
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let at = (percent / 100.0 * sorted.len() as f64) as usize;
    sorted[at.min(sorted.len() - 1)]
}
