//! A simulated API server with tokens, pods and namespaces.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, path};

/// A token: its audience and its identity.
#[derive(Clone)]
pub struct Token {
    pub audience: String,
    pub user: String,
    /// The name and UID of the pod.
    pub pod: Option<(String, String)>,
}

/// The state of the simulated cluster.
#[derive(Default)]
pub struct FakeCluster {
    pub tokens: HashMap<String, Token>,
    /// The metadata of pods by namespace and name.
    pub pods: HashMap<(String, String), Value>,
    /// The labels of namespaces by name.
    pub namespaces: HashMap<String, Value>,
    /// The data of Secrets by namespace and name, in base64 as in Kubernetes.
    pub secrets: HashMap<(String, String), Value>,
    /// The permitted reads: user, namespace, resource.
    pub rights: Vec<(String, String, String)>,
    /// Whether every request is answered with an error.
    pub down: bool,
    /// The requests so far: method and path.
    pub asked: Vec<String>,
}

impl FakeCluster {
    /// Returns a cluster with one pod in `team`. Tenant `acme` owns `team`, and tenant `other` owns `elsewhere`. `kube-system` and `free`
    /// have no tenant's label.
    pub fn with_pod(token: &str, pod: &str, subject: &str, attempt: u32) -> Self {
        let tenant = |name: &str| json!({ "enact.dev/tenant": name });
        let namespaces = [
            ("team".to_owned(), tenant("acme")),
            ("elsewhere".to_owned(), tenant("other")),
            ("kube-system".to_owned(), json!({})),
            ("free".to_owned(), json!({})),
        ];
        let mut cluster = Self { namespaces: namespaces.into(), ..Self::default() };
        cluster.pod(token, "team", "acme", pod, subject, attempt);
        cluster
    }

    /// Adds a pod and its token. Its UID is `uid-<name>`.
    pub fn pod(&mut self, token: &str, namespace: &str, tenant: &str, pod: &str, subject: &str, attempt: u32) {
        let metadata = json!({
            "name": pod, "namespace": namespace, "uid": format!("uid-{pod}"),
            "labels": {
                "enact.dev/tenant": tenant, "enact.dev/plan": "shop", "enact.dev/plan-uid": "uid-p",
                "enact.dev/task": "shop-t001", "enact.dev/attempt": attempt.to_string(), "enact.dev/role": "task",
            },
            "ownerReferences": [{
                "apiVersion": "enact.dev/v1alpha1", "kind": "Task", "name": "shop-t001", "uid": subject,
                "controller": true, "blockOwnerDeletion": true,
            }],
        });
        self.known(token, namespace, pod, metadata);
    }

    /// Adds a pod with this role for the document of a Specification, and its token.
    pub fn document_pod(&mut self, token: &str, namespace: &str, tenant: &str, pod: &str, subject: &str, role: &str) {
        let metadata = json!({
            "name": pod, "namespace": namespace, "uid": format!("uid-{pod}"),
            "labels": { "enact.dev/tenant": tenant, "enact.dev/role": role },
            "ownerReferences": [{
                "apiVersion": "enact.dev/v1alpha1", "kind": "Specification", "name": "cart", "uid": subject,
                "controller": true,
            }],
        });
        self.known(token, namespace, pod, metadata);
    }

    /// Adds a pod of a warm pool that waits for an attempt, and its token.
    pub fn waiting_pod(&mut self, token: &str, namespace: &str, tenant: &str, pod: &str) {
        let metadata = json!({
            "name": pod, "namespace": namespace, "uid": format!("uid-{pod}"),
            "labels": { "enact.dev/tenant": tenant, "enact.dev/role": "waiting" },
            "ownerReferences": [{
                "apiVersion": "enact.dev/v1alpha1", "kind": "Agent", "name": "coder", "uid": "uid-coder", "controller": true,
            }],
        });
        self.known(token, namespace, pod, metadata);
    }

