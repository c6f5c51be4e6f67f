//! The rows of an answer about usage, and the dimensions that they can have.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use enact_domain::time::Millis;
use enact_domain::usage::Charge;
use serde::Serialize;
use strum::{EnumString, IntoStaticStr, VariantArray};

/// What usage can be grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum Dimension {
    Namespace,
    Specification,
    Plan,
    Task,
    Attempt,
    Requirement,
    Agent,
    Provider,
    Model,
    Day,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Returns the name of the dimension in queries.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the dimensions without which this one means nothing: tasks of two plans can have the same name.
    pub(super) fn within(self) -> &'static [Self] {
        match self {
            Self::Attempt => &[Self::Namespace, Self::Plan, Self::Task],
            Self::Task | Self::Requirement => &[Self::Namespace, Self::Plan],
            Self::Plan | Self::Specification => &[Self::Namespace],
            _ => &[],
        }
    }
}

/// Usage of the requests with the same values of the dimensions. The values of other dimensions are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The Specification of the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub specification: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// A requirement of the task. A task with several requirements is divided equally among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requirement: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// Time at which the last request started, or ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Millis>,
    /// Number of requests that have ended.
    pub requests: u64,
    /// Number of requests that run. Their usage is not known yet.
    pub running: u64,
    /// Number of ended requests whose usage is an estimate.
    pub estimated: u64,
    /// Number of ended requests whose usage the agent reported itself.
    pub self_reported: u64,
    /// What the ended requests used.
    pub charge: Charge,
    /// The part of the tokens whose price is unknown, so that `charge` has no cost for it.
    pub unpriced_tokens: u64,
    /// The part of `charge` that belongs to attempts that failed, or that a later attempt at the same task replaced.
    pub discarded: Charge,
}

impl UsageRow {
    /// Returns the value of a dimension.
    pub fn value(&self, dimension: Dimension) -> Option<String> {
        match dimension {
            Dimension::Namespace => self.namespace.clone(),
            Dimension::Specification => self.specification.clone(),
            Dimension::Plan => self.plan.clone(),
            Dimension::Task => self.task.clone(),
            Dimension::Attempt => self.attempt.map(|attempt| attempt.to_string()),
            Dimension::Requirement => self.requirement.clone(),
            Dimension::Agent => self.agent.clone(),
            Dimension::Provider => self.provider.clone(),
            Dimension::Model => self.model.clone(),
            Dimension::Day => self.day.clone(),
        }
    }
}

/// Adds up the rows with the same values of the dimensions.
pub(super) fn combine(rows: Vec<UsageRow>) -> Vec<UsageRow> {
    let mut sums: BTreeMap<Vec<Option<String>>, UsageRow> = BTreeMap::new();
    for row in rows {
        let key = Dimension::ALL.iter().map(|dimension| row.value(*dimension)).collect();
        match sums.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(row);
            }
            Entry::Occupied(mut entry) => add(entry.get_mut(), &row),
        }
    }
    sums.into_values().collect()
}

/// Adds the numbers of `part`.
fn add(whole: &mut UsageRow, part: &UsageRow) {
    whole.last_at = whole.last_at.max(part.last_at);
    whole.requests += part.requests;
    whole.running += part.running;
    whole.estimated += part.estimated;
    whole.self_reported += part.self_reported;
    whole.unpriced_tokens += part.unpriced_tokens;
    whole.charge.add(&part.charge);
    whole.discarded.add(&part.discarded);
}

/// A group as the database returns it, by plan and task as well if requirements are wanted, and by plan if specifications are.
pub(super) struct Group {
    pub plan_uid: Option<String>,
    /// Name of the Task object.
    pub task: Option<String>,
    pub row: UsageRow,
}
