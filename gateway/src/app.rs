//! Runs the parts of the gateway together: ports, caches, checks and shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use enact_crds::provider::RateLimits;
use enact_service::handler::Handler;
use enact_service::health::{self, Health};
use enact_service::http::{Limits, listen, serve};
use enact_service::shares::Shares;
use enact_store::Store;
use futures::future::BoxFuture;
use kube::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::abandoned;
use crate::address::AllowedHosts;
use crate::breaker::Breakers;
use crate::budget::Budgets;
use crate::cluster::Cluster;
use crate::config::Settings;
use crate::gateway::{CommonLimits, Gateway, LEDGER_SLOTS, Patience};
use crate::identity::Identifier;
use crate::keys::Keys;
use crate::ledger::Ledger;
use crate::limits::Limiter;
use crate::memory::Memory;
use crate::metering::Metering;
use crate::metrics::Metrics;
use crate::providers::Catalogue;
use crate::request_log::RequestLogs;
use crate::routes::Routes;
use crate::upstream::Upstream;
use crate::waiting::Waiting;

const CHECKS: [&str; 3] = ["postgres", "api-server", "model-providers"];
/// Time limit of one operation in Postgres.
const OPERATION: Duration = Duration::from_secs(6);
/// Time for the last settlements when the gateway stops.
const FLUSH: Duration = Duration::from_secs(10);
/// Limits for agents' connections. An agent sends many requests over one connection, and waits minutes for an answer. Over HTTP/2, which no
/// agent uses without TLS, a connection would have many requests at once, and the limit of connections would not limit them.
const LIMITS: Limits = Limits {
    connections: 0,
    per_client: 0,
    handshake: Duration::from_secs(10),
    headers: Duration::from_mins(1),
    age: Duration::MAX,
    shutdown: Duration::from_mins(2),
    http2: None,
};

/// A gateway whose ports are open.
pub struct App {
    http: TcpListener,
    health_http: TcpListener,
    cluster: Cluster,
    store: Option<Store>,
    gateway: Arc<Gateway>,
    routes: Arc<Routes>,
    limits: Limits,
    /// Ends the watches and checks.
    end: CancellationToken,
    tasks: TaskTracker,
}

/// What a test replaces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overrides {
    pub patience: Patience,
    /// Longest wait for the headers of a request.
    pub headers: Option<Duration>,
}

impl App {
    /// Opens the ports. Neither Postgres nor the API server needs to answer yet.
    ///
    /// # Errors
    /// When a port cannot be opened, or a setting is invalid.
    pub async fn bind(settings: &Settings, client: Client) -> anyhow::Result<Self> {
        let store = Store::connect(&enact_store::Config {
            max_connections: settings.database_connections,
            operation_timeout: OPERATION,
            ..enact_store::Config::new(&settings.database_url)
        })
        .context("--database-url")?;
        let ledger = Arc::new(store.clone());
        let app = Self::with_ledger(settings, client, ledger, Overrides::default()).await?;
        Ok(Self { store: Some(store), ..app })
    }

    /// Opens the ports of a gateway that writes usage to `ledger`.
    ///
    /// # Errors
    /// When a port cannot be opened, or a setting is invalid.
    pub async fn with_ledger(
        settings: &Settings,
        client: Client,
        ledger: Arc<dyn Ledger>,
        overrides: Overrides,
    ) -> anyhow::Result<Self> {
        let (end, tasks) = (CancellationToken::new(), TaskTracker::new());
        let metrics = Metrics::new()?;
        let cluster = Cluster::new(client.clone(), &settings.default_tenant_namespaces);
        let limits = |requests_per_minute, tokens_per_minute, concurrent_requests| RateLimits {
            requests_per_minute,
            tokens_per_minute,
            concurrent_requests,
        };
        let request_memory = u64::from(settings.request_memory) << 20;
        let gateway = Arc::new(Gateway {
            identifier: Identifier::new(cluster.clone()),
            catalogue: Catalogue::watch(&client, &settings.namespace, &tasks, &end),
            keys: Keys::new(client.clone()),
            upstream: Upstream::new(AllowedHosts::new(&settings.allowed_private_hosts))?,
            metering: Metering::new(Arc::clone(&ledger), metrics.clone()),
            request_logs: RequestLogs::new(Arc::clone(&ledger), metrics.clone()),
            budgets: Budgets::new(Arc::clone(&ledger)),
            ledger,
            ledger_slots: Shares::new(LEDGER_SLOTS),
            limiter: Arc::new(Limiter::new(settings.replicas)),
            common_limits: CommonLimits {
                tenant: limits(
                    settings.tenant_requests_per_minute,
                    settings.tenant_tokens_per_minute,
                    settings.tenant_concurrent_requests,
                ),
                agent: limits(settings.agent_requests_per_minute, settings.agent_tokens_per_minute, None),
                attempt: limits(settings.attempt_requests_per_minute, None, settings.attempt_concurrent_requests),
            },
            breakers: Breakers::default(),
            waiting: Waiting::default(),
            metrics,
            patience: overrides.patience,
            // Less than for requests, which are held as a whole. A tenant gets half of it, as there.
            parts: Memory::new(request_memory / 4, request_memory / 8),
            readings: Memory::new(request_memory / 4, request_memory / 8),
            relays: TaskTracker::new(),
        });
        Ok(Self {
            http: listen(settings.listen).await?,
            health_http: listen(settings.health_listen).await?,
            cluster,
            store: None,
            routes: Arc::new(Routes::new(Arc::clone(&gateway), request_memory)),
            gateway,
            limits: Limits {
                connections: usize::from(settings.connections),
                per_client: usize::from(settings.client_connections),
                headers: overrides.headers.unwrap_or(LIMITS.headers),
                shutdown: Duration::from_secs(settings.drain_seconds.into()),
                ..LIMITS
            },
            end,
            tasks,
        })
    }

