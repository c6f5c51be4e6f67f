//! Runs the parts of the server together: ports, receivers, checks and shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use enact_embed::Embedder;
use enact_service::health::{self, Health};
use enact_service::http::{Limits, listen, serve};
use enact_store::Store;
use futures::future::OptionFuture;
use kube::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Access;
use crate::cluster::Cluster;
use crate::config::Settings;
use crate::intake::{Intake, Times};
use crate::limiter::RequestLimiter;
use crate::metrics::Metrics;
use crate::push::Pushes;
use crate::reading::Reading;
use crate::routes::{self, deliveries, readings};

const CHECKS: [&str; 2] = ["postgres", "api-server"];
/// Longest wait of a request for a slot.
const WAIT: Duration = Duration::from_secs(3);
/// Most concurrent requests with checkpoints, each of which needs about 30 MiB of memory.
const CHECKPOINTS: usize = 4;
/// Part of the connections of pods that requests of waiting pods may have.
const WAITING_PART: u16 = 2;
/// Time limit of one operation in Postgres.
const OPERATION: Duration = Duration::from_secs(6);
/// Limits for pods' connections. A pod delivers once, so none needs to live long. The shutdown is shorter than a pod's grace period.
const LIMITS: Limits = Limits {
    connections: 0,
    per_client: 0,
    handshake: Duration::from_secs(10),
    headers: Duration::from_secs(10),
    age: Duration::from_mins(1),
    shutdown: Duration::from_secs(20),
    http2: None,
};
/// Limits for readers' connections. Most of them come through the API server, so its address has no share.
const READERS: Limits = Limits { connections: 256, per_client: 256, ..LIMITS };
/// Limits for the connections of Git hosts. Anybody can connect, because this port is reachable from outside the cluster. All of them can
/// have the address of an Ingress, so an address gets half of the connections.
const GIT_HOSTS: Limits = Limits { connections: 128, per_client: 64, ..LIMITS };

/// A server whose ports are open.
pub struct App {
    http: TcpListener,
    read_http: TcpListener,
    push_http: Option<TcpListener>,
    health_http: TcpListener,
    intake: Arc<Intake>,
    reading: Arc<Reading>,
    pushes: Arc<Pushes>,
    limits: Limits,
}

impl App {
    /// Opens the ports. Neither Postgres nor the API server needs to answer yet.
    ///
    /// # Errors
    /// When a port cannot be opened, or a setting is invalid.
    pub async fn bind(settings: &Settings, client: Client) -> anyhow::Result<Self> {
        let metrics = Metrics::new()?;
        let store = Store::connect(&enact_store::Config {
            max_connections: settings.database_connections,
            operation_timeout: OPERATION,
            ..enact_store::Config::new(&settings.database_url)
        })
        .context("--database-url")?;
        let (cluster, times) = (Arc::new(Cluster::new(client, &settings.default_tenant_namespaces)), Times::default());
        // Readers have a separate limiter, so that they never block the deliveries of pods.
        let reading = Reading {
            access: Access::new(Arc::clone(&cluster), times.identify),
            store: store.clone(),
            embedder: Embedder::new(&settings.embedder),
            limiter: RequestLimiter::new(usize::from(settings.readings), WAIT),
            metrics: metrics.clone(),
        };
        let pushes = Pushes::new(Arc::clone(&cluster), store.clone(), WAIT, times, metrics.clone());
        let limiter = RequestLimiter::new(usize::from(settings.deliveries), WAIT);
        let checkpoints = RequestLimiter::new(CHECKPOINTS, WAIT);
        let waiting = RequestLimiter::new(usize::from(settings.connections / WAITING_PART).max(1), WAIT);
        let intake = Intake { cluster, store, limiter, checkpoints, waiting, times, metrics };
        Ok(Self {
            http: listen(settings.listen).await?,
            read_http: listen(settings.read_listen).await?,
            push_http: OptionFuture::from(settings.push_listen.map(listen)).await.transpose()?,
            health_http: listen(settings.health_listen).await?,
            intake: Arc::new(intake),
            reading: Arc::new(reading),
            pushes: Arc::new(pushes),
            limits: Limits {
                connections: usize::from(settings.connections),
                per_client: usize::from(settings.client_connections),
                ..LIMITS
            },
        })
    }

