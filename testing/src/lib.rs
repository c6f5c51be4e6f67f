//! An API server in memory for the tests of the operator and the webhook: reads, lists, watches and writes, and a list of the writes. It
//! knows no schema and no namespaces: a test names an object by `resource/name`, and two objects of a resource cannot have the same name.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// An API server in memory. Clones share the objects.
#[derive(Clone, Default)]
pub struct FakeApi {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Objects by key.
    objects: BTreeMap<String, Value>,
    version: u64,
    /// Every request, as `METHOD path`.
    requests: Vec<String>,
    writes: Vec<String>,
    /// The reasons of the Events.
    events: Vec<String>,
    refusals: Vec<(String, u16, String)>,
    /// Requests with a late answer, as `METHOD resource`, with their delay. Their effect is immediate.
    late: Vec<(String, Duration)>,
    watches: Vec<Watch>,
}

struct Watch {
    selector: Selector,
    events: mpsc::UnboundedSender<Value>,
}

/// The objects that a list or watch selects.
struct Selector {
    /// `resource/`, the prefix of the keys.
    prefix: String,
    /// The name of the only object, if the request selects one.
    name: Option<String>,
    /// Whether finished Plans are left out.
    unfinished: bool,
}

impl FakeApi {
    /// Returns a client of this server.
    pub fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                if query(&parts.uri, "watch") == Some("true") {
                    return Ok(Response::new(api.state.lock().unwrap().watch(&parts.uri)));
                }
                let (status, value) = api.serve(&parts, &body);
                // After the effect: the client sees a slow answer, and others see the write already.
                if let Some(lag) = api.lag(&parts.method, &parts.uri) {
                    tokio::time::sleep(lag).await;
                }
                let body = Full::from(value.to_string()).boxed_unsync();
                Ok::<_, kube::Error>(Response::builder().status(status).body(body).unwrap())
            }
        });
        Client::new(service, "ns")
    }

    pub fn put(&self, key: &str, object: Value) {
        self.state.lock().unwrap().store(key, object);
    }

    /// Changes an object by a merge patch.
    pub fn change(&self, key: &str, patch: &Value) {
        let mut state = self.state.lock().unwrap();
        let mut object = state.objects[key].clone();
        merge(&mut object, patch);
        state.store(key, object);
    }

    /// Removes an object. Watches get no event for it.
    pub fn remove(&self, key: &str) {
        self.state.lock().unwrap().objects.remove(key);
    }

    /// Removes all objects. Watches get no events for them.
    pub fn clear(&self) {
        self.state.lock().unwrap().objects.clear();
    }

    /// Returns an object, which must exist.
    pub fn get(&self, key: &str) -> Value {
        self.state.lock().unwrap().objects.get(key).cloned().unwrap_or_else(|| panic!("{key} does not exist"))
    }

    /// Returns every object of a resource.
    pub fn all(&self, resource: &str) -> Vec<Value> {
        let prefix = format!("{resource}/");
        let state = self.state.lock().unwrap();
        state.objects.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(_, object)| object.clone()).collect()
    }

    /// Returns whether an object exists.
    pub fn has(&self, key: &str) -> bool {
        self.state.lock().unwrap().objects.contains_key(key)
    }

    /// Refuses, from now on, every write that begins with `write`.
    pub fn refuse(&self, write: &str, code: u16, message: &str) {
        self.state.lock().unwrap().refusals.push((write.into(), code, message.into()));
    }

    /// Delays, from now on, the answers to a request like `PUT leases`. Its effect is immediate.
    pub fn answer_late(&self, request: &str, lag: Duration) {
        self.state.lock().unwrap().late.push((request.into(), lag));
    }

    /// Ends all refusals.
    pub fn relent(&self) {
        self.state.lock().unwrap().refusals.clear();
    }

    /// Returns the writes since the last call, without those of Events.
    pub fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().writes)
    }

    /// Returns the reasons of the Events so far.
    pub fn events(&self) -> Vec<String> {
        self.state.lock().unwrap().events.clone()
    }

    /// Returns every request so far, as `METHOD path`.
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Returns the newest resourceVersion, which grows with every change.
    pub fn version(&self) -> u64 {
        self.state.lock().unwrap().version
    }

    fn lag(&self, method: &Method, uri: &Uri) -> Option<Duration> {
        let request = format!("{method} {}", Target::of(uri.path()).resource);
        let state = self.state.lock().unwrap();
        state.late.iter().find(|(late, _)| *late == request).map(|(_, lag)| *lag)
    }

    fn serve(&self, parts: &http::request::Parts, body: &[u8]) -> (StatusCode, Value) {
        let (method, uri) = (&parts.method, &parts.uri);
        let mut state = self.state.lock().unwrap();
        state.requests.push(format!("{method} {}", uri.path()));
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let target = Target::of(uri.path());
        // Of the Events that are written, only the reasons are stored.
        if target.resource == "events" && *method != Method::GET {
            state.events.extend(body["reason"].as_str().map(str::to_owned));
            return (StatusCode::CREATED, body);
        }
        if *method == Method::GET {
            return state.read(&target, uri);
        }
        let name = target.name.clone().or_else(|| body["metadata"]["name"].as_str().map(str::to_owned));
        let key = format!("{}/{}", target.resource, name.as_deref().unwrap_or("*"));
        let mut write = format!("{method} {key}{}", target.subresource);
        if target.subresource == "/status" {
            let word = |v: &Value| v.as_str().map(|s| format!(" {s}")).unwrap_or_default();
            write += &word(&body["status"]["phase"]);
            write += &word(&body["status"]["conditions"][0]["reason"]);
        }
        state.writes.push(write.clone());
        if let Some((_, code, message)) = state.refusals.iter().find(|(prefix, ..)| write.starts_with(prefix)) {
            return failure(*code, "Refused", message);
        }
        state.write(method, &key, uri.query().unwrap_or_default(), body)
    }
}

