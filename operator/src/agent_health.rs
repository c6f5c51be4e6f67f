//! The health of agents, from the ends of their attempts. It is kept in memory: after a restart of the operator, every agent is tried again.

use std::collections::HashMap;

use enact_domain::agents::health::{self, Failures};
use enact_domain::assignment::Report;
use enact_domain::reason::Reason;
use enact_domain::time::Millis;
use parking_lot::Mutex;

use crate::metadata_cache::ObjectKey;

/// The failures of the agents that have any, by namespace and name.
#[derive(Debug, Default)]
pub struct AgentHealth {
    failures: Mutex<HashMap<ObjectKey, Failures>>,
}

impl AgentHealth {
    /// Adds the end of an attempt, and returns whether the agent has become healthy or unhealthy.
    pub fn add(&self, agent: &ObjectKey, generation: Option<i64>, report: &Report, now: Millis) -> bool {
        let mut all = self.failures.lock();
        let before = all.remove(agent);
        let was_unhealthy = before.as_ref().is_some_and(|failures| failures.problem(generation, now).is_some());
        let after = health::after(before, generation, report.reason, &report.message, now);
        let is_unhealthy = after.as_ref().is_some_and(|failures| failures.problem(generation, now).is_some());
        if let Some(after) = after {
            all.insert(agent.clone(), after);
        }
        was_unhealthy != is_unhealthy
    }

    /// Returns reason and message of an unhealthy agent, and when it is tried again.
    pub fn problem(&self, agent: &ObjectKey, generation: Option<i64>, now: Millis) -> Option<(Reason, String, Millis)> {
        self.failures.lock().get(agent)?.problem(generation, now)
    }
}
