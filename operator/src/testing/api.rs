//! An API server in memory: enough of one for what the controllers ask, and a list of what they wrote.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// An API server in memory.
#[derive(Clone, Default)]
pub struct FakeApi {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Objects by `resource/name`: names are unique across the namespaces of a test, but for those that are `namespace/resource/name`.
    objects: BTreeMap<String, Value>,
    version: u64,
    writes: Vec<String>,
    refusals: Vec<(String, u16, String)>,
    /// What is carried out at once and answered late, as `METHOD resource`, and how late.
    late: Vec<(String, Duration)>,
}

impl FakeApi {
    /// A client of this server.
    pub fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                let (status, value) = api.serve(&parts.method, &parts.uri, &body);
                if let Some(lag) = api.lag(&parts.method, &parts.uri) {
                    tokio::time::sleep(lag).await;
                }
                let bytes = serde_json::to_vec(&value).unwrap();
                Ok::<_, kube::Error>(Response::builder().status(status).body(Body::from(bytes)).unwrap())
            }
        });
        Client::new(service, "ns")
    }

    /// Stores an object under `resource/name`.
    pub fn put(&self, key: &str, object: Value) {
        let mut state = self.state.lock().unwrap();
        state.store(key, object);
    }

    /// Changes an object by a merge patch.
    pub fn change(&self, key: &str, patch: &Value) {
        let mut state = self.state.lock().unwrap();
        let mut object = state.objects[key].clone();
        merge(&mut object, patch);
        state.store(key, object);
    }

    /// Takes an object away.
    pub fn remove(&self, key: &str) {
        self.state.lock().unwrap().objects.remove(key);
    }

    /// An object.
    pub fn get(&self, key: &str) -> Value {
        self.state.lock().unwrap().objects.get(key).cloned().unwrap_or_else(|| panic!("there is no {key}"))
    }

    /// Every object of a resource.
    pub fn all(&self, resource: &str) -> Vec<Value> {
        let prefix = format!("{resource}/");
        let state = self.state.lock().unwrap();
        state.objects.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(_, object)| object.clone()).collect()
    }

    /// Whether there is such an object.
    pub fn has(&self, key: &str) -> bool {
        self.state.lock().unwrap().objects.contains_key(key)
    }

    /// From now on, a write that begins like this is refused.
    pub fn refuse(&self, write: &str, code: u16, message: &str) {
        self.state.lock().unwrap().refusals.push((write.into(), code, message.into()));
    }

    /// From now on, a request like `PUT leases` is carried out at once and answered after a while.
    pub fn answer_late(&self, request: &str, lag: Duration) {
        self.state.lock().unwrap().late.push((request.into(), lag));
    }

    fn lag(&self, method: &Method, uri: &http::Uri) -> Option<Duration> {
        let request = format!("{method} {}", Target::of(uri.path()).resource);
        let state = self.state.lock().unwrap();
        state.late.iter().find(|(late, _)| *late == request).map(|(_, lag)| *lag)
    }

    /// Nothing is refused any more.
    pub fn relent(&self) {
        self.state.lock().unwrap().refusals.clear();
    }

    /// What was written since the last call, but for Events.
    pub fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().writes)
    }

    fn serve(&self, method: &Method, uri: &http::Uri, body: &[u8]) -> (StatusCode, Value) {
        let mut state = self.state.lock().unwrap();
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let target = Target::of(uri.path());
        if target.resource == "events" {
            return (StatusCode::CREATED, body);
        }
        if *method == Method::GET {
            return state.read(&target, uri.query().unwrap_or_default());
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
        let kept = |field: &str| old.map(|o| o["metadata"][field].clone()).filter(|v| !v.is_null());
        let uid = kept("uid").unwrap_or_else(|| object["metadata"]["uid"].clone());
        object["metadata"]["uid"] = if uid.is_null() { format!("uid-{}", self.version).into() } else { uid };
        object["metadata"]["creationTimestamp"] =
            kept("creationTimestamp").unwrap_or_else(|| "2026-01-01T00:00:00Z".into());
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(key.to_owned(), object.clone());
        object
    }

    fn read(&self, target: &Target, query: &str) -> (StatusCode, Value) {
        if let Some(name) = &target.name {
            let key = format!("{}/{name}", target.resource);
            return match self.objects.get(&key) {
                Some(object) => (StatusCode::OK, object.clone()),
                None => failure(404, "NotFound", &format!("{key} not found")),
            };
        }
        let prefix = format!("{}/", target.resource);
        let unfinished = query.contains("status.phase");
        let over = |o: &Value| matches!(o["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Cancelled"));
        let all = self.objects.iter().filter(|(key, o)| key.starts_with(&prefix) && !(unfinished && over(o)));
        let items: Vec<Value> = all.map(|(_, o)| o.clone()).collect();
        (StatusCode::OK, json!({"metadata": {"resourceVersion": self.version.to_string()}, "items": items}))
    }

    fn write(&mut self, method: &Method, key: &str, query: &str, body: Value) -> (StatusCode, Value) {
        let old = self.objects.get(key).cloned();
        match (method.as_str(), old) {
            ("POST", Some(_)) => failure(409, "AlreadyExists", &format!("{key} already exists")),
            ("POST", None) => (StatusCode::CREATED, self.store(key, body)),
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
                let asked = |field: &str| body["metadata"].get(field).filter(|v| !v.is_null());
                for field in ["uid", "resourceVersion"] {
                    if asked(field).is_some_and(|wanted| *wanted != old["metadata"][field]) {
                        return failure(409, "Conflict", "the object has been modified");
                    }
                }
                merge(&mut old, &body);
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

/// What a path names.
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
        parts.drain(..if parts[0] == "api" { 2 } else { 3 });
        if parts.len() > 2 && parts[0] == "namespaces" {
            parts.drain(..2);
        }
        Self { resource: parts[0].into(), name: parts.get(1).map(|n| (*n).to_owned()), subresource }
    }
}

fn failure(code: u16, reason: &str, message: &str) -> (StatusCode, Value) {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": message});
    (StatusCode::from_u16(code).unwrap(), body)
}

/// A merge patch as RFC 7396 has it.
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
        } else {
            merge(&mut target[key.as_str()], value);
        }
    }
}
