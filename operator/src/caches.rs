//! Caches of the objects that controllers read, each kept current by a watch.

use std::collections::BTreeMap;

use enact_crds::ownership::Consent;
use enact_crds::{Agent, Approval, Constitution, ModelProvider, Plan, Specification, Tenant};
use enact_domain::names::LABEL_TENANT;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt as _};

use crate::metadata_cache::MetadataCache;

/// The caches that all controllers share.
pub struct Caches {
    pub tenants: Store<Tenant>,
    pub constitutions: Store<Constitution>,
    pub specifications: Store<Specification>,
    pub plans: Store<Plan>,
    pub providers: Store<ModelProvider>,
    pub agents: Store<Agent>,
    pub approvals: Store<Approval>,
    /// All namespaces, from the watch of the tenant controller and from the responses to its own writes.
    pub namespaces: MetadataCache<NamespaceEntry>,
}

/// The fields of a namespace that controllers read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceEntry {
    pub uid: String,
    /// The labels that the tenant controller sets.
    pub labels: BTreeMap<String, String>,
    /// Whether the namespace is being deleted; it takes no new objects then.
    pub terminating: bool,
    /// Which Tenant can own it; none when it is being deleted.
    pub consent: Option<Consent>,
}

impl NamespaceEntry {
    /// Reads the fields from a namespace.
    pub fn of<K: Resource>(namespace: &K) -> Self {
        let ours: Vec<String> = pod_security_labels().chain([LABEL_TENANT.to_owned()]).collect();
        let labels = namespace.labels().iter().filter(|(key, _)| ours.contains(key));
        Self {
            uid: namespace.uid().unwrap_or_default(),
            labels: labels.map(|(k, v)| (k.clone(), v.clone())).collect(),
            terminating: namespace.meta().deletion_timestamp.is_some(),
            consent: Consent::of(namespace),
        }
    }

    /// Returns the tenant in the namespace's label.
    pub fn tenant(&self) -> Option<&str> {
        self.labels.get(LABEL_TENANT).map(String::as_str)
    }
}

/// Returns the keys of the labels that enforce a Pod Security Standard in a namespace.
pub fn pod_security_labels() -> impl Iterator<Item = String> {
    ["enforce", "audit", "warn"].into_iter().map(|mode| format!("pod-security.kubernetes.io/{mode}"))
}
