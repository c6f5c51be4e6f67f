//! A simulated API server on loopback with answers that a test chooses. It stores the requests.

// Each test program compiles this module and uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

/// Path of the service account with whose token people read the record.
pub const ACCOUNT: &str = "/api/v1/namespaces/demo/serviceaccounts/enact-reader";
/// Beginning of the paths of the record, behind the API server.
pub const PROXY: &str = "/api/v1/namespaces/system/services/http:server:read/proxy/v1/namespaces/demo";

/// Answers the requests by which the CLI finds the server with the record and gets a token for it. Returns none for other requests.
pub fn access_to_the_record(request: &Request) -> Option<Answer> {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", ACCOUNT) => Some(Answer::Ok(json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": { "name": "enact-reader", "annotations": { "enact.dev/server": "system/server" } },
        }))),
        ("POST", path) if path == format!("{ACCOUNT}/token") => {
            let asked = json!({ "audiences": ["enact-server"], "expirationSeconds": 600 });
            assert_eq!(request.body["spec"], asked);
            Some(Answer::Ok(json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": asked,
                "status": { "token": "the-token", "expirationTimestamp": "2026-01-01T00:10:00Z" },
            })))
        }
        _ => None,
    }
}

/// A received request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub content_type: String,
    /// The token for the server behind the API server.
    pub token: String,
    /// The body, or null without one.
    pub body: Value,
}

impl Request {
    /// Returns method and path, for example `GET /…`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Returns a parameter of the query, or an empty text without it.
    pub fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// Returns whether the request is a watch.
    pub fn is_watch(&self) -> bool {
        matches!(self.parameter("watch"), "1" | "true")
    }
}

/// An answer of the server.
pub enum Answer {
    /// A JSON value, with the code 200 or 201.
    Ok(Value),
    /// A failure with this code and message, as a Status.
    Failure(u16, &'static str),
    Bytes(&'static [u8]),
    Text(String),
    /// An error of the server behind the API server.
    Problem(u16, &'static str),
    /// Events of a watch that does not end.
    Changes(Vec<Value>),
}

/// The server. It runs as long as the test.
pub struct Fake {
    directory: TempDir,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("config"), kubeconfig(&server)).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, kept) = (Arc::new(answer), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, kept) = (Arc::clone(&answer), Arc::clone(&kept));
                thread::spawn(move || serve(stream.unwrap(), &*answer, &kept));
            }
        });
        Self { directory, seen }
    }

    /// Returns the requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns the requests that change something.
    pub fn writes(&self) -> Vec<Request> {
        self.seen().into_iter().filter(|request| request.method != "GET").collect()
    }

    /// Runs `enact` with these arguments.
    pub fn enact(&self, arguments: &[&str]) -> Ran {
        self.enact_with(arguments, &[])
    }

    /// Returns the working directory of `enact`.
    pub fn here(&self) -> &Path {
        self.directory.path()
    }

    /// Runs `enact` with these arguments and this environment.
    pub fn enact_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_enact"))
            .args(arguments)
            .env_clear()
            .env("KUBECONFIG", self.directory.path().join("config"))
            .envs(environment.iter().copied())
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            bytes: output.stdout,
        }
    }
}

/// The exit code and output of `enact`.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// Standard output as bytes.
    pub bytes: Vec<u8>,
}

fn kubeconfig(server: &str) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "fake", "cluster": { "server": server } }],
        "users": [{ "name": "fake", "user": {} }],
        "contexts": [{ "name": "fake", "context": { "cluster": "fake", "user": "fake", "namespace": "demo" } }],
        "current-context": "fake",
    });
    config.to_string()
}

fn serve(stream: TcpStream, answer: &dyn Fn(&Request) -> Answer, seen: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let Some(request) = read(&mut reader) else { return };
    let said = answer(&request);
    seen.lock().unwrap().push(request.clone());
    // The client may have closed the connection, which is not an error of the server.
    let _ = reply(stream, &request, said);
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let method = words.next()?.to_owned();
    let url = Url::parse(&format!("http://fake{}", words.next()?)).unwrap();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    let content_type = headers.remove("content-type").unwrap_or_default();
    let query = url.query_pairs().into_owned().collect();
    let token = headers.remove("x-enact-token").unwrap_or_default();
    Some(Request { method, path: url.path().to_owned(), query, content_type, token, body })
}

fn reply(mut stream: TcpStream, request: &Request, answer: Answer) -> std::io::Result<()> {
    let media = match answer {
        Answer::Text(_) => "text/markdown",
        Answer::Problem(..) => "application/problem+json",
        _ => "application/json",
    };
    let head = |code: u16, length: usize| {
        format!("HTTP/1.1 {code} x\r\nContent-Type: {media}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
    };
    let (code, body) = match answer {
        Answer::Ok(value) => (if request.method == "POST" { 201 } else { 200 }, value.to_string().into_bytes()),
        Answer::Failure(code, message) => {
            let reason = match code {
                404 => "NotFound",
                409 => "Conflict",
                _ => "Forbidden",
            };
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
                "details": { "name": "it" }, "code": code,
            });
            (code, status.to_string().into_bytes())
        }
        Answer::Bytes(bytes) => (200, bytes.to_vec()),
        Answer::Text(text) => (200, text.into_bytes()),
        Answer::Problem(code, detail) => (code, json!({ "status": code, "detail": detail }).to_string().into_bytes()),
        Answer::Changes(changes) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")?;
            for change in changes {
                stream.write_all(format!("{change}\n").as_bytes())?;
            }
            stream.flush()?;
            // Keeps the connection open until the client closes it.
            let _ = stream.read(&mut [0]);
            return Ok(());
        }
    };
    stream.write_all(head(code, body.len()).as_bytes())?;
    stream.write_all(&body)
}
