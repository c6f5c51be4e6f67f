//! Shared test support: settings, an API server in memory, a record store in memory, and the contexts of the controllers over both.

mod owners;
pub mod plans;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use enact_crds::{Agent, Approval, Constitution, ModelProvider, Plan, Specification, Tenant};
use enact_domain::decisions::{DecisionOutcome, RecordedDecision};
use enact_domain::digest::Digest;
use enact_domain::record::{Event as Happened, Kind, Record, RecordedAttempt, Subject};
use enact_domain::time::Millis;
use enact_domain::usage::{Balance, Charge, Limit, Scope};
use enact_store::{
    AgentEnd, AgentHistory, Discarded, FinishedTask, ModelRequest, RecordedDelivery, Refusal, StartedPod, StoreError,
};
use futures::channel::mpsc::UnboundedReceiver;
use futures::future::{self, BoxFuture};
use futures::{Stream, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::Resource;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::{Writer, store};
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

mod deletions;

use deletions::{recorded_plans, recorded_subjects};
pub use enact_testing::FakeApi;

mod recorded;
mod settings;

pub use settings::config;

use crate::caches::{Caches, NamespaceEntry};
use crate::config::Config;
use crate::contexts::{Contexts, Environment};
use crate::deleted::Deleted;
use crate::error::Error;
use crate::index::Occupancy;
use crate::initial_sync::InitialSync;
use crate::metadata_cache::MetadataCache;
use crate::metrics::Metrics;
use crate::pods::AttemptPod;
use crate::record_store::RecordStore;
use crate::references::Requeued;
use crate::search::IndexJob;
use crate::tenant::objects::ObjectKind;
use owners::Owners;

/// The time at which every test begins, in milliseconds: 2026-01-01T00:00:00Z. The fake API server uses it as creation time.
const START: i64 = 1_767_225_600_000;

/// A record store in memory that can be unavailable.
#[derive(Default)]
pub struct InMemoryRecordStore {
    pub records: Mutex<Vec<Record>>,
    pub attempts: Mutex<Vec<RecordedAttempt>>,
    /// What pods delivered, and what contradicts it.
    pub deliveries: Mutex<Vec<RecordedDelivery>>,
    /// Documents that pods delivered.
    pub documents: Mutex<Vec<Vec<u8>>>,
    /// Decisions of chosen proposals.
    pub decisions: Mutex<Vec<RecordedDecision>>,
    /// Decisions with what became of their plans.
    pub decision_outcomes: Mutex<Vec<DecisionOutcome>>,
    /// Limits of budgets, in the order in which they were written.
    pub limits: Mutex<Vec<(Scope, Limit)>>,
    /// What is spent and reserved.
    pub balances: Mutex<HashMap<Scope, Balance>>,
    /// Number of times that balances were read.
    pub balance_reads: AtomicUsize,
    /// Tasks that have succeeded.
    pub finished_tasks: Mutex<Vec<FinishedTask>>,
    /// Number of times that they were read.
    pub finished_task_reads: AtomicUsize,
    /// What attempts used whose work is discarded.
    pub discarded: Mutex<Discarded>,
    /// The time at which a provider's quota is reset, for all attempts.
    pub quota_reset: Mutex<Option<Millis>>,
    /// The histories of all agents.
    pub histories: Mutex<Vec<AgentHistory>>,
    /// Number of times that histories were read.
    pub history_reads: AtomicUsize,
    /// The ends of attempts before the first record, the oldest first.
    pub ends: Mutex<Vec<AgentEnd>>,
    /// Number of times that they were read.
    pub end_reads: AtomicUsize,
    /// Usage that agents reported themselves.
    pub reported: Mutex<Vec<(ModelRequest, Charge)>>,
    /// Which Tenant the records of every name belong to.
    pub owners: Mutex<Owners>,
    pub down: AtomicBool,
}

impl InMemoryRecordStore {
    fn reach<T>(&self, value: impl FnOnce() -> T) -> Result<T, StoreError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(StoreError::TimedOut {
                doing: "query an unavailable record store",
                after: Duration::from_secs(1),
            });
        }
        Ok(value())
    }

    /// Returns a short text for each record.
    pub fn summaries(&self) -> Vec<String> {
        self.records.lock().unwrap().iter().map(recorded::summary).collect()
    }
}

