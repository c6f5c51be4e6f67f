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
pub mod agent_run;
pub mod approval;
pub mod chain;
pub mod common;
pub mod compile;
pub mod constitution;
pub mod convert;
pub mod document;
pub mod identity;
pub mod models;
pub mod plan;
pub mod prompt;
pub mod provider;
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

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// Every CustomResourceDefinition of this release, in the order in which they should be applied.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![
        Tenant::crd(),
        Constitution::crd(),
        Specification::crd(),
        Plan::crd(),
        Task::crd(),
        ModelProvider::crd(),
        Agent::crd(),
        Approval::crd(),
    ]
}
