//! An API server with tokens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use enact_testing::FakeApi;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::KEY;

/// An API server. Clones share the objects.
#[derive(Clone)]
pub struct Cluster {
    pub api: FakeApi,
    /// The pod of each token.
    tokens: Arc<Mutex<HashMap<String, String>>>,
}

impl Cluster {
    /// Makes a cluster with the tenant `acme`, which owns the namespace `team`.
    pub fn new() -> Self {
        let api = FakeApi::default();
        api.put("namespaces/team", json!({ "metadata": { "name": "team", "labels": { "enact.dev/tenant": "acme" } } }));
        api.put("tenants/acme", json!({ "apiVersion": "enact.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "acme" }, "spec": { "namespaces": ["team"] } }));
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "enact-model-keys", "namespace": "team" },
            "data": { "main": base64(KEY) },
        });
        api.put("secrets/enact-model-keys", secret);
        Self { api, tokens: Arc::default() }
    }

    /// Adds a ModelProvider in `team`.
    pub fn provider(&self, name: &str, api: &str, url: &str) {
        self.provider_with(name, &json!({ "api": api, "baseUrl": url, "key": "main" }));
    }

    pub fn provider_with(&self, name: &str, spec: &Value) {
        let metadata = json!({ "name": name, "namespace": "team" });
        self.api.put(
            &format!("modelproviders/{name}"),
            json!({ "apiVersion": "enact.dev/v1alpha1", "kind": "ModelProvider", "metadata": metadata, "spec": spec }),
        );
    }

    /// Adds an Agent in `team` with these providers and models.
    pub fn agent(&self, name: &str, models: &[(&str, &str)]) {
        let models: Vec<Value> =
            models.iter().map(|(provider, model)| json!({ "provider": provider, "model": model })).collect();
        let spec = json!({ "adapter": "Codex", "models": models });
        let metadata = json!({ "name": name, "namespace": "team" });
        self.api.put(
            &format!("agents/{name}"),
            json!({ "apiVersion": "enact.dev/v1alpha1", "kind": "Agent", "metadata": metadata, "spec": spec }),
        );
    }

    /// Adds an object in the namespace of the installation.
    #[allow(dead_code, reason = "the example latency, which includes this file, does not use it")]
    pub fn installed(&self, resource: &str, kind: &str, name: &str, spec: &Value) {
        let metadata = json!({ "name": name, "namespace": "enact-system" });
        self.api.put(
            &format!("{resource}/{name}"),
            json!({ "apiVersion": "enact.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec }),
        );
    }

    /// Adds a running pod with this token, which runs this Agent. Its task is `task-<agent>`.
    pub fn pod(&self, token: &str, agent: &str) {
        let pod = format!("pod-{token}");
        let metadata = json!({
            "name": pod, "namespace": "team", "uid": format!("uid-{pod}"),
            "labels": {
                "enact.dev/tenant": "acme", "enact.dev/plan": "shop", "enact.dev/plan-uid": "plan-uid",
                "enact.dev/task": format!("task-{agent}"), "enact.dev/attempt": "1", "enact.dev/role": "task",
            },
            "annotations": { "enact.dev/agent": agent },
            "ownerReferences": [{
                "apiVersion": "enact.dev/v1alpha1", "kind": "Task", "name": format!("task-{agent}"),
                "uid": format!("uid-task-{}", agent.replace('/', "-")), "controller": true,
            }],
        });
        self.api.put(
            &format!("pods/{pod}"),
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": { "containers": [] }, "status": { "phase": "Running" } }),
        );
        self.tokens.lock().unwrap().insert(token.into(), pod);
    }

    /// Returns a client of this server.
    pub fn client(&self) -> Client {
        let (tokens, inner) = (Arc::clone(&self.tokens), self.api.client());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (tokens, inner) = (Arc::clone(&tokens), inner.clone());
            async move {
                let path = request.uri().path().to_owned();
                let review = if path.ends_with("/tokenreviews") {
                    let body = request.into_body().collect_bytes().await?;
                    token_review(&tokens.lock().unwrap(), &serde_json::from_slice(&body).unwrap())
                } else if path.ends_with("/selfsubjectaccessreviews") {
                    json!({ "metadata": {}, "spec": {}, "status": { "allowed": true } })
                } else {
                    let (parts, body) = inner.send(request).await?.into_parts();
                    return Ok(Response::from_parts(parts, body.map_err(std::io::Error::other).boxed_unsync()));
                };
                let body = Full::new(Bytes::from(review.to_string())).map_err(|never| match never {}).boxed_unsync();
                Ok::<_, kube::Error>(Response::builder().status(201).body(body).unwrap())
            }
        });
        Client::new(service, "ns")
    }
}

fn token_review(tokens: &HashMap<String, String>, review: &Value) -> Value {
    let pod = review["spec"]["token"].as_str().and_then(|token| tokens.get(token));
    let asked = review["spec"]["audiences"] == json!(["enact-gateway"]);
    let status = match pod.filter(|_| asked) {
        None => json!({ "authenticated": false }),
        Some(pod) => json!({
            "authenticated": true, "audiences": ["enact-gateway"],
            "user": { "username": "system:serviceaccount:team:default", "extra": {
                "authentication.kubernetes.io/pod-name": [pod],
                "authentication.kubernetes.io/pod-uid": [format!("uid-{pod}")],
            } },
        }),
    };
    json!({ "metadata": {}, "spec": {}, "status": status })
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
