//! The process: waits to lead, then runs the controllers until it is told to stop or no longer leads.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use enact_crds::{Agent, Approval, Constitution, Plan, Specification, Tenant};
use enact_embed::Embedder;
use enact_service::health::{self, Health};
use enact_service::http;
use enact_store::{Recorder, Store};
use futures::channel::mpsc;
use kube::runtime::Controller;
use kube::runtime::events::{Recorder as Events, Reporter};
use kube::runtime::watcher::Event;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backoff::Backoff;
use crate::circles::Circles;
use crate::config::Config;
use crate::context::{Caches, Context, wall_clock};
use crate::controller::drive;
use crate::documents::library::Library;
use crate::documents::news::News;
use crate::index::Index;
use crate::leader::Candidate;
use crate::ledger::Ledger;
use crate::listings::Listings;
use crate::memory::{Memory, Postgres};
use crate::metrics::Metrics;
use crate::plan::Runtimes;
use crate::references::{References, Referrers, Target};
use crate::search::{self, Search};
use crate::sourcing::errands::Errands;
use crate::sourcing::push;
use crate::subjects::Subjects;
use crate::tenant::cluster::{Cluster, follow_namespaces, follow_objects};
use crate::{agent, approval, documents, follow, plan, tenant};

/// The check that must hold for this process to be ready: one that cannot reach the record is alive, but of no use.
const POSTGRES: &str = "postgres";
/// How long running reconciles may take to end after a signal; below a pod's usual grace period of 30 s.
const GRACE: Duration = Duration::from_secs(20);

/// Runs the operator until SIGTERM, SIGINT or the loss of its leadership.
///
/// # Errors
/// When it cannot start, or when a controller ended by itself.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let metrics = Metrics::new()?;
    let store = Store::connect(&enact_store::Config::new(&config.database_url))?;
    let round_trips = store.clone();
    metrics.show_round_trips(move || round_trips.round_trips())?;
    let stop = enact_service::signal::stop().context("cannot listen for signals")?;
    let (health, end, tasks) = (Health::new([POSTGRES]), CancellationToken::new(), TaskTracker::new());
    let listener = http::listen(config.listen).await.context("--listen")?;
    let (registry, open) = (metrics.registry.clone(), metrics.health_connections.clone());
    tasks.spawn(health::serve(listener, health.clone(), registry, open, end.clone()));
    let record = store.clone();
    let ready = async move || record.ready().await.map_err(|error| error.to_string());
    tasks.spawn(end.clone().run_until_cancelled_owned(health.clone().keep_checking(POSTGRES, ready)));
    let client = Client::try_default().await.context("no way to an API server; set KUBECONFIG or run in a pod")?;
    // Of two processes of one name, after a restart or by mistake, only one is to lead.
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

/// Runs the controllers while the lease is ours; why that ended, when nobody asked for it.
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
    let (recorder, flusher) = Recorder::start(store.clone());
    let index = Box::new(search::Postgres { store: store.clone(), embedder: Embedder::new(&config.embedder) });
    let pushes = store.pushes();
    let memory = Box::new(Postgres { store, recorder });
    let (ctx, controllers) = assemble(client, config, memory, metrics);
    let mut tasks = controllers.spawn(&ctx, index, &shutdown);
    tasks.spawn(push::follow(ctx.clone(), pushes, shutdown.clone()));
    let mut failure = tokio::select! {
        () = stop.cancelled() => None,
        () = candidate.lost() => Some(LOST),
        _ = tasks.join_next() => Some("a controller has ended by itself"),
    };
    if let Some(reason) = failure {
        health.fail(reason);
        tracing::error!(reason, "stopping");
    }
    shutdown.cancel();
    if failure != Some(LOST) {
        // The lease is kept while running reconciles come to their end.
        let drained = async { while tasks.join_next().await.is_some() {} };
        tokio::select! {
            done = tokio::time::timeout(GRACE, drained) => if done.is_err() {
                tracing::warn!("some reconciles did not end in time; what they did is repeated without effect after the restart");
            },
            () = candidate.lost() => failure = Some(LOST),
        }
    }
    // Whoever leads next may begin at any moment: nothing of this process writes after that.
    tasks.shutdown().await;
    drop(ctx);
    flusher.close().await;
    if failure != Some(LOST) {
        candidate.resign().await;
    }
    failure
}

/// The controllers before they run.
struct Controllers {
    departed: mpsc::UnboundedReceiver<(Target, String)>,
    jobs: tokio::sync::mpsc::Receiver<search::Job>,
    tenants: Controller<Tenant>,
    constitutions: Controller<Constitution>,
    specifications: Controller<Specification>,
    plans: Controller<Plan>,
    agents: Controller<Agent>,
    approvals: Controller<Approval>,
}