    /// Replaces the time limits, for tests.
    #[must_use]
    pub fn with(mut self, times: Times, headers: Duration) -> Self {
        if let Some(intake) = Arc::get_mut(&mut self.intake) {
            intake.times = times;
        }
        self.limits.headers = headers;
        self
    }

    /// Returns the addresses of the ports.
    ///
    /// # Errors
    /// When the operating system does not report them.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            deliveries: self.http.local_addr()?,
            readings: self.read_http.local_addr()?,
            pushes: self.push_http.as_ref().map(TcpListener::local_addr).transpose()?,
            health: self.health_http.local_addr()?,
        })
    }

    /// Serves until `stop`; then lets the running requests end.
    ///
    /// # Errors
    /// When it cannot start.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Addresses { deliveries: pods, readings: readers, pushes: git_hosts, health: probes } = self.addresses()?;
        tracing::info!(deliveries = %pods, readings = %readers, pushes = ?git_hosts, health = %probes, "listening");
        let Self { http, read_http, push_http, health_http, intake, reading, pushes, limits } = self;
        let (health, metrics) = (Health::new(CHECKS), intake.metrics.clone());
        // `stop` ends the servers for requests. `end` follows when their last request has ended, so that probes get answers until then.
        let (end, tasks) = (CancellationToken::new(), TaskTracker::new());
        check(&health, &intake, &tasks, &end);
        let (registry, open) = (metrics.registry.clone(), metrics.health_connections);
        tasks.spawn(health::serve(health_http, health.clone(), registry, open, end.clone()));
        let to_readers =
            serve(read_http, None, warp::service(readings(reading)), READERS, metrics.read_connections, stop.clone());
        let from_git_hosts = OptionFuture::from(push_http.map(|http| {
            let service = warp::service(routes::pushes(pushes));
            serve(http, None, service, GIT_HOSTS, metrics.push_connections.clone(), stop.clone())
        }));
        let shutdown = {
            let (stop, health) = (stop.clone(), health.clone());
            async move {
                stop.cancelled().await;
                tracing::info!("shutting down");
                health.shut_down();
            }
        };
        let from_pods =
            serve(http, None, warp::service(deliveries(Arc::clone(&intake))), limits, metrics.connections, stop);
        tokio::join!(from_pods, to_readers, from_git_hosts, shutdown);
        end.cancel();
        tasks.close();
        tasks.wait().await;
        // Last, because running deliveries write to Postgres.
        intake.store.close().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// The addresses that the server listens on.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Address for deliveries of pods.
    pub deliveries: SocketAddr,
    /// Address for readers.
    pub readings: SocketAddr,
    /// Address for the push webhooks of Git hosts; none when the server accepts none.
    pub pushes: Option<SocketAddr>,
    /// Address for probes and Prometheus.
    pub health: SocketAddr,
}

/// Spawns the checks of Postgres and the API server.
fn check(health: &Health, intake: &Arc<Intake>, tasks: &TaskTracker, end: &CancellationToken) {
    let [postgres, api_server] = CHECKS;
    let store = intake.store.clone();
    let ready = async move || store.ready().await.map_err(|error| error.to_string());
    let checking = health.clone().keep_checking(postgres, ready);
    tasks.spawn(end.clone().run_until_cancelled_owned(checking));
    let cluster = Arc::clone(intake);
    let ready = async move || cluster.cluster.ready().await;
    let checking = health.clone().keep_checking(api_server, ready);
    tasks.spawn(end.clone().run_until_cancelled_owned(checking));
}