impl State {
    fn store(&mut self, key: &str, mut object: Value) -> Value {
        let old = self.objects.get(key);
        // Like the API server, a write that changes nothing makes neither a version nor an event.
        if old.is_some_and(|old| *old == object) {
            return object;
        }
        self.version += 1;
        if key.starts_with("resourcequotas/") && object["status"]["hard"] != object["spec"]["hard"] {
            // The quota controller counts at once.
            let hard = object["spec"]["hard"].clone();
            let used = hard.as_object().into_iter().flatten().map(|(what, _)| (what.clone(), json!("0"))).collect();
            object["status"] = json!({ "hard": hard, "used": Value::Object(used) });
        }
        // UID and creation time are those of the stored object, whatever the write contains.
        let kept = |field: &str| old.map(|o| o["metadata"][field].clone()).filter(|v| !v.is_null());
        let uid = kept("uid").unwrap_or_else(|| object["metadata"]["uid"].clone());
        object["metadata"]["uid"] = if uid.is_null() { format!("uid-{}", self.version).into() } else { uid };
        object["metadata"]["creationTimestamp"] =
            kept("creationTimestamp").unwrap_or_else(|| "2026-01-01T00:00:00Z".into());
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let kind = if self.objects.insert(key.to_owned(), object.clone()).is_some() { "MODIFIED" } else { "ADDED" };
        let event = json!({ "type": kind, "object": object });
        // A watch whose receiver is gone has ended.
        self.watches.retain(|w| !w.selector.selects(key, &object) || w.events.send(event.clone()).is_ok());
        object
    }