impl RecordStore for InMemoryRecordStore {
    fn record(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), StoreError>> {
        if records.iter().any(|record| record.tenant.contains('_')) {
            let problem = "is not the name of a Tenant".to_owned();
            return Box::pin(future::ready(Err(StoreError::Invalid { what: "tenant", problem })));
        }
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

    fn recorded_plans<'a>(&'a self, _: &'a str, after: &'a str) -> BoxFuture<'a, Result<Vec<Subject>, StoreError>> {
        Box::pin(future::ready(self.reach(|| recorded_plans(&self.records.lock().unwrap(), after))))
    }

    fn recorded_subjects<'a>(
        &'a self,
        tenant: &'a str,
        uids: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Subject>, StoreError>> {
        Box::pin(future::ready(self.reach(|| recorded_subjects(&self.records.lock().unwrap(), tenant, uids))))
    }

    fn attempts<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Vec<RecordedAttempt>, StoreError>> {
        Box::pin(future::ready(
            self.reach(|| recorded::attempts(&self.records.lock().unwrap(), &self.attempts.lock().unwrap())),
        ))
    }

    fn started_pods<'a>(
        &'a self,
        _: &'a str,
        subjects: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<StartedPod>, StoreError>> {
        Box::pin(future::ready(self.reach(|| {
            let mut starts = recorded::starts(&self.records.lock().unwrap());
            starts.retain(|start| subjects.contains(&start.subject_uid));
            starts
        })))
    }

    fn deliveries<'a>(
        &'a self,
        _: &'a str,
        attempts: &'a [(String, u32)],
    ) -> BoxFuture<'a, Result<Vec<RecordedDelivery>, StoreError>> {
        Box::pin(future::ready(self.reach(|| recorded::deliveries(&self.deliveries.lock().unwrap(), attempts))))
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

    fn decisions_in_force<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: &'a str,
        _: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<RecordedDecision>, StoreError>> {
        Box::pin(future::ready(self.reach(|| self.decisions.lock().unwrap().clone())))
    }

    fn decision_outcomes<'a>(
        &'a self,
        _: &'a str,
        namespace: Option<&'a str>,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Vec<DecisionOutcome>, StoreError>> {
        let is_wanted = |found: &&DecisionOutcome| namespace.is_none_or(|only| found.decision.namespace == only);
        let found = || self.decision_outcomes.lock().unwrap().iter().filter(is_wanted).cloned().collect::<Vec<_>>();
        Box::pin(future::ready(self.reach(found)))
    }

    fn set_budgets<'a>(&'a self, _: &'a str, budgets: &'a [(Scope, Limit)]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(future::ready(self.reach(|| self.limits.lock().unwrap().extend(budgets.iter().cloned()))))
    }

    fn balances<'a>(
        &'a self,
        _: &'a str,
        scopes: &'a [Scope],
    ) -> BoxFuture<'a, Result<Vec<(Scope, Balance)>, StoreError>> {
        Box::pin(future::ready(self.reach(|| {
            self.balance_reads.fetch_add(1, Ordering::Relaxed);
            let known = self.balances.lock().unwrap();
            scopes.iter().map(|scope| (scope.clone(), known.get(scope).copied().unwrap_or_default())).collect()
        })))
    }

    fn finished_tasks<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<FinishedTask>, StoreError>> {
        Box::pin(future::ready(self.reach(|| {
            self.finished_task_reads.fetch_add(1, Ordering::Relaxed);
            self.finished_tasks.lock().unwrap().clone()
        })))
    }

    fn discarded<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Discarded, StoreError>> {
        Box::pin(future::ready(self.reach(|| *self.discarded.lock().unwrap())))
    }

    fn refusal<'a>(&'a self, _: &'a str, _: &'a str, _: u32) -> BoxFuture<'a, Result<Option<Refusal>, StoreError>> {
        Box::pin(future::ready(self.reach(|| {
            let reset_at = *self.quota_reset.lock().unwrap();
            Some(Refusal { reason: "ProviderQuota".into(), message: "the quota is used up".into(), reset_at })
        })))
    }

    fn agent_histories<'a>(
        &'a self,
        _: &'a str,
        agents: &'a [(String, String)],
    ) -> BoxFuture<'a, Result<Vec<AgentHistory>, StoreError>> {
        Box::pin(future::ready(self.reach(|| {
            self.history_reads.fetch_add(1, Ordering::Relaxed);
            let known = self.histories.lock().unwrap();
            let wanted = |h: &&AgentHistory| agents.iter().any(|(ns, name)| *ns == h.namespace && *name == h.agent);
            known.iter().filter(wanted).cloned().collect()
        })))
    }

    fn agent_ends<'a>(
        &'a self,
        _: &'a str,
        agents: &'a [(String, String)],
    ) -> BoxFuture<'a, Result<Vec<AgentEnd>, StoreError>> {
        Box::pin(future::ready(self.reach(|| {
            self.end_reads.fetch_add(1, Ordering::Relaxed);
            let recorded = recorded::ends(&self.records.lock().unwrap(), *self.quota_reset.lock().unwrap());
            let known = self.ends.lock().unwrap();
            let wanted = |e: &&AgentEnd| agents.iter().any(|(ns, name)| *ns == e.namespace && *name == e.agent);
            known.iter().chain(&recorded).filter(wanted).cloned().collect()
        })))
    }

    fn report_usage<'a>(
        &'a self,
        _: &'a str,
        request: ModelRequest,
        charge: Charge,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(future::ready(self.reach(|| {
            let mut reported = self.reported.lock().unwrap();
            if reported.iter().all(|(known, _)| known.id != request.id) {
                reported.push((request, charge));
            }
        })))
    }
}

