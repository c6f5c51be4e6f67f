//! What the tests of several modules share: settings, an API server in memory, a record in memory, and the controllers' context over both.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser as _;
use enact_crds::{Agent, Approval, Constitution, Plan, Specification, Tenant};
use enact_domain::digest::Digest;
use enact_domain::record::{Event as Happened, Record, RecordedAttempt};
use enact_domain::time::Millis;
use enact_store::StoreError;
use futures::channel::mpsc::UnboundedReceiver;
use futures::future::{self, BoxFuture};
use futures::stream;
use k8s_openapi::api::core::v1::Namespace;
use kube::Resource;
use kube::runtime::controller::Action;
use kube::runtime::events::{Recorder as Events, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::{Writer, store};
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

pub use enact_crds::testing::FakeApi;

use crate::backoff::Backoff;
use crate::circles::Circles;
use crate::config::{Cli, Command, Config};
use crate::context::{Caches, Context};
use crate::documents::library::Library;
use crate::documents::news::News;
use crate::error::Error;
use crate::index::{Index, Occupancy};
use crate::ledger::Ledger;
use crate::listings::Listings;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::plan::Runtimes;
use crate::pods::AttemptPod;
use crate::references::{References, Referrers, Target};
use crate::search::{Job, Search};
use crate::sourcing::errands::Errands;
use crate::tenant::cluster::{Cluster, NamespaceEntry};

/// Settings of an installation in the namespace `enact-system`, whose default tenant owns the namespace `ns`.
pub fn config() -> Config {
    let args = [
        "enact-operator",
        "run",
        "--database-url=postgres://enact@127.0.0.1:1/enact",
        "--agent-image=agent:1",
        "--runner-image=enact:1",
        "--server-url=http://enact-server.enact-system.svc:8080",
        "--namespace=enact-system",
        "--default-tenant-namespaces=ns",
    ];
    let Command::Run(config) = Cli::parse_from(args).command else { unreachable!("`run` was asked for") };
    *config
}

/// When every test begins, in milliseconds: 2026-01-01T00:00:00Z, which is when the API server in memory says that all was created.
const START: i64 = 1_767_225_600_000;

/// A record in memory that can be out of reach.
#[derive(Default)]
pub struct InMemory {
    pub records: Mutex<Vec<Record>>,
    pub attempts: Mutex<Vec<RecordedAttempt>>,
    /// What pods brought.
    pub documents: Mutex<Vec<Vec<u8>>>,
    pub down: AtomicBool,
}

impl InMemory {
    fn reach<T>(&self, value: impl FnOnce() -> T) -> Result<T, StoreError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(StoreError::TimedOut { doing: "ask a record that is down", after: Duration::from_secs(1) });
        }
        Ok(value())
    }

    /// What happened, in a few words each.
    pub fn told(&self) -> Vec<String> {
        let word = |record: &Record| match &record.event {
            Happened::Revision { .. } => format!("{}: revision", record.subject.name),
            Happened::Findings { .. } => format!("{}: findings", record.subject.name),
            Happened::Transition { state, reason, .. } => format!("{}: {state} {reason}", record.subject.name),
            Happened::AttemptStarted { number, .. } => format!("{}: start {number}", record.subject.name),
            Happened::AttemptFinished { number, report, .. } => {
                format!("{}: end {number} {}", record.subject.name, report.reason.as_str())
            }
            Happened::Decision { approved, .. } => format!("{}: approved {approved}", record.subject.name),
        };
        self.records.lock().unwrap().iter().map(word).collect()
    }
}

impl Memory for Arc<InMemory> {
    fn record(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(future::ready(self.reach(|| {
            let mut known = self.records.lock().unwrap();
            for record in records {
                let same = |k: &Record| k.subject == record.subject && k.event == record.event;
                if !known.iter().any(same) {
                    known.push(record);
                }
            }
        })))
    }

    fn attempts<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Vec<RecordedAttempt>, StoreError>> {
        Box::pin(future::ready(self.reach(|| self.attempts.lock().unwrap().clone())))
    }

