//! Builds the contexts of all controllers, for the process and for tests.

use std::sync::Arc;

use enact_crds::Plan;
use futures::channel::mpsc::UnboundedReceiver;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use parking_lot::Mutex;

use crate::agent_health::AgentHealth;
use crate::agent_histories::AgentHistories;
use crate::caches::Caches;
use crate::change_detection::ChangeDetector;
use crate::config::Config;
use crate::context::{Clock, Context};
use crate::documents::dependents::Dependents;
use crate::documents::document_cache::DocumentCache;
use crate::index::Index;
use crate::initial_sync::InitialSync;
use crate::metrics::Metrics;
use crate::monthly_budgets::MonthlyBudgets;
use crate::plan::digest_cache::AgentDigestCache;
use crate::plan::history::History;
use crate::plan::limiter::ConcurrencyLimiter;
use crate::plan::reservations::Reservations;
use crate::plan::runtime::Runtimes;
use crate::record_store::RecordStore;
use crate::references::{References, Requeued};
use crate::search::{IndexJob, Search};
use crate::setup_events::SetupEvents;
use crate::sourcing::jobs::DocumentJobs;
use crate::tenant::cluster::ClusterView;
use crate::warm_pool::WarmPods;
use crate::{agent, documents, plan, sourcing, tenant};

/// The inputs that the contexts are built from.
pub struct Environment {
    pub clock: Clock,
    pub client: Client,
    pub config: Config,
    pub record_store: Arc<dyn RecordStore>,
    pub metrics: Metrics,
    pub caches: Caches,
    /// The first lists of those caches.
    pub initial_sync: InitialSync,
}

/// The contexts of all controllers.
pub struct Contexts {
    /// The context of the ModelProvider and Approval controllers, which need no other.
    pub common: Arc<Context>,
    pub agents: Arc<agent::Context>,
    pub tenants: Arc<tenant::Context>,
    pub documents: Arc<documents::Context>,
    pub plans: Arc<plan::Context>,
    pub sourcing: Arc<sourcing::Context>,
    pub search: Arc<Search>,
}

/// The receiving ends of the queues in the contexts.
pub struct Queues {
    /// Objects to requeue because an object that they refer to changed.
    pub requeued: Requeued,
    /// Plans to requeue because a task or pod changed, or a slot became free.
    pub plans: UnboundedReceiver<ObjectRef<Plan>>,
    /// Documents to index.
    pub index_jobs: tokio::sync::mpsc::Receiver<IndexJob>,
}

impl Contexts {
    /// Builds the contexts, and returns the receiving ends of their queues.
    pub fn new(environment: Environment) -> (Self, Queues) {
        let Environment { clock, client, config, record_store, metrics, caches, mut initial_sync } = environment;
        let (index, plans) = Index::new();
        let (search, index_jobs) = Search::new();
        let (jobs, cluster) = (DocumentJobs::default(), ClusterView::default());
        // No controller may decide before these lists are complete: an object that is not cached may exist.
        initial_sync.add(caches.namespaces.listed());
        initial_sync.add(jobs.listed());
        let warm_pods = Arc::new(WarmPods::default());
        initial_sync.add(warm_pods.listed());
        index.listed().chain(cluster.listed()).for_each(|listed| initial_sync.add(listed));
        let (references, requeued) = References::new(&caches);
        let reporter = Reporter { controller: "enact-operator".into(), instance: Some(config.pod_name.clone()) };
        let events = Recorder::new(client.clone(), reporter);
        let document_cache = Arc::new(DocumentCache::new(record_store.clone()));
        let common = Arc::new(Context {
            clock,
            client,
            config,
            record_store,
            metrics,
            events,
            caches,
            initial_sync,
            references,
            monthly_budgets: MonthlyBudgets::default(),
            agent_histories: AgentHistories::default(),
            agent_health: AgentHealth::default(),
            control_changes: ChangeDetector::default(),
            setup_events: SetupEvents::default(),
        });
        let (search, dependents) = (Arc::new(search), Arc::new(Dependents::default()));
        let limiter = Arc::new(ConcurrencyLimiter::default());
        let sourcing =
            Arc::new(sourcing::Context { common: common.clone(), jobs, document_cache: document_cache.clone() });
        let history = Arc::new(History::default());
        let tenants = Arc::new(tenant::Context {
            common: common.clone(),
            cluster,
            limiter: limiter.clone(),
            history: history.clone(),
            record_owners: Mutex::default(),
        });
        let agents = Arc::new(agent::Context {
            common: common.clone(),
            limiter: limiter.clone(),
            warm_pods: warm_pods.clone(),
            refreshed: Mutex::default(),
            probes: agent::Probes::default(),
        });
        let documents = Arc::new(documents::Context {
            common: common.clone(),
            cache: document_cache.clone(),
            changes: ChangeDetector::default(),
            dependents: dependents.clone(),
            sourcing: sourcing.clone(),
            search: search.clone(),
        });
        let plan_context = Arc::new(plan::Context {
            common: common.clone(),
            runtimes: Runtimes::default(),
            index,
            limiter,
            start_secret: rand::random(),
            warm_pods,
            reservations: Reservations::default(),
            history,
            agent_digests: AgentDigestCache::default(),
            document_cache,
            dependents,
            sourcing: sourcing.clone(),
            search: search.clone(),
        });
        let contexts = Self { common, agents, tenants, documents, plans: plan_context, sourcing, search };
        (contexts, Queues { requeued, plans, index_jobs })
    }
}
