//! Semantic search, with a simulated endpoint for embeddings, and without one when it fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use enact_domain::digest::Digest;
use enact_domain::record::Kind;
use enact_server::intake::Times;
use enact_store::{Embedding, Item, ItemKind};
use serde_json::{Value, json};
use support::Server;
use support::api::{Api, FakeCluster};
use support::database::{self, Database};
use tokio::net::TcpListener;
use warp::Filter as _;
use warp::http::StatusCode;

const CART: &str = "A cart keeps its products for thirty days.";
const PAYMENT: &str = "A payment is confirmed within a second.";

/// Starts an endpoint that returns the same embedding for every text, and fails once `away` is true. Returns the flag with its URL.
async fn endpoint(away: Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("--embed-url=http://{}/v1", listener.local_addr().unwrap());
    let route = warp::path!("v1" / "embeddings").and(warp::post()).map(move || {
        let answer = json!({ "data": [{ "index": 0, "embedding": [1.0, 0.1] }] });
        let status = if away.load(Ordering::SeqCst) { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        warp::reply::with_status(warp::reply::json(&answer), status)
    });
    tokio::spawn(warp::serve(route).incoming(listener).run());
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_without_embedder_is_by_words_only() {
    let database = Database::migrated().await;
    let store = database.store();
    assert!(store.has_vectors().await.unwrap(), "the Postgres for tests has pgvector");
    for (name, text, values) in [("cart", CART, vec![1.0, 0.0]), ("pay", PAYMENT, vec![0.0, 1.0])] {
        let item = Item { kind: ItemKind::Requirement, key: "FR-001".into(), line: 5, text: text.into() };
        store.index_items("acme", &database::subject(Kind::Specification, name), vec![item]).await.unwrap();
        let embedding = Embedding { model: "m".into(), values };
        store.put_embeddings("acme", &[(Digest::of_bytes(text.as_bytes()), embedding)]).await.unwrap();
    }
    let mut cluster = FakeCluster::with_pod("pod", "shop-t001-1", support::SUBJECT, 1);
    cluster.reader("reader", "team", &["specifications", "constitutions", "plans"]);
    let (api, away) = (Api::start(cluster).await, Arc::new(AtomicBool::new(false)));
    let flags = ["--embedder=openai", "--embed-model=m", &endpoint(Arc::clone(&away)).await];
    let server =
        Server::start_as(&database.config().url, &api, Times::default(), Duration::from_secs(30), &flags).await;
    let found = async || {
        let answer = server.read("reader", "team/search?q=how+long+may+a+trolley+wait").await.json();
        let hits = answer["hits"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        hits.iter().map(|hit| (hit["name"].clone(), hit["matched"].clone())).collect::<Vec<(Value, Value)>>()
    };
    assert_eq!(found().await[0], (json!("cart"), json!("Vector")), "no word of it is in the question");
    away.store(true, Ordering::SeqCst);
    assert_eq!(found().await, [], "no word of the question is anywhere");
    let by_words = server.read("reader", "team/search?q=payment").await.json();
    assert_eq!(by_words["hits"][0]["name"], "pay", "{by_words}");
}
