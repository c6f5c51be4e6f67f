//! What every reconcile can reach.

use std::sync::Arc;

use enact_crds::{Agent, Approval, Constitution, Plan, Specification, Tenant};
use enact_domain::time::Millis;
use enact_store::{Recorder, Store as Record};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::{Event, EventType, Recorder as Events};
use kube::runtime::reflector::Store;
use kube::{Client, Resource, ResourceExt as _};

use crate::backoff::Backoff;
use crate::config::Config;
use crate::index::Index;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::plan::Runtimes;
use crate::references::References;

/// Name of the tenant of an installation without Tenants.
pub const DEFAULT_TENANT: &str = "default";
/// Who acts when nobody else does; the actor of our own records.
pub const ACTOR: &str = "system:enact";

/// What every reconcile can reach. One for the process.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Settings.
    pub config: Config,
    /// The record, for reading.
    pub store: Record,
    /// The record, for writing.
    pub recorder: Recorder,
    /// Metrics.
    pub metrics: Metrics,
    /// Kubernetes Events.
    pub events: Events,
    /// Objects of our kinds, as they were last seen.
    pub caches: Caches,
    /// What refers to what.
    pub references: References,
    /// Tasks and pods by plan.
    pub index: Arc<Index>,
    /// The tenants' room.
    pub ledger: Ledger,
    /// Waits after failures.
    pub backoff: Backoff,
    /// What is kept of a plan between its passes.
    pub plans: Runtimes,
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
        Millis(Timestamp::now().as_millisecond())
    }

    /// Returns when every cache holds what exists: what is missing before that proves nothing.
    pub async fn synced(&self) {
        let caches = &self.caches;
        self.index.synced().await;
        // A cache whose writer is gone belongs to a process that ends.
        let _ = tokio::join!(
            caches.tenants.wait_until_ready(),
            caches.constitutions.wait_until_ready(),
            caches.specifications.wait_until_ready(),
            caches.agents.wait_until_ready(),
            caches.approvals.wait_until_ready(),
        );
    }

    /// The tenant that owns `namespace`; none when nobody does.
    pub fn tenant_of(&self, namespace: &str) -> Option<Membership> {
        let owner = self.caches.tenants.find(|t| t.spec.namespaces.iter().any(|n| n == namespace));
        if let Some(tenant) = owner {
            return Some(Membership {
                tenant: tenant.name_any(),
                parallelism: tenant.spec.parallelism,
                runtime_class: tenant.spec.isolation.runtime_class_name.clone(),
            });
        }
        let default = self.config.default_tenant_namespaces.iter().any(|n| n == namespace);
        default.then(|| Membership { tenant: DEFAULT_TENANT.into(), parallelism: u32::MAX, runtime_class: None })
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
    store.get(&kube::runtime::reflector::ObjectRef::new(name).within(namespace))
}
