//! Replanning: a plan that replaces another one, and how its tasks differ.

use enact_domain::revisions::replan::Difference;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most ids of a list that the status shows.
const MAX_SHOWN: usize = 50;

/// The plan that another plan replaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replaces {
    /// Name of the Plan, in the same namespace. It must have ended before this plan starts.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Why another plan is wanted: the remark of a reviewer, for the planners and for those who approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub because: Option<String>,
}

/// How the tasks of a plan differ from those of the plan that it replaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplacedStatus {
    /// Tasks that only this plan has.
    #[serde(default)]
    pub added: TaskList,
    /// Tasks with another content or other dependencies.
    #[serde(default)]
    pub changed: TaskList,
    /// Tasks that only the replaced plan has.
    #[serde(default)]
    pub removed: TaskList,
    /// Finished tasks of the replaced plan that run again.
    #[serde(default)]
    pub repeated: TaskList,
    /// Ids of all finished tasks of the replaced plan whose work is kept. They do not run again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5000))]
    pub kept: Vec<String>,
}

/// Tasks with something in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskList {
    /// Number of the tasks.
    #[serde(default)]
    pub count: u32,
    /// Ids of the tasks; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub ids: Vec<String>,
}

impl TaskList {
    fn of(ids: &[String]) -> Self {
        let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        Self { count, ids: ids.iter().take(MAX_SHOWN).cloned().collect() }
    }
}

impl From<&Difference> for ReplacedStatus {
    fn from(difference: &Difference) -> Self {
        let Difference { added, changed, removed, kept, repeated } = difference;
        Self {
            added: TaskList::of(added),
            changed: TaskList::of(changed),
            removed: TaskList::of(removed),
            repeated: TaskList::of(repeated),
            kept: kept.clone(),
        }
    }
}
