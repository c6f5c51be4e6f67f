//! Checkpoints over HTTP: who may keep one, and who may read it.

mod support;

use enact_domain::agents::checkpoint::{
    Checkpoint, MAX_ARCHIVE_BYTES, MAX_BUNDLE_BYTES, MAX_CHECKPOINT_BYTES, SavedSession, UnfinishedWork,
};
use enact_domain::assignment::Usage;
use enact_domain::digest::Digest;
use support::http::{Answer, Request};
use support::{SUBJECT, Server, begun, scene, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

const KEY: &str = "the runner's key";

fn checkpoint() -> Checkpoint {
    Checkpoint {
        attempt: 1,
        work: Some(UnfinishedWork {
            branch: "enact/shop-5f0c1a2b/t001-1".into(),
            commit: "a".repeat(40),
            base: "b".repeat(40),
        }),
        session: Some(SavedSession {
            id: "s-1".into(),
            agent: "scribe".into(),
            adapter: Digest::of_bytes(b"adapter"),
            prompt: Digest::of_bytes(b"prompt"),
            usage: Usage::default(),
        }),
        last_message: 0,
        archive: Some("AJ//".into()),
        bundle: Some("AP//".into()),
    }
}

fn save(token: &str, key: &str, body: &[u8]) -> Request {
    Request::post(&format!("/v1/attempts/{SUBJECT}/1/checkpoint"))
        .header("authorization", &format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("x-enact-runner-key", key)
        .body(body)
}

fn read(subject: &str, attempt: u32, token: &str) -> Request {
    Request::get(&format!("/v1/attempts/{subject}/{attempt}/checkpoint"))
        .header("authorization", &format!("Bearer {token}"))
        .header("x-enact-runner-key", KEY)
}

async fn register(server: &Server) -> Answer {
    register_for(server, 1, "token").await
}

async fn register_for(server: &Server, attempt: u32, token: &str) -> Answer {
    let request = Request::post(&format!("/v1/attempts/{SUBJECT}/{attempt}/runner"))
        .body(Digest::of_bytes(KEY.as_bytes()).as_str().as_bytes())
        .header("authorization", &format!("Bearer {token}"))
        .header("content-type", "text/plain");
    server.send(&request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_attempt_of_the_task_reads_it() {
    let (database, api, server) = scene().await;
    register(&server).await.assert_status(204);
    let body = serde_json::to_vec(&checkpoint()).unwrap();
    server.send(&save("token", KEY, &body)).await.assert_status(204);
    let own = server.send(&read(SUBJECT, 1, "token")).await;
    own.assert_problem(404, "not-found", "no earlier attempt left a checkpoint");

    begun(&database, SUBJECT, 2).await;
    let another = "11111111-6a4c-4f6f-a6a3-5a1e5d0b6d1e";
    api.change(|cluster| {
        cluster.pod("next", "team", "acme", "shop-t001-2", SUBJECT, 2);
        cluster.pod("other-task", "team", "acme", "shop-t002-2", another, 2);
        cluster.pod("other-tenant", "elsewhere", "other", "mine-2", SUBJECT, 2);
        cluster.pod("copy", "team", "acme", "copy-of-shop-t001-2", SUBJECT, 2);
    });
    server.send(&read(SUBJECT, 2, "next")).await.assert_problem(403, "not-the-runner", "may read a checkpoint");
    register_for(&server, 2, "next").await.assert_status(204);
    // The agent of the attempt has the token of the runner, but not its key.
    let by_agent = read(SUBJECT, 2, "next").without("x-enact-runner-key");
    server.send(&by_agent).await.assert_problem(403, "not-the-runner", "may read a checkpoint");
    let by_agent = by_agent.header("x-enact-runner-key", "a guess");
    server.send(&by_agent).await.assert_problem(403, "not-the-runner", "may read a checkpoint");
    // Nor does a pod that the operator did not create, whatever its labels are.
    server.send(&read(SUBJECT, 2, "copy")).await.assert_problem(403, "not-the-runner", "may read a checkpoint");
    let found = server.send(&read(SUBJECT, 2, "next")).await;
    found.assert_status(200);
    assert_eq!(serde_json::from_slice::<Checkpoint>(&found.body).unwrap(), checkpoint());
    // The token of another attempt names another task, and a path names no task of another pod.
    server.send(&read(another, 2, "other-task")).await.assert_problem(403, "not-the-runner", "may read a checkpoint");
    server.send(&read(SUBJECT, 2, "other-task")).await.assert_problem(403, "subject-mismatch", "names another");
    server.send(&read(SUBJECT, 2, "other-tenant")).await.assert_problem(403, "not-the-runner", "may read a checkpoint");
    server.send(&read(SUBJECT, 2, "nobody")).await.assert_problem(401, "token-refused", "audience");
    assert_eq!(server.metric("enact_server_requests_total{route=\"checkpoint\",status=\"200\"}").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unread_answer_keeps_its_slot() {
    let (database, api, server) = scene().await;
    register(&server).await.assert_status(204);
    let large = Checkpoint {
        archive: Some("AAAA".repeat(MAX_ARCHIVE_BYTES / 3)),
        bundle: Some("AAAA".repeat(MAX_BUNDLE_BYTES / 3)),
        ..checkpoint()
    };
    server.send(&save("token", KEY, &serde_json::to_vec(&large).unwrap())).await.assert_status(204);
    begun(&database, SUBJECT, 2).await;
    api.change(|cluster| cluster.pod("next", "team", "acme", "shop-t001-2", SUBJECT, 2));
    register_for(&server, 2, "next").await.assert_status(204);
    let mut unread = Vec::new();
    for _ in 0..2 {
        let socket = TcpSocket::new_v4().unwrap();
        // So that the kernel cannot take the whole answer.
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(server.address).await.unwrap();
        stream.write_all(&read(SUBJECT, 2, "next").head(0)).await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        unread.push(stream);
    }
    server.send(&read(SUBJECT, 2, "next")).await.assert_problem(429, "busy", "too many requests");
    drop(unread);
    until(async || (server.send(&read(SUBJECT, 2, "next")).await.status == 200).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_cannot_keep_one() {
    let (database, _api, server) = scene().await;
    let body = serde_json::to_vec(&checkpoint()).unwrap();
    server.send(&save("token", "a guess", &body)).await.assert_problem(403, "not-the-runner", "x-enact-runner-key");
    register(&server).await.assert_status(204);
    server.send(&save("token", "a guess", &body)).await.assert_problem(403, "not-the-runner", "x-enact-runner-key");
    let without = save("token", "", &body).without("x-enact-runner-key");
    server.send(&without).await.assert_problem(403, "not-the-runner", "x-enact-runner-key");
    assert_eq!(database.number("select count(*) from checkpoints").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_checkpoints_are_refused() {
    let (database, _api, server) = scene().await;
    register(&server).await.assert_status(204);
    let refused = async |change: &dyn Fn(&mut Checkpoint), part: &str| {
        let mut changed = checkpoint();
        change(&mut changed);
        let body = serde_json::to_vec(&changed).unwrap();
        server.send(&save("token", KEY, &body)).await.assert_problem(400, "malformed", part);
    };
    refused(&|c| c.attempt = 2, "attempt must be 1").await;
    refused(&|c| c.archive = Some("&".into()), "not base64").await;
    refused(&|c| c.session.as_mut().unwrap().id = "--help".into(), "session.id").await;
    refused(&|c| c.archive = Some("AAAA".repeat(MAX_ARCHIVE_BYTES / 3 + 1)), "more than").await;
    refused(&|c| c.bundle = Some("AAAA".repeat(MAX_BUNDLE_BYTES / 3 + 1)), "bundle has more than").await;
    let flood = vec![b' '; MAX_CHECKPOINT_BYTES + 1];
    server.send(&save("token", KEY, &flood)).await.assert_problem(413, "too-large", "at most");
    assert_eq!(database.number("select count(*) from checkpoints").await, 0);
}
