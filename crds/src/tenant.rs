//! Tenant: the owner of namespaces, with quotas and isolation.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agent_images::AgentImages;
use crate::common::{
    ApprovalPolicy, Budget, Condition, MonthlyUsage, NamespacedRef, bytes_schema, cpu_schema, quantity,
};
use crate::provider::RateLimits;

/// A team or customer that owns namespaces of the cluster and is isolated from all other tenants.
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
    doc = "A team or customer that owns namespaces of the cluster and is isolated from all other tenants.",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && self.metadata.name.size() <= 63").message("the name of a Tenant is a label value: use at most 63 characters of a-z, 0-9 and -"),
    printcolumn(name = "Namespaces", type_ = "integer", json_path = ".status.namespaces"),
    printcolumn(name = "Running", type_ = "integer", json_path = ".status.runningAttempts"),
    printcolumn(name = "Parallelism", type_ = "integer", json_path = ".spec.parallelism"),
    printcolumn(name = "Spent", type_ = "string", json_path = ".status.usage.usd"),
    printcolumn(name = "Remaining", type_ = "string", json_path = ".status.usage.remaining.usd"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantSpec {
    /// Namespaces that belong to this tenant. The operator creates missing namespaces and keeps them when the tenant is deleted. A namespace
    /// that others created must have the annotation `enact.dev/allow-tenant` with the name of this tenant. A namespace belongs to at most one
    /// tenant.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 63)),
        inner(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    pub namespaces: Vec<String>,
    /// Owners of the tenant. They receive the role `enact-tenant-owner` in its namespaces.
    #[serde(default)]
    pub owners: Owners,
    /// Maximum number of concurrent attempts of all its plans. Default: 20.
    #[serde(default = "default_parallelism")]
    #[schemars(range(min = 1, max = 10_000))]
    pub parallelism: u32,
    /// Resource quota of each of its namespaces.
    #[serde(default)]
    pub quota: Quota,
    /// Budget of a calendar month (UTC) for all its plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_budget: Option<Budget>,
    /// Limits on requests to models, over all its agents. A field that is not set has the default of the installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_limits: Option<RateLimits>,
    /// Recording of what its agents send to models and what they get as answers. Default: nothing of it is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_logging: Option<RequestLogging>,
    /// Isolation of its pods.
    #[serde(default)]
    pub isolation: Isolation,
    /// Images that Agents in its namespaces may name. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_images: Option<AgentImages>,
    /// Whether planners are shown decisions that worked in all namespaces of the tenant. Default: only those of the namespace of their Plan.
    #[serde(default)]
    pub share_decisions: bool,
    /// Approvals that its objects require at least. The policy of an object can require more, but not less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_approvals: Option<MinimumApprovals>,
    /// A constitution in any namespace from which all constitutions of the tenant inherit. They can be stricter, but not looser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constitution_ref: Option<NamespacedRef>,
}

fn default_parallelism() -> u32 {
    20
}

/// Approvals that the objects of a tenant require at least.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MinimumApprovals {
    /// Of every Constitution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constitutions: Option<ApprovalPolicy>,
    /// Of every Specification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specifications: Option<ApprovalPolicy>,
    /// Of every Plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plans: Option<ApprovalPolicy>,
}

/// Users and groups that own a tenant.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Owners {
    /// User names, as in the API server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub users: Vec<String>,
    /// Group names, as in the API server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub groups: Vec<String>,
}

/// Recording of the texts of model requests and of their answers, without credentials of known forms.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestLogging {
    /// Maximum size of the recorded text of a request, and of that of an answer, in bytes. The middle of a longer request and the end of a
    /// longer answer are left out. Default: 32768.
    #[serde(default = "default_log_bytes")]
    #[schemars(range(min = 1024, max = 262_144))]
    pub max_bytes: u32,
    /// Days after which the texts are deleted. Default: 7.
    #[serde(default = "default_log_days")]
    #[schemars(range(min = 1, max = 90))]
    pub retention_days: u32,
}

fn default_log_bytes() -> u32 {
    32_768
}

fn default_log_days() -> u32 {
    7
}

/// Resource quota of a namespace. Each field becomes an entry of a ResourceQuota; `containerCpu` becomes a LimitRange.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quota {
    /// Maximum number of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub pods: Option<u32>,
    /// Sum of requested CPU as a Kubernetes quantity.
    #[serde(default, deserialize_with = "quantity", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cpu_schema")]
    pub cpu: Option<String>,
    /// CPU limit of each container as a Kubernetes quantity; a container that requests more is refused. Default: containers share the idle CPU
    /// of a node by their requests.
    #[serde(default, deserialize_with = "quantity", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cpu_schema")]
    pub container_cpu: Option<String>,
    /// Sum of memory limits as a Kubernetes quantity.
    #[serde(default, deserialize_with = "quantity", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes_schema")]
    pub memory: Option<String>,
    /// Sum of limits of ephemeral storage as a Kubernetes quantity.
    #[serde(default, deserialize_with = "quantity", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes_schema")]
    pub ephemeral_storage: Option<String>,
    /// Maximum number of Tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub tasks: Option<u32>,
    /// Maximum number of Plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub plans: Option<u32>,
    /// Maximum number of Agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub agents: Option<u32>,
    /// Maximum number of Specifications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub specifications: Option<u32>,
    /// Maximum number of Constitutions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub constitutions: Option<u32>,
    /// Maximum number of Approvals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub approvals: Option<u32>,
}

/// Isolation of the pods of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Isolation {
    /// Pod Security Standard that its namespaces enforce.
    #[serde(default)]
    pub pod_security: PodSecurity,
    /// RuntimeClass of its agent pods, for example gVisor or Kata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub runtime_class_name: Option<String>,
    /// Destinations that its pods may connect to, in addition to cluster DNS, the Enact server and the model gateway. All other egress is denied, so that Git
    /// servers must be listed here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub egress: Vec<Egress>,
}

/// A level of the Pod Security Standards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PodSecurity {
    /// The hardened level; the agent pods of Enact comply with it.
    #[default]
    Restricted,
    /// The level that prevents known privilege escalations.
    Baseline,
}

/// A destination that pods may connect to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
// `namespace` is a reserved word of CEL, and escaped as Kubernetes does it.
#[x_kube(validation = Rule::new("has(self.cidr) != has(self.__namespace__)").message("set exactly one of cidr and namespace"))]
pub struct Egress {
    /// IP address range: `203.0.113.0/24`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 43))]
    pub cidr: Option<String>,
    /// Namespace of this cluster; all of its pods are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// TCP ports. Empty: all ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(range(min = 1, max = 65_535)))]
    pub ports: Vec<i32>,
}

/// What the operator observed of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// Generation of the object that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions Ready, Reconciling and Stalled, with kstatus semantics; BudgetLow is True while at least 80 % of the monthly budget is spent.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Number of namespaces that are set up.
    #[serde(default)]
    pub namespaces: u32,
    /// Number of unfinished plans.
    #[serde(default)]
    pub active_plans: u32,
    /// Number of running attempts.
    #[serde(default)]
    pub running_attempts: u32,
    /// Use of models in this month, while the tenant has a monthly budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<MonthlyUsage>,
}
