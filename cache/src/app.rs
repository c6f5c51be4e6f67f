//! Runs the parts of the cache together: ports, checks and shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use enact_service::handler::Handler;
use enact_service::health::{self, Health};
use enact_service::http::{Limits, listen, serve};
use futures::future::BoxFuture;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Settings;
use crate::identity::Identifier;
use crate::metrics::Metrics;
use crate::repositories::{Repositories, Sizes};
use crate::routes::Cache;

const API_SERVER: &str = "api-server";
/// Limits for runners' connections. The age and the shutdown together limit the time of a transfer.
const LIMITS: Limits = Limits {
    connections: 0,
    per_client: 0,
    handshake: Duration::from_secs(10),
    headers: Duration::from_secs(10),
    age: Duration::from_mins(1),
    shutdown: Duration::from_secs(20),
    http2: None,
};
/// Part of the connections that one client address may have. A runner needs one at a time.
const CLIENT_PART: usize = 4;
/// Time between two searches for repositories that nobody uses.
const SWEEP: Duration = Duration::from_mins(10);

/// A cache whose ports are open.
pub struct App {
    http: TcpListener,
    health_http: TcpListener,
    cache: Arc<Cache>,
    limits: Limits,
}

impl App {
    /// Opens the ports, and empties the folder. The API server need not answer yet.
    ///
    /// # Errors
    /// When a port cannot be opened, or the folder cannot be used.
    pub async fn bind(settings: &Settings, client: Client) -> anyhow::Result<Self> {
        let metrics = Metrics::new()?;
        let sizes =
            Sizes { capacity: u64::from(settings.capacity) << 20, repository: u64::from(settings.repository) << 20 };
        let repositories = Repositories::new(&settings.folder, sizes, metrics.clone())
            .with_context(|| format!("--folder {}", settings.folder.display()))?;
        let cache = Cache {
            identifier: Identifier::new(client, &settings.default_tenant_namespaces),
            repositories: Arc::new(repositories),
            metrics,
            git_memory: settings.git_memory,
            checks: Semaphore::new(1),
        };
        Ok(Self {
            http: listen(settings.listen).await?,
            health_http: listen(settings.health_listen).await?,
            cache: Arc::new(cache),
            limits: Limits {
                connections: usize::from(settings.connections),
                per_client: usize::from(settings.connections).div_ceil(CLIENT_PART),
                ..LIMITS
            },
        })
    }

    /// Returns the addresses for runners, and for probes and Prometheus.
    ///
    /// # Errors
    /// When the operating system does not report them.
    pub fn addresses(&self) -> std::io::Result<[SocketAddr; 2]> {
        Ok([self.http.local_addr()?, self.health_http.local_addr()?])
    }

    /// Serves until `stop`; then lets the running requests end. Checks of packs are abandoned: a cache that starts is empty.
    ///
    /// The future is boxed, so that it is compiled with this crate and not once more with each test program.
    ///
    /// # Errors
    /// When it cannot start.
    pub fn run(self, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(self.serve(stop))
    }

    async fn serve(self, stop: CancellationToken) -> anyhow::Result<()> {
        let [runners, probes] = self.addresses()?;
        tracing::info!(%runners, health = %probes, "listening");
        let Self { http, health_http, cache, limits } = self;
        let (health, metrics) = (Health::new([API_SERVER]), cache.metrics.clone());
        let (end, tasks) = (CancellationToken::new(), TaskTracker::new());
        let identifying = Arc::clone(&cache);
        let ready = async move || identifying.identifier.ready().await;
        tasks.spawn(end.clone().run_until_cancelled_owned(health.clone().keep_checking(API_SERVER, ready)));
        let sweeping = Arc::clone(&cache.repositories);
        tasks.spawn(end.clone().run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                sweeping.remove_idle();
            }
        }));
        let (registry, open) = (metrics.registry.clone(), metrics.health_connections);
        tasks.spawn(health::serve(health_http, health.clone(), registry, open, end.clone()));
        let shutdown = {
            let stop = stop.clone();
            async move {
                stop.cancelled().await;
                tracing::info!("shutting down");
                health.shut_down();
            }
        };
        let routes = Handler::new(move |request| Arc::clone(&cache).serve(request));
        let serving = serve(http, None, routes, limits, metrics.connections, stop);
        tokio::join!(serving, shutdown);
        end.cancel();
        tasks.close();
        tasks.wait().await;
        tracing::info!("stopped");
        Ok(())
    }
}