    /// Assigns a pod of a warm pool to an attempt, as the operator does. The pod keeps its token.
    pub fn assign(&mut self, token: &str, namespace: &str, tenant: &str, pod: &str, subject: &str, assignment: &str) {
        self.pod(token, namespace, tenant, pod, subject, 1);
        let metadata = self.pods.get_mut(&(namespace.to_owned(), pod.to_owned())).unwrap();
        metadata["annotations"] = json!({ "enact.dev/assignment": assignment });
    }

    fn known(&mut self, token: &str, namespace: &str, pod: &str, metadata: Value) {
        self.pods.insert((namespace.into(), pod.into()), metadata);
        let made_for = Token {
            audience: "enact-server".into(),
            user: format!("system:serviceaccount:{namespace}:default"),
            pod: Some((pod.into(), format!("uid-{pod}"))),
        };
        self.tokens.insert(token.into(), made_for);
    }

    /// Adds a token of the account `enact-reader` of a namespace, and the resources that this account may read there.
    pub fn reader(&mut self, token: &str, namespace: &str, resources: &[&str]) {
        self.user(token, &format!("system:serviceaccount:{namespace}:enact-reader"), namespace, resources);
    }

    /// Adds a token of a user, and the resources that the user may read in a namespace.
    pub fn user(&mut self, token: &str, user: &str, namespace: &str, resources: &[&str]) {
        let rights = resources.iter().map(|resource| (user.to_owned(), namespace.to_owned(), (*resource).to_owned()));
        self.rights.extend(rights);
        self.tokens.insert(token.into(), Token { audience: "enact-server".into(), user: user.into(), pod: None });
    }
}

/// The running server.
pub struct Api {
    pub address: SocketAddr,
    pub cluster: Arc<Mutex<FakeCluster>>,
    task: JoinHandle<()>,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Api {
    pub async fn start(cluster: FakeCluster) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, cluster) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(cluster)));
        let task = tokio::spawn(warp::serve(routes(Arc::clone(&cluster))).incoming(listener).run());
        Self { address, cluster, task }
    }

    pub fn change(&self, change: impl FnOnce(&mut FakeCluster)) {
        change(&mut self.cluster.lock().unwrap());
    }

    /// Returns the number of requests whose method and path contain this text.
    pub fn asked(&self, what: &str) -> usize {
        self.cluster.lock().unwrap().asked.iter().filter(|asked| asked.contains(what)).count()
    }
}

fn routes(cluster: Arc<Mutex<FakeCluster>>) -> impl Filter<Extract = (Response,), Error = warp::Rejection> + Clone {
    let watched = Arc::clone(&cluster);
    let watch = path!("api" / "v1" / "namespaces" / String / "pods")
        .and(warp::get())
        .and(warp::query::<HashMap<String, String>>())
        .then(move |namespace: String, query: HashMap<String, String>| {
            let cluster = Arc::clone(&watched);
            async move { watch(&cluster, &namespace, &query["fieldSelector"]).await }
        });
    let others = warp::method().and(path::full()).and(warp::body::bytes()).map(
        move |method: warp::http::Method, path: path::FullPath, body: bytes::Bytes| {
            let mut cluster = cluster.lock().unwrap();
            cluster.asked.push(format!("{method} {}", path.as_str()));
            if cluster.down {
                return status(500, "InternalError");
            }
            let parts: Vec<&str> = path.as_str().trim_matches('/').split('/').collect();
            match (method.as_str(), parts.as_slice()) {
                ("POST", ["apis", "authentication.k8s.io", "v1", "tokenreviews"]) => review(&cluster, &body),
                ("POST", ["apis", "authorization.k8s.io", "v1", "subjectaccessreviews"]) => right(&cluster, &body),
                ("POST", ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"]) => ok(&json!({
                    "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                    "spec": {}, "status": { "allowed": true },
                })),
                ("GET", ["api", "v1", "namespaces", namespace, "pods", pod]) => {
                    let key = ((*namespace).to_owned(), (*pod).to_owned());
                    cluster.pods.get(&key).map_or_else(|| status(404, "NotFound"), metadata)
                }
                ("GET", ["api", "v1", "namespaces", namespace, "secrets", "enact-push"]) => {
                    let data = cluster.secrets.get(&((*namespace).to_owned(), "enact-push".to_owned()));
                    let secret = |data| {
                        let metadata = json!({ "name": "enact-push", "namespace": namespace });
                        ok(&json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data }))
                    };
                    data.map_or_else(|| status(404, "NotFound"), secret)
                }
                ("GET", ["api", "v1", "namespaces", namespace]) => cluster.namespaces.get(*namespace).map_or_else(
                    || status(404, "NotFound"),
                    |labels| metadata(&json!({ "name": namespace, "labels": labels })),
                ),
                // The server's ClusterRole permits no other requests.
                _ => status(403, "Forbidden"),
            }
        },
    );
    watch.or(others).unify()
}

