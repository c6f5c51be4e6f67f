//! Documents over HTTP: who may deliver which document, and its effect.

mod support;

use enact_domain::digest::Digest;
use enact_domain::document_job::MAX_DOCUMENT_BYTES;
use support::http::Request;
use support::{SUBJECT, Server, scene};

const TEXT: &[u8] = b"# Feature Specification: Cart\n";

/// Returns a request as the runner sends it.
fn bring(subject: &str, token: &str, body: &[u8]) -> Request {
    Request::post(&format!("/v1/documents/{subject}"))
        .header("authorization", &format!("Bearer {token}"))
        .header("content-type", "text/markdown")
        .body(body)
}

async fn with_document_pod() -> (support::database::Database, support::api::Api, Server) {
    let (database, api, server) = scene().await;
    api.change(|cluster| cluster.document_pod("fetches", "team", "acme", "cart-fetch-1", SUBJECT, "fetch"));
    (database, api, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_stored_once_for_its_tenant() {
    let (database, api, server) = with_document_pod().await;
    api.change(|cluster| cluster.document_pod("drafts", "elsewhere", "other", "cart-draft-1", SUBJECT, "draft"));
    let digest = Digest::of_bytes(TEXT);
    for token in ["fetches", "fetches", "drafts"] {
        let answer = server.send(&bring(SUBJECT, token, TEXT)).await;
        assert_eq!(
            (answer.status, answer.json()["digest"].as_str()),
            (201, Some(digest.as_str())),
            "{}",
            answer.text()
        );
    }
    for tenant in ["acme", "other"] {
        assert_eq!(database.store().content(tenant, &digest).await.unwrap().as_deref(), Some(TEXT), "{tenant}");
    }
    assert_eq!(database.store().content("third", &digest).await.unwrap(), None);
    assert_eq!(database.number("select count(*) from contents").await, 2);
    assert_eq!(server.metric("enact_server_requests_total{route=\"document\",status=\"201\"}").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_documents_own_pod_brings_it() {
    let (database, api, server) = with_document_pod().await;
    api.change(|cluster| {
        cluster.document_pod("works", "team", "acme", "cart-task-1", SUBJECT, "task");
        cluster.document_pod("moved", "team", "other", "cart-fetch-2", SUBJECT, "fetch");
        cluster.document_pod("nobodys", "kube-system", "acme", "cart-fetch-3", SUBJECT, "fetch");
        cluster.document_pod("gone", "team", "acme", "cart-fetch-4", SUBJECT, "fetch");
        cluster.pods.remove(&("team".into(), "cart-fetch-4".into()));
    });
    for (token, part) in [
        ("token", "neither fetch nor draft"),
        ("works", "neither fetch nor draft"),
        ("moved", "is not acme"),
        ("nobodys", "belongs to no tenant"),
        ("gone", "does not exist any more"),
    ] {
        server.send(&bring(SUBJECT, token, TEXT)).await.assert_problem(403, "subject-mismatch", part);
    }
    server.send(&bring("another-uid", "fetches", TEXT)).await.assert_problem(403, "subject-mismatch", "names another");
    server.send(&bring(SUBJECT, "unknown", TEXT)).await.assert_problem(401, "token-refused", "audience enact-server");
    let attempt = support::delivery(SUBJECT, 1, "fetches", b"{}");
    server.send(&attempt).await.assert_problem(403, "subject-mismatch", "not a pod of Enact");
    assert_eq!(database.number("select count(*) from contents").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_brings_one_document() {
    let (database, _api, server) = with_document_pod().await;
    server.send(&bring(SUBJECT, "fetches", TEXT)).await.assert_status(201);
    let another = server.send(&bring(SUBJECT, "fetches", b"# Another\n")).await;
    another.assert_problem(409, "already-delivered", "has delivered another document");
    server.send(&bring(SUBJECT, "fetches", TEXT)).await.assert_status(201);
    assert_eq!(database.number("select count(*) from contents").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_document_is_refused() {
    let (database, _api, server) = with_document_pod().await;
    let large = vec![b'x'; MAX_DOCUMENT_BYTES + 1];
    server.send(&bring(SUBJECT, "fetches", &large)).await.assert_problem(413, "too-large", "1048576");
    server.send(&bring(SUBJECT, "fetches", &large).chunked()).await.assert_problem(413, "too-large", "1048576");
    server.send(&bring(SUBJECT, "fetches", b"a\xff")).await.assert_problem(400, "malformed", "byte 1");
    let json = bring(SUBJECT, "fetches", TEXT).without("content-type").header("content-type", "application/json");
    server.send(&json).await.assert_problem(415, "unsupported-media-type", "text/markdown");
    server.send(&Request::new("PUT", &format!("/v1/documents/{SUBJECT}"))).await.assert_problem(
        405,
        "method-not-allowed",
        "POST",
    );
    assert_eq!(database.number("select count(*) from contents").await, 0);
    assert_eq!(server.send(&bring(SUBJECT, "fetches", &large[1..])).await.status, 201, "the largest document fits");
}
