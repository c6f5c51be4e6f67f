//! Tenant: refuses a namespace of another Tenant or of others, and a deletion while Plans are unfinished.

use std::collections::HashSet;

use enact_crds::{TenantSpec, validation};
use serde_json::Value;

use super::validator::{Validate, Validator};
use crate::denial::{Cause, Denial, Outcome};
use crate::lookup::{Claim, Lookup, owner};
use crate::request::{Request, part};

impl<L: Lookup> Validate<TenantSpec> for Validator<L> {
    async fn validate(&self, request: &Request, spec: TenantSpec) -> Outcome {
        // Not from the cache: two Tenants that are applied one after the other must not both get a namespace.
        let others: Vec<Claim> =
            self.lookup.claims().await?.into_iter().filter(|c| c.tenant != request.name()).collect();
        let mut seen = HashSet::new();
        let mut causes = Vec::new();
        for (i, namespace) in spec.namespaces.iter().enumerate() {
            let problem = if seen.insert(namespace) {
                self.namespace_problem(request.name(), namespace, &others).await?
            } else {
                Some(format!("{namespace} is listed twice; remove one"))
            };
            causes.extend(problem.map(|p| Cause::new(format!("spec.namespaces[{i}]"), p)));
        }
        causes.extend(validation::egress(&spec.isolation.egress).into_iter().map(Cause::from));
        Denial::unless_empty(causes)?;
        // A namespace that leaves the Tenant must have no unfinished Plans, which would lose their tenant.
        let gone: Vec<String> =
            stored_namespaces(request).into_iter().filter(|n| !spec.namespaces.contains(n)).collect();
        self.refuse_while_busy(request, gone, "spec.namespaces", "removed").await
    }
}

impl<L: Lookup> Validator<L> {
    /// Refuses the deletion of a Tenant with unfinished Plans. It checks nothing else, so that an invalid Tenant can be deleted.
    pub(super) async fn delete_tenant(&self, request: &Request) -> Outcome {
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
        // Plans in a namespace that an older Tenant owns do not belong to this one.
        let claims = self.lookup.claims().await?;
        namespaces.retain(|n| owner(claims.iter().cloned(), n).is_none_or(|c| c.tenant == request.name()));
        let plans = self.lookup.unfinished_plans(&namespaces).await?;
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

    async fn namespace_problem(
        &self,
        tenant: &str,
        namespace: &str,
        others: &[Claim],
    ) -> Result<Option<String>, Denial> {
        let rules = self.settings.namespace_rules();
        if let Err(error) = rules.name(tenant, namespace) {
            return Ok(Some(format!("{namespace} {error}")));
        }
        if let Some(other) = others.iter().find(|c| c.namespaces.iter().any(|n| n == namespace)) {
            return Ok(Some(format!("{namespace} belongs to Tenant {} already; remove it there first", other.tenant)));
        }
        let consent = self.lookup.consent(namespace).await?;
        let refused = rules.existing(tenant, namespace, consent.as_ref()).err();
        Ok(refused.map(|error| format!("{namespace} {error}")))
    }
}

/// Returns the namespaces of the stored Tenant, without entries that cannot be read.
fn stored_namespaces(request: &Request) -> Vec<String> {
    let list = part(request.old(), "spec").and_then(|s| s.get("namespaces")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
