//! Validate: checks the spec of a Tenant.

use std::collections::BTreeMap;

use enact_crds::TenantSpec;
use enact_crds::ownership::NamespaceError;
use enact_crds::validation;
use enact_domain::condition::Readiness;

use super::objects::Wanted;
use super::observe::{NamespaceState, Observed};
use crate::config::Config;

/// The objects that a Tenant asks for, and the problems of its spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Valid {
    /// The content of each of its namespaces.
    pub wanted: Wanted,
    /// A problem that prevents the setup of every namespace.
    pub problem: Option<Readiness>,
    /// Namespaces that it cannot own, with the problem.
    pub refused: BTreeMap<String, Readiness>,
}

/// Checks the spec of a Tenant. The webhook refuses most problems; objects that were stored while it was down are checked here.
pub fn validate(spec: &TenantSpec, seen: &Observed, config: &Config) -> Valid {
    let listed = seen.namespaces.iter().filter(|(_, state)| state.listed);
    let refused = listed
        .filter_map(|(name, state)| {
            let problem = reserved(&seen.tenant, name, config)
                .or_else(|| taken(name, state))
                .or_else(|| not_allowed(&seen.tenant, name, state, config))?;
            Some((name.clone(), problem))
        })
        .collect();
    let invalid = validation::egress(&spec.isolation.egress).into_iter().next();
    let problem = invalid.map(|error| Readiness::stalled("InvalidEgress", error.to_string()));
    Valid { wanted: Wanted::new(spec, config), problem, refused }
}

fn reserved(tenant: &str, namespace: &str, config: &Config) -> Option<Readiness> {
    let error = config.namespace_rules().name(tenant, namespace).err()?;
    let reason = if error == NamespaceError::DefaultTenant { "NamespaceTaken" } else { "NamespaceReserved" };
    Some(Readiness::stalled(reason, format!("namespace {namespace} {error}")))
}

fn taken(namespace: &str, state: &NamespaceState) -> Option<Readiness> {
    let claimed_by = state.claimed_by.as_ref()?;
    let message = format!(
        "namespace {namespace} belongs to Tenant {claimed_by}; remove it from spec.namespaces of one of the two Tenants"
    );
    Some(Readiness::stalled("NamespaceTaken", message))
}

fn not_allowed(tenant: &str, namespace: &str, state: &NamespaceState, config: &Config) -> Option<Readiness> {
    let consent = state.namespace.as_ref().and_then(|n| n.consent.as_ref());
    let error = config.namespace_rules().existing(tenant, namespace, consent).err()?;
    Some(Readiness::stalled("NamespaceNotAllowed", format!("namespace {namespace} {error}")))
}
