//! A running cache, an API server that knows the tokens of some pods, and repositories.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fs, io::Read as _, io::Write as _};

use bytes::Bytes;
use clap::Parser as _;
use enact_cache::app::App;
use enact_cache::config::Cli;
use enact_domain::clone_cache::{BYTES_HEADER, CLONE_HEADER, CLONE_PATH, COMMIT_HEADER, CachedClone, RESERVATION_PATH};
use enact_testing::FakeApi;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// The token of a pod that waits for an attempt.
pub const WAITING: &str = "waiting";
/// Pods by their tokens: namespace, repository and phase.
const PODS: [(&str, &str, Option<&str>, &str); 8] = [
    ("one", "team", Some("sha256:shop"), "Running"),
    ("two", "team", Some("sha256:shop"), "Running"),
    (WAITING, "team", Some("sha256:shop"), "Running"),
    ("another-credential", "team", Some("sha256:other"), "Running"),
    ("another-namespace", "team-two", Some("sha256:shop"), "Running"),
    ("another-tenant", "rivals", Some("sha256:shop"), "Running"),
    ("without-annotation", "team", None, "Running"),
    ("ended", "team", Some("sha256:shop"), "Succeeded"),
];
const NAMESPACES: [(&str, &str); 3] = [("team", "acme"), ("team-two", "acme"), ("rivals", "rivals")];

/// A running cache for repositories of at most 1 MiB.
pub struct Cache {
    /// The API server with the pods.
    pub api: FakeApi,
    url: String,
    health: String,
    audiences: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
    _folder: TempDir,
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Cache {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_string_lossy().into_owned();
        let args = [
            "enact-cache",
            "--listen=127.0.0.1:0",
            "--health-listen=127.0.0.1:0",
            "--capacity=10",
            "--repository=1",
            "--folder",
            &path,
        ];
        let settings = Cli::parse_from(args).settings;
        let audiences = Arc::new(Mutex::new(Vec::new()));
        let api = FakeApi::default();
        let app = App::bind(&settings, client(&api, Arc::clone(&audiences))).await.unwrap();
        let [url, health] = app.addresses().unwrap().map(|address| format!("http://{address}"));
        let stop = CancellationToken::new();
        tokio::spawn(app.run(stop.clone()));
        Self { api, url, health, audiences, stop, _folder: folder }
    }

    /// Returns the audiences of all token reviews.
    pub fn reviews(&self) -> Vec<String> {
        self.audiences.lock().unwrap().clone()
    }

    /// Sends a request and returns the status.
    pub async fn send(&self, method: &str, path: &str, token: &str, headers: &[(&str, &str)], body: &[u8]) -> u16 {
        self.exchange(method, path, token, headers, body).await.status().as_u16()
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response<Vec<u8>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.to_vec();
        tokio::task::spawn_blocking(move || {
            let config = ureq::Agent::config_builder().http_status_as_error(false);
            let agent = config.timeout_global(Some(Duration::from_mins(1))).build().new_agent();
            let response = if body.is_empty() {
                agent.run(request.body(()).unwrap())
            } else {
                agent.run(request.body(body).unwrap())
            };
            let (parts, mut body) = response.unwrap().into_parts();
            let mut read = Vec::new();
            body.as_reader().read_to_end(&mut read).unwrap();
            Response::from_parts(parts, read)
        })
        .await
        .unwrap()
    }

    /// Sends a pack as a runner does, and returns the last status.
    pub async fn store(&self, token: &str, commit: &str, pack: &[u8]) -> u16 {
        let bytes = pack.len().to_string();
        let reserved = self.send("POST", RESERVATION_PATH, token, &[(BYTES_HEADER, &bytes)], b"").await;
        if reserved != 204 {
            return reserved;
        }
        self.send("PUT", CLONE_PATH, token, &[(COMMIT_HEADER, commit)], pack).await
    }

    /// Returns a clone, or the status of the refusal.
    pub async fn clone_of(&self, token: &str) -> Result<(CachedClone, Vec<u8>), u16> {
        let response = self.exchange("GET", CLONE_PATH, token, &[], b"").await;
        if response.status() != 200 {
            return Err(response.status().as_u16());
        }
        let clone: CachedClone = serde_json::from_slice(response.headers()[CLONE_HEADER].as_bytes()).unwrap();
        clone.check().unwrap();
        Ok((clone, response.into_body()))
    }

