//! An API server in memory: reads, lists, watches, and writes that compare resourceVersions. It knows no schema.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Method, Request, Response, StatusCode, Uri};
use k8s_openapi::ByteString;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower_service::Service;

pub const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/enact";
pub const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/enact";

type Answer = UnsyncBoxBody<Bytes, Infallible>;

#[derive(Clone, Default)]
pub struct Api(Arc<Mutex<Objects>>);

#[derive(Default)]
struct Objects {
    /// By path.
    stored: BTreeMap<String, Value>,
    version: u64,
    /// What was asked, as `METHOD path`.
    asked: Vec<String>,
    watches: Vec<Watch>,
}

struct Watch {
    selector: Selector,
    events: mpsc::UnboundedSender<Value>,
}

/// What a list or watch is about.
struct Selector {
    collection: String,
    name: Option<String>,
}

impl Selector {
    fn of(uri: &Uri) -> Self {
        let name = query(uri, "fieldSelector").and_then(|s| Some(s.split_once("%3D")?.1.to_owned()));
        Self { collection: format!("{}/", uri.path()), name }
    }

    fn takes(&self, path: &str) -> bool {
        let name = path.strip_prefix(&self.collection).filter(|n| !n.contains('/'));
        name.is_some_and(|n| self.name.as_ref().is_none_or(|wanted| wanted == n))
    }
}

fn query<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query()?.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('='))
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or_default()
}

impl Objects {
    fn put(&mut self, path: &str, mut object: Value) -> (StatusCode, Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let kind = if self.stored.insert(path.into(), object.clone()).is_some() { "MODIFIED" } else { "ADDED" };
        let event = json!({ "type": kind, "object": object });
        self.watches.retain(|w| !w.selector.takes(path) || w.events.send(event.clone()).is_ok());
        (StatusCode::OK, object)
    }

    fn answer(&mut self, method: &Method, uri: &Uri, body: &Value) -> (StatusCode, Value) {
        let path = uri.path();
        let outdated = |old: &Value| old["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"];
        match (method.as_str(), self.stored.get(path).cloned()) {
            ("POST", _) => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                if self.stored.contains_key(&path) { status(409) } else { self.put(&path, body.clone()) }
            }
            ("GET", None) if query(uri, "limit").is_some() || path.ends_with("tenants") => {
                let selector = Selector::of(uri);
                let items: Vec<_> = self.stored.iter().filter(|(p, _)| selector.takes(p)).map(|(_, o)| o).collect();
                let list = json!({ "metadata": { "resourceVersion": self.version.to_string() }, "items": items });
                (StatusCode::OK, list)
            }
            (_, None) => status(404),
            ("GET", Some(old)) => (StatusCode::OK, old),
            (_, Some(old)) if outdated(&old) => status(409),
            ("PUT", Some(_)) => self.put(path, body.clone()),
            ("PATCH", Some(mut old)) => {
                for patch in body["webhooks"].as_array().unwrap() {
                    let webhooks = old["webhooks"].as_array_mut().unwrap();
                    let webhook = webhooks.iter_mut().find(|w| w["name"] == patch["name"]).unwrap();
                    webhook["clientConfig"]["caBundle"] = patch["clientConfig"]["caBundle"].clone();
                }
                self.put(path, old)
            }
            _ => status(405),
        }
    }

    /// The events since the version that the caller knows, without end.
    fn watch(&mut self, uri: &Uri) -> Answer {
        let selector = Selector::of(uri);
        let known: u64 = query(uri, "resourceVersion").and_then(|v| v.parse().ok()).unwrap_or_default();
        let (sender, receiver) = mpsc::unbounded_channel();
        for (_, object) in self.stored.iter().filter(|(p, o)| selector.takes(p) && version(o) > known) {
            sender.send(json!({ "type": "MODIFIED", "object": object })).unwrap();
        }
        self.watches.push(Watch { selector, events: sender });
        let events = stream::unfold(receiver, async |mut r| r.recv().await.map(|e| (e, r)));
        let frames = events.map(|e| Ok::<_, Infallible>(Frame::data(Bytes::from(format!("{e}\n")))));
        StreamBody::new(frames).boxed_unsync()
    }
}

fn status(code: u16) -> (StatusCode, Value) {
    let reason = if code == 404 { "NotFound" } else { "Conflict" };
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code });
    (StatusCode::from_u16(code).unwrap(), status)
}

impl Service<Request<Body>> for Api {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let api = self.clone();
        let (head, body) = request.into_parts();
        api.lock().asked.push(format!("{} {}", head.method, head.uri.path()));
        if query(&head.uri, "watch") == Some("true") {
            let events = api.lock().watch(&head.uri);
            return Box::pin(ready(Ok(Response::new(events))));
        }
        Box::pin(async move {
            let body = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let (code, answer) = api.lock().answer(&head.method, &head.uri, &body);
            Ok(Response::builder().status(code).body(Full::from(answer.to_string()).boxed_unsync()).unwrap())
        })
    }
}

impl Api {
    /// A cluster with both configurations, as Helm makes them, and with the tenant `acme` of namespace `team-a`.
    pub fn installed() -> Self {
        let api = Self::default();
        for (path, kind, names) in [
            (VALIDATING, "ValidatingWebhookConfiguration", &["objects.enact.dev", "tenants.enact.dev"][..]),
            (MUTATING, "MutatingWebhookConfiguration", &["stamp.enact.dev"]),
        ] {
            let webhooks = names.iter().map(|name| {
                json!({
                    "name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"],
                    "clientConfig": { "service": { "name": "enact-webhook", "namespace": "enact", "path": "/x" } },
                })
            });
            let config = json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": { "name": "enact" },
                "webhooks": webhooks.collect::<Vec<_>>(),
            });
            api.put(path, config);
        }
        let tenant = json!({
            "apiVersion": "enact.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "acme" },
            "spec": { "namespaces": ["team-a"] },
        });
        api.put("/apis/enact.dev/v1alpha1/tenants/acme", tenant);
        api
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Objects> {
        self.0.lock().unwrap()
    }

    pub fn client(&self) -> Client {
        Client::new(self.clone(), "enact")
    }

    pub fn put(&self, path: &str, object: Value) {
        self.lock().put(path, object);
    }

    pub fn stored(&self, path: &str) -> Value {
        self.lock().stored.get(path).cloned().unwrap_or_default()
    }

    pub fn clear(&self) {
        self.lock().stored.clear();
    }

    /// Grows with every write.
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    pub fn asked(&self) -> Vec<String> {
        self.lock().asked.clone()
    }

    /// The bundles of every webhook; empty where there is none.
    pub fn bundles(&self) -> Vec<String> {
        let webhooks = [VALIDATING, MUTATING].map(|path| self.stored(path)["webhooks"].as_array().unwrap().clone());
        let bundle = |w: Value| serde_json::from_value::<ByteString>(w["clientConfig"]["caBundle"].clone());
        let text = |w| bundle(w).map_or_else(|_| String::new(), |b| String::from_utf8(b.0).unwrap());
        webhooks.into_iter().flatten().map(text).collect()
    }
}
