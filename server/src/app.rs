//! The whole server, from its settings to its end.

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
use crate::metrics::Metrics;
use crate::push::Pushes;
use crate::reading::Reading;
use crate::routes::{self, deliveries, readings};
use crate::turnstile::Turnstile;

/// Names of what must hold before anybody is served.
const CHECKS: [&str; 2] = ["postgres", "api-server"];
/// How long a request waits for a place.
const WAIT: Duration = Duration::from_secs(3);
/// How long one operation in Postgres may take.
const OPERATION: Duration = Duration::from_secs(6);
/// Bounds on pods' connections. A pod delivers once, so none has to live long; the farewell is shorter than a pod's grace period.
const LIMITS: Limits = Limits {
    connections: 0,
    handshake: Duration::from_secs(10),
    headers: Duration::from_secs(10),
    age: Duration::from_mins(1),
    farewell: Duration::from_secs(20),
    http2: false,
};
/// Bounds on readers' connections, which most of them make by way of the API server.
const READERS: Limits = Limits { connections: 256, ..LIMITS };
/// Bounds on forges' connections: anybody may come, as the way to them leads out of the cluster.
const FORGES: Limits = Limits { connections: 128, ..LIMITS };

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
    /// Opens the ports. Neither Postgres nor the API server has to be there yet.
    ///
    /// # Errors
    /// When a port cannot be opened, or a setting cannot be used.
    pub async fn bind(settings: &Settings, client: Client) -> anyhow::Result<Self> {
        let metrics = Metrics::new()?;
        let store = Store::connect(&enact_store::Config {
            max_connections: settings.database_connections,
            operation_timeout: OPERATION,
            ..enact_store::Config::new(&settings.database_url)
        })
        .context("--database-url")?;
        let (cluster, times) = (Arc::new(Cluster::new(client, &settings.default_tenant_namespaces)), Times::default());
        // Readers have places of their own: however many there are, pods deliver.
        let reading = Reading {
            access: Access::new(Arc::clone(&cluster), times.identify),
            store: store.clone(),
            embedder: Embedder::new(&settings.embedder),
            turnstile: Turnstile::new(usize::from(settings.readings), WAIT),
            metrics: metrics.clone(),
        };
        let pushes = Pushes::new(Arc::clone(&cluster), store.clone(), WAIT, times, metrics.clone());
        let turnstile = Turnstile::new(usize::from(settings.deliveries), WAIT);
        let intake = Intake { cluster, store, turnstile, times, metrics };
        Ok(Self {
            http: listen(settings.listen).await?,
            read_http: listen(settings.read_listen).await?,
            push_http: OptionFuture::from(settings.push_listen.map(listen)).await.transpose()?,
            health_http: listen(settings.health_listen).await?,
            intake: Arc::new(intake),
            reading: Arc::new(reading),
            pushes: Arc::new(pushes),
            limits: Limits { connections: usize::from(settings.connections), ..LIMITS },
        })
    }

    /// With other times than the usual ones.
    #[must_use]
    pub fn with(mut self, times: Times, headers: Duration) -> Self {
        if let Some(intake) = Arc::get_mut(&mut self.intake) {
            intake.times = times;
        }
        self.limits.headers = headers;
        self
    }

    /// The addresses of the ports.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            deliveries: self.http.local_addr()?,
            readings: self.read_http.local_addr()?,
            pushes: self.push_http.as_ref().map(TcpListener::local_addr).transpose()?,
            health: self.health_http.local_addr()?,
        })
    }

    /// Serves until `stop`; then lets the requests under way end.
    ///
    /// # Errors
    /// When it cannot start.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Addresses { deliveries: delivering, readings: reads, pushes: told, health: watched } = self.addresses()?;
        tracing::info!(%delivering, reading = %reads, pushes = ?told, health = %watched, "listening");
        let Self { http, read_http, push_http, health_http, intake, reading, pushes, limits } = self;
        let (health, metrics) = (Health::new(CHECKS), intake.metrics.clone());
        let (end, tasks) = (CancellationToken::new(), TaskTracker::new());
        check(&health, &intake, &tasks, &end);
        let (registry, open) = (metrics.registry.clone(), metrics.health_connections);
        tasks.spawn(health::serve(health_http, health.clone(), registry, open, end.clone()));
        let to_readers =
            serve(read_http, None, warp::service(readings(reading)), READERS, metrics.read_connections, stop.clone());
        let from_forges = OptionFuture::from(push_http.map(|http| {
            let service = warp::service(routes::pushes(pushes));
            serve(http, None, service, FORGES, metrics.push_connections.clone(), stop.clone())
        }));
        let leaving = {
            let (stop, health) = (stop.clone(), health.clone());
            async move {
                stop.cancelled().await;
                tracing::info!("leaving");
                health.leave();
            }
        };
        let from_pods =
            serve(http, None, warp::service(deliveries(Arc::clone(&intake))), limits, metrics.connections, stop);
        tokio::join!(from_pods, to_readers, from_forges, leaving);
        end.cancel();
        tasks.close();
        tasks.wait().await;
        intake.store.close().await;
        tracing::info!("ended");
        Ok(())
    }
}

/// Where the server listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// For pods that deliver.
    pub deliveries: SocketAddr,
    /// For people's clients that read.
    pub readings: SocketAddr,
    /// For forges that tell of pushes.
    pub pushes: Option<SocketAddr>,
    /// For probes and Prometheus.
    pub health: SocketAddr,
}

/// Keeps asking, in tasks, whether Postgres and the API server answer.
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
