//! The custom resources of Enact, group `enact.dev`, version `v1alpha1`.
//!
//! What one object can prove about itself is in its schema: patterns, bounds and CEL rules that the API server evaluates. What needs other
//! objects is checked by the webhook and the controllers. The generated YAML is in `crds/generated/`; `cargo xtask crds` writes it and a
//! test compares it.

#![allow(
    clippy::duplicated_attributes,
    reason = "columns and rules of one kind share values, and none may be left out"
)]

pub mod agent;
pub mod agent_content;
pub mod agent_images;
pub mod agent_run;
pub mod approval;
pub mod chain;
pub mod common;
pub mod compile;
pub mod constitution;
pub mod convert;
pub mod document;
pub mod documents;
pub mod identity;
pub mod models;
pub mod ownership;
pub mod plan;
pub mod prompt;
pub mod provider;
pub mod replan;
pub mod specification;
pub mod subject;
pub mod task;
pub mod tenant;
pub mod validation;
pub mod warm_pool;

pub use agent::{Agent, AgentSpec, AgentStatus};
pub use approval::{Approval, ApprovalSpec, ApprovalStatus};
pub use constitution::{Constitution, ConstitutionSpec, ConstitutionStatus};
pub use plan::{Plan, PlanSpec, PlanStatus};
pub use provider::{ModelProvider, ModelProviderSpec, ModelProviderStatus};
pub use specification::{Specification, SpecificationSpec, SpecificationStatus};
pub use task::{Task, TaskSpec, TaskStatus};
pub use tenant::{Tenant, TenantSpec, TenantStatus};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt as _;
use serde_json::json;

/// Every CustomResourceDefinition of this release, in the order in which they should be applied.
pub fn all() -> Vec<CustomResourceDefinition> {
    let crds = [
        Tenant::crd(),
        Constitution::crd(),
        Specification::crd(),
        Plan::crd(),
        Task::crd(),
        ModelProvider::crd(),
        Agent::crd(),
        Approval::crd(),
    ];
    Vec::from(crds.map(with_default_status))
}

/// Adds the status of an object that the operator has not seen yet. Without it, kstatus calls such an object current, and a field selector
/// for the phase does not find it. The API server adds this status whenever it reads an object without one, so it costs no write.
fn with_default_status(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let fields = schema.and_then(|schema| schema.properties.as_mut());
        if let Some(status) = fields.and_then(|fields| fields.get_mut("status")) {
            // The API server adds the defaults of the fields of the status, such as the phase.
            status.default = Some(JSON(json!({ "observedGeneration": -1 })));
        }
    }
    crd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_pending_from_its_creation() {
        let crds: Vec<_> = all().into_iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
        let tasks = crds.iter().find(|crd| crd["spec"]["names"]["kind"] == "Task").unwrap();
        let status = &tasks["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
        assert_eq!(status["default"], json!({ "observedGeneration": -1 }));
        assert_eq!(status["properties"]["phase"]["default"], "Pending", "the API server adds it to that status");
    }
}