    /// Waits until the metrics satisfy `condition`.
    pub async fn eventually(&self, what: &str, condition: impl Fn(&str) -> bool) {
        let (begun, url) = (Instant::now(), format!("{}/metrics", self.health));
        loop {
            let url = url.clone();
            let read = move || ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap();
            let text = tokio::task::spawn_blocking(read).await.unwrap();
            if condition(&text) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "never: {what}\n{text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Creates a namespace of a tenant.
pub fn create_namespace(api: &FakeApi, name: &str, tenant: &str) {
    let metadata = json!({ "name": name, "labels": { "enact.dev/tenant": tenant } });
    api.put(&format!("namespaces/{name}"), json!({ "metadata": metadata }));
}

/// Adds [`PODS`] to an API server, and returns a client of it which notes the audiences of token reviews.
fn client(api: &FakeApi, audiences: Arc<Mutex<Vec<String>>>) -> Client {
    for (name, tenant) in NAMESPACES {
        create_namespace(api, name, tenant);
    }
    for (token, namespace, repository, phase) in PODS {
        let tenant = NAMESPACES.iter().find(|(name, _)| *name == namespace).unwrap().1;
        let annotations = repository.map(|name| json!({ "enact.dev/repository": name }));
        let mut metadata = json!({
            "name": format!("pod-{token}"), "namespace": namespace, "uid": format!("uid-{token}"),
            "labels": {
                "enact.dev/tenant": tenant, "enact.dev/plan": "shop", "enact.dev/plan-uid": "plan-uid",
                "enact.dev/task": "shop-t001", "enact.dev/attempt": "1", "enact.dev/role": "task",
            },
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "enact.dev/v1alpha1", "kind": "Task", "name": "shop-t001", "uid": "uid-task", "controller": true,
            }],
        });
        if token == WAITING {
            metadata["labels"] = json!({ "enact.dev/tenant": tenant, "enact.dev/role": "waiting" });
            metadata["ownerReferences"][0]["kind"] = "Agent".into();
        }
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": { "containers": [] }, "status": { "phase": phase } });
        api.put(&format!("pods/pod-{token}"), pod);
    }
    let api = api.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (audiences, inner) = (Arc::clone(&audiences), api.client());
        async move {
            let path = request.uri().path().to_owned();
            let answer = if path.ends_with("/tokenreviews") {
                let body = request.into_body().collect_bytes().await?;
                review(&serde_json::from_slice(&body).unwrap(), &audiences)
            } else if path.ends_with("/selfsubjectaccessreviews") {
                json!({ "metadata": {}, "spec": {}, "status": { "allowed": true } })
            } else {
                let (parts, body) = inner.send(request).await?.into_parts();
                return Ok(Response::from_parts(parts, body.map_err(std::io::Error::other).boxed_unsync()));
            };
            let body = Full::new(Bytes::from(answer.to_string())).map_err(|never| match never {}).boxed_unsync();
            Ok::<_, kube::Error>(Response::builder().status(201).body(body).unwrap())
        }
    });
    Client::new(service, "ns")
}

fn review(review: &Value, audiences: &Mutex<Vec<String>>) -> Value {
    let (token, asked) = (review["spec"]["token"].as_str().unwrap(), &review["spec"]["audiences"]);
    audiences.lock().unwrap().push(asked[0].as_str().unwrap().to_owned());
    let status = match PODS.iter().find(|(known, ..)| *known == token) {
        None => json!({ "authenticated": false }),
        Some((_, namespace, ..)) => json!({
            "authenticated": true, "audiences": asked,
            "user": { "username": format!("system:serviceaccount:{namespace}:default"), "extra": {
                "authentication.kubernetes.io/pod-name": [format!("pod-{token}")],
                "authentication.kubernetes.io/pod-uid": [format!("uid-{token}")],
            } },
        }),
    };
    json!({ "metadata": {}, "spec": {}, "status": status })
}

/// A repository on this machine.
pub struct Repository(TempDir);

impl Repository {
    /// Makes a repository with a first commit.
    pub fn new() -> Self {
        let repository = Self::empty();
        fs::write(repository.0.path().join("README.md"), "hello\n").unwrap();
        repository
    }

    pub fn empty() -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        repository.git(&["init", "--quiet", "--initial-branch=main", "."]);
        repository
    }

    /// Adds a commit, and returns its ID and a pack of what is new since the commit before it.
    pub fn commit(&self, file: &str, text: &str) -> (String, Vec<u8>) {
        let before = self.git(&["for-each-ref", "--format=^%(objectname)", "refs/heads/main"]);
        fs::write(self.0.path().join(file), text).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "By a test"]);
        let mut child = command(self.0.path(), &["pack-objects", "--quiet", "--revs", "--stdout"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(format!("main\n{before}\n").as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        (self.git(&["rev-parse", "main"]), output.stdout)
    }

    /// Adds the packs of a clone.
    pub fn unpack(&self, clone: &CachedClone, mut body: &[u8]) {
        for pack in &clone.packs {
            for (suffix, bytes) in [("pack", pack.bytes), ("idx", pack.index_bytes)] {
                let (content, rest) = body.split_at(usize::try_from(bytes).unwrap());
                let name = format!(".git/objects/pack/pack-{}.{suffix}", pack.name);
                fs::write(self.0.path().join(name), content).unwrap();
                body = rest;
            }
        }
        assert!(body.is_empty());
    }

    pub fn git(&self, args: &[&str]) -> String {
        let output = command(self.0.path(), args).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

fn command(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.current_dir(directory).args(args).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    for (name, value) in [("NAME", "A test"), ("EMAIL", "test@example.org")] {
        command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    command
}
