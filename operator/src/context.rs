//! The context that every controller needs. It imports no controller: what only one of them needs is in the context of its folder.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use enact_crds::agent_images::AgentImages;
use enact_crds::models::{self, ModelProblem, Resolved};
use enact_crds::validation::{self, FieldError};
use enact_crds::{Agent, ModelProvider, ModelProviderSpec, Tenant};
use enact_domain::condition::STALLED;
use enact_domain::names::{ANNOTATION_AUTHOR, DEFAULT_TENANT};
use enact_domain::record::Record;
use enact_domain::text;
use enact_domain::time::Millis;
use enact_service::api_server;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, Resource, ResourceExt as _};

use crate::agent_health::AgentHealth;
use crate::agent_histories::AgentHistories;
use crate::caches::{Caches, NamespaceEntry};
use crate::change_detection::ChangeDetector;
use crate::config::Config;
use crate::error::Error;
use crate::initial_sync::InitialSync;
use crate::metrics::Metrics;
use crate::monthly_budgets::MonthlyBudgets;
use crate::record_store::RecordStore;
use crate::references::References;
use crate::setup_events::SetupEvents;

/// Time after which an object is reconciled again although no event arrived. It bounds how long a broken watch, or a change that passed
/// while the webhook was down, stays unnoticed.
pub const RESYNC: Duration = Duration::from_mins(10);

/// Returns the current time, to the millisecond.
pub type Clock = Box<dyn Fn() -> Millis + Send + Sync>;

/// Returns the clock of this machine.
pub fn wall_clock() -> Clock {
    Box::new(|| Millis(Timestamp::now().as_millisecond()))
}

/// Clients, caches and settings that all controllers share. The process has one.
pub struct Context {
    pub clock: Clock,
    pub client: Client,
    pub config: Config,
    pub record_store: Arc<dyn RecordStore>,
    pub metrics: Metrics,
    /// Publishes Kubernetes Events.
    pub events: Recorder,
    pub caches: Caches,
    pub initial_sync: InitialSync,
    /// Which object refers to which, and the queues of all controllers.
    pub references: References,
    pub monthly_budgets: MonthlyBudgets,
    pub agent_histories: AgentHistories,
    pub agent_health: AgentHealth,
    /// The changes of controls that are recorded.
    pub control_changes: ChangeDetector,
    /// The Events about pods that nodes could not set up.
    pub setup_events: SetupEvents,
}

/// The tenant that owns a namespace, with the settings that a reconcile needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Name of the tenant.
    pub tenant: String,
    /// Highest number of concurrent attempts.
    pub parallelism: u32,
    /// RuntimeClass of the tenant's pods.
    pub runtime_class: Option<String>,
    /// Images that the tenant's Agents may name.
    pub agent_images: AgentImages,
}

impl Membership {
    /// Returns the problem with the image of an Agent that is used in `namespace`. Administrators write the Agents that the installation
    /// shares, so that the tenant's rules do not apply to those.
    pub fn image_problem(&self, agent: &Agent, namespace: &str) -> Option<FieldError> {
        let is_own = agent.metadata.namespace.as_deref() == Some(namespace);
        is_own.then(|| validation::agent_image(&self.agent_images, &agent.spec)).flatten()
    }
}

impl Context {
    /// Returns the current time. Controllers read no other clock, so that tests control the time.
    pub fn now(&self) -> Millis {
        (self.clock)()
    }

    /// Waits until every cache is filled. Before that, an object that a cache does not hold may exist.
    pub async fn synced(&self) {
        self.initial_sync.done().await;
    }

    pub fn tenant(&self, name: &str) -> Option<Arc<Tenant>> {
        self.caches.tenants.get(&ObjectRef::new(name))
    }

    /// Returns the tenant that owns `namespace`; none when no tenant does, or when the namespace is not set up yet.
    pub fn tenant_of(&self, namespace: &str) -> Option<Membership> {
        // The tenant controller writes the label last, when everything that isolates the namespace is in place.
        let label = self.caches.namespaces.get("", namespace);
        let label = label.as_ref().and_then(NamespaceEntry::tenant);
        if let Some(tenant) = label.and_then(|name| self.tenant(name)) {
            return Some(Membership {
                tenant: tenant.name_any(),
                parallelism: tenant.spec.parallelism,
                runtime_class: tenant.spec.isolation.runtime_class_name.clone(),
                agent_images: tenant.spec.agent_images.clone().unwrap_or_default(),
            });
        }
        self.is_of_default_tenant(namespace).then(|| Membership {
            tenant: DEFAULT_TENANT.into(),
            parallelism: u32::MAX,
            runtime_class: None,
            agent_images: AgentImages::default(),
        })
    }

    /// Returns whether `namespace` belongs to the tenant with this name, whether its Tenant exists or not.
    pub fn is_of_tenant(&self, namespace: &str, tenant: &str) -> bool {
        self.caches.namespaces.has("", namespace, |entry| entry.tenant() == Some(tenant))
            || (tenant == DEFAULT_TENANT && self.is_of_default_tenant(namespace))
    }

