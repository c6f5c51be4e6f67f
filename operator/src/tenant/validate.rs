//! Validate: checks the spec of a Tenant.

use std::collections::BTreeMap;
use std::net::IpAddr;

use enact_crds::TenantSpec;
use enact_crds::tenant::Egress;
use enact_domain::condition::Readiness;
use enact_domain::names::DEFAULT_TENANT;

use super::objects::Wanted;
use super::observe::Observed;
use crate::config::Config;

/// Namespaces that hold the cluster itself, or what nobody put anywhere else.
const RESERVED: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "default"];

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
    let egress = spec.isolation.egress.iter().enumerate().find_map(|(i, e)| egress_problem(i, e));
    Valid { wanted: Wanted::new(spec, config), problem: egress, refused }
}

fn reserved(tenant: &str, namespace: &str, config: &Config) -> Option<Readiness> {
    let defaults = &config.default_tenant_namespaces;
    let of_default = tenant != DEFAULT_TENANT && defaults.iter().any(|n| n == namespace);
    let (reason, message) = if of_default {
        let message = format!(
            "namespace {namespace} belongs to the default tenant; remove it from defaultTenant.namespaces in the installation's values first"
        );
        ("NamespaceTaken", message)
    } else if namespace == config.namespace {
        let message = format!("namespace {namespace} holds the installation of Enact; remove it from spec.namespaces");
        ("NamespaceReserved", message)
    } else if RESERVED.contains(&namespace) {
        let message = format!("namespace {namespace} is reserved for the cluster; remove it from spec.namespaces");
        ("NamespaceReserved", message)
    } else {
        return None;
    };
    Some(Readiness::stalled(reason, message))
}

fn egress_problem(index: usize, egress: &Egress) -> Option<Readiness> {
    let cidr = egress.cidr.as_deref().filter(|c| !is_cidr(c))?;
    let message = format!(
        "spec.isolation.egress[{index}].cidr: `{}` is not a CIDR block; write one such as 203.0.113.0/24 or 2001:db8::/32",
        cidr.escape_debug()
    );
    Some(Readiness::stalled("InvalidEgress", message))
}

fn is_cidr(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else { return false };
    let longest = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    prefix.parse::<u8>().is_ok_and(|p| p <= longest)
}