    /// Returns the addresses for agents, and for probes and Prometheus.
    ///
    /// # Errors
    /// When the operating system does not report them.
    pub fn addresses(&self) -> std::io::Result<[SocketAddr; 2]> {
        Ok([self.http.local_addr()?, self.health_http.local_addr()?])
    }

    /// Serves until `stop`; then lets the running requests end, and writes their usage.
    ///
    /// The future is boxed, so that it is compiled with this crate and not once more with each test program.
    ///
    /// # Errors
    /// When it cannot start.
    pub fn run(self, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(self.serve(stop))
    }

    async fn serve(self, stop: CancellationToken) -> anyhow::Result<()> {
        let [agents, probes] = self.addresses()?;
        tracing::info!(%agents, health = %probes, "listening");
        let health = Health::new(CHECKS);
        self.check(&health);
        let Self { http, health_http, cluster, store, gateway, routes, limits, end, tasks } = self;
        let metrics = &gateway.metrics;
        let (registry, open) = (metrics.registry.clone(), metrics.health_connections.clone());
        tasks.spawn(health::serve(health_http, health.clone(), registry, open, end.clone()));
        let settling = abandoned::run(cluster, Arc::clone(&gateway));
        tasks.spawn(end.clone().run_until_cancelled_owned(settling));
        let shutdown = {
            let stop = stop.clone();
            async move {
                stop.cancelled().await;
                tracing::info!("shutting down");
                health.shut_down();
            }
        };
        let agents = Handler::new(move |request| Arc::clone(&routes).serve(request));
        let serving = serve(http, None, agents, limits, metrics.connections.clone(), stop);
        tokio::join!(serving, shutdown);
        // Every connection has ended, and with it every answer. What they used is written before the connections to Postgres close.
        gateway.relays.close();
        gateway.relays.wait().await;
        tokio::join!(gateway.metering.flush(FLUSH), gateway.request_logs.flush(FLUSH));
        end.cancel();
        tasks.close();
        tasks.wait().await;
        if let Some(store) = store {
            store.close().await;
        }
        tracing::info!("stopped");
        Ok(())
    }

    /// Spawns the checks of Postgres, the API server and the caches.
    fn check(&self, health: &Health) {
        let [postgres, api_server, providers] = CHECKS;
        let store = self.store.clone();
        let ready = async move || match &store {
            Some(store) => store.ready().await.map_err(|error| error.to_string()),
            None => Ok(()),
        };
        let checking = health.clone().keep_checking(postgres, ready);
        self.tasks.spawn(self.end.clone().run_until_cancelled_owned(checking));
        let cluster = self.cluster.clone();
        let ready = async move || cluster.ready().await;
        let checking = health.clone().keep_checking(api_server, ready);
        self.tasks.spawn(self.end.clone().run_until_cancelled_owned(checking));
        let gateway = Arc::clone(&self.gateway);
        let ready = async move || gateway.catalogue.ready().await;
        let checking = health.clone().keep_checking(providers, ready);
        self.tasks.spawn(self.end.clone().run_until_cancelled_owned(checking));
    }
}
