//! The routes for runners.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use enact_domain::clone_cache::{
    BYTES_HEADER, CLONE_HEADER, CLONE_PATH, COMMIT_HEADER, RESERVATION_PATH, is_object_name,
};
use futures::stream::{self, Stream, TryStreamExt as _};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::identity::{Identifier, Requester};
use crate::metrics::Metrics;
use crate::pack;
use crate::problem::Problem;
use crate::repositories::{Repositories, Upload};

/// Longest time for a pack to arrive.
const ARRIVAL: Duration = Duration::from_mins(1);
/// Part of a file that is read at once, in bytes.
const PART: usize = 256 << 10;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Everything that the routes need.
pub struct Cache {
    pub identifier: Identifier,
    pub repositories: Arc<Repositories>,
    pub metrics: Metrics,
    /// Memory of Git, in MiB.
    pub git_memory: u32,
    /// One check of a pack runs at a time.
    pub checks: Semaphore,
}

impl Cache {
    /// Answers a request.
    pub async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let (route, answered) = match (&method, path.as_str()) {
            (&Method::GET, CLONE_PATH) => ("clone", self.clone_of(request.headers()).await),
            (&Method::POST, RESERVATION_PATH) => ("reservation", self.reserve(request.headers()).await),
            (&Method::PUT, CLONE_PATH) => ("pack", Arc::clone(&self).receive(request).await),
            _ => ("none", Err(Problem::new(StatusCode::NOT_FOUND, "there is no such route"))),
        };
        let response = answered.unwrap_or_else(|problem| text(problem.status, problem.message));
        self.metrics.requests.with_label_values(&[route, response.status().as_str()]).inc();
        response
    }

    async fn clone_of(&self, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
        let requester = self.identifier.identify(headers).await?;
        let found = self.repositories.read(&requester).map_err(|error| failed(&error))?;
        let Some((clone, files)) = found else {
            self.metrics.clones.with_label_values(&["miss"]).inc();
            return Err(Problem::new(StatusCode::NOT_FOUND, "the cache does not have the repository"));
        };
        self.metrics.clones.with_label_values(&["hit"]).inc();
        self.metrics.sent.inc_by(clone.bytes());
        // What serde_json writes of names and numbers is a valid header.
        let described = serde_json::to_string(&clone).map_err(|error| failed(&error))?;
        Response::builder()
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, clone.bytes())
            .header(CLONE_HEADER, described)
            .body(StreamBody::new(parts(files).map_ok(Frame::data)).boxed_unsync())
            .map_err(|error| failed(&error))
    }

    async fn reserve(&self, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
        let requester = self.identifier.identify(headers).await?;
        let bytes = number(headers, BYTES_HEADER)?;
        self.repositories.reserve(&requester, bytes)?;
        // Without a body, so that the pack comes over the same connection, and therefore to the same one of several pods.
        Ok(text(StatusCode::NO_CONTENT, ""))
    }

    /// Receives a pack. It is checked after the response, so that the runner need not wait.
    async fn receive(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let requester = self.identifier.identify(request.headers()).await?;
        let bytes = number(request.headers(), header::CONTENT_LENGTH.as_str())?;
        let commit = request.headers().get(COMMIT_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !is_object_name(commit) {
            return Err(Problem::new(StatusCode::BAD_REQUEST, format!("{COMMIT_HEADER} is not the ID of a commit")));
        }
        let commit = commit.to_owned();
        let upload = self.repositories.begin(&requester, bytes)?;
        let arrived = timeout(ARRIVAL, write(request.into_body(), &upload.folder.join(pack::INCOMING), bytes)).await;
        match arrived {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                return Err(Problem::new(StatusCode::BAD_REQUEST, format!("the pack did not arrive: {error}")));
            }
            Err(_) => return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the pack arrived too slowly")),
        }
        tokio::spawn(async move { self.check(upload, commit, &requester).await });
        Ok(text(StatusCode::ACCEPTED, "the pack is being checked"))
    }

    async fn check(&self, upload: Upload, commit: String, requester: &Requester) {
        let Ok(_slot) = self.checks.acquire().await else { return };
        let accepted = pack::accept(&upload.folder, &commit, upload.first, self.git_memory).await;
        let outcome = match accepted {
            Ok(pack) => {
                let (repository, pod, bytes) = (&requester.repository, &requester.pod_uid, pack.bytes);
                tracing::info!(repository, pod, bytes, "stored a pack");
                upload.complete(pack, commit);
                "stored"
            }
            Err(problem) => {
                tracing::warn!(repository = requester.repository, pod = requester.pod_uid, problem, "refused a pack");
                drop(upload);
                "refused"
            }
        };
        self.metrics.packs.with_label_values(&[outcome]).inc();
    }
}

/// Reads files one after the other.
fn parts(files: Vec<std::fs::File>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let files = files.into_iter().map(File::from_std);
    stream::try_unfold((files, None::<File>), |(mut files, mut open)| async move {
        loop {
            let Some(mut file) = open.take().or_else(|| files.next()) else { return Ok::<_, io::Error>(None) };
            let mut part = BytesMut::with_capacity(PART);
            if file.read_buf(&mut part).await? > 0 {
                return Ok(Some((part.freeze(), (files, Some(file)))));
            }
        }
    })
}

/// Writes a body of exactly `bytes` into a new file.
async fn write(mut body: Incoming, path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path).await?;
    let mut left = bytes;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
        left = left.checked_sub(data.len() as u64).ok_or_else(|| io::Error::other("it is longer than announced"))?;
        file.write_all(&data).await?;
    }
    file.flush().await?;
    if left == 0 { Ok(()) } else { Err(io::Error::other(format!("{left} bytes are missing"))) }
}

fn number(headers: &HeaderMap, name: &str) -> Result<u64, Problem> {
    let value = headers.get(name).and_then(|value| value.to_str().ok()?.parse().ok());
    value.filter(|bytes| *bytes > 0).ok_or_else(|| {
        Problem::new(StatusCode::LENGTH_REQUIRED, format!("the header {name} must be the size of the pack in bytes"))
    })
}

fn failed(error: &dyn std::fmt::Display) -> Problem {
    tracing::warn!(%error, "a clone cannot be read");
    Problem::unavailable("the clone cannot be read")
}

fn text(status: StatusCode, message: impl Into<String>) -> Response<Body> {
    let body = Full::new(Bytes::from(message.into())).map_err(|never: Infallible| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
