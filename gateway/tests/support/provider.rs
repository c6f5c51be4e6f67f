//! A provider on loopback whose answers a test scripts. The first part of the path names a queue of answers.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

/// A scripted answer.
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    parts: Parts,
}

enum Parts {
    Fixed(Vec<Bytes>),
    /// Parts that the test sends; an error breaks the connection.
    Sent(mpsc::UnboundedReceiver<Result<Bytes, std::io::Error>>),
    /// The same part, forever.
    Endless(Bytes),
    /// No answer.
    Never,
}

impl Answer {
    pub fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json".into())];
        Self { status, headers, parts: Parts::Fixed(vec![body.to_string().into()]) }
    }

    pub fn events(parts: &[&str]) -> Self {
        let parts = parts.iter().map(|part| Bytes::copy_from_slice(part.as_bytes())).collect();
        Self { status: 200, headers: vec![("content-type", "text/event-stream".into())], parts: Parts::Fixed(parts) }
    }

    /// Returns a stream of events that the test sends.
    pub fn sent() -> (mpsc::UnboundedSender<Result<Bytes, std::io::Error>>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Self { parts: Parts::Sent(receiver), ..Self::events(&[]) })
    }

    pub fn endless(part: Vec<u8>) -> Self {
        Self { parts: Parts::Endless(part.into()), ..Self::events(&[]) }
    }

    pub fn never() -> Self {
        Self { parts: Parts::Never, ..Self::events(&[]) }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

#[derive(Default)]
struct State {
    answers: HashMap<String, VecDeque<Answer>>,
    seen: Vec<Seen>,
}

/// The running provider.
pub struct Provider {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(State::default())));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                tokio::spawn(async move {
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds an answer to the queue of a provider. Without one, the provider answers 500.
    pub fn answer(&self, name: &str, answer: Answer) {
        self.state.lock().unwrap().answers.entry(name.into()).or_default().push_back(answer);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>;

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = parts.uri.to_string();
    let name = path.split('/').nth(1).unwrap_or_default().to_owned();
    let next = {
        let mut state = state.lock().unwrap();
        let body = String::from_utf8_lossy(&body).into_owned();
        state.seen.push(Seen { path, headers: parts.headers, body });
        state.answers.get_mut(&name).and_then(VecDeque::pop_front)
    };
    let Answer { status, headers, parts } = next.unwrap_or_else(|| Answer::json(500, &Value::Null));
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let body = match parts {
        Parts::Fixed(parts) => {
            let frames = parts.into_iter().map(|part| Ok(Frame::data(part)));
            StreamBody::new(futures::stream::iter(frames)).boxed_unsync()
        }
        Parts::Sent(mut receiver) => {
            let stream = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx));
            StreamBody::new(stream.map(|part| part.map(Frame::data))).boxed_unsync()
        }
        Parts::Endless(part) => {
            StreamBody::new(futures::stream::repeat_with(move || Ok(Frame::data(part.clone())))).boxed_unsync()
        }
        Parts::Never => std::future::pending().await,
    };
    Ok(response.body(body).unwrap())
}
