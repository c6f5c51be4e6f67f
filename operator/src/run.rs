//! The process: waits for leadership, then runs the controllers until it receives a signal or loses its leadership.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use enact_crds::{Agent, Approval, Constitution, ModelProvider, Plan, Specification, Tenant};
use enact_domain::record::Kind;
use enact_embed::Embedder;
use enact_service::health::{self, Health};
use enact_service::http;
use enact_store::{Recorder, Store};
use futures::channel::mpsc;
use kube::runtime::Controller;
use kube::{Api, Client};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::approval::index::ApprovalIndex;
use crate::caches::Caches;
use crate::config::Config;
use crate::context::wall_clock;
use crate::contexts::{Contexts, Environment};
use crate::controller::drive;
use crate::deleted::{Deleted, report_deletions};
use crate::initial_sync::InitialSync;
use crate::leader::Candidate;
use crate::metadata_cache::MetadataCache;
use crate::metrics::Metrics;
use crate::record_store::{PostgresRecordStore, RecordStore};
use crate::search::{self, IndexJob, PostgresIndex, SearchIndex};
use crate::sourcing::{self, push};
use crate::tenant::objects::ObjectKind;
use crate::{agent, approval, deletion_records, documents, housekeeping, plan, provider, tenant, watch};

/// The readiness check of Postgres. A process that cannot reach it is alive, but does no work.
const POSTGRES: &str = "postgres";
/// Time for running reconciles to finish after a signal; less than a pod's usual grace period of 30 s.
const GRACE: Duration = Duration::from_secs(20);

/// Runs the operator until `stop` or loss of leadership.
///
/// # Errors
/// When it cannot start, or when a controller ended by itself.
pub async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let metrics = Metrics::new()?;
    let url = config.operator_database_url.as_ref().unwrap_or(&config.database_url);
    let store = Store::connect(&enact_store::Config::new(url))?;
    let round_trips = store.clone();
    metrics.register_round_trips(move || round_trips.round_trips())?;
    let (health, end, tasks) = (Health::new([POSTGRES]), CancellationToken::new(), TaskTracker::new());
    let listener = http::listen(config.listen).await.context("--listen")?;
    let (registry, open) = (metrics.registry.clone(), metrics.health_connections.clone());
    // The health server runs before the election: a follower answers probes too.
    tasks.spawn(health::serve(listener, health.clone(), registry, open, end.clone()));
    let record = store.clone();
    let ready = async move || record.ready().await.map_err(|error| error.to_string());
    tasks.spawn(end.clone().run_until_cancelled_owned(health.clone().keep_checking(POSTGRES, ready)));
    let client =
        Client::try_default().await.context("cannot connect to an API server; set KUBECONFIG, or run in a pod")?;
    // Two processes may have the same name, after a restart or by mistake. The random part tells them apart, so that only one leads.
    let identity = format!("{}_{:08x}", config.pod_name, rand::random::<u32>());
    let mut candidate = Candidate::new(client.clone(), &config.namespace, identity.clone(), config.lease_seconds);

    let elected = stop.run_until_cancelled(candidate.elected()).await;
    let mut failure = None;
    if elected.is_some() {
        tracing::info!(identity, "leading");
        metrics.leader.set(1);
        failure = lead(client, config, store, metrics.clone(), &health, &mut candidate, &stop).await;
        metrics.leader.set(0);
    }
    end.cancel();
    tasks.close();
    tasks.wait().await;
    failure.map_or(Ok(()), |reason| Err(anyhow::anyhow!(reason)))
}

