//! What every reconcile can reach.

use std::sync::Arc;

use enact_crds::{Agent, Approval, Constitution, Plan, Specification, Tenant};
use enact_domain::names::DEFAULT_TENANT;
use enact_domain::record::{Kind, Record, Subject};
use enact_domain::time::Millis;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::{Event, EventType, Recorder as Events};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, Resource, ResourceExt as _};

use crate::backoff::Backoff;
use crate::circles::Circles;
use crate::config::Config;
use crate::documents::library::Library;
use crate::documents::news::News;
use crate::error::Error;
use crate::index::Index;
use crate::ledger::Ledger;
use crate::listings::Listings;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::plan::Runtimes;
use crate::references::{References, Target};
use crate::search::{self, Search};
use crate::sourcing::errands::Errands;
use crate::tenant::cluster::{Cluster, NamespaceEntry};
use crate::tenant::status::is_stalled;

/// Who acts when nobody else does; the actor of our own records.
pub const ACTOR: &str = "system:enact";

/// Tells the time, to the millisecond.
pub type Clock = Box<dyn Fn() -> Millis + Send + Sync>;

/// The time of this machine.
pub fn wall_clock() -> Clock {
    Box::new(|| Millis(Timestamp::now().as_millisecond()))
}

/// What every reconcile can reach. One for the process.
pub struct Context {
    /// Tells the time.
    pub clock: Clock,
    /// The API server.
    pub client: Client,
    /// Settings.
    pub config: Config,
    /// The record.
    pub memory: Box<dyn Memory>,
    /// Metrics.
    pub metrics: Metrics,
    /// Kubernetes Events.
    pub events: Events,
    /// Objects of our kinds, as they were last seen.
    pub caches: Caches,
    /// Whether those caches hold what exists.
    pub listings: Listings,
    /// What refers to what.
    pub references: References,
    /// Tasks and pods by plan.
    pub index: Arc<Index>,
    /// Pods that fetch or draft documents.
    pub errands: Errands,
    /// The tenants' room.
    pub ledger: Ledger,
    /// Waits after failures.
    pub backoff: Backoff,
    /// What is kept of a plan between its passes.
    pub plans: Runtimes,
    /// Namespaces, and our objects in them.
    pub cluster: Cluster,
    /// What was read of documents.
    pub library: Library,
    /// What others were last told.
    pub news: News,
    /// Whom documents concern that they do not name.
    pub circles: Circles,
    /// The way to the search index.
    pub search: Search,
}

/// Objects of our kinds, as they were last seen.
pub struct Caches {
    /// Tenants.
    pub tenants: Store<Tenant>,
    /// Constitutions.
    pub constitutions: Store<Constitution>,
    /// Specifications.
    pub specifications: Store<Specification>,
    /// Plans.
    pub plans: Store<Plan>,
    /// Agents.
    pub agents: Store<Agent>,
    /// Approvals.
    pub approvals: Store<Approval>,
}

/// The tenant that a namespace belongs to, as far as a reconcile needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Name of the tenant.
    pub tenant: String,
    /// Most attempts at once.
    pub parallelism: u32,
    /// RuntimeClass of its pods.
    pub runtime_class: Option<String>,
}

impl Context {
    /// Now, to the millisecond: the only clock of the controllers.
    pub fn now(&self) -> Millis {
        (self.clock)()
    }

    /// Returns when every cache holds what exists: what is missing before that proves nothing.
    pub async fn synced(&self) {
        self.index.synced().await;
        self.errands.synced().await;
        self.cluster.synced().await;
        self.listings.done().await;
    }

    /// The Tenant of this name.
    pub fn tenant(&self, name: &str) -> Option<Arc<Tenant>> {
        self.caches.tenants.get(&ObjectRef::new(name))
    }

