//! The histories of agents: read from the record in batches, and used again for a while.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use enact_domain::agents::selection::History;
use enact_domain::time::Millis;
use enact_store::StoreError;
use parking_lot::Mutex;

use crate::record_store::RecordStore;

/// Seconds for which a history is used again.
const FRESH_SECONDS: u32 = 60;
/// Number of histories at which those that are no longer fresh are removed.
const MAX_KNOWN: usize = 10_000;

/// The past attempts of an agent, by capability.
pub type ByCapability = Arc<BTreeMap<String, History>>;

/// Tenant, namespace and name of an agent.
type Key = (String, String, String);

#[derive(Debug, Default)]
pub struct AgentHistories {
    known: Mutex<HashMap<Key, (Millis, ByCapability)>>,
}

impl AgentHistories {
    /// Returns the histories of the agents with these names, in their order. One query reads all that are not fresh.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub async fn of(
        &self,
        record_store: &dyn RecordStore,
        tenant: &str,
        namespace: &str,
        names: &[&str],
        now: Millis,
    ) -> Result<Vec<ByCapability>, StoreError> {
        let key = |name: &str| (tenant.to_owned(), namespace.to_owned(), name.to_owned());
        let is_fresh = |at: Millis| now < at.plus_seconds(FRESH_SECONDS);
        let stale: Vec<(String, String)> = {
            let known = self.known.lock();
            let fresh = |name: &&&str| known.get(&key(name)).is_some_and(|(at, _)| is_fresh(*at));
            names.iter().filter(|name| !fresh(name)).map(|name| (namespace.to_owned(), (*name).to_owned())).collect()
        };
        if !stale.is_empty() {
            let mut read: HashMap<String, BTreeMap<String, History>> = HashMap::new();
            for found in record_store.agent_histories(tenant, &stale).await? {
                read.entry(found.agent).or_default().insert(found.capability, found.history);
            }
            let mut known = self.known.lock();
            if known.len() > MAX_KNOWN {
                known.retain(|_, (at, _)| is_fresh(*at));
            }
            for (_, name) in stale {
                let history = Arc::new(read.remove(&name).unwrap_or_default());
                known.insert(key(&name), (now, history));
            }
        }
        let known = self.known.lock();
        Ok(names.iter().map(|name| known.get(&key(name)).map(|(_, h)| h.clone()).unwrap_or_default()).collect())
    }
}
