//! The probes that run.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::metadata_cache::ObjectKey;

/// Most probes that run at the same time, so that a restart of the operator does not start one for each Agent at once.
const MAX_PROBES: usize = 4;

/// The Agents whose probes run.
#[derive(Debug, Default)]
pub struct Probes {
    running: Mutex<HashSet<ObjectKey>>,
}

impl Probes {
    /// Reserves the probe of an Agent. Returns false while too many others run.
    pub fn reserve(&self, agent: &ObjectKey) -> bool {
        let mut running = self.running.lock();
        if !running.contains(agent) && running.len() >= MAX_PROBES {
            return false;
        }
        running.insert(agent.clone());
        true
    }

    /// Ends the reservation.
    pub fn release(&self, agent: &ObjectKey) {
        self.running.lock().remove(agent);
    }

    /// Returns whether the probe of an Agent runs.
    pub fn contains(&self, agent: &ObjectKey) -> bool {
        self.running.lock().contains(agent)
    }
}