fn assemble(client: Client, config: Config, memory: Box<dyn Memory>, metrics: Metrics) -> (Arc<Context>, Controllers) {
    let (index, woken) = Index::new();
    let (mut subjects, decided) = Subjects::new();
    let mut listings = Listings::default();
    let tenants = listings.controller(Api::<Tenant>::all(client.clone()));
    let (search, jobs) = Search::new();
    let (gone, departed) = mpsc::unbounded();
    let constitutions = listings
        .telling(Api::<Constitution>::all(client.clone()), departures(gone.clone()))
        .reconcile_on(decided.constitutions);
    let specifications = listings
        .telling(Api::<Specification>::all(client.clone()), departures(gone.clone()))
        .reconcile_on(decided.specifications);
    let agents = listings.controller(Api::<Agent>::all(client.clone()));
    let approval_controller = listings.telling(Api::<Approval>::all(client.clone()), move |event| subjects.told(event));
    let plans = listings
        .telling(Api::<Plan>::all(client.clone()), departures(gone))
        .reconcile_on(decided.plans)
        .reconcile_on(woken);
    let (of_tenants, tenants) = referring(tenants);
    let (of_constitutions, constitutions) = referring(constitutions);
    let (of_specifications, specifications) = referring(specifications);
    let (of_plans, plans) = referring(plans);
    let (of_agents, agents) = referring(agents);
    let (of_approvals, approval_controller) = referring(approval_controller);
    let references = References {
        tenants: of_tenants,
        constitutions: of_constitutions,
        specifications: of_specifications,
        plans: of_plans,
        agents: of_agents,
        approvals: of_approvals,
    };
    let caches = Caches {
        tenants: tenants.store(),
        constitutions: constitutions.store(),
        specifications: specifications.store(),
        plans: plans.store(),
        agents: agents.store(),
        approvals: approval_controller.store(),
    };
    let reporter = Reporter { controller: "enact-operator".into(), instance: Some(config.pod_name.clone()) };
    let ctx = Arc::new(Context {
        clock: wall_clock(),
        events: Events::new(client.clone(), reporter),
        client,
        config,
        memory,
        metrics,
        caches,
        listings,
        references,
        index,
        errands: Errands::default(),
        ledger: Ledger::default(),
        backoff: Backoff::default(),
        plans: Runtimes::default(),
        cluster: Cluster::default(),
        library: Library::default(),
        news: News::default(),
        circles: Circles::default(),
        search,
    });
    (
        ctx,
        Controllers {
            departed,
            jobs,
            tenants,
            constitutions,
            specifications,
            plans,
            agents,
            approvals: approval_controller,
        },
    )
}

/// Tells of objects that were deleted, once the cache shows it.
fn departures<K>(gone: mpsc::UnboundedSender<(Target, String)>) -> impl FnMut(&Event<K>) + Send + 'static
where
    K: Resource<DynamicType = ()>,
{
    move |event| {
        if let Event::Delete(object) = event {
            // The receiver is gone only when the process ends.
            let _ = gone.unbounded_send((Target::of(object), object.meta().uid.clone().unwrap_or_default()));
        }
    }
}

/// A controller that also looks again at what depends on something that changed.
fn referring<K>(controller: Controller<K>) -> (Referrers<K>, Controller<K>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (referrers, woken) = Referrers::new(controller.store());
    (referrers, controller.reconcile_on(woken))
}

impl Controllers {
    fn spawn(self, ctx: &Arc<Context>, index: Box<dyn search::Index>, shutdown: &CancellationToken) -> JoinSet<()> {
        let mut set = JoinSet::new();
        let (ctx, stop) = (|| ctx.clone(), || shutdown.clone());
        set.spawn(follow::tasks(ctx(), stop()));
        set.spawn(follow::pods(ctx(), stop()));
        set.spawn(follow::errands(ctx(), stop()));
        set.spawn(follow::config_maps(ctx(), stop()));
        set.spawn(follow::departures(self.departed, ctx(), stop()));
        set.spawn(search::run(ctx(), index, self.jobs, stop()));
        set.spawn(follow_namespaces(ctx(), stop()));
        for kind in tenant::objects::Kind::ALL {
            set.spawn(follow_objects(kind, ctx(), stop()));
        }
        set.spawn(tenant::default::look_after(ctx(), stop()));
        set.spawn(drive(self.tenants, ctx(), stop(), tenant::reconcile));
        set.spawn(drive(self.constitutions, ctx(), stop(), documents::reconcile_constitution));
        set.spawn(drive(self.specifications, ctx(), stop(), documents::reconcile_specification));
        set.spawn(drive(self.plans, ctx(), stop(), plan::reconcile));
        set.spawn(drive(self.agents, ctx(), stop(), agent::reconcile));
        set.spawn(drive(self.approvals, ctx(), stop(), approval::reconcile));
        set
    }
}
