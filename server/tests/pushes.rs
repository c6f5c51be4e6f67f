//! Push notifications over HTTP: which are accepted, and who receives them.

mod support;

use std::time::Duration;

use enact_domain::push::Push;
use ring::hmac::{HMAC_SHA256, Key, sign};
use serde_json::json;
use support::api::Api;
use support::database::Database;
use support::http::{self, Answer, Request, send};
use support::{PATIENCE, Server, scene};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The secret as text, and in base64 as in a Secret.
const SECRET: (&str, &str) = ("a secret of shop and its host", "YSBzZWNyZXQgb2Ygc2hvcCBhbmQgaXRzIGhvc3Q=");
const BODY: &str =
    r#"{"ref": "refs/heads/main", "repository": {"clone_url": "https://git.example.com/shop/specs.git"}}"#;

/// Most notifications that the server receives at once, half of them for one namespace.
const SLOTS: usize = 16;

/// Starts a server for which the namespace `team` has the secret.
async fn knowing() -> (Database, Api, Server) {
    let (database, api, server) = scene().await;
    let data = json!({ "webhook": SECRET.1 });
    api.change(|cluster| drop(cluster.secrets.insert(("team".into(), "enact-push".into()), data)));
    (database, api, server)
}

fn request(namespace: &str, body: &str) -> Request {
    Request::post(&format!("/v1/namespaces/{namespace}/push"))
        .header("content-type", "application/json")
        .body(body.as_bytes())
}

/// Returns a request with a signature, as GitHub sends it.
fn signed(namespace: &str, secret: &str, body: &str) -> Request {
    let tag = sign(&Key::new(HMAC_SHA256, secret.as_bytes()), body.as_bytes());
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    request(namespace, body).header("x-hub-signature-256", &format!("sha256={digits}"))
}

async fn push(server: &Server, request: &Request) -> Answer {
    send(server.pushes, request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_hears_of_a_push_that_is_proved() {
    let (database, _api, server) = knowing().await;
    let store = database.store();
    let (mut pushes, wanted) = (store.push_listener(), Push::parse("team", BODY.as_bytes()).unwrap());
    let gitlab = request("team", BODY).header("x-gitlab-token", SECRET.0);
    for proved in [signed("team", SECRET.0, BODY), gitlab] {
        // The listener connects some time after it is created, and misses earlier notifications.
        let heard = async {
            loop {
                let answer = push(&server, &proved).await;
                assert_eq!((answer.status, answer.json()), (202, json!({"outcome": "accepted"})), "{}", answer.text());
                if let Ok(heard) = timeout(Duration::from_millis(200), pushes.next()).await {
                    return heard;
                }
            }
        };
        assert_eq!(timeout(PATIENCE, heard).await.unwrap(), wanted);
    }
    assert!(server.metric("enact_server_requests_total{route=\"push\",status=\"202\"}").await >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_elses_word_is_taken() {
    let (_database, api, server) = knowing().await;
    api.change(|cluster| {
        let (short, other) =
            (json!({"webhook": "c2hvcnQ="}), json!({"webhook": "YW5vdGhlciBzZWNyZXQgb2YgYW5vdGhlcg=="}));
        cluster.secrets.insert(("free".into(), "enact-push".into()), short);
        cluster.secrets.insert(("elsewhere".into(), "enact-push".into()), other);
    });
    let signature = |body: &str| signed("team", SECRET.0, body);
    for (request, part) in [
        (request("team", BODY), "X-Hub-Signature-256"),
        (signed("team", "another secret of nobody's", BODY), "the Secret enact-push"),
        (signed("elsewhere", SECRET.0, BODY), "the Secret enact-push"),
        (signed("kube-system", SECRET.0, BODY), "the Secret enact-push"),
        (signed("free", "short", BODY), "16 bytes"),
        (request("team", BODY).header("x-gitlab-token", "a secret of shop and its forgery"), "the Secret enact-push"),
        (signature(BODY).body(b"{}"), "the Secret enact-push"),
    ] {
        let answer = push(&server, &request).await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert!(answer.text().contains(part), "{}", answer.text());
    }
    let asked = api.asked("secrets");
    for namespace in ["..", "Team", "a%2Fb", &"a".repeat(64)] {
        assert_eq!(push(&server, &signed(namespace, SECRET.0, BODY)).await.status, 404, "{namespace}");
    }
    assert_eq!(api.asked("secrets"), asked, "nothing is asked about a name that is not a namespace");
}

/// A sender is unknown until its body has arrived, and who knows the name of a namespace can send to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_senders_hold_no_other_namespace_up() {
    let (_database, api, server) = knowing().await;
    let secret = json!({ "webhook": SECRET.1 });
    api.change(|cluster| drop(cluster.secrets.insert(("other".into(), "enact-push".into()), secret)));
    let head = signed("team", "a guess of somebody", BODY).head(BODY.len());
    let mut slow = Vec::new();
    for _ in 0..SLOTS {
        let mut stream = TcpStream::connect(server.pushes).await.unwrap();
        stream.write_all(&[head.as_slice(), b"{"].concat()).await.unwrap();
        slow.push(stream);
    }
    push(&server, &signed("other", SECRET.0, BODY)).await.assert_status(202);
    let mut cut = 0;
    for mut stream in slow {
        let answer = http::answer(&mut stream).await;
        assert!(answer.status >= 400, "{}", answer.text());
        cut += usize::from(answer.status == 408);
    }
    assert!(cut >= SLOTS / 2, "{cut} bodies were cut");
    push(&server, &signed("team", SECRET.0, BODY)).await.assert_status(202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_what_is_not_a_push() {
    let (_database, api, server) = knowing().await;
    for (body, part) in [("{\n  \"ref\": 1}", "\"line\":2"), ("{}", "select push events")] {
        let answer = push(&server, &signed("team", SECRET.0, body)).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains(part), "{}", answer.text());
    }
    let long = format!("{{\"pad\": \"{}\"}}", "x".repeat(2 << 20));
    assert_eq!(push(&server, &signed("team", SECRET.0, &long)).await.status, 413);
    let form = Request::post("/v1/namespaces/team/push").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(push(&server, &form.body(b"payload=x")).await.status, 415);
    assert_eq!(push(&server, &Request::get("/v1/namespaces/team/push")).await.status, 405);
    assert_eq!(send(server.address, &signed("team", SECRET.0, BODY)).await.status, 404, "pods' port takes none");
    assert_eq!(send(server.readings, &signed("team", SECRET.0, BODY)).await.status, 405, "nor does the readers'");
    api.change(|cluster| cluster.down = true);
    assert_eq!(push(&server, &signed("team", SECRET.0, BODY)).await.status, 503);
}