    fn content<'a>(&'a self, _: &'a str, digest: &'a Digest) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        let of = |record: &Record| match &record.event {
            Happened::Revision { digest: known, content, .. } if known == digest => Some(content.clone().into_bytes()),
            _ => None,
        };
        let brought = |document: &&Vec<u8>| Digest::of_bytes(document) == *digest;
        Box::pin(future::ready(self.reach(|| {
            let recorded = self.records.lock().unwrap().iter().find_map(of);
            recorded.or_else(|| self.documents.lock().unwrap().iter().find(brought).cloned())
        })))
    }

    fn tenant<'a>(&'a self, _: &'a str, _: &'a str, _: Millis) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(future::ready(self.reach(|| ())))
    }
}

/// The controllers' context, with what is around it.
pub struct Bench {
    pub ctx: Arc<Context>,
    pub api: FakeApi,
    pub memory: Arc<InMemory>,
    time: Arc<AtomicI64>,
    woken: UnboundedReceiver<ObjectRef<Plan>>,
    tenants: Writer<Tenant>,
    constitutions: Writer<Constitution>,
    specifications: Writer<Specification>,
    approvals: Writer<Approval>,
    plans: Writer<Plan>,
    agents: Writer<Agent>,
    looks: Looks,
    /// What is offered to the search index.
    pub jobs: tokio::sync::mpsc::Receiver<Job>,
}

/// Those that are to be looked at again.
struct Looks {
    constitutions: UnboundedReceiver<ObjectRef<Constitution>>,
    specifications: UnboundedReceiver<ObjectRef<Specification>>,
    plans: UnboundedReceiver<ObjectRef<Plan>>,
}

impl Bench {
    /// Everything empty, and listed.
    pub async fn new() -> Self {
        let api = FakeApi::default();
        let client = api.client();
        let memory = Arc::new(InMemory::default());
        let (index, woken) = Index::new();
        let (tenants, tenants_writer) = listed::<Tenant>();
        let (constitutions, constitutions_writer) = listed::<Constitution>();
        let (specifications, specifications_writer) = listed::<Specification>();
        let (plans, plans_writer) = listed::<Plan>();
        let (agents, agents_writer) = listed::<Agent>();
        let (approvals, approvals_writer) = listed::<Approval>();
        let (of_constitutions, look_constitutions) = Referrers::new(constitutions.clone());
        let (of_specifications, look_specifications) = Referrers::new(specifications.clone());
        let (of_plans, look_plans) = Referrers::new(plans.clone());
        let looks = Looks { constitutions: look_constitutions, specifications: look_specifications, plans: look_plans };
        let references = References {
            tenants: Referrers::new(tenants.clone()).0,
            constitutions: of_constitutions,
            specifications: of_specifications,
            plans: of_plans,
            agents: Referrers::new(agents.clone()).0,
            approvals: Referrers::new(approvals.clone()).0,
        };
        let reporter = Reporter { controller: "enact-operator".into(), instance: None };
        let (search, jobs) = Search::new();
        let time = Arc::new(AtomicI64::new(START));
        let clock = time.clone();
        let ctx = Context {
            clock: Box::new(move || Millis(clock.load(Ordering::Relaxed))),
            events: Events::new(client.clone(), reporter),
            client,
            config: config(),
            memory: Box::new(memory.clone()),
            metrics: Metrics::new().unwrap(),
            caches: Caches { tenants, constitutions, specifications, plans, agents, approvals },
            listings: Listings::default(),
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
        };
        ctx.index.follow_tasks(stream::iter([Event::Init, Event::InitDone])).await;
        ctx.index.follow_pods(stream::iter([Event::Init, Event::InitDone]), |_| {}).await;
        ctx.errands.follow(stream::iter([Event::Init, Event::InitDone]), &ctx.references).await;
        ctx.cluster.follow_nothing().await;
        Self {
            ctx: Arc::new(ctx),
            api,
            memory,
            time,
            woken,
            tenants: tenants_writer,
            constitutions: constitutions_writer,
            specifications: specifications_writer,
            approvals: approvals_writer,
            plans: plans_writer,
            agents: agents_writer,
            looks,
            jobs,
        }
    }

