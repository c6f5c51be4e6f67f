//! Builds the Task objects of a plan.

use std::collections::BTreeMap;

use enact_crds::common::LocalRef;
use enact_crds::task::TaskTemplate;
use enact_crds::{Plan, Task, TaskSpec};
use enact_domain::names;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt as _};

/// Builds the Task object for a task of `plan`.
pub fn task(plan: &Plan, tenant: &str, name: &str, template: &TaskTemplate) -> Task {
    Task {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: plan.namespace(),
            labels: Some(BTreeMap::from([
                (names::LABEL_TENANT.to_owned(), tenant.to_owned()),
                (names::LABEL_PLAN.to_owned(), plan.name_any()),
            ])),
            owner_references: Some(vec![controlled_by(plan)]),
            ..ObjectMeta::default()
        },
        spec: TaskSpec { plan_ref: LocalRef { name: plan.name_any() }, work: template.clone() },
        status: None,
    }
}

/// Returns the owner reference of a child of `owner`. It does not block the deletion of the owner: Kubernetes deletes children in the
/// background.
pub fn controlled_by<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}
