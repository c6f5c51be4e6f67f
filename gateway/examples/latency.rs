//! Measures the time that the gateway adds to the first byte of an answer, at many concurrent streams: the same requests go to a scripted
//! model server directly, through a proxy that only forwards, through a gateway with metering and budgets, and through other proxies, one after the other.
//!
//! ```sh
//! export ENACT_TEST_DATABASE_URL=$(cargo xtask postgres up)
//! cargo run --release -p enact-gateway --example latency
//! ```
//!
//! Gateway and model server are processes of their own, so that the memory of the gateway is seen. It includes the API server in memory with
//! which this program replaces a cluster.
//!
//! # Other proxies
//!
//! `--target NAME=URL` measures another proxy in the same run; `/chat/completions` is added to its URL. `,model=NAME` after it replaces the
//! name of the model, and `,pid=PID` shows the memory of a process. The proxies need the model server at a known address, which
//! `--model-listen` gives; they may be started before it.
//!
//! LiteLLM (PyPI), in two processes:
//!
//! ```sh
//! python3 -m venv /tmp/litellm && /tmp/litellm/bin/pip install 'litellm[proxy]'
//! cat > /tmp/litellm.yaml <<END
//! model_list:
//!   - model_name: scripted
//!     litellm_params:
//!       {model: openai/scripted, api_base: "http://127.0.0.1:9100/bench/run/v1", api_key: benchmark}
//! END
//! export LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY=true LITELLM_LOCAL_MODEL_COST_MAP=True
//! /tmp/litellm/bin/litellm --config /tmp/litellm.yaml --host 127.0.0.1 --port 9101 --num_workers 2 &
//! ```
//!
//! Bifrost (npm; it downloads a program that is written in Go), without its stores, so that it neither logs requests nor keeps budgets:
//!
//! ```sh
//! mkdir -p /tmp/bifrost && cat > /tmp/bifrost/config.json <<END
//! {"config_store": {"enabled": false}, "logs_store": {"enabled": false}, "client": {"enable_logging": false, "initial_pool_size": 500},
//!  "providers": {"openai": {
//!    "network_config": {"base_url": "http://127.0.0.1:9100/bench/run"},
//!    "concurrency_and_buffer_size": {"concurrency": 400, "buffer_size": 1000},
//!    "keys": [{"name": "bench", "value": "benchmark", "models": ["*"], "weight": 1}]}}}
//! END
//! npx -y @maximhq/bifrost -app-dir /tmp/bifrost -host 127.0.0.1 -port 9102 &
//! ```
//!
//! ```sh
//! cargo run --release -p enact-gateway --example latency -- --model-listen 127.0.0.1:9100 \
//!   --target "litellm=http://127.0.0.1:9101/v1,pid=$(pgrep -of /tmp/litellm/bin/litellm)" \
//!   --target "bifrost=http://127.0.0.1:9102/v1,model=openai/scripted,pid=$(pgrep -x bifrost-http)"
//! ```
//!
//! Their settings can change with their versions. Check each with one request first: a target that answers anything but 200 ends the measurement with what it says.

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
use std::str::FromStr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Parser, Subcommand};
use enact_domain::usage::{Limit, Scope, month};
use enact_gateway::app::App;
use enact_gateway::config::Settings;
use enact_gateway::gateway::now;
use enact_modelsim::{Config, Scenario, Server};
use enact_store::{Login, Store, migrate};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The key of the provider, which the fake cluster's Secret contains.
const KEY: &str = "benchmark";
const LOCAL: &str = "127.0.0.1:0";

type HttpClient = Client<HttpConnector, Full<Bytes>>;

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
    /// Address of the model server.
    #[arg(long, default_value = LOCAL)]
    model_listen: SocketAddr,
    /// Another proxy to measure, as `NAME=URL[,model=NAME][,pid=PID]`.
    #[arg(long)]
    target: Vec<Target>,
}

/// What is measured.
#[derive(Clone, Debug)]
struct Target {
    name: String,
    /// Base URL, without the path of Chat Completions.
    url: String,
    model: String,
    /// Process whose memory is shown.
    pid: Option<u32>,
}

impl Target {
    fn new(name: &str, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: url.trim_end_matches('/').to_owned(),
            model: "scripted".to_owned(),
            pid: None,
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let (name, url) = parts.next().and_then(|part| part.split_once('=')).ok_or("write NAME=URL")?;
        let mut target = Self::new(name, url);
        for part in parts {
            match part.split_once('=') {
                Some(("model", model)) => model.clone_into(&mut target.model),
                Some(("pid", pid)) => target.pid = Some(pid.parse().map_err(|_| "a pid is one number".to_owned())?),
                _ => return Err(format!("{part} is neither model=NAME nor pid=PID")),
            }
        }
        Ok(target)
    }
}

#[derive(Subcommand)]
enum Role {
    /// The model server, as a child of the measurement.
    Model { listen: SocketAddr, first_byte_ms: u64, event_ms: u64 },
    /// A proxy that only forwards, as a child of the measurement.
    Forward { model: String },
    /// The gateway, as a child of the measurement.
    Gateway { model: String, database_url: String, attempts: usize },
}

#[tokio::main]
async fn main() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let args = Args::parse();
    match &args.role {
        Some(Role::Model { listen, first_byte_ms, event_ms }) => model(*listen, *first_byte_ms, *event_ms).await,
        Some(Role::Forward { model }) => forward(model).await,
        Some(Role::Gateway { model, database_url, attempts }) => gateway(model, database_url, *attempts).await,
        None => measure(&args).await,
    }
}

