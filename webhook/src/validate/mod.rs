//! The rules for objects: one file for each kind, and before them the rules for all kinds.

mod agent;
mod approval;
mod constitution;
mod constitution_chain;
mod document;
mod namespace;
mod plan;
mod policy;
mod provider;
mod reference;
mod specification;
mod task;
mod tenancy;
mod tenant;
mod validator;

use enact_crds::{
    AgentSpec, ApprovalSpec, ConstitutionSpec, ModelProviderSpec, PlanSpec, SpecificationSpec, TaskSpec, TenantSpec,
};
use enact_domain::record::Kind;
use kube::core::admission::Operation;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::validator::Validate;
use crate::denial::{Denial, Outcome};
use crate::lookup::Lookup;
use crate::request::Request;
use crate::stamps;

pub use self::validator::{Settings, Validator};

impl<L: Lookup> Validator<L> {
    /// Decides whether the request is admitted; returns warnings for the client.
    ///
    /// # Errors
    /// When the request is refused; the error contains the reason and the remedy.
    pub async fn admit(&self, request: &Request) -> Outcome {
        match (request.kind(), request.operation()) {
            (Some(Kind::Tenant), Operation::Delete) => self.delete_tenant(request).await,
            (_, Operation::Delete | Operation::Connect) if request.has_rules() => Ok(Vec::new()),
            (Some(kind), _) => self.write(kind, request).await,
            (None, _) if request.is_namespace() => self.namespace_label(request).await,
            (None, _) => {
                let message = "this webhook has no rules for the kind; correct the rules of the webhook configuration";
                Err(Denial::invalid("kind", message))
            }
        }
    }

    async fn write(&self, kind: Kind, request: &Request) -> Outcome {
        match kind {
            // An Approval is signed by whoever creates it, so the operator gets no exception there.
            _ if self.is_operator(request) && kind != Kind::Approval => Ok(Vec::new()),
            _ if request.subresource().is_some() => Err(Denial::forbidden(
                request.subresource().unwrap_or_default(),
                "only the operator writes what it observed; change the spec instead",
            )),
            Kind::Tenant => {
                tenancy::changes(request)?;
                tenancy::owners(request)?;
                // Other changes, such as the removal of a finalizer, need no rule.
                if request.changes_spec() { self.spec::<TenantSpec>(request).await } else { Ok(Vec::new()) }
            }
            _ => self.namespaced(kind, request).await,
        }
    }

    async fn namespaced(&self, kind: Kind, request: &Request) -> Outcome {
        // These rules are about annotations, so they come before the shortcut for an unchanged spec.
        tenancy::rerun(request)?;
        plan::decision(request)?;
        task::messages(request)?;
        stamps::check(request)?;
        tenancy::changes(request)?;
        tenancy::owners(request)?;
        // No lookup here: finalizers can be removed even if the Tenant is gone or the API server is slow.
        if !request.changes_spec() && tenancy::keeps_guarded(request) {
            return Ok(Vec::new());
        }
        // Before the rules of the kind: they look up objects in this namespace and the rules of its Tenant. People can suspend and cancel under
        // a Tenant that is being deleted, which waits for that.
        if request.changes_content() || !request.lowered_policies().is_empty() || !tenancy::keeps_guarded(request) {
            self.tenancy(request).await?;
        }
        tenancy::author(request)?;
        tenancy::co_authors(request)?;
        self.policy(request).await?;
        match kind {
            Kind::Task => self.spec::<TaskSpec>(request).await,
            // People can always suspend or cancel, also where a later release is stricter about the content.
            _ if !request.changes_content() => Ok(Vec::new()),
            Kind::Constitution => self.spec::<ConstitutionSpec>(request).await,
            Kind::Specification => self.spec::<SpecificationSpec>(request).await,
            Kind::Plan => self.spec::<PlanSpec>(request).await,
            Kind::ModelProvider => self.spec::<ModelProviderSpec>(request).await,
            Kind::Agent => self.spec::<AgentSpec>(request).await,
            Kind::Approval => self.spec::<ApprovalSpec>(request).await,
            Kind::Tenant => Ok(Vec::new()),
        }
    }

    async fn spec<T: DeserializeOwned>(&self, request: &Request) -> Outcome
    where
        Self: Validate<T>,
    {
        reference::own_name(request)?;
        let spec = request.object().map_or(&Value::Null, |object| &object.data["spec"]);
        let unknown = |e| Denial::invalid("spec", format!("{e}; compare with `kubectl explain`"));
        self.validate(request, T::deserialize(spec).map_err(unknown)?).await
    }
}

#[cfg(test)]
mod tests;
