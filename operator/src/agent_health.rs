//! The health of agents, from the ends of their attempts: those of the record when an agent is first needed, and then each new one.

use std::collections::{HashMap, HashSet};

use enact_crds::{Agent, convert};
use enact_domain::agents::health::{End, Health};
use enact_domain::reason::Reason;
use enact_domain::time::Millis;
use enact_store::StoreError;
use kube::ResourceExt as _;
use parking_lot::Mutex;

use crate::metadata_cache::ObjectKey;
use crate::record_store::RecordStore;

/// The health of agents, by the namespace of their attempts and by their name.
#[derive(Debug, Default)]
pub struct AgentHealth {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    agents: HashMap<ObjectKey, Health>,
    /// When the last attempt of each agent started.
    started: HashMap<ObjectKey, Millis>,
    /// Agents whose attempts ended while their health was not known. What is being read for them may miss these ends.
    missed: HashSet<ObjectKey>,
}

/// An Agent as its health needs it.
#[derive(Clone, Debug)]
pub struct HealthSubject {
    pub name: String,
    pub generation: Option<i64>,
    /// Time of the last change of the object; earlier ends of attempts do not count.
    pub changed: Option<Millis>,
}

impl HealthSubject {
    pub fn of(agent: &Agent) -> Self {
        let fields = agent.metadata.managed_fields.iter().flatten();
        let times = fields.filter(|managed| managed.subresource.is_none()).filter_map(|managed| managed.time.as_ref());
        let changed = times.map(convert::millis).max();
        Self { name: agent.name_any(), generation: agent.metadata.generation, changed }
    }
}

impl AgentHealth {
    /// Reads from the record the health of those agents that are not known yet.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub async fn load(
        &self,
        record_store: &dyn RecordStore,
        tenant: &str,
        namespace: &str,
        agents: &[HealthSubject],
    ) -> Result<(), StoreError> {
        let key = |name: &str| (namespace.to_owned(), name.to_owned());
        let unknown: Vec<&HealthSubject> = {
            let mut known = self.known.lock();
            let unknown = agents.iter().filter(|agent| !known.agents.contains_key(&key(&agent.name)));
            let unknown: Vec<&HealthSubject> = unknown.collect();
            for agent in &unknown {
                known.missed.remove(&key(&agent.name));
            }
            unknown
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let names: Vec<(String, String)> = unknown.iter().map(|agent| key(&agent.name)).collect();
        let mut read: HashMap<String, Vec<End>> = HashMap::new();
        for ended in record_store.agent_ends(tenant, &names).await? {
            read.entry(ended.agent).or_default().push(ended.end);
        }
        let mut known = self.known.lock();
        for agent in unknown {
            let ends = read.remove(&agent.name).unwrap_or_default();
            let counted = ends.iter().filter(|end| agent.changed.is_none_or(|changed| end.at >= changed));
            let health = counted.fold(Health::default(), |health, end| health.after(agent.generation, end));
            let key = key(&agent.name);
            // If an attempt has ended meanwhile, the health is read again by the next call.
            if !known.missed.contains(&key) {
                known.agents.entry(key).or_insert(health);
            }
        }
        Ok(())
    }

    /// Adds the end of an attempt, which the record has. Returns whether the agent may have become healthy or unhealthy.
    pub fn add(&self, agent: &ObjectKey, generation: Option<i64>, end: &End) -> bool {
        let mut known = self.known.lock();
        let Some(health) = known.agents.get_mut(agent) else {
            known.missed.insert(agent.clone());
            return true;
        };
        let before = std::mem::take(health);
        let was_unhealthy = before.problem(generation, end.at).is_some();
        *health = before.after(generation, end);
        was_unhealthy != health.problem(generation, end.at).is_some()
    }

    /// Adds the start of an attempt.
    pub fn start(&self, agent: ObjectKey, now: Millis) {
        self.known.lock().started.insert(agent, now);
    }

    /// Returns when the last attempt of an agent started, if this process started it.
    pub fn started_at(&self, agent: &ObjectKey) -> Option<Millis> {
        self.known.lock().started.get(agent).copied()
    }

    /// Returns the end of the last attempt of an agent that could run.
    pub fn ran_at(&self, agent: &ObjectKey, generation: Option<i64>) -> Option<Millis> {
        self.known.lock().agents.get(agent)?.ran_at(generation)
    }

    /// Returns reason and message of an unhealthy agent, and when it is tried again.
    pub fn problem(&self, agent: &ObjectKey, generation: Option<i64>, now: Millis) -> Option<(Reason, String, Millis)> {
        self.known.lock().agents.get(agent)?.problem(generation, now)
    }

    /// Returns when the quota of an agent is reset, while it is used up.
    pub fn exhausted_until(&self, agent: &ObjectKey, generation: Option<i64>, now: Millis) -> Option<Millis> {
        self.known.lock().agents.get(agent)?.exhausted_until(generation, now)
    }
}

#[cfg(test)]
mod tests;
