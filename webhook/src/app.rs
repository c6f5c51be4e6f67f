//! The whole webhook: caches, certificates and both servers, until it is told to stop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use enact_crds::Tenant;
use enact_service::health::{self, Health};
use enact_service::http::{Limits, serve};
use futures::StreamExt as _;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission;
use crate::certs::rotation::{Clock, Rotation};
use crate::certs::serving::Serving;
use crate::certs::{CERTIFICATE, ClusterVault, files};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::validate::Admission;
use crate::world::ClusterWorld;

/// The check that the caches have been filled once.
const CACHES: &str = "caches";
/// Bounds on the API server's connections.
pub(crate) const LIMITS: Limits = Limits {
    connections: 1024,
    handshake: Duration::from_secs(10),
    // Longer than the API server keeps an idle connection (90 s), so that it is the side that closes and never writes into a connection
    // that is just being closed. For the same reason none is too old.
    headers: Duration::from_mins(2),
    age: Duration::MAX,
    farewell: Duration::from_secs(20),
    http2: true,
};

/// Why the webhook cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A flag's value cannot be used.
    #[error("{0}")]
    Config(String),
    /// A port cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The TLS configuration cannot be made.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The metrics cannot be set up.
    #[error("metrics cannot be set up: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Runs the webhook until `stop`; then fails readiness, serves on for the drain time, and lets the requests under way end.
///
/// # Errors
/// When it cannot start. Once it runs, what fails is tried again.
pub async fn run(config: Config, client: Client, stop: CancellationToken) -> Result<(), StartError> {
    let (https, http) = (listen(config.listen).await?, listen(config.health_listen).await?);
    tracing::info!(admission = %config.listen, health = %config.health_listen, "listening");
    run_on(https, http, config, client, stop).await
}

/// [`run`] on listeners that are there already: for admission, and for health and metrics.
///
/// # Errors
/// When it cannot start.
pub async fn run_on(
    https: TcpListener,
    http: TcpListener,
    config: Config,
    client: Client,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let drain =
        Duration::try_from(config.drain).map_err(|_| StartError::Config("--drain must not be negative".into()))?;
    if let Some(problem) = config.lifetimes().problem() {
        return Err(StartError::Config(problem));
    }
    let (metrics, health, serving) = (Metrics::new()?, Health::new([CACHES, CERTIFICATE]), Serving::default());
    let tls = TlsAcceptor::from(Arc::new(serving.config()?));

    let (end, tasks) = (CancellationToken::new(), TaskTracker::new());
    let world = world(&config, client.clone(), &health, &tasks, &end);
    certificates(config.clone(), &client, serving, &health, &metrics, &tasks, &end);
    let admission = Admission { world, settings: config.settings() };
    let routes = warp::service(admission::routes(admission, metrics.clone()));
    tasks.spawn(serve(https, Some(tls), routes, LIMITS, metrics.connections, end.clone()));
    tasks.spawn(health::serve(http, health.clone(), metrics.registry, metrics.health_connections, end.clone()));

    stop.cancelled().await;
    tracing::info!("leaving");
    health.leave();
    sleep(drain).await;
    end.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

async fn listen(address: std::net::SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

/// The world of the rules, with a cache of Tenants that is kept in a task.
fn world(
    config: &Config,
    client: Client,
    health: &Health,
    tasks: &TaskTracker,
    end: &CancellationToken,
) -> ClusterWorld {
    let (tenants, writer) = reflector::store::<Tenant>();
    let events = watcher(Api::<Tenant>::all(client.clone()), watcher::Config::default()).default_backoff();
    let trimmed = events.modify(|tenant| {
        tenant.managed_fields_mut().clear();
        tenant.annotations_mut().clear();
        tenant.status = None;
    });
    let watching = trimmed.reflect(writer).for_each(async |event| {
        if let Err(error) = event {
            tracing::warn!(%error, "watch of Tenants interrupted");
        }
    });
    tasks.spawn(end.clone().run_until_cancelled_owned(watching));
    let (filled, health) = (tenants.clone(), health.clone());
    tasks.spawn(end.clone().run_until_cancelled_owned(async move {
        if filled.wait_until_ready().await.is_ok() {
            health.found(CACHES, Ok(()));
        }
    }));
    ClusterWorld::new(client, tenants, config.default_namespaces())
}

/// Keeps the certificate that is served, in a task.
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
