//! Runs the parts of the webhook together until `stop`: caches, certificates and both servers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use enact_crds::Tenant;
use enact_service::health::{self, Health};
use enact_service::http::{Limits, serve};
use futures::StreamExt as _;
use futures::future::{BoxFuture, OptionFuture};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::Filter as _;
use warp::http::HeaderValue;
use warp::http::header::CONNECTION;
use warp::reply::Response;

use crate::admission;
use crate::certs::rotation::{Clock, Rotation};
use crate::certs::serving::Serving;
use crate::certs::{CERTIFICATE, CertificateError, ClusterVault, files};
use crate::config::Config;
use crate::deletions::ClusterNotes;
use crate::lookup::ClusterLookup;
use crate::metrics::Metrics;
use crate::parsing::Parsing;
use crate::validate::Validator;

/// The readiness check for caches that were filled once.
const CACHES: &str = "caches";
/// Limits for the API server's connections.
pub(crate) const LIMITS: Limits = Limits {
    connections: 1024,
    // An API server sends its requests over a few HTTP/2 connections. Without HTTP/2 it needs as many as it has reviews in progress, and
    // the memory for one client suffices for this number.
    per_client: 256,
    handshake: Duration::from_secs(10),
    // Longer than the API server keeps an idle connection (90 s), so that the API server closes connections and never writes into one that
    // we are closing. For the same reason connections have no maximum age.
    headers: Duration::from_mins(2),
    age: Duration::MAX,
    shutdown: Duration::from_secs(20),
    http2: Some(1 << 20),
};

/// The reason why the webhook cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Config(String),
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: std::net::SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] CertificateError),
    #[error("cannot set up the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Runs the webhook until `stop`; then fails readiness, serves for the drain time, and lets running requests end.
///
/// # Errors
/// When it cannot start. Later failures are retried.
pub async fn run(config: Config, client: Client, stop: CancellationToken) -> Result<(), StartError> {
    let (https, http) = (listen(config.listen).await?, listen(config.health_listen).await?);
    tracing::info!(admission = %config.listen, health = %config.health_listen, "listening");
    run_on(https, http, config, client, stop).await
}

/// Runs like [`run`], on open listeners for admission, and for health and metrics.
///
/// The future is boxed, so that it is compiled with this crate and not once more with each test program.
///
/// # Errors
/// When it cannot start.
pub fn run_on(
    https: TcpListener,
    http: TcpListener,
    config: Config,
    client: Client,
    stop: CancellationToken,
) -> BoxFuture<'static, Result<(), StartError>> {
    Box::pin(serve_until(https, http, config, client, stop))
}

async fn serve_until(
    https: TcpListener,
    http: TcpListener,
    config: Config,
    client: Client,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let drain =
        Duration::try_from(config.drain).map_err(|_| StartError::Config("--drain must not be negative".into()))?;
    // Invalid lifetimes stop the program here, because the rotation would try again with them forever.
    if let Some(problem) = config.lifetimes().problem() {
        return Err(StartError::Config(problem));
    }
    let (metrics, health, serving) = (Metrics::new()?, Health::new([CACHES, CERTIFICATE]), Serving::default());
    let client_ca = OptionFuture::from(config.client_ca.as_deref().map(files::read)).await.transpose()?;
    let tls = TlsAcceptor::from(Arc::new(serving.config(client_ca.as_deref())?));

    // `end` follows `stop` after the drain time: until then, servers, caches and certificates work as before.
    let (end, tasks) = (CancellationToken::new(), TaskTracker::new());
    let lookup = lookup(&config, client.clone(), &health, &tasks, &end);
    let notes = Arc::new(ClusterNotes::new(client.clone(), &config.namespace));
    let secret = serving.notes.clone();
    certificates(config.clone(), &client, serving, &health, &metrics, &tasks, &end);
    let validator = Validator { lookup, settings: config.settings(), parsing: Parsing::default() };
    let leaving = stop.clone();
    let routes = admission::routes(validator, notes, secret, metrics.clone());
    let routes = warp::service(routes.map(move |response: Response| until_left(response, &leaving)));
    tasks.spawn(serve(https, Some(tls), routes, LIMITS, metrics.connections, end.clone()));
    tasks.spawn(health::serve(http, health.clone(), metrics.registry, metrics.health_connections, end.clone()));

    stop.cancelled().await;
    tracing::info!("shutting down");
    // A pod that is not ready is removed from the Service. API servers notice that late and still send requests, which need an answer.
    health.shut_down();
    sleep(drain).await;
    end.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// Asks the client to close its connection after a response during the drain time. An API server uses HTTP/1.1 for Services and keeps idle
/// connections: without this, it could write a request into one just when the drain time ends, and the request would fail.
fn until_left(mut response: Response, leaving: &CancellationToken) -> Response {
    // Over HTTP/2, hyper leaves the header out: the frame GOAWAY at the end loses no request.
    if leaving.is_cancelled() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn listen(address: std::net::SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

/// Returns the lookups of the rules and spawns the task that keeps their cache of Tenants.
fn lookup(
    config: &Config,
    client: Client,
    health: &Health,
    tasks: &TaskTracker,
    end: &CancellationToken,
) -> ClusterLookup {
    let (tenants, writer) = reflector::store::<Tenant>();
    let events = watcher(Api::<Tenant>::all(client.clone()), watcher::Config::default()).default_backoff();
    // The rules read only names, times and the spec of a Tenant. The other fields would only use memory.
    let trimmed = events.modify(|tenant| {
        tenant.managed_fields_mut().clear();
        tenant.annotations_mut().clear();
        tenant.status = None;
    });
    let watching = trimmed.reflect(writer).for_each(async |event| {
        if let Err(error) = event {
            tracing::warn!(%error, "the watch of Tenants was interrupted");
        }
    });
    tasks.spawn(end.clone().run_until_cancelled_owned(watching));
    // Reported once, when the cache is first filled. A later interruption of the watch does not make the webhook unready.
    let (filled, health) = (tenants.clone(), health.clone());
    tasks.spawn(end.clone().run_until_cancelled_owned(async move {
        if filled.wait_until_ready().await.is_ok() {
            health.report(CACHES, Ok(()));
        }
    }));
    ClusterLookup::new(client, tenants, config.default_namespaces())
}

/// Spawns the task that loads or renews the serving certificate.
fn certificates(
    config: Config,
    client: &Client,
    serving: Serving,
    health: &Health,
    metrics: &Metrics,
    tasks: &TaskTracker,
    end: &CancellationToken,
) {
    let (health, metrics, end) = (health.clone(), metrics.clone(), end.clone());
    // Another program owns the certificate and the `caBundle`, so there is no rotation.
    if let Some(folder) = config.tls_dir {
        tasks.spawn(async move { files::run(&folder, &serving, &health, &metrics, end).await });
        return;
    }
    let vault = ClusterVault::new(client, config.names());
    let (hosts, lifetimes) = (config.hosts(), config.lifetimes());
    tasks.spawn(async move {
        let triggers = vault.triggers();
        let clock: Clock = Arc::new(Timestamp::now);
        let rotation = Rotation { vault, hosts, lifetimes, serving, health, metrics, clock };
        Box::pin(rotation.run(triggers, end)).await;
    });
}

#[cfg(test)]
mod tests;