/// The contexts of all controllers over a fake API server, a record store in memory and a clock that tests set.
pub struct Bench {
    pub contexts: Contexts,
    pub api: FakeApi,
    pub record_store: Arc<InMemoryRecordStore>,
    time: Arc<AtomicI64>,
    /// Plans that were requeued because of their children or a free slot.
    plan_queue: UnboundedReceiver<ObjectRef<Plan>>,
    requeued: Requeued,
    tenants: Writer<Tenant>,
    constitutions: Writer<Constitution>,
    specifications: Writer<Specification>,
    approvals: Writer<Approval>,
    plans: Writer<Plan>,
    agents: Writer<Agent>,
    providers: Writer<ModelProvider>,
    /// Documents that were offered to the search index.
    pub index_jobs: tokio::sync::mpsc::Receiver<IndexJob>,
}

impl Bench {
    /// Returns contexts of an installation with a model gateway, whose caches are filled, and empty.
    pub async fn new() -> Self {
        let gateway_url = Some("http://enact-gateway.enact-system.svc:8090".to_owned());
        Self::with_config(Config { gateway_url, ..config() }).await
    }

    /// Does the same as [`Self::new`], with other settings.
    pub async fn with_config(config: Config) -> Self {
        let api = FakeApi::default();
        let record_store = Arc::new(InMemoryRecordStore::default());
        let (tenants, tenants_writer) = listed::<Tenant>();
        let (constitutions, constitutions_writer) = listed::<Constitution>();
        let (specifications, specifications_writer) = listed::<Specification>();
        let (plans, plans_writer) = listed::<Plan>();
        let (agents, agents_writer) = listed::<Agent>();
        let (approvals, approvals_writer) = listed::<Approval>();
        let (providers, providers_writer) = listed::<ModelProvider>();
        let namespaces = MetadataCache::default();
        let time = Arc::new(AtomicI64::new(START));
        let clock = time.clone();
        let (contexts, queues) = Contexts::new(Environment {
            clock: Box::new(move || Millis(clock.load(Ordering::Relaxed))),
            client: api.client(),
            config,
            record_store: record_store.clone(),
            metrics: Metrics::new().unwrap(),
            caches: Caches { tenants, constitutions, specifications, plans, providers, agents, approvals, namespaces },
            initial_sync: InitialSync::default(),
        });
        contexts.plans.index.follow_tasks(empty_list()).await;
        contexts.plans.index.follow_pods(empty_list(), |_| {}).await;
        contexts.sourcing.jobs.follow(empty_list(), &contexts.common.references).await;
        contexts.agents.warm_pods.follow(empty_list(), |_| {}).await;
        contexts.common.caches.namespaces.follow(empty_list::<Namespace>(), |_| None, |_| {}).await;
        for kind in ObjectKind::ALL {
            contexts.tenants.cluster.follow(kind, empty_list(), |_| {}).await;
        }
        contexts.tenants.cluster.follow_policies(empty_list(), |_| {}).await;
        Self {
            contexts,
            api,
            record_store,
            time,
            plan_queue: queues.plans,
            requeued: queues.requeued,
            tenants: tenants_writer,
            constitutions: constitutions_writer,
            specifications: specifications_writer,
            approvals: approvals_writer,
            plans: plans_writer,
            agents: agents_writer,
            providers: providers_writer,
            index_jobs: queues.index_jobs,
        }
    }