    /// The tenant that owns `namespace`; none when nobody does, or it is not set up yet. The label says it: the tenant controller sets it
    /// when everything that bounds the namespace is in place. The namespaces of the installation's default tenant need none.
    pub fn tenant_of(&self, namespace: &str) -> Option<Membership> {
        let label =
            self.cluster.namespaces.get("", namespace).as_ref().and_then(NamespaceEntry::tenant).map(str::to_owned);
        if let Some(tenant) = label.and_then(|name| self.tenant(&name)) {
            return Some(Membership {
                tenant: tenant.name_any(),
                parallelism: tenant.spec.parallelism,
                runtime_class: tenant.spec.isolation.runtime_class_name.clone(),
            });
        }
        let default = self.config.default_tenant_namespaces.iter().any(|n| n == namespace);
        default.then(|| Membership { tenant: DEFAULT_TENANT.into(), parallelism: u32::MAX, runtime_class: None })
    }

    /// Wakes the next plan that waits for room in its tenant, if there is room.
    pub fn hand_on(&self, tenant: &str) {
        self.ledger.expire(tenant, self.now());
        let parallelism = self.tenant(tenant).map_or(u32::MAX, |t| t.spec.parallelism);
        if let Some(plan) = self.ledger.next(tenant, parallelism, |plan| self.caches.plans.get(plan).is_some()) {
            self.index.wake(plan);
        }
    }

    /// Whether `namespace` belongs to nobody now, but a Tenant names it and is about to set it up: too early to judge what is in it.
    pub fn settling(&self, namespace: &str) -> bool {
        self.tenant_of(namespace).is_none()
            && self
                .caches
                .tenants
                .find(|t| {
                    t.spec.namespaces.iter().any(|n| n == namespace)
                        && t.metadata.deletion_timestamp.is_none()
                        && !is_stalled(t)
                })
                .is_some()
    }

    /// Tells everybody whom it concerns that an object is gone.
    pub fn departed(&self, target: &Target, uid: &str) {
        self.references.touched(target);
        self.withdraw(target, uid);
        let overlapping = target.place::<Specification>().map(|place| self.circles.overlaps.gone(&place));
        for (namespace, name) in overlapping.into_iter().flatten() {
            self.references.specifications.wake_one(ObjectRef::new(&name).within(&namespace));
        }
        let specification = target.place::<Specification>().map(|place| self.circles.bound.gone(&place));
        let plan = target.place::<Plan>().map(|place| self.circles.plans.gone(&place));
        for (namespace, name) in specification.into_iter().chain(plan).flatten() {
            self.references.constitutions.wake_one(ObjectRef::new(&name).within(&namespace));
        }
    }

    /// Takes an object that is gone out of the search index.
    fn withdraw(&self, target: &Target, uid: &str) {
        let of = |kind: Kind, place: Option<(String, String)>| place.map(|place| (kind, place));
        let known = of(Kind::Specification, target.place::<Specification>())
            .or_else(|| of(Kind::Constitution, target.place::<Constitution>()))
            .or_else(|| of(Kind::Plan, target.place::<Plan>()));
        let Some((kind, (namespace, name))) = known else { return };
        if let Some(member) = self.tenant_of(&namespace) {
            let subject = Subject { kind, namespace, name, uid: uid.to_owned() };
            search::offer(self, &member.tenant, subject, "", Vec::new);
        }
    }

    /// Writes to the record, and counts it.
    ///
    /// # Errors
    /// When it cannot be written; the same again is fine.
    pub async fn record(&self, records: Vec<Record>) -> Result<(), Error> {
        let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
        self.memory.record(records).await?;
        self.metrics.records.inc_by(count);
        Ok(())
    }

    /// Tells people about an object by a Kubernetes Event. A failure to do so is logged and changes nothing else.
    pub async fn event<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        type_: EventType,
        reason: &str,
        note: impl Into<String>,
    ) {
        let mut note: String = note.into();
        note.truncate(note.floor_char_boundary(1024));
        let event =
            Event { type_, reason: reason.into(), note: Some(note), action: "Reconcile".into(), secondary: None };
        if let Err(error) = self.events.publish(&event, &object.object_ref(&())).await {
            tracing::warn!(%error, reason, "cannot write an Event");
        }
    }
}

/// The object of this name in this namespace.
pub fn lookup<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store.get(&ObjectRef::new(name).within(namespace))
}