async fn model(listen: SocketAddr, first_byte_ms: u64, event_ms: u64) {
    let scenario = json!({
        "name": "bench", "pace": { "firstByteMs": first_byte_ms, "eventMs": event_ms, "eventBytes": 20 },
        "otherwise": { "text": "x".repeat(400), "usage": { "input": 1000, "output": 100 } },
    });
    let scenario = Scenario::parse(&scenario.to_string()).unwrap();
    let config = Config { scenarios: vec![scenario], ..Config::default() };
    let server = Server::start(listen, config).await.unwrap();
    println!("{}", server.address());
    std::future::pending::<()>().await;
}

/// A proxy with the gateway's HTTP libraries that reads and records nothing: what it adds, any such proxy adds on this machine.
async fn forward(model: &str) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    let base = format!("http://{model}/bench/run");
    let answer = move |mut request: Request<Incoming>| {
        *request.uri_mut() = format!("{base}{}", request.uri().path()).parse().unwrap();
        client.request(request)
    };
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let service = service_fn(answer.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn gateway(model: &str, database_url: &str, attempts: usize) {
    let cluster = cluster::Cluster::new();
    cluster.provider("p", "OpenAi", &format!("http://{model}/bench/run"));
    cluster.agent("coder", &[("p", "scripted")]);
    for attempt in 0..attempts {
        let token = format!("token-{attempt}");
        cluster.pod(&token, "coder");
        // Attempts at different tasks of one plan, which share the budgets of plan, agent and tenant.
        let mut owner = cluster.api.get(&format!("pods/pod-{token}"))["metadata"]["ownerReferences"].clone();
        owner[0]["uid"] = format!("uid-task-{attempt}").into();
        cluster.api.change(&format!("pods/pod-{token}"), &json!({ "metadata": { "ownerReferences": owner } }));
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
        client_connections: 2048,
        request_memory: 128,
        replicas: 1,
        tenant_requests_per_minute: None,
        tenant_tokens_per_minute: None,
        tenant_concurrent_requests: None,
        agent_requests_per_minute: None,
        agent_tokens_per_minute: None,
        attempt_requests_per_minute: None,
        attempt_concurrent_requests: None,
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
}

/// Returns the largest resident memory of a process so far, in MiB.
fn peak_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn measure(args: &Args) {
    let database_url = database(&args.database_url).await;
    let [listen, first_byte, event] =
        [args.model_listen.to_string(), args.first_byte_ms.to_string(), args.event_ms.to_string()];
    let model = Process::start(&["model", &listen, &first_byte, &event]);
    let forward = Process::start(&["forward", &model.address]);
    let gateway = Process::start(&["gateway", &model.address, &database_url, &args.attempts.to_string()]);
    let direct = Target::new("direct", &format!("http://{}/bench/run/v1", model.address));
    let forwarding = Target::new("forward", &format!("http://{}/v1", forward.address));
    let forwarding = Target { pid: Some(forward.child.id()), ..forwarding };
    let own = Target::new("gateway", &format!("http://{}/v1", gateway.address));
    let own = Target { pid: Some(gateway.child.id()), ..own };
    println!("{} streams, first byte after {first_byte} ms, {} s each", args.streams, args.seconds);
    let mut direct_times = None;
    for target in [direct, forwarding, own].iter().chain(&args.target) {
        let client = client(args);
        // The first requests open connections, and look up identities and balances.
        run(args, &client, target, Duration::from_secs(3)).await;
        let times = run(args, &client, target, Duration::from_secs(args.seconds)).await;
        let percentiles = [50.0, 90.0, 99.0].map(|percent| percentile(&times, percent));
        let direct = *direct_times.get_or_insert(percentiles);
        let [p50, p90, p99] = percentiles;
        let added = [p50 - direct[0], p90 - direct[1], p99 - direct[2]].map(|added| format!("{added:+.2}")).join(" ");
        let memory = target.pid.map(|pid| format!("  peak memory {:.1} MiB", peak_mib(pid))).unwrap_or_default();
        println!(
            "{:10} requests {:6}  first byte p50 {p50:8.2}  p90 {p90:8.2}  p99 {p99:8.2} ms  added {added} ms{memory}",
            target.name,
            times.len(),
        );
    }
}

/// Returns a client that keeps a connection for each stream.
fn client(args: &Args) -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(args.streams).build(connector)
}

/// Creates the schema and a login, with budgets that are far from used up, and returns the URL of the login.
async fn database(superuser: &str) -> String {
    assert!(!superuser.is_empty(), "set ENACT_TEST_DATABASE_URL");
    let login = Login { user: "enact_latency".into(), password: "latency".into() };
    migrate(superuser, Some(&login), None).await.unwrap();
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
async fn run(args: &Args, client: &HttpClient, target: &Target, time: Duration) -> Vec<f64> {
    let body: Value = json!({
        "model": target.model, "stream": true, "max_tokens": 1000,
        "messages": [{ "role": "user", "content": "word ".repeat(4000) }],
    });
    let url = format!("{}/chat/completions", target.url);
    let (body, end) = (Bytes::from(body.to_string()), Instant::now() + time);
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
                let status = response.status();
                let mut body = response.into_body();
                if status != 200 {
                    let text = body.collect().await.unwrap().to_bytes();
                    panic!("{url} answers {status}: {}", String::from_utf8_lossy(&text));
                }
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