    /// Returns the names of the plans that were requeued since the last call.
    pub fn requeued_plans(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.plan_queue.try_recv().ok()).map(|plan| plan.name).collect()
    }

    /// Returns the names of the specifications that were requeued since the last call.
    pub fn requeued_specifications(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.requeued.specifications.try_recv().ok()).map(|object| object.name).collect()
    }

    /// Returns the names of the agents that were requeued since the last call.
    pub fn requeued_agents(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.requeued.agents.try_recv().ok()).map(|object| object.name).collect()
    }

    /// Adds a ModelProvider to the cache.
    pub fn add_provider(&mut self, provider: &Value) {
        self.providers.apply_watcher_event(&Event::Apply(serde_json::from_value(provider.clone()).unwrap()));
    }

    /// Reconciles a ModelProvider once, as the API server has it now.
    pub async fn provider(&mut self, name: &str) -> Result<Action, Error> {
        let provider: ModelProvider = serde_json::from_value(self.api.get(&format!("modelproviders/{name}"))).unwrap();
        self.providers.apply_watcher_event(&Event::Apply(provider.clone()));
        crate::provider::reconcile(Arc::new(provider), self.contexts.common.clone()).await
    }

    /// Reconciles an Agent once, as the API server has it now.
    pub async fn reconcile_agent(&mut self, name: &str) -> Result<Action, Error> {
        let agent: Agent = serde_json::from_value(self.api.get(&format!("agents/{name}"))).unwrap();
        self.agents.apply_watcher_event(&Event::Apply(agent.clone()));
        crate::agent::reconcile(Arc::new(agent), self.contexts.agents.clone()).await
    }

    /// Adds an Agent to the cache, as the API server has it now.
    pub fn agent_is(&mut self, name: &str) {
        let agent: Agent = serde_json::from_value(self.api.get(&format!("agents/{name}"))).unwrap();
        self.agents.apply_watcher_event(&Event::Apply(agent));
    }

    /// Adds a Constitution to the cache.
    pub fn constitution_is(&mut self, constitution: &Value) {
        let constitution: Constitution = serde_json::from_value(constitution.clone()).unwrap();
        self.constitutions.apply_watcher_event(&Event::Apply(constitution));
    }

    /// Adds a Specification to the cache.
    pub fn specification_is(&mut self, specification: Specification) {
        self.specifications.apply_watcher_event(&Event::Apply(specification));
    }

    /// Sets the status of a document job's pod.
    pub async fn set_job_status(&self, name: &str, status: Value) {
        self.api.change(&format!("pods/{name}"), &json!({ "status": status }));
        let pod: AttemptPod = serde_json::from_value(self.api.get(&format!("pods/{name}"))).unwrap();
        self.contexts.sourcing.jobs.follow(stream::iter([Event::Apply(pod)]), &self.contexts.common.references).await;
    }

    /// Delivers the deletion of a document job's pod.
    pub async fn delete_job(&self, pod: Value) {
        let pod: AttemptPod = serde_json::from_value(pod).unwrap();
        self.contexts.sourcing.jobs.follow(stream::iter([Event::Delete(pod)]), &self.contexts.common.references).await;
    }

    /// Adds a Tenant with this parallelism that owns `ns`.
    pub fn tenant_of_ns(&mut self, parallelism: u32) {
        self.tenant_with("acme", json!({"namespaces": ["ns"], "parallelism": parallelism}));
    }

    pub fn pass(&self, seconds: i64) {
        self.time.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    /// Adds an Agent in the namespace `ns` that runs scripts.
    pub fn agent(&mut self, name: &str) {
        self.agent_with(name, json!({"adapter": "Command"}));
    }

    /// Adds an Agent in the namespace `ns` with this spec.
    pub fn agent_with(&mut self, name: &str, spec: Value) {
        self.agent_in("ns", name, spec);
    }

    /// Adds an Agent with this spec.
    pub fn agent_in(&mut self, namespace: &str, name: &str, spec: Value) {
        let mut agent = Agent::new(name, serde_json::from_value(spec).unwrap());
        agent.metadata.namespace = Some(namespace.into());
        self.agents.apply_watcher_event(&Event::Apply(agent));
    }

    pub fn no_agent(&mut self, name: &str) {
        let mut agent = Agent::new(name, serde_json::from_value(json!({"adapter": "Command"})).unwrap());
        agent.metadata.namespace = Some("ns".into());
        self.agents.apply_watcher_event(&Event::Delete(agent));
    }

    /// Reconciles a plan in `ns` once, as the API server has it now.
    pub async fn plan(&mut self, name: &str) -> Result<Action, Error> {
        let plan: Plan = serde_json::from_value(self.api.get(&format!("plans/{name}"))).unwrap();
        self.plans.apply_watcher_event(&Event::Apply(plan.clone()));
        crate::plan::reconcile(Arc::new(plan), self.contexts.plans.clone()).await
    }

    /// Reconciles a Constitution until its reconcile changes nothing.
    pub async fn constitution(&mut self, name: &str) -> Result<(), Error> {
        loop {
            let object = self.api.get(&format!("constitutions/{name}"));
            let version = object["metadata"]["resourceVersion"].clone();
            let object: Constitution = serde_json::from_value(object).unwrap();
            self.constitutions.apply_watcher_event(&Event::Apply(object.clone()));
            crate::documents::reconcile(Arc::new(object), self.contexts.documents.clone()).await?;
            if self.api.get(&format!("constitutions/{name}"))["metadata"]["resourceVersion"] == version {
                return Ok(());
            }
        }
    }

    /// Reconciles a Specification until its reconcile changes nothing.
    pub async fn specification(&mut self, name: &str) -> Result<(), Error> {
        loop {
            let object = self.api.get(&format!("specifications/{name}"));
            let version = object["metadata"]["resourceVersion"].clone();
            let object: Specification = serde_json::from_value(object).unwrap();
            self.specifications.apply_watcher_event(&Event::Apply(object.clone()));
            crate::documents::reconcile(Arc::new(object), self.contexts.documents.clone()).await?;
            if self.api.get(&format!("specifications/{name}"))["metadata"]["resourceVersion"] == version {
                return Ok(());
            }
        }
    }

    /// Reconciles requeued objects until the queues are empty, and returns the number of reconciles.
    pub async fn settle(&mut self) -> usize {
        for n in 0..100 {
            // The controller drops what is not in its cache.
            if let Ok(object) = self.requeued.constitutions.try_recv() {
                if self.api.has(&format!("constitutions/{}", object.name)) {
                    self.constitution(&object.name).await.unwrap();
                }
            } else if let Ok(object) = self.requeued.specifications.try_recv() {
                if self.api.has(&format!("specifications/{}", object.name)) {
                    self.specification(&object.name).await.unwrap();
                }
            } else if let Ok(object) = self.requeued.plans.try_recv() {
                self.plan(&object.name).await.unwrap();
            } else {
                return n;
            }
        }
        panic!("it never ends");
    }

    /// Adds an Approval to the cache. Without a `subjectUid`, it is about the present object, as the webhook stamps it.
    pub fn approval(&mut self, object: &Value) {
        let mut object = object.clone();
        let subject = &object["spec"]["subject"];
        let word = |field: &str| subject[field].as_str().unwrap_or_default();
        let key = format!("{}s/{}", word("kind").to_ascii_lowercase(), word("name"));
        if object["spec"]["subjectUid"].is_null() {
            object["spec"]["subjectUid"] = self.api.get(&key)["metadata"]["uid"].clone();
        }
        self.approvals.apply_watcher_event(&Event::Apply(serde_json::from_value(object).unwrap()));
    }

    /// Deletes a Specification.
    pub fn no_specification(&mut self, name: &str) {
        let key = format!("specifications/{name}");
        let object: Specification = serde_json::from_value(self.api.get(&key)).unwrap();
        self.api.remove(&key);
        self.specifications.apply_watcher_event(&Event::Delete(object.clone()));
        crate::documents::deletions::handle(&self.contexts.documents, &Deleted::of(Kind::Specification, &object));
    }

    /// Adds a Tenant with this spec, and its namespaces.
    pub fn tenant_with(&mut self, name: &str, spec: Value) {
        let tenant = Tenant::new(name, serde_json::from_value(spec).unwrap());
        for namespace in &tenant.spec.namespaces {
            let labels = json!({"metadata": {"name": namespace, "uid": format!("n-{namespace}"), "labels": {"enact.dev/tenant": name}}});
            let namespace: Namespace = serde_json::from_value(labels).unwrap();
            self.contexts.common.caches.namespaces.put(&namespace, NamespaceEntry::of(&namespace));
        }
        self.tenants.apply_watcher_event(&Event::Apply(tenant));
    }

    /// Reconciles a Tenant once, as the API server has it now.
    pub async fn tenant(&mut self, name: &str) -> Result<Action, Error> {
        let tenant: Tenant = serde_json::from_value(self.api.get(&format!("tenants/{name}"))).unwrap();
        self.tenants.apply_watcher_event(&Event::Apply(tenant.clone()));
        crate::tenant::reconcile(Arc::new(tenant), self.contexts.tenants.clone()).await
    }

    /// Sets the status of an attempt's pod, and delivers it by its watch.
    pub async fn pod(&self, name: &str, status: Value) {
        self.api.change(&format!("pods/{name}"), &json!({ "status": status }));
        let pod: AttemptPod = serde_json::from_value(self.api.get(&format!("pods/{name}"))).unwrap();
        let limiter = &self.contexts.plans.limiter;
        let count = |pod: Occupancy| {
            if pod.occupied {
                limiter.occupy(&pod.tenant, &pod.namespace, &pod.pod, pod.until, pod.agent.as_deref());
            } else {
                limiter.release(&pod.namespace, &pod.pod);
            }
        };
        self.contexts.plans.index.follow_pods(stream::iter([Event::Apply(pod)]), count).await;
    }

    /// Ends a pod with a report of success.
    pub async fn succeed(&self, name: &str) {
        self.succeed_with(name, &json!({"reason": "Succeeded"})).await;
    }

    /// Ends a pod successfully with this report.
    pub async fn succeed_with(&self, name: &str, report: &Value) {
        let ended = json!({"terminated": {"exitCode": 0, "reason": "Completed", "message": report.to_string()}});
        self.pod(name, json!({"phase": "Succeeded", "containerStatuses": [{"name": "agent", "state": ended}]})).await;
    }

    /// Ends a pod with the report of a failed agent.
    pub async fn fail(&self, name: &str, why: &str) {
        let message = json!({"reason": "AgentFailed", "message": why}).to_string();
        let ended = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": message}});
        self.pod(name, json!({"phase": "Failed", "containerStatuses": [{"name": "agent", "state": ended}]})).await;
    }
}

/// Returns the events of a list without objects.
fn empty_list<K: Send>() -> impl Stream<Item = Event<K>> {
    stream::iter([Event::Init, Event::InitDone])
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
