//! Contests: when competing attempts at a node are decided, and by what.

use std::collections::BTreeMap;

use super::node::{Contest, Contestant, Node, Numbering, TaskPhase};
use super::policy::Retry;
use crate::contest::{Achievement, Criterion, Winner, winner};

/// The verdict of a contest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Phase of the node: `Succeeded` if there is a winner.
    pub phase: TaskPhase,
    pub winner: Option<Winner>,
}

impl Contest {
    /// Creates the contest of a node with these rules, in which nothing has happened yet. A contestant is out after its first task failure:
    /// only failures of the infrastructure are retried.
    pub fn new(rules: &Node, contestants: u32, criteria: Vec<Criterion>) -> Self {
        let contestants = (1..=contestants).map(|first| Contestant {
            node: Node {
                numbering: Numbering { first, step: contestants },
                retry: Retry { limit: 0, ..rules.retry },
                contest: None,
                ..rules.clone()
            },
            ..Contestant::default()
        });
        Self { criteria, contestants: contestants.collect() }
    }

    /// Returns the verdict of a contest in which no attempt is in progress; none if a further attempt can change it.
    ///
    /// Once a contestant has succeeded, the contest does not wait for those that lack a budget or a quota: the ones that were stopped for it,
    /// and the ones at the indices `unfunded`. A plan that stops decides its contests at once.
    pub(super) fn verdict(&self, stop: bool, unfunded: &[usize]) -> Option<Verdict> {
        let succeeded = |contestant: &Contestant| contestant.node.phase == TaskPhase::Succeeded;
        let has_success = self.contestants.iter().any(succeeded);
        let mut open = self.contestants.iter().enumerate().filter(|(index, contestant)| {
            let lacks_means = contestant.is_parked || unfunded.contains(index);
            !(contestant.node.phase.is_finished() || has_success && lacks_means)
        });
        if !stop && open.next().is_some() {
            return None;
        }
        let achievements: BTreeMap<u32, Achievement> = self
            .contestants
            .iter()
            .filter(|contestant| succeeded(contestant))
            .map(|contestant| (contestant.node.attempts, contestant.achievement.clone().unwrap_or_default()))
            .collect();
        let winner = winner(&self.criteria, &achievements);
        let all_failed = self.contestants.iter().all(|contestant| contestant.node.phase == TaskPhase::Failed);
        let phase = match &winner {
            Some(_) => TaskPhase::Succeeded,
            None if stop && !all_failed => TaskPhase::Cancelled,
            None => TaskPhase::Failed,
        };
        Some(Verdict { phase, winner })
    }
}
