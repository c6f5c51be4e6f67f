use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use enact_service::client::ClientAddress;
use enact_service::metrics::encode;
use futures::stream;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Method, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower_service::Service as _;

use super::{DEADLINE, MAX_REVIEW_BYTES, routes, time_limit};
use crate::certs::NoteSecret;
use crate::certs::keyring::Keyring;
use crate::certs::serving::Serving;
use crate::metrics::Metrics;
use crate::testing::https::{ClientCertificate, Connection, Hands, Listening, hosts, lifetimes};
use crate::testing::{FakeLookup, create, delete, no_notes, object, update, validator, with};

/// Sends a request without a network.
async fn call(path: &str, method: Method, body: Vec<u8>) -> (StatusCode, Bytes) {
    let mut service = warp::service(routes(
        validator(FakeLookup::two_tenants()),
        no_notes(),
        NoteSecret::default(),
        Metrics::new().unwrap(),
    ));
    let request = hyper::Request::builder().method(method).uri(path).header("content-length", body.len());
    let response = service.call(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
    (response.status(), response.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn rejects_what_is_not_a_review() {
    let pod = serde_json::to_vec(&json!({ "apiVersion": "v1", "kind": "Pod", "request": null })).unwrap();
    let old = with(create(&object("Agent", "a", &json!({}))), "/apiVersion", json!("admission.k8s.io/v1beta1"));
    let empty = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview" });
    for body in [vec![], b"{".to_vec(), pod, old.to_string().into_bytes(), empty.to_string().into_bytes()] {
        for path in ["/mutate", "/validate"] {
            assert_eq!(call(path, Method::POST, body.clone()).await.0, StatusCode::BAD_REQUEST, "{body:?}");
        }
    }
    assert_eq!(call("/other", Method::POST, vec![]).await.0, StatusCode::NOT_FOUND);
    assert_eq!(call("/validate", Method::GET, vec![]).await.0, StatusCode::METHOD_NOT_ALLOWED);
    let large = vec![b' '; usize::try_from(MAX_REVIEW_BYTES).unwrap() + 1];
    assert_eq!(call("/validate", Method::POST, large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn nothing_keeps_a_deletion_from_its_end() {
    let plan = with(object("Plan", "shop", &json!({})), "/metadata/uid", json!("uid-1"));
    // The notes of this test cannot be written.
    let (code, body) = call("/note", Method::POST, delete(&plan).to_string().into_bytes()).await;
    assert_eq!(code, StatusCode::OK);
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["response"]["allowed"], true, "{answer}");
}

#[tokio::test]
async fn a_note_needs_the_secret_of_the_configuration() {
    let (hands, serving) = (Hands::new(), Serving::default());
    let keyring = Keyring::new(&hosts(), &lifetimes(), hands.now()).unwrap();
    serving.replace(keyring.serving().0.as_bytes(), keyring.serving().1.as_bytes()).unwrap();
    serving.notes.replace(&keyring.note_secret());
    let listening = Listening::start(&serving).await;
    let review = delete(&with(object("Plan", "shop", &json!({})), "/metadata/uid", json!("uid-1"))).to_string();
    let right = format!("/note/{}", keyring.note_secret());
    for (path, code) in
        [("/note", StatusCode::NOT_FOUND), ("/note/guessed", StatusCode::NOT_FOUND), (right.as_str(), StatusCode::OK)]
    {
        let mut connection = Connection::open(listening.address, &keyring.bundle(), &hands).await.unwrap();
        assert_eq!(connection.post(path, review.clone()).await.unwrap().0, code, "{path}");
    }
}

#[tokio::test]
async fn a_refusal_names_object_field_and_remedy() {
    let review =
        create(&with(object("Agent", "coder", &json!({ "adapter": "Command" })), "/metadata/namespace", json!("x")));
    let (code, body) = call("/validate", Method::POST, review.to_string().into_bytes()).await;
    assert_eq!(code, StatusCode::OK);
    let answer: Value = serde_json::from_slice(&body).unwrap();
    let (response, status) = (&answer["response"], &answer["response"]["status"]);
    assert_eq!((&answer["kind"], &answer["apiVersion"]), (&json!("AdmissionReview"), &json!("admission.k8s.io/v1")));
    assert_eq!((&response["uid"], &response["allowed"]), (&review["request"]["uid"], &json!(false)));
    assert_eq!((&status["code"], &status["reason"]), (&json!(403), &json!("Forbidden")));
    assert!(status["message"].as_str().unwrap().starts_with("Agent x/coder: metadata.namespace: "), "{status}");
    assert_eq!(status["details"]["causes"][0]["field"], "metadata.namespace");
}

#[tokio::test]
async fn over_https_with_self_made_certificates() {
    let hands = Hands::new();
    let keyring = Keyring::new(&hosts(), &lifetimes(), hands.now()).unwrap();
    let serving = Serving::default();
    serving.replace(keyring.serving().0.as_bytes(), keyring.serving().1.as_bytes()).unwrap();
    let webhook = Listening::start(&serving).await;
    let mut api = Connection::open(webhook.address, &keyring.bundle(), &hands).await.unwrap();

    let task = |id: &str, on: &str| json!({ "id": id, "title": id, "dependsOn": [on] });
    let plan =
        object("Plan", "shop", &json!({ "agentRef": { "name": "a" }, "tasks": [task("a", "b"), task("b", "a")] }));
    let answer = api.review("/validate?timeout=10s", &create(&plan)).await.unwrap();
    assert_eq!(answer["response"]["status"]["code"], 422);
    assert!(answer.to_string().contains("a → b → a"), "{answer}");
    let bare = with(plan, "/metadata/annotations", Value::Null);
    let answer = api.review("/mutate?timeout=10s", &create(&bare)).await.unwrap();
    assert_eq!((&answer["response"]["allowed"], &answer["response"]["patchType"]), (&json!(true), &json!("JSONPatch")));
    // An invalid request does not close the connection.
    assert_eq!(api.post("/validate", "{").await.unwrap().0, StatusCode::BAD_REQUEST);
    assert_eq!(api.post("/elsewhere", "{}").await.unwrap().0, StatusCode::NOT_FOUND);

    // A client that trusts another CA cannot connect, and plain HTTP gets no response.
    let other = Keyring::new(&hosts(), &lifetimes(), hands.now()).unwrap();
    assert!(Connection::open(webhook.address, &other.bundle(), &hands).await.is_err());
    let mut raw = TcpStream::connect(webhook.address).await.unwrap();
    raw.write_all(b"POST /validate HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    let _ = raw.read_to_end(&mut heard).await;
    assert!(!heard.starts_with(b"HTTP"), "{heard:?}");

    let large = vec![b' '; usize::try_from(MAX_REVIEW_BYTES).unwrap() + 1];
    let mut other = Connection::open(webhook.address, &keyring.bundle(), &hands).await.unwrap();
    // The server may answer and close the connection before the whole body is sent. Then the client can fail to read the answer.
    if let Ok((status, _)) = other.post("/validate", large).await {
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    }
    let most = [create(&bare).to_string().into_bytes(), vec![b' '; 4 << 20]].concat();
    assert_eq!(api.post("/validate", most).await.unwrap().0, StatusCode::OK);

    webhook.stop.cancel();
    webhook.task.await.unwrap();
    let text = encode(&webhook.metrics.registry).unwrap();
    assert!(text.contains(r#"kind="Plan",operation="create",outcome="invalid",webhook="validate"} 1"#), "{text}");
    assert!(text.contains("enact_webhook_connections 0"), "{text}");
    assert!(!text.contains("shop"), "names of objects must not be in metrics: {text}");
}

/// Checks that a dry run gets the same answer. Admission has no side effects.
#[tokio::test]
async fn a_dry_run_is_answered_alike() {
    let approval =
        json!({ "subject": { "kind": "Plan", "name": "shop" }, "digest": "sha256:0", "decision": "Approve" });
    let objects = [object("Agent", "a", &json!({ "adapter": "Command" })), object("Approval", "a", &approval)];
    for (object, path) in objects.iter().flat_map(|o| [(o, "/mutate"), (o, "/validate")]) {
        let real = create(object);
        let dry = with(real.clone(), "/request/dryRun", json!(true));
        let answers = [real, dry].map(|review| call(path, Method::POST, review.to_string().into_bytes()));
        let [real, dry] = answers.map(Box::pin);
        assert_eq!(real.await, dry.await);
    }
}

#[tokio::test]
async fn who_sends_slowly_gives_up_its_turn() {
    let metrics = Metrics::new().unwrap();
    let mut service =
        warp::service(routes(validator(FakeLookup::two_tenants()), no_notes(), NoteSecret::default(), metrics.clone()));
    let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let request = hyper::Request::post("/validate?timeout=500ms").header("content-length", MAX_REVIEW_BYTES);
    let response = service.call(request.body(body).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let text = encode(&metrics.registry).unwrap();
    assert!(text.contains(r#"outcome="error",webhook="validate"} 1"#), "{text}");
}

#[tokio::test]
async fn only_the_api_server_connects_when_its_ca_is_known() {
    let (hands, serving) = (Hands::new(), Serving::default());
    let keyring = Keyring::new(&hosts(), &lifetimes(), hands.now()).unwrap();
    serving.replace(keyring.serving().0.as_bytes(), keyring.serving().1.as_bytes()).unwrap();
    let [api_server, other] = [ClientCertificate::new(), ClientCertificate::new()];
    let webhook = Listening::start_for(&serving, Some(api_server.ca.as_bytes())).await;
    let review = create(&object("Agent", "a", &json!({ "adapter": "Command" })));
    // With TLS 1.3, a client learns only with the first answer that its certificate was refused.
    let ask = async |client: Option<&ClientCertificate>| {
        let mut connection = Connection::open_as(webhook.address, &keyring.bundle(), &hands, client).await?;
        connection.review("/validate", &review).await
    };
    assert_eq!(ask(Some(&api_server)).await.unwrap()["response"]["allowed"], true);
    assert!(ask(None).await.is_err());
    assert!(ask(Some(&other)).await.is_err());
    assert!(serving.config(Some(b"not a certificate")).is_err());
}

#[tokio::test]
async fn slow_bodies_of_one_client_do_not_stop_another() {
    let client = |address: &str| ClientAddress::from(address.parse::<SocketAddr>().unwrap());
    let service = warp::service(routes(
        validator(FakeLookup::two_tenants()),
        no_notes(),
        NoteSecret::default(),
        Metrics::new().unwrap(),
    ));
    // Each of these bodies has begun, and takes half of the share of its client.
    let flood: Vec<_> = (0..4)
        .map(|_| {
            let first = stream::once(async { Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"{"))) });
            let request = hyper::Request::post("/validate").header("content-length", MAX_REVIEW_BYTES);
            let body = StreamBody::new(futures::StreamExt::chain(first, stream::pending()));
            let request = request.extension(client("10.0.0.1:1")).body(body);
            let mut service = service.clone();
            tokio::spawn(async move { service.call(request.unwrap()).await.unwrap().status() })
        })
        .collect();
    tokio::task::yield_now().await;
    let review = create(&object("Agent", "a", &json!({ "adapter": "Command" }))).to_string();
    let padding = usize::try_from(MAX_REVIEW_BYTES).unwrap() - review.len();
    let body = Full::new(Bytes::from(review + &" ".repeat(padding)));
    let request = hyper::Request::post("/validate").header("content-length", MAX_REVIEW_BYTES);
    let request = request.extension(client("10.0.0.2:1")).body(body).unwrap();
    assert_eq!(service.clone().call(request).await.unwrap().status(), StatusCode::OK);
    // The slow ones are refused.
    for slow in flood {
        assert_eq!(slow.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[test]
fn the_caller_says_how_long_it_waits() {
    for (query, milliseconds) in
        [("timeout=5s", 4000), ("a=b&timeout=1s", 800), ("timeout=30s", 8000), ("", 8000), ("timeout=-1s", 8000)]
    {
        assert_eq!(time_limit(query), Duration::from_millis(milliseconds), "{query}");
    }
    for odd in ["timeout=", "timeout=x", "timeout=99999999999999999999h", "timeout", "&&="] {
        assert_eq!(time_limit(odd), DEADLINE, "{odd}");
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        prop_oneof!["inline", "T001", "../x", "enact.dev/author"].prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop_oneof![
            Just("name".to_owned()),
            Just("tasks".to_owned()),
            Just("id".to_owned()),
            Just("source".to_owned()),
            Just("by".to_owned()),
            "[a-z]{1,5}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(key, inner, 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn arbitrary_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (code, _) = block_on(call("/validate", Method::POST, bytes));
        prop_assert_eq!(code, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn arbitrary_parts_are_answered(
        part in prop::sample::select(vec![
            "", "/kind", "/request", "/request/uid", "/request/kind", "/request/operation", "/request/userInfo",
            "/request/object", "/request/object/metadata", "/request/object/metadata/labels",
            "/request/object/metadata/annotations", "/request/object/metadata/ownerReferences", "/request/object/spec",
            "/request/object/status", "/request/oldObject", "/request/oldObject/metadata", "/request/dryRun",
            "/request/subResource", "/request/namespace", "/request/name", "/request/options",
        ]),
        kind in prop::sample::select(vec!["Tenant", "Specification", "Plan", "Task", "Approval", "Namespace"]),
        value in json_value(),
    ) {
        let before = object(kind, "o", &json!({ "source": { "inline": "x" } }));
        let mut review = update(&before, &before);
        if let Some(place) = review.pointer_mut(part) {
            *place = value;
        } else {
            review["request"]["subResource"] = value;
        }
        for path in ["/mutate", "/validate"] {
            let (code, body) = block_on(call(path, Method::POST, review.to_string().into_bytes()));
            prop_assert!(code == StatusCode::OK || code == StatusCode::BAD_REQUEST, "{code}: {body:?}");
        }
    }

    #[test]
    fn arbitrary_objects_are_answered(
        kind in prop_oneof!["Tenant", "Constitution", "Specification", "Plan", "Task", "Agent", "Approval", "Pod"],
        operation in prop_oneof!["CREATE", "UPDATE", "DELETE"],
        spec in json_value(),
        old in json_value(),
        name in "\\PC{0,70}",
    ) {
        let mut review = create(&object(&kind, &name, &spec));
        review["request"]["operation"] = operation.into();
        review["request"]["oldObject"] = object(&kind, &name, &old);
        for path in ["/mutate", "/validate"] {
            let (code, body) = block_on(call(path, Method::POST, review.to_string().into_bytes()));
            prop_assert_eq!(code, StatusCode::OK);
            let answer: Value = serde_json::from_slice(&body).unwrap();
            prop_assert!(answer["response"]["allowed"].is_boolean());
        }
    }
}
