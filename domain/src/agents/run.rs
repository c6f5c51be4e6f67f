//! The run of a coding agent, as a part of an assignment.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::builtin;
use super::definition::{AdapterDefinition, Demands};
use super::mcp::McpServer;
use crate::names::is_label;

/// One run of a coding agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentRun {
    /// Name of a built-in adapter; empty if `custom` is set.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub adapter: String,
    /// Definition of the adapter `Custom`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<AdapterDefinition>,
    /// Name of the model; none for the default of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Base URL of the model gateway; none for an agent that uses the service of its vendor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_url: Option<String>,
    /// Instructions for all tasks of the Agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mcp_servers: Vec<McpServer>,
    /// Names of the skills. Their files are below [`paths::SKILLS`](crate::assignment::paths::SKILLS).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<String>,
    /// Maximum number of requests to the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u32>,
    /// Largest number of tokens, for an agent without the gateway: the runner stops it when it has reported them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Largest cost in millionths of a US dollar, for an agent without the gateway: it stops itself, or the runner stops it when it has reported
    /// this cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_micro_usd: Option<u64>,
    /// Time limit of the attempt, in seconds: the one of the pod. The runner stops the agent a little earlier, so that its work is pushed.
    pub timeout_seconds: u32,
}

impl AgentRun {
    /// Returns the definition of the adapter, checked.
    ///
    /// # Errors
    /// If there is no such adapter, its definition is invalid, or it cannot honour what is asked of it.
    pub fn definition(&self) -> Result<Cow<'_, AdapterDefinition>, String> {
        let definition = match &self.custom {
            Some(custom) => {
                custom.check()?;
                Cow::Borrowed(custom)
            }
            None => Cow::Borrowed(
                builtin::find(&self.adapter)
                    .ok_or_else(|| format!("there is no adapter `{}`", self.adapter.escape_debug()))?,
            ),
        };
        // The names become parts of paths.
        if let Some(name) = self.skills.iter().find(|name| !is_label(name)) {
            return Err(format!("`{}` is not a name of a skill: use a-z, 0-9 and -", name.escape_debug()));
        }
        let demands = Demands {
            api: None,
            mcp_servers: !self.mcp_servers.is_empty(),
            skills: !self.skills.is_empty(),
            max_turns: self.max_turns.is_some(),
        };
        match definition.conflicts(&demands).into_iter().next() {
            Some(conflict) => Err(conflict),
            None => Ok(definition),
        }
    }

    /// Returns the run with the limit of cost for a turn of the attempt, which has `spent` this before. The turn resumes a session that has
    /// cost `session`, also in earlier attempts. All costs are in millionths of a US dollar. A program limits its cost as it counts it: that of
    /// each turn, or of the whole session.
    #[must_use]
    pub fn for_turn(&self, definition: &AdapterDefinition, session: u64, spent: u64) -> Self {
        let counted = if definition.counts_cost_of_session() { session } else { 0 };
        let limit = self.max_cost_micro_usd.map(|limit| {
            // Programs take zero for no limit.
            limit.saturating_sub(spent).max(1).saturating_add(counted)
        });
        Self { max_cost_micro_usd: limit, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_gets_what_is_left_of_the_budget_of_the_attempt() {
        let run = AgentRun { max_cost_micro_usd: Some(500), ..AgentRun::default() };
        let of_session = builtin::find("ClaudeCode").unwrap();
        let mut of_turn = of_session.clone();
        for usage in of_turn.events.rules.iter_mut().filter_map(|rule| rule.usage.as_mut()) {
            usage.whole_session = false;
        }
        let limit = |definition: &AdapterDefinition, session, spent| {
            run.for_turn(definition, session, spent).max_cost_micro_usd
        };
        for definition in [of_session, &of_turn] {
            assert_eq!(limit(definition, 0, 0), Some(500), "a new session");
        }
        assert_eq!((limit(of_session, 450, 0), limit(&of_turn, 450, 0)), (Some(950), Some(500)), "a further attempt");
        assert_eq!((limit(of_session, 300, 300), limit(&of_turn, 300, 300)), (Some(500), Some(200)), "after a message");
        assert_eq!((limit(of_session, 750, 600), limit(&of_turn, 750, 600)), (Some(751), Some(1)), "nothing is left");
        let unlimited = AgentRun::default().for_turn(of_session, 1, 1);
        assert_eq!(unlimited.max_cost_micro_usd, None);
    }
}