/// Runs the controllers while this process holds the lease. Returns why they stopped, unless `stop` asked for it.
async fn lead(
    client: Client,
    config: Config,
    store: Store,
    metrics: Metrics,
    health: &Health,
    candidate: &mut Candidate,
    stop: &CancellationToken,
) -> Option<&'static str> {
    const LOST: &str = "the leader lease is lost";
    let shutdown = CancellationToken::new();
    // Started by the leader only, and closed below before it releases the lease.
    let (recorder, flusher) = Recorder::start(store.clone());
    let index = Box::new(PostgresIndex { store: store.clone(), embedder: Embedder::new(&config.embedder) });
    let (pushes, deliveries) = (store.push_listener(), store.delivery_listener());
    let housekeeping_store = store.clone();
    let record_store = Arc::new(PostgresRecordStore { store, recorder });
    let (contexts, controllers) = Controllers::new(client, config, record_store, metrics);
    let plans = contexts.common.caches.plans.clone();
    if let Err(error) = contexts.common.metrics.register_waits(move || plan::waits::by_reason(&plans.state())) {
        tracing::error!(%error, "the waits of plans are not exported");
    }
    let mut tasks = controllers.spawn(&contexts, index, &shutdown);
    tasks.spawn(housekeeping::run(contexts.common.clone(), housekeeping_store, shutdown.clone()));
    tasks.spawn(push::follow(contexts.sourcing.clone(), pushes, shutdown.clone()));
    tasks.spawn(plan::watches::follow_deliveries(contexts.plans.clone(), deliveries, shutdown.clone()));
    let mut failure = tokio::select! {
        () = stop.cancelled() => None,
        () = candidate.lost() => Some(LOST),
        _ = tasks.join_next() => Some("a controller has ended by itself"),
    };
    if let Some(reason) = failure {
        health.fail(reason);
        tracing::error!(reason, "stopping");
    }
    // Stops the watches and queues. Controllers start no new reconcile, and finish those that run.
    shutdown.cancel();
    if failure != Some(LOST) {
        // The lease is renewed while running reconciles finish.
        let drained = async { while tasks.join_next().await.is_some() {} };
        tokio::select! {
            done = tokio::time::timeout(GRACE, drained) => if done.is_err() {
                tracing::warn!("some reconciles did not finish in time; the next leader repeats them without effect");
            },
            () = candidate.lost() => failure = Some(LOST),
        }
    }
    // From here on another process may lead: this one writes nothing any more.
    tasks.shutdown().await;
    drop(contexts);
    flusher.close().await;
    if failure != Some(LOST) {
        // Last, after every write of this process: the next leader may start at once.
        candidate.resign().await;
    }
    failure
}

/// The controllers and watches before they run.
struct Controllers {
    deleted: mpsc::UnboundedReceiver<Deleted>,
    index_jobs: tokio::sync::mpsc::Receiver<IndexJob>,
    tenants: Controller<Tenant>,
    constitutions: Controller<Constitution>,
    specifications: Controller<Specification>,
    plans: Controller<Plan>,
    providers: Controller<ModelProvider>,
    agents: Controller<Agent>,
    approvals: Controller<Approval>,
}