    /// Names of the plans that were woken since the last call.
    pub fn woken(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.woken.try_recv().ok()).map(|plan| plan.name).collect()
    }

    /// Names of the specifications that are to be looked at since the last call.
    pub fn looked_for_specifications(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.looks.specifications.try_recv().ok()).map(|object| object.name).collect()
    }

    /// A Constitution as the cache shows it.
    pub fn constitution_is(&mut self, constitution: &Value) {
        let constitution: Constitution = serde_json::from_value(constitution.clone()).unwrap();
        self.constitutions.apply_watcher_event(&Event::Apply(constitution));
    }

    /// A Specification as the cache shows it.
    pub fn specification_is(&mut self, specification: Specification) {
        self.specifications.apply_watcher_event(&Event::Apply(specification));
    }

    /// Lets a document's pod have this status.
    pub async fn errand(&self, name: &str, status: Value) {
        self.api.change(&format!("pods/{name}"), &json!({ "status": status }));
        let pod: AttemptPod = serde_json::from_value(self.api.get(&format!("pods/{name}"))).unwrap();
        self.ctx.errands.follow(stream::iter([Event::Apply(pod)]), &self.ctx.references).await;
    }

    /// Lets a document's pod be gone.
    pub async fn errand_is_gone(&self, pod: Value) {
        let pod: AttemptPod = serde_json::from_value(pod).unwrap();
        self.ctx.errands.follow(stream::iter([Event::Delete(pod)]), &self.ctx.references).await;
    }

    /// Makes `ns` a namespace of a Tenant with this parallelism.
    pub fn tenant_of_ns(&mut self, parallelism: u32) {
        self.tenant_with("acme", json!({"namespaces": ["ns"], "parallelism": parallelism}));
    }

    /// Lets time pass.
    pub fn pass(&self, seconds: i64) {
        self.time.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    /// An Agent in the namespace `ns` that runs scripts.
    pub fn agent(&mut self, name: &str) {
        self.agent_with(name, json!({"adapter": "Command"}));
    }

    /// An Agent in the namespace `ns` with this spec.
    pub fn agent_with(&mut self, name: &str, spec: Value) {
        let mut agent = Agent::new(name, serde_json::from_value(spec).unwrap());
        agent.metadata.namespace = Some("ns".into());
        self.agents.apply_watcher_event(&Event::Apply(agent));
    }

    /// No Agent of this name any more.
    pub fn no_agent(&mut self, name: &str) {
        let mut agent = Agent::new(name, serde_json::from_value(json!({"adapter": "Command"})).unwrap());
        agent.metadata.namespace = Some("ns".into());
        self.agents.apply_watcher_event(&Event::Delete(agent));
    }

    /// One reconcile of the plan of this name in `ns`, as the API server has it now.
    pub async fn plan(&mut self, name: &str) -> Result<Action, Error> {
        let plan: Plan = serde_json::from_value(self.api.get(&format!("plans/{name}"))).unwrap();
        self.plans.apply_watcher_event(&Event::Apply(plan.clone()));
        crate::plan::reconcile(Arc::new(plan), self.ctx.clone()).await
    }

    /// Reconciles the Constitution of this name, again after each change of its own.
    pub async fn constitution(&mut self, name: &str) -> Result<(), Error> {
        loop {
            let object = self.api.get(&format!("constitutions/{name}"));
            let version = object["metadata"]["resourceVersion"].clone();
            let object: Constitution = serde_json::from_value(object).unwrap();
            self.constitutions.apply_watcher_event(&Event::Apply(object.clone()));
            crate::documents::reconcile_constitution(Arc::new(object), self.ctx.clone()).await?;
            if self.api.get(&format!("constitutions/{name}"))["metadata"]["resourceVersion"] == version {
                return Ok(());
            }
        }
    }

    /// Reconciles the Specification of this name, likewise.
    pub async fn specification(&mut self, name: &str) -> Result<(), Error> {
        loop {
            let object = self.api.get(&format!("specifications/{name}"));
            let version = object["metadata"]["resourceVersion"].clone();
            let object: Specification = serde_json::from_value(object).unwrap();
            self.specifications.apply_watcher_event(&Event::Apply(object.clone()));
            crate::documents::reconcile_specification(Arc::new(object), self.ctx.clone()).await?;
            if self.api.get(&format!("specifications/{name}"))["metadata"]["resourceVersion"] == version {
                return Ok(());
            }
        }
    }

    /// Reconciles everything that was woken, and what that wakes in turn, until nothing is; how many looks that took.
    pub async fn settle(&mut self) -> usize {
        for n in 0..100 {
            // The controller drops what is not in its cache.
            if let Ok(object) = self.looks.constitutions.try_recv() {
                if self.api.has(&format!("constitutions/{}", object.name)) {
                    self.constitution(&object.name).await.unwrap();
                }
            } else if let Ok(object) = self.looks.specifications.try_recv() {
                if self.api.has(&format!("specifications/{}", object.name)) {
                    self.specification(&object.name).await.unwrap();
                }
            } else if let Ok(object) = self.looks.plans.try_recv() {
                self.plan(&object.name).await.unwrap();
            } else {
                return n;
            }
        }
        panic!("it never ends");
    }

    /// A person's Approval, or what is left of it, comes into the cache.
    pub fn approval(&mut self, object: &Value) {
        self.approvals.apply_watcher_event(&Event::Apply(serde_json::from_value(object.clone()).unwrap()));
    }

    /// A Specification is deleted.
    pub fn no_specification(&mut self, name: &str) {
        let key = format!("specifications/{name}");
        let object: Specification = serde_json::from_value(self.api.get(&key)).unwrap();
        self.api.remove(&key);
        self.specifications.apply_watcher_event(&Event::Delete(object.clone()));
        self.ctx.departed(&Target::of(&object), object.metadata.uid.as_deref().unwrap_or_default());
    }

    /// A Tenant with this spec, and its namespaces.
    pub fn tenant_with(&mut self, name: &str, spec: Value) {
        let tenant = Tenant::new(name, serde_json::from_value(spec).unwrap());
        for namespace in &tenant.spec.namespaces {
            let labels = json!({"metadata": {"name": namespace, "uid": format!("n-{namespace}"), "labels": {"enact.dev/tenant": name}}});
            let namespace: Namespace = serde_json::from_value(labels).unwrap();
            self.ctx.cluster.namespaces.put(&namespace, NamespaceEntry::of(&namespace));
        }
        self.tenants.apply_watcher_event(&Event::Apply(tenant));
    }

    /// One reconcile of a Tenant, as the API server has it now.
    pub async fn tenant(&mut self, name: &str) -> Result<Action, Error> {
        let tenant: Tenant = serde_json::from_value(self.api.get(&format!("tenants/{name}"))).unwrap();
        self.tenants.apply_watcher_event(&Event::Apply(tenant.clone()));
        crate::tenant::reconcile(Arc::new(tenant), self.ctx.clone()).await
    }

    /// Lets the watch of pods tell of a pod as it is now, with this status.
    pub async fn pod(&self, name: &str, status: Value) {
        self.api.change(&format!("pods/{name}"), &json!({ "status": status }));
        let pod: AttemptPod = serde_json::from_value(self.api.get(&format!("pods/{name}"))).unwrap();
        let ledger = &self.ctx.ledger;
        let count = |told: Occupancy| {
            if told.taken {
                ledger.enter(&told.tenant, &told.namespace, &told.pod, told.until);
            } else {
                ledger.release(&told.tenant, &told.namespace, &told.pod);
            }
        };
        self.ctx.index.follow_pods(stream::iter([Event::Apply(pod)]), count).await;
    }

    /// Lets a pod end with a report of success.
    pub async fn succeed(&self, name: &str) {
        self.succeed_with(name, &json!({"reason": "Succeeded"})).await;
    }

    /// Lets a pod end well, with this report.
    pub async fn succeed_with(&self, name: &str, report: &Value) {
        let ended = json!({"terminated": {"exitCode": 0, "reason": "Completed", "message": report.to_string()}});
        self.pod(name, json!({"phase": "Succeeded", "containerStatuses": [{"name": "agent", "state": ended}]})).await;
    }

    /// Lets a pod end with the report of an agent that failed.
    pub async fn fail(&self, name: &str, why: &str) {
        let message = json!({"reason": "AgentFailed", "message": why}).to_string();
        let ended = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": message}});
        self.pod(name, json!({"phase": "Failed", "containerStatuses": [{"name": "agent", "state": ended}]})).await;
    }
}

fn listed<K>() -> (kube::runtime::reflector::Store<K>, Writer<K>)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let (reader, mut writer) = store();
    writer.apply_watcher_event(&Event::Init);
    writer.apply_watcher_event(&Event::InitDone);
    (reader, writer)
}
