//! The probes that run.

use std::collections::HashMap;

use enact_domain::agents::probe::TIMEOUT_SECONDS;
use enact_domain::time::Millis;
use parking_lot::Mutex;

use crate::metadata_cache::ObjectKey;

/// Most probes that run at the same time, so that a restart of the operator does not start one for each Agent at once.
const MAX_PROBES: usize = 4;
/// Seconds after which a probe without a reservation is forgotten: the event of its end may be lost.
const FORGET_SECONDS: u32 = 2 * TIMEOUT_SECONDS;

/// The Agents whose probes run, with the time of the last reservation.
#[derive(Debug, Default)]
pub struct Probes {
    running: Mutex<HashMap<ObjectKey, Millis>>,
}

impl Probes {
    /// Reserves the probe of an Agent, or prolongs its reservation. Returns false while too many others run.
    pub fn reserve(&self, agent: &ObjectKey, now: Millis) -> bool {
        let mut running = self.running.lock();
        running.retain(|_, reserved| now < reserved.plus_seconds(FORGET_SECONDS));
        if !running.contains_key(agent) && running.len() >= MAX_PROBES {
            return false;
        }
        running.insert(agent.clone(), now);
        true
    }

    /// Ends the reservation.
    pub fn release(&self, agent: &ObjectKey) {
        self.running.lock().remove(agent);
    }

    /// Returns whether the probe of an Agent runs.
    pub fn contains(&self, agent: &ObjectKey) -> bool {
        self.running.lock().contains_key(agent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_probes_run_at_the_same_time() {
        let probes = Probes::default();
        let agent = |n: usize| ("ns".to_owned(), format!("a{n}"));
        let start = Millis(0);
        assert!((0..MAX_PROBES).all(|n| probes.reserve(&agent(n), start)));
        assert!(!probes.reserve(&agent(9), start) && probes.reserve(&agent(0), start), "its own is prolonged");
        probes.release(&agent(1));
        assert!(probes.reserve(&agent(9), start) && !probes.contains(&agent(1)));
        assert!(probes.reserve(&agent(8), start.plus_seconds(FORGET_SECONDS)), "the others are forgotten");
    }
}