impl Controllers {
    /// Builds the controllers and their contexts. The order matters: controllers bring the caches that contexts are built from, and
    /// contexts bring the queues that controllers are fed from.
    fn new(client: Client, config: Config, record_store: Arc<dyn RecordStore>, metrics: Metrics) -> (Contexts, Self) {
        let mut sync = InitialSync::default();
        let (deletions, deleted) = mpsc::unbounded();
        let (mut approval_index, subjects) = ApprovalIndex::new();
        let tenants = sync.controller_with(Api::all(client.clone()), report_deletions(Kind::Tenant, deletions.clone()));
        let constitutions =
            sync.controller_with(Api::all(client.clone()), report_deletions(Kind::Constitution, deletions.clone()));
        let specifications =
            sync.controller_with(Api::all(client.clone()), report_deletions(Kind::Specification, deletions.clone()));
        let plans = sync.controller_with(Api::all(client.clone()), report_deletions(Kind::Plan, deletions.clone()));
        let providers =
            sync.controller_with(Api::all(client.clone()), report_deletions(Kind::ModelProvider, deletions.clone()));
        let agents = sync.controller_with(Api::all(client.clone()), report_deletions(Kind::Agent, deletions.clone()));
        let mut report_approval = report_deletions::<Approval>(Kind::Approval, deletions);
        // The index handles the events of this watch after the cache, so that a requeued subject finds the change in the cache.
        let approvals = sync.controller_with(Api::all(client.clone()), move |event| {
            approval_index.handle(event);
            report_approval(event);
        });
        let caches = Caches {
            tenants: tenants.store(),
            constitutions: constitutions.store(),
            specifications: specifications.store(),
            plans: plans.store(),
            providers: providers.store(),
            agents: agents.store(),
            approvals: approvals.store(),
            namespaces: MetadataCache::default(),
        };
        let clock = wall_clock();
        let environment = Environment { clock, client, config, record_store, metrics, caches, initial_sync: sync };
        let (contexts, queues) = Contexts::new(environment);
        let requeued = queues.requeued;
        let controllers = Self {
            deleted,
            index_jobs: queues.index_jobs,
            tenants: tenants.reconcile_on(requeued.tenants),
            constitutions: constitutions.reconcile_on(requeued.constitutions).reconcile_on(subjects.constitutions),
            specifications: specifications.reconcile_on(requeued.specifications).reconcile_on(subjects.specifications),
            plans: plans.reconcile_on(requeued.plans).reconcile_on(subjects.plans).reconcile_on(queues.plans),
            providers: providers.reconcile_on(requeued.providers),
            agents: agents.reconcile_on(requeued.agents),
            approvals: approvals.reconcile_on(requeued.approvals),
        };
        (contexts, controllers)
    }

    fn spawn(self, contexts: &Contexts, index: Box<dyn SearchIndex>, shutdown: &CancellationToken) -> JoinSet<()> {
        let mut set = JoinSet::new();
        let (common, stop) = (|| contexts.common.clone(), || shutdown.clone());
        let (tenants, documents) = (contexts.tenants.clone(), contexts.documents.clone());
        let (plans, search) = (contexts.plans.clone(), contexts.search.clone());
        // Every controller waits in `synced` until the watches of tasks, pods, namespaces and the operator's objects have listed once.
        set.spawn(plan::watches::follow_tasks(plans.clone(), stop()));
        set.spawn(plan::watches::follow_pods(plans.clone(), stop()));
        set.spawn(agent::watches::follow_waiting_pods(contexts.agents.clone(), stop()));
        set.spawn(sourcing::follow(contexts.sourcing.clone(), stop()));
        set.spawn(agent::follow_probes(contexts.agents.clone(), stop()));
        set.spawn(watch::config_maps(common(), stop()));
        set.spawn(deletion_records::follow(self.deleted, documents.clone(), plans.clone(), stop()));
        set.spawn(search::run(common(), search, index, self.index_jobs, stop()));
        set.spawn(tenant::watches::follow_namespaces(tenants.clone(), stop()));
        for kind in ObjectKind::ALL {
            set.spawn(tenant::watches::follow_objects(kind, tenants.clone(), stop()));
        }
        set.spawn(tenant::watches::follow_policies(tenants.clone(), stop()));
        set.spawn(tenant::default::run(tenants.clone(), stop()));
        set.spawn(drive(self.tenants, common(), stop(), move |tenant| tenant::reconcile(tenant, tenants.clone())));
        let ctx = documents.clone();
        set.spawn(drive(self.constitutions, common(), stop(), move |object| documents::reconcile(object, ctx.clone())));
        set.spawn(drive(self.specifications, common(), stop(), move |object| {
            documents::reconcile(object, documents.clone())
        }));
        set.spawn(drive(self.plans, common(), stop(), move |plan| plan::reconcile(plan, plans.clone())));
        let ctx = common();
        set.spawn(drive(self.providers, common(), stop(), move |object| provider::reconcile(object, ctx.clone())));
        let ctx = contexts.agents.clone();
        set.spawn(drive(self.agents, common(), stop(), move |agent| agent::reconcile(agent, ctx.clone())));
        let ctx = common();
        set.spawn(drive(self.approvals, common(), stop(), move |approval| approval::reconcile(approval, ctx.clone())));
        set
    }
}
