//! Complete webhooks with an in-memory API server.

use std::net::SocketAddr;

use clap::Parser as _;
use enact_testing::FakeApi;
use http_body_util::{BodyExt as _, Empty};
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::testing::cluster::{VALIDATING, bundles, installed};
use crate::testing::https::{Connection, Hands};
use crate::testing::{create, object, with};

/// The timeout of every wait. Only a failing test reaches it.
const GENEROUS: Duration = Duration::from_mins(2);

struct Running {
    admission: SocketAddr,
    health: SocketAddr,
    stop: CancellationToken,
    task: AbortOnDropHandle<Result<(), StartError>>,
}

impl Running {
    async fn start(api: &FakeApi, args: &[&str]) -> Self {
        let fixed = ["enact-webhook", "--namespace", "enact", "--operator-user", "system:serviceaccount:enact:op"];
        let config = Config::parse_from(fixed.iter().chain(args));
        let (https, http) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (admission, health) = (https.local_addr().unwrap(), http.local_addr().unwrap());
        let stop = CancellationToken::new();
        let task = tokio::spawn(run_on(https, http, config, api.client(), stop.clone()));
        Self { admission, health, stop, task: AbortOnDropHandle::new(task) }
    }

    async fn get(&self, path: &str) -> Option<(StatusCode, String)> {
        let stream = TcpStream::connect(self.health).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
        let request = hyper::Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.ok()?;
        let status = response.status();
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, String::from_utf8(body.to_vec()).unwrap()))
    }

    async fn is_ready(&self) -> bool {
        self.get("/readyz").await.is_some_and(|(status, _)| status == StatusCode::OK)
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(GENEROUS, waiting).await.is_ok(), "{what}");
}

fn agent(namespace: &str) -> serde_json::Value {
    create(&with(object("Agent", "a", &json!({ "adapter": "Command" })), "/metadata/namespace", json!(namespace)))
}

#[tokio::test]
async fn two_replicas_serve_the_cluster_and_keep_its_trust() {
    let (api, hands) = (installed(), Hands::new());
    let replicas = [Running::start(&api, &["--drain", "1s"]).await, Running::start(&api, &["--drain", "1s"]).await];
    for replica in &replicas {
        until("it is ready", async || replica.is_ready().await).await;
        assert_eq!(replica.get("/healthz").await.unwrap().0, StatusCode::OK);
    }
    until("it is trusted", async || bundles(&api).iter().all(|b| b == &bundles(&api)[0] && !b.is_empty())).await;
    let bundle = bundles(&api)[0].clone();
    for replica in &replicas {
        let mut server = Connection::open(replica.admission, &bundle, &hands).await.unwrap();
        assert_eq!(server.review("/validate", &agent("team-a")).await.unwrap()["response"]["allowed"], true);
        let refused = server.review("/validate", &agent("nobody")).await.unwrap();
        assert_eq!(refused["response"]["status"]["code"], 403, "{refused}");
        let (_, metrics) = replica.get("/metrics").await.unwrap();
        assert!(metrics.contains("enact_webhook_request_duration_seconds_bucket{"), "{metrics}");
        assert!(!metrics.contains("certificate_expiry_timestamp_seconds 0\n"), "{metrics}");
    }
    // A tenant that is new is known at once, also before the watch reports it.
    let tenant = json!({ "metadata": { "name": "new" }, "spec": { "namespaces": ["team-n"] } });
    api.put("tenants/new", tenant);
    let mut server = Connection::open(replicas[0].admission, &bundle, &hands).await.unwrap();
    let review = with(agent("team-n"), "/request/object/metadata/labels/enact.dev~1tenant", json!("new"));
    let answer = server.review("/validate", &review).await.unwrap();
    assert_eq!(answer["response"]["allowed"], true, "{answer}");

    // A user applies the configuration again, without a bundle.
    let mut bare = api.get(VALIDATING);
    bare["webhooks"][0]["clientConfig"].as_object_mut().unwrap().remove("caBundle");
    api.put(VALIDATING, bare);
    until("it is trusted again", async || bundles(&api) == [bundle.as_str(); 3]).await;
    // If nothing is due, no replica writes.
    let version = api.version();
    let looks = |api: &FakeApi| api.requests().iter().filter(|a| a.ends_with("secrets/enact-webhook-tls")).count();
    let before = looks(&api);
    api.change("secrets/enact-webhook-tls", &json!({ "metadata": { "labels": { "touched": "yes" } } }));
    until("both have looked", async || looks(&api) >= before + 2).await;
    assert_eq!(api.version(), version + 1);

    // A replica that shuts down is not ready, but still answers. Then it closes its connections.
    let [leaving, staying] = replicas;
    leaving.stop.cancel();
    until("it is not ready", async || !leaving.is_ready().await).await;
    assert_eq!(server.review("/validate", &agent("team-a")).await.unwrap()["response"]["allowed"], true);
    timeout(GENEROUS, leaving.task).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(leaving.admission).await.is_err());
    assert!(staying.is_ready().await);
}

#[tokio::test]
async fn reloads_certificates_of_cert_manager() {
    use crate::certs::keyring::Keyring;
    use crate::testing::https::{hosts, lifetimes};

    let (api, hands, folder) = (installed(), Hands::new(), tempfile::tempdir().unwrap());
    let version = api.version();
    let put = |keyring: &Keyring| {
        std::fs::write(folder.path().join("tls.crt"), keyring.serving().0).unwrap();
        std::fs::write(folder.path().join("tls.key"), keyring.serving().1).unwrap();
    };
    let running = Running::start(&api, &["--tls-dir", folder.path().to_str().unwrap(), "--drain", "0s"]).await;
    until("it waits for files", async || running.get("/metrics").await.is_some_and(|m| m.1.contains("failed"))).await;
    assert_eq!(running.get("/readyz").await.unwrap().0, StatusCode::SERVICE_UNAVAILABLE);
    for _ in 0..2 {
        let keyring = Keyring::new(&hosts(), &lifetimes(), hands.now()).unwrap();
        put(&keyring);
        until("it is served", async || Connection::open(running.admission, &keyring.bundle(), &hands).await.is_ok())
            .await;
        let expiry = format!("certificate_expiry_timestamp_seconds {}\n", keyring.ends().as_second());
        until("its expiry is reported", async || running.get("/metrics").await.is_some_and(|m| m.1.contains(&expiry)))
            .await;
    }
    assert!(running.is_ready().await);
    assert_eq!(api.version(), version);
    assert!(api.requests().iter().all(|a| !a.contains("secrets") && !a.contains("webhookconfigurations")));
    running.stop.cancel();
    timeout(GENEROUS, running.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn rejects_invalid_settings() {
    let api = installed();
    for (args, part) in [(["--serving-lifetime", "9000h"], "CA's"), (["--drain=-1s", "--log=info"], "--drain")] {
        let running = Running::start(&api, &args).await;
        let error = running.task.await.unwrap().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn responses_of_a_replica_that_leaves_close_their_connections() {
    let leaving = CancellationToken::new();
    let header = || until_left(Response::new("".into()), &leaving).headers().get(CONNECTION).cloned();
    assert_eq!(header(), None);
    leaving.cancel();
    assert_eq!(header(), Some(HeaderValue::from_static("close")));
}
