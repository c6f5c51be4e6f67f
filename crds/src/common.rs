//! Fields that several kinds share.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// A reference to an object in the same namespace; the field determines the kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalRef {
    /// Name of the object, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A reference to an object in any namespace; the field determines the kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespacedRef {
    /// Namespace of the object.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One key of a ConfigMap in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKey {
    /// Name of the ConfigMap, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its `data`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Returns the branch to use when none is named.
pub(crate) fn default_revision() -> String {
    "main".into()
}

/// Severity of a finding, as in Spec Kit's `analyze`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Severity {
    /// The document cannot be used, or violates the constitution.
    Critical,
    /// A plan would be affected.
    High,
    /// A person should review it.
    #[default]
    Medium,
    /// A remark.
    Low,
}

/// What people must approve before anything downstream of this object starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalPolicy {
    /// Number of different people who must approve this content; with 0, no approval is required.
    #[serde(default)]
    #[schemars(range(min = 0, max = 16))]
    pub required: u32,
    /// Groups whose members may approve. Empty: everybody who may create an Approval by RBAC.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub groups: Vec<String>,
    /// Whether the authors of the content must not approve it.
    #[serde(default)]
    pub four_eyes: bool,
    /// Additional approvals that are required while findings of a severity are open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub with_findings: Vec<FindingPolicy>,
    /// Seconds after which an approval expires. Default: it is valid until the content changes. Work that has started continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 31_536_000))]
    pub expires_after_seconds: Option<u32>,
    /// Service accounts and other machine users whose Approvals are accepted, by their user names in the API server:
    /// `system:serviceaccount:flux-system:kustomize-controller`. Approvals of all other machine users are rejected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub machines: Vec<String>,
}

/// Additional approvals that are required while findings of a severity are open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FindingPolicy {
    /// Severity from which on this policy applies: it applies while a finding of this or a worse severity is open.
    pub at_least: Severity,
    /// Number of different people who must approve.
    #[schemars(range(min = 1, max = 16))]
    pub required: u32,
    /// Groups whose members count towards that number. Empty: everybody who may approve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub groups: Vec<String>,
}

/// Retry policy after failed attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryPolicy {
    /// Number of retries after task failures. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub limit: Option<u32>,
    /// Number of retries after infrastructure failures: an eviction, a lost node, an image that cannot be pulled. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub infrastructure_limit: Option<u32>,
    /// Seconds before the first retry; the delay doubles with each retry. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub backoff_seconds: Option<u32>,
    /// Maximum delay between attempts, in seconds. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub max_backoff_seconds: Option<u32>,
    /// What the attempts after a failed one start from. Default: `Work` for coding agents, `Scratch` for scripts. The adapter Replay always
    /// starts from scratch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<RetryFrom>,
}

/// What the attempts after a failed one start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum RetryFrom {
    /// The verified work of the tasks that the task depends on.
    Scratch,
    /// Also the unfinished work of the last attempt, as uncommitted changes, and the session of its agent.
    Work,
}

/// What happens when an attempt has changed no file and written no output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum OnNoChange {
    /// The attempt succeeds, with the reason `NothingChanged` in its condition `Delivered`. An attempt of a coding agent fails all the same.
    #[default]
    Succeed,
    /// The attempt fails with the reason `NothingDone`.
    Fail,
}

/// Compute resources of the pod of an attempt. The memory request equals the memory limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// CPU request as a Kubernetes quantity: `100m`, `2`.
    #[serde(default, deserialize_with = "quantity", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cpu_schema")]
    pub cpu: Option<String>,
    /// Memory request and limit as a Kubernetes quantity: `256Mi`.
    #[serde(default, deserialize_with = "quantity", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes_schema")]
    pub memory: Option<String>,
    /// Limit of ephemeral storage as a Kubernetes quantity: `1Gi`.
    #[serde(default, deserialize_with = "quantity", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes_schema")]
    pub ephemeral_storage: Option<String>,
}

/// Reads a quantity, which Kubernetes also accepts as a whole number: `cpu: 2`.
pub(crate) fn quantity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Quantity {
        Number(i64),
        Text(String),
    }
    let quantity = Option::<Quantity>::deserialize(deserializer)?;
    Ok(quantity.map(|quantity| match quantity {
        Quantity::Number(number) => number.to_string(),
        Quantity::Text(text) => text,
    }))
}

/// Returns the schema of a quantity of CPUs.
pub(crate) fn cpu_schema(_: &mut SchemaGenerator) -> Schema {
    quantity_schema(r"^[0-9]+(\.[0-9]+)?m?$")
}

/// Returns the schema of a quantity of bytes.
pub(crate) fn bytes_schema(_: &mut SchemaGenerator) -> Schema {
    quantity_schema(r"^[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$")
}

fn quantity_schema(pattern: &str) -> Schema {
    // Pattern and length apply to texts, the minimum to numbers.
    json_schema!({ "x-kubernetes-int-or-string": true, "pattern": pattern, "maxLength": 20, "minimum": 0 })
}

/// Why something waits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitingStatus {
    /// Reason, as in conditions.
    pub reason: String,
    /// What it waits for, and the remedy.
    pub message: String,
    /// Time since when it waits for this reason.
    pub since: Time,
    /// ID of the task whose attempt waits, or `integration`. With more than one, the first that was reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}

/// A limit on the use of models. With both fields, the first one that is reached counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.tokens) || has(self.usd)").message("set tokens, usd or both"))]
pub struct Budget {
    /// Maximum number of tokens: input, cached input and output together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000_000_i64))]
    pub tokens: Option<u64>,
    /// Maximum cost in US dollars, as a decimal number: `12.50`. Requests to models without a known price cost nothing here; limit their
    /// tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{1,9}(\.[0-9]{1,6})?$"), length(max = 16))]
    pub usd: Option<String>,
}

/// Use of models by a tenant or an agent in one month.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonthlyUsage {
    /// Month in UTC: `2026-11`.
    pub month: String,
    /// Tokens used.
    #[serde(default)]
    pub tokens: u64,
    /// Cost in US dollars, as a decimal number. Requests to models without a known price are not included.
    #[serde(default)]
    pub usd: String,
    /// The part that requests in progress have reserved, in addition to what was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Budget>,
    /// The monthly budget.
    pub budget: Budget,
    /// The part of the budget that is neither used nor reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Budget>,
}

/// A command that must succeed before work is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gate {
    /// Short name that conditions show.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Script that `/bin/sh -e` runs at the root of the working tree.
    #[schemars(length(min = 1, max = 16_384))]
    pub script: String,
}

/// Outputs of a task: name → value.
pub type Outputs = BTreeMap<String, String>;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_may_be_numbers() {
        let resources: Resources = serde_json::from_value(json!({"cpu": 2, "memory": "256Mi"})).unwrap();
        assert_eq!((resources.cpu.as_deref(), resources.memory.as_deref()), (Some("2"), Some("256Mi")));
        assert_eq!(resources, serde_json::from_value(json!({"cpu": "2", "memory": "256Mi"})).unwrap());
        assert_eq!(serde_json::to_value(&resources).unwrap()["cpu"], "2", "both have the same digest");
    }
}
