//! Tenant: its namespaces are its own, and it goes only when its work is done.

use std::collections::HashSet;
use std::net::IpAddr;

use enact_crds::TenantSpec;
use enact_crds::tenant::Egress;
use enact_domain::names::DEFAULT_TENANT;
use serde_json::Value;

use super::{Admission, Validate};
use crate::denial::{Cause, Denial, Outcome};
use crate::request::{Request, part};
use crate::world::{Claim, World, owner};

/// Namespaces that hold the cluster itself.
const RESERVED: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

impl<W: World> Validate<TenantSpec> for Admission<W> {
    async fn validate(&self, request: &Request, spec: TenantSpec) -> Outcome {
        let others: Vec<Claim> =
            self.world.claims().await?.into_iter().filter(|c| c.tenant != request.name()).collect();
        let mut seen = HashSet::new();
        let mut causes = Vec::new();
        for (i, namespace) in spec.namespaces.iter().enumerate() {
            let problem = if seen.insert(namespace) {
                self.namespace_problem(request.name(), namespace, &others)
            } else {
                Some(format!("{namespace} is listed twice; remove one"))
            };
            causes.extend(problem.map(|p| Cause::new(format!("spec.namespaces[{i}]"), p)));
        }
        causes.extend(spec.isolation.egress.iter().enumerate().filter_map(|(i, e)| egress_problem(i, e)));
        Denial::unless_empty(causes)?;
        let gone: Vec<String> =
            stored_namespaces(request).into_iter().filter(|n| !spec.namespaces.contains(n)).collect();
        self.refuse_while_busy(request, gone, "spec.namespaces", "taken out").await
    }
}

impl<W: World> Admission<W> {
    /// Refuses the end of a tenant that holds unfinished Plans. Nothing else about the stored object counts, however wrong it is.
    pub(super) async fn tenant_may_go(&self, request: &Request) -> Outcome {
        self.refuse_while_busy(request, stored_namespaces(request), "metadata.deletionTimestamp", "deleted").await
    }

    async fn refuse_while_busy(
        &self,
        request: &Request,
        mut namespaces: Vec<String>,
        field: &str,
        what: &str,
    ) -> Outcome {
        if namespaces.is_empty() {
            return Ok(Vec::new());
        }
        // Work in a namespace that an older Tenant owns is not this one's.
        let claims = self.world.claims().await?;
        namespaces.retain(|n| owner(claims.iter().cloned(), n).is_none_or(|c| c.tenant == request.name()));
        let plans = self.world.unfinished_plans(&namespaces).await?;
        if plans.is_empty() {
            return Ok(Vec::new());
        }
        let message = format!(
            "cannot be {what} while Plans are not finished ({}{}); wait for them, or cancel or delete them first",
            plans.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", "),
            if plans.len() > 3 { ", …" } else { "" }
        );
        Err(Denial::forbidden(field, message))
    }

    fn namespace_problem(&self, tenant: &str, namespace: &str, others: &[Claim]) -> Option<String> {
        if RESERVED.contains(&namespace) {
            return Some(format!("{namespace} holds the cluster itself and cannot be a tenant's; remove it"));
        }
        if namespace == self.settings.namespace {
            return Some(format!("{namespace} holds the installation of Enact and cannot be a tenant's; remove it"));
        }
        if tenant != DEFAULT_TENANT && self.settings.default_namespaces.iter().any(|n| n == namespace) {
            return Some(format!(
                "{namespace} belongs to the default tenant; take it out of the installation's values first"
            ));
        }
        let other = others.iter().find(|c| c.namespaces.iter().any(|n| n == namespace))?;
        Some(format!("{namespace} belongs to Tenant {} already; take it out there first", other.tenant))
    }
}

/// The namespaces of the stored Tenant, as far as they can be read.
fn stored_namespaces(request: &Request) -> Vec<String> {
    let list = part(request.old(), "spec").and_then(|s| s.get("namespaces")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn egress_problem(index: usize, egress: &Egress) -> Option<Cause> {
    let cidr = egress.cidr.as_deref().filter(|c| !is_cidr(c))?;
    let message =
        format!("`{}` is no range of addresses; write one as 203.0.113.0/24 or 2001:db8::/32", cidr.escape_debug());
    Some(Cause::new(format!("spec.isolation.egress[{index}].cidr"), message))
}

fn is_cidr(text: &str) -> bool {
    let parsed = text.split_once('/').map(|(address, prefix)| (address.parse::<IpAddr>(), prefix.parse::<u8>()));
    matches!(parsed, Some((Ok(address), Ok(prefix))) if prefix <= if address.is_ipv4() { 32 } else { 128 })
}

#[cfg(test)]
mod tests;
