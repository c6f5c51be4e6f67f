//! What a plan is expected to use, and what it used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::Budget;

/// Expected use of models by a plan, and its expected duration, from finished tasks of the tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanEstimate {
    /// Cost in US dollars. Absent if the price of a model is unknown, or if there are too few finished tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<UsdRange>,
    /// Tokens: input, cached input and output together. Absent if there are too few finished tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<NumberRange>,
    /// Seconds from the start of the first task to the end of the last one, without waiting for people, budgets, nodes or other plans.
    /// Absent if there are too few finished tasks of an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<NumberRange>,
    /// Number of finished tasks behind the least certain part of the estimate.
    #[serde(default)]
    pub samples: u32,
    /// Which finished tasks the least certain part is made from.
    #[serde(default)]
    pub basis: EstimateBasis,
    /// When the plan has succeeded: by how many percent its cost was above the expected one, or its tokens if no cost was expected. Negative
    /// if it was below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_percent: Option<i64>,
}

/// An expected number with its bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NumberRange {
    /// Lower bound.
    pub low: u64,
    /// Expected value.
    pub expected: u64,
    /// Upper bound.
    pub high: u64,
}

/// An expected amount of US dollars with its bounds, as decimal numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsdRange {
    /// Lower bound.
    pub low: String,
    /// Expected value.
    pub expected: String,
    /// Upper bound.
    pub high: String,
}

/// Which finished tasks an estimate is made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum EstimateBasis {
    /// Those of the same Agent.
    #[default]
    Agent,
    /// Those of Agents with the same adapter and first model.
    Model,
    /// Those of all Agents of the tenant that use models.
    Tenant,
    /// There are too few finished tasks, so that cost and duration are unknown.
    Unknown,
}

/// Use of models by a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanUsage {
    /// Tokens used.
    #[serde(default)]
    pub tokens: u64,
    /// Cost in US dollars, as a decimal number. Requests to models without a known price are not included.
    #[serde(default)]
    pub usd: String,
    /// The part that requests in progress have reserved, in addition to what was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Budget>,
    /// The budget that applies: the smaller one of the plan's and of its Approvals'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// What sets the budget: `spec.execution.budget`, or Approvals with the people who decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budget_set_by: Vec<String>,
    /// The part of the budget that is neither used nor reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Budget>,
    /// The part of what was used by attempts that failed, or that a later attempt at the same task replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discarded: Option<Discarded>,
}

/// Use of models by attempts whose work is not a part of the result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Discarded {
    /// Tokens used.
    pub tokens: u64,
    /// Cost in US dollars, as a decimal number. Requests to models without a known price are not included.
    pub usd: String,
}
