//! Progress: the counts of a decision for people, and what the attempts of the plan wait for.

use enact_domain::plan::TaskPhase;
use enact_domain::waiting::Waiting;

use super::decide::Decided;
use super::waits::{self, Waits};

impl Decided<'_> {
    /// Returns the attempts in progress whose pods do not run yet.
    pub fn waits(&self) -> Option<Waits> {
        waits::of_attempts(self.observed, self.valid, &self.nodes, &self.decision.phases)
    }

    /// Returns the wait for a slot of the tenant, if nothing of the plan runs. It is a part of the message and not the reason of the plan:
    /// short tasks of many plans would cause a write each time.
    pub fn waits_for_slot(&self) -> Option<Waiting> {
        let runs = self.decision.phases.values().any(|phase| *phase == TaskPhase::Running);
        let tasks = self.decision.waiting_for_slots;
        (!runs && tasks > 0).then(|| waits::for_slot(self.observed, self.valid, tasks))
    }

    /// Returns the counts for people.
    pub fn progress(&self) -> String {
        self.progress_with(self.waits().as_ref())
    }

    /// Returns the counts for people. A task whose pod does not run yet counts as waiting.
    pub fn progress_with(&self, waits: Option<&Waits>) -> String {
        let counts = self.task_counts();
        let waiting = waits.map_or(0, |waits| waits.count);
        let running = counts.running.saturating_sub(waiting);
        let done = format!("{} of {} tasks done, {running} running", counts.succeeded, counts.total);
        if waiting > 0 { format!("{done}, {waiting} waiting") } else { done }
    }

    /// Returns whether no attempt of the plan runs, because those in progress wait.
    pub fn all_wait(&self, waits: &Waits) -> bool {
        let in_progress = self.decision.phases.values().filter(|phase| **phase == TaskPhase::Running).count();
        usize::try_from(waits.count).is_ok_and(|waiting| waiting >= in_progress)
    }
}
