//! A client that shows what arrives on the wire.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use enact_modelsim::{Canary, Config, Scenario, Server};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for a response.
const PATIENCE: Duration = Duration::from_mins(1);

/// Starts a server with the scenarios.
pub async fn start(scenarios: &[&str]) -> Server {
    let scenarios = scenarios.iter().map(|yaml| Scenario::parse(yaml).unwrap()).collect();
    let canaries = vec![Canary { name: "key".to_owned(), value: "sk-canary".to_owned() }];
    start_with(Config { scenarios, api_key: None, canaries }).await
}

pub async fn start_with(config: Config) -> Server {
    Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), config).await.unwrap()
}

/// A response, as far as it arrived.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Whether the body arrived to its end.
    pub complete: bool,
    /// The error of the connection, such as a reset.
    pub error: Option<io::ErrorKind>,
}

impl Response {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the data of each event; text that is not JSON is a string.
    pub fn events(&self) -> Vec<Value> {
        let data = self.text().lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| Value::from(data))).collect()
    }

    /// Returns the names of the events.
    pub fn names(&self) -> Vec<&str> {
        self.text().lines().filter_map(|line| line.strip_prefix("event: ")).collect()
    }
}

/// Posts JSON.
pub async fn post(server: &Server, path: &str, body: &Value) -> Response {
    send(server, "POST", path, &[], &body.to_string()).await
}

pub async fn get(server: &Server, path: &str) -> Response {
    send(server, "GET", path, &[], "").await
}

/// Sends a request and reads until the server closes the connection.
pub async fn send(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let mut stream = open(server, method, path, headers, body).await;
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server ends the response");
    parse(&bytes, read.err().map(|error| error.kind()))
}

/// Sends a request, and returns the connection.
pub async fn open(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: model\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream
}

fn parse(bytes: &[u8], error: Option<io::ErrorKind>) -> Response {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Response { status: 0, headers: BTreeMap::new(), body: bytes.to_vec(), complete: false, error };
    };
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let pairs = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<String, String> = pairs.map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned())).collect();
    let rest = &bytes[end + 4..];
    let (body, complete) = if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        decode(rest)
    } else {
        let length: usize = headers.get("content-length").map_or(rest.len(), |length| length.parse().unwrap());
        (rest.to_vec(), rest.len() == length)
    };
    Response { status, headers, body, complete, error }
}

/// Decodes chunks, and says whether the last one arrived.
fn decode(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        let chunk = &rest[end + 2..];
        body.extend_from_slice(&chunk[..size.min(chunk.len())]);
        rest = chunk.get(size + 2..).unwrap_or_default();
    }
    (body, false)
}
