//! Tenant: who owns which namespaces, and within which bounds.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Condition, NamespacedRef};

/// A team or customer that owns namespaces of the cluster and is kept apart from all others.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "enact.dev",
    version = "v1alpha1",
    kind = "Tenant",
    status = "TenantStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "tn",
    category = "enact",
    doc = "A team or customer that owns namespaces of the cluster and is kept apart from all others.",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && self.metadata.name.size() <= 63").message("the name of a Tenant is used as a label: at most 63 characters of a-z, 0-9 and -"),
    printcolumn(name = "Namespaces", type_ = "integer", json_path = ".status.namespaces"),
    printcolumn(name = "Running", type_ = "integer", json_path = ".status.runningAttempts"),
    printcolumn(name = "Parallelism", type_ = "integer", json_path = ".spec.parallelism"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantSpec {
    /// Namespaces that belong to this tenant. They are created when missing, and kept when the tenant goes. No namespace may belong to two
    /// tenants.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 63)),
        inner(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub namespaces: Vec<String>,
    /// Who owns the tenant: gets the role `enact-tenant-owner` in its namespaces.
    #[serde(default)]
    pub owners: Owners,
    /// Most attempts of all its plans at once. Default: 20.
    #[serde(default = "default_parallelism")]
    #[schemars(range(min = 1, max = 10_000))]
    pub parallelism: u32,
    /// Bounds of each of its namespaces.
    #[serde(default)]
    pub quota: Quota,
    /// How its pods are kept apart.
    #[serde(default)]
    pub isolation: Isolation,
    /// A constitution, in any namespace, that all constitutions of the tenant inherit from: they can be stricter, and never looser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constitution_ref: Option<NamespacedRef>,
}

fn default_parallelism() -> u32 {
    20
}

/// Users and groups that own a tenant.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Owners {
    /// Names of users, as the API server knows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub users: Vec<String>,
    /// Names of groups, as the API server knows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub groups: Vec<String>,
}

/// Bounds of a namespace; each becomes a line of a ResourceQuota.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quota {
    /// Most pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub pods: Option<u32>,
    /// Sum of requested CPU as a Kubernetes quantity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?m?$"), length(max = 20))]
    pub cpu: Option<String>,
    /// Sum of memory limits as a Kubernetes quantity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$"), length(max = 20))]
    pub memory: Option<String>,
    /// Most Tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub tasks: Option<u32>,
    /// Most Plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub plans: Option<u32>,
}

/// How a tenant's pods are kept apart.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Isolation {
    /// Pod Security Standard that its namespaces enforce.
    #[serde(default)]
    pub pod_security: PodSecurity,
    /// RuntimeClass of its agent pods, gVisor or Kata for instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub runtime_class_name: Option<String>,
    /// Where its pods may connect to, besides cluster DNS, the installation's server and Git servers named here. Everything else is denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub egress: Vec<Egress>,
}

/// A level of the Pod Security Standards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PodSecurity {
    /// The hardened level; agent pods of Enact fit it.
    #[default]
    Restricted,
    /// The level that stops known privilege escalations.
    Baseline,
}

/// A place that pods may connect to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
// `namespace` is a reserved word of CEL, and escaped as Kubernetes does it.
#[x_kube(validation = Rule::new("has(self.cidr) != has(self.__namespace__)").message("set exactly one of cidr and namespace"))]
pub struct Egress {
    /// A range of addresses, `203.0.113.0/24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 43))]
    pub cidr: Option<String>,
    /// Every pod of a namespace of this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// TCP ports; empty means every port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(range(min = 1, max = 65_535)))]
    pub ports: Vec<i32>,
}

/// What the operator observed of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// The generation that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled, as kstatus reads them.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How many namespaces are set up.
    #[serde(default)]
    pub namespaces: u32,
    /// Plans that are not finished.
    #[serde(default)]
    pub active_plans: u32,
    /// Attempts under way.
    #[serde(default)]
    pub running_attempts: u32,
}