    /// Returns whether `namespace` is one of the installation's default tenant. These carry no label.
    fn is_of_default_tenant(&self, namespace: &str) -> bool {
        self.config.default_tenant_namespaces.iter().any(|n| n == namespace)
    }

    /// Returns the ModelProvider that a name refers to in a namespace of `tenant`.
    pub fn provider(&self, namespace: &str, tenant: &str, name: &str) -> Resolved<ModelProviderSpec> {
        let spec = |namespace: &str| lookup(&self.caches.providers, namespace, name).map(|found| found.spec.clone());
        models::resolve(spec(namespace), spec(&self.config.namespace), tenant)
    }

    /// Returns the users who changed the ModelProviders of an Agent last, as far as they are known. The pods of the Agent belong to `tenant`.
    pub fn provider_authors(&self, agent: &Agent, tenant: &str) -> Vec<String> {
        let namespace = agent.namespace().unwrap_or_default();
        let author = |name: &str| {
            let found = |namespace: &str| lookup::<ModelProvider>(&self.caches.providers, namespace, name);
            let (own, installed) = (found(&namespace), found(&self.config.namespace));
            let (own_spec, installed_spec) = (own.as_ref().map(|p| &p.spec), installed.as_ref().map(|p| &p.spec));
            let is_found = matches!(models::resolve(own_spec, installed_spec, tenant), Resolved::Found(_));
            own.or(installed).filter(|_| is_found)?.annotations().get(ANNOTATION_AUTHOR).cloned()
        };
        let authors: BTreeSet<String> = agent.spec.models.iter().filter_map(|model| author(&model.provider)).collect();
        authors.into_iter().collect()
    }

    /// Returns the Agent that a name refers to in a namespace of `tenant`.
    pub fn agent(&self, namespace: &str, tenant: &str, name: &str) -> Option<Arc<Agent>> {
        let found = |namespace: &str| lookup(&self.caches.agents, namespace, name);
        models::resolve_agent(found(namespace), found(&self.config.namespace), tenant)
    }

    /// Returns the first problem with the models of an Agent whose pods belong to `tenant`, with the index of the model. The models of a
    /// shared Agent are those of the installation.
    pub fn model_problem(&self, agent: &Agent, tenant: &str) -> Option<(usize, ModelProblem)> {
        let namespace = agent.namespace().unwrap_or_default();
        let problems = models::check(&agent.spec, |name| self.provider(&namespace, tenant, name));
        let needs_gateway = !agent.spec.models.is_empty() && self.config.gateway_url.is_none();
        problems.into_iter().next().or(needs_gateway.then_some((0, ModelProblem::NoGateway)))
    }

    /// Returns whether no tenant owns `namespace` yet, but a Tenant lists it and is about to set it up. A reconcile in such a namespace
    /// waits: the reason `NotInTenant` would be wrong a moment later.
    pub fn is_being_set_up(&self, namespace: &str) -> bool {
        let claims = |t: &Tenant| {
            t.spec.namespaces.iter().any(|n| n == namespace)
                && t.metadata.deletion_timestamp.is_none()
                && !is_stalled(t)
        };
        self.tenant_of(namespace).is_none() && self.caches.tenants.find(claims).is_some()
    }

    /// Writes records, and counts them. Writing the same records again changes nothing.
    ///
    /// # Errors
    /// When the record store fails.
    pub async fn record(&self, records: Vec<Record>) -> Result<(), Error> {
        let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
        self.record_store.record(records).await?;
        // After the write: records that failed are written again by the next reconcile.
        self.metrics.records.inc_by(count);
        Ok(())
    }

    /// Publishes a Kubernetes Event about an object. A failure is logged only: an Event is not worth a retry of the reconcile.
    pub async fn event<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        type_: EventType,
        reason: &str,
        note: impl Into<String>,
    ) {
        // The API server refuses longer notes.
        let note = text::message(note, 1024);
        let event =
            Event { type_, reason: reason.into(), note: Some(note), action: "Reconcile".into(), secondary: None };
        let about = object.object_ref(&());
        if let Err(error) = self.events.publish(&event, &about).await {
            let error = api_server::message(&error);
            tracing::warn!(
                kind = about.kind,
                namespace = about.namespace,
                name = about.name,
                reason,
                error,
                "cannot write an Event"
            );
        }
    }
}

/// Returns whether the last reconcile of a Tenant's present generation found that it cannot be set up.
fn is_stalled(tenant: &Tenant) -> bool {
    tenant.status.as_ref().is_some_and(|status| {
        status.observed_generation == tenant.metadata.generation
            && status.conditions.iter().any(|c| c.type_ == STALLED && c.status == "True")
    })
}

/// Returns the object with this name in this namespace.
pub fn lookup<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store.get(&ObjectRef::new(name).within(namespace))
}
