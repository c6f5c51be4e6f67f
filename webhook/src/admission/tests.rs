use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use super::{MAX_REVIEW_BYTES, routes};
use crate::certs::keyring::{Keyring, Lifetimes};
use crate::certs::serving::Serving;
use crate::metrics::Metrics;
use crate::server;
use crate::testing::{Fixed, admission, create, object, with};

const HOST: &str = "enact-webhook.enact.svc";

fn lifetimes() -> Lifetimes {
    use k8s_openapi::jiff::SignedDuration;
    Lifetimes {
        authority: SignedDuration::from_hours(9),
        leaf: SignedDuration::from_hours(3),
        propagation: SignedDuration::from_secs(1),
    }
}

/// Sends a request without a network.
async fn call(path: &str, method: Method, body: Vec<u8>) -> (StatusCode, Bytes) {
    let mut service = warp::service(routes(admission(Fixed::two_tenants()), Metrics::new().unwrap()));
    let request = hyper::Request::builder().method(method).uri(path).header("content-length", body.len());
    let response = service.call(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
    (response.status(), response.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn what_is_no_review_is_a_bad_request() {
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

/// The API server's side of one HTTPS request.
async fn post(address: std::net::SocketAddr, bundle: &str, path: &str, body: &Value) -> (StatusCode, Value) {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_reader_iter(Cursor::new(bundle)) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let stream =
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(HOST).unwrap(), stream).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = hyper::Request::post(path).header("host", HOST).header("content-type", "application/json");
    let response = sender.send_request(request.body(Full::new(Bytes::from(body.to_string()))).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    drop(sender);
    connection.await.unwrap().unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn over_https_with_self_made_certificates() {
    let keyring = Keyring::new(&[HOST.to_owned()], &lifetimes(), k8s_openapi::jiff::Timestamp::now()).unwrap();
    let serving = Serving::default();
    serving.replace(keyring.serving().0.as_bytes(), keyring.serving().1.as_bytes()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(serving.config().unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (metrics, stop) = (Metrics::new().unwrap(), CancellationToken::new());
    let service = warp::service(routes(admission(Fixed::two_tenants()), metrics.clone()));
    let serving =
        tokio::spawn(server::serve(listener, Some(acceptor), service, metrics.connections.clone(), stop.clone()));

    let task = |id: &str, on: &str| json!({ "id": id, "title": id, "dependsOn": [on] });
    let plan =
        object("Plan", "shop", &json!({ "agentRef": { "name": "a" }, "tasks": [task("a", "b"), task("b", "a")] }));
    let (status, answer) = post(address, &keyring.bundle(), "/validate", &create(&plan)).await;
    assert_eq!((status, &answer["response"]["status"]["code"]), (StatusCode::OK, &json!(422)));
    assert!(answer.to_string().contains("a → b → a"), "{answer}");
    let bare = with(plan, "/metadata/annotations", Value::Null);
    let (_, answer) = post(address, &keyring.bundle(), "/mutate", &create(&bare)).await;
    assert_eq!((&answer["response"]["allowed"], &answer["response"]["patchType"]), (&json!(true), &json!("JSONPatch")));

    stop.cancel();
    serving.await.unwrap();
    let text = String::from_utf8(metrics.render().unwrap()).unwrap();
    assert!(text.contains(r#"kind="Plan",operation="create",outcome="invalid",webhook="validate"} 1"#), "{text}");
    assert!(!text.contains("shop"), "names of objects must not be in metrics: {text}");
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