    fn read(&self, target: &Target, uri: &Uri) -> (StatusCode, Value) {
        if let Some(name) = &target.name {
            let key = format!("{}/{name}", target.resource);
            return match self.objects.get(&key) {
                Some(object) => (StatusCode::OK, object.clone()),
                None => failure(404, "NotFound", &format!("{key} not found")),
            };
        }
        let selector = Selector::of(uri);
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(key, object)| selector.selects(key, object))
            .map(|(_, object)| object)
            .collect();
        (StatusCode::OK, json!({"metadata": {"resourceVersion": self.version.to_string()}, "items": items}))
    }

    /// Starts a watch: an endless stream of the events since the version that the client knows.
    fn watch(&mut self, uri: &Uri) -> Answer {
        let selector = Selector::of(uri);
        let known: u64 = query(uri, "resourceVersion").and_then(|v| v.parse().ok()).unwrap_or_default();
        let version =
            |object: &Value| object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse::<u64>().ok());
        let (events, receiver) = mpsc::unbounded_channel();
        // The caller locks the state from here until the watch is registered, so no write can fall between the two.
        let missed = self.objects.iter().filter(|(key, o)| selector.selects(key, o) && version(o) > Some(known));
        for (_, object) in missed {
            events.send(json!({ "type": "MODIFIED", "object": object })).unwrap();
        }
        self.watches.push(Watch { selector, events });
        let events =
            stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|event| (event, receiver)));
        let frames = events.map(|e| Ok::<_, Infallible>(Frame::data(Bytes::from(format!("{e}\n")))));
        StreamBody::new(frames).boxed_unsync()
    }

    fn write(&mut self, method: &Method, key: &str, query: &str, body: Value) -> (StatusCode, Value) {
        let old = self.objects.get(key).cloned();
        match (method.as_str(), old) {
            ("POST", Some(_)) => failure(409, "AlreadyExists", &format!("{key} already exists")),
            ("POST", None) => (StatusCode::CREATED, self.store(key, body)),
            // Server-side apply creates the object if it does not exist.
            ("PATCH", None) if query.contains("force=true") => (StatusCode::CREATED, self.store(key, body)),
            ("PATCH" | "PUT" | "DELETE", None) if !key.ends_with("/*") => {
                failure(404, "NotFound", &format!("{key} not found"))
            }
            ("DELETE", _) => {
                self.objects.remove(key);
                (StatusCode::OK, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
            }
            ("PUT", Some(old)) => {
                if body["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"] {
                    return failure(409, "Conflict", "the object has been modified");
                }
                (StatusCode::OK, self.store(key, body))
            }
            (_, Some(mut old)) => {
                // A patch with a UID or resourceVersion applies only to that object or version.
                let asked = |field: &str| body["metadata"].get(field).filter(|v| !v.is_null());
                for field in ["uid", "resourceVersion"] {
                    if asked(field).is_some_and(|wanted| *wanted != old["metadata"][field]) {
                        return failure(409, "Conflict", "the object has been modified");
                    }
                }
                merge(&mut old, &body);
                // The removal of the last finalizer completes a deletion.
                if old["metadata"]["deletionTimestamp"].is_string()
                    && old["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty)
                {
                    self.objects.remove(key);
                    return (StatusCode::OK, old);
                }
                (StatusCode::OK, self.store(key, old))
            }
            (other, None) => failure(405, "MethodNotAllowed", other),
        }
    }
}

impl Selector {
    fn of(uri: &Uri) -> Self {
        let fields = query(uri, "fieldSelector").unwrap_or_default();
        Self {
            prefix: format!("{}/", Target::of(uri.path()).resource),
            name: fields.strip_prefix("metadata.name%3D").map(str::to_owned),
            unfinished: fields.contains("status.phase"),
        }
    }

    fn selects(&self, key: &str, object: &Value) -> bool {
        let over = || matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Cancelled"));
        let name = key.strip_prefix(&self.prefix);
        name.is_some_and(|name| self.name.as_ref().is_none_or(|wanted| wanted == name)) && !(self.unfinished && over())
    }
}

/// The resource and object that a path names.
struct Target {
    resource: String,
    name: Option<String>,
    subresource: &'static str,
}

impl Target {
    fn of(path: &str) -> Self {
        let (path, subresource) = match path.strip_suffix("/status") {
            Some(path) => (path, "/status"),
            None => (path, ""),
        };
        let mut parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        // The prefix is `api/v1` for the core group and `apis/<group>/<version>` for all others.
        parts.drain(..if parts[0] == "api" { 2 } else { 3 });
        if parts.len() > 2 && parts[0] == "namespaces" {
            parts.drain(..2);
        }
        Self { resource: parts[0].into(), name: parts.get(1).map(|n| (*n).to_owned()), subresource }
    }
}

fn query<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query()?.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('='))
}

fn failure(code: u16, reason: &str, message: &str) -> (StatusCode, Value) {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": message});
    (StatusCode::from_u16(code).unwrap(), body)
}

/// Applies a merge patch (RFC 7396), but merges the list `webhooks` by name, as a strategic merge patch does.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in changes {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else if key == "webhooks"
            && let (Some(changes), Some(webhooks)) = (value.as_array(), target[key.as_str()].as_array_mut())
        {
            for change in changes {
                let webhook = webhooks.iter_mut().find(|webhook| webhook["name"] == change["name"]).unwrap();
                merge(webhook, change);
            }
        } else {
            merge(&mut target[key.as_str()], value);
        }
    }
}