/// Answers a watch of one pod with its next change.
async fn watch(cluster: &Mutex<FakeCluster>, namespace: &str, selector: &str) -> Response {
    let name = selector.strip_prefix("metadata.name=").expect("the server watches single pods");
    let key = (namespace.to_owned(), name.to_owned());
    let before = {
        let mut cluster = cluster.lock().unwrap();
        cluster.asked.push(format!("WATCH {name}"));
        cluster.pods.get(&key).cloned()
    };
    loop {
        let now = cluster.lock().unwrap().pods.get(&key).cloned();
        if now != before {
            let kind = if now.is_some() { "MODIFIED" } else { "DELETED" };
            let metadata = now.or(before);
            let object =
                json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata });
            return Response::new(format!("{}\n", json!({ "type": kind, "object": object })).into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn review(cluster: &FakeCluster, body: &[u8]) -> Response {
    let review: Value = serde_json::from_slice(body).unwrap();
    let token = review["spec"]["token"].as_str().and_then(|token| cluster.tokens.get(token));
    let asked = review["spec"]["audiences"].as_array().cloned().unwrap_or_default();
    let accepted = token.filter(|token| asked.iter().any(|audience| audience == token.audience.as_str()));
    let status = accepted.map_or_else(
        || json!({ "error": "[invalid bearer token, token audiences are invalid for the target audiences]", "user": {} }),
        |token| {
            let extra = token.pod.as_ref().map_or_else(
                || json!({}),
                |(name, uid)| {
                    json!({
                        "authentication.kubernetes.io/pod-name": [name], "authentication.kubernetes.io/pod-uid": [uid],
                    })
                },
            );
            json!({
                "authenticated": true, "audiences": [token.audience],
                "user": {
                    "username": token.user, "uid": "account-uid",
                    "groups": ["system:serviceaccounts", "system:authenticated"], "extra": extra,
                },
            })
        },
    );
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {},
        "spec": review["spec"], "status": status,
    });
    warp::reply::with_status(warp::reply::json(&review), StatusCode::CREATED).into_response()
}

fn right(cluster: &FakeCluster, body: &[u8]) -> Response {
    let review: Value = serde_json::from_slice(body).unwrap();
    let text = |pointer: &str| review.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let asked = |field: &str| text(&format!("/spec/resourceAttributes/{field}"));
    let right = (text("/spec/user"), asked("namespace"), asked("resource"));
    let ours = asked("group") == "enact.dev" && asked("verb") == "get" && !review["spec"]["groups"].is_null();
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": review["spec"],
        "status": { "allowed": ours && cluster.rights.contains(&right) },
    });
    warp::reply::with_status(warp::reply::json(&review), StatusCode::CREATED).into_response()
}

fn metadata(metadata: &Value) -> Response {
    ok(&json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata }))
}

fn ok(value: &Value) -> Response {
    warp::reply::json(value).into_response()
}

fn status(code: u16, reason: &str) -> Response {
    let body = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "reason": reason, "code": code,
        "message": reason,
    });
    warp::reply::with_status(warp::reply::json(&body), StatusCode::from_u16(code).unwrap()).into_response()
}
