//! Validate: checks the spec of a Tenant.

use std::collections::BTreeMap;

use enact_crds::TenantSpec;
use enact_crds::validation::{self, NamespaceError};
use enact_domain::condition::Readiness;

use super::objects::Wanted;
use super::observe::Observed;
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
            let problem = reserved(&seen.tenant, name, config).or_else(|| {
                state.claimed_by.as_ref().map(|claimed_by| {
                    let message = format!(
                        "namespace {name} belongs to Tenant {claimed_by}; remove it from spec.namespaces of one of the two Tenants"
                    );
                    Readiness::stalled("NamespaceTaken", message)
                })
            })?;
            Some((name.clone(), problem))
        })
        .collect();
    let invalid = validation::egress(&spec.isolation.egress).into_iter().next();
    let problem = invalid.map(|error| Readiness::stalled("InvalidEgress", error.to_string()));
    Valid { wanted: Wanted::new(spec, config), problem, refused }
}

fn reserved(tenant: &str, namespace: &str, config: &Config) -> Option<Readiness> {
    let defaults = &config.default_tenant_namespaces;
    let error = validation::namespace(tenant, namespace, &config.namespace, defaults).err()?;
    let reason = match error {
        NamespaceError::DefaultTenant => "NamespaceTaken",
        NamespaceError::Cluster | NamespaceError::Installation => "NamespaceReserved",
    };
    Some(Readiness::stalled(reason, format!("namespace {namespace} {error}")))
}
