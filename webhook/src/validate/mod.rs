//! What is refused: one validator a kind, and before them what holds for all.

mod agent;
mod approval;
mod constitution;
mod document;
mod law;
mod namespace;
mod plan;
mod reference;
mod specification;
mod task;
mod tenancy;
mod tenant;

use std::future::Future;

use enact_crds::{AgentSpec, ApprovalSpec, ConstitutionSpec, PlanSpec, SpecificationSpec, TaskSpec, TenantSpec};
use kube::core::admission::Operation;
use serde::de::DeserializeOwned;

use crate::denial::{Denial, Outcome};
use crate::request::{Kind, Request};
use crate::world::World;

/// What an installation is told about itself.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// User name of the operator: it writes statuses, Tasks and tenant labels.
    pub operator_user: String,
    /// Namespace of the installation, which no tenant may own.
    pub namespace: String,
    /// Namespaces of the default tenant, for an installation without Tenants.
    pub default_namespaces: Vec<String>,
}

/// The rules, with what they look things up in.
pub struct Admission<W> {
    /// Where the rules look things up.
    pub world: W,
    /// What the installation is told about itself.
    pub settings: Settings,
}

/// The rules for a spec of type `T`, beyond what its schema says. Called for new objects and for changed specs only.
trait Validate<T> {
    fn validate(&self, request: &Request, spec: T) -> impl Future<Output = Outcome> + Send;
}

impl<W: World> Admission<W> {
    /// Whether the request may go on; with warnings for who asked.
    ///
    /// # Errors
    /// Why not, and what to do about it.
    pub async fn admit(&self, request: &Request) -> Outcome {
        let Some(kind) = request.kind() else {
            let message = "this webhook has no rules for the kind; correct the rules of the webhook configuration";
            return Err(Denial::invalid("kind", message));
        };
        match (kind, request.operation()) {
            (Kind::Tenant, Operation::Delete) => self.tenant_may_go(request).await,
            (_, Operation::Delete | Operation::Connect) => Ok(Vec::new()),
            (Kind::Namespace, _) => self.namespace_label(request).await,
            _ if self.is_operator(request) && kind != Kind::Approval => Ok(Vec::new()),
            _ if request.subresource().is_some() => Err(Denial::forbidden(
                request.subresource().unwrap_or_default(),
                "only the operator writes what it observed; change the spec instead",
            )),
            (Kind::Tenant, _) if request.changes_spec() => self.spec::<TenantSpec>(request).await,
            (Kind::Tenant, _) => Ok(Vec::new()),
            _ => self.namespaced(kind, request).await,
        }
    }

    async fn namespaced(&self, kind: Kind, request: &Request) -> Outcome {
        tenancy::rerun(request)?;
        plan::decision(request)?;
        if !request.changes_spec() && tenancy::keeps_guarded(request) {
            return Ok(Vec::new());
        }
        self.tenancy(request).await?;
        tenancy::author(request)?;
        match kind {
            Kind::Task => self.spec::<TaskSpec>(request).await,
            // How an object is handled (suspend, cancel, …) can always be changed, also where a later release is stricter about content.
            _ if !request.changes_content() => Ok(Vec::new()),
            Kind::Constitution => self.spec::<ConstitutionSpec>(request).await,
            Kind::Specification => self.spec::<SpecificationSpec>(request).await,
            Kind::Plan => self.spec::<PlanSpec>(request).await,
            Kind::Agent => self.spec::<AgentSpec>(request).await,
            Kind::Approval => self.spec::<ApprovalSpec>(request).await,
            Kind::Tenant | Kind::Namespace => Ok(Vec::new()),
        }
    }

    async fn spec<T: DeserializeOwned>(&self, request: &Request) -> Outcome
    where
        Self: Validate<T>,
    {
        reference::own_name(request)?;
        self.validate(request, request.spec::<T>()?).await
    }

    fn is_operator(&self, request: &Request) -> bool {
        !self.settings.operator_user.is_empty() && request.user() == self.settings.operator_user
    }
}

#[cfg(test)]
mod tests;
