//! Dependencies that do not answer, slow senders, and shutdown.

mod support;

use std::time::Duration;

use enact_server::intake::Times;
use support::api::{Api, FakeCluster};
use support::database::Database;
use support::database::proxy::{Network, Proxy};
use support::http::{self, Request};
use support::{SUBJECT, Server, begun, delivery, result, scene, until};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_away_and_back() {
    let database = Database::migrated().await;
    begun(&database, SUBJECT, 1).await;
    let api = Api::start(FakeCluster::with_pod("token", "shop-t001-1", SUBJECT, 1)).await;
    let network = Proxy::to(database.server()).await;
    let url = database.app_url_at("127.0.0.1", network.address.port());
    let server = Server::start(&url, &api).await;
    let text = server.ready(200).await;
    assert!(text.contains("postgres: ok") && text.contains("api-server: ok"), "{text}");
    for broken in [Network::Down, Network::Silent] {
        network.set(broken);
        let answer = server.deliver("token", &result(SUBJECT, 1)).await;
        answer.assert_problem(503, "unavailable", "the record is temporarily unavailable");
        assert_eq!(answer.header("retry-after"), Some("2"));
        let text = server.ready(503).await;
        assert!(text.contains("postgres: failed") && text.contains("api-server: ok"), "{text}");
    }
    assert_eq!(
        http::send(server.health, &Request::get("/healthz")).await.status,
        200,
        "the process is alive without its dependencies"
    );
    network.set(Network::Up);
    until(async || (server.deliver("token", &result(SUBJECT, 1)).await.status == 201).then_some(())).await;
    server.ready(200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_of_postgres_is_no_second_result() {
    let database = Database::migrated().await;
    begun(&database, SUBJECT, 1).await;
    let api = Api::start(FakeCluster::with_pod("token", "shop-t001-1", SUBJECT, 1)).await;
    let network = Proxy::to(database.server()).await;
    let server = Server::start(&database.app_url_at("127.0.0.1", network.address.port()), &api).await;
    network.lose_next_commit();
    server.deliver("token", &result(SUBJECT, 1)).await.assert_problem(503, "unavailable", "try again");
    assert!(!network.waits_for_commit());
    assert_eq!(server.deliver("token", &result(SUBJECT, 1)).await.status, 200, "it was stored");
    assert_eq!(database.number("select count(*) from audit where event = 'ResultDelivered'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_server_away_and_back() {
    let (_database, api, server) = scene().await;
    server.ready(200).await;
    api.change(|cluster| cluster.down = true);
    let answer = server.deliver("token", &result(SUBJECT, 1)).await;
    answer.assert_problem(503, "unavailable", "the API server");
    assert_eq!(answer.header("retry-after"), Some("2"));
    let text = server.ready(503).await;
    assert!(text.contains("api-server: failed") && text.contains("postgres: ok"), "{text}");
    api.change(|cluster| cluster.down = false);
    assert_eq!(server.deliver("token", &result(SUBJECT, 1)).await.status, 201);
    server.ready(200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_senders_are_cut_and_hold_nobody_up() {
    let database = Database::migrated().await;
    begun(&database, SUBJECT, 1).await;
    let api = Api::start(FakeCluster::with_pod("token", "shop-t001-1", SUBJECT, 1)).await;
    let times = Times { body: Duration::from_millis(300), ..Times::default() };
    let server = Server::start_with(&database.config().url, &api, times, Duration::from_millis(300)).await;
    let mut drip = TcpStream::connect(server.address).await.unwrap();
    let request = delivery(SUBJECT, 1, "token", b"");
    drip.write_all(&request.head(1000)).await.unwrap();
    drip.write_all(b"{\"subjectUid\": ").await.unwrap();
    http::answer(&mut drip).await.assert_problem(408, "slow-body", "did not arrive within 0.3 s");
    // The header timeout closes connections whose headers never end.
    let mut mute = TcpStream::connect(server.address).await.unwrap();
    mute.write_all(b"POST /v1/attempts HTTP/1.1\r\nhost:").await.unwrap();
    let mut rest = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut mute, &mut rest);
    tokio::time::timeout(support::PATIENCE, reading).await.expect("it is closed").unwrap();
    assert_eq!(server.deliver("token", &result(SUBJECT, 1)).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_pod_cannot_hold_all_connections() {
    let database = Database::migrated().await;
    begun(&database, SUBJECT, 1).await;
    let api = Api::start(FakeCluster::with_pod("token", "shop-t001-1", SUBJECT, 1)).await;
    let flags = ["--embedder=none", "--connections=8", "--client-connections=4"];
    // No connection is closed for its missing headers, so the test would hang without the share.
    let headers = Duration::from_mins(10);
    let server = Server::start_as(&database.config().url, &api, Times::default(), headers, &flags).await;
    let mut idle = Vec::new();
    for _ in 0..32 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(server.address).await.unwrap();
    let body = serde_json::to_vec(&result(SUBJECT, 1)).unwrap();
    other.write_all(&delivery(SUBJECT, 1, "token", b"").head(body.len())).await.unwrap();
    other.write_all(&body).await.unwrap();
    assert_eq!(http::answer(&mut other).await.status, 201);
    // The share of four shrinks with the free connections.
    until(async || (server.metric("enact_server_connections").await == 3).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_break_off_are_forgotten() {
    let (database, _api, server) = scene().await;
    for _ in 0..50 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&delivery(SUBJECT, 1, "token", b"").head(1000)).await.unwrap();
        stream.write_all(b"{\"subjectUid\": ").await.unwrap();
    }
    until(async || (server.metric("enact_server_requests_in_flight").await == 0).then_some(())).await;
    assert_eq!(server.deliver("token", &result(SUBJECT, 1)).await.status, 201, "every place was given back");
    assert_eq!(database.number("select count(*) from results").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_under_way_is_answered_after_the_stop() {
    let (database, api, server) = scene().await;
    // Before its first check of Postgres the server is not ready either.
    server.ready(200).await;
    let body = serde_json::to_vec(&result(SUBJECT, 1)).unwrap();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&delivery(SUBJECT, 1, "token", b"").head(body.len())).await.unwrap();
    until(async || (api.asked("/pods/shop-t001-1") > 0).then_some(())).await;
    server.stop.cancel();
    let text = server.ready(503).await;
    assert!(text.contains("shutting down"), "{text}");
    until(async || TcpStream::connect(server.address).await.is_err().then_some(())).await;
    stream.write_all(&body).await.unwrap();
    assert_eq!(http::answer(&mut stream).await.status, 201);
    tokio::time::timeout(support::PATIENCE, server.task).await.expect("it ends").unwrap();
    assert_eq!(database.number("select count(*) from results").await, 1);
}
