//! Runs the parts of the server together: ports, receivers, checks and shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use enact_embed::Embedder;
use enact_service::health::{self, Health};
use enact_service::http::{Limits, listen, serve};
use enact_store::Store;
use futures::future::{BoxFuture, OptionFuture};
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
/// Time limit of one operation in Postgres for a reader. Shorter, because a person can ask for less, and a search takes the time of Postgres
/// from deliveries.
const READ_OPERATION: Duration = Duration::from_secs(4);
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
        let connect = |max_connections, operation_timeout| {
            let rest = enact_store::Config::new(&settings.database_url);
            Store::connect(&enact_store::Config { max_connections, operation_timeout, ..rest })
                .context("--database-url")
        };
        let store = connect(settings.database_connections.div_ceil(2), OPERATION)?;
        let for_readers = settings.database_connections / 2;
        let (cluster, times) = (Arc::new(Cluster::new(client, &settings.default_tenant_namespaces)), Times::default());
        // Readers have a separate limiter and separate connections to Postgres, so that they never block the deliveries of pods.
        let reading = Reading {
            access: Access::new(Arc::clone(&cluster), times.identify),
            store: connect(for_readers, READ_OPERATION)?,
            embedder: Embedder::new(&settings.embedder),
            limiter: RequestLimiter::new(reading_slots(settings.readings, for_readers), WAIT),
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
    /// The future is boxed, so that it is compiled with this crate and not once more with each test program.
    ///
    /// # Errors
    /// When it cannot start.
    pub fn run(self, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(self.serve(stop))
    }

    async fn serve(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Addresses { deliveries: pods, readings: readers, pushes: git_hosts, health: probes } = self.addresses()?;
        tracing::info!(deliveries = %pods, readings = %readers, pushes = ?git_hosts, health = %probes, "listening");
        let Self { http, read_http, push_http, health_http, intake, reading, pushes, limits } = self;
        let (health, metrics, read_store) = (Health::new(CHECKS), intake.metrics.clone(), reading.store.clone());
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
        tokio::join!(intake.store.close(), read_store.close());
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

/// Returns the number of slots for readers: so few that the half of them that one tenant gets cannot take all of the readers' connections.
fn reading_slots(readings: u16, connections: u32) -> usize {
    let most = usize::try_from(connections).unwrap_or(usize::MAX).saturating_sub(1).saturating_mul(2);
    usize::from(readings).min(most).max(2)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_leaves_connections_to_other_readers() {
        assert_eq!(reading_slots(12, 8), 12);
        for (readings, connections) in [(12, 4), (13, 7), (1024, 2), (3, 128)] {
            let own = reading_slots(readings, connections).div_ceil(2);
            assert!(own < connections as usize, "{own} of {connections}");
        }
        assert_eq!(reading_slots(12, 1), 2);
    }
}
