//! The state of each task in the simulation of plans: its status, its attempts in the record, and its pods.

use std::collections::{BTreeMap, BTreeSet};

use enact_domain::assignment::{Reason, Report};
use enact_domain::attempt::{AttemptState, FailureClass};
use enact_domain::plan::{CurrentAttempt, Node, TaskPhase};
use enact_domain::time::Millis;

/// Random choices. When they are used up, no action fails any more, and pods succeed.
pub struct Chance(pub std::vec::IntoIter<usize>);

impl Chance {
    pub fn of(&mut self, n: usize) -> Option<usize> {
        self.0.next().map(|c| c % n)
    }

    /// Returns true in one of `n` cases.
    pub fn strikes(&mut self, n: usize) -> bool {
        self.of(n) == Some(n - 1)
    }
}

pub struct Pod {
    pub state: AttemptState,
    pub created: Millis,
    pub deleting: Option<Millis>,
    /// Whether its runner has delivered a success, and only has to exit.
    pub delivered: bool,
}

impl Pod {
    /// Returns whether no container of it can run any more.
    pub fn has_ended(&self) -> bool {
        match &self.state {
            AttemptState::Succeeded(_) => true,
            AttemptState::Failed { class, report } => {
                *class != FailureClass::Unknown && report.reason != Reason::ImagePullFailed
            }
            _ => false,
        }
    }
}

/// An attempt in the record.
#[derive(Default)]
pub struct Recorded {
    pub ended: bool,
    pub delivered: Option<Report>,
}

/// An attempt that the operator remembers as started.
pub struct Open {
    pub number: u32,
    pub seen: bool,
    pub result: Option<Report>,
    /// Whether this process could not create its pod.
    pub lacks_pod: bool,
}

/// A task or the integration, with its attempts.
#[derive(Default)]
pub struct Task {
    /// The status of its object.
    pub status: Node,
    pub record: BTreeMap<u32, Recorded>,
    pub pods: BTreeMap<u32, Pod>,
    pub open: Option<Open>,
    /// Attempts that ever had a pod (`born`), whose pod this process has seen (`seen`), and that began their work (`begun`).
    pub born: BTreeSet<u32>,
    pub seen: BTreeSet<u32>,
    pub begun: BTreeSet<u32>,
    /// The failure classes of the attempts that ended since the task was last opened.
    pub ends: BTreeMap<u32, Option<FailureClass>>,
    /// The moments when the last attempt was started, and when the pod of each attempt ended. The pod of a lost attempt can end late.
    pub started: usize,
    pub finished: BTreeMap<u32, usize>,
}

impl Task {
    /// Returns the last attempt that has ended by its status.
    pub fn closed(&self) -> u32 {
        self.status.attempts - u32::from(self.status.phase == TaskPhase::Running)
    }

    pub fn newest(&self) -> Option<u32> {
        self.pods.last_key_value().map(|(number, _)| *number)
    }

    pub fn has_vanished(&self) -> bool {
        let gone = |open: &Open| open.seen && open.result.is_none() && self.newest() < Some(open.number);
        self.open.as_ref().is_some_and(gone)
    }

    /// Reads the record again.
    pub fn hydrate(&mut self) {
        let Some((&number, recorded)) = self.record.last_key_value() else { return };
        let delivered = recorded.delivered.clone();
        match &mut self.open {
            Some(open) if open.number > number => {}
            Some(open) if open.number == number => open.result = open.result.take().or(delivered),
            open => *open = Some(Open { number, seen: recorded.ended, result: delivered, lacks_pod: false }),
        }
    }

    /// Returns the node as the operator sees it.
    pub fn observe(&mut self) -> Node {
        let closed = self.closed();
        if let Some(number) = self.newest().filter(|n| *n > closed)
            && self.open.as_ref().is_none_or(|o| number >= o.number)
        {
            let result = self.open.take().filter(|open| open.number == number).and_then(|open| open.result);
            self.open = Some(Open { number, seen: true, result, lacks_pod: false });
            self.seen.insert(number);
        }
        let open = self.open.as_ref().filter(|o| o.number > closed);
        let attempts = open.map_or(self.status.attempts, |o| o.number);
        let current = match (open, self.pods.get(&attempts)) {
            _ if self.status.phase.is_finished() => CurrentAttempt::None,
            (Some(open), Some(Pod { state, created, deleting, .. })) => CurrentAttempt::Pod {
                state: state.clone(),
                created: *created,
                deleting: *deleting,
                delivered: open.result.clone().map(Box::new),
            },
            (Some(open), None) => {
                // The status was written because the pod existed.
                let was_running = self.status.phase == TaskPhase::Running && attempts == self.status.attempts;
                CurrentAttempt::Absent { seen: open.seen || was_running, delivered: open.result.clone() }
            }
            (None, _) if self.status.phase == TaskPhase::Running => {
                CurrentAttempt::Absent { seen: true, delivered: None }
            }
            (None, _) => CurrentAttempt::None,
        };
        let external_effect = self.status.external_effect && !open.is_some_and(|open| open.lacks_pod);
        Node { attempts, current, external_effect, ..self.status.clone() }
    }

    pub fn deliver(&mut self, number: u32, report: Report) {
        self.record.entry(number).or_default().delivered.get_or_insert(report);
    }

    /// Notifies the operator of what an attempt delivered.
    pub fn notify(&mut self, number: u32) {
        let delivered = self.record.get(&number).and_then(|recorded| recorded.delivered.clone());
        if let Some(open) = self.open.as_mut().filter(|open| open.number == number && open.result.is_none()) {
            open.result = delivered;
        }
    }
}
