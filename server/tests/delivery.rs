//! Results over HTTP: who may deliver which result, and its effect.

mod support;

use std::time::Duration;

use enact_domain::assignment::{MAX_RESULT_BYTES, Reason, Report};
use enact_server::intake::Times;
use futures::future::join_all;
use support::api::{Api, FakeCluster};
use support::database::{Database, end};
use support::http::Request;
use support::{SUBJECT, Server, begun, begun_in, delivery, result, scene};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pods_result_is_kept_once() {
    let (database, _api, server) = scene().await;
    let first = server.deliver("token", &result(SUBJECT, 1)).await;
    assert_eq!((first.status, first.json()["outcome"].as_str()), (201, Some("stored")), "{}", first.text());
    let rows = database.rows().await;
    let again = server.deliver("token", &result(SUBJECT, 1)).await;
    assert_eq!((again.status, again.json()["outcome"].as_str()), (200, Some("already-there")));
    assert_eq!(database.rows().await, rows, "a repeated delivery changes nothing");
    let kept = database.result("acme", SUBJECT, 1).await;
    assert_eq!(kept, Some(result(SUBJECT, 1)), "the tenant is that of the namespace");
    let actor = "select count(*) from audit where actor = 'pod:team/uid-shop-t001-1' and plan_uid = 'uid-p'";
    assert_eq!(database.number(actor).await, 1);
    for outcome in ["stored", "already-there"] {
        assert_eq!(server.metric(&format!("enact_server_deliveries_total{{outcome=\"{outcome}\"}}")).await, 1);
    }
    assert_eq!(server.metric("enact_server_requests_total{route=\"result\",status=\"201\"}").await, 1);
    assert_eq!(server.metric("enact_server_requests_in_flight").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_result_is_refused_and_kept_as_evidence() {
    let (database, api, server) = scene().await;
    begun(&database, SUBJECT, 2).await;
    for _ in 0..2 {
        let answer = server.deliver("token", &result(SUBJECT, 1)).await;
        answer.assert_problem(409, "stale-attempt", "do not send it again");
        assert_eq!(answer.header("retry-after"), None);
    }
    assert_eq!(database.number("select count(*) from results where stale").await, 1);
    api.change(|cluster| cluster.pod("token-2", "team", "acme", "shop-t001-2", SUBJECT, 2));
    assert_eq!(server.deliver("token-2", &result(SUBJECT, 2)).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_after_the_recorded_end_succeeds() {
    let (database, _api, server) = scene().await;
    assert_eq!(server.deliver("token", &result(SUBJECT, 1)).await.status, 201);
    // The answer was lost. Before the retry, the operator recorded another end of the attempt.
    let mut lost = end("acme", "shop-t001", 1, Some("Unknown"), Report::new(Reason::Lost, "gone"));
    lost.subject.uid = SUBJECT.into();
    database.store().record(vec![lost]).await.unwrap();
    assert_eq!(server.deliver("token", &result(SUBJECT, 1)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_are_none_of_a_pods_for_us_are_refused() {
    let (database, api, server) = scene().await;
    api.change(|cluster| {
        let mut other = cluster.tokens["token"].clone();
        other.audience = "https://kubernetes.default.svc".into();
        cluster.tokens.insert("other-audience".into(), other);
    });
    let body = serde_json::to_vec(&result(SUBJECT, 1)).unwrap();
    for token in ["unknown", "other-audience"] {
        let answer = server.send(&delivery(SUBJECT, 1, token, &body)).await;
        answer.assert_problem(401, "token-refused", "audience enact-server");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert!(!answer.text().contains(token), "no token comes back");
    }
    let without = delivery(SUBJECT, 1, "token", &body).without("authorization");
    server.send(&without).await.assert_problem(401, "token-refused", "Authorization: Bearer");
    let basic = without.header("authorization", "Basic dG9rZW46");
    server.send(&basic).await.assert_problem(401, "token-refused", "bearer");
    assert_eq!(database.number("select count(*) from results").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recreated_pod_does_not_inherit_the_token() {
    let (database, api, server) = scene().await;
    let key = ("team".to_owned(), "shop-t001-1".to_owned());
    api.change(|cluster| cluster.pods.get_mut(&key).unwrap()["uid"] = "another".into());
    server.deliver("token", &result(SUBJECT, 1)).await.assert_problem(
        403,
        "subject-mismatch",
        "does not exist any more",
    );
    api.change(|cluster| drop(cluster.pods.remove(&key)));
    server.deliver("token", &result(SUBJECT, 1)).await.assert_problem(
        403,
        "subject-mismatch",
        "does not exist any more",
    );
    assert_eq!(database.number("select count(*) from results").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_speaks_for_its_own_attempt_only() {
    let (database, api, server) = scene().await;
    let another = "11111111-6a4c-4f6f-a6a3-5a1e5d0b6d1e";
    api.change(|cluster| {
        cluster.pod("foreign", "elsewhere", "other", "mine-1", another, 1);
        // A user who creates pods can choose their labels, but not those of the namespace.
        cluster.pod("liar", "elsewhere", "acme", "lie-1", SUBJECT, 1);
        cluster.pod("nobodys", "kube-system", "acme", "system-1", SUBJECT, 1);
    });
    let ours = serde_json::to_vec(&result(SUBJECT, 1)).unwrap();
    let path = server.send(&delivery(SUBJECT, 1, "foreign", &ours)).await;
    path.assert_problem(403, "subject-mismatch", "the path names another");
    let body = server.send(&delivery(another, 1, "foreign", &ours)).await;
    body.assert_problem(403, "subject-mismatch", "the body names another");
    let other_attempt = server.deliver("token", &result(SUBJECT, 2)).await;
    other_attempt.assert_problem(403, "subject-mismatch", "works on attempt 1");
    server.send(&delivery(SUBJECT, 1, "liar", &ours)).await.assert_problem(403, "subject-mismatch", "is not other");
    server.send(&delivery(SUBJECT, 1, "nobodys", &ours)).await.assert_problem(403, "subject-mismatch", "no tenant");
    assert_eq!(database.number("select count(*) from results").await, 0);
    assert_eq!(server.metric("enact_server_deliveries_total{outcome=\"subject-mismatch\"}").await, 5);
    // The pod's own result is stored, for the pod's tenant.
    begun_in(&database, "other", another, 1, "mine-1").await;
    assert_eq!(server.deliver("foreign", &result(another, 1)).await.status, 201);
    assert_eq!(database.number("select count(*) from results where tenant_id = 'other'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configured_namespaces_belong_to_the_default_tenant() {
    let (database, api, server) = scene().await;
    begun_in(&database, "default", SUBJECT, 1, "free-1").await;
    api.change(|cluster| cluster.pod("free", "free", "default", "free-1", SUBJECT, 1));
    assert_eq!(server.deliver("free", &result(SUBJECT, 1)).await.status, 201);
    assert_eq!(database.number("select count(*) from results where tenant_id = 'default'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_a_body_that_is_too_large() {
    let (database, api, server) = scene().await;
    let mut large = result(SUBJECT, 1);
    large.transcript = "x".repeat(MAX_RESULT_BYTES);
    let large = serde_json::to_vec(&large).unwrap();
    let declared = server.send(&delivery(SUBJECT, 1, "token", &large)).await;
    declared.assert_problem(413, "too-large", "at most 1048576 bytes");
    assert_eq!(api.asked("tokenreviews"), 0, "its headers are enough");
    let chunked = server.send(&delivery(SUBJECT, 1, "token", &large).chunked()).await;
    chunked.assert_problem(413, "too-large", "at most 1048576 bytes");
    assert_eq!(database.number("select count(*) from results").await, 0);
    let mut fits = result(SUBJECT, 1);
    let around = serde_json::to_vec(&fits).unwrap().len() - fits.transcript.len();
    fits.transcript = "x".repeat(MAX_RESULT_BYTES - around);
    let fits = serde_json::to_vec(&fits).unwrap();
    assert_eq!(fits.len(), MAX_RESULT_BYTES);
    assert_eq!(server.send(&delivery(SUBJECT, 1, "token", &fits).chunked()).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_body_is_refused_with_its_place() {
    let (database, _api, server) = scene().await;
    let send = async |body: &[u8]| server.send(&delivery(SUBJECT, 1, "token", body)).await;
    let syntax = send(b"{\"subjectUid\": \"u\",\n  oops}").await;
    syntax.assert_problem(400, "malformed", "key must be a string");
    assert_eq!((syntax.json()["line"].as_u64(), syntax.json()["column"].as_u64()), (Some(2), Some(3)));
    send(b"").await.assert_problem(400, "malformed", "EOF");
    send(b"{}").await.assert_problem(400, "malformed", "missing field");
    send(&[b'"', 0xff, b'"']).await.assert_problem(400, "malformed", "");
    send(&b"[".repeat(MAX_RESULT_BYTES)).await.assert_problem(400, "malformed", "");
    let mut lying = result(SUBJECT, 1);
    lying.report.commit = Some("HEAD".into());
    server.deliver("token", &lying).await.assert_problem(400, "malformed", "report.commit");
    let plain = delivery(SUBJECT, 1, "token", b"{}").without("content-type").header("content-type", "text/plain");
    server.send(&plain).await.assert_problem(415, "unsupported-media-type", "application/json");
    let zipped = delivery(SUBJECT, 1, "token", b"{}").header("content-encoding", "gzip");
    server.send(&zipped).await.assert_problem(415, "unsupported-media-type", "Content-Encoding");
    assert_eq!(database.number("select count(*) from results").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_text_is_kept_clean() {
    let (database, _api, server) = scene().await;
    let mut hostile = result(SUBJECT, 1);
    hostile.transcript = "\0'; drop table enact.results; --\u{202e}\u{1b}[2J".into();
    hostile.report.message = "a\0b".into();
    let hostile_json = serde_json::to_vec(&hostile).unwrap();
    let typed = delivery(SUBJECT, 1, "token", &hostile_json)
        .without("content-type")
        .header("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(server.send(&typed).await.status, 201);
    let kept = database.result("acme", SUBJECT, 1).await.unwrap();
    assert_eq!(kept.report.message, "a\u{fffd}b");
    assert_eq!(kept.transcript, hostile.transcript.replace('\0', "\u{fffd}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_paths_and_methods_are_problems_too() {
    let (_database, _api, server) = scene().await;
    server.send(&Request::get("/")).await.assert_problem(404, "not-found", "docs/reference/server.md");
    let path = format!("/v1/attempts/{SUBJECT}/1/result");
    let get = server.send(&Request::get(&path)).await;
    get.assert_problem(405, "method-not-allowed", "POST");
    assert_eq!(get.header("allow"), Some("POST"));
    for path in [format!("/v1/attempts/{SUBJECT}/01/result"), "/v1/attempts/%0a/1/result".into()] {
        server.send(&Request::post(&path)).await.assert_problem(404, "not-found", "UID");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_pods_at_once() {
    let database = Database::migrated().await;
    let api = Api::start(FakeCluster::with_pod("token", "shop-t001-1", SUBJECT, 1)).await;
    // All pods of this test have one address.
    let flags = ["--embedder=none", "--client-connections=512"];
    let (url, headers) = (&database.config().url, Duration::from_secs(30));
    let server = Server::start_as(url, &api, Times::default(), headers, &flags).await;
    let subjects: Vec<String> = (0..100).map(|number| format!("{number:08}-0000-4000-8000-000000000000")).collect();
    for (number, subject) in subjects.iter().enumerate() {
        begun_in(&database, "acme", subject, 1, &format!("pod-{number}")).await;
        api.change(|cluster| {
            cluster.pod(&format!("t{number}"), "team", "acme", &format!("pod-{number}"), subject, 1);
        });
    }
    let deliveries = subjects.iter().enumerate().map(|(number, subject)| {
        let mut result = result(subject, 1);
        result.transcript = "x".repeat(200_000);
        let server = &server;
        async move { server.deliver(&format!("t{number}"), &result).await.status }
    });
    assert_eq!(join_all(deliveries).await, vec![201; 100]);
    assert_eq!(database.number("select count(*) from results where not stale").await, 100);
    assert_eq!(server.metric("enact_server_deliveries_total{outcome=\"stored\"}").await, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_with_the_pods_token_cannot_deliver() {
    let (database, _api, server) = scene().await;
    let register = |key: &[u8]| {
        let digest = enact_domain::digest::Digest::of_bytes(key);
        Request::post(&format!("/v1/attempts/{SUBJECT}/1/runner"))
            .body(digest.as_str().as_bytes())
            .header("authorization", "Bearer token")
            .header("content-type", "text/plain")
    };
    assert_eq!(server.send(&register(b"the runner's key")).await.status, 204);
    let body = serde_json::to_vec(&result(SUBJECT, 1)).unwrap();
    let forged = delivery(SUBJECT, 1, "token", &body);
    server.send(&forged).await.assert_problem(403, "not-the-runner", "x-enact-runner-key");
    let guessed = forged.header("x-enact-runner-key", "a guess");
    server.send(&guessed).await.assert_problem(403, "not-the-runner", "x-enact-runner-key");
    server.send(&register(b"the agent's key")).await.assert_problem(403, "not-the-runner", "another key");
    assert_eq!(database.number("select count(*) from results").await, 0);
    let ours = delivery(SUBJECT, 1, "token", &body).header("x-enact-runner-key", "the runner's key");
    assert_eq!(server.send(&ours).await.status, 201);
}

/// A user with the role `edit` in the namespace can create a pod with owner, labels and role of an attempt's pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_the_operator_did_not_create_delivers_nothing() {
    let (database, api, server) = scene().await;
    api.change(|cluster| {
        cluster.pod("copy", "team", "acme", "copy-of-shop-t001-1", SUBJECT, 1);
        cluster.pod("next", "team", "acme", "shop-t001-2", SUBJECT, 2);
    });
    let register = |attempt: u32, token: &str| {
        let digest = enact_domain::digest::Digest::of_bytes(b"a key");
        Request::post(&format!("/v1/attempts/{SUBJECT}/{attempt}/runner"))
            .body(digest.as_str().as_bytes())
            .header("authorization", &format!("Bearer {token}"))
            .header("content-type", "text/plain")
    };
    for (token, attempt) in [("copy", 1), ("next", 2)] {
        server.send(&register(attempt, token)).await.assert_problem(403, "not-the-runner", "another pod");
        let answer = server.deliver(token, &result(SUBJECT, attempt)).await;
        answer.assert_problem(403, "subject-mismatch", "only pods that it created");
    }
    assert_eq!(database.number("select count(*) from results").await, 0);
    assert_eq!(server.send(&register(1, "token")).await.status, 204);
}
