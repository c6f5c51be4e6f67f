//! HTTP on a TCP stream, so that tests can send what no client sends.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A request after which the connection is closed.
#[derive(Clone)]
pub struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    chunked: bool,
}

impl Request {
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    pub fn new(method: &str, path: &str) -> Self {
        let headers = vec![("host".into(), "enact-server".into()), ("connection".into(), "close".into())];
        Self { line: format!("{method} {path} HTTP/1.1"), headers, body: Vec::new(), chunked: false }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(key, _)| key != name);
        self
    }

    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// Sends the body in chunks, without a `Content-Length`.
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Returns the head of the request, with a body of `length` bytes.
    pub fn head(&self, length: usize) -> Vec<u8> {
        let mut head = format!("{}\r\n", self.line);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let framing =
            if self.chunked { "transfer-encoding: chunked".to_owned() } else { format!("content-length: {length}") };
        let _ = write!(head, "{framing}\r\n\r\n");
        head.into_bytes()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head(self.body.len());
        if self.chunked {
            for chunk in self.body.chunks(50_000) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
        } else {
            bytes.extend(&self.body);
        }
        bytes
    }
}

/// A received response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn assert_status(&self, status: u16) {
        assert_eq!(self.status, status, "{}", self.text());
    }

    /// Asserts that the answer is an RFC 9457 problem of this status and kind, and that its detail contains `part`.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, kind: &str, part: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["type"], format!("tag:enact.dev,2026:problem/{kind}"));
        assert_eq!(problem["status"], status);
        assert!(!problem["title"].as_str().unwrap().is_empty());
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(part), "`{part}` is not in: {detail}");
    }
}

/// Sends a request and reads the complete answer.
pub async fn send(address: SocketAddr, request: &Request) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server can answer before it has read a body that is too large, and close the connection then.
    let _ = stream.write_all(&request.bytes()).await;
    answer(&mut stream).await
}

/// Reads an answer to the end of the connection.
pub async fn answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    timeout(Duration::from_mins(2), stream.read_to_end(&mut bytes)).await.expect("an answer in time").unwrap();
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("no answer: {bytes:?}"));
    let (head, body) = (String::from_utf8(bytes[..at].to_vec()).unwrap(), bytes[at + 4..].to_vec());
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap()).map(|(k, v)| (k.to_lowercase(), v.into())).collect();
    Answer { status, headers, body }
}
